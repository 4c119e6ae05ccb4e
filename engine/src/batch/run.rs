//! Running a batch statement: rows through DataFusion, then one epoch through the sink.
//!
//! ```text
//! recover(0)   what an earlier attempt left behind goes away
//! write …      rows, cast and checked
//! prepare(1)   ── committables ──> commit(1)
//! ```
//! # Memory
//! Sorting, grouping and sort-merge joins spill to temporary files when [`BatchJob::memory_bytes`] are in use. A hash join
//! cannot: when one does not fit and no row has been written yet, the statement starts again with sort-merge joins.
//!
//! # Cancel safety
//! Dropping the future of [`BatchJob::run`] aborts the statement; nothing is committed then, unless the commit had begun.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use datafusion::common::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionContext;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{Optimizer, OptimizerRule as _};
use datafusion::physical_optimizer::PhysicalOptimizerRule as _;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::SessionConfig;
use dflow_common::env::TaskHandle;
use dflow_common::metrics::{CounterHandle, Metrics, RECORDS_IN};
use dflow_common::{ChangeBatch, Diagnostic, Env, Epoch, OperatorId, Span, SqlType};
use dflow_connector_api as api;
use dflow_connector_api::{CommitterContext, Sink, SinkMode, StageStore, StagedRef, Writer, WriterContext};
use dflow_runtime::error::{INTERNAL, PANIC};
use dflow_runtime::operator::{Element, Operator, OperatorContext, OperatorFactory, Output};
use dflow_runtime::{Error, Result};
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::task::JoinError;

use crate::error::MEMORY_EXCEEDED;
use crate::functions::error::diagnose;
use crate::operators::sink_edge::SinkEdgeSpec;
use crate::stream::QueryOutput;

/// What a statement may use unless told otherwise.
const MEMORY_BYTES_DEFAULT: usize = 1 << 30;

/// Rules of DataFusion that are left out: expressions are simple when they come here, and once more would undo the guards
/// of AND and OR; a constant among group keys is too rare for a rule that changes whether the key may be NULL.
const LOGICAL_RULES_LEFT_OUT: &[&str] = &["simplify_expressions", "eliminate_group_by_constant"];

/// The same for plans that can be executed: tables here know no counts in advance, only literal rows do, and the rule
/// changes whether the result may be NULL.
const PHYSICAL_RULES_LEFT_OUT: &[&str] = &["aggregate_statistics"];

/// What one sort keeps aside for merging what it has spilled.
const SORT_RESERVATION_BYTES: usize = 1 << 20;

/// A statement of a batch script, ready to run.
#[derive(Debug)]
pub struct BatchJob {
    /// The statement, as text.
    pub description: String,
    /// The result of a SELECT: its rows arrive while [`BatchJob::run`] runs, and end when the job is dropped.
    pub output: Option<QueryOutput>,
    /// What sorts, groups and joins may use before they spill. 1 GiB unless changed.
    pub memory_bytes: usize,
    pub(super) statement: Arc<Statement>,
}

/// Where the rows of a statement go, and how.
pub(super) struct Destination {
    pub(super) sink: Arc<dyn Sink>,
    /// `catalog.database.table`, or `(result)`.
    pub(super) name: String,
    /// What the sink gets.
    pub(super) columns: Vec<(String, SqlType)>,
    /// The check in front of a table.
    pub(super) edge: Option<SinkEdgeSpec>,
}

/// The parts of a statement that its task needs.
pub(super) struct Statement {
    pub(super) plan: LogicalPlan,
    /// Whether filters stay where they stand: [`super::guard`].
    pub(super) keeps_filters: bool,
    pub(super) destination: Destination,
    pub(super) span: Span,
    pub(super) job: String,
    pub(super) parallelism: usize,
    pub(super) env: Env,
    pub(super) metrics: Metrics,
}

impl std::fmt::Debug for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Statement").field("into", &self.destination.name).finish_non_exhaustive()
    }
}

impl BatchJob {
    pub(super) fn new(description: String, output: Option<QueryOutput>, statement: Statement) -> Self {
        Self { description, output, memory_bytes: MEMORY_BYTES_DEFAULT, statement: Arc::new(statement) }
    }

    /// Runs it to its end and returns how many rows were written. The rows of a SELECT must be received meanwhile.
    ///
    /// # Errors
    /// What sources, expressions and sinks report; nothing is committed then.
    pub async fn run(&self) -> Result<u64> {
        let (statement, memory_bytes) = (self.statement.clone(), self.memory_bytes);
        let spawner = &self.statement.env.spawner;
        let mut task = Task(spawner.spawn_cpu("batch", async move { statement.run(memory_bytes).await }));
        let result = (&mut task.0).await.unwrap_or_else(|e| Err(stopped(e)));
        result.map_err(|e| e.at_default(Some(self.statement.span)))
    }
}

