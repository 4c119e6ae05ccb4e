//! Every code of the engine, produced by the smallest script that has it, with its place.

use std::collections::BTreeSet;

use dflow_common::Severity;

use super::kit::kit;

const TABLES: &str = "CREATE TABLE t (id INT, name STRING, amount DECIMAL(10, 2)) WITH ('connector' = 'mem');
CREATE TABLE app (k STRING, n BIGINT) WITH ('connector' = 'mem');
CREATE TABLE ups (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'mem', 'takes' = 'upsert');
CREATE TABLE keyless (k STRING, n BIGINT) WITH ('connector' = 'mem', 'takes' = 'upsert');
CREATE TABLE strict (k STRING NOT NULL, n BIGINT, c AS n + 1) WITH ('connector' = 'mem');
CREATE VIEW v AS SELECT id, name FROM t;
";

/// Code, script behind [`TABLES`], text under the caret.
const CASES: &[(u16, &str, &str)] = &[
    (1800, "SET 'table.exec.state.tll' = '1';", "'table.exec.state.tll'"),
    (1801, "SET 'parallelism.default' = 'two';", "'two'"),
    (1803, "SET 'table.exec.state.ttl' = '1 d';", "'1 d'"),
    (
        1804,
        "INSERT INTO app SELECT name, 1 FROM t; SET 'execution.runtime-mode' = 'batch'; SELECT id FROM t;",
        "SELECT id FROM t",
    ),
    (1900, "SELECT a.id FROM t AS a JOIN t AS b ON a.id = b.id;", "t AS b"),
    (1900, "CREATE FUNCTION f AS 'x.Y';", "CREATE FUNCTION f AS 'x.Y'"),
    (1900, "SELECT LISTAGG(name) FROM t;", "LISTAGG"),
    (1900, "SELECT id FROM t ORDER BY id;", ""),
    (1900, "SELECT id FROM t LIMIT 3;", ""),
    (1900, "SELECT id FROM t WHERE id IN (SELECT id FROM t);", ""),
    (1900, "SELECT * FROM t FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP;", ""),
    (1900, "SELECT * FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(name), INTERVAL '1' MINUTE));", ""),
    (1900, "SELECT COUNT(*) OVER (ORDER BY id) FROM t;", ""),
    (1900, "SELECT /*+ STATE_TTL('t' = '1 d') */ COUNT(*) FROM t;", ""),
    (
        1900,
        "INSERT INTO ups SELECT name, COUNT(*) FROM t GROUP BY name ON CONFLICT DO NOTHING;",
        "ON CONFLICT DO NOTHING",
    ),
    (2001, "SELECT id FROM T;", "T"),
    (2002, "USE CATALOG nope;", "nope"),
    (2003, "SELECT id FROM nope.t;", "nope.t"),
    (2004, "CREATE TABLE t (a INT);", "t"),
    (2005, "DROP DATABASE default_database;", "default_database"),
    (2006, "SELECT SUM(amout) FROM t;", "amout"),
    (2006, "SELECT x.nam FROM t AS x;", "nam"),
    (2007, "SET 'execution.runtime-mode' = 'batch'; SELECT id FROM t AS a JOIN t AS b ON a.id = b.id;", "id"),
    (2008, "SELECT UPER(name) FROM t;", "UPER"),
    (2009, "DROP TABLE v;", "v"),
    (2010, "CREATE DATABASE d; CREATE TABLE d.x (a INT); DROP DATABASE d;", "d"),
    (2100, "SELECT SUM(name) FROM t;", ""),
    (2101, "SELECT id FROM t WHERE COUNT(*) > 1;", "COUNT"),
    (2102, "SELECT name, amount, COUNT(*) FROM t GROUP BY name;", ""),
    (2103, "SELECT id, name FROM t UNION ALL SELECT id FROM t;", ""),
    (2104, "SELECT CAST(id AS TIMESTAMP(3)) FROM t;", ""),
    (2105, "SELECT 99999999999999999999;", "99999999999999999999"),
    (2200, "CREATE TABLE n (a INT); SELECT a FROM n;", ""),
    (2201, "CREATE TABLE n (a INT, a INT);", "a"),
    (2202, "CREATE TABLE n (a INT, PRIMARY KEY (b) NOT ENFORCED);", "b"),
    (2203, "CREATE TABLE n (a STRING, WATERMARK FOR a AS a);", "a"),
    (2205, "CREATE TABLE n WITH ('connector' = 'mem') LIKE t (INCLUDING OPTIONS);", "'connector'"),
    (2207, "CREATE VIEW w (a, b) AS SELECT 1;", "w"),
    (2208, "CREATE TABLE n (a INT) WITH ('topic' = 'a', 'topic' = 'b');", "'topic'"),
    (2209, "SELECT id FROM v /*+ OPTIONS('topic' = 'a') */;", "OPTIONS('topic' = 'a')"),
    (2302, "SELECT id FROM t /*+ OPTIONS('topics' = 'a') */;", "'topics'"),
    (2400, "INSERT INTO app SELECT name FROM t;", "SELECT name FROM t"),
    (2401, "INSERT INTO app SELECT id, id FROM t;", "SELECT id, id FROM t"),
    (2402, "INSERT INTO app SELECT name, COUNT(*) FROM t GROUP BY name;", "app"),
    (2403, "INSERT INTO ups SELECT name, n FROM (SELECT id, name, COUNT(*) AS n FROM t GROUP BY id, name);", "ups"),
    (2404, "INSERT INTO strict (n) SELECT id FROM t;", "strict"),
    (2405, "INSERT INTO strict (k, c) SELECT name, id FROM t;", "c"),
    (2406, "INSERT INTO keyless SELECT name, COUNT(*) FROM t GROUP BY name;", "keyless"),
];

