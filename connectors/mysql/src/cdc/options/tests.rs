use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use dflow_common::env::sim;
use dflow_common::metrics::Metrics;
use dflow_common::{Classified, SourceId, Span};
use dflow_connector_api::error::{BAD_OPTION_VALUE, UNKNOWN_OPTION};
use dflow_connector_api::{OptionText, RawOption, TableSchema};

use super::*;
use crate::binlog::position::{FilePosition, Inside, Seen};
use crate::client::Tls;

const NEEDED: [(&str, &str); 5] = [
    ("hostname", "db.example"),
    ("username", "u"),
    ("password", "hunter2"),
    ("database-name", "shop"),
    ("table-name", "orders"),
];

/// With these options beside (or instead of) the needed ones.
pub(in crate::cdc) fn read(given: &[(&str, &str)]) -> Result<CdcOptions, Vec<Error>> {
    let span = Span::new(SourceId(0), 0, 1);
    let raw = |(key, value): (&str, &str)| RawOption {
        key: key.into(),
        key_span: span,
        value: OptionText::Plain(value.into()),
        value_span: span,
    };
    let all: BTreeMap<&str, &str> = NEEDED.iter().chain(given).copied().collect();
    let request = TableRequest {
        name: "orders".into(),
        schema: TableSchema { columns: vec![], primary_key: vec![], partition_keys: vec![] },
        projection: vec![],
        masks: vec![],
        predicate: None,
        options: all.into_iter().map(raw).collect(),
        span,
        base_dir: ".".into(),
        time_zone: "Europe/Berlin".into(),
        job: "j".into(),
        env: sim::env_real_fs(1),
        metrics: Metrics::new(),
        formats: Arc::new(BTreeMap::new()),
    };
    let options = Options::check("connector 'mysql-cdc'", OPTIONS, &request.options, request.span)?;
    let mut errors = Vec::new();
    let read = CdcOptions::read(&options, &request, &mut errors);
    assert_eq!(read.is_none(), !errors.is_empty(), "{errors:?}");
    read.ok_or(errors)
}

/// The only problem, as text with its help.
fn problem(given: &[(&str, &str)]) -> String {
    let errors = read(given).unwrap_err();
    assert_eq!(errors.len(), 1, "{given:?}: {errors:?}");
    assert_eq!(errors[0].code(), BAD_OPTION_VALUE.code, "{errors:?}");
    let help = errors[0].diagnostic().help.join("; ");
    format!("{} ({help})", errors[0])
}

#[tokio::test]
async fn script_with_the_needed_options_alone_has_the_defaults_of_flink_cdc() {
    let options = read(&[]).unwrap();
    assert_eq!((options.endpoint.host.as_str(), options.endpoint.port), ("db.example", 3306));
    assert_eq!((options.endpoint.tls, options.endpoint.zero_dates), (Tls::Preferred, ZeroDates::Null));
    assert_eq!(options.endpoint.connect_timeout, Duration::from_secs(30));
    assert_eq!(options.connect_patience, Duration::from_secs(90));
    assert!(options.endpoint.database.is_none() && options.server_ids.is_none());
    assert_eq!(options.startup, Startup::Initial);
    assert_eq!(
        options.snapshot,
        SnapshotOptions {
            chunk_rows: 8_096,
            chunk_key: None,
            fetch_rows: 1_024,
            skips_backfill: false,
            is_unbounded_first: true,
            even_at_least: 0.05,
            even_at_most: 1_000.0,
        }
    );
    assert!(!options.takes_new_tables && !options.is_append_only);
    assert_eq!(options.schema_changes, SchemaChanges::Lenient);
    assert_eq!(options.heartbeat, HEARTBEAT_MAX, "silence is noticed before 30 s");
    assert_eq!(options.policy, Policy { zone: "Europe/Berlin".parse().unwrap(), ..Policy::default() });
    assert!(!format!("{options:?}").contains("hunter2"));
}

