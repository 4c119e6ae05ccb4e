//! Values of one column: from the bytes of a row image to a [`Cell`], from there into an Arrow builder ([`sink`]).
//!
//! # Invariants
//! [`Wire::skip`] passes over exactly the bytes that [`Wire::read`] reads.

pub mod address;
pub mod decimal;
pub mod fit;
pub mod geometry;
pub mod json;
pub mod sink;
pub mod temporal;

use self::decimal::Layout;
use self::temporal::{Date, DateTime, fraction_bytes};
use super::bytes::{Cursor, Fault};
use super::table_map::{ColumnDef, column_type as t};

/// How a column is written in a row image.
#[allow(missing_docs, reason = "the types' own names")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// A whole number of so many bytes.
    Int {
        bytes: u8,
        unsigned: bool,
    },
    Float,
    Double,
    Decimal(Layout),
    Year,
    Date,
    OldTime,
    OldDateTime,
    OldTimestamp,
    /// Bytes of their fractions.
    Time(u8),
    DateTime(u8),
    Timestamp(u8),
    /// Bytes behind a length of so many bytes.
    Bytes(u8),
    /// The same, compressed by MariaDB.
    Compressed(u8),
    /// So many bytes.
    Bits(u8),
    /// A number of so many bytes: which value.
    Enum(u8),
    /// So many bytes: a bit for each value.
    Set(u8),
}

