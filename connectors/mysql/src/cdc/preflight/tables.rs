//! What the tables must be like.

use dflow_common::{Classified, Diagnostic, TypeKind};
use dflow_connector_api::{Error, Result};
use dflow_connector_jdbc::quote::Dialect;
use mysql_async::prelude::Queryable;

use super::Captured;
use crate::binlog::rows::From;
use crate::binlog::table_map::column_type as t;
use crate::binlog::zone::Zone;
use crate::cdc::catalog::{self, TableInfo};
use crate::cdc::chunks::column::{ChunkColumn, OPTION};
use crate::cdc::error::{SERVER_ZONE, no_select, no_table};
use crate::cdc::options::{CdcOptions, TableFilter};
use crate::client::{Place, Session};

/// Clocks that differ by less are the same one; servers round.
const ZONE_TOLERANCE_MINUTES: i64 = 30;
const MINUTE: i64 = 60_000_000;

/// All that does not fit.
pub(super) async fn problems(session: &mut Session, captured: &Captured<'_>) -> Vec<Diagnostic> {
    match all(session, captured).await {
        Ok(errors) => errors.iter().map(|e| e.clone().at_default(captured.span).diagnostic()).collect(),
        Err(e) => vec![e.at_default(captured.span).diagnostic()],
    }
}

async fn all(session: &mut Session, captured: &Captured<'_>) -> Result<Vec<Error>> {
    let Captured { options, output, wanted, .. } = captured;
    let tables = catalog::list(session, &options.endpoint, &options.tables).await?;
    if tables.is_empty() {
        return Ok(vec![nothing(session, options).await?]);
    }
    let binary = options.policy.binary_text;
    let mut found = catalog::mismatches(&tables, &output.schema, &output.projection, wanted, binary);
    if options.startup.reads_tables() {
        let keys = tables.iter().filter_map(|table| chunk_key(table, options).err());
        found.extend(keys);
    }
    if let Some(e) = unreadable(session, options, &tables).await? {
        found.push(e);
    }
    if reads_clock(&tables, captured)
        && let Some(e) = other_clock(session, options).await?
    {
        found.push(e);
    }
    Ok(found)
}

/// Why nothing matches.
async fn nothing(session: &mut Session, options: &CdcOptions) -> Result<Error> {
    let CdcOptions { endpoint, tables: filter, .. } = options;
    let place = Place { endpoint, table: "information_schema" };
    let sql = "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE'";
    let all: Vec<(String, String)> = session.conn.query(sql).await.map_err(|e| place.error(&e))?;
    let e = no_table(&filter.to_string(), &format!("no table at {} matches {filter}", endpoint.shown()));
    Ok(match near(filter, &all) {
        Some(near) => e.help(near),
        None => e.help("'database-name' and 'table-name' are regular expressions that whole names must match"),
    }
    .help(format!(
        "a table that {} may not read is not seen; an administrator can allow it: {}",
        session.server.account,
        crate::cdc::error::grant("SELECT", None, &session.server)
    )))
}

/// What was probably meant.
fn near(filter: &TableFilter, all: &[(String, String)]) -> Option<String> {
    if let Some((database, table)) = all.iter().find(|(d, t)| filter.matches_ignoring_case(d, t)) {
        return Some(format!("the case differs: there is `{table}` in database `{database}`"));
    }
    let (database, table) = filter.texts();
    let databases = all.iter().map(|(d, _)| d.as_str());
    if !all.iter().any(|(d, _)| filter.try_database(d).unwrap_or(false)) {
        let near = dflow_common::suggest::nearest(database, databases)?;
        return Some(format!("did you mean 'database-name' = '{near}'?"));
    }
    let tables = all.iter().filter(|(d, _)| filter.try_database(d).unwrap_or(false)).map(|(_, t)| t.as_str());
    let near = dflow_common::suggest::nearest(table, tables)?;
    Some(format!("did you mean 'table-name' = '{near}'?"))
}

