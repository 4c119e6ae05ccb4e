//! Splits, enumerators, watermarks of sources.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dflow_common::metrics::{self, Metrics};
use dflow_common::{ChangeBatch, Env};
use dflow_connector_api::{
    Boundedness, Enumerator, EnumeratorEvent, OutputSchema, Reader, ReaderContext, ReaderEvent, Source, SourceContext,
    SplitAssignment, SplitId,
};
use dflow_runtime::Result;
use dflow_runtime::checkpoint::MemoryStore;
use dflow_runtime::failpoint as at;
use dflow_runtime::graph::{Exchange, JobGraph, NodeKind};
use dflow_runtime::job::{Job, JobEnd};
use dflow_runtime::operator::{Operator, OperatorContext, OperatorFactory, Output, SplitEvent, Watermark};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::kit::{MS, World, config, crashed, ended, node, pairs, process, start, table};

/// A source whose enumerator gives out the next split only when it hears that one has finished, and counts what its
/// readers report: both are lost if any message is.
struct Relay {
    outputs: Vec<OutputSchema>,
    total: usize,
    /// What the enumerator had counted when it said that there is no more.
    counted: Arc<Mutex<Option<u64>>>,
}

/// Batches per split of a [`Relay`].
const BATCHES: u64 = 3;

impl Source for Relay {
    fn outputs(&self) -> &[OutputSchema] {
        &self.outputs
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(
        &self,
        _: &SourceContext,
        restored: Option<Value>,
    ) -> dflow_connector_api::Result<Box<dyn Enumerator>> {
        let (given, finished, counted) = restored.map_or((0, 0, 0), |v| serde_json::from_value(v).unwrap());
        Ok(Box::new(RelayEnumerator {
            total: self.total,
            given,
            finished,
            counted,
            result: Arc::clone(&self.counted),
            change: tokio::sync::Notify::new(),
        }))
    }

    fn reader(&self, context: &ReaderContext) -> dflow_connector_api::Result<Box<dyn Reader>> {
        let env = context.source.env.clone();
        Ok(Box::new(RelayReader { env, splits: Vec::new(), no_more: false }))
    }
}

struct RelayEnumerator {
    total: usize,
    given: usize,
    finished: usize,
    counted: u64,
    result: Arc<Mutex<Option<u64>>>,
    change: tokio::sync::Notify,
}

impl Enumerator for RelayEnumerator {
    fn next(&mut self) -> BoxFuture<'_, dflow_connector_api::Result<EnumeratorEvent>> {
        Box::pin(async move {
            loop {
                if self.finished == self.total {
                    *self.result.lock().unwrap() = Some(self.counted);
                    return Ok(EnumeratorEvent::NoMoreSplits);
                }
                // Two splits are out at any time.
                if self.given < self.total && self.given < self.finished + 2 {
                    let id = SplitId(format!("{:03}", self.given));
                    self.given += 1;
                    let split = SplitAssignment { id, split: json!(self.given - 1), position: None };
                    return Ok(EnumeratorEvent::Assign(vec![split]));
                }
                self.change.notified().await;
            }
        })
    }

    fn split_finished(&mut self, _: &SplitId) {
        self.finished += 1;
        self.change.notify_one();
    }

    fn reader_message(&mut self, _: usize, message: Value) {
        self.counted += message.as_u64().unwrap();
    }

    fn snapshot(&self) -> dflow_connector_api::Result<Value> {
        Ok(json!((self.given, self.finished, self.counted)))
    }
}

/// Returns a batch, then a message about it; one millisecond per batch. Whether the message is out is part of the
/// position.
struct RelayReader {
    env: Env,
    /// Split, batches read, whether the last one is reported.
    splits: Vec<(SplitAssignment, u64, bool)>,
    no_more: bool,
}

impl Reader for RelayReader {
    fn add_splits(&mut self, splits: Vec<SplitAssignment>) -> dflow_connector_api::Result<()> {
        for split in splits {
            let position = split.position.clone().map_or((0, true), |p| serde_json::from_value(p).unwrap());
            self.splits.push((split, position.0, position.1));
        }
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.no_more = true;
    }

