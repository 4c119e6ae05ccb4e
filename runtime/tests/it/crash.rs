//! Crashes at every fail point, again during the recovery, and old instances that wake up. The output is exact.

use std::sync::Arc;

use dflow_common::env::{Rng, SeededRng, sim};
use dflow_common::{Class, Classified};
use dflow_runtime::failpoint as at;
use dflow_runtime::graph::JobGraph;
use dflow_runtime::job::JobEnd;

use crate::kit::{MS, SEC, World, config, crashed, ended, feed, process, start, within};

const CHUNKS: usize = 40;

/// One process: runs until it crashes or ends well. Whether it crashed.
fn live(world: &World, seed: u64, graph: JobGraph, points: &[(&str, &str)]) -> bool {
    process(seed, async |env| {
        let crash = crashed(&env);
        points.iter().for_each(|(point, actions)| env.set_fail_point(point, actions));
        feed(world, &env, CHUNKS);
        let job = start(world, &env, graph, config());
        let run = async {
            tokio::select! {
                biased;
                () = crash.notified() => true,
                outcome = job.wait() => {
                    assert!(matches!(outcome.end, JobEnd::Finished), "{points:?}: {:?}", outcome.end);
                    false
                }
            }
        };
        within(&env, SEC(60), "a crash or the end", run).await
    })
}

/// The n-th time.
fn nth(n: usize, action: &str) -> String {
    format!("{n}*off->1*return({action})")
}

/// Points that a first run passes; `true`: more than once.
fn points() -> impl Iterator<Item = (&'static str, bool)> {
    let once = [at::BEFORE_CLAIM, at::BEFORE_RECOVER, at::BEFORE_START, at::BEFORE_FINISH];
    at::ALL.iter().filter(|p| **p != at::BEFORE_RESTORE).map(move |p| (*p, !once.contains(p)))
}

#[test]
fn a_crash_at_any_point_loses_and_doubles_nothing() {
    let mut seed = 0;
    for (point, often) in points() {
        for n in if often { 0..4 } else { 0..1 } {
            seed += 1;
            let world = World::new();
            assert!(live(&world, seed, world.copy(2), &[(point, &nth(n, "crash"))]), "{point} was never passed");
            assert!(!live(&world, seed, world.copy(3), &[]));
            assert_eq!(world.shown(), world.rows(), "copy: {point}, time {n}");

            let world = World::new();
            assert!(
                live(&world, seed, world.aggregate(2, 2), &[(point, &nth(n, "crash"))]),
                "{point} was never passed"
            );
            assert!(!live(&world, seed, world.aggregate(1, 3), &[]));
            assert_eq!(world.folded(), world.sums(), "aggregate: {point}, time {n}");
        }
    }
}

#[test]
fn a_second_crash_during_the_recovery_changes_nothing() {
    let first = [at::AFTER_COMMIT, at::BEFORE_COMMIT, at::BEFORE_COMPLETE];
    let mut seed = 100;
    for before in first {
        for second in at::ALL {
            seed += 1;
            let world = World::new();
            assert!(live(&world, seed, world.aggregate(2, 2), &[(before, &nth(1, "crash"))]));
            assert!(
                live(&world, seed, world.aggregate(2, 3), &[(second, &nth(0, "crash"))]),
                "{second} was never passed"
            );
            assert!(
                live(&world, seed, world.aggregate(3, 1), &[(second, &nth(0, "crash"))])
                    || *second == at::BEFORE_FINISH
            );
            assert!(!live(&world, seed, world.aggregate(1, 2), &[]));
            assert_eq!(world.folded(), world.sums(), "{before}, then {second} twice");
        }
    }
}

#[test]
fn what_a_failed_upload_dropped_is_in_the_next_checkpoint() {
    // The dirty state handed to the failed upload exists in no file; a delta on top of the one before would lack it.
    for n in 0..3 {
        let world = World::new();
        let crash = nth(2, "crash");
        let failing = nth(n, "error");
        assert!(live(
            &world,
            7,
            world.aggregate(1, 1),
            &[(at::BEFORE_UPLOAD, &failing), (at::BEFORE_COMPLETE, &crash)]
        ));
        assert!(!live(&world, 8, world.aggregate(1, 2), &[]));
        assert_eq!(world.folded(), world.sums(), "upload {n} failed");
    }
}

#[test]
fn an_input_that_is_ahead_waits_at_the_barrier() {
    // Two readers and two sums snapshot per checkpoint, in this order. In the second one, the second reader takes 50 ms,
    // while the first one has passed its barrier and goes on: its rows must not get into the sums' snapshots.
    let slow_reader = "5*off->5*return(pause)";
    let world = World::new();
    let points = [(at::TASK_SNAPSHOT, slow_reader), (at::BEFORE_COMPLETE, &nth(1, "crash"))];
    assert!(live(&world, 9, world.aggregate(2, 2), &points));
    assert!(!live(&world, 10, world.aggregate(2, 2), &[]));
    assert_eq!(world.folded(), world.sums());
}

