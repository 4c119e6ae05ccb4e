//! Where reading begins on a real server.
//!
//! | mode | begins |
//! |---|---|
//! | `latest-offset` (and `initial`, `snapshot`) | behind the last transaction |
//! | `earliest-offset` | at the first event that the server still has |
//! | `specific-offset` | behind the given transactions, or at the given place of a file |
//! | `timestamp` | before the first transaction that was logged in that second or later |
//!
//! # The instant
//! Files of the log are in the order of time, and each begins with when it was begun: a binary search finds the file, reading
//! through it the transaction. Every row behind that transaction is read, whatever its own time is: a position that is stored
//! then says all that a restart must know. Transactions have seconds, so up to a second more is read, never less.

use std::cmp::Ordering;
use std::time::Duration;

use dflow_common::Env;
use dflow_connector_api::Result;
use mysql_async::prelude::Queryable;

use super::error;
use super::log::{LogConnection, LogOptions};
use super::logs::{self, LogFile};
use super::options::{CdcOptions, Startup};
use crate::binlog::assembler::{Assembler, Router};
use crate::binlog::event::kind;
use crate::binlog::frame::HEADER_BYTES;
use crate::binlog::position::{FilePosition, Point, Position};
use crate::client::{Place, Session};
use crate::error::position_lost;

/// Where to begin without state.
///
/// # Errors
/// [`crate::error::POSITION_LOST`] when the server does not have the place, or not all changes since the instant;
/// [`error::INSTANT_TO_COME`]; of the connection.
pub async fn begin(env: &Env, session: &mut Session, options: &CdcOptions) -> Result<Position> {
    let endpoint = &options.endpoint;
    match &options.startup {
        Startup::Initial | Startup::Snapshot | Startup::Latest => logs::now(session, endpoint).await,
        Startup::Earliest => {
            let server = logs::identity(session, endpoint).await?;
            let files = logs::files(session, endpoint).await?;
            let first = files.first().ok_or_else(|| error::log_off(&endpoint.shown()))?;
            Ok(Position::new(server, logs::beginning_of(session, endpoint, &first.name).await?))
        }
        Startup::At(start) => {
            let server = logs::identity(session, endpoint).await?;
            let point = Point { at: start.at.clone().unwrap_or_default(), seen: start.seen.clone() };
            logs::check(session, endpoint, &server, &point).await?;
            let mut position = Position::new(server, point);
            position.inside = start.skip;
            Ok(position)
        }
        Startup::Time(millis) => Search { env, session, options }.since(*millis).await,
    }
}

/// Looks for an instant.
struct Search<'a> {
    env: &'a Env,
    session: &'a mut Session,
    options: &'a CdcOptions,
}

