//! Keys to slots: the hash table under every keyed operator.
//!
//! A *slot* is a small number by which an operator indexes its columns of state. Slots of removed keys are reused.
//! ```text
//! one whole number, date, timestamp    (i64, slot) in the table itself
//! one text or byte string              bytes in an arena, (hash, slot) in the table
//! anything else                        arrow row bytes in the arena, converted once per batch
//! no column                            slot 0
//! ```
//! # Invariants
//! * NULL equals NULL, every NaN is one key, and `-0.0` is `0.0` (Flink 2.3 keeps the zeros apart; SQL does not).
//! * Hashes here are not a storage format: checkpoints hold key columns and [`dflow_runtime::keys`] hashes them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewBuilder, PrimitiveArray, StringViewBuilder};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type};
use arrow::row::{RowConverter, Rows, SortField};
use dflow_runtime::{Error, Result};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// No slot.
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// Bytes of removed keys an arena keeps before it is packed.
const ARENA_DEAD_BYTES_MIN: usize = 1 << 20;

/// The slots whose flags have any of `wanted`. Eight at a time: of a large state, few change between two checkpoints.
pub(crate) fn slots_with(wanted: u8, flags: &[u8]) -> Vec<u32> {
    let mask = u64::from_ne_bytes([wanted; 8]);
    let (eights, rest) = flags.as_chunks::<8>();
    let mut slots = Vec::new();
    let mut add = |at: usize, flags: &[u8]| {
        slots.extend((at as u32..).zip(flags).filter(|(_, f)| **f & wanted != 0).map(|(slot, _)| slot));
    };
    for (i, eight) in eights.iter().enumerate() {
        if u64::from_ne_bytes(*eight) & mask != 0 {
            add(i * 8, eight);
        }
    }
    add(eights.len() * 8, rest);
    slots
}

/// Spreads the bits of a number (the finaliser of MurmurHash3).
#[inline]
pub(crate) fn mix(key: u64) -> u64 {
    let mut h = key ^ (key >> 33);
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

/// Hands out slot numbers.
#[derive(Debug, Default)]
struct Slots {
    free: Vec<u32>,
    end: u32,
}

impl Slots {
    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.end += 1;
            self.end - 1
        })
    }
}

/// See the module.
pub(crate) struct KeyTable {
    types: Vec<DataType>,
    slots: Slots,
    store: Store,
}

enum Store {
    Unit(bool),
    Int(IntKeys),
    Bytes(BytesKeys),
    Rows { converter: RowConverter, buffer: Rows, keys: BytesKeys },
}

impl KeyTable {
    /// A table for keys of these column types.
    pub(crate) fn new(types: Vec<DataType>) -> Result<Self> {
        let store = match types.as_slice() {
            [] => Store::Unit(false),
            [one] if as_i64_type(one) => Store::Int(IntKeys::default()),
            [DataType::Utf8View | DataType::BinaryView] => Store::Bytes(BytesKeys::default()),
            many => {
                let fields = many.iter().map(|t| SortField::new(t.clone())).collect();
                let converter = RowConverter::new(fields)?;
                let buffer = converter.empty_rows(0, 0);
                Store::Rows { converter, buffer, keys: BytesKeys::default() }
            }
        };
        Ok(Self { types, slots: Slots::default(), store })
    }

    /// One more than the largest slot ever handed out.
    pub(crate) fn slot_end(&self) -> usize {
        self.slots.end as usize
    }

    /// Live keys.
    pub(crate) fn len(&self) -> usize {
        self.slots.end as usize - self.slots.free.len()
    }

    /// Finds or adds the key of each of `rows` rows; appends its slot to `slots`.
    pub(crate) fn intern(&mut self, columns: &[ArrayRef], rows: usize, slots: &mut Vec<u32>) -> Result<()> {
        slots.reserve(rows);
        let allot = &mut self.slots;
        match &mut self.store {
            Store::Unit(used) => {
                if !*used && rows > 0 {
                    *used = true;
                    allot.take();
                }
                slots.resize(slots.len() + rows, 0);
            }
            Store::Int(keys) => keys.intern(&columns[0], slots, allot)?,
            Store::Bytes(keys) => keys.intern_view(&columns[0], slots, allot)?,
            Store::Rows { converter, buffer, keys } => {
                buffer.clear();
                converter.append(buffer, &canonical(columns))?;
                for row in buffer.iter() {
                    slots.push(keys.intern(Some(row.as_ref()), allot));
                }
            }
        }
        Ok(())
    }

