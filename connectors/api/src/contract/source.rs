//! What every source promises.
//!
//! The suite drives enumerator and readers by hand, as the runtime does: splits go to the readers in turn, `next` futures
//! are dropped whenever something else happened first, checkpoints go through their JSON text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use dflow_common::{Env, metrics::Metrics};
use futures::future::{BoxFuture, poll_fn};

use crate::error::Result;
use crate::source::{
    Enumerator, EnumeratorEvent, Reader, ReaderContext, ReaderEvent, Source, SourceChangelog, SourceContext,
    SplitAssignment, SplitId,
};
use crate::testing::rows;

/// Checkpoints tried by [`resumes_from_every_position`] at most; of more, evenly chosen ones.
const POSITIONS_MAX: usize = 64;
/// Nothing of the fixtures takes that long.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a source is watched when nothing may come.
const QUIET: Duration = Duration::from_secs(10);

/// A system with data in it.
pub trait SourceFixture: Send + Sync {
    /// The outside world of the source.
    fn env(&self) -> Env;

    /// Opens a bounded source over the data, the same at every call: several batches, better several splits, of the
    /// same first output. `projection` is what it reads of its columns; `None` all of them.
    fn open(&self, projection: Option<&[usize]>) -> Arc<dyn Source>;

    /// A source that goes on, where that exists.
    fn growing(&self) -> Option<Growing> {
        None
    }
}

/// A source whose system gets more data while it runs.
pub struct Growing {
    /// Opens the source, which has no end.
    pub open: Box<dyn Fn() -> Arc<dyn Source> + Send + Sync>,
    /// Adds the `i`-th piece of data, in splits of its own, and returns how many rows it has.
    pub grow: Box<dyn FnMut(usize) -> usize + Send>,
}

/// Rows by split, in the order they came.
type Rows = BTreeMap<SplitId, Vec<String>>;

/// What a restore gets.
#[derive(Clone)]
struct Checkpoint {
    enumerator: String,
    splits: String,
    rows: Rows,
}

struct Run {
    source: Arc<dyn Source>,
    env: Env,
    enumerator: Box<dyn Enumerator>,
    readers: Vec<Box<dyn Reader>>,
    /// Which reader has which unfinished split.
    held: BTreeMap<SplitId, usize>,
    seen: BTreeSet<SplitId>,
    turn: usize,
    /// Withholds `NoMoreSplits` from the readers.
    withhold: bool,
    no_more: bool,
    ended: BTreeSet<usize>,
    rows: Rows,
}

enum Event {
    Enumerator(EnumeratorEvent),
    Reader(usize, ReaderEvent),
}

impl Run {
    fn start(source: Arc<dyn Source>, env: Env, readers: usize, from: Option<&Checkpoint>) -> Run {
        let context =
            SourceContext { job: "job".into(), parallelism: readers, env: env.clone(), metrics: Metrics::new() };
        let state = from.map(|c| serde_json::from_str(&c.enumerator).expect("a snapshot is JSON"));
        let enumerator = source.enumerator(&context, state).expect("the enumerator opens");
        let reader = |subtask| source.reader(&ReaderContext { source: context.clone(), subtask });
        let readers = (0..readers).map(|i| reader(i).expect("the reader opens")).collect();
        let mut run = Run {
            env,
            enumerator,
            readers,
            held: BTreeMap::new(),
            seen: BTreeSet::new(),
            turn: 0,
            withhold: false,
            no_more: false,
            ended: BTreeSet::new(),
            rows: from.map(|c| c.rows.clone()).unwrap_or_default(),
            source,
        };
        if let Some(checkpoint) = from {
            run.assign(serde_json::from_str(&checkpoint.splits).expect("splits are JSON"));
        }
        run
    }

    fn assign(&mut self, splits: Vec<SplitAssignment>) {
        for split in splits {
            assert!(self.seen.insert(split.id.clone()), "split {:?} was assigned twice", split.id);
            let reader = self.turn % self.readers.len();
            self.turn += 1;
            self.held.insert(split.id.clone(), reader);
            self.readers[reader].add_splits(vec![split]).expect("the reader takes its split");
        }
    }

