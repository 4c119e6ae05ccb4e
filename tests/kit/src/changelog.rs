//! Folding a changelog into the table it describes, and writing small ones as text.
//!
//! ```text
//! +I a 1          fold          a 3   ×1
//! -U a 1   ──────────────>
//! +U a 3
//! ```
//! A row is compared by its canonical text: `NULL`, `-0.0` as `0.0`, every NaN as `NaN`.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dflow_common::{ChangeBatch, RowKind};

/// The canonical text of every row of a batch, cells separated by tabs.
pub fn row_texts(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<ArrayRef> = batch.columns().iter().map(normalise).collect();
    let cells: Vec<_> = columns
        .iter()
        .map(|c| ArrayFormatter::try_new(c.as_ref(), &options).expect("every column type has a text"))
        .collect();
    (0..batch.num_rows()).map(|i| cells.iter().map(|c| c.value(i).to_string()).collect::<Vec<_>>().join("\t")).collect()
}

/// Floats with one zero and one NaN.
fn normalise(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => {
            let a = column.as_primitive::<Float64Type>();
            std::sync::Arc::new(a.unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v + 0.0 }))
        }
        DataType::Float32 => {
            let a = column.as_primitive::<Float32Type>();
            std::sync::Arc::new(a.unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v + 0.0 }))
        }
        _ => column.clone(),
    }
}

/// A table as a multiset of rows. Weights are never negative: [`Fold::apply`] checks it after every batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fold {
    rows: BTreeMap<String, i64>,
}

impl Fold {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// The rows of a batch answer, cast to the types of `schema` first.
    ///
    /// # Panics
    /// When a column cannot be cast: the two queries do not have the same shape.
    pub fn of_table(batches: &[RecordBatch], schema: &SchemaRef) -> Self {
        let mut fold = Self::new();
        for batch in batches {
            let columns = batch
                .columns()
                .iter()
                .zip(schema.fields())
                .map(|(c, f)| cast(c, f.data_type()).expect("the batch answer has the stream's types"))
                .collect();
            let batch = RecordBatch::try_new(schema.clone(), columns).expect("same number of columns");
            fold.apply(&ChangeBatch::inserts(batch)).expect("inserts only add");
        }
        fold
    }

    /// Applies changes in order.
    ///
    /// # Errors
    /// When a row is removed that is not there.
    pub fn apply(&mut self, batch: &ChangeBatch) -> Result<(), String> {
        for (i, row) in row_texts(&batch.data).into_iter().enumerate() {
            let sign = batch.ops.sign(i);
            let weight = self.rows.entry(row.clone()).or_insert(0);
            *weight += sign;
            if *weight < 0 {
                return Err(format!("the changelog removes a row that is not there: {}", row.replace('\t', " ")));
            }
            if *weight == 0 {
                self.rows.remove(&row);
            }
        }
        Ok(())
    }

    /// Rows, each as often as it is there.
    pub fn len(&self) -> usize {
        self.rows.values().sum::<i64>() as usize
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What differs, for a failed assertion: `-` only here, `+` only in `other`.
    pub fn diff(&self, other: &Fold) -> String {
        let mut lines = Vec::new();
        for row in self.rows.keys().chain(other.rows.keys()).collect::<std::collections::BTreeSet<_>>() {
            let (a, b) = (self.rows.get(row).copied().unwrap_or(0), other.rows.get(row).copied().unwrap_or(0));
            if a != b {
                lines.push(format!(
                    "{} {}  ({a} times here, {b} there)",
                    if a > b { '-' } else { '+' },
                    row.replace('\t', " | ")
                ));
            }
        }
        lines.join("\n")
    }
}

/// What a keyed sink would hold: `+` puts a row under its key, `-D` removes it, `-U` is only the announcement of `+U`.
#[derive(Clone, Debug)]
pub struct KeyedFold {
    key: Vec<usize>,
    rows: BTreeMap<String, String>,
    /// Which subtask wrote a key: rows of one key through two writers would have no order.
    writers: BTreeMap<String, usize>,
}

impl KeyedFold {
    /// No rows.
    pub fn new(key: Vec<usize>) -> Self {
        Self { key, rows: BTreeMap::new(), writers: BTreeMap::new() }
    }

