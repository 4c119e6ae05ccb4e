//! Script text to tokens: the one place that knows quotes, comments and hints.
//!
//! # Input and output
//! In: the whole text. Out: tokens with byte ranges, in order, comments left out; and lexical errors.
//! The statement splitter, the messages ("found …"), the type parser and sqlparser all work on these tokens,
//! so that they agree on where a string ends.
//!
//! # Flink's rules
//! `'…'` with `''` inside, may span lines, the backslash is literal; `` `…` `` with ``` `` ``` inside; `--` and `//` to the end of
//! the line; `/* … */` does not nest; `/*+ … */` is a hint and therefore a token. `"…"` is no token of Flink's; it is read
//! as one so that the message can say what to write instead.
//!
//! # Invariants
//! Ranges are ordered, do not overlap and lie on `char` boundaries. Every byte that is in no token is white space, a comment,
//! or has an error.

use dflow_common::{Diagnostic, SourceId, Span};

use crate::error;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A word that may be a keyword or a name.
    Word,
    /// A name in backticks.
    Quoted,
    /// `'…'`, also with a prefix: `U&'…'`, `E'…'`, `N'…'`, `X'…'`, `_UTF16'…'`.
    String,
    /// `"…"`
    DoubleQuoted,
    /// A number.
    Number,
    /// `/*+ … */`
    Hint,
    /// An operator or punctuation.
    Op(&'static str),
}

/// A token and its byte range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Token {
    pub(crate) fn text<'a>(&self, text: &'a str) -> &'a str {
        &text[self.start..self.end]
    }

    pub(crate) fn is_op(&self, op: &str) -> bool {
        matches!(self.kind, TokenKind::Op(o) if o == op)
    }

    /// Whether it is this keyword; `word` in upper case.
    pub(crate) fn is_word(&self, text: &str, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text(text).eq_ignore_ascii_case(word)
    }

    /// How messages name it.
    pub(crate) fn describe(&self, text: &str) -> String {
        let shown = shorten(self.text(text));
        match self.kind {
            // What is in a string may be a password.
            TokenKind::String => "a string".into(),
            TokenKind::Number => format!("the number {shown}"),
            TokenKind::Hint => "a hint".into(),
            TokenKind::Quoted => format!("the name {shown}"),
            TokenKind::DoubleQuoted => shown,
            TokenKind::Word | TokenKind::Op(_) => format!("`{shown}`"),
        }
    }
}

/// The first characters of a text, on one line.
fn shorten(text: &str) -> String {
    const SHOWN_CHARS: usize = 40;
    let line = text.split('\n').next().unwrap_or("").trim_end_matches('\r');
    if line.len() == text.len() && line.chars().count() <= SHOWN_CHARS {
        return line.to_owned();
    }
    line.chars().take(SHOWN_CHARS).chain(['…']).collect()
}

/// Longest first, so that `<=>` is not read as `<=` and `>`.
const OPERATORS: &[&str] = &[
    "<=>", "->>", "||", "<>", "!=", "==", "<=", ">=", "=>", "->", "::", ":=", "&&", "<<", "(", ")", "[", "]", "{", "}",
    ",", ";", ".", "=", "<", ">", "+", "-", "*", "/", "%", ":", "?", "^", "|", "&", "!", "~", "$",
];