    fn checkpoint(&mut self) -> Checkpoint {
        let mut splits = Vec::new();
        for (i, reader) in self.readers.iter_mut().enumerate() {
            let mine = reader.snapshot().expect("the reader has a snapshot");
            let ids: BTreeSet<_> = mine.iter().map(|s| s.id.clone()).collect();
            let held: BTreeSet<_> = self.held.iter().filter(|(_, r)| **r == i).map(|(id, _)| id.clone()).collect();
            assert_eq!(ids, held, "a snapshot has every unfinished split of its reader, once");
            splits.extend(mine);
        }
        let enumerator = self.enumerator.snapshot().expect("the enumerator has a snapshot");
        Checkpoint {
            enumerator: enumerator.to_string(),
            splits: serde_json::to_string(&splits).expect("splits are JSON"),
            rows: self.rows.clone(),
        }
    }

    /// Waits for the next event of the enumerator or a reader that has not ended. Everything else is cancelled.
    async fn event(&mut self) -> Event {
        let no_more = self.no_more;
        let first = self.turn % self.readers.len();
        let mut futures: Vec<BoxFuture<'_, Result<Event>>> = Vec::new();
        if !no_more {
            let next = self.enumerator.next();
            futures.push(Box::pin(async move { next.await.map(Event::Enumerator) }));
        }
        let ended = &self.ended;
        let mut readers: Vec<_> = self.readers.iter_mut().enumerate().filter(|(i, _)| !ended.contains(i)).collect();
        if !readers.is_empty() {
            let at = first % readers.len();
            readers.rotate_left(at);
        }
        for (i, reader) in readers {
            let next = reader.next();
            futures.push(Box::pin(async move { next.await.map(|e| Event::Reader(i, e)) }));
        }
        let event = poll_fn(|cx| {
            for future in &mut futures {
                if let Poll::Ready(event) = future.as_mut().poll(cx) {
                    return Poll::Ready(event);
                }
            }
            Poll::Pending
        })
        .await;
        drop(futures);
        event.expect("the source works")
    }

    /// Carries out an event, and checks what must hold for it.
    fn carry_out(&mut self, event: Event) {
        match event {
            Event::Enumerator(EnumeratorEvent::Assign(splits)) => self.assign(splits),
            Event::Enumerator(EnumeratorEvent::Revoke(splits)) => {
                self.readers.iter_mut().for_each(|r| r.revoke_splits(&splits));
            }
            Event::Enumerator(EnumeratorEvent::NoMoreSplits) => {
                assert!(!self.no_more, "the enumerator says NoMoreSplits once");
                self.no_more = true;
                if !self.withhold {
                    self.readers.iter_mut().for_each(|r| r.no_more_splits());
                }
            }
            Event::Reader(i, ReaderEvent::Batch { output, split, batch }) => {
                self.turn += 1;
                assert_eq!(self.held.get(&split), Some(&i), "rows of {split:?}, which reader {i} does not have");
                let declared = self.source.outputs().get(output).expect("an output that was declared");
                assert_eq!(
                    batch.schema(),
                    declared.schema.arrow_projected(&declared.projection),
                    "the output's schema"
                );
                if declared.changelog == SourceChangelog::Append {
                    assert!(batch.ops.is_append(), "an append-only output appends");
                }
                let lines = rows(&batch).into_iter().map(|row| format!("{output}: {row}"));
                self.rows.entry(split).or_default().extend(lines);
            }
            Event::Reader(i, ReaderEvent::SplitFinished(split)) => {
                assert_eq!(self.held.remove(&split), Some(i), "{split:?} finished, which reader {i} does not have");
                self.enumerator.split_finished(&split);
            }
            Event::Reader(i, ReaderEvent::Message(message)) => self.enumerator.reader_message(i, message),
            Event::Reader(i, ReaderEvent::End) => {
                assert!(self.no_more && !self.withhold, "reader {i} ended before it heard of NoMoreSplits");
                assert!(!self.held.values().any(|r| *r == i), "reader {i} ended with splits left");
                self.ended.insert(i);
            }
        }
    }

    fn finished(&self) -> bool {
        self.ended.len() == self.readers.len()
    }

    /// One event; `false` when none came in time.
    async fn step(&mut self, patience: Duration) -> bool {
        let sleep = self.env.clock.sleep(patience);
        let event = match futures::future::select(Box::pin(self.event()), sleep).await {
            futures::future::Either::Left((event, _)) => Some(event),
            futures::future::Either::Right(_) => None,
        };
        match event {
            Some(event) => self.carry_out(event),
            None => return false,
        }
        true
    }

