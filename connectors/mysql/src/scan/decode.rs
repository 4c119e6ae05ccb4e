//! Values of the binary protocol into Arrow columns of the declared types, exactly or not at all.

use std::fmt::Write as _;

use arrow::array::builder::{BinaryViewBuilder, BooleanBuilder, PrimitiveBuilder, StringViewBuilder};
use arrow::array::{ArrayRef, types::ArrowPrimitiveType};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use dflow_common::{SqlType, TypeKind};
use mysql_async::Value;

use crate::client::endpoint::ZeroDates;
use crate::client::zone::{DAY, SECOND, Zone, days};

/// A column under construction.
pub(crate) enum Decoder {
    Bool(BooleanBuilder),
    I8(PrimitiveBuilder<Int8Type>),
    I16(PrimitiveBuilder<Int16Type>),
    I32(PrimitiveBuilder<Int32Type>),
    I64(PrimitiveBuilder<Int64Type>),
    F32(PrimitiveBuilder<Float32Type>),
    F64(PrimitiveBuilder<Float64Type>),
    Decimal { values: PrimitiveBuilder<Decimal128Type>, precision: u8, scale: u8 },
    Text(StringViewBuilder),
    Bytes(BinaryViewBuilder),
    Date(PrimitiveBuilder<Date32Type>, ZeroDates),
    Time(PrimitiveBuilder<Time32MillisecondType>),
    Millis(PrimitiveBuilder<TimestampMillisecondType>, Times),
    Micros(PrimitiveBuilder<TimestampMicrosecondType>, Times),
    Nanos(PrimitiveBuilder<TimestampNanosecondType>, Times),
}

/// How a server's time becomes ours.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    zero_dates: ZeroDates,
    /// Whether the server's column is an instant (TIMESTAMP), told in UTC.
    from_instant: bool,
    /// Whether ours is (TIMESTAMP_LTZ).
    to_instant: bool,
    /// Microseconds our precision cannot tell apart.
    unit: i64,
    zone: Zone,
}

