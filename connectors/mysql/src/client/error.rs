//! The server's error numbers as codes with a way out.
//!
//! | server says | becomes | restart helps |
//! |---|---|---|
//! | refused, timeout, reset, 1040, 1053, 1152–1161, 1317, 1927, 2006, 2013 | [`UNREACHABLE`] | yes |
//! | 1044, 1045, 1698, 1130, 1251 | [`ACCESS_DENIED`] | no |
//! | 1142, 1143, 1227, 1370 | [`NO_PRIVILEGE`] | no |
//! | 1049, 1146, 1054 | [`NOT_FOUND`] | no |
//! | 1205, 1213, 1020, 3101 | [`LOCKED`] | yes |
//! | 1290, 1792, 1836, 3100 | [`READ_ONLY`] | yes: a fail-over may be under way |
//! | 1048, 1062, 1216, 1217, 1264, 1265, 1292, 1300, 1364, 1366, 1406, 1451, 1452, 1690, 3140, 3819, 3854, 3988, 4025 | [`VALUE_REFUSED`] | no |
//! | anything else | [`REFUSED`] | no |

use dflow_common::{Class, Code, CodeInfo};
use dflow_connector_api::Error;
use mysql_async::{DriverError, IoError, ServerError};

use super::endpoint::Endpoint;

/// Codes of connections, scans and sinks.
pub const CODES: &[CodeInfo] = &[
    UNREACHABLE,
    REFUSED,
    UNREADABLE_VALUE,
    ACCESS_DENIED,
    NO_PRIVILEGE,
    NOT_FOUND,
    TLS_FAILED,
    NO_UNIQUE_KEY,
    MARKER_TABLE,
    NOT_TRANSACTIONAL,
    LOCKED,
    VALUE_REFUSED,
    READ_ONLY,
    UNWRITABLE_VALUE,
];

/// Cannot be connected to, or the connection broke.
pub const UNREACHABLE: CodeInfo = info(5450, "a MySQL server cannot be reached", Class::Unavailable);
/// An error of the server that is none of the others.
pub const REFUSED: CodeInfo = info(5451, "a MySQL server refused a statement", Class::Preflight);
/// A value that the declared column cannot hold.
pub const UNREADABLE_VALUE: CodeInfo = info(5452, "a value does not fit the declared column", Class::Data);
/// Login.
pub const ACCESS_DENIED: CodeInfo = info(6450, "a MySQL server denies the login", Class::Preflight);
/// Rights.
pub const NO_PRIVILEGE: CodeInfo = info(6451, "a privilege is missing on a MySQL server", Class::Preflight);
/// Database, table or column.
pub const NOT_FOUND: CodeInfo = info(6452, "a database, table or column does not exist", Class::Schema);
/// TLS.
pub const TLS_FAILED: CodeInfo = info(6453, "no TLS connection to a MySQL server", Class::Preflight);
/// A primary key that the server's table does not have.
pub const NO_UNIQUE_KEY: CodeInfo = info(6455, "the server's table lacks the declared key", Class::Schema);
/// The table of markers is missing and cannot be made.
pub const MARKER_TABLE: CodeInfo = info(6456, "the table of commit markers cannot be made", Class::Preflight);
/// Exactly-once needs transactions.
pub const NOT_TRANSACTIONAL: CodeInfo = info(6457, "the table's engine has no transactions", Class::Preflight);
/// Lock waits and deadlocks.
pub const LOCKED: CodeInfo = info(7450, "rows stayed locked by somebody else", Class::Unavailable);
/// The server does not take a value.
pub const VALUE_REFUSED: CodeInfo = info(7451, "a MySQL server refused a row", Class::Data);
/// A server that takes no writes.
pub const READ_ONLY: CodeInfo = info(7452, "a MySQL server takes no writes", Class::Unavailable);
/// A value the server has no place for.
pub const UNWRITABLE_VALUE: CodeInfo = info(7453, "a value cannot be stored as it is", Class::Data);

const fn info(code: u16, title: &'static str, class: Class) -> CodeInfo {
    CodeInfo { code: Code(code), title, class }
}

/// What a statement was about, for messages.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The server.
    pub endpoint: &'a Endpoint,
    /// The table on the server.
    pub table: &'a str,
}

