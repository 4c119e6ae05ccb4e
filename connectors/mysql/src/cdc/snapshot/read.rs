//! Reads one chunk in a view.
//!
//! ```text
//! SELECT declared columns, key columns FROM table WHERE range ORDER BY chunk column
//!    │ rows of the binary protocol
//!    ├──> builders ──────────────────────────────┐
//!    └──> key of the last row: where to cut       ├──> part: rows as they were at the mark
//! changes in flight of this table ────────────────┘
//! ```
//! A chunk whose rows are larger than was reckoned is handed out in parts of about [`PART_BYTES`]; a part ends where the key
//! changes, and is a range of its own.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use dflow_connector_api::{Error, Result};
use dflow_connector_jdbc::quote::Dialect;
use futures::StreamExt;
use mysql_async::consts::ColumnType;
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Row, Value};

use super::changes::{Changes, RowKey};
use super::values::Conversion;
use super::view::Opened;
use super::{Part, Sender};
use crate::binlog::column::sink::{Context, Sink, Unfit};
use crate::binlog::key::Key;
use crate::binlog::position::FilePosition;
use crate::binlog::rows::From;
use crate::cdc::catalog::TableInfo;
use crate::cdc::chunks::{Chunk, sql};
use crate::cdc::source::Captured;
use crate::client::error::UNREADABLE_VALUE;
use crate::client::{Place, within};
use crate::error;

/// Bytes of rows after which a chunk is cut.
pub const PART_BYTES: usize = 8 << 20;
/// Times the rows of a chunk after which it is cut, when its rows are small.
const PART_CHUNKS: u64 = 4;
/// What the server says when a table was changed behind the view.
const TABLE_DEFINITION_CHANGED: u16 = 1412;

/// What became of it.
pub enum Outcome {
    /// All of it was read; the last part is not handed out yet.
    Done(Part),
    /// Another view must be taken; what was handed out stays.
    Stale,
    /// Nobody listens any more.
    Closed,
}

/// Where the values of a declared column come from.
enum Origin {
    /// This selected column.
    Selected(usize, Conversion),
    /// The table does not have it.
    Absent,
    /// Made up.
    MadeUp(From),
}

/// A chunk that is read.
pub struct Reading<'a> {
    /// The declared table.
    pub captured: &'a Captured,
    /// Its index among the outputs.
    pub output: usize,
    /// The table as it is now.
    pub table: &'a TableInfo,
    /// The chunk.
    pub chunk: &'a Chunk,
    /// The changes in flight of the table.
    pub changes: Arc<Changes>,
    /// Those of its keys that are in the chunk, as the server says; `None` when keys are compared here.
    pub inside: Option<HashSet<Key>>,
    /// Up to where the rows are as they were read.
    pub mark: FilePosition,
    /// For time-outs.
    pub env: dflow_common::Env,
}

