//! A running job: how it is started, watched and ended.
//!
//! # Example
//! ```no_run
//! # use dflow_runtime::job::{Job, JobEnd};
//! # async fn example(job: Job) -> dflow_runtime::Result<()> {
//! let handle = job.start()?;
//! handle.checkpoint().await?;
//! handle.stop();                       // final checkpoint, commit, end
//! if let JobEnd::Failed(error) = handle.wait().await.end {
//!     eprintln!("{error}");
//! }
//! # Ok(())
//! # }
//! ```
//! # Life
//! ```text
//! Starting ─> Running ─┬─ all input read, committed ──────────> Finished
//!    ▲                 ├─ stop():   final checkpoint, commit ──> Stopped
//!    │                 ├─ cancel() ────────────────────────────> Cancelled
//!    └── Restarting <──┴─ failure ── not curable, or too many ─> Failed
//! ```
//! Every task of the job has ended, and every writer is closed, before [`JobHandle::wait`] returns.

use std::sync::Arc;
use std::time::Duration;

use dflow_common::metrics::Metrics;
use dflow_common::{Env, Epoch, OperatorId};
use tokio::sync::broadcast;

use crate::checkpoint::{CheckpointStore, Found};
use crate::config::JobConfig;
use crate::error::{Error, Result};
use crate::graph::JobGraph;

pub(crate) mod shared;

use shared::{Command, Shared};

/// The target of log events that a listener of [`JobHandle::events`] hears, too: who shows those turns these off.
pub const TOLD: &str = "dflow_runtime::told";

/// Events that may wait for a slow listener; older ones are dropped.
const EVENTS_MAX: usize = 1_024;

/// Everything a job needs. [`Job::start`] runs it.
pub struct Job {
    /// What it computes.
    pub graph: JobGraph,
    /// How.
    pub config: JobConfig,
    /// The outside world.
    pub env: Env,
    /// Where to count.
    pub metrics: Metrics,
    /// Where its checkpoints are.
    pub store: Arc<dyn CheckpointStore>,
}

impl Job {
    /// What it would start from. Changes nothing.
    ///
    /// # Errors
    /// State that it could not go on from.
    pub async fn look(&self) -> Result<Found> {
        self.store.look(&crate::attempt::claim_request(self, false)).await
    }

    /// Starts the job in the background and returns at once; what then goes wrong is in its outcome.
    ///
    /// # Errors
    /// [`crate::error::INTERNAL`]: the planner built a broken graph.
    pub fn start(self) -> Result<JobHandle> {
        self.graph.validate()?;
        let shared = Shared::new(&self);
        let handle = JobHandle { shared: Arc::clone(&shared) };
        let spawner = self.env.spawner.clone();
        spawner.spawn_io("job", crate::supervisor::supervise(self, shared));
        Ok(handle)
    }
}

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Claims, restores, opens.
    Starting,
    /// Moves rows.
    Running,
    /// Waits before it starts again after a failure.
    Restarting,
    /// Takes its last checkpoint.
    Stopping,
    /// Over; see the outcome.
    Ended,
}

/// Why a job ended.
#[derive(Clone, Debug)]
pub enum JobEnd {
    /// All input is read and committed.
    Finished,
    /// Stopped, with a final checkpoint to go on from.
    Stopped,
    /// Cancelled; the last checkpoint is the one to go on from.
    Cancelled,
    /// It cannot go on.
    Failed(Error),
}

/// A job that is over.
#[derive(Clone, Debug)]
pub struct JobOutcome {
    /// Why.
    pub end: JobEnd,
    /// The newest completed checkpoint.
    pub last_checkpoint: Option<Epoch>,
    /// How often it was restarted.
    pub restarts: u64,
    /// Where it stood at the end.
    pub status: JobStatus,
}

/// One node of a running job, summed over its instances. Rows that a restart reads again count once: it goes back to the
/// counts of its checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    /// Its id.
    pub id: OperatorId,
    /// Its name.
    pub name: String,
    /// Source, operator or sink.
    pub kind: crate::checkpoint::OperatorKind,
    /// Changes received; for a source: read.
    pub rows_in: u64,
    /// Changes emitted; for a sink: written.
    pub rows_out: u64,
    /// The slowest instance's output watermark; `None` before the first.
    pub watermark_us: Option<i64>,
    /// State held.
    pub state: crate::operator::StateSize,
    /// Splits being read; sources only.
    pub splits: u64,
}

