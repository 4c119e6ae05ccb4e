//! Who may take over what: every row of the claim's table, fencing, and every refusal with its code and exit.

use dflow_common::env::sim::{Fault, Loss};
use dflow_common::env::{DirEntry, Fs, FsFile, FsRead, Metadata};
use dflow_common::{Classified, CodeInfo};

use super::*;
use crate::checkpoint::DataOption;

fn assert_code(result: Result<Claimed>, expected: CodeInfo, exit: u8) -> Diagnostic {
    let error = result.expect_err("it is refused");
    assert_eq!((error.code(), error.class().exit_code()), (expected.code, exit), "{error}");
    let diagnostic = error.diagnostic();
    assert!(!diagnostic.help.is_empty(), "the way on is named: {error}");
    diagnostic
}

fn with(restore: RestoreMode) -> ClaimRequest {
    ClaimRequest { restore, ..request(2) }
}

async fn start(fs: &SimFs, request: &ClaimRequest, steps: std::ops::RangeInclusive<u64>) -> Result<Process> {
    let mut progress = Progress { acknowledged: *steps.start(), tried: *steps.end() };
    Process::start(open(fs, 3), request, SMALL, &mut progress).await
}

#[tokio::test]
async fn a_claim_goes_on_where_the_last_checkpoint_was_and_counts_on() {
    let fs = after(SMALL, 2, 3).await;
    let before = manifests(&fs).pop().unwrap();
    let process = start(&fs, &with(RestoreMode::Require), 3..=3).await.unwrap();
    let claim = process.store.manifest().unwrap();
    assert_eq!((claim.number, claim.parent, claim.generation), (before.number + 1, before.number, 2));
    assert_eq!((claim.epoch, claim.claim, before.claim), (Epoch(3), true, false));
    assert_eq!(process.claimed.next_epoch, Epoch(4));
    let again = process.store.claim(&with(RestoreMode::Require)).await.unwrap();
    assert_eq!(
        (again.generation, again.next_epoch),
        (3, Epoch(5)),
        "an epoch that may have been tried is not used again"
    );
}

#[tokio::test]
async fn state_can_be_required() {
    let fs = SimFs::new();
    let required = with(RestoreMode::Require);
    let refused = assert_code(open(&fs, 3).claim(&required).await, codes::NO_STATE, 13);
    assert_eq!(refused.message, "no state to restore: there is none");
    assert!(fs.files().is_empty(), "a refusal leaves no trace");
    let process = start(&fs, &request(2), 0..=0).await.unwrap();
    drop(process);
    fs.kill();
    let refused = assert_code(open(&fs.process(), 3).claim(&required).await, codes::NO_STATE, 13);
    assert_eq!(refused.message, "no state to restore: no checkpoint was completed");
}

#[tokio::test]
async fn a_finished_job_starts_fresh_and_its_files_are_retired() {
    let fs = SimFs::new();
    let mut progress = Progress::default();
    let mut process = Process::start(open(&fs, 1), &request(2), LARGE, &mut progress).await.unwrap();
    process.run(3, &mut progress).await.unwrap();
    process.store.mark_finished().await.unwrap();
    assert!(manifests(&fs).pop().unwrap().finished);
    fs.kill();
    let fs = fs.crash(Loss::All);
    let refused = assert_code(open(&fs, 1).claim(&with(RestoreMode::Require)).await, codes::NO_STATE, 13);
    assert_eq!(refused.message, "no state to restore: the last run had finished");
    let mut progress = Progress::default();
    let mut process = Process::start(open(&fs, 1), &request(2), LARGE, &mut progress).await.unwrap();
    assert_eq!((process.claimed.restored.is_none(), process.claimed.next_epoch), (true, Epoch(4)), "epochs go on");
    assert_eq!(process.claimed.notices, ["the last run had read everything and finished: this one starts fresh"]);
    progress.tried = 3;
    process.run(2, &mut progress).await.unwrap();
    let epochs: Vec<u64> = manifests(&fs).iter().map(|m| m.epoch.0).collect();
    assert_eq!(epochs, [5], "one is retained");
    assert_tidy(&fs);
}

