//! Transactions: where they begin and end, what of them was handed out, and what waits for `XA COMMIT`.
//!
//! ```text
//! GTID A:7 | BEGIN | rows rows | XID                                  handed out as they come; A:7 is seen at XID
//! GTID A:8 | XA START x | rows | XA END | XA PREPARE x                 held back
//! GTID A:9 | XA COMMIT x                                              the rows of x are handed out, in A:9
//! ```
//! # State
//! The rows of prepared transactions, as bytes of the log, up to [`HELD_BYTES_MAX`] in all.
//!
//! # Invariants
//! * The position moves only where a restore can go on: behind a whole transaction, or into one by a count of its rows.
//! * While a transaction is prepared, reading starts before it.
//! * Transaction ids are counted only onwards from a position that has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::event::{Event, Rows, RowsKind};
use super::frame::Frame;
use super::gtid::{Gtid, MariaGtid};
use super::position::{FilePosition, Inside, Point, Position, Seen};
use super::statement::{Statement, statement};
use super::table_map::TableMap;
use crate::error::{self, Error, Place};

/// Bytes of rows that wait for `XA COMMIT` at most.
pub const HELD_BYTES_MAX: usize = 256 << 20;

/// A row event that outlives its packet.
#[derive(Clone, Debug)]
pub struct HeldRows {
    /// Its table.
    pub table: Arc<TableMap>,
    /// Seconds since 1970 of its header.
    pub timestamp: u32,
    kind: RowsKind,
    columns: usize,
    present: Vec<u8>,
    present_after: Vec<u8>,
    images: Vec<u8>,
    compressed: bool,
}

impl HeldRows {
    /// Copies a row event.
    pub fn new(table: Arc<TableMap>, timestamp: u32, rows: &Rows<'_>) -> Self {
        Self {
            table,
            timestamp,
            kind: rows.kind,
            columns: rows.columns,
            present: rows.present.to_vec(),
            present_after: rows.present_after.to_vec(),
            images: rows.images.to_vec(),
            compressed: rows.compressed,
        }
    }

    /// The row event.
    pub fn rows(&self) -> Rows<'_> {
        Rows {
            kind: self.kind,
            table_id: self.table.table_id,
            ends_statement: false,
            columns: self.columns,
            present: &self.present,
            present_after: &self.present_after,
            images: &self.images,
            compressed: self.compressed,
        }
    }

    /// Bytes it takes.
    pub fn bytes(&self) -> usize {
        self.images.len() + self.present.len() + self.present_after.len() + size_of::<Self>()
    }
}

/// What an event means for the transaction it is in.
#[derive(Debug)]
pub enum Step {
    /// Nothing to do.
    Nothing,
    /// A row event that may be handed out, from this row on.
    HandOut {
        /// Rows that were handed out before a restart.
        skip: u64,
    },
    /// A row event that was handed out before a restart.
    Skip,
    /// A row event of a transaction that may yet be rolled back: pass it to [`Tracker::hold`].
    Hold,
    /// These row events are committed now.
    Release(Vec<HeldRows>),
    /// The transaction ends; the position is behind it.
    End,
    /// It commits what was prepared under this id before reading began.
    PreparedBefore(String),
    /// A statement that is no part of the transaction's frame.
    Statement(Statement),
}

#[derive(Debug)]
enum Id {
    None,
    Mysql(Gtid),
    Mariadb(MariaGtid),
}

impl Id {
    fn text(&self) -> Option<String> {
        match self {
            Id::None => None,
            Id::Mysql(gtid) => Some(gtid.to_string()),
            Id::Mariadb(gtid) => Some(gtid.to_string()),
        }
    }
}

#[derive(Debug)]
struct Open {
    id: Id,
    /// Whether `BEGIN` was read, so that only `COMMIT` ends it.
    begun: bool,
    /// Under which id its rows are held.
    xid: Option<String>,
    held: Vec<HeldRows>,
    /// What was handed out before a restart.
    skip: Option<Inside>,
}

#[derive(Debug)]
struct Prepared {
    start: Point,
    rows: Vec<HeldRows>,
}

/// Follows the transactions of one log.
#[derive(Debug)]
pub struct Tracker {
    position: Position,
    open: Option<Open>,
    prepared: BTreeMap<String, Prepared>,
    held_bytes: usize,
    held_bytes_max: usize,
    /// What of the first transaction was handed out before a restart, and which one it is.
    skip: Inside,
    skip_of: Option<String>,
    /// Up to here everything was handed out before; rows are only held, for `XA COMMIT`.
    caught_up: Option<Point>,
}

impl Tracker {
    /// Goes on at a position; the log must be read from its [`Position::start`].
    pub fn new(position: Position) -> Self {
        Self::with_limit(position, HELD_BYTES_MAX)
    }

