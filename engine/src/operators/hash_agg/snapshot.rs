//! State at a barrier, and back.
//!
//! A base holds all groups and values; a delta holds first the keys that are gone and then the rows that changed, so that
//! a group that left and came back ends up live.

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use dflow_common::ids::KeyGroup;
use dflow_runtime::Result;
use dflow_runtime::keys::key_groups;
use dflow_runtime::state::{SnapshotMode, SnapshotWriter, StateOp, StateReader, StateRows};

use super::state::{DIRTY, HashAgg, LIVE, STORED, batch_of};
use crate::operators::key_table::{NO_SLOT, slots_with};

impl HashAgg {
    /// Writes what `writer` wants.
    pub(super) fn save(&mut self, writer: &mut SnapshotWriter) -> Result<()> {
        debug_assert!(self.touched.is_empty(), "a flush precedes every snapshot");
        let any_base = (0..self.tables.len()).any(|table| writer.mode(table) == SnapshotMode::Base);
        let live = if any_base { slots_with(LIVE, &self.flags) } else { Vec::new() };
        let dirty = slots_with(DIRTY, &self.flags);

        let gone = self.sides().iter_mut().map(|s| s.side_gone(None)).collect::<Result<Vec<_>>>()?;
        for (side, (at, values)) in gone.into_iter().enumerate() {
            self.delete_values(side, &at, values)?;
        }
        for table in 0..self.tables.len() {
            let base = writer.mode(table) == SnapshotMode::Base;
            for keys in std::mem::take(&mut self.deleted[table]) {
                if !base {
                    let groups = self.groups_of(keys.columns(), keys.num_rows());
                    writer.delete(table, keys, groups);
                }
            }
            let slots = if base { &live } else { &dirty };
            let (at, columns) = if table == 0 {
                (slots.clone(), self.group_columns(slots)?)
            } else {
                self.sides()[table - 1].side_save(slots, base)?
            };
            let mut all = self.keys.columns(&at)?;
            let groups = self.groups_of(&all, at.len());
            all.extend(columns);
            writer.put(table, batch_of(&self.tables[table], all, at.len())?, groups);
        }
        // Whatever is live and not dirty is stored already.
        for slot in dirty {
            self.flags[slot as usize] = LIVE | STORED;
        }
        Ok(())
    }

    fn group_columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let rows = Int64Array::from_iter_values(slots.iter().map(|s| self.rows[*s as usize]));
        let mut columns: Vec<ArrayRef> = vec![std::sync::Arc::new(rows)];
        for part in &self.parts {
            columns.extend(part.save(slots)?);
        }
        Ok(columns)
    }

    /// Key groups by the group columns, which come first. Without any everything is in group 0.
    fn groups_of(&self, columns: &[ArrayRef], rows: usize) -> Vec<KeyGroup> {
        match self.spec.group_by.len() {
            0 => vec![0; rows],
            n => key_groups(&columns[..n], self.max_parallelism),
        }
    }

    /// Loads what `reader` has.
    pub(super) fn load(&mut self, reader: &mut StateReader) -> Result<()> {
        self.reserve(reader.keys(0));
        reader.read(0, &mut |rows| self.load_groups(&rows))?;
        for table in 1..self.tables.len() {
            reader.read(table, &mut |rows| self.load_values(table - 1, &rows))?;
        }
        Ok(())
    }

    fn load_groups(&mut self, stored: &StateRows) -> Result<()> {
        let rows = stored.rows.num_rows();
        let (keys, rest) = stored.rows.columns().split_at(self.spec.group_by.len());
        let mut slots = Vec::new();
        if stored.op == StateOp::Delete {
            self.keys.lookup(keys, rows, &mut slots)?;
            slots.retain(|s| *s != NO_SLOT);
            for part in &mut self.parts {
                // Emptying is what is wanted here, whatever was left.
                let _ = part.free(&slots);
            }
            for slot in &slots {
                self.flags[*slot as usize] = 0;
                self.rows[*slot as usize] = 0;
            }
            self.keys.remove(&slots);
            return Ok(());
        }
        self.keys.intern(keys, rows, &mut slots)?;
        self.grow();
        let counts = rest[0].as_primitive::<Int64Type>();
        for (slot, count) in slots.iter().zip(counts.values()) {
            self.flags[*slot as usize] = LIVE | STORED;
            self.rows[*slot as usize] = *count;
        }
        let mut next = 1;
        for (i, part) in self.parts.iter_mut().enumerate() {
            let columns = part.fields(&format!("a{i}")).len();
            part.load(&slots, &rest[next..next + columns])?;
            next += columns;
        }
        Ok(())
    }

    /// Values of groups that are no longer there are skipped: a later delete removes them.
    fn load_values(&mut self, side: usize, stored: &StateRows) -> Result<()> {
        let keys = self.spec.group_by.len();
        let mut slots = Vec::new();
        self.keys.lookup(&stored.rows.columns()[..keys], stored.rows.num_rows(), &mut slots)?;
        let mut rows: RecordBatch = stored.rows.clone();
        if slots.contains(&NO_SLOT) {
            let mask = slots.iter().map(|s| Some(*s != NO_SLOT)).collect();
            rows = arrow::compute::filter_record_batch(&rows, &mask)?;
            slots.retain(|s| *s != NO_SLOT);
        }
        let columns = &rows.columns()[keys..];
        match stored.op {
            StateOp::Put => self.sides()[side].side_load(&slots, columns),
            StateOp::Delete => self.sides()[side].side_remove(&slots, &columns[0]),
        }
    }
}
