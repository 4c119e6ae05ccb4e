//! One row per slot, columnar.
//!
//! ```text
//! chunk 0   8 K rows, 3 of them dead      slot 7 -> (0, 12)
//! chunk 1   1 row                         slot 9 -> (1, 0)
//! ```
//! Rows are appended as chunks and never changed in place. Neighbouring chunks of similar size are merged, so that there
//! are O(log rows) of them, and each row is copied O(log rows) times; when more rows are dead than live all are packed.
//! Text is compacted when it is put in, so that no chunk pins the buffers of a source.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, SchemaRef};
use dflow_runtime::Result;

/// Rows of a chunk that is no longer merged.
const CHUNK_ROWS_MAX: usize = 1 << 16;
/// Dead rows that are always tolerated.
const DEAD_ROWS_MIN: usize = 1 << 13;

struct Chunk {
    columns: Vec<ArrayRef>,
    /// The slot of each row; dead rows are those their slot does not point at.
    slots: Vec<u32>,
}

/// See the module.
pub(super) struct RowStore {
    schema: SchemaRef,
    chunks: Vec<Chunk>,
    /// Chunk and row of each slot.
    at: Vec<(u32, u32)>,
    rows: usize,
    live: usize,
}

const NOWHERE: (u32, u32) = (u32::MAX, 0);

impl RowStore {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self { schema, chunks: Vec::new(), at: Vec::new(), rows: 0, live: 0 }
    }

    /// Sets the rows of `slots`, each of which occurs once.
    pub(super) fn put(&mut self, slots: &[u32], columns: Vec<ArrayRef>) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        let end = slots.iter().max().map_or(0, |s| *s as usize + 1);
        if self.at.len() < end {
            self.at.resize(end, NOWHERE);
        }
        let chunk = self.chunks.len() as u32;
        for (row, slot) in slots.iter().enumerate() {
            self.live += usize::from(self.at[*slot as usize] == NOWHERE);
            self.at[*slot as usize] = (chunk, row as u32);
        }
        self.rows += slots.len();
        self.chunks.push(Chunk { columns: columns.iter().map(compact).collect(), slots: slots.to_vec() });
        while let [.., a, b] = self.chunks.as_slice()
            && a.slots.len() < CHUNK_ROWS_MAX
            && b.slots.len() * 2 >= a.slots.len()
        {
            self.merge(self.chunks.len() - 2)?;
        }
        self.pack()
    }

    /// Forgets the rows of `slots`.
    pub(super) fn remove(&mut self, slots: &[u32]) -> Result<()> {
        for slot in slots {
            if std::mem::replace(&mut self.at[*slot as usize], NOWHERE) != NOWHERE {
                self.live -= 1;
            }
        }
        self.pack()
    }

    /// The rows of live `slots`.
    pub(super) fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let rows: Vec<(usize, usize)> =
            slots.iter().map(|s| self.at[*s as usize]).map(|(chunk, row)| (chunk as usize, row as usize)).collect();
        self.gather(0, &rows)
    }

    /// Rows given as (chunk - first, row).
    fn gather(&self, first: usize, rows: &[(usize, usize)]) -> Result<Vec<ArrayRef>> {
        let empty = |ty: &DataType| arrow::array::new_empty_array(ty);
        let column = |i: usize| -> Result<ArrayRef> {
            if rows.is_empty() {
                return Ok(empty(self.schema.field(i).data_type()));
            }
            let columns: Vec<&dyn Array> = self.chunks[first..].iter().map(|c| c.columns[i].as_ref()).collect();
            Ok(interleave(&columns, rows)?)
        };
        (0..self.schema.fields().len()).map(column).collect()
    }

    /// Joins the live rows of all chunks from `first` on into one.
    fn merge(&mut self, first: usize) -> Result<()> {
        let (mut rows, mut slots) = (Vec::new(), Vec::new());
        for (c, chunk) in self.chunks[first..].iter().enumerate() {
            for (row, slot) in chunk.slots.iter().enumerate() {
                if self.at[*slot as usize] == ((first + c) as u32, row as u32) {
                    rows.push((c, row));
                    slots.push(*slot);
                }
            }
        }
        let columns = self.gather(first, &rows)?.iter().map(compact).collect();
        let old: usize = self.chunks.drain(first..).map(|c| c.slots.len()).sum();
        self.rows = self.rows - old + slots.len();
        for (row, slot) in slots.iter().enumerate() {
            self.at[*slot as usize] = (first as u32, row as u32);
        }
        if !slots.is_empty() {
            self.chunks.push(Chunk { columns, slots });
        }
        Ok(())
    }

    fn pack(&mut self) -> Result<()> {
        let dead = self.rows - self.live;
        if self.live == 0 {
            self.chunks.clear();
            self.rows = 0;
        } else if dead > DEAD_ROWS_MIN && dead > self.live {
            self.merge(0)?;
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        let chunk =
            |c: &Chunk| c.slots.capacity() * 4 + c.columns.iter().map(|c| c.get_array_memory_size()).sum::<usize>();
        self.at.capacity() * 8 + self.chunks.iter().map(chunk).sum::<usize>()
    }
}

/// Text and bytes in buffers of their own.
fn compact(column: &ArrayRef) -> ArrayRef {
    if let Some(text) = column.as_string_view_opt() {
        Arc::new(text.gc())
    } else if let Some(bytes) = column.as_binary_view_opt() {
        Arc::new(bytes.gc())
    } else {
        column.clone()
    }
}
