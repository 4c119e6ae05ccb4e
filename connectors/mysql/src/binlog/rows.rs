//! Row images into Arrow.
//!
//! ```text
//! table map  ──compile once──> TableDecoder: per column of the table, how it is written and where it goes
//! row event:  null bits | values ...            one image per row; two for an update: before, after
//!                 │
//!                 └──> Output: one builder per declared column, and the kind of each row
//! ```
//! Columns nobody reads are passed over by their length. A decoder belongs to one version of one table; an output belongs
//! to one declared table, which many tables and versions may feed.
//!
//! # Invariants
//! * Every row of an output has a value or a NULL in every column, or an error was returned and the output is of no use.
//! * A column that is read and is not in the image is an error, never a NULL.

use std::borrow::Cow;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use dflow_common::{ChangeBatch, Ops, RowKind, SqlType};

use super::bytes::{Cursor, Fault};
use super::column::fit::{Fit, fit};
use super::column::sink::{Context, Policy, Sink, Tally, Unfit};
use super::column::{Cell, Wire};
use super::compress;
use super::event::{Rows, RowsKind};
use super::key::{Key, KeyColumns};
use super::table_map::TableMap;
use crate::error::{self, Error, Place};

/// Where a declared column comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The column of its name.
    Column,
    /// `METADATA FROM 'table_name'`
    TableName,
    /// `METADATA FROM 'database_name'`
    DatabaseName,
    /// `METADATA FROM 'op_ts'`: when the change was made.
    Time,
    /// `METADATA FROM 'row_kind'`: `+I`, `-U`, `+U`, `-D`.
    RowKind,
}

/// A declared column.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// Where it comes from.
    pub from: From,
}

/// Rows that are being put together for one declared table.
#[derive(Debug)]
pub struct Output {
    schema: SchemaRef,
    sinks: Vec<Sink>,
    kinds: Vec<i8>,
    bytes: usize,
    context: Context,
    append_only: bool,
}

impl Output {
    /// Without rows. `append_only` makes every change an insert; [`From::RowKind`] still tells them apart.
    ///
    /// # Errors
    /// [`error::COLUMN_TYPE`] for a declared type that no column can be read as.
    pub fn new(schema: SchemaRef, wanted: &[Wanted], policy: Policy, append_only: bool) -> Result<Self, Error> {
        let sink = |column: &Wanted| {
            Sink::new(&column.ty).map_err(|ty| error::column_type(&column.name, &ty, None, "another type"))
        };
        let sinks = wanted.iter().map(sink).collect::<Result<_, _>>()?;
        Ok(Self { schema, sinks, kinds: Vec::new(), bytes: 0, context: Context::new(policy), append_only })
    }

    /// What happens to values that do not fit.
    pub fn policy(&self) -> &Policy {
        &self.context.policy
    }

    /// Rows in it.
    pub fn rows(&self) -> usize {
        self.kinds.len()
    }

    /// Bytes of the log they came from.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What was changed by the policy, since the beginning.
    pub fn tally(&self) -> Tally {
        self.context.tally
    }

    /// Takes the rows out; `None` without any.
    ///
    /// # Errors
    /// [`error::LOG_EVENT_DAMAGED`] when columns have different lengths, which no input can bring about.
    pub fn finish(&mut self) -> Result<Option<ChangeBatch>, Error> {
        if self.kinds.is_empty() {
            return Ok(None);
        }
        self.bytes = 0;
        let kinds = std::mem::take(&mut self.kinds);
        let columns = self.sinks.iter_mut().map(Sink::finish).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(kinds.len()));
        let data = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|e| error::damaged_event(Place { file: "", pos: 0 }, 0, &e.to_string()))?;
        Ok(Some(ChangeBatch::new(data, Ops::from_kinds(kinds))))
    }
}

/// A column of the table.
#[derive(Debug)]
struct Column {
    wire: Wire,
    target: Option<Target>,
}

#[derive(Debug)]
struct Target {
    sink: usize,
    fit: Fit,
    nullable: bool,
}

/// Reads the row images of one version of one table.
#[derive(Debug)]
pub struct TableDecoder {
    database: String,
    table: String,
    columns: Vec<Column>,
    names: Vec<String>,
    /// Declared columns the table does not have.
    absent: Vec<usize>,
    made_up: Vec<(usize, From)>,
}

