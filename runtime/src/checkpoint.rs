//! What a checkpoint is, and the store that keeps it.
//!
//! # What flows
//! ```text
//!  task, at barrier n            coordinator                          CheckpointStore
//!  ───────────────────           ───────────                          ───────────────
//!  snapshot_modes(n, op, i) ─────────────────────────────────────────> Base or Delta per table   (synchronous)
//!  OperatorSnapshot ── in the background ────────────────────────────> upload -> UploadRef
//!  ack: UploadRefs, split positions, committables ──> all acks ──────> commit(Checkpoint)        = the commit point
//!                                                     sinks commit, sources acknowledge
//!                                                     end of all input ──> mark_finished
//! ```
//! # Fencing
//! [`CheckpointStore::claim`] makes this process the only one whose [`commit`](CheckpointStore::commit) succeeds. A
//! store whose claim was taken over answers every further `commit` and `mark_finished` with
//! [`FENCED`](crate::error::FENCED), and changes nothing.
//!
//! # Which snapshots are complete
//! An operator forgets what is dirty when it hands out a snapshot. If that snapshot never becomes part of a committed
//! checkpoint (the upload failed, the checkpoint timed out), the next delta would lack it. The store therefore keeps
//! to one rule, whatever the reason: *an instance may write a delta only when the snapshot it took last is in a
//! committed checkpoint, or is the one it was restored from*; else it must write a base.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use dflow_common::ids::KeyGroup;
use dflow_common::{Epoch, OperatorId, Span};
use dflow_connector_api::{Committable, SplitAssignment, SplitId, StageStore};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::RestoreMode;
use crate::error::Result;
use crate::state::{SnapshotMode, StoredRows, TableSnapshot, TableSpec};

mod memory;
pub use memory::{MemoryBackend, MemoryStore};

/// What a node of the job is, as far as a manifest cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorKind {
    /// Has splits and an enumerator.
    Source,
    /// Has tables.
    Operator,
    /// Has committables.
    Sink,
}

/// Where a node comes from, in the words of the script: for messages about old state, no part of its identity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Its place: `orders.sql:3:14`.
    pub place: Option<String>,
    /// The table a source reads or a sink writes.
    pub table: Option<String>,
    /// The options that say which data that is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<DataOption>,
    /// A digest of what a sink is given; another one means that its query was edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<String>,
}

/// An option that says which data a table is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataOption {
    /// Its key.
    pub name: String,
    /// Its value; a digest stands for a secret.
    pub value: String,
    /// Where the script says so; a default has no place.
    #[serde(skip)]
    pub span: Option<Span>,
}

/// An operator of the job that claims the state.
#[derive(Clone, Debug)]
pub struct OperatorInfo {
    /// Identity of its state.
    pub id: OperatorId,
    /// Short name.
    pub name: String,
    /// What it is.
    pub kind: OperatorKind,
    /// What it computes, as text, for messages about old state.
    pub description: String,
    /// Its place in the script.
    pub span: Option<Span>,
    /// Where it comes from, in words.
    pub origin: Origin,
    /// The sinks that its rows reach; of a sink, itself.
    pub feeds: Vec<OperatorId>,
    /// How many instances.
    pub parallelism: usize,
    /// Its state tables, in order.
    pub tables: Vec<TableSpec>,
}

/// Who claims, and what it will do with the state.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// The job's name.
    pub job: String,
    /// What [`Claimed::owner`] is to be when the state has none yet: random.
    pub owner: String,
    /// Key groups; frozen in the first manifest.
    pub max_parallelism: KeyGroup,
    /// Where to start.
    pub restore: RestoreMode,
    /// Whether state of operators that are gone may be dropped.
    pub ignore_unclaimed_state: bool,
    /// All nodes of the job.
    pub operators: Vec<OperatorInfo>,
}

/// A successful claim.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Counts claims of this state directory.
    pub generation: u64,
    /// Random, as old as the state: see [`dflow_connector_api::WriterContext::owner`].
    pub owner: String,
    /// What to go on from; `None` starts fresh.
    pub restored: Option<Checkpoint>,
    /// What a user should hear about the state: that a finished run's is not gone on from, where old state is kept,
    /// what is dropped. One line each.
    pub notices: Vec<String>,
    /// The number of the next checkpoint: greater than that of every committed one.
    pub next_epoch: Epoch,
}

/// What a claim would find.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The checkpoint it would go on from; `None` starts fresh.
    pub restored: Option<Epoch>,
    /// As [`Claimed::notices`].
    pub notices: Vec<String>,
}

/// Identity of one operator instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId {
    /// The operator.
    pub operator: OperatorId,
    /// Which instance, from 0.
    pub subtask: usize,
}

/// The state of one operator instance at a barrier, ready to be uploaded.
#[derive(Clone, Debug)]
pub struct OperatorSnapshot {
    /// Whose.
    pub instance: InstanceId,
    /// The key groups the instance owns: a base replaces exactly these.
    pub key_groups: Range<KeyGroup>,
    /// What was written, one entry per table of the operator.
    pub tables: Vec<TableSnapshot>,
    /// The tables' schemas, in the same order.
    pub schemas: Vec<SchemaRef>,
}

