//! Keys that outlive the process: which key group a row belongs to.
//!
//! `key group = xxh3_64(codec(key columns)) % max_parallelism`. Codec and hash are frozen formats: checkpoints depend
//! on them, and golden vectors in the tests hold them. The codec (per column, in order):
//!
//! | type | bytes |
//! |---|---|
//! | any NULL | `0x00` |
//! | value | `0x01`, then the value below |
//! | boolean | one byte |
//! | whole numbers, dates, times, timestamps, intervals | 8 bytes, little endian, sign extended |
//! | interval of months, days and nanoseconds | 16 bytes: months and days as 4 bytes, nanoseconds as 8 |
//! | decimals | 16 bytes, little endian, of the unscaled value (32 where 16 do not hold it) |
//! | floats | 8 bytes of the f64, `-0.0` as `0.0`, every NaN as one NaN |
//! | text, bytes | length as 4 bytes, then the bytes |
//! | ROW | its fields, each as a column |
//! | ARRAY | number of elements as 4 bytes, then each as a column |
//! | MAP | number of entries as 4 bytes, then key and value of each, ordered by the bytes of the key |
//! | union | the variant as one byte, then its value as a column |
//!
//! A dictionary or run-end encoded column counts as the values it stands for. So equal values of one SQL type hash alike
//! whatever array carries them: INT beside BIGINT, FLOAT beside DOUBLE, text beside text views. Timestamps of different
//! precision and decimals of different scale do not; the planner casts before it hashes.
//!
//! # Speed
//! One column of whole numbers or of text (views) hashes without leaving its loop. Everything else goes through one
//! reused buffer per batch: no allocation per row.
//!
//! A subtask owns the contiguous groups [`group_range`].

mod codec;

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type,
};
use dflow_common::ids::KeyGroup;
use xxhash_rust::xxh3::xxh3_64;

use codec::Encoder;

/// The key groups of subtask `subtask` of `parallelism`: contiguous, in order, sizes differing by at most one.
pub fn group_range(max_parallelism: KeyGroup, parallelism: usize, subtask: usize) -> Range<KeyGroup> {
    let n = u64::from(max_parallelism);
    let bound = |i: usize| ((i as u64 * n).div_ceil(parallelism as u64)) as KeyGroup;
    bound(subtask)..bound(subtask + 1)
}

/// The subtask that owns a key group: the inverse of [`group_range`].
pub fn owner(max_parallelism: KeyGroup, parallelism: usize, group: KeyGroup) -> usize {
    (u64::from(group) * parallelism as u64 / u64::from(max_parallelism)) as usize
}

/// The frozen hash of every row's key. The columns have equal length and at least one is given: without key columns
/// every row belongs to key group 0, and the answer here is empty.
pub fn key_hashes(columns: &[ArrayRef]) -> Vec<u64> {
    match columns {
        [] => Vec::new(),
        [one] => single(one).unwrap_or_else(|| general(columns)),
        many => general(many),
    }
}

/// The key group of every row's key: [`key_hashes`] modulo `max_parallelism` (at least 1).
pub fn key_groups(columns: &[ArrayRef], max_parallelism: KeyGroup) -> Vec<KeyGroup> {
    let n = u64::from(max_parallelism.max(1));
    let hashes = key_hashes(columns);
    if n.is_power_of_two() {
        hashes.into_iter().map(|h| (h & (n - 1)) as KeyGroup).collect()
    } else {
        hashes.into_iter().map(|h| (h % n) as KeyGroup).collect()
    }
}

/// The codec's bytes of one row: for tests and for messages about a key.
pub fn encode_key(columns: &[ArrayRef], row: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for column in columns {
        Encoder::new(column.as_ref()).push(row, &mut bytes);
    }
    bytes
}

/// Any columns, by way of a buffer.
fn general(columns: &[ArrayRef]) -> Vec<u64> {
    let encoders: Vec<Encoder<'_>> = columns.iter().map(|c| Encoder::new(c.as_ref())).collect();
    let mut bytes = Vec::with_capacity(64);
    (0..columns[0].len())
        .map(|row| {
            bytes.clear();
            encoders.iter().for_each(|e| e.push(row, &mut bytes));
            xxh3_64(&bytes)
        })
        .collect()
}

/// The common single-column keys; `None` for other types.
fn single(column: &ArrayRef) -> Option<Vec<u64>> {
    Some(match column.data_type() {
        DataType::Int8 => whole::<Int8Type>(column),
        DataType::Int16 => whole::<Int16Type>(column),
        DataType::Int32 => whole::<Int32Type>(column),
        DataType::Int64 => whole::<Int64Type>(column),
        DataType::UInt8 => whole::<UInt8Type>(column),
        DataType::UInt16 => whole::<UInt16Type>(column),
        DataType::UInt32 => whole::<UInt32Type>(column),
        DataType::Date32 => whole::<Date32Type>(column),
        DataType::Timestamp(TimeUnit::Millisecond, _) => whole::<TimestampMillisecondType>(column),
        DataType::Timestamp(TimeUnit::Microsecond, _) => whole::<TimestampMicrosecondType>(column),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => whole::<TimestampNanosecondType>(column),
        DataType::Utf8View => {
            let array = column.as_string_view();
            bytes(array.len(), |i| array.is_valid(i).then(|| array.value(i).as_bytes()))
        }
        DataType::BinaryView => {
            let array = column.as_binary_view();
            bytes(array.len(), |i| array.is_valid(i).then(|| array.value(i)))
        }
        _ => return None,
    })
}

fn whole<T: ArrowPrimitiveType>(column: &ArrayRef) -> Vec<u64>
where
    T::Native: Into<i64>,
{
    let array = column.as_primitive::<T>();
    let hash = |value: T::Native| {
        let mut key = [codec::VALUE; 9];
        key[1..].copy_from_slice(&value.into().to_le_bytes());
        xxh3_64(&key)
    };
    if array.null_count() == 0 {
        return array.values().iter().map(|v| hash(*v)).collect();
    }
    let null = xxh3_64(&[codec::NULL]);
    array.iter().map(|v| v.map_or(null, hash)).collect()
}

fn bytes<'a>(rows: usize, value: impl Fn(usize) -> Option<&'a [u8]>) -> Vec<u64> {
    let null = xxh3_64(&[codec::NULL]);
    let mut key = Vec::with_capacity(64);
    (0..rows)
        .map(|i| match value(i) {
            None => null,
            Some(v) => {
                key.clear();
                codec::push_bytes(v, &mut key);
                xxh3_64(&key)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