impl TableDecoder {
    /// Finds each declared column in the table, by name.
    ///
    /// # Errors
    /// [`error::COLUMN_TYPE`] when a column cannot be read as declared, [`error::COLUMN_MISSING`] when there is none and
    /// the declared one may not be NULL, [`error::LOG_EVENT_DAMAGED`] when the table map makes no sense.
    pub fn compile(map: &TableMap, wanted: &[Wanted], policy: &Policy, place: Place<'_>) -> Result<Self, Error> {
        let table = format!("{}.{}", map.database, map.table);
        let find = |name: &str| {
            let named = |eq: fn(&str, &str) -> bool| {
                map.columns.iter().position(|c| c.name.as_deref().is_some_and(|n| eq(n, name)))
            };
            named(|a, b| a == b).or_else(|| named(str::eq_ignore_ascii_case))
        };
        let mut columns = Vec::with_capacity(map.columns.len());
        for def in &map.columns {
            let kind = super::event::kind::TABLE_MAP;
            let wire = Wire::of(def).map_err(|fault| error::damaged_event(place, kind, &fault.to_string()))?;
            columns.push(Column { wire, target: None });
        }
        let (mut absent, mut made_up) = (Vec::new(), Vec::new());
        for (sink, column) in wanted.iter().enumerate() {
            if column.from != From::Column {
                made_up.push((sink, column.from));
                continue;
            }
            match find(&column.name) {
                Some(i) if columns[i].target.is_some() => {
                    let why = format!("two declared columns are `{}` of the table", column.name);
                    return Err(error::column_type(&column.name, &column.ty.to_string(), Some(&table), &why));
                }
                Some(i) => {
                    let fit = fit(&map.columns[i], &column.ty, policy.binary_text).map_err(|instead| {
                        error::column_type(&column.name, &column.ty.to_string(), Some(&table), &instead)
                    })?;
                    columns[i].target = Some(Target { sink, fit, nullable: column.ty.nullable });
                }
                None if column.ty.nullable => absent.push(sink),
                None => return Err(error::column_missing(place, &table, &column.name)),
            }
        }
        let name = |(i, def): (usize, &super::table_map::ColumnDef)| {
            def.name.clone().unwrap_or_else(|| format!("number {}", i + 1))
        };
        let names = map.columns.iter().enumerate().map(name).collect();
        let (database, table) = (map.database.clone(), map.table.clone());
        Ok(Self { database, table, columns, names, absent, made_up })
    }

    /// Reads the next row of an event (both images of an update) into `output`; `false` when there is none.
    ///
    /// # Errors
    /// [`error::LOG_EVENT_DAMAGED`], [`error::VALUE_UNFIT`], [`error::ROW_INCOMPLETE`]; `output` is of no use then.
    pub fn row(&self, images: &mut Images<'_>, output: &mut Output) -> Result<bool, Error> {
        if images.cursor.is_empty() {
            return Ok(false);
        }
        match images.kind {
            RowsKind::Write => self.image(images, false, RowKind::Insert, output)?,
            RowsKind::Delete => self.image(images, false, RowKind::Delete, output)?,
            RowsKind::Update => {
                self.image(images, false, RowKind::UpdateBefore, output)?;
                self.image(images, true, RowKind::UpdateAfter, output)?;
            }
        }
        Ok(true)
    }

    /// Reads the next row of an event as `decide` says of its keys: for each image, as which kind, if at all. The second key
    /// set is that of the row after an update. `false` when there is none.
    ///
    /// # Errors
    /// As [`TableDecoder::row`].
    pub fn row_if(
        &self,
        images: &mut Images<'_>,
        output: &mut Output,
        keys: &KeyColumns,
        scratch: &mut Scratch,
        decide: &mut Decide<'_>,
    ) -> Result<bool, Error> {
        if images.cursor.is_empty() {
            return Ok(false);
        }
        let mut ahead = *images;
        scratch.before.resize(keys.len(), None);
        scratch.after.resize(keys.len(), None);
        self.keys(&mut ahead, false, keys, &mut scratch.before)?;
        if images.kind == RowsKind::Update {
            self.keys(&mut ahead, true, keys, &mut scratch.after)?;
        }
        let kinds = decide(images.kind, &scratch.before, &scratch.after);
        for (after, kind) in
            [false, true].into_iter().zip(kinds).take(if images.kind == RowsKind::Update { 2 } else { 1 })
        {
            match kind {
                Some(kind) => self.image(images, after, kind, output)?,
                None => self.skip_image(images, after)?,
            }
        }
        Ok(true)
    }

