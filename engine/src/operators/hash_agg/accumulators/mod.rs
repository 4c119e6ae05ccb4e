//! Accumulators: columns of aggregate state indexed by slot.
//!
//! An accumulator takes a batch of rows with their slots and signs in tight loops, and reports results for any slots
//! without giving up its state. One of them may serve several calls: SUM and AVG of a column share a sum, MIN and MAX
//! of a retracting column share a value table.
//!
//! # Invariants
//! A slot that was never used, or was freed, is in the state of an empty group.

mod count;
mod extreme;
mod sum;
mod value;
mod values;

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field};
use dflow_common::change::sign_of;
use dflow_runtime::{Error, Result};

use super::AggregateFunction;
pub(super) use value::{Bytes, Value, extend};

/// The signs of a batch.
#[derive(Clone, Copy)]
pub(super) enum Signs<'a> {
    /// All rows add.
    Add,
    /// One row kind per row.
    Kinds(&'a [i8]),
}

/// A batch as an accumulator sees it.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// The slot of each row.
    pub(super) slots: &'a [u32],
    /// The sign of each row.
    pub(super) signs: Signs<'a>,
    /// Rows that count (argument not NULL, filter true); `None` = all.
    pub(super) selected: Option<&'a BooleanBuffer>,
}

impl Rows<'_> {
    /// Calls `f(row, slot, sign)` for the rows that count, in order. Specialised so that loops without removals or
    /// NULLs carry no branch for them.
    #[inline(always)]
    pub(super) fn for_each(&self, mut f: impl FnMut(usize, usize, i64)) {
        match (self.selected, self.signs) {
            (None, Signs::Add) => self.slots.iter().enumerate().for_each(|(i, s)| f(i, *s as usize, 1)),
            (None, Signs::Kinds(kinds)) => {
                self.slots.iter().zip(kinds).enumerate().for_each(|(i, (s, k))| f(i, *s as usize, sign_of(*k)));
            }
            (Some(selected), Signs::Add) => selected.set_indices().for_each(|i| f(i, self.slots[i] as usize, 1)),
            (Some(selected), Signs::Kinds(kinds)) => {
                selected.set_indices().for_each(|i| f(i, self.slots[i] as usize, sign_of(kinds[i])));
            }
        }
    }
}

/// See the module.
pub(super) trait Accumulator: Send {
    /// Makes room for slots below `end`.
    fn grow(&mut self, end: usize);

    /// Takes a batch. `values` is the argument column; rows where it is NULL are not selected.
    ///
    /// # Errors
    /// [`Missing`] inside an error when a value is removed that is not there.
    fn update(&mut self, rows: &Rows<'_>, values: &ArrayRef) -> Result<(), Missing>;

    /// The results of `slots`.
    fn emit(&self, function: AggregateFunction, slots: &[u32]) -> Result<ArrayRef>;

    /// Empties slots whose group has left.
    ///
    /// # Errors
    /// [`Missing`] when values are left though no row is.
    fn free(&mut self, slots: &[u32]) -> Result<(), Missing>;

    /// Columns of the groups table.
    fn fields(&self, name: &str) -> Vec<Field>;

    /// Their values for `slots`.
    fn save(&self, slots: &[u32]) -> Result<Vec<ArrayRef>>;

    /// Sets `slots` from such columns.
    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()>;

    /// Its table of values beside the groups table, if it keeps one.
    fn side(&mut self) -> Option<&mut dyn SideTable> {
        None
    }

    /// Bytes held.
    fn bytes(&self) -> usize;
}

/// Why an update is impossible.
#[derive(Debug)]
pub(super) enum Missing {
    /// A value is removed that is not there.
    Value,
    /// Something else, a bug.
    Broken(Error),
}

impl From<Error> for Missing {
    fn from(e: Error) -> Self {
        Missing::Broken(e)
    }
}

/// A state table of `(group, value) -> counts` beside the groups table.
pub(super) trait SideTable {
    /// The value column and the count columns.
    fn side_fields(&self) -> Vec<Field>;

    /// Entries of `slots` that a snapshot must write: all of them, or those that changed since the last one. Marks
    /// them as written. Slot of each entry, then value and count columns.
    fn side_save(&mut self, slots: &[u32], all: bool) -> Result<(Vec<u32>, Vec<ArrayRef>)>;

    /// Takes the entries that were written before and are gone now: of `slots`, or of all slots.
    fn side_gone(&mut self, slots: Option<&[u32]>) -> Result<(Vec<u32>, ArrayRef)>;

    /// Sets entries.
    fn side_load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()>;

    /// Removes entries.
    fn side_remove(&mut self, slots: &[u32], values: &ArrayRef) -> Result<()>;

    /// Entries held.
    fn side_entries(&self) -> usize;
}

/// A count of rows whose argument is not NULL.
pub(super) fn count() -> Box<dyn Accumulator> {
    Box::<count::Count>::default()
}

/// A sum and a count over an argument of type `ty`.
pub(super) fn sum(ty: &DataType) -> Result<Box<dyn Accumulator>> {
    sum::accumulator(ty)
}

/// The least or the greatest value, for input that only adds.
pub(super) fn extreme(ty: &DataType, greatest: bool) -> Result<Box<dyn Accumulator>> {
    Ok(match value::repr(ty)? {
        value::Repr::I64 => Box::new(extreme::Extreme::<i64>::new(ty.clone(), greatest)),
        value::Repr::I128 => Box::new(extreme::Extreme::<i128>::new(ty.clone(), greatest)),
        value::Repr::Bytes => Box::new(extreme::Extreme::<Bytes>::new(ty.clone(), greatest)),
    })
}

/// All values with their counts, for MIN and MAX of input that removes.
pub(super) fn values(ty: &DataType) -> Result<Box<dyn Accumulator>> {
    Ok(match value::repr(ty)? {
        value::Repr::I64 => Box::new(values::Values::<i64>::new(ty.clone())),
        value::Repr::I128 => Box::new(values::Values::<i128>::new(ty.clone())),
        value::Repr::Bytes => Box::new(values::Values::<Bytes>::new(ty.clone())),
    })
}

/// A table of distinct values of an argument with one count per filter.
pub(super) fn distinct(ty: &DataType, variants: usize, retracts: bool) -> Result<Box<dyn super::distinct::Distinct>> {
    Ok(match value::repr(ty)? {
        value::Repr::I64 => super::distinct::table::<i64>(ty, variants, retracts),
        value::Repr::I128 => super::distinct::table::<i128>(ty, variants, retracts),
        value::Repr::Bytes => super::distinct::table::<Bytes>(ty, variants, retracts),
    })
}
