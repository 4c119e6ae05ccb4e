//! The groups, and how a batch changes them.
//!
//! # One batch
//! ```text
//! key columns ─intern─> slots ─┬─ first touched since the flush? ─> remember rows and results as they are now
//!                              ├─ rows[slot] += sign
//!                              ├─ distinct tables ─> transitions ─┐
//!                              └─ arguments and filters ──────────┴─> accumulators
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use dflow_common::change::sign_of;
use dflow_common::ids::KeyGroup;
use dflow_common::{ChangeBatch, Ops};
use dflow_runtime::operator::{OperatorContext, StateSize};
use dflow_runtime::state::TableSpec;
use dflow_runtime::{Error, Result};

use super::accumulators::{self, Accumulator, Missing, Rows, SideTable, Signs, extend};
use super::distinct::{Distinct, Transitions};
use super::{AggregateFunction, HashAggSpec};
use crate::operators::error;
use crate::operators::key_table::KeyTable;

/// The slot belongs to a group.
pub(super) const LIVE: u8 = 1;
/// It was touched since the last flush.
pub(super) const TOUCHED: u8 = 2;
/// It changed since the last snapshot.
pub(super) const DIRTY: u8 = 4;
/// The last snapshot has it.
pub(super) const STORED: u8 = 8;

/// Which accumulators serve which calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// One per accumulator.
    pub(super) parts: Vec<Part>,
    /// One per call: an accumulator, or `None` for `COUNT(*)`, which is the number of rows.
    pub(super) calls: Vec<Option<usize>>,
    /// Distinct tables: column, and the filter of each variant.
    pub(super) distinct: Vec<(usize, Vec<Option<usize>>)>,
}

/// What an accumulator keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// A count.
    Count,
    /// A sum and a count.
    Sum,
    /// The greatest (`true`) or least value.
    Extreme(bool),
    /// All values.
    Values,
}

/// An accumulator and what it is fed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) keep: Keep,
    pub(super) argument: Option<usize>,
    pub(super) filter: Option<usize>,
    /// Distinct table and variant.
    pub(super) distinct: Option<(usize, usize)>,
}

impl Layout {
    /// Shares accumulators among the calls.
    pub(super) fn new(spec: &HashAggSpec) -> Result<Layout> {
        let mut layout = Layout { parts: Vec::new(), calls: Vec::new(), distinct: Vec::new() };
        for call in &spec.calls {
            let ty = call.argument.map(|a| spec.input.field(a).data_type());
            if call.function.result_type(ty).is_none() {
                let ty = ty.map(ToString::to_string).unwrap_or_default();
                return Err(Error::internal(format!("{}({ty}) was planned", call.function.name())));
            }
            let extreme = matches!(call.function, AggregateFunction::Min | AggregateFunction::Max);
            let keep = match call.function {
                AggregateFunction::Count if call.argument.is_none() && call.filter.is_none() => {
                    layout.calls.push(None);
                    continue;
                }
                AggregateFunction::Count => Keep::Count,
                AggregateFunction::Sum | AggregateFunction::Avg => Keep::Sum,
                AggregateFunction::Min | AggregateFunction::Max if spec.input_retracts => Keep::Values,
                AggregateFunction::Min => Keep::Extreme(false),
                AggregateFunction::Max => Keep::Extreme(true),
            };
            // A value counts once for MIN and MAX anyway.
            let distinct = match call.argument {
                Some(argument) if call.distinct && !extreme => Some(layout.variant(argument, call.filter)),
                _ => None,
            };
            let part = Part { keep, argument: call.argument, filter: call.filter, distinct };
            let index = layout.parts.iter().position(|p| *p == part).unwrap_or_else(|| {
                layout.parts.push(part);
                layout.parts.len() - 1
            });
            layout.calls.push(Some(index));
        }
        Ok(layout)
    }

    fn variant(&mut self, column: usize, filter: Option<usize>) -> (usize, usize) {
        let table = self.distinct.iter().position(|d| d.0 == column).unwrap_or_else(|| {
            self.distinct.push((column, Vec::new()));
            self.distinct.len() - 1
        });
        let variants = &mut self.distinct[table].1;
        let variant = variants.iter().position(|f| *f == filter).unwrap_or_else(|| {
            variants.push(filter);
            variants.len() - 1
        });
        (table, variant)
    }

    fn accumulators(&self, spec: &HashAggSpec) -> Result<Vec<Box<dyn Accumulator>>> {
        let ty = |p: &Part| p.argument.map_or(&DataType::Null, |a| spec.input.field(a).data_type());
        let make = |p: &Part| match p.keep {
            Keep::Count => Ok(accumulators::count()),
            Keep::Sum => accumulators::sum(ty(p)),
            Keep::Extreme(greatest) => accumulators::extreme(ty(p), greatest),
            Keep::Values => accumulators::values(ty(p)),
        };
        self.parts.iter().map(make).collect()
    }

