//! What the runtime itself costs: batches that are there already, operators that do nothing, a sink that forgets.
//!
//! `cargo bench -p dflow-runtime`; prints the CPU-free wall time per batch and per row of each shape of job.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use dflow_common::env::Spawner;
use dflow_common::metrics::Metrics;
use dflow_common::types::TypeKind;
use dflow_common::{ChangeBatch, Env, Epoch, OperatorId, SourceId, Span, SqlType};
use dflow_connector_api::{
    Boundedness, ChangelogSupport, Column, ColumnKind, Committable, Enumerator, EnumeratorEvent, OutputSchema, Reader,
    ReaderContext, ReaderEvent, Result, Sink, SinkMode, Source, SourceChangelog, SourceContext, SplitAssignment,
    SplitId, TableSchema, Writer, WriterContext,
};
use dflow_runtime::checkpoint::{MemoryStore, Origin};
use dflow_runtime::config::JobConfig;
use dflow_runtime::graph::{Exchange, JobGraph, Node, NodeKind};
use dflow_runtime::job::{Job, JobEnd};
use dflow_runtime::operator::{Operator, OperatorContext, OperatorFactory, Output};
use futures::future::BoxFuture;
use serde_json::Value;

/// Hands out one batch again and again.
struct Repeat(Vec<OutputSchema>, ChangeBatch, u64);

struct Once(u8);

impl Enumerator for Once {
    fn next(&mut self) -> BoxFuture<'_, Result<EnumeratorEvent>> {
        self.0 += 1;
        let split = SplitAssignment { id: SplitId("s".into()), split: Value::Null, position: None };
        let event = if self.0 == 1 { EnumeratorEvent::Assign(vec![split]) } else { EnumeratorEvent::NoMoreSplits };
        Box::pin(std::future::ready(Ok(event)))
    }

    fn snapshot(&self) -> Result<Value> {
        Ok(Value::Null)
    }
}

struct Repeating(ChangeBatch, u64, bool);

impl Reader for Repeating {
    fn add_splits(&mut self, _: Vec<SplitAssignment>) -> Result<()> {
        self.2 = true;
        Ok(())
    }

    fn no_more_splits(&mut self) {}

    fn next(&mut self) -> BoxFuture<'_, Result<ReaderEvent>> {
        if !self.2 {
            return Box::pin(std::future::pending());
        }
        let event = match self.1.checked_sub(1) {
            None => ReaderEvent::End,
            Some(left) => {
                self.1 = left;
                ReaderEvent::Batch { output: 0, split: SplitId("s".into()), batch: self.0.clone() }
            }
        };
        Box::pin(std::future::ready(Ok(event)))
    }

    fn snapshot(&mut self) -> Result<Vec<SplitAssignment>> {
        Ok(Vec::new())
    }
}

impl Source for Repeat {
    fn outputs(&self) -> &[OutputSchema] {
        &self.0
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(&self, _: &SourceContext, _: Option<Value>) -> Result<Box<dyn Enumerator>> {
        Ok(Box::new(Once(0)))
    }

    fn reader(&self, _: &ReaderContext) -> Result<Box<dyn Reader>> {
        Ok(Box::new(Repeating(self.1.clone(), self.2, false)))
    }
}

struct Pass;

impl OperatorFactory for Pass {
    fn create(&self, _: &OperatorContext) -> dflow_runtime::Result<Box<dyn Operator>> {
        Ok(Box::new(Pass))
    }
}

impl Operator for Pass {
    fn process(&mut self, _: usize, batch: ChangeBatch, out: &mut Output) -> dflow_runtime::Result<()> {
        out.batch(batch);
        Ok(())
    }
}

struct Forget;

impl Sink for Forget {
    fn mode(&self) -> SinkMode {
        SinkMode::Idempotent
    }

    fn changelog(&self) -> ChangelogSupport {
        ChangelogSupport::All
    }

    fn writer(&self, _: &WriterContext) -> Result<Box<dyn Writer>> {
        Ok(Box::new(Forget))
    }
}

impl Writer for Forget {
    fn write(&mut self, _: ChangeBatch) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn prepare(&mut self, _: Epoch) -> BoxFuture<'_, Result<Vec<Committable>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

fn node(name: &str, parallelism: usize, kind: NodeKind) -> Node {
    let id = OperatorId(name.to_owned());
    Node {
        id,
        name: name.to_owned(),
        description: String::new(),
        span: None,
        origin: Origin::default(),
        parallelism,
        kind,
    }
}

/// source -> `operators` chained operators -> [exchange] -> sink
fn job(rows: usize, batches: u64, operators: usize, exchange: Exchange, sinks: usize) -> JobGraph {
    let names = ["k", "a", "b", "c", "d", "e"];
    let column =
        |i: usize| Arc::new(Int64Array::from_iter_values((0..rows as i64).map(|r| r * 7 + i as i64))) as ArrayRef;
    let data = RecordBatch::try_from_iter(names.iter().enumerate().map(|(i, n)| (*n, column(i)))).unwrap();
    let columns = names.map(|name| Column {
        name: name.to_owned(),
        ty: SqlType { kind: TypeKind::BigInt, nullable: true },
        kind: ColumnKind::Physical,
        span: Span::new(SourceId(0), 0, 0),
    });
    let output = OutputSchema {
        table: "t".into(),
        schema: TableSchema { columns: columns.to_vec(), primary_key: Vec::new(), partition_keys: Vec::new() },
        projection: (0..names.len()).collect(),
        predicate: None,
        changelog: SourceChangelog::Append,
    };
    let mut g = JobGraph::default();
    let mut last = g.node(node(
        "source",
        1,
        NodeKind::Source(Arc::new(Repeat(vec![output], ChangeBatch::inserts(data), batches))),
    ));
    for i in 0..operators {
        let next = g.node(node(&format!("pass{i}"), 1, NodeKind::Operator(Arc::new(Pass))));
        g.edge(last, next, 0, Exchange::Forward);
        last = next;
    }
    let sink = NodeKind::Sink { sink: Arc::new(Forget), flush_at_barriers_only: false };
    let sink = g.node(node("sink", sinks, sink));
    g.edge(last, sink, 0, exchange);
    g
}

fn main() {
    let hash = Exchange::Hash(vec![0]);
    for (name, rows, batches, operators, exchange, sinks) in [
        ("source -> sink", 1, 2_000_000, 0, Exchange::Forward, 1),
        ("source -> 5 operators -> sink", 1, 2_000_000, 5, Exchange::Forward, 1),
        ("source -> queue -> sink", 1, 1_000_000, 0, Exchange::Rebalance, 1),
        ("source -> hash -> 2 sinks", 8_192, 20_000, 0, hash.clone(), 2),
        ("source -> hash -> 4 sinks", 8_192, 20_000, 0, hash, 4),
    ] {
        let spawner = Spawner::owned(2).unwrap();
        let env = Env::production(spawner.clone());
        let graph = job(rows, batches, operators, exchange, sinks);
        let config = JobConfig::new("bench");
        let started = Instant::now();
        let job = Job { graph, config, env, metrics: Metrics::new(), store: MemoryStore::alone() }.start().unwrap();
        let outcome = spawner.block_on(job.wait());
        assert!(matches!(outcome.end, JobEnd::Finished), "{:?}", outcome.end);
        let took = started.elapsed().as_nanos() as f64;
        let all = rows as f64 * batches as f64;
        println!(
            "{name:<32} {:>9.0} ns/batch {:>9.2} ns/row  ({rows} rows per batch)",
            took / batches as f64,
            took / all
        );
    }
}
