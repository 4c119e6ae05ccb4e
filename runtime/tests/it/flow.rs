//! Rows flow, checkpoints complete, the job ends.

use dflow_common::metrics::{self, Metrics};
use dflow_common::{Classified, Epoch};
use dflow_runtime::checkpoint::MemoryStore;
use dflow_runtime::config::ChannelLimits;
use dflow_runtime::error::CHECKPOINT_FAILED;
use dflow_runtime::job::{Job, JobEnd, JobEvent, JobState};

use crate::kit::{MS, World, config, ended, feed, process, start, within};

#[test]
fn a_bounded_copy_shows_every_row_once_and_finishes() {
    let world = World::new();
    world.feed("a", &[(1, 10), (2, 20)]);
    world.feed("b", &[(3, 30)]);
    world.broker.close();
    let outcome = process(1, async |env| {
        let job = start(&world, &env, world.copy(2), config());
        ended(&env, &job).await
    });
    assert!(matches!(outcome.end, JobEnd::Finished), "{:?}", outcome.end);
    assert_eq!(world.shown(), world.rows());
    assert!(world.backend.finished());
    let [source, sink] = &outcome.status.nodes[..] else { panic!("two nodes") };
    assert_eq!((source.rows_in, source.rows_out, sink.rows_in, sink.rows_out), (3, 3, 3, 3));
    assert_eq!((outcome.status.state, outcome.restarts), (JobState::Ended, 0));
    assert_eq!(outcome.last_checkpoint, Some(Epoch(1)), "one checkpoint: the final one");
}

#[test]
fn an_aggregate_over_a_hash_exchange_folds_to_the_sums() {
    for (readers, parallelism, rows_max) in [(1, 1, 1 << 15), (2, 3, 1 << 15), (3, 2, 1)] {
        let world = World::new();
        process(2, async |env| {
            feed(&world, &env, 40);
            let mut config = config();
            config.channel = ChannelLimits { rows_max, bytes_max: 1 };
            let job = start(&world, &env, world.aggregate(readers, parallelism), config);
            let outcome = ended(&env, &job).await;
            assert!(matches!(outcome.end, JobEnd::Finished), "{:?}", outcome.end);
            assert!(outcome.status.checkpoints_completed >= 5, "{:?}", outcome.status);
            assert_eq!(outcome.status.nodes[1].rows_in, 200);
        });
        assert_eq!(world.folded(), world.sums(), "{readers} readers, {parallelism} sums");
    }
}

#[test]
fn an_idle_job_takes_no_checkpoint_and_a_request_takes_one() {
    let world = World::new();
    process(3, async |env| {
        world.feed("a", &[(1, 1)]);
        let job = start(&world, &env, world.copy(1), config());
        env.clock.sleep(MS(1_000)).await;
        assert_eq!(job.status().checkpoints_completed, 1, "nothing happened after the first");
        assert_eq!(world.shown(), world.rows());
        let epoch = within(&env, MS(100), "a requested checkpoint", job.checkpoint()).await.unwrap();
        assert_eq!(epoch, Epoch(2));
        job.cancel();
        assert!(matches!(ended(&env, &job).await.end, JobEnd::Cancelled));
        let error = job.checkpoint().await.unwrap_err();
        assert_eq!(error.code(), CHECKPOINT_FAILED.code, "the job is over");
    });
}

#[test]
fn events_tell_the_story_in_order() {
    let world = World::new();
    let story = process(4, async |env| {
        world.feed("a", &[(1, 1)]);
        let job = start(&world, &env, world.copy(1), config());
        let mut events = job.events();
        env.clock.sleep(MS(50)).await;
        world.broker.close();
        ended(&env, &job).await;
        let mut story = Vec::new();
        while let Ok(event) = events.try_recv() {
            story.push(match event {
                JobEvent::Started { restored, generation, .. } => format!("started {restored:?} {generation}"),
                JobEvent::CheckpointCompleted(c) => format!("checkpoint {}", c.epoch),
                JobEvent::Ended(end) => format!("ended {end:?}"),
                other => format!("{other:?}"),
            });
        }
        story
    });
    assert_eq!(story, ["started None 1", "checkpoint 1", "checkpoint 2", "ended Finished"]);
}

#[test]
fn metrics_are_counted_per_operator() {
    let world = World::new();
    world.feed("a", &[(1, 1), (2, 2), (1, 3)]);
    world.broker.close();
    let metrics = Metrics::new();
    process(5, async |env| {
        let store = MemoryStore::new(world.backend.clone());
        let (graph, metrics) = (world.aggregate(1, 2), metrics.clone());
        let job = Job { graph, config: config(), env: env.clone(), metrics, store }.start().unwrap();
        ended(&env, &job).await;
    });
    assert_eq!(metrics.counter(&metrics::RECORDS_IN, &["job", "sum"]).get(), 3.0);
    assert_eq!(metrics.counter(&metrics::RECORDS_OUT, &["job", "sum"]).get(), 2.0);
    assert_eq!(metrics.counter(&metrics::RECORDS_IN, &["job", "sink"]).get(), 2.0);
    assert_eq!(metrics.counter(&metrics::CHECKPOINTS, &["job", "completed"]).get(), 1.0);
    assert_eq!(metrics.gauge(&metrics::STATE_ENTRIES, &["job", "sum"]).get(), 2.0);
    assert_eq!(metrics.counter(&metrics::SINK_COMMITS, &["job", "sink", "ok"]).get(), 1.0);
}

#[test]
fn a_row_is_emitted_at_once_under_light_load_and_gathered_under_heavy_load() {
    let world = World::new();
    process(6, async |env| {
        let mut config = config();
        config.checkpoint.interval = None;
        let job = start(&world, &env, world.aggregate(1, 1), config);
        let emitted = || job.status().nodes[1].rows_out;
        env.clock.sleep(MS(100)).await;
        world.feed("a", &[(1, 1)]);
        env.clock.sleep(MS(1)).await;
        assert_eq!(emitted(), 1, "a row that comes alone does not wait");
        // One row per millisecond, and flushes are 2 ms apart: every second one emits an update of two rows.
        env.clock.sleep(MS(100)).await;
        for i in 0..1_000 {
            world.feed("a", &[(1, i)]);
            env.clock.sleep(MS(1)).await;
        }
        env.clock.sleep(MS(5)).await;
        let changes = emitted() - 1;
        assert!((600..=1_100).contains(&changes), "{changes} changes for 1000 rows");
        job.cancel();
        job.wait().await;
    });
}

#[test]
fn rows_and_latency_bound_what_a_busy_task_holds_back() {
    for (rows_max, latency_max, expected) in
        [(100, MS(10_000), 20), (usize::MAX, MS(10_000), 1), (usize::MAX, MS(0), 40)]
    {
        let world = World::new();
        for i in 0..500 {
            world.feed("a", &(0..4).map(|j| (1, i * 4 + j)).collect::<Vec<_>>());
        }
        world.broker.close();
        let rows_out = process(7, async |env| {
            let mut config = config();
            config.emission.rows_max = rows_max;
            config.emission.latency_max = latency_max;
            let job = start(&world, &env, world.aggregate(1, 1), config);
            ended(&env, &job).await.status.nodes[1].rows_out
        });
        assert!(rows_out >= expected, "{rows_max} rows, {latency_max:?}: {rows_out}");
        assert_eq!(world.folded(), world.sums());
    }
}
