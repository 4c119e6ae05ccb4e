//! What a flush sends.
//!
//! | rows before | rows now | sent |
//! |---|---|---|
//! | 0 | 0 | nothing |
//! | 0 | n | `+I` now |
//! | n | 0 | `-D` before |
//! | n | m | `-U` before, `+U` now, unless all results are the same |
//!
//! Groups without rows leave: their slots are emptied and reused, and what a snapshot holds of them is remembered as
//! deleted.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, UInt32Array};
use arrow::compute::{concat, interleave, take};
use arrow::datatypes::{Schema, SchemaRef};
use dflow_common::RowKind;
use dflow_common::limits::BATCH_ROWS;
use dflow_runtime::Result;
use dflow_runtime::operator::Output;

use super::state::{HashAgg, STORED, TOUCHED, batch_of, missing};
use crate::operators::changes::{Changes, differing};

/// The two sets of results a change may take its row from.
const BEFORE: usize = 0;
const NOW: usize = 1;

impl HashAgg {
    /// Sends the changes since the last flush.
    pub(super) fn emit(&mut self, out: &mut Output) -> Result<()> {
        if self.touched.is_empty() {
            return Ok(());
        }
        let touched = std::mem::take(&mut self.touched);
        let before_rows = std::mem::take(&mut self.rows_before);
        let now_rows: Vec<i64> = touched.iter().map(|s| self.rows[*s as usize]).collect();
        let (mut before, mut now) = (Vec::new(), Vec::new());
        for (i, call) in self.layout.calls.iter().enumerate() {
            let Some(part) = call else {
                before.push(Arc::new(Int64Array::from(before_rows.clone())) as ArrayRef);
                now.push(Arc::new(Int64Array::from(now_rows.clone())) as ArrayRef);
                continue;
            };
            let chunks = std::mem::take(&mut self.results_before[i]);
            before.push(concat(&chunks.iter().map(|c| c.as_ref()).collect::<Vec<_>>())?);
            now.push(self.parts[*part].emit(self.spec.calls[i].function, &touched)?);
        }

        let changed = if before_rows.iter().any(|r| *r > 0) { differing(&before, &now)? } else { None };
        let mut changes = Changes::default();
        let mut leaving = Vec::new();
        for (row, (b, n)) in before_rows.iter().zip(&now_rows).enumerate() {
            match (*b > 0, *n > 0) {
                (false, true) => changes.push(RowKind::Insert, NOW, row),
                (true, false) => changes.push(RowKind::Delete, BEFORE, row),
                (true, true) if changed.as_ref().is_some_and(|c| c.value(row)) => {
                    if self.spec.update_before {
                        changes.push(RowKind::UpdateBefore, BEFORE, row);
                    }
                    changes.push(RowKind::UpdateAfter, NOW, row);
                }
                _ => {}
            }
            if *n == 0 {
                leaving.push(touched[row]);
            }
        }
        if !changes.is_empty() {
            let sent = changes.rows();
            let all_now = sent.len() == touched.len() && sent.iter().all(|s| s.0 == NOW);
            let mut columns = self.keys.columns(&touched)?;
            if all_now {
                columns.extend(now);
            } else {
                let keys = UInt32Array::from_iter_values(sent.iter().map(|s| s.1 as u32));
                columns = columns.iter().map(|c| take(c, &keys, None)).collect::<Result<_, _>>()?;
                for (b, n) in before.iter().zip(&now) {
                    columns.push(interleave(&[b.as_ref(), n.as_ref()], sent)?);
                }
            }
            let batch = changes.with_columns(&self.spec.output, columns)?;
            for offset in (0..batch.num_rows()).step_by(BATCH_ROWS) {
                out.batch(batch.slice(offset, BATCH_ROWS.min(batch.num_rows() - offset)));
            }
        }
        for slot in &touched {
            self.flags[*slot as usize] &= !TOUCHED;
        }
        if leaving.is_empty() { Ok(()) } else { self.leave(&leaving) }
    }

    /// Forgets groups without rows.
    fn leave(&mut self, slots: &[u32]) -> Result<()> {
        let stored: Vec<u32> = slots.iter().copied().filter(|s| self.flags[*s as usize] & STORED != 0).collect();
        if !stored.is_empty() {
            let columns = self.keys.columns(&stored)?;
            let schema = self.key_schema(0);
            self.deleted[0].push(batch_of(&schema, columns, stored.len())?);
        }
        let gone = self.sides().iter_mut().map(|s| s.side_gone(Some(slots))).collect::<Result<Vec<_>>>()?;
        for (i, (at, values)) in gone.into_iter().enumerate() {
            self.delete_values(i, &at, values)?;
        }
        for (part, accumulator) in self.layout.parts.iter().zip(&mut self.parts) {
            let column = self.spec.input.field(part.argument.or(part.filter).unwrap_or(0)).name();
            accumulator.free(slots).map_err(|m| missing(m, &self.name, column))?;
        }
        for ((column, _), table) in self.layout.distinct.iter().zip(&mut self.distinct) {
            table.free(slots).map_err(|m| missing(m, &self.name, self.spec.input.field(*column).name()))?;
        }
        slots.iter().for_each(|s| self.flags[*s as usize] = 0);
        self.keys.remove(slots);
        Ok(())
    }

    /// Remembers entries of side table `side` as deleted.
    pub(super) fn delete_values(&mut self, side: usize, slots: &[u32], values: ArrayRef) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        let mut columns = self.keys.columns(slots)?;
        columns.push(values);
        let schema = self.key_schema(1 + side);
        self.deleted[1 + side].push(batch_of(&schema, columns, slots.len())?);
        Ok(())
    }

    /// The key columns of a state table.
    pub(super) fn key_schema(&self, table: usize) -> SchemaRef {
        let columns = self.spec.group_by.len() + usize::from(table > 0);
        Arc::new(Schema::new(self.tables[table].fields()[..columns].to_vec()))
    }
}
