//! Script tokens to sqlparser tokens.
//!
//! * The place of a token is its byte range: line 1, column = offset + 1.
//! * String literals of every spelling (`N'…'`, `E'…'`, `U&'…'`, `_UTF16'…'`) become plain strings with their content.
//! * Hints and `MATCH_RECOGNIZE … WITHIN` leave the stream and are returned beside it: sqlparser's tree has no place for them.
//! * `TABLE t` as a query becomes `SELECT * FROM t`; `MODEL m` as an argument becomes `$MODEL(m)`.
//! * Operators Flink has not are refused here, where the message can say what to write.

use std::sync::Arc;

use dflow_common::limits::NESTING_MAX;
use dflow_common::{Diagnostic, SourceId, Span};
use sqlparser::tokenizer as sqlt;

use super::{CHAIN_MAX, Result, hints, parse_expr};
use crate::ast::{Hint, HintTarget, MODEL_ARG, Within};
use crate::error;
use crate::lexer::{Token, TokenKind, unquote};

/// What a run of tokens became.
pub(super) struct Converted {
    pub(super) tokens: Vec<sqlt::TokenWithSpan>,
    pub(super) hints: Vec<Hint>,
    pub(super) withins: Vec<Within>,
}

/// How deep the tree of an expression may become, counted per level of brackets from its operators.
///
/// A chain of left-associative operators makes a tree as deep as the chain is long; an operator that binds weaker starts the
/// chains of the stronger ones anew.
#[derive(Default)]
struct Depth {
    /// Lengths of the chains that are open, weakest operator first.
    runs: [usize; Depth::CLASSES],
    /// The longest sum of them in this element of a list.
    longest: usize,
    /// The deepest bracket in this element.
    inside: usize,
    /// The deepest element before this one.
    before: usize,
}

impl Depth {
    const CLASSES: usize = 5;

    /// The class of an operator: the weaker it binds, the lower.
    fn class(operator: &str) -> usize {
        match operator {
            "OR" => 0,
            "AND" => 1,
            "+" | "-" | "||" => 3,
            "*" | "/" | "%" => 4,
            _ => 2,
        }
    }

    fn operator(&mut self, class: usize) {
        self.runs[class] += 1;
        self.runs[class + 1..].fill(0);
        self.longest = self.longest.max(self.runs.iter().sum());
    }

    /// A comma, or a word that has the same effect.
    fn next_element(&mut self) {
        *self = Self { before: self.total(), ..Self::default() };
    }

    fn total(&self) -> usize {
        self.before.max(self.longest + self.inside)
    }
}

/// An open parenthesis, bracket or CASE.
#[derive(Default)]
struct Level {
    depth: Depth,
    /// Set operations.
    set_operations: usize,
    /// Open `<` of types: `CAST(x AS MAP<STRING, INT>)`.
    angles: usize,
    /// A CASE, which ends with END.
    case: bool,
    /// The parenthesis of a `PATTERN (…)`, where `^ $ | ? {` have a meaning.
    pattern: bool,
    /// The argument list of a table function: it begins with `TABLE` or `name =>`.
    table_function: bool,
    /// The place of the `MATCH_RECOGNIZE` in front of it.
    match_recognize: Option<Span>,
}

struct Converter<'a> {
    source: SourceId,
    text: &'a Arc<str>,
    tokens: &'a [Token],
    out: Converted,
    levels: Vec<Level>,
    errors: Vec<Diagnostic>,
    too_deep: bool,
}

/// Converts all tokens.
pub(super) fn convert(source: SourceId, text: &Arc<str>, tokens: &[Token]) -> Result<Converted> {
    let mut converter = Converter {
        source,
        text,
        tokens,
        out: Converted { tokens: Vec::with_capacity(tokens.len()), hints: Vec::new(), withins: Vec::new() },
        levels: vec![Level::default()],
        errors: Vec::new(),
        too_deep: false,
    };
    let mut at = 0;
    while at < tokens.len() {
        at += converter.token(at);
    }
    if converter.errors.is_empty() { Ok(converter.out) } else { Err(converter.errors) }
}

