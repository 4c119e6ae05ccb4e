//! Other texts of the same meaning: comments, layout, the case of keywords, names of aliases.
//!
//! Works on tokens: in generated scripts words in capitals are SQL's own, and `c0`, `q1`, `v2` name columns, subqueries and
//! views of the query. Names inside `CREATE TABLE` must not be passed in: those are data.

use dflow_common::env::{Rng, SeededRng};

/// Random comments and white space between the tokens, random case of keywords.
pub fn layout(sql: &str, rng: &SeededRng) -> String {
    let mut out = String::new();
    for token in tokens(sql) {
        if token.chars().all(char::is_whitespace) {
            out.push_str(["  ", "\n", "\t ", " /* a 'note' */ ", " -- GROUP BY nothing\n", " "][rng.below(6) as usize]);
        } else if is_keyword(token) {
            match rng.below(3) {
                0 => out.push_str(&token.to_lowercase()),
                1 => {
                    out.extend(token.chars().enumerate().map(|(i, c)| if i == 0 { c } else { c.to_ascii_lowercase() }))
                }
                _ => out.push_str(token),
            }
        } else {
            out.push_str(token);
        }
    }
    out
}

/// Other names for the columns, subqueries and views that the query itself names.
pub fn aliases(sql: &str) -> String {
    let rename = |token: &str| match token.split_at_checked(1) {
        Some(("c", n)) if is_number(n) => format!("`Column {n}`"),
        Some(("q", n)) if is_number(n) => format!("sub{n}"),
        Some(("v", n)) if is_number(n) => format!("`the view {n}`"),
        _ => token.to_owned(),
    };
    tokens(sql).into_iter().map(rename).collect()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_keyword(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_uppercase()) && token.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

/// Words, strings, quoted names, runs of white space, and everything else a character at a time.
fn tokens(sql: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let end = if first == '\'' || first == '`' {
            // `''` inside a string ends one and begins the next, which comes to the same.
            rest[1..].find(first).map_or(rest.len(), |i| i + 2)
        } else if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if first.is_whitespace() {
            rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (token, left) = rest.split_at(end);
        out.push(token);
        rest = left;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_tables_are_left_alone() {
        let sql = "SELECT c0 AS c1, 'it''s C1 c0' FROM (SELECT id AS c0 FROM t) AS q3 WHERE c0 > 1E0";
        let named = aliases(sql);
        assert!(named.contains("`Column 0` AS `Column 1`, 'it''s C1 c0' FROM (SELECT id AS"), "{named}");
        assert!(named.contains("FROM t) AS sub3"), "{named}");
        let spread = layout(sql, &SeededRng::new(1));
        assert!(spread.contains("'it''s C1 c0'") && spread.contains("1E0"), "{spread}");
    }
}
