//! What can go wrong with MySQL and MariaDB.
//!
//! | range | what |
//! |---|---|
//! | 5400-5449 | the binary log and positions in it |
//! | 5450-5499 | connections, scans and lookups |
//! | 6400-6449 | what the server must allow or have switched on for change capture: [`crate::cdc::error`] |
//! | 6450-6499 | what it must allow otherwise |
//! | 7400-7499 | writing |

use dflow_common::{Class, Code, CodeInfo};
pub use dflow_connector_api::Error;

use crate::binlog::Fault;
use crate::binlog::drift::{Change, SchemaChanges};

/// Codes of this crate.
pub const CODES: &[CodeInfo] = &[
    LOG_EVENT_DAMAGED,
    LOG_EVENT_UNKNOWN,
    VALUE_UNFIT,
    COLUMN_TYPE,
    COLUMN_MISSING,
    ROW_INCOMPLETE,
    PREPARED_TOO_LARGE,
    ROLLED_BACK,
    TABLE_CHANGED,
    POSITION_LOST,
    TOO_MUCH_IN_FLIGHT,
    STATE_UNREADABLE,
    LOG_PACKET,
    TABLE_REDEFINED,
    NO_CHUNK_KEY,
];

/// An event has the wrong length, checksum or content.
pub const LOG_EVENT_DAMAGED: CodeInfo = info(5400, "an event of the binary log is damaged", Class::Data);
/// An event may carry changes and dflow does not know it.
pub const LOG_EVENT_UNKNOWN: CodeInfo = info(5401, "an event of the binary log is unknown", Class::Data);
/// A value is none of the declared type.
pub const VALUE_UNFIT: CodeInfo = info(5402, "a value does not fit its declared type", Class::Data);
/// A column cannot be read as it is declared.
pub const COLUMN_TYPE: CodeInfo = info(5403, "a column cannot be read as it is declared", Class::Schema);
/// A table lacks a column that is declared NOT NULL.
pub const COLUMN_MISSING: CodeInfo = info(5404, "a table has no such column", Class::Schema);
/// A change was logged without all columns.
pub const ROW_INCOMPLETE: CodeInfo = info(5405, "a change was logged without all columns", Class::Preflight);
/// Prepared XA transactions hold too many rows.
pub const PREPARED_TOO_LARGE: CodeInfo = info(5406, "too many rows wait for XA COMMIT", Class::Resources);
/// Rows that were handed out are taken back.
pub const ROLLED_BACK: CodeInfo = info(5407, "a logged transaction was rolled back", Class::Data);
/// The log does not name the columns of a table, and the table is another one now.
pub const TABLE_CHANGED: CodeInfo = info(5408, "a table was changed since its rows were logged", Class::Schema);
/// The server no longer has the position, or never had it.
pub const POSITION_LOST: CodeInfo = info(5409, "the binary log no longer has the position", Class::PositionLost);
/// A captured table was changed, and the script does not allow that.
pub const TABLE_REDEFINED: CodeInfo = info(5411, "a captured table was changed", Class::Schema);
/// An event is larger than what the server sends.
pub const LOG_PACKET: CodeInfo = info(5410, "an event of the binary log is larger than a packet", Class::Preflight);
/// A table cannot be cut into ranges.
pub const NO_CHUNK_KEY: CodeInfo = info(6406, "a table cannot be read in chunks", Class::Preflight);

/// More changes are on their way into the tables than can be kept.
pub const TOO_MUCH_IN_FLIGHT: CodeInfo = info(5420, "too many changes are on their way", Class::Resources);
/// A checkpoint that this build cannot read.
pub const STATE_UNREADABLE: CodeInfo = info(5421, "a checkpoint of change capture does not read", Class::State);

const fn info(code: u16, title: &'static str, class: Class) -> CodeInfo {
    CodeInfo { code: Code(code), title, class }
}

/// A place in the binary log: behind the last event that was read.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The file.
    pub file: &'a str,
    /// The position in it.
    pub pos: u64,
}

/// With the place, and what helps against a log that cannot be read.
#[cold]
fn in_log(info: CodeInfo, place: Place<'_>, message: String) -> Error {
    Error::new(info, message).context("file", place.file).context("position", place.pos.to_string())
}