#[tokio::test]
async fn old_state_is_kept_aside_and_can_be_restored_from_there() {
    let fs = after(LARGE, 2, 3).await;
    let none = with(RestoreMode::None);
    let mut progress = Progress::default();
    let mut process = Process::start(open(&fs, 3), &none, LARGE, &mut progress).await.unwrap();
    assert_eq!((process.claimed.generation, process.claimed.next_epoch), (2, Epoch(4)), "numbers go on");
    assert_eq!(process.claimed.notices, [format!("the old state is kept at {ROOT}.aside-3")]);
    progress.tried = 9;
    process.run(2, &mut progress).await.unwrap();
    // A restart within the process does not start fresh again.
    assert_eq!(process.store.claim(&none).await.unwrap().restored.unwrap().epoch, Epoch(5));
    fs.kill();
    let fs = fs.crash(Loss::All);
    let aside = format!("{ROOT}.aside-3");
    let files: Vec<_> = fs.files().into_keys().filter(|p| p.starts_with(&aside)).collect();
    assert!(files.len() > 5, "{files:?}");

    let mut progress = Progress { acknowledged: 3, tried: 3 };
    let path = with(RestoreMode::Path(aside.clone().into()));
    let process = Process::start(open(&fs, 3), &path, LARGE, &mut progress).await.unwrap();
    assert_eq!((process.claimed.generation, process.claimed.next_epoch), (4, Epoch(7)));
    let notices = [
        format!("the old state is kept at {ROOT}.aside-5"),
        format!("checkpoint 3 of job `orders` at {aside} is restored; the next one is 7"),
    ];
    assert_eq!(process.claimed.notices, notices);
    let aside_again: Vec<_> = fs.files().into_keys().filter(|p| p.starts_with(&aside)).collect();
    assert_eq!(aside_again, files, "a directory that is restored from is only read");
    assert!(fs.files().into_keys().any(|p| p.starts_with(format!("{ROOT}.aside-5"))), "own state was kept aside too");
    fs.kill();
    let fs = fs.crash(Loss::All);
    assert_eq!(judge(&fs, LARGE, 3).await.unwrap(), 3, "the copy needs nothing of the original");
    assert_tidy(&fs);
}

#[tokio::test]
async fn names_of_kept_state_do_not_collide() {
    let mut fs = after(SMALL, 2, 1).await;
    for _ in 0..2 {
        let mut progress = Progress { acknowledged: 0, tried: 9 };
        drop(Process::start(open(&fs, 3), &with(RestoreMode::None), SMALL, &mut progress).await.unwrap());
        fs.kill();
        fs = fs.process();
        // Back to the same epoch.
        let files = fs.files();
        let name = files.into_keys().rfind(|p| p.starts_with(format!("{ROOT}.aside-1/manifests"))).unwrap();
        let path = with(RestoreMode::Path(name));
        let mut progress = Progress { acknowledged: 1, tried: 1 };
        drop(Process::start(open(&fs, 3), &path, SMALL, &mut progress).await.unwrap());
        fs.kill();
        fs = fs.process();
    }
    let asides: BTreeSet<_> =
        fs.files().keys().filter_map(|p| Some(p.strip_prefix("/state").ok()?.iter().next()?.to_owned())).collect();
    assert_eq!(asides.into_iter().collect::<Vec<_>>(), ["orders", "orders.aside-1", "orders.aside-1-2"]);
}

