//! Reading tables as they are, without a lock.
//!
//! ```text
//! chunks ──> worker: view ─ SELECT ─ changes in flight ──> parts (two ahead) ──> the reader
//! ```
//! | module | what |
//! |---|---|
//! | [`view`] | a fixed view of the tables, its place in the log, and what is in flight there |
//! | [`read`] | one chunk in a view: the statement, the builders, the cuts |
//! | [`changes`] | changes in flight, applied to a chunk |
//! | [`values`] | values of a query into the builders of the log |
//!
//! A worker is a task of its own: a reader that is dropped at an await loses nothing, and the next chunk is read while the one
//! before it is processed.
//!
//! # Memory
//! A part under construction, [`PARTS_AHEAD`] that wait, one with the reader: each about [`read::PART_BYTES`].
//!
//! # Tables without a primary key
//! Nothing tells equal rows apart, so a change in flight cannot be applied to them. Views are taken until none of the chunk's
//! rows is in flight; after [`QUIET_ATTEMPTS_MAX`] attempts the chunk is taken with the *low* mark: changes in flight may then
//! come twice, and none is lost. On MariaDB nothing is ever in flight.

pub mod changes;
pub mod read;
pub mod values;
pub mod view;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use dflow_common::env::TaskHandle;
use dflow_common::{Classified, Env};
use dflow_connector_api::{Result, SplitId};
use futures::future::{Either, select};
use mysql_async::Value;
use mysql_async::prelude::Queryable;
use tokio::sync::mpsc;

use self::changes::Changes;
use self::read::{Reading, Tables, is_inside};
use self::view::{Opened, Views};
use super::catalog::{self, TableInfo};
use super::chunks::{Chunk, sql};
use super::source::Shared;
use crate::binlog::key::{Key, Order};
use crate::binlog::position::FilePosition;
use crate::client::connect::backoff;
use crate::client::{Place, within_all};

/// Parts that wait for the reader.
const PARTS_AHEAD: usize = 1;
/// Attempts to read a chunk over broken connections before the job hears of it.
const ATTEMPTS_MAX: u32 = 5;
/// Views that are taken for a chunk without a primary key, until none of its rows is in flight.
const QUIET_ATTEMPTS_MAX: u32 = 50;
/// How long a view may wait for a slow reader.
const VIEW_HELD_MAX: Duration = Duration::from_secs(1);
/// How long connections are kept without a chunk.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// Keys that the server is asked about in one statement.
const KEYS_ASKED: usize = 200;

/// What a worker hands out.
#[derive(Debug)]
pub enum Part {
    /// The rows of a range, all of it.
    Rows {
        /// The chunk.
        split: SplitId,
        /// Its output.
        output: usize,
        /// The rows; may be none.
        batch: RecordBatch,
        /// Where the range begins.
        from: Option<Key>,
        /// Where the rest of the chunk begins.
        rest: Option<Key>,
        /// Whether there is no rest.
        is_last: bool,
        /// Up to where in the log the rows are as they were read.
        mark: FilePosition,
    },
    /// The table is gone, or nobody declares it any more.
    Gone(SplitId),
}

type Sender = mpsc::Sender<Result<Part>>;

/// A running worker.
pub struct Worker {
    chunks: mpsc::UnboundedSender<(Chunk, Option<Key>)>,
    parts: mpsc::Receiver<Result<Part>>,
    task: TaskHandle<()>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Worker {
    /// Starts one. `server_id`: as whom it reads the log.
    pub fn start(shared: Arc<Shared>, env: &Env, server_id: u32) -> Worker {
        let (chunks, orders) = mpsc::unbounded_channel();
        let (sender, parts) = mpsc::channel(PARTS_AHEAD);
        let views = Views::new(shared.clone(), env.clone(), server_id);
        let work =
            Work { shared, env: env.clone(), views, opened: None, changes: HashMap::new(), tables: Tables::new() };
        let task = env.spawner.spawn_io("mysql-snapshot", work.run(orders, sender));
        Worker { chunks, parts, task }
    }

    /// Orders a chunk, from a key on.
    pub fn order(&self, chunk: Chunk, from: Option<Key>) {
        // A worker ends after an error only, which the reader has then.
        let _ = self.chunks.send((chunk, from));
    }

    /// The next part. Waits while nothing is ordered. Cancel safe.
    pub async fn next(&mut self) -> Result<Part> {
        match self.parts.recv().await {
            Some(part) => part,
            None => std::future::pending().await,
        }
    }
}

/// What a worker knows.
struct Work {
    shared: Arc<Shared>,
    env: Env,
    views: Views,
    opened: Option<Opened>,
    /// Changes in flight of the open view, by declared table, database and table.
    changes: HashMap<(String, String, String), Arc<Changes>>,
    tables: Tables,
}

impl Work {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<(Chunk, Option<Key>)>, sender: Sender) {
        while let Some((chunk, mut from)) = self.order(&mut orders).await {
            let mut failures = 0;
            loop {
                let error = match self.chunk(&chunk, &mut from, &sender).await {
                    Ok(true) => break,
                    Ok(false) => return,
                    Err(e) => e,
                };
                (self.opened, failures) = (None, failures + 1);
                self.views.reset();
                if !error.retryable() || failures >= ATTEMPTS_MAX {
                    let _ = sender.send(Err(error)).await;
                    return;
                }
                tracing::warn!(failures, table = chunk.table, "reading a table broke, going on: {error}");
                self.env.clock.sleep(backoff(&self.env, failures)).await;
            }
        }
    }

