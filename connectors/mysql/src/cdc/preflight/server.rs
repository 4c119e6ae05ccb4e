//! What the server must have switched on.

use std::collections::HashMap;
use std::time::Duration;

use dflow_common::{CodeInfo, Diagnostic};
use dflow_connector_api::Result;
use mysql_async::Row;
use mysql_async::prelude::Queryable;

use crate::binlog::position::Seen;
use crate::cdc::error::{
    LOG_FORMAT, LOG_KEPT_SHORTLY, LOG_WITHOUT_NAMES, NO_GTID, PARTIAL_JSON, ROW_IMAGE, SERVER_ID_TAKEN, log_off, set,
};
use crate::cdc::options::{CdcOptions, Startup};
use crate::client::{Endpoint, Place, ServerInfo, Session};

/// A log that is gone after less than this may be gone before a stopped job is back.
const LOG_KEPT_MIN: Duration = Duration::from_secs(86_400);
/// What is advised instead.
const LOG_KEPT_SECONDS: u64 = 604_800;

const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format', 'binlog_row_image', \
     'binlog_row_value_options', 'binlog_row_metadata', 'gtid_mode', 'server_id', 'expire_logs_days', 'binlog_expire_logs_seconds')";

/// Somebody who reads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// As whom the server knows it.
    pub server_id: u32,
}

/// What a server says of itself.
#[derive(Clone, Debug)]
pub struct Facts {
    server: ServerInfo,
    variables: HashMap<String, String>,
    replicas: Vec<Replica>,
}

