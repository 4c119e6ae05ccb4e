//! The edge around the coordinator: turns what happens into events, and actions into what happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dflow_common::metrics::{
    CHECKPOINT_DURATION, CHECKPOINT_LAST_ID, CHECKPOINT_LAST_TIME, CHECKPOINT_SIZE, CHECKPOINTS, CounterHandle, Gauge,
    SINK_COMMITS,
};
use dflow_common::{Classified, Env, Epoch};
use dflow_connector_api::Committable;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};

use super::gauges::Gauges;
use super::open::Committers;
use super::{Commands, GAUGE_INTERVAL};
use crate::checkpoint::{Checkpoint, CheckpointStore, CommitInfo};
use crate::coordinator::{Action, Coordinator, End, Event};
use crate::enumerate::EnumeratorCommand;
use crate::error::{CHECKPOINT_EXPIRED, Error, Result};
use crate::failpoint::{self, pass};
use crate::graph::NodeIndex;
use crate::job::shared::{Command, Rows, Shared};
use crate::job::{CheckpointStatus, Job, JobEnd, JobEvent, JobState, TOLD};
use crate::task::{AttemptContext, TaskAck, TaskEvent};

/// How often a sink's commit, or the last mark, is tried before the job fails.
const ATTEMPTS: u32 = 5;
/// Before the second attempt; doubled after each.
const PAUSE: Duration = Duration::from_millis(200);

/// How long the sources may take to acknowledge the last checkpoint upstream before the job ends without it.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the note that the sinks have committed may take.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a background step of the driver answers.
enum Done {
    Committed(Epoch, Result<CommitInfo>),
    Published(Epoch, Committers, Result<()>),
    Marked(Result<()>),
    Nothing,
}

/// See the module.
pub(crate) struct Driver<'a> {
    job: &'a Arc<Job>,
    shared: &'a Shared,
    context: &'a AttemptContext,
    coordinator: Coordinator,
    committers: Option<Committers>,
    enumerators: BTreeMap<NodeIndex, mpsc::UnboundedSender<EnumeratorCommand>>,
    /// Of all tasks and enumerators.
    activity: Vec<Arc<AtomicU64>>,
    background: FuturesUnordered<BoxFuture<'static, Done>>,
    /// What has been acknowledged of the running checkpoint.
    collecting: Checkpoint,
    committables: BTreeMap<NodeIndex, Vec<Committable>>,
    /// Rows by node.
    counted: Vec<Rows>,
    written: CommitInfo,
    /// Wait for the next checkpoint to begin, and for the running one to complete.
    waiting: Vec<oneshot::Sender<Result<Epoch>>>,
    promised: Vec<oneshot::Sender<Result<Epoch>>>,
    /// The newest complete checkpoint, and how many readers and enumerators have not acknowledged it upstream.
    unacknowledged: (Epoch, usize),
    counters: Counters,
    gauges: Gauges,
    /// The job is over, well; at the latest at this time it ends.
    ending: Option<(JobEnd, Duration)>,
    end: Option<Result<JobEnd>>,
}

struct Counters {
    completed: CounterHandle,
    failed: CounterHandle,
    expired: CounterHandle,
    duration: Gauge,
    size: Gauge,
    last_id: Gauge,
    last_time: Gauge,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(
        job: &'a Arc<Job>,
        shared: &'a Shared,
        context: &'a AttemptContext,
        coordinator: Coordinator,
        committers: Committers,
        enumerators: BTreeMap<NodeIndex, mpsc::UnboundedSender<EnumeratorCommand>>,
        activity: Vec<Arc<AtomicU64>>,
    ) -> Self {
        let (m, name) = (&job.metrics, job.config.name.as_str());
        let counters = Counters {
            completed: m.counter(&CHECKPOINTS, &[name, "completed"]),
            failed: m.counter(&CHECKPOINTS, &[name, "failed"]),
            expired: m.counter(&CHECKPOINTS, &[name, "expired"]),
            duration: m.gauge(&CHECKPOINT_DURATION, &[name]),
            size: m.gauge(&CHECKPOINT_SIZE, &[name]),
            last_id: m.gauge(&CHECKPOINT_LAST_ID, &[name]),
            last_time: m.gauge(&CHECKPOINT_LAST_TIME, &[name]),
        };
        Self {
            gauges: Gauges::new(name, &job.graph, m),
            job,
            shared,
            context,
            coordinator,
            committers: Some(committers),
            enumerators,
            activity,
            background: FuturesUnordered::new(),
            collecting: Checkpoint::default(),
            committables: BTreeMap::new(),
            counted: Vec::new(),
            written: CommitInfo::default(),
            waiting: Vec::new(),
            promised: Vec::new(),
            unacknowledged: (Epoch(0), 0),
            counters,
            ending: None,
            end: None,
        }
    }

