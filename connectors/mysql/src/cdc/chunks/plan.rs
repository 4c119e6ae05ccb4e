//! Where the chunks of tables begin: asked from the server in a task of its own, a few ahead of the readers.
//!
//! ```text
//! tables to read ──> task ──> Planned::Table, Planned::Chunk … ──(a few)──> the enumerator
//! ```
//! A restart goes on at the chunk that was not planned yet; what the task had asked ahead is asked again.

use std::sync::Arc;

use dflow_common::env::TaskHandle;
use dflow_common::{Classified, Env};
use dflow_connector_api::Result;
use dflow_connector_jdbc::quote::Dialect;
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Row, Value};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::column::ChunkColumn;
use super::{Chunk, sql};
use crate::binlog::key::Key;
use crate::cdc::catalog::{self, TableInfo};
use crate::cdc::options::SnapshotOptions;
use crate::cdc::snapshot::read::PART_BYTES;
use crate::cdc::snapshot::view::open;
use crate::cdc::source::Shared;
use crate::client::connect::backoff;
use crate::client::{Place, Session, within};
use crate::error;

/// Connections that may break before the job hears of it.
const RETRIES: u32 = 5;
/// Chunks that are planned ahead of the enumerator.
const CHUNKS_AHEAD: usize = 4;

/// A table that is to be planned, from the beginning or from some chunk on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The declared table.
    pub output: String,
    /// The table's database.
    pub database: String,
    /// Its name.
    pub table: String,
    /// The column of its chunks.
    pub column: ChunkColumn,
    /// Its primary key.
    pub primary_key: Vec<String>,
    /// Its rows, estimated by the server.
    pub rows: u64,
    /// How its chunks are made, once that is known.
    pub shape: Option<Shape>,
    /// The number of the next chunk.
    pub number: u64,
    /// Where it begins.
    pub from: Option<Key>,
    /// Whether all of them are planned.
    pub is_over: bool,
}

/// How the chunks of a table are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Where the last chunk begins; `None` when there is one only.
    pub last: Option<Key>,
    /// How far apart reckoned chunks are; `None` when the server is asked for each.
    pub step: Option<u64>,
    /// Rows of a chunk.
    pub rows: u64,
}

impl Plan {
    /// Of a table of which nothing is planned yet.
    ///
    /// # Errors
    /// [`error::NO_CHUNK_KEY`].
    pub fn new(output: &str, table: &TableInfo, options: &SnapshotOptions) -> Result<Plan> {
        Ok(Plan {
            output: output.to_owned(),
            database: table.database.clone(),
            table: table.name.clone(),
            column: ChunkColumn::choose(table, options.chunk_key.as_deref())?,
            primary_key: table.primary_key.iter().map(|i| table.columns[*i].name.clone()).collect(),
            rows: table.rows,
            shape: None,
            number: 0,
            from: None,
            is_over: false,
        })
    }

    /// A chunk of it.
    pub fn chunk(&self, number: u64, from: Option<Key>, to: Option<Key>) -> Chunk {
        Chunk {
            output: self.output.clone(),
            database: self.database.clone(),
            table: self.table.clone(),
            number,
            column: self.column.clone(),
            primary_key: self.primary_key.clone(),
            from,
            to,
        }
    }
}

/// What the task found out.
#[derive(Debug)]
pub enum Planned {
    /// How the chunks of table number so are made.
    Shape(usize, Shape),
    /// The next chunk of that table, and whether it is the last to be planned.
    Chunk(usize, Chunk, bool),
}

/// A task that plans.
pub struct Planner {
    planned: mpsc::Receiver<Result<Planned>>,
    task: TaskHandle<()>,
}

impl Drop for Planner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Planner {
    /// Plans what is left of these tables, one after the other.
    pub fn start(shared: Arc<Shared>, env: &Env, plans: Vec<Plan>) -> Planner {
        let (sender, planned) = mpsc::channel(CHUNKS_AHEAD);
        let work = Work { shared, env: env.clone(), sender };
        Planner { planned, task: env.spawner.spawn_io("mysql-chunks", work.run(plans)) }
    }

    /// What comes next; `None` at the end. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Planned>> {
        self.planned.recv().await
    }
}

struct Work {
    shared: Arc<Shared>,
    env: Env,
    sender: mpsc::Sender<Result<Planned>>,
}

impl Work {
    async fn run(self, mut plans: Vec<Plan>) {
        let mut failures = 0;
        while let Err(e) = self.all(&mut plans).await {
            failures += 1;
            if !e.retryable() || failures > RETRIES {
                let _ = self.sender.send(Err(e)).await;
                return;
            }
            tracing::warn!(failures, "cutting tables into chunks broke, going on: {e}");
            self.env.clock.sleep(backoff(&self.env, failures)).await;
        }
    }

