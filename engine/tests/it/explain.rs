//! EXPLAIN, as printed.

use dflow_engine::CompiledStatement;

use super::kit::kit;

fn explain(parallelism: usize, script: &str) -> String {
    let mut kit = kit(parallelism);
    let script = kit.compile(script).unwrap_or_else(|e| panic!("{e:#?}"));
    match &script.statements[0] {
        CompiledStatement::Rows(rows) => rows.rows[0][0].clone().unwrap(),
        CompiledStatement::Stream(job) => job.explain.clone(),
        other => panic!("{other:?}"),
    }
}

const TABLES: &str = "CREATE TABLE orders (
  id INT,
  item ROW<sku STRING, price DECIMAL(10, 2), extra STRING>,
  ts TIMESTAMP(3),
  unused STRING
) WITH ('connector' = 'mem', 'topic' = 'orders', 'password' = 'canary');
CREATE TABLE totals (sku STRING, total DECIMAL(38, 2), PRIMARY KEY (sku) NOT ENFORCED)
  WITH ('connector' = 'mem', 'takes' = 'upsert', 'topic' = 'totals');
";

#[test]
fn an_aggregate_into_a_keyed_sink() {
    insta::assert_snapshot!(explain(
        2,
        &format!(
            "{TABLES}EXPLAIN INSERT INTO totals
SELECT item.sku, SUM(item.price)
FROM orders
WHERE id > 10
GROUP BY item.sku;"
        )
    ));
}

#[test]
fn everything_at_parallelism_one_is_forward() {
    insta::assert_snapshot!(explain(
        1,
        &format!(
            "{TABLES}EXPLAIN SELECT id, COUNT(*) AS n FROM (
  SELECT id FROM orders WHERE unused = 'x' UNION ALL SELECT CAST(item.sku AS INT) FROM orders
) GROUP BY id HAVING COUNT(*) > 1;"
        )
    ));
}

#[test]
fn a_watermark_keeps_filters_from_the_source() {
    insta::assert_snapshot!(explain(
        2,
        "CREATE TABLE t (id INT, ms BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND)
  WITH ('connector' = 'mem');
EXPLAIN SELECT id, ts FROM t WHERE id = 1;"
    ));
}

#[test]
fn secrets_are_in_no_plan_and_no_definition() {
    let text = explain(1, &format!("{TABLES}EXPLAIN SELECT * FROM orders;"));
    assert!(!text.contains("canary"), "{text}");
    let shown = explain(1, &format!("{TABLES}SHOW CREATE TABLE orders;"));
    assert!(!shown.contains("canary") && shown.contains("'password' = '***'"), "{shown}");
}
