//! The key codec's encoder: one per column and batch, downcast once. The format is in the [parent](super)'s table.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, LargeBinaryArray,
    LargeStringArray, StringArray, StringViewArray, UnionArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float16Type,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType,
    IntervalUnit, IntervalYearMonthType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type, i256,
};

/// What stands for NULL.
pub(super) const NULL: u8 = 0;
/// What stands before a value.
pub(super) const VALUE: u8 = 1;

/// Encodes the rows of one array.
pub(super) struct Encoder<'a> {
    nulls: Option<NullBuffer>,
    values: Values<'a>,
}

/// Arrays by how their values are written.
enum Values<'a> {
    Null,
    Boolean(&'a BooleanArray),
    /// Whole numbers and everything that is one inside. A closure per column, called per row.
    Whole(Box<dyn Fn(usize) -> i64 + 'a>),
    Float(Box<dyn Fn(usize) -> f64 + 'a>),
    Decimal(Box<dyn Fn(usize) -> i128 + 'a>),
    Decimal256(&'a [i256]),
    MonthDayNano(Box<dyn Fn(usize) -> (i32, i32, i64) + 'a>),
    Utf8(&'a StringArray),
    LargeUtf8(&'a LargeStringArray),
    Utf8View(&'a StringViewArray),
    Binary(&'a BinaryArray),
    LargeBinary(&'a LargeBinaryArray),
    BinaryView(&'a BinaryViewArray),
    FixedBinary(&'a FixedSizeBinaryArray),
    Row(Vec<Encoder<'a>>),
    /// The elements and the range of each row in them.
    Array(Box<Encoder<'a>>, Box<dyn Fn(usize) -> std::ops::Range<usize> + 'a>),
    Map(Box<Encoder<'a>>, Box<Encoder<'a>>, Box<dyn Fn(usize) -> std::ops::Range<usize> + 'a>),
    Union(&'a UnionArray),
    /// Values with, per row, where its value is.
    Indirect(Box<Encoder<'a>>, Box<dyn Fn(usize) -> usize + 'a>),
}

/// Writes text or bytes: mark, length, bytes.
pub(super) fn push_bytes(value: &[u8], out: &mut Vec<u8>) {
    out.push(VALUE);
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(value);
}

impl<'a> Encoder<'a> {
    /// An encoder of `array`'s rows.
    pub(super) fn new(array: &'a dyn Array) -> Self {
        // Nested runs and unions have no validity of their own; their values do.
        Self { nulls: array.nulls().cloned(), values: Values::new(array) }
    }

    /// Appends row `row` to `out`.
    pub(super) fn push(&self, row: usize, out: &mut Vec<u8>) {
        if self.nulls.as_ref().is_some_and(|n| n.is_null(row)) {
            return out.push(NULL);
        }
        match &self.values {
            Values::Null => out.push(NULL),
            Values::Boolean(a) => out.extend_from_slice(&[VALUE, u8::from(a.value(row))]),
            Values::Whole(value) => {
                out.push(VALUE);
                out.extend_from_slice(&value(row).to_le_bytes());
            }
            Values::Float(value) => {
                out.push(VALUE);
                out.extend_from_slice(&canonical(value(row)).to_le_bytes());
            }
            Values::Decimal(value) => {
                out.push(VALUE);
                out.extend_from_slice(&value(row).to_le_bytes());
            }
            Values::Decimal256(values) => {
                out.push(VALUE);
                match values[row].to_i128() {
                    Some(v) => out.extend_from_slice(&v.to_le_bytes()),
                    None => out.extend_from_slice(&values[row].to_le_bytes()),
                }
            }
            Values::MonthDayNano(value) => {
                let (months, days, nanos) = value(row);
                out.push(VALUE);
                out.extend_from_slice(&months.to_le_bytes());
                out.extend_from_slice(&days.to_le_bytes());
                out.extend_from_slice(&nanos.to_le_bytes());
            }
            Values::Utf8(a) => push_bytes(a.value(row).as_bytes(), out),
            Values::LargeUtf8(a) => push_bytes(a.value(row).as_bytes(), out),
            Values::Utf8View(a) => push_bytes(a.value(row).as_bytes(), out),
            Values::Binary(a) => push_bytes(a.value(row), out),
            Values::LargeBinary(a) => push_bytes(a.value(row), out),
            Values::BinaryView(a) => push_bytes(a.value(row), out),
            Values::FixedBinary(a) => push_bytes(a.value(row), out),
            Values::Row(fields) => {
                out.push(VALUE);
                fields.iter().for_each(|f| f.push(row, out));
            }
            Values::Array(elements, range) => {
                let range = range(row);
                out.push(VALUE);
                out.extend_from_slice(&(range.len() as u32).to_le_bytes());
                range.for_each(|i| elements.push(i, out));
            }
            Values::Map(keys, values, range) => {
                let range = range(row);
                out.push(VALUE);
                out.extend_from_slice(&(range.len() as u32).to_le_bytes());
                let mut entries: Vec<(Vec<u8>, usize)> = range
                    .map(|i| {
                        let mut key = Vec::new();
                        keys.push(i, &mut key);
                        (key, i)
                    })
                    .collect();
                entries.sort();
                for (key, i) in entries {
                    out.extend_from_slice(&key);
                    values.push(i, out);
                }
            }
            Values::Union(a) => {
                out.extend_from_slice(&[VALUE, a.type_id(row) as u8]);
                let value = a.value(row);
                Encoder::new(value.as_ref()).push(0, out);
            }
            Values::Indirect(values, index) => values.push(index(row), out),
        }
    }
}

/// One representation per value: `-0.0` and NaNs.
fn canonical(value: f64) -> f64 {
    if value.is_nan() {
        f64::from_bits(0x7ff8_0000_0000_0000)
    } else {
        // Adding zero turns -0.0 into 0.0 and changes nothing else.
        value + 0.0
    }
}

/// `values[row]` of a primitive array, converted.
macro_rules! primitive {
    ($variant:ident, $array:expr, $ty:ty, $convert:expr) => {{
        let values = $array.as_primitive::<$ty>().values();
        Values::$variant(Box::new(move |row| $convert(values[row])))
    }};
}

impl<'a> Values<'a> {
    fn new(array: &'a dyn Array) -> Self {
        match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Boolean(array.as_boolean()),
            DataType::Int8 => primitive!(Whole, array, Int8Type, i64::from),
            DataType::Int16 => primitive!(Whole, array, Int16Type, i64::from),
            DataType::Int32 => primitive!(Whole, array, Int32Type, i64::from),
            DataType::Int64 => primitive!(Whole, array, Int64Type, i64::from),
            DataType::UInt8 => primitive!(Whole, array, UInt8Type, i64::from),
            DataType::UInt16 => primitive!(Whole, array, UInt16Type, i64::from),
            DataType::UInt32 => primitive!(Whole, array, UInt32Type, i64::from),
            DataType::UInt64 => primitive!(Whole, array, UInt64Type, |v: u64| v as i64),
            DataType::Date32 => primitive!(Whole, array, Date32Type, i64::from),
            DataType::Date64 => primitive!(Whole, array, Date64Type, i64::from),
            DataType::Time32(TimeUnit::Second) => primitive!(Whole, array, Time32SecondType, i64::from),
            DataType::Time32(_) => primitive!(Whole, array, Time32MillisecondType, i64::from),
            DataType::Time64(TimeUnit::Microsecond) => primitive!(Whole, array, Time64MicrosecondType, i64::from),
            DataType::Time64(_) => primitive!(Whole, array, Time64NanosecondType, i64::from),
            DataType::Timestamp(unit, _) => match unit {
                TimeUnit::Second => primitive!(Whole, array, TimestampSecondType, i64::from),
                TimeUnit::Millisecond => primitive!(Whole, array, TimestampMillisecondType, i64::from),
                TimeUnit::Microsecond => primitive!(Whole, array, TimestampMicrosecondType, i64::from),
                TimeUnit::Nanosecond => primitive!(Whole, array, TimestampNanosecondType, i64::from),
            },
            DataType::Duration(unit) => match unit {
                TimeUnit::Second => primitive!(Whole, array, DurationSecondType, i64::from),
                TimeUnit::Millisecond => primitive!(Whole, array, DurationMillisecondType, i64::from),
                TimeUnit::Microsecond => primitive!(Whole, array, DurationMicrosecondType, i64::from),
                TimeUnit::Nanosecond => primitive!(Whole, array, DurationNanosecondType, i64::from),
            },
            DataType::Interval(IntervalUnit::YearMonth) => primitive!(Whole, array, IntervalYearMonthType, i64::from),
            DataType::Interval(IntervalUnit::DayTime) => {
                let values = array.as_primitive::<IntervalDayTimeType>().values();
                Values::MonthDayNano(Box::new(move |row| {
                    (0, values[row].days, i64::from(values[row].milliseconds) * 1_000_000)
                }))
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                let values = array.as_primitive::<IntervalMonthDayNanoType>().values();
                Values::MonthDayNano(Box::new(move |row| {
                    (values[row].months, values[row].days, values[row].nanoseconds)
                }))
            }
            DataType::Float16 => {
                let values = array.as_primitive::<Float16Type>().values();
                Values::Float(Box::new(move |row| values[row].to_f64()))
            }
            DataType::Float32 => primitive!(Float, array, Float32Type, f64::from),
            DataType::Float64 => primitive!(Float, array, Float64Type, f64::from),
            DataType::Decimal32(..) => primitive!(Decimal, array, Decimal32Type, i128::from),
            DataType::Decimal64(..) => primitive!(Decimal, array, Decimal64Type, i128::from),
            DataType::Decimal128(..) => primitive!(Decimal, array, Decimal128Type, i128::from),
            DataType::Decimal256(..) => Values::Decimal256(array.as_primitive::<Decimal256Type>().values()),
            DataType::Utf8 => Values::Utf8(array.as_string()),
            DataType::LargeUtf8 => Values::LargeUtf8(array.as_string()),
            DataType::Utf8View => Values::Utf8View(array.as_string_view()),
            DataType::Binary => Values::Binary(array.as_binary()),
            DataType::LargeBinary => Values::LargeBinary(array.as_binary()),
            DataType::BinaryView => Values::BinaryView(array.as_binary_view()),
            DataType::FixedSizeBinary(_) => Values::FixedBinary(array.as_fixed_size_binary()),
            DataType::Struct(_) => Values::Row(array.as_struct().columns().iter().map(encoder).collect()),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let offsets = list.value_offsets();
                Values::Array(
                    Box::new(encoder(list.values())),
                    Box::new(move |row| offsets[row] as usize..offsets[row + 1] as usize),
                )
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                let offsets = list.value_offsets();
                Values::Array(
                    Box::new(encoder(list.values())),
                    Box::new(move |row| offsets[row] as usize..offsets[row + 1] as usize),
                )
            }
            DataType::ListView(_) => {
                let list = array.as_list_view::<i32>();
                let (offsets, sizes) = (list.value_offsets(), list.value_sizes());
                Values::Array(
                    Box::new(encoder(list.values())),
                    Box::new(move |row| offsets[row] as usize..(offsets[row] + sizes[row]) as usize),
                )
            }
            DataType::LargeListView(_) => {
                let list = array.as_list_view::<i64>();
                let (offsets, sizes) = (list.value_offsets(), list.value_sizes());
                Values::Array(
                    Box::new(encoder(list.values())),
                    Box::new(move |row| offsets[row] as usize..(offsets[row] + sizes[row]) as usize),
                )
            }
            DataType::FixedSizeList(_, size) => {
                let (list, size) = (array.as_fixed_size_list(), *size as usize);
                Values::Array(
                    Box::new(encoder(list.values())),
                    Box::new(move |row| {
                        let start = list.value_offset(row) as usize;
                        start..start + size
                    }),
                )
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let offsets = map.value_offsets();
                Values::Map(
                    Box::new(encoder(map.keys())),
                    Box::new(encoder(map.values())),
                    Box::new(move |row| offsets[row] as usize..offsets[row + 1] as usize),
                )
            }
            DataType::Union(..) => Values::Union(array.as_union()),
            DataType::Dictionary(..) => {
                let dictionary = array.as_any_dictionary();
                // A NULL row is caught by the validity of the keys; its index is never used.
                let indices = match dictionary.values().len() {
                    0 => vec![0; array.len()],
                    _ => dictionary.normalized_keys(),
                };
                Values::Indirect(Box::new(encoder(dictionary.values())), Box::new(move |row| indices[row]))
            }
            DataType::RunEndEncoded(ends, _) => match ends.data_type() {
                DataType::Int16 => runs::<Int16Type>(array),
                DataType::Int32 => runs::<Int32Type>(array),
                _ => runs::<Int64Type>(array),
            },
        }
    }
}

fn encoder(array: &ArrayRef) -> Encoder<'_> {
    Encoder::new(array.as_ref())
}

fn runs<T: arrow::datatypes::RunEndIndexType>(array: &dyn Array) -> Values<'_> {
    let runs = array.as_run::<T>();
    Values::Indirect(Box::new(encoder(runs.values())), Box::new(move |row| runs.get_physical_index(row)))
}
