//! The writer of `parquet`.

use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::arrow_writer::ArrowWriterOptions;
use ::parquet::basic::Compression;
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use arrow::datatypes::SchemaRef;
use dflow_common::ChangeBatch;
use dflow_connector_api::format::{Encoder, Encoding};
use dflow_connector_api::{Error, Result};

use crate::error::ENCODE_FAILED;

pub(super) struct ParquetEncoding {
    pub(super) schema: SchemaRef,
    pub(super) compression: Compression,
    pub(super) block_bytes: usize,
}

impl Encoding for ParquetEncoding {
    fn encoder(&self) -> Result<Box<dyn Encoder>> {
        let properties = WriterProperties::builder()
            .set_compression(self.compression)
            .set_max_row_group_bytes(Some(self.block_bytes))
            .set_created_by(concat!("dflow version ", env!("CARGO_PKG_VERSION")).into())
            .build();
        // Without the Arrow schema in the footer a file says only what every Parquet reader understands.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), self.schema.clone(), options).map_err(failed)?;
        Ok(Box::new(ParquetEncoder { writer }))
    }

    fn extension(&self) -> &'static str {
        "parquet"
    }

    fn changelog(&self) -> bool {
        false
    }

    fn appendable(&self) -> bool {
        false
    }
}

struct ParquetEncoder {
    writer: ArrowWriter<Vec<u8>>,
}

impl Encoder for ParquetEncoder {
    fn encode(&mut self, batch: &ChangeBatch, out: &mut Vec<u8>) -> Result<()> {
        self.writer.write(&batch.data).map_err(failed)?;
        out.append(self.writer.inner_mut());
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.writer.finish().map_err(failed)?;
        out.append(self.writer.inner_mut());
        Ok(())
    }

    fn pending_bytes(&self) -> usize {
        self.writer.in_progress_size()
    }
}

fn failed(e: ParquetError) -> Error {
    Error::new(ENCODE_FAILED, format!("a batch could not be written as Parquet: {e}"))
}
