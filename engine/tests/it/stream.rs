//! Streaming scripts, run.

use super::kit::{check, fold, kit};

const ORDERS: &str = "CREATE TABLE orders (id INT, name STRING, amount DECIMAL(10, 2), v BIGINT) WITH (
  'connector' = 'mem', 'rows' = '+ 1,a,1.50,10; + 2,b,2.00,20; + 3,a,3.25,30; + 4,NULL,4.00,NULL');\n";

fn orders(query: &str, expected: &[&str]) {
    check(&format!("{ORDERS}{query}"), expected);
}

#[test]
fn a_filter_and_a_projection_over_a_view() {
    orders(
        "CREATE VIEW big (k, twice) AS SELECT name, v * 2 FROM orders WHERE v > 10;
         SELECT twice + 1, k FROM big WHERE k = 'a';",
        &["61|a"],
    );
}

#[test]
fn an_expression_of_the_filter_that_uses_another_one_is_projected() {
    orders(
        "SELECT UPPER(name) || 'x', CHAR_LENGTH(UPPER(name) || 'x') FROM orders
         WHERE UPPER(name) = 'A' AND UPPER(name) || 'x' <> 'b';",
        &["Ax|2", "Ax|2"],
    );
}

#[test]
fn groups_sums_and_having() {
    orders(
        "SELECT name, COUNT(*), SUM(v), AVG(id), MAX(amount) FROM orders GROUP BY name HAVING COUNT(*) > 0;",
        &["a|2|40|2|3.25", "b|1|20|2|2.00", "∅|1|∅|4|4.00"],
    );
}

#[test]
fn distinct_filters_and_one_group() {
    orders(
        "SELECT COUNT(DISTINCT name), COUNT(*) FILTER (WHERE v >= 20), SUM(DISTINCT id), MIN(v) FROM orders;",
        &["2|2|10|10"],
    );
    orders("SELECT DISTINCT name FROM orders;", &["a", "b", "∅"]);
}

#[test]
fn aggregates_of_aggregates_take_back_what_changed() {
    orders(
        "SELECT n, COUNT(*) FROM (SELECT name, COUNT(*) AS n FROM orders GROUP BY name) GROUP BY n;",
        &["1|2", "2|1"],
    );
}

#[test]
fn a_key_of_a_key_is_a_key() {
    // The second GROUP BY is by `name` alone, although `name` determines `n`; its DECIMAL and INT keys are widened.
    for (columns, query) in [
        (
            "name STRING, c BIGINT",
            "SELECT name, COUNT(*) FROM (SELECT name, COUNT(*) AS n FROM orders GROUP BY name) GROUP BY name",
        ),
        ("amount DECIMAL(12, 3), c BIGINT", "SELECT amount, COUNT(*) FROM orders GROUP BY amount"),
        ("id BIGINT, c BIGINT", "SELECT id, COUNT(*) FROM orders GROUP BY id"),
    ] {
        let key = columns.split(' ').next().unwrap();
        kit(2)
            .compile(&format!(
                "{ORDERS} CREATE TABLE sunk ({columns}, PRIMARY KEY ({key}) NOT ENFORCED) WITH ('connector' = 'mem', 'takes' = 'upsert');
                 INSERT INTO sunk {query};"
            ))
            .unwrap_or_else(|e| panic!("{query}: {e:#?}"));
    }
    let cut = kit(1).compile(&format!(
        "{ORDERS} CREATE TABLE sunk (amount DECIMAL(12, 1), c BIGINT, PRIMARY KEY (amount) NOT ENFORCED) WITH ('connector' = 'mem', 'takes' = 'upsert');
         INSERT INTO sunk SELECT amount, COUNT(*) FROM orders GROUP BY amount;"
    ));
    assert!(cut.is_err(), "two amounts may become one key");
}

