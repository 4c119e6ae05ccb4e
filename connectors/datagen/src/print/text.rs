//! Rows as Flink's `Row.toString` writes them.
//!
//! | type | text | | type | text |
//! |---|---|---|---|---|
//! | `ROW` | `+I[1, a]` | | `TIMESTAMP` | `2024-01-01T10:00`, `…T10:00:01.500` |
//! | `ARRAY` | `[1, 2]` | | `TIMESTAMP_LTZ` | `2024-01-01T10:00:00Z` |
//! | `MAP`, `MULTISET` | `{a=1, b=2}` | | `DATE`, `TIME` | `2024-01-01`, `10:00` |
//! | `DOUBLE` | `1.0`, `1.0E10`, `NaN` | | `BYTES` | `[104, 105]` |
//! | `DECIMAL(10, 2)` | `1.50` | | NULL | `null` |
//!
//! Dates and times are Java's `toString`: seconds that are zero are left out of wall-clock readings, fractions have 3, 6
//! or 9 digits. Columns are looked at once per batch; a row costs no allocation.

use std::io::Write as _;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Decimal128Array, ListArray, MapArray, StringViewArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dflow_common::{ChangeBatch, RowKind};
use dflow_connector_api::{Error, Result};

use crate::error::CANNOT_PRINT;

/// Appends a line per change to `out`: the prefix, then `+I[…]`.
///
/// # Errors
/// A column of a type that has no text.
pub fn append(batch: &ChangeBatch, prefix: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let columns = batch.data.columns().iter().map(Column::of).collect::<Result<Vec<_>>>()?;
    for row in 0..batch.num_rows() {
        out.extend_from_slice(prefix);
        write_row(batch.ops.kind(row), &columns, row, out);
        out.push(b'\n');
    }
    Ok(())
}

fn write_row(kind: RowKind, columns: &[Column<'_>], row: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(kind.short().as_bytes());
    out.push(b'[');
    for (i, column) in columns.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(b", ");
        }
        column.write(row, out);
    }
    out.push(b']');
}

/// A column with its type known.
struct Column<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

