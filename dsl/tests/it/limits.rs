//! Every limit at n and n + 1, and texts made to break parsers.

use dflow_common::limits::{DIAGNOSTICS_MAX, NESTING_MAX, SCRIPT_BYTES_MAX};
use dflow_dsl::dialect::CHAIN_MAX;
use dflow_dsl::error;
use dflow_dsl::parse;

use crate::{SOURCE, bad, good};

fn nested(open: &str, inner: &str, close: &str, n: usize) -> String {
    format!("{}{inner}{}", open.repeat(n), close.repeat(n))
}

/// The text at the limit is accepted; one level more is refused with the nesting code and nothing else.
fn at_the_limit(name: &str, text: impl Fn(usize) -> String) {
    good(&text(NESTING_MAX));
    let errors = bad(&text(NESTING_MAX + 1));
    assert_eq!(errors.iter().map(|d| d.code).collect::<Vec<_>>(), [error::NESTED_TOO_DEEP.code], "{name}");
}

#[test]
fn nesting_ends_at_its_limit() {
    at_the_limit("parentheses", |n| format!("SELECT {}", nested("(", "1", ")", n)));
    at_the_limit("functions", |n| format!("SELECT {}", nested("ABS(", "1", ")", n)));
    at_the_limit("subqueries", |n| nested("SELECT * FROM (", "SELECT 1", ")", n));
    at_the_limit("array literals", |n| format!("SELECT {}", nested("ARRAY[", "1", "]", n)));
    at_the_limit("array types", |n| format!("CREATE TABLE t (a {})", nested("ARRAY<", "INT", ">", n - 1)));
    at_the_limit("row types", |n| format!("CREATE TABLE t (a {})", nested("ROW<f ", "INT", ">", n - 1)));
    at_the_limit("row types in parentheses", |n| format!("CREATE TABLE t (a {})", nested("ROW(f ", "INT", ")", n - 1)));
    at_the_limit("casts", |n| format!("SELECT CAST(x AS {})", nested("ARRAY<", "INT", ">", n - 1)));
    at_the_limit("cases", |n| format!("SELECT {}", nested("CASE WHEN TRUE THEN ", "1", " END", n)));
    at_the_limit("computed columns", |n| format!("CREATE TABLE t (a AS {})", nested("(", "1", ")", n - 1)));
}

#[test]
fn words_that_nest_without_brackets_end_too() {
    for (open, inner, close) in [
        ("NOT ", "TRUE", ""),
        ("- ", "1", ""),
        ("CASE WHEN TRUE THEN ", "1", " END"),
        ("CASE ", "1", " WHEN 1 THEN 1 END"),
    ] {
        good(&format!("SELECT {}", nested(open, inner, close, 100)));
        let errors = bad(&format!("SELECT {}", nested(open, inner, close, 20_000)));
        assert_eq!(errors[0].code, error::NESTED_TOO_DEEP.code, "{open}");
    }
    good(&format!("CREATE TABLE t (a INT {})", "ARRAY ".repeat(NESTING_MAX - 1)));
    let errors = bad(&format!("CREATE TABLE t (a INT {})", "ARRAY ".repeat(NESTING_MAX)));
    assert_eq!(errors[0].code, error::NESTED_TOO_DEEP.code);
}

#[test]
fn chains_of_operators_end_at_their_limit() {
    for (first, step) in [
        ("1", " + 1"),
        ("1", " AND 1"),
        ("1", " || 1"),
        ("1", " IS NULL"),
        ("(1)", " * (1)"),
        ("1", " BETWEEN 1 AND 1"),
    ] {
        good(&format!("SELECT {first}{}", step.repeat(CHAIN_MAX)));
        let errors = bad(&format!("SELECT {first}{}", step.repeat(CHAIN_MAX + 1)));
        assert_eq!(errors[0].code, error::NESTED_TOO_DEEP.code, "{step}");
    }
    // An operator that binds weaker starts the chain of the stronger one anew.
    good(&format!("SELECT 1{}", " OR 1 = 1 + 1".repeat(CHAIN_MAX - 2)));
    bad(&format!("SELECT 1{}", " OR 1 = 1 + 1".repeat(CHAIN_MAX - 1)));
    good(&format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(CHAIN_MAX)));
    let errors = bad(&format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(CHAIN_MAX + 1)));
    assert_eq!(errors[0].code, error::NESTED_TOO_DEEP.code);
    // A comma starts a new chain, and lists are no chains.
    good(&format!("SELECT 1{}", " + 1, 2".repeat(CHAIN_MAX + 1)));
    good(&format!("SELECT a IN (1{})", ", 1".repeat(10 * CHAIN_MAX)));
}

#[test]
fn a_script_ends_at_its_limit() {
    let text = |n: usize| format!("SELECT 1;{}", " ".repeat(n - 9));
    good(&text(SCRIPT_BYTES_MAX));
    let errors = bad(&text(SCRIPT_BYTES_MAX + 1));
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].code, error::SCRIPT_TOO_LARGE.code);
    // The limit may fall into a character.
    bad(&"é".repeat(SCRIPT_BYTES_MAX / 2 + 1));
}

#[test]
fn the_errors_end_at_their_limit() {
    let text = |n: usize| "FOO;\n".repeat(n);
    let errors = bad(&text(DIAGNOSTICS_MAX));
    assert_eq!(errors.len(), DIAGNOSTICS_MAX);
    assert!(errors.iter().all(|d| d.code == error::UNKNOWN_STATEMENT.code));
    let errors = bad(&text(DIAGNOSTICS_MAX + 1));
    assert_eq!(errors.len(), DIAGNOSTICS_MAX);
    let last = errors.last().unwrap();
    assert_eq!(last.code, error::TOO_MANY_ERRORS.code);
    assert_eq!(last.message, "2 more errors are not shown");
}

/// sqlparser tries a parenthesis in FROM first as a subquery and then as a join; wrong at the bottom, that doubles per level.
#[test]
fn backtracking_is_given_up() {
    let text = format!("SELECT * FROM {}", nested("((SELECT * FROM ", "t WHERE 1 1", "))", 30));
    let errors = bad(&text);
    assert_eq!(errors[0].code, error::QUERY_SYNTAX.code);
}

#[test]
fn a_megabyte_of_anything_gets_an_answer() {
    for scrap in
        ["(", "[", "'", "`", "a.", "a ", "NOT ", "SELECT ", "1+", "CASE ", "ROW<", "/*", "/*+", ";", "BEGIN ", ",", "$"]
    {
        let text = scrap.repeat(SCRIPT_BYTES_MAX / scrap.len() / 4);
        parse(SOURCE, &text);
        parse(SOURCE, &format!("SELECT {text}"));
        parse(SOURCE, &format!("CREATE TABLE t (a {text}"));
    }
}
