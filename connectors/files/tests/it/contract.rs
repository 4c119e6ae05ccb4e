//! The contract suites of the connector API, on real files.

use std::io::Write;
use std::sync::Arc;

use dflow_common::{Env, SqlType, TypeKind};
use dflow_connector_api::contract::sink::schema;
use dflow_connector_api::contract::{Growing, SinkFixture, SourceFixture};
use dflow_connector_api::{Sink, Source, sink_contract, source_contract};
use futures::future::BoxFuture;

use crate::kit::*;

struct Files(Table);

impl SourceFixture for Files {
    fn env(&self) -> Env {
        self.0.env.clone()
    }

    fn open(&self, projection: Option<&[usize]>) -> Arc<dyn Source> {
        self.0.try_source(projection).unwrap()
    }

    fn growing(&self) -> Option<Growing> {
        let watched = Arc::new(Table::json(&[("source.monitor-interval", "5 s")]));
        watched.put("a/first.json", "");
        let adding = watched.clone();
        Some(Growing {
            open: Box::new(move || watched.source()),
            grow: Box::new(move |i| {
                adding.put(&format!("a/more-{i}.json"), format!("{{\"id\":{i}}}\n{{\"id\":{}}}\n", i + 100));
                2
            }),
        })
    }
}

fn lines(from: usize, to: usize) -> String {
    (from..to).map(|i| format!("{{\"id\":{i},\"name\":\"row {i} é with some text\"}}\n")).collect()
}

/// Lines in ranges of 200 bytes, which cut records anywhere; several batches in one of the files.
fn json_ranges() -> Files {
    let t = Table::json(&[("dflow.split-size", "200")]);
    t.put("a.json", lines(0, 40))
        .put("b/c.json", lines(100, 103))
        .put("d.json", "")
        .put("_skip", "x")
        .put(".skip", "x");
    Files(t)
}

/// One file of three batches without a line feed at its end, and a small one.
fn json_batches() -> Files {
    let t = Table::json(&[]);
    t.put("a.json", lines(0, 20_000).trim_end()).put("b.json", lines(0, 2));
    Files(t)
}

fn compressed() -> Files {
    let t = Table::json(&[("dflow.split-size", "100")]);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(lines(0, 9_000).as_bytes()).unwrap();
    t.put("a.json.gz", gz.finish().unwrap());
    t.put("b.json.zst", zstd::encode_all(lines(0, 9_000).as_bytes(), 1).unwrap());
    Files(t)
}

fn quoted_csv() -> Files {
    let options = [("format", "csv"), ("dflow.split-size", "50"), ("csv.header", "true")];
    let t = Table::new(&[("id", bigint()), ("name", string())], &options);
    let csv: String = (0..9_000).map(|i| format!("{i},\"two\nlines \"\"{i}\"\"\"\n")).collect();
    t.put("a.csv", format!("id,name\n{csv}")).put("b.csv", "id,name\n1,x\n").put("c.csv", "id,name\n");
    Files(t)
}

fn parquet() -> Files {
    let t =
        Table::new(&[("id", bigint()), ("name", string())], &[("format", "parquet"), ("parquet.batch-size", "100")]);
    for (file, from, to) in [("a", 0, 450), ("b", 500, 501), ("c", 600, 640)] {
        let format = registry().formats()["parquet"].clone();
        let request = t.request();
        let format = format
            .encoding(&dflow_connector_api::format::FormatRequest {
                table: "t".into(),
                schema: request.schema.clone(),
                projection: vec![0, 1],
                masks: Vec::new(),
                options: Vec::new(),
                span: span(),
                time_zone: "UTC".into(),
            })
            .unwrap();
        let (mut encoder, mut out) = (format.encoder().unwrap(), Vec::new());
        encoder.encode(&batch(&t, &lines(from, to)), &mut out).unwrap();
        encoder.finish(&mut out).unwrap();
        t.put(&format!("{file}.parquet"), out);
    }
    Files(t)
}

fn changelog() -> Files {
    let options = [("format", "debezium-json"), ("dflow.split-size", "300")];
    let t = Table::new(&[("id", bigint()), ("name", string())], &options);
    let text: String = (0..60)
        .map(|i| match i % 3 {
            0 => format!("{{\"after\":{{\"id\":{i}}},\"op\":\"c\"}}\n"),
            1 => format!("{{\"before\":{{\"id\":{i}}},\"after\":{{\"id\":{i},\"name\":\"n\"}},\"op\":\"u\"}}\n"),
            _ => format!("{{\"before\":{{\"id\":{i}}},\"op\":\"d\"}}\n"),
        })
        .collect();
    t.put("a.json", &text).put("b.json", &text);
    Files(t)
}

fn partitioned() -> Files {
    let t = Table::new(&[("id", bigint()), ("name", string()), ("dt", TypeKind::Date.into())], &[("format", "json")])
        .partitioned_by(&["dt"])
        .metadata("file", "file.name", string())
        .metadata("size", "file.size", bigint());
    for day in 1..5 {
        t.put(&format!("dt=2024-01-0{day}/a.json"), lines(0, day));
    }
    t.put("dt=__DEFAULT_PARTITION__/a.json", lines(0, 3));
    Files(t)
}

source_contract!(json_in_ranges, json_ranges());
source_contract!(json_in_batches, json_batches());
source_contract!(gzip_and_zstd, compressed());
source_contract!(csv_with_quotes, quoted_csv());
source_contract!(parquet_files, parquet());
source_contract!(debezium_changelog, changelog());
source_contract!(partition_and_metadata_columns, partitioned());

/// A sink whose directory is read back by the source.
struct Written(Table);

impl Written {
    fn new(options: &[(&str, &str)]) -> Self {
        let columns: Vec<(String, SqlType)> = schema().columns.iter().map(|c| (c.name.clone(), c.ty.clone())).collect();
        let columns: Vec<(&str, SqlType)> = columns.iter().map(|(n, t)| (n.as_str(), t.clone())).collect();
        Self(Table::new(&columns, options))
    }
}

impl SinkFixture for Written {
    fn env(&self) -> Env {
        self.0.env.clone()
    }

    fn open(&self) -> Arc<dyn Sink> {
        self.0.try_sink().unwrap()
    }

    fn visible(&self) -> BoxFuture<'_, Vec<(i64, String)>> {
        Box::pin(async {
            let rows = self.0.read().await.unwrap();
            rows.iter()
                .map(|row| {
                    let (id, name) = row.strip_prefix("+I ").unwrap().split_once('|').unwrap();
                    (id.parse().unwrap(), name.to_owned())
                })
                .collect()
        })
    }
}

sink_contract!(json_sink, Written::new(&[("format", "json")]));
sink_contract!(csv_sink, Written::new(&[("format", "csv")]));
sink_contract!(parquet_sink, Written::new(&[("format", "parquet")]));
sink_contract!(small_files, Written::new(&[("format", "json"), ("sink.rolling-policy.file-size", "1 b")]));
sink_contract!(changelog_sink, Written::new(&[("format", "debezium-json")]));

/// A row's `name` becomes its directory, with everything that needs escaping in it.
fn by_name() -> Written {
    let Written(table) = Written::new(&[("format", "json")]);
    Written(table.partitioned_by(&["name"]))
}

sink_contract!(partitioned_sink, by_name());
