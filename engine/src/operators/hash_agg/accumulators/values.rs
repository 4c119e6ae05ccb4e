//! MIN and MAX of input that removes: all values of a slot with their counts, in order.
//!
//! ```text
//! slot 3   (2 -> 1) (5 -> 3) (9 -> 1)      MIN 2, MAX 9      up to 16 pairs in a sorted Vec, more in a BTreeMap
//! ```
//! # Invariants
//! * Every stored count is at least 1.
//! * An entry that a snapshot has written and that is gone since is remembered until the next snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type};
use dflow_runtime::{Error, Result};

use super::super::AggregateFunction;
use super::{Accumulator, Missing, Rows, SideTable, Value, extend};

/// Pairs a slot keeps in a Vec.
const SMALL_MAX: usize = 16;

#[derive(Clone, Copy)]
struct Entry {
    count: i64,
    /// A snapshot has written it.
    stored: bool,
    /// It changed since.
    dirty: bool,
}

#[derive(Clone)]
enum Multiset<V> {
    Small(Vec<(V, Entry)>),
    Large(BTreeMap<V, Entry>),
}

impl<V> Default for Multiset<V> {
    fn default() -> Self {
        Multiset::Small(Vec::new())
    }
}

/// What `Multiset::add` did.
enum Added {
    Changed,
    New,
    /// The count is 0 now; whether a snapshot has the entry.
    Gone(bool),
    Missing,
}

impl<V: Value> Multiset<V> {
    fn add(&mut self, key: &V::Key, sign: i64) -> Added {
        match self {
            Multiset::Small(pairs) => match pairs.binary_search_by(|p| p.0.borrow().cmp(key)) {
                Ok(i) => {
                    pairs[i].1.count += sign;
                    pairs[i].1.dirty = true;
                    if pairs[i].1.count == 0 { Added::Gone(pairs.remove(i).1.stored) } else { Added::Changed }
                }
                Err(_) if sign < 0 => Added::Missing,
                Err(i) => {
                    pairs.insert(i, (V::own(key), Entry { count: 1, stored: false, dirty: true }));
                    if pairs.len() > SMALL_MAX {
                        *self = Multiset::Large(std::mem::take(pairs).into_iter().collect());
                    }
                    Added::New
                }
            },
            Multiset::Large(map) => match map.get_mut(key) {
                Some(entry) => {
                    entry.count += sign;
                    entry.dirty = true;
                    if entry.count > 0 {
                        return Added::Changed;
                    }
                    let stored = entry.stored;
                    map.remove(key);
                    Added::Gone(stored)
                }
                None if sign < 0 => Added::Missing,
                None => {
                    map.insert(V::own(key), Entry { count: 1, stored: false, dirty: true });
                    Added::New
                }
            },
        }
    }

    fn least(&self) -> Option<&V> {
        match self {
            Multiset::Small(pairs) => pairs.first().map(|p| &p.0),
            Multiset::Large(map) => map.first_key_value().map(|p| p.0),
        }
    }

    fn greatest(&self) -> Option<&V> {
        match self {
            Multiset::Small(pairs) => pairs.last().map(|p| &p.0),
            Multiset::Large(map) => map.last_key_value().map(|p| p.0),
        }
    }

    fn for_each_mut(&mut self, mut f: impl FnMut(&V, &mut Entry)) {
        match self {
            Multiset::Small(pairs) => pairs.iter_mut().for_each(|(v, e)| f(v, e)),
            Multiset::Large(map) => map.iter_mut().for_each(|(v, e)| f(v, e)),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Multiset::Small(pairs) => pairs.is_empty(),
            Multiset::Large(map) => map.is_empty(),
        }
    }

    /// Sets an entry as a snapshot has it.
    fn set(&mut self, value: V, count: i64) -> bool {
        let key: &V::Key = value.borrow();
        let entry = Entry { count, stored: true, dirty: false };
        match self {
            Multiset::Small(pairs) => match pairs.binary_search_by(|p| p.0.borrow().cmp(key)) {
                Ok(i) => {
                    pairs[i].1 = entry;
                    false
                }
                Err(i) => {
                    pairs.insert(i, (value, entry));
                    if pairs.len() > SMALL_MAX {
                        *self = Multiset::Large(std::mem::take(pairs).into_iter().collect());
                    }
                    true
                }
            },
            Multiset::Large(map) => map.insert(value, entry).is_none(),
        }
    }