    /// Applies the changes that `subtask` would write.
    ///
    /// # Errors
    /// When another subtask has written one of the keys, a row is removed that is not there, or a `-U` stands alone.
    pub fn apply(&mut self, subtask: usize, batch: &ChangeBatch) -> Result<(), String> {
        let keys = row_texts(&batch.data.project(&self.key).map_err(|e| e.to_string())?);
        for (i, row) in row_texts(&batch.data).into_iter().enumerate() {
            let key = &keys[i];
            let writer = *self.writers.entry(key.clone()).or_insert(subtask);
            if writer != subtask {
                return Err(format!("the key {key} is written by subtasks {writer} and {subtask}"));
            }
            match batch.ops.kind(i) {
                RowKind::Insert | RowKind::UpdateAfter => drop(self.rows.insert(key.clone(), row)),
                RowKind::Delete if self.rows.remove(key).is_none() => {
                    return Err(format!("the changelog removes a key that is not there: {key}"));
                }
                RowKind::UpdateBefore if keys.get(i + 1) != Some(key) || batch.ops.sign(i + 1) < 0 => {
                    return Err(format!("the -U of {key} stands alone"));
                }
                RowKind::Delete | RowKind::UpdateBefore => {}
            }
        }
        Ok(())
    }

    /// After a restart others may write.
    pub fn restarted(&mut self) {
        self.writers.clear();
    }

    /// The rows.
    pub fn fold(&self) -> Fold {
        let mut rows = BTreeMap::new();
        self.rows.values().for_each(|r| *rows.entry(r.clone()).or_insert(0) += 1);
        Fold { rows }
    }
}

/// A batch as lines `+I a 1`, for assertions and failure messages.
pub fn change_lines(batch: &ChangeBatch) -> Vec<String> {
    row_texts(&batch.data)
        .into_iter()
        .enumerate()
        .map(|(i, row)| format!("{} {}", batch.ops.kind(i).short(), row.replace('\t', " ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array};
    use dflow_common::Ops;

    use super::*;

    fn batch(v: Vec<Option<i64>>, kinds: Vec<i8>) -> ChangeBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(v));
        ChangeBatch::new(RecordBatch::try_from_iter([("v", column)]).unwrap(), Ops::from_kinds(kinds))
    }

    #[test]
    fn a_row_that_was_not_there_cannot_be_removed() {
        let mut fold = Fold::new();
        assert!(fold.apply(&batch(vec![Some(1), None, Some(1)], vec![0, 0, 3])).is_ok());
        assert_eq!(fold.len(), 1);
        assert!(fold.apply(&batch(vec![Some(1)], vec![1])).unwrap_err().contains("not there: 1"));
    }

    #[test]
    fn a_keyed_sink_holds_the_last_row_of_each_key() {
        let changes = |rows: &[(i64, i64)], kinds: Vec<i8>| {
            let column =
                |f: fn(&(i64, i64)) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(rows.iter().map(f))) };
            let data = RecordBatch::try_from_iter([("k", column(|r| r.0)), ("v", column(|r| r.1))]).unwrap();
            ChangeBatch::new(data, Ops::from_kinds(kinds))
        };
        let mut fold = KeyedFold::new(vec![0]);
        fold.apply(0, &changes(&[(1, 5), (2, 6), (1, 5), (1, 7)], vec![0, 0, 1, 2])).unwrap();
        assert_eq!(fold.fold().rows.keys().collect::<Vec<_>>(), ["1\t7", "2\t6"]);
        assert!(fold.apply(1, &changes(&[(1, 8)], vec![2])).unwrap_err().contains("subtasks 0 and 1"));
        assert!(fold.apply(0, &changes(&[(2, 6)], vec![1])).unwrap_err().contains("stands alone"));
        assert!(fold.apply(0, &changes(&[(9, 6)], vec![3])).unwrap_err().contains("not there"));
        fold.restarted();
        fold.apply(1, &changes(&[(1, 7), (2, 6)], vec![3, 3])).unwrap();
        assert!(fold.fold().is_empty());
    }

    #[test]
    fn zeros_and_nans_are_one_each() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, 0.0, f64::NAN, -f64::NAN]));
        let mut texts = row_texts(&RecordBatch::try_from_iter([("v", column)]).unwrap());
        texts.dedup();
        assert_eq!(texts.len(), 2, "{texts:?}");
    }

    #[test]
    fn the_difference_names_both_sides() {
        let (mut a, mut b) = (Fold::new(), Fold::new());
        a.apply(&batch(vec![Some(1)], vec![0])).unwrap();
        b.apply(&batch(vec![Some(2)], vec![0])).unwrap();
        assert_eq!(a.diff(&b), "- 1  (1 times here, 0 there)\n+ 2  (0 times here, 1 there)");
    }
}