#[test]
fn an_old_instance_that_wakes_up_is_fenced_and_harms_nothing() {
    for point in [at::TASK_SNAPSHOT, at::BEFORE_UPLOAD, at::BEFORE_COMMIT, at::AFTER_COMMIT, at::BEFORE_COMPLETE] {
        let world = World::new();
        process(11, async |env| {
            let old_env = sim::env(12, Arc::new(sim::SimFs::new()));
            old_env.set_fail_point(point, "1*off->return(pause)");
            feed(&world, &env, CHUNKS);
            let old = start(&world, &old_env, world.aggregate(2, 2), config());
            env.clock.sleep(MS(150)).await;
            let new = start(&world, &env, world.aggregate(2, 3), config());
            env.clock.sleep(MS(100)).await;
            old_env.set_fail_point(point, "off");
            let old = ended(&env, &old).await;
            let JobEnd::Failed(error) = old.end else { panic!("{point}: {:?}", old.end) };
            assert_eq!(error.class(), Class::Fenced, "{point}: {error}");
            assert_eq!(error.class().exit_code(), 24);
            let new = ended(&env, &new).await;
            assert!(matches!(new.end, JobEnd::Finished), "{point}: {:?}", new.end);
        });
        assert_eq!(world.folded(), world.sums(), "{point}");
        assert_eq!(world.backend.generation(), 2, "{point}: a fenced instance does not claim again");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let world = World::new();
        let mut trace = Vec::new();
        for points in [&[(at::AFTER_COMMIT, nth(1, "crash"))][..], &[]] {
            process(seed, async |env| {
                let crash = crashed(&env);
                points.iter().for_each(|(point, actions)| env.set_fail_point(point, actions));
                feed(&world, &env, CHUNKS);
                let job = start(&world, &env, world.aggregate(2, 3), config());
                let mut events = job.events();
                tokio::select! {
                    biased;
                    () = crash.notified() => (),
                    _ = job.wait() => (),
                }
                while let Ok(event) = events.try_recv() {
                    trace.push(format!("{:?} {event:?}", env.clock.monotonic()));
                }
                trace.push(format!("{:?}", job.status()));
            });
        }
        trace.extend(world.server.tokens());
        trace.extend(world.server.rows());
        trace
    };
    let first = trace(5);
    assert!(first.len() > 50, "{}", first.len());
    for _ in 0..2 {
        assert_eq!(first, trace(5));
    }
    assert_ne!(first, trace(6), "the seed draws the owner, which is in every token");
}

/// Seeds of a run: `DFLOW_TEST_LEVEL=full` takes more of them.
fn seeds() -> std::ops::Range<u64> {
    let full = std::env::var("DFLOW_TEST_LEVEL").is_ok_and(|l| l == "full");
    0..if full { 1_000 } else { 60 }
}

#[test]
fn random_lives_end_exact() {
    let (mut crashes, mut lives) = (0, 0);
    for seed in seeds() {
        let rng = SeededRng::new(seed);
        let pick = |n: usize| rng.below(n as u64) as usize;
        let world = World::new();
        let mut story = Vec::new();
        for life in 0.. {
            let (readers, sums, rows_max) = (1 + pick(3), 1 + pick(4), [1, 7, 1 << 15][pick(3)]);
            let action = ["crash", "crash", "error", "pause"][pick(4)];
            let (point, times) = (at::ALL[pick(at::ALL.len())], 1 + pick(4));
            let actions = format!("{}*off->{times}*return({action})", pick(6));
            story.push(format!("{readers}->{sums} rows {rows_max}, {point}: {actions}"));
            let done = process(seed, async |env| {
                let crash = crashed(&env);
                if life < 6 {
                    env.set_fail_point(point, &actions);
                }
                feed(&world, &env, CHUNKS);
                let mut config = config();
                config.channel.rows_max = rows_max;
                config.checkpoint.timeout = MS(60);
                config.checkpoint.tolerable_failures = 5;
                let job = start(&world, &env, world.aggregate(readers, sums), config);
                let run = async {
                    tokio::select! {
                        biased;
                        () = crash.notified() => None,
                        outcome = job.wait() => Some(outcome.end),
                    }
                };
                within(&env, SEC(120), &format!("seed {seed}: {story:#?}"), run).await
            });
            lives += 1;
            match done {
                None => crashes += 1,
                Some(JobEnd::Finished) => break,
                // Restarts can be used up by a point that fails every time; the next life goes on.
                Some(JobEnd::Failed(error)) => {
                    assert_eq!(error.class().exit_code() / 10, 2, "seed {seed}: {error} {story:#?}")
                }
                Some(end) => panic!("seed {seed}: {end:?} {story:#?}"),
            }
        }
        assert_eq!(world.folded(), world.sums(), "seed {seed}: {story:#?}");
    }
    assert!(crashes as u64 * 3 > seeds().end, "{crashes} crashes in {lives} lives");
}
