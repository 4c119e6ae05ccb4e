//! Warnings: each at its place, and none for what people mean to write.

use super::kit::kit;

const TABLES: &str = "CREATE TABLE clicks (page STRING, ts TIMESTAMP(3), seen TIMESTAMP_LTZ(3), cost DOUBLE)
  WITH ('connector' = 'mem', 'unbounded' = 'true');
CREATE TABLE ended (page STRING, ts TIMESTAMP(3)) WITH ('connector' = 'mem');
CREATE TABLE log (page STRING, n BIGINT, seen TIMESTAMP_LTZ(3)) WITH ('connector' = 'mem', 'takes' = 'all');
CREATE TABLE latest (page STRING, n BIGINT, seen TIMESTAMP_LTZ(3), PRIMARY KEY (page) NOT ENFORCED)
  WITH ('connector' = 'mem', 'takes' = 'upsert');
CREATE TABLE pages (page STRING, name STRING) WITH ('connector' = 'mem');
";

/// The codes of the warnings of a statement, with the text under their carets.
fn warnings(statement: &str) -> Vec<(String, String)> {
    let mut kit = kit(1);
    let script = kit.compile(&format!("{TABLES}{statement};")).unwrap_or_else(|e| panic!("{statement}: {e:#?}"));
    let told = script.warnings.iter().map(|w| {
        assert!(!w.help.is_empty() && !w.notes.is_empty(), "{w:#?}");
        (w.code.to_string(), kit.sources.text(w.span().unwrap()).to_owned())
    });
    told.collect()
}

#[test]
fn what_is_probably_not_meant_is_told_at_its_place() {
    for (statement, code, caret) in [
        ("SELECT ts, COUNT(*) FROM clicks GROUP BY ts", "DF3001", "ts"),
        ("SELECT COUNT(*) FROM clicks GROUP BY page, seen", "DF3001", ""),
        ("SELECT DISTINCT ts, page FROM clicks", "DF3001", ""),
        ("SELECT u, COUNT(*) FROM (SELECT UUID() AS u FROM clicks) GROUP BY u", "DF3001", ""),
        ("INSERT INTO log SELECT page, COUNT(*), CURRENT_TIMESTAMP FROM clicks GROUP BY page", "DF3002", ""),
        (
            "SELECT n, COUNT(*) FROM (SELECT page, COUNT(*) AS n FROM clicks GROUP BY page) WHERE CURRENT_TIMESTAMP > TIMESTAMP '2024-01-01 00:00:00' GROUP BY n",
            "DF3002",
            "",
        ),
        ("INSERT INTO pages SELECT name, page FROM (SELECT page, page AS name FROM clicks)", "DF3003", "name"),
        ("INSERT INTO log SELECT page, 1, ts FROM clicks", "DF3004", "ts"),
        (
            "INSERT INTO log SELECT page, 1, ts FROM clicks; INSERT INTO log SELECT page, 2, ts FROM ended",
            "DF3004",
            "ts",
        ),
    ] {
        let told = warnings(statement);
        assert!(
            told.len() == 1 && told[0].0 == code && (caret.is_empty() || told[0].1 == caret),
            "{statement}: {told:?}"
        );
    }
}

#[test]
fn what_is_meant_is_not_warned_about() {
    for statement in [
        "SELECT FLOOR(ts TO MINUTE) AS m, COUNT(*) FROM clicks GROUP BY FLOOR(ts TO MINUTE)",
        "SELECT page, COUNT(DISTINCT ts), MAX(ts) FROM clicks GROUP BY page",
        "SELECT ts, COUNT(*) FROM ended GROUP BY ts",
        "SELECT DISTINCT ts FROM ended",
        "SELECT page, CURRENT_TIMESTAMP FROM clicks",
        "SELECT page, COUNT(*), MAX(seen) FROM (SELECT page, CURRENT_TIMESTAMP AS seen FROM clicks) GROUP BY page",
        "INSERT INTO latest SELECT page, COUNT(*), CURRENT_TIMESTAMP FROM clicks GROUP BY page",
        "INSERT INTO pages (name, page) SELECT page, page FROM clicks",
        "INSERT INTO pages SELECT page AS a, page AS b FROM clicks",
        "INSERT INTO log SELECT page, 1, seen FROM clicks",
        "SET 'table.local-time-zone' = 'UTC'; INSERT INTO log SELECT page, 1, ts FROM clicks",
        "SELECT cost, COUNT(*) FROM clicks GROUP BY cost",
    ] {
        assert_eq!(warnings(statement), [], "{statement}");
    }
}
