//! One attempt to run the job: claim, recover, restore, run, and end every task.
//!
//! ```text
//!  claim ─> sinks recover ─> tasks open and restore ─> all start
//!  driver:  events of tasks, commands, time ─> Coordinator::step ─> actions ─> manifests, sink commits, barriers
//! ```
//! The driver is the edge around the pure [`Coordinator`]: it carries out actions one after the other and feeds their
//! results back. Writing a manifest, committing sinks and marking the state run beside it, so that it always listens.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use dflow_common::metrics;
use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::checkpoint::{ClaimRequest, OperatorInfo};
use crate::config::RestoreMode;
use crate::coordinator::Coordinator;
use crate::enumerate::EnumeratorTask;
use crate::error::{Error, Result, panic_error};
use crate::failpoint::{self, pass};
use crate::graph::NodeKind;
use crate::job::shared::{Command, Shared, kind_of};
use crate::job::{Job, JobEnd, JobEvent, JobState};
use crate::plan::Plan;
use crate::task::{AttemptContext, Epochs, TaskEvent};

mod driver;
mod gauges;
mod open;

use driver::Driver;
use open::{Opener, contain, lay_out, recover_sinks};

/// How often gauges are refreshed.
const GAUGE_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the job once. `commands` are kept for the next attempt.
pub(crate) async fn attempt(job: &Arc<Job>, plan: &Arc<Plan>, shared: &Arc<Shared>, commands: &mut Commands) -> JobEnd {
    let (events, inbox) = mpsc::unbounded_channel();
    let context = AttemptContext {
        env: job.env.clone(),
        store: Arc::clone(&job.store),
        events,
        epochs: Arc::new(Epochs::default()),
        over: CancellationToken::new(),
        tracker: TaskTracker::new(),
    };
    let run = AssertUnwindSafe(run(job, plan, shared, commands, &context, inbox)).catch_unwind();
    let end = shared.cancel.run_until_cancelled(run).await.unwrap_or(Ok(Ok(JobEnd::Cancelled)));
    // Whatever happened: nothing of this attempt may run on.
    context.over.cancel();
    context.tracker.close();
    context.tracker.wait().await;
    match end {
        Ok(Ok(end)) => end,
        Ok(Err(error)) => JobEnd::Failed(error),
        Err(panic) => JobEnd::Failed(panic_error("the coordinator", panic.as_ref())),
    }
}

/// Commands of handles, and what is left of them when an attempt ends.
pub(crate) struct Commands {
    pub(crate) receiver: mpsc::UnboundedReceiver<Command>,
    /// A stop was asked for.
    pub(crate) stop: bool,
    /// The state directory was claimed by this run.
    pub(crate) claimed: bool,
}