    /// Finds the key of each row, [`NO_SLOT`] where it is not there.
    pub(crate) fn lookup(&mut self, columns: &[ArrayRef], rows: usize, slots: &mut Vec<u32>) -> Result<()> {
        match &mut self.store {
            Store::Unit(used) => slots.resize(slots.len() + rows, if *used { 0 } else { NO_SLOT }),
            Store::Int(keys) => {
                let values = to_i64(&columns[0])?;
                let column = &columns[0];
                slots.extend((0..rows).map(|i| if column.is_null(i) { keys.null } else { keys.find(values[i]) }));
            }
            Store::Bytes(keys) => for_each_bytes(&columns[0], |key| slots.push(keys.find(key)))?,
            Store::Rows { converter, buffer, keys } => {
                buffer.clear();
                converter.append(buffer, &canonical(columns))?;
                slots.extend(buffer.iter().map(|row| keys.find(Some(row.as_ref()))));
            }
        }
        Ok(())
    }

    /// The key columns of these live slots.
    pub(crate) fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(match &self.store {
            Store::Unit(_) => Vec::new(),
            Store::Int(keys) => {
                let values = slots.iter().map(|s| (*s != keys.null).then(|| keys.keys[*s as usize]));
                vec![from_i64(&self.types[0], values)?]
            }
            Store::Bytes(keys) => vec![bytes_array(&self.types[0], slots.iter().map(|s| keys.key(*s)))?],
            Store::Rows { converter, keys, .. } => {
                let parser = converter.parser();
                let rows = slots.iter().map(|s| parser.parse(keys.key(*s).unwrap_or_default()));
                converter.convert_rows(rows)?
            }
        })
    }

    /// Makes room for about so many keys.
    pub(crate) fn reserve(&mut self, keys: usize) {
        match &mut self.store {
            Store::Unit(_) => {}
            Store::Int(store) => {
                store.table.reserve(keys, |e| mix(e.0 as u64));
                store.keys.reserve(keys);
            }
            Store::Bytes(store) | Store::Rows { keys: store, .. } => {
                store.table.reserve(keys, |e| e.0);
                store.spans.reserve(keys);
            }
        }
    }

    /// Removes live slots.
    pub(crate) fn remove(&mut self, slots: &[u32]) {
        match &mut self.store {
            Store::Unit(used) => *used &= slots.is_empty(),
            Store::Int(keys) => slots.iter().for_each(|s| keys.remove(*s)),
            Store::Bytes(keys) | Store::Rows { keys, .. } => keys.remove(slots),
        }
        self.slots.free.extend_from_slice(slots);
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        let store = match &self.store {
            Store::Unit(_) => 0,
            Store::Int(keys) => keys.table.capacity() * 17 + keys.keys.capacity() * 8,
            Store::Bytes(keys) => keys.bytes(),
            Store::Rows { keys, buffer, .. } => keys.bytes() + buffer.size(),
        };
        store + self.slots.free.capacity() * 4
    }
}

/// Keys that are one number.
struct IntKeys {
    table: HashTable<(i64, u32)>,
    keys: Vec<i64>,
    null: u32,
}

impl Default for IntKeys {
    fn default() -> Self {
        Self { table: HashTable::new(), keys: Vec::new(), null: NO_SLOT }
    }
}

impl IntKeys {
    fn intern(&mut self, column: &ArrayRef, slots: &mut Vec<u32>, allot: &mut Slots) -> Result<()> {
        let values = to_i64(column)?;
        if column.null_count() == 0 {
            // Runs of one key are common in logs; the last one is remembered.
            let mut last = None;
            for key in values.iter().copied() {
                let slot = match last {
                    Some((k, slot)) if k == key => slot,
                    _ => self.slot(key, allot),
                };
                last = Some((key, slot));
                slots.push(slot);
            }
            return Ok(());
        }
        for (i, key) in values.iter().copied().enumerate() {
            if column.is_valid(i) {
                slots.push(self.slot(key, allot));
                continue;
            }
            if self.null == NO_SLOT {
                self.null = allot.take();
                self.set(self.null, 0);
            }
            slots.push(self.null);
        }
        Ok(())
    }

