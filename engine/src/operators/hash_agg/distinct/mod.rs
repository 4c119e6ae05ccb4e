//! DISTINCT: which values of a column a group has seen, once for all DISTINCT calls of that column.
//!
//! # Example
//! `COUNT(DISTINCT v), SUM(DISTINCT v) FILTER (WHERE f)`: one table with two counts, one per filter.
//! ```text
//! in   + (a, 7, f)   + (a, 7, not f)   - (a, 7, f)       counts of (a, 7)   [1, 1] -> [2, 1] -> [1, 0]
//! out  no filter: +7              filter f: +7, -7       what the accumulators behind see: only 0 <-> 1
//! ```
//! # Rooms
//! * [`seen`]: input that only adds: a bit per filter, in the hash table itself.
//! * [`counted`]: input that removes: a count per filter.
//!
//! Both have the same table of state: the value, and a count per filter.
//!
//! # Invariants
//! NULL is not a value.

mod counted;
mod seen;

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field};

use super::accumulators::{Missing, SideTable, Signs, Value};
use crate::operators::key_table::mix;

/// Rows at which a value came or went, for one filter.
pub(super) struct Transitions {
    /// The rows.
    pub(super) selected: BooleanBuffer,
    /// Their kinds; empty when all add.
    pub(super) kinds: Vec<i8>,
}

/// A table of one column.
pub(super) trait Distinct: SideTable + Send {
    /// Takes a batch. `valid`: rows whose value is not NULL; `filters`: per variant, the rows that pass.
    fn update(
        &mut self,
        slots: &[u32],
        signs: Signs<'_>,
        values: &ArrayRef,
        valid: Option<&BooleanBuffer>,
        filters: &[Option<BooleanBuffer>],
    ) -> Result<Vec<Transitions>, Missing>;

    /// Makes room for slots below `end`.
    fn grow(&mut self, end: usize);

    /// Checks that `slots`, whose groups have left, have no value left.
    fn free(&mut self, slots: &[u32]) -> Result<(), Missing>;

    /// The table under its other name.
    fn as_side(&mut self) -> &mut dyn SideTable;

    /// Bytes held.
    fn bytes(&self) -> usize;
}

/// The table for a column of type `ty`.
pub(super) fn table<V: Value>(ty: &DataType, variants: usize, retracts: bool) -> Box<dyn Distinct> {
    if retracts || variants > seen::VARIANTS_MAX {
        Box::new(counted::DistinctTable::<V>::new(ty.clone(), variants, retracts))
    } else {
        Box::new(seen::DistinctSet::<V>::new(ty.clone(), variants))
    }
}

/// The hash of a value of a group.
#[inline]
fn hash<V: Value>(slot: u32, key: &V::Key) -> u64 {
    mix(V::hash(key).wrapping_add(u64::from(slot).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// The value and a count per variant.
fn side_fields(ty: &DataType, variants: usize) -> Vec<Field> {
    let counts = (0..variants).map(|v| Field::new(format!("count{v}"), DataType::Int64, true));
    std::iter::once(Field::new("value", ty.clone(), true)).chain(counts).collect()
}