impl Decoder {
    /// For a declared type; `from_instant`: whether the server's column is a TIMESTAMP. `None` for types that were refused before.
    pub(crate) fn new(
        ty: &SqlType,
        from_instant: bool,
        zone: Zone,
        zero_dates: ZeroDates,
        rows: usize,
    ) -> Option<Decoder> {
        let arrow = ty.to_arrow();
        fn of<T: ArrowPrimitiveType>(ty: &arrow::datatypes::DataType, rows: usize) -> PrimitiveBuilder<T> {
            PrimitiveBuilder::with_capacity(rows).with_data_type(ty.clone())
        }
        Some(match ty.kind {
            TypeKind::Boolean => Decoder::Bool(BooleanBuilder::with_capacity(rows)),
            TypeKind::TinyInt => Decoder::I8(of(&arrow, rows)),
            TypeKind::SmallInt => Decoder::I16(of(&arrow, rows)),
            TypeKind::Int => Decoder::I32(of(&arrow, rows)),
            TypeKind::BigInt => Decoder::I64(of(&arrow, rows)),
            TypeKind::Float => Decoder::F32(of(&arrow, rows)),
            TypeKind::Double => Decoder::F64(of(&arrow, rows)),
            TypeKind::Decimal(precision, scale) => Decoder::Decimal { values: of(&arrow, rows), precision, scale },
            TypeKind::Char(_) | TypeKind::VarChar(_) => Decoder::Text(StringViewBuilder::with_capacity(rows)),
            TypeKind::Binary(_) | TypeKind::VarBinary(_) => Decoder::Bytes(BinaryViewBuilder::with_capacity(rows)),
            TypeKind::Date => Decoder::Date(of(&arrow, rows), zero_dates),
            TypeKind::Time(_) => Decoder::Time(of(&arrow, rows)),
            TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
                let to_instant = matches!(ty.kind, TypeKind::TimestampLtz(_));
                let unit = 10_i64.pow(6_u32.saturating_sub(p.into()));
                let times = Times { zero_dates, from_instant, to_instant, unit, zone };
                match p {
                    0..=3 => Decoder::Millis(of(&arrow, rows), times),
                    4..=6 => Decoder::Micros(of(&arrow, rows), times),
                    _ => Decoder::Nanos(of(&arrow, rows), times),
                }
            }
            _ => return None,
        })
    }

    /// Takes a value.
    ///
    /// # Errors
    /// Why the column cannot hold it.
    pub(crate) fn push(&mut self, value: &Value) -> Result<(), String> {
        match self {
            Decoder::Bool(b) => b.append_option(opt(value, |v| whole(v).map(|n| n != 0))?),
            Decoder::I8(b) => b.append_option(opt(value, fitting)?),
            Decoder::I16(b) => b.append_option(opt(value, fitting)?),
            Decoder::I32(b) => b.append_option(opt(value, fitting)?),
            Decoder::I64(b) => b.append_option(opt(value, fitting)?),
            Decoder::F32(b) => b.append_option(opt(value, |v| float(v).map(|f| f as f32))?),
            Decoder::F64(b) => b.append_option(opt(value, float)?),
            Decoder::Decimal { values, precision, scale } => {
                values.append_option(opt(value, |v| decimal(v, *precision, *scale))?);
            }
            Decoder::Text(b) => match value {
                Value::NULL => b.append_null(),
                Value::Bytes(bytes) => {
                    b.append_value(std::str::from_utf8(bytes).map_err(|_| "it is not text in UTF-8".to_owned())?);
                }
                other => b.append_value(text(other)),
            },
            Decoder::Bytes(b) => match value {
                Value::NULL => b.append_null(),
                Value::Bytes(bytes) => b.append_value(bytes),
                other => return Err(format!("{} is not a string of bytes", text(other))),
            },
            Decoder::Date(b, zero_dates) => b.append_option(match value {
                Value::NULL => None,
                Value::Date(y, m, d, ..) => date(*y, *m, *d, *zero_dates)?.map(|d| d as i32),
                other => return Err(format!("{} is not a date", text(other))),
            }),
            Decoder::Time(b) => b.append_option(opt(value, time)?),
            Decoder::Millis(b, t) => b.append_option(t.of(value)?.map(|v| v.div_euclid(1_000))),
            Decoder::Micros(b, t) => b.append_option(t.of(value)?),
            Decoder::Nanos(b, t) => match t.of(value)? {
                None => b.append_null(),
                Some(v) => b.append_value(v.checked_mul(1_000).ok_or("it is too far away for TIMESTAMP(9)")?),
            },
        }
        Ok(())
    }

    /// The column so far; it is empty then.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        use std::sync::Arc;
        match self {
            Decoder::Bool(b) => Arc::new(b.finish()),
            Decoder::I8(b) => Arc::new(b.finish()),
            Decoder::I16(b) => Arc::new(b.finish()),
            Decoder::I32(b) => Arc::new(b.finish()),
            Decoder::I64(b) => Arc::new(b.finish()),
            Decoder::F32(b) => Arc::new(b.finish()),
            Decoder::F64(b) => Arc::new(b.finish()),
            Decoder::Decimal { values, .. } => Arc::new(values.finish()),
            Decoder::Text(b) => Arc::new(b.finish()),
            Decoder::Bytes(b) => Arc::new(b.finish()),
            Decoder::Date(b, _) => Arc::new(b.finish()),
            Decoder::Time(b) => Arc::new(b.finish()),
            Decoder::Millis(b, _) => Arc::new(b.finish()),
            Decoder::Micros(b, _) => Arc::new(b.finish()),
            Decoder::Nanos(b, _) => Arc::new(b.finish()),
        }
    }
}

fn opt<T>(value: &Value, read: impl FnOnce(&Value) -> Result<T, String>) -> Result<Option<T>, String> {
    if matches!(value, Value::NULL) { Ok(None) } else { read(value).map(Some) }
}

/// A whole number.
fn whole(value: &Value) -> Result<i128, String> {
    match value {
        Value::Int(v) => Ok((*v).into()),
        Value::UInt(v) => Ok((*v).into()),
        Value::Bytes(digits) => decimal_digits(digits, 38, 0),
        other => Err(format!("{} is not a whole number", text(other))),
    }
}