enum Values<'a> {
    Null,
    Bool(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Decimal(&'a Decimal128Array, u32),
    Text(&'a StringViewArray),
    Bytes(&'a BinaryViewArray),
    Date(&'a [i32]),
    TimeMs(&'a [i32]),
    /// Ticks per second, and whether it is an instant.
    Timestamp(&'a [i64], i64, bool),
    List(&'a ListArray, Box<Column<'a>>),
    Map(&'a MapArray, Box<Column<'a>>, Box<Column<'a>>),
    Row(Vec<Column<'a>>),
    Other(ArrayFormatter<'a>),
}

impl<'a> Column<'a> {
    fn of(array: &'a ArrayRef) -> Result<Self> {
        let values = match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Bool(array.as_boolean()),
            DataType::Int8 => Values::Int8(array.as_primitive::<Int8Type>().values()),
            DataType::Int16 => Values::Int16(array.as_primitive::<Int16Type>().values()),
            DataType::Int32 => Values::Int32(array.as_primitive::<Int32Type>().values()),
            DataType::Int64 => Values::Int64(array.as_primitive::<Int64Type>().values()),
            DataType::Float32 => Values::Float32(array.as_primitive::<Float32Type>().values()),
            DataType::Float64 => Values::Float64(array.as_primitive::<Float64Type>().values()),
            DataType::Decimal128(_, scale) if *scale >= 0 => {
                Values::Decimal(array.as_primitive::<Decimal128Type>(), *scale as u32)
            }
            DataType::Utf8View => Values::Text(array.as_string_view()),
            DataType::BinaryView => Values::Bytes(array.as_binary_view()),
            DataType::Date32 => Values::Date(array.as_primitive::<Date32Type>().values()),
            DataType::Time32(TimeUnit::Millisecond) => {
                Values::TimeMs(array.as_primitive::<Time32MillisecondType>().values())
            }
            DataType::Timestamp(TimeUnit::Millisecond, zone) => {
                Values::Timestamp(array.as_primitive::<TimestampMillisecondType>().values(), 1_000, zone.is_some())
            }
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Values::Timestamp(array.as_primitive::<TimestampMicrosecondType>().values(), 1_000_000, zone.is_some())
            }
            DataType::Timestamp(TimeUnit::Nanosecond, zone) => Values::Timestamp(
                array.as_primitive::<TimestampNanosecondType>().values(),
                1_000_000_000,
                zone.is_some(),
            ),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Values::List(list, Box::new(Column::of(list.values())?))
            }
            DataType::Map(..) => {
                let map = array.as_map();
                Values::Map(map, Box::new(Column::of(map.keys())?), Box::new(Column::of(map.values())?))
            }
            DataType::Struct(_) => {
                Values::Row(array.as_struct().columns().iter().map(Column::of).collect::<Result<_>>()?)
            }
            // Not a column type of ours, but one that batch execution may hand over.
            other => Values::Other(ArrayFormatter::try_new(array.as_ref(), &OPTIONS).map_err(|e| {
                Error::new(CANNOT_PRINT, format!("cannot print a column of type {other}: {e}"))
                    .help("CAST it to STRING")
            })?),
        };
        Ok(Self { nulls: array.nulls(), values })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.nulls.is_some_and(|n| n.is_null(row)) {
            out.extend_from_slice(b"null");
            return;
        }
        match &self.values {
            Values::Null => out.extend_from_slice(b"null"),
            Values::Bool(a) => out.extend_from_slice(if a.value(row) { b"true" } else { b"false" }),
            Values::Int8(v) => int(v[row].into(), out),
            Values::Int16(v) => int(v[row].into(), out),
            Values::Int32(v) => int(v[row].into(), out),
            Values::Int64(v) => int(v[row].into(), out),
            Values::Float32(v) => float(f64::from(v[row]), format_args!("{:e}", v[row]), out),
            Values::Float64(v) => float(v[row], format_args!("{:e}", v[row]), out),
            Values::Decimal(a, scale) => decimal(a.value(row), *scale, out),
            Values::Text(a) => out.extend_from_slice(a.value(row).as_bytes()),
            Values::Bytes(a) => {
                out.push(b'[');
                for (i, byte) in a.value(row).iter().enumerate() {
                    if i > 0 {
                        out.extend_from_slice(b", ");
                    }
                    int(i128::from(*byte as i8), out);
                }
                out.push(b']');
            }
            Values::Date(v) => date(v[row].into(), out),
            Values::TimeMs(v) => {
                let ms = i64::from(v[row]);
                time_of_day(ms.div_euclid(1_000), ms.rem_euclid(1_000) * 1_000_000, false, out);
            }
            Values::Timestamp(v, per_second, instant) => timestamp(v[row], *per_second, *instant, out),
            Values::List(a, items) => {
                let offsets = a.value_offsets();
                out.push(b'[');
                for i in offsets[row]..offsets[row + 1] {
                    if i > offsets[row] {
                        out.extend_from_slice(b", ");
                    }
                    items.write(i as usize, out);
                }
                out.push(b']');
            }
            Values::Map(a, keys, values) => {
                let offsets = a.value_offsets();
                out.push(b'{');
                for i in offsets[row]..offsets[row + 1] {
                    if i > offsets[row] {
                        out.extend_from_slice(b", ");
                    }
                    keys.write(i as usize, out);
                    out.push(b'=');
                    values.write(i as usize, out);
                }
                out.push(b'}');
            }
            Values::Row(fields) => write_row(RowKind::Insert, fields, row, out),
            Values::Other(formatter) => put(out, format_args!("{}", formatter.value(row))),
        }
    }
}

const OPTIONS: FormatOptions<'static> = FormatOptions::new().with_null("null");

/// Writing into memory does not fail.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn int(value: i128, out: &mut Vec<u8>) {
    match i64::try_from(value) {
        Ok(small) => put(out, format_args!("{small}")),
        Err(_) => put(out, format_args!("{value}")),
    }
}

/// Java's `Double.toString` from the shortest digits (`1.25e-7`).
fn float(value: f64, shortest: std::fmt::Arguments<'_>, out: &mut Vec<u8>) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let mut buffer = [0u8; 32];
    let mut rest = &mut buffer[..];
    let _ = rest.write_fmt(shortest);
    let left = rest.len();
    let text = &buffer[..buffer.len() - left];
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let at = text.iter().position(|b| *b == b'e').unwrap_or(text.len());
    let exponent: i32 =
        std::str::from_utf8(text.get(at + 1..).unwrap_or(b"0")).ok().and_then(|t| t.parse().ok()).unwrap_or(0);
    let (first, fraction) = (text[0], text[..at].get(2..).unwrap_or(b""));
    let digit = |i: usize| if i == 0 { Some(first) } else { fraction.get(i - 1).copied() };
    if value == 0.0 {
        out.extend_from_slice(b"0.0");
    } else if (-3..7).contains(&exponent) {
        if exponent < 0 {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
            out.push(first);
            out.extend_from_slice(fraction);
        } else {
            let whole = exponent as usize + 1;
            out.extend((0..whole).map(|i| digit(i).unwrap_or(b'0')));
            out.push(b'.');
            out.push(digit(whole).unwrap_or(b'0'));
            out.extend_from_slice(fraction.get(whole..).unwrap_or(b""));
        }
    } else {
        out.push(first);
        out.push(b'.');
        out.extend_from_slice(if fraction.is_empty() { b"0" } else { fraction });
        put(out, format_args!("E{exponent}"));
    }
}

/// Java's `BigDecimal.toString`.
fn decimal(unscaled: i128, scale: u32, out: &mut Vec<u8>) {
    if unscaled < 0 {
        out.push(b'-');
    }
    let magnitude = unscaled.unsigned_abs();
    if scale == 0 {
        return put(out, format_args!("{magnitude}"));
    }
    let digits = magnitude.checked_ilog10().unwrap_or(0) + 1;
    // The exponent of the first digit; below -6 Java turns to scientific notation.
    let exponent = digits as i32 - 1 - scale as i32;
    if exponent >= -6 {
        // Scales go to 38, and 10^38 fits.
        let unit = 10u128.pow(scale);
        put(out, format_args!("{}.{:0width$}", magnitude / unit, magnitude % unit, width = scale as usize));
    } else {
        let unit = 10u128.pow(digits - 1);
        put(out, format_args!("{}", magnitude / unit));
        if digits > 1 {
            put(out, format_args!(".{:0width$}", magnitude % unit, width = digits as usize - 1));
        }
        put(out, format_args!("E{exponent}"));
    }
}

/// `2024-01-01`, from days since 1970.
fn date(days: i64, out: &mut Vec<u8>) {
    // Howard Hinnant's civil_from_days: years start in March, eras have 400 years.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    match year {
        0..=9_999 => put(out, format_args!("{year:04}")),
        10_000.. => put(out, format_args!("+{year}")),
        _ => put(out, format_args!("-{:04}", -year)),
    }
    put(out, format_args!("-{month:02}-{day:02}"));
}

/// `10:00`, `10:00:01.500`; with `full` never without seconds.
fn time_of_day(seconds: i64, nanos: i64, full: bool, out: &mut Vec<u8>) {
    put(out, format_args!("{:02}:{:02}", seconds / 3_600, seconds / 60 % 60));
    if full || seconds % 60 > 0 || nanos > 0 {
        put(out, format_args!(":{:02}", seconds % 60));
    }
    if nanos > 0 {
        if nanos % 1_000_000 == 0 {
            put(out, format_args!(".{:03}", nanos / 1_000_000));
        } else if nanos % 1_000 == 0 {
            put(out, format_args!(".{:06}", nanos / 1_000));
        } else {
            put(out, format_args!(".{nanos:09}"));
        }
    }
}

fn timestamp(value: i64, per_second: i64, instant: bool, out: &mut Vec<u8>) {
    const DAY_SECONDS: i64 = 86_400;
    let seconds = value.div_euclid(per_second);
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    date(seconds.div_euclid(DAY_SECONDS), out);
    out.push(b'T');
    time_of_day(seconds.rem_euclid(DAY_SECONDS), nanos, instant, out);
    if instant {
        out.push(b'Z');
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Date32Array, Int32Array, RecordBatch, StructArray, Time32MillisecondArray, TimestampMillisecondArray,
        TimestampNanosecondArray,
    };
    use arrow::datatypes::{Field, Int32Type};
    use dflow_common::Ops;

    use super::*;

    fn shown(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_print_as_java_prints_them() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (100.0, "100.0"),
            (123456.789, "123456.789"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (1.25e10, "1.25E10"),
            (0.001, "0.001"),
            (0.00123, "0.00123"),
            (0.000999, "9.99E-4"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(shown(|o| float(value, format_args!("{value:e}"), o)), text);
        }
        let f = 0.1f32;
        assert_eq!(shown(|o| float(f.into(), format_args!("{f:e}"), o)), "0.1", "not the digits of the double");
    }

    #[test]
    fn decimals_print_as_java_prints_them() {
        for (unscaled, scale, text) in [
            (150, 2, "1.50"),
            (-5, 1, "-0.5"),
            (7, 0, "7"),
            (0, 2, "0.00"),
            (1, 6, "0.000001"),
            (1, 7, "1E-7"),
            (-123, 10, "-1.23E-8"),
            (0, 8, "0E-8"),
            (i128::pow(10, 38) - 1, 38, "0.99999999999999999999999999999999999999"),
        ] {
            assert_eq!(shown(|o| decimal(unscaled, scale, o)), text);
        }
    }

    #[test]
    fn times_leave_out_what_is_zero() {
        let ts = |ms, instant| shown(|o| timestamp(ms, 1_000, instant, o));
        assert_eq!(ts(0, false), "1970-01-01T00:00");
        assert_eq!(ts(0, true), "1970-01-01T00:00:00Z");
        assert_eq!(ts(1_704_067_195_000, false), "2023-12-31T23:59:55");
        assert_eq!(ts(1_709_208_000_120, true), "2024-02-29T12:00:00.120Z");
        assert_eq!(ts(-1, false), "1969-12-31T23:59:59.999");
        assert_eq!(shown(|o| timestamp(1_000, 1_000_000, false, o)), "1970-01-01T00:00:00.001");
        assert_eq!(shown(|o| timestamp(1, 1_000_000_000, false, o)), "1970-01-01T00:00:00.000000001");
        assert_eq!(shown(|o| date(-719_529, o)), "-0001-12-31");
        assert_eq!(shown(|o| date(2_932_897, o)), "+10000-01-01");
    }

    #[test]
    fn a_changelog_of_nested_rows() {
        let inner = StructArray::from(vec![
            (
                Arc::new(Field::new("x", DataType::Int32, true)),
                Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef,
            ),
            (Arc::new(Field::new("s", DataType::Utf8View, true)), Arc::new(StringViewArray::from(vec!["a", "b"])) as _),
        ]);
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
        let data = RecordBatch::try_from_iter([
            ("row", Arc::new(inner) as ArrayRef),
            ("list", Arc::new(list) as _),
            ("bytes", Arc::new(BinaryViewArray::from(vec![Some(&b"h\xff"[..]), None])) as _),
            ("day", Arc::new(Date32Array::from(vec![19_723, 0])) as _),
            ("time", Arc::new(Time32MillisecondArray::from(vec![36_000_000, 1])) as _),
            ("ms", Arc::new(TimestampMillisecondArray::from(vec![0, 1])) as _),
            ("ns", Arc::new(TimestampNanosecondArray::from(vec![0, 1]).with_timezone("UTC")) as _),
        ])
        .unwrap();
        let batch = ChangeBatch::new(data, Ops::from_kinds(vec![2, 3]));
        assert_eq!(
            shown(|o| append(&batch, b"p> ", o).unwrap()),
            "p> +U[+I[1, a], [1, null], [104, -1], 2024-01-01, 10:00, 1970-01-01T00:00, 1970-01-01T00:00:00Z]\n\
             p> -D[+I[null, b], null, null, 1970-01-01, 00:00:00.001, 1970-01-01T00:00:00.001, \
             1970-01-01T00:00:00.000000001Z]\n"
        );
    }
}
