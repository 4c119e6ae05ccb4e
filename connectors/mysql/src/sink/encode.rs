//! Arrow columns as values of the binary protocol, exactly or not at all.
//!
//! | SQL | sent as | refused |
//! |---|---|---|
//! | BOOLEAN, integers | integer | |
//! | FLOAT, DOUBLE | the same bits | NaN, infinity |
//! | DECIMAL | its digits | digits behind the point that the column does not keep |
//! | STRING, BYTES | their bytes; into BIT the lowest first, as sources read it | |
//! | DATE | year, month, day | years outside 0 to 9999 |
//! | TIME | clock | milliseconds that the column does not keep |
//! | TIMESTAMP | into DATETIME: as it reads; into TIMESTAMP: the instant at which the session's zone reads so | fractions that the column does not keep |
//! | TIMESTAMP_LTZ | into TIMESTAMP: the instant; into DATETIME: what the session's zone reads | the same |
//!
//! MySQL rounds what it does not keep, without a word. Here that is an error, unless the digits are zeros.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Decimal128Array, Float32Array, Float64Array,
    PrimitiveArray, StringViewArray,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use mysql_async::Value;
use mysql_async::consts::ColumnType;

use crate::client::zone::{DAY, SECOND, Zone, civil};

/// What the server's column keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// An instant, with so many digits of a second.
    Instant(u8),
    /// A wall-clock reading or a time of day, with so many digits of a second.
    Clock(u8),
    /// A decimal with so many digits behind the point.
    Digits(u8),
    /// A number of bits.
    Bits,
    /// Whatever it is given.
    Anything,
}

impl Keeps {
    /// From the column's description.
    pub(crate) fn of(column: &mysql_async::Column) -> Keeps {
        let digits = column.decimals();
        match column.column_type() {
            ColumnType::MYSQL_TYPE_TIMESTAMP | ColumnType::MYSQL_TYPE_TIMESTAMP2 => Keeps::Instant(digits.min(6)),
            ColumnType::MYSQL_TYPE_DATETIME
            | ColumnType::MYSQL_TYPE_DATETIME2
            | ColumnType::MYSQL_TYPE_TIME
            | ColumnType::MYSQL_TYPE_TIME2 => Keeps::Clock(digits.min(6)),
            ColumnType::MYSQL_TYPE_DECIMAL | ColumnType::MYSQL_TYPE_NEWDECIMAL => Keeps::Digits(digits),
            ColumnType::MYSQL_TYPE_TINY
            | ColumnType::MYSQL_TYPE_SHORT
            | ColumnType::MYSQL_TYPE_INT24
            | ColumnType::MYSQL_TYPE_LONG
            | ColumnType::MYSQL_TYPE_LONGLONG => Keeps::Digits(0),
            ColumnType::MYSQL_TYPE_BIT => Keeps::Bits,
            _ => Keeps::Anything,
        }
    }

    /// Microseconds that must divide a time.
    fn micros(self) -> i64 {
        match self {
            Keeps::Instant(digits) | Keeps::Clock(digits) => 10_i64.pow(6 - u32::from(digits)),
            Keeps::Digits(_) | Keeps::Bits | Keeps::Anything => 1,
        }
    }
}

