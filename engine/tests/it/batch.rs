//! Batch scripts give the rows that streams fold to.

use super::kit::{fold, kit};

const TABLES: &str = "CREATE TABLE orders (id INT, name STRING, amount DECIMAL(10, 2), v BIGINT, twice AS v * 2) WITH (
  'connector' = 'mem', 'rows' = '+ 1,a,1.50,10; + 2,b,2.00,20; + 3,a,3.25,30; + 4,NULL,4.00,NULL');
CREATE TABLE sunk (k STRING, n BIGINT, total BIGINT, mean INT, most DECIMAL(10, 2)) WITH ('connector' = 'mem', 'takes' = 'all');\n";

#[test]
fn a_statement_gives_the_same_in_both_modes() {
    for query in [
        "SELECT name, COUNT(*), SUM(v), AVG(id), MAX(amount) FROM orders GROUP BY name",
        "SELECT name, twice, SUM(v), AVG(id), MIN(amount) FROM orders WHERE id > 1 GROUP BY name, twice",
        "SELECT 'all', COUNT(DISTINCT name), SUM(DISTINCT v), CAST(AVG(DISTINCT v) AS INT), MAX(amount) FROM orders",
        "SELECT name, v, twice, id, amount FROM orders WHERE v BETWEEN 10 AND 20",
        "SELECT name, COUNT(NULL), COUNT(DISTINCT NULL), 0, MAX(amount) FROM orders GROUP BY name",
        "SELECT name, COUNT(x), COUNT(*), 0, MAX(amount) FROM (SELECT name, amount, NULL AS x FROM orders) GROUP BY name",
    ] {
        let run = |mode: &str| {
            let mut kit = kit(2);
            let set = format!("SET 'execution.runtime-mode' = '{mode}';\n");
            let written = kit.run(&format!("{set}{TABLES}INSERT INTO sunk {query};")).unwrap();
            let mut rows = fold(&written["sunk"]);
            rows.sort();
            rows
        };
        let streamed = run("streaming");
        assert!(!streamed.is_empty());
        assert_eq!(run("batch"), streamed, "{query}");
    }
}

#[test]
fn order_limit_and_joins_run_in_batch_mode() {
    let mut kit = kit(2);
    let written = kit
        .run(&format!(
            "SET 'execution.runtime-mode' = 'batch';\n{TABLES}
             SELECT a.id, b.name FROM orders a JOIN orders b ON a.id = b.id WHERE a.id > 1 ORDER BY a.id DESC LIMIT 2;"
        ))
        .unwrap();
    assert_eq!(written["(result)"], ["+I 4|∅", "+I 3|a"]);
}

#[test]
fn grouping_sets_and_rollup_run_in_batch_mode() {
    for groups in ["GROUPING SETS ((name), ())", "ROLLUP (name)", "CUBE (name)"] {
        let mut kit = kit(1);
        let written = kit
            .run(&format!(
                "SET 'execution.runtime-mode' = 'batch';\n{TABLES}
                 SELECT name, COUNT(*) FROM orders WHERE id < 4 GROUP BY {groups};"
            ))
            .unwrap();
        let mut rows = written["(result)"].clone();
        rows.sort();
        assert_eq!(rows, ["+I a|2", "+I b|1", "+I ∅|3"], "{groups}");
    }
}

#[test]
fn statements_run_in_order_and_counting_needs_no_column() {
    let mut kit = kit(1);
    let written = kit
        .run(&format!(
            "SET 'execution.runtime-mode' = 'batch';\n{TABLES}
             INSERT INTO sunk (k) SELECT name FROM orders WHERE id = 1; SELECT COUNT(*) FROM orders;"
        ))
        .unwrap();
    assert_eq!(written["sunk"], ["+I a|∅|∅|∅|∅"]);
    assert_eq!(written["(result)"], ["+I 4"]);
}

#[test]
fn constants_as_keys_and_counts_known_in_advance_are_planned() {
    let none = "WHERE id > 100";
    for (query, expected) in [
        (
            "SELECT name, k, COUNT(*) FROM (SELECT name, 'x' AS k FROM orders) GROUP BY name, k".to_owned(),
            vec!["a|x|2", "b|x|1", "∅|x|1"],
        ),
        ("SELECT 1 AS k, name, COUNT(*) FROM orders GROUP BY name, 1 + 1".to_owned(), vec!["1|a|2", "1|b|1", "1|∅|1"]),
        ("SELECT k, SUM(v) FROM (SELECT 'x' AS k, v FROM orders) GROUP BY k".to_owned(), vec!["x|60"]),
        (format!("SELECT k, COUNT(*) FROM (SELECT 'x' AS k FROM orders {none}) GROUP BY k"), vec![]),
        (format!("SELECT COUNT(*) FROM orders {none}"), vec!["0"]),
        (
            "SELECT name, UPPER(name) AS u, COUNT(*) FROM orders GROUP BY name, UPPER(name)".to_owned(),
            vec!["a|A|2", "b|B|1", "∅|∅|1"],
        ),
        (
            "SELECT id, v, id + v AS s, COUNT(*) FROM orders WHERE id < 3 GROUP BY id, v, id + v".to_owned(),
            vec!["1|10|11|1", "2|20|22|1"],
        ),
        ("SELECT COUNT(*) FROM (VALUES (1), (2), (3)) AS t (a)".to_owned(), vec!["3"]),
        ("SELECT COUNT(a), MIN(a), MAX(a) FROM (VALUES (1), (2), (3)) AS t (a)".to_owned(), vec!["3|1|3"]),
        ("SELECT COUNT(*), SUM(a) FROM (VALUES (1), (2)) AS t (a) HAVING COUNT(*) > 5".to_owned(), vec![]),
        ("SELECT DISTINCT 'x' AS k, name IS NULL AS n FROM orders".to_owned(), vec!["x|false", "x|true"]),
        ("SELECT COUNT(DISTINCT name), COUNT(DISTINCT 1), COUNT(*) FROM orders".to_owned(), vec!["2|1|4"]),
    ] {
        let mut kit = kit(2);
        let set = "SET 'execution.runtime-mode' = 'batch';\n";
        let script = format!("{set}{TABLES}{query};");
        let written = kit.run(&script).unwrap_or_else(|e| panic!("{query}: {e}"));
        let mut rows: Vec<String> = written.get("(result)").into_iter().flatten().map(|r| r[3..].to_owned()).collect();
        rows.sort();
        assert_eq!(rows, expected, "{query}");
    }
}
