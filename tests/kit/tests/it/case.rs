//! A query, a random history of its tables, the answer at each barrier, and runs of the stream against them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{Int32Type, Schema, SchemaRef, TimestampMillisecondType};
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::{SessionConfig, SessionContext};
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use dflow_common::env::sim::env_real_fs;
use dflow_common::env::{Rng, SeededRng};
use dflow_common::metrics::Metrics;
use dflow_common::{ChangeBatch, Env, RowKind, SourceId, SourceMap};
use dflow_connector_api::ConnectorRegistry;
use dflow_engine::{CompiledStatement, Engine, SessionOptions};
use dflow_runtime::graph::JobGraph;
use dflow_runtime::operator::Watermark;
use dflow_testkit::changelog::{Fold, KeyedFold, change_lines};
use dflow_testkit::classes::Classes;
use dflow_testkit::connector::OracleFactory;
use dflow_testkit::generate::{Row, Table, TableKind, to_changes};
use dflow_testkit::harness::{Checkpoint, SyncJob};

const MAX_PARALLELISM: u16 = 16;
/// Rows of one identity always go to the same of so many subtasks, so that their order is kept.
const SUBTASKS: usize = 3;
/// Lines of the changelog shown with a failure.
const LINES_MAX: usize = 60;

/// A question in both languages.
pub(crate) struct Question {
    /// For messages: what it is and how to repeat it.
    pub(crate) name: String,
    /// What `t` emits.
    pub(crate) kind: TableKind,
    /// The whole script, with the INSERT last.
    pub(crate) stream: String,
    /// The SELECT for DataFusion.
    pub(crate) batch: String,
    /// The sink's columns.
    pub(crate) sink: SchemaRef,
    /// The sink's primary key, when it is a keyed one.
    pub(crate) sink_key: Option<Vec<usize>>,
    /// Whether the tables have `WATERMARK FOR ts AS ts - INTERVAL '1' SECOND`.
    pub(crate) watermark: bool,
    /// The tables it reads, of `t` and `a`.
    pub(crate) tables: Vec<&'static str>,
}

/// The schema of columns given as names and types.
pub(crate) fn schema_of<'a>(columns: impl IntoIterator<Item = (&'a str, &'a str)>) -> SchemaRef {
    let field = |(name, ty): (&str, &str)| {
        dflow_dsl::types::parse_type(SourceId(0), ty).expect("a type of the test").to_field(name)
    };
    Arc::new(Schema::new(columns.into_iter().map(field).collect::<Vec<_>>()))
}

/// The job of a script's last statement, planned as a user's script is.
pub(crate) fn graph_of(script: &str, parallelism: usize) -> Result<JobGraph, String> {
    let mut sources = SourceMap::new();
    let id = sources.add("oracle.sql", script.to_owned());
    let parsed = dflow_dsl::parse(id, script);
    if !parsed.diagnostics.is_empty() {
        return Err(format!("{:#?}", parsed.diagnostics));
    }
    let mut registry = ConnectorRegistry::new();
    registry.connector(Arc::new(OracleFactory));
    let engine = Engine::new(registry, env_real_fs(1), Metrics::new());
    let mut options = SessionOptions::new("oracle", "");
    options.parallelism = parallelism;
    let compiled = engine.session(options).compile(&parsed.script, &sources);
    match compiled.map_err(|e| format!("{:#?}", e.into_diagnostics()))?.statements.into_iter().next_back() {
        Some(CompiledStatement::Stream(job)) => Ok(job.graph),
        other => Err(format!("no streaming job but {other:?}")),
    }
}

/// DataFusion in batch mode over the live rows.
pub(crate) struct Reference(SessionContext);

impl Reference {
    pub(crate) fn new() -> Self {
        // The check compares what two of DataFusion's layers think of NOT NULL; they differ for some CASE.
        let config = SessionConfig::new().with_target_partitions(1);
        let config = config.set_bool("datafusion.execution.skip_physical_aggregate_schema_check", true);
        // As little optimizing as runs: the engine simplifies expressions with DataFusion's rule, this must not.
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_default_features()
            .with_optimizer_rules(vec![Arc::new(ReplaceDistinctWithAggregate::new())]);
        let physical = PhysicalOptimizer::new().rules.into_iter().filter(|r| r.name() != "aggregate_statistics");
        Self(SessionContext::new_with_state(state.with_physical_optimizer_rules(physical.collect()).build()))
    }

    pub(crate) async fn answer(&self, sql: &str, t: RecordBatch, a: RecordBatch) -> Result<Vec<RecordBatch>, String> {
        for (name, batch) in [("t", t), ("a", a)] {
            let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).expect("one batch is a table");
            self.0.deregister_table(name).expect("a table may be missing");
            self.0.register_table(name, Arc::new(table)).expect("a free name");
        }
        let frame = self.0.sql(sql).await.map_err(|e| e.to_string())?;
        frame.collect().await.map_err(|e| e.to_string())
    }
}

