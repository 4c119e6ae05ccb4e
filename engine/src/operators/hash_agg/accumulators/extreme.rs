//! MIN or MAX of input that only adds: the best value so far.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field};
use dflow_runtime::{Error, Result};

use super::super::AggregateFunction;
use super::{Accumulator, Missing, Rows, Signs, Value, extend};

/// The best value of each slot.
pub(super) struct Extreme<V> {
    ty: DataType,
    greatest: bool,
    best: Vec<Option<V>>,
    heap_bytes: usize,
}

impl<V: Value> Extreme<V> {
    pub(super) fn new(ty: DataType, greatest: bool) -> Self {
        Self { ty, greatest, best: Vec::new(), heap_bytes: 0 }
    }
}

impl<V: Value> Accumulator for Extreme<V> {
    fn grow(&mut self, end: usize) {
        extend(&mut self.best, end);
    }

    fn update(&mut self, rows: &Rows<'_>, values: &ArrayRef) -> Result<(), Missing> {
        debug_assert!(matches!(rows.signs, Signs::Add), "input that removes is kept in Values");
        let column = V::column(values)?;
        let (best, greatest, heap) = (self.best.as_mut_slice(), self.greatest, &mut self.heap_bytes);
        rows.for_each(|i, slot, _| {
            let key = V::get(&column, i);
            let better = match &best[slot] {
                None => true,
                Some(b) if greatest => key > b.borrow(),
                Some(b) => key < b.borrow(),
            };
            if better {
                *heap += V::key_bytes(key);
                if let Some(old) = best[slot].replace(V::own(key)) {
                    *heap -= V::key_bytes(old.borrow());
                }
            }
        });
        Ok(())
    }

    fn emit(&self, _: AggregateFunction, slots: &[u32]) -> Result<ArrayRef> {
        V::array(&self.ty, slots.iter().map(|s| self.best[*s as usize].as_ref()))
    }

    fn free(&mut self, slots: &[u32]) -> Result<(), Missing> {
        for slot in slots {
            if let Some(old) = self.best[*slot as usize].take() {
                self.heap_bytes -= V::key_bytes(old.borrow());
            }
        }
        Ok(())
    }

    fn fields(&self, name: &str) -> Vec<Field> {
        vec![Field::new(format!("{name}.{}", if self.greatest { "max" } else { "min" }), self.ty.clone(), true)]
    }

    fn save(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(AggregateFunction::Max, slots)?])
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.free(slots).map_err(|_| Error::internal("emptying a best value cannot fail"))?;
        let column = V::column(&columns[0])?;
        for (i, slot) in slots.iter().enumerate().filter(|(i, _)| columns[0].is_valid(*i)) {
            let key = V::get(&column, i);
            self.heap_bytes += V::key_bytes(key);
            self.best[*slot as usize] = Some(V::own(key));
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.best.capacity() * size_of::<Option<V>>() + self.heap_bytes
    }
}
