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

#[test]
fn the_execution_plan_is_one_json_document_with_flinks_fields() {
    let script = format!(
        "{TABLES}EXPLAIN JSON_EXECUTION_PLAN, PLAN_ADVICE SELECT unused, COUNT(DISTINCT id) FROM orders GROUP BY unused;"
    );
    let text = explain(2, &script);
    let plan: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let nodes = plan["nodes"].as_array().unwrap();
    let facts: Vec<String> = nodes
        .iter()
        .map(|n| {
            let from: Vec<String> = n["predecessors"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|p| format!("{} {}", p["id"], p["ship_strategy"].as_str().unwrap()))
                .collect();
            format!(
                "{} {} | {} | {} <- {}",
                n["id"],
                n["type"].as_str().unwrap(),
                n["pact"].as_str().unwrap(),
                n["parallelism"],
                from.join(", ")
            )
        })
        .collect();
    insta::assert_debug_snapshot!(facts);
    assert!(nodes.iter().all(|n| n["operator"].is_string() && n["contents"].is_string()), "{text}");
    assert_eq!(plan["advice"].as_array().unwrap().len(), 1, "{text}");
    assert!(!text.contains("canary"), "{text}");
}

#[test]
fn advice_stands_below_the_plan_or_says_that_there_is_none() {
    let advised = explain(1, &format!("{TABLES}EXPLAIN PLAN_ADVICE SELECT COUNT(DISTINCT id) FROM orders;"));
    let line = advised.lines().last().unwrap();
    assert!(line.starts_with("advice[1]: [ADVICE] ") && line.contains("COUNT(DISTINCT id)"), "{advised}");
    let plain = explain(1, &format!("{TABLES}EXPLAIN PLAN_ADVICE, CHANGELOG_MODE SELECT id FROM orders;"));
    assert_eq!(plain.lines().last(), Some("No available advice..."), "{plain}");
}

#[test]
fn in_batch_mode_the_tables_have_their_names() {
    let text =
        explain(1, &format!("SET 'execution.runtime-mode' = 'batch'; {TABLES}EXPLAIN SELECT id FROM orders AS o;"));
    assert!(text.contains("TableScan: orders") && !text.contains('$'), "{text}");
}