/// What happens to `t` and `a` between two barriers.
type EpochChanges = [Vec<(RowKind, Row)>; 2];

/// A question with a history and its answers.
pub(crate) struct Case {
    pub(crate) question: Question,
    epochs: Vec<EpochChanges>,
    answers: Vec<Fold>,
    /// Whether nothing is left at the end.
    emptied: bool,
    graphs: BTreeMap<usize, JobGraph>,
    seed: u64,
}

impl Case {
    /// Draws a history of `epochs` epochs of at most `rows` changes each and answers the question at each barrier. The last
    /// epoch of a table that can delete deletes all.
    pub(crate) async fn new(
        question: Question,
        (epochs, rows): (usize, usize),
        reference: &Reference,
        rng: &SeededRng,
        classes: &mut Classes,
    ) -> Self {
        let (mut t, mut a) = (Table::new(question.kind), Table::new(TableKind::Append));
        let deletes_all = question.kind != TableKind::Append && question.tables == ["t"];
        let (mut history, mut answers) = (Vec::new(), Vec::new());
        for epoch in 0..epochs {
            let n = [0, 1, 3, 8, 20, 60][rng.below(6) as usize].min(rows);
            if n == 0 {
                classes.hit("empty epoch");
            }
            let last = epoch + 1 == epochs;
            history.push(if deletes_all && (last || rng.below(8) == 0) {
                classes.hit(if last { "delete all at the end" } else { "delete all in between" });
                [t.delete_all(classes), Vec::new()]
            } else {
                [t.changes(n, rng, classes), a.changes(n / 2, rng, classes)]
            });
            let answer = reference.answer(&question.batch, t.live(), a.live()).await;
            let answer =
                answer.unwrap_or_else(|e| panic!("{}: the reference fails: {e}\n{}", question.name, question.batch));
            answers.push(Fold::of_table(&answer, &question.sink));
        }
        let seed = rng.next_u64();
        Self { question, epochs: history, answers, emptied: deletes_all, graphs: BTreeMap::new(), seed }
    }

    fn graph(&mut self, parallelism: usize) -> JobGraph {
        let Question { name, stream, .. } = &self.question;
        let graph = self.graphs.entry(parallelism).or_insert_with(|| {
            graph_of(stream, parallelism)
                .unwrap_or_else(|e| panic!("{name}: the script does not compile: {e}\n{stream}"))
        });
        graph.clone()
    }

    /// Runs the history once and compares at every barrier; restores at one of them with another parallelism.
    /// Returns how many comparisons it made.
    pub(crate) fn run(&mut self, parallelism: usize, restore: bool, rng: &SeededRng, classes: &mut Classes) -> u64 {
        let restore_at = restore.then(|| rng.below(self.epochs.len() as u64 - 1) as usize);
        let env = env_real_fs(self.seed);
        let mut run = Run::new(self.graph(parallelism), &env, self.seed, None, parallelism);
        let mut held = match &self.question.sink_key {
            Some(key) => Held::Keyed(KeyedFold::new(key.clone())),
            None => Held::Rows(Fold::new()),
        };
        let mut trace: Vec<String> = Vec::new();
        for epoch in 0..self.epochs.len() {
            let [t, a] = &self.epochs[epoch];
            run.feed("t", self.question.kind, t, rng, classes);
            run.feed("a", TableKind::Append, a, rng, classes);
            if self.question.watermark {
                run.tick();
            }
            let checkpoint = run.job.barrier();
            let place = |why: String, trace: &[String]| {
                let shown = &trace[trace.len().saturating_sub(LINES_MAX)..];
                format!(
                    "{}, parallelism {parallelism}, restore {restore_at:?}, barrier {epoch}: {why}\n{}\nbatch: {}\nthe last changes:\n{}",
                    self.question.name,
                    self.question.stream,
                    self.question.batch,
                    shown.join("\n")
                )
            };
            for (subtask, batch) in run.job.take_outputs() {
                trace.extend(change_lines(&batch).into_iter().map(|l| format!("epoch {epoch}: {l}")));
                held.apply(subtask, &batch).unwrap_or_else(|e| panic!("{}", place(e, &trace)));
            }
            let (fold, answer) = (held.fold(), &self.answers[epoch]);
            assert!(fold == *answer, "{}", place(fold.diff(answer), &trace));
            if self.question.watermark {
                let (seen, expected) = (run.job.sink_watermark(), run.expected_watermark(&self.question.tables));
                assert_eq!(seen, expected, "{}", place("the watermark at the sink".into(), &trace));
                if expected > Watermark::MIN {
                    classes.hit("watermark at the sink");
                }
            }
            if epoch + 1 == self.epochs.len() && self.emptied {
                assert!(answer.is_empty(), "{}", place("the answer over no rows has rows".into(), &trace));
                assert_eq!(run.job.state_entries(), 0, "{}", place("state of an empty table".into(), &trace));
                let live = checkpoint.live_rows(&self.graph(1));
                assert_eq!(live, 0, "{}: the checkpoint holds rows of an empty table", self.question.name);
            } else if restore_at == Some(epoch) {
                let other = 1 + (parallelism + rng.below(3) as usize) % 4;
                run = Run::new(self.graph(other), &env, self.seed + 100, Some(&checkpoint), other);
                held.restarted();
            }
        }
        self.epochs.len() as u64
    }
}

