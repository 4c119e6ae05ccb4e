//! A column with its array type known, for encoders that write row by row.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, ListArray, MapArray, PrimitiveArray, StringArray,
    StringBuilder, StringViewArray, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, DurationMillisecondType, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, IntervalUnit, IntervalYearMonthType, Time32MillisecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use dflow_connector_api::{Error, Result};

use crate::error::ENCODE_FAILED;
use crate::json::encode::key;
use crate::text;

/// A column with its array type known; fields of rows carry their key as JSON (`,"name":`).
pub(crate) enum Bound<'a> {
    Null,
    Bool(&'a BooleanArray),
    Int8(&'a PrimitiveArray<Int8Type>),
    Int16(&'a PrimitiveArray<Int16Type>),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    Float(&'a PrimitiveArray<Float32Type>),
    Double(&'a PrimitiveArray<Float64Type>),
    Decimal(&'a PrimitiveArray<Decimal128Type>, u8),
    Text(&'a StringViewArray),
    Bytes(&'a BinaryViewArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Time(&'a PrimitiveArray<Time32MillisecondType>),
    Timestamp(&'a [i64], Option<&'a NullBuffer>, TimeUnit, bool),
    Months(&'a PrimitiveArray<IntervalYearMonthType>),
    Millis(&'a PrimitiveArray<DurationMillisecondType>),
    List(&'a ListArray, Box<Bound<'a>>),
    Map(&'a MapArray, Box<Bound<'a>>, Box<Bound<'a>>),
    Row(&'a StructArray, Vec<(Vec<u8>, Bound<'a>)>),
}

fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef) -> &PrimitiveArray<T> {
    array.as_primitive::<T>()
}

impl<'a> Bound<'a> {
    /// Binds an array.
    pub(crate) fn new(array: &'a ArrayRef) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool(array.as_boolean()),
            DataType::Int8 => Self::Int8(primitive(array)),
            DataType::Int16 => Self::Int16(primitive(array)),
            DataType::Int32 => Self::Int32(primitive(array)),
            DataType::Int64 => Self::Int64(primitive(array)),
            DataType::Float32 => Self::Float(primitive(array)),
            DataType::Float64 => Self::Double(primitive(array)),
            DataType::Decimal128(_, s) if *s >= 0 => Self::Decimal(primitive(array), s.unsigned_abs()),
            DataType::Utf8View => Self::Text(array.as_string_view()),
            DataType::BinaryView => Self::Bytes(array.as_binary_view()),
            DataType::Date32 => Self::Date(primitive(array)),
            DataType::Time32(TimeUnit::Millisecond) => Self::Time(primitive(array)),
            DataType::Timestamp(unit, zone) => {
                let values: &[i64] = match unit {
                    TimeUnit::Millisecond => primitive::<TimestampMillisecondType>(array).values(),
                    TimeUnit::Microsecond => primitive::<TimestampMicrosecondType>(array).values(),
                    TimeUnit::Nanosecond => primitive::<TimestampNanosecondType>(array).values(),
                    TimeUnit::Second => return Err(unsupported(array)),
                };
                Self::Timestamp(values, array.nulls(), *unit, zone.is_some())
            }
            DataType::Interval(IntervalUnit::YearMonth) => Self::Months(primitive(array)),
            DataType::Duration(TimeUnit::Millisecond) => Self::Millis(primitive(array)),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Self::List(list, Box::new(Self::new(list.values())?))
            }
            DataType::Map(..) => {
                let map = array.as_map();
                Self::Map(map, Box::new(Self::new(map.keys())?), Box::new(Self::new(map.values())?))
            }
            DataType::Struct(fields) => {
                let row = array.as_struct();
                let bound = fields
                    .iter()
                    .zip(row.columns())
                    .map(|(f, c)| Ok((key(f.name()), Self::new(c)?)))
                    .collect::<Result<_>>()?;
                Self::Row(row, bound)
            }
            _ => return Err(unsupported(array)),
        })
    }

    /// Whether entry `i` is NULL.
    #[inline]
    pub(crate) fn is_null(&self, i: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(a) => a.is_null(i),
            Self::Int8(a) => a.is_null(i),
            Self::Int16(a) => a.is_null(i),
            Self::Int32(a) => a.is_null(i),
            Self::Int64(a) => a.is_null(i),
            Self::Float(a) => a.is_null(i),
            Self::Double(a) => a.is_null(i),
            Self::Decimal(a, _) => a.is_null(i),
            Self::Text(a) => a.is_null(i),
            Self::Bytes(a) => a.is_null(i),
            Self::Date(a) => a.is_null(i),
            Self::Time(a) => a.is_null(i),
            Self::Timestamp(_, nulls, ..) => nulls.is_some_and(|n| n.is_null(i)),
            Self::Months(a) => a.is_null(i),
            Self::Millis(a) => a.is_null(i),
            Self::List(a, _) => a.is_null(i),
            Self::Map(a, ..) => a.is_null(i),
            Self::Row(a, _) => a.is_null(i),
        }
    }

    /// Appends a scalar that is not NULL as bare text. Nested values have none.
    #[inline]
    pub(crate) fn write_plain(&self, i: usize, separator: u8, plain_decimals: bool, out: &mut Vec<u8>) {
        match self {
            Self::Null | Self::List(..) | Self::Map(..) | Self::Row(..) => {}
            Self::Bool(a) => out.extend_from_slice(if a.value(i) { b"true" } else { b"false" }),
            Self::Int8(a) => text::write_int(out, a.value(i).into()),
            Self::Int16(a) => text::write_int(out, a.value(i).into()),
            Self::Int32(a) => text::write_int(out, a.value(i).into()),
            Self::Int64(a) => text::write_int(out, a.value(i)),
            Self::Float(a) => text::write_float(out, a.value(i)),
            Self::Double(a) => text::write_double(out, a.value(i)),
            Self::Decimal(a, scale) => text::write_decimal(out, a.value(i), *scale, plain_decimals),
            Self::Text(a) => out.extend_from_slice(a.value(i).as_bytes()),
            Self::Bytes(a) => text::write_base64(out, a.value(i)),
            Self::Date(a) => text::write_date(out, a.value(i).into()),
            Self::Time(a) => text::write_time(out, a.value(i)),
            Self::Timestamp(values, _, unit, zoned) => text::write_timestamp(out, values[i], *unit, separator, *zoned),
            Self::Months(a) => text::write_int(out, a.value(i).into()),
            Self::Millis(a) => text::write_int(out, a.value(i)),
        }
    }
}

fn unsupported(array: &ArrayRef) -> Error {
    Error::new(ENCODE_FAILED, format!("a column of the Arrow type {} cannot be written as text", array.data_type()))
        .note("this is a bug of dflow: types are checked when the table is opened")
}

/// The entries of a scalar column as text, NULL where they are NULL.
///
/// # Errors
/// For types that have no text.
pub fn texts(array: &ArrayRef) -> Result<StringArray> {
    let bound = Bound::new(array)?;
    let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 8);
    let mut buffer = Vec::new();
    for i in 0..array.len() {
        if bound.is_null(i) {
            builder.append_null();
            continue;
        }
        buffer.clear();
        bound.write_plain(i, b' ', true, &mut buffer);
        builder.append_value(String::from_utf8_lossy(&buffer));
    }
    Ok(builder.finish())
}