    /// Runs until the job ends or fails.
    pub(crate) async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<TaskEvent>,
        commands: &mut Commands,
    ) -> Result<JobEnd> {
        let clock = Arc::clone(&self.job.env.clock);
        if commands.stop {
            self.stop();
        }
        let mut next_gauges = clock.monotonic();
        loop {
            let now = clock.monotonic();
            if now >= next_gauges {
                self.gauges.refresh(self.shared, self.shared.status().uptime);
                next_gauges = now + GAUGE_INTERVAL;
            }
            if let Some((end, latest)) = &self.ending
                && (self.unacknowledged.1 == 0 || now >= *latest)
            {
                self.end = Some(Ok(end.clone()));
            }
            if let Some(end) = self.end.take() {
                self.gauges.refresh(self.shared, self.shared.status().uptime);
                return end;
            }
            let latest = self.ending.as_ref().map(|e| e.1);
            let wake = self.coordinator.deadline().into_iter().chain(latest).fold(next_gauges, Duration::min);
            tokio::select! {
                biased;
                Some(done) = self.background.next(), if !self.background.is_empty() => self.done(done),
                Some(event) = inbox.recv() => self.hear(event),
                Some(command) = commands.receiver.recv() => match command {
                    Command::Stop => {
                        commands.stop = true;
                        self.stop();
                    }
                    Command::Checkpoint(reply) => {
                        self.waiting.push(reply);
                        self.step(Event::Requested);
                    }
                },
                () = clock.sleep(wake.saturating_sub(now)) => self.step(Event::Timer),
            }
        }
    }

    fn stop(&mut self) {
        self.shared.set_state(JobState::Stopping);
        self.step(Event::Stop);
    }

    fn step(&mut self, event: Event) {
        let now = self.job.env.clock.monotonic();
        let activity = self.activity.iter().map(|a| a.load(Ordering::Relaxed)).sum();
        for action in self.coordinator.step(now, activity, event) {
            self.act(action);
        }
    }

    /// A task or an enumerator says something.
    fn hear(&mut self, event: TaskEvent) {
        match event {
            TaskEvent::Ack { task, epoch, ack } => {
                if epoch == self.collecting.epoch {
                    self.collect(ack);
                }
                self.step(Event::Ack { participant: task, epoch });
            }
            TaskEvent::EnumeratorAck { enumerator, epoch, snapshot } => {
                let node = self.enumerators.keys().nth(enumerator - self.tasks()).copied();
                if let Some(node) = node
                    && epoch == self.collecting.epoch
                {
                    let source = self.collecting.sources.entry(self.job.graph.nodes[node].id.clone()).or_default();
                    source.enumerator = snapshot.enumerator;
                    source.no_more_splits = snapshot.no_more_splits;
                    source.messages = snapshot.messages;
                }
                self.step(Event::Ack { participant: enumerator, epoch });
            }
            TaskEvent::PartFailed { epoch, error } => self.step(Event::PartFailed { epoch, error }),
            TaskEvent::Ended { task } => self.step(Event::TaskEnded { task }),
            TaskEvent::Acknowledged { epoch } => {
                if epoch == self.unacknowledged.0 {
                    self.unacknowledged.1 -= 1;
                }
            }
            // Everything is committed: only the acknowledgement upstream is missing, and a restore seeks anyway.
            TaskEvent::Failed(error) if self.ending.is_some() => {
                tracing::warn!(%error, "failed after the last checkpoint");
                self.unacknowledged.1 = 0;
            }
            TaskEvent::Failed(error) => self.end = Some(Err(error)),
        }
    }

    fn tasks(&self) -> usize {
        self.activity.len() - self.enumerators.len()
    }

    /// Adds a task's part to the running checkpoint.
    fn collect(&mut self, ack: TaskAck) {
        let nodes = &self.job.graph.nodes;
        self.collecting.uploads.extend(ack.uploads);
        for (node, splits) in ack.splits {
            self.collecting.sources.entry(nodes[node].id.clone()).or_default().splits.extend(splits);
        }
        for (node, (rows_in, rows_out)) in ack.rows {
            let counted = &mut self.counted[node];
            *counted = (counted.0 + rows_in, counted.1 + rows_out);
        }
        for (node, committables) in ack.committables {
            self.committables.entry(node).or_default().extend(committables);
        }
    }

    /// A background step is done.
    fn done(&mut self, done: Done) {
        match done {
            Done::Nothing => {}
            Done::Committed(epoch, Ok(info)) => {
                self.written = info;
                self.step(Event::Committed { epoch });
            }
            Done::Committed(epoch, Err(error)) => self.step(Event::CommitFailed { epoch, error }),
            Done::Published(epoch, committers, result) => {
                self.committers = Some(committers);
                self.step(match result {
                    Ok(()) => Event::Published { epoch },
                    Err(error) => Event::PublishFailed { error },
                });
            }
            Done::Marked(result) => self.step(Event::Marked(result)),
        }
    }

    fn act(&mut self, action: Action) {
        let epochs = Arc::clone(&self.context.epochs);
        match action {
            Action::Inject { epoch, last } => {
                self.collecting = Checkpoint { epoch, ..Checkpoint::default() };
                self.committables.clear();
                self.counted = vec![(0, 0); self.job.graph.nodes.len()];
                self.promised.append(&mut self.waiting);
                epochs.live.store(epoch.0, Ordering::Release);
                self.tell_enumerators(EnumeratorCommand::Barrier { epoch, last });
            }
            Action::Commit { epoch } => self.commit(epoch),
            Action::Abort { epoch, error } => {
                epochs.live.store(0, Ordering::Release);
                self.aborted(epoch, error);
            }
            Action::Publish { epoch } => self.publish(epoch),
            Action::Complete { epoch, took } => {
                epochs.live.store(0, Ordering::Release);
                epochs.complete.store(epoch.0, Ordering::Release);
                let nodes = &self.job.graph.nodes;
                let readers: usize = self.enumerators.keys().map(|n| nodes[*n].parallelism).sum();
                self.unacknowledged = (epoch, readers + self.enumerators.len());
                self.tell_enumerators(EnumeratorCommand::Complete(epoch));
                self.completed(epoch, took);
            }
            Action::MarkFinished => {
                self.background.push(Box::pin(mark_finished(self.job.env.clone(), Arc::clone(&self.job.store))));
            }
            Action::MarkSettled => {
                self.background.push(Box::pin(mark_settled(self.job.env.clone(), Arc::clone(&self.job.store))));
            }
            Action::End(end) => {
                let end = match end {
                    End::Finished => JobEnd::Finished,
                    End::Stopped => JobEnd::Stopped,
                };
                self.ending = Some((end, self.job.env.clock.monotonic() + ACKNOWLEDGE_TIMEOUT));
            }
            Action::Fail(error) => self.end = Some(Err(error)),
        }
    }

    /// An enumerator that is gone has failed, and the job with it.
    fn tell_enumerators(&self, command: EnumeratorCommand) {
        for enumerator in self.enumerators.values() {
            let _ = enumerator.send(command);
        }
    }

    /// Writes the manifest.
    fn commit(&mut self, epoch: Epoch) {
        self.shared.count(epoch, &self.counted);
        let mut checkpoint = std::mem::take(&mut self.collecting);
        checkpoint.uploads.sort_by(|a, b| a.0.cmp(&b.0));
        checkpoint.sources.values_mut().for_each(|s| s.splits.sort_by(|a, b| a.id.cmp(&b.id)));
        for (node, committables) in &self.committables {
            let sink = checkpoint.sinks.entry(self.job.graph.nodes[*node].id.clone()).or_default();
            sink.committables.clone_from(committables);
        }
        let (store, env) = (Arc::clone(&self.job.store), self.job.env.clone());
        self.background
            .push(Box::pin(async move { Done::Committed(epoch, commit(&env, store.as_ref(), checkpoint).await) }));
    }

    /// Lets the sinks commit.
    fn publish(&mut self, epoch: Epoch) {
        let committers = self.committers.take().unwrap_or_default();
        let committables = std::mem::take(&mut self.committables);
        self.background.push(Box::pin(publish(Arc::clone(self.job), epoch, committers, committables)));
    }

    fn aborted(&mut self, epoch: Epoch, error: Error) {
        let brief = error.diagnostic().brief();
        tracing::warn!(target: TOLD, job = %self.job.config.name, %epoch, error = brief, "checkpoint given up");
        let expired = error.code() == CHECKPOINT_EXPIRED.code;
        if expired { &self.counters.expired } else { &self.counters.failed }.inc();
        self.shared.progress().failed += 1;
        self.promised.drain(..).for_each(|reply| {
            let _ = reply.send(Err(error.clone()));
        });
        self.shared.emit(JobEvent::CheckpointFailed { epoch, error });
        let store = Arc::clone(&self.job.store);
        self.background.push(Box::pin(async move {
            store.abort(epoch).await;
            Done::Nothing
        }));
    }

    fn completed(&mut self, epoch: Epoch, took: Duration) {
        let completed_ms = self.job.env.clock.wall_ms();
        let status = CheckpointStatus { epoch, duration: took, bytes: self.written.bytes, completed_ms };
        tracing::info!(job = %self.job.config.name, %epoch, bytes = status.bytes, elapsed_ms = took.as_millis() as u64,
            "checkpoint complete");
        self.counters.completed.inc();
        self.counters.duration.set(took.as_secs_f64());
        self.counters.size.set(status.bytes as f64);
        self.counters.last_id.set(epoch.0 as f64);
        self.counters.last_time.set(completed_ms as f64 / 1e3);
        {
            let mut progress = self.shared.progress();
            progress.completed += 1;
            progress.last_checkpoint = Some(status);
        }
        self.promised.drain(..).for_each(|reply| {
            let _ = reply.send(Ok(epoch));
        });
        self.shared.emit(JobEvent::CheckpointCompleted(status));
    }
}

