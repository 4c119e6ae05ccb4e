//! The changelog oracle: at every barrier the folded output equals the batch answer over the input so far.
//!
//! Each query runs over an append-only, a retracting and an upsert table. One random history of changes is cut at
//! barriers; DataFusion answers the same question over the live rows of each barrier; the stream must fold to that answer
//! in every variant: parallelism 1, 2 and 3, other batch sizes, restored at a random barrier with another parallelism.
//! When everything was deleted, output and state are empty.
//!
//! A failure prints the seed: `DFLOW_ORACLE_SEED=<n> cargo test -p dflow-testkit oracle` repeats it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::execution::context::{SessionConfig, SessionContext};
use dflow_common::env::sim::env_real_fs;
use dflow_common::env::{Rng, SeededRng};
use dflow_common::metrics::Metrics;
use dflow_common::{ChangeBatch, RowKind, SourceId, SourceMap};
use dflow_connector_api::ConnectorRegistry;
use dflow_engine::{CompiledStatement, Engine, SessionOptions};
use dflow_runtime::graph::JobGraph;
use dflow_testkit::changelog::{Fold, change_lines};
use dflow_testkit::connector::OracleFactory;
use dflow_testkit::generate::{self, Classes, Row, Table, TableKind, to_changes};
use dflow_testkit::harness::{Checkpoint, SyncJob};

const MAX_PARALLELISM: u16 = 16;
const SUBTASKS: usize = 3;
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

/// The job of a query over a table of this kind, planned as a user's script is.
fn graph_of(kind: TableKind, query: &Query, parallelism: usize) -> JobGraph {
    let (columns, changelog) = match kind {
        TableKind::Append => (generate::COLUMNS.to_owned(), "append"),
        TableKind::Retract => (generate::COLUMNS.to_owned(), "retract"),
        TableKind::Upsert => (format!("{}, PRIMARY KEY (id) NOT ENFORCED", generate::COLUMNS), "upsert"),
    };
    let script = format!(
        "CREATE TABLE t ({columns}) WITH ('connector' = 'oracle', 'changelog' = '{changelog}');
         CREATE TABLE a ({}) WITH ('connector' = 'oracle', 'changelog' = 'append');
         CREATE TABLE o ({}) WITH ('connector' = 'oracle', 'changelog' = 'retract');
         INSERT INTO o {};",
        generate::COLUMNS,
        query.sink,
        query.stream
    );
    let mut sources = SourceMap::new();
    let id = sources.add("oracle.sql", script.clone());
    let parsed = dflow_dsl::parse(id, &script);
    assert!(parsed.diagnostics.is_empty(), "{}: {:?}", query.name, parsed.diagnostics);
    let mut registry = ConnectorRegistry::new();
    registry.connector(Arc::new(OracleFactory));
    let engine = Engine::new(registry, env_real_fs(1), Metrics::new());
    let mut options = SessionOptions::new("oracle", "");
    options.parallelism = parallelism;
    let compiled = engine
        .session(options)
        .compile(&parsed.script, &sources)
        .unwrap_or_else(|e| panic!("{}: {:?}", query.name, e.into_diagnostics()));
    match compiled.statements.into_iter().next_back() {
        Some(CompiledStatement::Stream(job)) => job.graph,
        other => panic!("{}: no streaming job but {other:?}", query.name),
    }
}

/// The columns of the sink, as the stream delivers them.
fn sink_schema(columns: &str) -> SchemaRef {
    let mut fields = Vec::new();
    let mut depth = 0;
    for column in columns.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    }) {
        let (name, ty) = column.trim().split_once(' ').expect("a column has a name and a type");
        let ty = dflow_dsl::types::parse_type(SourceId(0), ty).expect("a type of the test");
        fields.push(ty.to_field(name));
    }
    Arc::new(Schema::new(fields))
}

/// What happens to both tables between two barriers.
type EpochChanges = [Vec<(RowKind, Row)>; 2];

struct Case {
    kind: TableKind,
    epochs: Vec<EpochChanges>,
    answers: Vec<Fold>,
}

