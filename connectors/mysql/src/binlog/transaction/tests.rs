use std::borrow::Cow;

use dflow_common::Classified;

use super::*;
use crate::binlog::frame::Header;
use crate::binlog::gtid::{GtidSet, Uuid};

fn frame(event: Event<'_>) -> Frame<'_> {
    Frame { header: Header { timestamp: 0, kind: 0, server_id: 1, size: 0, end: 0, flags: 0 }, event }
}

fn query(text: &'static str) -> Frame<'static> {
    frame(Event::Query { database: b"", text: Cow::Borrowed(text.as_bytes()) })
}

fn gtid(number: u64) -> Frame<'static> {
    frame(Event::Gtid(Gtid { server: Uuid([7; 16]), tag: String::new(), number }))
}

fn rows() -> Frame<'static> {
    frame(Event::Rows(Rows {
        kind: RowsKind::Write,
        table_id: 1,
        ends_statement: true,
        columns: 1,
        present: &[1],
        present_after: &[1],
        images: &[0; 100],
        compressed: false,
    }))
}

fn prepare(xid: &str) -> Frame<'static> {
    frame(Event::XaPrepare { xid: xid.into(), one_phase: false })
}

/// A tracker, and where the next event ends.
struct Log {
    tracker: Tracker,
    pos: u64,
}

impl Log {
    fn new(held_bytes_max: usize) -> Self {
        let start =
            Position::new("s", Point { at: FilePosition::new("b.1", 4), seen: Some(Seen::Mysql(GtidSet::default())) });
        Self { tracker: Tracker::with_limit(start, held_bytes_max), pos: 4 }
    }

    fn read(&mut self, frame: &Frame<'_>) -> Result<Step, Error> {
        self.pos += 10;
        self.tracker.observe(frame, &FilePosition::new("b.1", self.pos))
    }

    fn hold(&mut self) -> Result<(), Error> {
        let table = TableMap {
            table_id: 1,
            database: String::new(),
            table: String::new(),
            columns: Vec::new(),
            primary_key: Vec::new(),
        };
        let Event::Rows(rows) = rows().event else { unreachable!() };
        self.tracker.hold(HeldRows::new(Arc::new(table), 0, &rows), Place { file: "b.1", pos: self.pos })
    }
}

#[test]
fn position_moves_behind_transactions_and_counts_inside_them() {
    let mut log = Log::new(1_000);
    log.read(&gtid(1)).unwrap();
    log.read(&query("BEGIN")).unwrap();
    assert!(matches!(log.read(&rows()).unwrap(), Step::HandOut { skip: 0 }));
    log.tracker.event_done();
    let inside = log.tracker.position();
    assert_eq!((inside.point.at.pos, inside.inside), (4, Inside { events: 1, rows: 0 }));
    assert!(matches!(log.read(&frame(Event::Xid)).unwrap(), Step::End));
    let behind = log.tracker.position();
    assert_eq!((behind.point.at.pos, behind.inside), (44, Inside::default()));
    // Data definition is a transaction of one statement.
    log.read(&gtid(2)).unwrap();
    assert!(matches!(log.read(&query("CREATE TABLE t (i INT)")).unwrap(), Step::Statement(Statement::Definition)));
    assert_eq!(log.tracker.position().point.at.pos, 64);
    let Some(Seen::Mysql(seen)) = log.tracker.position().point.seen else { panic!("ids were seen") };
    assert!(seen.to_string().ends_with(":1-2"));
}

#[test]
fn restart_in_a_transaction_skips_what_was_handed_out() {
    let mut stored = Log::new(1_000).tracker.position();
    stored.inside = Inside { events: 1, rows: 3 };
    let mut log = Log { tracker: Tracker::new(stored.clone()), pos: 4 };
    assert_eq!(log.tracker.position().point, stored.point);
    log.read(&gtid(1)).unwrap();
    log.read(&query("BEGIN")).unwrap();
    assert!(matches!(log.read(&rows()).unwrap(), Step::Skip));
    log.tracker.event_done();
    assert!(matches!(log.read(&rows()).unwrap(), Step::HandOut { skip: 3 }));
    log.tracker.event_done();
    assert!(matches!(log.read(&rows()).unwrap(), Step::HandOut { skip: 0 }));
}

