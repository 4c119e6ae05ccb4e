//! Failures that are not crashes: errors, panics, timeouts, slow sinks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use dflow_common::{ChangeBatch, Class, Classified, CodeInfo, Env, Epoch};
use dflow_connector_api as api;
use dflow_connector_api::{ChangelogSupport, Committable, Sink, SinkMode, Writer, WriterContext};
use dflow_runtime::config::{ChannelLimits, RestartStrategy};
use dflow_runtime::error::{CHECKPOINT_EXPIRED, INTERNAL, PANIC, RESTARTS_EXHAUSTED, TOO_MANY_FAILED_CHECKPOINTS};
use dflow_runtime::failpoint as at;
use dflow_runtime::graph::{Exchange, JobGraph, NodeKind};
use dflow_runtime::job::{JobEnd, JobEvent, JobOutcome};
use dflow_runtime::operator::{Operator, OperatorContext, OperatorFactory, Output};
use dflow_runtime::{Error, Result};
use futures::future::BoxFuture;

use crate::kit::{MS, SEC, World, config, ended, feed, node, process, start};

fn failed(outcome: &JobOutcome) -> &Error {
    match &outcome.end {
        JobEnd::Failed(error) => error,
        other => panic!("failed, not {other:?}"),
    }
}

#[test]
fn an_error_at_any_point_is_cured_by_a_restart_or_costs_one_checkpoint() {
    for point in at::ALL.iter().filter(|p| **p != at::BEFORE_RESTORE) {
        let world = World::new();
        process(1, async |env| {
            env.set_fail_point(point, "1*return(error)");
            feed(&world, &env, 40);
            let job = start(&world, &env, world.aggregate(2, 2), config());
            let outcome = ended(&env, &job).await;
            assert!(matches!(outcome.end, JobEnd::Finished), "{point}: {:?}", outcome.end);
            let tolerated = [at::BEFORE_UPLOAD, at::BEFORE_ACK, at::BEFORE_COMMIT].contains(point);
            let (restarts, lost) = (outcome.restarts, outcome.status.checkpoints_failed);
            let expected = match *point {
                // Tried again in place.
                at::BEFORE_FINISH => (0, 0),
                _ if tolerated => (0, 1),
                _ => (1, 0),
            };
            assert_eq!((restarts, lost), expected, "{point}");
        });
        assert_eq!(world.folded(), world.sums(), "{point}");
    }
}

#[test]
fn a_state_that_cannot_be_marked_ends_the_job_and_does_not_read_everything_again() {
    let world = World::new();
    let outcome = process(1, async |env| {
        env.set_fail_point(at::BEFORE_FINISH, "return(error)");
        feed(&world, &env, 10);
        let job = start(&world, &env, world.copy(1), config());
        ended(&env, &job).await
    });
    assert_eq!((failed(&outcome).retryable(), outcome.restarts), (false, 0));
    assert_eq!(world.shown(), world.rows(), "everything is committed");
}

#[test]
fn an_expired_checkpoint_costs_nothing_but_itself() {
    let world = World::new();
    process(1, async |env| {
        env.set_fail_point(at::BEFORE_ACK, "return(pause)");
        feed(&world, &env, 100);
        let mut config = config();
        config.checkpoint.timeout = MS(100);
        let job = start(&world, &env, world.aggregate(2, 2), config);
        let mut events = job.events();
        env.clock.sleep(MS(350)).await;
        env.set_fail_point(at::BEFORE_ACK, "off");
        let outcome = ended(&env, &job).await;
        assert!(matches!(outcome.end, JobEnd::Finished), "{:?}", outcome.end);
        assert_eq!((outcome.restarts, outcome.status.checkpoints_failed), (0, 3), "at 140, 280 …");
        let mut expired = 0;
        while let Ok(event) = events.try_recv() {
            if let JobEvent::CheckpointFailed { error, .. } = event {
                assert_eq!(error.code(), CHECKPOINT_EXPIRED.code);
                expired += 1;
            }
        }
        assert_eq!(expired, 3);
    });
    assert_eq!(world.folded(), world.sums());
}

#[test]
fn more_failed_checkpoints_than_tolerated_fail_the_job() {
    let world = World::new();
    let outcome = process(1, async |env| {
        env.set_fail_point(at::BEFORE_COMMIT, "return(error)");
        feed(&world, &env, 1_000);
        let mut config = config();
        config.checkpoint.tolerable_failures = 2;
        config.restart = RestartStrategy::None;
        let job = start(&world, &env, world.copy(1), config);
        ended(&env, &job).await
    });
    let error = failed(&outcome);
    assert_eq!((error.code(), error.class()), (TOO_MANY_FAILED_CHECKPOINTS.code, Class::Checkpoint));
    assert_eq!((outcome.restarts, outcome.status.checkpoints_failed), (0, 3));
}