/// A value of a BIT column, the highest byte first, as a number.
pub(crate) fn bits(value: Value) -> Value {
    match value {
        Value::Bytes(bytes) if bytes.len() <= 8 => Value::UInt(bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b))),
        other => other,
    }
}

/// A value of a BIT column as its bytes, the lowest first: as the log's reader has them.
pub(crate) fn lowest_first(value: Value) -> Value {
    match value {
        Value::Bytes(mut bytes) => {
            bytes.reverse();
            Value::Bytes(bytes)
        }
        other => other,
    }
}

fn fitting<T: TryFrom<i128>>(value: &Value) -> Result<T, String> {
    let n = whole(value)?;
    T::try_from(n).map_err(|_| format!("{n} is out of its range"))
}

fn float(value: &Value) -> Result<f64, String> {
    match value {
        Value::Float(v) => Ok((*v).into()),
        Value::Double(v) => Ok(*v),
        Value::Int(v) => Ok(*v as f64),
        Value::UInt(v) => Ok(*v as f64),
        Value::Bytes(digits) => {
            std::str::from_utf8(digits).ok().and_then(|t| t.parse().ok()).ok_or_else(|| "it is not a number".to_owned())
        }
        other => Err(format!("{} is not a number", text(other))),
    }
}

fn decimal(value: &Value, precision: u8, scale: u8) -> Result<i128, String> {
    match value {
        Value::Bytes(digits) => decimal_digits(digits, precision, scale),
        Value::Int(v) => decimal_digits(v.to_string().as_bytes(), precision, scale),
        Value::UInt(v) => decimal_digits(v.to_string().as_bytes(), precision, scale),
        other => Err(format!("{} is not a decimal", text(other))),
    }
}

/// `-12.50` to -1250 with scale 2. Digits behind the scale must be zeros.
fn decimal_digits(text: &[u8], precision: u8, scale: u8) -> Result<i128, String> {
    let shown = || String::from_utf8_lossy(text).into_owned();
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let point = digits.iter().position(|b| *b == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&digits[..at], &digits[at + 1..]),
        None => (digits, &digits[digits.len()..]),
    };
    if digits.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Err(format!("{} is not a decimal", shown()));
    }
    let kept = fraction.len().min(scale.into());
    if fraction[kept..].iter().any(|b| *b != b'0') {
        return Err(format!("{} has more than {scale} digits behind the point", shown()));
    }
    let zeros = std::iter::repeat_n(&b'0', usize::from(scale) - kept);
    let mut n: i128 = 0;
    for digit in whole.iter().chain(&fraction[..kept]).chain(zeros) {
        n = n
            .checked_mul(10)
            .and_then(|n| n.checked_add((digit - b'0').into()))
            .filter(|n| *n < 10_i128.pow(precision.into()))
            .ok_or_else(|| format!("{} has more than {precision} digits", shown()))?;
    }
    Ok(if is_negative { -n } else { n })
}

/// Days since 1970; `None` for a date that is none, where that is NULL.
fn date(year: u16, month: u8, day: u8, zero_dates: ZeroDates) -> Result<Option<i64>, String> {
    match (days(year.into(), month, day), zero_dates) {
        (Some(day), _) => Ok(Some(day)),
        (None, ZeroDates::Null) => Ok(None),
        (None, ZeroDates::Error) => Err(format!(
            "{year:04}-{month:02}-{day:02} is no date; the property zeroDateTimeBehavior=CONVERT_TO_NULL reads it as NULL"
        )),
    }
}

fn time(value: &Value) -> Result<i32, String> {
    match value {
        Value::Time(false, 0, h, m, s, us) if us % 1_000 == 0 => {
            Ok(((i32::from(*h) * 60 + i32::from(*m)) * 60 + i32::from(*s)) * 1_000 + (us / 1_000) as i32)
        }
        other => Err(format!("{} is not a time of day in milliseconds; declare the column as STRING", text(other))),
    }
}