    #[inline]
    fn slot(&mut self, key: i64, allot: &mut Slots) -> u32 {
        match self.table.entry(mix(key as u64), |e| e.0 == key, |e| mix(e.0 as u64)) {
            Entry::Occupied(e) => e.get().1,
            Entry::Vacant(e) => {
                let slot = allot.take();
                e.insert((key, slot));
                self.set(slot, key);
                slot
            }
        }
    }

    fn set(&mut self, slot: u32, key: i64) {
        if self.keys.len() <= slot as usize {
            self.keys.resize(slot as usize + 1, 0);
        }
        self.keys[slot as usize] = key;
    }

    fn find(&self, key: i64) -> u32 {
        self.table.find(mix(key as u64), |e| e.0 == key).map_or(NO_SLOT, |e| e.1)
    }

    fn remove(&mut self, slot: u32) {
        if slot == self.null {
            self.null = NO_SLOT;
        } else {
            let key = self.keys[slot as usize];
            if let Ok(entry) = self.table.find_entry(mix(key as u64), |e| e.0 == key) {
                entry.remove();
            }
        }
    }
}

/// Keys that are bytes, in one arena.
struct BytesKeys {
    table: HashTable<(u64, u32)>,
    /// Start and length of each slot's key.
    spans: Vec<(usize, u32)>,
    arena: Vec<u8>,
    dead: usize,
    null: u32,
}

impl Default for BytesKeys {
    fn default() -> Self {
        Self { table: HashTable::new(), spans: Vec::new(), arena: Vec::new(), dead: 0, null: NO_SLOT }
    }
}

impl BytesKeys {
    fn intern_view(&mut self, column: &ArrayRef, slots: &mut Vec<u32>, allot: &mut Slots) -> Result<()> {
        for_each_bytes(column, |key| slots.push(self.intern(key, allot)))
    }

    #[inline]
    fn intern(&mut self, key: Option<&[u8]>, allot: &mut Slots) -> u32 {
        let Some(key) = key else {
            if self.null == NO_SLOT {
                self.null = allot.take();
                self.set(self.null, &[]);
            }
            return self.null;
        };
        let hash = xxhash_rust::xxh3::xxh3_64(key);
        let (arena, spans) = (&self.arena, &self.spans);
        let found = self.table.entry(hash, |e| e.0 == hash && at(arena, spans, e.1) == key, |e| e.0);
        match found {
            Entry::Occupied(e) => e.get().1,
            Entry::Vacant(e) => {
                let slot = allot.take();
                e.insert((hash, slot));
                self.set(slot, key);
                slot
            }
        }
    }

    fn set(&mut self, slot: u32, key: &[u8]) {
        if self.spans.len() <= slot as usize {
            self.spans.resize(slot as usize + 1, (0, 0));
        }
        self.spans[slot as usize] = (self.arena.len(), key.len() as u32);
        self.arena.extend_from_slice(key);
    }

    fn find(&self, key: Option<&[u8]>) -> u32 {
        let Some(key) = key else { return self.null };
        let hash = xxhash_rust::xxh3::xxh3_64(key);
        let found = self.table.find(hash, |e| e.0 == hash && at(&self.arena, &self.spans, e.1) == key);
        found.map_or(NO_SLOT, |e| e.1)
    }

    fn key(&self, slot: u32) -> Option<&[u8]> {
        (slot != self.null).then(|| at(&self.arena, &self.spans, slot))
    }

    fn remove(&mut self, slots: &[u32]) {
        for slot in slots {
            if *slot == self.null {
                self.null = NO_SLOT;
                continue;
            }
            let hash = xxhash_rust::xxh3::xxh3_64(at(&self.arena, &self.spans, *slot));
            if let Ok(entry) = self.table.find_entry(hash, |e| e.1 == *slot) {
                entry.remove();
            }
            self.dead += self.spans[*slot as usize].1 as usize;
            self.spans[*slot as usize] = (0, 0);
        }
        if self.dead > ARENA_DEAD_BYTES_MIN && self.dead > self.arena.len() / 2 {
            self.pack();
        }
    }

