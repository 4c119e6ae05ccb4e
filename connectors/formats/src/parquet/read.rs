//! The reader of `parquet`.

use std::io::{self, Read, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{ChunkReader, Length};
use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use bytes::Bytes;
use dflow_common::ChangeBatch;
use dflow_common::env::FsRead;
use dflow_connector_api::format::{FileDecoder, FileDecoding, FormatRequest};
use dflow_connector_api::{Error, Result};

use super::fit::{convert, fits};
use crate::error::{COLUMN_MISMATCH, DAMAGED_FILE};

pub(super) struct ParquetDecoding {
    pub(super) request: FormatRequest,
    pub(super) batch_rows: usize,
}

/// A file that several column readers share; each read seeks first.
#[derive(Clone)]
struct Shared {
    file: Arc<Mutex<Box<dyn FsRead>>>,
    len: u64,
}

impl Shared {
    fn new(mut file: Box<dyn FsRead>) -> io::Result<Self> {
        let len = file.seek(SeekFrom::End(0))?;
        Ok(Self { file: Arc::new(Mutex::new(file)), len })
    }

    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        // A panic elsewhere leaves only the file's cursor behind, and every read moves it.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(at))?;
        file.read(buffer)
    }
}

impl Length for Shared {
    fn len(&self) -> u64 {
        self.len
    }
}

struct From {
    shared: Shared,
    at: u64,
}

impl Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.shared.read_at(self.at, buffer)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl ChunkReader for Shared {
    type T = io::BufReader<From>;

    fn get_read(&self, start: u64) -> ::parquet::errors::Result<Self::T> {
        Ok(io::BufReader::new(From { shared: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ::parquet::errors::Result<Bytes> {
        // A damaged footer may ask for more than there is: check before allocating.
        if start.checked_add(length as u64).is_none_or(|end| end > self.len) {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} are beyond the file's end")));
        }
        let mut buffer = vec![0; length];
        From { shared: self.clone(), at: start }.read_exact(&mut buffer)?;
        Ok(buffer.into())
    }
}

/// Runs a call of the Parquet library. It is written for honest files: on damaged ones some of its checks are
/// assertions, and a damaged file must end in an error like any other bad input.
fn guarded<T>(path: &Path, call: impl FnOnce() -> Result<T, String>) -> Result<T> {
    let result =
        catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err("its structure contradicts itself".into()));
    result.map_err(|why| {
        Error::new(DAMAGED_FILE, format!("{} is not a readable Parquet file: {why}", path.display()))
            .help("check the table's 'format' and the file; a Parquet file cut off while it was copied looks like this")
    })
}

impl FileDecoding for ParquetDecoding {
    fn open(&self, path: &Path, input: Box<dyn FsRead>, rows_done: u64) -> Result<Box<dyn FileDecoder>> {
        let (shared, metadata) = guarded(path, || {
            let shared = Shared::new(input).map_err(|e| e.to_string())?;
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
            let metadata = ArrowReaderMetadata::load(&shared, options).map_err(|e| e.to_string())?;
            Ok((shared, metadata))
        })?;
        let target = self.request.schema.arrow_projected(&self.request.projection);
        let file_schema = metadata.schema().clone();
        self.check(path, &file_schema, &target)?;

        let roots: Vec<usize> =
            (0..file_schema.fields().len()).filter(|i| target.index_of(file_schema.field(*i).name()).is_ok()).collect();
        let reader = guarded(path, || {
            let options =
                ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_schema(with_views(&file_schema));
            let metadata =
                ArrowReaderMetadata::try_new(metadata.metadata().clone(), options).map_err(|e| e.to_string())?;
            let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
            ParquetRecordBatchReaderBuilder::new_with_metadata(shared, metadata)
                .with_projection(mask)
                .with_batch_size(self.batch_rows)
                .with_offset(usize::try_from(rows_done).unwrap_or(usize::MAX))
                .build()
                .map_err(|e| e.to_string())
        })?;
        Ok(Box::new(ParquetDecoder { reader, target, path: path.to_owned() }))
    }
}

impl ParquetDecoding {
    /// Every projected column of the file must fit; at least one must be there.
    fn check(&self, path: &Path, file: &Schema, target: &Schema) -> Result<()> {
        let mut found = false;
        for (field, index) in target.fields().iter().zip(&self.request.projection) {
            let Ok(of_file) = file.field_with_name(field.name()) else { continue };
            found = true;
            if !fits(of_file.data_type(), field.data_type()) {
                let column = &self.request.schema.columns[*index];
                return Err(Error::new(
                    COLUMN_MISMATCH,
                    format!(
                        "column `{}` is {} in {}, which does not fit {}",
                        field.name(),
                        of_file.data_type(),
                        path.display(),
                        column.ty
                    ),
                )
                .at(column.span, "declared here")
                .help("change the column's type, or convert in the query"));
            }
        }
        if found || target.fields().is_empty() {
            return Ok(());
        }
        let names: Vec<_> = file.fields().iter().map(|f| f.name().as_str()).collect();
        Err(Error::new(
            COLUMN_MISMATCH,
            format!("{} has none of the columns read from table `{}`", path.display(), self.request.table),
        )
        .note(format!("it has {}; names are compared with their case", names.join(", "))))
    }
}

/// The same schema with text and bytes as views, so that they are read as such.
fn with_views(schema: &SchemaRef) -> SchemaRef {
    fn field(f: &Arc<Field>) -> Arc<Field> {
        Arc::new(f.as_ref().clone().with_data_type(ty(f.data_type())))
    }
    fn ty(t: &DataType) -> DataType {
        match t {
            DataType::Utf8 => DataType::Utf8View,
            DataType::Binary => DataType::BinaryView,
            DataType::List(f) => DataType::List(field(f)),
            DataType::Map(f, sorted) => DataType::Map(field(f), *sorted),
            DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
            other => other.clone(),
        }
    }
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Fields>()))
}

struct ParquetDecoder {
    reader: ParquetRecordBatchReader,
    target: SchemaRef,
    path: PathBuf,
}

impl FileDecoder for ParquetDecoder {
    fn next(&mut self) -> Result<Option<ChangeBatch>> {
        let (reader, target) = (&mut self.reader, &self.target);
        guarded(&self.path, || {
            let Some(batch) = reader.next() else { return Ok(None) };
            let batch = batch.map_err(|e| e.to_string())?;
            let columns = target
                .fields()
                .iter()
                .map(|f| match batch.column_by_name(f.name()) {
                    Some(c) => convert(c, f.data_type()).map_err(|e| format!("column `{}`: {e}", f.name())),
                    None => Ok(new_null_array(f.data_type(), batch.num_rows())),
                })
                .collect::<Result<Vec<_>, _>>()?;
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let data =
                RecordBatch::try_new_with_options(target.clone(), columns, &options).map_err(|e| e.to_string())?;
            Ok(Some(ChangeBatch::inserts(data)))
        })
    }
}
