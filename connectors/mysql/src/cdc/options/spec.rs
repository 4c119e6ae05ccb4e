//! The options of `'connector' = 'mysql-cdc'`, with Flink CDC's names and defaults.
//!
//! # Source
//! Flink CDC 3.x, `MySqlSourceOptions` and the page of its MySQL connector; `schema.change.behavior` is the name of its
//! pipelines.

use dflow_connector_api::OptionSpec;
use dflow_connector_api::OptionType::{Bool, Duration, Enum, Float, Int, Text};

/// Every option.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("hostname", Text, "The server's name or address.").required(),
    OptionSpec::new("port", Int, "Its port.").default("3306"),
    OptionSpec::new("username", Text, "The user to connect as.").required(),
    OptionSpec::new("password", Text, "That user's password.").required().secret(),
    OptionSpec::new("database-name", Text, "The database, or a regular expression that whole names match.").required(),
    OptionSpec::new("table-name", Text, "The table, or a regular expression that whole names match.").required(),
    OptionSpec::new(
        "server-id",
        Text,
        "As whom the server sees dflow among its replicas: `5400`, or a range `5400-5408`; no two readers of a server may \
         have the same. A number from 5400 to 6400 by chance without it.",
    ),
    OptionSpec::new(
        "server-time-zone",
        Text,
        "The zone on whose clock TIMESTAMP columns read when they are declared as TIMESTAMP or STRING: `Asia/Tokyo`, \
         `+09:00`. The session's zone without it.",
    )
    .aliases(&["debezium.database.connectionTimeZone", "debezium.database.serverTimezone"]),
    // Where to begin.
    OptionSpec::new(
        "scan.startup.mode",
        Enum(&["initial", "snapshot", "earliest-offset", "latest-offset", "specific-offset", "timestamp"]),
        "Where to begin: the tables and then their changes, the tables alone, or the changes behind a place in the log.",
    )
    .default("initial"),
    OptionSpec::new("scan.startup.specific-offset.file", Text, "A file of the log: `binlog.000003`; with '….pos'."),
    OptionSpec::new("scan.startup.specific-offset.pos", Int, "The place in that file; at least 4."),
    OptionSpec::new(
        "scan.startup.specific-offset.gtid-set",
        Text,
        "The transactions that are not read: `uuid:1-90`; on MariaDB the last of each domain: `0-1-90`.",
    ),
    OptionSpec::new("scan.startup.specific-offset.skip-events", Int, "Row events behind that place that are not read.")
        .default("0"),
    OptionSpec::new("scan.startup.specific-offset.skip-rows", Int, "Rows of the next row event that are not read.")
        .default("0"),
    OptionSpec::new("scan.startup.timestamp-millis", Int, "Changes from this instant on; milliseconds since 1970."),
    // The tables as they are.
    OptionSpec::new("scan.incremental.snapshot.enabled", Bool, "Only true: tables are read in chunks, without locks.")
        .default("true"),
    OptionSpec::new("scan.incremental.snapshot.chunk.size", Int, "Rows of one chunk.").default("8096"),
    OptionSpec::new(
        "scan.incremental.snapshot.chunk.key-column",
        Text,
        "The column by whose ranges tables are read; the first of the primary key without it. A table without primary \
         key needs it.",
    ),
    OptionSpec::new("scan.snapshot.fetch.size", Int, "Rows of one batch.").default("1024"),
    OptionSpec::new(
        "scan.incremental.snapshot.backfill.skip",
        Bool,
        "Whether changes made while a chunk is read may come twice; then nothing is held back.",
    )
    .default("false"),
    OptionSpec::new(
        "scan.incremental.snapshot.unbounded-chunk-first.enabled",
        Bool,
        "Whether the chunk without an upper end is read first, before it grows.",
    )
    .default("true"),
    OptionSpec::new(
        "chunk-key.even-distribution.factor.upper-bound",
        Float,
        "Numbers of a key per row up to which they count as evenly spread.",
    )
    .default("1000.0")
    .aliases(&["split-key.even-distribution.factor.upper-bound"]),
    OptionSpec::new(
        "chunk-key.even-distribution.factor.lower-bound",
        Float,
        "Numbers of a key per row from which on they count as evenly spread.",
    )
    .default("0.05")
    .aliases(&["split-key.even-distribution.factor.lower-bound"]),
    OptionSpec::new(
        "scan.newly-added-table.enabled",
        Bool,
        "Whether a restart reads the tables that match now and did not before.",
    )
    .default("false"),
    OptionSpec::new(
        "scan.parse.online.schema.changes.enabled",
        Bool,
        "Whether the tables in which gh-ost and pt-online-schema-change prepare a change are left out: `_orders_gho`.",
    )
    .default("false"),
    // The changes.
    OptionSpec::new(
        "scan.read-changelog-as-append-only.enabled",
        Bool,
        "Whether every change is an insert; METADATA 'row_kind' tells them apart.",
    )
    .default("false")
    .identity(),
    OptionSpec::new(
        "schema.change.behavior",
        Enum(&["exception", "evolve", "try_evolve", "lenient", "ignore"]),
        "What a changed table does to the job.",
    )
    .default("lenient"),
    OptionSpec::new("heartbeat.interval", Duration, "How often an idle server says so; 0 s leaves it to dflow.")
        .default("30 s"),
    // Connections.
    OptionSpec::new("connect.timeout", Duration, "How long one attempt to connect may take; more than 250 ms.")
        .default("30 s"),
    OptionSpec::new("connect.max-retries", Int, "How often connecting is tried again before the job hears of it.")
        .default("3"),
    OptionSpec::new("jdbc.properties.#", Text, "A connection property of Connector/J: jdbc.properties.sslMode."),
    OptionSpec::new(
        "debezium.database.ssl.mode",
        Enum(&["disabled", "preferred", "required", "verify_ca", "verify_identity"]),
        "The same as jdbc.properties.sslMode.",
    ),
    OptionSpec::new(
        "debezium.binary.handling.mode",
        Enum(&["bytes", "base64", "hex"]),
        "How binary columns read that are declared as STRING.",
    )
    .default("bytes"),
    OptionSpec::new("debezium.snapshot.mode", Text, "Only `initial`; 'scan.startup.mode' has the others."),
    OptionSpec::new(
        "debezium.event.deserialization.failure.handling.mode",
        Enum(&["fail"]),
        "Only `fail`: a change that cannot be read is never passed over.",
    )
    .aliases(&["debezium.event.processing.failure.handling.mode"]),
    OptionSpec::new(
        "debezium.inconsistent.schema.handling.mode",
        Enum(&["fail"]),
        "Only `fail`: a change of an unknown table is never passed over.",
    ),
    // Taken for the sake of scripts that have them.
    idle("scan.incremental.close-idle-reader.enabled", Bool, "Readers that have nothing to do cost nothing."),
    idle("chunk-meta.group.size", Int, "Chunks are kept in memory once."),
    idle("connection.pool.size", Int, "Every reader has its own connection."),
    idle("use.legacy.json.format", Bool, "JSON reads as the server writes it, from tables and from the log."),
    idle("debezium.snapshot.locking.mode", Text, "Nothing is locked."),
    idle("debezium.snapshot.fetch.size", Int, "'scan.snapshot.fetch.size' has the rows of one batch."),
    idle("debezium.min.row.count.to.stream.result", Int, "Rows are always read as they come."),
    idle("debezium.connect.keep.alive", Bool, "A connection that breaks is opened again."),
    idle("debezium.connect.keep.alive.interval.ms", Int, "A connection that breaks is opened again."),
    idle("debezium.time.precision.mode", Text, "Declared types say how times read."),
    idle("debezium.decimal.handling.mode", Text, "Declared types say how decimals read."),
    idle("debezium.bigint.unsigned.handling.mode", Text, "Declared types say how numbers read."),
    idle("debezium.include.schema.changes", Bool, "A table has rows, not statements."),
    idle("debezium.provide.transaction.metadata", Bool, "Rows carry no transaction."),
    idle("debezium.tombstones.on.delete", Bool, "There are no tombstones."),
    idle("debezium.max.batch.size", Int, "Batches are cut by rows, bytes and time."),
    idle("debezium.max.queue.size", Int, "What waits is bounded by bytes."),
    idle("debezium.max.queue.size.in.bytes", Int, "What waits is bounded by bytes."),
    idle("debezium.poll.interval.ms", Int, "The server sends changes by itself."),
    idle("debezium.binlog.buffer.size", Int, "Transactions are not held back."),
    idle("debezium.database.tcpKeepAlive", Bool, "Connections have keep-alive always."),
];

const fn idle(key: &'static str, ty: dflow_connector_api::OptionType, doc: &'static str) -> OptionSpec {
    OptionSpec::new(key, ty, doc).without_effect()
}
