//! MySQL's binary JSON, written as the text that the server itself writes.
//!
//! ```text
//! type | count | bytes | (key offset, key length)* | (value type, offset or value)* | keys | values
//! {"a": [1, 2.5], "b": null}
//! ```
//! # Invariants
//! A damaged document cannot make us write more than a constant times its size, nor recurse deeper than [`DEPTH_MAX`].
//!
//! # Source
//! `mysql/mysql-server`, `sql/json_binary.h`; the text of numbers: `strings/dtoa.cc: my_gcvt`.

use std::fmt::Write;

use super::super::bytes::{Cursor, Fault};
use super::super::table_map::column_type as t;
use super::decimal::Layout;
use super::temporal::{DateTime, write_date, write_datetime, write_time};

/// Levels of nesting; the server's own limit.
pub const DEPTH_MAX: usize = 100;
/// Characters of text per byte of a document: `\u00XX` for a key of one byte beside its entries is the worst.
const GROWTH_MAX: usize = 16;

const SMALL_OBJECT: u8 = 0;
const LARGE_OBJECT: u8 = 1;
const SMALL_ARRAY: u8 = 2;
const LARGE_ARRAY: u8 = 3;
const LITERAL: u8 = 4;
const INT16: u8 = 5;
const UINT16: u8 = 6;
const INT32: u8 = 7;
const UINT32: u8 = 8;
const INT64: u8 = 9;
const UINT64: u8 = 10;
const DOUBLE: u8 = 11;
const STRING: u8 = 12;
const OPAQUE: u8 = 15;

const BAD: Fault = Fault::Malformed("a JSON document is damaged");

/// Writes a document as text.
pub fn write(document: &[u8], out: &mut String) -> Result<(), Fault> {
    // What an ignored error leaves in a NOT NULL column.
    let Some((ty, rest)) = document.split_first() else {
        out.push_str("null");
        return Ok(());
    };
    let limit = out.len() + GROWTH_MAX * document.len() + 64;
    Writer { out, limit }.value(*ty, rest, 0)
}

struct Writer<'o> {
    out: &'o mut String,
    limit: usize,
}

impl Writer<'_> {
    fn value(&mut self, ty: u8, bytes: &[u8], depth: usize) -> Result<(), Fault> {
        if self.out.len() > self.limit {
            return Err(BAD);
        }
        let mut c = Cursor(bytes);
        match ty {
            SMALL_OBJECT | LARGE_OBJECT => self.container(bytes, true, ty == LARGE_OBJECT, depth)?,
            SMALL_ARRAY | LARGE_ARRAY => self.container(bytes, false, ty == LARGE_ARRAY, depth)?,
            LITERAL => self.out.push_str(match c.u8()? {
                0 => "null",
                1 => "true",
                2 => "false",
                _ => return Err(BAD),
            }),
            INT16 => self.number(c.u16()? as i16),
            UINT16 => self.number(c.u16()?),
            INT32 => self.number(c.u32()? as i32),
            UINT32 => self.number(c.u32()?),
            INT64 => self.number(c.u64()? as i64),
            UINT64 => self.number(c.u64()?),
            DOUBLE => write_double(f64::from_bits(c.u64()?), self.out),
            STRING => {
                let n = length(&mut c)?;
                self.string(c.take(n)?)?;
            }
            OPAQUE => {
                let ty = c.u8()?;
                let n = length(&mut c)?;
                self.opaque(ty, c.take(n)?)?;
            }
            _ => return Err(BAD),
        }
        Ok(())
    }

    fn number(&mut self, value: impl std::fmt::Display) {
        let _ = write!(self.out, "{value}");
    }

    fn container(&mut self, bytes: &[u8], object: bool, large: bool, depth: usize) -> Result<(), Fault> {
        if depth >= DEPTH_MAX {
            return Err(Fault::Malformed("a JSON document is nested too deeply"));
        }
        let width = if large { 4 } else { 2 };
        let mut c = Cursor(bytes);
        let count = c.uint_le(width)? as usize;
        let size = c.uint_le(width)? as usize;
        let whole = bytes.get(..size).ok_or(Fault::Truncated)?;
        let mut keys = c;
        if object {
            c.take(count.checked_mul(width + 2).ok_or(BAD)?)?;
        }
        self.out.push(if object { '{' } else { '[' });
        for i in 0..count {
            if i > 0 {
                self.out.push_str(", ");
            }
            if object {
                let offset = keys.uint_le(width)? as usize;
                let length = usize::from(keys.u16()?);
                let key = whole.get(offset..).and_then(|tail| tail.get(..length)).ok_or(Fault::Truncated)?;
                self.string(key)?;
                self.out.push_str(": ");
            }
            let ty = c.u8()?;
            let entry = c.take(width)?;
            let inline = matches!(ty, LITERAL | INT16 | UINT16) || large && matches!(ty, INT32 | UINT32);
            let value = match inline {
                true => entry,
                false => whole.get(Cursor(entry).uint_le(width)? as usize..).ok_or(Fault::Truncated)?,
            };
            self.value(ty, value, depth + 1)?;
        }
        self.out.push(if object { '}' } else { ']' });
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.out.len() > self.limit {
            return Err(BAD);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| BAD)?;
        write_string(text, self.out);
        Ok(())
    }

    /// A value of a type that JSON does not have.
    fn opaque(&mut self, ty: u8, bytes: &[u8]) -> Result<(), Fault> {
        let mut c = Cursor(bytes);
        match ty {
            t::NEWDECIMAL => {
                let layout = Layout::new(c.u8()?, c.u8()?)?;
                layout.write(c.take(layout.bytes())?, self.out)?;
            }
            t::DATE | t::DATETIME | t::TIMESTAMP => {
                let packed = c.u64()?;
                let value = unpack(packed)?;
                self.out.push('"');
                match ty {
                    t::DATE => write_date(value.date, self.out),
                    _ => write_datetime(value, 6, self.out),
                }
                self.out.push('"');
            }
            t::TIME => {
                let packed = c.u64()? as i64;
                let (hms, micros) = (packed.unsigned_abs() >> 24, packed.unsigned_abs() & 0xff_ffff);
                let seconds = (hms >> 12 & 0x3ff) * 3_600 + (hms >> 6 & 63) * 60 + (hms & 63);
                let value = (seconds * 1_000_000 + micros) as i64;
                self.out.push('"');
                write_time(if packed < 0 { -value } else { value }, 6, self.out);
                self.out.push('"');
            }
            _ => {
                let _ = write!(self.out, "\"base64:type{ty}:");
                write_base64(bytes, self.out);
                self.out.push('"');
            }
        }
        Ok(())
    }
}

