//! Turns upserts into an exact changelog.
//!
//! # Example
//! Primary key `k`; a delete may carry the key only:
//! ```text
//! state before: c -> (c,1)
//! in    + (a,1)   + (a,2)   - (a,NULL)   + (b,5)   + (b,5)   - (c,NULL)   + (c,3)
//! out   +I (b,5)  -U (c,1) +U (c,3)
//! ```
//! # Input and output
//! Input: upserts and deletes by primary key, in order per key. Output: a changelog with full rows, at most one change per
//! key and flush, none that changes nothing. A delete of an unknown key says nothing.
//!
//! # State
//! The last full row of every live key, columnar: table `rows`, key columns first. Between flushes the input waits; a flush
//! looks only at the last change of each key.
//!
//! # Invariants
//! What goes out removes exactly the row that was sent last for its key, and adds a row only where there is none.
//! NULL in the key is [`KEY_NULL`](super::error::KEY_NULL).

mod rows;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Schema, SchemaRef};
use dflow_common::ids::KeyGroup;
use dflow_common::limits::BATCH_ROWS;
use dflow_common::{ChangeBatch, Diagnostic, RowKind};
use dflow_runtime::Result;
use dflow_runtime::keys::key_groups;
use dflow_runtime::operator::{Operator, OperatorContext, OperatorFactory, Output, StateSize};
use dflow_runtime::state::{SnapshotMode, SnapshotWriter, StateOp, StateReader, StateRows, TableSpec};

use super::changes::{Changes, differing};
use super::error::KEY_NULL;
use super::key_table::{KeyTable, NO_SLOT, slots_with};
use rows::RowStore;

/// Normalisation of an upsert source.
#[derive(Clone, Debug)]
pub struct NormalizeSpec {
    /// Columns, in and out.
    pub schema: SchemaRef,
    /// The primary key: indices into `schema`.
    pub key: Vec<usize>,
    /// Whether updates are sent as `-U +U`; `false` sends `+U` only, for consumers that overwrite by key.
    pub update_before: bool,
}

impl NormalizeSpec {
    /// Columns in state order: key columns first.
    fn order(&self) -> Vec<usize> {
        let rest = (0..self.schema.fields().len()).filter(|i| !self.key.contains(i));
        self.key.iter().copied().chain(rest).collect()
    }

    fn state_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.order().into_iter().map(|i| self.schema.field(i).clone()).collect::<Vec<_>>()))
    }
}

impl OperatorFactory for NormalizeSpec {
    fn create(&self, context: &OperatorContext) -> Result<Box<dyn Operator>> {
        let key_types = self.key.iter().map(|i| self.schema.field(*i).data_type().clone()).collect();
        Ok(Box::new(Normalize {
            name: context.name.clone(),
            max_parallelism: context.max_parallelism,
            keys: KeyTable::new(key_types)?,
            rows: RowStore::new(self.schema.clone()),
            flags: Vec::new(),
            pending: Vec::new(),
            pending_rows: 0,
            deleted: Vec::new(),
            state: self.state_schema(),
            spec: self.clone(),
        }))
    }

    fn tables(&self) -> Vec<TableSpec> {
        vec![TableSpec { name: "rows".into(), schema: self.state_schema(), key_columns: self.key.len() }]
    }
}

/// The key has a row.
const LIVE: u8 = 1;
/// Its row changed since the last snapshot.
const DIRTY: u8 = 2;
/// The last snapshot has the key.
const STORED: u8 = 4;

struct Normalize {
    spec: NormalizeSpec,
    name: String,
    max_parallelism: KeyGroup,
    state: SchemaRef,
    keys: KeyTable,
    rows: RowStore,
    flags: Vec<u8>,
    pending: Vec<ChangeBatch>,
    pending_rows: usize,
    /// Keys a snapshot has that are gone since.
    deleted: Vec<RecordBatch>,
}

