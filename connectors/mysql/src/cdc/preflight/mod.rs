//! Whether a server allows and has what change capture needs: asked by `dflow check --connect`, and before a job starts.
//!
//! ```text
//! [`server`]  log on, by row, whole rows, ids, kept long enough, nobody else with our number     pure, from [`Facts`]
//! [`tables`]  tables found, columns as declared, chunk keys, clock, SELECT allowed                from the catalog
//! a trial     the log is opened where it ends, as the reader will do it
//! ```
//! Every problem names the statement that ends it. Nothing is changed on the server.

mod server;
mod tables;

use std::time::Duration;

use dflow_common::{Classified, Diagnostic, Env, Severity, Span};
use dflow_connector_api::{Error, OutputSchema, Result};

pub use self::server::{Facts, Replica};
use super::error::SERVER_ID_TAKEN;
use super::log::{LogConnection, LogOptions};
use super::logs;
use super::options::{CdcOptions, Startup};
use crate::binlog::position::{Point, Position};
use crate::binlog::rows::Wanted;
use crate::client::{Session, connect};

/// A captured table of a script.
#[derive(Clone, Copy)]
pub struct Captured<'a> {
    /// Its options.
    pub options: &'a CdcOptions,
    /// What it delivers.
    pub output: &'a OutputSchema,
    /// The projected columns.
    pub wanted: &'a [Wanted],
    /// Where it is declared.
    pub span: Span,
}

/// Where reading will begin.
#[derive(Clone, Copy, Debug)]
pub enum Beginning<'a> {
    /// Where the script says.
    Script,
    /// At this position of a restored job.
    At(&'a Position),
    /// At a position that somebody else looks after.
    Restored,
}

/// Everything that stands in the way of capturing these tables, which are of one server.
pub async fn preflight(env: &Env, captured: &[Captured<'_>], beginning: Beginning<'_>) -> Vec<Diagnostic> {
    let Some(first) = captured.first() else { return Vec::new() };
    let options = first.options;
    let endpoint = &options.endpoint;
    // What the server lacks is told at the first of its tables.
    let place = |d: Diagnostic| if d.primary.is_some() { d } else { d.with_span(first.span, "captured here") };
    let mut session = match connect(env, endpoint, "the binary log", options.connect_patience).await {
        Ok(session) => session,
        Err(e) => return vec![place(e.diagnostic())],
    };
    let mut found = Vec::new();
    match Facts::ask(&mut session, endpoint).await {
        Ok(facts) => found.extend(captured.iter().flat_map(|c| facts.problems(endpoint, c.options))),
        Err(e) => found.push(e.diagnostic()),
    }
    // The same of every table: once is enough.
    let mut told: Vec<Diagnostic> = Vec::new();
    for d in found {
        if !told.contains(&d) {
            told.push(d);
        }
    }
    if told.iter().all(|d| d.severity != Severity::Error) {
        let tried = match place_in_log(&mut session, options, beginning).await {
            Ok(()) => trial(env, &mut session, options).await,
            refused => refused,
        };
        // Who has the same number was told above, and may be gone in a moment.
        told.extend(tried.err().map(|e| e.diagnostic()).filter(|d| d.code != SERVER_ID_TAKEN.code));
    }
    for table in captured {
        told.extend(tables::problems(&mut session, table).await);
    }
    told.into_iter().map(place).collect()
}

/// Fails with the first problem, and names the others; writes warnings to the log.
///
/// # Errors
/// When something keeps the tables from being captured.
pub fn require(found: Vec<Diagnostic>) -> Result<()> {
    let (errors, warnings): (Vec<_>, Vec<_>) = found.into_iter().partition(|d| d.severity == Severity::Error);
    for d in warnings {
        tracing::warn!("{d}");
    }
    let mut errors = errors.into_iter();
    let Some(first) = errors.next() else { return Ok(()) };
    let all = errors.fold(first, |first, other| {
        let help = other.help.iter().map(|help| format!("; {help}")).collect::<String>();
        first.with_note(format!("also {}: {}{help}", other.code, other.message))
    });
    let is_passing = all.class == dflow_common::Class::Unavailable;
    let e = Error::from(all);
    Err(if is_passing { e.retry() } else { e })
}

/// Whether the server has the place where reading begins.
async fn place_in_log(session: &mut Session, options: &CdcOptions, beginning: Beginning<'_>) -> Result<()> {
    let endpoint = &options.endpoint;
    match (beginning, &options.startup) {
        (Beginning::At(at), _) => logs::check(session, endpoint, &at.server, at.start()).await,
        (Beginning::Script, Startup::At(start)) => {
            let server = logs::identity(session, endpoint).await?;
            let point = Point { at: start.at.clone().unwrap_or_default(), seen: start.seen.clone() };
            logs::check(session, endpoint, &server, &point).await
        }
        _ => Ok(()),
    }
}

/// Opens the log where it ends.
async fn trial(env: &Env, session: &mut Session, options: &CdcOptions) -> Result<()> {
    let endpoint = &options.endpoint;
    let end = logs::now(session, endpoint).await?;
    let log =
        LogOptions { server_id: options.server_id(0, env), heartbeat: options.heartbeat.max(Duration::from_secs(1)) };
    let from = end.start();
    let mut connection = LogConnection::open(env, endpoint, &log, from, options.connect_patience).await?;
    connection.next(from).await?;
    connection.close().await;
    Ok(())
}
