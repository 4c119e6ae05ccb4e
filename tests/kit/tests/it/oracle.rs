//! The changelog oracle: at every barrier the folded output equals the batch answer over the input so far.
//!
//! Each query runs over an append-only, a retracting and an upsert table. One random history of changes is cut at
//! barriers; DataFusion answers the same question over the live rows of each barrier; the stream must fold to that answer
//! in every variant: parallelism 1, 2 and 3, other batch sizes, restored at a random barrier with another parallelism.
//! When everything was deleted, output and state are empty.
//!
//! A failure prints the seed: `DFLOW_ORACLE_SEED=<n> cargo test -p dflow-testkit oracle` repeats it.

use dflow_common::env::SeededRng;
use dflow_testkit::classes::Classes;
use dflow_testkit::generate::{self, TableKind};

use super::case::{Case, Question, Reference, schema_of};

const KINDS: [TableKind; 3] = [TableKind::Append, TableKind::Retract, TableKind::Upsert];

/// A question in both languages. `t` is the table under test, `a` a second, append-only one.
struct Query {
    name: &'static str,
    /// Columns of the sink.
    sink: &'static str,
    stream: &'static str,
    /// The same question for DataFusion, where its types or defaults differ from Flink's.
    batch: Option<&'static str>,
}

const fn query(name: &'static str, sink: &'static str, stream: &'static str) -> Query {
    Query { name, sink, stream, batch: None }
}

impl Query {
    const fn batch(mut self, sql: &'static str) -> Self {
        self.batch = Some(sql);
        self
    }
}

const QUERIES: &[Query] = &[
    query("filter and project", "id INT, x BIGINT, s STRING", "SELECT id, v, s FROM t WHERE v > 0 AND b"),
    query(
        "case and null logic",
        "id INT, x STRING, y BOOLEAN",
        "SELECT id, CASE WHEN b THEN s WHEN k > 2 THEN 'big' ELSE 'other' END, k IS NULL OR v = 1 FROM t WHERE NOT (v = 0)",
    ),
    query("union all", "x INT", "SELECT k FROM t UNION ALL SELECT i FROM a"),
    query(
        "count, sum, min, max by an integer",
        "k INT, c BIGINT, n BIGINT, x BIGINT, lo BIGINT, hi BIGINT",
        "SELECT k, COUNT(*), COUNT(v), SUM(v), MIN(v), MAX(v) FROM t GROUP BY k",
    ),
    query(
        "min and max of every type by text",
        "s STRING, a INT, b INT, c STRING, d STRING, e DECIMAL(10, 2), f DECIMAL(10, 2), g TIMESTAMP(3), h TIMESTAMP(3)",
        "SELECT s, MIN(i), MAX(i), MIN(s), MAX(s), MIN(m), MAX(m), MIN(ts), MAX(ts) FROM t GROUP BY s",
    ),
    query(
        "sums of other types",
        "k INT, x DOUBLE, y DECIMAL(38, 2), z INT",
        "SELECT k, SUM(d), SUM(m), SUM(CASE WHEN i BETWEEN -5 AND 5 THEN i END) FROM t GROUP BY k",
    ),
    query("averages", "k INT, x BIGINT, y DOUBLE", "SELECT k, AVG(v), AVG(d) FROM t WHERE v BETWEEN -5 AND 5 GROUP BY k")
        .batch("SELECT k, SUM(v) / COUNT(v), AVG(d) FROM t WHERE v BETWEEN -5 AND 5 GROUP BY k"),
    query(
        "distinct aggregates",
        "k INT, x BIGINT, y BIGINT, z BIGINT, w BIGINT",
        "SELECT k, COUNT(DISTINCT v), COUNT(DISTINCT s), SUM(DISTINCT v), COUNT(*) FROM t GROUP BY k",
    ),
    query(
        "filtered aggregates",
        "k INT, x BIGINT, y BIGINT, z BIGINT, w BIGINT, q BIGINT",
        "SELECT k, COUNT(*) FILTER (WHERE b), SUM(v) FILTER (WHERE v < 2), COUNT(DISTINCT s) FILTER (WHERE b), \
         COUNT(DISTINCT s) FILTER (WHERE NOT b), MAX(v) FILTER (WHERE b) FROM t GROUP BY k",
    ),
    query("having", "k INT, c BIGINT", "SELECT k, COUNT(*) FROM t GROUP BY k HAVING COUNT(*) > 2 AND MAX(v) > 0"),
    query("select distinct", "k INT, s STRING", "SELECT DISTINCT k, s FROM t"),
    query(
        "aggregate of an aggregate",
        "c BIGINT, n BIGINT, x BIGINT, hi INT",
        "SELECT c, COUNT(*), SUM(c), MAX(k) FROM (SELECT k, COUNT(*) AS c FROM t GROUP BY k) AS q GROUP BY c",
    ),
    query(
        "global aggregate",
        "c BIGINT, x BIGINT, s STRING, d BIGINT",
        "SELECT COUNT(*), SUM(v), MIN(s), COUNT(DISTINCT k) FROM t",
    )
    .batch("SELECT COUNT(*), SUM(v), MIN(s), COUNT(DISTINCT k) FROM t HAVING COUNT(*) > 0"),
    query("group by a float", "d DOUBLE, c BIGINT", "SELECT d, COUNT(*) FROM t GROUP BY d")
        // One NaN and one zero, as SQL equality has it.
        .batch("SELECT CASE WHEN isnan(d) THEN CAST('NaN' AS DOUBLE) ELSE d + 0.0 END AS x, COUNT(*) FROM t GROUP BY x"),
    query(
        "group by several columns",
        "k INT, s STRING, b BOOLEAN, m DECIMAL(10, 2), ts TIMESTAMP(3), c BIGINT, x BIGINT",
        "SELECT k, s, b, m, ts, COUNT(*), SUM(v) FROM t GROUP BY k, s, b, m, ts",
    ),
    query(
        "group by an expression over a union",
        "g INT, c BIGINT, lo INT",
        "SELECT x, COUNT(*), MIN(y) FROM (SELECT k + 1 AS x, i AS y FROM t UNION ALL SELECT i AS x, k AS y FROM a) AS q \
         WHERE x IS NOT NULL GROUP BY x",
    )
    .batch(
        "SELECT x, COUNT(*), MIN(y) FROM (SELECT k + 1 AS x, i AS y FROM t UNION ALL SELECT i AS x, k AS y FROM a) AS q \
         WHERE x IS NOT NULL GROUP BY x",
    ),
    query(
        "distinct over an aggregate",
        "c BIGINT",
        "SELECT DISTINCT c FROM (SELECT s, COUNT(*) AS c FROM t GROUP BY s) AS q WHERE c > 1",
    ),
];

