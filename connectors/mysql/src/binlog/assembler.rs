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

use std::collections::HashMap;
use std::sync::Arc;

use dflow_common::ChangeBatch;

use super::bytes::{Cursor, Fault};
use super::column::sink::Policy;
use super::compress;
use super::event::{DUMMY_TABLE_ID, Event, Rows, kind};
use super::frame::{Frame, Framer};
use super::position::{FilePosition, Point, Position};
use super::rows::{Images, Output, TableDecoder, Wanted};
use super::statement::Statement;
use super::table_map::{CatalogColumn, TableMap, TableMapHead};
use super::transaction::{HeldRows, Step, Tracker};
use crate::error::{self, Error, Place};

/// Says which outputs read a table.
pub trait Router: Send {
    /// Indices of outputs; asked once per table and file.
    fn route(&mut self, database: &str, table: &str) -> Vec<usize>;
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
    /// All rows of a table are gone, and no row event says so: the statement.
    Truncated(String),
    /// `XA COMMIT` of this id, which was prepared before reading began: its rows are not handed out.
    PreparedBefore(String),
}

struct Table {
    /// The table map it was read from.
    body: Vec<u8>,
    map: Arc<TableMap>,
    decoders: Vec<(usize, TableDecoder)>,
}

/// Reads one log.
pub struct Assembler<R> {
    framer: Framer,
    tracker: Tracker,
    start: Point,
    router: R,
    outputs: Vec<Declared>,
    policy: Policy,
    /// `None` for tables nobody reads.
    tables: HashMap<u64, Option<Table>>,
    catalog: HashMap<(String, String), Vec<CatalogColumn>>,
    notices: Vec<Notice>,
}

impl<R: Router> Assembler<R> {
    /// Goes on at a position.
    pub fn new(position: Position, outputs: Vec<Declared>, policy: Policy, router: R) -> Self {
        Self {
            start: position.start().clone(),
            framer: Framer::new(position.start().at.clone()),
            tracker: Tracker::new(position),
            router,
            outputs,
            policy,
            tables: HashMap::new(),
            catalog: HashMap::new(),
            notices: Vec::new(),
        }
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
        self.catalog.insert((database, table), columns);
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
        while !c.is_empty() {
            let frame = self.framer.frame_inner(&mut c)?;
            if let Some(needed) = self.needs(&frame)? {
                return Ok(needed);
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
        if map.is_complete() || self.catalog.contains_key(&(database.clone(), table.clone())) {
            return Ok(None);
        }
        Ok(Some(Outcome::NeedsCatalog { database, table }))
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
                self.rows(rows, frame.header.timestamp, skip, place)?;
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
                    if let Some(skip) = self.tracker.skip() {
                        let decoders = self.decoders(&held.table, place)?;
                        Self::decode(&mut self.outputs, &decoders, &held.rows(), held.timestamp, skip, place)?;
                    }
                    self.tracker.event_done();
                }
                self.tracker.released(behind);
            }
            (Step::PreparedBefore(xid), _) => self.notices.push(Notice::PreparedBefore(xid)),
            (Step::Statement(Statement::Truncate), Event::Query { text, .. }) => {
                self.notices.push(Notice::Truncated(String::from_utf8_lossy(text).into_owned()));
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
        if let Some(catalog) = self.catalog.get(&(map.database.clone(), map.table.clone()))
            && !map.is_complete()
        {
            let table = format!("{}.{}", map.database, map.table);
            map.complete(catalog).map_err(|why| error::table_changed(place, &table, &why))?;
        }
        let map = Arc::new(map);
        let decoders = self.decoders(&map, place)?;
        self.tables.insert(
            map.table_id,
            if decoders.is_empty() { None } else { Some(Table { body: body.to_vec(), map, decoders }) },
        );
        Ok(())
    }

    fn decoders(&mut self, map: &TableMap, place: Place<'_>) -> Result<Vec<(usize, TableDecoder)>, Error> {
        let outputs = self.router.route(&map.database, &map.table);
        let compile = |i: usize| Ok((i, TableDecoder::compile(map, &self.outputs[i].wanted, &self.policy, place)?));
        outputs.into_iter().map(compile).collect()
    }

    fn rows(&mut self, rows: &Rows<'_>, timestamp: u32, skip: u64, place: Place<'_>) -> Result<(), Error> {
        match self.tables.get(&rows.table_id) {
            Some(None) => Ok(()),
            Some(Some(table)) => Self::decode(&mut self.outputs, &table.decoders, rows, timestamp, skip, place),
            None if rows.table_id == DUMMY_TABLE_ID => Ok(()),
            None => {
                let why = format!("table {} was not described before it", rows.table_id);
                Err(error::damaged_event(place, kind::WRITE_ROWS, &why))
            }
        }
    }

    fn decode(
        outputs: &mut [Declared],
        decoders: &[(usize, TableDecoder)],
        rows: &Rows<'_>,
        timestamp: u32,
        skip: u64,
        place: Place<'_>,
    ) -> Result<(), Error> {
        let bytes = Images::bytes(rows, place)?;
        for (i, decoder) in decoders {
            let mut images = Images::new(rows, &bytes, decoder, timestamp, place)?;
            for _ in 0..skip {
                decoder.skip_row(&mut images)?;
            }
            while decoder.row(&mut images, &mut outputs[*i].output)? {}
        }
        Ok(())
    }
}