#[tokio::test]
async fn an_older_manifest_of_the_same_directory_can_be_restored() {
    let fs = after(LARGE, 2, 4).await;
    let older = manifests(&fs)[1].clone();
    assert_eq!(older.epoch, Epoch(3));
    // Another name of the same directory.
    let path = FsPath::new(ROOT).join("../orders").join(Manifest::path(older.number));
    let mut progress = Progress { acknowledged: 3, tried: 3 };
    let restore = with(RestoreMode::Path(path));
    let mut process = Process::start(open(&fs, 3), &restore, LARGE, &mut progress).await.unwrap();
    assert_eq!(process.claimed.next_epoch, Epoch(5), "epoch 4 was used");
    process.run(5, &mut progress).await.unwrap();
    fs.kill();
    assert_eq!(judge(&fs.process(), LARGE, 1).await.unwrap(), 5);
    assert_complete(&fs);
    assert!(fs.files().keys().all(|p| p.starts_with(ROOT)), "nothing was moved aside");
}

#[tokio::test]
async fn the_real_file_system_works_like_the_simulated_one() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("state/orders");
    let open = |seed| {
        let options = StoreOptions { location: root.display().to_string(), retained: 2, allow_older: false };
        Store::open(sim::env_real_fs(seed), options).unwrap()
    };
    let mut progress = Progress::default();
    let mut process = Process::start(open(1), &request(2), LARGE, &mut progress).await.unwrap();
    process.run(4, &mut progress).await.unwrap();
    assert_code(open(2).claim(&request(2)).await, codes::STATE_IN_USE, 24);
    drop(process);
    let mut process = Process::start(open(3), &request(3), LARGE, &mut progress).await.unwrap();
    process.run(5, &mut progress).await.unwrap();
    drop(process);
    let claimed = open(4).claim(&with(RestoreMode::None)).await.unwrap();
    assert_eq!(claimed.notices, [format!("the old state is kept at {}.aside-5", root.display())]);
    let aside = with(RestoreMode::Path(root.with_file_name("orders.aside-5")));
    assert_eq!(Process::start(open(5), &aside, LARGE, &mut progress).await.unwrap().step, 5);
}

#[tokio::test]
async fn nothing_to_restore_at_a_path_is_an_error() {
    let fs = after(SMALL, 2, 1).await;
    let nowhere = with(RestoreMode::Path("/nowhere".into()));
    assert_code(open(&fs, 3).claim(&nowhere).await, codes::NO_STATE, 13);
    let no_such = FsPath::new(ROOT).join(Manifest::path(77));
    let no_such = open(&fs, 3).claim(&with(RestoreMode::Path(no_such))).await;
    assert_code(no_such, codes::NO_STATE, 13);
}

#[tokio::test]
async fn parallelism_may_change_with_every_start() {
    let mut fs = after(LARGE, 2, 2).await;
    let mut progress = Progress { acknowledged: 2, tried: 2 };
    for (parallelism, to) in [(3, 4), (1, 5), (4, 5), (16, 7), (2, 8)] {
        let mut process = Process::start(open(&fs, 3), &request(parallelism), LARGE, &mut progress).await.unwrap();
        process.run(to, &mut progress).await.unwrap();
        fs.kill();
        fs = fs.process();
    }
    assert_eq!(judge(&fs, LARGE, 5).await.unwrap(), 8);
}

#[tokio::test]
async fn an_instance_that_has_finished_keeps_its_state() {
    let fs = after(SMALL, 2, 2).await;
    let mut process = start(&fs, &request(3), 2..=2).await.unwrap();
    // Only instance 1 of 3 writes; its base takes over its key groups from the two instances before.
    let snapshot = process.snapshot(1);
    assert_eq!(snapshot.tables[0].mode, SnapshotMode::Base);
    let instance = snapshot.instance.clone();
    let upload = process.store.upload(process.epoch, snapshot).await.unwrap();
    let restored = process.claimed.restored.clone().unwrap();
    let checkpoint = Checkpoint { epoch: process.epoch, uploads: vec![(instance, upload)], ..restored };
    process.store.commit(checkpoint).await.unwrap();
    let parts = process.store.manifest().unwrap().operators[1].tables[0].parts.clone();
    let ranges: Vec<_> = parts.into_iter().map(|p| p.key_groups).collect();
    assert_eq!(ranges, [0..6, 6..11, 11..16]);
    fs.kill();
    assert_eq!(judge(&fs.process(), SMALL, 1).await.unwrap(), 2);
}

