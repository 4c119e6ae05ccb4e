//! Graceful stop, cancel, what comes after.

use std::sync::Arc;

use dflow_common::{Class, Classified};
use dflow_runtime::config::RestoreMode;
use dflow_runtime::error::UNCLEAN_STOP;
use dflow_runtime::failpoint as at;
use dflow_runtime::job::{JobEnd, JobState};

use crate::kit::{MS, SEC, World, config, ended, feed, process, start};

#[test]
fn a_stopped_job_goes_on_where_it_stopped() {
    let world = World::new();
    for readers in [2, 1, 3] {
        process(1, async |env| {
            feed(&world, &env, 40);
            let job = start(&world, &env, world.aggregate(readers, 2), config());
            env.clock.sleep(MS(95)).await;
            job.stop();
            job.stop();
            let outcome = ended(&env, &job).await;
            assert!(matches!(outcome.end, JobEnd::Stopped), "{:?}", outcome.end);
            assert_eq!(outcome.restarts, 0);
        });
        assert!(!world.folded().is_empty() && world.rows().len() < 200, "stopped in the middle");
        assert!(!world.backend.finished());
    }
    process(2, async |env| {
        feed(&world, &env, 40);
        let job = start(&world, &env, world.aggregate(2, 1), config());
        assert!(matches!(ended(&env, &job).await.end, JobEnd::Finished));
        assert!(job.status().restored_from.is_some());
    });
    assert_eq!(world.folded(), world.sums());
}

#[test]
fn everything_before_a_stop_is_committed() {
    let world = World::new();
    process(1, async |env| {
        world.feed("a", &[(1, 1), (2, 2)]);
        let mut config = config();
        config.checkpoint.interval = None;
        let job = start(&world, &env, world.copy(1), config);
        env.clock.sleep(MS(50)).await;
        assert!(world.shown().is_empty(), "no checkpoint yet");
        job.stop();
        let outcome = ended(&env, &job).await;
        assert!(matches!(outcome.end, JobEnd::Stopped));
        world.broker.append("a", 0, crate::kit::pairs(&[(9, 9)]));
    });
    assert_eq!(world.shown(), world.rows());
}

#[test]
fn a_stop_that_takes_too_long_is_unclean() {
    let world = World::new();
    process(1, async |env| {
        feed(&world, &env, 1_000);
        env.set_fail_point(at::BEFORE_COMMIT, "return(pause)");
        let mut config = config();
        config.stop_timeout = SEC(2);
        let job = start(&world, &env, world.copy(1), config);
        env.clock.sleep(MS(100)).await;
        job.stop();
        env.clock.sleep(MS(100)).await;
        assert_eq!(job.status().state, JobState::Stopping);
        let JobEnd::Failed(error) = ended(&env, &job).await.end else { panic!("unclean") };
        assert_eq!((error.code(), error.class()), (UNCLEAN_STOP.code, Class::UncleanStop));
        assert!(env.clock.monotonic() >= SEC(2));
    });
}

#[test]
fn a_finished_job_starts_fresh_and_an_ended_input_restores_to_its_end() {
    let world = World::new();
    world.feed("a", &[(1, 1)]);
    world.broker.close();
    let run = |restore: RestoreMode| {
        process(1, async |env| {
            let mut config = config();
            config.restore = restore;
            let job = start(&world, &env, world.aggregate(1, 2), config);
            let outcome = ended(&env, &job).await;
            assert!(matches!(outcome.end, JobEnd::Finished), "{:?}", outcome.end);
            outcome.status.restored_from
        })
    };
    assert_eq!(run(RestoreMode::Auto), None);
    assert_eq!(world.server.rows(), ["+I 1|1|1"]);
    assert_eq!(run(RestoreMode::Auto), None, "finished: starts fresh");
    assert_eq!(world.server.rows().len(), 2, "and reads everything again");
}

#[test]
fn cancel_ends_every_task_at_once() {
    let world = World::new();
    process(1, async |env| {
        feed(&world, &env, 1_000);
        let graph = world.aggregate(2, 2);
        let alive = Arc::downgrade(&match &graph.nodes[0].kind {
            dflow_runtime::graph::NodeKind::Source(s) => Arc::clone(s),
            _ => panic!("a source"),
        });
        let job = start(&world, &env, graph, config());
        env.clock.sleep(MS(100)).await;
        job.cancel();
        let outcome = ended(&env, &job).await;
        assert!(matches!(outcome.end, JobEnd::Cancelled));
        assert!(env.clock.monotonic() < MS(110), "{:?}", env.clock.monotonic());
        tokio::task::yield_now().await;
        assert!(alive.upgrade().is_none(), "nothing of the job lives on");
    });
}
