//! What a server says of its log: which files it has, where it ends, which transactions are gone.

use std::cmp::Ordering;

use dflow_connector_api::Result;
use mysql_async::Row;
use mysql_async::prelude::Queryable;

use super::error;
use crate::binlog::gtid::{GtidSet, MariaPosition};
use crate::binlog::position::{FilePosition, Point, Position, Seen};
use crate::client::{Endpoint, Place, Session};
use crate::error::position_lost;

/// From which version on `SHOW MASTER STATUS` has its new name; 8.4 has no other.
const BINARY_LOG_STATUS: (u32, u32, u32) = (8, 2, 0);

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub size: u64,
}

/// On which server file and offset mean something: [`Position::server`].
///
/// # Errors
/// Of the connection.
pub async fn identity(session: &mut Session, endpoint: &Endpoint) -> Result<String> {
    if let Some(uuid) = &session.server.uuid {
        return Ok(uuid.clone());
    }
    let place = Place { endpoint, table: "the binary log" };
    let id: Option<u64> = session.conn.query_first("SELECT @@GLOBAL.server_id").await.map_err(|e| place.error(&e))?;
    Ok(id.unwrap_or_default().to_string())
}

/// The files of the log, the oldest first.
///
/// # Errors
/// Of the connection; [`error::LOG_OFF`] without a log.
pub async fn files(session: &mut Session, endpoint: &Endpoint) -> Result<Vec<LogFile>> {
    let rows: mysql_async::Result<Vec<Row>> = session.conn.query("SHOW BINARY LOGS").await;
    let rows = match rows {
        Ok(rows) => rows,
        // "You are not using binary logging"
        Err(mysql_async::Error::Server(e)) if e.code == 1381 => return Err(error::log_off(&endpoint.shown())),
        Err(e) => return Err(error::log_statement(endpoint, &session.server, &e)),
    };
    let file = |row: Row| Some(LogFile { name: row.get(0)?, size: row.get(1)? });
    Ok(rows.into_iter().filter_map(file).collect())
}

