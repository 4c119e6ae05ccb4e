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
const CASES: &[(&str, &str, &str)] = &[
    ("DF1800", "SET 'table.exec.state.tll' = '1';", "'table.exec.state.tll'"),
    ("DF1801", "SET 'parallelism.default' = 'two';", "'two'"),
    ("DF1803", "SET 'table.exec.state.ttl' = '1 d';", "'1 d'"),
    (
        "DF1804",
        "INSERT INTO app SELECT name, 1 FROM t; SET 'execution.runtime-mode' = 'batch'; SELECT id FROM t;",
        "SELECT id FROM t",
    ),
    ("DF1900", "SELECT a.id FROM t AS a JOIN t AS b ON a.id = b.id;", "t AS b"),
    ("DF1900", "CREATE FUNCTION f AS 'x.Y';", "CREATE FUNCTION f AS 'x.Y'"),
    ("DF1900", "SELECT LISTAGG(name) FROM t;", "LISTAGG"),
    ("DF1900", "SELECT id FROM t ORDER BY id;", ""),
    ("DF1900", "SELECT id FROM t LIMIT 3;", ""),
    ("DF1900", "SELECT id FROM t WHERE id IN (SELECT id FROM t);", ""),
    ("DF1900", "SELECT * FROM t FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP;", ""),
    ("DF1900", "SELECT * FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(name), INTERVAL '1' MINUTE));", ""),
    ("DF1900", "SELECT COUNT(*) OVER (ORDER BY id) FROM t;", ""),
    ("DF1900", "SELECT /*+ STATE_TTL('t' = '1 d') */ COUNT(*) FROM t;", ""),
    (
        "DF1900",
        "INSERT INTO ups SELECT name, COUNT(*) FROM t GROUP BY name ON CONFLICT DO NOTHING;",
        "ON CONFLICT DO NOTHING",
    ),
    ("DF2001", "SELECT id FROM T;", "T"),
    ("DF2002", "USE CATALOG nope;", "nope"),
    ("DF2003", "SELECT id FROM nope.t;", "nope.t"),
    ("DF2004", "CREATE TABLE t (a INT);", "t"),
    ("DF2005", "DROP DATABASE default_database;", "default_database"),
    ("DF2006", "SELECT SUM(amout) FROM t;", "amout"),
    ("DF2006", "SELECT x.nam FROM t AS x;", "nam"),
    ("DF2007", "SET 'execution.runtime-mode' = 'batch'; SELECT id FROM t AS a JOIN t AS b ON a.id = b.id;", "id"),
    ("DF2008", "SELECT UPER(name) FROM t;", "UPER"),
    ("DF2009", "DROP TABLE v;", "v"),
    ("DF2010", "CREATE DATABASE d; CREATE TABLE d.x (a INT); DROP DATABASE d;", "d"),
    ("DF2100", "SELECT SUM(name) FROM t;", ""),
    ("DF2101", "SELECT id FROM t WHERE COUNT(*) > 1;", "COUNT"),
    ("DF2102", "SELECT name, amount, COUNT(*) FROM t GROUP BY name;", ""),
    ("DF2103", "SELECT id, name FROM t UNION ALL SELECT id FROM t;", ""),
    ("DF2104", "SELECT CAST(id AS TIMESTAMP(3)) FROM t;", ""),
    ("DF2105", "SELECT 99999999999999999999;", "99999999999999999999"),
    ("DF2200", "CREATE TABLE n (a INT); SELECT a FROM n;", ""),
    ("DF2201", "CREATE TABLE n (a INT, a INT);", "a"),
    ("DF2202", "CREATE TABLE n (a INT, PRIMARY KEY (b) NOT ENFORCED);", "b"),
    ("DF2203", "CREATE TABLE n (a STRING, WATERMARK FOR a AS a);", "a"),
    ("DF2205", "CREATE TABLE n WITH ('connector' = 'mem') LIKE t (INCLUDING OPTIONS);", "'connector'"),
    ("DF2207", "CREATE VIEW w (a, b) AS SELECT 1;", "w"),
    ("DF2208", "CREATE TABLE n (a INT) WITH ('topic' = 'a', 'topic' = 'b');", "'topic'"),
    ("DF2209", "SELECT id FROM v /*+ OPTIONS('topic' = 'a') */;", "OPTIONS('topic' = 'a')"),
    ("DF2210", "ALTER TABLE t DROP name; SELECT id FROM v;", "v"),
    ("DF2211", "ALTER TABLE strict DROP n;", "n"),
    ("DF2302", "SELECT id FROM t /*+ OPTIONS('topics' = 'a') */;", "'topics'"),
    ("DF2400", "INSERT INTO app SELECT name FROM t;", "SELECT name FROM t"),
    ("DF2401", "INSERT INTO app SELECT id + 1, id FROM t;", "id + 1"),
    ("DF2402", "INSERT INTO app SELECT name, COUNT(*) FROM t GROUP BY name;", "app"),
    ("DF2403", "INSERT INTO ups SELECT name, n FROM (SELECT id, name, COUNT(*) AS n FROM t GROUP BY id, name);", "ups"),
    ("DF2404", "INSERT INTO strict (n) SELECT id FROM t;", "strict"),
    ("DF2405", "INSERT INTO strict (k, c) SELECT name, id FROM t;", "c"),
    ("DF2406", "INSERT INTO keyless SELECT name, COUNT(*) FROM t GROUP BY name;", "keyless"),
    ("DF2411", "INSERT INTO app SELECT name, 1 FROM t; SELECT id FROM t; SELECT name FROM t;", "SELECT name FROM t"),
];