    /// Copies the live keys together.
    fn pack(&mut self) {
        let mut arena = Vec::with_capacity(self.arena.len() - self.dead);
        for span in &mut self.spans {
            let start = arena.len();
            arena.extend_from_slice(&self.arena[span.0..span.0 + span.1 as usize]);
            span.0 = start;
        }
        self.arena = arena;
        self.dead = 0;
    }

    fn bytes(&self) -> usize {
        self.table.capacity() * 17 + self.spans.capacity() * 16 + self.arena.capacity()
    }
}

#[inline]
fn at<'a>(arena: &'a [u8], spans: &[(usize, u32)], slot: u32) -> &'a [u8] {
    let (start, len) = spans[slot as usize];
    &arena[start..start + len as usize]
}

/// Calls `each` with the bytes of every row of a text or byte column.
fn for_each_bytes<'a>(column: &'a ArrayRef, mut each: impl FnMut(Option<&'a [u8]>)) -> Result<()> {
    if let Some(text) = column.as_string_view_opt() {
        text.iter().for_each(|v| each(v.map(str::as_bytes)));
    } else if let Some(bytes) = column.as_binary_view_opt() {
        bytes.iter().for_each(each);
    } else {
        return Err(Error::internal(format!("a {} where text or bytes are expected", column.data_type())));
    }
    Ok(())
}

/// An array of text or bytes. Text must be UTF-8, as what was put in was.
pub(crate) fn bytes_array<'a>(ty: &DataType, values: impl Iterator<Item = Option<&'a [u8]>>) -> Result<ArrayRef> {
    if *ty == DataType::Utf8View {
        let mut builder = StringViewBuilder::with_capacity(values.size_hint().0);
        for value in values {
            match value.map(std::str::from_utf8).transpose() {
                Ok(value) => builder.append_option(value),
                Err(e) => return Err(Error::internal(format!("text in state: {e}"))),
            }
        }
        return Ok(Arc::new(builder.finish()));
    }
    let mut builder = BinaryViewBuilder::with_capacity(values.size_hint().0);
    values.for_each(|value| builder.append_option(value));
    Ok(Arc::new(builder.finish()))
}

/// Whether values of this type are whole numbers of at most 64 bits (booleans and floats are not).
pub(crate) fn as_i64_type(ty: &DataType) -> bool {
    use DataType::{Date32, Duration, Int8, Int16, Int32, Int64, Time32, Timestamp};
    matches!(ty, Int8 | Int16 | Int32 | Int64 | Date32 | Time32(_) | Timestamp(..) | Duration(_))
}

/// The values of such a column; NULLs have some value.
pub(crate) fn to_i64(column: &ArrayRef) -> Result<ScalarBuffer<i64>> {
    let data = column.to_data();
    Ok(match column.data_type() {
        DataType::Int64 | DataType::Timestamp(..) | DataType::Duration(_) => {
            ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len())
        }
        DataType::Date32 | DataType::Time32(_) => {
            let values = ScalarBuffer::<i32>::new(data.buffers()[0].clone(), data.offset(), data.len());
            values.iter().map(|v| i64::from(*v)).collect()
        }
        DataType::Int32 => column.as_primitive::<Int32Type>().values().iter().map(|v| i64::from(*v)).collect(),
        DataType::Int8 | DataType::Int16 => {
            cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().values().clone()
        }
        other => return Err(Error::internal(format!("a {other} where a whole number is expected"))),
    })
}

/// A column of such a type.
pub(crate) fn from_i64(ty: &DataType, values: impl Iterator<Item = Option<i64>>) -> Result<ArrayRef> {
    let wide: PrimitiveArray<Int64Type> = values.collect();
    Ok(match ty {
        DataType::Int64 => Arc::new(wide),
        DataType::Timestamp(..) | DataType::Duration(_) => retype(&wide, ty)?,
        DataType::Date32 | DataType::Time32(_) => {
            let narrow: PrimitiveArray<Int32Type> = wide.unary(|v| v as i32);
            retype(&narrow, ty)?
        }
        _ => cast(&wide, ty)?,
    })
}

/// The same values under another type of the same width.
fn retype(array: &dyn Array, ty: &DataType) -> Result<ArrayRef> {
    let data = array.to_data().into_builder().data_type(ty.clone()).build()?;
    Ok(arrow::array::make_array(data))
}