    async fn finish(mut self) -> Rows {
        while !self.finished() {
            assert!(self.step(PATIENCE).await, "the source neither has rows nor ends; {} rows so far", self.count());
        }
        self.rows
    }

    fn count(&self) -> usize {
        self.rows.values().map(Vec::len).sum()
    }

    async fn until_rows(&mut self, rows: usize) {
        while self.count() < rows {
            assert!(self.step(PATIENCE).await, "{} of {rows} rows came, and then nothing", self.count());
        }
        assert_eq!(self.count(), rows, "more rows than there are");
    }
}

fn multiset(rows: &Rows) -> Vec<String> {
    let mut all: Vec<String> = rows.values().flatten().cloned().collect();
    all.sort();
    all
}

async fn read_all(fixture: &dyn SourceFixture, readers: usize) -> Rows {
    let rows = Run::start(fixture.open(None), fixture.env(), readers, None).finish().await;
    assert!(!multiset(&rows).is_empty(), "a fixture has rows");
    rows
}

/// A restore from the checkpoint after any event goes on exactly there, with another number of readers.
pub async fn resumes_from_every_position(fixture: &dyn SourceFixture) {
    let mut run = Run::start(fixture.open(None), fixture.env(), 2, None);
    let mut checkpoints = vec![run.checkpoint()];
    while !run.finished() {
        assert!(run.step(PATIENCE).await, "the source neither has rows nor ends");
        checkpoints.push(run.checkpoint());
    }
    let expected = run.rows;
    assert!(checkpoints.len() > 4, "a fixture has several batches: {} events", checkpoints.len());
    let stride = checkpoints.len().div_ceil(POSITIONS_MAX);
    let last = checkpoints.len() - 1;
    for (i, checkpoint) in checkpoints.iter().enumerate().filter(|(i, _)| i % stride == 0 || *i == last) {
        let resumed = Run::start(fixture.open(None), fixture.env(), 1 + i % 3, Some(checkpoint)).finish().await;
        if checkpoint.splits == "[]" && checkpoint.rows.is_empty() {
            // Nothing was assigned yet: another number of readers may cut other splits.
            assert_eq!(multiset(&resumed), multiset(&expected), "resumed at event {i}");
        } else {
            assert_eq!(resumed, expected, "resumed at event {i}");
        }
    }
}

