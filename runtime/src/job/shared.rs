//! What a job's handle and its supervisor share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dflow_common::{Env, Epoch};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{CheckpointStatus, EVENTS_MAX, Job, JobEvent, JobOutcome, JobState, JobStatus, NodeStatus};
use crate::checkpoint::OperatorKind;
use crate::error::Result;
use crate::graph::{Node, NodeKind};
use crate::operator::{StateSize, Watermark};

/// What a handle asks of the job.
pub(crate) enum Command {
    /// A graceful end.
    Stop,
    /// A checkpoint now.
    Checkpoint(oneshot::Sender<Result<Epoch>>),
}

/// See the module.
pub(crate) struct Shared {
    pub(crate) cancel: CancellationToken,
    pub(crate) events: broadcast::Sender<JobEvent>,
    /// Hears everything from the start; for the first listener.
    first: Mutex<Option<broadcast::Receiver<JobEvent>>>,
    pub(crate) outcome: watch::Sender<Option<JobOutcome>>,
    pub(crate) nodes: Vec<NodeStats>,
    commands: mpsc::UnboundedSender<Command>,
    receiver: Mutex<Option<mpsc::UnboundedReceiver<Command>>>,
    progress: Mutex<Progress>,
    env: Env,
    started: Duration,
}

/// The slowly changing part of the status.
pub(crate) struct Progress {
    pub(crate) state: JobState,
    pub(crate) restarts: u64,
    pub(crate) restored_from: Option<Epoch>,
    pub(crate) last_checkpoint: Option<CheckpointStatus>,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    /// What each node had counted when this attempt began…
    counted_before: Vec<Rows>,
    /// …and at the barriers of the newest checkpoints, oldest first.
    counted: VecDeque<(Epoch, Vec<Rows>)>,
}

/// Rows in and out of a node.
pub(crate) type Rows = (u64, u64);

/// Checkpoints whose counts are remembered: the newest, and those before it in case it was not committed after all.
const COUNTED_MAX: usize = 4;

/// The counters of one node. Rows are counted over restarts, each once; the rest is per instance and starts over.
pub(crate) struct NodeStats {
    template: NodeStatus,
    pub(crate) rows_in: AtomicU64,
    pub(crate) rows_out: AtomicU64,
    pub(crate) instances: Vec<InstanceStats>,
}

/// The gauges of one instance.
pub(crate) struct InstanceStats {
    pub(crate) watermark: AtomicI64,
    pub(crate) state_entries: AtomicU64,
    pub(crate) state_bytes: AtomicU64,
    pub(crate) splits: AtomicU64,
    /// It has told those behind it not to wait for its watermark.
    pub(crate) idle: AtomicBool,
}

impl InstanceStats {
    fn new() -> Self {
        Self {
            watermark: AtomicI64::new(i64::MIN),
            state_entries: AtomicU64::new(0),
            state_bytes: AtomicU64::new(0),
            splits: AtomicU64::new(0),
            idle: AtomicBool::new(false),
        }
    }

    /// Before a new attempt.
    pub(crate) fn reset(&self) {
        self.watermark.store(i64::MIN, Relaxed);
        self.state_entries.store(0, Relaxed);
        self.state_bytes.store(0, Relaxed);
        self.splits.store(0, Relaxed);
        self.idle.store(false, Relaxed);
    }
}

impl NodeStats {
    fn new(node: &Node) -> Self {
        let kind = kind_of(node);
        Self {
            template: NodeStatus {
                id: node.id.clone(),
                name: node.name.clone(),
                kind,
                rows_in: 0,
                rows_out: 0,
                watermark_us: None,
                state: StateSize::default(),
                splits: 0,
            },
            rows_in: AtomicU64::new(0),
            rows_out: AtomicU64::new(0),
            instances: (0..node.parallelism).map(|_| InstanceStats::new()).collect(),
        }
    }

    /// Whether every instance is idle.
    pub(crate) fn idle(&self) -> bool {
        self.instances.iter().all(|i| i.idle.load(Relaxed))
    }