/// The columns with one NaN and one zero.
pub(crate) fn canonical(columns: &[ArrayRef]) -> Vec<ArrayRef> {
    let one = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            DataType::Float64 => Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(canonical_f64)),
            DataType::Float32 => Arc::new(
                column
                    .as_primitive::<Float32Type>()
                    .unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v + 0.0 }),
            ),
            _ => column.clone(),
        }
    };
    columns.iter().map(one).collect()
}

/// One NaN, one zero.
#[inline]
pub(crate) fn canonical_f64(v: f64) -> f64 {
    if v.is_nan() { f64::NAN } else { v + 0.0 }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int32Array, Int64Array, StringViewArray};

    use super::*;

    fn intern(table: &mut KeyTable, columns: &[ArrayRef]) -> Vec<u32> {
        let mut slots = Vec::new();
        table.intern(columns, columns[0].len(), &mut slots).unwrap();
        slots
    }

    #[test]
    fn slots_are_found_by_their_flags() {
        let flags: Vec<u8> = (0..1003u32).map(|i| if i % 37 == 0 || i >= 1000 { 6 } else { 1 }).collect();
        let expected: Vec<u32> = (0..1003).filter(|i| i % 37 == 0 || *i >= 1000).collect();
        assert_eq!(slots_with(4, &flags), expected);
        assert_eq!(slots_with(8, &flags), [0; 0]);
        assert_eq!(slots_with(3, &flags).len(), 1003);
        assert_eq!(slots_with(2, &flags[..3]), [0]);
    }

    #[test]
    fn numbers_share_slots_null_is_a_key_and_slots_are_reused() {
        let mut t = KeyTable::new(vec![DataType::Int64]).unwrap();
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None, Some(7), Some(0), None]));
        let slots = intern(&mut t, std::slice::from_ref(&column));
        assert_eq!(slots, [0, 1, 0, 2, 1]);
        assert_eq!(&t.columns(&slots).unwrap()[0], &column);
        t.remove(&[1, 0]);
        assert_eq!(t.len(), 1);
        let mut found = Vec::new();
        t.lookup(&[column], 5, &mut found).unwrap();
        assert_eq!(found, [NO_SLOT, NO_SLOT, NO_SLOT, 2, NO_SLOT]);
        let more: ArrayRef = Arc::new(Int64Array::from(vec![9, 10, 11]));
        assert_eq!(intern(&mut t, &[more]), [0, 1, 3]);
    }

    #[test]
    fn text_and_composite_keys_come_back_as_they_went_in() {
        let text: ArrayRef = Arc::new(StringViewArray::from(vec![
            Some("a"),
            Some(""),
            None,
            Some("a"),
            Some("a long key of 25 bytes.."),
        ]));
        let mut t = KeyTable::new(vec![DataType::Utf8View]).unwrap();
        let slots = intern(&mut t, std::slice::from_ref(&text));
        assert_eq!(slots, [0, 1, 2, 0, 3]);
        assert_eq!(&t.columns(&slots).unwrap()[0], &text);

        let number: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, None, Some(1), Some(1)]));
        let mut t = KeyTable::new(vec![DataType::Utf8View, DataType::Int32]).unwrap();
        let slots = intern(&mut t, &[text.clone(), number.clone()]);
        assert_eq!(slots, [0, 1, 2, 0, 3]);
        assert_eq!(t.columns(&slots).unwrap(), [text, number]);
    }

    #[test]
    fn zeros_and_nans_are_one_key_each() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN]));
        let mut t = KeyTable::new(vec![DataType::Float64]).unwrap();
        assert_eq!(intern(&mut t, &[column]), [0, 0, 1, 1]);
    }

    #[test]
    fn an_arena_of_mostly_removed_keys_is_packed() {
        let keys: Vec<String> = (0..40_000).map(|i| format!("a key that is long enough to count {i:08}")).collect();
        let column: ArrayRef = Arc::new(StringViewArray::from_iter_values(&keys));
        let mut t = KeyTable::new(vec![DataType::Utf8View]).unwrap();
        let slots = intern(&mut t, &[column]);
        let before = t.bytes();
        t.remove(&slots[..39_000]);
        assert!(t.bytes() < before);
        let left = t.columns(&slots[39_000..]).unwrap();
        assert_eq!(left[0].as_string_view().value(999), keys[39_999]);
    }
}
