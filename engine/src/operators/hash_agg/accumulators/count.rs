//! `COUNT(x)`: rows whose argument is not NULL.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type};
use dflow_runtime::Result;

use super::super::AggregateFunction;
use super::{Accumulator, Missing, Rows, extend};

/// One count per slot.
#[derive(Default)]
pub(super) struct Count {
    counts: Vec<i64>,
}

impl Accumulator for Count {
    fn grow(&mut self, end: usize) {
        extend(&mut self.counts, end);
    }

    fn update(&mut self, rows: &Rows<'_>, _values: &ArrayRef) -> Result<(), Missing> {
        let counts = self.counts.as_mut_slice();
        let mut least = 0;
        rows.for_each(|_, slot, sign| {
            counts[slot] += sign;
            least = least.min(counts[slot]);
        });
        if least < 0 { Err(Missing::Value) } else { Ok(()) }
    }

    fn emit(&self, _: AggregateFunction, slots: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(slots.iter().map(|s| self.counts[*s as usize]))))
    }

    fn free(&mut self, slots: &[u32]) -> Result<(), Missing> {
        let mut left = 0;
        slots.iter().for_each(|s| left |= std::mem::take(&mut self.counts[*s as usize]));
        if left == 0 { Ok(()) } else { Err(Missing::Value) }
    }

    fn fields(&self, name: &str) -> Vec<Field> {
        vec![Field::new(format!("{name}.count"), DataType::Int64, true)]
    }

    fn save(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(AggregateFunction::Count, slots)?])
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let counts = columns[0].as_primitive::<Int64Type>();
        slots.iter().zip(counts.values()).for_each(|(s, c)| self.counts[*s as usize] = *c);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * 8
    }
}
