//! What the statements' nodes hold, where the golden trees of the corpus do not show it.

use dflow_common::TypeKind;
use dflow_dsl::ast::*;
use dflow_dsl::vars::{OptionText, Variables, expand_options};
use dflow_dsl::{error, parse};

use crate::{SOURCE, bad, dump, good, one};

#[test]
fn a_table_has_columns_key_watermark_and_options() {
    let StatementKind::CreateTable(t) = one("CREATE TABLE c.d.orders (
            id BIGINT,
            `time` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
            total AS price * 2 COMMENT 'twice',
            price DECIMAL(10, 2) NOT NULL,
            WATERMARK FOR `time` AS `time` - INTERVAL '5' SECOND,
            CONSTRAINT pk PRIMARY KEY (id) NOT ENFORCED
        ) COMMENT 'all of them' DISTRIBUTED BY HASH(id) INTO 4 BUCKETS PARTITIONED BY (id)
        WITH ('connector' = 'filesystem', 'path' = 'a', 'path' = 'b')")
    else {
        panic!()
    };
    assert_eq!(t.name.to_string(), "c.d.orders");
    assert_eq!(t.columns().map(|c| c.name.value.as_str()).collect::<Vec<_>>(), ["id", "time", "total", "price"]);
    let key = t.primary_key().unwrap();
    assert_eq!((key.name.as_ref().unwrap().value.as_str(), key.columns[0].value.as_str()), ("pk", "id"));
    assert_eq!(t.watermark().unwrap().column[0].value, "time");
    assert_eq!(t.options.as_ref().unwrap().get("path").unwrap().value.value, "b");
    assert_eq!(t.distribution.as_ref().unwrap().buckets, Some(4));
    let price = t.columns().nth(3).unwrap();
    let ColumnKind::Physical(ty) = &price.kind else { panic!() };
    assert_eq!((&ty.value.kind, ty.value.nullable), (&TypeKind::Decimal(10, 2), false));
}

#[test]
fn names_keep_their_case_and_quoting() {
    let StatementKind::Drop(d) = one("DROP TABLE IF EXISTS Cat.`Da``ta`.orderS") else { panic!() };
    let parts: Vec<(&str, bool)> = d.name.parts.iter().map(|p| (p.value.as_str(), p.quoted)).collect();
    assert_eq!(parts, [("Cat", false), ("Da`ta", true), ("orderS", false)]);
    assert_eq!(d.name.to_string(), "Cat.`Da``ta`.orderS");
}

#[test]
fn set_takes_both_spellings() {
    for (text, key, value) in [
        ("SET 'a.b' = 'c d'", "a.b", "c d"),
        ("SET a.b = c", "a.b", "c"),
        ("SET a.b-c=d", "a.b-c", "d"),
        ("SET \"a.b\" = \"c\"", "a.b", "c"),
        ("SET a = s3://bucket/path", "a", "s3://bucket/path"),
        ("SET 'a' = ''", "a", ""),
        ("SET 'a' = 'it''s'", "a", "it's"),
        ("SET 'a' -- c\n = 'b' // d", "a", "b"),
    ] {
        let StatementKind::Set(Some(o)) = one(text) else { panic!("{text}") };
        assert_eq!((o.key.value.as_str(), o.value.value.as_str()), (key, value), "{text}");
    }
    assert!(matches!(one("SET"), StatementKind::Set(None)));
    for text in ["SET 'a' = b", "SET a='it''s x'", "SET a =", "SET a b", "SET = 'x'"] {
        assert_eq!(bad(text)[0].code, error::SYNTAX.code, "{text}");
    }
}