/// Whether a word may start with it.
fn starts_word(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

/// Whether a word may go on with it.
pub(crate) fn continues_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Reads all tokens; goes on after every error.
pub(crate) fn lex(source: SourceId, text: &str) -> (Vec<Token>, Vec<Diagnostic>) {
    lex_range(source, text, 0, text.len())
}

/// Reads the tokens of `text[start..end]`; their ranges are those of the whole text.
pub(crate) fn lex_range(source: SourceId, text: &str, start: usize, end: usize) -> (Vec<Token>, Vec<Diagnostic>) {
    let text = text.get(..end).unwrap_or("");
    let mut lexer = Lexer { source, text, at: start, tokens: Vec::new(), errors: Vec::new(), statement: 0 };
    while lexer.at < text.len() {
        lexer.step();
    }
    (lexer.tokens, lexer.errors)
}

struct Lexer<'a> {
    source: SourceId,
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
    errors: Vec<Diagnostic>,
    /// Index of the first token of the statement being read.
    statement: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// One token, comment, run of white space, or error. Always moves forward.
    fn step(&mut self) {
        let rest = self.rest();
        let Some(c) = rest.chars().next() else { return };
        if c.is_whitespace() || c == '\u{feff}' {
            self.at += c.len_utf8();
        } else if rest.starts_with("//") && self.in_set_value() {
            // `SET key = s3://bucket/path` without quotes: a value, as Flink reads it.
            self.push(TokenKind::Op("/"), 1);
            self.push(TokenKind::Op("/"), 1);
        } else if rest.starts_with("--") || rest.starts_with("//") {
            self.at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            self.block_comment();
        } else if c == '\'' || string_prefix(rest).is_some() {
            let prefix = string_prefix(rest).unwrap_or(0);
            self.quoted('\'', prefix, TokenKind::String, "string");
        } else if c == '`' {
            self.quoted('`', 0, TokenKind::Quoted, "quoted name");
        } else if c == '"' {
            self.quoted('"', 0, TokenKind::DoubleQuoted, "double-quoted text");
        } else if starts_word(c) {
            let end = rest.find(|c| !continues_word(c)).unwrap_or(rest.len());
            self.push(TokenKind::Word, end);
        } else if c.is_ascii_digit() || (c == '.' && rest[1..].starts_with(|d: char| d.is_ascii_digit())) {
            self.number();
        } else if let Some(op) = OPERATORS.iter().find(|op| rest.starts_with(**op)) {
            self.push(TokenKind::Op(op), op.len());
            if *op == ";" {
                self.statement = self.tokens.len();
            }
        } else {
            let len = c.len_utf8();
            let mut d = Diagnostic::error(
                error::UNEXPECTED_CHARACTER,
                format!("the character `{}` has no meaning in Flink SQL", c.escape_debug()),
            )
            .with_span(Span::new(self.source, self.at, self.at + len), "unexpected");
            if c == '#' {
                d = d.with_help("comments start with `--` or `//`, or stand in `/* … */`");
            } else if matches!(c, '‘' | '’' | '“' | '”' | '´') {
                d = d.with_help("this is a typographic quote; strings stand in the plain quote '…'");
            }
            self.errors.push(d);
            self.at += len;
        }
    }

    fn push(&mut self, kind: TokenKind, len: usize) {
        self.tokens.push(Token { kind, start: self.at, end: self.at + len });
        self.at += len;
    }

    /// Whether this place is glued to the `:` of a value of SET.
    fn in_set_value(&self) -> bool {
        let first = self.tokens.get(self.statement);
        let last = self.tokens.last();
        first.is_some_and(|t| t.is_word(self.text, "SET")) && last.is_some_and(|t| t.end == self.at && t.is_op(":"))
    }

    fn number(&mut self) {
        let len = number_len(self.rest());
        let after = self.rest()[len..].chars().next();
        self.push(TokenKind::Number, len);
        if let Some(c) = after.filter(|c| continues_word(*c)) {
            // Flink reads `1_000` as the number 1 named `_000`. That is never what was meant.
            self.errors.push(
                Diagnostic::error(error::UNEXPECTED_CHARACTER, format!("the number runs into `{c}`"))
                    .with_span(Span::new(self.source, self.at, self.at + c.len_utf8()), "unexpected")
                    .with_help("write digits only: `1000`, `1.5`, `1e3`; put a space before a word that follows"),
            );
        }
    }

    fn block_comment(&mut self) {
        let rest = self.rest();
        let hint = rest.starts_with("/*+");
        // A string inside a hint may contain the end mark.
        let body = if hint { 3 } else { 2 };
        let end = if hint { hint_end(&rest[body..]) } else { rest[body..].find("*/") };
        match end {
            Some(end) if hint => self.push(TokenKind::Hint, body + end + 2),
            Some(end) => self.at += body + end + 2,
            None => {
                self.unclosed(2, "comment", "`*/`");
                self.at = self.text.len();
            }
        }
    }

    /// A quoted token; the quote doubled is the quote itself.
    fn quoted(&mut self, quote: char, prefix: usize, kind: TokenKind, what: &str) {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let mut i = prefix + 1;
        while let Some(found) = bytes.get(i..).and_then(|b| b.iter().position(|b| *b == quote as u8)) {
            i += found + 1;
            if bytes.get(i) != Some(&(quote as u8)) {
                return self.push(kind, i);
            }
            i += 1;
        }
        self.unclosed(prefix + 1, what, &format!("`{quote}`"));
        // The quote that opens by mistake would swallow the rest of the script, and with it every other error: go on at the
        // end of the line, and leave a `;` there alone.
        let line = rest[..rest.find('\n').unwrap_or(rest.len())].trim_end();
        let line = line.strip_suffix(';').unwrap_or(line);
        self.push(kind, line.len().max(prefix + 1));
    }

    fn unclosed(&mut self, len: usize, what: &str, close: &str) {
        self.errors.push(
            Diagnostic::error(error::UNCLOSED, format!("this {what} is never closed"))
                .with_span(Span::new(self.source, self.at, self.at + len), "opened here")
                .with_help(format!("close it with {close}")),
        );
    }
}

