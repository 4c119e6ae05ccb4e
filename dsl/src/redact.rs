//! A script's text with the values of secret options masked, for whoever shows lines of it.
//!
//! Messages point into the script, and a renderer prints the line. When that line holds `'password' = 'hunter2'`, the password
//! would be in the terminal, in the log and in the service's answer. This works on tokens, not on the tree, because the
//! statement that has an error has no tree.
//!
//! # Invariants
//! The masked text has the length of the original, its line breaks and its character boundaries outside of the masked
//! values: every span stays valid.

use std::borrow::Cow;
use std::ops::Range;

use dflow_common::SourceId;

use crate::lexer::{Token, TokenKind, lex, unquote};

/// Masks the value of every `key = value` whose key is secret, in WITH, SET, hints, and wherever else it looks like one.
///
/// ```
/// let text = "WITH ('user' = 'a', 'password' = 'hunter2')";
/// let shown = dflow_dsl::redact::redact(text, |key| key == "password");
/// assert_eq!(shown, "WITH ('user' = 'a', 'password' = '*******')");
/// ```
pub fn redact(text: &str, is_secret: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let ranges = secret_values(text, &is_secret);
    if ranges.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for range in ranges {
        out.push_str(&text[at..range.start]);
        for c in text[range.clone()].chars() {
            match c {
                '\n' | '\r' => out.push(c),
                _ => out.extend(std::iter::repeat_n('*', c.len_utf8())),
            }
        }
        at = range.end;
    }
    out.push_str(&text[at..]);
    Cow::Owned(out)
}

/// The secret values that stand in the text between quotes, for whoever masks them in running text.
pub fn literals(text: &str, is_secret: impl Fn(&str) -> bool) -> Vec<String> {
    secret_values(text, &is_secret)
        .into_iter()
        .filter_map(|range| {
            let quote = text[..range.start].chars().next_back().filter(|c| ['\'', '"'].contains(c))?;
            // A quote that was forgotten makes the rest of the script a literal, which is not the secret.
            let closed = text[range.end..].starts_with(quote);
            closed.then(|| text[range].replace(&format!("{quote}{quote}"), &quote.to_string()))
        })
        .collect()
}

/// The bytes of the values, without their quotes, in order.
fn secret_values(text: &str, is_secret: &dyn Fn(&str) -> bool) -> Vec<Range<usize>> {
    let (tokens, _) = lex(SourceId(0), text);
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for at in 0..tokens.len() {
        // A hint is one token with options inside; what is inside has no hints again.
        if let Some(inside) = tokens[at].text(text).strip_prefix("/*+").filter(|_| tokens[at].kind == TokenKind::Hint) {
            let from = tokens[at].start + 3;
            let found = secret_values(inside.strip_suffix("*/").unwrap_or(inside), is_secret);
            ranges.extend(found.into_iter().map(|r| r.start + from..r.end + from));
        }
        if at == 0 || !tokens[at].is_op("=") {
            continue;
        }
        let (key, option) = key_before(text, &tokens, at);
        if is_secret(&key)
            && let Some(range) = value_behind(text, &tokens, at, option)
            && !is_reference(&text[range.clone()])
        {
            ranges.push(range);
        }
    }
    disjoint(ranges)
}

/// The same bytes in order, each in one range. Broken text may put a hint with options into a value.
fn disjoint(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|r| r.start);
    let mut out: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match out.last_mut().filter(|last| range.start < last.end) {
            Some(last) => last.end = last.end.max(range.end),
            None => out.push(range),
        }
    }
    out
}

/// The key in front of the `=` at `at`: quoted, or words glued by dots and dashes; whether it is surely an option's.
///
/// `a.token = b.token` compares columns: its right side is hidden only if it is a literal.
fn key_before(text: &str, tokens: &[Token], at: usize) -> (String, bool) {
    let last = tokens[at - 1];
    match last.kind {
        TokenKind::String | TokenKind::DoubleQuoted | TokenKind::Quoted => {
            let token = last.text(text);
            let key = unquote(&token[token.find(['\'', '"', '`']).unwrap_or(0)..]);
            (key, last.kind != TokenKind::Quoted)
        }
        _ => {
            let mut first = at - 1;
            while first > 0 && tokens[first - 1].end == tokens[first].start && !tokens[first - 1].is_op("(") {
                first -= 1;
            }
            let set = first > 0 && tokens[first - 1].text(text).eq_ignore_ascii_case("SET");
            (text[tokens[first].start..last.end].to_owned(), set)
        }
    }
}

