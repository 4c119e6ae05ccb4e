//! What a parser says turned into what a user reads.
//!
//! pest knows where it could not go on and which rules it tried there; sqlparser writes "Expected: …, found: …". Both become
//! "expected …, found …" with the place, in words, and with help for the mistakes people make.

use dflow_common::suggest::nearest;
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
    if let Some(d) = special(source, text, tokens, at, rules) {
        return d;
    }
    let d = syntax(source, text, tokens, at, &expectations(rules), error::SYNTAX);
    let Some(token) = tokens.get(at) else { return d };
    let before = &tokens[at.saturating_sub(1)];
    let name = matches!(token.kind, TokenKind::Word | TokenKind::Quoted);
    let written = token.text(text);
    if name && let Some(near) = nearest(written, rules.iter().flat_map(|r| candidates(*r))) {
        return d.with_help(format!("did you mean `{near}`?"));
    }
    if before.is_word(text, "COLUMN")
        || (token.kind == TokenKind::Word && at >= 2 && tokens[at - 2].is_word(text, "COLUMN"))
    {
        return d
            .with_help("Flink SQL writes `ALTER TABLE t ADD name type` and `ALTER TABLE t DROP name`, without COLUMN");
    }
    if tokens[0].is_word(text, "DROP") && token.is_op(",") {
        return d.with_help("DROP takes one name; write one statement per object");
    }
    if tokens[0].is_word(text, "SET") {
        return d.with_help("write `SET 'key' = 'value'`");
    }
    if before.is_word(text, "KEY") && name {
        return d.with_help("columns of a key stand in parentheses: `PRIMARY KEY (a, b) NOT ENFORCED`");
    }
    if tokens[..at].iter().rev().take(3).any(|t| t.is_word(text, "WATERMARK")) {
        return d.with_help("write `WATERMARK FOR column AS expression`");
    }
    if rules.contains(&Rule::comma) && name {
        return d
            .with_help(format!("if {} is the next one of the list, a `,` is missing before it", token.describe(text)));
    }
    d
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

/// The place inside of a query that does not parse where surely another statement starts.
pub(crate) fn missing_semicolon(source: SourceId, text: &str, tokens: &[Token]) -> Option<Diagnostic> {
    /// Reserved words that no query has outside of its parentheses.
    const NEVER_IN_QUERY: &[&str] = &[
        "INSERT", "CREATE", "DROP", "ALTER", "EXECUTE", "UPDATE", "DELETE", "EXPLAIN", "DESCRIBE", "SHOW", "SET",
        "CALL",
    ];
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::Op("(" | "[") => depth += 1,
            TokenKind::Op(")" | "]") => depth = depth.saturating_sub(1),
            TokenKind::Word
                if depth == 0
                    && NEVER_IN_QUERY.iter().any(|w| token.is_word(text, w))
                    && starts_statement(text, tokens, at) =>
            {
                return Some(semicolon_before(source, text, tokens, at));
            }
            _ => {}
        }
    }
    None
}

fn semicolon_before(source: SourceId, text: &str, tokens: &[Token], at: usize) -> Diagnostic {
    let (token, end) = (tokens[at], tokens[at - 1].end);
    Diagnostic::error(error::MISSING_SEMICOLON, format!("a `;` is missing before {}", token.describe(text)))
        .with_span(Span::new(source, token.start, token.end), "another statement starts here")
        .with_label(Span::new(source, end, end), "`;` goes here")
}

