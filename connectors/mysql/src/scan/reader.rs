//! Reads splits, one query at a time.
//!
//! The query runs in a task that decodes rows and waits when two batches are ahead; [`Reader::next`] only takes from its channel, and so
//! may be dropped at any time. Dropping the reader stops the task.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use dflow_common::env::TaskHandle;
use dflow_common::limits::{BATCH_BYTES, BATCH_ROWS};
use dflow_common::metrics::{BYTES_IN, CounterHandle};
use dflow_common::{ChangeBatch, Classified, Env};
use dflow_connector_api::{Error, Reader, ReaderContext, ReaderEvent, Result, SplitAssignment};
use dflow_connector_jdbc::split::Range;
use futures::StreamExt;
use futures::future::BoxFuture;
use mysql_async::consts::ColumnType;
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Row, Value};
use serde_json::json;
use tokio::sync::mpsc;

use super::Config;
use super::decode::{Decoder, bits, lowest_first};
use super::query;
use crate::client::connect::backoff;
use crate::client::error::UNREADABLE_VALUE;
use crate::client::{Place, connect, within};

/// Batches a task is ahead of its reader.
const BATCHES_AHEAD: usize = 2;
/// How often a broken query is begun again before the job hears of it.
const RETRIES: u32 = 3;

pub(super) struct TableReader {
    config: Arc<Config>,
    env: Env,
    bytes: CounterHandle,
    /// In the order they came; the first one is read.
    splits: VecDeque<Open>,
    no_more: bool,
}

struct Open {
    assignment: SplitAssignment,
    /// Rows given out.
    rows: u64,
    running: Option<Running>,
}

struct Running {
    batches: mpsc::Receiver<Result<RecordBatch>>,
    task: TaskHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TableReader {
    pub(super) fn new(config: Arc<Config>, context: &ReaderContext) -> Self {
        let bytes = context.source.metrics.counter(&BYTES_IN, &[&context.source.job, &config.output.table]);
        Self { config, env: context.source.env.clone(), bytes, splits: VecDeque::new(), no_more: false }
    }

    fn start(&self, split: &Open) -> Running {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let range = match split.assignment.split.as_array().map(Vec::as_slice) {
            Some([lower, upper, closed]) => Some(Range {
                lower: lower.as_i64().unwrap_or_default(),
                upper: upper.as_i64().unwrap_or_default(),
                closed: closed.as_bool().unwrap_or_default(),
            }),
            _ => None,
        };
        let scan = Scan { config: self.config.clone(), env: self.env.clone(), range, sender, passed: split.rows };
        Running { batches, task: self.env.spawner.spawn_io("mysql-scan", scan.run()) }
    }
}

impl Reader for TableReader {
    fn add_splits(&mut self, splits: Vec<SplitAssignment>) -> Result<()> {
        self.splits.extend(splits.into_iter().map(|assignment| {
            let rows = assignment.position.as_ref().and_then(|p| p.as_u64()).unwrap_or(0);
            Open { assignment, rows, running: None }
        }));
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.no_more = true;
    }

    fn next(&mut self) -> BoxFuture<'_, Result<ReaderEvent>> {
        Box::pin(async move {
            let Some(split) = self.splits.front() else {
                return if self.no_more { Ok(ReaderEvent::End) } else { std::future::pending().await };
            };
            if split.running.is_none() {
                let running = self.start(split);
                self.splits[0].running = Some(running);
            }
            let split = &mut self.splits[0];
            let Some(running) = &mut split.running else { return std::future::pending().await };
            match running.batches.recv().await {
                Some(Ok(batch)) => {
                    split.rows += batch.num_rows() as u64;
                    self.bytes.inc_by(batch.get_array_memory_size() as f64);
                    let split = split.assignment.id.clone();
                    Ok(ReaderEvent::Batch { output: 0, split, batch: ChangeBatch::inserts(batch) })
                }
                Some(Err(e)) => Err(e),
                None => {
                    let id = split.assignment.id.clone();
                    self.splits.pop_front();
                    Ok(ReaderEvent::SplitFinished(id))
                }
            }
        })
    }

    fn snapshot(&mut self) -> Result<Vec<SplitAssignment>> {
        let with_position = |s: &Open| SplitAssignment { position: Some(json!(s.rows)), ..s.assignment.clone() };
        Ok(self.splits.iter().map(with_position).collect())
    }
}

/// The task of one split.
struct Scan {
    config: Arc<Config>,
    env: Env,
    range: Option<Range>,
    sender: mpsc::Sender<Result<RecordBatch>>,
    /// Rows that were given out: passed over when the query is begun (again).
    passed: u64,
}

