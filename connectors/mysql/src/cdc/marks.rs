//! Where the log ends, and what of it a query is sure to see.
//!
//! A server writes a transaction to the log first, and makes its rows visible later: the end of the log is ahead of what a
//! query sees, by some transactions under load. So a position before a query is taken from what is *visible*, and one behind
//! it from what is *written*:
//!
//! | | before the query: all of it is visible | behind the query: nothing further is visible |
//! |---|---|---|
//! | MySQL with GTIDs | `@@gtid_executed`, which grows after rows are visible | end of the log |
//! | MariaDB | `binlog_snapshot_file`, `…_position` of a consistent snapshot: exact | the same |
//! | MySQL without GTIDs | end of the log, [`SETTLE_MIN`] earlier | end of the log |
//!
//! The last row is a convention, not a proof: a group commit that takes longer loses changes. It is warned of.

use std::time::Duration;

use dflow_connector_api::Result;
use mysql_async::Row;
use mysql_async::prelude::Queryable;

use super::error::{log_off, log_statement};
use super::logs;
use crate::binlog::gtid::{GtidSet, MariaPosition};
use crate::binlog::position::{FilePosition, Point, Seen};
use crate::client::{Endpoint, Place, Session};
use crate::error;

/// How long a transaction without a GTID may be in the log before its rows are visible.
pub const SETTLE_MIN: Duration = Duration::from_secs(1);

const ABOUT: &str = "the binary log";

/// The end of the log.
///
/// # Errors
/// Of the connection; [`LOG_OFF`](crate::cdc::error::LOG_OFF) when the server writes none.
pub async fn log_end(session: &mut Session, endpoint: &Endpoint) -> Result<FilePosition> {
    let renamed = !session.server.is_mariadb && session.server.number() >= (8, 2, 0);
    let sql = if renamed { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let row: mysql_async::Result<Option<Row>> = session.conn.query_first(sql).await;
    let row = row.map_err(|e| log_statement(endpoint, &session.server, &e))?;
    let end = row.and_then(|row| Some(FilePosition::new(row.get::<String, _>(0)?, row.get(1)?)));
    end.ok_or_else(|| log_off(&endpoint.shown()))
}

/// The transactions whose rows are visible, on MySQL with GTIDs.
///
/// # Errors
/// Of the connection.
pub async fn visible(session: &mut Session, endpoint: &Endpoint) -> Result<GtidSet> {
    let place = Place { endpoint, table: ABOUT };
    let text: Option<String> =
        session.conn.query_first("SELECT @@GLOBAL.gtid_executed").await.map_err(|e| place.error(&e))?;
    let text = text.unwrap_or_default();
    text.parse().map_err(|e| error::position_lost(&text, &format!("{e}")))
}

/// Opens a consistent snapshot on MariaDB: where exactly in the log it is.
///
/// # Errors
/// Of the connection; [`LOG_OFF`](crate::cdc::error::LOG_OFF) when there is no log.
pub async fn mariadb_snapshot(session: &mut Session, endpoint: &Endpoint) -> Result<Point> {
    let place = Place { endpoint, table: ABOUT };
    let start = "START TRANSACTION WITH CONSISTENT SNAPSHOT";
    session.conn.query_drop(start).await.map_err(|e| place.error(&e))?;
    let status = "SHOW STATUS LIKE 'binlog\\_snapshot\\_%'";
    let rows: Vec<(String, String)> = session.conn.query(status).await.map_err(|e| place.error(&e))?;
    let value = |name: &str| {
        rows.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    };
    let at = value("binlog_snapshot_file")
        .zip(value("binlog_snapshot_position").and_then(|pos| pos.parse().ok()))
        .map(|(file, pos)| FilePosition::new(file, pos))
        .ok_or_else(|| log_off(&endpoint.shown()))?;
    let ids: Option<Option<String>> = session
        .conn
        .exec_first("SELECT BINLOG_GTID_POS(?, ?)", (&at.file, at.pos))
        .await
        .map_err(|e| place.error(&e))?;
    let seen = ids.flatten().and_then(|text| text.parse::<MariaPosition>().ok()).filter(|p| !p.is_empty());
    Ok(Point { at, seen: seen.map(Seen::Mariadb) })
}

/// Where a log can be read from without losing a change that a query made now does not see.
///
/// # Errors
/// As its parts.
pub async fn safe_start(session: &mut Session, endpoint: &Endpoint) -> Result<Point> {
    if session.server.is_mariadb {
        let point = mariadb_snapshot(session, endpoint).await?;
        let place = Place { endpoint, table: ABOUT };
        session.conn.query_drop("ROLLBACK").await.map_err(|e| place.error(&e))?;
        return Ok(point);
    }
    if !session.server.has_gtid {
        return Ok(Point { at: log_end(session, endpoint).await?, seen: None });
    }
    let seen = visible(session, endpoint).await?;
    if seen.is_empty() {
        let files = logs::files(session, endpoint).await?;
        let first = files.first().ok_or_else(|| log_off(&endpoint.shown()))?;
        let at = FilePosition::new(&first.name, FilePosition::FIRST);
        return Ok(Point { at, seen: Some(Seen::Mysql(seen)) });
    }
    // No place in a file: transactions that were logged before the log's present end may be missing in the set.
    Ok(Point { at: FilePosition::default(), seen: Some(Seen::Mysql(seen)) })
}

/// How long a transaction without GTID is given to become visible: longer when it waits for replicas.
///
/// # Errors
/// Of the connection.
pub async fn settle_time(session: &mut Session, endpoint: &Endpoint) -> Result<Duration> {
    let place = Place { endpoint, table: ABOUT };
    let sql = "SHOW GLOBAL VARIABLES LIKE 'rpl\\_semi\\_sync\\_%'";
    let rows: Vec<(String, String)> = session.conn.query(sql).await.map_err(|e| place.error(&e))?;
    let waits = rows.iter().any(|(name, value)| is_source(name, "_enabled") && value.eq_ignore_ascii_case("ON"));
    let timeout = rows.iter().find(|(name, _)| is_source(name, "_timeout")).and_then(|(_, v)| v.parse().ok());
    let timeout = timeout.filter(|_| waits).map_or(Duration::ZERO, Duration::from_millis);
    Ok(SETTLE_MIN.max(timeout + SETTLE_MIN))
}

fn is_source(name: &str, suffix: &str) -> bool {
    name.ends_with(suffix) && (name.contains("master") || name.contains("source"))
}