impl Search<'_> {
    async fn since(&mut self, millis: i64) -> Result<Position> {
        let (options, endpoint) = (self.options, &self.options.endpoint);
        // Clamped: an event has 32 bits of seconds.
        let second = u32::try_from(millis.div_euclid(1_000)).unwrap_or(if millis < 0 { 0 } else { u32::MAX });
        let place = Place { endpoint, table: "the binary log" };
        let clock: Option<u64> =
            self.session.conn.query_first("SELECT UNIX_TIMESTAMP()").await.map_err(|e| place.error(&e))?;
        if clock.is_some_and(|now| u64::from(second) > now) {
            return Err(error::instant_to_come(millis));
        }
        let end = logs::now(self.session, endpoint).await?;
        let files = logs::files(self.session, endpoint).await?;
        let Some(file) = self.last_begun_before(&files, second).await? else {
            let first = files.first().ok_or_else(|| error::log_off(&endpoint.shown()))?;
            let point = logs::beginning_of(self.session, endpoint, &first.name).await?;
            if is_history(&point) {
                let at = format!("the instant {millis}");
                let why = format!("its log begins later, with {}; what was logged before is gone", first.name);
                return Err(position_lost(&at, &why));
            }
            return Ok(Position::new(end.server, point));
        };
        let point = logs::beginning_of(self.session, endpoint, &file.name).await?;
        let mut log = Assembler::new(Position::new(end.server.clone(), point), Vec::new(), Nobody);
        let from = log.start().clone();
        let mut connection =
            LogConnection::open(self.env, endpoint, &log_options(options, self.env), &from, options.connect_patience)
                .await?;
        while log.position().point.at.compare(&end.point.at) == Some(Ordering::Less) {
            let packet = connection.next(&from).await?;
            if begins_transaction(packet).is_some_and(|at| at >= second) && !log.is_inside() {
                break;
            }
            log.packet(packet)?;
        }
        connection.close().await;
        Ok(log.position())
    }

    /// The last file that was begun before this second; all that is in the files before it is older.
    async fn last_begun_before<'f>(&mut self, files: &'f [LogFile], second: u32) -> Result<Option<&'f LogFile>> {
        let (mut low, mut high) = (0, files.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.begun(&files[middle].name).await? < second {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low.checked_sub(1).and_then(|i| files.get(i)))
    }

    /// When a file was begun, in seconds since 1970.
    async fn begun(&mut self, file: &str) -> Result<u32> {
        let from = Point { at: FilePosition::new(file, FilePosition::FIRST), seen: None };
        let options = log_options(self.options, self.env);
        let patience = self.options.connect_patience;
        let mut connection = LogConnection::open(self.env, &self.options.endpoint, &options, &from, patience).await?;
        loop {
            if let Some((kind::FORMAT_DESCRIPTION, at)) = head(connection.next(&from).await?) {
                connection.close().await;
                return Ok(at);
            }
        }
    }
}

fn log_options(options: &CdcOptions, env: &Env) -> LogOptions {
    LogOptions { server_id: options.server_id(0, env), heartbeat: options.heartbeat.max(Duration::from_secs(1)) }
}

/// Whether transactions were logged before a point, as far as the server knows.
fn is_history(point: &Point) -> bool {
    use crate::binlog::position::Seen;
    match &point.seen {
        Some(Seen::Mysql(set)) => !set.is_empty(),
        Some(Seen::Mariadb(position)) => !position.is_empty(),
        None => point.at.file.rsplit_once('.').and_then(|(_, n)| n.parse::<u64>().ok()).is_some_and(|n| n > 1),
    }
}

/// The kind of an event and its seconds since 1970.
fn head(packet: &[u8]) -> Option<(u8, u32)> {
    let header = packet.get(..HEADER_BYTES)?;
    Some((header[4], u32::from_le_bytes(*header.first_chunk()?)))
}

/// When a transaction was logged, if it begins with this event.
fn begins_transaction(packet: &[u8]) -> Option<u32> {
    let (event, at) = head(packet)?;
    let begins = matches!(
        event,
        kind::GTID
            | kind::GTID_TAGGED
            | kind::ANONYMOUS_GTID
            | kind::MARIA_GTID
            | kind::QUERY
            | kind::MARIA_QUERY_COMPRESSED
    );
    (begins && at > 0).then_some(at)
}

/// No table is read.
struct Nobody;

impl Router for Nobody {
    fn route(&mut self, _database: &str, _table: &str) -> Vec<usize> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_begins_with_an_event_that_has_a_time() {
        let event = |kind: u8, at: u32| {
            let mut packet = at.to_le_bytes().to_vec();
            packet.push(kind);
            packet.resize(HEADER_BYTES, 0);
            packet
        };
        assert_eq!(begins_transaction(&event(kind::GTID, 7)), Some(7));
        assert_eq!(begins_transaction(&event(kind::MARIA_GTID, 7)), Some(7));
        assert_eq!(begins_transaction(&event(kind::GTID, 0)), None, "made up");
        assert_eq!(begins_transaction(&event(kind::WRITE_ROWS, 7)), None);
        assert_eq!(begins_transaction(&[0; 4]), None);
    }

    #[test]
    fn log_without_ids_has_a_history_unless_its_first_file_is_number_one() {
        let point = |file: &str| Point { at: FilePosition::new(file, 4), seen: None };
        assert!(!is_history(&point("binlog.000001")));
        assert!(is_history(&point("binlog.000002")));
    }
}