impl Reading<'_> {
    /// Reads from `from` on and moves it behind what was handed out.
    ///
    /// # Errors
    /// Of the connection and of values.
    pub async fn run(&self, opened: &mut Opened, from: &mut Option<Key>, sender: &Sender) -> Result<Outcome> {
        let options = &self.captured.options;
        let (endpoint, name) = (&options.endpoint, self.table.full_name());
        let place = Place { endpoint, table: &name };
        let mut selected: Vec<&str> = Vec::new();
        let mut select = |column: &str| {
            let i = self.table.column(column)?;
            let name = self.table.columns[i].name.as_str();
            Some(selected.iter().position(|s| *s == name).unwrap_or_else(|| {
                selected.push(name);
                selected.len() - 1
            }))
        };
        let mut origins = Vec::new();
        for wanted in &self.captured.wanted {
            origins.push(
                match (wanted.from, self.table.column(&wanted.name), select_if(&wanted.from, || select(&wanted.name))) {
                    (From::Column, Some(i), Some(at)) => {
                        let binary = options.policy.binary_text;
                        Origin::Selected(at, Conversion::new(&name, &self.table.columns[i], wanted, binary)?)
                    }
                    (From::Column, ..) if wanted.ty.nullable => Origin::Absent,
                    (From::Column, ..) => return Err(no_column(&name, &wanted.name)),
                    (from, ..) => Origin::MadeUp(from),
                },
            );
        }
        let cuts = self.chunk.column.can_be_cut();
        let key_at = select(&self.chunk.column.name).ok_or_else(|| no_column(&name, &self.chunk.column.name))?;
        let mut row_key_at = Vec::new();
        if !self.changes.is_empty() {
            for column in &self.chunk.primary_key {
                row_key_at.push(select(column).ok_or_else(|| no_column(&name, column))?);
            }
        }
        let range = sql::range(&self.chunk.column, from.as_ref(), self.chunk.to.as_ref());
        let mut text = String::from("SELECT ");
        Dialect::MySql.push_names(&mut text, selected.iter().copied());
        text.push_str(&format!(" FROM {}", sql::table_name(&self.table.database, &self.table.name)));
        if !range.sql.is_empty() {
            text.push_str(&format!(" WHERE {}", range.sql));
        }
        if cuts {
            text.push_str(&format!(" ORDER BY {}", Dialect::MySql.name(&self.chunk.column.name)));
        }
        let params = if range.values.is_empty() { Params::Empty } else { Params::Positional(range.values) };
        let limit = endpoint.answer_timeout;
        let executed = async { Ok(opened.session.conn.exec_iter(text, params).await) };
        let mut result = match within(&self.env, limit, &place, executed).await? {
            Ok(result) => result,
            Err(mysql_async::Error::Server(e)) if e.code == TABLE_DEFINITION_CHANGED => return Ok(Outcome::Stale),
            Err(e) => return Err(place.error(&e)),
        };
        let kinds: Vec<(ColumnType, bool)> =
            result.columns_ref().iter().map(|c| (c.column_type(), c.character_set() != 63)).collect();
        let key_of = |row: &[Value], at: usize| sql::key(&row[at], kinds[at].0, kinds[at].1);
        let mut builder = Builder::new(self)?;
        let mut last_key: Option<Key> = None;
        let rows_max = options.snapshot.chunk_rows.saturating_mul(PART_CHUNKS);
        if let Some(mut rows) = within(&self.env, limit, &place, result.stream::<Row>()).await? {
            loop {
                // Rows that have arrived are taken without a timer.
                let next = match futures::poll!(rows.next()) {
                    std::task::Poll::Ready(row) => row.transpose().map_err(|e| place.error(&e))?,
                    std::task::Poll::Pending => {
                        within(&self.env, limit, &place, async { rows.next().await.transpose() }).await?
                    }
                };
                let Some(row) = next else { break };
                let row = row.unwrap();
                let is_full = builder.bytes >= PART_BYTES || builder.rows as u64 >= rows_max;
                if cuts && (is_full || !self.chunk.column.is_unique) {
                    let key = key_of(&row, key_at);
                    if is_full && key.is_some() && key != last_key {
                        let rows = builder.finish(from.as_ref(), key.as_ref(), self)?;
                        let part = self.part(from.take(), key.clone(), false, rows);
                        if sender.send(Ok(part)).await.is_err() {
                            return Ok(Outcome::Closed);
                        }
                        from.clone_from(&key);
                    }
                    last_key = key;
                }
                if !row_key_at.is_empty() {
                    builder.keys.push(row_key_at.iter().map(|at| key_of(&row, *at)).collect());
                }
                builder.push(&row, &origins, self)?;
            }
        }
        let rows = builder.finish(from.as_ref(), self.chunk.to.as_ref(), self)?;
        Ok(Outcome::Done(self.part(from.take(), self.chunk.to.clone(), true, rows)))
    }

    fn part(&self, from: Option<Key>, rest: Option<Key>, is_last: bool, batch: RecordBatch) -> Part {
        let (split, mark) = (self.chunk.id(), self.mark.clone());
        Part::Rows { split, output: self.output, batch, from, rest, is_last, mark }
    }

    fn is_inside(&self, from: Option<&Key>, to: Option<&Key>, key: Option<&Key>) -> bool {
        is_inside(self.chunk, self.inside.as_ref(), from, to, key)
    }
}

