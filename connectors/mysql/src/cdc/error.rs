//! What keeps a table from being captured: codes, and the statement that helps.
//!
//! Numbers 2610–2619 are about the script, 6400–6449 about the server.

use dflow_common::{Class, Code, CodeInfo};
use dflow_connector_api::Error;
use dflow_connector_jdbc::quote::Dialect;

use crate::client::error::NO_PRIVILEGE;
use crate::client::{Endpoint, Place, ServerInfo};

/// Codes of change capture.
pub const CODES: &[CodeInfo] = &[
    METADATA_UNKNOWN,
    INSTANT_TO_COME,
    LOG_OFF,
    LOG_FORMAT,
    ROW_IMAGE,
    PARTIAL_JSON,
    NO_REPLICATION,
    NO_TABLE,
    SERVER_ZONE,
    SERVER_ID_TAKEN,
    LOG_KEPT_SHORTLY,
    NO_GTID,
    LOG_WITHOUT_NAMES,
];

/// A metadata column that captured tables do not have.
pub const METADATA_UNKNOWN: CodeInfo = info(2610, "captured tables have no such metadata", Class::Script);
/// `scan.startup.timestamp-millis` is in the future.
pub const INSTANT_TO_COME: CodeInfo = info(2611, "reading cannot begin in the future", Class::Script);
/// `log_bin` is OFF.
pub const LOG_OFF: CodeInfo = info(6400, "the server writes no binary log", Class::Preflight);
/// `binlog_format` is not ROW.
pub const LOG_FORMAT: CodeInfo = info(6401, "the binary log has statements instead of rows", Class::Preflight);
/// `binlog_row_image` is not FULL.
pub const ROW_IMAGE: CodeInfo = info(6402, "the binary log has parts of rows only", Class::Preflight);
/// `binlog_row_value_options` is not empty.
pub const PARTIAL_JSON: CodeInfo = info(6403, "the binary log has parts of JSON documents only", Class::Preflight);
/// The user may not read the log.
pub const NO_REPLICATION: CodeInfo = info(6404, "the user may not read the binary log", Class::Preflight);
/// No table to capture.
pub const NO_TABLE: CodeInfo = info(6405, "no table to capture", Class::Preflight);
/// The server's clock is not that of `server-time-zone`.
pub const SERVER_ZONE: CodeInfo = info(6407, "the server's clock is in another time zone", Class::Preflight);
/// Another replica has the same number.
pub const SERVER_ID_TAKEN: CodeInfo = info(6408, "the server id belongs to somebody else", Class::Preflight);
/// The log is gone before anybody could come back.
pub const LOG_KEPT_SHORTLY: CodeInfo = info(6409, "the server keeps its binary log shortly", Class::Preflight);
/// Transactions without ids.
pub const NO_GTID: CodeInfo = info(6410, "the server's transactions have no global ids", Class::Preflight);
/// `binlog_row_metadata` is not FULL.
pub const LOG_WITHOUT_NAMES: CodeInfo = info(6411, "the binary log does not name columns", Class::Preflight);

const fn info(code: u16, title: &'static str, class: Class) -> CodeInfo {
    CodeInfo { code: Code(code), title, class }
}

/// How a variable is set so that it stays set, as far as the server can do that.
pub(crate) fn set(server: &ServerInfo, assignment: &str) -> String {
    match !server.is_mariadb && server.number() >= (8, 0, 0) {
        true => format!("SET PERSIST {assignment}"),
        false => format!("SET GLOBAL {assignment}"),
    }
}

/// What an administrator must allow, for all tables or for those of a database.
pub(crate) fn grant(what: &str, database: Option<&str>, server: &ServerInfo) -> String {
    let on = database.map_or_else(|| "*".to_owned(), |d| Dialect::MySql.name(d));
    format!("GRANT {what} ON {on}.* TO {}", server.account)
}

/// [`NO_TABLE`]
#[cold]
pub(crate) fn no_table(filter: &str, why: &str) -> Error {
    Error::new(NO_TABLE, format!("no table to capture: {why}")).context("tables", filter)
}

/// [`LOG_OFF`]
#[cold]
pub(crate) fn log_off(at: &str) -> Error {
    Error::new(LOG_OFF, format!("the server at {at} writes no binary log (log_bin is OFF)"))
        .help("start it with --log-bin=binlog --server-id=1, or with these lines under [mysqld] of its configuration")
}

/// [`INSTANT_TO_COME`]
#[cold]
pub(crate) fn instant_to_come(millis: i64) -> Error {
    let message = format!("'scan.startup.timestamp-millis' is {millis}, and the server's clock is not there yet");
    Error::new(INSTANT_TO_COME, message)
        .help("give milliseconds since 1970, not seconds; or 'scan.startup.mode' = 'latest-offset'")
}

/// What a server says to a question about its log.
#[cold]
pub(crate) fn log_statement(endpoint: &Endpoint, server: &ServerInfo, e: &mysql_async::Error) -> Error {
    match e {
        mysql_async::Error::Server(e) if matches!(e.code, 1045 | 1142 | 1227) => {
            no_replication(endpoint, server, &e.message)
        }
        e => Place { endpoint, table: "the binary log" }.error(e),
    }
}

/// [`NO_REPLICATION`]
#[cold]
pub(crate) fn no_replication(endpoint: &Endpoint, server: &ServerInfo, said: &str) -> Error {
    let at = endpoint.shown();
    Error::new(NO_REPLICATION, format!("{at} does not let {} read its binary log: {said}", server.account)).help(
        format!("an administrator can allow it: {}", grant("REPLICATION SLAVE, REPLICATION CLIENT", None, server)),
    )
}

/// [`NO_PRIVILEGE`] to read a table.
#[cold]
pub(crate) fn no_select(endpoint: &Endpoint, server: &ServerInfo, database: &str, said: &str) -> Error {
    let at = endpoint.shown();
    Error::new(NO_PRIVILEGE, format!("{at} does not let {} read a table: {said}", server.account))
        .help(format!("an administrator can allow it: {}", grant("SELECT", Some(database), server)))
}

/// [`SERVER_ID_TAKEN`], for good.
#[cold]
pub(crate) fn server_id_clash(at: &str, server_id: u32, times: u32) -> Error {
    Error::new(SERVER_ID_TAKEN, format!("{at} ended the log {times} times for another reader with server id {server_id}"))
        .note("two jobs, or a job and a replica, have the same number: each ends the other")
        .help("give each job numbers of its own: 'server-id' = '5400-5404' here, and others there; SHOW REPLICAS (SHOW SLAVE HOSTS) lists those in use")
}