impl Normalize {
    /// The last change of each key in `batch`: slot, row, whether it adds. In order of the keys' first change.
    fn last_changes(&mut self, batch: &ChangeBatch) -> Result<(Vec<u32>, Vec<u32>, Vec<bool>)> {
        let keys: Vec<ArrayRef> = self.spec.key.iter().map(|i| batch.column(*i).clone()).collect();
        let mut slots = Vec::new();
        self.keys.intern(&keys, batch.num_rows(), &mut slots)?;
        self.flags.resize(self.keys.slot_end().max(self.flags.len()), 0);
        let mut position: Vec<u32> = vec![NO_SLOT; self.keys.slot_end()];
        let (mut at, mut rows, mut adds) = (Vec::new(), Vec::new(), Vec::new());
        for (row, slot) in slots.into_iter().enumerate() {
            let add = batch.ops.sign(row) > 0;
            match position[slot as usize] {
                NO_SLOT => {
                    position[slot as usize] = at.len() as u32;
                    at.push(slot);
                    rows.push(row as u32);
                    adds.push(add);
                }
                i => {
                    rows[i as usize] = row as u32;
                    adds[i as usize] = add;
                }
            }
        }
        Ok((at, rows, adds))
    }

    fn apply(&mut self, batch: &ChangeBatch, out: &mut Output) -> Result<()> {
        let (slots, rows, adds) = self.last_changes(batch)?;
        let had: Vec<bool> = slots.iter().map(|s| self.flags[*s as usize] & LIVE != 0).collect();
        let of = |want: &dyn Fn(bool, bool) -> bool| -> Vec<usize> {
            (0..slots.len()).filter(|i| want(had[*i], adds[*i])).collect()
        };
        let known = of(&|had, _| had);
        let before = self.rows.columns(&known.iter().map(|i| slots[*i]).collect::<Vec<_>>())?;
        let take_rows = |rows: UInt32Array| -> Result<Vec<ArrayRef>> {
            Ok(batch.data.columns().iter().map(|c| take(c, &rows, None)).collect::<Result<_, _>>()?)
        };
        let now = take_rows(UInt32Array::from(rows))?;

        // Updates: which of them change anything.
        let updates = of(&|had, add| had && add);
        let index_in_known: Vec<u32> = (0..).zip(&known).filter(|(_, i)| adds[**i]).map(|(p, _)| p).collect();
        let pick = |columns: &[ArrayRef], rows: UInt32Array| -> Result<Vec<ArrayRef>> {
            Ok(columns.iter().map(|c| take(c, &rows, None)).collect::<Result<_, _>>()?)
        };
        let changed = differing(
            &pick(&before, UInt32Array::from(index_in_known))?,
            &pick(&now, UInt32Array::from_iter_values(updates.iter().map(|i| *i as u32)))?,
        )?;

        let mut changes = Changes::default();
        let (mut kept, mut dropped, mut stale) = (Vec::new(), Vec::new(), Vec::new());
        let (mut in_known, mut in_updates) = (0, 0);
        for i in 0..slots.len() {
            match (had[i], adds[i]) {
                (false, true) => {
                    changes.push(RowKind::Insert, 1, i);
                    kept.push(i);
                }
                (true, false) => {
                    changes.push(RowKind::Delete, 0, in_known);
                    dropped.push(slots[i]);
                }
                (true, true) => {
                    if changed.as_ref().is_some_and(|c| c.value(in_updates)) {
                        if self.spec.update_before {
                            changes.push(RowKind::UpdateBefore, 0, in_known);
                        }
                        changes.push(RowKind::UpdateAfter, 1, i);
                        kept.push(i);
                    }
                    in_updates += 1;
                }
                // Unknown before and after: the slot goes back.
                (false, false) => stale.push(slots[i]),
            }
            in_known += usize::from(had[i]);
        }
        self.remember(&slots, &now, &kept)?;
        self.forget(&dropped)?;
        self.keys.remove(&stale);
        if !changes.is_empty() {
            let batch = changes.finish(&self.spec.schema, &[&before, &now])?;
            for offset in (0..batch.num_rows()).step_by(BATCH_ROWS) {
                out.batch(batch.slice(offset, BATCH_ROWS.min(batch.num_rows() - offset)));
            }
        }
        Ok(())
    }

    fn remember(&mut self, slots: &[u32], now: &[ArrayRef], kept: &[usize]) -> Result<()> {
        if kept.is_empty() {
            return Ok(());
        }
        let rows = UInt32Array::from_iter_values(kept.iter().map(|i| *i as u32));
        let columns = now.iter().map(|c| take(c, &rows, None)).collect::<Result<Vec<_>, _>>()?;
        let slots: Vec<u32> = kept.iter().map(|i| slots[*i]).collect();
        self.rows.put(&slots, columns)?;
        slots.iter().for_each(|s| self.flags[*s as usize] |= LIVE | DIRTY);
        Ok(())
    }