/// Whether the value is one `${…}` without a default: it names where the secret is and is not it.
fn is_reference(value: &str) -> bool {
    let name = value.strip_prefix("${").and_then(|v| v.strip_suffix('}'));
    name.is_some_and(|n| !n.contains(['$', '{', '}']) && !n.contains(":-"))
}

/// The value behind the `=` at `at`: the inside of its quotes, or, if `bare` ones count, tokens without a gap between them.
fn value_behind(text: &str, tokens: &[Token], at: usize, bare: bool) -> Option<Range<usize>> {
    let first = tokens.get(at + 1)?;
    if matches!(first.kind, TokenKind::String | TokenKind::DoubleQuoted) {
        let token = first.text(text);
        let quote = token.find(['\'', '"'])?;
        let closed = token.len() > quote + 1 && token.ends_with(&token[quote..=quote]);
        return Some(first.start + quote + 1..first.end - usize::from(closed));
    }
    if !bare {
        return None;
    }
    let ends = |t: &Token| [",", ")", ";"].iter().any(|op| t.is_op(op));
    let mut end = first.start;
    for token in tokens[at + 1..].iter().take_while(|t| !ends(t)) {
        if token.start != end {
            break;
        }
        end = token.end;
    }
    (end > first.start).then_some(first.start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let masked = redact(text, |key| key.ends_with("password"));
        assert_eq!(masked.len(), text.len());
        masked.into_owned()
    }

    #[test]
    fn values_of_secret_keys_are_masked_in_every_spelling() {
        for (text, expected) in [
            ("SET password=/*+ OPTIONS('password'='b') */c; x", "SET password=*******************************; x"),
            ("WITH ('db.password'='a''b', 'x'='y')", "WITH ('db.password'='****', 'x'='y')"),
            ("ON a.password = b.password AND `password` = x", "ON a.password = b.password AND `password` = x"),
            ("WITH ('password' = '${env:PW}')", "WITH ('password' = '${env:PW}')"),
            ("WITH (password = 'abc')", "WITH (password = '***')"),
            ("WITH (\"password\" = \"abc\")", "WITH (\"password\" = \"***\")"),
            ("WITH ('password' = abc-1, 'x' = 'y')", "WITH ('password' = *****, 'x' = 'y')"),
            ("SET my-app.password = abc;", "SET my-app.password = ***;"),
            ("SET 'password' = '';", "SET 'password' = '';"),
            ("'password' = 'é\nz'", "'password' = '**\n*'"),
            ("FROM t /*+ OPTIONS('password' = 'abc') */, u", "FROM t /*+ OPTIONS('password' = '***') */, u"),
            ("/* 'password' = 'seen' */ SELECT 1", "/* 'password' = 'seen' */ SELECT 1"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn a_broken_statement_is_masked_too() {
        assert_eq!(shown("CREATE TABEL t WITH ('password' = 'abc"), "CREATE TABEL t WITH ('password' = '***");
        assert_eq!(shown("'password' = "), "'password' = ");
        assert_eq!(shown("'password' = '"), "'password' = '");
    }

    #[test]
    fn literals_are_what_stands_between_quotes_that_close() {
        let of = |text| literals(text, |key| key == "password");
        assert_eq!(of("WITH ('password' = 'a''b', 'x' = 'y')"), ["a'b"]);
        assert!(of("SET password = abc; 'password' = 'abc\nSELECT 1;").is_empty());
    }

    #[test]
    fn a_text_without_secrets_is_not_copied() {
        assert!(matches!(redact("SELECT a = 'b'", |k| k == "password"), Cow::Borrowed(_)));
    }
}