#[test]
fn every_operator_equals_the_batch_answer_at_every_barrier() {
    let full = std::env::var("DFLOW_TEST_LEVEL").as_deref() == Ok("full");
    let only_seed: Option<u64> = std::env::var("DFLOW_ORACLE_SEED").ok().and_then(|s| s.parse().ok());
    let seeds: Vec<u64> = only_seed.map_or_else(|| (1..=if full { 20 } else { 2 }).collect(), |s| vec![s]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let mut classes = Classes::default();
    let mut comparisons = 0;
    for seed in seeds {
        for query in QUERIES {
            for kind in KINDS {
                let rng = SeededRng::new(seed.wrapping_mul(0x9e37_79b9).wrapping_add(query.name.len() as u64));
                let schema = sink_schema(query.sink);
                let case = runtime.block_on(make_case(query, kind, &schema, &rng, &mut classes));
                for variant in 0..8 {
                    comparisons += run_variant(query, &case, variant, seed, &rng, &mut classes);
                }
            }
        }
    }
    println!("{comparisons} comparisons");
    if only_seed.is_none() {
        classes.assert_all_hit();
        assert!(comparisons >= 10_000, "only {comparisons} comparisons");
    }
}

/// A random history and the batch answer at each of its barriers. The last epoch of a table that can delete deletes all.
async fn make_case(query: &Query, kind: TableKind, schema: &SchemaRef, rng: &SeededRng, classes: &mut Classes) -> Case {
    let (mut t, mut a) = (Table::new(kind), Table::new(TableKind::Append));
    let (mut epochs, mut answers) = (Vec::new(), Vec::new());
    let deletes_all = kind != TableKind::Append && !query.stream.contains("FROM a");
    for epoch in 0..14 {
        let n = [0, 1, 3, 8, 20, 60][rng.below(6) as usize];
        if n == 0 {
            classes.hit("empty epoch");
        }
        let changes = if deletes_all && epoch == 13 {
            [t.delete_all(classes), Vec::new()]
        } else {
            [t.changes(n, rng, classes), a.changes(n / 2, rng, classes)]
        };
        epochs.push(changes);
        let sql = query.batch.unwrap_or(query.stream);
        answers.push(Fold::of_table(&batch_answer(sql, t.live(), a.live()).await, schema));
    }
    Case { kind, epochs, answers }
}

async fn batch_answer(sql: &str, t: RecordBatch, a: RecordBatch) -> Vec<RecordBatch> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    for (name, batch) in [("t", t), ("a", a)] {
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
        context.register_table(name, Arc::new(table)).unwrap();
    }
    context
        .sql(sql)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"))
        .collect()
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// Runs the history once, in a way chosen by `variant`, and compares at every barrier.
fn run_variant(query: &Query, case: &Case, variant: u64, seed: u64, rng: &SeededRng, classes: &mut Classes) -> u64 {
    let parallelism = 1 + (variant % 3) as usize;
    let restore_at = (variant >= 3).then(|| rng.below(case.epochs.len() as u64 - 1) as usize);
    let env = env_real_fs(seed);
    let graph = |p: usize| graph_of(case.kind, query, p);
    let mut job = SyncJob::new(graph(parallelism), &env, MAX_PARALLELISM, seed + variant, None);
    let mut fold = Fold::new();
    let mut trace = Vec::new();
    let place = |epoch: usize| {
        format!(
            "query `{}` over {:?}, seed {seed}, variant {variant} (parallelism {parallelism}, restore {restore_at:?}), barrier {epoch}",
            query.name, case.kind
        )
    };
    let mut last = (Checkpoint::default(), 0);
    for (epoch, [t, a]) in case.epochs.iter().enumerate() {
        feed(&mut job, "t", case.kind, t, rng, classes);
        feed(&mut job, "a", TableKind::Append, a, rng, classes);
        let checkpoint = job.barrier();
        for batch in job.take_outputs() {
            trace.extend(change_lines(&batch));
            fold.apply(&batch).unwrap_or_else(|e| panic!("{}: {e}\n{}", place(epoch), trace.join("\n")));
        }
        let answer = &case.answers[epoch];
        assert!(
            fold == *answer,
            "{}:\n{}\nthe whole changelog:\n{}",
            place(epoch),
            fold.diff(answer),
            trace.join("\n")
        );
        if restore_at == Some(epoch) {
            let p = 1 + rng.below(4) as usize;
            job = SyncJob::new(graph(p), &env, MAX_PARALLELISM, seed + variant + 100, Some(&checkpoint));
        }
        last = (checkpoint, job.state_entries());
    }
    if case.answers.last().is_some_and(Fold::is_empty)
        && case.kind != TableKind::Append
        && !query.stream.contains("FROM a")
    {
        assert_eq!(last.1, 0, "{}: everything was deleted but state is left", place(case.epochs.len()));
        assert_eq!(
            last.0.live_rows(&graph(1)),
            0,
            "{}: the checkpoint holds rows of an empty table",
            place(case.epochs.len())
        );
    }
    case.epochs.len() as u64
}

/// Feeds changes in random batches. Rows of one identity go to one subtask, so that their order is kept.
fn feed(
    job: &mut SyncJob,
    table: &str,
    kind: TableKind,
    changes: &[(RowKind, Row)],
    rng: &SeededRng,
    classes: &mut Classes,
) {
    if changes.len() >= 60 && rng.below(3) == 0 {
        classes.hit("large batch");
        return feed_batch(job, table, &to_changes(kind, changes));
    }
    let mut rest = changes;
    while !rest.is_empty() {
        let n = (1 + rng.below(9) as usize).min(rest.len());
        if n == 1 {
            classes.hit("one-row batch");
        }
        feed_batch(job, table, &to_changes(kind, &rest[..n]));
        rest = &rest[n..];
    }
}

fn feed_batch(job: &mut SyncJob, table: &str, batch: &ChangeBatch) {
    let ids = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int32Type>(batch.column(0));
    for subtask in 0..SUBTASKS {
        let rows: arrow::array::UInt32Array =
            (0..batch.num_rows()).filter(|i| ids.value(*i) as usize % SUBTASKS == subtask).map(|i| i as u32).collect();
        if !rows.is_empty() {
            job.feed(table, subtask, &batch.take(&rows).unwrap());
        }
    }
}
