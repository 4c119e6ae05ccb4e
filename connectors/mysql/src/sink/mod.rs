//! Writing: rows by key or at the end, with two guarantees.
//!
//! ```text
//! at-least-once   write ─ flush ─> transaction               with a PRIMARY KEY a replay converges: idempotent
//! exactly-once    write ─> body in the checkpoint ─ commit ─> transaction with a marker; a marker that is there: nothing to do
//! ```
//! Exactly-once shows rows after their checkpoint, chunk by chunk. Markers are rows of `dflow_commits` in the database of the table, one
//! per transaction, named by a random token that travels in the checkpoint with the chunk: whoever repeats a commit finds it.

mod apply;
mod encode;
mod staged;
mod target;
mod writer;

use std::sync::Arc;

use dflow_common::{Classified, Diagnostic, Env, Span};
use dflow_connector_api::{
    ChangelogSupport, Committer, CommitterContext, Error, Options, Result, Sink, SinkMode, TableRequest, Writer,
    WriterContext,
};
use dflow_connector_jdbc::options::{self, TableOptions};
use dflow_connector_jdbc::quote::Dialect;
use dflow_connector_jdbc::statement::Statements;
use futures::future::BoxFuture;

use crate::client::Endpoint;
use crate::client::zone::Zone;

/// What writers and committer share.
pub(crate) struct Config {
    pub(crate) endpoint: Endpoint,
    pub(crate) options: TableOptions,
    pub(crate) statements: Statements,
    /// Names of the columns written, in the order of the batches.
    pub(crate) columns: Vec<String>,
    pub(crate) zone: Zone,
    pub(crate) span: Span,
}

impl Config {
    /// The names of the key.
    fn key(&self) -> impl Iterator<Item = &str> {
        self.statements.key().iter().map(|k| self.columns[*k].as_str())
    }
}

struct MySqlSink(Arc<Config>);

/// Checks a table and makes its sink.
pub(crate) fn open(request: &TableRequest, checked: &Options) -> Result<Arc<dyn Sink>, Vec<Error>> {
    let mut errors = Vec::new();
    let table = TableOptions::read(checked, request, &mut errors);
    let endpoint = Endpoint::read(checked, request, &mut errors);
    options::check_columns(request, &request.projection, &mut errors);
    let (Some(endpoint), true) = (endpoint, errors.is_empty()) else { return Err(errors) };
    let columns: Vec<String> = request.projection.iter().map(|c| request.schema.columns[*c].name.clone()).collect();
    let key = &request.schema.primary_key;
    let key = key.iter().filter_map(|k| request.projection.iter().position(|c| c == k)).collect();
    Ok(Arc::new(MySqlSink(Arc::new(Config {
        endpoint,
        statements: Statements::new(Dialect::MySql, &table.table, columns.clone(), key),
        options: table,
        columns,
        // The engine has checked the name.
        zone: Zone::named(&request.time_zone).or(Zone::named("UTC")).expect("UTC is a zone"),
        span: request.span,
    }))))
}

impl Sink for MySqlSink {
    fn mode(&self) -> SinkMode {
        match (self.0.options.is_exactly_once, self.0.statements.key().is_empty()) {
            (true, _) => SinkMode::Staged,
            (false, false) => SinkMode::Idempotent,
            (false, true) => SinkMode::AtLeastOnce,
        }
    }

    fn changelog(&self) -> ChangelogSupport {
        if self.0.statements.key().is_empty() { ChangelogSupport::AppendOnly } else { ChangelogSupport::Upsert }
    }

    fn max_parallelism(&self) -> Option<usize> {
        self.0.options.sink_parallelism
    }

    fn preflight<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Vec<Diagnostic>> {
        Box::pin(async move {
            let asked = target::ask(env, &self.0).await;
            asked.err().map(|e| e.at_default(self.0.span).diagnostic()).into_iter().collect()
        })
    }

    fn writer(&self, context: &WriterContext) -> Result<Box<dyn Writer>> {
        Ok(if self.0.options.is_exactly_once {
            Box::new(staged::StagedWriter::new(self.0.clone(), context))
        } else {
            Box::new(writer::DirectWriter::new(self.0.clone(), context))
        })
    }

    fn committer(&self, context: &CommitterContext) -> Result<Option<Box<dyn Committer>>> {
        if !self.0.options.is_exactly_once {
            return Ok(None);
        }
        Ok(Some(Box::new(staged::StagedCommitter::new(self.0.clone(), context))))
    }
}
