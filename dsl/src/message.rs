//! What a parser says turned into what a user reads.
//!
//! pest knows where it could not go on and which rules it tried there; sqlparser writes "Expected: …, found: …". Both become
//! "expected …, found …" with the place, in words, and with help for the mistakes people make.

use dflow_common::{Diagnostic, SourceId, Span};
use pest::error::{ErrorVariant, InputLocation};
use sqlparser::parser::ParserError;

use crate::build::Rule;
use crate::error;
use crate::lexer::{Token, TokenKind};
use crate::reserved;

/// Words a statement can start with. One that stands first on its line in the middle of a statement is a missing `;`.
pub(crate) const STATEMENT_WORDS: &[&str] = &[
    "ADD", "ALTER", "ANALYZE", "BEGIN", "CALL", "CLEAR", "COMPILE", "CREATE", "DELETE", "DESC", "DESCRIBE", "DROP",
    "END", "EXECUTE", "EXIT", "EXPLAIN", "HELP", "INSERT", "LOAD", "QUIT", "REMOVE", "REPLACE", "RESET", "SELECT",
    "SET", "SHOW", "STOP", "TRUNCATE", "UNLOAD", "UPDATE", "USE", "VALUES", "WITH",
];

/// The error of the statement grammar.
pub(crate) fn grammar_error(
    source: SourceId,
    text: &str,
    tokens: &[Token],
    error: &pest::error::Error<Rule>,
) -> Diagnostic {
    let base = tokens.first().map_or(0, |t| t.start);
    let offset = base
        + match error.location {
            InputLocation::Pos(at) => at,
            InputLocation::Span((start, _)) => start,
        };
    // The first token that does not end before the place: comments and white space are skipped.
    let at = tokens.partition_point(|t| t.end <= offset);
    let rules: &[Rule] = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives,
        ErrorVariant::CustomError { .. } => &[],
    };
    let expected = expectations(rules);
    if let Some(d) = special(source, text, tokens, at, rules) {
        return d;
    }
    syntax(source, text, tokens, at, &expected, error::SYNTAX)
}

/// "expected …, found …" at token `at`.
fn syntax(
    source: SourceId,
    text: &str,
    tokens: &[Token],
    at: usize,
    expected: &str,
    code: dflow_common::CodeInfo,
) -> Diagnostic {
    let (found, span) = found(source, text, tokens, at);
    if expected.is_empty() {
        return Diagnostic::error(code, format!("unexpected {found}")).with_span(span, "unexpected");
    }
    Diagnostic::error(code, format!("expected {expected}, found {found}")).with_span(span, "unexpected")
}

fn found(source: SourceId, text: &str, tokens: &[Token], at: usize) -> (String, Span) {
    match tokens.get(at) {
        Some(t) => (t.describe(text), Span::new(source, t.start, t.end)),
        None => {
            let end = tokens.last().map_or(0, |t| t.end);
            ("the end of the statement".into(), Span::new(source, end, end))
        }
    }
}

/// Whether token `at` starts a line and looks like the start of another statement.
pub(crate) fn starts_statement(text: &str, tokens: &[Token], at: usize) -> bool {
    let (Some(token), Some(before)) = (tokens.get(at), at.checked_sub(1).and_then(|i| tokens.get(i))) else {
        return false;
    };
    text[before.end..token.start].contains('\n') && STATEMENT_WORDS.iter().any(|w| token.is_word(text, w))
}