impl Query {
    /// The script as a user would write it. Upsert tables have their key; half of all have a watermark.
    fn question(&self, kind: TableKind, seed: u64) -> Question {
        let watermark = seed.is_multiple_of(2);
        let more = if watermark { ", WATERMARK FOR ts AS ts - INTERVAL '1' SECOND" } else { "" };
        let (key, changelog) = match kind {
            TableKind::Append => ("", "append"),
            TableKind::Retract => ("", "retract"),
            TableKind::Upsert => (", PRIMARY KEY (id) NOT ENFORCED", "upsert"),
        };
        let columns = generate::COLUMNS;
        let stream = format!(
            "CREATE TABLE t ({columns}{more}{key}) WITH ('connector' = 'oracle', 'changelog' = '{changelog}');
             CREATE TABLE a ({columns}{more}) WITH ('connector' = 'oracle', 'changelog' = 'append');
             CREATE TABLE o ({}) WITH ('connector' = 'oracle', 'changelog' = 'retract');
             INSERT INTO o {};",
            self.sink, self.stream
        );
        Question {
            name: format!("query `{}` over {kind:?}, seed {seed}", self.name),
            kind,
            stream,
            batch: self.batch.unwrap_or(self.stream).to_owned(),
            sink: schema_of(columns_of(self.sink)),
            sink_key: None,
            watermark,
            tables: if self.stream.contains("FROM a") { vec!["t", "a"] } else { vec!["t"] },
        }
    }
}

/// `a INT, b DECIMAL(10, 2)` as names and types.
fn columns_of(text: &str) -> Vec<(&str, &str)> {
    let mut depth = 0;
    let columns = text.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    columns.map(|c| c.trim().split_once(' ').expect("a column has a name and a type")).collect()
}

#[test]
fn every_operator_equals_the_batch_answer_at_every_barrier() {
    let full = std::env::var("DFLOW_TEST_LEVEL").as_deref() == Ok("full");
    let only_seed: Option<u64> = std::env::var("DFLOW_ORACLE_SEED").ok().and_then(|s| s.parse().ok());
    let seeds: Vec<u64> = only_seed.map_or_else(|| (1..=if full { 20 } else { 2 }).collect(), |s| vec![s]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let reference = Reference::new();
    let mut classes = Classes::of(generate::CLASSES);
    let mut comparisons = 0;
    for seed in seeds {
        for query in QUERIES {
            for kind in KINDS {
                let rng = SeededRng::new(seed.wrapping_mul(0x9e37_79b9).wrapping_add(query.name.len() as u64));
                let question = query.question(kind, seed);
                let mut case = runtime.block_on(Case::new(question, (14, 60), &reference, &rng, &mut classes));
                for variant in 0..8 {
                    comparisons += case.run(1 + variant % 3, variant >= 3, &rng, &mut classes);
                }
            }
        }
    }
    println!("{comparisons} comparisons; {}", classes.summary());
    if only_seed.is_none() {
        classes.assert_all_hit();
        assert!(comparisons >= 10_000, "only {comparisons} comparisons");
    }
}