/// A completed checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointStatus {
    /// Its number.
    pub epoch: Epoch,
    /// How long it took.
    pub duration: Duration,
    /// Bytes it wrote.
    pub bytes: u64,
    /// When it completed, milliseconds since 1970.
    pub completed_ms: i64,
}

/// A job at one moment. Rates are differences of two statuses over the difference of `uptime`.
#[derive(Clone, Debug, PartialEq)]
pub struct JobStatus {
    /// Where it is in its life.
    pub state: JobState,
    /// Since it was started.
    pub uptime: Duration,
    /// Restarts so far.
    pub restarts: u64,
    /// The checkpoint it was last restored from.
    pub restored_from: Option<Epoch>,
    /// The newest checkpoint completed by this run.
    pub last_checkpoint: Option<CheckpointStatus>,
    /// Checkpoints completed by this run.
    pub checkpoints_completed: u64,
    /// Checkpoints that failed or expired in this run.
    pub checkpoints_failed: u64,
    /// Its nodes, in the order of the graph.
    pub nodes: Vec<NodeStatus>,
}

/// Something that happened to the job.
#[derive(Clone, Debug)]
pub enum JobEvent {
    /// All tasks run. `restored` is the checkpoint they go on from, `None` a fresh start.
    Started {
        /// From which checkpoint.
        restored: Option<Epoch>,
        /// How often the state was claimed, this time included.
        generation: u64,
        /// What a user should hear about the state, a line each.
        notices: Vec<String>,
    },
    /// A checkpoint is durable and committed.
    CheckpointCompleted(CheckpointStatus),
    /// A checkpoint was given up; the job goes on.
    CheckpointFailed {
        /// Which.
        epoch: Epoch,
        /// Why.
        error: Error,
    },
    /// The job failed and will start again.
    Restarting {
        /// Why.
        error: Error,
        /// After this time.
        delay: Duration,
        /// The how-many-eth restart it is.
        attempt: u64,
    },
    /// The job is over.
    Ended(JobEnd),
}

/// A running job. Cheap to clone; dropping it does not end the job.
#[derive(Clone)]
pub struct JobHandle {
    shared: Arc<Shared>,
}

impl JobHandle {
    /// Where it stands.
    pub fn status(&self) -> JobStatus {
        self.shared.status()
    }

    /// What happens: to the first who asks everything from the start, to others from now on.
    pub fn events(&self) -> broadcast::Receiver<JobEvent> {
        self.shared.take_events().unwrap_or_else(|| self.shared.events.subscribe())
    }

    /// Ends gracefully: sources stop, a final checkpoint is taken and committed. Returns at once; repeated calls do
    /// nothing. When that takes longer than [`JobConfig::stop_timeout`], the job ends with
    /// [`UNCLEAN_STOP`](crate::error::UNCLEAN_STOP).
    pub fn stop(&self) {
        self.shared.send(Command::Stop);
    }

    /// Ends now, without a checkpoint. Returns at once.
    pub fn cancel(&self) {
        self.shared.cancel.cancel();
    }

    /// Takes a checkpoint now and waits until it is committed.
    ///
    /// # Errors
    /// Why it was given up, or that the job is over.
    pub async fn checkpoint(&self) -> Result<Epoch> {
        let (reply, result) = tokio::sync::oneshot::channel();
        self.shared.send(Command::Checkpoint(reply));
        result.await.unwrap_or_else(|_| {
            Err(Error::coded(
                crate::error::CHECKPOINT_FAILED,
                "the job failed or ended before the checkpoint was complete",
            ))
        })
    }

    /// Waits for the end. Every task has ended when it returns. Cancel safe.
    pub async fn wait(&self) -> JobOutcome {
        let mut outcome = self.shared.outcome.subscribe();
        loop {
            if let Some(outcome) = outcome.borrow_and_update().clone() {
                return outcome;
            }
            if outcome.changed().await.is_err() {
                // The sender lives in `shared`, which we hold.
                std::future::pending::<()>().await;
            }
        }
    }
}
