//! Crashes and errors at every file operation of a scenario, and again during the recovery from it.

use dflow_common::env::sim::{Fault, Loss};
use dflow_common::{Class, Classified};

use super::*;

/// Six checkpoints: bases, deltas, a new base, retention, staged bodies.
const STEPS: u64 = 6;

/// Whether `DFLOW_TEST_LEVEL=full` asks for every pair of faults.
fn full() -> bool {
    std::env::var("DFLOW_TEST_LEVEL").is_ok_and(|level| level == "full")
}

/// One process from claim to the last step.
async fn process(fs: &SimFs, progress: &mut Progress) -> Result<()> {
    let mut process = Process::start(open(fs, 2), &request(2), LARGE, progress).await?;
    process.run(STEPS, progress).await
}

/// Runs with faults, each at an operation counted from the start of a process, one per process; every failure is
/// followed by a restart. In the end everything is there. Returns the operations of each process.
async fn survive(faults: &[(u64, Fault)], loss: impl Fn(u64) -> Loss) -> Vec<u64> {
    let mut fs = SimFs::new();
    let mut progress = Progress::default();
    let mut operations = Vec::new();
    for attempt in 0.. {
        let start = fs.operations();
        if let Some((at, fault)) = faults.get(attempt) {
            fs.fail_at(start + at, *fault);
        }
        let result = process(&fs, &mut progress).await;
        operations.push(fs.operations() - start);
        match result {
            Ok(()) if fs.crashed() => {}
            Ok(()) => break,
            Err(error) => {
                assert!(attempt < faults.len(), "{error}, although no fault was injected; {faults:?}");
                let denied = faults[attempt].1 == Fault::Denied;
                assert!(error.retryable() != denied, "{error:?} after {faults:?}");
                assert!(error.class() != Class::Internal, "{error:?} after {faults:?}");
            }
        }
        fs = if fs.crashed() {
            fs.crash(loss(attempt as u64))
        } else {
            fs.kill();
            fs.heal();
            fs.process()
        };
    }
    assert_eq!(progress.acknowledged, STEPS);
    // What is acknowledged stays, whatever happens to what is not durable; and nothing is left lying about.
    let fs = fs.crash(loss(99));
    Process::start(open(&fs, 2), &request(2), LARGE, &mut progress).await.expect("it restores");
    assert_tidy(&fs);
    operations
}

#[tokio::test]
async fn the_scenario_has_what_it_is_meant_to_test() {
    let fs = SimFs::new();
    let mut progress = Progress::default();
    let mut process = Process::start(open(&fs, 2), &request(2), LARGE, &mut progress).await.unwrap();
    let (mut bases, mut deltas, mut inline, mut files) = (0, 0, 0, 0);
    for step in 1..=STEPS {
        process.run(step, &mut progress).await.unwrap();
        let manifest = process.store.manifest().unwrap();
        for file in manifest.files().filter(|f| f.epoch == manifest.epoch) {
            *(if file.mode == SnapshotMode::Base { &mut bases } else { &mut deltas }) += 1;
            *(if file.path().is_some() { &mut files } else { &mut inline }) += 1;
        }
        assert!(manifests(&fs).len() <= 3);
        assert_tidy(&fs);
    }
    assert!(bases >= 6 && deltas >= 6 && inline >= 6 && files >= 8, "{bases} {deltas} {inline} {files}");
}

#[tokio::test]
async fn a_crash_at_every_operation_loses_nothing_that_was_acknowledged() {
    let operations = survive(&[], |_| Loss::All).await[0];
    assert!(operations > 150, "{operations}");
    for k in 0..operations {
        survive(&[(k, Fault::Crash)], |_| Loss::All).await;
        for seed in 0..if full() { 10 } else { 1 } {
            survive(&[(k, Fault::Crash)], |n| Loss::Random(k ^ (n << 20) ^ (seed << 40))).await;
        }
    }
    println!("{operations} operations, each crashed");
}

#[tokio::test]
async fn a_crash_during_the_recovery_from_a_crash_loses_nothing_either() {
    let operations = survive(&[], |_| Loss::All).await[0];
    // In one CI run every operation is a first and a second crash, but not every pair is run.
    let stride = if full() { 1 } else { 97 };
    let mut pairs = 0;
    for k in 0..operations {
        // The recovery is over after the claim and what is cleaned up: well within this many operations.
        for j in (k % stride..90).step_by(stride as usize) {
            survive(&[(k, Fault::Crash), (j, Fault::Crash)], |n| Loss::Random(k * 1000 + j + (n << 32))).await;
            pairs += 1;
        }
    }
    println!("{pairs} pairs of crashes");
}

#[tokio::test]
async fn an_error_at_every_operation_is_named_and_survived() {
    let operations = survive(&[], |_| Loss::All).await[0];
    for fault in [Fault::Io, Fault::NoSpace, Fault::LateAnswer] {
        for k in 0..operations {
            survive(&[(k, fault)], |_| Loss::All).await;
        }
    }
    println!("{operations} operations, each failed with EIO, ENOSPC and a late answer");
}

#[tokio::test]
async fn an_error_during_the_recovery_from_a_crash_is_survived() {
    let operations = survive(&[], |_| Loss::All).await[0];
    let stride = if full() { 1 } else { 199 };
    for fault in [Fault::Io, Fault::NoSpace, Fault::LateAnswer] {
        for k in 0..operations {
            for j in (k % stride..90).step_by(stride as usize) {
                survive(&[(k, Fault::Crash), (j, fault)], |n| Loss::Random(k * 1000 + j + (n << 32))).await;
            }
        }
    }
}

/// From some operation on, every one fails: the job stops with the right code, and goes on when the trouble is over.
async fn lasting(fault: Fault, class: Class, retryable: bool) {
    let operations = survive(&[], |_| Loss::All).await[0];
    for k in (0..operations).step_by(if full() { 1 } else { 11 }) {
        let fs = SimFs::new();
        let mut progress = Progress::default();
        fs.fail_from(k, fault);
        if let Err(error) = process(&fs, &mut progress).await {
            assert_eq!((error.class(), error.retryable()), (class, retryable), "{error} at {k}");
        } else {
            assert!(k > operations / 2, "without error at {k}");
        }
        fs.kill();
        fs.heal();
        let fs = fs.process();
        process(&fs, &mut progress).await.unwrap_or_else(|e| panic!("{e} after {fault:?} from {k}"));
        assert_eq!(progress.acknowledged, STEPS);
    }
}

#[tokio::test]
async fn a_full_disk_stops_the_job_with_its_own_code_and_the_job_goes_on_when_there_is_room() {
    lasting(Fault::NoSpace, Class::Resources, true).await;
}

#[tokio::test]
async fn a_directory_that_becomes_unwritable_is_a_matter_of_configuration() {
    lasting(Fault::Denied, Class::Config, false).await;
}

#[tokio::test]
async fn a_disk_that_fails_for_good_is_a_failed_checkpoint() {
    lasting(Fault::Io, Class::Checkpoint, true).await;
}