#[test]
fn break_before_or_amid_what_is_skipped_forgets_nothing() {
    let mut stored = Log::new(1_000).tracker.position();
    stored.inside = Inside { events: 2, rows: 3 };
    stored.inside_of = Some(Gtid { server: Uuid([7; 16]), tag: String::new(), number: 1 }.to_string());
    let mut log = Log { tracker: Tracker::new(stored.clone()), pos: 4 };
    assert_eq!(log.tracker.position(), stored, "nothing was read yet");
    log.read(&gtid(1)).unwrap();
    log.read(&query("BEGIN")).unwrap();
    assert_eq!(log.tracker.position(), stored);
    assert!(matches!(log.read(&rows()).unwrap(), Step::Skip));
    log.tracker.event_done();
    assert_eq!(log.tracker.position(), stored, "one of two events is passed again");
    log.read(&rows()).unwrap();
    log.tracker.event_done();
    assert!(matches!(log.read(&rows()).unwrap(), Step::HandOut { skip: 3 }));
    log.tracker.event_done();
    assert_eq!(log.tracker.position().inside, Inside { events: 3, rows: 0 });
    log.read(&frame(Event::Xid)).unwrap();
    assert_eq!((log.tracker.position().inside, log.tracker.position().inside_of), (Inside::default(), None));
}

#[test]
fn another_transaction_behind_a_place_inside_of_one_is_another_history() {
    let mut stored = Log::new(1_000).tracker.position();
    stored.inside = Inside { events: 1, rows: 0 };
    stored.inside_of = Some(Gtid { server: Uuid([7; 16]), tag: String::new(), number: 1 }.to_string());
    let mut log = Log { tracker: Tracker::new(stored), pos: 4 };
    let error = log.read(&gtid(2)).unwrap_err();
    assert_eq!(error.code(), crate::error::POSITION_LOST.code, "{error}");
}

#[test]
fn reading_starts_before_what_is_still_prepared() {
    let mut log = Log::new(1_000);
    log.read(&gtid(1)).unwrap();
    log.read(&query("XA START X'01',X'',1")).unwrap();
    assert!(matches!(log.read(&rows()).unwrap(), Step::Hold));
    log.hold().unwrap();
    log.read(&prepare("X'01',X'',1")).unwrap();
    let waiting = log.tracker.position();
    assert_eq!((waiting.point.at.pos, waiting.start().at.pos), (44, 4));
    log.read(&gtid(2)).unwrap();
    assert!(matches!(log.read(&query("XA COMMIT X'01',X'',1")).unwrap(), Step::Release(held) if held.len() == 1));
    log.tracker.released(&FilePosition::new("b.1", log.pos));
    let done = log.tracker.position();
    assert_eq!((done.point.at.pos, done.start().at.pos), (64, 64));
    log.read(&gtid(3)).unwrap();
    assert!(
        matches!(log.read(&query("XA COMMIT X'09',X'',1")).unwrap(), Step::PreparedBefore(xid) if xid == "X'09',X'',1")
    );
}

#[test]
fn prepared_rows_are_limited() {
    let size = HeldRows::new(
        Arc::new(TableMap {
            table_id: 1,
            database: String::new(),
            table: String::new(),
            columns: Vec::new(),
            primary_key: Vec::new(),
        }),
        0,
        &match rows().event {
            Event::Rows(rows) => rows,
            _ => unreachable!(),
        },
    )
    .bytes();
    let mut log = Log::new(2 * size);
    log.read(&gtid(1)).unwrap();
    log.read(&query("XA START X'01',X'',1")).unwrap();
    log.hold().unwrap();
    log.hold().unwrap();
    let error = log.hold().unwrap_err();
    assert_eq!(error.code(), error::PREPARED_TOO_LARGE.code);
    assert!(error.to_string().contains("the last for X'01',X'',1"), "{error}");
    // What is rolled back makes room.
    log.read(&prepare("X'01',X'',1")).unwrap();
    log.read(&gtid(2)).unwrap();
    log.read(&query("XA ROLLBACK X'01',X'',1")).unwrap();
    log.read(&gtid(3)).unwrap();
    log.read(&query("XA START X'02',X'',1")).unwrap();
    log.hold().unwrap();
}

#[test]
fn rollback_behind_rows_is_an_error_and_without_rows_is_none() {
    for text in ["ROLLBACK", "ROLLBACK TO `a`"] {
        let mut log = Log::new(1_000);
        log.read(&gtid(1)).unwrap();
        log.read(&query("BEGIN")).unwrap();
        log.read(&rows()).unwrap();
        log.tracker.event_done();
        assert_eq!(log.read(&query(text)).unwrap_err().code(), error::ROLLED_BACK.code);
    }
    let mut log = Log::new(1_000);
    log.read(&gtid(1)).unwrap();
    log.read(&query("BEGIN")).unwrap();
    assert!(matches!(log.read(&query("ROLLBACK")).unwrap(), Step::End));
}

#[test]
fn ids_are_not_counted_from_the_middle_of_a_history() {
    let start = Position::new("s", Point { at: FilePosition::new("b.1", 4), seen: None });
    let mut log = Log { tracker: Tracker::new(start), pos: 4 };
    log.read(&gtid(7)).unwrap();
    log.read(&query("BEGIN")).unwrap();
    log.read(&frame(Event::Xid)).unwrap();
    assert_eq!(log.tracker.position().point, Point { at: FilePosition::new("b.1", 34), seen: None });
}
