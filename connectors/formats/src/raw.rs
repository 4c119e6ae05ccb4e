//! `raw`: the record is the value of the table's only column.
//!
//! A file's records are its lines, empty ones included. `STRING` is UTF-8, `BYTES` anything; whole and floating-point
//! numbers are their bytes in `raw.endianness`, `BOOLEAN` is one byte, not 0 for true.

use std::sync::Arc;

use dflow_common::{ChangeBatch, TypeKind};
use dflow_connector_api::format::{
    Decoding, Encoder, Encoding, FormatFactory, FormatRequest, RecordDecoder, RecordDecoding,
};
use dflow_connector_api::{Error, FormatSpec, OptionSpec, OptionType, Options, Result};

use crate::bound::Bound;
use crate::column::ColumnBuilder;
use crate::error::TYPE_NOT_SUPPORTED;
use crate::json::decode::utf8;
use crate::records::{BodyFault, LineDecoder, RecordBody, Rows};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("charset", OptionType::Enum(&["UTF-8"]), "How text is encoded.").default("UTF-8"),
    OptionSpec::new(
        "endianness",
        OptionType::Enum(&["big-endian", "little-endian"]),
        "The order of the bytes of numbers.",
    )
    .default("big-endian"),
];

static SPEC: FormatSpec = FormatSpec {
    name: "raw",
    summary: "The whole record is one column.",
    options: OPTIONS,
    decodes: true,
    encodes: true,
    changelog: false,
};

/// The `raw` format.
pub struct Raw;

impl FormatFactory for Raw {
    fn spec(&self) -> &'static FormatSpec {
        &SPEC
    }

    fn decoding(&self, request: &FormatRequest) -> Result<Decoding, Vec<Error>> {
        let big_endian = check(request)?;
        Ok(Decoding::Records(Arc::new(RawDecoding { request: request.clone(), big_endian })))
    }

    fn encoding(&self, request: &FormatRequest) -> Result<Arc<dyn Encoding>, Vec<Error>> {
        Ok(Arc::new(RawEncoding { big_endian: check(request)? }))
    }
}

/// Checks options and the one column; returns whether numbers are big-endian.
fn check(request: &FormatRequest) -> Result<bool, Vec<Error>> {
    let options = Options::check("format 'raw'", OPTIONS, &request.options, request.span)?;
    let columns = &request.schema.columns;
    let [column] = columns.as_slice() else {
        return Err(vec![
            Error::new(TYPE_NOT_SUPPORTED, format!("format 'raw' carries one column, the table has {}", columns.len()))
                .at(request.span, "")
                .help("keep one column, or choose another format"),
        ]);
    };
    let supported = matches!(
        column.ty.kind,
        TypeKind::Char(_)
            | TypeKind::VarChar(_)
            | TypeKind::Binary(_)
            | TypeKind::VarBinary(_)
            | TypeKind::Boolean
            | TypeKind::TinyInt
            | TypeKind::SmallInt
            | TypeKind::Int
            | TypeKind::BigInt
            | TypeKind::Float
            | TypeKind::Double
    );
    if !supported {
        return Err(vec![
            Error::new(TYPE_NOT_SUPPORTED, format!("format 'raw' cannot carry column `{}`", column.name))
                .at(column.span, column.ty.to_string())
                .help("use STRING, BYTES, BOOLEAN, a whole or a floating-point number"),
        ]);
    }
    Ok(options.required("endianness").eq_ignore_ascii_case("big-endian"))
}

struct RawDecoding {
    request: FormatRequest,
    big_endian: bool,
}

impl RecordDecoding for RawDecoding {
    fn decoder(&self, at_start: bool) -> Box<dyn RecordDecoder> {
        Box::new(LineDecoder::new(RawBody { big_endian: self.big_endian }, Rows::new(&self.request), at_start))
    }
}

struct RawBody {
    big_endian: bool,
}

impl RecordBody for RawBody {
    const SKIPS_BLANK_LINES: bool = false;
    const IS_TEXT: bool = false;

    fn decode(&mut self, record: &[u8], rows: &mut Rows) -> Result<(), BodyFault> {
        // Without a projected column only the number of records counts.
        if let Some(column) = rows.row.columns.first_mut() {
            push(record, column, self.big_endian).map_err(|message| (Some(rows.row.name(0).to_owned()), message))?;
        }
        rows.row.close();
        Ok(())
    }
}

fn push(record: &[u8], column: &mut ColumnBuilder, big: bool) -> Result<(), String> {
    fn number<const N: usize>(record: &[u8], big: bool) -> Result<[u8; N], String> {
        let mut bytes: [u8; N] =
            record.try_into().map_err(|_| format!("{} bytes where the column's type has {N}", record.len()))?;
        if !big {
            bytes.reverse();
        }
        Ok(bytes)
    }
    match column {
        ColumnBuilder::Text(b) => b.append_value(utf8(record).map_err(|(_, message)| message)?),
        ColumnBuilder::Bytes(b) => b.append_value(record),
        ColumnBuilder::Bool(b) => b.push(number::<1>(record, big)? != [0]),
        ColumnBuilder::Int8(b) => b.push(i8::from_be_bytes(number(record, big)?)),
        ColumnBuilder::Int16(b) => b.push(i16::from_be_bytes(number(record, big)?)),
        ColumnBuilder::Int32(b) => b.push(i32::from_be_bytes(number(record, big)?)),
        ColumnBuilder::Int64(b) => b.push(i64::from_be_bytes(number(record, big)?)),
        ColumnBuilder::Float(b) => b.push(f32::from_be_bytes(number(record, big)?)),
        ColumnBuilder::Double(b) => b.push(f64::from_be_bytes(number(record, big)?)),
        _ => return Err("the column's type has no raw form".into()),
    }
    Ok(())
}

struct RawEncoding {
    big_endian: bool,
}

impl Encoding for RawEncoding {
    fn encoder(&self) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(RawEncoder { big_endian: self.big_endian }))
    }

    fn extension(&self) -> &'static str {
        "raw"
    }

    fn changelog(&self) -> bool {
        false
    }

    fn appendable(&self) -> bool {
        true
    }
}

struct RawEncoder {
    big_endian: bool,
}

impl Encoder for RawEncoder {
    fn encode(&mut self, batch: &ChangeBatch, out: &mut Vec<u8>) -> Result<()> {
        let Some(column) = batch.data.columns().first() else { return Ok(()) };
        let bound = Bound::new(column)?;
        for row in 0..batch.num_rows() {
            if !bound.is_null(row) {
                self.write(&bound, row, out);
            }
            out.push(b'\n');
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

impl RawEncoder {
    fn write(&self, column: &Bound<'_>, i: usize, out: &mut Vec<u8>) {
        let start = out.len();
        match column {
            Bound::Text(a) => return out.extend_from_slice(a.value(i).as_bytes()),
            Bound::Bytes(a) => return out.extend_from_slice(a.value(i)),
            Bound::Bool(a) => out.push(a.value(i).into()),
            Bound::Int8(a) => out.extend_from_slice(&a.value(i).to_be_bytes()),
            Bound::Int16(a) => out.extend_from_slice(&a.value(i).to_be_bytes()),
            Bound::Int32(a) => out.extend_from_slice(&a.value(i).to_be_bytes()),
            Bound::Int64(a) => out.extend_from_slice(&a.value(i).to_be_bytes()),
            Bound::Float(a) => out.extend_from_slice(&a.value(i).to_be_bytes()),
            Bound::Double(a) => out.extend_from_slice(&a.value(i).to_be_bytes()),
            _ => {}
        }
        if !self.big_endian {
            out[start..].reverse();
        }
    }
}
