//! Jobs over the durable store: the machine crashes at fail points and at file operations, files fail; the output is exact.

use std::sync::Arc;

use dflow_common::env::sim::{Fault, Loss, SimFs};
use dflow_common::metrics::Metrics;
use dflow_runtime::failpoint as at;
use dflow_runtime::graph::JobGraph;
use dflow_runtime::job::{Job, JobEnd, JobHandle, JobOutcome};
use dflow_runtime::storage::{Store, StoreOptions};

use crate::kit::{MS, SEC, World, config, crashed, feed, process_on, within};

const CHUNKS: usize = 24;

/// One process on a machine. How the job ended; `None` when the machine crashed.
fn live(world: &World, seed: u64, fs: &SimFs, graph: JobGraph, point: Option<(&str, &str)>) -> Option<JobOutcome> {
    process_on(seed, fs, async |env| {
        let crash = crashed(&env);
        if let Some((point, actions)) = point {
            env.set_fail_point(point, actions);
        }
        feed(world, &env, CHUNKS);
        let options = StoreOptions { location: "/state".into(), retained: 2, allow_older: false };
        let store = Arc::new(Store::open(env.clone(), options).unwrap());
        let job: JobHandle =
            Job { graph, config: config(), env: env.clone(), metrics: Metrics::new(), store }.start().unwrap();
        let machine = async {
            while !fs.crashed() {
                env.clock.sleep(MS(1)).await;
            }
        };
        let run = async {
            tokio::select! {
                biased;
                () = crash.notified() => None,
                () = machine => None,
                outcome = job.wait() => Some(outcome),
            }
        };
        within(&env, SEC(120), "a crash or the end", run).await
    })
}

fn finished(outcome: &Option<JobOutcome>) -> bool {
    matches!(outcome, Some(JobOutcome { end: JobEnd::Finished, .. }))
}

#[test]
fn the_machine_crashes_at_every_fail_point() {
    for (i, point) in at::ALL.iter().filter(|p| **p != at::BEFORE_RESTORE).enumerate() {
        let (world, fs) = (World::new(), SimFs::new());
        let often = ![at::BEFORE_CLAIM, at::BEFORE_RECOVER, at::BEFORE_START, at::BEFORE_FINISH].contains(point);
        let actions = format!("{}*off->1*return(crash)", if often { 2 } else { 0 });
        let seed = i as u64;
        assert!(live(&world, seed, &fs, world.aggregate(2, 2), Some((point, &actions))).is_none(), "{point}");
        let fs = fs.crash(Loss::Random(seed));
        let outcome = live(&world, seed, &fs, world.aggregate(1, 3), None);
        assert!(finished(&outcome), "{point}: {outcome:?}");
        assert_eq!(world.folded(), world.sums(), "{point}");
    }
}

#[test]
fn files_fail_and_the_machine_crashes_at_file_operations_all_over_the_run() {
    let count = {
        let (world, fs) = (World::new(), SimFs::new());
        assert!(finished(&live(&world, 0, &fs, world.aggregate(1, 2), None)));
        fs.operations()
    };
    assert!(count > 100, "{count} operations");
    for (fault, step, offset) in
        [(Fault::Crash, 5, 0), (Fault::Io, 11, 3), (Fault::NoSpace, 13, 6), (Fault::LateAnswer, 17, 9)]
    {
        for operation in (offset..count).step_by(step) {
            let (world, mut fs) = (World::new(), SimFs::new());
            fs.fail_at(operation, fault);
            let mut ends = Vec::new();
            for process in 0..4 {
                let outcome = live(&world, process, &fs, world.aggregate(1, 2), None);
                let done = finished(&outcome);
                ends.push(outcome.map(|o| o.end));
                // A crash after the state was marked as finished: the next run would rightly start fresh.
                if done || (fs.crashed() && world.fed_all(CHUNKS) && world.folded() == world.sums()) {
                    break;
                }
                fs = match fs.crashed() {
                    true => fs.crash(Loss::Random(operation)),
                    false => {
                        let next = fs.process();
                        fs.kill();
                        next
                    }
                };
            }
            assert!(matches!(ends.last(), Some(Some(JobEnd::Finished) | None)), "{fault:?} at {operation}: {ends:?}");
            assert_eq!(world.folded(), world.sums(), "{fault:?} at {operation}: {ends:?}");
        }
    }
}
