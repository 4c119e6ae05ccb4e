//! State tables: what operators hand over at a barrier and get back at a restore.
//!
//! # Model
//! A table maps a key (its first `key_columns` columns, unique) to the other columns. At a barrier the operator writes,
//! per table, either every live row ([`SnapshotMode::Base`]) or the rows that changed since the last snapshot as puts
//! and deletes ([`SnapshotMode::Delta`]). A restore replays base and deltas in order: puts overwrite, deletes remove.
//! ```text
//! checkpoint 4 base    a→1  b→2         checkpoint 5 delta   put a→3   delete b          restore   a→3
//! ```
//! Every row carries its key group, so that any contiguous range of groups can be restored by any parallelism.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use dflow_common::ids::KeyGroup;

use crate::error::Result;

/// A state table's name and layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSpec {
    /// Unique within the operator.
    pub name: String,
    /// Key columns first.
    pub schema: SchemaRef,
    /// How many columns are the key. 0: the table has at most one row.
    pub key_columns: usize,
}

/// What the checkpoint wants of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotMode {
    /// Every live row, as puts.
    Base,
    /// What changed since the last snapshot.
    Delta,
}

/// Whether rows are put or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateOp {
    /// The rows are the new values of their keys.
    Put,
    /// The keys are gone; the rows hold key columns only.
    Delete,
}

/// Rows of one table.
#[derive(Clone, Debug)]
pub struct StateRows {
    /// What they do.
    pub op: StateOp,
    /// Full rows for puts, key columns for deletes.
    pub rows: RecordBatch,
    /// One per row.
    pub key_groups: Vec<KeyGroup>,
}

/// What one operator instance wrote to one table at one barrier.
#[derive(Clone, Debug)]
pub struct TableSnapshot {
    /// What was asked for.
    pub mode: SnapshotMode,
    /// What was written, in order: a later row of the same key wins.
    pub rows: Vec<StateRows>,
}

/// Takes an operator's state at a barrier.
#[derive(Debug)]
pub struct SnapshotWriter {
    tables: Vec<TableSnapshot>,
}

impl SnapshotWriter {
    /// A writer that asks for these modes, one per table of the operator.
    pub fn new(modes: impl IntoIterator<Item = SnapshotMode>) -> Self {
        Self { tables: modes.into_iter().map(|mode| TableSnapshot { mode, rows: Vec::new() }).collect() }
    }

    /// What is wanted of table `table`.
    pub fn mode(&self, table: usize) -> SnapshotMode {
        self.tables[table].mode
    }

    /// Writes live rows.
    pub fn put(&mut self, table: usize, rows: RecordBatch, key_groups: Vec<KeyGroup>) {
        self.push(table, StateOp::Put, rows, key_groups);
    }

    /// Writes keys that are gone. Only in a delta.
    pub fn delete(&mut self, table: usize, keys: RecordBatch, key_groups: Vec<KeyGroup>) {
        debug_assert_eq!(self.mode(table), SnapshotMode::Delta, "a base holds live rows only");
        self.push(table, StateOp::Delete, keys, key_groups);
    }

    fn push(&mut self, table: usize, op: StateOp, rows: RecordBatch, key_groups: Vec<KeyGroup>) {
        debug_assert_eq!(rows.num_rows(), key_groups.len(), "one key group per row");
        if rows.num_rows() > 0 {
            self.tables[table].rows.push(StateRows { op, rows, key_groups });
        }
    }

    /// What was written, one entry per table.
    pub fn finish(self) -> Vec<TableSnapshot> {
        self.tables
    }
}

/// Stored rows of one table, in replay order: read and decoded as they are asked for, so that a restore does not hold
/// the state twice.
pub struct StoredRows {
    /// About how many keys they leave, to make room for; 0: unknown.
    pub keys: u64,
    rows: Box<dyn Iterator<Item = Result<StateRows>> + Send>,
}

impl StoredRows {
    /// Rows that leave about `keys` keys.
    pub fn new(keys: u64, rows: impl Iterator<Item = Result<StateRows>> + Send + 'static) -> Self {
        Self { keys, rows: Box::new(rows) }
    }
}

impl From<Vec<StateRows>> for StoredRows {
    fn from(rows: Vec<StateRows>) -> Self {
        Self::new(0, rows.into_iter().map(Ok))
    }
}

impl Iterator for StoredRows {
    type Item = Result<StateRows>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next()
    }
}

/// Gives an operator instance its rows back.
pub struct StateReader {
    groups: Range<KeyGroup>,
    tables: Vec<StoredRows>,
}

impl StateReader {
    /// A reader of the rows in `groups`; `tables` may hold others too.
    pub fn new(groups: Range<KeyGroup>, tables: Vec<StoredRows>) -> Self {
        Self { groups, tables }
    }

    /// About how many keys of `table` come; 0: unknown.
    pub fn keys(&self, table: usize) -> usize {
        self.tables.get(table).map_or(0, |t| t.keys as usize)
    }

    /// Calls `apply` with the rows of `table` that belong to this instance, in replay order. Rows are given out once.
    ///
    /// # Errors
    /// When stored rows cannot be read, and what `apply` returns.
    pub fn read(&mut self, table: usize, apply: &mut dyn FnMut(StateRows) -> Result<()>) -> Result<()> {
        let Some(stored) = self.tables.get_mut(table) else { return Ok(()) };
        for rows in stored {
            let rows = rows?;
            if rows.key_groups.iter().all(|g| self.groups.contains(g)) {
                apply(rows)?;
                continue;
            }
            let mask: arrow::array::BooleanArray =
                rows.key_groups.iter().map(|g| Some(self.groups.contains(g))).collect();
            let kept = arrow::compute::filter_record_batch(&rows.rows, &mask)?;
            if kept.num_rows() > 0 {
                let key_groups = rows.key_groups.into_iter().filter(|g| self.groups.contains(g)).collect();
                apply(StateRows { op: rows.op, rows: kept, key_groups })?;
            }
        }
        Ok(())
    }
}
