//! Rows before and after: which differ, and the changelog that tells it.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{interleave, or};
use arrow::datatypes::SchemaRef;
use dflow_common::{ChangeBatch, Ops, RowKind};
use dflow_runtime::Result;

/// Rows in which any column differs; NULL equals NULL. `None` without columns: nothing can differ.
pub(crate) fn differing(before: &[ArrayRef], now: &[ArrayRef]) -> Result<Option<BooleanArray>> {
    let mut all: Option<BooleanArray> = None;
    for (b, n) in before.iter().zip(now) {
        let differs = if b.data_type().is_nested() {
            (0..b.len()).map(|i| Some(b.slice(i, 1).to_data() != n.slice(i, 1).to_data())).collect()
        } else {
            distinct(b, n)?
        };
        all = Some(match all {
            Some(a) => or(&a, &differs)?,
            None => differs,
        });
    }
    Ok(all)
}

/// Collects changes whose rows are taken from several sets of columns.
#[derive(Default)]
pub(crate) struct Changes {
    kinds: Vec<i8>,
    rows: Vec<(usize, usize)>,
}

impl Changes {
    /// Adds row `row` of set `set`.
    pub(crate) fn push(&mut self, kind: RowKind, set: usize, row: usize) {
        self.kinds.push(kind as i8);
        self.rows.push((set, row));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    pub(crate) fn rows(&self) -> &[(usize, usize)] {
        &self.rows
    }

    /// The changes with columns from `sets`.
    pub(crate) fn finish(self, schema: &SchemaRef, sets: &[&[ArrayRef]]) -> Result<ChangeBatch> {
        let columns = (0..schema.fields().len())
            .map(|i| {
                let column: Vec<&dyn Array> = sets.iter().map(|s| s[i].as_ref()).collect();
                interleave(&column, &self.rows)
            })
            .collect::<Result<Vec<_>, _>>()?;
        self.with_columns(schema, columns)
    }

    /// The changes with columns that already have one row per change.
    pub(crate) fn with_columns(self, schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<ChangeBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.kinds.len()));
        let data = RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
        Ok(ChangeBatch::new(data, Ops::from_kinds(self.kinds)))
    }
}
