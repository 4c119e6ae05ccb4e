use dflow_common::{ChangeBatch, Ops};

use crate::kit::*;

fn t() -> Vec<(&'static str, dflow_common::SqlType)> {
    vec![("id", int()), ("n", string())]
}

#[test]
fn changes_become_rows_with_kinds() {
    let text = read(&format!("{}/tests/data/orders.debezium.json", env!("CARGO_MANIFEST_DIR")));
    assert_eq!(
        rows("debezium-json", &table(&t(), &[]), &text),
        [
            r#"{"id":1,"n":"pen"}"#,
            r#"{"id":2,"n":"cup"}"#,
            r#"-U {"id":1,"n":"pen"}"#,
            r#"+U {"id":1,"n":"ink"}"#,
            r#"-D {"id":2,"n":"cup"}"#,
        ]
    );
}

#[test]
fn the_schema_envelope_is_opened_when_asked() {
    let with = table(&t(), &[("schema-include", "true")]);
    let text = r#"{"schema":{"type":"struct"},"payload":{"before":null,"after":{"id":1},"op":"c"}}"#;
    assert_eq!(rows("debezium-json", &with, text), [r#"{"id":1,"n":null}"#]);
    assert_eq!(
        bad("debezium-json", &table(&t(), &[]), text),
        ["1:op: it is missing; set 'debezium-json.schema-include' = 'true' for messages with schema"]
    );
    assert_eq!(
        bad("debezium-json", &with, r#"{"before":null,"after":{"id":1},"op":"c"}"#),
        ["1:payload: it is missing; set 'debezium-json.schema-include' = 'false' for messages without schema"]
    );
    assert!(refused(format("debezium-json").encoding(&with))[0].starts_with("DF2303"));
}

#[test]
fn a_change_that_lacks_a_side_is_bad_and_leaves_neither_row() {
    let text = r#"{"before":null,"after":{"id":1,"n":"x"},"op":"u"}
{"before":{"id":1},"after":null,"op":"u"}
{"before":{"id":1},"after":{"id":"x"},"op":"u"}
{"before":null,"op":"d"}
{"after":{"id":1},"op":"z"}
{"after":{"id":1}}
{"after":{"id":7},"op":"r"}
null
"#;
    let (rows, _) = decode("debezium-json", &table(&t(), &[]), text);
    assert_eq!(rows, [r#"{"id":7,"n":null}"#]);
    let why = "make the database log full rows (PostgreSQL: REPLICA IDENTITY FULL)";
    assert_eq!(
        bad("debezium-json", &table(&t(), &[]), text),
        [
            format!("1:before: a change with op \"u\" needs `before`; {why}"),
            "2:after: a change with op \"u\" needs `after`".into(),
            "3:after.id: `x` is not a whole number".into(),
            format!("4:before: a change with op \"d\" needs `before`; {why}"),
            "5:op: \"z\" is not one of c, r, u, d".into(),
            "6:op: it is missing".into(),
        ]
    );
}

#[test]
fn kinds_stay_beside_their_rows_when_others_are_hidden() {
    let text = r#"{"after":{"id":1},"op":"c"}
{oops
{"before":{"id":2,"id":3},"after":{"id":4,"id":5},"op":"u"}
{"before":{"id":"x"},"op":"d"}
{"before":{"id":6},"op":"d"}
{"after":{"id":7},"op":"c"}
"#;
    let (rows, _) = decode("debezium-json", &table(&[("id", int())], &[]), text);
    assert_eq!(rows, [r#"{"id":1}"#, r#"-U {"id":3}"#, r#"+U {"id":5}"#, r#"-D {"id":6}"#, r#"{"id":7}"#]);
}

#[test]
fn a_changelog_survives_the_way_there_and_back_by_sign() {
    let request = table(&t(), &[]);
    let data =
        batch(&request, "{\"id\":1,\"n\":\"a\"}\n{\"id\":1,\"n\":\"a\"}\n{\"id\":1,\"n\":\"b\"}\n{\"id\":2}\n").data;
    let changes = ChangeBatch::new(data, Ops::from_kinds(vec![0, 1, 2, 3]));
    let text = String::from_utf8(encode("debezium-json", &request, &changes)).unwrap();
    assert_eq!(
        text,
        "{\"before\":null,\"after\":{\"id\":1,\"n\":\"a\"},\"op\":\"c\"}\n\
         {\"before\":{\"id\":1,\"n\":\"a\"},\"after\":null,\"op\":\"d\"}\n\
         {\"before\":null,\"after\":{\"id\":1,\"n\":\"b\"},\"op\":\"c\"}\n\
         {\"before\":{\"id\":2,\"n\":null},\"after\":null,\"op\":\"d\"}\n"
    );
    assert_eq!(
        rows("debezium-json", &request, &text),
        [r#"{"id":1,"n":"a"}"#, r#"-D {"id":1,"n":"a"}"#, r#"{"id":1,"n":"b"}"#, r#"-D {"id":2,"n":null}"#]
    );
    assert!(encoding("debezium-json", &request).changelog());
    assert!(!encoding("json", &request).changelog());
}