    /// Plans what is left, and notes how far it came.
    async fn all(&self, plans: &mut [Plan]) -> Result<()> {
        let mut session = open(&self.env, &self.shared).await?;
        for (i, plan) in plans.iter_mut().enumerate().filter(|(_, plan)| !plan.is_over) {
            let Some(output) = self.shared.output(&plan.output) else { continue };
            let options = self.shared.captured[output].options.snapshot.clone();
            let mut ask = Ask { shared: &self.shared, env: &self.env, session: &mut session, table: String::new() };
            ask.table = format!("{}.{}", plan.database, plan.table);
            let shape = match plan.shape.clone() {
                Some(shape) => shape,
                None => {
                    let shape = ask.shape(plan, &options).await?;
                    if !self.tell(Planned::Shape(i, shape.clone())).await {
                        return Ok(());
                    }
                    plan.shape.insert(shape).clone()
                }
            };
            let Some(last) = shape.last.clone() else {
                if !self.tell(Planned::Chunk(i, plan.chunk(0, None, None), true)).await {
                    return Ok(());
                }
                plan.is_over = true;
                continue;
            };
            let open_end = plan.chunk(Chunk::LAST, Some(last.clone()), None);
            // Number 0 is the one without an upper end when that comes first: the others follow in their order.
            if plan.number == 0 && options.is_unbounded_first {
                if !self.tell(Planned::Chunk(i, open_end.clone(), false)).await {
                    return Ok(());
                }
                plan.number = 1;
            }
            loop {
                let next = ask.next(plan, &shape, &last).await?;
                let is_last = next.is_none();
                let chunk =
                    plan.chunk(plan.number, plan.from.clone(), Some(next.clone().unwrap_or_else(|| last.clone())));
                if !self.tell(Planned::Chunk(i, chunk, is_last && options.is_unbounded_first)).await {
                    return Ok(());
                }
                if is_last {
                    break;
                }
                (plan.number, plan.from) = (plan.number + 1, next);
            }
            if !options.is_unbounded_first && !self.tell(Planned::Chunk(i, open_end, true)).await {
                return Ok(());
            }
            plan.is_over = true;
        }
        Ok(())
    }

    /// False when nobody listens any more.
    async fn tell(&self, planned: Planned) -> bool {
        self.sender.send(Ok(planned)).await.is_ok()
    }
}

/// Questions about one table.
struct Ask<'a> {
    shared: &'a Shared,
    env: &'a Env,
    session: &'a mut Session,
    table: String,
}