#[test]
fn insert_has_all_its_parts() {
    let StatementKind::Insert(i) = one(
        "EXECUTE INSERT OVERWRITE d.t /*+ OPTIONS('k' = 'v') */ PARTITION (`day` = DATE '2024-01-01', hour_) (a, r.b)
         SELECT 1, 2 ON CONFLICT DO DEDUPLICATE",
    ) else {
        panic!()
    };
    assert!(i.overwrite);
    assert_eq!(i.hint.as_ref().unwrap().get("k").unwrap().value.value, "v");
    let partition = i.partition.as_ref().unwrap();
    assert_eq!(partition.entries.len(), 2);
    assert!(partition.entries[0].1.is_some() && partition.entries[1].1.is_none());
    assert_eq!(i.columns.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(i.query.ast.to_string(), "SELECT 1, 2");
    assert_eq!(i.on_conflict.unwrap().action, ConflictAction::Deduplicate);
}

#[test]
fn a_parenthesis_behind_the_sink_is_its_columns_only_before_a_query() {
    let columns = |text: &str| match one(text) {
        StatementKind::Insert(i) => i.columns.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(columns("INSERT INTO t (a, b) SELECT 1, 2"), 2);
    assert_eq!(columns("INSERT INTO t (a, b) VALUES (1, 2)"), 2);
    assert_eq!(columns("INSERT INTO t (a) (SELECT 1)"), 1);
    assert_eq!(columns("INSERT INTO t (SELECT 1, 2)"), 0);
    assert_eq!(columns("INSERT INTO t (SELECT 1) UNION ALL (SELECT 2)"), 0);
    assert_eq!(columns("INSERT INTO t WITH x AS (SELECT 1) SELECT * FROM x"), 0);
}

#[test]
fn columns_without_type_only_reorder_a_query() {
    let StatementKind::CreateTable(t) = one("CREATE TABLE t (b, a) AS SELECT a, b FROM s") else { panic!() };
    assert!(t.columns().all(|c| matches!(c.kind, ColumnKind::Name)));
    let StatementKind::CreateTable(t) = one("CREATE TABLE t (a INT, c AS a + 1) WITH ('k' = 'v') AS SELECT a FROM s")
    else {
        panic!()
    };
    assert!(t.query.is_some());
    for text in ["CREATE TABLE t (a, b INT)", "CREATE TABLE t (a)", "CREATE TABLE t (a, b INT) AS SELECT 1"] {
        assert_eq!(bad(text)[0].code, error::SYNTAX.code, "{text}");
    }
}

/// The whole surface, one spelling each; the trees are golden.
#[test]
fn every_kind_of_statement_has_its_golden_tree() {
    let text = "
CREATE TABLE t LIKE s (INCLUDING ALL EXCLUDING OPTIONS OVERWRITING WATERMARKS);
REPLACE TABLE t AS SELECT 1 AS a;
CREATE OR REPLACE VIEW v (a COMMENT 'x', b) AS SELECT 1, 2;
CREATE CATALOG c WITH ('type' = 'x');
CREATE DATABASE c.d COMMENT 'x';
CREATE TEMPORARY FUNCTION f AS 'a.B' LANGUAGE PYTHON USING JAR 'x', ARTIFACT 'y' WITH ('k' = 'v');
CREATE TEMPORARY MODEL IF NOT EXISTS m INPUT (a STRING) OUTPUT (b STRING) COMMENT 'c' WITH ('k' = 'v');
CREATE OR ALTER MATERIALIZED TABLE mt (PRIMARY KEY (a) NOT ENFORCED) START_MODE = FROM_NOW(INTERVAL '1' DAY) FRESHNESS = INTERVAL '1' MINUTE REFRESH_MODE = FULL AS SELECT 1 AS a;
ALTER TABLE IF EXISTS t SET ('a' = 'b');
ALTER TABLE t RESET ('a', 'b');
ALTER TABLE t RENAME TO u;
ALTER TABLE t RENAME r.a TO b;
ALTER TABLE t ADD a INT FIRST;
ALTER TABLE t ADD (a INT AFTER b, c AS a + 1, PRIMARY KEY (a) NOT ENFORCED, DISTRIBUTION BY HASH(a) INTO 2 BUCKETS);
ALTER TABLE t ADD IF NOT EXISTS PARTITION (a = 1) WITH ('k' = 'v') PARTITION (a = 2);
ALTER TABLE t MODIFY WATERMARK FOR a AS a;
ALTER TABLE t DROP PARTITION (a = 1), PARTITION (a = 2);
ALTER TABLE t DROP (a, r.b);
ALTER TABLE t DROP PRIMARY KEY;
ALTER TABLE t DROP CONSTRAINT pk;
ALTER TABLE t DROP WATERMARK;
ALTER TABLE t DROP DISTRIBUTION;
ALTER VIEW v RENAME TO w;
ALTER VIEW v AS SELECT 1;
ALTER CATALOG c SET ('a' = 'b');
ALTER CATALOG c RESET ('a');
ALTER CATALOG c COMMENT 'x';
ALTER DATABASE d SET ('a' = 'b');
ALTER TEMPORARY SYSTEM FUNCTION IF EXISTS f AS 'x' LANGUAGE SCALA;
ALTER MODEL IF EXISTS m RENAME TO n;
ALTER MODEL m SET ('a' = 'b');
ALTER MODEL m RESET ('a');
ALTER MATERIALIZED TABLE mt SUSPEND;
ALTER MATERIALIZED TABLE mt RESUME WITH ('a' = 'b');
ALTER MATERIALIZED TABLE mt REFRESH PARTITION (a = '1');
ALTER MATERIALIZED TABLE mt AS SELECT 1;
ALTER MATERIALIZED TABLE mt ADD (x INT);
DROP MATERIALIZED TABLE IF EXISTS mt;
DROP TEMPORARY VIEW v;
DROP DATABASE d CASCADE;
DROP DATABASE d RESTRICT;
DROP TEMPORARY SYSTEM FUNCTION f;
TRUNCATE TABLE t;
UPDATE t AS x SET a = 1, r.b = CASE WHEN c THEN 2 END WHERE d IN (1, 2);
DELETE FROM t x WHERE a = 1;
DELETE FROM t;
RESET;
RESET 'a';
RESET a.b;
USE CATALOG c;
USE c.d;
USE MODULES a, b;
SHOW CATALOGS;
SHOW TABLES FROM c.d NOT LIKE 'x%';
SHOW MATERIALIZED TABLES;
SHOW COLUMNS IN t ILIKE 'a%';
SHOW PARTITIONS t PARTITION (a = '1');
SHOW CREATE MATERIALIZED TABLE mt;
SHOW CREATE CATALOG c;
SHOW USER FUNCTIONS;
SHOW FULL MODULES;
SHOW CURRENT DATABASE;
SHOW CURRENT CATALOG;
SHOW PROCEDURES;
SHOW JOBS;
DESC EXTENDED t;
DESCRIBE CATALOG EXTENDED c;
DESCRIBE FUNCTION f;
DESCRIBE MODEL m;
DESCRIBE JOB 'x';
EXPLAIN SELECT 1;
EXPLAIN PLAN FOR INSERT INTO t SELECT 1;
EXPLAIN JSON_EXECUTION_PLAN, PLAN_ADVICE EXECUTE INSERT INTO t SELECT 1;
COMPILE PLAN 'f' FOR INSERT INTO t SELECT 1;
EXECUTE PLAN 'f';
LOAD MODULE m WITH ('a' = 'b');
UNLOAD MODULE m;
ADD JAR 'x';
REMOVE JAR 'x';
SHOW JARS;
CALL c.d.p(1, 'a');
ANALYZE TABLE t PARTITION (a, b = 1) COMPUTE STATISTICS FOR COLUMNS a, b;
ANALYZE TABLE t COMPUTE STATISTICS;
STOP JOB 'x' WITH SAVEPOINT WITH DRAIN;
HELP;
EXIT;
CLEAR;
";
    let out: String = good(text).iter().map(|s| format!("{}\n{}", &text[s.span.range()], dump::statement(s))).collect();
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("statements", out);
    });
}