/// The span under which sqlparser carries a byte range.
fn place(start: usize, end: usize) -> sqlt::Span {
    sqlt::Span::new(sqlt::Location::new(1, start as u64 + 1), sqlt::Location::new(1, end as u64 + 1))
}

impl Converter<'_> {
    fn span(&self, token: Token) -> Span {
        Span::new(self.source, token.start, token.end)
    }

    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            // More closed than opened: reported by the splitter, and sqlparser refuses it too.
            self.levels.push(Level::default());
        }
        self.levels.last_mut().expect("just made sure there is one")
    }

    fn push(&mut self, token: sqlt::Token, at: Token) {
        self.out.tokens.push(sqlt::TokenWithSpan { token, span: place(at.start, at.end) });
    }

    fn word_at(&self, at: usize, words: &[&str]) -> bool {
        self.tokens.get(at).is_some_and(|t| words.iter().any(|w| t.is_word(self.text, w)))
    }

    fn op_at(&self, at: usize, op: &str) -> bool {
        self.tokens.get(at).is_some_and(|t| t.is_op(op))
    }

    fn name_at(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|t| matches!(t.kind, TokenKind::Word | TokenKind::Quoted))
    }

    /// Converts what starts at token `at` and returns how many tokens that was.
    fn token(&mut self, at: usize) -> usize {
        let token = self.tokens[at];
        let text = token.text(self.text);
        match token.kind {
            TokenKind::Quoted => self.push(sqlt::Token::make_word(&unquote(text), Some('`')), token),
            TokenKind::Number => self.push(sqlt::Token::Number(number(text), false), token),
            TokenKind::Word => return self.word(at, token),
            TokenKind::String => return self.string(at, token),
            TokenKind::Hint => self.hint(at, token),
            TokenKind::DoubleQuoted => self.errors.push(error::double_quotes(self.span(token), text)),
            TokenKind::Op(op) => self.op(at, token, op),
        }
        1
    }

    fn word(&mut self, at: usize, token: Token) -> usize {
        let text = token.text(self.text);
        let upper = text.to_ascii_uppercase();
        match upper.as_str() {
            "AND" | "OR" | "NOT" | "IS" | "LIKE" | "ILIKE" | "IN" | "BETWEEN" | "SIMILAR" | "COLLATE" | "OVERLAPS"
            | "INTERVAL" | "ESCAPE" | "AT" => self.operator(token, &upper),
            "CASE" => self.open(token, Level { case: true, ..Level::default() }),
            "END" if self.level().case => self.close(token),
            "WHEN" | "THEN" | "ELSE" if self.level().case => self.level().depth.next_element(),
            "UNION" | "EXCEPT" | "INTERSECT" | "MINUS" => {
                let level = self.level();
                level.set_operations += 1;
                level.depth.next_element();
                if level.set_operations == CHAIN_MAX + 1 {
                    self.errors.push(too_long(self.span(token), "set operations"));
                }
            }
            "TABLE" if self.name_at(at + 1) && self.starts_query(at) => {
                self.push(sqlt::Token::make_word("SELECT", None), token);
                self.push(sqlt::Token::Mul, token);
                self.push(sqlt::Token::make_word("FROM", None), token);
                return 1;
            }
            "TABLE" if at > 0 && self.op_at(at - 1, "(") && self.name_at(at + 1) => self.level().table_function = true,
            "MODEL" if self.name_at(at + 1) && self.level().table_function => return self.model(at, token),
            "WITHIN" if self.word_at(at + 1, &["INTERVAL"]) => {
                if let Some(span) = self.level().match_recognize {
                    return self.within(at, span);
                }
            }
            _ => {}
        }
        self.push(sqlt::Token::make_word(text, None), token);
        1
    }

    /// Whether `TABLE name` at `at` is a query and not an argument.
    fn starts_query(&self, at: usize) -> bool {
        const BEFORE: &[&str] = &["UNION", "ALL", "EXCEPT", "INTERSECT", "DISTINCT", "AS"];
        const BEFORE_PAREN: &[&str] = &[
            "FROM",
            "JOIN",
            "IN",
            "EXISTS",
            "AS",
            "LATERAL",
            "UNION",
            "ALL",
            "EXCEPT",
            "INTERSECT",
            "DISTINCT",
            "ANY",
            "SOME",
        ];
        match at.checked_sub(1) {
            None => true,
            Some(i) if self.op_at(i, "(") => {
                i.checked_sub(1).is_none_or(|j| !self.name_at(j) || self.word_at(j, BEFORE_PAREN))
            }
            // The query of a WITH clause comes after its closing parenthesis.
            Some(i) if self.op_at(i, ")") => self.word_at(0, &["WITH"]) && self.levels.len() == 1,
            Some(i) => self.word_at(i, BEFORE),
        }
    }

    /// `MODEL a.b` becomes `$MODEL(a.b)`.
    fn model(&mut self, at: usize, token: Token) -> usize {
        let mut end = at + 2;
        while self.op_at(end, ".") && self.name_at(end + 1) {
            end += 2;
        }
        self.push(sqlt::Token::make_word(MODEL_ARG, None), token);
        self.push(sqlt::Token::LParen, token);
        for i in at + 1..end {
            self.token(i);
        }
        self.push(sqlt::Token::RParen, self.tokens[end - 1]);
        end - at
    }

    /// `WITHIN INTERVAL '…' unit` up to DEFINE, SUBSET or the end of the clause.
    fn within(&mut self, at: usize, match_recognize: Span) -> usize {
        let mut end = at + 1;
        while end < self.tokens.len() && !self.word_at(end, &["DEFINE", "SUBSET"]) && !self.op_at(end, ")") {
            end += 1;
        }
        match parse_expr(self.source, self.text, &self.tokens[at + 1..end]) {
            Ok(interval) => self.out.withins.push(Within { match_recognize, interval: Box::new(interval) }),
            Err(errors) => self.errors.extend(errors),
        }
        end - at
    }

    fn string(&mut self, at: usize, token: Token) -> usize {
        let text = token.text(self.text);
        let quote = text.find('\'').unwrap_or(0);
        let prefix = text[..quote].to_ascii_uppercase();
        let body = unquote(&text[quote..]);
        let mut used = 1;
        let converted = match prefix.as_str() {
            "X" => {
                self.push(sqlt::Token::HexStringLiteral(body), token);
                return 1;
            }
            "E" => c_escapes(&body),
            "U&" => {
                let mut escape = '\\';
                if self.word_at(at + 1, &["UESCAPE"])
                    && let Some(t) = self.tokens.get(at + 2).filter(|t| t.kind == TokenKind::String)
                {
                    escape = unquote(t.text(self.text)).chars().next().unwrap_or('\\');
                    used = 3;
                }
                unicode_escapes(&body, escape)
            }
            _ => Some(body),
        };
        match converted {
            Some(content) if at > 0 && self.tokens[at - 1].kind == TokenKind::String => {
                self.continued(at, token, content)
            }
            Some(content) => self.push(sqlt::Token::SingleQuotedString(content), token),
            None => self.errors.push(
                Diagnostic::error(error::QUERY_SYNTAX, "this string has a malformed escape sequence")
                    .with_span(self.span(token), "malformed escape"),
            ),
        }
        used
    }

    /// A string behind a string goes on with it when it stands on another line, as the SQL standard has it.
    fn continued(&mut self, at: usize, token: Token, content: String) {
        let gap = &self.text[self.tokens[at - 1].end..token.start];
        match self.out.tokens.last_mut().map(|t| (&mut t.token, &mut t.span)) {
            Some((sqlt::Token::SingleQuotedString(first), span)) if gap.contains('\n') => {
                first.push_str(&content);
                span.end = place(token.start, token.end).end;
            }
            _ => self.errors.push(
                Diagnostic::error(error::QUERY_SYNTAX, "two strings in a row")
                    .with_span(self.span(token), "the second")
                    .with_help("join strings with `||`; a name stands in backticks"),
            ),
        }
    }

    fn hint(&mut self, at: usize, token: Token) {
        let target = match at.checked_sub(1).map(|i| self.tokens[i]) {
            Some(before) if before.is_word(self.text, "SELECT") => HintTarget::Select(self.span(before)),
            Some(before)
                if matches!(before.kind, TokenKind::Word | TokenKind::Quoted) && !self.is_table_argument(at - 1) =>
            {
                HintTarget::Table(self.span(before))
            }
            _ => return self.errors.push(hints::misplaced(self.span(token))),
        };
        match hints::parse(self.source, self.text, token, target) {
            Ok(hints) => self.out.hints.extend(hints),
            Err(d) => self.errors.push(*d),
        }
    }

    /// Whether the name that ends at token `at` belongs to `TABLE name`: Flink takes no hint there.
    fn is_table_argument(&self, mut at: usize) -> bool {
        while at >= 2 && self.op_at(at - 1, ".") {
            at -= 2;
        }
        at >= 1 && self.word_at(at - 1, &["TABLE"])
    }

    fn op(&mut self, at: usize, token: Token, op: &'static str) {
        let pattern = self.level().pattern;
        let converted = match op {
            "(" | "[" => {
                let mut level = Level::default();
                if op == "(" {
                    level.pattern = pattern
                        || (self.word_at(at.wrapping_sub(1), &["PATTERN"]) && self.level().match_recognize.is_some());
                    level.match_recognize = at
                        .checked_sub(1)
                        .filter(|i| self.word_at(*i, &["MATCH_RECOGNIZE"]))
                        .map(|i| self.span(self.tokens[i]));
                    level.table_function = self.name_at(at + 1) && self.op_at(at + 2, "=>");
                }
                self.open(token, level);
                if op == "(" { sqlt::Token::LParen } else { sqlt::Token::LBracket }
            }
            ")" | "]" => {
                while self.level().case {
                    self.close(token);
                }
                self.close(token);
                if op == ")" { sqlt::Token::RParen } else { sqlt::Token::RBracket }
            }
            "," => {
                self.level().depth.next_element();
                sqlt::Token::Comma
            }
            "." => sqlt::Token::Period,
            ":" => sqlt::Token::Colon,
            "=>" => sqlt::Token::RArrow,
            "{" => sqlt::Token::LBrace,
            "}" => sqlt::Token::RBrace,
            "?" if pattern => sqlt::Token::Placeholder("?".into()),
            "$" if pattern => sqlt::Token::Placeholder("$".into()),
            "^" if pattern => sqlt::Token::Caret,
            "|" if pattern => sqlt::Token::Pipe,
            "||" if pattern => {
                self.push(sqlt::Token::Pipe, token);
                sqlt::Token::Pipe
            }
            _ => {
                if !self.angle(at, op) {
                    self.operator(token, op);
                }
                match op {
                    "=" => sqlt::Token::Eq,
                    "<>" => sqlt::Token::Neq,
                    "<" => sqlt::Token::Lt,
                    ">" => sqlt::Token::Gt,
                    "<=" => sqlt::Token::LtEq,
                    ">=" => sqlt::Token::GtEq,
                    "+" => sqlt::Token::Plus,
                    "-" => sqlt::Token::Minus,
                    "*" => sqlt::Token::Mul,
                    "/" => sqlt::Token::Div,
                    "%" => sqlt::Token::Mod,
                    "||" => sqlt::Token::StringConcat,
                    _ => return self.errors.push(error::foreign_operator(self.span(token), op)),
                }
            }
        };
        self.push(converted, token);
    }

    /// Whether an operator is a bracket of a type.
    fn angle(&mut self, at: usize, op: &str) -> bool {
        const TYPES: &[&str] = &["ROW", "ARRAY", "MAP", "MULTISET"];
        let opens = op == "<" && at > 0 && self.word_at(at - 1, TYPES);
        let closes = op == ">" && self.level().angles > 0;
        let level = self.level();
        level.angles = level.angles + usize::from(opens) - usize::from(closes);
        opens || closes
    }

    fn open(&mut self, token: Token, level: Level) {
        self.levels.push(level);
        // The outermost level is no bracket.
        if self.levels.len() == NESTING_MAX + 2 {
            self.errors.push(error::nested_too_deep(self.span(token)));
        }
    }

    fn close(&mut self, token: Token) {
        let inside = self.levels.pop().map_or(0, |level| level.depth.total());
        let depth = &mut self.level().depth;
        depth.inside = depth.inside.max(inside);
        self.check_depth(token);
    }

    fn operator(&mut self, token: Token, operator: &str) {
        self.level().depth.operator(Depth::class(operator));
        self.check_depth(token);
    }

    /// Reports the first operator or bracket that makes the tree too deep.
    fn check_depth(&mut self, token: Token) {
        if self.level().depth.total() > CHAIN_MAX && !self.too_deep {
            self.too_deep = true;
            self.errors.push(too_long(self.span(token), "operators"));
        }
    }
}

