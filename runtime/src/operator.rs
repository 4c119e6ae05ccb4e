//! The operator interface: what a task calls, in which order, and what an operator may emit.
//!
//! # Life
//! ```text
//! create -> restore(tables)? -> { process | watermark | split | flush }* -> snapshot at each barrier -> end
//! ```
//! A task calls one operator from one thread at a time. Calls do not wait: an operator computes and puts what it
//! emits into [`Output`]; the task moves it on. At a barrier the task calls `flush`, then `snapshot`: an operator
//! holds no unflushed change when it is asked for its state.
//!
//! # Emission
//! Stateless operators emit in `process`. Updating operators collect changes and emit them in `flush`, which the task
//! calls when its inbox runs empty, when a row or latency bound is hit, and always at a barrier.

use std::ops::Range;

use dflow_common::ids::KeyGroup;
use dflow_common::metrics::Metrics;
use dflow_common::{ChangeBatch, Env, OperatorId};

use crate::error::Result;
use crate::state::{SnapshotWriter, StateReader, TableSpec};

/// Event time up to which a stream is complete, in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watermark(pub i64);

impl Watermark {
    /// Before all time: nothing is known.
    pub const MIN: Watermark = Watermark(i64::MIN);
    /// After all time: the input has ended.
    pub const MAX: Watermark = Watermark(i64::MAX);
}

/// What an operator emits, in order.
#[derive(Clone, Debug)]
pub enum Element {
    /// Changes. Never empty.
    Batch(ChangeBatch),
    /// Only sent when it grew.
    Watermark(Watermark),
    /// No data is expected for a while: downstream must not wait for our watermark.
    Idle,
    /// Data again.
    Active,
}

/// Collects what an operator emits during one call.
#[derive(Debug, Default)]
pub struct Output {
    elements: Vec<Element>,
}

impl Output {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Emits changes; an empty batch is dropped.
    pub fn batch(&mut self, batch: ChangeBatch) {
        if !batch.is_empty() {
            self.elements.push(Element::Batch(batch));
        }
    }

    /// Emits a watermark.
    pub fn watermark(&mut self, watermark: Watermark) {
        self.elements.push(Element::Watermark(watermark));
    }

    /// Emits idleness or its end.
    pub fn idle(&mut self, idle: bool) {
        self.elements.push(if idle { Element::Idle } else { Element::Active });
    }

    /// Takes out what was emitted.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Element> {
        self.elements.drain(..)
    }

    /// Whether nothing was emitted.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }
}

/// Something that happened to a split of the source this operator is chained to. Only operators in a source's task
/// hear of it, and rows of a split are processed between its `Added` and `Finished`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitEvent {
    /// A new split with this task-local number.
    Added(u32),
    /// It has ended and no longer holds the watermark back.
    Finished(u32),
    /// The batches that follow are of this split.
    Current(u32),
    /// Time passes: check for idleness and emit a periodic watermark. Carries the monotonic clock in microseconds.
    Tick(u64),
}

/// How much state an operator holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Entries: groups, keys, rows.
    pub entries: u64,
    /// Bytes in memory.
    pub bytes: u64,
}

/// Where an operator instance lives.
#[derive(Clone)]
pub struct OperatorContext {
    /// The job, for metrics.
    pub job: String,
    /// The operator's id.
    pub id: OperatorId,
    /// Its short name, for metrics and messages.
    pub name: String,
    /// Which instance, from 0.
    pub subtask: usize,
    /// How many instances.
    pub parallelism: usize,
    /// The key groups this instance owns.
    pub key_groups: Range<KeyGroup>,
    /// Key groups of the job.
    pub max_parallelism: KeyGroup,
    /// The outside world.
    pub env: Env,
    /// Where to count.
    pub metrics: Metrics,
}

/// Makes instances of an operator; kept in the graph so that a restart can make new ones.
pub trait OperatorFactory: Send + Sync {
    /// Makes an instance without state.
    fn create(&self, context: &OperatorContext) -> Result<Box<dyn Operator>>;

    /// Its state tables; empty for stateless operators. Fixed for a given operator id.
    fn tables(&self) -> Vec<TableSpec> {
        Vec::new()
    }
}

/// One instance of an operator.
pub trait Operator: Send {
    /// Takes a batch of input `input`.
    fn process(&mut self, input: usize, batch: ChangeBatch, out: &mut Output) -> Result<()>;

    /// The combined watermark of all inputs grew. Forwarded by default.
    fn watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        out.watermark(watermark);
        Ok(())
    }

    /// Something happened to a split of the source of this chain.
    fn split(&mut self, event: SplitEvent, out: &mut Output) -> Result<()> {
        let _ = (event, out);
        Ok(())
    }

    /// Rows of change waiting for `flush`.
    fn pending_rows(&self) -> usize {
        0
    }

    /// Emits everything collected: at most one change per key, no change that changes nothing.
    fn flush(&mut self, out: &mut Output) -> Result<()> {
        let _ = out;
        Ok(())
    }

    /// Writes the state that is dirty since the last snapshot, or all of it, as the writer asks per table.
    /// Called right after `flush`. Must be fast: copy out, do not encode.
    fn snapshot(&mut self, writer: &mut SnapshotWriter) -> Result<()> {
        let _ = writer;
        Ok(())
    }

    /// Loads the rows of this instance's key groups. Called once, before anything else.
    fn restore(&mut self, reader: &mut StateReader) -> Result<()> {
        let _ = reader;
        Ok(())
    }

    /// All inputs have ended; `flush` follows.
    fn end(&mut self, out: &mut Output) -> Result<()> {
        let _ = out;
        Ok(())
    }

    /// How much it holds, exactly enough for a budget.
    fn state_size(&self) -> StateSize {
        StateSize::default()
    }
}
