//! Which tables there are, and where the log begins for them.
//!
//! The place in the log is taken *before* tables are listed: a table that is made in between is then read from the log, from its
//! first row on.

use std::sync::Arc;

use dflow_common::Env;
use dflow_connector_api::Result;

use super::chunks::plan::Plan;
use super::error::no_table;
use super::options::Startup;
use super::snapshot::view::open;
use super::source::Shared;
use super::{catalog, logs, marks, startup};
use crate::binlog::position::Position;

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
/// Of the connection; [`super::error::NO_TABLE`]; [`crate::error::NO_CHUNK_KEY`].
pub(super) async fn discover(env: Env, shared: Arc<Shared>, is_first: bool) -> Result<Found> {
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