#[test]
fn every_mistake_has_its_code_and_place() {
    let mut wrong = Vec::new();
    for (code, script, caret) in CASES {
        let mut kit = kit(1);
        match kit.compile(&format!("{TABLES}{script}")) {
            Ok(_) => wrong.push(format!("no error, expected {code}: {script}")),
            Err(all) => {
                let first = &all[0];
                let text = first.span().map(|s| kit.sources.text(s)).unwrap_or_default();
                let placed = first.span().is_some() && (caret.is_empty() || text == *caret);
                if first.code.to_string() != *code || !placed || first.severity != Severity::Error {
                    wrong.push(format!("expected {code} at `{caret}`, got {first} at `{text}`: {script}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_code_is_without_a_case_and_a_page() {
    #![allow(clippy::disallowed_methods)]
    let produced: BTreeSet<&str> = CASES.iter().map(|(code, ..)| *code).collect();
    // Warnings, one that needs thousands of columns, one that needs a job: each has a test of its own below. What a batch
    // statement finds while it runs is tested next to `engine/src/batch`.
    let warnings = ["DF1802", "DF3001", "DF3002", "DF3003", "DF3004"];
    let elsewhere = [warnings.as_slice(), &["DF2206", "DF2410", "DF2450", "DF2451"]].concat();
    for info in dflow_engine::error::CODES {
        let code = info.code.to_string();
        assert!(produced.contains(code.as_str()) || elsewhere.contains(&code.as_str()), "nothing produces {code}");
        let page = format!("{}/../docs/errors/{}.md", env!("CARGO_MANIFEST_DIR"), info.code);
        let text = std::fs::read_to_string(&page).unwrap_or_default();
        assert!(text.starts_with(&format!("# {}: {}\n", info.code, info.title)), "{page}");
    }
}

/// Typical mistakes: the statement, the text under the caret, the message with its help.
const PLACES: &[(&str, &str, &str)] = &[
    ("SELECT id, UPPER(name, 3) AS u FROM t", "UPPER(name, 3)", "UPPER takes 1 argument, 2 are given"),
    ("SELECT DATE_FORMAT(name) FROM t", "DATE_FORMAT(name)", "DATE_FORMAT: 2 arguments are expected, 1 is given"),
    (
        "SELECT id, 1 + CHAR_LENGTH(amount) FROM t",
        "CHAR_LENGTH(amount)",
        "CHAR_LENGTH: text is expected, DECIMAL(10, 2) is given; write CAST(… AS STRING)",
    ),
    ("SELECT id, ABS(name) FROM t", "ABS(name)", "ABS takes numeric, STRING is given"),
    ("SELECT id, SUM(name) FROM t GROUP BY id", "SUM(name)", "SUM does not take STRING"),
    ("SELECT id, UPER(name) FROM t", "UPER", "function UPER not found; did you mean UPPER?"),
    ("SELECT idd FROM t", "idd", "column `idd` not found in table `t`; did you mean `id` (INT)?"),
    (
        "SELECT id FROM t WHERE id > 3 AND name = (amount > 1)",
        "name = (amount > 1)",
        "these types cannot be compared: STRING = BOOLEAN; CAST one of them to the type of the other",
    ),
    ("SELECT id FROM t WHERE name", "name", "a condition is BOOLEAN, this one is STRING"),
    ("SELECT id, (name + 1) * 2 FROM t", "name + 1", "there is no such arithmetic: STRING + INT"),
    (
        "SELECT id, CASE WHEN id > 1 THEN 1 ELSE LOCALTIMESTAMP END FROM t",
        "LOCALTIMESTAMP",
        "the branches of CASE have no type in common: INT and TIMESTAMP(3); CAST one of them to the type of the other",
    ),
    (
        "SELECT id FROM t WHERE id IN (1, LOCALTIMESTAMP)",
        "LOCALTIMESTAMP",
        "IN cannot compare INT with TIMESTAMP(3); CAST one of them to the type of the other",
    ),
    (
        "SELECT COALESCE(id, LOCALTIMESTAMP) FROM t",
        "COALESCE(id, LOCALTIMESTAMP)",
        "COALESCE: the arguments have no type in common",
    ),
    (
        "SELECT id, name, COUNT(*) FROM t GROUP BY id",
        "name",
        "column `name` is neither in GROUP BY nor inside an aggregate; add it to GROUP BY, or take its MIN or MAX",
    ),
    (
        "SELECT id FROM t WHERE COUNT(*) > 1",
        "COUNT",
        "the aggregate COUNT cannot stand here; aggregates stand in SELECT and HAVING; filter groups with HAVING",
    ),
    ("SELECT MAX(SUM(id)) FROM t GROUP BY id", "MAX(SUM(id))", "an aggregate cannot stand inside another one"),
    ("SELECT CAST(id > 1 AS TIMESTAMP(3)) FROM t", "id > 1", "the cast from BOOLEAN to TIMESTAMP(3) is not possible"),
    ("SELECT x FROM (SELECT UPPER(id, 1) AS x FROM t)", "UPPER(id, 1)", "UPPER takes 1 argument, 2 are given"),
    (
        "WITH c AS (SELECT name + id AS x FROM t) SELECT x FROM c",
        "name + id",
        "there is no such arithmetic: STRING + INT",
    ),
    ("CREATE TABLE n (a INT, b AS 2 * UPPER(a, 1))", "UPPER(a, 1)", "UPPER takes 1 argument, 2 are given"),
    ("CREATE VIEW w AS SELECT id, -name AS x FROM t", "name", "the sign `-` takes a number or an interval"),
    (
        "SELECT SUBSTRING(name) FROM t",
        "name",
        "SUBSTRING takes 2 or 3 arguments, 1 is given; write SUBSTRING(text FROM start FOR length)",
    ),
    ("SELECT POSITION(id IN name) FROM t", "id IN name", "POSITION takes STRING, INT is given"),
    ("SELECT MAX(id, amount) FROM t", "MAX(id, amount)", "MAX: 1 argument is taken, 2 are given"),
    (
        "SELECT COUNT(DISTINCT *) FROM t",
        "COUNT",
        "COUNT takes * alone, or an expression; write COUNT(*), COUNT(x) or COUNT(DISTINCT x)",
    ),
    (
        "SELECT COUNT() FROM t",
        "COUNT",
        "COUNT takes * alone, or an expression; write COUNT(*), COUNT(x) or COUNT(DISTINCT x)",
    ),
    ("SELECT id + INTERVAL '1' DAY FROM t", "id", "INT cannot stand beside INTERVAL"),
    ("SELECT id.x FROM t", "id.x", "INT has no fields"),
    ("SELECT DATE '2024-13-01'", "'2024-13-01'", "'2024-13-01' is not a DATE; write DATE '2024-01-02'"),
    ("SELECT TIMESTAMP 'nope'", "'nope'", "'nope' is not a TIMESTAMP; write TIMESTAMP '2024-01-02 03:04:05'"),
    ("SET 'execution.runtime-mode' = 'batch'; SELECT id FROM t LIMIT -1", "1", "LIMIT takes a whole number"),
    (
        "SET 'execution.runtime-mode' = 'batch'; SELECT id FROM t LIMIT 1 OFFSET 'a'",
        "'a'",
        "OFFSET takes a whole number",
    ),
    (
        "SET 'execution.runtime-mode' = 'batch'; SELECT t.id FROM t, t",
        "t",
        "two tables of FROM are called `t`; give one of them another name with AS",
    ),
    ("INSERT INTO app SELECT name, id, id FROM t", "id", "the query has 3 columns, the sink `app` takes 2"),
    (
        "INSERT INTO app SELECT name FROM t",
        "SELECT name FROM t",
        "the query has 1 column, the sink `app` takes 2; list the columns that are written, the others become NULL: \
         INSERT INTO app (k) …",
    ),
    (
        "INSERT INTO app SELECT name, CAST(id AS DOUBLE) FROM t",
        "id",
        "column `n` of `app` is BIGINT, the query gives DOUBLE; write CAST(EXPR$1 AS BIGINT)",
    ),
];

#[test]
fn what_is_refused_by_name_says_why_or_what_to_write() {
    for (statement, caret) in [
        ("INSERT INTO ups SELECT name, COUNT(*) FROM t GROUP BY name ON CONFLICT DO NOTHING", "ON CONFLICT DO NOTHING"),
        ("INSERT INTO ups SELECT name, COUNT(*) FROM t GROUP BY name ON CONFLICT DO ERROR", "ON CONFLICT DO ERROR"),
        ("EXPLAIN ESTIMATED_COST SELECT id FROM t", "ESTIMATED_COST"),
        ("SET 'execution.runtime-mode' = 'batch'; EXPLAIN JSON_EXECUTION_PLAN SELECT id FROM t", "JSON_EXECUTION_PLAN"),
        ("INSERT OVERWRITE app SELECT name, id FROM t", "INSERT OVERWRITE app SELECT name, id FROM t"),
        ("SELECT id, COUNT(*) FROM t GROUP BY id, TUMBLE(LOCALTIMESTAMP, INTERVAL '1' MINUTE)", "TUMBLE"),
        ("SELECT LAST_VALUE(name) FROM t", "LAST_VALUE"),
    ] {
        let mut kit = kit(1);
        let errors = kit.compile(&format!("{TABLES}{statement};")).unwrap_err();
        let [d] = errors.as_slice() else { panic!("one error: {statement}: {errors:#?}") };
        assert_eq!((d.code.to_string().as_str(), kit.sources.text(d.span().unwrap())), ("DF1900", caret));
        assert!(!d.help.is_empty(), "{statement}: {d:#?}");
    }
    for taken in [
        "EXPLAIN CHANGELOG_MODE SELECT id FROM t",
        "INSERT INTO ups SELECT name, COUNT(*) FROM t GROUP BY name ON CONFLICT DO DEDUPLICATE",
    ] {
        kit(1).compile(&format!("{TABLES}{taken};")).unwrap_or_else(|e| panic!("{taken}: {e:#?}"));
    }
}

#[test]
fn an_error_points_at_the_expression_it_is_about() {
    for (statement, caret, message) in PLACES {
        let mut kit = kit(1);
        let errors = kit.compile(&format!("{TABLES}{statement};")).unwrap_err();
        let [d] = errors.as_slice() else { panic!("one error: {statement}: {errors:#?}") };
        let told = std::iter::once(&d.message).chain(&d.help).cloned().collect::<Vec<_>>().join("; ");
        assert_eq!((kit.sources.text(d.span().unwrap()), told.as_str()), (*caret, *message), "{statement}");
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
fn options_of_tables_nobody_uses_are_checked_and_those_of_used_ones_told_once() {
    let mut kit = kit(1);
    let errors = kit
        .compile(
            "CREATE TABLE a (x INT) WITH ('connector' = 'memm');
             CREATE TABLE b (x INT) WITH ('connector' = 'mem', 'topicc' = 'y', 'unbounded' = 'maybe');
             CREATE TABLE c (y INT) WITH ('topic' = 'z') LIKE b;
             CREATE VIEW v AS SELECT x FROM c /*+ OPTIONS('row' = '') */;
             SELECT z FROM b;
             SELECT x FROM b;
             SELECT x FROM a;",
        )
        .unwrap_err();
    let codes: Vec<u16> = errors.iter().map(|d| d.code.0).collect();
    assert_eq!(codes, [2301, 2302, 2303, 2302, 2006], "{errors:#?}");
}

#[test]
fn an_option_without_effect_is_one_warning_wherever_it_is_met() {
    let mut kit = kit(1);
    let script = kit
        .compile(
            "CREATE TABLE a (x INT) WITH ('connector' = 'mem', 'property-version' = '1');
             CREATE TABLE b WITH ('topic' = 'z') LIKE a;
             SELECT x FROM a;
             SELECT x FROM b /*+ OPTIONS('property-version' = '2') */;",
        )
        .unwrap();
    let places: Vec<_> =
        script.warnings.iter().map(|w| (w.code.to_string(), kit.sources.place(w.span().unwrap()).unwrap())).collect();
    let expected = ["test.sql:1:51", "test.sql:4:42"].map(|place| ("DF2308".to_owned(), place.to_owned()));
    assert_eq!(places, expected, "{:#?}", script.warnings);
}

#[test]
fn a_table_has_as_many_columns_as_the_limit_and_not_one_more() {
    let table = |n: usize| {
        let columns: Vec<String> = (0..n).map(|i| format!("c{i} INT")).collect();
        format!("CREATE TABLE w ({}) WITH ('connector' = 'mem');", columns.join(", "))
    };
    let max = dflow_common::limits::COLUMNS_MAX;
    kit(1).compile(&table(max)).unwrap();
    assert_eq!(kit(1).compile(&table(max + 1)).unwrap_err()[0].code.to_string(), "DF2206");
}

#[test]
fn settings_without_effect_are_one_warning() {
    let script = kit(1).compile("SET 'rest.port' = '1'; SET 'pipeline.object-reuse' = 'true';").unwrap();
    assert_eq!(script.warnings.iter().map(|w| w.code.to_string()).collect::<Vec<_>>(), ["DF1802"]);
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
    assert_eq!(dflow_common::Classified::code(&e).to_string(), "DF2410");
}

/// Types that do not go together: the statement, the text under the caret.
const MISFITS: &[(&str, &str)] = &[
    ("SELECT CASE WHEN id > 1 THEN 1 WHEN id > 2 THEN 2 ELSE 'x' END FROM t", "'x'"),
    ("SELECT CASE id WHEN 1 THEN DATE '2024-01-01' ELSE amount END FROM t", "amount"),
    ("SELECT CASE id WHEN 1 THEN 2 WHEN 'a' THEN 3 END FROM t", "'a'"),
    ("SELECT IF(id > 1, name, id) FROM t", "id"),
    ("SELECT IFNULL(name, 0) FROM t", "0"),
    ("SELECT NULLIF(name, id) FROM t", "id"),
    ("SELECT id FROM t WHERE id = 'x'", "id = 'x'"),
    ("SELECT id FROM t WHERE name IN ('a', 2)", "2"),
    ("SELECT id FROM t WHERE id BETWEEN 1 AND 'x'", "'x'"),
    ("SELECT id FROM t WHERE id LIKE 'x'", "id"),
    ("SELECT name || id FROM t", "name || id"),
    ("SELECT '1' + id FROM t", "'1' + id"),
    ("SELECT id, name FROM t UNION ALL SELECT id, amount FROM t", "amount"),
    ("SELECT x FROM (SELECT id AS x FROM t UNION SELECT name FROM t)", "name"),
    ("VALUES (1, 'a'), (2, 3)", "3"),
    ("SELECT id FROM t UNION ALL SELECT id FROM t WHERE name > 1", "name > 1"),
    ("CREATE TABLE n (a INT, b AS COALESCE(a, 'x'))", "'x'"),
    ("SELECT CASE WHEN id THEN 1 WHEN id > 1 THEN 2 END FROM t", "id"),
    ("SELECT COUNT(*) FILTER (WHERE name) FROM t", "COUNT(*) FILTER (WHERE name)"),
    ("SELECT id FROM t WHERE id > 1 AND name", "id > 1 AND name"),
    ("SELECT id IS TRUE FROM t", "id"),
];

#[test]
fn types_that_do_not_go_together_are_refused_at_the_part_that_does_not() {
    for (statement, caret) in MISFITS {
        let mut kit = kit(1);
        let errors =
            kit.compile(&format!("{TABLES}{statement};")).err().unwrap_or_else(|| panic!("taken: {statement}"));
        let [d] = errors.as_slice() else { panic!("one error: {statement}: {errors:#?}") };
        assert!(matches!(d.code.0, 2100 | 2101), "{d:#?}");
        assert_eq!(kit.sources.text(d.span().unwrap()), *caret, "{statement}: {d}");
    }
    for taken in [
        "SELECT CASE WHEN id > 1 THEN 1 WHEN id > 2 THEN 1.5 ELSE NULL END FROM t",
        "SELECT COALESCE(NULL, name, 'x'), IF(id > 1, NULL, amount), NULLIF(id, 1.5) FROM t",
        "SELECT id FROM t WHERE LOCALTIMESTAMP > '2024-01-01 00:00:00' AND CURRENT_DATE IN ('2024-01-01')",
        "SELECT id, name FROM t UNION ALL SELECT amount, 'x' FROM t",
        "VALUES (1, 'a', NULL, 1e3), (2.5, 'bc', 3, 2)",
        "SELECT LOCALTIMESTAMP - INTERVAL '1' DAY, CURRENT_DATE FROM t WHERE name LIKE 'a%'",
    ] {
        kit(1).compile(&format!("{TABLES}{taken};")).unwrap_or_else(|e| panic!("{taken}: {e:#?}"));
    }
}

#[test]
fn batch_mode_is_no_way_out_where_it_refuses_too() {
    for (query, batch_helps) in [
        ("SELECT a.id FROM t AS a JOIN t AS b ON a.id = b.id", true),
        ("SELECT a.id FROM t AS a, t AS b WHERE a.id = b.id", true),
        ("SELECT id, u FROM t CROSS JOIN UNNEST(ARRAY[1, 2]) AS x (u)", false),
        ("SELECT id, u FROM t, UNNEST(ARRAY[1, 2]) AS x (u)", false),
        ("SELECT t.id FROM t JOIN t AS b USING (id)", false),
        ("SELECT id FROM t WHERE id IN (SELECT id FROM t) ORDER BY id", false),
        ("SELECT id, COUNT(*) FROM t GROUP BY id, TUMBLE(LOCALTIMESTAMP, INTERVAL '1' MINUTE) ORDER BY id", false),
        ("SELECT window_start FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(id), INTERVAL '1' MINUTE)) LIMIT 1", false),
    ] {
        let errors = kit(1).compile(&format!("{TABLES}{query};")).unwrap_err();
        assert!(errors.iter().all(|d| d.code.0 == 1900), "{errors:#?}");
        let helps = errors.iter().any(|d| d.help.iter().any(|h| h.contains("'batch'")));
        assert_eq!(helps, batch_helps, "{query}: {errors:#?}");
        let batch = kit(1).compile(&format!("SET 'execution.runtime-mode' = 'batch'; {TABLES}{query};"));
        assert_eq!(batch.is_ok(), batch_helps, "{query}: {:#?}", batch.err());
    }
}

#[test]
fn literals_fit_columns_of_a_length() {
    let sink = "CREATE TABLE c (a CHAR(3), b VARCHAR(5)) WITH ('connector' = 'mem');";
    for taken in [
        "SELECT 'ab', 'abc'",
        "VALUES ('ab', 'abc')",
        "VALUES ('a', 'abc'), ('abc', 'a'), (NULL, 'abcdef')",
        "SELECT CASE WHEN id > 1 THEN 'ab' ELSE 'cd' END, CASE WHEN id > 1 THEN 'x' ELSE name END FROM t",
        "SELECT COALESCE(CAST(name AS CHAR(2)), 'xx'), IF(id > 1, 'a', 'bc') FROM t",
        "SELECT 'ab', name FROM t UNION ALL SELECT 'cd', 'x' FROM t",
    ] {
        kit(1).compile(&format!("{TABLES}{sink} INSERT INTO c {taken};")).unwrap_or_else(|e| panic!("{taken}: {e:#?}"));
    }
    for refused in ["SELECT name, name FROM t", "SELECT CASE WHEN id > 1 THEN 'ab' ELSE 'c' END, 'x' FROM t"] {
        let errors = kit(1).compile(&format!("{TABLES}{sink} INSERT INTO c {refused};")).unwrap_err();
        assert_eq!(errors[0].code.0, 2401, "{refused}: {errors:#?}");
    }
}