    fn next(&mut self) -> BoxFuture<'_, dflow_connector_api::Result<ReaderEvent>> {
        Box::pin(async move {
            if let Some(split) = self.splits.iter_mut().find(|s| !s.2) {
                split.2 = true;
                return Ok(ReaderEvent::Message(json!(1)));
            }
            if self.splits.is_empty() {
                if self.no_more {
                    return Ok(ReaderEvent::End);
                }
                return std::future::pending().await;
            }
            self.env.clock.sleep(MS(1)).await;
            if self.splits[0].1 == BATCHES {
                return Ok(ReaderEvent::SplitFinished(self.splits.remove(0).0.id));
            }
            let (split, read, reported) = &mut self.splits[0];
            let batch = pairs(&[(split.split.as_i64().unwrap(), *read as i64)]);
            *read += 1;
            *reported = false;
            Ok(ReaderEvent::Batch { output: 0, split: split.id.clone(), batch })
        })
    }

    fn snapshot(&mut self) -> dflow_connector_api::Result<Vec<SplitAssignment>> {
        let at = |(s, n, reported): &(SplitAssignment, u64, bool)| SplitAssignment {
            position: Some(json!((n, reported))),
            ..s.clone()
        };
        Ok(self.splits.iter().map(at).collect())
    }
}

#[test]
fn no_split_and_no_word_between_enumerator_and_readers_is_lost_in_a_crash() {
    let total = 40;
    for (n, point) in [at::TASK_SNAPSHOT, at::BEFORE_COMMIT, at::BEFORE_COMPLETE, at::AFTER_COMMIT].iter().enumerate() {
        let world = World::new();
        let counted = Arc::new(Mutex::new(None));
        let graph = |readers| {
            let mut g = JobGraph::default();
            let outputs = vec![table("t")];
            let source = NodeKind::Source(Arc::new(Relay { outputs, total, counted: Arc::clone(&counted) }));
            let source = g.node(node("source", readers, source));
            let sink = g.node(node("sink", readers, world.sink()));
            g.edge(source, sink, 0, Exchange::Forward);
            g
        };
        let mut crashes = 0;
        for round in 0..6 {
            process(n as u64, async |env| {
                let crash = crashed(&env);
                if round < 5 {
                    env.set_fail_point(point, &format!("{}*off->return(crash)", 1 + round % 2));
                }
                let mut config = config();
                config.checkpoint.interval = Some(MS(3 + round));
                let job = start(&world, &env, graph(1 + (round as usize + n) % 3), config);
                tokio::select! {
                    biased;
                    () = crash.notified() => crashes += 1,
                    outcome = ended(&env, &job) => assert!(matches!(outcome.end, JobEnd::Finished), "{:?}", outcome.end),
                }
            });
        }
        assert!(crashes >= 4, "{point}: {crashes}");
        let expected: Vec<_> = (0..total as i64).flat_map(|s| (0..BATCHES as i64).map(move |b| (s, b))).collect();
        assert_eq!(world.shown(), expected, "{point}");
        assert_eq!(*counted.lock().unwrap(), Some(total as u64 * BATCHES), "{point}: every message is heard once");
    }
}

/// What an operator saw.
type Log = Arc<Mutex<Vec<String>>>;

/// Writes down what it is called with, and is the watermark assigner of its chain: the largest `v` of each split.
struct Recorder {
    log: Log,
    assigns: bool,
}

#[derive(Default)]
struct Recording {
    log: Log,
    assigns: bool,
    current: u32,
    splits: BTreeMap<u32, Option<i64>>,
    idle: bool,
}

impl OperatorFactory for Recorder {
    fn create(&self, _: &OperatorContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Recording { log: Arc::clone(&self.log), assigns: self.assigns, ..Recording::default() }))
    }
}

impl Recording {
    fn note(&self, text: String) {
        self.log.lock().unwrap().push(text);
    }
}

impl Operator for Recording {
    fn process(&mut self, input: usize, batch: ChangeBatch, out: &mut Output) -> Result<()> {
        let values = dflow_connector_api::testing::rows(&batch);
        self.note(format!("{input}: {}", values.join(" ")));
        if self.assigns {
            assert!(self.splits.contains_key(&self.current), "rows come between Added and Finished");
            let v = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(batch.column(1));
            let max = v.values().iter().max().copied();
            let slot = self.splits.entry(self.current).or_default();
            *slot = (*slot).max(max);
            if std::mem::take(&mut self.idle) {
                out.idle(false);
            }
        }
        out.batch(batch);
        Ok(())
    }

    fn watermark(&mut self, w: Watermark, out: &mut Output) -> Result<()> {
        self.note(if w == Watermark::MAX { "watermark MAX".into() } else { format!("watermark {}", w.0) });
        out.watermark(w);
        Ok(())
    }

