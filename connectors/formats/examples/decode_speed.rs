//! How many bytes a CPU-second decodes and encodes.
//!
//! ```text
//! cargo run --release -p dflow-formats --example decode_speed
//! ```
//! Rows have 10 fields and about 200 bytes, as in the project's other measurements. `all` builds every column, `two`
//! builds two of ten (the rest is walked over). Encoding writes all columns.
#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::time::{Duration, Instant};

use dflow_common::limits::{BATCH_BYTES, BATCH_ROWS};
use dflow_common::types::LENGTH_MAX;
use dflow_common::{ChangeBatch, SourceId, Span, SqlType, TypeKind};
use dflow_connector_api::format::{Decoding, FormatFactory, FormatRequest};
use dflow_connector_api::{Column, ColumnKind, TableSchema};

const ROWS: usize = 200_000;
const ROUNDS: usize = 5;

fn columns() -> Vec<(&'static str, TypeKind)> {
    vec![
        ("id", TypeKind::BigInt),
        ("customer", TypeKind::BigInt),
        ("product", TypeKind::VarChar(LENGTH_MAX)),
        ("category", TypeKind::VarChar(LENGTH_MAX)),
        ("quantity", TypeKind::Int),
        ("price", TypeKind::Double),
        ("amount", TypeKind::Decimal(12, 2)),
        ("created", TypeKind::Timestamp(3)),
        ("paid", TypeKind::Boolean),
        ("note", TypeKind::VarChar(LENGTH_MAX)),
    ]
}

fn request(projection: Vec<usize>) -> FormatRequest {
    let span = Span::new(SourceId(0), 0, 0);
    let column = |(name, kind): (&str, TypeKind)| Column {
        name: name.into(),
        ty: SqlType::from(kind),
        kind: ColumnKind::Physical,
        span,
    };
    FormatRequest {
        table: "orders".into(),
        schema: TableSchema {
            columns: columns().into_iter().map(column).collect(),
            primary_key: Vec::new(),
            partition_keys: Vec::new(),
        },
        projection,
        masks: Vec::new(),
        options: Vec::new(),
        span,
        time_zone: "UTC".into(),
    }
}

fn json_text() -> Vec<u8> {
    let row = |i: usize| {
        format!(
            "{{\"id\":{i},\"customer\":{},\"product\":\"product number {}\",\"category\":\"cat-{}\",\"quantity\":{},\
             \"price\":{}.{:02},\"amount\":{}.{:02},\"created\":\"2024-01-{:02} {:02}:{:02}:{:02}.{:03}\",\"paid\":{},\
             \"note\":\"deliver to {} after six\"}}\n",
            i * 7919 % 100_000,
            i * 31 % 5_000,
            i % 40,
            i % 9 + 1,
            i * 13 % 900,
            i % 100,
            i * 17 % 9_000,
            i % 100,
            i % 28 + 1,
            i % 24,
            i % 60,
            i * 7 % 60,
            i % 1000,
            i.is_multiple_of(3),
            i % 777,
        )
    };
    (0..ROWS).flat_map(|i| row(i).into_bytes()).collect()
}

/// CPU time of this thread; wall time where the system does not say.
fn cpu(started: Instant) -> Duration {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|s| s.split(' ').next()?.parse().ok())
        .map_or_else(|| started.elapsed(), Duration::from_nanos)
}

/// The best of some rounds.
fn best(mut round: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let started = Instant::now();
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let before = cpu(started);
        round()?;
        best = best.min((cpu(started) - before).as_secs_f64());
    }
    Ok(best)
}

fn report(what: &str, bytes: usize, rows: usize, seconds: f64) {
    let mb = bytes as f64 / 1e6 / seconds;
    println!(
        "{what:<24} {mb:>7.0} MB/s {:>7.2} M rows/s   {:.0} B/row",
        rows as f64 / 1e6 / seconds,
        bytes as f64 / rows as f64
    );
}

/// Decodes a text and hands its batches out.
fn decode(
    factory: &dyn FormatFactory,
    request: &FormatRequest,
    text: &[u8],
    mut take: impl FnMut(ChangeBatch),
) -> Result<(), Box<dyn Error>> {
    let Ok(Decoding::Records(decoding)) = factory.decoding(request) else { return Err("not a record format".into()) };
    let mut decoder = decoding.decoder(true);
    let mut at = 0;
    while at < text.len() {
        let end = (at + BATCH_BYTES).min(text.len());
        let progress = decoder.decode(&text[at..end], end == text.len(), BATCH_ROWS)?;
        if let Some(bad) = progress.bad.first() {
            return Err(bad.message.clone().into());
        }
        at += progress.bytes;
        take(decoder.take()?);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let json = json_text();
    let all = request((0..10).collect());
    let mut batches = Vec::new();
    decode(&dflow_formats::json::Json, &all, &json, |b| batches.push(b))?;
    let encode = |factory: &dyn FormatFactory, out: &mut Vec<u8>| -> Result<(), Box<dyn Error>> {
        let encoding = factory.encoding(&all).map_err(|e| format!("{e:?}"))?;
        let mut encoder = encoding.encoder()?;
        out.clear();
        batches.iter().try_for_each(|b| encoder.encode(b, out))?;
        Ok(encoder.finish(out)?)
    };
    let mut out = Vec::with_capacity(json.len() * 2);
    let formats: [(&str, &dyn FormatFactory); 2] =
        [("json", &dflow_formats::json::Json), ("csv", &dflow_formats::csv::Csv)];
    for (name, factory) in formats {
        encode(factory, &mut out)?;
        let text = out.clone();
        for (what, projection) in [("all", (0..10).collect()), ("two", vec![0, 6])] {
            let request = request(projection);
            let seconds = best(|| decode(factory, &request, &text, drop))?;
            report(&format!("{name} decode {what}"), text.len(), ROWS, seconds);
        }
        let seconds = best(|| encode(factory, &mut out))?;
        report(&format!("{name} encode"), text.len(), ROWS, seconds);
    }
    let seconds = best(|| encode(&dflow_formats::parquet::Parquet, &mut out))?;
    report("parquet encode", out.len(), ROWS, seconds);
    Ok(())
}
