//! The decoder of `csv`.
//!
//! A line without a quote or an escape is cut at its delimiters; any other record is walked character by character,
//! and may go on behind a line feed inside quotes.

use std::sync::Arc;

use dflow_common::ChangeBatch;
use dflow_common::limits::RECORD_BYTES_MAX;
use dflow_connector_api::Result;
use dflow_connector_api::format::{BadRecord, FormatRequest, Progress, RecordDecoder, RecordDecoding};

use super::Dialect;
use crate::column::ColumnBuilder;
use crate::json::decode::utf8;
use crate::json::values::push_text;
use crate::records::{BodyFault, Rows, byte_order_mark, too_long, trim_cr};
use crate::text::trim;

pub(super) struct CsvDecoding {
    dialect: Arc<Dialect>,
    request: FormatRequest,
    /// By position in the record: the column of the projection it fills.
    targets: Arc<[Option<usize>]>,
}

impl CsvDecoding {
    pub(super) fn new(dialect: Dialect, request: FormatRequest) -> Self {
        let targets =
            (0..request.schema.columns.len()).map(|i| request.projection.iter().position(|p| *p == i)).collect();
        Self { dialect: Arc::new(dialect), request, targets }
    }
}

impl RecordDecoding for CsvDecoding {
    fn decoder(&self, at_start: bool) -> Box<dyn RecordDecoder> {
        Box::new(CsvDecoder {
            header: at_start && self.dialect.header,
            at_start,
            skipping: None,
            fields: Fields {
                dialect: self.dialect.clone(),
                targets: self.targets.clone(),
                rows: Rows::new(&self.request),
                scratch: String::new(),
            },
        })
    }

    fn ends_at_line_feed(&self) -> bool {
        self.dialect.quote.is_none()
    }

    fn ignores_errors(&self) -> bool {
        self.dialect.ignore_errors
    }
}

struct CsvDecoder {
    /// The next record is the header.
    header: bool,
    /// Nothing of the file was decoded yet.
    at_start: bool,
    /// The rest of a record that is too long is passed over, from here.
    skipping: Option<Walk>,
    fields: Fields,
}

struct Fields {
    dialect: Arc<Dialect>,
    targets: Arc<[Option<usize>]>,
    rows: Rows,
    scratch: String,
}

/// Where a record ends.
struct Extent {
    /// Bytes without the terminator.
    len: usize,
    /// Bytes with it.
    used: usize,
    /// Line feeds in it.
    lines: u64,
    /// No quote and no escape in it.
    plain: bool,
}

impl Dialect {
    /// The first record of `bytes`, `None` when its end is not there yet.
    fn extent(&self, bytes: &[u8], end: bool) -> Option<Extent> {
        let line = memchr::memchr(b'\n', bytes);
        let len = line.unwrap_or(bytes.len());
        let special = |b: Option<u8>| b.is_some_and(|b| memchr::memchr(b, &bytes[..len]).is_some());
        if !special(self.quote) && !special(self.escape) {
            return match line {
                Some(i) => Some(Extent { len: i, used: i + 1, lines: 1, plain: true }),
                None if end => Some(Extent { len, used: len, lines: 1, plain: true }),
                None => None,
            };
        }
        self.walk(bytes, end)
    }

    /// [`Dialect::extent`] of a record with quotes or escapes.
    fn walk(&self, bytes: &[u8], end: bool) -> Option<Extent> {
        let (len, used) = match Walk::default().end(self, bytes) {
            Some(i) => (i, i + 1),
            None if end => (bytes.len(), bytes.len()),
            None => return None,
        };
        let lines = 1 + memchr::memchr_iter(b'\n', &bytes[..len]).count() as u64;
        Some(Extent { len, used, lines, plain: false })
    }
}

/// Finds the end of a record; may stop after any byte and go on with those after it.
#[derive(Clone, Copy)]
struct Walk {
    quoted: bool,
    /// The byte before was a quote inside quotes: it ends them unless another quote follows.
    closing: bool,
    escaped: bool,
    /// A quote here would begin a quoted field.
    field_start: bool,
}

