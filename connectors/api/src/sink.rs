//! Writing.
//!
//! ```text
//! Writer (one per subtask)       write … write, prepare(n) ──┐ committables, in the manifest of checkpoint n
//! Committer (one per sink)                     manifest n durable ──> commit(n, all committables)
//! ```
//! `prepare -> manifest durable -> commit`. A commit is keyed by (job, sink, epoch), may be called again after a
//! restore with the same committables, and must then be a no-op. What a restore finds that is newer than its
//! manifest is aborted ([`Committer::recover`]).

use std::sync::Arc;

use bytes::Bytes;
use dflow_common::{ChangeBatch, Diagnostic, Env, Epoch, metrics::Metrics};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Result;

/// How a sink is exactly-once, or that it is not. Printed before the first row moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkMode {
    /// Keyed overwrite: a replay converges.
    Idempotent,
    /// Encoded bodies go into the checkpoint and are published after it, with a token that makes a repeat a no-op.
    Staged,
    /// Written aside, made visible by the commit.
    Transactional,
    /// A restart repeats rows.
    AtLeastOnce,
}

/// Which changes a sink can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangelogSupport {
    /// `+I` only: updating queries are refused by name.
    AppendOnly,
    /// Rows by primary key: `+U`/`+I` overwrite, `-D` removes; `-U` is not sent.
    Upsert,
    /// All four kinds.
    All,
}

/// What a writer hands to the committer through the manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Committable(pub Value);

/// Bytes kept in the checkpoint for a staged sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedRef {
    /// Where, relative to the state directory.
    pub path: String,
    /// Bytes.
    pub len: u64,
    /// CRC-32 of the bytes.
    pub crc: u32,
}

/// The part of the checkpoint storage a staged sink may use.
pub trait StageStore: Send + Sync {
    /// Stores bytes durably. They live as long as a manifest refers to them.
    fn put(&self, body: Bytes) -> BoxFuture<'_, Result<StagedRef>>;
    /// Reads them back, byte for byte, checked.
    fn get(&self, staged: &StagedRef) -> BoxFuture<'_, Result<Bytes>>;
}

/// What a writer is opened with.
#[derive(Clone)]
pub struct WriterContext {
    /// The job's name.
    pub job: String,
    /// Random, as old as the job's state: part of every commit token and of every name of what is not committed yet, so
    /// that jobs of one name that write into one place keep their hands off each other's output.
    pub owner: String,
    /// The sink's id within the job, stable across restarts.
    pub sink: String,
    /// Which writer, from 0.
    pub subtask: usize,
    /// How many there are.
    pub parallelism: usize,
    /// The checkpoint restored from; [`Epoch`] 0 for a fresh start.
    pub restored: Epoch,
    /// The outside world.
    pub env: Env,
    /// Where to count.
    pub metrics: Metrics,
    /// Where staged bodies go.
    pub stage: Arc<dyn StageStore>,
}

/// What a committer is opened with.
#[derive(Clone)]
pub struct CommitterContext {
    /// The job's name.
    pub job: String,
    /// As in [`WriterContext::owner`].
    pub owner: String,
    /// The sink's id within the job.
    pub sink: String,
    /// The outside world.
    pub env: Env,
    /// Where to count.
    pub metrics: Metrics,
    /// Where staged bodies come from.
    pub stage: Arc<dyn StageStore>,
}

/// One sink.
pub trait Sink: Send + Sync {
    /// How it is exactly-once.
    fn mode(&self) -> SinkMode;

    /// Which changes it takes.
    fn changelog(&self) -> ChangelogSupport;

    /// Writers that make sense; `None` = any number.
    fn max_parallelism(&self) -> Option<usize> {
        None
    }

    /// Asks the other side whether it allows and has what the sink needs; changes nothing there. Every problem names a way
    /// out; warnings are of what may go wrong later.
    fn preflight<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Vec<Diagnostic>> {
        let _ = env;
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Opens a writer. The first thing a sink may touch outside, but for [`Sink::preflight`].
    fn writer(&self, context: &WriterContext) -> Result<Box<dyn Writer>>;

    /// Opens the committer; `None` when there is nothing to commit.
    fn committer(&self, context: &CommitterContext) -> Result<Option<Box<dyn Committer>>> {
        let _ = context;
        Ok(None)
    }
}

/// Takes rows.
pub trait Writer: Send {
    /// Takes a batch. May wait for room.
    fn write(&mut self, batch: ChangeBatch) -> BoxFuture<'_, Result<()>>;

    /// The inbox is empty: show what was written, where the mode allows it.
    fn flush(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// A barrier: everything written so far belongs to `epoch` and must be safe to commit, or already be outside.
    fn prepare(&mut self, epoch: Epoch) -> BoxFuture<'_, Result<Vec<Committable>>>;

    /// The last call. Everything was prepared, or is to be forgotten.
    fn close(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Makes prepared epochs visible.
pub trait Committer: Send {
    /// Called once, before any writer opens: `pending` are the committables of the restored manifest `epoch`, which
    /// may or may not have been committed. Commits them and removes what is newer than `epoch` or of no epoch.
    fn recover(&mut self, epoch: Epoch, pending: Vec<Committable>) -> BoxFuture<'_, Result<()>>;

    /// Makes an epoch visible. Repeating it is a no-op. Committables of earlier epochs are among them when their own
    /// checkpoint was aborted after the writers had prepared it.
    fn commit(&mut self, epoch: Epoch, committables: Vec<Committable>) -> BoxFuture<'_, Result<()>>;
}