#[tokio::test]
async fn deltas_follow_only_snapshots_that_were_committed() {
    let fs = SimFs::new();
    let mut progress = Progress::default();
    let mut process = Process::start(open(&fs, 3), &request(1), SMALL, &mut progress).await.unwrap();
    let instance = InstanceId { operator: id("aggregate"), subtask: 0 };
    let mode = |process: &Process, epoch| process.store.snapshot_modes(Epoch(epoch), &instance, 1)[0];
    process.run(1, &mut progress).await.unwrap();
    process.advance();
    assert_eq!(mode(&process, 2), SnapshotMode::Delta);
    assert_eq!(mode(&process, 3), SnapshotMode::Base, "the snapshot of epoch 2 was never committed");
    process.epoch = Epoch(4);
    process.checkpoint(&mut progress).await.unwrap();
    assert_eq!(mode(&process, 5), SnapshotMode::Delta);
    let other = InstanceId { operator: id("aggregate"), subtask: 7 };
    assert_eq!(process.store.snapshot_modes(Epoch(5), &other, 1), [SnapshotMode::Base]);
}

/// A machine of its own for each instance: locks do not reach from one to the other.
#[derive(Clone)]
struct NoLocks(SimFs);

struct Unlocked;
impl FsLock for Unlocked {}

impl Fs for NoLocks {
    fn open(&self, path: &FsPath) -> std::io::Result<Box<dyn FsRead>> {
        self.0.open(path)
    }
    fn create_new(&self, path: &FsPath) -> std::io::Result<Box<dyn FsFile>> {
        self.0.create_new(path)
    }
    fn create(&self, path: &FsPath) -> std::io::Result<Box<dyn FsFile>> {
        self.0.create(path)
    }
    fn link(&self, from: &FsPath, to: &FsPath) -> std::io::Result<()> {
        self.0.link(from, to)
    }
    fn rename(&self, from: &FsPath, to: &FsPath) -> std::io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove_file(&self, path: &FsPath) -> std::io::Result<()> {
        self.0.remove_file(path)
    }
    fn remove_dir(&self, path: &FsPath) -> std::io::Result<()> {
        self.0.remove_dir(path)
    }
    fn create_dir_all(&self, path: &FsPath) -> std::io::Result<()> {
        self.0.create_dir_all(path)
    }
    fn sync_dir(&self, path: &FsPath) -> std::io::Result<()> {
        self.0.sync_dir(path)
    }
    fn read_dir(&self, path: &FsPath) -> std::io::Result<Vec<DirEntry>> {
        self.0.read_dir(path)
    }
    fn metadata(&self, path: &FsPath) -> std::io::Result<Metadata> {
        self.0.metadata(path)
    }
    fn try_lock(&self, _path: &FsPath) -> std::io::Result<Option<Box<dyn FsLock>>> {
        Ok(Some(Box::new(Unlocked)))
    }
}

fn open_unlocked(fs: &SimFs, seed: u64) -> Store {
    let env = sim::env(seed, Arc::new(NoLocks(fs.process())));
    let options = StoreOptions { location: ROOT.into(), retained: 1, allow_older: false };
    Store::open(env, options).unwrap()
}

