//! From a stream of bytes to records: the part all record formats share.
//!
//! ```text
//! bytes ── lines ──> RecordBody::decode ──> Rows (builders, kinds, hidden rows) ── take ──> ChangeBatch
//!                        │ fault
//!                        └─> BadRecord{offset, line, field, message}, its rows hidden
//! ```
//! # Invariants
//! * A call consumes whole records; what it consumed is either in the rows or in `Progress::bad`. Only of a record that
//!   is too long are parts consumed ([`Progress::inside`]), so that it need not fit into memory.
//! * A bad record leaves no visible row.

use arrow::datatypes::SchemaRef;
use dflow_common::limits::RECORD_BYTES_MAX;
use dflow_common::{ChangeBatch, Ops, RowKind};
use dflow_connector_api::format::{BadRecord, FormatRequest, Progress, RecordDecoder};
use dflow_connector_api::{Error, FieldMask, Result};

use crate::column::RowBuilder;
use crate::error::TYPE_NOT_SUPPORTED;

/// The field, when known, and what is wrong.
pub(crate) type BodyFault = (Option<String>, String);

/// Decodes one record into rows.
pub(crate) trait RecordBody: Send {
    /// Whether empty lines are no records.
    const SKIPS_BLANK_LINES: bool;
    /// Whether a file is text, which may begin with a byte order mark.
    const IS_TEXT: bool = true;

    /// Appends the record's rows. After an error the rows may be unsettled; the caller repairs them.
    fn decode(&mut self, record: &[u8], rows: &mut Rows) -> Result<(), BodyFault>;
}

/// Rows under construction with their kinds.
pub(crate) struct Rows {
    pub(crate) row: RowBuilder,
    /// Kinds of the first rows; rows behind its end are `+I`.
    kinds: Vec<i8>,
    /// Rows of bad records, ascending.
    hidden: Vec<usize>,
    schema: SchemaRef,
}

impl Rows {
    /// No rows of the projected columns.
    pub(crate) fn new(request: &FormatRequest) -> Self {
        let columns = request.projection.iter().enumerate().map(|(n, i)| {
            let column = &request.schema.columns[*i];
            (column.name.as_str(), &column.ty, Some(request.masks.get(n).unwrap_or(&FieldMask::All)))
        });
        Self {
            row: RowBuilder::new(columns),
            kinds: Vec::new(),
            hidden: Vec::new(),
            schema: request.schema.arrow_projected(&request.projection),
        }
    }

    /// Rows that [`Rows::take`] will hand out.
    pub(crate) fn visible(&self) -> usize {
        self.row.len() - self.hidden.len()
    }

    /// Gives the last complete row a kind.
    pub(crate) fn set_kind(&mut self, kind: RowKind) {
        let n = self.row.len();
        if kind != RowKind::Insert || !self.kinds.is_empty() {
            self.kinds.resize(n - 1, RowKind::Insert as i8);
            self.kinds.push(kind as i8);
        }
    }

    /// Undoes what a bad record left behind `start` complete rows.
    pub(crate) fn hide_from(&mut self, start: usize) {
        let n = self.row.len() + 1;
        self.row.settle(n);
        let first = self.hidden.last().map_or(start, |last| start.max(last + 1));
        self.hidden.extend(first..n);
    }

    /// The visible rows.
    pub(crate) fn take(&mut self) -> Result<ChangeBatch> {
        let hidden = std::mem::take(&mut self.hidden);
        let mut kinds = std::mem::take(&mut self.kinds);
        let n = self.row.len();
        let data = self
            .row
            .finish(&self.schema, &hidden)
            .map_err(|e| Error::new(TYPE_NOT_SUPPORTED, format!("the decoded columns do not form a batch: {e}")))?;
        if kinds.is_empty() {
            return Ok(ChangeBatch::inserts(data));
        }
        kinds.resize(n, RowKind::Insert as i8);
        let mut next = hidden.iter().copied().peekable();
        let mut i = 0;
        kinds.retain(|_| {
            let keep = next.next_if_eq(&i).is_none();
            i += 1;
            keep
        });
        Ok(ChangeBatch::new(data, Ops::from_kinds(kinds)))
    }
}