    fn with_limit(position: Position, held_bytes_max: usize) -> Self {
        let caught_up = position.prepared_from.as_ref().map(|_| position.point.clone());
        let mut position = position;
        if let Some(start) = position.prepared_from.take() {
            position.point = *start;
        }
        let skip = std::mem::take(&mut position.inside);
        let skip_of = position.inside_of.take();
        Self {
            position,
            open: None,
            prepared: BTreeMap::new(),
            held_bytes: 0,
            held_bytes_max,
            skip,
            skip_of,
            caught_up,
        }
    }

    /// Where a restore can go on: behind the last row that was handed out.
    pub fn position(&self) -> Position {
        let mut position = self.position.clone();
        if let Some(caught_up) = &self.caught_up {
            // Nothing new was handed out yet.
            position.point = caught_up.clone();
            position.inside = self.skip;
            position.inside_of.clone_from(&self.skip_of);
        } else {
            // What was handed out before a restart stays handed out until it is passed again.
            let (before, of) = match &self.open {
                Some(open) => (open.skip.unwrap_or_default(), open.id.text()),
                None => (self.skip, self.skip_of.clone()),
            };
            position.inside = position.inside.max(before);
            position.inside_of = of.filter(|_| position.inside != Inside::default());
        }
        let earliest =
            self.prepared.values().map(|p| &p.start).chain(self.caught_up.as_ref().map(|_| &self.position.point));
        position.prepared_from = earliest
            .reduce(|a, b| if a.at.compare(&b.at) == Some(std::cmp::Ordering::Greater) { b } else { a })
            .map(|start| Box::new(start.clone()));
        position
    }

    /// Behind the last whole transaction that was read.
    pub fn at(&self) -> &FilePosition {
        &self.position.point.at
    }

    /// Whether rows wait for `XA COMMIT`.
    pub fn holds(&self) -> bool {
        self.held_bytes > 0
    }

    /// Whether a transaction has begun and not ended.
    pub fn is_inside(&self) -> bool {
        self.open.is_some()
    }

    /// `rows` more rows of the current row event were handed out (or need not be).
    pub fn handed_out(&mut self, rows: u64) {
        self.position.inside.rows += rows;
    }

    /// All rows of the current row event were handed out (or need not be).
    pub fn event_done(&mut self) {
        self.position.inside = Inside { events: self.position.inside.events + 1, rows: 0 };
    }

    /// Keeps a row event for `XA COMMIT`.
    ///
    /// # Errors
    /// [`error::PREPARED_TOO_LARGE`] when all that wait are more than [`HELD_BYTES_MAX`].
    pub fn hold(&mut self, rows: HeldRows, place: Place<'_>) -> Result<(), Error> {
        if let Some(open) = &mut self.open {
            self.held_bytes += rows.bytes();
            if self.held_bytes > self.held_bytes_max {
                let xid = open.xid.as_deref().unwrap_or_default();
                return Err(error::prepared_too_large(place, xid, self.held_bytes_max));
            }
            open.held.push(rows);
        }
        Ok(())
    }

    /// Reads one event; `behind` is where it ends.
    ///
    /// # Errors
    /// [`error::ROLLED_BACK`] when rows that were handed out are taken back; [`error::LOG_EVENT_DAMAGED`] when a
    /// transaction does not end; [`error::POSITION_LOST`] when the transaction behind the restored position is not the
    /// one that was being read.
    pub fn observe(&mut self, frame: &Frame<'_>, behind: &FilePosition) -> Result<Step, Error> {
        let place = Place { file: &behind.file, pos: behind.pos };
        let step = match &frame.event {
            Event::Gtid(gtid) => self.begin(Id::Mysql(gtid.clone()))?,
            Event::AnonymousGtid => self.begin(Id::None)?,
            Event::MariaGtid { gtid, prepares } => {
                let step = self.begin(Id::Mariadb(*gtid))?;
                if let Some(open) = &mut self.open {
                    open.xid.clone_from(prepares);
                }
                step
            }
            Event::Xid => self.end(behind),
            Event::XaPrepare { xid, one_phase } => self.prepare(xid, *one_phase, behind),
            Event::Query { text, .. } => return self.query(text, behind, place),
            Event::Rows(_) => return Ok(self.rows()),
            Event::FormatDescription(_) if self.is_inside() => {
                return Err(error::damaged_event(place, frame.header.kind, "it comes inside a transaction"));
            }
            _ => Step::Nothing,
        };
        if self.open.is_none() {
            self.position.point.at.clone_from(behind);
        }
        Ok(step)
    }

