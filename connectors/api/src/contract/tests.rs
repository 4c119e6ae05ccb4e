//! The suites on the systems in memory: both prove each other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use dflow_common::{ChangeBatch, Env, Epoch, env::sim};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::sink::{inserts, schema};
use super::{Growing, SinkFixture, SourceFixture};
use crate::error::Result;
use crate::sink::{ChangelogSupport, Committable, Sink, SinkMode, Writer, WriterContext};
use crate::source::{OutputSchema, Source, SourceChangelog};
use crate::testing::{Broker, MemorySource, Server, StagedSink};

pub(super) struct Topics(Broker);

fn output(projection: Option<&[usize]>) -> OutputSchema {
    OutputSchema {
        table: "t".into(),
        schema: schema(),
        projection: projection.map_or(vec![0, 1], <[usize]>::to_vec),
        predicate: None,
        changelog: SourceChangelog::Append,
    }
}

impl SourceFixture for Topics {
    fn env(&self) -> Env {
        sim::env_real_fs(3)
    }

    fn open(&self, projection: Option<&[usize]>) -> Arc<dyn Source> {
        Arc::new(MemorySource::new(&self.0, vec![output(projection), output(None)]))
    }

    fn growing(&self) -> Option<Growing> {
        let broker = Broker::new();
        let system = broker.clone();
        Some(Growing {
            open: Box::new(move || Arc::new(MemorySource::new(&system, vec![output(None)]).unbounded())),
            grow: Box::new(move |piece| {
                let first = 100 * piece as i64;
                broker.append(&format!("split {piece}"), 0, inserts(first..first + 7));
                7
            }),
        })
    }
}

pub(super) fn topics() -> Topics {
    let broker = Broker::new();
    broker.append("a", 0, inserts(0..9)).append("b", 1, inserts(0..3)).append("a", 0, inserts(9..11));
    broker.append("c", 0, inserts(20..25)).append("empty", 0, inserts([])).close();
    Topics(broker)
}

crate::source_contract!(memory_source, topics());

pub(super) fn parse_row(row: &str) -> (i64, String) {
    let (id, name) = row.strip_prefix("+I ").and_then(|r| r.split_once('|')).unwrap();
    (id.parse().unwrap(), name.to_owned())
}

struct Table(Server, ChangelogSupport);

impl SinkFixture for Table {
    fn env(&self) -> Env {
        sim::env_real_fs(4)
    }

    fn open(&self) -> Arc<dyn Sink> {
        Arc::new(StagedSink::new(&self.0).taking(self.1.clone()))
    }

    fn visible(&self) -> BoxFuture<'_, Vec<(i64, String)>> {
        std::future::ready(self.0.rows().iter().map(|row| parse_row(row)).collect()).boxed()
    }
}

crate::sink_contract!(staged_sink, Table(Server::new(), ChangelogSupport::AppendOnly));

/// A table by key that takes changes as they come: what it is told again changes nothing.
#[derive(Clone, Default)]
pub(super) struct KeyedTable {
    pub(super) rows: Arc<Mutex<BTreeMap<i64, String>>>,
    pub(super) ignores_deletes: bool,
}

impl Sink for KeyedTable {
    fn mode(&self) -> SinkMode {
        SinkMode::Idempotent
    }

    fn changelog(&self) -> ChangelogSupport {
        ChangelogSupport::Upsert
    }

    fn writer(&self, _context: &WriterContext) -> Result<Box<dyn Writer>> {
        Ok(Box::new(self.clone()))
    }
}

impl Writer for KeyedTable {
    fn write(&mut self, batch: ChangeBatch) -> BoxFuture<'_, Result<()>> {
        let (ids, names) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string_view());
        let mut rows = self.rows.lock().unwrap();
        for row in 0..batch.num_rows() {
            if batch.ops.sign(row) > 0 {
                rows.insert(ids.value(row), names.value(row).to_owned());
            } else if !self.ignores_deletes {
                rows.remove(&ids.value(row));
            }
        }
        std::future::ready(Ok(())).boxed()
    }

    fn prepare(&mut self, _epoch: Epoch) -> BoxFuture<'_, Result<Vec<Committable>>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }
}

impl SinkFixture for KeyedTable {
    fn env(&self) -> Env {
        sim::env_real_fs(5)
    }

    fn open(&self) -> Arc<dyn Sink> {
        Arc::new(self.clone())
    }

    fn visible(&self) -> BoxFuture<'_, Vec<(i64, String)>> {
        let rows = self.rows.lock().unwrap().clone();
        std::future::ready(rows.into_iter().collect()).boxed()
    }
}

crate::sink_contract!(keyed_sink, KeyedTable::default());