/// A decoder of formats in which every line feed ends a record.
pub(crate) struct LineDecoder<B> {
    body: B,
    rows: Rows,
    /// Nothing of the file was decoded yet.
    at_start: bool,
    /// The rest of a record that is too long is passed over.
    skipping: bool,
}

impl<B: RecordBody> LineDecoder<B> {
    pub(crate) fn new(body: B, rows: Rows, at_start: bool) -> Self {
        Self { body, rows, at_start, skipping: false }
    }

    /// Passes over the rest of a record that is too long.
    fn skip(&mut self, bytes: &[u8], end: bool, progress: &mut Progress) {
        let line_feed = memchr::memchr(b'\n', bytes);
        progress.bytes += line_feed.map_or(bytes.len(), |i| i + 1);
        self.skipping = line_feed.is_none() && !end;
        if !self.skipping {
            progress.records += 1;
            progress.lines += 1;
        }
        progress.inside = self.skipping;
    }

    fn record(&mut self, record: &[u8]) -> Result<(), BodyFault> {
        let start = self.rows.row.len();
        let result = self.body.decode(record, &mut self.rows);
        if result.is_err() {
            self.rows.hide_from(start);
        }
        result
    }
}

/// A record without its carriage return.
pub(crate) fn trim_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether a line holds nothing.
pub(crate) fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r'))
}

/// Bytes of a record that is too long that are shown and kept as a dead letter.
const TOO_LONG_SHOWN: usize = 1 << 10;

/// A record that is longer than a record may be, at the place where `progress` is.
pub(crate) fn too_long(progress: &Progress, len: usize) -> BadRecord {
    BadRecord {
        offset: progress.bytes,
        len: len.min(TOO_LONG_SHOWN),
        record: progress.records,
        line: progress.lines,
        field: None,
        message: format!("a record is longer than {RECORD_BYTES_MAX} bytes"),
        too_long: true,
    }
}

/// The byte order mark that some programs write in front of UTF-8 text. It is no part of it.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Bytes of a byte order mark at the front of a file.
pub(crate) fn byte_order_mark(bytes: &[u8]) -> usize {
    if bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 }
}

impl<B: RecordBody> RecordDecoder for LineDecoder<B> {
    fn decode(&mut self, bytes: &[u8], end: bool, max_rows: usize) -> Result<Progress> {
        let mut progress = Progress::default();
        if self.skipping {
            self.skip(bytes, end, &mut progress);
        }
        while self.rows.visible() < max_rows && progress.bytes < bytes.len() {
            let rest = &bytes[progress.bytes..];
            let (line, used) = match memchr::memchr(b'\n', rest) {
                Some(i) => (&rest[..i], i + 1),
                None if end => (rest, rest.len()),
                None if rest.len() > RECORD_BYTES_MAX => {
                    self.at_start = false;
                    progress.bad.push(too_long(&progress, rest.len()));
                    self.skip(rest, end, &mut progress);
                    break;
                }
                None => break,
            };
            let mark = if self.at_start && B::IS_TEXT { byte_order_mark(line) } else { 0 };
            self.at_start = false;
            let line = trim_cr(&line[mark..]);
            if line.len() > RECORD_BYTES_MAX {
                progress.bad.push(too_long(&progress, line.len()));
                progress.records += 1;
            } else if !(B::SKIPS_BLANK_LINES && (line.is_empty() || is_blank(line))) {
                if let Err((field, message)) = self.record(line) {
                    progress.bad.push(BadRecord {
                        offset: progress.bytes + mark,
                        len: line.len(),
                        record: progress.records,
                        line: progress.lines,
                        field,
                        message,
                        too_long: false,
                    });
                }
                progress.records += 1;
            }
            progress.bytes += used;
            progress.lines += 1;
        }
        Ok(progress)
    }

    fn decode_message(&mut self, message: &[u8]) -> Result<(), BadRecord> {
        self.record(message).map_err(|(field, text)| BadRecord {
            offset: 0,
            len: message.len(),
            record: 0,
            line: 0,
            field,
            message: text,
            too_long: false,
        })
    }

    fn rows(&self) -> usize {
        self.rows.visible()
    }

    fn take(&mut self) -> Result<ChangeBatch> {
        self.rows.take()
    }
}
