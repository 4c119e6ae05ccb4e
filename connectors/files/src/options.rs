//! The options of `'connector' = 'filesystem'`.

use dflow_connector_api::check::split_format;
use dflow_connector_api::{OptionSpec, OptionType, Options, TableRequest};

/// Everything `filesystem` takes, names and defaults as in Flink; `dflow.*` are ours.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("path", OptionType::Text, "A file, a directory (read recursively) or a glob such as /in/*.json.")
        .required()
        .identity(),
    OptionSpec::new("format", OptionType::Text, "How the files are written: json, csv, parquet, raw, debezium-json.")
        .required()
        .identity(),
    OptionSpec::new(
        "source.monitor-interval",
        OptionType::Duration,
        "Look for new files this often; without it the table ends with the files it has.",
    ),
    OptionSpec::new(
        "source.path.regex-pattern",
        OptionType::Text,
        "Read only files whose whole path matches this regular expression.",
    ),
    OptionSpec::new(
        "dflow.split-size",
        OptionType::Size,
        "Files larger than this are read in ranges of it, where compression and format allow.",
    )
    .default("64 mb"),
    OptionSpec::new(
        "source.report-statistics",
        OptionType::Enum(&["ALL", "FILE_SIZE", "NONE"]),
        "Statistics for the optimizer.",
    )
    .default("ALL")
    .without_effect(),
    OptionSpec::new(
        "dflow.on-error",
        OptionType::Enum(&["fail", "skip", "dead-letter"]),
        "What a record that cannot be decoded does.",
    )
    .default("fail"),
    OptionSpec::new("dflow.dead-letter.path", OptionType::Text, "The directory records go to that cannot be decoded."),
    OptionSpec::new("partition.default-name", OptionType::Text, "The directory value that stands for NULL and ''.")
        .default("__DEFAULT_PARTITION__"),
    OptionSpec::new("sink.rolling-policy.file-size", OptionType::Size, "Start a new file at this size.")
        .default("128 mb"),
    OptionSpec::new("sink.rolling-policy.rollover-interval", OptionType::Duration, "Start a new file at this age.")
        .default("30 min"),
    OptionSpec::new(
        "sink.rolling-policy.inactivity-interval",
        OptionType::Duration,
        "Close a file nothing was written to for this long.",
    )
    .default("30 min"),
    OptionSpec::new(
        "sink.rolling-policy.check-interval",
        OptionType::Duration,
        "Policies are checked at every batch and checkpoint.",
    )
    .default("1 min")
    .without_effect(),
    OptionSpec::new(
        "sink.partition-commit.policy.kind",
        OptionType::Text,
        "What marks a partition that was written to: success-file.",
    ),
    OptionSpec::new("sink.partition-commit.success-file.name", OptionType::Text, "The name of the marker file.")
        .default("_SUCCESS"),
    OptionSpec::new(
        "sink.partition-commit.trigger",
        OptionType::Enum(&["process-time"]),
        "When partitions are marked.",
    )
    .default("process-time"),
    OptionSpec::new("sink.partition-commit.delay", OptionType::Duration, "Only 0 s: with the commit.").default("0 s"),
    OptionSpec::new("sink.shuffle-by-partition.enable", OptionType::Bool, "Only false.").default("false"),
    OptionSpec::new("auto-compaction", OptionType::Bool, "Only false.").default("false"),
    OptionSpec::new("sink.parallelism", OptionType::Int, "How many writers; the job's parallelism without it."),
    OptionSpec::new("scan.parallelism", OptionType::Int, "How many readers; the job's parallelism without it."),
];

/// The connector's own options checked, and the format's with their prefix taken off.
pub(crate) struct Split {
    pub(crate) options: Options,
    pub(crate) format_options: Vec<dflow_connector_api::RawOption>,
}

/// Tells the options of the connector from those of its format.
pub(crate) fn check(request: &TableRequest) -> Result<Split, Vec<dflow_connector_api::Error>> {
    let (own, format_options) = split_format(&request.options);
    let options = Options::check("connector 'filesystem'", OPTIONS, &own, request.span)?;
    Ok(Split { options, format_options })
}