/// What the sink holds.
enum Held {
    Rows(Fold),
    Keyed(KeyedFold),
}

impl Held {
    fn apply(&mut self, subtask: usize, batch: &ChangeBatch) -> Result<(), String> {
        match self {
            Held::Rows(fold) => fold.apply(batch),
            Held::Keyed(fold) => fold.apply(subtask, batch),
        }
    }

    fn fold(&self) -> Fold {
        match self {
            Held::Rows(fold) => fold.clone(),
            Held::Keyed(fold) => fold.fold(),
        }
    }

    fn restarted(&mut self) {
        if let Held::Keyed(fold) = self {
            fold.restarted();
        }
    }
}

/// A job from its start or restore on.
struct Run {
    job: SyncJob,
    parallelism: usize,
    now_us: u64,
    /// Per table and source subtask: the newest time, and that at the last tick, in milliseconds.
    newest: BTreeMap<(&'static str, usize), (i64, Option<i64>)>,
}

impl Run {
    fn new(graph: JobGraph, env: &Env, seed: u64, restore: Option<&Checkpoint>, parallelism: usize) -> Self {
        let job = SyncJob::new(graph, env, MAX_PARALLELISM, seed, restore);
        Self { job, parallelism, now_us: 0, newest: BTreeMap::new() }
    }

    fn tick(&mut self) {
        self.now_us += 1_000_000;
        self.job.tick(self.now_us);
        self.newest.values_mut().for_each(|(newest, ticked)| *ticked = Some(*newest));
    }

    /// The least of all sources' newest times, less the declared second; a source that has sent nothing holds back.
    fn expected_watermark(&self, tables: &[&'static str]) -> Watermark {
        let all = tables.iter().flat_map(|t| (0..self.parallelism).map(move |s| self.newest.get(&(*t, s))));
        let least = all.map(|n| n.map(|(newest, _)| *newest)).min().flatten();
        least.map_or(Watermark::MIN, |ms| Watermark((ms - 1_000) * 1_000))
    }

    /// Feeds changes in random batches, with flushes of single instances in between.
    fn feed(
        &mut self,
        table: &'static str,
        kind: TableKind,
        changes: &[(RowKind, Row)],
        rng: &SeededRng,
        classes: &mut Classes,
    ) {
        if changes.len() >= 40 && rng.below(3) == 0 {
            classes.hit("large batch");
            return self.feed_batch(table, &to_changes(kind, changes), classes);
        }
        let mut rest = changes;
        while !rest.is_empty() {
            let n = (1 + rng.below(9) as usize).min(rest.len());
            if n == 1 {
                classes.hit("one-row batch");
            }
            self.feed_batch(table, &to_changes(kind, &rest[..n]), classes);
            rest = &rest[n..];
            match rng.below(6) {
                0 => {
                    classes.hit("flush of one instance between batches");
                    self.job.flush_one();
                }
                1 => self.tick(),
                _ => {}
            }
        }
    }

    fn feed_batch(&mut self, table: &'static str, batch: &ChangeBatch, classes: &mut Classes) {
        let ids = batch.column(0).as_primitive::<Int32Type>();
        let times = batch.column(batch.data.num_columns() - 1).as_primitive::<TimestampMillisecondType>();
        for subtask in 0..SUBTASKS {
            let rows: UInt32Array = (0..batch.num_rows())
                .filter(|i| ids.value(*i) as usize % SUBTASKS == subtask)
                .map(|i| i as u32)
                .collect();
            if rows.is_empty() {
                continue;
            }
            let source = (table, subtask % self.parallelism);
            for i in rows.values().iter().map(|i| *i as usize).filter(|i| times.is_valid(*i)) {
                let (newest, ticked) = self.newest.entry(source).or_insert((i64::MIN, None));
                *newest = times.value(i).max(*newest);
                if ticked.is_some_and(|t| times.value(i) < t - 1_000) {
                    classes.hit("late row");
                }
            }
            self.job.feed(table, subtask, &batch.take(&rows).expect("rows of the batch"));
        }
    }
}