impl Default for Walk {
    fn default() -> Self {
        Self { quoted: false, closing: false, escaped: false, field_start: true }
    }
}

impl Walk {
    /// The line feed in `bytes` that ends the record.
    fn end(&mut self, dialect: &Dialect, bytes: &[u8]) -> Option<usize> {
        // Where a dialect has no such byte, one that is looked for anyway stands in for it.
        let quote = dialect.quote.unwrap_or(b'\n');
        let escape = dialect.escape.unwrap_or(quote);
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            if std::mem::take(&mut self.escaped) {
                at += 1;
            } else if std::mem::take(&mut self.closing) {
                self.quoted = rest[0] == quote;
                at += usize::from(self.quoted);
            } else if self.quoted {
                let i = memchr::memchr2(quote, escape, rest)?;
                (self.escaped, self.closing) =
                    if Some(rest[i]) == dialect.escape { (true, false) } else { (false, true) };
                self.field_start = false;
                at += i + 1;
            } else {
                let Some(i) = memchr::memchr3(b'\n', quote, escape, rest) else {
                    self.field_start = rest.last() == Some(&dialect.delimiter);
                    return None;
                };
                let starts = if i == 0 { self.field_start } else { rest[i - 1] == dialect.delimiter };
                if Some(rest[i]) == dialect.escape {
                    self.escaped = true;
                } else if rest[i] == b'\n' {
                    return Some(at + i);
                } else {
                    self.quoted = starts;
                }
                self.field_start = false;
                at += i + 1;
            }
        }
        None
    }
}

impl Fields {
    fn record(&mut self, record: &[u8], plain: bool) -> Result<(), BodyFault> {
        let start = self.rows.row.len();
        let result = self.split(record, plain).and_then(|fields| self.close(start, fields));
        if result.is_err() {
            self.rows.hide_from(start);
        }
        result
    }

