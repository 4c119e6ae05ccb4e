//! Values with a bit per filter: for input that only adds.
//!
//! One entry is one probe of memory: the value, its group and its bits stand in the hash table itself (16 bytes for a
//! whole number), because tables of this kind are the largest of a job and every row asks one.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanBufferBuilder, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Int64Type};
use dflow_runtime::{Error, Result};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use super::{Distinct, Transitions, hash, side_fields};
use crate::operators::hash_agg::accumulators::{Missing, SideTable, Signs, Value};

/// Filters an entry has bits for.
pub(super) const VARIANTS_MAX: usize = 16;

/// The entry changed since the last snapshot.
const DIRTY: u8 = 1;

struct Entry<V> {
    value: V,
    slot: u32,
    /// Bit `i`: seen by variant `i`.
    seen: u16,
    flags: u8,
}

/// See the module.
pub(super) struct DistinctSet<V> {
    ty: DataType,
    variants: usize,
    table: HashTable<Entry<V>>,
    heap_bytes: usize,
    /// Per row of a batch, the variants it passes.
    masks: Vec<u16>,
}

impl<V: Value> DistinctSet<V> {
    pub(super) fn new(ty: DataType, variants: usize) -> Self {
        Self { ty, variants, table: HashTable::new(), heap_bytes: 0, masks: Vec::new() }
    }

    /// Marks a value as seen by the variants of `mask`; those that had not seen it before. A change sets `flags`.
    #[inline]
    fn see(&mut self, slot: u32, key: &V::Key, mask: u16, flags: u8) -> u16 {
        let place = self.table.entry(
            hash::<V>(slot, key),
            |e| e.slot == slot && e.value.borrow() == key,
            |e| hash::<V>(e.slot, e.value.borrow()),
        );
        match place {
            Place::Occupied(mut e) => {
                let entry = e.get_mut();
                let new = mask & !entry.seen;
                if new != 0 {
                    entry.seen |= new;
                    entry.flags |= flags;
                }
                new
            }
            Place::Vacant(place) => {
                place.insert(Entry { value: V::own(key), slot, seen: mask, flags });
                self.heap_bytes += V::key_bytes(key);
                mask
            }
        }
    }

    /// Which variants each row passes.
    fn fill_masks(&mut self, rows: usize, valid: Option<&BooleanBuffer>, filters: &[Option<BooleanBuffer>]) {
        let unfiltered = (0..self.variants).filter(|v| filters[*v].is_none()).fold(0, |m, v| m | 1 << v);
        self.masks.clear();
        self.masks.resize(rows, unfiltered);
        for (variant, filter) in filters.iter().enumerate() {
            if let Some(filter) = filter {
                let bit = 1 << variant;
                filter.set_indices().for_each(|row| self.masks[row] |= bit);
            }
        }
        if let Some(valid) = valid {
            self.masks.iter_mut().zip(valid.iter()).filter(|(_, valid)| !valid).for_each(|(mask, _)| *mask = 0);
        }
    }
}

impl<V: Value> Distinct for DistinctSet<V> {
    fn update(
        &mut self,
        slots: &[u32],
        signs: Signs<'_>,
        values: &ArrayRef,
        valid: Option<&BooleanBuffer>,
        filters: &[Option<BooleanBuffer>],
    ) -> Result<Vec<Transitions>, Missing> {
        if matches!(signs, Signs::Kinds(_)) {
            return Err(Missing::Broken(Error::internal("a value is removed from input planned as append-only")));
        }
        let column = V::column(values)?;
        self.fill_masks(slots.len(), valid, filters);
        let mut masks = std::mem::take(&mut self.masks);
        for (row, mask) in masks.iter_mut().enumerate().filter(|(_, mask)| **mask != 0) {
            *mask = self.see(slots[row], V::get(&column, row), *mask, DIRTY);
        }
        let transitions = (0..self.variants)
            .map(|variant| {
                let mut selected = BooleanBufferBuilder::new(masks.len());
                masks.iter().for_each(|mask| selected.append(mask >> variant & 1 == 1));
                Transitions { selected: selected.finish(), kinds: Vec::new() }
            })
            .collect();
        self.masks = masks;
        Ok(transitions)
    }

    fn grow(&mut self, _end: usize) {}

    /// Groups of input that only adds do not leave.
    fn free(&mut self, slots: &[u32]) -> Result<(), Missing> {
        if slots.is_empty() { Ok(()) } else { Err(Missing::Value) }
    }

    fn as_side(&mut self) -> &mut dyn SideTable {
        self
    }

    fn bytes(&self) -> usize {
        self.table.capacity() * (size_of::<Entry<V>>() + 1) + self.heap_bytes
    }
}

impl<V: Value> SideTable for DistinctSet<V> {
    fn side_fields(&self) -> Vec<Field> {
        side_fields(&self.ty, self.variants)
    }

    fn side_save(&mut self, _slots: &[u32], all: bool) -> Result<(Vec<u32>, Vec<ArrayRef>)> {
        let wanted = |e: &&Entry<V>| all || e.flags & DIRTY != 0;
        let at: Vec<u32> = self.table.iter().filter(wanted).map(|e| e.slot).collect();
        let mut columns = vec![V::array(&self.ty, self.table.iter().filter(wanted).map(|e| Some(&e.value)))?];
        for variant in 0..self.variants {
            let counts = self.table.iter().filter(wanted).map(|e| i64::from(e.seen >> variant & 1));
            columns.push(Arc::new(Int64Array::from_iter_values(counts)));
        }
        self.table.iter_mut().for_each(|e| e.flags &= !DIRTY);
        Ok((at, columns))
    }

    fn side_gone(&mut self, _slots: Option<&[u32]>) -> Result<(Vec<u32>, ArrayRef)> {
        Ok((Vec::new(), V::array(&self.ty, std::iter::empty())?))
    }

    fn side_load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let values = V::column(&columns[0])?;
        let mut masks = vec![0u16; slots.len()];
        for variant in 0..self.variants {
            let Some(counts) = columns.get(1 + variant).and_then(|c| c.as_primitive_opt::<Int64Type>()) else {
                return Err(Error::internal("a distinct table without counts"));
            };
            masks.iter_mut().zip(counts.values()).for_each(|(mask, count)| *mask |= u16::from(*count > 0) << variant);
        }
        for (i, slot) in slots.iter().enumerate() {
            self.see(*slot, V::get(&values, i), masks[i], 0);
        }
        Ok(())
    }

    /// Nothing was ever removed.
    fn side_remove(&mut self, slots: &[u32], _values: &ArrayRef) -> Result<()> {
        if slots.is_empty() { Ok(()) } else { Err(Error::internal("values were removed from append-only state")) }
    }

    fn side_entries(&self) -> usize {
        self.table.len()
    }
}