impl Times {
    fn of(&self, value: &Value) -> Result<Option<i64>, String> {
        let Value::Date(y, m, d, hour, minute, second, micros) = value else {
            return if matches!(value, Value::NULL) {
                Ok(None)
            } else {
                Err(format!("{} is not a timestamp", text(value)))
            };
        };
        let Some(day) = date(*y, *m, *d, self.zero_dates)? else { return Ok(None) };
        let seconds = (i64::from(*hour) * 60 + i64::from(*minute)) * 60 + i64::from(*second);
        let told = day * DAY + seconds * SECOND + i64::from(*micros);
        if told % self.unit != 0 {
            return Err(format!("{} has more digits of a second than the declared type", text(value)));
        }
        Ok(Some(match (self.from_instant, self.to_instant) {
            (true, false) => self.zone.local(told),
            (false, true) => self.zone.instant(told),
            _ => told,
        }))
    }
}

/// A value as MySQL writes it.
fn text(value: &Value) -> String {
    match value {
        Value::NULL => "NULL".into(),
        Value::Bytes(b) => String::from_utf8_lossy(b).into_owned(),
        Value::Int(v) => v.to_string(),
        Value::UInt(v) => v.to_string(),
        Value::Float(v) => v.to_string(),
        Value::Double(v) => v.to_string(),
        Value::Date(y, m, d, 0, 0, 0, 0) => format!("{y:04}-{m:02}-{d:02}"),
        Value::Date(y, m, d, hh, mm, ss, us) => {
            let mut out = format!("{y:04}-{m:02}-{d:02} {hh:02}:{mm:02}:{ss:02}");
            push_micros(&mut out, *us);
            out
        }
        Value::Time(negative, d, h, m, s, us) => {
            let sign = if *negative { "-" } else { "" };
            let mut out = format!("{sign}{:02}:{m:02}:{s:02}", d * 24 + u32::from(*h));
            push_micros(&mut out, *us);
            out
        }
    }
}

fn push_micros(out: &mut String, micros: u32) {
    if micros > 0 {
        let _ = write!(out, ".{micros:06}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_digit_by_digit() {
        let read = |text: &str, p, s| decimal_digits(text.as_bytes(), p, s);
        assert_eq!(read("-12.50", 10, 2), Ok(-1250));
        assert_eq!(read("-12.5", 10, 3), Ok(-12_500));
        assert_eq!(read("12.500", 3, 1), Ok(125));
        assert_eq!(read(&"9".repeat(38), 38, 0), Ok(10_i128.pow(38) - 1));
        assert!(read(&"9".repeat(39), 38, 0).is_err());
        assert!(read("100", 2, 0).is_err() && read("1.25", 10, 1).is_err());
        for nothing in ["", "-", "1e5", "x", "1..2"] {
            assert!(read(nothing, 38, 0).is_err(), "{nothing}");
        }
    }

    #[test]
    fn what_a_column_cannot_hold_is_an_error() {
        let zone = Zone::named("UTC").unwrap();
        let push =
            |kind: TypeKind, value: Value, zero| Decoder::new(&kind.into(), false, zone, zero, 1).unwrap().push(&value);
        assert!(push(TypeKind::TinyInt, Value::Int(128), ZeroDates::Error).is_err());
        assert!(push(TypeKind::BigInt, Value::UInt(u64::MAX), ZeroDates::Error).is_err());
        assert!(push(TypeKind::Date, Value::Date(0, 0, 0, 0, 0, 0, 0), ZeroDates::Error).is_err());
        assert!(push(TypeKind::Date, Value::Date(0, 0, 0, 0, 0, 0, 0), ZeroDates::Null).is_ok());
        assert!(push(TypeKind::Timestamp(0), Value::Date(2024, 1, 1, 0, 0, 0, 1), ZeroDates::Error).is_err());
        assert!(push(TypeKind::Time(0), Value::Time(true, 0, 1, 0, 0, 0), ZeroDates::Error).is_err());
        assert!(push(SqlType::STRING.kind, Value::Bytes(vec![0xff]), ZeroDates::Error).is_err());
        assert!(push(TypeKind::Boolean, bits(Value::Bytes(vec![1])), ZeroDates::Error).is_ok());
        assert_eq!(bits(Value::Bytes(vec![1, 0x31])), Value::UInt(305));
        assert_eq!(text(&Value::Time(true, 34, 22, 59, 59, 5)), "-838:59:59.000005");
    }
}
