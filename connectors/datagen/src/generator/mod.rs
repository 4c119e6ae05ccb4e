//! A source whose rows are a function of their index.
//!
//! # Splits
//! `parallelism` splits, each with its blocks of indices ([`Cursor`]), assigned once. A position is the next index of
//! a split. What was decided when the stream began (a seed, a start time) travels inside the splits, so that a restored
//! split makes the same rows.
//!
//! # Rate
//! With a rate, row `i` becomes due `i / rate` seconds after the reader took over the split; a batch holds the rows
//! that are due. A reader that was held up catches up by [`BACKLOG_SECONDS_MAX`] of rows at most.
//!
//! # Invariants
//! * A reader changes its state only between awaits: `next` is cancel safe.
//! * The same split, position and options give the same rows, in batches of any size.

mod cursor;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use dflow_common::{ChangeBatch, Env};
use dflow_connector_api::source::{
    Boundedness, Enumerator, EnumeratorEvent, OutputSchema, Reader, ReaderContext, ReaderEvent, Source, SourceContext,
    SplitAssignment, SplitId,
};
use dflow_connector_api::{Error, Result};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::error::FOREIGN_POSITION;
pub(crate) use cursor::Cursor;

/// Seconds of rows a reader that fell behind delivers at once; the rest is forgiven.
const BACKLOG_SECONDS_MAX: f64 = 1.0;
/// The shortest sleep: below it batches would hold a handful of rows only.
const WAIT_MIN: Duration = Duration::from_millis(5);

/// A checked table: knows how many rows there are and how to make them.
pub(crate) trait Plan: Send + Sync + 'static {
    /// What is decided once per stream and kept in its splits.
    type Origin: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;

    /// Decides it.
    fn origin(&self, env: &Env) -> Self::Origin;

    /// How many rows; `None` without end.
    fn total(&self) -> Option<u64>;

    /// Whether the source goes on waiting after its last row.
    fn keep_alive(&self) -> bool {
        false
    }

    /// Rows per second of all splits together; `None` as fast as possible.
    fn rate(&self) -> Option<f64>;

    /// Indices in a block.
    fn block(&self) -> u64;

    /// Indices for one batch.
    fn batch(&self) -> u64;

    /// Readers that make sense.
    fn max_parallelism(&self) -> Option<usize> {
        None
    }

    /// Makes what makes the rows of one split.
    fn maker(&self, origin: &Self::Origin) -> Box<dyn Maker>;
}

/// Makes rows.
pub(crate) trait Maker: Send {
    /// The projected columns of these indices; perhaps without rows that the offered filter drops.
    fn make(&mut self, runs: &[Range<u64>]) -> RecordBatch;
}

/// A source of the rows of a [`Plan`].
pub(crate) struct GeneratorSource<P> {
    plan: Arc<P>,
    outputs: [OutputSchema; 1],
}

impl<P: Plan> GeneratorSource<P> {
    pub(crate) fn new(plan: P, output: OutputSchema) -> Self {
        Self { plan: Arc::new(plan), outputs: [output] }
    }
}

/// What the enumerator keeps: the shape of the stream.
#[derive(Clone, Serialize, Deserialize)]
struct Shape<O> {
    parts: u64,
    block: u64,
    origin: O,
}

#[derive(Clone, Serialize, Deserialize)]
struct EnumeratorState<O> {
    shape: Shape<O>,
    assigned: bool,
}

#[derive(Clone, Serialize, Deserialize)]
struct SplitData<O> {
    part: u64,
    shape: Shape<O>,
}

fn foreign(what: &str, e: impl std::fmt::Display) -> Error {
    Error::new(FOREIGN_POSITION, format!("the saved {what} is not one of this source: {e}"))
        .help("the table was read by another connector when the state was written; start with --restore none")
}

impl<P: Plan> Source for GeneratorSource<P> {
    fn outputs(&self) -> &[OutputSchema] {
        &self.outputs
    }

    fn boundedness(&self) -> Boundedness {
        match self.plan.total() {
            Some(_) if !self.plan.keep_alive() => Boundedness::Bounded,
            _ => Boundedness::Unbounded,
        }
    }

    fn max_parallelism(&self) -> Option<usize> {
        self.plan.max_parallelism()
    }

    fn enumerator(&self, context: &SourceContext, restored: Option<Value>) -> Result<Box<dyn Enumerator>> {
        let state = match restored {
            Some(value) => serde_json::from_value(value).map_err(|e| foreign("enumerator", e))?,
            None => EnumeratorState {
                shape: Shape {
                    parts: context.parallelism.min(self.plan.max_parallelism().unwrap_or(usize::MAX)).max(1) as u64,
                    block: self.plan.block(),
                    origin: self.plan.origin(&context.env),
                },
                assigned: false,
            },
        };
        Ok(Box::new(GeneratorEnumerator::<P> { state, closed: false }))
    }

    fn reader(&self, context: &ReaderContext) -> Result<Box<dyn Reader>> {
        Ok(Box::new(GeneratorReader {
            plan: self.plan.clone(),
            env: context.source.env.clone(),
            splits: VecDeque::new(),
            runs: Vec::new(),
            no_more: false,
        }))
    }
}

struct GeneratorEnumerator<P: Plan> {
    state: EnumeratorState<P::Origin>,
    closed: bool,
}

impl<P: Plan> GeneratorEnumerator<P> {
    fn splits(&self) -> Result<Vec<SplitAssignment>> {
        let shape = &self.state.shape;
        (0..shape.parts)
            .map(|part| {
                let data = SplitData { part, shape: shape.clone() };
                Ok(SplitAssignment {
                    id: SplitId(format!("part-{part}-of-{}", shape.parts)),
                    split: serde_json::to_value(data).map_err(|e| foreign("split", e))?,
                    position: None,
                })
            })
            .collect()
    }
}