fn too_long(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error(error::NESTED_TOO_DEEP, format!("more than {CHAIN_MAX} {what} in one chain"))
        .with_span(span, "one too many")
        .with_help("write a list of values as `IN (…)`, or split the query with views")
}

/// `5.` and `.5` get the digit that sqlparser's consumers expect.
fn number(text: &str) -> String {
    let text = if text.starts_with('.') { format!("0{text}") } else { text.to_owned() };
    match text.find('.') {
        Some(dot) if !text[dot + 1..].starts_with(|c: char| c.is_ascii_digit()) => {
            format!("{}.0{}", &text[..dot], &text[dot + 1..])
        }
        _ => text,
    }
}

/// C-style escapes of `E'…'`.
fn c_escapes(body: &str) -> Option<String> {
    let mut out = String::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let rest = chars.as_str();
        let (value, used) = match chars.next()? {
            'b' => (8, 1),
            'f' => (12, 1),
            'n' => (10, 1),
            'r' => (13, 1),
            't' => (9, 1),
            'x' => code(&rest[1..], 16, 1, 2).map(|(v, n)| (v, n + 1))?,
            'u' => code(&rest[1..], 16, 4, 4).map(|(v, n)| (v, n + 1))?,
            'U' => code(&rest[1..], 16, 8, 8).map(|(v, n)| (v, n + 1))?,
            '0'..='7' => code(rest, 8, 1, 3)?,
            other => (other as u32, other.len_utf8()),
        };
        out.push(char::from_u32(value)?);
        chars = rest[used..].chars();
    }
    Some(out)
}

