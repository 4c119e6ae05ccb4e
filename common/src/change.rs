//! What flows: batches of changes.
//!
//! ```text
//! data   k  v          ops
//!        a  1          +I
//!        a  1          -U      the row before an update
//!        a  2          +U      the row after it
//! ```
//! # Invariants
//! * `ops` is either [`Ops::AllInsert`] (append-only streams pay nothing) or has one entry per row.
//! * Operators use the *sign* of a row only; `-U`/`+U` pairs are neither required nor kept between
//!   operators and are re-derived at the edges that show them.
//! * Within one stream key, order is preserved.
//! * Physical fields are always nullable; NOT NULL lives in [`crate::SqlType`].

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

/// Flink's row kinds with Flink's byte values. Even kinds add, odd kinds remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum RowKind {
    /// `+I`: a new row.
    Insert = 0,
    /// `-U`: the row before an update.
    UpdateBefore = 1,
    /// `+U`: the row after an update.
    UpdateAfter = 2,
    /// `-D`: a row that is gone.
    Delete = 3,
}

impl RowKind {
    /// All kinds, indexed by their byte.
    pub const ALL: [RowKind; 4] = [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete];

    /// The kind of a byte; bytes outside 0..=3 are a bug of the producer.
    pub fn from_byte(byte: i8) -> RowKind {
        Self::ALL[byte as usize & 3]
    }

    /// `+I`, `-U`, `+U` or `-D`.
    pub fn short(self) -> &'static str {
        ["+I", "-U", "+U", "-D"][self as usize]
    }

    /// +1 for rows that add, -1 for rows that remove.
    pub fn sign(self) -> i64 {
        sign_of(self as i8)
    }

    /// Whether the row adds.
    pub fn is_add(self) -> bool {
        self as i8 & 1 == 0
    }
}

/// +1 or -1 for the byte of a row kind.
#[inline]
pub fn sign_of(kind: i8) -> i64 {
    1 - 2 * i64::from(kind & 1)
}

/// The row kinds of a batch.
#[derive(Clone, Debug)]
pub enum Ops {
    /// Every row is `+I`.
    AllInsert,
    /// One byte per row, values of [`RowKind`].
    Kinds(ScalarBuffer<i8>),
}

impl Ops {
    /// The kind of row `i`.
    #[inline]
    pub fn kind(&self, i: usize) -> RowKind {
        match self {
            Ops::AllInsert => RowKind::Insert,
            Ops::Kinds(k) => RowKind::from_byte(k[i]),
        }
    }

    /// +1 or -1 for row `i`.
    #[inline]
    pub fn sign(&self, i: usize) -> i64 {
        match self {
            Ops::AllInsert => 1,
            Ops::Kinds(k) => sign_of(k[i]),
        }
    }

    /// Whether no row removes.
    pub fn is_append(&self) -> bool {
        matches!(self, Ops::AllInsert)
    }

    /// `kinds` as given, or `AllInsert` when every one of them is `+I`.
    pub fn from_kinds(kinds: Vec<i8>) -> Ops {
        if kinds.iter().all(|k| *k == 0) { Ops::AllInsert } else { Ops::Kinds(kinds.into()) }
    }

    fn filter(&self, mask: &BooleanArray) -> Ops {
        match self {
            Ops::AllInsert => Ops::AllInsert,
            Ops::Kinds(k) => Ops::from_kinds(
                k.iter().enumerate().filter(|(i, _)| mask.is_valid(*i) && mask.value(*i)).map(|(_, k)| *k).collect(),
            ),
        }
    }

    fn take(&self, indices: &UInt32Array) -> Ops {
        match self {
            Ops::AllInsert => Ops::AllInsert,
            Ops::Kinds(k) => Ops::from_kinds(indices.values().iter().map(|i| k[*i as usize]).collect()),
        }
    }
}

/// A dense batch of changes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ChangeBatch {
    /// The data columns. No hidden columns.
    pub data: RecordBatch,
    /// What each row does.
    pub ops: Ops,
}

impl ChangeBatch {
    /// Rows that all add.
    pub fn inserts(data: RecordBatch) -> Self {
        Self { data, ops: Ops::AllInsert }
    }

    /// Rows with their kinds; `kinds.len()` must equal the number of rows.
    pub fn new(data: RecordBatch, ops: Ops) -> Self {
        if let Ops::Kinds(k) = &ops {
            debug_assert_eq!(k.len(), data.num_rows(), "one kind per row");
        }
        Self { data, ops }
    }

    /// No rows of this schema.
    pub fn empty(schema: SchemaRef) -> Self {
        Self::inserts(RecordBatch::new_empty(schema))
    }