    /// Cuts a record and fills its columns; returns how many fields it had.
    fn split(&mut self, record: &[u8], plain: bool) -> Result<usize, BodyFault> {
        let text = utf8(record)?;
        let mut position = 0;
        if plain {
            let mut from = 0;
            for at in memchr::memchr_iter(self.dialect.delimiter, record) {
                // The delimiter is ASCII: both ends are character boundaries.
                self.field(position, text.get(from..at).unwrap_or_default(), false)?;
                position += 1;
                from = at + 1;
            }
            self.field(position, text.get(from..).unwrap_or_default(), false)?;
            return Ok(position + 1);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut rest = Some(text);
        let mut result = Ok(());
        while let Some(text) = rest {
            scratch.clear();
            let mut quoted = false;
            result = self.next_field(text, &mut scratch, &mut quoted).and_then(|next| {
                rest = next;
                self.field(position, &scratch, quoted)
            });
            if result.is_err() {
                break;
            }
            position += 1;
        }
        self.scratch = scratch;
        result.map(|()| position)
    }

    /// Copies the first field of `text` without quotes and escapes to `out`; returns the rest behind its delimiter.
    fn next_field<'t>(&self, text: &'t str, out: &mut String, quoted: &mut bool) -> Result<Option<&'t str>, BodyFault> {
        let (delimiter, quote, escape) = (self.dialect.delimiter, self.dialect.quote, self.dialect.escape);
        let mut inside = false;
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let b = u8::try_from(c).ok().filter(u8::is_ascii);
            if b.is_some() && b == escape {
                out.extend(chars.next().map(|(_, c)| c));
            } else if inside {
                if b.is_some() && b == quote {
                    if chars.next_if(|(_, next)| *next == c).is_some() {
                        out.push(c);
                    } else {
                        inside = false;
                    }
                } else {
                    out.push(c);
                }
            } else if b == Some(delimiter) {
                return Ok(text.get(at + 1..));
            } else if b.is_some() && b == quote && at == 0 {
                (inside, *quoted) = (true, true);
            } else if *quoted {
                let blank = c == ' ' || c == '\t';
                if !blank {
                    return Err((None, "text follows a closing quote".into()));
                }
            } else {
                out.push(c);
            }
        }
        if inside { Err((None, "a quoted field is not closed".into())) } else { Ok(None) }
    }

    #[inline]
    fn field(&mut self, position: usize, text: &str, quoted: bool) -> Result<(), BodyFault> {
        let Some(target) = self.targets.get(position) else { return Ok(()) };
        let Some(index) = *target else { return Ok(()) };
        let column = &mut self.rows.row.columns[index];
        if !quoted && self.dialect.null.as_deref() == Some(text) {
            column.push_null();
            return Ok(());
        }
        let result = match column {
            ColumnBuilder::Text(b) => {
                b.append_value(text);
                return Ok(());
            }
            column if text.is_empty() => {
                column.push_null();
                return Ok(());
            }
            ColumnBuilder::List(list) => elements(text, &self.dialect)
                .try_for_each(|t| element(t, &mut list.child, &self.dialect))
                .and_then(|()| list.close(true).ok_or_else(|| "the batch holds too many elements".to_owned())),
            ColumnBuilder::Row(row) => {
                let found = elements(text, &self.dialect).count();
                if found == row.columns.len() {
                    let mut parts = elements(text, &self.dialect);
                    row.columns
                        .iter_mut()
                        .zip(&mut parts)
                        .try_for_each(|(c, t)| element(t, c, &self.dialect))
                        .map(|()| row.close())
                } else {
                    Err(format!("{found} elements where the ROW has {} fields", row.columns.len()))
                }
            }
            column => push_text(trim(text), column, b' '),
        };
        let Err(message) = result else { return Ok(()) };
        let n = self.rows.row.len() + 1;
        if self.dialect.ignore_errors {
            self.rows.row.columns[index].settle(n);
            return Ok(());
        }
        Err((Some(self.rows.row.name(index).to_owned()), message))
    }

    /// Ends the row after `found` fields.
    fn close(&mut self, start: usize, found: usize) -> Result<(), BodyFault> {
        let expected = self.targets.len();
        if found != expected {
            if !self.dialect.ignore_errors {
                return Err((None, format!("{found} fields where the table has {expected} columns")));
            }
            self.rows.row.columns.iter_mut().for_each(|c| c.settle(start + 1));
        }
        self.rows.row.close();
        Ok(())
    }
}

fn elements<'t>(text: &'t str, dialect: &'t Dialect) -> impl Iterator<Item = &'t str> {
    text.split(dialect.elements.as_str())
}

fn element(text: &str, column: &mut ColumnBuilder, dialect: &Dialect) -> Result<(), String> {
    let is_text = matches!(column, ColumnBuilder::Text(_));
    if dialect.null.as_deref() == Some(text) || (text.is_empty() && !is_text) {
        column.push_null();
        return Ok(());
    }
    push_text(if is_text { text } else { trim(text) }, column, b' ')
}

impl CsvDecoder {
    /// Passes over the rest of a record that is too long.
    fn skip(&mut self, mut walk: Walk, bytes: &[u8], end: bool, progress: &mut Progress) {
        let ending = walk.end(&self.fields.dialect, bytes);
        let used = ending.map_or(bytes.len(), |i| i + 1);
        progress.bytes += used;
        progress.lines += memchr::memchr_iter(b'\n', &bytes[..used]).count() as u64;
        self.skipping = (ending.is_none() && !end).then_some(walk);
        if self.skipping.is_none() {
            progress.records += 1;
            progress.lines += u64::from(ending.is_none());
        }
        progress.inside = self.skipping.is_some();
    }
}

