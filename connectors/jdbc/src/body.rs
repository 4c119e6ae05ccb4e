//! Changes as bytes in a checkpoint: an Arrow stream whose last column is the row kind.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int8Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int8Type, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use dflow_common::{ChangeBatch, Ops};
use dflow_connector_api::Error;

use crate::error::STAGED_BODY;

/// The column of row kinds. Not a name a table's column is looked up by: it is the last one.
const KIND: &str = "kind";

/// Encodes a batch.
///
/// # Errors
/// When a column's type cannot be in a stream: none of SQL's.
pub fn encode(batch: &ChangeBatch) -> Result<Bytes, Error> {
    let encode = || -> Result<Bytes, ArrowError> {
        let kinds: ArrayRef = match &batch.ops {
            Ops::AllInsert => Arc::new(Int8Array::from(vec![0; batch.num_rows()])),
            Ops::Kinds(kinds) => Arc::new(Int8Array::new(kinds.clone(), None)),
        };
        let schema = batch.schema();
        let fields = schema.fields().iter().cloned().chain([Arc::new(Field::new(KIND, DataType::Int8, false))]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        let columns = batch.data.columns().iter().cloned().chain([kinds]).collect();
        writer.write(&RecordBatch::try_new(schema, columns)?)?;
        writer.finish()?;
        writer.into_inner().map(Bytes::from)
    };
    encode().map_err(broken)
}

/// Decodes what [`encode`] made: one batch.
///
/// # Errors
/// [`STAGED_BODY`] when it is something else.
pub fn decode(body: &[u8]) -> Result<ChangeBatch, Error> {
    let decode = || -> Result<Option<ChangeBatch>, ArrowError> {
        let Some(batch) = StreamReader::try_new(body, None)?.next() else { return Ok(None) };
        let mut batch = batch?;
        if batch.schema().fields().last().is_none_or(|f| *f.data_type() != DataType::Int8) {
            return Ok(None);
        }
        let kinds = batch.remove_column(batch.num_columns() - 1);
        let kinds = kinds.as_primitive::<Int8Type>().values().to_vec();
        Ok(Some(ChangeBatch::new(batch, Ops::from_kinds(kinds))))
    };
    decode().map_err(broken)?.ok_or_else(|| broken("it holds no rows"))
}

fn broken(why: impl std::fmt::Display) -> Error {
    Error::new(STAGED_BODY, format!("staged rows cannot be read: {why}"))
        .help("start afresh with `--restore none`; what was committed before stays in the table")
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};
    use dflow_common::Classified;

    use super::*;

    #[test]
    fn changes_read_back_as_they_were() {
        let columns = [
            ("kind", Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef, true),
            ("s", Arc::new(StringViewArray::from(vec!["a string that is not inlined", ""])) as ArrayRef, true),
        ];
        let data = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        for kinds in [vec![0, 0], vec![2, 3]] {
            let batch = ChangeBatch::new(data.clone(), Ops::from_kinds(kinds.clone()));
            let back = decode(&encode(&batch).unwrap()).unwrap();
            assert_eq!(back.data, batch.data);
            assert_eq!((0..2).map(|i| back.ops.kind(i) as i8).collect::<Vec<_>>(), kinds);
        }
    }

    #[test]
    fn foreign_bytes_are_an_error() {
        for body in [&b""[..], b"not a stream"] {
            assert_eq!(decode(body).unwrap_err().code(), STAGED_BODY.code);
        }
    }
}
