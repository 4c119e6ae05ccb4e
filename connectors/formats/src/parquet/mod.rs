//! `parquet`: whole files, columns by name.
//!
//! # Reading
//! Only the projected columns are read. A column the file does not have is NULL (files of an older schema); a file
//! that has none of them is refused. A file's column fits when its values do: narrower numbers, another unit of
//! time, fewer decimal digits; everything else is [`COLUMN_MISMATCH`](crate::error::COLUMN_MISMATCH) with the
//! column's name.
//!
//! # Writing
//! Row groups of at most `parquet.block.size` bytes, compressed with `parquet.compression` (`SNAPPY`, as in Flink).
//! Timestamps are 64-bit integers in the unit of their precision (Flink: INT96, which Parquet deprecated), wall-clock
//! ones not adjusted to UTC.

mod fit;
mod read;
mod write;

use std::sync::Arc;

use ::parquet::basic::{Compression, GzipLevel, ZstdLevel};
use dflow_common::{SqlType, TypeKind};
use dflow_connector_api::format::{Decoding, Encoding, FormatFactory, FormatRequest};
use dflow_connector_api::{Error, FormatSpec, OptionSpec, OptionType, Options, Result};

use crate::error::TYPE_NOT_SUPPORTED;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "compression",
        OptionType::Enum(&["SNAPPY", "GZIP", "ZSTD", "LZ4", "LZ4_RAW", "UNCOMPRESSED", "NONE"]),
        "How column chunks are compressed when writing.",
    )
    .default("SNAPPY"),
    OptionSpec::new("block.size", OptionType::Size, "Bytes of a row group when writing.").default("128 mb"),
    OptionSpec::new("batch-size", OptionType::Int, "Rows read at once.").default("8192"),
    OptionSpec::new(
        "utc-timezone",
        OptionType::Enum(&["true"]),
        "Wall-clock timestamps are stored as they are, never shifted by the machine's time zone.",
    )
    .default("true"),
];

static SPEC: FormatSpec = FormatSpec {
    name: "parquet",
    summary: "Apache Parquet files, columns by name.",
    options: OPTIONS,
    decodes: true,
    encodes: true,
    changelog: false,
};

/// The `parquet` format.
pub struct Parquet;

impl FormatFactory for Parquet {
    fn spec(&self) -> &'static FormatSpec {
        &SPEC
    }

    fn decoding(&self, request: &FormatRequest) -> Result<Decoding, Vec<Error>> {
        let options = check(request)?;
        let batch_rows = options
            .int("batch-size")
            .and_then(|n| usize::try_from(n).ok())
            .filter(|n| (1..=1 << 20).contains(n))
            .ok_or_else(|| vec![options.invalid("batch-size", "it must be between 1 and 1048576")])?;
        Ok(Decoding::Files(Arc::new(read::ParquetDecoding { request: request.clone(), batch_rows })))
    }

    fn encoding(&self, request: &FormatRequest) -> Result<Arc<dyn Encoding>, Vec<Error>> {
        let options = check(request)?;
        Ok(Arc::new(write::ParquetEncoding {
            schema: request.schema.arrow_projected(&request.projection),
            compression: compression(options.required("compression")),
            block_bytes: options.size("block.size").and_then(|n| usize::try_from(n).ok()).unwrap_or(128 << 20).max(1),
        }))
    }
}

fn compression(name: &str) -> Compression {
    match name.to_ascii_uppercase().as_str() {
        "GZIP" => Compression::GZIP(GzipLevel::default()),
        "ZSTD" => Compression::ZSTD(ZstdLevel::default()),
        "LZ4" | "LZ4_RAW" => Compression::LZ4_RAW,
        "UNCOMPRESSED" | "NONE" => Compression::UNCOMPRESSED,
        _ => Compression::SNAPPY,
    }
}

fn check(request: &FormatRequest) -> Result<Options, Vec<Error>> {
    let options = Options::check("format 'parquet'", OPTIONS, &request.options, request.span)?;
    let errors: Vec<Error> = request
        .projection
        .iter()
        .map(|i| &request.schema.columns[*i])
        .filter(|c| has_interval(&c.ty))
        .map(|c| {
            Error::new(TYPE_NOT_SUPPORTED, format!("format 'parquet' cannot carry column `{}`", c.name))
                .at(c.span, c.ty.to_string())
                .help("intervals have no form in Parquet; store a number instead")
        })
        .collect();
    if errors.is_empty() { Ok(options) } else { Err(errors) }
}

fn has_interval(ty: &SqlType) -> bool {
    match &ty.kind {
        TypeKind::IntervalYearMonth | TypeKind::IntervalDayTime | TypeKind::Null => true,
        TypeKind::Array(t) | TypeKind::Multiset(t) => has_interval(t),
        TypeKind::Map(k, v) => has_interval(k) || has_interval(v),
        TypeKind::Row(fields) => fields.iter().any(|f| has_interval(&f.ty)),
        _ => false,
    }
}
