//! Rows of a bare SELECT on their way to the caller.
//!
//! The sink has one writer per subtask; all of them send into one bounded channel. A restart opens new writers on the same
//! channel, so the caller may see rows again: the output is at least once, and says so.

use std::sync::Arc;

use dflow_common::{ChangeBatch, Epoch, SqlType};
use dflow_connector_api::{ChangelogSupport, Committable, Error, Result, Sink, SinkMode, Writer, WriterContext};
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::functions::datetime::Zone;

/// Batches that wait for the caller before the job does.
const BATCHES_MAX: usize = 16;

/// The result of a bare SELECT.
#[derive(Debug)]
pub struct QueryOutput {
    /// Its columns.
    pub columns: Vec<(String, SqlType)>,
    /// Whether rows are only ever added.
    pub append_only: bool,
    /// The session's time zone, in which instants (`TIMESTAMP_LTZ`) are shown.
    pub time_zone: Zone,
    /// Its rows. Ends when the job ends and its graph is dropped.
    pub rows: mpsc::Receiver<ChangeBatch>,
}

/// The sink behind a [`QueryOutput`].
#[derive(Debug)]
pub(crate) struct OutputSink {
    sender: mpsc::Sender<ChangeBatch>,
}

/// A sink and the rows it will be given.
pub(crate) fn output(
    columns: Vec<(String, SqlType)>,
    append_only: bool,
    time_zone: &str,
) -> (Arc<OutputSink>, QueryOutput) {
    let (sender, rows) = mpsc::channel(BATCHES_MAX);
    // The settings have checked the name.
    let time_zone = Zone::parse(time_zone).unwrap_or(Zone::UTC);
    (Arc::new(OutputSink { sender }), QueryOutput { columns, append_only, time_zone, rows })
}

impl Sink for OutputSink {
    fn mode(&self) -> SinkMode {
        SinkMode::AtLeastOnce
    }

    fn changelog(&self) -> ChangelogSupport {
        ChangelogSupport::All
    }

    fn writer(&self, _: &WriterContext) -> Result<Box<dyn Writer>> {
        Ok(Box::new(OutputWriter { sender: self.sender.clone() }))
    }
}

struct OutputWriter {
    sender: mpsc::Sender<ChangeBatch>,
}

impl Writer for OutputWriter {
    fn write(&mut self, batch: ChangeBatch) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.sender
                .send(batch)
                .await
                .map_err(|_| Error::new(crate::error::OUTPUT_CLOSED, "the rows of the query are no longer wanted"))
        })
    }

    fn prepare(&mut self, _: Epoch) -> BoxFuture<'_, Result<Vec<Committable>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}