    /// How many changes.
    pub fn num_rows(&self) -> usize {
        self.data.num_rows()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.num_rows() == 0
    }

    /// The columns' schema.
    pub fn schema(&self) -> SchemaRef {
        self.data.schema()
    }

    /// Column `i`.
    pub fn column(&self, i: usize) -> &ArrayRef {
        self.data.column(i)
    }

    /// Rows `offset..offset + len`, without copying.
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        let ops = match &self.ops {
            Ops::AllInsert => Ops::AllInsert,
            Ops::Kinds(k) => Ops::Kinds(k.slice(offset, len)),
        };
        Self { data: self.data.slice(offset, len), ops }
    }

    /// The rows where `mask` is true.
    pub fn filter(&self, mask: &BooleanArray) -> Result<Self, ArrowError> {
        Ok(Self { data: filter_record_batch(&self.data, mask)?, ops: self.ops.filter(mask) })
    }

    /// The rows at `indices`, in their order.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self, ArrowError> {
        let columns = self.data.columns().iter().map(|c| take(c, indices, None)).collect::<Result<_, _>>()?;
        // A batch without columns still has rows.
        let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
        let data = RecordBatch::try_new_with_options(self.data.schema(), columns, &options)?;
        Ok(Self { data, ops: self.ops.take(indices) })
    }

    /// The same rows with these columns instead.
    pub fn with_data(&self, data: RecordBatch) -> Self {
        Self::new(data, self.ops.clone())
    }

    /// All batches as one. `batches` must not be empty and share one schema.
    pub fn concat(batches: &[ChangeBatch]) -> Result<Self, ArrowError> {
        let schema = batches[0].schema();
        let data = arrow::compute::concat_batches(&schema, batches.iter().map(|b| &b.data))?;
        let ops = if batches.iter().all(|b| b.ops.is_append()) {
            Ops::AllInsert
        } else {
            let mut kinds = Vec::with_capacity(data.num_rows());
            for b in batches {
                match &b.ops {
                    Ops::AllInsert => kinds.resize(kinds.len() + b.num_rows(), 0),
                    Ops::Kinds(k) => kinds.extend_from_slice(k),
                }
            }
            Ops::Kinds(kinds.into())
        };
        Ok(Self { data, ops })
    }

    /// Bytes the batch's buffers hold. Shared buffers count in full, so this is an upper bound.
    pub fn memory_bytes(&self) -> usize {
        self.data.get_array_memory_size()
            + match &self.ops {
                Ops::AllInsert => 0,
                Ops::Kinds(k) => k.len(),
            }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;

    fn batch(values: &[i64], kinds: &[i8]) -> ChangeBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        let data = RecordBatch::try_from_iter([("v", column)]).unwrap();
        ChangeBatch::new(data, Ops::from_kinds(kinds.to_vec()))
    }

    #[test]
    fn a_batch_without_columns_has_rows() {
        let rows = batch(&[1, 2, 3], &[0, 3, 0]);
        let none = rows.with_data(rows.data.project(&[]).unwrap());
        assert_eq!(none.take(&UInt32Array::from(vec![1, 2])).unwrap().num_rows(), 2);
        assert_eq!(none.filter(&BooleanArray::from(vec![true, false, false])).unwrap().num_rows(), 1);
        assert_eq!(none.slice(1, 2).num_rows(), 2);
        let both = ChangeBatch::concat(&[none.clone(), none]).unwrap();
        assert_eq!((both.num_rows(), both.ops.sign(4)), (6, -1));
    }

    #[test]
    fn kinds_that_all_insert_become_all_insert() {
        assert!(batch(&[1, 2], &[0, 0]).ops.is_append());
        assert!(!batch(&[1, 2], &[0, 3]).ops.is_append());
    }

    #[test]
    fn filter_take_and_slice_keep_kinds_beside_their_rows() {
        let b = batch(&[1, 2, 3], &[0, 3, 2]);
        let f = b.filter(&BooleanArray::from(vec![Some(false), Some(true), None])).unwrap();
        assert_eq!((f.num_rows(), f.ops.kind(0)), (1, RowKind::Delete));
        let t = b.take(&UInt32Array::from(vec![2, 0])).unwrap();
        assert_eq!((t.ops.kind(0), t.ops.kind(1)), (RowKind::UpdateAfter, RowKind::Insert));
        assert_eq!(b.slice(1, 2).ops.sign(0), -1);
    }

    #[test]
    fn concat_of_append_and_changes_keeps_both() {
        let c = ChangeBatch::concat(&[batch(&[1], &[0]), batch(&[2], &[3])]).unwrap();
        assert_eq!((c.num_rows(), c.ops.sign(0), c.ops.sign(1)), (2, 1, -1));
    }
}