    fn remove(&mut self, key: &V::Key) -> bool {
        match self {
            Multiset::Small(pairs) => match pairs.binary_search_by(|p| p.0.borrow().cmp(key)) {
                Ok(i) => {
                    pairs.remove(i);
                    true
                }
                Err(_) => false,
            },
            Multiset::Large(map) => map.remove(key).is_some(),
        }
    }
}

/// See the module.
pub(super) struct Values<V> {
    ty: DataType,
    slots: Vec<Multiset<V>>,
    /// Entries of a snapshot that are gone since, by slot.
    gone: BTreeMap<u32, Vec<V>>,
    entries: usize,
    heap_bytes: usize,
}

impl<V: Value> Values<V> {
    pub(super) fn new(ty: DataType) -> Self {
        Self { ty, slots: Vec::new(), gone: BTreeMap::new(), entries: 0, heap_bytes: 0 }
    }
}

impl<V: Value> Accumulator for Values<V> {
    fn grow(&mut self, end: usize) {
        extend(&mut self.slots, end);
    }

    fn update(&mut self, rows: &Rows<'_>, values: &ArrayRef) -> Result<(), Missing> {
        let column = V::column(values)?;
        let mut missing = false;
        rows.for_each(|i, slot, sign| {
            let key = V::get(&column, i);
            match self.slots[slot].add(key, sign) {
                Added::Changed => {}
                Added::New => {
                    self.entries += 1;
                    self.heap_bytes += V::key_bytes(key);
                }
                Added::Gone(stored) => {
                    self.entries -= 1;
                    self.heap_bytes -= V::key_bytes(key);
                    if stored {
                        self.gone.entry(slot as u32).or_default().push(V::own(key));
                    }
                }
                Added::Missing => missing = true,
            }
        });
        if missing { Err(Missing::Value) } else { Ok(()) }
    }

    fn emit(&self, function: AggregateFunction, slots: &[u32]) -> Result<ArrayRef> {
        let sets = slots.iter().map(|s| &self.slots[*s as usize]);
        match function {
            AggregateFunction::Min => V::array(&self.ty, sets.map(Multiset::least)),
            _ => V::array(&self.ty, sets.map(Multiset::greatest)),
        }
    }

    fn free(&mut self, slots: &[u32]) -> Result<(), Missing> {
        let empty = slots.iter().all(|s| self.slots[*s as usize].is_empty());
        slots.iter().for_each(|s| self.slots[*s as usize] = Multiset::default());
        if empty { Ok(()) } else { Err(Missing::Value) }
    }

    fn fields(&self, _: &str) -> Vec<Field> {
        Vec::new()
    }

    fn save(&self, _: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(Vec::new())
    }

    fn load(&mut self, _: &[u32], _: &[ArrayRef]) -> Result<()> {
        Ok(())
    }

    fn side(&mut self) -> Option<&mut dyn SideTable> {
        Some(self)
    }

    fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Multiset<V>>() + self.entries * size_of::<(V, Entry)>() + self.heap_bytes
    }
}

impl<V: Value> SideTable for Values<V> {
    fn side_fields(&self) -> Vec<Field> {
        vec![Field::new("value", self.ty.clone(), true), Field::new("count", DataType::Int64, true)]
    }

    fn side_save(&mut self, slots: &[u32], all: bool) -> Result<(Vec<u32>, Vec<ArrayRef>)> {
        let (mut at, mut values, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for slot in slots {
            self.slots[*slot as usize].for_each_mut(|value, entry| {
                if all || entry.dirty {
                    at.push(*slot);
                    values.push(value.clone());
                    counts.push(entry.count);
                }
                (entry.stored, entry.dirty) = (true, false);
            });
        }
        let values = V::array(&self.ty, values.iter().map(Some))?;
        Ok((at, vec![values, Arc::new(Int64Array::from(counts))]))
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
        let Some(counts) = columns.get(1).and_then(|c| c.as_primitive_opt::<Int64Type>()) else {
            return Err(Error::internal("a values table without counts"));
        };
        for (i, slot) in slots.iter().enumerate() {
            let key = V::get(&values, i);
            if self.slots[*slot as usize].set(V::own(key), counts.value(i)) {
                self.entries += 1;
                self.heap_bytes += V::key_bytes(key);
            }
        }
        Ok(())
    }

    fn side_remove(&mut self, slots: &[u32], values: &ArrayRef) -> Result<()> {
        let values = V::column(values)?;
        for (i, slot) in slots.iter().enumerate() {
            let key = V::get(&values, i);
            if self.slots[*slot as usize].remove(key) {
                self.entries -= 1;
                self.heap_bytes -= V::key_bytes(key);
            }
        }
        Ok(())
    }

    fn side_entries(&self) -> usize {
        self.entries
    }
}