#[test]
fn every_mistake_has_its_code_and_place() {
    let mut wrong = Vec::new();
    for (code, script, caret) in CASES {
        let mut kit = kit(1);
        match kit.compile(&format!("{TABLES}{script}")) {
            Ok(_) => wrong.push(format!("no error, expected DF{code}: {script}")),
            Err(all) => {
                let first = &all[0];
                let text = first.span().map(|s| kit.sources.text(s)).unwrap_or_default();
                let placed = first.span().is_some() && (caret.is_empty() || text == *caret);
                if first.code.0 != *code || !placed || first.severity != Severity::Error {
                    wrong.push(format!("expected DF{code} at `{caret}`, got {first} at `{text}`: {script}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_code_is_without_a_case_and_a_page() {
    #![allow(clippy::disallowed_methods)]
    let produced: BTreeSet<u16> = CASES.iter().map(|(code, ..)| *code).collect();
    // 1802 is a warning, 2206 needs thousands of columns, 2410 a job: tested below and in `stream`.
    let elsewhere = [1802, 2206, 2410];
    for info in dflow_engine::error::CODES {
        let n = info.code.0;
        assert!(produced.contains(&n) || elsewhere.contains(&n), "nothing produces {}", info.code);
        let page = format!("{}/../docs/errors/{}.md", env!("CARGO_MANIFEST_DIR"), info.code);
        let text = std::fs::read_to_string(&page).unwrap_or_default();
        assert!(text.starts_with(&format!("# {}: {}\n", info.code, info.title)), "{page}");
    }
}

#[test]
fn all_independent_errors_come_at_once_and_consequences_do_not() {
    let mut kit = kit(1);
    let errors = kit
        .compile(
            "CREATE TABLE a (x INT, x INT) WITH ('connector' = 'mem');
             SELECT x FROM a;
             SELECT y, z FROM b;
             CREATE TABLE c (x INT) WITH ('connector' = 'mem');
             SELECT p, q FROM c;",
        )
        .unwrap_err();
    let codes: Vec<u16> = errors.iter().map(|d| d.code.0).collect();
    assert_eq!(codes, [2201, 2001, 2006, 2006], "{errors:#?}");
}

#[test]
fn a_table_has_as_many_columns_as_the_limit_and_not_one_more() {
    let table = |n: usize| {
        let columns: Vec<String> = (0..n).map(|i| format!("c{i} INT")).collect();
        format!("CREATE TABLE w ({}) WITH ('connector' = 'mem');", columns.join(", "))
    };
    let max = dflow_common::limits::COLUMNS_MAX;
    kit(1).compile(&table(max)).unwrap();
    assert_eq!(kit(1).compile(&table(max + 1)).unwrap_err()[0].code.0, 2206);
}

#[test]
fn settings_without_effect_are_one_warning() {
    let script = kit(1).compile("SET 'rest.port' = '1'; SET 'pipeline.object-reuse' = 'true';").unwrap();
    assert_eq!(script.warnings.iter().map(|w| w.code.0).collect::<Vec<_>>(), [1802]);
}

#[test]
fn a_result_nobody_receives_ends_the_job() {
    use dflow_engine::CompiledStatement;
    let mut kit = kit(1);
    let rows = "'rows' = '+ 1; + 2', 'unbounded' = 'true'";
    let script = kit
        .compile(&format!(
            "SET 'restart-strategy.type' = 'none'; CREATE TABLE o (id INT) WITH ('connector' = 'mem', {rows}); SELECT id FROM o;"
        ))
        .unwrap();
    let Some(CompiledStatement::Stream(job)) = script.statements.into_iter().next() else { panic!("a job") };
    drop(job.queries);
    let handle = dflow_runtime::job::Job {
        graph: job.graph,
        config: job.config,
        env: kit.engine.env().clone(),
        metrics: kit.engine.metrics().clone(),
        store: dflow_runtime::checkpoint::MemoryStore::alone(),
    }
    .start()
    .unwrap();
    let outcome = kit.engine.env().spawner.block_on(async move { handle.wait().await });
    let dflow_runtime::job::JobEnd::Failed(e) = outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(dflow_common::Classified::code(&e).0, 2410);
}