#[test]
fn floats_compare_as_in_flink() {
    let table = "CREATE TABLE f (d DOUBLE) WITH ('connector' = 'mem', 'rows' = '+ 0.0; + -0.0; + NaN; + NULL; + 1.5');";
    for (condition, expected) in [
        ("d = 0", vec!["-0.0", "0.0"]),
        ("d >= 0", vec!["-0.0", "0.0", "1.5"]),
        ("d < 0", vec![]),
        ("d > 1", vec!["1.5"]),
        ("d <> 0", vec!["1.5", "NaN"]),
        ("d = d", vec!["-0.0", "0.0", "1.5"]),
        ("d IN (0, 1.5)", vec!["-0.0", "0.0", "1.5"]),
        ("d NOT IN (0, 1.5)", vec!["NaN"]),
        ("d BETWEEN 0 AND 1", vec!["-0.0", "0.0"]),
        ("NOT (d BETWEEN 0 AND 1)", vec!["1.5", "NaN"]),
        ("d > 1.4", vec!["1.5"]),
        ("d <= 1.5", vec!["-0.0", "0.0", "1.5"]),
        ("d BETWEEN -0.5 AND 1.1", vec!["-0.0", "0.0"]),
        ("d IN (0.0, 1.5)", vec!["-0.0", "0.0", "1.5"]),
        ("d IN (1.50)", vec!["1.5"]),
        ("1.5 IN (d, 7)", vec!["1.5"]),
        ("CASE d WHEN 1.5 THEN TRUE ELSE FALSE END", vec!["1.5"]),
        ("COALESCE(d, 0.1) < 0.2", vec!["-0.0", "0.0", "∅"]),
        ("CASE WHEN d IS NULL THEN 0.1 ELSE d END < 0.2", vec!["-0.0", "0.0", "∅"]),
        ("IF(d IS NULL, 0.1, d) < 0.2", vec!["-0.0", "0.0", "∅"]),
        ("NULLIF(d, 1.5) IS NULL", vec!["1.5", "∅"]),
        ("GREATEST(d, 1.0) < 1.5", vec!["-0.0", "0.0"]),
        ("d + 1.5 = 1.5", vec!["-0.0", "0.0"]),
        ("d IS NOT DISTINCT FROM CAST(NULL AS DOUBLE)", vec!["∅"]),
        ("NULLIF(d, 0) IS NULL", vec!["-0.0", "0.0", "∅"]),
        ("CASE d WHEN 0 THEN TRUE ELSE FALSE END", vec!["-0.0", "0.0"]),
    ] {
        check(&format!("{table} SELECT d FROM f WHERE {condition};"), &expected);
    }
}

#[test]
fn a_double_beside_a_decimal_is_a_double() {
    let nan = "CAST('NaN' AS DOUBLE)";
    for query in [
        format!("SELECT {nan} AS x UNION ALL SELECT 1.5 UNION ALL SELECT 1e16"),
        format!("SELECT 1.5 AS x UNION ALL SELECT 1e16 UNION ALL SELECT {nan}"),
        format!("SELECT x FROM (VALUES ({nan}), (1.5), (1e16)) AS v (x)"),
        format!("SELECT CASE n WHEN 1 THEN 1.5 WHEN 2 THEN 1e16 ELSE {nan} END FROM (VALUES (1), (2), (3)) AS v (n)"),
    ] {
        check(&format!("{query};"), &["1.5", "1e16", "NaN"]);
    }
}

#[test]
fn unions_and_values() {
    orders(
        "SELECT id, name FROM orders WHERE id < 2 UNION ALL SELECT id + 10, 'x' FROM orders WHERE id = 2
         UNION ALL VALUES (7, 'seven');",
        &["12|x", "1|a", "7|seven"],
    );
    check("VALUES (1, 'one'), (2, CAST(NULL AS STRING));", &["1|one", "2|∅"]);
    check("SELECT b FROM (VALUES ('x', 1), ('yy', 2)) AS v (a, b) WHERE a = 'yy';", &["2"]);
    check("SELECT 1, 'a', 1.5, TRUE, 1e0;", &["1|a|1.5|true|1.0"]);
    orders("SELECT id FROM orders UNION SELECT id FROM orders;", &["1", "2", "3", "4"]);
}

#[test]
fn whole_numbers_and_decimals_compute_as_in_flink() {
    orders("SELECT 7 / 2, id + 1, amount + id, v % 7, -id FROM orders WHERE id = 3;", &["3|4|6.25|2|-3"]);
}

#[test]
fn computed_columns_watermarks_and_nested_rows() {
    check(
        "CREATE TABLE t (id INT, ts TIMESTAMP(3), twice AS id * 2, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH (
           'connector' = 'mem', 'rows' = '+ 1,2026-01-01 00:00:00; + 2,2026-01-01 00:00:10');
         SELECT twice, ts FROM t WHERE ts > TIMESTAMP '2026-01-01 00:00:05';",
        &["4|2026-01-01T00:00:10"],
    );
}

#[test]
fn upserts_and_retractions_are_counted_once() {
    for changelog in ["upsert", "retract"] {
        check(
            &format!(
                "CREATE TABLE t (id INT, v INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'mem',
                   'changelog' = '{changelog}', 'rows' = '+ 1,10; + 2,20; - 1,10; + 1,11; - 2,20');
                 SELECT COUNT(*), SUM(v) FROM t;"
            ),
            &["1|11"],
        );
    }
}

#[test]
fn repeated_events_of_a_change_source_are_dropped_when_told() {
    check(
        "SET 'table.exec.source.cdc-events-duplicate' = 'true';
         CREATE TABLE t (id INT, v INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'mem',
           'changelog' = 'retract', 'rows' = '+ 1,10; + 1,10; + 2,20');
         SELECT COUNT(*), SUM(v) FROM t;",
        &["2|30"],
    );
}

#[test]
fn a_table_created_again_is_another_one() {
    let mut kit = kit(1);
    let written = kit
        .run(
            "CREATE TABLE sunk (id INT) WITH ('connector' = 'mem');
             CREATE TABLE sunk2 (name STRING, id INT) WITH ('connector' = 'mem');
             CREATE TABLE t (id INT) WITH ('connector' = 'mem', 'rows' = '+ 1');
             INSERT INTO sunk SELECT id FROM t;
             DROP TABLE t;
             CREATE TABLE t (name STRING, id INT) WITH ('connector' = 'mem', 'rows' = '+ a,2');
             INSERT INTO sunk2 SELECT name, id FROM t;",
        )
        .unwrap();
    assert_eq!(fold(&written["sunk"]), ["1"]);
    assert_eq!(fold(&written["sunk2"]), ["a|2"]);
}