#[tokio::test]
async fn an_instance_that_was_taken_over_cannot_commit_however_far_the_other_is() {
    for ahead in 0..4 {
        let fs = SimFs::new();
        let mut progress = Progress::default();
        let mut old = Process::start(open_unlocked(&fs, 1), &request(2), LARGE, &mut progress).await.unwrap();
        old.run(2, &mut progress).await.unwrap();
        let mut new = Process::start(open_unlocked(&fs, 2), &request(2), LARGE, &mut progress).await.unwrap();
        new.run(2 + ahead, &mut progress).await.unwrap();
        old.advance();
        for _ in 0..2 {
            let error = old.checkpoint(&mut Progress::default()).await.expect_err("it is fenced");
            assert_eq!((error.code(), error.class().exit_code(), error.retryable()), (FENCED.code, 24, false));
        }
        assert_eq!(old.store.mark_finished().await.unwrap_err().code(), FENCED.code);
        old.store.abort(old.epoch).await;
        new.run(4 + ahead, &mut progress).await.unwrap();
        let judge = Process::start(open_unlocked(&fs, 3), &request(3), LARGE, &mut progress).await.unwrap();
        assert_eq!(judge.step, 4 + ahead);
        assert_complete(&fs);
    }
}

#[tokio::test]
async fn of_two_instances_that_claim_at_once_one_can_commit() {
    for seed in 0..20 {
        let fs = SimFs::new();
        let (a, b) = (open_unlocked(&fs, seed), open_unlocked(&fs, seed + 100));
        let request = request(1);
        let (first, second) = tokio::join!(a.claim(&request), b.claim(&request));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_ne!(first.generation, second.generation);
        let checkpoint = |epoch| Checkpoint { epoch, ..Checkpoint::default() };
        let (winner, loser) = if first.generation > second.generation { (&a, &b) } else { (&b, &a) };
        assert_eq!(loser.commit(checkpoint(Epoch(1))).await.unwrap_err().code(), FENCED.code);
        winner.commit(checkpoint(Epoch(2))).await.unwrap();
    }
}

#[tokio::test]
async fn a_second_process_on_this_machine_is_turned_away_before_it_disturbs_the_first() {
    let fs = SimFs::new();
    let mut progress = Progress::default();
    let mut first = Process::start(open(&fs, 3), &request(2), SMALL, &mut progress).await.unwrap();
    let files = fs.files();
    let refused = open(&fs.process(), 3).claim(&request(2)).await;
    assert_code(refused, codes::STATE_IN_USE, 24);
    assert_eq!(fs.files(), files);
    first.run(1, &mut progress).await.unwrap();
    fs.kill();
    assert_eq!(judge(&fs.process(), SMALL, 2).await.unwrap(), 1);
}

#[tokio::test]
async fn anothers_directory_is_refused_with_both_names() {
    let fs = after(SMALL, 2, 1).await;
    let files = fs.files();
    for restore in [RestoreMode::Auto, RestoreMode::Require, RestoreMode::None] {
        let payments = ClaimRequest { job: "payments".into(), ..with(restore) };
        let refused = assert_code(open(&fs, 3).claim(&payments).await, codes::FOREIGN_STATE, 13);
        assert_eq!(refused.message, "the state directory belongs to job `orders`, and this is `payments`");
    }
    assert_eq!(fs.files(), files, "a refusal leaves no trace");
}

