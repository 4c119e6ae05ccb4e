//! The mistakes people make, and what they read then.

use dflow_dsl::parse;

use crate::{SOURCE, bad, errors};

/// `tests/data/mistakes.txt`: scripts with mistakes, separated by `====`. The messages are golden.
#[test]
fn every_mistake_has_its_message() {
    let path = format!("{}/tests/data/mistakes.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let mut out = String::new();
    for script in text.split("\n====\n") {
        let script = script.trim_end();
        let parsed = parse(SOURCE, script);
        assert!(!parsed.is_ok(), "accepted: {script}");
        out += &format!("{script}\n---\n{}===\n", errors(script, &parsed));
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("mistakes", out);
    });
}

#[test]
fn all_independent_errors_of_a_script_are_reported_in_order() {
    let text = "
        CREATE TABLE a (x TEXT, y INT,) WITH (connector = 'x');
        SELECT a FROM;
        SET 'k' = v;
        SELECT ok FROM fine;
        DROP TABEL t;
        INSERT INTO b SELECT 'open;
        SELECT 1 != 2;
    ";
    let found: Vec<u16> = bad(text).iter().map(|d| d.code.0).collect();
    assert_eq!(found, [1020, 1012, 1030, 1009, 1001, 1001, 1002, 1013]);
}

#[test]
fn an_error_says_where_the_other_place_is() {
    let errors = bad("CREATE TABLE t (id INT PRIMARY KEY NOT ENFORCED, k INT, PRIMARY KEY (k) NOT ENFORCED)");
    assert_eq!(errors[0].labels.len(), 1);
    assert_eq!(errors[0].labels[0].text, "the first");
}

#[test]
fn a_broken_create_keeps_the_name_it_was_going_to_define() {
    use dflow_dsl::ast::StatementKind;
    let cases = [
        ("CREATE TABLE a.`b c` (x FOO)", Some("a.`b c`")),
        ("CREATE TEMPORARY VIEW IF NOT EXISTS v AS SELECT", Some("v")),
        ("CREATE OR REPLACE TABLE t (a INT) WITH (k = 1)", Some("t")),
        ("DROP TABEL t", None),
    ];
    for (text, expected) in cases {
        let parsed = parse(SOURCE, text);
        let StatementKind::Invalid(invalid) = &parsed.script.statements[0].kind else { panic!("{text} is valid") };
        assert_eq!(invalid.creates.as_ref().map(ToString::to_string).as_deref(), expected, "{text}");
    }
}