/// `\XXXX` and `\\` of `U&'…'`; pairs of surrogates are joined.
fn unicode_escapes(body: &str, escape: char) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != escape {
            units.extend(c.encode_utf16(&mut [0; 2]).iter());
        } else if rest.starts_with(escape) {
            units.extend(escape.encode_utf16(&mut [0; 2]).iter());
            rest = &rest[escape.len_utf8()..];
        } else {
            let (value, used) = code(rest, 16, 4, 4)?;
            units.push(value as u16);
            rest = &rest[used..];
        }
    }
    String::from_utf16(&units).ok()
}

/// A number of `min` to `max` digits, and how many there were.
fn code(text: &str, radix: u32, min: usize, max: usize) -> Option<(u32, usize)> {
    let digits = text.chars().take(max).take_while(|c| c.is_digit(radix)).count();
    (digits >= min).then_some(())?;
    Some((u32::from_str_radix(&text[..digits], radix).ok()?, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded() {
        assert_eq!(c_escapes(r"a\nb\x41\101\u00e9\\\'").as_deref(), Some("a\nbAAé\\'"));
        assert_eq!(c_escapes(r"\u12"), None);
        assert_eq!(c_escapes(r"\"), None);
        assert_eq!(unicode_escapes(r"\00e9\\x", '\\').as_deref(), Some("é\\x"));
        assert_eq!(unicode_escapes(r"!d83d!de00", '!').as_deref(), Some("😀"));
        assert_eq!(unicode_escapes(r"\d83d", '\\'), None);
    }

    #[test]
    fn numbers_have_digits_on_both_sides_of_the_point() {
        for (text, expected) in [("5.", "5.0"), (".5", "0.5"), ("5.e3", "5.0e3"), ("1", "1"), ("1.25", "1.25")] {
            assert_eq!(number(text), expected);
        }
    }
}
