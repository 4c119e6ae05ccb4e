//! Grouped aggregation over a changelog.
//!
//! # Example
//! `SELECT k, sum(v) FROM t GROUP BY k`, one flush:
//! ```text
//! in    + (a,1)  + (a,2)  - (b,5)        state before: b -> (1 row, 5)
//! out   + (a,3)  - (b,5)                 state after:  a -> (2 rows, 3)
//! ```
//! # Input and output
//! Input: any changelog, any key order. Output: changelog keyed by the group columns (group columns first, then one
//! column per call), at most one change per group and flush; an update that changes no column is not sent. Without group
//! columns there is one group; as in Flink it has no row before the first input row and none after the last has left.
//! Without calls this is `SELECT DISTINCT`.
//!
//! # State
//! Columnar, indexed by *slot*; a slot belongs to one live group and is reused after the group has left.
//! ```text
//! keys     key table: key -> slot                              table `groups`: key columns, row count, sums ..
//! rows     Vec<i64>: rows in the group (= COUNT(*))
//! sums ..  one Vec per accumulator; calls that need the same accumulator share it
//! values   sorted value -> count of each slot, for MIN and MAX of input that retracts      table `values<i>`
//! distinct (slot, value) -> count per FILTER, for calls with DISTINCT                      table `distinct<i>`
//! ```
//! # Invariants
//! * Between flushes `rows[slot] >= 1` for every stored group; removing a row that is not there is [`RETRACT_MISSING`],
//!   removing a value that is not there is [`RETRACT_VALUE_MISSING`].
//! * Results before the first change of an epoch are captured on first touch, so no copy of all results is kept.
//! * NULL and NaN are groups of their own; `-0.0` and `0.0` are one group.
//!
//! [`RETRACT_MISSING`]: super::error::RETRACT_MISSING
//! [`RETRACT_VALUE_MISSING`]: super::error::RETRACT_VALUE_MISSING

mod accumulators;
mod distinct;
mod emit;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;

use arrow::datatypes::{DataType, SchemaRef};
use dflow_common::{ChangeBatch, Span};
use dflow_runtime::Result;
use dflow_runtime::operator::{Operator, OperatorContext, OperatorFactory, Output, StateSize};
use dflow_runtime::state::{SnapshotWriter, StateReader, TableSpec};

use state::{HashAgg, Layout};

/// Which aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateFunction {
    /// `COUNT(*)` without an argument, `COUNT(x)` with one. BIGINT.
    Count,
    /// `SUM(x)`, in the type of `x`; DECIMAL(38, s) for DECIMAL(p, s).
    Sum,
    /// `AVG(x)`, in the type of `x` (whole numbers truncate); DECIMAL(38, max(6, s)) for DECIMAL(p, s).
    Avg,
    /// `MIN(x)`
    Min,
    /// `MAX(x)`
    Max,
}

impl AggregateFunction {
    /// Its SQL name.
    pub fn name(self) -> &'static str {
        match self {
            AggregateFunction::Count => "COUNT",
            AggregateFunction::Sum => "SUM",
            AggregateFunction::Avg => "AVG",
            AggregateFunction::Min => "MIN",
            AggregateFunction::Max => "MAX",
        }
    }

    /// The Arrow type of its result for an argument of type `argument`; `None` when it does not take such arguments.
    pub fn result_type(self, argument: Option<&DataType>) -> Option<DataType> {
        use DataType::{Decimal128, Float32, Float64, Int8, Int16, Int32, Int64};
        match (self, argument) {
            (AggregateFunction::Count, _) => Some(Int64),
            (_, None) => None,
            (AggregateFunction::Sum | AggregateFunction::Avg, Some(t @ (Int8 | Int16 | Int32 | Int64))) => {
                Some(t.clone())
            }
            (AggregateFunction::Sum | AggregateFunction::Avg, Some(t @ (Float32 | Float64))) => Some(t.clone()),
            (AggregateFunction::Sum, Some(Decimal128(_, s))) => Some(Decimal128(38, *s)),
            (AggregateFunction::Avg, Some(Decimal128(_, s))) => Some(Decimal128(38, (*s).max(6))),
            (AggregateFunction::Min | AggregateFunction::Max, Some(t)) => match t {
                Int8 | Int16 | Int32 | Int64 | Float32 | Float64 | Decimal128(..) | DataType::Boolean => {
                    Some(t.clone())
                }
                DataType::Date32 | DataType::Time32(_) | DataType::Timestamp(..) => Some(t.clone()),
                DataType::Utf8View | DataType::BinaryView => Some(t.clone()),
                _ => None,
            },
            _ => None,
        }
    }
}

/// One aggregate call.
#[derive(Clone, Debug)]
pub struct AggregateCall {
    /// Which.
    pub function: AggregateFunction,
    /// The input column it aggregates; `None` only for `COUNT(*)`.
    pub argument: Option<usize>,
    /// `DISTINCT`.
    pub distinct: bool,
    /// `FILTER (WHERE ..)`: a BOOLEAN input column; rows where it is not true are left out.
    pub filter: Option<usize>,
    /// Its place in the script.
    pub span: Option<Span>,
}

/// A grouped aggregation.
#[derive(Clone, Debug)]
pub struct HashAggSpec {
    /// Columns coming in.
    pub input: SchemaRef,
    /// Input columns that form the key, in output order. Empty: one group.
    pub group_by: Vec<usize>,
    /// The calls, in output order. Empty: `SELECT DISTINCT`.
    pub calls: Vec<AggregateCall>,
    /// Columns going out: the group columns, then one per call of [`AggregateFunction::result_type`].
    pub output: SchemaRef,
    /// Whether rows of the input can be removed. `false` keeps less state, and a removed row is a job error.
    pub input_retracts: bool,
    /// Whether updates are sent as `-U +U`; `false` sends `+U` only, for consumers that overwrite by key.
    pub update_before: bool,
}

impl HashAggSpec {
    /// Name of column `i` of the input, for messages.
    fn column_name(&self, i: usize) -> &str {
        self.input.field(i).name()
    }
}

impl OperatorFactory for HashAggSpec {
    fn create(&self, context: &OperatorContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(HashAgg::new(self.clone(), context)?))
    }

    fn tables(&self) -> Vec<TableSpec> {
        // A layout that cannot be built is reported by `create`, which the runtime calls first.
        Layout::new(self).map(|layout| layout.tables(self)).unwrap_or_default()
    }
}

impl Operator for HashAgg {
    fn process(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Output) -> Result<()> {
        self.update(&batch)
    }

    fn pending_rows(&self) -> usize {
        self.touched.len()
    }

    fn flush(&mut self, out: &mut Output) -> Result<()> {
        self.emit(out)
    }

    fn snapshot(&mut self, writer: &mut SnapshotWriter) -> Result<()> {
        self.save(writer)
    }

    fn restore(&mut self, reader: &mut StateReader) -> Result<()> {
        self.load(reader)
    }

    fn state_size(&self) -> StateSize {
        self.size()
    }
}