    pub(crate) fn status(&self) -> NodeStatus {
        let watermark = self.instances.iter().map(|i| i.watermark.load(Relaxed)).min();
        NodeStatus {
            rows_in: self.rows_in.load(Relaxed),
            rows_out: self.rows_out.load(Relaxed),
            watermark_us: watermark.filter(|w| *w != Watermark::MIN.0),
            state: StateSize {
                entries: self.instances.iter().map(|i| i.state_entries.load(Relaxed)).sum(),
                bytes: self.instances.iter().map(|i| i.state_bytes.load(Relaxed)).sum(),
            },
            splits: self.instances.iter().map(|i| i.splits.load(Relaxed)).sum(),
            ..self.template.clone()
        }
    }
}

/// What kind of node it is.
pub(crate) fn kind_of(node: &Node) -> OperatorKind {
    match node.kind {
        NodeKind::Source(_) => OperatorKind::Source,
        NodeKind::Operator(_) => OperatorKind::Operator,
        NodeKind::Sink { .. } => OperatorKind::Sink,
    }
}

impl Shared {
    pub(crate) fn new(job: &Job) -> Arc<Self> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let (events, first) = broadcast::channel(EVENTS_MAX);
        Arc::new(Self {
            cancel: CancellationToken::new(),
            events,
            first: Mutex::new(Some(first)),
            outcome: watch::channel(None).0,
            nodes: job.graph.nodes.iter().map(NodeStats::new).collect(),
            commands,
            receiver: Mutex::new(Some(receiver)),
            progress: Mutex::new(Progress {
                state: JobState::Starting,
                restarts: 0,
                restored_from: None,
                last_checkpoint: None,
                completed: 0,
                failed: 0,
                counted_before: vec![(0, 0); job.graph.nodes.len()],
                counted: VecDeque::new(),
            }),
            started: job.env.clock.monotonic(),
            env: job.env.clone(),
        })
    }

    /// Sends to the supervisor; a job that is over hears nothing.
    pub(crate) fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// The commands; taken once, by the supervisor.
    pub(crate) fn take_commands(&self) -> Option<mpsc::UnboundedReceiver<Command>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The listener that has heard everything; taken once.
    pub(crate) fn take_events(&self) -> Option<broadcast::Receiver<JobEvent>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Tells the listeners.
    pub(crate) fn emit(&self, event: JobEvent) {
        let _ = self.events.send(event);
    }

    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        // Only whole fields are assigned under this lock.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what the nodes have counted in this attempt at the barrier of `epoch`.
    pub(crate) fn count(&self, epoch: Epoch, rows: &[Rows]) {
        let mut p = self.progress();
        let sums =
            p.counted_before.iter().zip(rows).map(|(before, now)| (before.0 + now.0, before.1 + now.1)).collect();
        if p.counted.len() == COUNTED_MAX {
            p.counted.pop_front();
        }
        p.counted.push_back((epoch, sums));
    }

    /// An attempt begins at this checkpoint: what was counted after it will be counted again.
    pub(crate) fn rewind(&self, restored: Option<Epoch>) {
        let mut p = self.progress();
        p.restored_from = restored;
        let counted = p.counted.iter().rev().find(|(epoch, _)| Some(*epoch) == restored);
        p.counted_before = counted.map_or_else(|| vec![(0, 0); self.nodes.len()], |(_, rows)| rows.clone());
        for (node, (rows_in, rows_out)) in self.nodes.iter().zip(&p.counted_before) {
            node.rows_in.store(*rows_in, Relaxed);
            node.rows_out.store(*rows_out, Relaxed);
        }
    }

    pub(crate) fn set_state(&self, state: JobState) {
        self.progress().state = state;
    }

    pub(crate) fn status(&self) -> JobStatus {
        let nodes = self.nodes.iter().map(NodeStats::status).collect();
        let uptime = self.env.clock.monotonic().saturating_sub(self.started);
        let p = self.progress();
        JobStatus {
            state: p.state,
            uptime,
            restarts: p.restarts,
            restored_from: p.restored_from,
            last_checkpoint: p.last_checkpoint,
            checkpoints_completed: p.completed,
            checkpoints_failed: p.failed,
            nodes,
        }
    }
}
