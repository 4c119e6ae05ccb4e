//! What servers say instead of sending the log.
//!
//! | server says | becomes | a new connection helps |
//! |---|---|---|
//! | 1236 the file, or ids before or behind what it has, are not in its log | [`crate::error::POSITION_LOST`] | no |
//! | 1236, 4052 somebody else reads with our server id | [`SERVER_ID_TAKEN`] | maybe: [`super::reader`] counts |
//! | 1236 an event is larger than `max_allowed_packet` | [`crate::error::LOG_PACKET`] | no |
//! | 1236 it cannot read its own log | [`crate::error::LOG_EVENT_DAMAGED`] | no |
//! | 1236 `log_bin` is OFF | [`LOG_OFF`](super::error::LOG_OFF) | no |
//! | 1236 anything else | [`UNREACHABLE`](crate::client::error::UNREACHABLE): it is going down | yes |
//! | 1045, 1142, 1227 | [`NO_REPLICATION`](super::error::NO_REPLICATION) | no |
//!
//! # Source
//! `mysql/mysql-server`, `sql/rpl_binlog_sender.cc`; `MariaDB/server`, `sql/sql_repl.cc`.

use dflow_connector_api::error::Error;

use super::error::{SERVER_ID_TAKEN, log_off, log_statement};
use crate::binlog::position::{Point, Seen};
use crate::client::error::unreachable_server;
use crate::client::{Endpoint, Place, ServerInfo};
use crate::error::{log_packet, log_unreadable, position_lost};

/// The number of all that ends the log.
const LOG_ENDED: u16 = 1236;
/// MariaDB's number of a reader that is there already.
const IS_THERE: u16 = 4052;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Lost,
    Clash,
    Packet,
    Damaged,
    Off,
    Other,
}

/// In lower case, what is said where, the first that is in it.
const SAID: &[(&str, Ended)] = &[
    ("server_uuid/server_id", Ended::Clash),
    ("max_allowed_packet", Ended::Packet),
    ("first log file name", Ended::Lost),
    ("next log", Ended::Lost),
    ("purged", Ended::Lost),
    ("position > file size", Ended::Lost),
    ("impossible position", Ended::Lost),
    ("gtid state", Ended::Lost),
    ("not in the master", Ended::Lost),
    ("more gtids than", Ended::Lost),
    ("binary log is not open", Ended::Off),
    ("crc check", Ended::Damaged),
    ("bogus data", Ended::Damaged),
    ("corrupt", Ended::Damaged),
    ("truncated", Ended::Damaged),
    ("checksum", Ended::Damaged),
];

fn ended(message: &str) -> Ended {
    let message = message.to_lowercase();
    SAID.iter().find(|(text, _)| message.contains(text)).map_or(Ended::Other, |(_, ended)| *ended)
}

/// What a server said to a reader that began at `from`, as an error for users.
pub(super) fn refused(
    endpoint: &Endpoint,
    server: &ServerInfo,
    server_id: u32,
    from: &Point,
    e: &mysql_async::Error,
) -> Error {
    let said = match e {
        mysql_async::Error::Server(e) if e.code == LOG_ENDED || e.code == IS_THERE => e,
        mysql_async::Error::Server(_) => return log_statement(endpoint, server, e),
        e => return Place { endpoint, table: "the binary log" }.error(e),
    };
    let (at, message) = (endpoint.shown(), said.message.as_ref());
    let place = match &from.seen {
        Some(Seen::Mysql(set)) if !set.is_empty() => set.to_string(),
        Some(Seen::Mariadb(position)) if !position.is_empty() => position.to_string(),
        _ => from.at.to_string(),
    };
    match if said.code == IS_THERE { Ended::Clash } else { ended(message) } {
        Ended::Lost => position_lost(&place, message),
        Ended::Clash => Error::new(
            SERVER_ID_TAKEN,
            format!("{at} ended the log for another reader with server id {server_id}: {message}"),
        )
        .help("write a 'server-id' that nobody else uses")
        .retry(),
        Ended::Packet => {
            log_packet(&at, &place, message, &super::error::set(server, "max_allowed_packet = 1073741824"))
        }
        Ended::Damaged => log_unreadable(&at, &place, message),
        Ended::Off => log_off(&at),
        Ended::Other => unreachable_server(&at, &format!("{message} ({})", said.code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As servers write them.
    #[test]
    fn reasons_are_told_apart() {
        for (message, is) in [
            ("Could not find first log file name in binary log index file", Ended::Lost),
            (
                "Cannot replicate because the source purged required binary logs. Replicate the missing transactions",
                Ended::Lost,
            ),
            (
                "The slave is connecting using CHANGE MASTER TO MASTER_AUTO_POSITION = 1, but the master has purged binary logs containing GTIDs that the slave requires.",
                Ended::Lost,
            ),
            ("Client requested source to start replication from position > file size", Ended::Lost),
            ("Client requested master to start replication from impossible position", Ended::Lost),
            ("Slave has more GTIDs than the master has, using the master's SERVER_UUID.", Ended::Lost),
            (
                "Error: connecting slave requested to start from GTID 0-1-9, which is not in the master's binlog",
                Ended::Lost,
            ),
            (
                "Could not find GTID state requested by slave in any binlog files. Probably the slave state is too old and required binlog files have been purged.",
                Ended::Lost,
            ),
            ("could not find next log; the first event 'binlog.000001' at 4", Ended::Lost),
            ("log event entry exceeded max_allowed_packet; Increase max_allowed_packet on source", Ended::Packet),
            ("A replica with the same server_uuid/server_id as this replica has connected to the source", Ended::Clash),
            ("A slave with the same server_uuid/server_id as this slave has connected to the master", Ended::Clash),
            ("bogus data in log event; the first event 'binlog.000001' at 4", Ended::Damaged),
            ("event read from binlog did not pass crc check; the first event", Ended::Damaged),
            ("Binary log is not open", Ended::Off),
            ("Server shutdown in progress", Ended::Other),
        ] {
            assert_eq!(ended(message), is, "{message}");
        }
    }
}