#[test]
fn options_are_expanded_where_they_are_read_and_point_at_their_literal() {
    let text = "CREATE TABLE t (a INT) WITH ('k' = '${var:x:-d}', 'p' = '${env:PW}', 'q' = '${var:nope}')";
    let StatementKind::CreateTable(t) = one(text) else { panic!() };
    let options = t.options.unwrap();
    let variables =
        Variables::new(Default::default(), |n| (n == "PW").then(|| "secret".into()), |_| Err(String::new()));
    let errors = expand_options(&options, &variables).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(&text[errors[0].span().unwrap().range()], "${var:nope}");
    let known = Options { entries: options.entries[..2].to_vec(), span: options.span };
    let resolved = expand_options(&known, &variables).unwrap();
    assert_eq!(resolved[0].value, OptionText::Plain("d".into()));
    assert!(resolved[1].value.is_secret());
    assert_eq!(&text[resolved[1].value_span.range()], "'${env:PW}'");
    // Parsing alone expands nothing.
    assert_eq!(options.entries[0].value.value, "${var:x:-d}");
}

#[test]
fn a_script_is_read_by_its_own_source_id() {
    let id = dflow_common::SourceId(7);
    let parsed = parse(id, "SELECT a FROM t; FOO");
    assert!(parsed.script.statements.iter().all(|s| s.span.source == id));
    assert_eq!(parsed.diagnostics[0].span().unwrap().source, id);
    assert_ne!(id, SOURCE);
}
