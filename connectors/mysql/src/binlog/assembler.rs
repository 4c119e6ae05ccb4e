//! All of it together: packets in, batches and positions out.
//!
//! ```text
//! let mut log = Assembler::new(position, outputs, router);
//! match log.packet(&bytes)? {
//!     Outcome::Done => {}                              // rows may be ready: log.finish(output)
//!     Outcome::NeedsCatalog { database, table } => …   // log.add_catalog(…), then the same packet again
//! }
//! ```
//! # State
//! The tables of the log that are read, by id, until the next file; what [`Tracker`] and [`Output`] keep.
//!
//! # Invariants
//! * A table nobody reads costs a look at its name, and its row events a look at their table id.
//! * [`Assembler::position`] is behind the last row event; rows of it are in the outputs or were taken out of them.

mod feed;

use std::collections::HashMap;
use std::sync::Arc;

use dflow_common::ChangeBatch;

use super::bytes::{Cursor, Fault};
use super::compress;
use super::definition::TableName;
use super::drift::{Change, SchemaChanges};
use super::event::{Event, kind};
use super::frame::{Frame, Framer};
use super::gate::Gate;
use super::key::{Key, KeyColumns};
use super::position::{FilePosition, Order as Compared, Point, Position};
use super::rows::{Output, Scratch, TableDecoder, Wanted};
use super::schemas::Schemas;
use super::statement::Statement;
use super::table_map::{CatalogColumn, TableMap, TableMapHead};
use super::transaction::{HeldRows, Step, Tracker};
use crate::error::{self, Error, Place};

/// Says which outputs read a table.
pub trait Router: Send {
    /// Indices of outputs; asked once per table and file.
    fn route(&mut self, database: &str, table: &str) -> Vec<usize>;

    /// The [gate](Gates) of an output for a table, by index.
    fn gate(&mut self, output: usize, database: &str, table: &str) -> Option<usize> {
        let _ = (output, database, table);
        None
    }
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is read.
    Done,
    /// The log does not say enough about a table: add its catalog, then pass the same packet again.
    NeedsCatalog {
        /// Its database.
        database: String,
        /// Its name.
        table: String,
    },
    /// Only the server can tell in which range of a gate these keys are: [`Assembler::place`] them, then the same packet
    /// again.
    NeedsPlaces {
        /// The gate.
        gate: usize,
        /// The keys.
        keys: Vec<Key>,
    },
}

/// A declared table that is read.
pub struct Declared {
    /// Its columns.
    pub wanted: Vec<Wanted>,
    /// Where its rows are put together.
    pub output: Output,
}

/// Something a user should hear of, though reading goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A captured table was changed.
    Changed {
        /// Which one, with its database.
        table: String,
        /// How.
        change: Change,
        /// Where in the log.
        at: FilePosition,
    },
    /// `XA COMMIT` of this id, which was prepared before reading began: its rows are not handed out.
    PreparedBefore(String),
}

/// An output that reads a table.
struct Feed {
    output: usize,
    decoder: TableDecoder,
    /// The index of its gate, and the gate's key column.
    gate: Option<(usize, KeyColumns)>,
}

struct Table {
    /// The table map it was read from.
    body: Vec<u8>,
    map: Arc<TableMap>,
    feeds: Vec<Feed>,
}

/// Ranges that were read before, by index; `None` once the log is past them.
pub type Gates = Vec<Option<Gate>>;

/// Outputs that had been handed out further than the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Ahead {
    /// Up to here.
    pub until: Position,
    /// Which.
    pub outputs: Vec<usize>,
}

/// Row events that are kept instead of being decoded.
#[derive(Default)]
struct Kept {
    rows: Vec<HeldRows>,
    bytes: usize,
}

/// Keys that one gate remembers the places of, before it asks again.
const PLACES_MAX: usize = 100_000;

/// Reads one log.
pub struct Assembler<R> {
    framer: Framer,
    tracker: Tracker,
    start: Point,
    router: R,
    outputs: Vec<Declared>,
    /// `None` for tables nobody reads.
    tables: HashMap<u64, Option<Table>>,
    schemas: Schemas,
    notices: Vec<Notice>,
    gates: Gates,
    ahead: Option<Ahead>,
    /// `None` when rows are decoded.
    kept: Option<Kept>,
    keeps: bool,
    scratch: Scratch,
}

impl<R: Router> Assembler<R> {
    /// Goes on at a position.
    pub fn new(position: Position, outputs: Vec<Declared>, router: R) -> Self {
        Self {
            start: position.start().clone(),
            framer: Framer::new(position.start().at.clone()),
            tracker: Tracker::new(position),
            router,
            outputs,
            tables: HashMap::new(),
            schemas: Schemas::default(),
            notices: Vec::new(),
            gates: Gates::new(),
            ahead: None,
            kept: None,
            keeps: false,
            scratch: Scratch::default(),
        }
    }

    /// Hands out only what is news behind these gates; the router says which one is whose.
    pub fn with_gates(mut self, gates: Gates) -> Self {
        self.gates = gates;
        self
    }

