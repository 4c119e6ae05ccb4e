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
        ("SELECT 1 AS k FROM (SELECT COUNT(*) AS n FROM orders) WHERE 1 = 0".to_owned(), vec![]),
        ("SELECT COUNT(*) FROM orders HAVING FALSE".to_owned(), vec![]),
        ("SELECT n FROM (SELECT COUNT(*) AS n FROM orders) WHERE CURRENT_DATE < DATE '2000-01-01'".to_owned(), vec![]),
        ("SELECT AVG(b) FROM (VALUES (9223372036854775807), (9223372036854775807)) AS t (b)".to_owned(), vec!["-1"]),
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

#[test]
fn what_a_condition_guards_does_not_fail_in_batch_mode_either() {
    for (query, expected) in [
        ("SELECT id FROM orders WHERE id - 2 = 0 OR 6 / (id - 2) > 5", vec!["2", "3"]),
        ("SELECT id FROM orders WHERE id - 2 <> 0 AND 6 / (id - 2) > 2", vec!["3", "4"]),
        ("SELECT id FROM (SELECT id, id - 2 AS d FROM orders WHERE id <> 2) WHERE 6 / d > 2", vec!["3", "4"]),
        ("SELECT id, CAST(name AS INT) AS n FROM (SELECT * FROM orders WHERE name IS NULL)", vec!["4|∅"]),
        ("SELECT id FROM (SELECT * FROM orders WHERE name IS NULL) WHERE CAST(name AS INT) IS NULL", vec!["4"]),
        ("SELECT CASE WHEN id = 2 THEN 0 ELSE 6 / (id - 2) END AS q FROM orders WHERE id > 1", vec!["0", "3", "6"]),
        ("SELECT COUNT(*) FILTER (WHERE id = 2 OR 6 / (id - 2) > 5) FROM orders", vec!["2"]),
        (
            "SELECT a.id FROM orders AS a JOIN orders AS b ON a.id = b.id AND (b.id = 2 OR 6 / (b.id - 2) > 5)",
            vec!["2", "3"],
        ),
    ] {
        let mut kit = kit(2);
        let script = format!("SET 'execution.runtime-mode' = 'batch';\n{TABLES}{query};");
        let written = kit.run(&script).unwrap_or_else(|e| panic!("{query}: {e}"));
        let mut rows: Vec<String> = written.get("(result)").into_iter().flatten().map(|r| r[3..].to_owned()).collect();
        rows.sort();
        assert_eq!(rows, expected, "{query}");
    }
}

#[test]
fn not_a_number_is_the_greatest_float_in_batch_mode_too() {
    let rows = "'rows' = '+ 1,NaN; + 1,2.5; + 2,-0.0; + 2,0.0; + 3,NaN'";
    let mut kit = kit(2);
    let written = kit
        .run(&format!(
            "SET 'execution.runtime-mode' = 'batch';
             CREATE TABLE f (k INT, d DOUBLE) WITH ('connector' = 'mem', {rows});
             SELECT k, MIN(d), MAX(d), COUNT(DISTINCT d) FROM f GROUP BY k ORDER BY k;"
        ))
        .unwrap();
    assert_eq!(written["(result)"], ["+I 1|2.5|NaN|2", "+I 2|0.0|0.0|1", "+I 3|NaN|NaN|1"]);
}

#[test]
fn a_key_that_is_never_null_in_one_layer_only_is_planned() {
    let mut kit = kit(2);
    let written = kit
        .run(&format!(
            "SET 'execution.runtime-mode' = 'batch';\n{TABLES}
             SELECT DISTINCT (CASE WHEN id > 2 THEN id > 1 ELSE id > 1 END IS FALSE) AS c,
               COALESCE(CASE WHEN id > 2 THEN name END, 'x') AS d FROM orders WHERE id > 1 ORDER BY c, d;"
        ))
        .unwrap();
    assert_eq!(written["(result)"], ["+I false|a", "+I false|x"]);
}
