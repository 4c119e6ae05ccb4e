//! The suites find what they are for: connectors with one fault each, and the test that must fail on it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dflow_common::{ChangeBatch, Env, Epoch, Ops, env::sim};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::tests::{KeyedTable, parse_row, topics};
use super::{Growing, SinkFixture, SourceFixture, sink, source};
use crate::error::Result;
use crate::sink::{
    ChangelogSupport, Committable, Committer, CommitterContext, Sink, SinkMode, StageStore, Writer, WriterContext,
};
use crate::source::{
    Boundedness, Enumerator, EnumeratorEvent, OutputSchema, Reader, ReaderContext, ReaderEvent, Source, SourceContext,
    SplitAssignment, SplitId,
};
use crate::testing::{Server, StagedSink};

async fn must_fail(what: impl Future<Output = ()>, fault: &str) {
    assert!(AssertUnwindSafe(what).catch_unwind().await.is_err(), "the suite does not notice: {fault}");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum SourceFault {
    PositionAhead,
    PositionBehind,
    LosesOnCancel,
    ForgetsWhatItAssigned,
    SnapshotsNothing,
    EndsAtOnce,
    IgnoresProjection,
    DoublesWithManyReaders,
    MissesWhatComesLater,
}

struct FaultySource(Arc<dyn Source>, SourceFault);

impl Source for FaultySource {
    fn outputs(&self) -> &[OutputSchema] {
        self.0.outputs()
    }

    fn boundedness(&self) -> Boundedness {
        self.0.boundedness()
    }

    fn enumerator(&self, context: &SourceContext, restored: Option<Value>) -> Result<Box<dyn Enumerator>> {
        let restored = if self.1 == SourceFault::ForgetsWhatItAssigned { None } else { restored };
        Ok(Box::new(FaultyEnumerator { inner: self.0.enumerator(context, restored)?, fault: self.1, assigned: false }))
    }

    fn reader(&self, context: &ReaderContext) -> Result<Box<dyn Reader>> {
        Ok(Box::new(FaultyReader {
            inner: self.0.reader(context)?,
            fault: self.1,
            readers: context.source.parallelism,
            splits: 0,
            again: None,
        }))
    }
}

struct FaultyEnumerator {
    inner: Box<dyn Enumerator>,
    fault: SourceFault,
    assigned: bool,
}

impl Enumerator for FaultyEnumerator {
    fn next(&mut self) -> BoxFuture<'_, Result<EnumeratorEvent>> {
        Box::pin(async move {
            if self.assigned && self.fault == SourceFault::MissesWhatComesLater {
                return std::future::pending().await;
            }
            let event = self.inner.next().await?;
            self.assigned |= matches!(event, EnumeratorEvent::Assign(_));
            Ok(event)
        })
    }

    fn snapshot(&self) -> Result<Value> {
        self.inner.snapshot()
    }
}

struct FaultyReader {
    inner: Box<dyn Reader>,
    fault: SourceFault,
    readers: usize,
    splits: usize,
    again: Option<(usize, SplitId, ChangeBatch)>,
}

impl Reader for FaultyReader {
    fn add_splits(&mut self, splits: Vec<SplitAssignment>) -> Result<()> {
        self.splits += splits.len();
        self.inner.add_splits(splits)
    }

    fn no_more_splits(&mut self) {
        self.inner.no_more_splits();
    }

    fn next(&mut self) -> BoxFuture<'_, Result<ReaderEvent>> {
        Box::pin(async move {
            if let Some((output, split, batch)) = self.again.take() {
                return Ok(ReaderEvent::Batch { output, split, batch });
            }
            if self.fault == SourceFault::EndsAtOnce && self.splits == 0 {
                return Ok(ReaderEvent::End);
            }
            let event = self.inner.next().await?;
            match (&event, self.fault) {
                // An await behind a change of state.
                (_, SourceFault::LosesOnCancel) => tokio::task::yield_now().await,
                (ReaderEvent::SplitFinished(_), _) => self.splits -= 1,
                (ReaderEvent::Batch { output, split, batch }, SourceFault::DoublesWithManyReaders)
                    if self.readers > 2 =>
                {
                    self.again = Some((*output, split.clone(), batch.clone()));
                }
                _ => {}
            }
            Ok(event)
        })
    }

    fn snapshot(&mut self) -> Result<Vec<SplitAssignment>> {
        let mut splits = self.inner.snapshot()?;
        for split in &mut splits {
            let rows = split.position.as_ref().and_then(Value::as_u64).unwrap_or(0);
            match self.fault {
                SourceFault::PositionAhead => split.position = Some(json!(rows + 1)),
                SourceFault::PositionBehind => split.position = Some(json!(rows.saturating_sub(1))),
                _ => {}
            }
        }
        if self.fault == SourceFault::SnapshotsNothing {
            splits.clear();
        }
        Ok(splits)
    }
}