/// Behind the last transaction.
///
/// With transaction ids, these are of transactions that everybody sees; file and offset may be ahead of them.
///
/// # Errors
/// Of the connection; [`error::LOG_OFF`] without a log.
pub async fn now(session: &mut Session, endpoint: &Endpoint) -> Result<Position> {
    let server = identity(session, endpoint).await?;
    // Before the place: ids may be behind it, never ahead.
    let executed = mysql_ids(session, endpoint, "gtid_executed").await?;
    let is_new = !session.server.is_mariadb && session.server.number() >= BINARY_LOG_STATUS;
    let show = if is_new { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let row: Option<Row> =
        session.conn.query_first(show).await.map_err(|e| error::log_statement(endpoint, &session.server, &e))?;
    let at = row.and_then(|row| Some(FilePosition::new(row.get::<String, _>(0)?, row.get(1)?)));
    let at = at.ok_or_else(|| error::log_off(&endpoint.shown()))?;
    let seen = match executed {
        Some(set) => Some(Seen::Mysql(set)),
        None => mariadb_ids(session, endpoint, &at).await?.map(Seen::Mariadb),
    };
    Ok(Position::new(server, Point { at, seen }))
}

/// Before the first transaction of a file.
///
/// # Errors
/// Of the connection.
pub async fn beginning_of(session: &mut Session, endpoint: &Endpoint, file: &str) -> Result<Point> {
    let at = FilePosition::new(file, FilePosition::FIRST);
    let seen = if session.server.is_mariadb {
        mariadb_ids(session, endpoint, &at).await?.map(Seen::Mariadb)
    } else if session.server.has_gtid {
        // The name comes from the server; a statement takes it as text only.
        let name = file.replace('\\', "\\\\").replace('\'', "''");
        let sql = format!("SHOW BINLOG EVENTS IN '{name}' LIMIT 2");
        let events: Vec<Row> =
            session.conn.query(sql).await.map_err(|e| error::log_statement(endpoint, &session.server, &e))?;
        let info = events.iter().find(|row| row.get::<String, _>(2).is_some_and(|kind| kind == "Previous_gtids"));
        info.and_then(|row| row.get::<String, _>(5)).and_then(|set| set.parse().ok()).map(Seen::Mysql)
    } else {
        None
    };
    Ok(Point { at, seen })
}

/// Fails when the log cannot be read on from a point of the server with this name.
///
/// # Errors
/// [`crate::error::POSITION_LOST`]; of the connection.
pub async fn check(session: &mut Session, endpoint: &Endpoint, server: &str, point: &Point) -> Result<()> {
    let lost = |at: &str, why: String| Err(position_lost(at, &why));
    match &point.seen {
        Some(Seen::Mysql(seen)) if !seen.is_empty() => {
            let at = seen.to_string();
            let Some(executed) = mysql_ids(session, endpoint, "gtid_executed").await? else {
                return lost(&at, "it has no transaction ids of MySQL (gtid_mode is not ON)".into());
            };
            let purged = mysql_ids(session, endpoint, "gtid_purged").await?.unwrap_or_default();
            let (gone, foreign) = (purged.subtract(seen), seen.subtract(&executed));
            match (gone.is_empty(), foreign.is_empty()) {
                (true, true) => Ok(()),
                (false, _) => lost(&at, format!("it has purged {gone}")),
                (_, false) => lost(&at, format!("it never had {foreign}: it is another server, or has lost them")),
            }
        }
        Some(Seen::Mariadb(seen)) if !seen.is_empty() => {
            let at = seen.to_string();
            if !session.server.is_mariadb {
                return lost(&at, "it is no MariaDB".into());
            }
            let all = files(session, endpoint).await?;
            let first = all.first().map(|f| f.name.clone()).unwrap_or_default();
            let oldest = mariadb_ids(session, endpoint, &FilePosition::new(first, FilePosition::FIRST)).await?;
            let Position { point: Point { seen: newest, .. }, .. } = now(session, endpoint).await?;
            if let Some(oldest) = oldest.filter(|o| !matches!(o.compare(seen), Some(Ordering::Less | Ordering::Equal)))
            {
                return lost(&at, format!("its log begins behind {oldest}"));
            }
            match newest {
                Some(Seen::Mariadb(newest)) if matches!(seen.compare(&newest), Some(Ordering::Greater) | None) => {
                    lost(&at, format!("its log ends at {newest}: it is another server, or has lost them"))
                }
                _ => Ok(()),
            }
        }
        _ => {
            let at = point.at.to_string();
            let here = identity(session, endpoint).await?;
            if here != server {
                return lost(&at, format!("that is a place in the log of server {server}, and this is server {here}"));
            }
            let all = files(session, endpoint).await?;
            match all.iter().find(|f| f.name == point.at.file) {
                None => {
                    let first = all.first().map_or("", |f| f.name.as_str());
                    lost(&at, format!("its log begins with {first} and has no such file"))
                }
                Some(file) if point.at.pos > file.size => lost(&at, format!("that file ends at {}", file.size)),
                Some(_) => Ok(()),
            }
        }
    }
}

/// A variable with transaction ids; `None` on a server without them.
async fn mysql_ids(session: &mut Session, endpoint: &Endpoint, variable: &str) -> Result<Option<GtidSet>> {
    if session.server.is_mariadb || !session.server.has_gtid {
        return Ok(None);
    }
    let place = Place { endpoint, table: "the binary log" };
    let sql = format!("SELECT @@GLOBAL.{variable}");
    let text: Option<String> = session.conn.query_first(sql).await.map_err(|e| place.error(&e))?;
    Ok(text.and_then(|t| t.parse().ok()))
}

/// The transactions before a place; `None` on MySQL.
async fn mariadb_ids(session: &mut Session, endpoint: &Endpoint, at: &FilePosition) -> Result<Option<MariaPosition>> {
    if !session.server.is_mariadb {
        return Ok(None);
    }
    let place = Place { endpoint, table: "the binary log" };
    let row: Option<Option<String>> = session
        .conn
        .exec_first("SELECT BINLOG_GTID_POS(?, ?)", (&at.file, at.pos))
        .await
        .map_err(|e| place.error(&e))?;
    Ok(row.flatten().and_then(|t| t.parse().ok()))
}