/// Mistakes with a message of their own.
fn special(source: SourceId, text: &str, tokens: &[Token], at: usize, rules: &[Rule]) -> Option<Diagnostic> {
    let token = *tokens.get(at)?;
    let span = Span::new(source, token.start, token.end);
    if starts_statement(text, tokens, at) {
        let end = tokens[at - 1].end;
        return Some(
            Diagnostic::error(error::MISSING_SEMICOLON, format!("a `;` is missing before {}", token.describe(text)))
                .with_span(span, "another statement starts here")
                .with_label(Span::new(source, end, end), "`;` goes here"),
        );
    }
    if token.kind == TokenKind::DoubleQuoted {
        return Some(error::double_quotes(span, token.text(text)));
    }
    if let TokenKind::Op(op) = token.kind
        && ["==", "!=", "<=>", "::"].contains(&op)
    {
        return Some(error::foreign_operator(span, op));
    }
    let word = token.text(text).to_ascii_uppercase();
    if token.kind != TokenKind::Word {
        return None;
    }
    let in_elements =
        rules.iter().any(|r| matches!(r, Rule::comment | Rule::column_key | Rule::metadata | Rule::comma));
    if in_elements
        && [
            "DEFAULT",
            "CHECK",
            "REFERENCES",
            "FOREIGN",
            "AUTO_INCREMENT",
            "GENERATED",
            "UNSIGNED",
            "COLLATE",
            "CHARACTER",
            "KEY",
            "INDEX",
        ]
        .contains(&word.as_str())
    {
        let d = Diagnostic::error(error::UNSUPPORTED_CONSTRAINT, format!("Flink SQL has no {word} here"))
            .with_span(span, "not supported");
        return Some(match word.as_str() {
            "GENERATED" => d.with_help("a computed column is `name AS expression`"),
            "DEFAULT" => d.with_help("compute the value in the query that fills the table, with COALESCE"),
            _ => d.with_help("take it away: tables describe data that lives elsewhere"),
        });
    }
    if ["COMMENT", "DISTRIBUTED", "PARTITIONED", "WITH"].contains(&word.as_str())
        && tokens[0].is_word(text, "CREATE")
        && rules.iter().any(|r| {
            matches!(r, Rule::with_options | Rule::partitioned | Rule::distributed | Rule::as_query | Rule::like)
        })
    {
        return Some(
            Diagnostic::error(error::CLAUSE_ORDER, format!("{word} comes too late"))
                .with_span(span, "in the wrong order")
                .with_help("the order is: (columns) COMMENT, DISTRIBUTED, PARTITIONED BY, WITH, then LIKE or AS"),
        );
    }
    None
}

/// The error of a query or expression.
pub(crate) fn query_error(source: SourceId, text: &str, tokens: &[Token], error: &ParserError) -> Diagnostic {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            let span = match (tokens.first(), tokens.last()) {
                (Some(first), Some(last)) => Span::new(source, first.start, last.end),
                _ => Span::new(source, 0, 0),
            };
            return error::nested_too_deep(span);
        }
        ParserError::TokenizerError(m) | ParserError::ParserError(m) => m,
    };
    let (message, offset) = match message.rsplit_once(" at Line: 1, Column: ") {
        Some((message, column)) => (message, column.trim().parse::<usize>().ok().map(|c| c.saturating_sub(1))),
        None => (message.as_str(), None),
    };
    let at = offset.map_or(tokens.len(), |offset| tokens.partition_point(|t| t.end <= offset));
    if let Some(d) = special(source, text, tokens, at, &[]) {
        return d;
    }
    let diagnostic = match message.strip_prefix("Expected: ").and_then(|m| m.rsplit_once(", found: ")) {
        Some((expected, _)) => syntax(source, text, tokens, at, &words(expected), error::QUERY_SYNTAX),
        None => {
            let (_, span) = found(source, text, tokens, at);
            Diagnostic::error(error::QUERY_SYNTAX, lower_first(message)).with_span(span, "here")
        }
    };
    query_help(text, tokens, at, diagnostic)
}

