//! What every sink promises.
//!
//! The suite plays the runtime: writers, one committer, a manifest that is durable the moment it is written, crashes
//! that drop everything else. What is exactly-once ([`SinkMode::Staged`], [`SinkMode::Transactional`]) must show the rows
//! of the manifest and no others; [`SinkMode::Idempotent`] may show rows early but none twice;
//! [`SinkMode::AtLeastOnce`] loses none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use dflow_common::types::LENGTH_MAX;
use dflow_common::{ChangeBatch, Env, Epoch, Ops, SourceId, Span, SqlType, TypeKind, metrics::Metrics};
use futures::future::BoxFuture;

use crate::schema::{Column, ColumnKind, TableSchema};
use crate::sink::{ChangelogSupport, Committable, Committer, CommitterContext, Sink, SinkMode, Writer, WriterContext};
use crate::testing::MemoryStage;

/// A system to write to, empty at first.
pub trait SinkFixture: Send + Sync {
    /// The outside world of the sink.
    fn env(&self) -> Env;

    /// Opens the sink on the fixture's one table of [`schema`]; again after every crash. Keyed by `id` where it needs a
    /// key.
    fn open(&self) -> Arc<dyn Sink>;

    /// The rows another program sees now, each as often as it sees it: `(id, name)`.
    fn visible(&self) -> BoxFuture<'_, Vec<(i64, String)>>;
}

/// `id BIGINT NOT NULL PRIMARY KEY, name STRING`.
pub fn schema() -> TableSchema {
    let column = |name: &str, ty: SqlType| Column {
        name: name.into(),
        ty,
        kind: ColumnKind::Physical,
        span: Span::new(SourceId(0), 0, 0),
    };
    TableSchema {
        columns: vec![
            column("id", SqlType::from(TypeKind::BigInt).not_null()),
            column("name", TypeKind::VarChar(LENGTH_MAX).into()),
        ],
        primary_key: vec![0],
        partition_keys: vec![],
    }
}

/// The name of row `id`: characters that text formats must escape, and more than 12 bytes.
pub fn name(id: i64) -> String {
    format!("row {id}: \"é\", it's \\ a|b")
}

/// Rows `ids` as changes of these kinds.
fn changes(ids: &[i64], kinds: Vec<i8>) -> ChangeBatch {
    let names: StringViewArray = ids.iter().map(|id| Some(name(*id))).collect();
    let columns = vec![Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef, Arc::new(names) as ArrayRef];
    let data = RecordBatch::try_new(schema().arrow(), columns).expect("the columns of the schema");
    ChangeBatch::new(data, Ops::from_kinds(kinds))
}

/// Rows `ids`, inserted.
pub fn inserts(ids: impl IntoIterator<Item = i64>) -> ChangeBatch {
    let ids: Vec<i64> = ids.into_iter().collect();
    let kinds = vec![0; ids.len()];
    changes(&ids, kinds)
}

/// The checkpoint a restore finds.
#[derive(Clone, Default)]
struct Manifest {
    epoch: Epoch,
    /// As JSON: what a committable is must survive its text.
    committables: String,
    /// Rows up to this epoch.
    rows: BTreeSet<i64>,
}

struct Run<'a> {
    fixture: &'a dyn SinkFixture,
    stage: MemoryStage,
    sink: Arc<dyn Sink>,
    writers: Vec<Box<dyn Writer>>,
    committer: Option<Box<dyn Committer>>,
    manifest: Manifest,
    /// Prepared, not in a manifest.
    prepared: Option<(Epoch, Vec<Committable>, BTreeSet<i64>)>,
    /// Written since the last prepare.
    unprepared: BTreeSet<i64>,
    /// Every row ever written.
    written: BTreeSet<i64>,
    next_id: i64,
}

