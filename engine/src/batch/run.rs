//! Running a batch statement: rows through DataFusion, then one epoch through the sink.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionConfig;
use dflow_common::metrics::Metrics;
use dflow_common::{ChangeBatch, Env, Epoch, OperatorId, SqlType};
use dflow_connector_api as api;
use dflow_connector_api::{CommitterContext, Sink, StageStore, StagedRef, Writer, WriterContext};
use dflow_runtime::operator::{Element, Operator, OperatorContext, OperatorFactory, Output};
use dflow_runtime::{Error, Result};
use futures::StreamExt;
use futures::future::BoxFuture;

use crate::operators::sink_edge::SinkEdgeSpec;
use crate::settings::Resolved;
use crate::stream::QueryOutput;
use crate::stream::connect::Connectors;

/// A statement of a batch script, ready to run.
pub struct BatchJob {
    /// The statement, as text.
    pub description: String,
    /// The result of a SELECT: its rows arrive while [`BatchJob::run`] runs.
    pub output: Option<QueryOutput>,
    plan: LogicalPlan,
    columns: Vec<(String, SqlType)>,
    sink: Arc<dyn Sink>,
    edge: Option<SinkEdgeSpec>,
    name: String,
    job: String,
    parallelism: usize,
    env: Env,
    metrics: Metrics,
    stage: Arc<InMemory>,
}

impl std::fmt::Debug for BatchJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchJob").field("description", &self.description).finish_non_exhaustive()
    }
}

impl BatchJob {
    #[expect(clippy::too_many_arguments, reason = "the parts of a statement, put together in one place")]
    pub(super) fn new(
        connectors: &Connectors<'_>,
        plan: LogicalPlan,
        columns: Vec<(String, SqlType)>,
        sink: Arc<dyn Sink>,
        edge: Option<SinkEdgeSpec>,
        name: String,
        description: String,
        settings: &Resolved,
    ) -> Self {
        Self {
            description,
            output: None,
            plan,
            columns,
            sink,
            edge,
            name,
            job: settings.job.name.clone(),
            parallelism: settings.parallelism,
            env: connectors.engine.env.clone(),
            metrics: connectors.engine.metrics.clone(),
            stage: Arc::default(),
        }
    }

    /// Runs it to its end and returns how many rows were written. The rows of a SELECT must be received meanwhile.
    ///
    /// # Errors
    /// What sources, expressions and sinks report; nothing is committed then.
    pub async fn run(&self) -> Result<u64> {
        let mut edge = self.edge()?;
        let mut committer = self.sink.committer(&self.committer_context())?;
        if let Some(committer) = &mut committer {
            committer.recover(Epoch(0), Vec::new()).await?;
        }
        let mut writer = self.sink.writer(&self.writer_context())?;
        let written = self.write(writer.as_mut(), edge.as_mut()).await?;
        let committables = writer.prepare(Epoch(1)).await?;
        if let Some(committer) = &mut committer {
            committer.commit(Epoch(1), committables).await?;
        }
        writer.close().await?;
        Ok(written)
    }

    async fn write(&self, writer: &mut dyn Writer, mut edge: Option<&mut Box<dyn Operator>>) -> Result<u64> {
        let config = SessionConfig::new().with_target_partitions(self.parallelism);
        let state = SessionStateBuilder::new().with_config(config).with_default_features().build();
        let context = SessionContext::new_with_state(state);
        let frame = context.execute_logical_plan(self.plan.clone()).await.map_err(|e| failed(&e))?;
        let mut rows = frame.execute_stream().await.map_err(|e| failed(&e))?;
        let schema = crate::catalog::table_schema(self.columns.iter().map(|(n, t)| (n.as_str(), t)));
        let nullable: Vec<_> = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let schema = Arc::new(arrow::datatypes::Schema::new(nullable));
        let mut written = 0;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|e| failed(&e))?;
            let columns = batch
                .columns()
                .iter()
                .zip(schema.fields())
                .map(|(c, f)| arrow::compute::cast(c, f.data_type()))
                .collect::<std::result::Result<Vec<_>, _>>()?;
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let data = arrow::array::RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
            let batch = ChangeBatch::inserts(data);
            let Some(edge) = edge.as_mut() else {
                written += batch.num_rows() as u64;
                writer.write(batch).await?;
                continue;
            };
            let mut checked = Output::new();
            edge.process(0, batch, &mut checked)?;
            let elements: Vec<Element> = checked.drain().collect();
            for element in elements {
                if let Element::Batch(batch) = element {
                    written += batch.num_rows() as u64;
                    writer.write(batch).await?;
                }
            }
        }
        Ok(written)
    }

    /// The check of rows against the sink's columns.
    fn edge(&self) -> Result<Option<Box<dyn Operator>>> {
        let context = OperatorContext {
            job: self.job.clone(),
            id: OperatorId("batch".into()),
            name: format!("check[{}]", self.name),
            subtask: 0,
            parallelism: 1,
            key_groups: 0..1,
            max_parallelism: 1,
            env: self.env.clone(),
            metrics: self.metrics.clone(),
        };
        self.edge.as_ref().map(|e| e.create(&context)).transpose()
    }

    fn writer_context(&self) -> WriterContext {
        WriterContext {
            job: self.job.clone(),
            sink: self.name.clone(),
            subtask: 0,
            parallelism: 1,
            restored: Epoch(0),
            env: self.env.clone(),
            metrics: self.metrics.clone(),
            stage: self.stage.clone(),
        }
    }

    fn committer_context(&self) -> CommitterContext {
        CommitterContext {
            job: self.job.clone(),
            sink: self.name.clone(),
            env: self.env.clone(),
            metrics: self.metrics.clone(),
            stage: self.stage.clone(),
        }
    }
}

/// The error a connector or a function reported, out of DataFusion's wrapping.
fn failed(e: &DataFusionError) -> Error {
    match e.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<api::Error>() {
            Some(api) => Error::Connector(api.clone()),
            None => crate::functions::error::diagnose(e).into(),
        },
        _ => crate::functions::error::diagnose(e).into(),
    }
}

/// Staged bodies of a batch statement: it has no checkpoint to keep them in.
#[derive(Default)]
struct InMemory {
    bodies: std::sync::Mutex<Vec<Bytes>>,
}

impl StageStore for InMemory {
    fn put(&self, body: Bytes) -> BoxFuture<'_, api::Result<StagedRef>> {
        let mut bodies = self.bodies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let staged = StagedRef { path: bodies.len().to_string(), len: body.len() as u64, crc: 0 };
        bodies.push(body);
        Box::pin(std::future::ready(Ok(staged)))
    }

    fn get(&self, staged: &StagedRef) -> BoxFuture<'_, api::Result<Bytes>> {
        let bodies = self.bodies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let found = staged.path.parse::<usize>().ok().and_then(|i| bodies.get(i).cloned());
        let missing = || api::Error::new(crate::error::OUTPUT_CLOSED, "a staged body of this statement is gone");
        Box::pin(std::future::ready(found.ok_or_else(missing)))
    }
}
