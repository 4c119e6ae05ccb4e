//! A world that outlives processes, and processes that live in it.
//!
//! ```text
//! World: Broker (source), Server (sink), MemoryBackend (state directory), what was fed so far
//! process(world, …): one runtime of its own, virtual time; dropping it is `kill -9`
//! ```
//! The oracle is a multiset: what the server shows, folded by sign, is what the fed rows are, or their sums.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use dflow_common::env::sim;
use dflow_common::metrics::Metrics;
use dflow_common::types::TypeKind;
use dflow_common::{ChangeBatch, Env, OperatorId, SourceId, Span, SqlType};
use dflow_connector_api::testing::{Broker, MemorySource, Server, StagedSink};
use dflow_connector_api::{Column, ColumnKind, OutputSchema, SourceChangelog, TableSchema};
use dflow_runtime::checkpoint::{MemoryBackend, MemoryStore, Origin};
use dflow_runtime::config::{JobConfig, RestartStrategy};
use dflow_runtime::failpoint;
use dflow_runtime::graph::{Exchange, JobGraph, Node, NodeIndex, NodeKind};
use dflow_runtime::job::{Job, JobHandle, JobOutcome};
use tokio::sync::Notify;

use crate::sum::SumFactory;

pub(crate) const SEC: fn(u64) -> Duration = Duration::from_secs;
pub(crate) const MS: fn(u64) -> Duration = Duration::from_millis;

/// What a crash leaves behind.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) server: Server,
    pub(crate) backend: Arc<MemoryBackend>,
    fed: Arc<AtomicUsize>,
    rows: Arc<Mutex<Vec<(i64, i64)>>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            broker: Broker::new(),
            server: Server::new(),
            backend: MemoryBackend::new(),
            fed: Arc::default(),
            rows: Arc::default(),
        }
    }

    /// Rows for a split: `(k, v)`.
    pub(crate) fn feed(&self, split: &str, rows: &[(i64, i64)]) {
        self.broker.append(split, 0, pairs(rows));
        self.rows.lock().unwrap().extend(rows);
    }

    /// Feeds `chunks` chunks of 5 rows, one every 10 ms; then closes the broker. Every fourth chunk begins a split, and
    /// a split ends with its fifth.
    pub(crate) async fn feeder(self, env: Env, chunks: usize) {
        loop {
            let n = self.fed.load(SeqCst);
            if n == chunks {
                self.broker.close();
                return;
            }
            let base = n as i64 * 5;
            // Seven keys that always change, and some that come again after 200 ms: what a lost delta forgets of them
            // shows then.
            let rows: Vec<_> =
                (base..base + 5).map(|i| (if i % 5 == 4 { 1_000 + i % 100 } else { i % 7 }, i)).collect();
            // Every other split gets a fifth chunk, where the next one would begin.
            let split = if n > 0 && n.is_multiple_of(8) { n / 4 - 1 } else { n / 4 };
            self.feed(&format!("s{split:02}"), &rows);
            if n % 4 == 1 && n > 4 {
                self.broker.finish(&format!("s{:02}", n / 4 - 1));
            }
            self.fed.store(n + 1, SeqCst);
            env.clock.sleep(MS(10)).await;
        }
    }

    /// Whether the feeder has fed all its chunks.
    pub(crate) fn fed_all(&self, chunks: usize) -> bool {
        self.fed.load(SeqCst) == chunks
    }

    /// Every fed row, as the server would show it.
    pub(crate) fn rows(&self) -> Vec<(i64, i64)> {
        let mut rows = self.rows.lock().unwrap().clone();
        rows.sort_unstable();
        rows
    }

    /// What the server shows of an append-only sink.
    pub(crate) fn shown(&self) -> Vec<(i64, i64)> {
        let mut shown = Vec::new();
        for batch in self.server.changes() {
            assert!(batch.ops.is_append());
            let (k, v) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Int64Type>());
            shown.extend((0..batch.num_rows()).map(|i| (k.value(i), v.value(i))));
        }
        shown.sort_unstable();
        shown
    }

    /// Sum and count per key of everything fed.
    pub(crate) fn sums(&self) -> BTreeMap<i64, (i64, i64)> {
        let mut sums = BTreeMap::new();
        for (k, v) in self.rows() {
            let sum: &mut (i64, i64) = sums.entry(k).or_default();
            *sum = (sum.0 + v, sum.1 + 1);
        }
        sums
    }

    /// What the server shows of an aggregate, folded. Panics when a row is removed that is not there.
    pub(crate) fn folded(&self) -> BTreeMap<i64, (i64, i64)> {
        let mut rows: BTreeMap<(i64, i64, i64), i64> = BTreeMap::new();
        for batch in self.server.changes() {
            let c: Vec<_> = (0..3).map(|i| batch.column(i).as_primitive::<Int64Type>().clone()).collect();
            for i in 0..batch.num_rows() {
                *rows.entry((c[0].value(i), c[1].value(i), c[2].value(i))).or_default() += batch.ops.sign(i);
            }
        }
        rows.retain(|_, n| *n != 0);
        assert!(rows.values().all(|n| *n == 1), "every row once: {rows:?}");
        rows.keys().map(|(k, sum, n)| (*k, (*sum, *n))).collect()
    }

    pub(crate) fn source(&self) -> NodeKind {
        NodeKind::Source(Arc::new(MemorySource::new(&self.broker, vec![table("t")])))
    }

    pub(crate) fn sink(&self) -> NodeKind {
        NodeKind::Sink { sink: Arc::new(StagedSink::new(&self.server)), flush_at_barriers_only: false }
    }

    /// `INSERT INTO sink SELECT * FROM t`
    pub(crate) fn copy(&self, parallelism: usize) -> JobGraph {
        let mut g = JobGraph::default();
        let source = g.node(node("source", parallelism, self.source()));
        let sink = g.node(node("sink", parallelism, self.sink()));
        g.edge(source, sink, 0, Exchange::Forward);
        g
    }

    /// `INSERT INTO sink SELECT k, SUM(v), COUNT(*) FROM t GROUP BY k`
    pub(crate) fn aggregate(&self, readers: usize, parallelism: usize) -> JobGraph {
        let mut g = JobGraph::default();
        let source = g.node(node("source", readers, self.source()));
        self.aggregate_over(&mut g, source, parallelism);
        g
    }

    pub(crate) fn aggregate_over(&self, g: &mut JobGraph, input: NodeIndex, parallelism: usize) {
        let sum = g.node(node("sum", parallelism, NodeKind::Operator(Arc::new(SumFactory))));
        let sink = g.node(node("sink", parallelism, self.sink()));
        g.edge(input, sum, 0, Exchange::Hash(vec![0]));
        g.edge(sum, sink, 0, Exchange::Forward);
    }
}

