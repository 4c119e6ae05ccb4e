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