async fn commit(env: &Env, store: &dyn CheckpointStore, checkpoint: Checkpoint) -> Result<CommitInfo> {
    pass(env, failpoint::BEFORE_COMMIT).await?;
    store.commit(checkpoint).await
}

/// Marks the state as finished. A restart is no second try: should the mark have been written all the same, it would
/// start the job from scratch. So the tries are here, and their failure is the end.
async fn mark_finished(env: Env, store: Arc<dyn CheckpointStore>) -> Done {
    let mut pause = PAUSE;
    for attempt in 1.. {
        let marked = match pass(&env, failpoint::BEFORE_FINISH).await {
            Ok(()) => store.mark_finished().await,
            Err(error) => Err(error),
        };
        match marked {
            Err(error) if error.retryable() && attempt < ATTEMPTS => {
                tracing::warn!(%error, attempt, "cannot mark the state as finished, trying again");
                env.clock.sleep(pause).await;
                pause *= 2;
            }
            marked => return Done::Marked(marked.map_err(Error::fatal)),
        }
    }
    Done::Nothing
}

/// Notes that nothing is left to commit. Only a sink that leaves the script needs that: without the note its output would
/// have to be committed once more, without effect, before it may go.
async fn mark_settled(env: Env, store: Arc<dyn CheckpointStore>) -> Done {
    tokio::select! {
        marked = store.mark_settled() => if let Err(error) = marked {
            tracing::warn!(%error, "that every sink has committed was not noted");
        },
        () = env.clock.sleep(SETTLE_TIMEOUT) => tracing::warn!("that every sink has committed was not noted in time"),
    }
    Done::Marked(Ok(()))
}