async fn run(
    job: &Arc<Job>,
    plan: &Arc<Plan>,
    shared: &Arc<Shared>,
    commands: &mut Commands,
    context: &AttemptContext,
    inbox: mpsc::UnboundedReceiver<TaskEvent>,
) -> Result<JobEnd> {
    shared.set_state(JobState::Starting);
    shared.nodes.iter().flat_map(|n| &n.instances).for_each(|i| i.reset());
    let env = &job.env;
    let started = env.clock.monotonic();
    pass(env, failpoint::BEFORE_CLAIM).await?;
    let claimed = job.store.claim(&claim_request(job, commands.claimed)).await?;
    commands.claimed = true;
    pass(env, failpoint::BEFORE_RECOVER).await?;
    let committers = recover_sinks(job, &claimed).await?;
    let restored = claimed.restored.as_ref().map(|c| c.epoch);
    shared.rewind(restored);
    let owner = claimed.owner.clone();
    let opener = Arc::new(Opener {
        job: Arc::clone(job),
        owner,
        shared: Arc::clone(shared),
        context: context.clone(),
        restored,
    });

    let (seeds, queues) = lay_out(job, plan);
    let tasks = seeds.len();
    let activity: Vec<_> = (0..tasks + queues.len()).map(|_| Arc::new(AtomicU64::new(0))).collect();
    let mut enumerators = Vec::new();
    let mut enumerator_commands = BTreeMap::new();
    for (i, (index, queues)) in queues.into_iter().enumerate() {
        let node = &job.graph.nodes[index];
        let NodeKind::Source(source) = &node.kind else { continue };
        let snapshot = claimed.restored.as_ref().and_then(|c| c.sources.get(&node.id)).cloned();
        let state = snapshot.as_ref().map(|s| s.enumerator.clone());
        let source_context = opener.source_context(node);
        let enumerator = contain(&node.name, || Ok(source.enumerator(&source_context, state)?));
        let (commands, receiver) = mpsc::unbounded_channel();
        enumerator_commands.insert(index, commands);
        let task = EnumeratorTask {
            number: tasks + i,
            span: node.span,
            context: context.clone(),
            enumerator: enumerator.map_err(|e| e.at_default(node.span))?,
            commands: receiver,
            from_readers: queues.from_readers,
            readers: queues.readers,
            activity: Arc::clone(&activity[tasks + i]),
            restored: snapshot,
        };
        enumerators.push((node.name.clone(), task));
    }

    let mut opening = FuturesUnordered::new();
    for (seed, activity) in seeds.into_iter().zip(&activity) {
        let (opener, activity) = (Arc::clone(&opener), Arc::clone(activity));
        let place = Place { names: seed.names(&job.graph), at: Arc::new(AtomicUsize::new(0)) };
        let work = async move {
            let open = AssertUnwindSafe(opener.open(seed, activity, Arc::clone(&place.at))).catch_unwind();
            let opened = open.await.unwrap_or_else(|panic| Err(panic_error(place.name(), panic.as_ref())));
            opened.map(|task| (task, place))
        };
        opening.push(env.spawner.spawn_cpu("open", context.tracker.track_future(work)));
    }
    let mut opened = Vec::new();
    while let Some(task) = opening.next().await {
        opened.push(task.map_err(|e| Error::internal(format!("a task could not be opened: {e}")))??);
    }
    opened.sort_by_key(|(task, _)| task.number);
    pass(env, failpoint::BEFORE_START).await?;

    let took = env.clock.monotonic().saturating_sub(started);
    job.metrics.gauge(&metrics::RESTORE_DURATION, &[&job.config.name]).set(took.as_secs_f64());
    shared.set_state(JobState::Running);
    shared.emit(JobEvent::Started { restored, generation: claimed.generation, notices: claimed.notices });
    tracing::info!(job = %job.config.name, generation = claimed.generation, restored = ?restored, "job started");
    for (name, task) in enumerators {
        let events = context.events.clone();
        let work = async move {
            let ran = AssertUnwindSafe(task.run()).catch_unwind().await;
            if let Err(error) = ran.unwrap_or_else(|panic| Err(panic_error(&name, panic.as_ref()))) {
                let _ = events.send(TaskEvent::Failed(error));
            }
        };
        env.spawner.spawn_io("enumerator", context.tracker.track_future(work));
    }
    for (task, place) in opened {
        let events = context.events.clone();
        let work = async move {
            let ran = AssertUnwindSafe(task.run()).catch_unwind().await;
            if let Err(error) = ran.unwrap_or_else(|panic| Err(panic_error(place.name(), panic.as_ref()))) {
                let _ = events.send(TaskEvent::Failed(error));
            }
        };
        env.spawner.spawn_cpu("task", context.tracker.track_future(work));
    }

    let participants = tasks + enumerator_commands.len();
    let coordinator = Coordinator::new(
        job.config.checkpoint.clone(),
        job.config.stop_timeout,
        tasks,
        participants,
        claimed.next_epoch,
        env.clock.monotonic(),
    );
    let driver = Driver::new(job, shared, context, coordinator, committers, enumerator_commands, activity);
    driver.run(inbox, commands).await
}

/// Where a task is at work, to name it after a panic.
struct Place {
    names: Vec<String>,
    at: Arc<AtomicUsize>,
}

impl Place {
    fn name(&self) -> &str {
        self.names.get(self.at.load(Ordering::Relaxed)).map_or("a task", String::as_str)
    }
}

/// `again`: this run has claimed before, so that it goes on from what it has itself, however it was told to start.
pub(crate) fn claim_request(job: &Job, again: bool) -> ClaimRequest {
    let operators = job.graph.nodes.iter().enumerate().map(|(index, node)| OperatorInfo {
        id: node.id.clone(),
        name: node.name.clone(),
        kind: kind_of(node),
        description: node.description.clone(),
        span: node.span,
        origin: node.origin.clone(),
        feeds: job.graph.feeds(index),
        parallelism: node.parallelism,
        tables: match &node.kind {
            NodeKind::Operator(factory) => factory.tables(),
            NodeKind::Source(_) | NodeKind::Sink { .. } => Vec::new(),
        },
    });
    ClaimRequest {
        job: job.config.name.clone(),
        owner: format!("{:016x}", job.env.rng.next_u64()),
        max_parallelism: job.config.max_parallelism,
        restore: if again { RestoreMode::Auto } else { job.config.restore.clone() },
        ignore_unclaimed_state: job.config.ignore_unclaimed_state,
        operators: operators.collect(),
    }
}