const START_BEHIND: &str = "nothing behind it was read; go on behind it with 'scan.startup.mode' = 'specific-offset', or start afresh with \
     'initial' and `--restore none`";

/// [`LOG_EVENT_DAMAGED`]
#[cold]
pub(crate) fn damaged_event(place: Place<'_>, kind: u8, why: &str) -> Error {
    let Place { file, pos } = place;
    in_log(
        LOG_EVENT_DAMAGED,
        place,
        format!("the event of kind {kind} after {file}:{pos} of the binary log is damaged: {why}"),
    )
    .help(START_BEHIND)
}

/// [`LOG_EVENT_UNKNOWN`]
#[cold]
pub(crate) fn unknown_event(place: Place<'_>, kind: u8) -> Error {
    let Place { file, pos } = place;
    let what = match kind {
        26 => "an incident: the server lost changes",
        39 => "a partial JSON update (binlog_row_value_options=PARTIAL_JSON)",
        _ => "unknown to dflow, and it may carry changes",
    };
    let help = match kind {
        39 => "SET PERSIST binlog_row_value_options = ''; then start behind the event, or afresh",
        _ => START_BEHIND,
    };
    in_log(LOG_EVENT_UNKNOWN, place, format!("the event of kind {kind} after {file}:{pos} of the binary log is {what}"))
        .help(help)
}

/// [`LOG_EVENT_DAMAGED`] in the rows of a table.
#[cold]
pub(crate) fn damaged_rows(place: Place<'_>, table: &str, column: Option<&str>, fault: &Fault) -> Error {
    let Place { file, pos } = place;
    let column = column.map(|c| format!(", column `{c}`")).unwrap_or_default();
    let message =
        format!("a change of table `{table}`{column} before {file}:{pos} of the binary log is damaged: {fault}");
    in_log(LOG_EVENT_DAMAGED, place, message).help(START_BEHIND)
}

/// [`VALUE_UNFIT`]
#[cold]
pub(crate) fn value_unfit(place: Place<'_>, table: &str, column: &str, what: &str) -> Error {
    in_log(VALUE_UNFIT, place, format!("column `{column}` of table `{table}` is {what}"))
        .help("declare the column with a type that holds the value, or start behind the change")
}

/// [`COLUMN_TYPE`]
#[cold]
pub(crate) fn column_type(column: &str, declared: &str, table: Option<&str>, instead: &str) -> Error {
    let of = table.map(|table| format!(" of table `{table}`")).unwrap_or_default();
    Error::new(COLUMN_TYPE, format!("column `{column}`{of} cannot be read as {declared}"))
        .help(format!("declare it as {instead}"))
}

/// [`COLUMN_MISSING`]
#[cold]
pub(crate) fn column_missing(place: Place<'_>, table: &str, column: &str) -> Error {
    in_log(COLUMN_MISSING, place, format!("table `{table}` has no column `{column}`, which is declared NOT NULL"))
        .help("declare the column without NOT NULL to read NULL where it is missing, or remove it from the script")
}

/// [`ROW_INCOMPLETE`]
#[cold]
pub(crate) fn row_incomplete(place: Place<'_>, table: &str, column: &str) -> Error {
    in_log(ROW_INCOMPLETE, place, format!("a change of table `{table}` was logged without column `{column}`"))
        .note("some session changes rows with binlog_row_image other than FULL")
        .help("SET PERSIST binlog_row_image = 'FULL' (MariaDB: SET GLOBAL), and in no session otherwise; then start afresh")
}

/// [`PREPARED_TOO_LARGE`]
#[cold]
pub(crate) fn prepared_too_large(place: Place<'_>, xid: &str, limit: usize) -> Error {
    in_log(PREPARED_TOO_LARGE, place, format!("more than {limit} bytes of rows wait for XA COMMIT, the last for {xid}"))
        .help("commit or roll back what `XA RECOVER` shows; a restart goes on from the last checkpoint")
        .retry()
}

/// [`ROLLED_BACK`]
#[cold]
pub(crate) fn rolled_back(place: Place<'_>) -> Error {
    let Place { file, pos } = place;
    in_log(ROLLED_BACK, place, format!("the transaction before {file}:{pos} of the binary log ends with a rollback"))
        .note("the server logs this when a transaction also changed tables of an engine without transactions")
        .help("use InnoDB for the tables of one transaction; start afresh, or behind the transaction")
}

