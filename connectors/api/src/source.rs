//! Reading.
//!
//! ```text
//!            Enumerator (one per source, its state in the checkpoint)
//!             │ Assign [split…] / NoMoreSplits      ▲ split finished, reader messages
//!             ▼                                     │
//!            Reader (one per subtask) ── next() ──> Batch{output, split, rows} ──> the task's operators
//! ```
//! # Positions
//! A position is a JSON value only the connector understands: a file and an offset, a GTID set, a ledger and an
//! entry. [`Reader::snapshot`] returns, for every split it holds, the position *behind the last batch that
//! [`Reader::next`] returned*: the runtime calls it between two batches, at a barrier. A restore hands the same
//! positions back with the splits, perhaps to other subtasks.
//!
//! # Invariants
//! * `next` is cancel safe: a barrier may drop the future at any await, and nothing is lost or doubled.
//! * A reader never passes a position that a restore could not resume from.
//! * A batch holds rows of one output and one split.

use dflow_common::{ChangeBatch, Diagnostic, Env, Epoch, metrics::Metrics};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Result;
use crate::predicate::Predicate;
use crate::schema::TableSchema;

/// Sources with equal keys become one source with several outputs (one log reader per server).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShareKey(pub String);

/// What one output of a source delivers.
#[derive(Clone, Debug)]
pub struct OutputSchema {
    /// The table, for messages and metrics.
    pub table: String,
    /// Its columns; batches hold the projected ones, in projection order.
    pub schema: TableSchema,
    /// Indices into `schema.columns`.
    pub projection: Vec<usize>,
    /// The filter that was offered; a reader may ignore it.
    pub predicate: Option<Predicate>,
    /// What kinds of change it emits.
    pub changelog: SourceChangelog,
}

/// What kinds of change a source emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceChangelog {
    /// `+I` only.
    Append,
    /// `+I`, `-U`, `+U`, `-D`, each with the full row.
    Retract,
    /// `+U` (or `+I`) and `-D` by primary key; a delete may carry the key only. The engine normalises it.
    Upsert,
}

/// Whether the data ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundedness {
    /// It ends.
    Bounded,
    /// It goes on until stopped.
    Unbounded,
}

/// Whether a restart can read the same rows again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Positions can be sought: exactly once is possible.
    Seekable,
    /// What was read is gone: at most once.
    None,
}

/// A unit of reading: a file, a partition, a range of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SplitId(pub String);

/// A split with where to go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitAssignment {
    /// Which split. Unique within the source, for ever.
    pub id: SplitId,
    /// What the reader needs to know of it.
    pub split: Value,
    /// Where to go on; `None` starts at its beginning.
    pub position: Option<Value>,
}

/// What a source is opened with.
#[derive(Clone)]
pub struct SourceContext {
    /// The job, for metrics.
    pub job: String,
    /// How many readers there are.
    pub parallelism: usize,
    /// The outside world.
    pub env: Env,
    /// Where to count.
    pub metrics: Metrics,
}

/// What a reader is opened with.
#[derive(Clone)]
pub struct ReaderContext {
    /// Of the source.
    pub source: SourceContext,
    /// Which reader, from 0.
    pub subtask: usize,
}

/// One source, shared by the tables with its share key.
pub trait Source: Send + Sync {
    /// `None` when it is never shared.
    fn share_key(&self) -> Option<ShareKey> {
        None
    }

    /// Merges a source of equal share key into this one; its outputs come after ours.
    ///
    /// # Errors
    /// When the two cannot be read together.
    fn merge(&self, other: &dyn Source) -> Result<std::sync::Arc<dyn Source>> {
        let _ = other;
        Err(crate::error::Error::new(crate::error::ROLE_NOT_SUPPORTED, "this source cannot be shared"))
    }

    /// Itself, for [`Source::merge`] to see what a source of equal share key is.
    fn as_any(&self) -> Option<&dyn std::any::Any> {
        None
    }