#[test]
fn every_option_is_declared_once_and_idle_ones_have_no_default() {
    let mut seen = HashSet::new();
    for spec in OPTIONS {
        for key in std::iter::once(&spec.key).chain(spec.aliases) {
            assert!(seen.insert(*key), "{key} twice");
        }
        assert!(!spec.without_effect || spec.default.is_none(), "{}: a default of nothing", spec.key);
        assert!(spec.doc.ends_with('.'), "{}", spec.key);
    }
}

#[tokio::test]
async fn places_to_begin() {
    let startup = |given: &[(&str, &str)]| read(given).unwrap().startup;
    let mode = |mode| startup(&[("scan.startup.mode", mode)]);
    assert_eq!((mode("snapshot"), mode("earliest-offset"), mode("Latest-Offset")), {
        (Startup::Snapshot, Startup::Earliest, Startup::Latest)
    });
    assert_eq!(
        startup(&[("scan.startup.mode", "timestamp"), ("scan.startup.timestamp-millis", "1667232000000")]),
        Startup::Time(1_667_232_000_000)
    );
    let at = |given: &[(&str, &str)]| {
        let mut all = vec![("scan.startup.mode", "specific-offset")];
        all.extend(given);
        startup(&all)
    };
    let file = [
        ("scan.startup.specific-offset.file", "binlog.000003"),
        ("scan.startup.specific-offset.pos", "4"),
        ("scan.startup.specific-offset.skip-events", "2"),
        ("scan.startup.specific-offset.skip-rows", "3"),
    ];
    let skip = Inside { events: 2, rows: 3 };
    let place = Some(FilePosition::new("binlog.000003", 4));
    assert_eq!(at(&file), Startup::At(StartAt { at: place, seen: None, skip }));
    const GTIDS: &str = "scan.startup.specific-offset.gtid-set";
    let gaps = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7";
    let seen = Some(Seen::Mysql(gaps.parse().unwrap()));
    assert_eq!(at(&[(GTIDS, gaps)]), Startup::At(StartAt { at: None, seen, skip: Inside::default() }));
    let seen = Some(Seen::Mariadb("0-1-90,1-1-4".parse().unwrap()));
    assert_eq!(at(&[(GTIDS, "0-1-90,1-1-4")]), Startup::At(StartAt { at: None, seen, skip: Inside::default() }));
    assert!(Startup::Initial.reads_tables() && Startup::Initial.reads_log());
    assert!(Startup::Snapshot.reads_tables() && !Startup::Snapshot.reads_log());
    assert!(!Startup::Latest.reads_tables() && Startup::Latest.reads_log());
}

#[tokio::test]
async fn places_that_are_none_are_told_with_what_to_write() {
    const MODE: (&str, &str) = ("scan.startup.mode", "specific-offset");
    const FILE: (&str, &str) = ("scan.startup.specific-offset.file", "binlog.000003");
    for (given, says) in [
        (&[("scan.startup.mode", "timestamp")][..], "scan.startup.timestamp-millis"),
        (&[MODE], "SHOW BINARY LOGS"),
        (&[MODE, FILE], "'scan.startup.specific-offset.pos' is missing"),
        (&[MODE, FILE, ("scan.startup.specific-offset.pos", "3")], "at least 4"),
        (&[MODE, ("scan.startup.specific-offset.pos", "4")], "'scan.startup.specific-offset.file' is missing"),
        (&[MODE, ("scan.startup.specific-offset.gtid-set", "1-90")], "0-1-90"),
        (&[MODE, ("scan.startup.specific-offset.gtid-set", "")], "0-1-90"),
        (&[FILE], "'scan.startup.mode' = 'specific-offset', or remove the option"),
        (&[("scan.startup.timestamp-millis", "5")], "'scan.startup.mode' = 'timestamp', or remove the option"),
    ] {
        let problem = problem(given);
        assert!(problem.contains(says), "{given:?}: {problem}");
    }
}

