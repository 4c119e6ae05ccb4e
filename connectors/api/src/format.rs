//! Formats: bytes to Arrow columns and back.
//!
//! Two families. *Record formats* (json, csv, raw, debezium-json) cut a byte stream into records or take one message
//! at a time. *File formats* (parquet) need the whole file. Decoders fill Arrow builders of the projected columns
//! directly; a column nobody reads is never built.

use std::path::Path;
use std::sync::Arc;

use dflow_common::env::FsRead;
use dflow_common::{ChangeBatch, Span};

use crate::error::{Error, FORMAT_ROLE_NOT_SUPPORTED, Result};
use crate::options::RawOption;
use crate::registry::FormatSpec;
use crate::schema::{FieldMask, TableSchema};

/// What a format needs to know of its table.
#[derive(Clone)]
pub struct FormatRequest {
    /// The table's name, for messages.
    pub table: String,
    /// The columns of a record and the keys among them; columns the connector itself provides (metadata, partitions)
    /// are not there.
    pub schema: TableSchema,
    /// Columns to build (decoding) or that arrive (encoding), by index into `schema.columns`, in order.
    pub projection: Vec<usize>,
    /// What is read of each projected column: as long as `projection`, or empty when every column is read whole.
    pub masks: Vec<FieldMask>,
    /// The format's options with the prefix (`json.`) taken off.
    pub options: Vec<RawOption>,
    /// Where the table is declared.
    pub span: Span,
    /// The session's time zone, an IANA name.
    pub time_zone: String,
}

/// Makes decoders and encoders of one format.
pub trait FormatFactory: Send + Sync {
    /// What it declares.
    fn spec(&self) -> &'static FormatSpec;

    /// Checks the options and returns what makes decoders.
    ///
    /// # Errors
    /// All problems of the options and the schema.
    fn decoding(&self, request: &FormatRequest) -> Result<Decoding, Vec<Error>> {
        Err(vec![self.role_error(request, "read")])
    }

    /// Checks the options and returns what makes encoders.
    ///
    /// # Errors
    /// All problems of the options and the schema.
    fn encoding(&self, request: &FormatRequest) -> Result<Arc<dyn Encoding>, Vec<Error>> {
        Err(vec![self.role_error(request, "written")])
    }

    /// The error for a direction this format does not have.
    fn role_error(&self, request: &FormatRequest, what: &str) -> Error {
        Error::new(FORMAT_ROLE_NOT_SUPPORTED, format!("format '{}' cannot be {what}", self.spec().name))
            .at(request.span, format!("table `{}`", request.table))
    }
}

/// A checked decoding configuration of either family.
#[derive(Clone)]
pub enum Decoding {
    /// Cut from a stream of bytes, or one message each.
    Records(Arc<dyn RecordDecoding>),
    /// Read from whole files.
    Files(Arc<dyn FileDecoding>),
}

/// Makes record decoders. One decoder per split.
pub trait RecordDecoding: Send + Sync {
    /// A decoder. `at_start` says that the first byte it gets is the first of a file, where a header may stand;
    /// otherwise it goes on behind a record.
    fn decoder(&self, at_start: bool) -> Box<dyn RecordDecoder>;

    /// Whether every line feed ends a record, so that a file can be cut into ranges without reading it.
    fn ends_at_line_feed(&self) -> bool {
        true
    }

    /// Whether the script asked to go on behind bad records (`<format>.ignore-parse-errors`).
    fn ignores_errors(&self) -> bool {
        false
    }
}

/// A record that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// Bytes before it in the buffer that was decoded.
    pub offset: usize,
    /// Its length in bytes, without the terminator; of one that is too long the beginning that is worth showing.
    pub len: usize,
    /// Records before it in this call.
    pub record: u64,
    /// Lines before it in this call.
    pub line: u64,
    /// The field it failed on, when known.
    pub field: Option<String>,
    /// What is wrong, one line; of the record's content at most the beginning of the value that does not fit.
    pub message: String,
    /// It has more than [`dflow_common::limits::RECORD_BYTES_MAX`] bytes.
    pub too_long: bool,
}

/// How far a call to [`RecordDecoder::decode`] came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes consumed: whole records with their terminators, but for [`Progress::inside`]. 0 means that more bytes are
    /// needed.
    pub bytes: usize,
    /// Records consumed, good and bad, without blank lines and headers.
    pub records: u64,
    /// Lines consumed; for formats of lines.
    pub lines: u64,
    /// Records that were not decoded, in order.
    pub bad: Vec<BadRecord>,
    /// The bytes consumed end inside a record that is too long and is passed over: what is read next is the rest of it,
    /// so that nobody else can go on from here.
    pub inside: bool,
}

/// Decodes records into columns. Rows collect until [`RecordDecoder::take`].
pub trait RecordDecoder: Send {
    /// Decodes whole records from the front of `bytes` until `max_rows` are collected. With `end`, the last record
    /// needs no terminator.
    ///
    /// # Errors
    /// Only what no record can be blamed for.
    fn decode(&mut self, bytes: &[u8], end: bool, max_rows: usize) -> Result<Progress>;

    /// Decodes one message. `Err(bad)` leaves no trace in the collected rows.
    fn decode_message(&mut self, message: &[u8]) -> Result<(), BadRecord>;

    /// Rows collected so far.
    fn rows(&self) -> usize;

    /// Hands out the collected rows, columns in projection order.
    fn take(&mut self) -> Result<ChangeBatch>;
}

/// Makes readers of whole files.
pub trait FileDecoding: Send + Sync {
    /// Opens a file and skips `rows_done` rows.
    ///
    /// # Errors
    /// A file that is not of the format, or whose columns do not fit the table.
    fn open(&self, path: &Path, input: Box<dyn FsRead>, rows_done: u64) -> Result<Box<dyn FileDecoder>>;
}

/// Reads one file batch by batch.
pub trait FileDecoder: Send {
    /// The next rows, `None` at the end.
    fn next(&mut self) -> Result<Option<ChangeBatch>>;
}

/// Makes encoders. One encoder per file or per message batch.
pub trait Encoding: Send + Sync {
    /// An encoder for a new file.
    fn encoder(&self) -> Result<Box<dyn Encoder>>;

    /// What file names end in, without the dot: `json`, `parquet`.
    fn extension(&self) -> &'static str;

    /// Whether it can write `-U`, `+U` and `-D`.
    fn changelog(&self) -> bool;

    /// Whether a file may be cut after any batch without [`Encoder::finish`] (lines), or not (parquet).
    fn appendable(&self) -> bool;
}

/// Turns batches into bytes.
pub trait Encoder: Send {
    /// Appends the batch to `out`. Columnar formats may hold rows back until [`Encoder::finish`].
    fn encode(&mut self, batch: &ChangeBatch, out: &mut Vec<u8>) -> Result<()>;

    /// Appends what the file needs at its end. The encoder is not used afterwards.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<()>;

    /// Bytes held back inside the encoder.
    fn pending_bytes(&self) -> usize {
        0
    }
}