    /// The next chunk. An open view makes the server keep old versions of rows, so it is given up when none comes.
    async fn order(
        &mut self,
        orders: &mut mpsc::UnboundedReceiver<(Chunk, Option<Key>)>,
    ) -> Option<(Chunk, Option<Key>)> {
        match select(std::pin::pin!(orders.recv()), self.env.clock.sleep(IDLE_MAX)).await {
            Either::Left((order, _)) => return order,
            Either::Right(_) => {}
        }
        self.opened = None;
        self.views.reset();
        orders.recv().await
    }

    /// Reads a chunk, or what is left of it; false when nobody listens any more.
    async fn chunk(&mut self, chunk: &Chunk, from: &mut Option<Key>, sender: &Sender) -> Result<bool> {
        let shared = self.shared.clone();
        let gone = async || sender.send(Ok(Part::Gone(chunk.id()))).await.is_ok();
        let Some(output) = shared.output(&chunk.output) else { return Ok(gone().await) };
        let captured = &shared.captured[output];
        let endpoint = &shared.options().endpoint;
        let limit = endpoint.answer_timeout;
        let mut quiet_attempts = 0;
        loop {
            let Some(table) = self.table(chunk).await? else { return Ok(gone().await) };
            let mut opened = match self.opened.take() {
                Some(opened) if !self.views.is_old(&opened.view) => opened,
                old => {
                    if let Some(old) = old {
                        self.views.close(old);
                    }
                    self.changes.clear();
                    within_all(&self.env, limit, endpoint, self.views.take()).await?
                }
            };
            let skips = captured.options.snapshot.skips_backfill;
            let in_flight = if skips { &[][..] } else { &opened.view.in_flight };
            let table_key = (chunk.output.clone(), chunk.database.clone(), chunk.table.clone());
            let changes = match self.changes.get(&table_key) {
                Some(changes) => changes.clone(),
                None => {
                    let (wanted, policy) = (&captured.wanted, &captured.options.policy);
                    let changes = Changes::of(chunk, in_flight, wanted, policy, captured.output_of_log()?)?;
                    self.changes.entry(table_key).or_insert(Arc::new(changes)).clone()
                }
            };
            let inside = self.inside(chunk, &changes).await?;
            let touches =
                changes.touches(&|key| is_inside(chunk, inside.as_ref(), from.as_ref(), chunk.to.as_ref(), key));
            let is_ambiguous = touches && chunk.primary_key.is_empty();
            if is_ambiguous && quiet_attempts < QUIET_ATTEMPTS_MAX {
                quiet_attempts += 1;
                self.views.close(opened);
                continue;
            }
            let mark = if skips || is_ambiguous { opened.view.low.at.clone() } else { opened.view.high.clone() };
            let env = self.env.clone();
            let reading = Reading { captured, output, table: &table, chunk, changes, inside, mark, env };
            let outcome = reading.run(&mut opened, from, sender).await?;
            match outcome {
                read::Outcome::Done(part) => return self.hand_out(opened, part, sender).await,
                read::Outcome::Closed => return Ok(false),
                read::Outcome::Stale => {
                    self.tables.clear();
                    self.views.close(opened);
                }
            }
        }
    }

