//! The option names and rules of Flink's JDBC connector.
//!
//! A connector declares [`TABLE`] beside what says where its server is, and reads it with [`TableOptions::read`].

use std::time::Duration;

use dflow_common::TypeKind;
use dflow_connector_api::{ColumnKind, Error, OptionSpec, OptionType, Options, TableRequest};

use crate::error::{BAD_METADATA, UNSUPPORTED_TYPE};

/// Rows that make a writer flush, unless the script says otherwise. Flink's 100 costs half the throughput.
const FLUSH_ROWS: &str = "2048";

/// `connector = 'jdbc'`: where the server is.
pub const URL: &[OptionSpec] = &[
    OptionSpec::new("url", OptionType::Text, "Where the database is: jdbc:mysql://host:3306/database?property=value.")
        .required()
        .identity(),
    OptionSpec::new("driver", OptionType::Text, "Without effect here: the URL says which system it is."),
    OptionSpec::new("compatible-mode", OptionType::Text, "Without effect here."),
];

/// What every table of a SQL database takes.
pub const TABLE: &[OptionSpec] = &[
    OptionSpec::new("table-name", OptionType::Text, "The table, as the database spells it.").required().identity(),
    OptionSpec::new("username", OptionType::Text, "The user to connect as; only together with 'password'."),
    OptionSpec::new("password", OptionType::Text, "That user's password.").secret(),
    OptionSpec::new("properties.#", OptionType::Text, "A connection property, as in the URL: properties.sslMode."),
    OptionSpec::new(
        "connection.max-retry-timeout",
        OptionType::Duration,
        "How long connecting is tried before it fails; at least 1 s.",
    )
    .default("60 s"),
    OptionSpec::new(
        "scan.partition.column",
        OptionType::Text,
        "The numeric column whose ranges are read at the same time; only with the other three.",
    )
    .identity(),
    OptionSpec::new("scan.partition.num", OptionType::Int, "How many ranges.").identity(),
    OptionSpec::new("scan.partition.lower-bound", OptionType::Int, "The smallest value that is read.").identity(),
    OptionSpec::new("scan.partition.upper-bound", OptionType::Int, "The largest value that is read.").identity(),
    OptionSpec::new("scan.fetch-size", OptionType::Int, "Rows of one batch; 0 leaves it to dflow.").default("0"),
    OptionSpec::new("scan.auto-commit", OptionType::Bool, "Without effect here.").default("true"),
    OptionSpec::new("scan.parallelism", OptionType::Int, "How many readers; the job's parallelism without it."),
    OptionSpec::new(
        "filter.handling.policy",
        OptionType::Enum(&["always", "never"]),
        "Whether the server filters where it can.",
    )
    .default("always"),
    OptionSpec::new(
        "sink.buffer-flush.max-rows",
        OptionType::Int,
        "Write when so many rows wait; 0 waits for the interval or the checkpoint. Flink's default is 100.",
    )
    .default(FLUSH_ROWS),
    OptionSpec::new(
        "sink.buffer-flush.interval",
        OptionType::Duration,
        "Rows wait this long at most while others keep coming; 0 s waits for the rows or the checkpoint.",
    )
    .default("1 s"),
    OptionSpec::new("sink.max-retries", OptionType::Int, "How often a failed write is tried again.").default("3"),
    OptionSpec::new("sink.parallelism", OptionType::Int, "How many writers; the job's parallelism without it."),
    OptionSpec::new(
        "sink.delivery-guarantee",
        OptionType::Enum(&["at-least-once", "exactly-once"]),
        "exactly-once writes rows after their checkpoint, together with a row of the table `dflow_commits`.",
    )
    .default("at-least-once"),
];

/// Lists of options, one after the other.
pub const fn join<const N: usize>(lists: [&[OptionSpec]; 2]) -> [OptionSpec; N] {
    let mut all = [OptionSpec::new("", OptionType::Text, ""); N];
    let (mut at, mut list) = (0, 0);
    while list < lists.len() {
        let mut i = 0;
        while i < lists[list].len() {
            all[at] = lists[list][i];
            at += 1;
            i += 1;
        }
        list += 1;
    }
    assert!(at == N, "N is the sum of the lengths");
    all
}

/// How a scan is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partitioning {
    /// The column, by index into the table's schema.
    pub column: usize,
    /// How many ranges.
    pub count: usize,
    /// The smallest value.
    pub lower: i64,
    /// The largest value.
    pub upper: i64,
}

/// The options of [`TABLE`], read.
#[derive(Clone, Debug)]
pub struct TableOptions {
    /// The table on the server.
    pub table: String,
    /// How long connecting is tried.
    pub connect_patience: Duration,
    /// How a scan is cut; `None` reads the table at once.
    pub partitioning: Option<Partitioning>,
    /// Rows of one batch; `None` leaves it to the reader.
    pub fetch_rows: Option<usize>,
    /// Whether filters are pushed down.
    pub push_filters: bool,
    /// Readers at most.
    pub scan_parallelism: Option<usize>,
    /// Rows that make a writer flush; `None` for no limit of the user's.
    pub flush_rows: Option<usize>,
    /// Age of the oldest row that makes a writer flush.
    pub flush_interval: Option<Duration>,
    /// How often a failed write is tried again.
    pub max_retries: u32,
    /// Writers at most.
    pub sink_parallelism: Option<usize>,
    /// Whether rows are written after their checkpoint, with a marker.
    pub is_exactly_once: bool,
}

