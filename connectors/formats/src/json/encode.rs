//! Columns to JSON text.
//!
//! A batch is bound once (every column downcast to its array, every key escaped) and then written row by row into
//! one buffer.

use std::fmt::Write as _;

use arrow::array::Array;
use dflow_common::ChangeBatch;
use dflow_connector_api::format::{Encoder, Encoding, FormatRequest};
use dflow_connector_api::{Error, Options, Result};

use super::scan::string_stop;
use super::separator;
use crate::bound::Bound;
use crate::error::ENCODE_FAILED;

/// How values are written.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    separator: u8,
    plain_decimals: bool,
    ignore_nulls: bool,
    null_key: NullKey,
}

#[derive(Clone, Debug)]
enum NullKey {
    Fail,
    Drop,
    Literal(String),
}

impl Style {
    pub(crate) fn new(options: &Options) -> Self {
        let null_key = match options.required("map-null-key.mode").to_ascii_uppercase().as_str() {
            "DROP" => NullKey::Drop,
            "LITERAL" => NullKey::Literal(options.required("map-null-key.literal").to_owned()),
            _ => NullKey::Fail,
        };
        Self {
            separator: separator(options),
            plain_decimals: options.bool("encode.decimal-as-plain-number"),
            ignore_nulls: options.bool("encode.ignore-null-fields"),
            null_key,
        }
    }
}

pub(super) struct JsonEncoding {
    pub(super) request: FormatRequest,
    pub(super) style: Style,
}

impl Encoding for JsonEncoding {
    fn encoder(&self) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(JsonEncoder { style: self.style.clone(), table: self.request.table.clone() }))
    }

    fn extension(&self) -> &'static str {
        "json"
    }

    fn changelog(&self) -> bool {
        false
    }

    fn appendable(&self) -> bool {
        true
    }
}

struct JsonEncoder {
    style: Style,
    table: String,
}

impl Encoder for JsonEncoder {
    fn encode(&mut self, batch: &ChangeBatch, out: &mut Vec<u8>) -> Result<()> {
        let writer = BatchWriter::new(batch, &self.style).map_err(|e| e.context("table", self.table.clone()))?;
        for row in 0..batch.num_rows() {
            writer.write(row, out)?;
            out.push(b'\n');
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

/// The rows of one batch as JSON objects.
pub(crate) struct BatchWriter<'a> {
    fields: Vec<(Vec<u8>, Bound<'a>)>,
    style: &'a Style,
}

impl<'a> BatchWriter<'a> {
    /// Binds the columns of a batch.
    pub(crate) fn new(batch: &'a ChangeBatch, style: &'a Style) -> Result<Self> {
        let schema = batch.data.schema_ref();
        let fields = schema
            .fields()
            .iter()
            .zip(batch.data.columns())
            .map(|(f, c)| Ok((key(f.name()), Bound::new(c)?)))
            .collect::<Result<_>>()?;
        Ok(Self { fields, style })
    }

    /// Appends row `row` as an object.
    pub(crate) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        write_object(&self.fields, row, self.style, out)
    }
}

fn write_object(fields: &[(Vec<u8>, Bound<'_>)], row: usize, style: &Style, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    for (key, column) in fields {
        if style.ignore_nulls && column.is_null(row) {
            continue;
        }
        out.extend_from_slice(key);
        write_value(column, row, style, out)?;
    }
    // Every key comes with the comma before it; the first one's place is the brace's.
    match out.get_mut(start) {
        Some(first) => *first = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
    Ok(())
}

/// A field name as JSON between comma and colon: `,"name":`.
pub(crate) fn key(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 4);
    out.push(b',');
    write_string(&mut out, name);
    out.push(b':');
    out
}

fn write_value(column: &Bound<'_>, i: usize, style: &Style, out: &mut Vec<u8>) -> Result<()> {
    if column.is_null(i) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match column {
        Bound::Text(a) => write_string(out, a.value(i)),
        Bound::List(a, child) => {
            let range = a.value_offsets()[i] as usize..a.value_offsets()[i + 1] as usize;
            out.push(b'[');
            for (n, element) in range.enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write_value(child, element, style, out)?;
            }
            out.push(b']');
        }
        Bound::Map(a, keys, values) => {
            let range = a.value_offsets()[i] as usize..a.value_offsets()[i + 1] as usize;
            write_map(range, keys, values, style, out)?;
        }
        Bound::Row(_, fields) => write_object(fields, i, style, out)?,
        scalar => {
            let bare = match scalar {
                // JSON has no words for these; Flink writes them in quotes too.
                Bound::Float(a) => a.value(i).is_finite(),
                Bound::Double(a) => a.value(i).is_finite(),
                Bound::Bytes(_) | Bound::Date(_) | Bound::Time(_) | Bound::Timestamp(..) => false,
                _ => true,
            };
            if !bare {
                out.push(b'"');
            }
            scalar.write_plain(i, style.separator, style.plain_decimals, out);
            if !bare {
                out.push(b'"');
            }
        }
    }
    Ok(())
}

fn write_map(
    range: std::ops::Range<usize>,
    keys: &Bound<'_>,
    values: &Bound<'_>,
    style: &Style,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.push(b'{');
    let mut first = true;
    for entry in range {
        let name = match keys {
            Bound::Text(a) if a.is_valid(entry) => a.value(entry),
            _ => match &style.null_key {
                NullKey::Literal(literal) => literal,
                NullKey::Drop => continue,
                NullKey::Fail => {
                    return Err(Error::new(ENCODE_FAILED, "a map has a NULL key, which JSON cannot write")
                        .help("set 'map-null-key.mode' of the format to DROP or LITERAL"));
                }
            },
        };
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        write_value(values, entry, style, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// Appends a string in quotes, escaped.
#[inline]
pub(crate) fn write_string(out: &mut Vec<u8>, s: &str) {
    out.push(b'"');
    let bytes = s.as_bytes();
    let mut from = 0;
    loop {
        let stop = string_stop(bytes, from);
        out.extend_from_slice(&bytes[from..stop]);
        let Some(b) = bytes.get(stop) else { break };
        escape(out, *b);
        from = stop + 1;
    }
    out.push(b'"');
}

#[cold]
fn escape(out: &mut Vec<u8>, b: u8) {
    match b {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        8 => out.extend_from_slice(b"\\b"),
        12 => out.extend_from_slice(b"\\f"),
        _ => {
            let mut text = String::with_capacity(6);
            write!(text, "\\u{b:04x}").expect("writing to a String does not fail");
            out.extend_from_slice(text.as_bytes());
        }
    }
}
