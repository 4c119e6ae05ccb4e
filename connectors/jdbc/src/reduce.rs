//! The last change of each key of a batch.
//!
//! # Example
//! ```text
//! in    +I (1,a)  +U (2,b)  -D (1)  +I (3,c)  +U (2,d)       key: the first column
//! out   deletes: row 2 (1)        upserts: row 4 (2,d), row 3 (3,c)
//! ```
//! # Invariants
//! * A key is in at most one of the two lists, once, with its last change. `-U` counts as a delete: its `+U` follows, or has another key.
//! * Deletes are carried out *before* upserts. The keys are disjoint to us, but perhaps not to the server, whose collation may take `a`
//!   and `A` for one key, or whose other unique index the deleted row occupies: then the upsert must find its place free.
//! * Rows are in key order where keys compare on the server as they do here: fewer deadlocks, and pages are written in sequence.
//!   Otherwise they are in the order of their changes, so that of two keys that the server takes for one the later change wins.
//!
//! One buffer of encoded keys per batch, no allocation per row.

use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use dflow_common::ChangeBatch;

/// Rows of one batch, by index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reduced {
    /// Rows whose key is gone.
    pub deletes: Vec<u32>,
    /// Rows that are new or changed.
    pub upserts: Vec<u32>,
}

/// Reduces batches of one schema.
pub struct Reducer {
    converter: RowConverter,
    key: Vec<usize>,
    by_key: bool,
}

impl Reducer {
    /// `key` are indices into the columns; not empty.
    ///
    /// # Errors
    /// When a key column has a type without an order, such as MAP.
    pub fn new(schema: &SchemaRef, key: Vec<usize>) -> Result<Reducer, ArrowError> {
        debug_assert!(!key.is_empty(), "a table without key is only appended to");
        let types = key.iter().map(|k| schema.field(*k).data_type());
        let by_key = types.clone().all(|t| !matches!(t, DataType::Utf8View | DataType::Utf8));
        let converter = RowConverter::new(types.map(|t| SortField::new(t.clone())).collect())?;
        Ok(Reducer { converter, key, by_key })
    }

    /// The last change of each key.
    ///
    /// # Errors
    /// When the batch has another schema.
    pub fn reduce(&self, batch: &ChangeBatch) -> Result<Reduced, ArrowError> {
        let keys: Vec<_> = self.key.iter().map(|k| batch.column(*k).clone()).collect();
        let keys = self.converter.convert_columns(&keys)?;
        let key = |row: u32| keys.row(row as usize);
        let mut rows: Vec<u32> = (0..batch.num_rows() as u32).collect();
        rows.sort_unstable_by(|a, b| key(*a).cmp(&key(*b)).then(a.cmp(b)));
        let mut kept = 0;
        for i in 0..rows.len() {
            let is_last = rows.get(i + 1).is_none_or(|next| key(*next) != key(rows[i]));
            if is_last {
                rows[kept] = rows[i];
                kept += 1;
            }
        }
        rows.truncate(kept);
        if !self.by_key {
            rows.sort_unstable();
        }
        let (upserts, deletes) = rows.into_iter().partition(|row| batch.ops.sign(*row as usize) > 0);
        Ok(Reduced { deletes, upserts })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringViewArray};
    use dflow_common::Ops;
    use dflow_common::env::{Rng, SeededRng};

    use super::*;

    fn batch(columns: Vec<ArrayRef>, kinds: &[i8]) -> ChangeBatch {
        let columns = columns.into_iter().enumerate().map(|(i, c)| (format!("c{i}"), c, true));
        ChangeBatch::new(RecordBatch::try_from_iter_with_nullable(columns).unwrap(), Ops::from_kinds(kinds.to_vec()))
    }

    fn reduce(columns: Vec<ArrayRef>, key: &[usize], kinds: &[i8]) -> Reduced {
        let batch = batch(columns, kinds);
        Reducer::new(&batch.schema(), key.to_vec()).unwrap().reduce(&batch).unwrap()
    }

    #[test]
    fn the_last_change_of_a_key_wins_and_keys_come_in_order() {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 1, 3, 2, -7]));
        let reduced = reduce(vec![ids], &[0], &[0, 2, 3, 0, 2, 3]);
        assert_eq!(reduced, Reduced { deletes: vec![5, 2], upserts: vec![4, 3] });
    }

    #[test]
    fn a_changed_key_deletes_the_old_one_and_an_unchanged_one_does_not() {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 1, 2, 3]));
        let reduced = reduce(vec![ids], &[0], &[1, 2, 1, 2]);
        assert_eq!(reduced, Reduced { deletes: vec![2], upserts: vec![1, 3] });
    }

    #[test]
    fn text_keys_keep_the_order_of_their_changes() {
        let keys: ArrayRef = Arc::new(StringViewArray::from(vec!["b", "a", "B", "b"]));
        assert_eq!(reduce(vec![keys], &[0], &[0, 0, 0, 0]).upserts, [1, 2, 3]);
    }

    #[test]
    fn a_composite_key_is_compared_whole_also_when_a_part_is_null() {
        let a: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(1), None, None]));
        let b: ArrayRef = Arc::new(StringViewArray::from(vec!["x", "y", "x", "x"]));
        assert_eq!(reduce(vec![a, b], &[0, 1], &[0, 0, 0, 3]), Reduced { deletes: vec![3], upserts: vec![0, 1] });
    }

    #[test]
    fn random_changes_equal_a_map() {
        let rng = SeededRng::new(11);
        for _ in 0..200 {
            let n = rng.below(40) as usize;
            let ids: Vec<i64> = (0..n).map(|_| rng.below(8) as i64 - 4).collect();
            let kinds: Vec<i8> = (0..n).map(|_| rng.below(4) as i8).collect();
            let mut last = BTreeMap::new();
            for row in 0..n {
                last.insert(ids[row], (row as u32, kinds[row] & 1 == 0));
            }
            let pick = |adds| last.values().filter(|(_, a)| *a == adds).map(|(row, _)| *row).collect::<Vec<_>>();
            let reduced = reduce(vec![Arc::new(Int64Array::from(ids.clone()))], &[0], &kinds);
            assert_eq!(reduced, Reduced { deletes: pick(false), upserts: pick(true) });
        }
    }
}