impl Place<'_> {
    /// What the client reports, as an error for users.
    pub fn error(&self, e: &mysql_async::Error) -> Error {
        let e = match e {
            mysql_async::Error::Server(e) => return self.server_error(e),
            e => e,
        };
        let at = self.endpoint.shown();
        match e {
            e if is_tls(e) => tls(&at, &e.to_string()),
            mysql_async::Error::Driver(
                e @ (DriverError::UnknownAuthPlugin { .. }
                | DriverError::MysqlOldPasswordDisabled
                | DriverError::CleartextPluginDisabled),
            ) => Error::new(ACCESS_DENIED, format!("no login at {at}: {e}"))
                .help("give the user one of mysql_native_password, caching_sha2_password or ed25519"),
            mysql_async::Error::Driver(DriverError::PacketTooLarge) => {
                Error::new(REFUSED, format!("a row of `{}` is larger than the server's max_allowed_packet", self.table))
                    .help("raise it on the server: SET GLOBAL max_allowed_packet = 1073741824")
            }
            // Everything else the client says leaves a broken connection behind.
            e => unreachable_server(&at, &e.to_string()),
        }
    }

    fn server_error(&self, e: &ServerError) -> Error {
        let (at, table) = (self.endpoint.shown(), self.table);
        let user = self.endpoint.user.as_deref().unwrap_or("");
        let said = format!("{} ({})", e.message, e.code);
        match e.code {
            1040 | 1053 | 1152..=1161 | 1317 | 1927 | 2006 | 2013 => unreachable_server(&at, &said),
            1044 | 1045 | 1130 | 1251 | 1698 => Error::new(ACCESS_DENIED, format!("{at} denies the login: {said}"))
                .help("check 'username', 'password' and from which hosts that user may connect"),
            1142 | 1143 | 1227 | 1370 => Error::new(NO_PRIVILEGE, format!("{at} forbids it: {said}")).help(format!(
                "an administrator can allow it: GRANT SELECT, INSERT, UPDATE, DELETE ON {}.* TO {}",
                dflow_connector_jdbc::quote::Dialect::MySql.name(self.endpoint.database.as_deref().unwrap_or("")),
                dflow_connector_jdbc::quote::Dialect::MySql.name(user),
            )),
            1049 | 1054 | 1146 => Error::new(NOT_FOUND, format!("table `{table}` at {at}: {said}"))
                .help("check the database in the URL, 'table-name', and the names of the declared columns"),
            1020 | 1205 | 1213 | 3101 => Error::new(LOCKED, format!("writing `{table}` at {at}: {said}"))
                .help("another program holds the rows: SHOW ENGINE INNODB STATUS names it")
                .retry(),
            1290 | 1792 | 1836 | 3100 => Error::new(READ_ONLY, format!("{at} takes no writes: {said}"))
                .help("write to the primary; after a fail-over dflow goes on by itself")
                .retry(),
            1048 | 1062 | 1216 | 1217 | 1264 | 1265 | 1292 | 1300 | 1364 | 1366 | 1406 | 1451 | 1452 | 1690 | 3140
            | 3819 | 3854 | 3988 | 4025 => {
                Error::new(VALUE_REFUSED, format!("{at} refused a row of `{table}`: {said}"))
                    .help("correct the row in the query, or the table's definition")
            }
            _ => Error::new(REFUSED, format!("{at} refused a statement about `{table}`: {said}"))
                .help("the message is the server's own"),
        }
    }
}

/// Whether TLS is what failed.
pub(crate) fn is_tls(e: &mysql_async::Error) -> bool {
    match e {
        mysql_async::Error::Io(IoError::Tls(_)) => true,
        // How rustls reports a handshake that failed.
        mysql_async::Error::Io(IoError::Io(e)) => e.kind() == std::io::ErrorKind::InvalidData,
        mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) => true,
        _ => false,
    }
}

/// The error of a server that does not answer.
pub(crate) fn unreachable_server(at: &str, why: &str) -> Error {
    Error::new(UNREACHABLE, format!("no connection to {at}: {why}"))
        .help("check that the server runs, and that host, port and firewall let dflow reach it")
        .retry()
}

fn tls(at: &str, why: &str) -> Error {
    Error::new(TLS_FAILED, format!("no TLS connection to {at}: {why}"))
        .help("give the server's CA by the property sslCa, or lower sslMode (DISABLED, PREFERRED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY)")
}
