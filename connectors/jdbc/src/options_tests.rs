use std::collections::BTreeMap;
use std::sync::Arc;

use dflow_common::env::sim;
use dflow_common::{Classified, SourceId, Span, SqlType, metrics::Metrics};
use dflow_connector_api::error::BAD_OPTION_VALUE;
use dflow_connector_api::{Column, OptionText, RawOption, TableSchema};

use super::*;

const ALL: [OptionSpec; URL.len() + TABLE.len()] = join([URL, TABLE]);

fn request(options: &[(&str, &str)]) -> TableRequest {
    let span = Span::new(SourceId(0), 0, 1);
    let column =
        |name: &str, kind: TypeKind| Column { name: name.into(), ty: kind.into(), kind: ColumnKind::Physical, span };
    let array = TypeKind::Array(Box::new(SqlType::from(TypeKind::Int)));
    let mut columns = vec![column("id", TypeKind::BigInt), column("s", SqlType::STRING.kind), column("a", array)];
    columns[2].kind = ColumnKind::Metadata { key: "k".into(), is_virtual: true };
    let options = [("url", "jdbc:mysql://h/d"), ("table-name", "t")].iter().chain(options);
    TableRequest {
        name: "t".into(),
        schema: TableSchema { columns, primary_key: vec![], partition_keys: vec![] },
        projection: vec![0, 1],
        masks: vec![],
        predicate: None,
        options: options
            .map(|(k, v)| RawOption {
                key: (*k).into(),
                key_span: span,
                value: OptionText::Plain((*v).into()),
                value_span: span,
            })
            .collect(),
        span,
        base_dir: ".".into(),
        time_zone: "UTC".into(),
        job: "j".into(),
        env: sim::env_real_fs(1),
        metrics: Metrics::new(),
        formats: Arc::new(BTreeMap::new()),
    }
}

fn read(given: &[(&str, &str)]) -> Result<TableOptions, Vec<Error>> {
    let request = request(given);
    let options = Options::check("connector 'jdbc'", &ALL, &request.options, request.span)?;
    let mut errors = Vec::new();
    let read = TableOptions::read(&options, &request, &mut errors);
    if errors.is_empty() { Ok(read) } else { Err(errors) }
}

const PARTITIONS: [(&str, &str); 4] = [
    ("scan.partition.column", "id"),
    ("scan.partition.num", "4"),
    ("scan.partition.lower-bound", "-5"),
    ("scan.partition.upper-bound", "100"),
];

#[tokio::test]
async fn defaults_are_those_of_flink_but_for_the_rows_of_a_flush() {
    let o = read(&[]).unwrap();
    assert_eq!((o.flush_rows, o.flush_interval, o.max_retries), (Some(2048), Some(Duration::from_secs(1)), 3));
    assert_eq!((o.partitioning, o.fetch_rows, o.push_filters, o.is_exactly_once), (None, None, true, false));
    assert_eq!(o.connect_patience, Duration::from_secs(60));
    let o = read(&[("sink.buffer-flush.max-rows", "0"), ("sink.buffer-flush.interval", "0 s")]).unwrap();
    assert_eq!((o.flush_rows, o.flush_interval), (None, None));
}

#[tokio::test]
async fn a_partitioned_scan_takes_all_four_options_or_none() {
    let all = read(&PARTITIONS).unwrap().partitioning.unwrap();
    assert_eq!(all, Partitioning { column: 0, count: 4, lower: -5, upper: 100 });
    for present in 1..15_usize {
        let some: Vec<_> = (0..4).filter(|i| present >> i & 1 == 1).map(|i| PARTITIONS[i]).collect();
        let errors = read(&some).unwrap_err();
        assert!(errors[0].to_string().contains("is missing"), "{some:?}: {errors:?}");
    }
}

#[tokio::test]
async fn values_that_make_no_sense_are_refused() {
    for (key, value) in [
        ("username", "u"),
        ("password", "hunter2"),
        ("connection.max-retry-timeout", "10 ms"),
        ("scan.fetch-size", "-1"),
        ("sink.max-retries", "-1"),
        ("sink.parallelism", "0"),
    ] {
        let errors = read(&[(key, value)]).unwrap_err();
        assert_eq!(errors.iter().map(Classified::code).collect::<Vec<_>>(), [BAD_OPTION_VALUE.code], "{key}");
        assert!(!format!("{errors:?}").contains("hunter2"));
    }
    for (key, value) in [
        ("scan.partition.column", "s"),
        ("scan.partition.column", "nope"),
        ("scan.partition.num", "0"),
        ("scan.partition.lower-bound", "101"),
    ] {
        let given: Vec<_> = PARTITIONS.iter().map(|(k, v)| (*k, if *k == key { value } else { v })).collect();
        assert_eq!(read(&given).unwrap_err().len(), 1, "{key} = {value}");
    }
}

#[tokio::test]
async fn columns_a_table_cannot_have_are_refused() {
    let mut errors = Vec::new();
    check_columns(&request(&[]), &[0, 1, 2], &mut errors);
    assert_eq!(errors.iter().map(Classified::code).collect::<Vec<_>>(), [BAD_METADATA.code, UNSUPPORTED_TYPE.code]);
}
