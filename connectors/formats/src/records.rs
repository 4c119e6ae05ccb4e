//! From a stream of bytes to records: the part all record formats share.
//!
//! ```text
//! bytes ── lines ──> RecordBody::decode ──> Rows (builders, kinds, hidden rows) ── take ──> ChangeBatch
//!                        │ fault
//!                        └─> BadRecord{offset, line, field, message}, its rows hidden
//! ```
//! # Invariants
//! * A call consumes whole records only; what it consumed is either in the rows or in `Progress::bad`.
//! * A bad record leaves no visible row.

use arrow::datatypes::SchemaRef;
use dflow_common::limits::RECORD_BYTES_MAX;
use dflow_common::{ChangeBatch, Ops, RowKind};
use dflow_connector_api::format::{BadRecord, FormatRequest, Progress, RecordDecoder};
use dflow_connector_api::{Error, FieldMask, Result};

use crate::column::RowBuilder;
use crate::error::{RECORD_TOO_LONG, TYPE_NOT_SUPPORTED};

/// The field, when known, and what is wrong.
pub(crate) type BodyFault = (Option<String>, String);

/// Decodes one record into rows.
pub(crate) trait RecordBody: Send {
    /// Whether empty lines are no records.
    const SKIPS_BLANK_LINES: bool;

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
}

impl<B: RecordBody> LineDecoder<B> {
    pub(crate) fn new(body: B, rows: Rows) -> Self {
        Self { body, rows }
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

/// Refuses a record that is longer than a record may be.
pub(crate) fn check_length(len: usize) -> Result<()> {
    if len <= RECORD_BYTES_MAX {
        return Ok(());
    }
    Err(Error::new(RECORD_TOO_LONG, format!("a record is longer than {RECORD_BYTES_MAX} bytes"))
        .note("a file that is not of the declared format often looks like one endless record")
        .help("check the table's 'format' option and the file"))
}

impl<B: RecordBody> RecordDecoder for LineDecoder<B> {
    fn decode(&mut self, bytes: &[u8], end: bool, max_rows: usize) -> Result<Progress> {
        let mut progress = Progress::default();
        while self.rows.visible() < max_rows && progress.bytes < bytes.len() {
            let rest = &bytes[progress.bytes..];
            let (line, used) = match memchr::memchr(b'\n', rest) {
                Some(i) => (&rest[..i], i + 1),
                None if end => (rest, rest.len()),
                None => {
                    check_length(rest.len())?;
                    break;
                }
            };
            check_length(line.len())?;
            let line = trim_cr(line);
            if !(B::SKIPS_BLANK_LINES && (line.is_empty() || is_blank(line))) {
                if let Err((field, message)) = self.record(line) {
                    progress.bad.push(BadRecord {
                        offset: progress.bytes,
                        len: line.len(),
                        record: progress.records,
                        line: progress.lines,
                        field,
                        message,
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
        })
    }

    fn rows(&self) -> usize {
        self.rows.visible()
    }

    fn take(&mut self) -> Result<ChangeBatch> {
        self.rows.take()
    }
}
