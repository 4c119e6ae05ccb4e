//! Values with a count per filter: for input that removes, or for more filters than [`super::seen`] has bits.
//!
//! # Invariants
//! * An entry with only zero counts does not exist.
//! * For input that never removes, counts stop at 1, so a value seen again is not a change.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanBufferBuilder, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Int64Type};
use dflow_common::change::sign_of;
use dflow_runtime::{Error, Result};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

use super::{Distinct, Transitions, hash, side_fields};
use crate::operators::hash_agg::accumulators::{Missing, SideTable, Signs, Value, extend};

struct Entry<V> {
    value: Option<V>,
    slot: u32,
    stored: bool,
    dirty: bool,
}

/// See the module.
pub(in super::super) struct DistinctTable<V> {
    ty: DataType,
    variants: usize,
    retracts: bool,
    table: HashTable<(u64, u32)>,
    entries: Vec<Entry<V>>,
    /// `variants` counts per entry.
    counts: Vec<i64>,
    free: Vec<u32>,
    /// Values per slot.
    live: Vec<u32>,
    gone: BTreeMap<u32, Vec<V>>,
    heap_bytes: usize,
}

impl<V: Value> DistinctTable<V> {
    pub(in super::super) fn new(ty: DataType, variants: usize, retracts: bool) -> Self {
        Self {
            ty,
            variants,
            retracts,
            table: HashTable::new(),
            entries: Vec::new(),
            counts: Vec::new(),
            free: Vec::new(),
            live: Vec::new(),
            gone: BTreeMap::new(),
            heap_bytes: 0,
        }
    }

    /// Finds or adds an entry.
    #[inline]
    fn intern(&mut self, slot: u32, key: &V::Key) -> u32 {
        let hash = hash::<V>(slot, key);
        let entries = &self.entries;
        let found = self.table.entry(hash, |e| e.0 == hash && is(&entries[e.1 as usize], slot, key), |e| e.0);
        match found {
            Slot::Occupied(e) => e.get().1,
            Slot::Vacant(place) => {
                let entry = Entry { value: Some(V::own(key)), slot, stored: false, dirty: true };
                let id = match self.free.pop() {
                    Some(id) => {
                        self.entries[id as usize] = entry;
                        id
                    }
                    None => {
                        self.entries.push(entry);
                        self.counts.resize(self.entries.len() * self.variants, 0);
                        self.entries.len() as u32 - 1
                    }
                };
                place.insert((hash, id));
                self.live[slot as usize] += 1;
                self.heap_bytes += V::key_bytes(key);
                id
            }
        }
    }

    fn find(&self, slot: u32, key: &V::Key) -> Option<u32> {
        let hash = hash::<V>(slot, key);
        let found = self.table.find(hash, |e| e.0 == hash && is(&self.entries[e.1 as usize], slot, key));
        found.map(|e| e.1)
    }

    /// Removes an entry whose counts are zero; its value when a snapshot has it.
    fn remove(&mut self, id: u32) -> Option<V> {
        let entry = &mut self.entries[id as usize];
        let value = entry.value.take()?;
        let key: &V::Key = value.borrow();
        let hash = hash::<V>(entry.slot, key);
        if let Ok(e) = self.table.find_entry(hash, |e| e.1 == id) {
            e.remove();
        }
        self.live[entry.slot as usize] -= 1;
        self.heap_bytes -= V::key_bytes(key);
        self.free.push(id);
        entry.stored.then_some(value)
    }
}

fn is<V: Value>(entry: &Entry<V>, slot: u32, key: &V::Key) -> bool {
    entry.slot == slot && entry.value.as_ref().is_some_and(|v| v.borrow() == key)
}

