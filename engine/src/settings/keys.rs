//! Every `SET` key dflow knows, with what it does.

use dflow_connector_api::OptionType;

/// What a key does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does what Flink's documentation says, or the nearest thing there is in one process.
    Honoured,
    /// Only these values; any other is refused because it would change results.
    Only(&'static [&'static str]),
    /// Nothing: one warning lists all of these.
    None,
}

/// A key that is more than a name in Flink's list.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// The key, in Flink 2.x's spelling.
    pub key: &'static str,
    /// How its value reads.
    pub ty: OptionType,
    /// The value when not set, as it would be written; empty when there is none.
    pub default: &'static str,
    /// What it does.
    pub effect: Effect,
    /// One sentence.
    pub doc: &'static str,
}

use Effect::{Honoured, Only};
use OptionType::{Bool, Duration, Enum, Float, Int, Text};

const fn key(key: &'static str, ty: OptionType, default: &'static str, effect: Effect, doc: &'static str) -> KeySpec {
    KeySpec { key, ty, default, effect, doc }
}

const RESTART: OptionType = Enum(&[
    "none",
    "off",
    "disable",
    "fixed-delay",
    "fixeddelay",
    "failure-rate",
    "failurerate",
    "exponential-delay",
    "exponentialdelay",
]);

/// A value that Flink knows and dflow refuses, with what to write instead.
pub(super) const REFUSED: &[(&str, &str, &str)] =
    &[("execution.runtime-mode", "automatic", "write 'streaming' or 'batch'")];

/// Keys that are read. The rest of Flink's keys ([`flink_keys`]) is known and has no effect.
pub const KEYS: &[KeySpec] = &[
    key(
        "execution.runtime-mode",
        Enum(&["streaming", "batch"]),
        "streaming",
        Honoured,
        "Run as one streaming job, or statement by statement over bounded tables.",
    ),
    key("parallelism.default", Int, "", Honoured, "Instances of each operator; the number of cores when not set."),
    key("table.exec.resource.default-parallelism", Int, "-1", Honoured, "Overrides parallelism.default."),
    key("pipeline.max-parallelism", Int, "256", Honoured, "Key groups of the job; fixed once there is state."),
    key("pipeline.name", Text, "", Honoured, "The job's name; the script's file name when not set."),
    key(
        "pipeline.auto-watermark-interval",
        Duration,
        "200 ms",
        Honoured,
        "How often sources look at their watermark and idleness.",
    ),
    key("execution.checkpointing.interval", Duration, "10 s", Honoured, "Time between two checkpoints."),
    key(
        "execution.checkpointing.mode",
        Enum(&["exactly_once", "at_least_once"]),
        "exactly_once",
        Honoured,
        "Checkpoints are always exactly once, which is at least once too.",
    ),
    key("execution.checkpointing.timeout", Duration, "10 min", Honoured, "A checkpoint that takes longer is given up."),
    key("execution.checkpointing.min-pause", Duration, "0 s", Honoured, "Quiet time after a checkpoint."),
    key(
        "execution.checkpointing.max-concurrent-checkpoints",
        Int,
        "1",
        Honoured,
        "There is never more than one checkpoint at a time.",
    ),
    key(
        "execution.checkpointing.tolerable-failed-checkpoints",
        Int,
        "3",
        Honoured,
        "Failed checkpoints in a row that do not fail the job.",
    ),
    key(
        "execution.checkpointing.externalized-checkpoint-retention",
        Enum(&["no_externalized_checkpoints", "delete_on_cancellation", "retain_on_cancellation"]),
        "retain_on_cancellation",
        Honoured,
        "Whether checkpoints are kept when the job is cancelled.",
    ),
    key("execution.checkpointing.num-retained", Int, "3", Honoured, "Completed checkpoints that are kept."),
    key("execution.checkpointing.dir", Text, "", Honoured, "Where checkpoints are kept: the state directory."),
    key("execution.state-recovery.path", Text, "", Honoured, "Start from this checkpoint, savepoint or directory."),
    key(
        "execution.state-recovery.ignore-unclaimed-state",
        Bool,
        "false",
        Honoured,
        "State of operators that are gone may be dropped.",
    ),
    key("restart-strategy.type", RESTART, "exponential-delay", Honoured, "What happens after a transient failure."),
    key("restart-strategy.fixed-delay.attempts", Int, "1", Honoured, "Restarts before giving up."),
    key("restart-strategy.fixed-delay.delay", Duration, "1 s", Honoured, "Time between two restarts."),
    key("restart-strategy.failure-rate.max-failures-per-interval", Int, "1", Honoured, "Failures in one interval."),
    key("restart-strategy.failure-rate.failure-rate-interval", Duration, "1 min", Honoured, "The interval."),
    key("restart-strategy.failure-rate.delay", Duration, "1 s", Honoured, "Time between two restarts."),
    key("restart-strategy.exponential-delay.initial-backoff", Duration, "1 s", Honoured, "The first delay."),
    key("restart-strategy.exponential-delay.max-backoff", Duration, "1 min", Honoured, "The longest delay."),
    key("restart-strategy.exponential-delay.backoff-multiplier", Float, "1.5", Honoured, "Growth per failure."),
    key(
        "restart-strategy.exponential-delay.reset-backoff-threshold",
        Duration,
        "1 h",
        Honoured,
        "Quiet time after which the delay starts over.",
    ),
    key("restart-strategy.exponential-delay.jitter-factor", Float, "0.1", Honoured, "The random part of a delay."),
    key(
        "restart-strategy.exponential-delay.attempts-before-reset-backoff",
        Int,
        "10",
        Honoured,
        "Restarts before giving up.",
    ),
    key("table.local-time-zone", Text, "default", Honoured, "The time zone of TIMESTAMP_LTZ texts and dates."),
    key(
        "table.exec.state.ttl",
        Duration,
        "0 ms",
        Only(&["0"]),
        "How long idle state is kept. Only `0`, for ever, so far.",
    ),
    key(
        "table.exec.source.idle-timeout",
        Duration,
        "0 ms",
        Honoured,
        "A split without rows for this long does not hold the watermark back; 0 never.",
    ),
    key("table.exec.mini-batch.enabled", Bool, "false", Honoured, "Updating operators always collect changes here."),
    key(
        "table.exec.mini-batch.allow-latency",
        Duration,
        "500 ms",
        Honoured,
        "The longest time a change waits in an updating operator under load.",
    ),
    key("table.exec.mini-batch.size", Int, "1048576", Honoured, "Input rows after which updating operators emit."),
    key(
        "table.exec.sink.not-null-enforcer",
        Enum(&["error", "drop"]),
        "error",
        Honoured,
        "What happens to a row with NULL in a NOT NULL column.",
    ),
    key(
        "table.exec.sink.type-length-enforcer",
        Enum(&["ignore", "trim_pad", "error"]),
        "ignore",
        Honoured,
        "What happens to text longer than its CHAR(n) or VARCHAR(n) column.",
    ),
    key(
        "table.exec.sink.upsert-materialize",
        Enum(&["auto", "none", "force"]),
        "auto",
        Only(&["auto", "none"]),
        "Repairs changelogs whose key differs from the sink's; such queries are refused so far.",
    ),
    key(
        "table.exec.sink.require-on-conflict",
        Bool,
        "true",
        Honoured,
        "Whether a sink key that the query's key does not imply is an error; it always is here.",
    ),
    key(
        "table.exec.source.cdc-events-duplicate",
        Bool,
        "false",
        Honoured,
        "Change sources with a primary key may repeat events: they are normalised by key.",
    ),
    key("table.dml-sync", Bool, "false", Honoured, "A script always waits for its job."),
    key("table.dynamic-table-options.enabled", Bool, "true", Honoured, "Whether OPTIONS hints are allowed."),
    key("table.column-expansion-strategy", Text, "", Only(&[""]), "Columns that `*` leaves out. None so far."),
    key("table.sql-dialect", Enum(&["default", "hive"]), "default", Only(&["default"]), "The SQL dialect."),
    key(
        "table.exec.legacy-cast-behaviour",
        Enum(&["enabled", "disabled"]),
        "disabled",
        Only(&["disabled"]),
        "Casts of Flink before 1.15, where a bad value is NULL.",
    ),
    key(
        "table.builtin-catalog-name",
        Text,
        "default_catalog",
        Only(&["default_catalog"]),
        "The name of the catalog a script starts in.",
    ),
    key(
        "table.builtin-database-name",
        Text,
        "default_database",
        Only(&["default_database"]),
        "The name of the database a script starts in.",
    ),
    key(
        "table.legacy-nested-row-nullability",
        Bool,
        "false",
        Only(&["false"]),
        "Nullability of nested rows as in Flink 2.1.",
    ),
    key(
        "state.backend.type",
        Text,
        "hashmap",
        Honoured,
        "Where state is kept; disk-backed ones keep it in memory so far.",
    ),
];

