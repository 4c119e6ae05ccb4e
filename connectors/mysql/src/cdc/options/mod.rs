//! The options of `mysql-cdc`, read and checked.
//!
//! | module | what |
//! |---|---|
//! | [`spec`] | every option by name, with its default |
//! | [`tables`] | which tables they choose |
//! | [`startup`] | where they begin |

pub mod spec;
pub mod startup;
pub mod tables;

use std::time::Duration;

use dflow_common::Env;
use dflow_connector_api::{Error, Options, TableRequest};

pub use self::spec::OPTIONS;
pub use self::startup::{StartAt, Startup};
pub use self::tables::TableFilter;
use crate::binlog::column::fit::BinaryText;
use crate::binlog::column::sink::Policy;
pub use crate::binlog::drift::SchemaChanges;
use crate::binlog::zone::Zone;
use crate::client::Endpoint;
use crate::client::endpoint::{PORT, ZeroDates};

/// Server ids that are taken by chance when the script gives none; Flink CDC's.
const SERVER_IDS: ServerIds = ServerIds { first: 5_400, last: 6_400 };
/// The shortest time a connection attempt may have.
const CONNECT_TIMEOUT_MIN: Duration = Duration::from_millis(250);
/// The longest time without a word of the server, so that a dead connection is noticed.
const HEARTBEAT_MAX: Duration = Duration::from_secs(10);

/// Numbers as which a server knows its readers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerIds {
    /// The smallest.
    pub first: u32,
    /// The largest; not below `first`.
    pub last: u32,
}

impl ServerIds {
    /// `5400` or `5400-5408`.
    fn parse(text: &str) -> Option<ServerIds> {
        let number = |t: &str| t.trim().parse().ok().filter(|n: &u32| *n > 0);
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(text)?, number(text)?),
        };
        (first <= last).then_some(ServerIds { first, last })
    }

    /// How many readers they are enough for.
    pub fn count(&self) -> u64 {
        u64::from(self.last - self.first) + 1
    }

    /// Number `n` of them; begins again behind the last.
    pub fn nth(&self, n: u64) -> u32 {
        // Below the count, and the sum not above `last`.
        self.first + (n % self.count()) as u32
    }
}

/// How tables are read before their changes.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotOptions {
    /// Rows of a chunk; at least 2.
    pub chunk_rows: u64,
    /// The column of the ranges; `None` for the first of the primary key.
    pub chunk_key: Option<String>,
    /// Rows of a batch; at least 2.
    pub fetch_rows: usize,
    /// Whether changes made meanwhile may come twice.
    pub skips_backfill: bool,
    /// Whether the chunk without an upper end comes first.
    pub is_unbounded_first: bool,
    /// From how many numbers of a key per row ([`SnapshotOptions::even_at_most`]: up to how many) it is evenly spread.
    pub even_at_least: f64,
    /// See [`SnapshotOptions::even_at_least`].
    pub even_at_most: f64,
}

/// All options, read.
#[derive(Clone, Debug)]
pub struct CdcOptions {
    /// The server; without a database.
    pub endpoint: Endpoint,
    /// Which tables.
    pub tables: TableFilter,
    /// As whom the server sees readers; `None` for any number.
    pub server_ids: Option<ServerIds>,
    /// Where to begin without state.
    pub startup: Startup,
    /// How tables are read.
    pub snapshot: SnapshotOptions,
    /// Whether a restart reads tables that are new.
    pub takes_new_tables: bool,
    /// Whether every change is an insert.
    pub is_append_only: bool,
    /// What a changed table does.
    pub schema_changes: SchemaChanges,
    /// How often an idle server says so; never zero.
    pub heartbeat: Duration,
    /// How long connecting is tried before the job hears of it.
    pub connect_patience: Duration,
    /// How values read that the declared types do not have; its zone is that of `server-time-zone`.
    pub policy: Policy,
}

impl CdcOptions {
    /// Reads and checks them; adds what is wrong to `errors`. `None` when something is.
    pub fn read(options: &Options, request: &TableRequest, errors: &mut Vec<Error>) -> Option<CdcOptions> {
        let before = errors.len();
        let endpoint = endpoint(options, request, errors);
        let tables = TableFilter::new(options.required("database-name"), options.required("table-name"));
        let tables =
            tables.map(|filter| filter.without_helpers(options.bool("scan.parse.online.schema.changes.enabled")));
        let tables = tables.map_err(|(is_database, why)| {
            let key = if is_database { "database-name" } else { "table-name" };
            errors.push(options.invalid(key, why).help("write a regular expression as Java's, or a plain name"));
        });
        let server_ids = options.text("server-id").and_then(|text| {
            let ids = ServerIds::parse(text);
            if ids.is_none() {
                let why = format!("`{text}` is neither a number from 1 to 4294967295 nor a range of them");
                errors.push(options.invalid("server-id", why).help("write '5400', or a range '5400-5408'"));
            }
            ids
        });
        let startup = Startup::read(options, errors);
        let snapshot = snapshot(options, errors);
        let policy = policy(options, request, &endpoint, errors);
        if !options.bool("scan.incremental.snapshot.enabled") {
            let why = "dflow reads tables in chunks without locks, and no other way";
            errors.push(options.invalid("scan.incremental.snapshot.enabled", why).help("remove the option"));
        }
        if let Some(mode) = options.text("debezium.snapshot.mode").filter(|m| *m != "initial") {
            let instead = match mode {
                "initial_only" => "'scan.startup.mode' = 'snapshot'",
                "schema_only" | "no_data" => "'scan.startup.mode' = 'latest-offset'",
                "never" => "'scan.startup.mode' = 'earliest-offset'",
                _ => "'scan.startup.mode'",
            };
            let e = options.invalid("debezium.snapshot.mode", format!("`{mode}` cannot be had this way"));
            errors.push(e.help(format!("write {instead}")));
        }
        let retries = options.int("connect.max-retries").unwrap_or_default();
        let timeout = endpoint.connect_timeout;
        if retries < 0 {
            errors.push(options.invalid("connect.max-retries", "at least 0"));
        }
        let heartbeat = options.duration("heartbeat.interval").filter(|d| !d.is_zero()).unwrap_or(HEARTBEAT_MAX);
        let (Ok(tables), Some(startup), true) = (tables, startup, errors.len() == before) else { return None };
        Some(CdcOptions {
            endpoint,
            tables,
            server_ids,
            startup,
            snapshot,
            takes_new_tables: options.bool("scan.newly-added-table.enabled"),
            is_append_only: options.bool("scan.read-changelog-as-append-only.enabled"),
            schema_changes: schema_changes(options),
            heartbeat: heartbeat.min(HEARTBEAT_MAX),
            connect_patience: timeout.saturating_mul(u32::try_from(retries).unwrap_or(u32::MAX)),
            policy,
        })
    }