impl<V: Value> Distinct for DistinctTable<V> {
    fn update(
        &mut self,
        slots: &[u32],
        signs: Signs<'_>,
        values: &ArrayRef,
        valid: Option<&BooleanBuffer>,
        filters: &[Option<BooleanBuffer>],
    ) -> Result<Vec<Transitions>, Missing> {
        let column = V::column(values)?;
        let rows = slots.len();
        let mut selected: Vec<BooleanBufferBuilder> = filters
            .iter()
            .map(|_| {
                let mut builder = BooleanBufferBuilder::new(rows);
                builder.append_n(rows, false);
                builder
            })
            .collect();
        let mut kinds: Vec<Vec<i8>> =
            filters.iter().map(|_| if self.retracts { vec![0; rows] } else { Vec::new() }).collect();
        let passes = |variant: usize, row: usize| filters[variant].as_ref().is_none_or(|f| f.value(row));
        for row in 0..rows {
            if valid.is_some_and(|v| !v.value(row)) || !(0..self.variants).any(|v| passes(v, row)) {
                continue;
            }
            let key = V::get(&column, row);
            let sign = match signs {
                Signs::Add => 1,
                Signs::Kinds(kinds) => sign_of(kinds[row]),
            };
            let id = if sign > 0 {
                self.intern(slots[row], key)
            } else {
                self.find(slots[row], key).ok_or(Missing::Value)?
            };
            let base = id as usize * self.variants;
            for variant in (0..self.variants).filter(|v| passes(*v, row)) {
                let count = &mut self.counts[base + variant];
                if !self.retracts && *count == 1 {
                    continue;
                }
                *count += sign;
                if *count < 0 {
                    return Err(Missing::Value);
                }
                self.entries[id as usize].dirty = true;
                let (came, went) = (sign > 0 && *count == 1, sign < 0 && *count == 0);
                if came || went {
                    selected[variant].set_bit(row, true);
                }
                if went {
                    kinds[variant][row] = 3;
                }
            }
            if sign < 0
                && self.counts[base..base + self.variants].iter().all(|c| *c == 0)
                && let Some(value) = self.remove(id)
            {
                self.gone.entry(slots[row]).or_default().push(value);
            }
        }
        Ok(selected
            .into_iter()
            .zip(kinds)
            .map(|(mut selected, kinds)| Transitions { selected: selected.finish(), kinds })
            .collect())
    }

    fn grow(&mut self, end: usize) {
        extend(&mut self.live, end);
    }

    fn free(&mut self, slots: &[u32]) -> Result<(), Missing> {
        if slots.iter().all(|s| self.live[*s as usize] == 0) { Ok(()) } else { Err(Missing::Value) }
    }

    fn as_side(&mut self) -> &mut dyn SideTable {
        self
    }

    fn bytes(&self) -> usize {
        self.table.capacity() * 17
            + self.entries.capacity() * size_of::<Entry<V>>()
            + self.counts.capacity() * 8
            + self.live.capacity() * 4
            + self.heap_bytes
    }
}

impl<V: Value> SideTable for DistinctTable<V> {
    fn side_fields(&self) -> Vec<Field> {
        side_fields(&self.ty, self.variants)
    }

    fn side_save(&mut self, _slots: &[u32], all: bool) -> Result<(Vec<u32>, Vec<ArrayRef>)> {
        let mut ids = Vec::new();
        for (id, entry) in self.entries.iter_mut().enumerate() {
            if entry.value.is_some() {
                if all || entry.dirty {
                    ids.push(id);
                }
                (entry.stored, entry.dirty) = (true, false);
            }
        }
        let at = ids.iter().map(|id| self.entries[*id].slot).collect();
        let mut columns = vec![V::array(&self.ty, ids.iter().map(|id| self.entries[*id].value.as_ref()))?];
        for variant in 0..self.variants {
            let counts = ids.iter().map(|id| self.counts[id * self.variants + variant]);
            columns.push(Arc::new(Int64Array::from_iter_values(counts)));
        }
        Ok((at, columns))
    }

    fn side_gone(&mut self, slots: Option<&[u32]>) -> Result<(Vec<u32>, ArrayRef)> {
        let taken: Vec<(u32, Vec<V>)> = match slots {
            None => std::mem::take(&mut self.gone).into_iter().collect(),
            Some(slots) => slots.iter().filter_map(|s| Some((*s, self.gone.remove(s)?))).collect(),
        };
        let at = taken.iter().flat_map(|(slot, values)| std::iter::repeat_n(*slot, values.len())).collect();
        Ok((at, V::array(&self.ty, taken.iter().flat_map(|(_, values)| values).map(Some))?))
    }

    fn side_load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let values = V::column(&columns[0])?;
        for (i, slot) in slots.iter().enumerate() {
            let id = self.intern(*slot, V::get(&values, i)) as usize;
            (self.entries[id].stored, self.entries[id].dirty) = (true, false);
            for variant in 0..self.variants {
                let Some(counts) = columns.get(1 + variant).and_then(|c| c.as_primitive_opt::<Int64Type>()) else {
                    return Err(Error::internal("a distinct table without counts"));
                };
                self.counts[id * self.variants + variant] = counts.value(i);
            }
        }
        Ok(())
    }

    fn side_remove(&mut self, slots: &[u32], values: &ArrayRef) -> Result<()> {
        let values = V::column(values)?;
        for (i, slot) in slots.iter().enumerate() {
            if let Some(id) = self.find(*slot, V::get(&values, i)) {
                let base = id as usize * self.variants;
                self.counts[base..base + self.variants].fill(0);
                self.remove(id);
            }
        }
        Ok(())
    }

    fn side_entries(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}
