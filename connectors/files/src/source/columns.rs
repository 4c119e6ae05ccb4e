//! Which columns come from where: the record, the path, or what is known about the file.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, SchemaRef};
use dflow_common::{ChangeBatch, SqlType};
use dflow_connector_api::{ColumnKind, Error, FieldMask, Result, TableRequest, TableSchema};
use dflow_formats::{constant, repeat};

use super::split::FileSplit;
use crate::error::{BAD_METADATA, BAD_PARTITION};
use crate::paths::partition_values;

/// Metadata columns of files, as in Flink.
const METADATA: [&str; 4] = ["file.path", "file.name", "file.size", "file.modification-time"];

enum From {
    /// The n-th column the format delivers.
    Record(usize),
    /// The directory named like the column.
    Partition(String, SqlType),
    /// One of [`METADATA`].
    Metadata(usize, DataType),
}

/// How output batches are put together.
pub(crate) struct Layout {
    /// One per output column.
    from: Vec<From>,
    /// Columns of the record, as indices into the table's columns.
    record_columns: Vec<usize>,
    /// Record columns to decode, as indices into `record_columns`.
    record_projection: Vec<usize>,
    /// What is read of each of them.
    record_masks: Vec<FieldMask>,
    schema: SchemaRef,
    null_partition: String,
}

impl Layout {
    /// Sorts the table's columns; reports metadata columns files do not have.
    pub(crate) fn check(request: &TableRequest, null_partition: &str, errors: &mut Vec<Error>) -> Option<Self> {
        let schema = &request.schema;
        let is_record =
            |i: usize| schema.columns[i].kind == ColumnKind::Physical && !schema.partition_keys.contains(&i);
        let record_columns: Vec<usize> = (0..schema.columns.len()).filter(|i| is_record(*i)).collect();
        let (mut record_projection, mut record_masks) = (Vec::new(), Vec::new());
        let before = errors.len();
        let from = request
            .projection
            .iter()
            .enumerate()
            .filter_map(|(n, i)| {
                let column = &schema.columns[*i];
                match &column.kind {
                    ColumnKind::Metadata { key, .. } => match METADATA.iter().position(|m| m == key) {
                        Some(n) => Some(From::Metadata(n, column.ty.to_arrow())),
                        None => {
                            errors.push(
                                Error::new(BAD_METADATA, format!("files have no metadata '{key}'"))
                                    .at(column.span, "unknown metadata key")
                                    .help(format!("there are {}", METADATA.join(", "))),
                            );
                            None
                        }
                    },
                    ColumnKind::Physical if !is_record(*i) => {
                        Some(From::Partition(column.name.clone(), column.ty.clone()))
                    }
                    ColumnKind::Physical => {
                        record_projection.push(record_columns.iter().position(|r| r == i)?);
                        record_masks.push(request.mask(n).clone());
                        Some(From::Record(record_projection.len() - 1))
                    }
                }
            })
            .collect();
        (errors.len() == before).then(|| Self {
            from,
            record_columns,
            record_projection,
            record_masks,
            schema: request.output_schema(),
            null_partition: null_partition.to_owned(),
        })
    }

    /// The columns of a record.
    pub(crate) fn record_schema(&self, schema: &TableSchema) -> TableSchema {
        let at = |i: &usize| self.record_columns.iter().position(|r| r == i);
        TableSchema {
            columns: self.record_columns.iter().map(|i| schema.columns[*i].clone()).collect(),
            primary_key: schema.primary_key.iter().filter_map(at).collect(),
            partition_keys: Vec::new(),
        }
    }

    /// The record columns to decode.
    pub(crate) fn record_projection(&self) -> Vec<usize> {
        self.record_projection.clone()
    }

    /// What is read of each of them.
    pub(crate) fn record_masks(&self) -> Vec<FieldMask> {
        self.record_masks.clone()
    }

    /// The values of a file's columns that are not in its records, one row each.
    pub(crate) fn of_file(&self, split: &FileSplit, full_path: &str) -> Result<FileColumns> {
        let parts = partition_values(&split.path);
        let constants = self
            .from
            .iter()
            .map(|from| match from {
                From::Record(_) => Ok(None),
                From::Partition(name, ty) => self.partition(name, ty, &parts, full_path).map(Some),
                From::Metadata(n, ty) => metadata(*n, ty, split, full_path).map(Some),
            })
            .collect::<Result<_>>()?;
        Ok(FileColumns { constants })
    }

    fn partition(&self, name: &str, ty: &SqlType, parts: &[(String, String)], path: &str) -> Result<ArrayRef> {
        let Some((_, value)) = parts.iter().rev().find(|(n, _)| n == name) else {
            return Err(Error::new(
                BAD_PARTITION,
                format!("the path of {path} does not name partition column `{name}`"),
            )
            .help(format!("files of the table lie in directories such as {name}=value")));
        };
        let value = (*value != self.null_partition).then_some(value.as_str());
        constant(ty, value, 1).map_err(|why| {
            Error::new(BAD_PARTITION, format!("the path of {path} does not fit partition column `{name}`: {why}"))
                .help(format!("column `{name}` is {ty}; rename the directory or change the type"))
        })
    }

    /// Puts a decoded batch and the file's columns together.
    pub(crate) fn assemble(&self, batch: ChangeBatch, file: &FileColumns) -> Result<ChangeBatch> {
        let rows = batch.num_rows();
        let internal = |why: String| {
            Error::new(BAD_METADATA, format!("the columns of a file do not form a batch: {why}"))
                .note("this is a bug of dflow")
        };
        let columns = self
            .from
            .iter()
            .zip(&file.constants)
            .map(|(from, constant)| match (from, constant) {
                (From::Record(n), _) => Ok(batch.column(*n).clone()),
                (_, Some(one)) => repeat(one, rows).map_err(internal),
                (_, None) => Err(internal("a constant is missing".into())),
            })
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let data = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|e| internal(e.to_string()))?;
        Ok(batch.with_data(data))
    }
}

/// One-row arrays of the columns a whole file shares.
pub(crate) struct FileColumns {
    constants: Vec<Option<ArrayRef>>,
}

fn metadata(n: usize, ty: &DataType, split: &FileSplit, full_path: &str) -> Result<ArrayRef> {
    let name = full_path.rsplit('/').next().unwrap_or(full_path);
    let array: ArrayRef = match n {
        0 => Arc::new(StringViewArray::from(vec![full_path])),
        1 => Arc::new(StringViewArray::from(vec![name])),
        2 => Arc::new(Int64Array::from(vec![split.size as i64])),
        _ => Arc::new(TimestampMillisecondArray::from(vec![split.modified_ms]).with_timezone("UTC")),
    };
    arrow::compute::cast(&array, ty).map_err(|e| {
        Error::new(BAD_METADATA, format!("metadata '{}' does not fit its column: {e}", METADATA[n]))
            .help("declare file.path and file.name as STRING, file.size as BIGINT, file.modification-time as TIMESTAMP_LTZ(3)")
    })
}
