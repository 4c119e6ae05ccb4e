//! Values that are ordered or compared in state.
//!
//! | Arrow type | kept as |
//! |---|---|
//! | whole numbers, dates, times, timestamps, booleans | `i64` |
//! | floats | `i64` whose order is the floats' order, NaN greatest, one zero |
//! | decimals | `i128` |
//! | text, bytes | owned bytes |

use std::borrow::Borrow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float32Array, Float64Array};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type};
use dflow_runtime::{Error, Result};

use super::super::super::key_table::{as_i64_type, bytes_array, canonical_f64, from_i64, mix, to_i64};

/// Text or bytes in state.
pub(in super::super) type Bytes = Box<[u8]>;

/// How a type is kept.
pub(super) enum Repr {
    /// As `i64`.
    I64,
    /// As `i128`.
    I128,
    /// As bytes.
    Bytes,
}

/// How values of this type are kept.
pub(super) fn repr(ty: &DataType) -> Result<Repr> {
    Ok(match ty {
        t if as_i64_type(t) => Repr::I64,
        DataType::Boolean | DataType::Float32 | DataType::Float64 => Repr::I64,
        DataType::Decimal128(..) => Repr::I128,
        DataType::Utf8View | DataType::BinaryView => Repr::Bytes,
        other => return Err(Error::internal(format!("MIN, MAX or DISTINCT of {other}"))),
    })
}

/// A value in state.
pub(in super::super) trait Value: Borrow<Self::Key> + Clone + Ord + Send + 'static {
    /// What it is looked up by.
    type Key: Ord + ?Sized;
    /// A column of it, read.
    type Column;

    /// Reads a column.
    fn column(array: &ArrayRef) -> Result<Self::Column>;
    /// A row's value.
    fn get(column: &Self::Column, row: usize) -> &Self::Key;
    /// The value to keep.
    fn own(key: &Self::Key) -> Self;
    /// A hash.
    fn hash(key: &Self::Key) -> u64;
    /// A column of type `ty`.
    fn array<'a>(ty: &DataType, values: impl Iterator<Item = Option<&'a Self>>) -> Result<ArrayRef>;
    /// Bytes that an owned copy has on the heap.
    fn key_bytes(_key: &Self::Key) -> usize {
        0
    }
}

impl Value for i64 {
    type Key = i64;
    type Column = ScalarBuffer<i64>;

    fn column(array: &ArrayRef) -> Result<Self::Column> {
        Ok(match array.data_type() {
            DataType::Boolean => array.as_boolean().values().iter().map(i64::from).collect(),
            DataType::Float64 => array.as_primitive::<Float64Type>().values().iter().map(|v| ordered(*v)).collect(),
            DataType::Float32 => {
                array.as_primitive::<Float32Type>().values().iter().map(|v| ordered(f64::from(*v))).collect()
            }
            _ => to_i64(array)?,
        })
    }

    fn get(column: &Self::Column, row: usize) -> &i64 {
        &column[row]
    }

    fn own(key: &i64) -> i64 {
        *key
    }

    fn hash(key: &i64) -> u64 {
        mix(*key as u64)
    }

    fn array<'a>(ty: &DataType, values: impl Iterator<Item = Option<&'a Self>>) -> Result<ArrayRef> {
        Ok(match ty {
            DataType::Boolean => Arc::new(values.map(|v| v.map(|v| *v != 0)).collect::<BooleanArray>()),
            DataType::Float64 => Arc::new(values.map(|v| v.map(|v| unordered(*v))).collect::<Float64Array>()),
            DataType::Float32 => Arc::new(values.map(|v| v.map(|v| unordered(*v) as f32)).collect::<Float32Array>()),
            _ => from_i64(ty, values.map(|v| v.copied()))?,
        })
    }
}

impl Value for i128 {
    type Key = i128;
    type Column = ScalarBuffer<i128>;

    fn column(array: &ArrayRef) -> Result<Self::Column> {
        Ok(array.as_primitive::<Decimal128Type>().values().clone())
    }

    fn get(column: &Self::Column, row: usize) -> &i128 {
        &column[row]
    }

    fn own(key: &i128) -> i128 {
        *key
    }

    fn hash(key: &i128) -> u64 {
        mix(*key as u64 ^ mix((*key >> 64) as u64))
    }

    fn array<'a>(ty: &DataType, values: impl Iterator<Item = Option<&'a Self>>) -> Result<ArrayRef> {
        let values: Decimal128Array = values.map(|v| v.copied()).collect();
        Ok(Arc::new(values.with_data_type(ty.clone())))
    }
}

impl Value for Bytes {
    type Key = [u8];
    type Column = ArrayRef;

    fn column(array: &ArrayRef) -> Result<Self::Column> {
        match array.data_type() {
            DataType::Utf8View | DataType::BinaryView => Ok(array.clone()),
            other => Err(Error::internal(format!("a {other} where text or bytes are expected"))),
        }
    }

    fn get(column: &Self::Column, row: usize) -> &[u8] {
        match column.as_string_view_opt() {
            Some(text) => text.value(row).as_bytes(),
            None => column.as_binary_view().value(row),
        }
    }

    fn own(key: &[u8]) -> Bytes {
        key.into()
    }

    fn hash(key: &[u8]) -> u64 {
        xxhash_rust::xxh3::xxh3_64(key)
    }

    fn array<'a>(ty: &DataType, values: impl Iterator<Item = Option<&'a Self>>) -> Result<ArrayRef> {
        bytes_array(ty, values.map(|v| v.map(|v| v.as_ref())))
    }

    fn key_bytes(key: &[u8]) -> usize {
        key.len()
    }
}

/// A number with the float's order: NaN after infinity, one zero.
fn ordered(v: f64) -> i64 {
    let bits = canonical_f64(v).to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn unordered(v: i64) -> f64 {
    f64::from_bits((v ^ (((v >> 63) as u64) >> 1) as i64) as u64)
}

/// Makes room for slots below `end`.
pub(in super::super) fn extend<T: Default + Clone>(column: &mut Vec<T>, end: usize) {
    if column.len() < end {
        column.resize(end, T::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_keep_their_order_and_come_back() {
        let sorted =
            [f64::NEG_INFINITY, f64::MIN, -1.5, 0.0, f64::MIN_POSITIVE, 2.0, f64::MAX, f64::INFINITY, f64::NAN];
        assert!(sorted.windows(2).all(|w| ordered(w[0]) < ordered(w[1])));
        assert!(sorted.iter().all(|v| unordered(ordered(*v)).to_bits() == v.to_bits()));
        assert_eq!(ordered(-0.0), ordered(0.0));
        assert_eq!(ordered(-f64::NAN), ordered(f64::NAN));
    }
}