    /// The keys of the next image, which is passed over.
    fn keys(
        &self,
        images: &mut Images<'_>,
        after: bool,
        keys: &KeyColumns,
        out: &mut [Option<Key>],
    ) -> Result<(), Error> {
        out.fill(None);
        let (present, nulls) = self.bits(images, after)?;
        for (i, is_null) in Nulls::new(present, nulls, self.columns.len()) {
            match is_null {
                Some(false) => {
                    let wire = self.columns[i].wire;
                    let read = if i < keys.end() {
                        keys.read(i, wire, &mut images.cursor, out)
                    } else {
                        wire.skip(&mut images.cursor)
                    };
                    read.map_err(|fault| self.unfit(images.place, i, fault.into()))?;
                }
                None if keys.has(i) => return Err(error::row_incomplete(images.place, &self.name(), &self.names[i])),
                _ => {}
            }
        }
        Ok(())
    }

    /// The keys of all images of an event: `each` is called with them.
    ///
    /// # Errors
    /// [`error::LOG_EVENT_DAMAGED`], [`error::ROW_INCOMPLETE`].
    pub fn all_keys(
        &self,
        images: &mut Images<'_>,
        keys: &KeyColumns,
        each: &mut dyn FnMut(&[Option<Key>]),
    ) -> Result<(), Error> {
        let mut out = vec![None; keys.len()];
        while !images.cursor.is_empty() {
            let both: &[bool] = if images.kind == RowsKind::Update { &[false, true] } else { &[false] };
            for after in both {
                self.keys(images, *after, keys, &mut out)?;
                each(&out);
            }
        }
        Ok(())
    }

    /// Passes over the next row; `false` when there is none.
    ///
    /// # Errors
    /// [`error::LOG_EVENT_DAMAGED`].
    pub fn skip_row(&self, images: &mut Images<'_>) -> Result<bool, Error> {
        if images.cursor.is_empty() {
            return Ok(false);
        }
        self.skip_image(images, false)?;
        if images.kind == RowsKind::Update {
            self.skip_image(images, true)?;
        }
        Ok(true)
    }

    fn skip_image(&self, images: &mut Images<'_>, after: bool) -> Result<(), Error> {
        let (present, nulls) = self.bits(images, after)?;
        for (i, is_null) in Nulls::new(present, nulls, self.columns.len()) {
            if is_null == Some(false) {
                let skipped = self.columns[i].wire.skip(&mut images.cursor);
                skipped.map_err(|fault| self.unfit(images.place, i, fault.into()))?;
            }
        }
        Ok(())
    }

    /// Which columns the next image has, and which of them are NULL.
    fn bits<'a>(&self, images: &mut Images<'a>, after: bool) -> Result<(&'a [u8], &'a [u8]), Error> {
        let present = if after { images.present_after } else { images.present };
        let n = (0..self.columns.len()).filter(|i| present[i / 8] & 1 << (i % 8) != 0).count();
        let nulls = images.cursor.take(n.div_ceil(8)).map_err(|fault| self.damaged(images.place, &fault))?;
        Ok((present, nulls))
    }

    fn image(&self, images: &mut Images<'_>, after: bool, kind: RowKind, output: &mut Output) -> Result<(), Error> {
        let before = images.cursor.0.len();
        let (present, nulls) = self.bits(images, after)?;
        for (i, is_null) in Nulls::new(present, nulls, self.columns.len()) {
            let column = &self.columns[i];
            match (&column.target, is_null) {
                (None, Some(false)) => column.wire.skip(&mut images.cursor).map_err(Unfit::from),
                (None, _) => Ok(()),
                (Some(_), None) => return Err(error::row_incomplete(images.place, &self.name(), &self.names[i])),
                (Some(target), Some(true)) if target.nullable => {
                    output.sinks[target.sink].push_null();
                    Ok(())
                }
                (Some(_), Some(true)) => Err(Unfit::Value("NULL, and it is declared NOT NULL".into())),
                (Some(target), Some(false)) => {
                    output.context.nullable = target.nullable;
                    let sink = &mut output.sinks[target.sink];
                    match (column.wire, column.wire.read(&mut images.cursor)) {
                        (Wire::Compressed(_), Ok(Cell::Bytes(bytes))) => compress::maria_column(bytes)
                            .map_err(Unfit::from)
                            .and_then(|bytes| sink.push(Cell::Bytes(&bytes), &target.fit, &mut output.context)),
                        (_, Ok(cell)) => sink.push(cell, &target.fit, &mut output.context),
                        (_, Err(fault)) => Err(fault.into()),
                    }
                }
            }
            .map_err(|unfit| self.unfit(images.place, i, unfit))?;
        }
        for sink in &self.absent {
            output.sinks[*sink].push_null();
        }
        for (sink, from) in &self.made_up {
            let sink = &mut output.sinks[*sink];
            match from {
                From::TableName => sink.push_text(&self.table),
                From::DatabaseName => sink.push_text(&self.database),
                From::RowKind => sink.push_text(kind.short()),
                From::Time => {
                    let pushed = sink.push_instant(i64::from(images.timestamp) * 1_000_000, &mut output.context);
                    pushed.map_err(|unfit| self.unfit(images.place, 0, unfit))?;
                }
                From::Column => {}
            }
        }
        output.kinds.push(if output.append_only { RowKind::Insert as i8 } else { kind as i8 });
        output.bytes += before - images.cursor.0.len();
        Ok(())
    }

    fn name(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }

    #[cold]
    fn damaged(&self, place: Place<'_>, fault: &Fault) -> Error {
        error::damaged_rows(place, &self.name(), None, fault)
    }

    #[cold]
    fn unfit(&self, place: Place<'_>, column: usize, unfit: Unfit) -> Error {
        match unfit {
            Unfit::Damaged(fault) => error::damaged_rows(place, &self.name(), Some(&self.names[column]), &fault),
            Unfit::Value(what) => error::value_unfit(place, &self.name(), &self.names[column], &what),
        }
    }
}