    /// What it delivers; batches name an output by index.
    fn outputs(&self) -> &[OutputSchema];

    /// Whether it ends.
    fn boundedness(&self) -> Boundedness;

    /// Whether it can be read again.
    fn replay(&self) -> Replay {
        Replay::Seekable
    }

    /// Readers that can do something useful at the same time; `None` = as many as there are splits.
    fn max_parallelism(&self) -> Option<usize> {
        None
    }

    /// Asks the other side whether it allows and has what the source needs; changes nothing there. Every problem names a
    /// way out; warnings are of what may go wrong later.
    fn preflight<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Vec<Diagnostic>> {
        let _ = env;
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Makes the enumerator, from scratch or from [`Enumerator::snapshot`].
    fn enumerator(&self, context: &SourceContext, restored: Option<Value>) -> Result<Box<dyn Enumerator>>;

    /// Makes a reader without splits.
    fn reader(&self, context: &ReaderContext) -> Result<Box<dyn Reader>>;
}

/// What an enumerator decides.
#[derive(Clone, Debug, PartialEq)]
pub enum EnumeratorEvent {
    /// New splits; the runtime spreads them over the readers.
    Assign(Vec<SplitAssignment>),
    /// Splits that must no longer be read (a partition is gone). Readers finish them.
    Revoke(Vec<SplitId>),
    /// There will be no other split: when the readers are done, the source is.
    NoMoreSplits,
}

/// Discovers splits.
pub trait Enumerator: Send {
    /// Waits for the next decision; never returns after `NoMoreSplits`. Cancel safe.
    fn next(&mut self) -> BoxFuture<'_, Result<EnumeratorEvent>>;

    /// A reader finished a split.
    fn split_finished(&mut self, split: &SplitId) {
        let _ = split;
    }

    /// A message of a reader ([`ReaderEvent::Message`]).
    fn reader_message(&mut self, subtask: usize, message: Value) {
        let _ = (subtask, message);
    }

    /// What a restore needs: which splits were discovered and assigned. Splits that are being read travel in the
    /// readers' snapshots, finished ones must not be assigned again.
    fn snapshot(&self) -> Result<Value>;

    /// The checkpoint is durable.
    fn checkpoint_complete(&mut self, epoch: Epoch) -> BoxFuture<'_, Result<()>> {
        let _ = epoch;
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What a reader has to say.
#[derive(Debug)]
pub enum ReaderEvent {
    /// Rows.
    Batch {
        /// Index into [`Source::outputs`].
        output: usize,
        /// Which split they are of.
        split: SplitId,
        /// The rows.
        batch: ChangeBatch,
    },
    /// The split has no more rows.
    SplitFinished(SplitId),
    /// For the enumerator.
    Message(Value),
    /// All splits are read and no more will come (only after [`Reader::no_more_splits`]).
    End,
}

/// Reads splits.
pub trait Reader: Send {
    /// Takes over splits.
    fn add_splits(&mut self, splits: Vec<SplitAssignment>) -> Result<()>;

    /// Gives up splits; answers with [`ReaderEvent::SplitFinished`] in its own time.
    fn revoke_splits(&mut self, splits: &[SplitId]) {
        let _ = splits;
    }

    /// No further split will be added.
    fn no_more_splits(&mut self);

    /// The next event. Waits while there is nothing to read. Cancel safe.
    fn next(&mut self) -> BoxFuture<'_, Result<ReaderEvent>>;

    /// Every unfinished split with the position behind the last batch returned.
    fn snapshot(&mut self) -> Result<Vec<SplitAssignment>>;

    /// The checkpoint is durable: acknowledge upstream.
    fn checkpoint_complete(&mut self, epoch: Epoch) -> BoxFuture<'_, Result<()>> {
        let _ = epoch;
        Box::pin(std::future::ready(Ok(())))
    }
}