/// Commits every sink, and answers with the committers.
async fn publish(
    job: Arc<Job>,
    epoch: Epoch,
    mut committers: Committers,
    mut committables: BTreeMap<NodeIndex, Vec<Committable>>,
) -> Done {
    let result = async {
        pass(&job.env, failpoint::AFTER_COMMIT).await?;
        for (node, committer) in &mut committers {
            let pending = committables.remove(node).unwrap_or_default();
            if pending.is_empty() {
                continue;
            }
            let sink = &job.graph.nodes[*node];
            let mut pause = PAUSE;
            for attempt in 1.. {
                let committed = committer.commit(epoch, pending.clone()).await;
                let label = if committed.is_ok() { "ok" } else { "failed" };
                job.metrics.counter(&SINK_COMMITS, &[&job.config.name, &sink.name, label]).inc();
                match committed {
                    Ok(()) => break,
                    Err(error) if error.retryable() && attempt < ATTEMPTS => {
                        tracing::warn!(sink = %sink.name, %epoch, %error, attempt, "commit failed, trying again");
                        job.env.clock.sleep(pause).await;
                        pause *= 2;
                    }
                    Err(error) => return Err(Error::from(error).at_default(sink.span)),
                }
            }
            pass(&job.env, failpoint::AFTER_SINK_COMMIT).await?;
        }
        pass(&job.env, failpoint::BEFORE_COMPLETE).await
    };
    let result = result.await;
    Done::Published(epoch, committers, result)
}
