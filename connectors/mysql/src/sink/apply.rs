//! One batch of changes, one transaction.
//!
//! ```text
//! START TRANSACTION
//! INSERT INTO dflow_commits (token, …)      exactly-once only: a token that is there already ends it, the rows are in the table
//! DELETE FROM t WHERE k IN (?, ?, …)        powers of two, prepared once
//! INSERT INTO t … ON DUPLICATE KEY UPDATE …
//! COMMIT
//! ```
//! A failure gives the connection up, and with it the transaction. What may pass by itself (a lost connection, a deadlock) is tried again
//! as a whole. When the answer to COMMIT is lost nobody knows whether the rows are there: upserts and marked batches are repeated without
//! effect, plain appends may be doubled (at-least-once).

use std::collections::HashMap;
use std::sync::Arc;

use dflow_common::metrics::CounterHandle;
use dflow_common::{ChangeBatch, Classified, Env};
use dflow_connector_api::{Error, Result};
use dflow_connector_jdbc::reduce::{Reduced, Reducer};
use dflow_connector_jdbc::statement::batch_sizes;
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Statement};

use super::Config;
use super::encode::{Encoder, Keeps};
use super::target;
use crate::client::connect::backoff;
use crate::client::error::UNWRITABLE_VALUE;
use crate::client::{Place, Session, connect, within};

/// Bytes of one statement aimed at, where the server's `max_allowed_packet` allows them.
const STATEMENT_BYTES: usize = 4 << 20;
/// A row with this key is there.
const DUPLICATE_KEY: u16 = 1062;

/// What makes a batch known to the table it was written to.
pub(super) struct Marker {
    pub(super) token: String,
    pub(super) owner: String,
    pub(super) epoch: u64,
    pub(super) chunk: u32,
    pub(super) job: String,
    pub(super) sink: String,
}

/// Which statement.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Insert,
    Upsert,
    Delete,
}

/// Carries batches out, over one connection at a time.
pub(super) struct Applier {
    config: Arc<Config>,
    env: Env,
    open: Option<Open>,
    is_checked: bool,
    reducer: Option<Reducer>,
    bytes: CounterHandle,
}

/// A connection with what was prepared on it.
struct Open {
    session: Session,
    keeps: Vec<Keeps>,
    statements: HashMap<(Kind, usize), Statement>,
}

impl Applier {
    pub(super) fn new(config: Arc<Config>, env: Env, bytes: CounterHandle) -> Self {
        Self { config, env, open: None, is_checked: false, reducer: None, bytes }
    }

    /// Writes a batch, or, when its marker is there already, nothing.
    pub(super) async fn apply(&mut self, batch: &ChangeBatch, marker: Option<&Marker>) -> Result<()> {
        let reduced = self.reduce(batch)?;
        let mut failures = 0;
        while let Err(e) = self.attempt(batch, reduced.as_ref(), marker).await {
            self.after(e, &mut failures).await?;
        }
        Ok(())
    }

    /// Makes sure that markers can be written.
    pub(super) async fn prepare_markers(&mut self) -> Result<()> {
        let mut failures = 0;
        while let Err(e) = self.try_prepare_markers().await {
            self.after(e, &mut failures).await?;
        }
        Ok(())
    }

    /// Forgets markers of epochs before this one.
    pub(super) async fn forget_markers(&mut self, owner: &str, before: u64) -> Result<()> {
        let mut failures = 0;
        while let Err(e) = self.try_forget_markers(owner, before).await {
            self.after(e, &mut failures).await?;
        }
        Ok(())
    }

    /// Gives the connection up and waits before another attempt; the error itself when there is to be none.
    async fn after(&mut self, failed: Error, failures: &mut u32) -> Result<()> {
        self.open = None;
        *failures += 1;
        if !failed.retryable() || *failures > self.config.options.max_retries {
            return Err(failed);
        }
        tracing::warn!(failures, table = self.config.options.table, "a write failed, trying again: {failed}");
        self.env.clock.sleep(backoff(&self.env, *failures)).await;
        Ok(())
    }

    async fn try_prepare_markers(&mut self) -> Result<()> {
        let config = self.config.clone();
        self.open().await?;
        let Some(open) = &mut self.open else { return Ok(()) };
        target::make_markers(&mut open.session, &config).await
    }

    async fn try_forget_markers(&mut self, owner: &str, before: u64) -> Result<()> {
        let config = self.config.clone();
        self.open().await?;
        let Some(open) = &mut self.open else { return Ok(()) };
        let place = Place { endpoint: &config.endpoint, table: target::MARKERS };
        let sql = format!("DELETE FROM `{}` WHERE `owner` = ? AND `epoch` < ?", target::MARKERS);
        let delete = open.session.conn.exec_drop(sql, (owner, before));
        within(&self.env, config.endpoint.answer_timeout, &place, delete).await
    }

    fn reduce(&mut self, batch: &ChangeBatch) -> Result<Option<Reduced>> {
        let key = self.config.statements.key();
        if key.is_empty() {
            return Ok(None);
        }
        let refuse = |e| Error::new(UNWRITABLE_VALUE, format!("rows cannot be keyed: {e}"));
        if self.reducer.is_none() {
            self.reducer = Some(Reducer::new(&batch.schema(), key.to_vec()).map_err(refuse)?);
        }
        self.reducer.as_ref().map(|r| r.reduce(batch)).transpose().map_err(refuse)
    }