    /// The server id of reader `nth` of a server.
    pub fn server_id(&self, nth: u64, env: &Env) -> u32 {
        match self.server_ids {
            Some(ids) => ids.nth(nth),
            None => SERVER_IDS.nth(env.rng.next_u64()),
        }
    }
}

fn endpoint(options: &Options, request: &TableRequest, errors: &mut Vec<Error>) -> Endpoint {
    let port = options.int("port").and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0);
    if port.is_none() {
        errors.push(options.invalid("port", "not a port from 1 to 65535"));
    }
    let mut endpoint = Endpoint::new(options.required("hostname"), port.unwrap_or(PORT));
    endpoint.user = options.text("username").map(Into::into);
    endpoint.password = options.secret("password");
    // Flink CDC's default, unlike Connector/J's.
    endpoint.zero_dates = ZeroDates::Null;
    endpoint.connect_timeout = options.duration("connect.timeout").unwrap_or(endpoint.connect_timeout);
    if endpoint.connect_timeout <= CONNECT_TIMEOUT_MIN {
        errors.push(options.invalid("connect.timeout", "more than 250 ms"));
    }
    if let Some(mode) = options.text("debezium.database.ssl.mode")
        && let Err(why) = endpoint.property("sslMode", mode, request)
    {
        errors.push(options.invalid("debezium.database.ssl.mode", why));
    }
    for (key, value) in options.matching("jdbc.properties.#") {
        let property = match key {
            "serverTimezone" | "connectionTimeZone" => Err(format!("write 'server-time-zone' = '{value}'")),
            "connectTimeout" => Err("write 'connect.timeout'".to_owned()),
            _ => endpoint.property(key, value, request),
        };
        if let Err(why) = property {
            errors.push(options.invalid(&format!("jdbc.properties.{key}"), why));
        }
    }
    endpoint
}

fn snapshot(options: &Options, errors: &mut Vec<Error>) -> SnapshotOptions {
    let mut above_one = |key: &str| {
        let n = options.int(key).unwrap_or_default();
        if n <= 1 {
            errors.push(options.invalid(key, "more than 1"));
        }
        n.unsigned_abs()
    };
    let chunk_rows = above_one("scan.incremental.snapshot.chunk.size");
    let fetch_rows = usize::try_from(above_one("scan.snapshot.fetch.size")).unwrap_or(usize::MAX);
    const LEAST: &str = "chunk-key.even-distribution.factor.lower-bound";
    const MOST: &str = "chunk-key.even-distribution.factor.upper-bound";
    let (even_at_least, even_at_most) =
        (options.float(LEAST).unwrap_or_default(), options.float(MOST).unwrap_or_default());
    if !(0.0..=1.0).contains(&even_at_least) {
        errors.push(options.invalid(LEAST, "from 0 to 1"));
    }
    if !(even_at_most >= 1.0 && even_at_most.is_finite()) {
        errors.push(options.invalid(MOST, "at least 1"));
    }
    SnapshotOptions {
        chunk_rows,
        chunk_key: options.text("scan.incremental.snapshot.chunk.key-column").map(Into::into),
        fetch_rows,
        skips_backfill: options.bool("scan.incremental.snapshot.backfill.skip"),
        is_unbounded_first: options.bool("scan.incremental.snapshot.unbounded-chunk-first.enabled"),
        even_at_least,
        even_at_most,
    }
}

fn policy(options: &Options, request: &TableRequest, endpoint: &Endpoint, errors: &mut Vec<Error>) -> Policy {
    let name = options.text("server-time-zone").unwrap_or(&request.time_zone);
    let zone = name.parse().unwrap_or_else(|why: String| {
        errors.push(options.invalid("server-time-zone", why));
        Zone::UTC
    });
    let binary_text = match options.required("debezium.binary.handling.mode").to_ascii_lowercase().as_str() {
        "base64" => BinaryText::Base64,
        "hex" => BinaryText::Hex,
        _ => BinaryText::Refused,
    };
    Policy { zero_dates_are_null: endpoint.zero_dates == ZeroDates::Null, replace_bad_text: true, binary_text, zone }
}

fn schema_changes(options: &Options) -> SchemaChanges {
    match options.required("schema.change.behavior").to_ascii_lowercase().as_str() {
        "exception" => SchemaChanges::Exception,
        "evolve" => SchemaChanges::Evolve,
        "try_evolve" => SchemaChanges::TryEvolve,
        "ignore" => SchemaChanges::Ignore,
        _ => SchemaChanges::Lenient,
    }
}

#[cfg(test)]
pub(in crate::cdc) mod tests;