/// The statement's task; it ends with whoever waits for it.
struct Task(TaskHandle<Result<u64>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Statement {
    async fn run(&self, memory_bytes: usize) -> Result<u64> {
        let destination = &self.destination;
        let stage: Arc<dyn StageStore> = Arc::new(InMemory::default());
        let sink = self.sink_id();
        // Nothing is gone on from, so nothing has to be found again.
        let owner = format!("{:016x}", self.env.rng.next_u64());
        let mut committer = destination.sink.committer(&CommitterContext {
            job: self.job.clone(),
            owner: owner.clone(),
            sink: sink.clone(),
            env: self.env.clone(),
            metrics: self.metrics.clone(),
            stage: stage.clone(),
        })?;
        if let Some(committer) = &mut committer {
            committer.recover(Epoch(0), Vec::new()).await?;
        }
        let writer = destination.sink.writer(&WriterContext {
            job: self.job.clone(),
            owner,
            sink,
            subtask: 0,
            parallelism: 1,
            restored: Epoch(0),
            env: self.env.clone(),
            metrics: self.metrics.clone(),
            stage,
        })?;
        let mut rows = RowWriter {
            schema: nullable(&destination.columns),
            edge: self.edge()?,
            writer,
            count: self.metrics.counter(&RECORDS_IN, &[&self.job, &format!("sink[{}]", destination.name)]),
            written: 0,
        };
        self.write(&mut rows, memory_bytes).await?;
        let committables = rows.writer.prepare(Epoch(1)).await?;
        if let Some(committer) = &mut committer {
            committer.commit(Epoch(1), committables).await?;
        }
        rows.writer.close().await?;
        Ok(rows.written)
    }

    /// The sink's name in commit tokens. A staged sink takes a token it has seen for a repeat, and every run of a batch
    /// statement is epoch 1; the others must find what an earlier run has left behind.
    fn sink_id(&self) -> String {
        let name = &self.destination.name;
        match self.destination.sink.mode() {
            SinkMode::Staged => format!("{name}/{:016x}", self.env.rng.next_u64()),
            SinkMode::Idempotent | SinkMode::Transactional | SinkMode::AtLeastOnce => name.clone(),
        }
    }

    /// Writes all rows; see the module about memory.
    async fn write(&self, rows: &mut RowWriter, memory_bytes: usize) -> Result<()> {
        match self.attempt(rows, memory_bytes, Joins::Hash).await {
            Err(e) if is_exhausted(&e) && rows.written == 0 => {
                tracing::info!(memory_bytes, "hash joins do not fit; the statement starts again with sort-merge joins");
                self.attempt(rows, memory_bytes, Joins::SortMerge).await
            }
            done => done,
        }
    }

    async fn attempt(&self, rows: &mut RowWriter, memory_bytes: usize, joins: Joins) -> Result<()> {
        let mut stream = self.stream(memory_bytes, joins).await.map_err(|e| failed(&e))?;
        while let Some(batch) = stream.next().await {
            rows.write(&batch.map_err(|e| failed(&e))?).await?;
        }
        Ok(())
    }

    async fn stream(&self, memory_bytes: usize, joins: Joins) -> Result<SendableRecordBatchStream, DataFusionError> {
        let partitions = match joins {
            Joins::Hash => self.parallelism,
            // DataFusion plans no sort-merge join for one partition.
            Joins::SortMerge => self.parallelism.max(2),
        };
        let mut config = SessionConfig::new().with_target_partitions(partitions);
        let options = config.options_mut();
        options.execution.sort_spill_reservation_bytes = SORT_RESERVATION_BYTES.min(memory_bytes / 8);
        options.optimizer.prefer_hash_join = matches!(joins, Joins::Hash);
        // It compares what two layers of DataFusion think of NOT NULL, which differs for CASE, and says nothing of rows.
        options.execution.skip_physical_aggregate_schema_check = true;
        let memory = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(memory_bytes)));
        let mut logical = Optimizer::new().rules;
        logical.retain(|r| !LOGICAL_RULES_LEFT_OUT.contains(&r.name()));
        let mut physical = PhysicalOptimizer::new().rules;
        physical.retain(|r| !PHYSICAL_RULES_LEFT_OUT.contains(&r.name()));
        if self.keeps_filters {
            logical.retain(|r| r.name() != PushDownFilter::new().name());
            physical.retain(|r| {
                r.name() != FilterPushdown::new().name() && r.name() != FilterPushdown::new_post_optimization().name()
            });
        }
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::new(memory.build()?))
            .with_default_features()
            .with_optimizer_rules(logical)
            .with_physical_optimizer_rules(physical)
            .build();
        let context = SessionContext::new_with_state(state);
        context.execute_logical_plan(self.plan.clone()).await?.execute_stream().await
    }

    /// The check of rows against the sink's columns.
    fn edge(&self) -> Result<Option<Box<dyn Operator>>> {
        let context = OperatorContext {
            job: self.job.clone(),
            id: OperatorId("batch".into()),
            name: format!("check[{}]", self.destination.name),
            subtask: 0,
            parallelism: 1,
            key_groups: 0..1,
            max_parallelism: 1,
            env: self.env.clone(),
            metrics: self.metrics.clone(),
        };
        self.destination.edge.as_ref().map(|e| e.create(&context)).transpose()
    }
}