/// Dropping `next` at any await loses and doubles nothing.
pub async fn a_cancelled_next_loses_and_doubles_nothing(fixture: &dyn SourceFixture) {
    let expected = multiset(&read_all(fixture, 2).await);
    let env = fixture.env();
    for _ in 0..4 {
        let mut run = Run::start(fixture.open(None), env.clone(), 2, None);
        while !run.finished() {
            let polls = env.rng.below(4);
            let mut event = None;
            {
                let mut future = Box::pin(run.event());
                for _ in 0..polls {
                    if let Poll::Ready(ready) = futures::poll!(&mut future) {
                        event = Some(ready);
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            match event {
                Some(event) => run.carry_out(event),
                // Some progress must be made between two cancellations.
                None if env.rng.below(2) == 0 => {
                    assert!(run.step(PATIENCE).await, "the source neither has rows nor ends");
                }
                None => {}
            }
        }
        assert_eq!(multiset(&run.rows), expected);
    }
}

/// One, two and three readers read the same rows.
pub async fn any_number_of_readers_reads_the_same_rows(fixture: &dyn SourceFixture) {
    let one = multiset(&read_all(fixture, 1).await);
    for readers in [2, 3] {
        assert_eq!(multiset(&read_all(fixture, readers).await), one, "{readers} readers");
    }
}

/// Snapshots taken before anything was read, and before anything was assigned, lose nothing.
pub async fn a_snapshot_before_the_first_row_starts_at_the_beginning(fixture: &dyn SourceFixture) {
    let expected = multiset(&read_all(fixture, 1).await);
    let mut run = Run::start(fixture.open(None), fixture.env(), 1, None);
    let unassigned = run.checkpoint();
    let event = run.enumerator.next().await.expect("the enumerator works");
    run.carry_out(Event::Enumerator(event));
    let unread = run.checkpoint();
    for (checkpoint, when) in [(unassigned, "nothing was assigned"), (unread, "nothing was read")] {
        let rows = Run::start(fixture.open(None), fixture.env(), 1, Some(&checkpoint)).finish().await;
        assert_eq!(multiset(&rows), expected, "restored when {when}");
    }
}

/// A reader without splits waits until it hears that no other will come; and an ended source stays ended.
pub async fn the_end_comes_only_after_no_more_splits(fixture: &dyn SourceFixture) {
    let mut run = Run::start(fixture.open(None), fixture.env(), 2, None);
    run.withhold = true;
    while run.step(QUIET).await {}
    assert!(run.no_more && run.held.is_empty(), "all splits were read: {:?} are left", run.held);
    run.withhold = false;
    run.readers.iter_mut().for_each(|r| r.no_more_splits());
    let count = run.count();
    while !run.finished() {
        assert!(run.step(PATIENCE).await, "the source does not end");
    }
    assert_eq!(run.count(), count, "no rows come after the last split");
    let checkpoint = run.checkpoint();
    let rows = Run::start(fixture.open(None), fixture.env(), 2, Some(&checkpoint)).finish().await;
    assert_eq!(rows, run.rows, "a restore of an ended source reads nothing again");
}

/// Any subset of the columns, in any order, has the values of the whole.
pub async fn projections_give_the_same_columns(fixture: &dyn SourceFixture) {
    let whole = fixture.open(None);
    let columns = whole.outputs()[0].projection.len();
    let mut projections: Vec<Vec<usize>> = (0..columns).map(|c| vec![c]).collect();
    projections.push((0..columns).rev().collect());
    projections.push(Vec::new());
    // Splits may be read in another order: rows are compared by split.
    let table = read_first_output(whole, fixture.env()).await;
    for projection in projections {
        let part = read_first_output(fixture.open(Some(&projection)), fixture.env()).await;
        let expected: BTreeMap<_, Vec<Vec<String>>> = table
            .iter()
            .map(|(id, rows)| {
                let pick = |row: &Vec<String>| projection.iter().map(|c| row[*c].clone()).collect();
                (id.clone(), rows.iter().map(pick).collect())
            })
            .collect();
        assert_eq!(part, expected, "projection {projection:?}");
    }
}

/// The fields of every row of the first output, by split.
async fn read_first_output(source: Arc<dyn Source>, env: Env) -> BTreeMap<SplitId, Vec<Vec<String>>> {
    let mut run = Run::start(source, env, 1, None);
    let mut table: BTreeMap<SplitId, Vec<Vec<String>>> = BTreeMap::new();
    while !run.finished() {
        let event = run.event().await;
        if let Event::Reader(_, ReaderEvent::Batch { output: 0, split, batch }) = &event {
            let columns: Vec<Vec<String>> = (0..batch.data.num_columns())
                .map(|c| {
                    let one = batch.data.project(&[c]).expect("a column of the batch");
                    rows(&batch.with_data(one))
                })
                .collect();
            let fields = |row: usize| columns.iter().map(|c| c[row].clone()).collect();
            table.entry(split.clone()).or_default().extend((0..batch.num_rows()).map(fields));
        }
        run.carry_out(event);
    }
    table
}

/// Data that appears while the source runs, and while it is down, is read once.
pub async fn splits_that_appear_later_are_read(fixture: &dyn SourceFixture) {
    let Some(mut growing) = fixture.growing() else { return };
    let mut run = Run::start((growing.open)(), fixture.env(), 2, None);
    let mut expected = 0;
    for piece in 0..3 {
        expected += (growing.grow)(piece);
        run.until_rows(expected).await;
    }
    let checkpoint = run.checkpoint();
    drop(run);
    expected += (growing.grow)(3);
    let mut run = Run::start((growing.open)(), fixture.env(), 3, Some(&checkpoint));
    run.until_rows(expected).await;
    expected += (growing.grow)(4);
    run.until_rows(expected).await;
    while run.step(QUIET).await {
        assert_eq!(run.count(), expected, "rows came again");
    }
    let mut again = Run::start((growing.open)(), fixture.env(), 1, None);
    again.until_rows(expected).await;
    assert_eq!(multiset(&run.rows), multiset(&again.rows), "the same as reading everything at once");
}