impl Facts {
    /// Asks.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn ask(session: &mut Session, endpoint: &Endpoint) -> Result<Facts> {
        let place = Place { endpoint, table: "the binary log" };
        let variables: Vec<(String, String)> = session.conn.query(VARIABLES).await.map_err(|e| place.error(&e))?;
        let is_new = !session.server.is_mariadb && session.server.number() >= (8, 0, 22);
        let show = if is_new { "SHOW REPLICAS" } else { "SHOW SLAVE HOSTS" };
        // Who may not ask may not read the log either, and the trial says so.
        let rows: Vec<Row> = session.conn.query(show).await.unwrap_or_default();
        let replicas = rows.iter().filter_map(|row| Some(Replica { server_id: row.get(0)? })).collect();
        Ok(Facts { server: session.server.clone(), variables: variables.into_iter().collect(), replicas })
    }

    fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// What keeps a table with these options from being captured, and what may do so later.
    pub fn problems(&self, endpoint: &Endpoint, options: &CdcOptions) -> Vec<Diagnostic> {
        let at = endpoint.shown();
        if self.variable("log_bin").eq_ignore_ascii_case("OFF") {
            return vec![dflow_common::Classified::diagnostic(&log_off(&at))];
        }
        let mut found = Vec::new();
        let mut wrong = |info: CodeInfo, name: &str, right: &str, why: &str| {
            let is = self.variable(name);
            // A server that is too old for the variable does not do it.
            if !self.variables.contains_key(name) || is.eq_ignore_ascii_case(right) {
                return;
            }
            let message = format!("{name} of the server at {at} is '{is}': {why}");
            let statement = set(&self.server, &format!("{name} = '{right}'"));
            let mut d = Diagnostic::error(info, message)
                .with_help(statement)
                .with_note("sessions that are open go on as before; what was logged before stays as it is");
            if self.server.is_mariadb {
                d = d.with_note(format!("for the next start of the server: {name}={right} in its configuration"));
            }
            found.push(d);
        };
        wrong(LOG_FORMAT, "binlog_format", "ROW", "changes are logged as statements, or as the server likes");
        wrong(ROW_IMAGE, "binlog_row_image", "FULL", "changes are logged without the columns that did not change");
        wrong(PARTIAL_JSON, "binlog_row_value_options", "", "JSON is logged as what changed in it");
        found.extend(self.names(&at));
        found.extend(self.ids(&at, options));
        found.extend(self.kept(&at));
        found.extend(self.server_id(&at, options));
        found
    }

    fn names(&self, at: &str) -> Option<Diagnostic> {
        let name = "binlog_row_metadata";
        // An older server has no such choice.
        let is = self.variables.get(name).filter(|is| !is.eq_ignore_ascii_case("FULL"))?;
        let message = format!(
            "{name} of the server at {at} is '{is}': columns are named by the table as it is when they are read"
        );
        let d = Diagnostic::warning(LOG_WITHOUT_NAMES, message)
            .with_note("rows from before a column was renamed, read after that, would have its new name");
        Some(d.with_help(set(&self.server, &format!("{name} = 'FULL'"))))
    }

    fn ids(&self, at: &str, options: &CdcOptions) -> Option<Diagnostic> {
        if self.server.has_gtid {
            return None;
        }
        let message = format!("transactions of the server at {at} have no global ids (gtid_mode is not ON)");
        let mut d = match &options.startup {
            Startup::At(start) if matches!(start.seen, Some(Seen::Mysql(_))) => {
                Diagnostic::error(NO_GTID, message).with_note("'scan.startup.specific-offset.gtid-set' needs them")
            }
            _ => Diagnostic::warning(NO_GTID, message)
                .with_note("a position then is a place in this server's files, and no replica can take over"),
        };
        // In this order, each of them.
        for assignment in [
            "enforce_gtid_consistency = ON",
            "gtid_mode = OFF_PERMISSIVE",
            "gtid_mode = ON_PERMISSIVE",
            "gtid_mode = ON",
        ] {
            d = d.with_help(set(&self.server, assignment));
        }
        Some(d)
    }

    /// For how long the log is kept; `None` for ever, or when nobody knows.
    fn log_kept(&self) -> Option<Duration> {
        let number = |name: &str| self.variable(name).parse::<f64>().ok().filter(|n| *n > 0.0);
        let seconds = number("binlog_expire_logs_seconds").or(number("expire_logs_days").map(|days| days * 86_400.0));
        seconds.and_then(|s| Duration::try_from_secs_f64(s).ok())
    }

    fn kept(&self, at: &str) -> Option<Diagnostic> {
        let kept = self.log_kept().filter(|kept| *kept < LOG_KEPT_MIN)?;
        let message = format!(
            "the server at {at} keeps its binary log for {} only: a job that is stopped for longer must begin again",
            dflow_common::units::format_duration(kept)
        );
        let assignment = match self.variables.contains_key("binlog_expire_logs_seconds") {
            true => format!("binlog_expire_logs_seconds = {LOG_KEPT_SECONDS}"),
            false => format!("expire_logs_days = {}", LOG_KEPT_SECONDS / 86_400),
        };
        Some(Diagnostic::warning(LOG_KEPT_SHORTLY, message).with_help(set(&self.server, &assignment)))
    }

    fn server_id(&self, at: &str, options: &CdcOptions) -> Option<Diagnostic> {
        let ids = options.server_ids?;
        let own = self.variable("server_id").parse().ok();
        let taken = |id: u32| own == Some(id) || self.replicas.iter().any(|r| r.server_id == id);
        let clash = (0..ids.count().min(1_000)).map(|n| ids.nth(n)).find(|id| taken(*id))?;
        let who = if own == Some(clash) { "the server itself" } else { "another reader of its log" };
        let free = (5_400..).find(|id| !taken(*id) && !(ids.first..=ids.last).contains(id)).unwrap_or(5_400);
        let d = Diagnostic::warning(SERVER_ID_TAKEN, format!("server id {clash} at {at} is that of {who}"))
            .with_note("of two readers with one number the server may end either, again and again")
            .with_note("a job that was killed is known to the server for some seconds yet");
        Some(d.with_help(format!("write 'server-id' = '{free}'")))
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
