//! Random histories of commits, failures, restarts, crashes and roll-backs: nothing a retained checkpoint needs is ever
//! deleted, nothing nobody needs stays, and every retained checkpoint can be gone back to.

use dflow_common::env::sim::{Fault, Loss};
use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Action {
    Commit,
    /// An upload that is given up.
    Abort,
    /// A restart of the job in the process, with this parallelism.
    Restart(usize),
    /// The process dies, or the machine.
    Crash(Option<u64>),
    /// A file operation soon fails.
    Fail(u64),
    /// Go back to the n-th of the manifests that exist.
    RollBack(usize),
    /// End of input, and another run.
    Finish,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        8 => Just(Action::Commit),
        2 => Just(Action::Abort),
        1 => (1..4usize).prop_map(Action::Restart),
        2 => prop::option::of(any::<u64>()).prop_map(Action::Crash),
        2 => (0..40u64).prop_map(Action::Fail),
        1 => (0..4usize).prop_map(Action::RollBack),
        1 => Just(Action::Finish),
    ];
    prop::collection::vec(action, 1..25)
}

/// The job over its restarts.
struct History {
    fs: SimFs,
    parallelism: usize,
    retained: usize,
    progress: Progress,
    process: Option<Process>,
}

impl History {
    async fn start(&mut self, restore: RestoreMode) {
        self.process = None;
        for _ in 0..3 {
            let request = ClaimRequest { restore: restore.clone(), ..request(self.parallelism) };
            let store = open(&self.fs, self.retained);
            match Process::start(store, &request, LARGE, &mut self.progress).await {
                Ok(process) => {
                    self.process = Some(process);
                    return;
                }
                // A fault that was injected; it happens once.
                Err(_) => self.next_process(),
            }
        }
        panic!("it does not start");
    }

    fn next_process(&mut self) {
        self.fs.kill();
        self.fs = self.fs.process();
    }

    /// One checkpoint of the next step.
    async fn commit(&mut self) {
        let process = self.process.as_mut().expect("the job runs between actions");
        let to = process.step + 1;
        if process.run(to, &mut self.progress).await.is_err() {
            self.next_process();
            self.start(RestoreMode::Auto).await;
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Commit => self.commit().await,
            Action::Abort => {
                let process = self.process.as_mut().expect("the job runs between actions");
                let snapshot = process.snapshot(0);
                let _ = process.store.upload(process.epoch, snapshot).await;
                process.store.abort(process.epoch).await;
                process.epoch = process.epoch.next();
            }
            Action::Restart(parallelism) => {
                self.parallelism = parallelism;
                self.next_process();
                self.start(RestoreMode::Auto).await;
            }
            Action::Crash(seed) => {
                self.fs = self.fs.crash(seed.map_or(Loss::All, Loss::Random));
                self.start(RestoreMode::Auto).await;
            }
            Action::Fail(after) => self.fs.fail_at(self.fs.operations() + after, Fault::Io),
            Action::RollBack(n) => {
                self.fs.heal();
                let manifests: Vec<Manifest> = manifests(&self.fs).into_iter().filter(|m| m.epoch > Epoch(0)).collect();
                let Some(to) = manifests.get(n % manifests.len().max(1)) else { return };
                let step = to.sources[&id("source")].enumerator["step"].as_u64().expect("steps are stored");
                self.progress = Progress { acknowledged: step, tried: step };
                self.next_process();
                self.start(RestoreMode::Path(FsPath::new(ROOT).join(Manifest::path(to.number)))).await;
            }
            Action::Finish => {
                let process = self.process.as_mut().expect("the job runs between actions");
                self.fs.heal();
                // In doubt after an injected failure: then the job would restart, and so does this one.
                let finished = process.store.mark_finished().await.is_ok();
                self.next_process();
                if finished {
                    self.progress = Progress::default();
                }
                self.start(RestoreMode::Auto).await;
            }
        }
    }

    fn check(&self) {
        assert_complete(&self.fs);
        let manifests = manifests(&self.fs);
        assert!(manifests.windows(2).all(|m| m[0].number < m[1].number && m[0].generation <= m[1].generation));
        assert!(manifests.windows(2).all(|m| m[0].epoch_used <= m[1].epoch_used), "epochs are never used twice");
    }
}

async fn run(actions: &[Action], retained: usize) {
    let (fs, progress) = (SimFs::new(), Progress::default());
    let mut history = History { fs, parallelism: 2, retained, progress, process: None };
    history.start(RestoreMode::Auto).await;
    for action in actions {
        history.act(*action).await;
        history.check();
    }
    // Without faults, the next claim and commit leave exactly what is needed.
    history.fs.heal();
    history.next_process();
    history.start(RestoreMode::Auto).await;
    history.commit().await;
    assert_tidy(&history.fs);
    let mut epochs: Vec<u64> = manifests(&history.fs).iter().map(|m| m.epoch.0).collect();
    assert!(epochs.len() <= retained, "{epochs:?}");
    epochs.dedup();
    // Every one of them can be gone back to.
    for manifest in manifests(&history.fs) {
        let step = manifest.sources[&id("source")].enumerator["step"].as_u64().expect("steps are stored");
        history.next_process();
        history.progress = Progress { acknowledged: step, tried: step };
        let store = open(&history.fs, 99);
        let path = RestoreMode::Path(FsPath::new(ROOT).join(Manifest::path(manifest.number)));
        let request = ClaimRequest { restore: path, ..request(3) };
        Process::start(store, &request, LARGE, &mut history.progress).await.expect("it is retained");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn retained_checkpoints_stay_whole_and_nothing_else_stays(actions in actions(), retained in 1..4usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        runtime.block_on(run(&actions, retained));
    }
}
