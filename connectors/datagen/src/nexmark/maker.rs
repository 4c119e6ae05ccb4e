//! From event numbers to a batch of the table's columns.
//!
//! Each kind of event is made densely (all persons of the batch, all auctions, all bids). When the batch holds one kind,
//! those are the columns; when it holds several, each is spread over the rows of its kind with NULL between.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int32Array, RecordBatch, RecordBatchOptions, StructArray, UInt32Array, new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, FieldRef, Fields, SchemaRef};
use arrow::error::ArrowError;
use dflow_common::limits::BATCH_ROWS;

use super::bids::Bids;
use super::config::{Config, Kind};
use super::rare::{Auctions, Persons};
use crate::generator::Maker;

/// A column of the table.
#[derive(Clone, Debug)]
pub(super) enum Column {
    EventType,
    /// The row of this kind; for each declared field its place among the benchmark's, and whether it is read.
    Row {
        kind: Kind,
        fields: Fields,
        sources: Vec<(usize, bool)>,
    },
}

/// What is to be made.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) schema: SchemaRef,
    pub(super) columns: Vec<Column>,
    /// Kinds of event that become rows, by [`Kind`].
    pub(super) kinds: [bool; 3],
}

impl Layout {
    /// Which of the benchmark's fields of a kind are read.
    fn wanted<const N: usize>(&self, of: Kind) -> [bool; N] {
        let mut wanted = [false; N];
        if !self.kinds[of as usize] {
            return wanted;
        }
        for column in &self.columns {
            if let Column::Row { kind, sources, .. } = column
                && *kind == of
            {
                sources.iter().filter(|(_, read)| *read).for_each(|(place, _)| wanted[*place] = true);
            }
        }
        wanted
    }
}

pub(super) struct NexmarkMaker {
    config: Arc<Config>,
    layout: Layout,
    persons: Persons,
    auctions: Auctions,
    bids: Bids,
    /// Whether any field of the kind is read.
    made: [bool; 3],
    /// The kinds of the batch's rows, kept only when there are several.
    row_kinds: Vec<Kind>,
    counts: [usize; 3],
    nulls: Nulls,
}

impl NexmarkMaker {
    pub(super) fn new(config: Arc<Config>, layout: Layout) -> Self {
        let (persons, auctions, bids) =
            (layout.wanted(Kind::Person), layout.wanted(Kind::Auction), layout.wanted(Kind::Bid));
        let any = |wanted: &[bool]| wanted.contains(&true);
        Self {
            made: [any(&persons), any(&auctions), any(&bids)],
            persons: Persons::new(config.clone(), persons),
            auctions: Auctions::new(config.clone(), auctions),
            bids: Bids::new(config.clone(), bids),
            config,
            layout,
            row_kinds: Vec::new(),
            counts: [0; 3],
            nulls: Nulls::default(),
        }
    }

    /// Makes the events of these ids, which are of one kind and one round.
    fn stretch(&mut self, kind: Kind, ids: Range<i64>, mixed: bool) {
        let rows = (ids.end - ids.start) as usize;
        self.counts[kind as usize] += rows;
        if mixed {
            self.row_kinds.extend(std::iter::repeat_n(kind, rows));
        }
        if self.made[kind as usize] {
            match kind {
                Kind::Person => ids.for_each(|id| self.persons.make(id)),
                Kind::Auction => ids.for_each(|id| self.auctions.make(id)),
                Kind::Bid => self.bids.make(ids),
            }
        }
    }

    fn events(&mut self, ids: Range<i64>, mixed: bool) {
        let (persons, auctions, round) = (self.config.persons, self.config.auctions, self.config.round());
        let mut start = ids.start - ids.start % round;
        while start < ids.end {
            for (kind, from, to) in [
                (Kind::Person, 0, persons),
                (Kind::Auction, persons, persons + auctions),
                (Kind::Bid, persons + auctions, round),
            ] {
                let stretch = (start + from).max(ids.start)..(start + to).min(ids.end);
                if stretch.start < stretch.end && self.layout.kinds[kind as usize] {
                    self.stretch(kind, stretch, mixed);
                }
            }
            start += round;
        }
    }

    fn batch(&mut self, mixed: bool) -> Result<RecordBatch, ArrowError> {
        let rows: usize = self.counts.iter().sum();
        let (persons, auctions, bids) = (self.persons.finish()?, self.auctions.finish()?, self.bids.finish()?);
        let mut columns = Vec::with_capacity(self.layout.columns.len());
        for column in &self.layout.columns {
            columns.push(match column {
                Column::EventType => self.event_types(rows, mixed),
                Column::Row { kind, fields, sources } => {
                    let count = self.counts[*kind as usize];
                    if count == 0 {
                        columns.push(self.nulls.of(&DataType::Struct(fields.clone()), rows));
                        continue;
                    }
                    let made: &[Option<ArrayRef>] = match kind {
                        Kind::Person => &persons,
                        Kind::Auction => &auctions,
                        Kind::Bid => &bids,
                    };
                    let child = |((place, _), field): (&(usize, bool), &FieldRef)| match &made[*place] {
                        Some(column) => column.clone(),
                        None => self.nulls.of(field.data_type(), count),
                    };
                    let children: Vec<ArrayRef> = sources.iter().zip(fields).map(child).collect();
                    let dense = if children.is_empty() {
                        StructArray::new_empty_fields(count, None)
                    } else {
                        StructArray::try_new(fields.clone(), children, None)?
                    };
                    if mixed { take(&dense, &self.places(*kind), None)? } else { Arc::new(dense) as ArrayRef }
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.layout.schema.clone(), columns, &options)
    }

    fn event_types(&self, rows: usize, mixed: bool) -> ArrayRef {
        if mixed {
            return Arc::new(Int32Array::from_iter_values(self.row_kinds.iter().map(|k| *k as i32)));
        }
        let only = self.layout.kinds.iter().position(|k| *k).unwrap_or(0);
        Arc::new(Int32Array::from_value(only as i32, rows))
    }

    /// For every row its place among the events of `kind`; NULL for the rows of others.
    fn places(&self, kind: Kind) -> UInt32Array {
        let mut next = 0;
        let place = |row: &Kind| {
            (*row == kind).then(|| {
                next += 1;
                next - 1
            })
        };
        self.row_kinds.iter().map(place).collect()
    }
}

impl Maker for NexmarkMaker {
    fn make(&mut self, runs: &[Range<u64>]) -> RecordBatch {
        let mixed = self.layout.kinds.iter().filter(|k| **k).count() > 1;
        self.counts = [0; 3];
        self.row_kinds.clear();
        if self.made[Kind::Bid as usize] {
            let events: u64 = runs.iter().map(|r| r.end - r.start).sum();
            self.bids.reserve(events as usize);
        }
        for run in runs {
            // Event k has id k + 2.
            self.events(run.start as i64 + 2..run.end as i64 + 2, mixed);
        }
        self.batch(mixed).expect("the declared types were compared with those that are made")
    }
}

/// Columns of NULLs, made once per type.
#[derive(Default)]
struct Nulls(std::cell::RefCell<Vec<ArrayRef>>);

impl Nulls {
    fn of(&self, ty: &DataType, rows: usize) -> ArrayRef {
        let mut known = self.0.borrow_mut();
        if let Some(array) = known.iter().find(|a| a.data_type() == ty && a.len() >= rows) {
            return array.slice(0, rows);
        }
        let array = new_null_array(ty, rows.max(BATCH_ROWS));
        known.retain(|a| a.data_type() != ty);
        known.push(array.clone());
        array.slice(0, rows)
    }
}