impl Ask<'_> {
    async fn row(&mut self, text: String, values: Vec<Value>) -> Result<Option<Row>> {
        let endpoint = &self.shared.options().endpoint;
        let place = Place { endpoint, table: &self.table };
        let params = if values.is_empty() { Params::Empty } else { Params::Positional(values) };
        within(self.env, endpoint.answer_timeout, &place, self.session.conn.exec_first(text, params)).await
    }

    async fn key(&mut self, text: String, values: Vec<Value>) -> Result<Option<(Key, bool)>> {
        let Some(row) = self.row(text, values).await? else { return Ok(None) };
        let kind = row.columns_ref().first().map(|c| (c.column_type(), c.character_set() != 63));
        let equal = matches!(row.as_ref(1), Some(Value::Int(1) | Value::UInt(1)));
        let key = kind.zip(row.as_ref(0)).and_then(|((ty, is_text), value)| sql::key(value, ty, is_text));
        Ok(key.map(|key| (key, equal)))
    }

    async fn shape(&mut self, plan: &Plan, options: &SnapshotOptions) -> Result<Shape> {
        let endpoint = &self.shared.options().endpoint;
        let gone = || error::table_gone(&format!("{}.{}", plan.database, plan.table));
        let info = catalog::find(self.session, endpoint, &plan.database, &plan.table).await?.ok_or_else(gone)?;
        let by_bytes = (PART_BYTES as u64).checked_div(info.row_bytes).unwrap_or(u64::MAX);
        let rows = options.chunk_rows.min(by_bytes).max(2);
        let (name, column) = (sql::table_name(&plan.database, &plan.table), Dialect::MySql.name(&plan.column.name));
        let least = self.key(format!("SELECT MIN({column}) FROM {name}"), vec![]).await?;
        let most = self.key(format!("SELECT MAX({column}) FROM {name}"), vec![]).await?;
        let (Some((least, _)), Some((most, _))) = (least, most) else {
            return Ok(Shape { last: None, step: None, rows });
        };
        let step = match (&least, &most) {
            (Key::Int(least), Key::Int(most)) if plan.column.is_integer => {
                even_step(*least, *most, info.rows, rows, options)
            }
            _ => None,
        };
        // The estimate may be old: a table that seems small is asked for the key behind one chunk.
        let is_small = least == most || self.behind(plan, None, rows, &most).await?.is_none();
        if is_small && (plan.column.can_be_cut() || least == most) {
            return Ok(Shape { last: None, step: None, rows });
        }
        tracing::info!(table = self.table, rows = info.rows, ?step, "a table is cut into chunks of {rows} rows");
        Ok(Shape { last: Some(most), step, rows })
    }

    /// Where the chunk behind `plan`'s next one begins; `None` when that reaches the last one.
    async fn next(&mut self, plan: &Plan, shape: &Shape, last: &Key) -> Result<Option<Key>> {
        if let (Some(step), Key::Int(last)) = (shape.step, last) {
            let from = match &plan.from {
                Some(Key::Int(from)) => *from,
                _ => match self.key(least(plan), vec![]).await? {
                    Some((Key::Int(least), _)) => least,
                    _ => return Ok(None),
                },
            };
            let next = from.saturating_add(step.into());
            return Ok((next < *last).then_some(Key::Int(next)));
        }
        self.behind(plan, plan.from.as_ref(), shape.rows, last).await
    }

    /// The key `rows` rows behind `from`, if it is below `last`.
    async fn behind(&mut self, plan: &Plan, from: Option<&Key>, rows: u64, last: &Key) -> Result<Option<Key>> {
        let (name, column) = (sql::table_name(&plan.database, &plan.table), Dialect::MySql.name(&plan.column.name));
        let range = sql::range(&plan.column, from, Some(last));
        let (equal, mut values) = match from {
            Some(from) => {
                let (text, value) = sql::bound(from);
                (format!("{column} = {text}"), vec![value])
            }
            None => ("FALSE".to_owned(), vec![]),
        };
        values.extend(range.values.clone());
        let text = format!(
            "SELECT {column}, {equal} FROM {name} WHERE {} AND {column} IS NOT NULL ORDER BY {column} LIMIT 1 OFFSET {rows}",
            range.sql
        );
        match self.key(text, values).await? {
            // So many rows of one key: the next larger one.
            Some((key, true)) => {
                let (bound, value) = sql::bound(&key);
                let above = sql::range(&plan.column, None, Some(last));
                let text = format!("SELECT MIN({column}) FROM {name} WHERE {column} > {bound} AND {}", above.sql);
                let values = std::iter::once(value).chain(above.values).collect();
                Ok(self.key(text, values).await?.map(|(key, _)| key))
            }
            Some((key, false)) => Ok(Some(key)),
            None => Ok(None),
        }
    }
}

fn least(plan: &Plan) -> String {
    let column = Dialect::MySql.name(&plan.column.name);
    format!("SELECT MIN({column}) FROM {}", sql::table_name(&plan.database, &plan.table))
}

/// How far apart chunks of about `rows` rows are, when the keys are spread evenly enough.
fn even_step(least: i128, most: i128, estimated: u64, rows: u64, options: &SnapshotOptions) -> Option<u64> {
    let keys = (most - least + 1) as f64;
    let per_row = keys / estimated.max(1) as f64;
    let is_even = per_row >= options.even_at_least && per_row <= options.even_at_most;
    is_even.then_some((per_row * rows as f64) as u64).filter(|step| *step > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> SnapshotOptions {
        SnapshotOptions {
            chunk_rows: 100,
            chunk_key: None,
            fetch_rows: 1_024,
            skips_backfill: false,
            is_unbounded_first: true,
            even_at_least: 0.05,
            even_at_most: 1_000.0,
        }
    }

    #[test]
    fn chunks_of_evenly_spread_keys_are_reckoned() {
        let step = |least, most, rows| even_step(least, most, rows, 100, &options());
        assert_eq!(step(1, 1_000, 1_000), Some(100));
        assert_eq!(step(1, 10_000, 1_000), Some(1_000));
        assert_eq!(step(1, 500, 1_000), Some(50), "rows per key of a key that is not unique");
        assert_eq!(step(1, i128::from(u64::MAX), 1_000), None, "huge gaps");
        assert_eq!(step(0, i128::from(u64::MAX), u64::MAX / 2), Some(200));
        assert_eq!(step(1, 10, 1_000), None, "too dense");
    }
}