/// A length of seven bits per byte, the lowest first.
fn length(c: &mut Cursor<'_>) -> Result<usize, Fault> {
    let mut n = 0;
    for shift in (0..35).step_by(7) {
        let byte = c.u8()?;
        n |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(n);
        }
    }
    Err(BAD)
}

/// Date, time and microseconds in 64 bits.
fn unpack(packed: u64) -> Result<DateTime, Fault> {
    let bytes = ((packed >> 24) + (1 << 39)).to_be_bytes();
    let mut value = super::temporal::datetime(&mut Cursor(&bytes[3..]), 0)?;
    value.micros += (packed & 0xff_ffff) as i64;
    Ok(value)
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut from = 0;
    for (i, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            0x0c => "\\f",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[from..i]);
        match escape {
            "" => _ = write!(out, "\\u{byte:04x}"),
            escape => out.push_str(escape),
        }
        from = i + 1;
    }
    out.push_str(&text[from..]);
    out.push('"');
}

/// Digits that are written without an exponent.
const PLAIN_DIGITS_MAX: i32 = 15;

/// The shortest digits that read back, as the server arranges them: `1.0`, `0.001`, `1e16`, `1.5e-20`.
fn write_double(value: f64, out: &mut String) {
    let shortest = format!("{value:e}");
    let Some((mantissa, exponent)) = shortest.split_once('e') else {
        // Not a number; the server stores none.
        out.push_str("null");
        return;
    };
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |m| ("-", m));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let n = digits.len() as i32;
    // Where the point stands: 0.digits * 10^point.
    let point = if value == 0.0 { 1 } else { exponent + 1 };
    out.push_str(sign);
    if !(1 - PLAIN_DIGITS_MAX..=PLAIN_DIGITS_MAX).contains(&point) {
        let _ = match n {
            1 => write!(out, "{digits}e{exponent}"),
            _ => write!(out, "{}.{}e{exponent}", &digits[..1], &digits[1..]),
        };
        return;
    }
    if point <= 0 {
        out.push_str("0.");
        (point..0).for_each(|_| out.push('0'));
        out.push_str(&digits);
    } else if point >= n {
        out.push_str(&digits);
        (n..point).for_each(|_| out.push('0'));
        out.push_str(".0");
    } else {
        let (integer, fraction) = digits.split_at(point as usize);
        let _ = write!(out, "{integer}.{fraction}");
    }
}

/// Base64 with padding.
pub(super) fn write_base64(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let bits = group.iter().chain([0, 0].iter()).take(3).fold(0, |v, b| v << 8 | usize::from(*b));
        for i in 0..4 {
            match i <= group.len() {
                true => out.push(char::from(DIGITS[bits >> (18 - 6 * i) & 63])),
                false => out.push('='),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(document: &[u8]) -> Result<String, Fault> {
        let mut out = String::new();
        write(document, &mut out)?;
        Ok(out)
    }

    #[test]
    fn doubles_look_as_the_server_writes_them() {
        let double = |value: f64| text(&[&[DOUBLE][..], &value.to_bits().to_le_bytes()].concat()).unwrap();
        for (value, shown) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-2.5, "-2.5"),
            (0.001, "0.001"),
            (100_000_000_000_000.0, "100000000000000.0"),
            (1e15, "1e15"),
            (1.25e20, "1.25e20"),
            (1.5e-20, "1.5e-20"),
        ] {
            assert_eq!(double(value), shown);
        }
    }

    #[test]
    fn containers_nest_and_strings_are_escaped() {
        // [null, {"k": "\n"}]
        let document = [
            2, 2, 0, 24, 0, 4, 0, 0, 0, 10, 0, // array of two, the second at 10
            1, 0, 14, 0, 11, 0, 1, 0, 12, 12, 0, b'k', 1, b'\n',
        ];
        assert_eq!(text(&document).unwrap(), r#"[null, {"k": "\n"}]"#);
        assert_eq!(text(&[]).unwrap(), "null");
        let mut out = String::new();
        write_string("a\"\\\u{1}é", &mut out);
        assert_eq!(out, "\"a\\\"\\\\\\u0001é\"");
    }

    #[test]
    fn base64_is_padded() {
        let encode = |bytes: &[u8]| {
            let mut out = String::new();
            write_base64(bytes, &mut out);
            out
        };
        assert_eq!((encode(b"a"), encode(b"ab"), encode(b"abc")), ("YQ==".into(), "YWI=".into(), "YWJj".into()));
    }

    #[test]
    fn document_that_points_into_itself_ends() {
        // An array whose elements are itself, and one of many elements that are one another.
        assert!(text(&[2, 1, 0, 7, 0, 2, 0, 0]).is_err());
        let mut bomb = vec![2u8, 40, 0, 124, 0];
        (0..40).for_each(|_| bomb.extend([2, 0, 0]));
        assert!(text(&bomb).is_err());
    }
}