    /// Hands out nothing to some outputs before a position.
    pub fn with_ahead(mut self, ahead: Option<Ahead>) -> Self {
        self.ahead = ahead;
        self
    }

    /// What a changed table does to each output.
    pub fn with_schema_changes(mut self, behaviors: Vec<SchemaChanges>) -> Self {
        self.schemas.set_behaviors(behaviors);
        self
    }

    /// The gates that the log is not past yet.
    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    /// Forgets the gates that the log is past.
    pub fn prune_gates(&mut self) {
        let at = self.tracker.at();
        for gate in &mut self.gates {
            if gate.as_ref().is_some_and(|g| g.is_past(at) || g.last == *at) {
                *gate = None;
            }
        }
    }

    /// Whether some outputs were handed out further than the log is.
    pub fn is_behind(&mut self) -> bool {
        if let Some(ahead) = &self.ahead
            && self.tracker.position().compare(&ahead.until) != Compared::Before
        {
            self.ahead = None;
        }
        self.ahead.is_some()
    }

    /// Says in which range of a gate a key is.
    pub fn place(&mut self, gate: usize, key: Key, range: usize) {
        if let Some(Some(gate)) = self.gates.get_mut(gate) {
            gate.place(key, range);
        }
    }

    /// From here on row events of routed tables are kept as they are, or (`false`) passed over; nothing is decoded.
    pub fn keep(&mut self, keeps: bool) {
        self.kept = Some(Kept::default());
        self.keeps = keeps;
    }