#[tokio::test]
async fn state_of_operators_that_are_gone_is_named_and_dropped_only_when_told() {
    let fs = after(SMALL, 2, 1).await;
    let files = fs.files();
    let mut changed = request(2);
    changed.operators[1].id = id("aggregate-2");
    changed.operators[1].name = "aggregate[2]".into();
    let refused = assert_code(open(&fs, 3).claim(&changed).await, codes::UNCLAIMED_STATE, 13);
    assert_eq!(refused.message, "the script no longer has `aggregate`, which holds state");
    assert_eq!(
        refused.notes,
        [
            "`aggregate` is: the aggregate of the test (orders.sql:1:9 then)",
            "new in this script, starting empty: aggregate[2]"
        ]
    );
    let help = refused.help.join("\n");
    assert!(
        help.contains("--restore none") && help.contains("execution.state-recovery.ignore-unclaimed-state"),
        "{help}"
    );
    assert_eq!(fs.files(), files, "a refusal leaves no trace");

    let mut unread = request(2);
    unread.operators.remove(0);
    assert_code(open(&fs, 3).claim(&unread).await, codes::UNCLAIMED_STATE, 13);
    let mut stateless = request(2);
    stateless.operators.insert(0, OperatorInfo { id: id("calc"), tables: vec![], ..stateless.operators[1].clone() });
    assert!(compat::compare(&manifests(&fs)[0], &stateless.operators).unclaimed.is_empty());

    changed.ignore_unclaimed_state = true;
    let store = open(&fs, 3);
    let claimed = store.claim(&changed).await.unwrap();
    assert!(claimed.restored.is_some());
    assert_eq!(
        claimed.notices,
        [
            "the script no longer has `aggregate`, which holds state; it is dropped",
            "`aggregate[2]` is new: it has nothing of what was read before this checkpoint"
        ]
    );
    assert!(store.restore(&id("aggregate-2"), 0, 0..MAX_PARALLELISM).await.unwrap().next().is_none());
    assert_eq!(store.restore(&id("counter"), 0, 0..MAX_PARALLELISM).await.unwrap().count(), 1, "the rest is kept");
    store.commit(Checkpoint { epoch: claimed.next_epoch, ..Checkpoint::default() }).await.unwrap();
    assert!(store.manifest().unwrap().operator(&id("aggregate")).is_none());
}

#[tokio::test]
async fn tables_of_another_layout_are_refused_with_both_layouts() {
    let fs = after(SMALL, 2, 1).await;
    let mut changed = request(2);
    let fields = [Field::new("k", DataType::Utf8, true), Field::new("v", DataType::Int32, true)];
    changed.operators[1].tables[0].schema = Arc::new(Schema::new(fields.to_vec()));
    let refused = assert_code(open(&fs, 3).claim(&changed).await, codes::CHANGED_TABLES, 13);
    assert_eq!(
        refused.message,
        "the state of `aggregate` has another layout: \
         table `groups` was stored as (k text -> v text), (k text -> v int32) is expected"
    );
    changed.operators[1].tables.clear();
    let refused = assert_code(open(&fs, 3).claim(&changed).await, codes::CHANGED_TABLES, 13);
    assert!(refused.message.ends_with("1 tables were stored, 0 are expected"), "{}", refused.message);
    let mut renamed = request(2);
    renamed.operators[1].tables[0].name = "other".into();
    assert_code(open(&fs, 3).claim(&renamed).await, codes::CHANGED_TABLES, 13);
}

#[tokio::test]
async fn max_parallelism_is_frozen_while_there_is_state() {
    let fs = after(SMALL, 2, 1).await;
    let other = ClaimRequest { max_parallelism: 32, ..request(2) };
    let refused = assert_code(open(&fs, 3).claim(&other).await, codes::CHANGED_MAX_PARALLELISM, 13);
    assert_eq!(refused.help[0], "SET 'pipeline.max-parallelism' = '16'");
    open(&fs, 3).claim(&ClaimRequest { restore: RestoreMode::None, ..other }).await.unwrap();
}

#[tokio::test]
async fn an_unwritable_directory_a_full_disk_and_a_failing_one_have_their_own_codes() {
    for (fault, code, exit, retryable) in [
        (Fault::Denied, codes::UNUSABLE_DIRECTORY, 11, false),
        (Fault::NoSpace, codes::DISK_FULL, 23, true),
        (Fault::Io, codes::STORAGE_FAILED, 22, true),
    ] {
        let fs = SimFs::new();
        fs.fail_from(0, fault);
        let error = open(&fs, 3).claim(&request(2)).await.unwrap_err();
        assert_eq!(
            (error.code(), error.class().exit_code(), error.retryable()),
            (code.code, exit, retryable),
            "{error}"
        );
        assert!(error.diagnostic().context.contains(&("state", ROOT.into())));
    }
}