/// How equal keys of two inputs find each other.
#[derive(Clone, Copy)]
enum Joins {
    /// One side in memory.
    Hash,
    /// Both sides sorted, which can spill.
    SortMerge,
}

/// Rows of DataFusion into a sink.
struct RowWriter {
    /// What the sink expects; DataFusion may give other widths of the same type.
    schema: SchemaRef,
    edge: Option<Box<dyn Operator>>,
    writer: Box<dyn Writer>,
    count: CounterHandle,
    written: u64,
}

impl RowWriter {
    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(c, f)| arrow::compute::cast(c, f.data_type())).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let data = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        let batch = ChangeBatch::inserts(data);
        let Some(edge) = &mut self.edge else { return self.hand_over(batch).await };
        let mut checked = Output::new();
        edge.process(0, batch, &mut checked)?;
        let elements: Vec<Element> = checked.drain().collect();
        for element in elements {
            if let Element::Batch(batch) = element {
                self.hand_over(batch).await?;
            }
        }
        Ok(())
    }

    async fn hand_over(&mut self, batch: ChangeBatch) -> Result<()> {
        self.written += batch.num_rows() as u64;
        self.count.inc_by(batch.num_rows() as f64);
        Ok(self.writer.write(batch).await?)
    }
}

/// The schema of batches: every field nullable.
fn nullable(columns: &[(String, SqlType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(name, ty)| ty.to_field(name)).collect::<Vec<_>>()))
}

fn is_exhausted(e: &Error) -> bool {
    dflow_common::Classified::code(e) == MEMORY_EXCEEDED.code
}

/// What went wrong, out of DataFusion's wrapping.
fn failed(e: &DataFusionError) -> Error {
    match e.find_root() {
        DataFusionError::External(inner) => {
            if let Some(api) = inner.downcast_ref::<api::Error>() {
                Error::Connector(api.clone())
            } else if inner.is::<JoinError>() || inner.is::<Arc<JoinError>>() {
                panicked(&inner.to_string())
            } else {
                diagnose(e).into()
            }
        }
        DataFusionError::ResourcesExhausted(why) => {
            Diagnostic::error(MEMORY_EXCEEDED, "the statement needs more memory")
                .with_note(why.lines().next().unwrap_or_default())
                .with_help("give it more memory, run it with a smaller 'parallelism.default', or filter rows earlier")
                .into()
        }
        DataFusionError::Internal(why) => Error::internal(why.clone()),
        DataFusionError::ExecutionJoin(join) => panicked(&join.to_string()),
        _ => diagnose(e).into(),
    }
}

/// The end of a task that has no result.
fn stopped(e: JoinError) -> Error {
    match e.try_into_panic() {
        Ok(payload) => {
            let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            panicked(text.as_deref().unwrap_or("a payload that is not text"))
        }
        Err(_) => Error::coded(INTERNAL, "the statement was stopped from outside"),
    }
}

fn panicked(text: &str) -> Error {
    Diagnostic::error(PANIC, format!("panic in a batch statement: {text}"))
        .with_help("this is a bug in dflow; please report it with the script. Nothing was committed")
        .into()
}

/// Staged bodies of a batch statement: it has no checkpoint to keep them in.
#[derive(Default)]
struct InMemory {
    bodies: Mutex<Vec<Bytes>>,
}

impl StageStore for InMemory {
    fn put(&self, body: Bytes) -> BoxFuture<'_, api::Result<StagedRef>> {
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let staged = StagedRef { path: bodies.len().to_string(), len: body.len() as u64, crc: 0 };
        bodies.push(body);
        Box::pin(std::future::ready(Ok(staged)))
    }

    fn get(&self, staged: &StagedRef) -> BoxFuture<'_, api::Result<Bytes>> {
        let bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let found = staged.path.parse::<usize>().ok().and_then(|i| bodies.get(i).cloned());
        let missing = || api::Error::from(Diagnostic::error(INTERNAL, "a staged body of this statement is gone"));
        Box::pin(std::future::ready(found.ok_or_else(missing)))
    }
}