struct FaultyTopics(SourceFault);

impl SourceFixture for FaultyTopics {
    fn env(&self) -> Env {
        sim::env_real_fs(3)
    }

    fn open(&self, projection: Option<&[usize]>) -> Arc<dyn Source> {
        let all = if self.0 == SourceFault::IgnoresProjection { None } else { projection };
        Arc::new(FaultySource(topics().open(all), self.0))
    }

    fn growing(&self) -> Option<Growing> {
        let fault = self.0;
        let Growing { open, grow } = topics().growing()?;
        Some(Growing { open: Box::new(move || Arc::new(FaultySource(open(), fault))), grow })
    }
}

#[tokio::test(start_paused = true)]
async fn the_source_suite_finds_every_fault() {
    use SourceFault::*;
    for fault in [PositionAhead, PositionBehind, ForgetsWhatItAssigned, SnapshotsNothing] {
        must_fail(source::resumes_from_every_position(&FaultyTopics(fault)), &format!("{fault:?}")).await;
    }
    must_fail(source::a_cancelled_next_loses_and_doubles_nothing(&FaultyTopics(LosesOnCancel)), "cancel").await;
    must_fail(source::the_end_comes_only_after_no_more_splits(&FaultyTopics(EndsAtOnce)), "early end").await;
    must_fail(source::projections_give_the_same_columns(&FaultyTopics(IgnoresProjection)), "projection").await;
    let doubled = FaultyTopics(DoublesWithManyReaders);
    must_fail(source::any_number_of_readers_reads_the_same_rows(&doubled), "doubled rows").await;
    let ahead = FaultyTopics(PositionAhead);
    must_fail(source::a_snapshot_before_the_first_row_starts_at_the_beginning(&ahead), "lost first row").await;
    must_fail(source::splits_that_appear_later_are_read(&FaultyTopics(MissesWhatComesLater)), "late splits").await;
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum SinkFault {
    PublishesTwice,
    PublishesEarly,
    ForgetsPending,
    ForgetsCommit,
    OneWriterWins,
    WritesDeletesAsInserts,
    ShowsWhatIsNewer,
}

/// A staged sink whose committer or writer does one thing wrong.
struct FaultySink {
    server: Server,
    fault: SinkFault,
    repeats: Arc<AtomicU64>,
}

impl FaultySink {
    fn inner(&self) -> StagedSink {
        StagedSink::new(&self.server).taking(ChangelogSupport::AppendOnly)
    }
}

impl Sink for FaultySink {
    fn mode(&self) -> SinkMode {
        SinkMode::Staged
    }

    fn changelog(&self) -> ChangelogSupport {
        ChangelogSupport::AppendOnly
    }

    fn writer(&self, context: &WriterContext) -> Result<Box<dyn Writer>> {
        let committer = CommitterContext {
            job: context.job.clone(),
            owner: context.owner.clone(),
            sink: context.sink.clone(),
            env: context.env.clone(),
            metrics: context.metrics.clone(),
            stage: context.stage.clone(),
        };
        let early = self.inner().committer(&committer)?;
        Ok(Box::new(FaultyWriter { inner: self.inner().writer(context)?, early, fault: self.fault }))
    }

    fn committer(&self, context: &CommitterContext) -> Result<Option<Box<dyn Committer>>> {
        let mut context = context.clone();
        if self.fault == SinkFault::PublishesTwice {
            // A token that differs from commit to commit is no token.
            context.owner = format!("owner-{}", self.repeats.fetch_add(1, Ordering::Relaxed));
        }
        let inner = self.inner().committer(&context)?;
        Ok(inner.map(|inner| Box::new(FaultyCommitter { inner, fault: self.fault }) as Box<dyn Committer>))
    }
}

struct FaultyWriter {
    inner: Box<dyn Writer>,
    early: Option<Box<dyn Committer>>,
    fault: SinkFault,
}

impl Writer for FaultyWriter {
    fn write(&mut self, batch: ChangeBatch) -> BoxFuture<'_, Result<()>> {
        let batch = match self.fault {
            SinkFault::WritesDeletesAsInserts => ChangeBatch::new(batch.data, Ops::AllInsert),
            _ => batch,
        };
        self.inner.write(batch)
    }

    fn prepare(&mut self, epoch: Epoch) -> BoxFuture<'_, Result<Vec<Committable>>> {
        Box::pin(async move {
            let committables = self.inner.prepare(epoch).await?;
            let early = match self.fault {
                SinkFault::PublishesEarly => true,
                // Noticed only when the second epoch's manifest is lost.
                SinkFault::ShowsWhatIsNewer => epoch > Epoch(1),
                _ => false,
            };
            if early && let Some(committer) = &mut self.early {
                committer.commit(epoch, committables.clone()).await?;
            }
            Ok(committables)
        })
    }
}

struct FaultyCommitter {
    inner: Box<dyn Committer>,
    fault: SinkFault,
}