    /// The last part of a chunk. A view that waits for a slow reader is given back: it locks the tables' definitions.
    async fn hand_out(&mut self, opened: Opened, part: Part, sender: &Sender) -> Result<bool> {
        match select(std::pin::pin!(sender.reserve()), self.env.clock.sleep(VIEW_HELD_MAX)).await {
            Either::Left((Ok(permit), _)) => {
                permit.send(Ok(part));
                self.opened = Some(opened);
                return Ok(true);
            }
            Either::Left((Err(_), _)) => return Ok(false),
            Either::Right(_) => {}
        }
        // What was read stays right whatever becomes of the connection.
        self.views.release(opened).await;
        Ok(sender.send(Ok(part)).await.is_ok())
    }

    async fn table(&mut self, chunk: &Chunk) -> Result<Option<Arc<TableInfo>>> {
        let name = (chunk.database.clone(), chunk.table.clone());
        if let Some(table) = self.tables.get(&name) {
            return Ok(Some(table.clone()));
        }
        let endpoint = self.shared.options().endpoint.clone();
        let (views, limit) = (&mut self.views, endpoint.answer_timeout);
        let find = async { catalog::find(views.questions().await?, &endpoint, &name.0, &name.1).await };
        let found = within_all(&self.env, limit, &endpoint, find).await?;
        let found = found.map(Arc::new);
        if let Some(table) = &found {
            self.tables.insert(name, table.clone());
        }
        Ok(found)
    }

    /// Keys of changes that are in the chunk, when only the server can say.
    async fn inside(&mut self, chunk: &Chunk, changes: &Changes) -> Result<Option<HashSet<Key>>> {
        let order = &chunk.column.order;
        if order.is_ours() {
            return Ok(None);
        }
        let keys = changes.keys();
        let mut inside: HashSet<Key> = HashSet::new();
        if keys.is_empty() {
            return Ok(Some(inside));
        }
        let bounds: Vec<Key> = chunk.from.iter().chain(&chunk.to).cloned().collect();
        let endpoint = self.shared.options().endpoint.clone();
        let (views, limit) = (&mut self.views, endpoint.answer_timeout);
        let place = Place { endpoint: &endpoint, table: &chunk.table };
        let ask =
            async { place_keys(views.questions().await?, order, &bounds, &keys).await.map_err(|e| place.error(&e)) };
        let ranges = within_all(&self.env, limit, &endpoint, ask).await?;
        let wanted = usize::from(chunk.from.is_some());
        inside.extend(keys.into_iter().zip(ranges).filter(|(_, range)| *range == wanted).map(|(key, _)| key));
        Ok(Some(inside))
    }
}

/// In which range each key is, by the server's order: how many of the ordered `bounds` are not above it.
///
/// # Errors
/// Of the connection.
pub async fn place_keys(
    session: &mut crate::client::Session,
    order: &Order,
    bounds: &[Key],
    keys: &[Key],
) -> mysql_async::Result<Vec<usize>> {
    let compared = sql::collated(order);
    let mut placed = Vec::with_capacity(keys.len());
    for keys in keys.chunks(KEYS_ASKED) {
        // All keys halve their own interval of bounds with each statement.
        let mut intervals = vec![(0_usize, bounds.len()); keys.len()];
        loop {
            let asked: Vec<usize> = (0..keys.len()).filter(|i| intervals[*i].0 < intervals[*i].1).collect();
            if asked.is_empty() {
                break;
            }
            let middle = |(low, high): (usize, usize)| low + (high - low) / 2;
            let question = format!("({compared}) >= ({compared})");
            let text = format!("SELECT {}", vec![question.as_str(); asked.len()].join(", "));
            let values =
                asked.iter().flat_map(|i| [&keys[*i], &bounds[middle(intervals[*i])]]).map(|key| sql::bound(key).1);
            let values: Vec<Value> = values.collect();
            let row: Option<mysql_async::Row> = session.conn.exec_first(text, values).await?;
            let answers = row.map(mysql_async::Row::unwrap).unwrap_or_default();
            for (i, answer) in asked.into_iter().zip(answers) {
                let at = middle(intervals[i]);
                match answer {
                    Value::Int(1) | Value::UInt(1) => intervals[i].0 = at + 1,
                    _ => intervals[i].1 = at,
                }
            }
        }
        placed.extend(intervals.iter().map(|(low, _)| *low));
    }
    Ok(placed)
}