/// Keys of Flink that configure a cluster, a library or a client: known by their beginning, without effect.
pub const FAMILIES: &[&str] = &[
    "jobmanager.",
    "taskmanager.",
    "high-availability",
    "rest.",
    "metrics.",
    "kubernetes.",
    "yarn.",
    "security.",
    "env.",
    "heartbeat.",
    "classloader.",
    "web.",
    "cluster.",
    "client.",
    "akka.",
    "pekko.",
    "slot.",
    "slotmanager.",
    "fs.",
    "s3.",
    "io.tmp.dirs",
    "blob.",
    "historyserver.",
    "process.",
    "resourcemanager.",
    "queryable-state.",
    "materialized-table.",
    "sql-client.",
    "sql-gateway.",
    "state.backend.rocksdb.",
    "state.backend.forst.",
    "state.backend.fs.",
    "state.storage.",
    "execution.checkpointing.file-merging.",
];

/// Flink's keys, one entry per key: its spelling in 2.x and older ones.
pub fn flink_keys() -> impl Iterator<Item = (&'static str, impl Iterator<Item = &'static str>)> {
    include_str!("flink_keys.txt").lines().filter(|l| !l.starts_with('#')).filter_map(|line| {
        let mut names = line.split(' ');
        names.next().map(|first| (first, names))
    })
}

/// The spelling of Flink 2.x of a key that may be an older one; `None` for a key nobody knows.
pub(super) fn normalise(key: &str) -> Option<&'static str> {
    // Two keys of 1.x became others; Flink 2 no longer reads them.
    let key = match key {
        "execution.type" => "execution.runtime-mode",
        "execution.parallelism" => "parallelism.default",
        other => other,
    };
    let spelled = flink_keys()
        .find_map(|(name, mut old)| (name == key || old.any(|o| o == key)).then_some(name))
        .or_else(|| KEYS.iter().map(|k| k.key).find(|k| *k == key));
    // `restart-strategy`, the type itself, is not in Flink's machine-readable list.
    spelled.or((key == "restart-strategy").then_some("restart-strategy.type"))
}

/// Whether a key belongs to a family that configures something dflow does not have.
pub(super) fn in_family(key: &str) -> bool {
    FAMILIES.iter().any(|f| key.starts_with(f))
}

/// The declaration of a key that is read.
pub(super) fn spec(key: &str) -> Option<&'static KeySpec> {
    KEYS.iter().find(|k| k.key == key)
}
