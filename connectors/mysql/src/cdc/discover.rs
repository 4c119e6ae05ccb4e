//! Which tables there are, and where the log begins for them.
//!
//! The place in the log is taken *before* tables are listed: a table that is made in between is then read from the log, from its
//! first row on.
//!
//! # XA
//! The rows of a transaction that was prepared before that place and commits behind it are in no part of the log that is read.
//! So tables are read only when all of those are over: then their rows are in the chunks, and their commits before the marks.

use std::sync::Arc;
use std::time::Duration;

use dflow_common::Env;
use dflow_connector_api::Result;
use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value};

use super::chunks::plan::Plan;
use super::error::no_table;
use super::options::Startup;
use super::preflight::{Beginning, require};
use super::snapshot::view::open;
use super::source::Shared;
use super::{catalog, logs, marks, startup};
use crate::binlog::position::Position;
use crate::client::Session;

/// How long transactions that are prepared already may take.
const PREPARED_WAIT_MAX: Duration = Duration::from_secs(30);
/// Time between two looks at them.
const PREPARED_PAUSE: Duration = Duration::from_millis(200);

/// What was found.
pub(super) struct Found {
    /// Where the log begins; `None` unless it was asked for or is needed for new tables.
    pub(super) start: Option<Position>,
    /// All tables that match, each for its declared table, with nothing planned.
    pub(super) plans: Vec<Plan>,
}

/// Looks.
///
/// # Errors
/// Of the connection; what a preflight finds; [`super::error::NO_TABLE`]; [`crate::error::NO_CHUNK_KEY`].
pub(super) async fn discover(env: Env, shared: Arc<Shared>, is_first: bool) -> Result<Found> {
    let beginning = if is_first { Beginning::Script } else { Beginning::Restored };
    require(shared.preflight(&env, beginning).await)?;
    let mut session = open(&env, &shared).await?;
    let options = shared.options();
    let endpoint = &options.endpoint;
    let start = if options.startup.reads_tables() {
        let server = logs::identity(&mut session, endpoint).await?;
        Some(Position::new(server, marks::safe_start(&mut session, endpoint).await?))
    } else if is_first {
        let mut start = startup::begin(&env, &mut session, options).await?;
        if matches!(options.startup, Startup::Latest) {
            // Places in files run ahead of transaction ids.
            start.point = marks::safe_start(&mut session, endpoint).await?;
        }
        Some(start)
    } else {
        None
    };
    if options.startup.reads_tables() {
        settle_prepared(&env, &mut session).await;
    }
    let mut plans = Vec::new();
    for (i, captured) in shared.captured.iter().enumerate() {
        let tables = catalog::list(&mut session, endpoint, &captured.options.tables).await?;
        if tables.is_empty() && is_first && captured.options.startup.reads_tables() {
            let filter = captured.options.tables.to_string();
            return Err(no_table(&filter, &format!("no table at {} matches {filter}", endpoint.shown()))
                .at_default(captured.span));
        }
        if !captured.options.startup.reads_tables() {
            continue;
        }
        for table in &tables {
            let plan = Plan::new(shared.name(i), table, &captured.options.snapshot);
            plans.push(plan.map_err(|e| e.at_default(captured.span))?);
        }
    }
    Ok(Found { start, plans })
}

/// Waits until all transactions that are prepared now are committed or rolled back.
async fn settle_prepared(env: &Env, session: &mut Session) {
    let since = env.clock.monotonic();
    let mut before: Option<Vec<Vec<u8>>> = None;
    loop {
        let rows: Vec<Row> = match session.conn.query("XA RECOVER").await {
            Ok(rows) => rows,
            Err(e) => {
                // Without the right to see them there is no more to be done; the log warns of each.
                tracing::debug!("prepared transactions are not known: {e}");
                return;
            }
        };
        let id = |row: Row| row.unwrap().into_iter().flat_map(|v| if let Value::Bytes(b) = v { b } else { Vec::new() });
        let mut now: Vec<Vec<u8>> = rows.into_iter().map(|row| id(row).collect()).collect();
        if let Some(before) = &before {
            now.retain(|id| before.contains(id));
        }
        if now.is_empty() {
            return;
        }
        if env.clock.monotonic().saturating_sub(since) > PREPARED_WAIT_MAX {
            tracing::warn!(
                "{} XA transactions are prepared for {PREPARED_WAIT_MAX:?}; when one commits, its changes are not read: \
                 XA RECOVER shows them",
                now.len()
            );
            return;
        }
        before = Some(now);
        env.clock.sleep(PREPARED_PAUSE).await;
    }
}
