//! Which directory each row goes to.
//!
//! The partition columns of a batch are turned into text once; rows are grouped by directory and each group is taken
//! out of the batch in one go.

use arrow::array::{Array, StringArray, UInt32Array};
use dflow_common::ChangeBatch;
use dflow_connector_api::{Error, Result, TableRequest};
use indexmap::IndexMap;

use crate::error::WRITE_FAILED;
use crate::paths::escape;

/// Partition columns and the others, as indices into the batch.
pub(crate) struct Partitioning {
    keys: Vec<(usize, String)>,
    records: Vec<usize>,
    null: String,
}

impl Partitioning {
    pub(crate) fn new(request: &TableRequest, null: &str) -> Self {
        let schema = &request.schema;
        let at = |column: &usize| request.projection.iter().position(|p| p == column);
        // Directories nest in the order of PARTITIONED BY.
        let keys: Vec<(usize, String)> =
            schema.partition_keys.iter().filter_map(|k| Some((at(k)?, escape(&schema.columns[*k].name)))).collect();
        let records = (0..request.projection.len()).filter(|i| keys.iter().all(|(k, _)| k != i)).collect();
        Self { keys, records, null: null.to_owned() }
    }

    pub(crate) fn is_partitioned(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The columns that go into the files.
    pub(crate) fn record_columns(&self) -> &[usize] {
        &self.records
    }

    /// The batch cut by directory, without the partition columns. Rows keep their order within a directory.
    pub(crate) fn split(&self, batch: &ChangeBatch) -> Result<Vec<(String, ChangeBatch)>> {
        let failed = |e: arrow::error::ArrowError| {
            Error::new(WRITE_FAILED, format!("a batch could not be cut by partition: {e}"))
                .note("this is a bug of dflow")
        };
        let data = batch.data.project(&self.records).map_err(failed)?;
        let records = batch.with_data(data);
        if self.keys.is_empty() {
            return Ok(vec![(String::new(), records)]);
        }
        let columns =
            self.keys.iter().map(|(i, _)| dflow_formats::texts(batch.column(*i))).collect::<Result<Vec<_>>>()?;
        let mut groups: IndexMap<String, Vec<u32>> = IndexMap::new();
        let mut current = 0;
        for row in 0..batch.num_rows() {
            // Rows of one partition tend to stand together.
            if row == 0 || !columns.iter().all(|c| same(c, row - 1, row)) {
                let entry = groups.entry(self.directory(&columns, row));
                current = entry.index();
                entry.or_default();
            }
            groups[current].push(row as u32);
        }
        if let (1, Some((dir, _))) = (groups.len(), groups.first()) {
            return Ok(vec![(dir.clone(), records)]);
        }
        groups
            .into_iter()
            .map(|(dir, rows)| Ok((dir, records.take(&UInt32Array::from(rows)).map_err(failed)?)))
            .collect()
    }

    fn directory(&self, columns: &[StringArray], row: usize) -> String {
        let mut dir = String::new();
        for ((_, name), column) in self.keys.iter().zip(columns) {
            if !dir.is_empty() {
                dir.push('/');
            }
            dir.push_str(name);
            dir.push('=');
            // An empty name would make a directory nobody can tell from NULL; Hive uses one name for both.
            match column.is_valid(row) && !column.value(row).is_empty() {
                true => dir.push_str(&escape(column.value(row))),
                false => dir.push_str(&self.null),
            }
        }
        dir
    }
}

fn same(column: &StringArray, a: usize, b: usize) -> bool {
    match (column.is_valid(a), column.is_valid(b)) {
        (true, true) => column.value(a) == column.value(b),
        (x, y) => x == y,
    }
}