/// Mistakes with a message of their own.
fn special(source: SourceId, text: &str, tokens: &[Token], at: usize, rules: &[Rule]) -> Option<Diagnostic> {
    let token = *tokens.get(at)?;
    let span = Span::new(source, token.start, token.end);
    if starts_statement(text, tokens, at) {
        return Some(semicolon_before(source, text, tokens, at));
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
    let late = ["COMMENT", "DISTRIBUTED", "PARTITIONED", "WITH"].contains(&word.as_str());
    if late && tokens[0].is_word(text, "CREATE") && rules.contains(&Rule::EOI) {
        return Some(
            Diagnostic::error(error::CLAUSE_ORDER, format!("{word} comes too late"))
                .with_span(span, "in the wrong order")
                .with_help("the order is: (columns) COMMENT, DISTRIBUTED, PARTITIONED BY, WITH, then LIKE or AS"),
        );
    }
    None
}

/// The error of a query or expression. `furthest` is where the last expression was begun.
pub(crate) fn query_error(
    source: SourceId,
    text: &str,
    tokens: &[Token],
    error: &ParserError,
    furthest: usize,
) -> Diagnostic {
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
    let mut at = offset.map_or(tokens.len(), |offset| tokens.partition_point(|t| t.end <= offset));
    let mut expected = None;
    if let Some((e, _)) = message.strip_prefix("Expected: ").and_then(|m| m.rsplit_once(", found: ")) {
        expected = Some(words(e));
    } else if message.starts_with("Expected an expression, found: ") {
        // This one names the place behind the word it is about.
        at = at.saturating_sub(1);
        expected = Some("an expression".to_owned());
    }
    let last = tokens.partition_point(|t| t.end <= furthest);
    if last > at {
        at = last;
        expected = Some("an expression".to_owned());
    }
    if let Some(d) = special(source, text, tokens, at, &[]) {
        return d;
    }
    // An alias took the first word of the next statement.
    let before = at.saturating_sub(1);
    if tokens.get(before).is_some_and(|t| reserved::is_reserved(t.text(text)))
        && let Some(d) = special(source, text, tokens, before, &[])
    {
        return d;
    }
    let diagnostic = match expected {
        Some(expected) => syntax(source, text, tokens, at, &expected, error::QUERY_SYNTAX),
        None => {
            let (_, span) = found(source, text, tokens, at);
            Diagnostic::error(error::QUERY_SYNTAX, lower_first(message)).with_span(span, "here")
        }
    };
    query_help(text, tokens, at, diagnostic)
}

/// Help for the place where a query stopped making sense.
fn query_help(text: &str, tokens: &[Token], at: usize, d: Diagnostic) -> Diagnostic {
    /// Reserved words that open or join the parts of a query: nobody means a name with them.
    const STRUCTURE: &[&str] = &[
        "SELECT", "FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "JOIN", "LEFT", "RIGHT", "FULL", "INNER",
        "CROSS", "ON", "UNION", "AND", "OR", "NOT", "AS", "BY", "CASE", "WHEN", "THEN", "ELSE", "END", "WITH", "INTO",
        "IN", "IS", "DISTINCT", "OVER", "USING",
    ];
    let before = at.checked_sub(1).and_then(|i| tokens.get(i));
    let is = |t: Option<&Token>, words: &[&str]| t.is_some_and(|t| words.iter().any(|w| t.is_word(text, w)));
    let token = tokens.get(at);
    if before.is_some_and(|t| t.is_op(",")) && (token.is_none() || is(token, STRUCTURE)) {
        return d.with_help("something is missing after the comma, or the comma is one too many");
    }
    for (i, t) in [(at, token), (at.wrapping_sub(1), before)] {
        if is(t, &["GROUP", "ORDER", "PARTITION"]) && !is(tokens.get(i + 1), &["BY", "SETS"]) {
            let word = t.map_or("", |t| t.text(text)).to_ascii_uppercase();
            return d.with_help(format!("write `{word} BY`"));
        }
    }
    for t in [token, before].into_iter().flatten().filter(|t| t.kind == TokenKind::Word) {
        let word = t.text(text);
        if reserved::is_reserved(word) && !is(Some(t), STRUCTURE) {
            return d.with_help(format!("`{word}` is a reserved word; a name needs backticks: `{word}`"));
        }
    }
    match token {
        Some(t) if t.kind == TokenKind::Word => match nearest(t.text(text), STRUCTURE.iter().copied()) {
            Some(near) if !t.text(text).eq_ignore_ascii_case(near) => d.with_help(format!("did you mean `{near}`?")),
            _ => d,
        },
        Some(t) if t.is_op(",") && is(at.checked_sub(2).and_then(|i| tokens.get(i)), &["LIMIT"]) => {
            d.with_help("write `LIMIT count OFFSET start`")
        }
        _ => d,
    }
}

/// sqlparser's expectation in the words of this crate.
fn words(expected: &str) -> String {
    match expected {
        "an SQL statement" | "SELECT, VALUES, or a subquery in the query body" => "a query".into(),
        "identifier" => "a name".into(),
        "end of statement" => "the end of the statement".into(),
        _ if expected.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c == ' ') => format!("`{expected}`"),
        _ if expected.chars().count() == 1 && !expected.chars().all(char::is_alphanumeric) => format!("`{expected}`"),
        _ => expected.to_owned(),
    }
}

fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    if message.chars().nth(1).is_some_and(char::is_uppercase) {
        return message.to_owned();
    }
    match chars.next() {
        Some(c) => c.to_lowercase().chain(chars).collect(),
        None => "this query cannot be read".into(),
    }
}