/// A value as the log has it.
#[allow(missing_docs, reason = "the types' own names")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    Int(i64),
    UInt(u64),
    Float(f32),
    Double(f64),
    /// The bytes of a DECIMAL.
    Decimal(&'a [u8]),
    /// 0, or 1901 to 2155.
    Year(u16),
    Date(Date),
    DateTime(DateTime),
    /// Microseconds since 1970 in UTC.
    Timestamp(i64),
    /// Microseconds.
    Time(i64),
    Bytes(&'a [u8]),
    /// The highest bit first.
    Bits(&'a [u8]),
    /// From 1; 0 is the value that is none of them.
    Enum(u64),
    Set(u64),
}

impl Wire {
    /// How the log writes a column.
    ///
    /// # Errors
    /// When its type cannot be read.
    pub fn of(column: &ColumnDef) -> Result<Wire, Fault> {
        let int = |bytes| Wire::Int { bytes, unsigned: column.unsigned.unwrap_or(false) };
        let [high, low] = column.meta.to_be_bytes();
        let bytes_of_fraction = || match low {
            0..=6 => Ok(fraction_bytes(low) as u8),
            _ => Err(Fault::Malformed("a time has an impossible precision")),
        };
        let bytes_of_length = || match low {
            1..=4 => Ok(low),
            _ => Err(Fault::Malformed("a length has an impossible width")),
        };
        Ok(match column.ty {
            t::TINY => int(1),
            t::SHORT => int(2),
            t::INT24 => int(3),
            t::LONG => int(4),
            t::LONGLONG => int(8),
            t::FLOAT => Wire::Float,
            t::DOUBLE => Wire::Double,
            t::NEWDECIMAL => Wire::Decimal(Layout::new(high, low)?),
            t::YEAR => Wire::Year,
            t::DATE | t::NEWDATE => Wire::Date,
            t::TIME => Wire::OldTime,
            t::DATETIME => Wire::OldDateTime,
            t::TIMESTAMP => Wire::OldTimestamp,
            t::TIME2 => Wire::Time(bytes_of_fraction()?),
            t::DATETIME2 => Wire::DateTime(bytes_of_fraction()?),
            t::TIMESTAMP2 => Wire::Timestamp(bytes_of_fraction()?),
            t::STRING | t::VARCHAR | t::VAR_STRING => Wire::Bytes(if column.meta > 255 { 2 } else { 1 }),
            t::MARIA_VARCHAR_COMPRESSED => Wire::Compressed(if column.meta > 255 { 2 } else { 1 }),
            t::TINY_BLOB..=t::BLOB | t::GEOMETRY | t::JSON | t::VECTOR => Wire::Bytes(bytes_of_length()?),
            t::TYPED_ARRAY => Wire::Bytes(4),
            t::MARIA_BLOB_COMPRESSED => Wire::Compressed(bytes_of_length()?),
            t::BIT => match column.meta {
                1..=64 => Wire::Bits(column.meta.div_ceil(8) as u8),
                _ => return Err(Fault::Malformed("a BIT has an impossible width")),
            },
            t::ENUM => match low {
                1 | 2 => Wire::Enum(low),
                _ => return Err(Fault::Malformed("an ENUM has an impossible width")),
            },
            t::SET => match low {
                1..=8 => Wire::Set(low),
                _ => return Err(Fault::Malformed("a SET has an impossible width")),
            },
            _ => return Err(Fault::Malformed("a column has a type that rows cannot have")),
        })
    }

    /// Passes over a value.
    #[inline]
    pub fn skip(self, c: &mut Cursor<'_>) -> Result<(), Fault> {
        let n = match self {
            Wire::Int { bytes, .. } => usize::from(bytes),
            Wire::Float | Wire::OldTimestamp => 4,
            Wire::Double | Wire::OldDateTime => 8,
            Wire::Decimal(layout) => layout.bytes(),
            Wire::Year => 1,
            Wire::Date | Wire::OldTime => 3,
            Wire::Time(n) => 3 + usize::from(n),
            Wire::DateTime(n) => 5 + usize::from(n),
            Wire::Timestamp(n) => 4 + usize::from(n),
            Wire::Bytes(n) | Wire::Compressed(n) => c.uint_le(n.into())? as usize,
            Wire::Bits(n) | Wire::Enum(n) | Wire::Set(n) => usize::from(n),
        };
        c.take(n).map(|_| ())
    }

    /// Reads a value.
    #[inline]
    pub fn read<'a>(self, c: &mut Cursor<'a>) -> Result<Cell<'a>, Fault> {
        Ok(match self {
            Wire::Int { bytes, unsigned } => match (bytes, unsigned) {
                (1, false) => Cell::Int(i64::from(c.u8()? as i8)),
                (1, true) => Cell::UInt(u64::from(c.u8()?)),
                (2, false) => Cell::Int(i64::from(c.u16()? as i16)),
                (2, true) => Cell::UInt(u64::from(c.u16()?)),
                (3, false) => Cell::Int(i64::from((c.uint_le(3)? as i32) << 8 >> 8)),
                (3, true) => Cell::UInt(c.uint_le(3)?),
                (4, false) => Cell::Int(i64::from(c.u32()? as i32)),
                (4, true) => Cell::UInt(u64::from(c.u32()?)),
                (_, false) => Cell::Int(c.u64()? as i64),
                (_, true) => Cell::UInt(c.u64()?),
            },
            Wire::Float => Cell::Float(f32::from_bits(c.u32()?)),
            Wire::Double => Cell::Double(f64::from_bits(c.u64()?)),
            Wire::Decimal(layout) => Cell::Decimal(c.take(layout.bytes())?),
            Wire::Year => match c.u8()? {
                0 => Cell::Year(0),
                n => Cell::Year(1900 + u16::from(n)),
            },
            Wire::Date => Cell::Date(temporal::date(c)?),
            Wire::OldTime => Cell::Time(temporal::old_time(c)?),
            Wire::OldDateTime => Cell::DateTime(temporal::old_datetime(c)?),
            Wire::OldTimestamp => Cell::Timestamp(temporal::old_timestamp(c)?),
            Wire::Time(n) => Cell::Time(temporal::time(c, n.into())?),
            Wire::DateTime(n) => Cell::DateTime(temporal::datetime(c, n.into())?),
            Wire::Timestamp(n) => Cell::Timestamp(temporal::timestamp(c, n.into())?),
            Wire::Bytes(n) | Wire::Compressed(n) => {
                let length = c.uint_le(n.into())? as usize;
                Cell::Bytes(c.take(length)?)
            }
            Wire::Bits(n) => Cell::Bits(c.take(n.into())?),
            Wire::Enum(n) => Cell::Enum(c.uint_le(n.into())?),
            Wire::Set(n) => Cell::Set(c.uint_le(n.into())?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipping_passes_over_what_reading_reads() {
        let layout = Layout::new(10, 2).unwrap();
        let wires = [
            Wire::Int { bytes: 3, unsigned: false },
            Wire::Int { bytes: 8, unsigned: true },
            Wire::Float,
            Wire::Double,
            Wire::Decimal(layout),
            Wire::Year,
            Wire::Date,
            Wire::OldTimestamp,
            Wire::Bytes(1),
            Wire::Bytes(3),
            Wire::Bits(2),
            Wire::Enum(2),
            Wire::Set(8),
        ];
        let bytes = [1u8, 0, 0, 0].repeat(8);
        for wire in wires {
            let (mut read, mut skipped) = (Cursor(&bytes[..]), Cursor(&bytes[..]));
            wire.read(&mut read).unwrap();
            wire.skip(&mut skipped).unwrap();
            assert_eq!(read.0.len(), skipped.0.len(), "{wire:?}");
        }
    }

    #[test]
    fn three_byte_numbers_have_a_sign() {
        let read = |unsigned| Wire::Int { bytes: 3, unsigned }.read(&mut Cursor(&[0xff, 0xff, 0xff])).unwrap();
        assert_eq!((read(false), read(true)), (Cell::Int(-1), Cell::UInt(16_777_215)));
        assert_eq!(Wire::Year.read(&mut Cursor(&[0])).unwrap(), Cell::Year(0));
    }
}