impl Scan {
    async fn run(mut self) {
        let mut failures = 0;
        while let Err(e) = self.attempt().await {
            failures += 1;
            if !e.retryable() || failures > RETRIES {
                let _ = self.sender.send(Err(e)).await;
                return;
            }
            tracing::warn!(
                failures,
                table = self.config.options.table,
                "a scan broke, going on behind its last row: {e}"
            );
            self.env.clock.sleep(backoff(&self.env, failures)).await;
        }
    }

    async fn attempt(&mut self) -> Result<()> {
        let config = self.config.clone();
        let place = Place { endpoint: &config.endpoint, table: &config.options.table };
        let limit = config.endpoint.answer_timeout;
        let mut session =
            connect(&self.env, &config.endpoint, &config.options.table, config.options.connect_patience).await?;
        let query = within(&self.env, limit, &place, query::build(&mut session, &config, self.range)).await?;
        let execute = session.conn.exec_iter(
            query.sql,
            if query.values.is_empty() { Params::Empty } else { Params::Positional(query.values) },
        );
        let mut result = within(&self.env, limit, &place, execute).await?;
        let target = config.options.fetch_rows.unwrap_or(BATCH_ROWS).min(BATCH_ROWS);
        let types: Vec<ColumnType> = result.columns_ref().iter().map(|c| c.column_type()).collect();
        let mut batch = Batch::new(&config, &types, target)?;
        let Some(mut rows) = within(&self.env, limit, &place, result.stream::<Row>()).await? else { return Ok(()) };
        let mut skip = self.passed;
        loop {
            // Rows that have arrived are taken without a timer.
            let next = match futures::poll!(rows.next()) {
                std::task::Poll::Ready(row) => row.transpose().map_err(|e| place.error(&e))?,
                std::task::Poll::Pending => {
                    within(&self.env, limit, &place, async { rows.next().await.transpose() }).await?
                }
            };
            let Some(row) = next else { break };
            if skip > 0 {
                skip -= 1;
                continue;
            }
            batch.push(row)?;
            if batch.is_full() && !self.send(batch.finish()?).await {
                return Ok(());
            }
        }
        if batch.rows > 0 {
            self.send(batch.finish()?).await;
        }
        Ok(())
    }

    /// False when nobody listens any more.
    async fn send(&mut self, batch: RecordBatch) -> bool {
        self.passed += batch.num_rows() as u64;
        self.sender.send(Ok(batch)).await.is_ok()
    }
}

/// A batch under construction.
struct Batch<'a> {
    config: &'a Config,
    /// Each with whether the server's column is a BIT.
    columns: Vec<(Decoder, bool)>,
    rows: usize,
    bytes: usize,
    target: usize,
}

impl<'a> Batch<'a> {
    fn new(config: &'a Config, served: &[ColumnType], target: usize) -> Result<Batch<'a>> {
        let types = config.output.projection.iter().map(|c| &config.output.schema.columns[*c].ty);
        let columns = types
            .zip(served)
            .map(|(ty, served)| {
                let instant = *served == ColumnType::MYSQL_TYPE_TIMESTAMP;
                let decoder = Decoder::new(ty, instant, config.zone, config.endpoint.zero_dates, target)?;
                Some((decoder, *served == ColumnType::MYSQL_TYPE_BIT))
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Error::new(UNREADABLE_VALUE, "a declared type cannot be read from MySQL".to_owned()))?;
        Ok(Batch { config, columns, rows: 0, bytes: 0, target })
    }

    fn push(&mut self, row: Row) -> Result<()> {
        for (i, ((column, is_bits), value)) in self.columns.iter_mut().zip(row.unwrap()).enumerate() {
            let value = match (*is_bits, &column) {
                (false, _) => value,
                (true, Decoder::Bytes(_)) => lowest_first(value),
                (true, _) => bits(value),
            };
            if let Value::Bytes(bytes) = &value {
                self.bytes += bytes.len();
            }
            column.push(&value).map_err(|why| {
                let column = &self.config.output.schema.columns[self.config.output.projection[i]];
                let table = &self.config.options.table;
                Error::new(UNREADABLE_VALUE, format!("column `{}` of `{table}` cannot be read: {why}", column.name))
                    .at(column.span, "declared here")
                    .help("declare a wider type, or STRING")
            })?;
        }
        self.rows += 1;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.rows >= self.target || self.bytes >= BATCH_BYTES
    }

    fn finish(&mut self) -> Result<RecordBatch> {
        let schema = self.config.output.schema.arrow_projected(&self.config.output.projection);
        let columns = self.columns.iter_mut().map(|(c, _)| c.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new_with_options(schema, columns, &options)
            .map_err(|e| Error::new(UNREADABLE_VALUE, format!("columns do not fit the declared schema: {e}")))
    }
}
