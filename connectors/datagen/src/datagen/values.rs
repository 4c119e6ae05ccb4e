//! Columns of values.
//!
//! The draw of row `i` of a field is `mix(seed ^ salt, i)`, two multiplications; a field whose row takes several draws
//! (text, collections) numbers them `i * draws + j`. NULLs are drawn apart, so that a null rate changes no other value.

use std::io::Write as _;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, ListArray, MapArray, PrimitiveArray, StringArray, StringViewArray,
    StructArray, Time32MillisecondArray, UInt32Array, make_comparator, new_null_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{
    ArrowTimestampType, DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;

use super::fields::{Field, Kind, ticks_per_us};

const DAY_US: i64 = 86_400_000_000;

/// What all fields of a stream share.
pub(super) struct Context {
    pub(super) seed: u64,
    pub(super) start_us: i64,
    pub(super) us_per_row: f64,
}

impl Context {
    /// When a row happens, microseconds since 1970.
    fn time_us(&self, row: u64) -> i64 {
        self.start_us.saturating_add((row as f64 * self.us_per_row) as i64)
    }
}

/// The draws of one field.
#[derive(Clone, Copy)]
struct Draws(u64);

impl Draws {
    fn new(context: &Context, field: &Field) -> Self {
        Self(mix(context.seed ^ field.salt))
    }

    #[inline]
    fn at(self, index: u64) -> u64 {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        mix(self.0.wrapping_add(index.wrapping_mul(GAMMA)))
    }

    /// Draws that have nothing to do with these.
    fn other(self) -> Self {
        Self(mix(!self.0))
    }
}

/// SplitMix64's finaliser.
#[inline]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number in `0..n`; in all of `u64` when `n` is 0.
#[inline]
fn below(draw: u64, n: u64) -> u64 {
    if n == 0 { draw } else { ((u128::from(draw) * u128::from(n)) >> 64) as u64 }
}

/// A number in `0.0..1.0`.
#[inline]
fn unit(draw: u64) -> f64 {
    (draw >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// The field's values of these rows.
pub(super) fn column(field: &Field, context: &Context, rows: &[u64]) -> Result<ArrayRef, ArrowError> {
    let draws = Draws::new(context, field);
    let nulls = nulls(field, draws.other(), rows);
    let values = rows.iter().map(|row| draws.at(*row));
    Ok(match &field.kind {
        Kind::Absent => new_null_array(&field.ty, rows.len()),
        Kind::Sequence { start, .. } => return sequence(field, *start, rows, nulls),
        Kind::Bool => Arc::new(BooleanArray::new(values.map(|d| d >> 63 == 1).collect(), nulls)),
        Kind::Int { min, span } => {
            let values = values.map(|d| min.wrapping_add(below(d, *span) as i64));
            integers(&field.ty, values, nulls)?
        }
        Kind::Float { min, max } => {
            // The width of the whole range of doubles is not a double: halves are.
            let (half_min, half_width) = (min / 2.0, max / 2.0 - min / 2.0);
            let values = values.map(|d| (half_min + unit(d) * half_width) * 2.0);
            match field.ty {
                DataType::Float32 => Arc::new(Float32Array::new(values.map(|v| v as f32).collect(), nulls)),
                _ => Arc::new(Float64Array::new(values.collect(), nulls)),
            }
        }
        Kind::Decimal { min, max } => {
            let width = (max - min) as f64 + 1.0;
            let values = values.map(|d| (min + (unit(d) * width) as i128).clamp(*min, *max)).collect();
            Arc::new(Decimal128Array::new(values, nulls).with_data_type(field.ty.clone()))
        }
        Kind::Bytes { len, varying } => return bytes(field, draws, *len, *varying, rows, nulls),
        Kind::Now => {
            let times = rows.iter().map(|row| context.time_us(*row));
            match field.ty {
                DataType::Date32 => {
                    Arc::new(Date32Array::new(times.map(|t| t.div_euclid(DAY_US) as i32).collect(), nulls))
                }
                _ => {
                    let times = times.map(|t| (t.rem_euclid(DAY_US) / 1_000) as i32);
                    Arc::new(Time32MillisecondArray::new(times.collect(), nulls))
                }
            }
        }
        Kind::Past { max_us } => {
            let span = max_us.saturating_add(1);
            let times = rows.iter().map(|row| {
                let past = if *max_us == 0 { 0 } else { below(draws.at(*row), span) };
                context.time_us(*row).saturating_sub_unsigned(past)
            });
            timestamps(&field.ty, times, nulls)?
        }
        Kind::List { len, element } => {
            let DataType::List(item) = &field.ty else { return Err(mismatch(field)) };
            let values = column(element, context, &elements(rows, *len))?;
            let offsets = OffsetBuffer::from_repeated_length(*len as usize, rows.len());
            Arc::new(ListArray::try_new(item.clone(), offsets, values, nulls)?)
        }
        Kind::Map { len, key, value } => return map(field, *len, key, value, context, rows, nulls),
        Kind::Row(fields) => {
            let DataType::Struct(types) = &field.ty else { return Err(mismatch(field)) };
            let columns = fields.iter().map(|f| column(f, context, rows)).collect::<Result<Vec<_>, _>>()?;
            if columns.is_empty() {
                return Ok(Arc::new(StructArray::new_empty_fields(rows.len(), nulls)));
            }
            Arc::new(StructArray::try_new(types.clone(), columns, nulls)?)
        }
    })
}

fn mismatch(field: &Field) -> ArrowError {
    ArrowError::SchemaError(format!("a field of kind {:?} cannot have type {}", field.kind, field.ty))
}

fn nulls(field: &Field, draws: Draws, rows: &[u64]) -> Option<NullBuffer> {
    (field.null_below > 0).then(|| rows.iter().map(|row| draws.at(*row) >= field.null_below).collect())
}

/// Element indices of collections of `len` elements.
fn elements(rows: &[u64], len: u32) -> Vec<u64> {
    let len = u64::from(len);
    rows.iter().flat_map(|row| (0..len).map(move |j| row.wrapping_mul(len).wrapping_add(j))).collect()
}

fn integers(
    ty: &DataType,
    values: impl Iterator<Item = i64>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    Ok(match ty {
        DataType::Int8 => Arc::new(Int8Array::new(values.map(|v| v as i8).collect(), nulls)),
        DataType::Int16 => Arc::new(Int16Array::new(values.map(|v| v as i16).collect(), nulls)),
        DataType::Int32 => Arc::new(Int32Array::new(values.map(|v| v as i32).collect(), nulls)),
        DataType::Int64 => Arc::new(Int64Array::new(values.collect(), nulls)),
        other => return Err(ArrowError::SchemaError(format!("{other} is not a whole number"))),
    })
}

fn timestamps(
    ty: &DataType,
    times_us: impl Iterator<Item = i64>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    let DataType::Timestamp(unit, zone) = ty else {
        return Err(ArrowError::SchemaError(format!("{ty} is not a timestamp")));
    };
    let (ticks, us) = ticks_per_us(*unit);
    let values = times_us.map(|t| t.div_euclid(us).saturating_mul(ticks));
    fn typed<T: ArrowTimestampType>(
        values: impl Iterator<Item = i64>,
        nulls: Option<NullBuffer>,
        zone: &Option<Arc<str>>,
    ) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(values.collect(), nulls).with_timezone_opt(zone.clone()))
    }
    Ok(match unit {
        TimeUnit::Second => typed::<TimestampSecondType>(values, nulls, zone),
        TimeUnit::Millisecond => typed::<TimestampMillisecondType>(values, nulls, zone),
        TimeUnit::Microsecond => typed::<TimestampMicrosecondType>(values, nulls, zone),
        TimeUnit::Nanosecond => typed::<TimestampNanosecondType>(values, nulls, zone),
    })
}

fn sequence(field: &Field, start: i64, rows: &[u64], nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
    let values = rows.iter().map(|row| start.wrapping_add(*row as i64));
    Ok(match &field.ty {
        DataType::Float32 => Arc::new(Float32Array::new(values.map(|v| v as f32).collect(), nulls)),
        DataType::Float64 => Arc::new(Float64Array::new(values.map(|v| v as f64).collect(), nulls)),
        DataType::Decimal128(_, scale) => {
            let one = 10i128.pow((*scale).max(0) as u32);
            let values = values.map(|v| i128::from(v) * one).collect();
            Arc::new(Decimal128Array::new(values, nulls).with_data_type(field.ty.clone()))
        }
        DataType::Utf8View => {
            let (mut text, mut ends) = (Vec::with_capacity(rows.len() * 8), Vec::with_capacity(rows.len() + 1));
            ends.push(0);
            for value in values {
                // Writing into memory does not fail.
                let _ = write!(text, "{value}");
                ends.push(text.len() as i32);
            }
            let text = StringArray::try_new(OffsetBuffer::new(ends.into()), text.into(), nulls)?;
            Arc::new(StringViewArray::from(&text))
        }
        ty => integers(ty, values, nulls)?,
    })
}

/// Random text (hexadecimal digits, as in Flink) or bytes.
fn bytes(
    field: &Field,
    draws: Draws,
    len: u32,
    varying: bool,
    rows: &[u64],
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    let text = field.ty == DataType::Utf8View;
    let per_draw = if text { 16 } else { 8 };
    let draws_per_row = u64::from(len.div_ceil(per_draw));
    let lengths = draws.other().other();
    let mut out: Vec<u8> = Vec::with_capacity(rows.len() * len as usize + 16);
    let mut ends = Vec::with_capacity(rows.len() + 1);
    ends.push(0i32);
    for row in rows {
        let len = if varying { 1 + below(lengths.at(*row), len.into()) as usize } else { len as usize };
        let end = out.len() + len;
        let mut index = row.wrapping_mul(draws_per_row);
        while out.len() < end {
            let draw = draws.at(index).to_le_bytes();
            if text {
                for byte in draw {
                    out.extend_from_slice(&HEX[byte as usize]);
                }
            } else {
                out.extend_from_slice(&draw);
            }
            index = index.wrapping_add(1);
        }
        out.truncate(end);
        // A batch's rows fit BATCH_BYTES, or are one row of at most RECORD_BYTES_MAX.
        ends.push(end as i32);
    }
    let (offsets, out) = (OffsetBuffer::new(ends.into()), Buffer::from_vec(out));
    Ok(if text {
        Arc::new(StringViewArray::from(&StringArray::try_new(offsets, out, nulls)?))
    } else {
        Arc::new(BinaryViewArray::from(&BinaryArray::try_new(offsets, out, nulls)?))
    })
}

/// The two hexadecimal digits of every byte.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = [digits[i >> 4], digits[i & 15]];
        i += 1;
    }
    table
};

