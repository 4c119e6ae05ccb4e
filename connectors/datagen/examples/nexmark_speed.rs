//! Events per CPU-second of the nexmark source alone, for what typical queries read.
//!
//! `cargo run --release -p dflow-connector-datagen --example nexmark_speed [events] [words of a case's name]`
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;

use dflow_common::env::{Env, Spawner};
use dflow_common::types::{LENGTH_MAX, RowField};
use dflow_common::{SourceId, Span, SqlType, TypeKind, metrics::Metrics};
use dflow_connector_api::{
    Column, ColumnKind, CompareOp, ConnectorFactory, EnumeratorEvent, FieldMask, OptionText, Predicate, RawOption,
    ReaderContext, ReaderEvent, SourceContext, TableRequest, TableSchema, Value,
};
use dflow_connector_datagen::NexmarkFactory;

const STRING: TypeKind = TypeKind::VarChar(LENGTH_MAX);
const PERSON: &[&str] = &["id", "name", "emailAddress", "creditCard", "city", "state", "dateTime", "extra"];
const AUCTION: &[&str] =
    &["id", "itemName", "description", "initialBid", "reserve", "dateTime", "expires", "seller", "category", "extra"];
const BID: &[&str] = &["auction", "bidder", "price", "channel", "url", "dateTime", "extra"];

/// What is measured: a name, the kinds that pass the filter (all when empty), the fields read of each row.
type Case = (&'static str, &'static [i64], [&'static [&'static str]; 3]);

const CASES: &[Case] = &[
    ("count(*) of bids", &[2], [&[], &[], &[]]),
    ("q2: auction, price", &[2], [&[], &[], &["auction", "price"]]),
    (
        "q1: auction, bidder, price, dateTime, extra",
        &[2],
        [&[], &[], &["auction", "bidder", "price", "dateTime", "extra"]],
    ),
    ("q21: auction, bidder, price, channel, url", &[2], [&[], &[], &["auction", "bidder", "price", "channel", "url"]]),
    ("all of bids", &[2], [&[], &[], BID]),
    (
        "q3: persons and auctions",
        &[0, 1],
        [&["id", "name", "city", "state", "dateTime"], &["id", "seller", "category", "dateTime"], &[]],
    ),
    ("everything", &[], [PERSON, AUCTION, BID]),
];

fn row(fields: &[&str]) -> TypeKind {
    let ty = |name: &str| match name {
        "dateTime" | "expires" => TypeKind::Timestamp(3),
        "id" | "auction" | "bidder" | "price" | "initialBid" | "reserve" | "seller" | "category" => TypeKind::BigInt,
        _ => STRING,
    };
    let field = |name: &&str| RowField { name: (*name).into(), ty: ty(name).into(), comment: None };
    TypeKind::Row(fields.iter().map(field).collect())
}

fn request(case: &Case, events: u64, env: &Env) -> TableRequest {
    let span = Span::new(SourceId(0), 0, 0);
    let column = |name: &str, ty: TypeKind| Column {
        name: name.into(),
        ty: SqlType::from(ty),
        kind: ColumnKind::Physical,
        span,
    };
    let option = |key: &str, value: &str| RawOption {
        key: key.into(),
        key_span: span,
        value: OptionText::Plain(value.into()),
        value_span: span,
    };
    let mask = |all: &[&str], read: &[&str]| {
        let place = |name: &&str| all.iter().position(|a| a == name).map(|i| (i, FieldMask::All));
        FieldMask::Fields(read.iter().filter_map(place).collect())
    };
    let kinds = case.1.iter().map(|k| Predicate::Compare(0, CompareOp::Eq, Value::Int(*k))).collect();
    TableRequest {
        name: "nexmark".into(),
        schema: TableSchema {
            columns: vec![
                column("event_type", TypeKind::Int),
                column("person", row(PERSON)),
                column("auction", row(AUCTION)),
                column("bid", row(BID)),
            ],
            primary_key: vec![],
            partition_keys: vec![],
        },
        projection: vec![0, 1, 2, 3],
        masks: vec![FieldMask::All, mask(PERSON, case.2[0]), mask(AUCTION, case.2[1]), mask(BID, case.2[2])],
        predicate: if case.1.is_empty() { None } else { Some(Predicate::Or(kinds)) },
        options: vec![option("first-event.rate", "10000000"), option("events.num", &events.to_string())],
        span,
        base_dir: ".".into(),
        time_zone: "UTC".into(),
        job: "bench".into(),
        env: env.clone(),
        metrics: Metrics::new(),
        formats: Arc::default(),
    }
}

/// User and system time of this process, in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    ticks / 100.0
}

async fn read(request: &TableRequest) -> Result<usize, dflow_connector_api::Error> {
    let source = NexmarkFactory.source(request).map_err(|mut e| e.remove(0))?;
    let context = SourceContext {
        job: request.job.clone(),
        parallelism: 1,
        env: request.env.clone(),
        metrics: request.metrics.clone(),
    };
    let mut enumerator = source.enumerator(&context, None)?;
    let mut reader = source.reader(&ReaderContext { source: context, subtask: 0 })?;
    while let EnumeratorEvent::Assign(splits) = enumerator.next().await? {
        reader.add_splits(splits)?;
    }
    reader.no_more_splits();
    let mut rows = 0;
    loop {
        match reader.next().await? {
            ReaderEvent::Batch { batch, .. } => rows += std::hint::black_box(batch).num_rows(),
            ReaderEvent::End => return Ok(rows),
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let events: u64 = std::env::args().nth(1).map_or(Ok(10_000_000), |n| n.parse())?;
    let only = std::env::args().nth(2).unwrap_or_default();
    let env = Env::production(Spawner::owned(1)?);
    // The shared tables are made before the clock runs.
    env.spawner.block_on(read(&request(&CASES[0], 1, &env)))?;
    println!("{events} events each");
    for case in CASES.iter().filter(|case| case.0.contains(&only)) {
        let request = request(case, events, &env);
        let before = cpu_seconds();
        let rows = env.spawner.block_on(read(&request))?;
        let cpu = cpu_seconds() - before;
        println!(
            "{:44} {:7.1} M events per CPU-second, {:6.1} ns an event, {rows} rows",
            case.0,
            events as f64 / cpu / 1e6,
            cpu * 1e9 / events as f64
        );
    }
    Ok(())
}