/// [`TABLE_CHANGED`]
#[cold]
pub(crate) fn table_changed(place: Place<'_>, table: &str, why: &str) -> Error {
    in_log(TABLE_CHANGED, place, format!("the rows of table `{table}` cannot be told apart: {why}"))
        .note("the log has no column names, so they are those of the table as it is now")
        .help("SET PERSIST binlog_row_metadata = 'FULL' (MariaDB: SET GLOBAL), then start afresh or behind the change")
}

/// [`POSITION_LOST`]
#[cold]
pub(crate) fn position_lost(at: &str, said: &str) -> Error {
    Error::new(POSITION_LOST, format!("the server cannot go on from {at}: {said}"))
        .note("the log was purged before it was read, or this is another server or another history")
        .help("read the tables afresh: 'scan.startup.mode' = 'initial' and `--restore none`")
        .help("or lose the changes in between: 'scan.startup.mode' = 'earliest-offset' and `--restore none`")
        .help("or bring the log files back, or connect to a replica that still has them")
}

/// [`TOO_MUCH_IN_FLIGHT`]
#[cold]
pub(crate) fn too_much_in_flight(limit: usize) -> Error {
    Error::new(
        TOO_MUCH_IN_FLIGHT,
        format!("more than {limit} bytes of changes were in the log and not yet in the tables"),
    )
    .note("they must be kept while a table is read; without GTIDs these are all changes of a second or more")
    .help("SET PERSIST gtid_mode = ON (over ON_PERMISSIVE), or start while less is written")
    .retry()
}

/// [`STATE_UNREADABLE`]
#[cold]
pub(crate) fn state_unreadable(why: &str) -> Error {
    Error::new(STATE_UNREADABLE, format!("the checkpoint of mysql-cdc does not read: {why}"))
        .help("run the version of dflow that wrote it, or start afresh with `--restore none`")
}

/// A table that was there before.
#[cold]
pub(crate) fn table_gone(table: &str) -> Error {
    Error::new(crate::client::error::NOT_FOUND, format!("table `{table}` is gone"))
        .help("it was dropped or renamed while it was read; a restart looks for tables anew")
        .retry()
}

/// [`NO_CHUNK_KEY`]
#[cold]
pub(crate) fn no_chunk_key(table: &str, why: &str) -> Error {
    Error::new(NO_CHUNK_KEY, format!("table `{table}` cannot be read in chunks: {why}"))
        .note("'scan.incremental.snapshot.chunk.key-column' names the column of whose ranges the chunks are")
}

/// [`LOG_PACKET`]; `set` is the statement that allows larger ones.
#[cold]
pub(crate) fn log_packet(at: &str, place: &str, said: &str, set: &str) -> Error {
    Error::new(LOG_PACKET, format!("{at} cannot send an event behind {place}: {said}"))
        .note("the event is larger than max_allowed_packet of the server, or the position is not where an event begins")
        .help(format!("allow larger ones: {set}"))
        .help("if 'scan.startup.specific-offset.pos' was written by hand: give one that SHOW BINLOG EVENTS lists")
}

/// [`LOG_EVENT_DAMAGED`] on the server's own disk.
#[cold]
pub(crate) fn log_unreadable(at: &str, place: &str, said: &str) -> Error {
    Error::new(LOG_EVENT_DAMAGED, format!("{at} cannot read its own log behind {place}: {said}"))
        .help(START_BEHIND)
        .help("if 'scan.startup.specific-offset.pos' was written by hand: give one that SHOW BINLOG EVENTS lists")
}

/// [`TABLE_REDEFINED`]
#[cold]
pub(crate) fn table_redefined(place: Place<'_>, table: &str, change: &Change, behavior: SchemaChanges) -> Error {
    let behavior = behavior.name();
    in_log(TABLE_REDEFINED, place, format!("captured table `{table}` was changed: {change}"))
        .note(format!("'schema.change.behavior' is '{behavior}'; nothing behind the change was read"))
        .help("to go on behind it: 'schema.change.behavior' = 'lenient'; what is gone reads as NULL, and removed rows stay")
        .help("to read the table as it is now: correct the declared columns, and `--restore none`")
}