/// Decides from the keys of a change (of both rows, if it is an update) as what each row is read, if at all.
pub type Decide<'a> = dyn FnMut(RowsKind, &[Option<Key>], &[Option<Key>]) -> [Option<RowKind>; 2] + 'a;

/// Room for the keys of one row.
#[derive(Debug, Default)]
pub struct Scratch {
    before: Vec<Option<Key>>,
    after: Vec<Option<Key>>,
}

/// The rows of one event, and how far they are read.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    kind: RowsKind,
    present: &'a [u8],
    present_after: &'a [u8],
    cursor: Cursor<'a>,
    timestamp: u32,
    place: Place<'a>,
}

impl<'a> Images<'a> {
    /// The bytes of the rows, decompressed.
    ///
    /// # Errors
    /// [`error::LOG_EVENT_DAMAGED`].
    pub fn bytes(rows: &Rows<'a>, place: Place<'_>) -> Result<Cow<'a, [u8]>, Error> {
        match rows.compressed {
            false => Ok(Cow::Borrowed(rows.images)),
            true => match compress::maria(rows.images) {
                Ok(bytes) => Ok(Cow::Owned(bytes)),
                Err(fault) => Err(error::damaged_event(place, super::event::kind::WRITE_ROWS, &fault.to_string())),
            },
        }
    }

    /// The rows of an event. `bytes` are [`Images::bytes`], `timestamp` seconds since 1970 of its header.
    ///
    /// # Errors
    /// [`error::LOG_EVENT_DAMAGED`] when it is not of this version of the table.
    pub fn new(
        rows: &Rows<'a>,
        bytes: &'a [u8],
        decoder: &TableDecoder,
        timestamp: u32,
        place: Place<'a>,
    ) -> Result<Self, Error> {
        if rows.columns != decoder.columns.len() {
            return Err(decoder.damaged(place, &Fault::Malformed("the rows have not as many columns as their table")));
        }
        let (present, present_after) = (rows.present, rows.present_after);
        Ok(Self { kind: rows.kind, present, present_after, cursor: Cursor(bytes), timestamp, place })
    }
}

/// For each column of an image: `None` when it is not there, or whether it is NULL.
struct Nulls<'a> {
    present: &'a [u8],
    nulls: &'a [u8],
    columns: usize,
    next: usize,
    /// Columns so far that are there: which bit of `nulls` is next.
    bit: usize,
}

impl<'a> Nulls<'a> {
    /// `present` has a bit for each column, `nulls` one for each column that is there.
    #[inline]
    fn new(present: &'a [u8], nulls: &'a [u8], columns: usize) -> Self {
        Self { present, nulls, columns, next: 0, bit: 0 }
    }
}

impl Iterator for Nulls<'_> {
    type Item = (usize, Option<bool>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let i = self.next;
        if i == self.columns {
            return None;
        }
        self.next += 1;
        if self.present[i / 8] & 1 << (i % 8) == 0 {
            return Some((i, None));
        }
        let bit = self.bit;
        self.bit += 1;
        Some((i, Some(self.nulls[bit / 8] & 1 << (bit % 8) != 0)))
    }
}