impl RecordDecoder for CsvDecoder {
    fn decode(&mut self, bytes: &[u8], end: bool, max_rows: usize) -> Result<Progress> {
        let mut progress = Progress::default();
        if let Some(walk) = self.skipping.take() {
            self.skip(walk, bytes, end, &mut progress);
        }
        while self.fields.rows.visible() < max_rows && progress.bytes < bytes.len() {
            let rest = &bytes[progress.bytes..];
            let mark = if self.at_start { byte_order_mark(rest) } else { 0 };
            let Some(extent) = self.fields.dialect.extent(&rest[mark..], end) else {
                if rest.len() > RECORD_BYTES_MAX {
                    (self.header, self.at_start) = (false, false);
                    progress.bad.push(too_long(&progress, rest.len()));
                    self.skip(Walk::default(), rest, end, &mut progress);
                }
                break;
            };
            self.at_start = false;
            let record = trim_cr(&rest[mark..][..extent.len]);
            let comment = self.fields.dialect.comments && record.first() == Some(&b'#');
            if record.len() > RECORD_BYTES_MAX {
                self.header = false;
                progress.bad.push(too_long(&progress, record.len()));
                progress.records += 1;
            } else if self.header && !comment {
                self.header = false;
            } else if !comment && !record.is_empty() {
                if let Err((field, message)) = self.fields.record(record, extent.plain) {
                    progress.bad.push(BadRecord {
                        offset: progress.bytes + mark,
                        len: record.len(),
                        record: progress.records,
                        line: progress.lines,
                        field,
                        message,
                        too_long: false,
                    });
                }
                progress.records += 1;
            }
            progress.bytes += mark + extent.used;
            progress.lines += extent.lines;
        }
        Ok(progress)
    }

    fn decode_message(&mut self, message: &[u8]) -> Result<(), BadRecord> {
        let record = trim_cr(message.strip_suffix(b"\n").unwrap_or(message));
        self.fields.record(record, false).map_err(|(field, text)| BadRecord {
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
        self.fields.rows.visible()
    }

    fn take(&mut self) -> Result<ChangeBatch> {
        self.fields.rows.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule, byte by byte.
    fn end(dialect: &Dialect, bytes: &[u8]) -> Option<usize> {
        let (mut quoted, mut field_start, mut at) = (false, true, 0);
        while let Some(b) = bytes.get(at).copied() {
            if Some(b) == dialect.escape {
                (field_start, at) = (false, at + 2);
                continue;
            }
            if quoted && Some(b) == dialect.quote {
                quoted = bytes.get(at + 1) == Some(&b);
                at += usize::from(quoted);
            } else if !quoted && b == b'\n' {
                return Some(at);
            } else if Some(b) == dialect.quote && field_start {
                quoted = true;
            }
            field_start = !quoted && b == dialect.delimiter;
            at += 1;
        }
        None
    }

    #[test]
    fn a_record_ends_where_the_rule_says_however_it_is_cut_into_pieces() {
        let dialect = |quote, escape| Dialect {
            delimiter: b',',
            quote,
            escape,
            comments: false,
            header: false,
            ignore_errors: false,
            null: None,
            elements: ";".into(),
            plain_decimals: false,
            special: Box::new([false; 256]),
            bare_scalars: true,
        };
        let dialects = [
            dialect(Some(b'"'), None),
            dialect(Some(b'"'), Some(b'\\')),
            dialect(None, Some(b'\\')),
            dialect(None, None),
            dialect(Some(b'"'), Some(b'"')),
        ];
        let mut ended = 0;
        // Every text of seven of these bytes.
        for number in 0..5u32.pow(7) {
            let text: Vec<u8> = (0..7).map(|i| b"\",\n\\a"[(number / 5u32.pow(i) % 5) as usize]).collect();
            for dialect in &dialects {
                let expected = end(dialect, &text);
                ended += usize::from(expected.is_some());
                for cut in 0..text.len() {
                    let mut walk = Walk::default();
                    let (first, rest) = text.split_at(cut);
                    let found = walk.end(dialect, first).or_else(|| Some(cut + walk.end(dialect, rest)?));
                    assert_eq!(found, expected, "{:?} cut at {cut}", String::from_utf8_lossy(&text));
                }
            }
        }
        assert!(ended > 100_000, "{ended}");
    }
}
