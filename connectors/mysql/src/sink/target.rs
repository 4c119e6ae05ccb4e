//! What the server's table is like, asked when a session opens.

use dflow_common::Env;
use dflow_connector_api::{Error, Result};
use dflow_connector_jdbc::quote::Dialect;
use mysql_async::prelude::Queryable;

use super::Config;
use super::encode::Keeps;
use crate::client::error::{MARKER_TABLE, NO_UNIQUE_KEY, NOT_TRANSACTIONAL};
use crate::client::{Place, Session, connect};

/// The table of markers, in the database of the sink.
pub(super) const MARKERS: &str = "dflow_commits";

/// How an administrator makes it.
pub(super) const MARKERS_DDL: &str = "CREATE TABLE IF NOT EXISTS `dflow_commits` (\
`token` CHAR(32) CHARACTER SET ascii NOT NULL PRIMARY KEY, \
`owner` CHAR(16) CHARACTER SET ascii NOT NULL, \
`epoch` BIGINT UNSIGNED NOT NULL, \
`chunk` INT UNSIGNED NOT NULL, \
`job` VARCHAR(191) NOT NULL, \
`sink` VARCHAR(191) NOT NULL, \
`at` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
KEY `by_owner` (`owner`, `epoch`)) ENGINE = InnoDB";

/// What each of the sink's columns keeps, in order.
///
/// # Errors
/// When the table or a column does not exist, or may not be read.
pub(super) async fn columns(session: &mut Session, config: &Config) -> mysql_async::Result<Vec<Keeps>> {
    let statement = session.conn.prep(config.statements.select(Some("FALSE"))).await?;
    let keeps = statement.columns().iter().map(Keeps::of).collect();
    session.conn.close(statement).await?;
    Ok(keeps)
}

/// Whether the table is there, has the columns, and what every write relies on; for a preflight.
///
/// # Errors
/// The first problem.
pub(super) async fn ask(env: &Env, config: &Config) -> Result<()> {
    let table = &config.options.table;
    let mut session = connect(env, &config.endpoint, table, config.options.connect_patience).await?;
    let place = Place { endpoint: &config.endpoint, table };
    columns(&mut session, config).await.map_err(|e| place.error(&e))?;
    check(&mut session, config).await
}

/// Checks once what every write relies on.
///
/// # Errors
/// When an upsert would not find its row, or a transaction is none.
pub(super) async fn check(session: &mut Session, config: &Config) -> Result<()> {
    let place = Place { endpoint: &config.endpoint, table: &config.options.table };
    let ask = |e: mysql_async::Error| place.error(&e);
    let sql = "SELECT TABLE_TYPE, (SELECT TRANSACTIONS FROM information_schema.ENGINES E WHERE E.ENGINE = T.ENGINE) \
               FROM information_schema.TABLES T WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?";
    let row: Option<(String, Option<String>)> =
        session.conn.exec_first(sql, (&config.options.table,)).await.map_err(ask)?;
    // Indexes of a view are those of tables we do not know.
    let Some((kind, transactions)) = row.filter(|(kind, _)| kind != "VIEW") else { return Ok(()) };
    let table = Dialect::MySql.name(&config.options.table);
    if config.options.is_exactly_once && kind == "BASE TABLE" && transactions.as_deref() != Some("YES") {
        return Err(Error::new(
            NOT_TRANSACTIONAL,
            format!("exactly-once needs transactions, which {table} does not have"),
        )
        .at(config.span, "")
        .help(format!("change its engine: ALTER TABLE {table} ENGINE = InnoDB")));
    }
    let key: Vec<&str> = config.key().collect();
    if key.is_empty() {
        return Ok(());
    }
    let sql = "SELECT INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() \
               AND TABLE_NAME = ? AND NON_UNIQUE = 0 AND SUB_PART IS NULL AND COLUMN_NAME IS NOT NULL ORDER BY INDEX_NAME, SEQ_IN_INDEX";
    let rows: Vec<(String, String)> = session.conn.exec(sql, (&config.options.table,)).await.map_err(ask)?;
    let is_key = rows.chunk_by(|a, b| a.0 == b.0).any(|index| {
        index.len() == key.len() && key.iter().all(|k| index.iter().any(|(_, c)| c.eq_ignore_ascii_case(k)))
    });
    if is_key {
        return Ok(());
    }
    let mut names = String::new();
    Dialect::MySql.push_names(&mut names, key.iter().copied());
    Err(Error::new(
        NO_UNIQUE_KEY,
        format!("{table} has no unique index on exactly ({names}): rows would be doubled, not replaced"),
    )
    .at(config.span, "the declared PRIMARY KEY")
    .help(format!("declare the key that the table has, or add it: ALTER TABLE {table} ADD UNIQUE ({names})")))
}

/// Makes the table of markers unless it is there.
///
/// # Errors
/// [`MARKER_TABLE`] with the statement that makes it.
pub(super) async fn make_markers(session: &mut Session, config: &Config) -> Result<()> {
    const TABLE_MISSING: u16 = 1146;
    let look = format!("SELECT `token` FROM {} LIMIT 0", Dialect::MySql.name(MARKERS));
    let place = Place { endpoint: &config.endpoint, table: MARKERS };
    match session.conn.query_drop(look).await {
        Ok(()) => return Ok(()),
        Err(mysql_async::Error::Server(e)) if e.code == TABLE_MISSING => {}
        // MySQL does not tell somebody without rights whether a table exists.
        Err(mysql_async::Error::Server(_)) => {}
        Err(e) => return Err(place.error(&e)),
    }
    match session.conn.query_drop(MARKERS_DDL).await {
        Ok(()) => Ok(()),
        Err(mysql_async::Error::Server(e)) => Err(Error::new(
            MARKER_TABLE,
            format!("exactly-once needs the table `{MARKERS}`, which cannot be made: {}", e.message),
        )
        .help(format!("let an administrator make it: {MARKERS_DDL}"))
        .help("and allow SELECT, INSERT and DELETE on it")),
        Err(e) => Err(place.error(&e)),
    }
}