/// Whether a table can be cut into chunks.
///
/// # Errors
/// [`crate::error::NO_CHUNK_KEY`] with a column that can be named, or the statement that makes one.
fn chunk_key(table: &TableInfo, options: &CdcOptions) -> Result<()> {
    let Err(e) = ChunkColumn::choose(table, options.snapshot.chunk_key.as_deref()) else { return Ok(()) };
    let other = table.columns.iter().find(|c| ChunkColumn::choose(table, Some(&c.name)).is_ok());
    let help = match other {
        Some(column) => format!("name a column that it has: '{OPTION}' = '{}'", column.name),
        None => format!(
            "give it a key: ALTER TABLE {}.{} ADD COLUMN `id` BIGINT AUTO_INCREMENT PRIMARY KEY",
            Dialect::MySql.name(&table.database),
            Dialect::MySql.name(&table.name)
        ),
    };
    let mut told = e.diagnostic();
    told.help.insert(0, help);
    Err(told.into())
}

/// The first table that may not be read.
async fn unreadable(session: &mut Session, options: &CdcOptions, tables: &[TableInfo]) -> Result<Option<Error>> {
    let endpoint = &options.endpoint;
    for table in tables {
        let (database, name) = (Dialect::MySql.name(&table.database), Dialect::MySql.name(&table.name));
        match session.conn.query_drop(format!("SELECT 1 FROM {database}.{name} LIMIT 0")).await {
            Ok(()) => {}
            Err(mysql_async::Error::Server(e)) if matches!(e.code, 1142 | 1143) => {
                return Ok(Some(no_select(endpoint, &session.server, &table.database, &e.message)));
            }
            Err(e) => return Err(Place { endpoint, table: &table.full_name() }.error(&e)),
        }
    }
    Ok(None)
}

/// Whether some column reads by the server's clock: a TIMESTAMP that is declared as anything but an instant.
fn reads_clock(tables: &[TableInfo], captured: &Captured<'_>) -> bool {
    captured.wanted.iter().any(|wanted| {
        let is_instant = matches!(wanted.ty.kind, TypeKind::TimestampLtz(_));
        let theirs = |table: &TableInfo| table.column(&wanted.name).map(|i| table.columns[i].def.ty);
        wanted.from == From::Column
            && !is_instant
            && tables.iter().any(|table| theirs(table).is_some_and(|ty| matches!(ty, t::TIMESTAMP | t::TIMESTAMP2)))
    })
}

/// The server's clock against the one that was declared.
async fn other_clock(session: &mut Session, options: &CdcOptions) -> Result<Option<Error>> {
    let endpoint = &options.endpoint;
    let place = Place { endpoint, table: "the server's clock" };
    let sql = "SELECT @@GLOBAL.time_zone, CAST(UNIX_TIMESTAMP() AS SIGNED), TIMESTAMPDIFF(MINUTE, UTC_TIMESTAMP(), \
               CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', @@GLOBAL.time_zone))";
    let row: Option<(String, i64, Option<i64>)> = session.conn.query_first(sql).await.map_err(|e| place.error(&e))?;
    let Some((name, now, Some(theirs))) = row else { return Ok(None) };
    let now = now * 1_000_000;
    let declared = (options.policy.zone.local(now) - now) / MINUTE;
    if (declared - theirs).abs() < ZONE_TOLERANCE_MINUTES {
        return Ok(None);
    }
    let offset = |minutes: i64| {
        format!("{}{:02}:{:02}", if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60, minutes.abs() % 60)
    };
    let zone = if name.parse::<Zone>().is_ok() { name } else { offset(theirs) };
    let message = format!(
        "the clock of the server at {} is at {} and 'server-time-zone' at {}: TIMESTAMP columns would read as another time",
        endpoint.shown(),
        offset(theirs),
        offset(declared)
    );
    Ok(Some(
        Error::new(SERVER_ZONE, message)
            .help(format!("write 'server-time-zone' = '{zone}'"))
            .help("or declare the TIMESTAMP columns as TIMESTAMP_LTZ, which are instants wherever the server is"),
    ))
}