#[tokio::test]
async fn numbers_out_of_their_range_are_told() {
    for (key, value, says) in [
        ("port", "0", "1 to 65535"),
        ("port", "65536", "1 to 65535"),
        ("scan.incremental.snapshot.chunk.size", "1", "more than 1"),
        ("scan.snapshot.fetch.size", "1", "more than 1"),
        ("chunk-key.even-distribution.factor.lower-bound", "1.1", "from 0 to 1"),
        ("split-key.even-distribution.factor.lower-bound", "-0.1", "from 0 to 1"),
        ("chunk-key.even-distribution.factor.upper-bound", "0.5", "at least 1"),
        ("chunk-key.even-distribution.factor.upper-bound", "inf", "at least 1"),
        ("connect.timeout", "250 ms", "more than 250 ms"),
        ("connect.max-retries", "-1", "at least 0"),
        ("server-id", "0", "'5400-5408'"),
        ("server-id", "5408-5400", "'5400-5408'"),
        ("server-id", "4294967296", "'5400-5408'"),
        ("server-time-zone", "Europe/Berlim", "Europe/Berlin"),
        ("database-name", "a(", "regular expression"),
        ("table-name", "*", "regular expression"),
        ("scan.incremental.snapshot.enabled", "false", "remove the option"),
        ("debezium.snapshot.mode", "never", "'earliest-offset'"),
        ("debezium.snapshot.mode", "schema_only", "'latest-offset'"),
        ("debezium.event.deserialization.failure.handling.mode", "skip", "fail"),
        ("debezium.inconsistent.schema.handling.mode", "warn", "fail"),
        ("schema.change.behavior", "evolved", "'evolve'"),
        ("jdbc.properties.serverTimezone", "Asia/Tokyo", "'server-time-zone' = 'Asia/Tokyo'"),
        ("jdbc.properties.connectTimeout", "5", "'connect.timeout'"),
        ("jdbc.properties.noSuchThing", "5", "not known"),
    ] {
        let problem = problem(&[(key, value)]);
        assert!(problem.contains(says), "{key}: {problem}");
    }
}

#[tokio::test]
async fn names_of_debezium_and_connector_j_mean_the_same_or_are_refused() {
    let options = read(&[
        ("debezium.database.serverTimezone", "+08:00"),
        ("debezium.binary.handling.mode", "BASE64"),
        ("debezium.database.ssl.mode", "verify_ca"),
        ("debezium.snapshot.mode", "initial"),
        ("debezium.max.batch.size", "1"),
        ("jdbc.properties.zeroDateTimeBehavior", "EXCEPTION"),
        ("jdbc.properties.socketTimeout", "5000"),
        ("jdbc.properties.useUnicode", "true"),
        ("schema.change.behavior", "TRY_EVOLVE"),
        ("server-id", "5400-5404"),
    ])
    .unwrap();
    assert_eq!(options.endpoint.tls, Tls::VerifyCa);
    assert_eq!(options.endpoint.answer_timeout, Some(Duration::from_secs(5)));
    assert!(!options.policy.zero_dates_are_null && options.policy.binary_text == BinaryText::Base64);
    assert_eq!(options.policy.zone, Zone::Fixed(8 * 3_600));
    assert_eq!(options.schema_changes, SchemaChanges::TryEvolve);
    let ids = options.server_ids.unwrap();
    assert_eq!((ids.count(), ids.nth(4), ids.nth(5)), (5, 5_404, 5_400));

    let unknown = read(&[("debezium.skipped.operations", "d"), ("debezium.column.exclude.list", "a.b")]).unwrap_err();
    assert!(unknown.iter().all(|e| e.code() == UNKNOWN_OPTION.code) && unknown.len() == 2, "{unknown:?}");
}

#[tokio::test]
async fn server_id_by_chance_is_in_the_range_of_flink_cdc() {
    let options = read(&[]).unwrap();
    let env = sim::env_real_fs(7);
    let ids: HashSet<u32> = (0..100).map(|n| options.server_id(n, &env)).collect();
    assert!(ids.len() > 50 && ids.iter().all(|id| (5_400..=6_400).contains(id)), "{ids:?}");
}