/// A column that is read value by value.
pub(crate) enum Encoder<'a> {
    Bool(&'a BooleanArray),
    I8(&'a PrimitiveArray<Int8Type>),
    I16(&'a PrimitiveArray<Int16Type>),
    I32(&'a PrimitiveArray<Int32Type>),
    I64(&'a PrimitiveArray<Int64Type>),
    F32(&'a Float32Array),
    F64(&'a Float64Array),
    Decimal {
        values: &'a Decimal128Array,
        scale: u32,
        divisor: i128,
    },
    Text(&'a StringViewArray),
    Bytes(&'a BinaryViewArray),
    /// The lowest byte first; the server wants it last.
    Bits(&'a BinaryViewArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Time {
        values: &'a PrimitiveArray<Time32MillisecondType>,
        micros: i64,
    },
    Timestamp(Timestamps<'a>),
}

/// A column of timestamps.
pub(crate) struct Timestamps<'a> {
    values: &'a ScalarBuffer<i64>,
    nulls: Option<&'a NullBuffer>,
    unit: TimeUnit,
    micros: i64,
    shift: Shift,
}

/// What happens to a time on its way.
#[derive(Clone, Copy)]
enum Shift {
    None,
    ToLocal(Zone),
    ToInstant(Zone),
}

impl<'a> Encoder<'a> {
    /// Of a column that goes into a column of the server; `None` for a type that has no counterpart (refused when the table was planned).
    pub(crate) fn new(array: &'a ArrayRef, keeps: Keeps, zone: Zone) -> Option<Encoder<'a>> {
        Some(match array.data_type() {
            DataType::Boolean => Encoder::Bool(array.as_boolean()),
            DataType::Int8 => Encoder::I8(array.as_primitive()),
            DataType::Int16 => Encoder::I16(array.as_primitive()),
            DataType::Int32 => Encoder::I32(array.as_primitive()),
            DataType::Int64 => Encoder::I64(array.as_primitive()),
            DataType::Float32 => Encoder::F32(array.as_primitive()),
            DataType::Float64 => Encoder::F64(array.as_primitive()),
            DataType::Decimal128(_, scale) => {
                let scale = u32::from(scale.unsigned_abs());
                let kept = if let Keeps::Digits(digits) = keeps { u32::from(digits) } else { scale };
                Encoder::Decimal {
                    values: array.as_primitive(),
                    scale,
                    divisor: 10_i128.pow(scale.saturating_sub(kept)),
                }
            }
            DataType::Utf8View => Encoder::Text(array.as_string_view()),
            DataType::BinaryView if keeps == Keeps::Bits => Encoder::Bits(array.as_binary_view()),
            DataType::BinaryView => Encoder::Bytes(array.as_binary_view()),
            DataType::Date32 => Encoder::Date(array.as_primitive()),
            DataType::Time32(TimeUnit::Millisecond) => {
                Encoder::Time { values: array.as_primitive(), micros: keeps.micros() }
            }
            DataType::Timestamp(unit, instant) => {
                let shift = match (instant.is_some(), keeps) {
                    (true, Keeps::Instant(_)) => Shift::None,
                    (true, _) => Shift::ToLocal(zone),
                    (false, Keeps::Instant(_)) => Shift::ToInstant(zone),
                    (false, _) => Shift::None,
                };
                let micros = keeps.micros();
                let of = |values, nulls| Encoder::Timestamp(Timestamps { values, nulls, unit: *unit, micros, shift });
                match unit {
                    TimeUnit::Millisecond => parts::<TimestampMillisecondType>(array, of),
                    TimeUnit::Microsecond => parts::<TimestampMicrosecondType>(array, of),
                    TimeUnit::Nanosecond => parts::<TimestampNanosecondType>(array, of),
                    TimeUnit::Second => return None,
                }
            }
            _ => return None,
        })
    }

    /// The value of a row.
    ///
    /// # Errors
    /// Why it cannot be stored as it is.
    pub(crate) fn value(&self, row: usize) -> Result<Value, String> {
        fn or_null<A: Array>(array: &A, row: usize, value: impl FnOnce(&A) -> Value) -> Result<Value, String> {
            Ok(if array.is_null(row) { Value::NULL } else { value(array) })
        }
        match self {
            Encoder::Bool(a) => or_null(*a, row, |a| Value::Int(a.value(row).into())),
            Encoder::I8(a) => or_null(*a, row, |a| Value::Int(a.value(row).into())),
            Encoder::I16(a) => or_null(*a, row, |a| Value::Int(a.value(row).into())),
            Encoder::I32(a) => or_null(*a, row, |a| Value::Int(a.value(row).into())),
            Encoder::I64(a) => or_null(*a, row, |a| Value::Int(a.value(row))),
            Encoder::Text(a) => or_null(*a, row, |a| Value::Bytes(a.value(row).as_bytes().to_vec())),
            Encoder::Bytes(a) => or_null(*a, row, |a| Value::Bytes(a.value(row).to_vec())),
            Encoder::Bits(a) => or_null(*a, row, |a| Value::Bytes(a.value(row).iter().rev().copied().collect())),
            Encoder::F32(a) if !a.is_null(row) => match a.value(row) {
                v if v.is_finite() => Ok(Value::Float(v)),
                v => Err(format!("{v} is not a number that MySQL has")),
            },
            Encoder::F64(a) if !a.is_null(row) => match a.value(row) {
                v if v.is_finite() => Ok(Value::Double(v)),
                v => Err(format!("{v} is not a number that MySQL has")),
            },
            Encoder::Decimal { values, scale, divisor } if !values.is_null(row) => {
                let unscaled = values.value(row);
                let text = decimal_text(unscaled, *scale);
                if unscaled % divisor != 0 {
                    return Err(format!("{text} has more digits behind the point than the column keeps"));
                }
                Ok(Value::Bytes(text.into_bytes()))
            }
            Encoder::Date(a) if !a.is_null(row) => {
                let (year, month, day) = civil(a.value(row).into());
                let year = year_of(year)?;
                Ok(Value::Date(year, month, day, 0, 0, 0, 0))
            }
            Encoder::Time { values, micros } if !values.is_null(row) => {
                let time = i64::from(values.value(row)) * 1_000;
                fits(time, *micros)?;
                let clock = Clock::of(time);
                Ok(Value::Time(false, 0, clock.hour, clock.minute, clock.second, clock.micros))
            }
            Encoder::Timestamp(t) if t.nulls.is_none_or(|n| n.is_valid(row)) => t.value(row),
            _ => Ok(Value::NULL),
        }
    }

    /// Bytes of a row's value on the wire, about.
    pub(crate) fn bytes(&self, row: usize) -> usize {
        match self {
            Encoder::Text(a) => a.views()[row] as u32 as usize + 4,
            Encoder::Bytes(a) | Encoder::Bits(a) => a.views()[row] as u32 as usize + 4,
            Encoder::Decimal { .. } => 24,
            _ => 12,
        }
    }
}

fn parts<'a, T: ArrowPrimitiveType<Native = i64>>(
    array: &'a ArrayRef,
    of: impl FnOnce(&'a ScalarBuffer<i64>, Option<&'a NullBuffer>) -> Encoder<'a>,
) -> Encoder<'a> {
    let array = array.as_primitive::<T>();
    of(array.values(), array.nulls())
}

impl Timestamps<'_> {
    fn value(&self, row: usize) -> Result<Value, String> {
        let value = self.values[row];
        let micros = match self.unit {
            TimeUnit::Second | TimeUnit::Millisecond => value.checked_mul(1_000).ok_or("it is too far away")?,
            TimeUnit::Microsecond => value,
            TimeUnit::Nanosecond => {
                if value % 1_000 != 0 {
                    return Err("it has nanoseconds, and MySQL keeps microseconds".into());
                }
                value / 1_000
            }
        };
        fits(micros, self.micros)?;
        let micros = match self.shift {
            Shift::None => micros,
            Shift::ToLocal(zone) => zone.local(micros),
            Shift::ToInstant(zone) => zone.instant(micros),
        };
        let (year, month, day) = civil(micros.div_euclid(DAY));
        let clock = Clock::of(micros.rem_euclid(DAY));
        Ok(Value::Date(year_of(year)?, month, day, clock.hour, clock.minute, clock.second, clock.micros))
    }
}

struct Clock {
    hour: u8,
    minute: u8,
    second: u8,
    micros: u32,
}

impl Clock {
    /// Of microseconds since midnight.
    fn of(micros: i64) -> Clock {
        let seconds = micros / SECOND;
        Clock {
            hour: (seconds / 3_600) as u8,
            minute: (seconds / 60 % 60) as u8,
            second: (seconds % 60) as u8,
            micros: (micros % SECOND) as u32,
        }
    }
}

fn fits(micros: i64, divisor: i64) -> Result<(), String> {
    if micros % divisor == 0 {
        Ok(())
    } else {
        Err("it has fractions of a second that the column does not keep".into())
    }
}

fn year_of(year: i64) -> Result<u16, String> {
    u16::try_from(year).ok().filter(|y| *y <= 9_999).ok_or(format!("MySQL has no year {year}"))
}

/// `-12.50` of -1250 and 2.
fn decimal_text(unscaled: i128, scale: u32) -> String {
    let digits = unscaled.unsigned_abs();
    let sign = if unscaled < 0 { "-" } else { "" };
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let unit = 10_u128.pow(scale);
    format!("{sign}{}.{:0width$}", digits / unit, digits % unit, width = scale as usize)
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