#[test]
fn restarts_end_when_the_strategy_gives_up() {
    let world = World::new();
    let outcome = process(1, async |env| {
        env.set_fail_point(at::BEFORE_START, "return(error)");
        let job = start(&world, &env, world.copy(1), config());
        ended(&env, &job).await
    });
    let error = failed(&outcome);
    assert_eq!((error.code(), error.class()), (RESTARTS_EXHAUSTED.code, Class::RestartsExhausted));
    assert_eq!(outcome.restarts, 3);
    assert!(error.to_string().contains("fail point runtime::before-start"), "it names the cause: {error}");
}

/// What a sink without room answers.
const FULL: CodeInfo = CodeInfo { code: dflow_common::Code(7201), title: "no room", class: Class::Resources };

#[test]
fn a_full_disk_ends_the_job_with_its_own_error_after_three_restarts_in_vain() {
    let world = World::new();
    let outcome = process(1, async |env| {
        let mut config = config();
        config.restart = RestartStrategy::FixedDelay { attempts: 100, delay: MS(20) };
        world.feed("a", &[(1, 1)]);
        let mut graph = breaking(&world, || Ok(()));
        let how = || Err(Error::coded(FULL, "no room to write a").retry());
        graph.nodes[1].kind = NodeKind::Operator(Arc::new(Breaks { batches: Arc::default(), at: 0, how }));
        let job = start(&world, &env, graph, config);
        ended(&env, &job).await
    });
    let error = failed(&outcome).diagnostic();
    assert_eq!((error.code, error.class.exit_code(), outcome.restarts), (FULL.code, 23, 3));
    assert_eq!(error.notes, ["3 restarts did not help"]);
}

#[test]
fn rows_that_a_restart_reads_again_count_once() {
    for batch in [3, 20, 30] {
        let world = World::new();
        process(1, async |env| {
            feed(&world, &env, 40);
            let mut graph = breaking(&world, || Err(Error::internal("connection reset").retry()));
            let how = || Err(Error::internal("connection reset").retry());
            graph.nodes[1].kind = NodeKind::Operator(Arc::new(Breaks { batches: Arc::default(), at: batch, how }));
            let job = start(&world, &env, graph, config());
            let outcome = ended(&env, &job).await;
            assert!(matches!(outcome.end, JobEnd::Finished), "{:?}", outcome.end);
            assert_eq!(outcome.restarts, 1);
            let counted: Vec<_> = outcome.status.nodes.iter().map(|n| (n.rows_in, n.rows_out)).collect();
            assert_eq!(counted, [(200, 200); 3], "40 chunks of 5 rows; broken at batch {batch}");
        });
    }
}

#[test]
fn the_first_listener_hears_everything_from_the_start() {
    let world = World::new();
    process(1, async |env| {
        feed(&world, &env, 2);
        let job = start(&world, &env, world.copy(1), config());
        ended(&env, &job).await;
        let mut events = job.events();
        assert!(matches!(events.try_recv(), Ok(JobEvent::Started { restored: None, .. })));
        assert!(job.events().try_recv().is_err(), "others hear what comes from then on");
    });
}

#[test]
fn a_commit_is_tried_again_and_a_server_that_stays_away_restarts_the_job() {
    for (refused, restarts) in [(2, 0), (6, 2)] {
        let world = World::new();
        world.server.fail(refused);
        let outcome = process(1, async |env| {
            feed(&world, &env, 20);
            let job = start(&world, &env, world.copy(2), config());
            ended(&env, &job).await
        });
        assert!(matches!(outcome.end, JobEnd::Finished), "{:?}", outcome.end);
        assert_eq!(outcome.restarts, restarts, "five tries, then one per recovery");
        assert_eq!(world.shown(), world.rows());
    }
}

#[test]
fn a_commit_whose_answer_is_lost_is_repeated_without_effect() {
    let world = World::new();
    world.server.lose_answers(3);
    let outcome = process(1, async |env| {
        feed(&world, &env, 20);
        let job = start(&world, &env, world.copy(2), config());
        ended(&env, &job).await
    });
    assert!(matches!(outcome.end, JobEnd::Finished), "{:?}", outcome.end);
    assert_eq!(world.server.repeats(), 3);
    assert_eq!(world.shown(), world.rows());
}

/// Fails or panics at its `n`-th batch, at 0 at every one; counts in the factory, so that a restart does not do it again.
struct Breaks {
    batches: Arc<AtomicUsize>,
    at: usize,
    how: fn() -> Result<()>,
}

impl OperatorFactory for Breaks {
    fn create(&self, _: &OperatorContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Breaks { batches: Arc::clone(&self.batches), ..*self }))
    }
}

impl Operator for Breaks {
    fn process(&mut self, _: usize, batch: ChangeBatch, out: &mut Output) -> Result<()> {
        if self.batches.fetch_add(1, SeqCst) + 1 == self.at || self.at == 0 {
            (self.how)()?;
        }
        out.batch(batch);
        Ok(())
    }
}

fn breaking(world: &World, how: fn() -> Result<()>) -> JobGraph {
    let mut g = JobGraph::default();
    let source = g.node(node("source", 1, world.source()));
    let breaks = NodeKind::Operator(Arc::new(Breaks { batches: Arc::default(), at: 20, how }));
    let breaks = g.node(node("fragile", 1, breaks));
    let sink = g.node(node("sink", 1, world.sink()));
    g.edge(source, breaks, 0, Exchange::Forward);
    g.edge(breaks, sink, 0, Exchange::Forward);
    g
}