/// Help for the place where a query stopped making sense.
fn query_help(text: &str, tokens: &[Token], at: usize, d: Diagnostic) -> Diagnostic {
    let before = at.checked_sub(1).and_then(|i| tokens.get(i));
    let Some(token) = tokens.get(at) else {
        return match before {
            Some(t) if t.is_op(",") => d.with_help("something is missing after the last comma"),
            _ => d,
        };
    };
    if before.is_some_and(|t| t.is_op(",")) && ["FROM", "WHERE", "GROUP"].iter().any(|w| token.is_word(text, w)) {
        return d.with_help("take the comma before it away");
    }
    for word in [Some(token), before].into_iter().flatten() {
        if word.kind == TokenKind::Word && reserved::is_reserved(word.text(text)) {
            let w = word.text(text);
            return d.with_help(format!("`{w}` is a reserved word; as a name it needs backticks: `{w}`"));
        }
    }
    d
}

/// sqlparser's expectation in the words of this crate.
fn words(expected: &str) -> String {
    match expected {
        "an SQL statement" | "SELECT, VALUES, or a subquery in the query body" => "a query".into(),
        "identifier" => "a name".into(),
        "end of statement" => "the end of the statement".into(),
        _ if expected.chars().count() == 1 && !expected.chars().all(char::is_alphanumeric) => format!("`{expected}`"),
        _ => expected.to_owned(),
    }
}

fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    match chars.next() {
        Some(c) => c.to_lowercase().chain(chars).collect(),
        None => "this query cannot be read".into(),
    }
}

/// What the rules that were tried stand for, in words: "`WITH`, `AS` or the end of the statement".
fn expectations(rules: &[Rule]) -> String {
    const SHOWN: usize = 8;
    let mut words: Vec<String> = Vec::new();
    for rule in rules {
        let word = describe(*rule);
        if !word.is_empty() && !words.contains(&word) {
            words.push(word);
        }
    }
    if words.len() > SHOWN {
        words.truncate(SHOWN);
        return format!("{}, …", words.join(", "));
    }
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// One rule in words; empty when it says nothing to a user.
fn describe(rule: Rule) -> String {
    let word = match rule {
        Rule::EOI => "the end of the statement",
        Rule::string => "a string in single quotes",
        Rule::ident | Rule::word | Rule::bq | Rule::dq | Rule::name | Rule::path => "a name",
        Rule::integer | Rule::number => "a number",
        Rule::expr | Rule::set_expr | Rule::expr_rest => "an expression",
        Rule::rest => "a query",
        Rule::data_type => "a type",
        Rule::options | Rule::with_options => "`WITH ('key' = 'value', …)`",
        Rule::option | Rule::option_text | Rule::bare => "`'key' = 'value'`",
        Rule::keys => "`('key', …)`",
        Rule::cols | Rule::insert_columns | Rule::view_columns => "`(column, …)`",
        Rule::elements => "`(columns)`",
        Rule::watermark | Rule::table_key | Rule::computed | Rule::column | Rule::column_name | Rule::alter_column => {
            "a column"
        }
        Rule::column_key => "`PRIMARY KEY NOT ENFORCED`",
        Rule::enforced => "`NOT ENFORCED`",
        Rule::metadata => "`METADATA`",
        Rule::comment => "`COMMENT '…'`",
        Rule::comma => "`,`",
        Rule::distributed => "`DISTRIBUTED`",
        Rule::partitioned => "`PARTITIONED BY (…)`",
        Rule::like => "`LIKE`",
        Rule::as_query => "`AS query`",
        Rule::partition => "`PARTITION (…)`",
        Rule::if_not_exists => "`IF NOT EXISTS`",
        Rule::if_exists => "`IF EXISTS`",
        Rule::hint => "a hint",
        Rule::set_pair | Rule::set_text => "`'key' = 'value'`",
        Rule::set_value => "a value",
        Rule::where_ => "`WHERE`",
        Rule::alias => "an alias",
        _ => "",
    };
    if !word.is_empty() {
        return word.to_owned();
    }
    let name = format!("{rule:?}");
    match name.strip_prefix("kw_") {
        Some(keyword) => format!("`{}`", keyword.to_uppercase()),
        None => format!("`{}`", name.trim_end_matches('_').replace('_', " ").to_uppercase()),
    }
}
