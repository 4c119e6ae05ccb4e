//! Definitions, settings, SHOW and DESCRIBE.

use dflow_engine::CompiledStatement;

use super::kit::kit;

fn rows(script: &str) -> Vec<Vec<String>> {
    let mut kit = kit(1);
    let script = kit.compile(script).unwrap_or_else(|e| panic!("{e:#?}"));
    let last = script.statements.into_iter().next_back();
    match last {
        Some(CompiledStatement::Rows(rows)) => {
            rows.rows.into_iter().map(|r| r.into_iter().map(|c| c.unwrap_or("NULL".into())).collect()).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn describe_shows_types_keys_and_watermarks() {
    insta::assert_debug_snapshot!(rows(
        "CREATE TABLE t (id INT, name VARCHAR(10) NOT NULL, ev TIMESTAMP(3) METADATA FROM 'timestamp' VIRTUAL,
           twice AS id * 2, WATERMARK FOR ev AS ev - INTERVAL '5' SECOND, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'mem');
         DESCRIBE t;"
    ));
}

#[test]
fn show_create_prints_what_can_be_read_again() {
    let table = "CREATE TABLE t (id INT, name STRING COMMENT 'it''s', twice AS id * 2, dt STRING,
        CONSTRAINT pk PRIMARY KEY (id) NOT ENFORCED) COMMENT 'c' PARTITIONED BY (dt) WITH ('connector' = 'mem', 'topic' = 'a');";
    let shown = rows(&format!("{table} SHOW CREATE TABLE t;")).remove(0).remove(0);
    insta::assert_snapshot!(shown);
    let again = rows(&format!("{shown}; SHOW CREATE TABLE t;")).remove(0).remove(0);
    assert_eq!(again, shown);
}

#[test]
fn like_takes_what_it_is_told() {
    let base = "CREATE TABLE a (id INT, c AS id + 1, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'mem', 'topic' = 'x');";
    let all = rows(&format!("{base} CREATE TABLE b (d STRING) WITH ('topic' = 'y') LIKE a; DESCRIBE b;"));
    assert_eq!(all.iter().map(|r| r[0].as_str()).collect::<Vec<_>>(), ["id", "c", "d"]);
    let less = rows(&format!(
        "{base} CREATE TABLE b (d STRING) LIKE a (EXCLUDING GENERATED EXCLUDING CONSTRAINTS); DESCRIBE b;"
    ));
    assert_eq!(
        less.iter().map(|r| (r[0].as_str(), r[3].as_str())).collect::<Vec<_>>(),
        [("id", "NULL"), ("d", "NULL")]
    );
}

#[test]
fn catalogs_databases_and_temporary_objects() {
    let names = |r: Vec<Vec<String>>| r.into_iter().map(|mut r| r.remove(0)).collect::<Vec<_>>();
    let script = "CREATE DATABASE d; USE d; CREATE TABLE t (a INT) WITH ('connector' = 'mem');
                  CREATE TEMPORARY TABLE t2 (a INT) WITH ('connector' = 'mem'); CREATE VIEW v AS SELECT a FROM t;";
    assert_eq!(names(rows(&format!("{script} SHOW TABLES;"))), ["t", "t2", "v"]);
    assert_eq!(names(rows(&format!("{script} SHOW VIEWS;"))), ["v"]);
    assert_eq!(names(rows(&format!("{script} SHOW TABLES LIKE 't%';"))), ["t", "t2"]);
    assert_eq!(names(rows(&format!("{script} USE default_database; SHOW TABLES FROM d;"))), ["t", "t2", "v"]);
    assert_eq!(names(rows(&format!("{script} SHOW CURRENT DATABASE;"))), ["d"]);
    assert_eq!(
        names(rows(&format!("{script} DROP VIEW v; DROP TABLE t; DROP TEMPORARY TABLE t2; SHOW TABLES;"))).len(),
        0
    );
    assert_eq!(names(rows("CREATE CATALOG c; USE CATALOG c; SHOW DATABASES;")), ["default"]);
}

#[test]
fn a_script_with_errors_leaves_the_session_as_it_was() {
    let mut kit = kit(1);
    kit.compile("CREATE TABLE a (x INT) WITH ('connector' = 'mem');").unwrap();
    kit.compile("CREATE TABLE b (x INT) WITH ('connector' = 'mem'); SET 'parallelism.default' = '7'; SELECT y FROM a;")
        .unwrap_err();
    assert!(kit.compile("SELECT * FROM b;").is_err());
    assert_eq!(kit.session.settings().get("parallelism.default"), None);
}

#[test]
fn columns_are_named_as_in_flink() {
    let mut kit = kit(1);
    let script = kit
        .compile(
            "CREATE TABLE t (a INT, r ROW<b STRING, c INT>) WITH ('connector' = 'mem');
             SELECT a, a, r.b, a + 1, COUNT(*), UPPER(r.b) FROM t GROUP BY a, r.b;",
        )
        .unwrap();
    let CompiledStatement::Stream(job) = &script.statements[0] else { panic!("a job") };
    let names: Vec<String> = job.queries[0].columns.iter().map(|(n, t)| format!("{n} {t}")).collect();
    assert_eq!(names, ["a INT", "a0 INT", "b STRING", "EXPR$2 INT", "EXPR$3 BIGINT NOT NULL", "EXPR$4 STRING"]);
}