    /// Bytes of the row events that were kept.
    pub fn kept_bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.bytes)
    }

    /// Takes the row events out that were kept, in order.
    pub fn take_kept(&mut self) -> Vec<HeldRows> {
        self.kept.as_mut().map(std::mem::take).unwrap_or_default().rows
    }

    /// Prepares for a new connection, which must be opened where this says.
    pub fn reopen(&mut self) -> Point {
        let position = self.tracker.position();
        self.start = position.start().clone();
        self.framer = Framer::new(self.start.at.clone());
        self.tracker = Tracker::new(position);
        self.tables.clear();
        self.start.clone()
    }

    /// Where the connection was opened.
    pub fn start(&self) -> &Point {
        &self.start
    }

    /// Behind the last row event.
    pub fn position(&self) -> Position {
        self.tracker.position()
    }

    /// Where in the files [`Assembler::position`] is: behind the last whole transaction.
    pub fn at(&self) -> &FilePosition {
        self.tracker.at()
    }

    /// Whether a transaction has begun and not ended.
    pub fn is_inside(&self) -> bool {
        self.tracker.is_inside()
    }

    /// The output's rows.
    pub fn output(&self, i: usize) -> &Output {
        &self.outputs[i].output
    }

    /// Takes the rows of an output out.
    ///
    /// # Errors
    /// As [`Output::finish`].
    pub fn finish(&mut self, i: usize) -> Result<Option<ChangeBatch>, Error> {
        self.outputs[i].output.finish()
    }

    /// What a user should hear of, since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// What the catalog says of a table.
    pub fn add_catalog(&mut self, database: String, table: String, columns: Vec<CatalogColumn>) {
        self.schemas.add_catalog((database, table), columns);
    }

    /// Reads one packet.
    ///
    /// # Errors
    /// Every code of the log; the outputs are of no use then.
    pub fn packet(&mut self, packet: &[u8]) -> Result<Outcome, Error> {
        let frame = self.framer.frame(packet)?;
        let Event::Payload(payload) = &frame.event else {
            if let Some(needed) = self.needs(&frame)? {
                return Ok(needed);
            }
            self.framer.advance(&frame);
            let behind = self.framer.position().clone();
            self.event(&frame, &behind)?;
            return Ok(Outcome::Done);
        };
        let damaged =
            |fault: &Fault| error::damaged_event(self.framer.place(), kind::TRANSACTION_PAYLOAD, &fault.to_string());
        let inner = compress::payload(payload).map_err(|fault| damaged(&fault))?;
        // All tables first, so that the packet can be passed again from its beginning.
        let mut c = Cursor(&inner);
        let at = self.framer.position().clone();
        while !c.is_empty() {
            let frame = self.framer.frame_inner(&mut c)?;
            if let Some(needed) = self.needs(&frame)? {
                return Ok(needed);
            }
            // So that the keys of its rows can be looked at.
            if let Event::TableMap(body) = &frame.event {
                self.table_map(body, &at)?;
            }
        }
        let framer = self.framer.clone();
        self.framer.advance(&frame);
        let behind = self.framer.position().clone();
        let mut c = Cursor(&inner);
        while !c.is_empty() {
            let frame = framer.frame_inner(&mut c)?;
            self.event(&frame, &behind)?;
        }
        Ok(Outcome::Done)
    }

    /// Whether a table map needs the catalog. Notes tables nobody reads, of which no more than the name is looked at.
    fn needs(&mut self, frame: &Frame<'_>) -> Result<Option<Outcome>, Error> {
        if let Event::Rows(rows) = &frame.event {
            return self.needs_places(rows);
        }
        let Event::TableMap(body) = &frame.event else { return Ok(None) };
        let place = self.framer.place();
        let damaged = |fault: Fault| error::damaged_event(place, kind::TABLE_MAP, &fault.to_string());
        let head = TableMapHead::read(body, self.framer.format()).map_err(damaged)?;
        match self.tables.get(&head.table_id) {
            Some(None) => return Ok(None),
            Some(Some(table)) if table.body == *body => return Ok(None),
            _ => {}
        }
        let (database, table) = head.names();
        if self.router.route(&database, &table).is_empty() {
            self.tables.insert(head.table_id, None);
            return Ok(None);
        }
        let map = head.columns().map_err(damaged)?;
        Ok(self.schemas.must_ask(&map).then_some(Outcome::NeedsCatalog { database, table }))
    }

    fn event(&mut self, frame: &Frame<'_>, behind: &FilePosition) -> Result<(), Error> {
        match &frame.event {
            Event::TableMap(body) => self.table_map(body, behind)?,
            Event::FormatDescription(_) | Event::Rotate { .. } => self.tables.clear(),
            _ => {}
        }
        let place = Place { file: &behind.file, pos: behind.pos };
        match (self.tracker.observe(frame, behind)?, &frame.event) {
            (Step::HandOut { skip }, Event::Rows(rows)) => {
                self.rows(rows, frame.header.timestamp, skip, behind)?;
                self.tracker.event_done();
            }
            (Step::Skip, _) => self.tracker.event_done(),
            (Step::Hold, Event::Rows(rows)) => {
                if let Some(Some(table)) = self.tables.get(&rows.table_id) {
                    let held = HeldRows::new(table.map.clone(), frame.header.timestamp, rows);
                    self.tracker.hold(held, place)?;
                }
            }
            (Step::Release(held), _) => {
                for held in held {
                    match (self.tracker.skip(), &mut self.kept) {
                        (Some(0), Some(kept)) if self.keeps => kept.push(held),
                        (Some(skip), None) => {
                            let mut feeds = self.feeds(&held.table, place)?;
                            self.decode(&mut feeds, &held.rows(), held.timestamp, skip, behind)?;
                        }
                        _ => {}
                    }
                    self.tracker.event_done();
                }
                self.tracker.released(behind);
            }
            (Step::PreparedBefore(xid), _) => self.notices.push(Notice::PreparedBefore(xid)),
            (Step::Statement(Statement::Truncate | Statement::Definition), Event::Query { text, database }) => {
                self.stated(text, &String::from_utf8_lossy(database), place)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn table_map(&mut self, body: &[u8], behind: &FilePosition) -> Result<(), Error> {
        let place = Place { file: &behind.file, pos: behind.pos };
        let damaged = |fault: Fault| error::damaged_event(place, kind::TABLE_MAP, &fault.to_string());
        let head = TableMapHead::read(body, self.framer.format()).map_err(damaged)?;
        // Every transaction has its table maps again; most say the same.
        match self.tables.get(&head.table_id) {
            Some(None) => return Ok(()),
            Some(Some(table)) if table.body == body => return Ok(()),
            _ => {}
        }
        let mut map = head.columns().map_err(damaged)?;
        self.schemas.complete(&mut map, place)?;
        let map = Arc::new(map);
        let table = if self.kept.is_some() {
            let is_routed = !self.router.route(&map.database, &map.table).is_empty();
            is_routed.then(|| Table { body: body.to_vec(), map: map.clone(), feeds: Vec::new() })
        } else {
            for change in self.schemas.changed(&map) {
                self.changed((map.database.clone(), map.table.clone()), change, place)?;
            }
            let feeds = self.feeds(&map, place)?;
            (!feeds.is_empty()).then(|| Table { body: body.to_vec(), map: map.clone(), feeds })
        };
        self.tables.insert(map.table_id, table);
        Ok(())
    }

    /// A statement that may change captured tables.
    fn stated(&mut self, text: &[u8], database: &str, place: Place<'_>) -> Result<(), Error> {
        let router = &mut self.router;
        let stated = self.schemas.stated(text, database, |(d, t)| !router.route(d, t).is_empty());
        // The rows behind it have their table maps again.
        self.tables.clear();
        // Who keeps rows decides nothing.
        if self.kept.is_none() {
            for (name, change) in stated {
                self.changed(name, change, place)?;
            }
        }
        Ok(())
    }

    /// A captured table was changed.
    fn changed(&mut self, name: TableName, change: Change, place: Place<'_>) -> Result<(), Error> {
        let outputs = self.router.route(&name.0, &name.1);
        let declared = outputs.into_iter().map(|i| (i, self.outputs[i].wanted.as_slice()));
        if self.schemas.allow(&name, &change, declared, place)? {
            let (table, at) = (format!("{}.{}", name.0, name.1), FilePosition::new(place.file, place.pos));
            self.notices.push(Notice::Changed { table, change, at });
        }
        Ok(())
    }
}

impl Kept {
    fn push(&mut self, rows: HeldRows) {
        self.bytes += rows.bytes();
        self.rows.push(rows);
    }
}