    fn forget(&mut self, slots: &[u32]) -> Result<()> {
        let stored: Vec<u32> = slots.iter().copied().filter(|s| self.flags[*s as usize] & STORED != 0).collect();
        if !stored.is_empty() {
            let schema = Arc::new(Schema::new(self.state.fields()[..self.spec.key.len()].to_vec()));
            self.deleted.push(RecordBatch::try_new(schema, self.keys.columns(&stored)?)?);
        }
        self.rows.remove(slots)?;
        slots.iter().for_each(|s| self.flags[*s as usize] = 0);
        self.keys.remove(slots);
        Ok(())
    }

    fn load(&mut self, stored: &StateRows) -> Result<()> {
        let rows = stored.rows.num_rows();
        let keys = &stored.rows.columns()[..self.spec.key.len()];
        let mut slots = Vec::new();
        if stored.op == StateOp::Delete {
            self.keys.lookup(keys, rows, &mut slots)?;
            slots.retain(|s| *s != NO_SLOT);
            slots.iter().for_each(|s| self.flags[*s as usize] = 0);
            self.rows.remove(&slots)?;
            self.keys.remove(&slots);
            return Ok(());
        }
        self.keys.intern(keys, rows, &mut slots)?;
        self.flags.resize(self.keys.slot_end().max(self.flags.len()), 0);
        let mut columns = vec![stored.rows.column(0).clone(); stored.rows.num_columns()];
        for (i, at) in self.spec.order().into_iter().enumerate() {
            columns[at] = stored.rows.column(i).clone();
        }
        self.rows.put(&slots, columns)?;
        slots.iter().for_each(|s| self.flags[*s as usize] = LIVE | STORED);
        Ok(())
    }
}

impl Operator for Normalize {
    fn process(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Output) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        if let Some(i) = self.spec.key.iter().find(|i| batch.column(**i).null_count() > 0) {
            let column = self.spec.schema.field(*i).name();
            let message = format!("{}: NULL in primary key column `{column}` of an upsert changelog", self.name);
            return Err(Diagnostic::error(KEY_NULL, message)
                .with_help("drop such records at the source, or declare a primary key that is never NULL")
                .into());
        }
        self.pending_rows += batch.num_rows();
        self.pending.push(batch);
        Ok(())
    }

    fn pending_rows(&self) -> usize {
        self.pending_rows
    }

    fn flush(&mut self, out: &mut Output) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.pending_rows = 0;
        let batch = ChangeBatch::concat(&std::mem::take(&mut self.pending))?;
        self.apply(&batch, out)
    }

    fn snapshot(&mut self, writer: &mut SnapshotWriter) -> Result<()> {
        let base = writer.mode(0) == SnapshotMode::Base;
        for keys in std::mem::take(&mut self.deleted) {
            if !base {
                let groups = key_groups(keys.columns(), self.max_parallelism);
                writer.delete(0, keys, groups);
            }
        }
        let wanted = if base { LIVE } else { DIRTY };
        let slots = slots_with(wanted, &self.flags);
        for slots in slots.chunks(BATCH_ROWS * 8) {
            let columns = self.rows.columns(slots)?;
            let columns: Vec<ArrayRef> = self.spec.order().into_iter().map(|i| columns[i].clone()).collect();
            let groups = key_groups(&columns[..self.spec.key.len()], self.max_parallelism);
            writer.put(0, RecordBatch::try_new(self.state.clone(), columns)?, groups);
        }
        // Whatever is live and not dirty is stored already.
        for slot in slots_with(DIRTY, &self.flags) {
            self.flags[slot as usize] = LIVE | STORED;
        }
        Ok(())
    }

    fn restore(&mut self, reader: &mut StateReader) -> Result<()> {
        self.keys.reserve(reader.keys(0));
        reader.read(0, &mut |rows| self.load(&rows))
    }

    fn state_size(&self) -> StateSize {
        let pending: usize = self.pending.iter().map(ChangeBatch::memory_bytes).sum();
        let bytes = self.keys.bytes() + self.rows.bytes() + self.flags.capacity() + pending;
        StateSize { entries: self.keys.len() as u64, bytes: bytes as u64 }
    }
}