impl TableOptions {
    /// Reads and checks them; adds what is wrong to `errors`.
    pub fn read(options: &Options, request: &TableRequest, errors: &mut Vec<Error>) -> TableOptions {
        for (one, other) in [("username", "password"), ("password", "username")] {
            if options.is_set(one) && !options.is_set(other) {
                errors.push(options.invalid(one, format!("'{other}' is missing")).help("give both, or neither"));
            }
        }
        let patience = options.duration("connection.max-retry-timeout").unwrap_or_default();
        if patience < Duration::from_secs(1) {
            errors.push(options.invalid("connection.max-retry-timeout", "at least 1 s"));
        }
        let mut at_least = |key: &str, least: i64| {
            let value = options.int(key)?;
            if value < least {
                errors.push(options.invalid(key, format!("at least {least}")));
            }
            usize::try_from(value).ok()
        };
        let positive = |n: usize| (n > 0).then_some(n);
        let fetch_rows = at_least("scan.fetch-size", 0).and_then(positive);
        let flush_rows = at_least("sink.buffer-flush.max-rows", 0).and_then(positive);
        let max_retries = at_least("sink.max-retries", 0).unwrap_or_default();
        let scan_parallelism = at_least("scan.parallelism", 1);
        let sink_parallelism = at_least("sink.parallelism", 1);
        TableOptions {
            table: options.required("table-name").to_owned(),
            connect_patience: patience,
            partitioning: partitioning(options, request, errors),
            fetch_rows,
            push_filters: !options.required("filter.handling.policy").trim().eq_ignore_ascii_case("never"),
            scan_parallelism,
            flush_rows,
            flush_interval: options.duration("sink.buffer-flush.interval").filter(|d| !d.is_zero()),
            max_retries: u32::try_from(max_retries).unwrap_or(u32::MAX),
            sink_parallelism,
            is_exactly_once: options.required("sink.delivery-guarantee").trim().eq_ignore_ascii_case("exactly-once"),
        }
    }
}

/// All four options, or none.
fn partitioning(options: &Options, request: &TableRequest, errors: &mut Vec<Error>) -> Option<Partitioning> {
    const KEYS: [&str; 4] =
        ["scan.partition.column", "scan.partition.num", "scan.partition.lower-bound", "scan.partition.upper-bound"];
    let given = KEYS.iter().find(|k| options.is_set(k))?;
    let missing: Vec<String> = KEYS.iter().filter(|k| !options.is_set(k)).map(|k| format!("'{k}'")).collect();
    if !missing.is_empty() {
        errors.push(
            options
                .invalid(given, format!("{} is missing", missing.join(", ")))
                .help("give all four options of a partitioned scan, or none"),
        );
        return None;
    }
    let before = errors.len();
    let name = options.required(KEYS[0]);
    let column = request.schema.index_of(name);
    match column.map(|c| &request.schema.columns[c].ty.kind) {
        None => errors.push(options.invalid(KEYS[0], format!("the table declares no column `{name}`"))),
        Some(
            TypeKind::TinyInt
            | TypeKind::SmallInt
            | TypeKind::Int
            | TypeKind::BigInt
            | TypeKind::Float
            | TypeKind::Double
            | TypeKind::Decimal(..)
            | TypeKind::Date
            | TypeKind::Timestamp(_)
            | TypeKind::TimestampLtz(_),
        ) => {}
        Some(_) => errors.push(
            options
                .invalid(KEYS[0], format!("column `{name}` is neither a number nor a date nor a timestamp"))
                .help("choose another column, or read the table without partitions"),
        ),
    }
    let count = options.int(KEYS[1]).unwrap_or_default();
    if count < 1 {
        errors.push(options.invalid(KEYS[1], "at least 1"));
    }
    let (lower, upper) = (options.int(KEYS[2])?, options.int(KEYS[3])?);
    if lower > upper {
        errors.push(options.invalid(KEYS[2], format!("it is above the upper bound {upper}")));
    }
    if errors.len() > before {
        return None;
    }
    Some(Partitioning { column: column?, count: usize::try_from(count).unwrap_or(1), lower, upper })
}

/// Refuses columns that a database table cannot have: of these indices into the request's schema.
pub fn check_columns(request: &TableRequest, columns: &[usize], errors: &mut Vec<Error>) {
    for column in columns.iter().map(|c| &request.schema.columns[*c]) {
        if let ColumnKind::Metadata { key, .. } = &column.kind {
            errors.push(
                Error::new(BAD_METADATA, format!("metadata '{key}' does not exist in a database table"))
                    .at(column.span, "")
                    .help("remove the column"),
            );
        }
        let has_counterpart = !matches!(
            column.ty.kind,
            TypeKind::Array(_)
                | TypeKind::Map(..)
                | TypeKind::Multiset(_)
                | TypeKind::Row(_)
                | TypeKind::Null
                | TypeKind::IntervalYearMonth
                | TypeKind::IntervalDayTime
        );
        if !has_counterpart {
            errors.push(
                Error::new(
                    UNSUPPORTED_TYPE,
                    format!("column `{}` has a type that SQL databases do not have", column.name),
                )
                .at(column.span, "")
                .help("declare it as STRING (JSON text)"),
            );
        }
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
