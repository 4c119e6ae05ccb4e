//! Changes in flight, applied to the rows of a chunk.
//!
//! ```text
//! read         1 a | 2 b | 3 c          of which some have the changes already
//! in flight    2 -> 2 B,  - 3,  + 4 d
//! after        1 a | 2 B | 4 d          whatever was in the rows that were read
//! ```
//! The last change of a primary key decides. A table without one has nothing to tell its rows apart by: its chunks are read
//! in a view that has no change of them in flight ([`Changes::touches`]).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use dflow_common::RowKind;
use dflow_connector_api::Result;

use crate::binlog::column::sink::Policy;
use crate::binlog::event::RowsKind;
use crate::binlog::key::{Key, KeyColumns};
use crate::binlog::rows::{Images, Output, Scratch, TableDecoder, Wanted};
use crate::binlog::table_map::TableMap;
use crate::binlog::transaction::HeldRows;
use crate::cdc::chunks::Chunk;
use crate::error::{self, Place};

/// A key of several columns.
pub type RowKey = Vec<Option<Key>>;

/// A row that goes, or comes.
#[derive(Debug)]
struct Change {
    /// The value of the chunk column.
    at: Option<Key>,
    /// The primary key.
    row: RowKey,
    /// The row that comes, by index.
    added: Option<u32>,
}

/// The changes of one table.
#[derive(Debug)]
pub struct Changes {
    changes: Vec<Change>,
    added: Option<RecordBatch>,
}

impl Changes {
    /// Those of a chunk's table, out of all that are in flight. `output` is an empty one of the chunk's declared table.
    ///
    /// # Errors
    /// Those of the log.
    pub fn of(
        chunk: &Chunk,
        in_flight: &[HeldRows],
        wanted: &[Wanted],
        policy: &Policy,
        mut output: Output,
    ) -> Result<Changes> {
        let mut changes = Vec::new();
        let mut scratch = Scratch::default();
        let place = Place { file: "", pos: 0 };
        let mut next = 0;
        // Most row events are of the same version of the table.
        let mut compiled: Option<(Arc<TableMap>, TableDecoder, KeyColumns)> = None;
        for held in in_flight.iter().filter(|h| h.table.database == chunk.database && h.table.table == chunk.table) {
            if !compiled.as_ref().is_some_and(|(map, ..)| Arc::ptr_eq(map, &held.table)) {
                let decoder = TableDecoder::compile(&held.table, wanted, policy, place)?;
                let key = chunk.primary_key.iter().map(String::as_str);
                let names = std::iter::once(chunk.column.name.as_str()).chain(key);
                let table = format!("{}.{}", chunk.database, chunk.table);
                let keys = KeyColumns::find(&held.table, names)
                    .map_err(|column| error::column_missing(place, &table, &column))?;
                compiled = Some((held.table.clone(), decoder, keys));
            }
            let Some((_, decoder, keys)) = &compiled else { continue };
            let rows = held.rows();
            let bytes = Images::bytes(&rows, place)?;
            // As rows that were read from the table: at no time, and as inserts.
            let mut images = Images::new(&rows, &bytes, decoder, 0, place)?;
            let mut decide = |kind: RowsKind, before: &[Option<Key>], after: &[Option<Key>]| {
                let change =
                    |keys: &[Option<Key>], added| Change { at: keys[0].clone(), row: keys[1..].to_vec(), added };
                let mut add = |keys: &[Option<Key>]| {
                    changes.push(change(keys, Some(next)));
                    next += 1;
                };
                match kind {
                    RowsKind::Write => {
                        add(before);
                        [Some(RowKind::Insert), None]
                    }
                    RowsKind::Delete => {
                        changes.push(change(before, None));
                        [None, None]
                    }
                    RowsKind::Update => {
                        add(after);
                        let at = changes.len() - 1;
                        changes.insert(at, change(before, None));
                        [None, Some(RowKind::Insert)]
                    }
                }
            };
            while decoder.row_if(&mut images, &mut output, keys, &mut scratch, &mut decide)? {}
        }
        Ok(Changes { changes, added: output.finish()?.map(|batch| batch.data) })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The keys of the chunk column, for the server to say which are in the chunk.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = Vec::new();
        for key in self.changes.iter().filter_map(|c| c.at.as_ref()) {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        keys
    }

    /// Whether one of them is in a range.
    pub fn touches(&self, is_inside: &dyn Fn(Option<&Key>) -> bool) -> bool {
        self.changes.iter().any(|c| is_inside(c.at.as_ref()))
    }

    /// Applies them to the rows of a range; `keys` are the primary keys of `rows`, in order.
    ///
    /// # Errors
    /// When columns have different lengths, which nothing can bring about.
    pub fn apply(
        &self,
        rows: RecordBatch,
        keys: &[RowKey],
        is_inside: &dyn Fn(Option<&Key>) -> bool,
    ) -> Result<RecordBatch> {
        let mut last: HashMap<&RowKey, Option<u32>> = HashMap::new();
        // A row that leaves the range goes, whatever becomes of it elsewhere.
        for change in self.changes.iter().filter(|change| is_inside(change.at.as_ref())) {
            last.insert(&change.row, change.added);
        }
        let damaged = |e: arrow::error::ArrowError| error::damaged_event(Place { file: "", pos: 0 }, 0, &e.to_string());
        let stays: BooleanArray = keys.iter().map(|key| Some(!last.contains_key(key))).collect();
        let kept = filter_record_batch(&rows, &stays).map_err(damaged)?;
        let mut come: Vec<u32> = last.values().flatten().copied().collect();
        come.sort_unstable();
        let Some(added) = self.added.as_ref().filter(|_| !come.is_empty()) else { return Ok(kept) };
        let come = take_record_batch(added, &UInt32Array::from(come)).map_err(damaged)?;
        concat_batches(&rows.schema(), [&kept, &come]).map_err(damaged)
    }
}