impl Committer for FaultyCommitter {
    fn recover(&mut self, epoch: Epoch, pending: Vec<Committable>) -> BoxFuture<'_, Result<()>> {
        let pending = if self.fault == SinkFault::ForgetsPending { Vec::new() } else { pending };
        self.inner.recover(epoch, pending)
    }

    fn commit(&mut self, epoch: Epoch, mut committables: Vec<Committable>) -> BoxFuture<'_, Result<()>> {
        match self.fault {
            SinkFault::ForgetsCommit => committables.clear(),
            SinkFault::OneWriterWins => committables.truncate(1),
            _ => {}
        }
        self.inner.commit(epoch, committables)
    }
}

struct FaultyTable(Server, SinkFault, Arc<AtomicU64>);

fn table(fault: SinkFault) -> FaultyTable {
    FaultyTable(Server::new(), fault, Arc::default())
}

impl SinkFixture for FaultyTable {
    fn env(&self) -> Env {
        sim::env_real_fs(4)
    }

    fn open(&self) -> Arc<dyn Sink> {
        Arc::new(FaultySink { server: self.0.clone(), fault: self.1, repeats: self.2.clone() })
    }

    fn visible(&self) -> BoxFuture<'_, Vec<(i64, String)>> {
        std::future::ready(self.0.rows().iter().map(|row| parse_row(row)).collect()).boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn the_sink_suite_finds_every_fault() {
    use SinkFault::*;
    for fault in [PublishesEarly, ForgetsCommit] {
        must_fail(sink::a_commit_shows_rows_once_however_often_it_comes(&table(fault)), &format!("{fault:?}")).await;
    }
    for fault in [PublishesTwice, ForgetsPending, PublishesEarly] {
        must_fail(sink::a_crash_after_any_step_loses_and_doubles_nothing(&table(fault)), &format!("{fault:?}")).await;
        must_fail(sink::random_crashes_lose_and_double_nothing(&table(fault)), &format!("{fault:?}")).await;
    }
    must_fail(sink::what_is_newer_than_the_manifest_is_undone(&table(ShowsWhatIsNewer)), "newer epochs").await;
    must_fail(sink::subtasks_share_an_epoch(&table(OneWriterWins)), "one of two writers").await;
    must_fail(sink::another_parallelism_finds_what_was_prepared(&table(ForgetsPending)), "pending").await;
    must_fail(sink::an_aborted_checkpoint_comes_with_the_next(&table(OneWriterWins)), "aborted checkpoint").await;
    must_fail(sink::kinds_that_were_not_declared_are_refused(&table(WritesDeletesAsInserts)), "deletes").await;
    let keeps_all = KeyedTable { ignores_deletes: true, ..KeyedTable::default() };
    must_fail(sink::upserts_overwrite_and_deletes_remove(&keeps_all), "deletes").await;
    must_fail(sink::an_empty_epoch_shows_nothing_and_harms_nothing(&table(ForgetsCommit)), "nothing committed").await;
}

#[tokio::test]
async fn a_damaged_stage_and_a_server_that_is_down_are_errors() {
    let (server, stage) = (Server::new(), crate::testing::MemoryStage::new());
    let staged = stage.put(bytes::Bytes::from_static(b"body")).await.unwrap();
    stage.damage(&staged);
    assert!(stage.get(&staged).await.is_err(), "damage is noticed");
    assert_eq!(stage.bodies(), 1);

    let fixture = table(SinkFault::ForgetsPending);
    let sink = StagedSink::new(&server);
    let context = CommitterContext {
        job: "j".into(),
        owner: "o".into(),
        sink: "s".into(),
        env: fixture.env(),
        metrics: dflow_common::metrics::Metrics::new(),
        stage: Arc::new(stage.clone()),
    };
    let writer = WriterContext {
        job: "j".into(),
        owner: "o".into(),
        sink: "s".into(),
        subtask: 0,
        parallelism: 1,
        restored: Epoch(0),
        env: fixture.env(),
        metrics: context.metrics.clone(),
        stage: Arc::new(stage),
    };
    let (mut writer, mut committer) = (sink.writer(&writer).unwrap(), sink.committer(&context).unwrap().unwrap());
    writer.write(sink::inserts(0..2)).await.unwrap();
    let prepared = writer.prepare(Epoch(1)).await.unwrap();
    server.fail(1);
    assert!(committer.commit(Epoch(1), prepared.clone()).await.is_err());
    assert_eq!(server.rows().len(), 0);
    server.lose_answers(1);
    assert!(committer.commit(Epoch(1), prepared.clone()).await.is_err(), "the answer was lost, the rows were not");
    committer.commit(Epoch(1), prepared).await.unwrap();
    assert_eq!((server.rows().len(), server.repeats(), server.tokens()), (2, 1, vec!["o/s/1/0".to_owned()]));
}