#[tokio::test]
async fn other_storage_is_refused_by_name() {
    let location = "s3://bucket/orders".to_owned();
    let options = StoreOptions { location, retained: 3, allow_older: false };
    let error = Store::open(sim::env(1, Arc::new(SimFs::new())), options).unwrap_err();
    assert_eq!((error.code(), error.class().exit_code()), (codes::UNKNOWN_STORAGE.code, 11));
    assert_eq!(error.diagnostic().message, "no checkpoint storage for `s3://`");
}

/// The job of the tests, with a second source and sink beside it.
fn with_another_insert() -> ClaimRequest {
    let mut two = request(2);
    for (name, like) in [("source-2", 0), ("sink-2", 3)] {
        let operator = OperatorInfo { id: id(name), name: name.into(), ..two.operators[like].clone() };
        two.operators.push(OperatorInfo { feeds: vec![id("sink-2")], ..operator });
    }
    two
}

/// A disk with one checkpoint of that job. `settled`: it was stopped well.
async fn after_both_inserts(settled: bool) -> SimFs {
    let fs = SimFs::new();
    let store = open(&fs, 3);
    let claimed = store.claim(&with_another_insert()).await.unwrap();
    let pending = SinkSnapshot { committables: vec![Committable(json!({"file": "a"}))] };
    let sources = ["source", "source-2"].map(|name| (id(name), SourceSnapshot::default()));
    let sinks = ["sink", "sink-2"].map(|name| (id(name), pending.clone()));
    let (sources, sinks) = (sources.into(), sinks.into());
    store.commit(Checkpoint { epoch: claimed.next_epoch, uploads: Vec::new(), sources, sinks }).await.unwrap();
    if settled {
        store.mark_settled().await.unwrap();
        let written = manifests(&fs).len();
        store.mark_settled().await.unwrap();
        assert_eq!(manifests(&fs).len(), written, "once is enough");
    }
    drop(store);
    fs.kill();
    fs.process()
}

#[tokio::test]
async fn what_leaves_the_script_with_its_insert_is_let_go_with_a_line() {
    let fs = after_both_inserts(true).await;
    let files = fs.files();
    let looked = open(&fs, 3).look(&request(2)).await.unwrap();
    assert_eq!(fs.files(), files, "a look changes nothing");
    let claimed = open(&fs, 3).claim(&request(2)).await.unwrap();
    let line = "the position of `source-2` (orders.sql:1:6 then) is let go: its INSERT is no longer in the script";
    assert_eq!(claimed.notices, [line]);
    assert_eq!((looked.restored, looked.notices), (claimed.restored.as_ref().map(|c| c.epoch), vec![line.to_owned()]));
    let sinks = claimed.restored.unwrap().sinks;
    assert!(sinks.values().all(|s| s.committables.is_empty()), "nothing is committed again: {sinks:?}");
}

#[tokio::test]
async fn a_sink_whose_output_may_not_be_committed_is_named_and_not_let_go() {
    let fs = after_both_inserts(false).await;
    let refused = assert_code(open(&fs, 3).claim(&request(2)).await, codes::UNCLAIMED_STATE, 13);
    assert_eq!(refused.message, "the script no longer writes `sink-2`, whose last output may not be committed");
    assert!(refused.help[0].starts_with("put its INSERT back"), "{:?}", refused.help);
    assert_code(open(&fs, 3).look(&request(2)).await.map(|_| unreachable!()), codes::UNCLAIMED_STATE, 13);
}