    fn distinct_tables(&self, spec: &HashAggSpec) -> Result<Vec<Box<dyn Distinct>>> {
        let make = |(column, variants): &(usize, Vec<Option<usize>>)| {
            accumulators::distinct(spec.input.field(*column).data_type(), variants.len(), spec.input_retracts)
        };
        self.distinct.iter().map(make).collect()
    }

    /// The state tables: `groups`, then one per side table.
    pub(super) fn tables(&self, spec: &HashAggSpec) -> Vec<TableSpec> {
        let key: Vec<Field> = spec.group_by.iter().map(|i| spec.input.field(*i).clone().with_nullable(true)).collect();
        let table = |name: String, columns: Vec<Field>, more_keys: usize| TableSpec {
            name,
            key_columns: key.len() + more_keys,
            schema: Arc::new(Schema::new(key.iter().cloned().chain(columns).collect::<Vec<_>>())),
        };
        let (Ok(mut parts), Ok(distinct)) = (self.accumulators(spec), self.distinct_tables(spec)) else {
            return Vec::new();
        };
        let mut groups = vec![Field::new("rows", DataType::Int64, true)];
        for (i, part) in parts.iter().enumerate() {
            groups.extend(part.fields(&format!("a{i}")));
        }
        let mut tables = vec![table("groups".into(), groups, 0)];
        for (i, part) in parts.iter_mut().enumerate() {
            if let Some(side) = part.side() {
                tables.push(table(format!("values{i}"), side.side_fields(), 1));
            }
        }
        for (i, side) in distinct.iter().enumerate() {
            tables.push(table(format!("distinct{i}"), side.side_fields(), 1));
        }
        tables
    }
}

/// An instance.
pub(super) struct HashAgg {
    pub(super) spec: HashAggSpec,
    pub(super) name: String,
    pub(super) max_parallelism: KeyGroup,
    pub(super) layout: Layout,
    pub(super) tables: Vec<SchemaRef>,
    pub(super) keys: KeyTable,
    pub(super) flags: Vec<u8>,
    /// Rows of each group.
    pub(super) rows: Vec<i64>,
    pub(super) parts: Vec<Box<dyn Accumulator>>,
    pub(super) distinct: Vec<Box<dyn Distinct>>,
    /// Slots changed since the flush, in order, with their rows and results before.
    pub(super) touched: Vec<u32>,
    pub(super) rows_before: Vec<i64>,
    pub(super) results_before: Vec<Vec<ArrayRef>>,
    /// Per state table: keys that a snapshot has and that are gone since.
    pub(super) deleted: Vec<Vec<RecordBatch>>,
    slots: Vec<u32>,
}

impl HashAgg {
    pub(super) fn new(spec: HashAggSpec, context: &OperatorContext) -> Result<Self> {
        let layout = Layout::new(&spec)?;
        let key_types = spec.group_by.iter().map(|i| spec.input.field(*i).data_type().clone()).collect();
        let tables: Vec<SchemaRef> = layout.tables(&spec).into_iter().map(|t| t.schema).collect();
        Ok(Self {
            name: context.name.clone(),
            max_parallelism: context.max_parallelism,
            keys: KeyTable::new(key_types)?,
            flags: Vec::new(),
            rows: Vec::new(),
            parts: layout.accumulators(&spec)?,
            distinct: layout.distinct_tables(&spec)?,
            touched: Vec::new(),
            rows_before: Vec::new(),
            results_before: vec![Vec::new(); spec.calls.len()],
            deleted: vec![Vec::new(); tables.len()],
            slots: Vec::new(),
            tables,
            layout,
            spec,
        })
    }

    /// Takes a batch of changes.
    pub(super) fn update(&mut self, batch: &ChangeBatch) -> Result<()> {
        let rows = batch.num_rows();
        let signs = match &batch.ops {
            Ops::AllInsert => Signs::Add,
            Ops::Kinds(kinds) if kinds.iter().all(|k| sign_of(*k) > 0) => Signs::Add,
            Ops::Kinds(kinds) => Signs::Kinds(kinds),
        };
        if matches!(signs, Signs::Kinds(_)) && !self.spec.input_retracts {
            return Err(Error::internal(format!("{}: a row is removed from input planned as append-only", self.name)));
        }
        let keys: Vec<ArrayRef> = self.spec.group_by.iter().map(|i| batch.column(*i).clone()).collect();
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        self.keys.intern(&keys, rows, &mut slots)?;
        self.grow();
        self.touch(&slots)?;
        self.count(&slots, signs)?;
        self.accumulate(batch, &slots, signs)?;
        self.slots = slots;
        Ok(())
    }

    /// Gives every slot a place in the columns.
    pub(super) fn grow(&mut self) {
        self.grow_to(self.keys.slot_end());
    }

    /// Makes room for about so many groups: growing by doubling would touch, and have the kernel clear, twice the memory.
    pub(super) fn reserve(&mut self, groups: usize) {
        self.keys.reserve(groups);
        self.grow_to(groups);
    }