impl<P: Plan> Enumerator for GeneratorEnumerator<P> {
    fn next(&mut self) -> BoxFuture<'_, Result<EnumeratorEvent>> {
        Box::pin(async move {
            if !self.state.assigned {
                let splits = self.splits()?;
                self.state.assigned = true;
                return Ok(EnumeratorEvent::Assign(splits));
            }
            if !self.closed {
                self.closed = true;
                return Ok(EnumeratorEvent::NoMoreSplits);
            }
            std::future::pending().await
        })
    }

    fn snapshot(&self) -> Result<Value> {
        serde_json::to_value(&self.state).map_err(|e| foreign("enumerator", e))
    }
}

/// A split being read.
struct Split {
    id: SplitId,
    data: Value,
    cursor: Cursor,
    maker: Box<dyn Maker>,
    /// When index `from` was due.
    since: Option<Duration>,
    from: u64,
}

struct GeneratorReader<P> {
    plan: Arc<P>,
    env: Env,
    /// The next one to read is in front.
    splits: VecDeque<Split>,
    runs: Vec<Range<u64>>,
    no_more: bool,
}

impl Split {
    /// One past the last index that is due.
    fn due(&mut self, now: Duration, rate: f64) -> u64 {
        let since = *self.since.get_or_insert(now);
        let due = self.from as f64 + now.saturating_sub(since).as_secs_f64() * rate;
        let behind = due - self.cursor.next() as f64;
        let forgiven = behind - rate * BACKLOG_SECONDS_MAX - 1.0;
        if forgiven > 0.0 {
            self.since = Some(since + Duration::from_secs_f64(forgiven / rate));
        }
        // The row at `from` is due at once.
        due as u64 + 1
    }

    /// How long until the next index is due.
    fn wait(&self, now: Duration, rate: f64) -> Duration {
        let since = self.since.unwrap_or(now);
        let ahead = self.cursor.next().saturating_sub(self.from) as f64 / rate;
        (since + Duration::try_from_secs_f64(ahead).unwrap_or(Duration::MAX / 4)).saturating_sub(now)
    }
}

enum Said {
    Event(ReaderEvent),
    /// Rows were made, and the offered filter dropped them all.
    Nothing,
    Wait,
}

impl<P: Plan> GeneratorReader<P> {
    /// What can be said without waiting.
    fn poll(&mut self) -> Result<Said> {
        let total = self.plan.total().unwrap_or(u64::MAX);
        let rate = self.plan.rate();
        let now = if rate.is_some() { self.env.clock.monotonic() } else { Duration::ZERO };
        for _ in 0..self.splits.len() {
            let Some(split) = self.splits.front_mut() else { break };
            let end = rate.map_or(total, |rate| split.due(now, rate).min(total));
            self.runs.clear();
            if split.cursor.take(self.plan.batch(), end, &mut self.runs) > 0 {
                let batch = split.maker.make(&self.runs);
                if batch.num_rows() == 0 {
                    return Ok(Said::Nothing);
                }
                let id = split.id.clone();
                self.splits.rotate_left(1);
                let batch = ChangeBatch::inserts(batch);
                return Ok(Said::Event(ReaderEvent::Batch { output: 0, split: id, batch }));
            }
            if split.cursor.next() >= total && !self.plan.keep_alive() {
                let id = split.id.clone();
                self.splits.pop_front();
                return Ok(Said::Event(ReaderEvent::SplitFinished(id)));
            }
            self.splits.rotate_left(1);
        }
        if self.no_more && self.splits.is_empty() {
            return Ok(Said::Event(ReaderEvent::End));
        }
        Ok(Said::Wait)
    }

    /// How long to wait; `None` until something is done to this reader.
    fn wait(&self) -> Option<Duration> {
        let rate = self.plan.rate()?;
        let total = self.plan.total().unwrap_or(u64::MAX);
        let now = self.env.clock.monotonic();
        let open = self.splits.iter().filter(|s| s.cursor.next() < total);
        open.map(|s| s.wait(now, rate).max(WAIT_MIN)).min()
    }
}

impl<P: Plan> Reader for GeneratorReader<P> {
    fn add_splits(&mut self, splits: Vec<SplitAssignment>) -> Result<()> {
        for SplitAssignment { id, split, position } in splits {
            let data: SplitData<P::Origin> = serde_json::from_value(split.clone()).map_err(|e| foreign("split", e))?;
            let from = match position {
                Some(value) => serde_json::from_value(value).map_err(|e| foreign("position", e))?,
                None => 0,
            };
            let cursor = Cursor::new(data.part, data.shape.parts, data.shape.block, from);
            let maker = self.plan.maker(&data.shape.origin);
            self.splits.push_back(Split { id, data: split, cursor, maker, since: None, from });
        }
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.no_more = true;
    }

    fn next(&mut self) -> BoxFuture<'_, Result<ReaderEvent>> {
        Box::pin(async move {
            loop {
                match self.poll()? {
                    Said::Event(event) => return Ok(event),
                    // A filter that nothing passes must not keep the task from hearing of a barrier.
                    Said::Nothing => tokio::task::yield_now().await,
                    Said::Wait => match self.wait() {
                        Some(wait) => self.env.clock.sleep(wait).await,
                        None => std::future::pending().await,
                    },
                }
            }
        })
    }

    fn snapshot(&mut self) -> Result<Vec<SplitAssignment>> {
        Ok(self
            .splits
            .iter()
            .map(|s| SplitAssignment {
                id: s.id.clone(),
                split: s.data.clone(),
                position: Some(Value::from(s.cursor.next())),
            })
            .collect())
    }
}
