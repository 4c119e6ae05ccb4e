//! At-least-once: rows are written when enough wait, when the inbox is empty, and at every checkpoint.
//!
//! A task of its own writes one batch while the next one gathers. An error of a batch comes with the next call, at the latest with
//! `prepare`. A writer that is dropped stops its task, so that it does not write behind the back of its successor.

use std::sync::Arc;
use std::time::Duration;

use dflow_common::env::TaskHandle;
use dflow_common::metrics::BYTES_OUT;
use dflow_common::{ChangeBatch, Env, Epoch};
use dflow_connector_api::error::ROLE_NOT_SUPPORTED;
use dflow_connector_api::{Committable, Error, Result, Writer, WriterContext};
use futures::future::BoxFuture;

use super::Config;
use super::apply::Applier;
use crate::client::error::unreachable_server;

/// Bytes that make a writer flush, whatever the options say: its memory is bounded.
pub(super) const FLUSH_BYTES: usize = 4 << 20;
/// Rows that make a writer flush when the options do not limit them.
pub(super) const FLUSH_ROWS_MAX: usize = 64 << 10;

/// Batches that wait to be written as one.
#[derive(Default)]
pub(super) struct Gathered {
    batches: Vec<ChangeBatch>,
    rows: usize,
    bytes: usize,
}

impl Gathered {
    pub(super) fn add(&mut self, batch: ChangeBatch) {
        self.rows += batch.num_rows();
        self.bytes += batch.memory_bytes();
        self.batches.push(batch);
    }

    pub(super) fn is_full(&self, rows: usize) -> bool {
        self.rows >= rows || self.bytes >= FLUSH_BYTES
    }

    /// All of them as one; `None` when there are no rows.
    pub(super) fn take(&mut self) -> Result<Option<ChangeBatch>> {
        let all = std::mem::take(self);
        if all.rows == 0 {
            return Ok(None);
        }
        ChangeBatch::concat(&all.batches)
            .map(Some)
            .map_err(|e| Error::new(ROLE_NOT_SUPPORTED, format!("batches of one table have one schema: {e}")))
    }
}

/// Refuses what a table without key cannot take.
pub(super) fn check_kinds(config: &Config, batch: &ChangeBatch) -> Result<()> {
    if config.statements.key().is_empty() && !batch.ops.is_append() {
        let table = &config.options.table;
        return Err(Error::new(ROLE_NOT_SUPPORTED, format!("`{table}` has no declared key and takes inserts only"))
            .at(config.span, "")
            .help("declare PRIMARY KEY (…) NOT ENFORCED"));
    }
    Ok(())
}

pub(super) struct DirectWriter {
    config: Arc<Config>,
    env: Env,
    gathered: Gathered,
    /// When the oldest gathered row came.
    since: Duration,
    /// At home, or on its way through a batch.
    applier: Option<Applier>,
    running: Option<TaskHandle<(Applier, Result<()>)>>,
}

impl DirectWriter {
    pub(super) fn new(config: Arc<Config>, context: &WriterContext) -> Self {
        let bytes = context.metrics.counter(&BYTES_OUT, &[&context.job, &context.sink]);
        let applier = Some(Applier::new(config.clone(), context.env.clone(), bytes));
        let env = context.env.clone();
        Self { config, env, gathered: Gathered::default(), since: Duration::ZERO, applier, running: None }
    }

    /// Waits for the batch on its way.
    async fn settle(&mut self) -> Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let done = running.await;
        self.running = None;
        match done {
            Ok((applier, result)) => {
                self.applier = Some(applier);
                result
            }
            Err(e) => match e.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(unreachable_server(&self.config.endpoint.shown(), "dflow is stopping")),
            },
        }
    }

    /// Sends what is gathered on its way.
    async fn start(&mut self) -> Result<()> {
        self.settle().await?;
        let Some(batch) = self.gathered.take()? else { return Ok(()) };
        let Some(mut applier) = self.applier.take() else {
            return Err(unreachable_server(&self.config.endpoint.shown(), "an earlier write failed"));
        };
        self.running = Some(self.env.spawner.spawn_io("mysql-sink", async move {
            let result = applier.apply(&batch, None).await;
            (applier, result)
        }));
        Ok(())
    }

    fn is_due(&self) -> bool {
        let age = self.env.clock.monotonic().saturating_sub(self.since);
        let rows = self.config.options.flush_rows.unwrap_or(FLUSH_ROWS_MAX).min(FLUSH_ROWS_MAX);
        self.gathered.is_full(rows) || self.config.options.flush_interval.is_some_and(|i| age >= i)
    }
}

impl Writer for DirectWriter {
    fn write(&mut self, batch: ChangeBatch) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            check_kinds(&self.config, &batch)?;
            if self.gathered.rows == 0 {
                self.since = self.env.clock.monotonic();
            }
            self.gathered.add(batch);
            if self.is_due() { self.start().await } else { Ok(()) }
        })
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.start())
    }

    fn prepare(&mut self, _epoch: Epoch) -> BoxFuture<'_, Result<Vec<Committable>>> {
        Box::pin(async move {
            self.start().await?;
            self.settle().await?;
            Ok(Vec::new())
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.settle())
    }
}

impl Drop for DirectWriter {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}
