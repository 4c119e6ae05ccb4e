//! What a reader of the log has to ask the server, in a task of its own: the reader's future may be dropped meanwhile.

use std::sync::Arc;
use std::time::Duration;

use dflow_common::env::TaskHandle;
use dflow_common::{Classified, Env};
use dflow_connector_api::Result;

use super::snapshot::place_keys;
use super::snapshot::view::open;
use super::source::Shared;
use super::stream::LogState;
use super::{catalog, logs};
use crate::binlog::key::{Key, Order};
use crate::binlog::table_map::CatalogColumn;
use crate::client::connect::backoff;
use crate::client::{Place, Session, within_all};
use crate::error;

/// How often it is asked whether the server can go on from a position.
const CHECKS_MAX: u32 = 10;
/// Time between two such questions.
const CHECK_PAUSE: Duration = Duration::from_millis(200);
/// Connections that may break before the job hears of it.
const RETRIES: u32 = 10;

/// A question.
pub(super) enum Question {
    /// Can the log be read on from here?
    Check(Box<LogState>),
    /// Which columns does a table have?
    Catalog { database: String, table: String },
    /// In which ranges are these keys?
    Places { gate: usize, order: Order, bounds: Vec<Key>, keys: Vec<Key> },
}

/// Its answer.
pub(super) enum Answer {
    /// It can.
    Checked,
    /// These.
    Catalog { database: String, table: String, columns: Vec<CatalogColumn> },
    /// In these.
    Places { gate: usize, placed: Vec<(Key, usize)> },
}

/// Asks, on a connection that is there or on a new one; hands it back with the answer.
pub(super) fn ask(
    env: &Env,
    shared: &Arc<Shared>,
    session: Option<Session>,
    question: Question,
) -> TaskHandle<Result<(Answer, Session)>> {
    let (env, shared) = (env.clone(), shared.clone());
    env.spawner.clone().spawn_io("mysql-question", async move {
        let (mut session, mut failures) = (session, 0);
        loop {
            let endpoint = &shared.options().endpoint;
            let attempt = attempt(&env, &shared, session.take(), &question);
            let error = match within_all(&env, endpoint.answer_timeout, endpoint, attempt).await {
                Ok(answered) => return Ok(answered),
                Err(e) => e,
            };
            failures += 1;
            if !error.retryable() || failures > RETRIES {
                return Err(error);
            }
            tracing::warn!(failures, "a question to the server broke, asking again: {error}");
            env.clock.sleep(backoff(&env, failures)).await;
        }
    })
}

async fn attempt(
    env: &Env,
    shared: &Shared,
    session: Option<Session>,
    question: &Question,
) -> Result<(Answer, Session)> {
    let mut session = match session {
        Some(session) => session,
        None => open(env, shared).await?,
    };
    let endpoint = &shared.options().endpoint;
    let answer = match question {
        Question::Check(state) => {
            check(env, shared, &mut session, state).await?;
            Answer::Checked
        }
        Question::Catalog { database, table } => {
            let found = catalog::find(&mut session, endpoint, database, table).await?;
            let columns = found.map(|t| t.for_log()).unwrap_or_default();
            Answer::Catalog { database: database.clone(), table: table.clone(), columns }
        }
        Question::Places { gate, order, bounds, keys } => {
            let place = Place { endpoint, table: "a captured table" };
            let ranges = place_keys(&mut session, order, bounds, keys).await.map_err(|e| place.error(&e))?;
            Answer::Places { gate: *gate, placed: keys.iter().cloned().zip(ranges).collect() }
        }
    };
    Ok((answer, session))
}

async fn check(env: &Env, shared: &Shared, session: &mut Session, state: &LogState) -> Result<()> {
    let endpoint = &shared.options().endpoint;
    let here = logs::identity(session, endpoint).await?;
    if here != state.at.server && (!state.gates.is_empty() || state.end.is_some()) {
        let there = &state.at.server;
        let why =
            format!("the marks of the snapshot are places in the log of server {there}, and this is server {here}");
        return Err(error::position_lost(&state.at.point.at.to_string(), &why));
    }
    // The log may be ahead of what the server calls executed, for a moment.
    let mut attempts = 0;
    loop {
        match logs::check(session, endpoint, &state.at.server, state.at.start()).await {
            Err(e) if !e.retryable() && attempts < CHECKS_MAX => attempts += 1,
            checked => return checked,
        }
        env.clock.sleep(CHECK_PAUSE).await;
    }
}
