//! Values to text, as Flink prints them.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::datatypes::{
    DataType, Decimal128Type, DurationMillisecondType, Float32Type, Float64Type, Int64Type, IntervalMonthDayNanoType,
    IntervalUnit, IntervalYearMonthType, TimeUnit,
};
use chrono::Datelike;
use datafusion::common::Result;
use dflow_common::types::precision_of;

use super::{Rules, impossible};
use crate::functions::datetime::{Wall, WallColumn};
use crate::functions::decimal::power;

/// A column as text.
pub(super) fn text(array: &ArrayRef, rules: &Rules) -> Result<ArrayRef> {
    let column = |write: &mut dyn FnMut(usize, &mut String)| -> ArrayRef {
        let mut builder = StringViewBuilder::with_capacity(array.len());
        let mut buffer = String::new();
        for row in 0..array.len() {
            if array.is_null(row) {
                builder.append_null();
                continue;
            }
            buffer.clear();
            write(row, &mut buffer);
            builder.append_value(&buffer);
        }
        Arc::new(builder.finish())
    };
    Ok(match array.data_type() {
        DataType::Utf8View => Arc::clone(array),
        DataType::Utf8 | DataType::LargeUtf8 => arrow::compute::cast(array, &DataType::Utf8View)?,
        DataType::BinaryView => {
            let bytes = array.as_binary_view();
            column(&mut |i, out| out.push_str(&String::from_utf8_lossy(bytes.value(i))))
        }
        DataType::Boolean => {
            let values = array.as_boolean();
            column(&mut |i, out| out.push_str(if values.value(i) { "TRUE" } else { "FALSE" }))
        }
        t if t.is_integer() => {
            let wide = arrow::compute::cast(array, &DataType::Int64)?;
            let values = wide.as_primitive::<Int64Type>();
            column(&mut |i, out| put(out, format_args!("{}", values.value(i))))
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            column(&mut |i, out| java_float(values.value(i), &format!("{:e}", values.value(i)), out))
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            column(&mut |i, out| java_float(values.value(i).into(), &format!("{:e}", values.value(i)), out))
        }
        DataType::Decimal128(_, scale) => {
            let (values, scale) = (array.as_primitive::<Decimal128Type>(), (*scale).max(0) as usize);
            column(&mut |i, out| decimal(values.value(i), scale, out))
        }
        DataType::Date32 => {
            let walls = WallColumn::new(array, rules.zone)?;
            column(&mut |i, out| {
                if let Some(w) = walls.get(i) {
                    date(w, out)
                }
            })
        }
        DataType::Time32(_) => {
            let walls = WallColumn::new(array, rules.zone)?;
            column(&mut |i, out| {
                if let Some(w) = walls.get(i) {
                    // TIME(0) and TIME(3) are the same to Arrow; a fraction of zeros is not printed.
                    clock(w.nanos, if w.nanos % 1_000_000_000 == 0 { 0 } else { 3 }, out);
                }
            })
        }
        DataType::Timestamp(unit, _) => {
            let walls = WallColumn::new(array, rules.zone)?;
            let digits = rules.precision.unwrap_or(precision_of(*unit));
            column(&mut |i, out| {
                if let Some(w) = walls.get(i) {
                    date(w, out);
                    out.push(' ');
                    clock(w.nanos, digits, out);
                }
            })
        }
        DataType::Duration(TimeUnit::Millisecond) => {
            let values = array.as_primitive::<DurationMillisecondType>();
            column(&mut |i, out| day_time(values.value(i), out))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            // What DataFusion makes of an INTERVAL literal: months, or days and less.
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            column(&mut |i, out| {
                let v = values.value(i);
                if v.months != 0 {
                    let size = v.months.unsigned_abs();
                    let sign = if v.months < 0 { '-' } else { '+' };
                    return put(out, format_args!("{sign}{}-{:02}", size / 12, size % 12));
                }
                let ms = i64::from(v.days) * 86_400_000 + v.nanoseconds / 1_000_000;
                day_time(ms, out);
            })
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            let values = array.as_primitive::<IntervalYearMonthType>();
            column(&mut |i, out| {
                let (m, size) = (values.value(i), values.value(i).unsigned_abs());
                put(out, format_args!("{}{}-{:02}", if m < 0 { '-' } else { '+' }, size / 12, size % 12));
            })
        }
        t if t.is_nested() => super::nested::text(array, rules)?,
        other => return Err(impossible(other, &dflow_common::SqlType::STRING)),
    })
}

fn put(out: &mut String, args: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(args);
}

/// `1.5`, `1.0E7`, `1.0E-4`, `NaN`, `Infinity`: Java's form of the digits in `shortest` (`d.ddde±n`).
fn java_float(value: f64, shortest: &str, out: &mut String) {
    if value.is_nan() {
        return out.push_str("NaN");
    }
    if value.is_infinite() {
        return out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    if value == 0.0 {
        return out.push_str(if value.is_sign_negative() { "-0.0" } else { "0.0" });
    }
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |m| ("-", m));
    out.push_str(sign);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if (-3..7).contains(&exponent) {
        if exponent < 0 {
            out.push_str("0.");
            (1..-exponent).for_each(|_| out.push('0'));
            return out.push_str(&digits);
        }
        let whole = exponent as usize + 1;
        out.push_str(digits.get(..whole.min(digits.len())).unwrap_or(&digits));
        (digits.len()..whole).for_each(|_| out.push('0'));
        out.push('.');
        let fraction = digits.get(whole..).filter(|f| !f.is_empty()).unwrap_or("0");
        return out.push_str(fraction);
    }
    let fraction = digits.get(1..).filter(|f| !f.is_empty()).unwrap_or("0");
    put(out, format_args!("{}.{fraction}E{exponent}", &digits[..1]));
}

fn decimal(value: i128, scale: usize, out: &mut String) {
    if value < 0 {
        out.push('-');
    }
    let (size, unit) = (value.unsigned_abs(), power(scale).unsigned_abs());
    put(out, format_args!("{}", size / unit));
    if scale > 0 {
        put(out, format_args!(".{:0scale$}", size % unit));
    }
}

/// `+1 02:03:04.005`
fn day_time(ms: i64, out: &mut String) {
    let size = ms.unsigned_abs();
    put(out, format_args!("{}{} ", if ms < 0 { '-' } else { '+' }, size / 86_400_000));
    clock((size % 86_400_000) as i64 * 1_000_000, 3, out);
}

/// `yyyy-MM-dd`.
fn date(wall: Wall, out: &mut String) {
    if let Some(d) = wall.date() {
        put(out, format_args!("{:04}-{:02}-{:02}", d.year(), d.month(), d.day()));
    }
}

/// `HH:mm:ss` and a fraction of so many digits.
fn clock(nanos: i64, digits: u8, out: &mut String) {
    let seconds = nanos / 1_000_000_000;
    put(out, format_args!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60));
    if digits > 0 {
        let digits = usize::from(digits.min(9));
        let fraction = nanos % 1_000_000_000 / 10i64.pow(9 - digits as u32);
        put(out, format_args!(".{fraction:0digits$}"));
    }
}
