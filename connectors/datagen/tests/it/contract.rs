//! The contract suites on the connectors of this crate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use dflow_common::{Env, TypeKind, env::sim};
use dflow_connector_api::contract::source::resumes_from_every_position;
use dflow_connector_api::contract::{SinkFixture, SourceFixture, sink};
use dflow_connector_api::{Column, ConnectorFactory, Sink, Source, TableRequest, sink_contract, source_contract};
use dflow_connector_datagen::{Capture, PrintFactory};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::datagen::wide_columns;
use crate::kit::{column, env, request, source};
use crate::nexmark;

struct Generator {
    connector: &'static str,
    columns: Vec<Column>,
    options: Vec<(&'static str, &'static str)>,
}

impl SourceFixture for Generator {
    fn env(&self) -> Env {
        env()
    }

    fn open(&self, projection: Option<&[usize]>) -> Arc<dyn Source> {
        let mut request: TableRequest = request(self.columns.clone(), &self.options);
        if let Some(projection) = projection {
            request.projection = projection.to_vec();
        }
        source(self.connector, &request).unwrap()
    }
}

/// Blocks of 8 rows, in batches of what is due: many small ones.
fn rows() -> Generator {
    let options = vec![("dflow.seed", "7"), ("number-of-rows", "90"), ("rows-per-second", "800")];
    Generator { connector: "datagen", columns: wide_columns(), options }
}

source_contract!(datagen_source, rows());

/// Without a seed of its own, and in a world where every start draws another one.
struct Unseeded(AtomicU64);

impl SourceFixture for Unseeded {
    fn env(&self) -> Env {
        sim::env_real_fs(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn open(&self, projection: Option<&[usize]>) -> Arc<dyn Source> {
        let options = vec![("number-of-rows", "90"), ("rows-per-second", "800")];
        Generator { connector: "datagen", columns: wide_columns(), options }.open(projection)
    }
}

#[tokio::test(start_paused = true)]
async fn a_drawn_seed_survives_a_restore() {
    resumes_from_every_position(&Unseeded(AtomicU64::new(1))).await;
}

/// Three blocks, so that two splits have something to do; few fields, for the sake of debug builds.
fn events() -> Generator {
    let person = nexmark::row(&[("id", TypeKind::BigInt), ("name", nexmark::STRING)]);
    let bid = nexmark::row(&[("price", TypeKind::BigInt), ("channel", nexmark::STRING)]);
    let columns = vec![column("event_type", TypeKind::Int), column("person", person), column("bid", bid)];
    Generator { connector: "nexmark", columns, options: vec![("events.num", "17000")] }
}

source_contract!(nexmark_source, events());

/// The lines that were printed, as another program reads them.
struct Screen(Arc<Mutex<Vec<String>>>, Capture);

impl SinkFixture for Screen {
    fn env(&self) -> Env {
        env()
    }

    fn open(&self) -> Arc<dyn Sink> {
        let out = Arc::new(self.1.clone());
        PrintFactory::new(out.clone(), out).sink(&request(sink::schema().columns, &[])).unwrap()
    }

    fn visible(&self) -> BoxFuture<'_, Vec<(i64, String)>> {
        let mut lines = self.0.lock().unwrap();
        lines.extend(self.1.take().lines().map(str::to_owned));
        let parse = |line: &String| {
            // Several subtasks have a prefix.
            let row = line.split_once("+I[").unwrap().1.strip_suffix(']').unwrap();
            let (id, name) = row.split_once(", ").unwrap();
            (id.parse().unwrap(), name.to_owned())
        };
        std::future::ready(lines.iter().map(parse).collect()).boxed()
    }
}

sink_contract!(print_sink, Screen(Arc::default(), Capture::default()));