#[tokio::test]
async fn an_operator_whose_sink_stays_was_changed_and_not_removed() {
    let fs = after_both_inserts(true).await;
    // The other INSERT reads something else now.
    let mut changed = with_another_insert();
    let at = changed.operators.iter().position(|o| o.id == id("source-2")).unwrap();
    changed.operators[at].id = id("source-3");
    assert_code(open(&fs, 3).claim(&changed).await, codes::UNCLAIMED_STATE, 13);
    // Its table is the same, and where that is has changed: that is the story.
    let data = |value: &str| {
        let span = Some(Span::new(SourceId(0), 40, 45));
        vec![DataOption { name: "path".into(), value: value.into(), span }]
    };
    let origin = |value: &str| Origin { table: Some("t".into()), data: data(value), ..Origin::default() };
    let mut stored = with_another_insert();
    stored.operators[at].origin = origin("in");
    let store = open(&fs, 3);
    let claimed = store.claim(&stored).await.unwrap();
    let sources = [(id("source-2"), SourceSnapshot::default())].into();
    store.commit(Checkpoint { epoch: claimed.next_epoch, sources, ..Checkpoint::default() }).await.unwrap();
    drop(store);
    fs.kill();
    let fs = fs.process();
    changed.operators[at].origin = origin("in2");
    let refused = assert_code(open(&fs, 3).claim(&changed).await, codes::CHANGED_SOURCE, 13);
    assert_eq!(refused.message, "table `t` reads other data: 'path' was 'in' and is 'in2'");
    let label = refused.primary.unwrap();
    assert_eq!((label.span.start, label.text.as_str()), (40, "was 'in'"));
}

#[tokio::test]
async fn of_two_inserts_into_one_table_one_may_leave() {
    let fs = SimFs::new();
    let twin = |mut request: ClaimRequest| {
        // Sinks of one table differ by a number, given in the order of the rows.
        for operator in &mut request.operators {
            operator.feeds.iter_mut().chain([&mut operator.id]).filter(|i| **i == id("sink-2")).for_each(|i| {
                *i = id("sink-1");
            });
        }
        request
    };
    let store = open(&fs, 3);
    let claimed = store.claim(&twin(with_another_insert())).await.unwrap();
    let sources = ["source", "source-2"].map(|name| (id(name), SourceSnapshot::default())).into();
    store.commit(Checkpoint { epoch: claimed.next_epoch, sources, ..Checkpoint::default() }).await.unwrap();
    drop(store);
    fs.kill();
    let claimed = open(&fs.process(), 3).claim(&request(2)).await.unwrap();
    assert_eq!(claimed.notices.len(), 1, "{:?}", claimed.notices);
}

#[tokio::test]
async fn a_directory_that_is_used_for_something_else_is_refused() {
    for foreign in ["README.md", "data/orders.csv", "manifests/notes.json", "src/main.rs", ".bashrc"] {
        let fs = SimFs::new();
        let path = FsPath::new(ROOT).join(foreign);
        fs.create_dir_all(path.parent().unwrap()).unwrap();
        fs.create(&path).unwrap().sync().unwrap();
        let files = fs.files();
        for restore in [RestoreMode::Auto, RestoreMode::None] {
            let refused = assert_code(open(&fs, 3).claim(&with(restore)).await, codes::FOREIGN_FILES, 13);
            assert!(refused.message.contains(foreign.trim_end_matches("/main.rs")), "{}", refused.message);
        }
        assert_eq!(fs.files(), files, "a refusal leaves no trace");
    }
    // What a claim that crashed leaves, and what a file system puts there, is no reason.
    let fs = SimFs::new();
    for ours in ["lock", "data/g1-copy-0-1.parquet", ".tmp/0-1", "lost+found/x"] {
        let path = FsPath::new(ROOT).join(ours);
        fs.create_dir_all(path.parent().unwrap()).unwrap();
        fs.create(&path).unwrap().sync().unwrap();
    }
    open(&fs, 3).claim(&request(2)).await.unwrap();
    // A state directory stays one, whatever lies beside it.
    fs.kill();
    let fs = fs.process();
    fs.create(&FsPath::new(ROOT).join("README.md")).unwrap().sync().unwrap();
    open(&fs, 3).claim(&request(2)).await.unwrap();
}