/// What a store remembers of an upload. Only the store reads `content`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UploadRef {
    /// Files, ranges, checksums.
    pub content: Value,
    /// Bytes written.
    pub bytes: u64,
    /// Whether the snapshot held no row at all, in any table.
    pub empty: bool,
}

/// A source at a barrier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceSnapshot {
    /// [`dflow_connector_api::Enumerator::snapshot`].
    pub enumerator: Value,
    /// Unfinished splits with where to go on, of all readers and in flight to them; sorted by id.
    pub splits: Vec<SplitAssignment>,
    /// Whether the enumerator has said that no other split will come.
    pub no_more_splits: bool,
    /// What readers had told the enumerator before the barrier and it heard after its own snapshot; told again, in
    /// order, after a restore.
    #[serde(default)]
    pub messages: Vec<EnumeratorInput>,
}

/// What a reader tells its enumerator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EnumeratorInput {
    /// A split has no more rows.
    SplitFinished(SplitId),
    /// [`dflow_connector_api::ReaderEvent::Message`].
    Message {
        /// Of which reader.
        subtask: usize,
        /// What it says.
        message: Value,
    },
}

/// A sink at a barrier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SinkSnapshot {
    /// Of all writers, by subtask.
    pub committables: Vec<Committable>,
}

/// A consistent cut through the job.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// Its number.
    pub epoch: Epoch,
    /// The uploads of this epoch, one per operator instance with tables. Empty in a restored checkpoint: stored rows
    /// are read with [`CheckpointStore::restore`].
    pub uploads: Vec<(InstanceId, UploadRef)>,
    /// Every source.
    pub sources: BTreeMap<OperatorId, SourceSnapshot>,
    /// Every sink.
    pub sinks: BTreeMap<OperatorId, SinkSnapshot>,
}

/// What a commit wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitInfo {
    /// Bytes of the manifest and all uploads of the epoch.
    pub bytes: u64,
}

/// Keeps checkpoints. One value per claim attempt; see the module for who calls what.
///
/// Errors that a restart may cure (the disk is slow, the object store answers 503) are marked
/// [`retry`](crate::Error::retry).
pub trait CheckpointStore: Send + Sync {
    /// Takes over the state directory and finds what to restore. Called again at every restart: it then claims anew.
    ///
    /// # Errors
    /// State that cannot be used by this job, or none although it was required.
    fn claim<'a>(&'a self, request: &'a ClaimRequest) -> BoxFuture<'a, Result<Claimed>>;

    /// What [`CheckpointStore::claim`] would find. Changes nothing.
    ///
    /// # Errors
    /// As a claim, but for what only taking over can show.
    fn look<'a>(&'a self, request: &'a ClaimRequest) -> BoxFuture<'a, Result<Found>>;

    /// All stored rows of one table whose key group is in `groups`, in replay order. Rows of other groups may be
    /// among them; the caller filters. Files are read and checked at once, and decoded row by row.
    fn restore<'a>(
        &'a self,
        operator: &'a OperatorId,
        table: usize,
        groups: Range<KeyGroup>,
    ) -> BoxFuture<'a, Result<StoredRows>>;

    /// What the snapshot that `instance` takes now, for `epoch`, has to contain. Calling it counts as taking the
    /// snapshot. Called at the barrier: must not wait.
    fn snapshot_modes(&self, epoch: Epoch, instance: &InstanceId, tables: usize) -> Vec<SnapshotMode>;

    /// Stores a snapshot durably. It lives on if `epoch` is committed, or carried into a later one.
    fn upload(&self, epoch: Epoch, snapshot: OperatorSnapshot) -> BoxFuture<'_, Result<UploadRef>>;

    /// Makes the checkpoint the newest one, atomically. Epochs grow, with gaps where one was given up. Instances of which it has no upload keep what the checkpoint
    /// before had of them (they have finished).
    ///
    /// # Errors
    /// [`FENCED`](crate::error::FENCED) when another instance has claimed; others leave the checkpoint before in place.
    fn commit(&self, checkpoint: Checkpoint) -> BoxFuture<'_, Result<CommitInfo>>;

    /// `epoch` will never be committed; its files may go.
    fn abort(&self, epoch: Epoch) -> BoxFuture<'_, ()>;

    /// The job has read all its input and committed everything: the next run starts fresh.
    fn mark_finished(&self) -> BoxFuture<'_, Result<()>>;

    /// Every sink has committed what the newest checkpoint holds, and nothing will follow: the next run need not commit
    /// it again, so that a sink may leave the script.
    fn mark_settled(&self) -> BoxFuture<'_, Result<()>>;

    /// Where staged sinks keep their bodies.
    fn stage(&self) -> Arc<dyn StageStore>;
}