#[test]
fn two_inserts_read_one_source() {
    let script = format!(
        "{ORDERS}CREATE TABLE sunk (id INT) WITH ('connector' = 'mem');
         CREATE TABLE sunk2 (n BIGINT) WITH ('connector' = 'mem', 'takes' = 'all');
         EXECUTE STATEMENT SET BEGIN
           INSERT INTO sunk SELECT id FROM orders WHERE id > 3;
           INSERT INTO sunk2 SELECT COUNT(*) FROM orders;
         END;"
    );
    let mut kit = kit(2);
    let written = kit.run(&script).unwrap();
    assert_eq!(fold(&written["sunk"]), ["4"]);
    assert_eq!(fold(&written["sunk2"]), ["4"]);
}

#[test]
fn a_sinks_columns_are_filled_by_position_list_and_partition() {
    check(
        &format!(
            "{ORDERS}CREATE TABLE sunk (id BIGINT NOT NULL, total DECIMAL(12, 3), note STRING, dt STRING) PARTITIONED BY (dt)
               WITH ('connector' = 'mem');
             INSERT INTO sunk PARTITION (dt = '2026-01-01') (id, total) SELECT id, amount FROM orders WHERE id <= 2;"
        ),
        &["1|1.500|∅|2026-01-01", "2|2.000|∅|2026-01-01"],
    );
}

#[test]
fn a_keyed_sink_gets_the_last_row_of_each_key() {
    let script = format!(
        "{ORDERS}CREATE TABLE sunk (name STRING, n BIGINT, PRIMARY KEY (name) NOT ENFORCED)
           WITH ('connector' = 'mem', 'takes' = 'upsert');
         INSERT INTO sunk SELECT name, COUNT(*) FROM orders WHERE name IS NOT NULL GROUP BY name;"
    );
    let written = kit(3).run(&script).unwrap();
    let last: Vec<_> = written["sunk"].iter().filter(|r| r.starts_with('+')).map(|r| &r[3..]).collect();
    assert!(last.contains(&"a|2") && last.contains(&"b|1"), "{last:?}");
}

#[test]
fn null_in_a_not_null_column_fails_or_drops() {
    let script = |enforcer: &str| {
        format!(
            "SET 'table.exec.sink.not-null-enforcer' = '{enforcer}'; SET 'restart-strategy.type' = 'none';
             {ORDERS}CREATE TABLE sunk (name STRING NOT NULL) WITH ('connector' = 'mem');
             INSERT INTO sunk SELECT name FROM orders;"
        )
    };
    check(&script("drop"), &["a", "a", "b"]);
    let error = kit(1).run(&script("error")).unwrap_err();
    assert!(error.contains("DF4110"), "{error}");
}

#[test]
fn create_table_as_writes_the_query() {
    check(
        &format!(
            "{ORDERS}CREATE TABLE sunk WITH ('connector' = 'mem') AS SELECT name AS k, v FROM orders WHERE v > 10;"
        ),
        &["a|30", "b|20"],
    );
}

#[test]
fn a_hint_changes_the_options_of_one_use() {
    check(
        &format!("{ORDERS}SELECT id FROM orders /*+ OPTIONS('rows' = '+ 9,z,1.00,1') */ AS o WHERE o.id > 0;"),
        &["9"],
    );
}

#[test]
fn casts_and_case() {
    orders(
        "SELECT CAST(id AS STRING) || '!', CASE WHEN v > 10 THEN 'big' ELSE 'small' END, CAST('12' AS INT) + id
         FROM orders WHERE id = 2;",
        &["2!|big|14"],
    );
}

#[test]
fn tables_of_one_server_share_a_reader() {
    let script = "CREATE TABLE a (id INT) WITH ('connector' = 'mem', 'share' = 's', 'rows' = '+ 1');
                  CREATE TABLE b (id INT) WITH ('connector' = 'mem', 'share' = 's', 'rows' = '+ 2');
                  CREATE TABLE sunk (id INT) WITH ('connector' = 'mem');
                  INSERT INTO sunk SELECT id FROM a; INSERT INTO sunk SELECT id FROM b;";
    let mut kit = kit(1);
    let script = kit.compile(script).unwrap();
    let dflow_engine::CompiledStatement::Stream(job) = &script.statements[0] else { panic!("a job") };
    let sources =
        job.graph.nodes.iter().filter(|n| matches!(n.kind, dflow_runtime::graph::NodeKind::Source(_))).count();
    assert_eq!(sources, 1);
    let mut outputs: Vec<_> = job.graph.edges.iter().filter(|e| e.from == 0).map(|e| e.output).collect();
    outputs.sort_unstable();
    assert_eq!(outputs, [0, 1]);
}