    fn begin(&mut self, id: Id) -> Result<Step, Error> {
        let begun = matches!(&id, Id::Mariadb(gtid) if !gtid.is(MariaGtid::STANDALONE));
        if let Some(point) = &self.caught_up
            && !self.was_handed_out(&id, point)
        {
            self.caught_up = None;
        }
        // Only the transaction behind the restored position was begun before.
        if self.caught_up.is_none()
            && let Some(of) = self.skip_of.take()
            && let Some(is) = id.text().filter(|is| *is != of)
        {
            let at = &self.position.point.at;
            return Err(error::position_lost(&format!("{at}, inside of {of}"), &format!("behind it is {is}")));
        }
        let skip = self.caught_up.is_none().then(|| std::mem::take(&mut self.skip));
        self.open = Some(Open { id, begun, xid: None, held: Vec::new(), skip });
        Ok(Step::Nothing)
    }

    fn was_handed_out(&self, id: &Id, point: &Point) -> bool {
        match (id, &point.seen) {
            (Id::Mysql(gtid), Some(Seen::Mysql(seen))) => seen.contains(gtid),
            (Id::Mariadb(gtid), Some(Seen::Mariadb(seen))) => seen.contains(gtid),
            _ => self.position.point.at.compare(&point.at) == Some(std::cmp::Ordering::Less),
        }
    }

    fn rows(&mut self) -> Step {
        let at = self.position.inside.events;
        let Some(open) = &self.open else { return Step::HandOut { skip: 0 } };
        match open.skip {
            _ if open.xid.is_some() => Step::Hold,
            None => Step::Skip,
            Some(skip) if at < skip.events => Step::Skip,
            Some(skip) if at == skip.events => Step::HandOut { skip: skip.rows },
            Some(_) => Step::HandOut { skip: 0 },
        }
    }

    /// What of the current row event (a released one) was handed out before a restart; `None` when all of it was.
    pub fn skip(&self) -> Option<u64> {
        let at = self.position.inside.events;
        match self.open.as_ref().map_or(Some(Inside::default()), |open| open.skip)? {
            skip if at < skip.events => None,
            skip => Some(if at == skip.events { skip.rows } else { 0 }),
        }
    }

    fn query(&mut self, text: &[u8], behind: &FilePosition, place: Place<'_>) -> Result<Step, Error> {
        let statement = statement(text);
        let handed_out = self.position.inside != Inside::default();
        Ok(match statement {
            Statement::Begin => {
                match &mut self.open {
                    Some(open) => open.begun = true,
                    None => {
                        self.begin(Id::None)?;
                        if let Some(open) = &mut self.open {
                            open.begun = true;
                        }
                    }
                }
                Step::Nothing
            }
            Statement::XaStart(xid) => {
                if self.open.is_none() {
                    self.begin(Id::None)?;
                }
                if let Some(open) = &mut self.open {
                    (open.begun, open.xid) = (true, Some(xid));
                }
                Step::Nothing
            }
            Statement::XaEnd => Step::Nothing,
            Statement::Commit => self.end(behind),
            Statement::Rollback | Statement::RollbackTo if handed_out => {
                return Err(error::rolled_back(place));
            }
            Statement::Rollback => self.end(behind),
            Statement::XaCommit(xid) => match self.take_prepared(&xid) {
                Some(rows) => Step::Release(rows),
                None => {
                    self.end(behind);
                    Step::PreparedBefore(xid)
                }
            },
            Statement::XaRollback(xid) => {
                self.take_prepared(&xid);
                self.end(behind)
            }
            statement => {
                // Data definition ends with itself.
                if self.open.as_ref().is_none_or(|open| !open.begun) {
                    self.end(behind);
                }
                Step::Statement(statement)
            }
        })
    }

    fn take_prepared(&mut self, xid: &str) -> Option<Vec<HeldRows>> {
        let rows = self.prepared.remove(xid)?.rows;
        self.held_bytes -= rows.iter().map(HeldRows::bytes).sum::<usize>();
        Some(rows)
    }

    /// The rows of [`Step::Release`] were handed out: the transaction that commits them ends.
    pub fn released(&mut self, behind: &FilePosition) {
        self.end(behind);
    }

    fn prepare(&mut self, xid: &str, one_phase: bool, behind: &FilePosition) -> Step {
        let start = self.position.point.clone();
        let rows = self.open.as_mut().map(|open| std::mem::take(&mut open.held)).unwrap_or_default();
        if one_phase {
            self.held_bytes -= rows.iter().map(HeldRows::bytes).sum::<usize>();
            return Step::Release(rows);
        }
        self.prepared.insert(xid.to_owned(), Prepared { start, rows });
        self.end(behind)
    }

    fn end(&mut self, behind: &FilePosition) -> Step {
        // A set that began empty in the middle of a history would say that all before it is missing.
        match (self.open.take().map(|open| open.id), &mut self.position.point.seen) {
            (Some(Id::Mysql(gtid)), Some(Seen::Mysql(seen))) => seen.add(&gtid),
            (Some(Id::Mariadb(gtid)), Some(Seen::Mariadb(seen))) => seen.add(&gtid),
            _ => {}
        }
        self.position.point.at.clone_from(behind);
        self.position.inside = Inside::default();
        Step::End
    }
}

#[cfg(test)]
mod tests;