/// What the rules that were tried stand for, in words: "`WITH`, `AS` or the end of the statement".
fn expectations(rules: &[Rule]) -> String {
    const SHOWN: usize = 8;
    let mut words: Vec<String> = Vec::new();
    // Behind a type anything that continues a type could follow; it is not what was forgotten.
    let behind_type = rules.contains(&Rule::kw_precision);
    let continues = |r: &Rule| {
        use Rule as R;
        let words = [
            R::kw_precision,
            R::kw_varying,
            R::kw_without,
            R::kw_with,
            R::kw_not,
            R::kw_null,
            R::kw_array,
            R::kw_multiset,
        ];
        behind_type && words.contains(r)
    };
    for rule in rules.iter().filter(|r| !continues(r)) {
        let word = describe(*rule);
        if !word.is_empty() && !words.contains(&word) {
            words.push(word);
        }
    }
    // A list can go on or end.
    if let Some(at) = words.iter().position(|w| w == "`,`") {
        words.remove(at);
        words.extend(["`,`".to_owned(), "`)`".to_owned()]);
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

/// Keywords people misspell, by the rule that tries them.
const KEYWORDS: &[(Rule, &str)] = &[
    (Rule::kw_table, "TABLE"),
    (Rule::kw_view, "VIEW"),
    (Rule::kw_catalog, "CATALOG"),
    (Rule::kw_database, "DATABASE"),
    (Rule::kw_function, "FUNCTION"),
    (Rule::kw_materialized, "MATERIALIZED"),
    (Rule::kw_model, "MODEL"),
    (Rule::kw_temporary, "TEMPORARY"),
    (Rule::kw_as, "AS"),
    (Rule::kw_like, "LIKE"),
    (Rule::kw_with, "WITH"),
    (Rule::kw_comment, "COMMENT"),
    (Rule::kw_distributed, "DISTRIBUTED"),
    (Rule::kw_partitioned, "PARTITIONED"),
    (Rule::kw_by, "BY"),
    (Rule::kw_into, "INTO"),
    (Rule::kw_overwrite, "OVERWRITE"),
    (Rule::kw_set, "SET"),
    (Rule::kw_reset, "RESET"),
    (Rule::kw_rename, "RENAME"),
    (Rule::kw_add, "ADD"),
    (Rule::kw_modify, "MODIFY"),
    (Rule::kw_drop, "DROP"),
    (Rule::kw_compute, "COMPUTE"),
    (Rule::kw_statistics, "STATISTICS"),
    (Rule::kw_plan, "PLAN"),
    (Rule::kw_for, "FOR"),
    (Rule::kw_module, "MODULE"),
    (Rule::kw_job, "JOB"),
    (Rule::kw_jar, "JAR"),
    (Rule::kw_cascade, "CASCADE"),
    (Rule::kw_restrict, "RESTRICT"),
    (Rule::kw_language, "LANGUAGE"),
    (Rule::kw_using, "USING"),
    (Rule::kw_key, "KEY"),
    (Rule::kw_enforced, "ENFORCED"),
    (Rule::kw_freshness, "FRESHNESS"),
    (Rule::kw_refresh_mode, "REFRESH_MODE"),
    (Rule::kw_start_mode, "START_MODE"),
    (Rule::kw_suspend, "SUSPEND"),
    (Rule::kw_resume, "RESUME"),
    (Rule::kw_refresh, "REFRESH"),
    (Rule::kw_metadata, "METADATA"),
    (Rule::kw_primary, "PRIMARY"),
    (Rule::kw_constraint, "CONSTRAINT"),
    (Rule::kw_unique, "UNIQUE"),
    (Rule::kw_from, "FROM"),
    (Rule::kw_where, "WHERE"),
    (Rule::kw_exists, "EXISTS"),
    (Rule::kw_extended, "EXTENDED"),
    (Rule::kw_buckets, "BUCKETS"),
    (Rule::kw_to, "TO"),
    (Rule::kw_first, "FIRST"),
    (Rule::kw_after, "AFTER"),
    (Rule::kw_virtual, "VIRTUAL"),
];

/// Keywords that a rule can start with, for "did you mean".
fn candidates(rule: Rule) -> Vec<&'static str> {
    let words: &[&str] = match rule {
        Rule::object_kind => {
            &["TABLE", "VIEW", "CATALOG", "DATABASE", "FUNCTION", "MODEL", "MATERIALIZED", "TEMPORARY"]
        }
        Rule::show_list | Rule::show_functions | Rule::show_modules => &[
            "TABLES",
            "VIEWS",
            "CATALOGS",
            "DATABASES",
            "FUNCTIONS",
            "MODULES",
            "PROCEDURES",
            "MODELS",
            "JARS",
            "JOBS",
            "COLUMNS",
            "PARTITIONS",
            "CREATE",
            "CURRENT",
        ],
        Rule::options | Rule::with_options => &["WITH"],
        Rule::partitioned => &["PARTITIONED"],
        Rule::distributed => &["DISTRIBUTED"],
        Rule::comment => &["COMMENT"],
        Rule::as_query => &["AS"],
        Rule::like => &["LIKE"],
        Rule::metadata => &["METADATA"],
        Rule::column_key => &["PRIMARY"],
        _ => return KEYWORDS.iter().filter(|(r, _)| *r == rule).map(|(_, word)| *word).collect(),
    };
    words.to_vec()
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
        Rule::object_kind => "`TABLE`, `VIEW` or another kind of object",
        Rule::show_list | Rule::show_functions | Rule::show_modules => "what to show, such as `TABLES`",
        Rule::show_columns | Rule::show_partitions | Rule::show_create | Rule::show_current => "",
        Rule::type_paren | Rule::angle => "",
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