    async fn open(&mut self) -> Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        let config = self.config.clone();
        let patience = config.options.connect_patience;
        let mut session = connect(&self.env, &config.endpoint, &config.options.table, patience).await?;
        let place = Place { endpoint: &config.endpoint, table: &config.options.table };
        let keeps =
            within(&self.env, config.endpoint.answer_timeout, &place, target::columns(&mut session, &config)).await?;
        if !self.is_checked {
            target::check(&mut session, &config).await?;
            self.is_checked = true;
        }
        self.open = Some(Open { session, keeps, statements: HashMap::new() });
        Ok(())
    }

    async fn attempt(&mut self, batch: &ChangeBatch, reduced: Option<&Reduced>, marker: Option<&Marker>) -> Result<()> {
        self.open().await?;
        let config = self.config.clone();
        let (Some(open), env) = (&mut self.open, &self.env) else { return Ok(()) };
        let columns: Option<Vec<Encoder<'_>>> =
            batch.data.columns().iter().zip(&open.keeps).map(|(a, k)| Encoder::new(a, *k, config.zone)).collect();
        let columns = columns
            .ok_or_else(|| Error::new(UNWRITABLE_VALUE, "a column has a type that MySQL does not have".to_owned()))?;
        let place = Place { endpoint: &config.endpoint, table: &config.options.table };
        let limit = config.endpoint.answer_timeout;
        within(env, limit, &place, open.session.conn.query_drop("START TRANSACTION")).await?;
        if let Some(marker) = marker
            && !open.mark(marker, env, &config).await?
        {
            return within(env, limit, &place, open.session.conn.query_drop("ROLLBACK")).await;
        }
        let mut writing = Writing { open, columns: &columns, config: &config, env, bytes: 0 };
        match reduced {
            Some(Reduced { deletes, upserts }) => {
                writing.rows(Kind::Delete, deletes).await?;
                writing.rows(Kind::Upsert, upserts).await?;
            }
            None => {
                let all: Vec<u32> = (0..batch.num_rows() as u32).collect();
                writing.rows(Kind::Insert, &all).await?;
            }
        }
        let bytes = writing.bytes;
        within(env, limit, &place, open.session.conn.query_drop("COMMIT")).await?;
        self.bytes.inc_by(bytes as f64);
        Ok(())
    }
}

impl Open {
    /// Writes the marker; false when it is there already.
    async fn mark(&mut self, marker: &Marker, env: &Env, config: &Config) -> Result<bool> {
        let place = Place { endpoint: &config.endpoint, table: target::MARKERS };
        let sql = format!(
            "INSERT INTO `{}` (`token`, `owner`, `epoch`, `chunk`, `job`, `sink`) VALUES (?, ?, ?, ?, ?, ?)",
            target::MARKERS
        );
        let short = |text: &str| text.chars().take(191).collect::<String>();
        let values =
            (&marker.token, &marker.owner, marker.epoch, marker.chunk, short(&marker.job), short(&marker.sink));
        let insert = async {
            match self.session.conn.exec_drop(sql, values).await {
                Ok(()) => Ok(true),
                Err(mysql_async::Error::Server(e)) if e.code == DUPLICATE_KEY => Ok(false),
                Err(e) => Err(e),
            }
        };
        within(env, config.endpoint.answer_timeout, &place, insert).await
    }
}

/// Rows on their way into statements.
struct Writing<'a> {
    open: &'a mut Open,
    columns: &'a [Encoder<'a>],
    config: &'a Config,
    env: &'a Env,
    bytes: usize,
}

impl Writing<'_> {
    /// Writes these rows: cut by bytes, then into statements of powers of two.
    async fn rows(&mut self, kind: Kind, rows: &[u32]) -> Result<()> {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let bound = if kind == Kind::Delete { self.config.statements.key() } else { &all };
        let packet = usize::try_from(self.open.session.server.max_allowed_packet).unwrap_or(usize::MAX);
        let budget = STATEMENT_BYTES.min(packet / 2);
        let mut start = 0;
        while start < rows.len() {
            let (mut end, mut bytes) = (start, 0);
            while end < rows.len() {
                let row = bound.iter().map(|c| self.columns[*c].bytes(rows[end] as usize)).sum::<usize>();
                if end > start && bytes + row > budget {
                    break;
                }
                bytes += row;
                end += 1;
            }
            self.bytes += bytes;
            for size in batch_sizes(end - start, bound.len()) {
                self.statement(kind, bound, &rows[start..start + size]).await?;
                start += size;
            }
        }
        Ok(())
    }

    async fn statement(&mut self, kind: Kind, bound: &[usize], rows: &[u32]) -> Result<()> {
        let mut values = Vec::with_capacity(rows.len() * bound.len());
        for row in rows {
            for column in bound {
                values.push(self.columns[*column].value(*row as usize).map_err(|why| self.unwritable(*column, &why))?);
            }
        }
        let place = Place { endpoint: &self.config.endpoint, table: &self.config.options.table };
        let limit = self.config.endpoint.answer_timeout;
        let statement = match self.open.statements.get(&(kind, rows.len())) {
            Some(statement) => statement.clone(),
            None => {
                let statements = &self.config.statements;
                let sql = match kind {
                    Kind::Insert => statements.insert(rows.len()),
                    Kind::Upsert => statements.upsert(rows.len()),
                    Kind::Delete => statements.delete(rows.len()),
                };
                let statement = within(self.env, limit, &place, self.open.session.conn.prep(sql)).await?;
                self.open.statements.insert((kind, rows.len()), statement.clone());
                statement
            }
        };
        let conn = &mut self.open.session.conn;
        within(self.env, limit, &place, conn.exec_drop(&statement, Params::Positional(values))).await
    }

    fn unwritable(&self, column: usize, why: &str) -> Error {
        let table = &self.config.options.table;
        let name = &self.config.columns[column];
        Error::new(UNWRITABLE_VALUE, format!("a value of column `{name}` cannot be stored in `{table}`: {why}"))
            .at(self.config.span, "")
            .help(format!("CAST `{name}` in the query to what the column keeps, or change the column"))
    }
}