impl<'a> Run<'a> {
    async fn start(fixture: &'a dyn SinkFixture, parallelism: usize) -> Run<'a> {
        let mut run = Run {
            fixture,
            stage: MemoryStage::new(),
            sink: fixture.open(),
            writers: Vec::new(),
            committer: None,
            manifest: Manifest { committables: "[]".into(), ..Manifest::default() },
            prepared: None,
            unprepared: BTreeSet::new(),
            written: BTreeSet::new(),
            next_id: 0,
        };
        run.open(parallelism).await;
        run
    }

    /// As after a start: recovery first, writers then.
    async fn open(&mut self, parallelism: usize) {
        let parallelism = self.sink.max_parallelism().unwrap_or(usize::MAX).min(parallelism);
        let env = self.fixture.env();
        let committer = CommitterContext {
            job: "job".into(),
            owner: "owner".into(),
            sink: "sink".into(),
            env: env.clone(),
            metrics: Metrics::new(),
            stage: Arc::new(self.stage.clone()),
        };
        self.committer = self.sink.committer(&committer).expect("the committer opens");
        let pending = self.pending();
        if let Some(committer) = &mut self.committer {
            committer.recover(self.manifest.epoch, pending).await.expect("the committer recovers");
        } else {
            assert_eq!(pending, [], "a sink with committables has a committer");
        }
        for subtask in 0..parallelism {
            let context = WriterContext {
                job: "job".into(),
                owner: "owner".into(),
                sink: "sink".into(),
                subtask,
                parallelism,
                restored: self.manifest.epoch,
                env: env.clone(),
                metrics: Metrics::new(),
                stage: Arc::new(self.stage.clone()),
            };
            self.writers.push(self.sink.writer(&context).expect("the writer opens"));
        }
    }

    fn pending(&self) -> Vec<Committable> {
        serde_json::from_str(&self.manifest.committables).expect("committables are JSON")
    }

    /// The process is gone.
    fn crash(&mut self) {
        self.writers.clear();
        self.committer = None;
        self.prepared = None;
        self.unprepared.clear();
        self.sink = self.fixture.open();
    }

    async fn crash_and_open(&mut self, parallelism: usize) {
        self.crash();
        self.open(parallelism).await;
    }

    /// Writes `rows` new rows, dealt out to the writers.
    async fn write(&mut self, rows: i64) {
        let ids: Vec<i64> = (self.next_id..self.next_id + rows).collect();
        self.next_id += rows;
        let writers = self.writers.len();
        for (i, writer) in self.writers.iter_mut().enumerate() {
            let mine: Vec<i64> = ids.iter().copied().filter(|id| *id as usize % writers == i).collect();
            if !mine.is_empty() {
                writer.write(inserts(mine)).await.expect("the writer takes rows");
            }
        }
        self.unprepared.extend(&ids);
        self.written.extend(ids);
    }

    async fn flush(&mut self) {
        for writer in &mut self.writers {
            writer.flush().await.expect("the writer flushes");
        }
    }

    /// What an aborted checkpoint prepared goes into the next one: its rows are not read again.
    async fn prepare(&mut self) {
        let (epoch, mut committables, mut rows) = match self.prepared.take() {
            Some((epoch, committables, rows)) => (epoch.next(), committables, rows),
            None => (self.manifest.epoch.next(), Vec::new(), BTreeSet::new()),
        };
        for writer in &mut self.writers {
            committables.extend(writer.prepare(epoch).await.expect("the writer prepares"));
        }
        assert!(committables.is_empty() || self.committer.is_some(), "committables need a committer");
        rows.append(&mut self.unprepared);
        self.prepared = Some((epoch, committables, rows));
    }

    /// The checkpoint is durable.
    fn keep(&mut self) {
        let (epoch, committables, rows) = self.prepared.take().expect("something was prepared");
        self.manifest.epoch = epoch;
        self.manifest.committables = serde_json::to_string(&committables).expect("committables are JSON");
        self.manifest.rows.extend(rows);
    }

    async fn commit(&mut self) {
        let (epoch, pending) = (self.manifest.epoch, self.pending());
        if let Some(committer) = &mut self.committer {
            committer.commit(epoch, pending).await.expect("the committer commits");
        }
    }

    async fn checkpoint(&mut self) {
        self.prepare().await;
        self.keep();
        self.commit().await;
    }

    /// What must be visible is, and nothing that must not be. `committed`: no commit is outstanding.
    async fn check(&self, when: &str) {
        let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
        for (id, text) in self.fixture.visible().await {
            assert_eq!(text, name(id), "the content of row {id}, {when}");
            *counts.entry(id).or_default() += 1;
        }
        let ids: BTreeSet<i64> = counts.keys().copied().collect();
        let twice: Vec<_> = counts.iter().filter(|(_, n)| **n > 1).collect();
        match self.sink.mode() {
            SinkMode::Staged | SinkMode::Transactional => {
                assert_eq!(ids, self.manifest.rows, "exactly the rows of the manifest are visible, {when}");
                assert!(twice.is_empty(), "rows are visible more than once, {when}: {twice:?}");
            }
            SinkMode::Idempotent => {
                assert!(ids.is_superset(&self.manifest.rows), "no row of the manifest is missing, {when}");
                assert!(ids.is_subset(&self.written), "no row is made up, {when}");
                assert!(twice.is_empty(), "rows are visible more than once, {when}: {twice:?}");
            }
            SinkMode::AtLeastOnce => {
                assert!(ids.is_superset(&self.manifest.rows), "no row of the manifest is missing, {when}");
                assert!(ids.is_subset(&self.written), "no row is made up, {when}");
            }
        }
    }

    fn exact(&self) -> bool {
        matches!(self.sink.mode(), SinkMode::Staged | SinkMode::Transactional)
    }
}

/// Rows are invisible before the commit (where the sink is exactly-once), and visible once after it, and after it again.
pub async fn a_commit_shows_rows_once_however_often_it_comes(fixture: &dyn SinkFixture) {
    let mut run = Run::start(fixture, 1).await;
    run.write(5).await;
    run.flush().await;
    if run.exact() {
        assert_eq!(fixture.visible().await, [], "nothing is visible before it is prepared");
    }
    run.prepare().await;
    if run.exact() {
        assert_eq!(fixture.visible().await, [], "nothing is visible before the commit");
    }
    run.keep();
    run.commit().await;
    run.check("after the commit").await;
    run.commit().await;
    run.check("after the same commit").await;
    run.write(3).await;
    run.checkpoint().await;
    run.check("after the second epoch").await;
}

/// Every step of an epoch, in order.
const STEPS: [&str; 7] = ["open", "write", "flush", "prepare", "manifest", "commit", "commit again"];

/// A crash after any step of an epoch, and another one right after the recovery.
pub async fn a_crash_after_any_step_loses_and_doubles_nothing(fixture: &dyn SinkFixture) {
    let mut run = Run::start(fixture, 1).await;
    run.write(2).await;
    run.checkpoint().await;
    for (last, step) in STEPS.iter().enumerate() {
        for done in &STEPS[..=last] {
            match *done {
                "write" => run.write(4).await,
                "flush" => run.flush().await,
                "prepare" => run.prepare().await,
                "manifest" => run.keep(),
                "commit" | "commit again" => run.commit().await,
                _ => {}
            }
        }
        run.crash_and_open(1).await;
        run.check(&format!("after a crash behind {step:?}")).await;
        run.crash_and_open(1).await;
        run.check(&format!("after a second crash behind {step:?}")).await;
        run.write(1).await;
        run.checkpoint().await;
        run.check(&format!("one epoch after a crash behind {step:?}")).await;
    }
}

/// Epochs without rows.
pub async fn an_empty_epoch_shows_nothing_and_harms_nothing(fixture: &dyn SinkFixture) {
    let mut run = Run::start(fixture, 2).await;
    run.checkpoint().await;
    run.check("after an empty epoch").await;
    run.write(3).await;
    run.checkpoint().await;
    run.checkpoint().await;
    run.check("after rows and an empty epoch").await;
    run.crash_and_open(2).await;
    run.check("after a crash behind an empty epoch").await;
}

/// Epochs that were prepared, but whose manifest was never written, are undone; their numbers are used again.
pub async fn what_is_newer_than_the_manifest_is_undone(fixture: &dyn SinkFixture) {
    let mut run = Run::start(fixture, 2).await;
    run.write(4).await;
    run.checkpoint().await;
    run.write(4).await;
    run.prepare().await;
    run.write(4).await;
    run.prepare().await;
    run.crash_and_open(2).await;
    run.check("after two epochs without a manifest").await;
    run.write(4).await;
    run.checkpoint().await;
    run.check("after the epoch's number was used again").await;
    // A writer that is closed in order leaves nothing behind either.
    run.write(4).await;
    for writer in &mut run.writers {
        writer.close().await.expect("the writer closes");
    }
    run.crash_and_open(1).await;
    run.check("after a close without a checkpoint").await;
}

/// A checkpoint is aborted after its writers prepared; its rows become visible with the next one.
pub async fn an_aborted_checkpoint_comes_with_the_next(fixture: &dyn SinkFixture) {
    let mut run = Run::start(fixture, 2).await;
    run.write(4).await;
    run.prepare().await;
    run.write(4).await;
    run.checkpoint().await;
    run.check("after an aborted checkpoint and one that completed").await;
    run.write(4).await;
    run.prepare().await;
    run.prepare().await;
    run.keep();
    run.crash_and_open(1).await;
    run.check("after a crash behind such a manifest").await;
}

/// Two writers, one commit.
pub async fn subtasks_share_an_epoch(fixture: &dyn SinkFixture) {
    let mut run = Run::start(fixture, 2).await;
    for _ in 0..3 {
        run.write(6).await;
        run.checkpoint().await;
        run.check("after an epoch of two writers").await;
    }
    // Rows at one subtask only.
    run.write(1).await;
    run.checkpoint().await;
    run.check("after an epoch of one of two writers").await;
}

/// What two writers prepared is committed by a job of one or three.
pub async fn another_parallelism_finds_what_was_prepared(fixture: &dyn SinkFixture) {
    let mut run = Run::start(fixture, 2).await;
    for parallelism in [1, 3, 2] {
        run.write(6).await;
        run.prepare().await;
        run.keep();
        run.write(6).await;
        run.prepare().await;
        run.crash_and_open(parallelism).await;
        run.check(&format!("after a restart with {parallelism} writers")).await;
        run.write(3).await;
        run.checkpoint().await;
        run.check(&format!("one epoch of {parallelism} writers later")).await;
    }
}

/// A sink that takes inserts only fails on anything else, rather than write it as an insert.
pub async fn kinds_that_were_not_declared_are_refused(fixture: &dyn SinkFixture) {
    let mut run = Run::start(fixture, 1).await;
    if run.sink.changelog() != ChangelogSupport::AppendOnly {
        return;
    }
    for kind in [1, 2, 3] {
        let written = run.writers[0].write(changes(&[1], vec![kind])).await;
        assert!(written.is_err(), "an append-only sink took a change of kind {kind}");
        run.crash_and_open(1).await;
    }
    run.check("after refused changes").await;
}

/// Rows by key: a later row replaces the earlier one, a delete removes it.
pub async fn upserts_overwrite_and_deletes_remove(fixture: &dyn SinkFixture) {
    let mut run = Run::start(fixture, 1).await;
    if run.sink.changelog() != ChangelogSupport::Upsert {
        return;
    }
    run.writers[0].write(changes(&[1, 2, 3, 2], vec![0, 2, 0, 3])).await.expect("the writer takes changes");
    run.writers[0].write(changes(&[1, 3, 3], vec![2, 3, 0])).await.expect("the writer takes changes");
    run.checkpoint().await;
    let mut visible = fixture.visible().await;
    visible.sort();
    assert_eq!(visible, [(1, name(1)), (3, name(3))]);
}

/// Writes, checkpoints and crashes in random order, with random parallelism.
pub async fn random_crashes_lose_and_double_nothing(fixture: &dyn SinkFixture) {
    let env = fixture.env();
    let mut run = Run::start(fixture, 2).await;
    for round in 0..60 {
        let parallelism = 1 + env.rng.below(3) as usize;
        match env.rng.below(9) {
            0..=2 => run.write(1 + env.rng.below(5) as i64).await,
            3 => run.flush().await,
            4 => run.checkpoint().await,
            5 => {
                run.prepare().await;
                run.keep();
                run.crash_and_open(parallelism).await;
            }
            6 => {
                run.prepare().await;
                run.crash_and_open(parallelism).await;
            }
            7 => run.commit().await,
            _ => run.crash_and_open(parallelism).await,
        }
        run.check(&format!("after round {round}")).await;
    }
}