pub(crate) fn node(name: &str, parallelism: usize, kind: NodeKind) -> Node {
    let (id, description) = (OperatorId(format!("id-{name}")), format!("{name} of a test"));
    Node { id, name: name.to_owned(), description, span: None, origin: Origin::default(), parallelism, kind }
}

pub(crate) fn pairs(rows: &[(i64, i64)]) -> ChangeBatch {
    let column = |f: fn(&(i64, i64)) -> i64| Arc::new(Int64Array::from_iter_values(rows.iter().map(f))) as ArrayRef;
    ChangeBatch::inserts(RecordBatch::try_from_iter([("k", column(|r| r.0)), ("v", column(|r| r.1))]).unwrap())
}

pub(crate) fn table(name: &str) -> OutputSchema {
    let column = |name: &str| Column {
        name: name.to_owned(),
        ty: SqlType { kind: TypeKind::BigInt, nullable: true },
        kind: ColumnKind::Physical,
        span: Span::new(SourceId(0), 0, 0),
    };
    OutputSchema {
        table: name.to_owned(),
        schema: TableSchema {
            columns: vec![column("k"), column("v")],
            primary_key: Vec::new(),
            partition_keys: Vec::new(),
        },
        projection: vec![0, 1],
        predicate: None,
        changelog: SourceChangelog::Append,
    }
}

/// Checkpoints every 40 ms, restarts after 20 ms.
pub(crate) fn config() -> JobConfig {
    let mut config = JobConfig::new("job");
    config.checkpoint.interval = Some(MS(40));
    config.restart = RestartStrategy::FixedDelay { attempts: 3, delay: MS(20) };
    config
}

/// A process: a runtime of its own with virtual time. Everything in it is gone when it returns.
pub(crate) fn process<T>(seed: u64, f: impl AsyncFnOnce(Env) -> T) -> T {
    process_on(seed, &sim::SimFs::new(), f)
}

/// A process that sees these files.
pub(crate) fn process_on<T>(seed: u64, fs: &sim::SimFs, f: impl AsyncFnOnce(Env) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let env = sim::env(seed, Arc::new(fs.clone()));
        f(env).await
    })
}

/// Feeds in the background ([`World::feeder`]).
pub(crate) fn feed(world: &World, env: &Env, chunks: usize) {
    env.spawner.spawn_io("feeder", world.clone().feeder(env.clone(), chunks));
}

/// Starts a job in this process.
pub(crate) fn start(world: &World, env: &Env, graph: JobGraph, config: JobConfig) -> JobHandle {
    let store = MemoryStore::new(Arc::clone(&world.backend));
    Job { graph, config, env: env.clone(), metrics: Metrics::new(), store }.start().unwrap()
}

/// A future that is ready when a fail point has crashed this process.
pub(crate) fn crashed(env: &Env) -> Arc<Notify> {
    let notify = Arc::new(Notify::new());
    let told = Arc::clone(&notify);
    env.on_fail_point(failpoint::CRASHED, move || told.notify_one());
    notify
}

/// Waits at most `limit` of virtual time: what does not end by then never does.
pub(crate) async fn within<T>(env: &Env, limit: Duration, what: &str, f: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        value = f => value,
        () = env.clock.sleep(limit) => panic!("{what}: not within {limit:?}"),
    }
}

/// The end of a job, within a virtual minute.
pub(crate) async fn ended(env: &Env, job: &JobHandle) -> JobOutcome {
    within(env, SEC(60), "the end of the job", job.wait()).await
}
