//! The disk fails, and the machine loses power, at every single file operation; afterwards exactly the committed rows
//! are there.

use std::io::ErrorKind;
use std::sync::Arc;

use dflow_common::env::sim::{Fault, Loss, SimFs};
use dflow_common::{Class, Classified, Epoch};
use dflow_connector_api::{Committable, Result};

use crate::kit::*;

/// What the last durable manifest holds.
#[derive(Clone, Default)]
struct Manifest {
    epoch: u64,
    pending: Vec<Committable>,
    rows: Vec<String>,
}

/// Three epochs over two partitions; the manifest is written (by the test) between prepare and commit. The last epoch
/// leaves one partition alone: what was committed there must be durable without another epoch's help.
async fn scenario(t: &Table, manifest: &mut Manifest) -> Result<()> {
    let mut w = Writing::start(t, manifest.epoch, manifest.pending.clone()).await?;
    while manifest.epoch < 3 {
        let epoch = manifest.epoch + 1;
        let rows = if epoch < 3 { vec![(epoch, "a"), (epoch * 10, "b")] } else { vec![(epoch, "a")] };
        let text: String = rows.iter().map(|(id, name)| format!("{{\"id\":{id},\"name\":\"{name}\"}}\n")).collect();
        w.writer.write(batch(t, &text)).await?;
        let files = w.writer.prepare(Epoch(epoch)).await?;
        let mut written = manifest.rows.clone();
        written.extend(rows.iter().map(|(id, name)| format!("+I {id}|{name}")));
        *manifest = Manifest { epoch, pending: files.clone(), rows: written };
        w.committer.commit(Epoch(epoch), files).await?;
    }
    Ok(())
}

async fn visible_rows(t: &Table) -> Vec<String> {
    let mut rows = t.read().await.unwrap();
    rows.sort();
    rows
}

async fn fail_everywhere(kind: ErrorKind, class: Class, retryable: bool) {
    let mut operations = 0;
    for call in 0.. {
        let fs = FaultyFs::new();
        let options = [("sink.partition-commit.policy.kind", "success-file")];
        let t = Table::json(&options).partitioned_by(&["name"]).fs(Arc::new(Faulty(fs.clone())));
        let mut manifest = Manifest::default();
        fs.fail_from(call, kind);
        let result = scenario(&t, &mut manifest).await;
        fs.heal();
        let Err(e) = result else {
            assert!(fs.calls() <= call);
            break;
        };
        operations += 1;
        assert_eq!((e.class(), e.retryable()), (class, retryable), "{e}");
        // Again during recovery, at every operation of it.
        for again in 0..4 {
            fs.fail_from(again, kind);
            let _ = Writing::start(&t, manifest.epoch, manifest.pending.clone()).await;
            fs.heal();
        }
        Writing::start(&t, manifest.epoch, manifest.pending.clone()).await.unwrap();
        let mut expected = manifest.rows.clone();
        expected.sort();
        assert_eq!(visible_rows(&t).await, expected, "after a failure of operation {call}");
        scenario(&t, &mut manifest).await.unwrap();
        manifest.rows.sort();
        assert_eq!(visible_rows(&t).await, manifest.rows, "to the end after a failure of operation {call}");
        assert!(tree(&t.path("")).iter().all(|f| !f.ends_with(".inprogress")), "nothing hidden is left");
    }
    assert!(operations > 40, "the scenario has many operations: {operations}");
}

#[tokio::test]
async fn a_full_disk_loses_and_doubles_nothing() {
    fail_everywhere(ErrorKind::StorageFull, Class::Resources, true).await;
}

#[tokio::test]
async fn a_failing_disk_loses_and_doubles_nothing() {
    fail_everywhere(ErrorKind::Other, Class::Unavailable, true).await;
}

#[tokio::test]
async fn errors_of_writing_have_their_codes() {
    for (kind, code) in
        [(ErrorKind::StorageFull, "DF7201"), (ErrorKind::Other, "DF7202"), (ErrorKind::ReadOnlyFilesystem, "DF7200")]
    {
        let fs = FaultyFs::new();
        let t = Table::json(&[]).fs(Arc::new(Faulty(fs.clone())));
        let mut w = Writing::start(&t, 0, vec![]).await.unwrap();
        fs.fail_from(0, kind);
        w.writer.write(batch(&t, "{\"id\":1}\n")).await.unwrap();
        let e = w.writer.prepare(Epoch(1)).await.unwrap_err();
        assert_eq!(e.code().to_string(), code);
        assert!(w.writer.prepare(Epoch(2)).await.is_err(), "a writer that failed prepares nothing more");
    }
}

/// The machine stops at every operation and forgets what was not synchronised, all of it or a part.
#[tokio::test]
async fn a_power_cut_loses_and_doubles_nothing() {
    for loss in [Loss::All, Loss::Random(1), Loss::Random(2)] {
        for call in 0.. {
            let fs = SimFs::new();
            let options = [("sink.partition-commit.policy.kind", "success-file")];
            let mut t = Table::json(&options).partitioned_by(&["name"]).fs(Arc::new(fs.clone()));
            let mut manifest = Manifest::default();
            fs.fail_at(call, Fault::Crash);
            let finished = scenario(&t, &mut manifest).await.is_ok();
            assert_eq!(fs.crashed(), !finished);
            // Also when it had finished: what was said to be committed must outlive the machine.
            let rebooted = fs.crash(loss);
            t = t.fs(Arc::new(rebooted.clone()));
            // A second crash during the recovery, and then a recovery that completes.
            rebooted.fail_at(rebooted.operations() + call % 7, Fault::Crash);
            let _ = Writing::start(&t, manifest.epoch, manifest.pending.clone()).await;
            t = t.fs(Arc::new(rebooted.crash(loss)));
            Writing::start(&t, manifest.epoch, manifest.pending.clone()).await.unwrap();
            let mut expected = manifest.rows.clone();
            expected.sort();
            assert_eq!(visible_rows(&t).await, expected, "{loss:?} after a crash at operation {call}");
            scenario(&t, &mut manifest).await.unwrap();
            manifest.rows.sort();
            assert_eq!(visible_rows(&t).await, manifest.rows, "{loss:?} to the end after a crash at operation {call}");
            if finished {
                assert!(call > 40, "the scenario has many operations: {call}");
                break;
            }
        }
    }
}