/// Length of `U&`, `E`, `N`, `X`, `_UTF16` and the like in front of a string; `None` when no string follows.
fn string_prefix(rest: &str) -> Option<usize> {
    if let Some(name) = rest.strip_prefix('_') {
        let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).map(|e| e + 1)?;
        return (end > 1 && rest[end..].starts_with('\'')).then_some(end);
    }
    let b = rest.as_bytes();
    match b {
        [b'U' | b'u', b'&', b'\'', ..] => Some(2),
        [b'E' | b'e' | b'N' | b'n' | b'X' | b'x', b'\'', ..] => Some(1),
        _ => None,
    }
}

/// Length of the number a text starts with: `1`, `1.5`, `.5`, `5.`, `1e3`.
fn number_len(rest: &str) -> usize {
    let b = rest.as_bytes();
    let digits = |mut i: usize| {
        while b.get(i).is_some_and(u8::is_ascii_digit) {
            i += 1;
        }
        i
    };
    let mut i = digits(0);
    if b.get(i) == Some(&b'.') {
        i = digits(i + 1);
    }
    if matches!(b.get(i), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(b.get(i + 1), Some(b'+' | b'-')));
        let end = digits(i + 1 + sign);
        if end > i + 1 + sign {
            i = end;
        }
    }
    i
}

/// Where the `*/` of a hint starts; strings are skipped.
fn hint_end(body: &str) -> Option<usize> {
    let b = body.as_bytes();
    let mut in_string = false;
    for i in 0..b.len() {
        match b[i] {
            b'\'' => in_string = !in_string,
            b'*' if !in_string && b.get(i + 1) == Some(&b'/') => return Some(i),
            _ => {}
        }
    }
    None
}

/// The content of a quoted token without its quotes and with doubled quotes halved. `token` starts with the quote.
pub(crate) fn unquote(token: &str) -> String {
    let mut chars = token.chars();
    let Some(quote) = chars.next() else { return String::new() };
    let body = chars.as_str();
    let body = body.strip_suffix(quote).unwrap_or(body);
    let mut doubled = String::with_capacity(2);
    doubled.push(quote);
    doubled.push(quote);
    body.replace(&doubled, &doubled[..quote.len_utf8()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        let (tokens, errors) = lex(SourceId(0), text);
        assert!(errors.is_empty(), "{errors:?}");
        tokens.iter().map(|t| t.text(text)).collect()
    }

    #[test]
    fn comments_are_left_out_and_hints_are_kept() {
        assert_eq!(words("a -- b\n// c\n/* d /* */ e /*+ F('*/') */ g"), ["a", "e", "/*+ F('*/') */", "g"]);
    }

    #[test]
    fn quotes_are_doubled_and_the_backslash_is_literal() {
        assert_eq!(words(r"'it''s' '\' `a``b` U&'\00e9'"), ["'it''s'", r"'\'", "`a``b`", r"U&'\00e9'"]);
        assert_eq!(unquote("'it''s'"), "it's");
        assert_eq!(unquote("`a``b`"), "a`b");
        assert_eq!(unquote("''''"), "'");
        assert_eq!(unquote("'"), "");
    }

    #[test]
    fn numbers_have_fraction_and_exponent() {
        assert_eq!(
            words("1 1.5 .5 5. 1e3 1E-3 a[1].b"),
            ["1", "1.5", ".5", "5.", "1e3", "1E-3", "a", "[", "1", "]", ".", "b"]
        );
    }

    #[test]
    fn a_number_that_runs_into_a_word_is_an_error() {
        for text in ["1_000", "0x1F", "1ee", "2.b"] {
            let (_, errors) = lex(SourceId(0), text);
            assert_eq!(errors.len(), 1, "{text}");
        }
    }

    #[test]
    fn a_url_is_a_value_of_set_and_a_comment_elsewhere() {
        assert_eq!(words("SET a = s3://b/c; x").last(), Some(&"x"));
        assert_eq!(words("SELECT a://b/c; x"), ["SELECT", "a", ":"]);
    }

    #[test]
    fn operators_take_the_longest_form() {
        assert_eq!(words("a<=>b=>c<>d||e"), ["a", "<=>", "b", "=>", "c", "<>", "d", "||", "e"]);
    }

    #[test]
    fn an_open_quote_costs_one_line_only() {
        let text = "SELECT 'abc\nFROM t";
        let (tokens, errors) = lex(SourceId(0), text);
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].code, error::UNCLOSED.code);
        assert_eq!(tokens.last().map(|t| t.text(text)), Some("t"));
    }

    #[test]
    fn a_foreign_character_is_named() {
        let (_, errors) = lex(SourceId(0), "a # é");
        assert_eq!(errors.len(), 1);
        assert!(errors[0].message.contains("`#`"));
    }
}
