//! ALTER TABLE, ALTER VIEW, and views over tables that change.

use dflow_common::limits::NESTED_VIEWS_MAX;
use dflow_engine::CompiledStatement;

use super::kit::{check, kit};

const TABLE: &str = "CREATE TABLE t (id INT, name STRING, ts TIMESTAMP(3), twice AS id * 2,
  PRIMARY KEY (id) NOT ENFORCED, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
  PARTITIONED BY (name) WITH ('connector' = 'mem', 'topic' = 'a');\n";

fn shown(script: &str) -> String {
    let mut kit = kit(1);
    let script = kit.compile(&format!("{script} SHOW CREATE TABLE t;")).unwrap_or_else(|e| panic!("{e:#?}"));
    match script.statements.into_iter().next_back() {
        Some(CompiledStatement::Rows(rows)) => rows.rows[0][0].clone().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The definition between its parentheses, on one line.
fn body(alter: &str) -> String {
    let text = shown(&format!("{TABLE}{alter};"));
    let body = text.split_once("(\n").unwrap().1.split_once("\n)").unwrap().0;
    body.split_whitespace().collect::<Vec<_>>().join(" ")
}

const BODY: &str = "`id` INT NOT NULL, `name` STRING, `ts` TIMESTAMP(3), `twice` AS id * 2, \
                    WATERMARK FOR `ts` AS ts - INTERVAL '5' SECOND, PRIMARY KEY (`id`) NOT ENFORCED";

#[test]
fn a_table_is_as_if_it_had_been_created_so() {
    for (alter, from, to) in [
        ("ALTER TABLE t ADD x BIGINT", "`twice` AS id * 2,", "`twice` AS id * 2, `x` BIGINT,"),
        (
            "ALTER TABLE t ADD (x INT FIRST, y AS x + id AFTER name)",
            BODY,
            "`x` INT, `id` INT NOT NULL, `name` STRING, `y` AS x + id, `ts` TIMESTAMP(3), `twice` AS id * 2, WATERMARK FOR `ts` AS ts - INTERVAL '5' SECOND, PRIMARY KEY (`id`) NOT ENFORCED",
        ),
        ("ALTER TABLE t MODIFY id BIGINT COMMENT 'wide'", "`id` INT NOT NULL", "`id` BIGINT NOT NULL COMMENT 'wide'"),
        (
            "ALTER TABLE t MODIFY twice AS id * 3 FIRST",
            "`id` INT NOT NULL, `name` STRING, `ts` TIMESTAMP(3), `twice` AS id * 2",
            "`twice` AS id * 3, `id` INT NOT NULL, `name` STRING, `ts` TIMESTAMP(3)",
        ),
        ("ALTER TABLE t MODIFY WATERMARK FOR ts AS ts", "AS ts - INTERVAL '5' SECOND", "AS ts"),
        (
            "ALTER TABLE t MODIFY (CONSTRAINT pk PRIMARY KEY (id, name) NOT ENFORCED)",
            BODY,
            "`id` INT NOT NULL, `name` STRING NOT NULL, `ts` TIMESTAMP(3), `twice` AS id * 2, WATERMARK FOR `ts` AS ts - INTERVAL '5' SECOND, CONSTRAINT `pk` PRIMARY KEY (`id`, `name`) NOT ENFORCED",
        ),
        ("ALTER TABLE t DROP WATERMARK", " WATERMARK FOR `ts` AS ts - INTERVAL '5' SECOND,", ""),
        ("ALTER TABLE t DROP PRIMARY KEY", ", PRIMARY KEY (`id`) NOT ENFORCED", ""),
        ("ALTER TABLE t DROP twice", " `twice` AS id * 2,", ""),
        (
            "ALTER TABLE t DROP PRIMARY KEY; ALTER TABLE t DROP (id, twice)",
            BODY,
            "`name` STRING, `ts` TIMESTAMP(3), WATERMARK FOR `ts` AS ts - INTERVAL '5' SECOND",
        ),
        ("ALTER TABLE t RENAME twice TO `double`", "`twice`", "`double`"),
        (
            "ALTER TABLE t DROP twice; ALTER TABLE t RENAME id TO k",
            BODY,
            "`k` INT NOT NULL, `name` STRING, `ts` TIMESTAMP(3), WATERMARK FOR `ts` AS ts - INTERVAL '5' SECOND, PRIMARY KEY (`k`) NOT ENFORCED",
        ),
        ("ALTER TABLE IF EXISTS nope DROP x", "", ""),
    ] {
        let expected = if from.is_empty() { BODY.to_owned() } else { BODY.replacen(from, to, 1) };
        assert!(from.is_empty() || expected != BODY, "{alter}");
        assert_eq!(body(alter), expected, "{alter}");
    }
}

#[test]
fn options_are_set_and_reset_and_checked() {
    let text = shown(&format!("{TABLE}ALTER TABLE t SET ('topic' = 'b', 'password' = 'canary');"));
    assert!(text.contains("'topic' = 'b'") && text.contains("'password' = '***'"), "{text}");
    let text = shown(&format!("{TABLE}ALTER TABLE t RESET ('topic');"));
    assert!(!text.contains("topic") && text.contains("'connector' = 'mem'"), "{text}");
    let errors = kit(1).compile(&format!("{TABLE}ALTER TABLE t SET ('topics' = 'b');")).unwrap_err();
    assert_eq!(errors[0].code.to_string(), "DF2302", "{errors:#?}");
}

#[test]
fn what_cannot_be_altered_is_told_at_its_place() {
    for (alter, code, caret, message) in [
        ("ALTER TABLE t ADD name INT", 2201, "name", "column `name` exists already in the table"),
        ("ALTER TABLE t ADD (x INT, x STRING)", 2201, "x", "column `x` is named twice"),
        ("ALTER TABLE t ADD x INT AFTER nme", 2006, "nme", "AFTER a column that does not exist in the table: `nme`"),
        ("ALTER TABLE t MODIFY nme INT", 2006, "nme", "MODIFY a column that does not exist in the table: `nme`"),
        (
            "ALTER TABLE t ADD PRIMARY KEY (name) NOT ENFORCED",
            2211,
            "PRIMARY KEY (name) NOT ENFORCED",
            "the table has the primary key (`id`) already",
        ),
        (
            "ALTER TABLE t ADD WATERMARK FOR ts AS ts",
            2211,
            "WATERMARK FOR ts AS ts",
            "the table has the watermark `ts` AS ts - INTERVAL '5' SECOND already",
        ),
        ("ALTER TABLE t RENAME id TO k", 2211, "id", "column `id` is used by the computed column `twice`"),
        ("ALTER TABLE t RENAME ts TO k", 2211, "ts", "column `ts` is used by the watermark"),
        ("ALTER TABLE t RENAME name TO k", 2211, "name", "column `name` is a partition column"),
        ("ALTER TABLE t RENAME twice TO name", 2201, "name", "column `name` exists already in the table"),
        ("ALTER TABLE t RENAME nme TO k", 2006, "nme", "no such column in the table: `nme`"),
        ("ALTER TABLE t DROP (id, twice)", 2211, "id", "column `id` is part of the primary key"),
        ("ALTER TABLE t DROP (twice, twice)", 2201, "twice", "column `twice` is named twice"),
        ("ALTER TABLE t DROP CONSTRAINT pk", 2211, "pk", "the primary key of the table is not called `pk`"),
        ("ALTER TABLE t DROP DISTRIBUTION", 2211, "t", "the table has no distribution"),
        ("ALTER TABLE t RESET ('connector')", 2211, "'connector'", "'connector' cannot be reset"),
        ("ALTER TABLE t RESET ('topik')", 2211, "'topik'", "the table has no option 'topik'"),
        (
            "ALTER TABLE t DROP PRIMARY KEY; ALTER TABLE t DROP PRIMARY KEY",
            2211,
            "t",
            "the table has no primary key to drop",
        ),
        (
            "ALTER TABLE t MODIFY ts DATE",
            2203,
            "ts",
            "`ts` is DATE; a watermark needs TIMESTAMP(3) or TIMESTAMP_LTZ(3)",
        ),
        ("ALTER TABLE t RENAME TO u", 2004, "u", "table `u` exists already"),
        ("ALTER TABLE t RENAME TO d.t", 2005, "d.t", "`t` stays in database `default_database`"),
        ("ALTER TABLE v RENAME TO w", 2009, "v", "`v` is a view, not a table"),
        ("ALTER TABLE tmp DROP x", 2009, "tmp", "`tmp` is a temporary table: ALTER is for permanent ones"),
        ("ALTER TABLE nope DROP x", 2001, "nope", "table or view `nope` not found"),
        (
            "ALTER TABLE t DROP PARTITION (name = 'a')",
            1900,
            "t",
            "ALTER TABLE … DROP PARTITION is valid Flink SQL, but dflow does not support it",
        ),
        ("ALTER VIEW t AS SELECT 1", 2009, "t", "`t` is a table, not a view"),
        ("ALTER VIEW v AS SELECT a FROM v", 2207, "v", "view `v` reads itself"),
    ] {
        let mut kit = kit(1);
        let more =
            "CREATE TABLE u (a INT) WITH ('connector' = 'mem'); CREATE VIEW v AS SELECT a FROM u; CREATE DATABASE d;
            CREATE TEMPORARY TABLE tmp (x INT) WITH ('connector' = 'mem');";
        let errors = kit.compile(&format!("{TABLE}{more}{alter};")).unwrap_err();
        let [d] = errors.as_slice() else { panic!("one error: {alter}: {errors:#?}") };
        let got = (d.code.0, kit.sources.text(d.span().unwrap()), d.message.as_str());
        assert_eq!(got, (code, caret, message), "{alter}");
    }
}

#[test]
fn a_renamed_table_is_found_by_its_new_name() {
    check(
        "CREATE TABLE t (id INT) WITH ('connector' = 'mem', 'rows' = '+ 1; + 2');
         CREATE TABLE s (n INT) WITH ('connector' = 'mem');
         ALTER TABLE t RENAME TO src; ALTER TABLE s RENAME TO sunk; ALTER TABLE src ADD plus AS id + 10;
         INSERT INTO sunk SELECT plus FROM src;",
        &["11", "12"],
    );
}

#[test]
fn a_view_reads_the_table_of_today_and_keeps_its_columns() {
    check(
        "CREATE TABLE t (id INT, name STRING) WITH ('connector' = 'mem', 'rows' = '+ 1,old');
         CREATE VIEW v AS SELECT * FROM t; CREATE VIEW w (k, label) AS SELECT id, UPPER(name) FROM v;
         DROP TABLE t;
         CREATE TABLE t (extra INT, name STRING, id SMALLINT) WITH ('connector' = 'mem', 'rows' = '+ 7,new,2');
         CREATE TABLE sunk (k INT, label STRING) WITH ('connector' = 'mem');
         INSERT INTO sunk SELECT * FROM w;",
        &["2|NEW"],
    );
}

#[test]
fn a_view_that_no_longer_fits_is_named() {
    let base = "CREATE TABLE t (id INT, name STRING) WITH ('connector' = 'mem'); CREATE VIEW v AS SELECT * FROM t; \
                CREATE VIEW w AS SELECT id FROM v; DROP TABLE t;";
    for (then, code, caret, message) in [
        ("SELECT id FROM v;", 2210, "v", "view `v` no longer fits what it reads: table or view `t` not found"),
        (
            "CREATE TABLE t (id INT) WITH ('connector' = 'mem'); SELECT id FROM v;",
            2210,
            "v",
            "view `v` no longer fits what it reads: its query has no column `name`",
        ),
        (
            "CREATE TABLE t (id DATE, name STRING) WITH ('connector' = 'mem'); SELECT id FROM v;",
            2210,
            "v",
            "view `v` no longer fits what it reads: its column `id` was INT and is DATE now",
        ),
        ("SELECT id FROM w;", 2210, "v", "view `v` no longer fits what it reads: table or view `t` not found"),
    ] {
        let mut kit = kit(1);
        let errors = kit.compile(&format!("{base} {then}")).unwrap_err();
        let [d] = errors.as_slice() else { panic!("one error: {then}: {errors:#?}") };
        assert_eq!((d.code.0, kit.sources.text(d.span().unwrap()), d.message.as_str()), (code, caret, message));
    }
}

#[test]
fn a_view_looks_names_up_where_it_was_written() {
    check(
        "CREATE DATABASE d; USE d; CREATE TABLE t (id INT) WITH ('connector' = 'mem', 'rows' = '+ 1');
         CREATE VIEW v AS SELECT id FROM t; USE default_database;
         CREATE TABLE t (id INT) WITH ('connector' = 'mem', 'rows' = '+ 2');
         CREATE TABLE sunk (id INT) WITH ('connector' = 'mem');
         INSERT INTO sunk SELECT id FROM d.v;",
        &["1"],
    );
}

#[test]
fn an_altered_view_is_what_those_that_read_it_see() {
    check(
        "CREATE TABLE t (id INT) WITH ('connector' = 'mem', 'rows' = '+ 1; + 2');
         CREATE VIEW v AS SELECT id FROM t; CREATE VIEW w AS SELECT id FROM v;
         ALTER VIEW v AS SELECT id * 10 AS id FROM t; ALTER VIEW w RENAME TO x;
         CREATE TABLE sunk (id INT) WITH ('connector' = 'mem');
         INSERT INTO sunk SELECT id FROM x;",
        &["10", "20"],
    );
}

#[test]
fn views_do_not_read_themselves_on_any_way() {
    let base = "CREATE TABLE t (id INT) WITH ('connector' = 'mem'); CREATE VIEW a AS SELECT id FROM t; \
                CREATE VIEW b AS SELECT id FROM a;";
    for change in ["CREATE OR REPLACE VIEW a AS SELECT id FROM b;", "ALTER VIEW a AS SELECT id FROM b;"] {
        let errors = kit(1).compile(&format!("{base} {change}")).unwrap_err();
        assert_eq!((errors[0].code.0, errors[0].message.as_str()), (2207, "view `a` reads itself"), "{errors:#?}");
    }
}

#[test]
fn views_read_one_another_as_deep_as_the_limit_and_not_deeper() {
    let nested = |depth: usize| {
        let views: Vec<String> =
            (1..depth).map(|i| format!("CREATE VIEW v{i} AS SELECT id FROM v{};", i - 1)).collect();
        format!(
            "CREATE TABLE t (id INT) WITH ('connector' = 'mem'); CREATE VIEW v0 AS SELECT id FROM t; {} SELECT id FROM v{};",
            views.join(" "),
            depth - 1
        )
    };
    kit(1).compile(&nested(NESTED_VIEWS_MAX)).unwrap_or_else(|e| panic!("{e:#?}"));
    let errors = kit(1).compile(&nested(NESTED_VIEWS_MAX + 1)).unwrap_err();
    assert_eq!(errors[0].message, format!("more than {NESTED_VIEWS_MAX} views read one another"));
}

#[test]
fn expressions_of_tables_are_in_the_time_zone_of_their_use() {
    for (zone, expected) in [("", "1970-01-01 00"), ("SET 'table.local-time-zone' = 'Asia/Shanghai';", "1970-01-01 08")]
    {
        check(
            &format!(
                "CREATE TABLE t (ms BIGINT, hour_of AS DATE_FORMAT(TO_TIMESTAMP_LTZ(ms, 3), 'yyyy-MM-dd HH'))
                   WITH ('connector' = 'mem', 'rows' = '+ 0');
                 CREATE VIEW v AS SELECT hour_of FROM t;
                 CREATE TABLE sunk (h STRING) WITH ('connector' = 'mem');
                 {zone} INSERT INTO sunk SELECT hour_of FROM v;"
            ),
            &[expected],
        );
    }
}