    fn split(&mut self, event: SplitEvent, out: &mut Output) -> Result<()> {
        if !self.assigns {
            return Ok(());
        }
        match event {
            SplitEvent::Added(s) => {
                self.splits.insert(s, None);
            }
            SplitEvent::Current(s) => self.current = s,
            SplitEvent::Finished(s) => {
                self.splits.remove(&s);
            }
            SplitEvent::Tick(_) => {
                if let Some(w) = self.splits.values().min().copied().flatten() {
                    out.watermark(Watermark(w));
                }
                if self.splits.is_empty() && !self.idle {
                    self.idle = true;
                    out.idle(true);
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, _: &mut Output) -> Result<()> {
        self.note("end".into());
        Ok(())
    }
}

/// source ─F─> assigner ─Hash─> recorder ─F─> sink
fn timed(world: &World, readers: usize, assigner: &Log, behind: &Log) -> JobGraph {
    let mut g = JobGraph::default();
    let source = g.node(node("source", readers, world.source()));
    let factory = |log: &Log, assigns| NodeKind::Operator(Arc::new(Recorder { log: Arc::clone(log), assigns }));
    let assign = g.node(node("assign", readers, factory(assigner, true)));
    let record = g.node(node("record", 1, factory(behind, false)));
    let sink = g.node(node("sink", 1, world.sink()));
    g.edge(source, assign, 0, Exchange::Forward);
    g.edge(assign, record, 0, Exchange::Hash(vec![0]));
    g.edge(record, sink, 0, Exchange::Forward);
    g
}

#[test]
fn watermarks_follow_the_slowest_split_and_an_idle_reader_does_not_hold_them_back() {
    let world = World::new();
    let (assigner, behind) = (Log::default(), Log::default());
    process(1, async |env| {
        world.feed("a", &[(1, 10), (1, 30)]);
        world.feed("b", &[(1, 20)]);
        let mut config = config();
        config.watermark_interval = MS(10);
        // Three readers, two splits: the third is idle from the first tick on.
        let job = start(&world, &env, timed(&world, 3, &assigner, &behind), config);
        env.clock.sleep(MS(15)).await;
        assert_eq!(behind.lock().unwrap().last().unwrap(), "watermark 20");
        world.feed("b", &[(1, 40)]);
        env.clock.sleep(MS(20)).await;
        assert_eq!(behind.lock().unwrap().last().unwrap(), "watermark 30");
        assert_eq!(job.status().nodes[2].watermark_us, Some(30));
        world.broker.close();
        let outcome = ended(&env, &job).await;
        assert!(matches!(outcome.end, JobEnd::Finished));
    });
    let log = behind.lock().unwrap();
    assert_eq!(log[log.len() - 2..], ["watermark MAX", "end"]);
    let watermarks: Vec<_> = log.iter().filter(|l| l.starts_with("watermark")).collect();
    assert_eq!(watermarks, ["watermark 20", "watermark 30", "watermark 40", "watermark MAX"], "only when it grew");
}

#[test]
fn a_source_whose_splits_have_all_ended_is_idle_and_active_again_with_the_next() {
    let world = World::new();
    let (assigner, behind) = (Log::default(), Log::default());
    let metrics = Metrics::new();
    process(1, async |env| {
        world.feed("a", &[(1, 10)]);
        let mut config = config();
        config.watermark_interval = MS(10);
        let graph = timed(&world, 1, &assigner, &behind);
        let store = MemoryStore::new(Arc::clone(&world.backend));
        let job = Job { graph, config, env: env.clone(), metrics: metrics.clone(), store }.start().unwrap();
        let idle = metrics.gauge(&metrics::SOURCE_IDLE, &["job", "t"]);
        env.clock.sleep(MS(1_100)).await;
        assert_eq!(idle.get(), 0.0);
        world.broker.finish("a");
        env.clock.sleep(MS(1_100)).await;
        assert_eq!(idle.get(), 1.0);
        world.feed("b", &[(1, 20)]);
        env.clock.sleep(MS(1_100)).await;
        assert_eq!(idle.get(), 0.0);
        job.cancel();
        job.wait().await;
    });
}

#[test]
fn two_ways_around_to_the_same_operator_bring_every_row_twice_and_time_once() {
    // source ─F─> join, source ─Hash─> pass ─F─> join: the two tasks must not wait for each other.
    for rows_max in [1, 1 << 15] {
        let world = World::new();
        let log = Log::default();
        for i in 0..200 {
            world.feed(["a", "b", "c"][i as usize % 3], &[(i, i)]);
        }
        world.broker.close();
        process(1, async |env| {
            let mut g = JobGraph::default();
            let recorder = |log: &Log| NodeKind::Operator(Arc::new(Recorder { log: Arc::clone(log), assigns: false }));
            let source = g.node(node("source", 2, world.source()));
            let pass = g.node(node("pass", 2, recorder(&Log::default())));
            let join = g.node(node("join", 2, recorder(&log)));
            let sink = g.node(node("sink", 2, world.sink()));
            g.edge(source, join, 0, Exchange::Forward);
            g.edge(source, pass, 0, Exchange::Hash(vec![0]));
            g.edge(pass, join, 1, Exchange::Forward);
            g.edge(join, sink, 0, Exchange::Forward);
            let mut config = config();
            config.channel.rows_max = rows_max;
            let job = start(&world, &env, g, config);
            assert!(matches!(ended(&env, &job).await.end, JobEnd::Finished));
        });
        let twice: Vec<_> = world.rows().into_iter().flat_map(|r| [r, r]).collect();
        assert_eq!(world.shown(), twice);
        let log = log.lock().unwrap();
        assert_eq!(log.iter().filter(|l| *l == "watermark MAX").count(), 2, "once per instance");
        assert_eq!(log.iter().filter(|l| *l == "end").count(), 2);
    }
}

#[test]
fn a_revoked_split_is_given_up_and_the_job_goes_on() {
    let world = World::new();
    process(1, async |env| {
        world.feed("a", &[(1, 1)]);
        world.feed("b", &[(2, 2)]);
        let job = start(&world, &env, world.copy(2), config());
        env.clock.sleep(MS(10)).await;
        assert_eq!(job.status().nodes[0].splits, 2);
        world.broker.revoke("a");
        env.clock.sleep(MS(10)).await;
        assert_eq!(job.status().nodes[0].splits, 1);
        world.broker.close();
        assert!(matches!(ended(&env, &job).await.end, JobEnd::Finished));
    });
    assert_eq!(world.shown(), world.rows());
}

#[test]
fn enumerator_and_readers_hear_of_every_completed_checkpoint() {
    let world = World::new();
    process(1, async |env| {
        world.feed("a", &[(1, 1)]);
        let job = start(&world, &env, world.copy(2), config());
        let epoch = job.checkpoint().await.unwrap();
        env.clock.sleep(MS(1)).await;
        assert_eq!(world.broker.enumerator_epochs(), [epoch]);
        assert_eq!(world.broker.reader_epochs(), [(0, epoch), (1, epoch)]);
        job.stop();
        assert!(matches!(ended(&env, &job).await.end, JobEnd::Stopped));
        assert_eq!(world.broker.enumerator_epochs(), [epoch, epoch.next()], "the last one, too");
        assert_eq!(world.broker.reader_epochs().len(), 4);
    });
}

#[test]
fn a_source_of_two_tables_feeds_two_queries_from_one_reader() {
    let world = World::new();
    world.broker.append("a", 0, pairs(&[(1, 1), (2, 2)]));
    world.broker.append("b", 1, pairs(&[(3, 3)]));
    world.broker.close();
    let (left, right) = (Log::default(), Log::default());
    process(1, async |env| {
        let mut g = JobGraph::default();
        let outputs = vec![table("t"), table("u")];
        let source = dflow_connector_api::testing::MemorySource::new(&world.broker, outputs);
        let source = g.node(node("source", 1, NodeKind::Source(Arc::new(source))));
        for (output, log, name) in [(0, &left, "left"), (1, &right, "right")] {
            let recorder = NodeKind::Operator(Arc::new(Recorder { log: Arc::clone(log), assigns: true }));
            let recorder = g.node(node(name, 1, recorder));
            let edge = dflow_runtime::graph::Edge {
                from: source,
                output,
                to: recorder,
                input: 0,
                exchange: Exchange::Forward,
            };
            g.edges.push(edge);
        }
        let job = start(&world, &env, g, config());
        assert!(matches!(ended(&env, &job).await.end, JobEnd::Finished));
    });
    assert_eq!(*left.lock().unwrap(), ["0: +I 1|1 +I 2|2", "watermark MAX", "end"]);
    assert_eq!(*right.lock().unwrap(), ["0: +I 3|3", "watermark MAX", "end"]);
}