/// Whether a key is in a part of a chunk. A chunk whose keys only the server compares has no parts.
pub fn is_inside(
    chunk: &Chunk,
    inside: Option<&HashSet<Key>>,
    from: Option<&Key>,
    to: Option<&Key>,
    key: Option<&Key>,
) -> bool {
    use std::cmp::Ordering::Less;
    let Some(key) = key else { return from.is_none() };
    if let Some(inside) = inside {
        return inside.contains(key);
    }
    let order = &chunk.column.order;
    from.is_none_or(|from| order.compare(key, from) != Some(Less))
        && to.is_none_or(|to| order.compare(key, to) == Some(Less))
}

fn select_if(from: &From, select: impl FnOnce() -> Option<usize>) -> Option<usize> {
    (*from == From::Column).then(select).flatten()
}

#[cold]
fn no_column(table: &str, column: &str) -> Error {
    error::column_missing(error::Place { file: "", pos: 0 }, table, column)
}

/// Rows under construction.
struct Builder {
    sinks: Vec<Sink>,
    context: Context,
    keys: Vec<RowKey>,
    rows: usize,
    bytes: usize,
}

impl Builder {
    fn new(reading: &Reading<'_>) -> Result<Builder> {
        let captured = reading.captured;
        let sink = |column: &crate::binlog::rows::Wanted| {
            Sink::new(&column.ty).map_err(|ty| error::column_type(&column.name, &ty, None, "another type"))
        };
        let sinks = captured.wanted.iter().map(sink).collect::<Result<Vec<_>, Error>>()?;
        let context = Context::new(captured.options.policy);
        Ok(Builder { sinks, context, keys: Vec::new(), rows: 0, bytes: 0 })
    }

    fn push(&mut self, row: &[Value], origins: &[Origin], reading: &Reading<'_>) -> Result<()> {
        let wanted = &reading.captured.wanted;
        for ((sink, origin), wanted) in self.sinks.iter_mut().zip(origins).zip(wanted) {
            let pushed = match origin {
                Origin::Absent => {
                    sink.push_null();
                    Ok(())
                }
                Origin::MadeUp(From::TableName) => {
                    sink.push_text(&reading.table.name);
                    Ok(())
                }
                Origin::MadeUp(From::DatabaseName) => {
                    sink.push_text(&reading.table.database);
                    Ok(())
                }
                Origin::MadeUp(From::RowKind) => {
                    sink.push_text("+I");
                    Ok(())
                }
                Origin::MadeUp(_) => sink.push_instant(0, &mut self.context),
                Origin::Selected(at, conversion) => {
                    let value = &row[*at];
                    if let Value::Bytes(bytes) = value {
                        self.bytes += bytes.len();
                    }
                    self.bytes += 8;
                    match value {
                        Value::NULL if wanted.ty.nullable => {
                            sink.push_null();
                            Ok(())
                        }
                        Value::NULL => Err(Unfit::Value("NULL, and it is declared NOT NULL".into())),
                        value => {
                            self.context.nullable = wanted.ty.nullable;
                            conversion.push(value, sink, &mut self.context)
                        }
                    }
                }
            };
            pushed.map_err(|unfit| {
                let what = match unfit {
                    Unfit::Value(what) => what,
                    Unfit::Damaged(fault) => fault.to_string(),
                };
                let table = reading.table.full_name();
                Error::new(UNREADABLE_VALUE, format!("column `{}` of `{table}` is {what}", wanted.name))
                    .help("declare a type that holds the value")
            })?;
        }
        self.rows += 1;
        Ok(())
    }

    /// The rows of `from` up to `to`, as they were at the mark.
    fn finish(&mut self, from: Option<&Key>, to: Option<&Key>, reading: &Reading<'_>) -> Result<RecordBatch> {
        let output = &reading.captured.output;
        let schema = output.schema.arrow_projected(&output.projection);
        let columns = self.sinks.iter_mut().map(Sink::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)
            .map_err(|e| Error::new(UNREADABLE_VALUE, format!("columns do not fit the declared schema: {e}")))?;
        let keys = std::mem::take(&mut self.keys);
        (self.rows, self.bytes) = (0, 0);
        if reading.changes.is_empty() || reading.chunk.primary_key.is_empty() {
            return Ok(batch);
        }
        reading.changes.apply(batch, &keys, &|key| reading.is_inside(from, to, key))
    }
}

/// A table as it is now, remembered by its name.
pub type Tables = std::collections::HashMap<(String, String), Arc<TableInfo>>;