    fn grow_to(&mut self, end: usize) {
        if self.flags.len() < end {
            extend(&mut self.flags, end);
            extend(&mut self.rows, end);
            self.parts.iter_mut().for_each(|p| p.grow(end));
            self.distinct.iter_mut().for_each(|d| d.grow(end));
        }
    }

    /// Remembers what slots touched for the first time since the flush were before.
    fn touch(&mut self, slots: &[u32]) -> Result<()> {
        let first = self.touched.len();
        for slot in slots {
            let flags = &mut self.flags[*slot as usize];
            if *flags & TOUCHED == 0 {
                *flags |= LIVE | TOUCHED | DIRTY;
                self.touched.push(*slot);
            }
        }
        let new = &self.touched[first..];
        if new.is_empty() {
            return Ok(());
        }
        self.rows_before.extend(new.iter().map(|s| self.rows[*s as usize]));
        for (i, call) in self.layout.calls.iter().enumerate() {
            if let Some(part) = call {
                self.results_before[i].push(self.parts[*part].emit(self.spec.calls[i].function, new)?);
            }
        }
        Ok(())
    }

    fn count(&mut self, slots: &[u32], signs: Signs<'_>) -> Result<()> {
        let counts = self.rows.as_mut_slice();
        let mut least = 0;
        Rows { slots, signs, selected: None }.for_each(|_, slot, sign| {
            counts[slot] += sign;
            least = least.min(counts[slot]);
        });
        if least < 0 { Err(error::retract_missing(&self.name)) } else { Ok(()) }
    }

    fn accumulate(&mut self, batch: &ChangeBatch, slots: &[u32], signs: Signs<'_>) -> Result<()> {
        let mut transitions: Vec<Vec<Transitions>> = Vec::new();
        for (table, (column, filters)) in self.distinct.iter_mut().zip(&self.layout.distinct) {
            let values = batch.column(*column);
            let filters: Vec<_> = filters.iter().map(|f| f.map(|f| truth(batch.column(f)))).collect();
            let valid = values.nulls().map(NullBuffer::inner);
            let changes = table.update(slots, signs, values, valid, &filters);
            transitions.push(changes.map_err(|m| missing(m, &self.name, self.spec.column_name(*column)))?);
        }
        for (part, accumulator) in self.layout.parts.iter().zip(&mut self.parts) {
            // COUNT(*) FILTER has no argument; the values of any column will do, as they are not looked at.
            let argument = part.argument.or(part.filter).unwrap_or(0);
            let values = batch.column(argument);
            let (selected, signs) = match part.distinct {
                Some((table, variant)) => {
                    let t = &transitions[table][variant];
                    let signs = if t.kinds.is_empty() { Signs::Add } else { Signs::Kinds(&t.kinds) };
                    (Some(t.selected.clone()), signs)
                }
                None => {
                    let valid = part.argument.and_then(|a| batch.column(a).nulls()).map(|n| n.inner().clone());
                    let filter = part.filter.map(|f| truth(batch.column(f)));
                    let selected = match (valid, filter) {
                        (Some(valid), Some(filter)) => Some(&valid & &filter),
                        (one, other) => one.or(other),
                    };
                    (selected, signs)
                }
            };
            let rows = Rows { slots, signs, selected: selected.as_ref() };
            let name = || self.spec.input.field(argument).name();
            accumulator.update(&rows, values).map_err(|m| missing(m, &self.name, name()))?;
        }
        Ok(())
    }

    /// The side tables, in the order of their state tables, which begin at 1.
    pub(super) fn sides(&mut self) -> Vec<&mut dyn SideTable> {
        let values = self.parts.iter_mut().filter_map(|p| p.side());
        values.chain(self.distinct.iter_mut().map(|d| d.as_side())).collect()
    }

    pub(super) fn size(&self) -> StateSize {
        let columns = self.flags.capacity() + self.rows.capacity() * 8;
        let parts: usize = self.parts.iter().map(|p| p.bytes()).sum();
        let distinct: usize = self.distinct.iter().map(|d| d.bytes()).sum();
        let values: usize = self.distinct.iter().map(|d| d.side_entries()).sum();
        StateSize {
            entries: (self.keys.len() + values) as u64,
            bytes: (self.keys.bytes() + columns + parts + distinct) as u64,
        }
    }
}

/// A message for a value that is not there.
pub(super) fn missing(missing: Missing, operator: &str, column: &str) -> Error {
    match missing {
        Missing::Value => error::retract_value_missing(operator, column),
        Missing::Broken(e) => e,
    }
}

/// Where a boolean column is true.
fn truth(column: &ArrayRef) -> BooleanBuffer {
    let column = column.as_boolean();
    match column.nulls() {
        Some(nulls) => column.values() & nulls.inner(),
        None => column.values().clone(),
    }
}

/// A batch that may have no columns.
pub(super) fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}
