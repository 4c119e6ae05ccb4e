//! Whether a file's column fits the table's, and the conversion.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;

/// Whether every value of `from` is a value of `to`; units of time may be coarser in the table.
pub(super) fn fits(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    if from == to {
        return true;
    }
    match (from, to) {
        (T::Dictionary(_, value), _) => fits(value, to),
        (T::Utf8 | T::LargeUtf8 | T::Utf8View, T::Utf8View) => true,
        // Old writers leave text without its annotation; the conversion checks UTF-8.
        (T::Binary | T::LargeBinary | T::BinaryView, T::Utf8View | T::BinaryView) => true,
        (T::FixedSizeBinary(_), T::BinaryView) => true,
        (T::Float16 | T::Float32, T::Float64) | (T::Float16, T::Float32) => true,
        (T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s), T::Decimal128(tp, ts)) => {
            ts >= s && i16::from(*tp) - i16::from(*ts) >= i16::from(*p) - i16::from(*s)
        }
        (T::UInt64, T::Decimal128(p, s)) => i16::from(*p) - i16::from(*s) >= 20,
        (T::Time32(_) | T::Time64(_), T::Time32(TimeUnit::Millisecond)) => true,
        (T::Timestamp(..), T::Timestamp(..)) => true,
        (T::Date64, T::Date32) => true,
        (T::List(f) | T::LargeList(f) | T::FixedSizeList(f, _), T::List(t)) => fits(f.data_type(), t.data_type()),
        (T::Map(f, _), T::Map(t, _)) => match (f.data_type(), t.data_type()) {
            (T::Struct(f), T::Struct(t)) if f.len() == 2 && t.len() == 2 => {
                fits(f[0].data_type(), t[0].data_type()) && fits(f[1].data_type(), t[1].data_type())
            }
            _ => false,
        },
        // Fields by name; a missing one is NULL.
        (T::Struct(f), T::Struct(t)) => {
            t.iter().all(|t| f.iter().find(|f| f.name() == t.name()).is_none_or(|f| fits(f.data_type(), t.data_type())))
        }
        _ => match (integer_bits(from), integer_bits(to)) {
            (Some((signed, bits)), Some((true, to_bits))) => to_bits > bits || (signed && to_bits == bits),
            _ => false,
        },
    }
}

fn integer_bits(ty: &DataType) -> Option<(bool, u32)> {
    Some(match ty {
        DataType::Int8 => (true, 8),
        DataType::Int16 => (true, 16),
        DataType::Int32 => (true, 32),
        DataType::Int64 => (true, 64),
        DataType::UInt8 => (false, 8),
        DataType::UInt16 => (false, 16),
        DataType::UInt32 => (false, 32),
        DataType::UInt64 => (false, 64),
        _ => return None,
    })
}

/// The column in the table's type, given that it [`fits`].
pub(super) fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    match (array.data_type(), to) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let from = array.as_struct();
            let columns = fields
                .iter()
                .map(|f| match from.column_by_name(f.name()) {
                    Some(c) => convert(c, f.data_type()),
                    None => Ok(new_null_array(f.data_type(), from.len())),
                })
                .collect::<Result<Vec<_>, _>>()?;
            let nulls = from.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, from.len())?))
        }
        (DataType::List(_), DataType::List(field)) => {
            let (_, offsets, values, nulls) = array.as_list::<i32>().clone().into_parts();
            Ok(Arc::new(ListArray::try_new(field.clone(), offsets, convert(&values, field.data_type())?, nulls)?))
        }
        (DataType::Map(..), DataType::Map(field, sorted)) => {
            let (_, offsets, entries, nulls, _) = array.as_map().clone().into_parts();
            let DataType::Struct(fields) = field.data_type() else {
                return Err(ArrowError::SchemaError("map entries are a struct".into()));
            };
            // Keys and values by position: writers name them differently.
            let columns = entries
                .columns()
                .iter()
                .zip(fields)
                .map(|(c, f)| convert(c, f.data_type()))
                .collect::<Result<Vec<_>, _>>()?;
            let entries = StructArray::try_new(fields.clone(), columns, None)?;
            Ok(Arc::new(MapArray::try_new(field.clone(), offsets, entries, nulls, *sorted)?))
        }
        _ => cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_must_fit_not_only_look_alike() {
        use DataType as T;
        let ms = || T::Timestamp(TimeUnit::Millisecond, None);
        for (from, to, fit) in [
            (T::Int32, T::Int64, true),
            (T::Int64, T::Int32, false),
            (T::UInt32, T::Int32, false),
            (T::UInt32, T::Int64, true),
            (T::UInt64, T::Decimal128(20, 0), true),
            (T::Utf8, T::Utf8View, true),
            (T::Utf8, T::Int32, false),
            (T::Int32, T::Utf8View, false),
            (T::Float64, T::Float32, false),
            (T::Decimal128(10, 2), T::Decimal128(12, 4), true),
            (T::Decimal128(10, 2), T::Decimal128(12, 5), false),
            (T::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), ms(), true),
            (T::Boolean, T::Int8, false),
        ] {
            assert_eq!(fits(&from, &to), fit, "{from} {to}");
        }
    }
}