#[test]
fn a_panic_in_an_operator_is_contained_and_named() {
    let world = World::new();
    let outcome = process(1, async |env| {
        feed(&world, &env, 40);
        let job = start(&world, &env, breaking(&world, || panic!("index out of bounds")), config());
        ended(&env, &job).await
    });
    let error = failed(&outcome);
    assert_eq!((error.code(), error.class(), error.class().exit_code()), (PANIC.code, Class::Internal, 1));
    assert!(error.to_string().contains("panic in fragile: index out of bounds"), "{error}");
    assert_eq!(outcome.restarts, 0, "a bug is not cured by a restart");
    assert!(outcome.last_checkpoint.is_some(), "what was committed stays");
}

#[test]
fn only_errors_that_a_restart_may_cure_restart() {
    for (how, restarts) in [
        ((|| Err(Error::internal("broken"))) as fn() -> Result<()>, 0),
        (|| Err(Error::internal("connection reset").retry()), 1),
    ] {
        let world = World::new();
        let outcome = process(1, async |env| {
            feed(&world, &env, 40);
            let job = start(&world, &env, breaking(&world, how), config());
            ended(&env, &job).await
        });
        assert_eq!(outcome.restarts, restarts);
        if restarts == 0 {
            assert_eq!(failed(&outcome).code(), INTERNAL.code);
        } else {
            assert!(matches!(outcome.end, JobEnd::Finished), "{:?}", outcome.end);
            assert_eq!(world.shown(), world.rows(), "exactly once across the restart");
        }
    }
}

/// Takes 5 ms per batch; panics when told to.
struct SlowSink {
    most: Arc<AtomicUsize>,
    env: Env,
    panics: bool,
}

struct SlowWriter(Arc<AtomicUsize>, Env, bool);

impl Sink for SlowSink {
    fn mode(&self) -> SinkMode {
        SinkMode::Idempotent
    }

    fn changelog(&self) -> ChangelogSupport {
        ChangelogSupport::All
    }

    fn writer(&self, _: &WriterContext) -> api::Result<Box<dyn Writer>> {
        Ok(Box::new(SlowWriter(Arc::clone(&self.most), self.env.clone(), self.panics)))
    }
}

impl Writer for SlowWriter {
    fn write(&mut self, batch: ChangeBatch) -> BoxFuture<'_, api::Result<()>> {
        Box::pin(async move {
            assert!(!self.2, "writer bug");
            self.1.clock.sleep(MS(5)).await;
            self.0.fetch_add(batch.num_rows(), SeqCst);
            Ok(())
        })
    }

    fn prepare(&mut self, _: Epoch) -> BoxFuture<'_, api::Result<Vec<Committable>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

fn slow(world: &World, env: &Env, written: &Arc<AtomicUsize>, panics: bool) -> JobGraph {
    let mut g = JobGraph::default();
    let source = g.node(node("source", 1, world.source()));
    let sink = SlowSink { most: Arc::clone(written), env: env.clone(), panics };
    let sink = NodeKind::Sink { sink: Arc::new(sink), flush_at_barriers_only: false };
    let sink = g.node(node("sink", 1, sink));
    g.edge(source, sink, 0, Exchange::Rebalance);
    g
}

#[test]
fn a_source_that_is_faster_than_its_sink_waits_and_checkpoints_go_on() {
    let world = World::new();
    let written = Arc::new(AtomicUsize::new(0));
    for i in 0..200 {
        world.feed("a", &[(i, i), (i, i), (i, i), (i, i)]);
    }
    process(1, async |env| {
        let mut config = config();
        config.channel = ChannelLimits { rows_max: 16, bytes_max: usize::MAX };
        let job = start(&world, &env, slow(&world, &env, &written, false), config);
        env.clock.sleep(MS(500)).await;
        let status = job.status();
        let (read, wrote) = (status.nodes[0].rows_out as usize, written.load(SeqCst));
        assert!(read <= wrote + 16 + 64 + 4, "{read} read, {wrote} written: the queue is bounded");
        assert!(read < 800, "the source waits");
        assert!(status.checkpoints_completed >= 5, "{}", status.checkpoints_completed);
        world.broker.close();
        assert!(matches!(ended(&env, &job).await.end, JobEnd::Finished));
        assert!(env.clock.monotonic() >= SEC(1), "200 batches of 5 ms");
    });
    assert_eq!(written.load(SeqCst), 800);
}

#[test]
fn a_panic_in_a_writer_is_contained() {
    let world = World::new();
    world.feed("a", &[(1, 1)]);
    let outcome = process(1, async |env| {
        let graph = slow(&world, &env, &Arc::default(), true);
        let job = start(&world, &env, graph, config());
        ended(&env, &job).await
    });
    let error = failed(&outcome);
    assert_eq!(error.code(), PANIC.code);
    assert!(error.to_string().contains("writer bug"), "{error}");
}