/// Maps; of equal keys in one map the first stays.
fn map(
    field: &Field,
    len: u32,
    key: &Field,
    value: &Field,
    context: &Context,
    rows: &[u64],
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    let DataType::Map(entries, sorted) = &field.ty else { return Err(mismatch(field)) };
    let DataType::Struct(pair) = entries.data_type() else { return Err(mismatch(field)) };
    let indices = elements(rows, len);
    let (keys, values) = (column(key, context, &indices)?, column(value, context, &indices)?);
    let same = make_comparator(keys.as_ref(), keys.as_ref(), SortOptions::default())?;
    let (mut kept, mut ends) = (Vec::with_capacity(indices.len()), Vec::with_capacity(rows.len() + 1));
    ends.push(0i32);
    for row in 0..rows.len() {
        let (first, start) = (row * len as usize, kept.len());
        for i in first..first + len as usize {
            if !kept[start..].iter().any(|k: &u32| same(*k as usize, i).is_eq()) {
                kept.push(i as u32);
            }
        }
        ends.push(kept.len() as i32);
    }
    let kept = UInt32Array::from(kept);
    let columns = vec![take(&keys, &kept, None)?, take(&values, &kept, None)?];
    let pairs = StructArray::try_new(pair.clone(), columns, None)?;
    Ok(Arc::new(MapArray::try_new(entries.clone(), OffsetBuffer::new(ends.into()), pairs, nulls, *sorted)?))
}
