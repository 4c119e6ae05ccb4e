//! One task: inputs, a chain of operators, outputs, in one loop.
//!
//! ```text
//!   commands, readers ─┐                                        ┌─> sink writers
//!                      ├─> next event ─> chain (synchronous) ───┤
//!   channels (Inbox) ──┘                                        └─> exchanges ─> channels of other tasks
//! ```
//! # The loop
//! Takes one event, runs it through the chain, sends on what came out. When no event is ready, or the emission bounds
//! are reached, operators and sinks are flushed. Between two events nothing is in flight inside the task.
//! A task that keeps up with its input finds it empty after every batch; so that it does not flush as often, two flushes
//! of that kind are [`FLUSH_PAUSE`] apart. Under light load the pause has long passed when a row comes, and the row is
//! flushed at once.
//!
//! # At a barrier
//! An input that has delivered barrier *n* is not polled until all have. Then: flush, freeze the operators' state and
//! the readers' positions, **forward the barrier**, let sinks prepare, go on; upload and acknowledgement happen in the
//! background. Of a checkpoint that was given up meanwhile only the barrier is passed on.
//!
//! # Committables
//! What sinks prepared for a checkpoint that never completed belongs to the next one: the task keeps committables until
//! it has seen their epoch, or a later one, complete, and hands all of them over each time.
//!
//! # Ended tasks
//! A task whose input has ended stays for the barriers, which still follow `End` on every channel: so checkpoints go on
//! and hold the final state, without a special case. It is over when the job is.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use dflow_common::metrics::CounterHandle;
use dflow_common::{Env, Epoch, Span};
use dflow_connector_api::{self as api, Committable, ReaderEvent, SplitAssignment, Writer};
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::channel::{Inbox, Message};
use crate::checkpoint::{CheckpointStore, EnumeratorInput, InstanceId, UploadRef};
use crate::config::EmissionConfig;
use crate::error::{Error, Result};
use crate::exchange::Outgoing;
use crate::graph::NodeIndex;
use crate::job::shared::Rows;
use crate::operator::{Element, SplitEvent};

mod barrier;
pub(crate) mod chain;
pub(crate) mod source;

use chain::{Chain, Item, Route};
use source::{ReaderCommand, SourceInput};

/// Events after which a task lets others run even if it never has to wait.
const EVENTS_PER_YIELD: u32 = 32;
/// Quiet time after a flush before an empty inbox causes the next one.
const FLUSH_PAUSE: Duration = Duration::from_millis(2);
/// Events after which counters are published.
const EVENTS_PER_PUBLISH: u32 = 16;
/// How long a writer may take to close when the job is over.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What tasks, enumerators and the driver of one attempt share.
#[derive(Clone)]
pub(crate) struct AttemptContext {
    pub(crate) env: Env,
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) events: mpsc::UnboundedSender<TaskEvent>,
    pub(crate) epochs: Arc<Epochs>,
    /// Ends every task.
    pub(crate) over: CancellationToken,
    pub(crate) tracker: TaskTracker,
}

/// Which checkpoint is running and which is complete.
#[derive(Default)]
pub(crate) struct Epochs {
    /// The one that is being taken; 0: none.
    pub(crate) live: AtomicU64,
    /// The newest complete one.
    pub(crate) complete: AtomicU64,
}

/// From tasks to the driver.
pub(crate) enum TaskEvent {
    /// A task's part of a checkpoint is stored.
    Ack { task: usize, epoch: Epoch, ack: TaskAck },
    /// An enumerator's part is known.
    EnumeratorAck { enumerator: usize, epoch: Epoch, snapshot: crate::checkpoint::SourceSnapshot },
    /// A part could not be stored.
    PartFailed { epoch: Epoch, error: Error },
    /// A task's input has ended.
    Ended { task: usize },
    /// A reader or an enumerator has acknowledged a complete checkpoint upstream.
    Acknowledged { epoch: Epoch },
    /// The job cannot go on.
    Failed(Error),
}

/// A task's part of a checkpoint.
#[derive(Default)]
pub(crate) struct TaskAck {
    pub(crate) uploads: Vec<(InstanceId, UploadRef)>,
    pub(crate) splits: Vec<(NodeIndex, Vec<SplitAssignment>)>,
    pub(crate) committables: Vec<(NodeIndex, Vec<Committable>)>,
    /// What each node of the chain has counted up to the barrier.
    pub(crate) rows: Vec<(NodeIndex, Rows)>,
}

/// The state tables of one operator of the chain.
pub(crate) struct Stateful {
    pub(crate) chain_node: usize,
    pub(crate) instance: InstanceId,
    pub(crate) key_groups: std::ops::Range<dflow_common::ids::KeyGroup>,
    pub(crate) schemas: Vec<SchemaRef>,
}

/// A way out of the chain.
pub(crate) enum Target {
    Sink(SinkOut),
    Exchange(Outgoing),
}

/// A sink's writer.
pub(crate) struct SinkOut {
    pub(crate) node: NodeIndex,
    pub(crate) span: Option<Span>,
    pub(crate) writer: Box<dyn Writer>,
    pub(crate) flush_at_barriers_only: bool,
    pub(crate) unflushed: bool,
    /// Prepared, and not known to be part of a complete checkpoint.
    pub(crate) prepared: Vec<(Epoch, Vec<Committable>)>,
}

/// See the module.
pub(crate) struct Task {
    pub(crate) number: usize,
    pub(crate) context: AttemptContext,
    pub(crate) emission: EmissionConfig,
    pub(crate) watermark_interval: Duration,
    pub(crate) chain: Chain,
    pub(crate) inbox: Inbox,
    /// Where each input of the inbox leads.
    pub(crate) inputs: Vec<Route>,
    pub(crate) sources: Vec<SourceInput>,
    pub(crate) targets: Vec<Target>,
    pub(crate) stateful: Vec<Stateful>,
    pub(crate) activity: Arc<AtomicU64>,
    pub(crate) busy: CounterHandle,
    pub(crate) backpressured: CounterHandle,
    pub(crate) state: LoopState,
}

/// Where the loop stands.
#[derive(Default)]
pub(crate) struct LoopState {
    /// The barrier that some inputs have delivered, and how many.
    aligning: Option<(Epoch, usize)>,
    /// Something was processed since the last flush…
    dirty: bool,
    /// …first at this time…
    dirty_since: Duration,
    /// …and so many rows.
    rows: usize,
    ended: bool,
    next_split: u32,
    next_tick: Duration,
    sleep: Option<BoxFuture<'static, ()>>,
    /// An empty inbox causes no flush before this time…
    hold_until: Duration,
    /// …and this future waits for it.
    hold: Option<BoxFuture<'static, ()>>,
    channels_first: bool,
    waited: Duration,
    events: u32,
}

/// Why the loop ended.
enum Exit {
    Failed(Error),
    /// A task behind us is gone; the job ends for its reason, not for ours.
    Closed,
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        Exit::Failed(error)
    }
}

/// The next thing to do.
enum Wake {
    Message(usize, Message),
    Command(usize, ReaderCommand),
    Reader(usize, api::Result<ReaderEvent>),
    Tick,
    /// Nothing is ready.
    Empty,
}

impl Task {
    /// Runs until the job is over; then closes the writers.
    ///
    /// # Errors
    /// What an operator, a reader or a writer returned.
    pub(crate) async fn run(mut self) -> Result<()> {
        let over = self.context.over.clone();
        let result = {
            let mut work = pin!(self.work());
            let mut over = pin!(over.cancelled());
            std::future::poll_fn(|cx| match over.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(())),
                Poll::Pending => work.as_mut().poll(cx),
            })
            .await
        };
        self.chain.publish();
        let result = match result {
            Ok(()) => Ok(()),
            Err(Exit::Failed(error)) => Err(error),
            Err(Exit::Closed) => {
                over.cancelled().await;
                Ok(())
            }
        };
        self.close().await;
        result
    }

    async fn close(&mut self) {
        for target in &mut self.targets {
            if let Target::Sink(sink) = target {
                let mut close = sink.writer.close();
                let mut timeout = self.context.env.clock.sleep(CLOSE_TIMEOUT);
                // The job is over: an error here changes nothing that was committed.
                std::future::poll_fn(|cx| match close.as_mut().poll(cx) {
                    Poll::Ready(_) => Poll::Ready(()),
                    Poll::Pending => timeout.as_mut().poll(cx),
                })
                .await;
            }
        }
    }

    async fn work(&mut self) -> Result<(), Exit> {
        let clock = Arc::clone(&self.context.env.clock);
        let mut now = clock.monotonic();
        self.state.next_tick = now + self.watermark_interval;
        loop {
            let wake = self.next(now).await;
            let started = clock.monotonic();
            let empty = matches!(wake, Wake::Empty);
            self.handle(wake, started).await?;
            self.send_outbox().await?;
            now = clock.monotonic();
            if empty || self.must_flush(now) {
                self.flush().await?;
                now = clock.monotonic();
            }
            if self.chain.ended() && !std::mem::replace(&mut self.state.ended, true) {
                self.chain.publish();
                self.report(TaskEvent::Ended { task: self.number });
            }
            self.count(now.saturating_sub(started));
            if self.state.events.is_multiple_of(EVENTS_PER_YIELD) {
                tokio::task::yield_now().await;
            }
        }
    }

    fn report(&self, event: TaskEvent) {
        // The driver ends after its tasks.
        let _ = self.context.events.send(event);
    }

    /// Adds one event to the counters.
    fn count(&mut self, took: Duration) {
        let s = &mut self.state;
        s.events = s.events.wrapping_add(1);
        let waited = std::mem::take(&mut s.waited);
        self.busy.inc_by(took.saturating_sub(waited).as_secs_f64());
        if !waited.is_zero() {
            self.backpressured.inc_by(waited.as_secs_f64());
        }
        if s.events.is_multiple_of(EVENTS_PER_PUBLISH) || !s.dirty {
            self.chain.publish();
        }
    }

    /// Waits for the next event. Control first, then channels and readers in turns. Cancel safe.
    async fn next(&mut self, now: Duration) -> Wake {
        let s = &mut self.state;
        let ticking = self.sources.iter().any(|s| !s.ended);
        if ticking && now >= s.next_tick {
            return Wake::Tick;
        }
        s.channels_first = !s.channels_first;
        let mut sources: Vec<_> = self.sources.iter_mut().map(SourceInput::polled).collect();
        let inbox = &mut self.inbox;
        let clock = &self.context.env.clock;
        std::future::poll_fn(|cx| {
            for (i, source) in sources.iter_mut().enumerate() {
                if let Poll::Ready(command) = source.poll_command(cx) {
                    return Poll::Ready(Wake::Command(i, command));
                }
            }
            for channels in [s.channels_first, !s.channels_first] {
                if channels {
                    if let Poll::Ready((i, message)) = inbox.poll_recv(cx) {
                        return Poll::Ready(Wake::Message(i, message));
                    }
                } else {
                    for (i, source) in sources.iter_mut().enumerate() {
                        if let Poll::Ready(event) = source.poll_reader(cx) {
                            return Poll::Ready(Wake::Reader(i, event));
                        }
                    }
                }
            }
            if s.dirty {
                let left = s.hold_until.saturating_sub(now);
                if left.is_zero() || s.hold.get_or_insert_with(|| clock.sleep(left)).as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Wake::Empty);
                }
            }
            if ticking {
                let sleep = s.sleep.get_or_insert_with(|| clock.sleep(s.next_tick.saturating_sub(now)));
                if sleep.as_mut().poll(cx).is_ready() {
                    s.sleep = None;
                    return Poll::Ready(Wake::Tick);
                }
            }
            Poll::Pending
        })
        .await
    }

    async fn handle(&mut self, wake: Wake, now: Duration) -> Result<(), Exit> {
        match wake {
            Wake::Empty => return Ok(()),
            Wake::Tick => {
                self.state.next_tick = now + self.watermark_interval;
                self.state.sleep = None;
                for i in 0..self.sources.len() {
                    if !self.sources[i].ended {
                        let event = SplitEvent::Tick(now.as_micros() as u64);
                        self.chain.source_split(self.sources[i].chain_node, None, event)?;
                    }
                }
                if self.chain.outbox.is_empty() {
                    return Ok(());
                }
            }
            Wake::Message(input, Message::Barrier(epoch)) => {
                self.inbox.set_blocked(input, true);
                return self.arrived(epoch).await;
            }
            Wake::Message(input, Message::Element(element)) => {
                self.state.rows += rows(&element);
                self.chain.receive(self.inputs[input], Item::Element(element))?;
            }
            Wake::Message(input, Message::End) => self.chain.receive(self.inputs[input], Item::End)?,
            Wake::Command(source, ReaderCommand::Barrier { epoch, last }) => {
                let source = &mut self.sources[source];
                source.blocked = true;
                source.stopped |= last;
                return self.arrived(epoch).await;
            }
            Wake::Command(source, ReaderCommand::Complete(epoch)) => {
                let source = &mut self.sources[source];
                let done = source.reader.checkpoint_complete(epoch).await;
                done.map_err(|e| source.error(e))?;
                self.report(TaskEvent::Acknowledged { epoch });
                return Ok(());
            }
            Wake::Command(source, command) => self.steer(source, command)?,
            Wake::Reader(source, Ok(event)) => self.read(source, event)?,
            Wake::Reader(source, Err(error)) => return Err(self.sources[source].error(error).into()),
        }
        self.activity.fetch_add(1, Ordering::Relaxed);
        if !std::mem::replace(&mut self.state.dirty, true) {
            self.state.dirty_since = now;
        }
        Ok(())
    }

    /// Splits come and go.
    fn steer(&mut self, source: usize, command: ReaderCommand) -> Result<()> {
        let s = &mut self.sources[source];
        match command {
            ReaderCommand::Add(splits) => {
                for split in &splits {
                    let number = self.state.next_split;
                    self.state.next_split += 1;
                    s.splits.insert(split.id.clone(), number);
                    self.chain.source_split(s.chain_node, None, SplitEvent::Added(number))?;
                }
                s.reader.add_splits(splits).map_err(|e| s.error(e))?;
                self.count_splits(source);
            }
            ReaderCommand::Revoke(splits) => s.reader.revoke_splits(&splits),
            ReaderCommand::NoMoreSplits => s.reader.no_more_splits(),
            ReaderCommand::Barrier { .. } | ReaderCommand::Complete(_) => {}
        }
        Ok(())
    }

    /// A reader has something.
    fn read(&mut self, source: usize, event: ReaderEvent) -> Result<()> {
        let s = &mut self.sources[source];
        match event {
            ReaderEvent::Batch { output, split, batch } => {
                let number = s.number(&split)?;
                if s.current[output] != Some(number) {
                    s.current[output] = Some(number);
                    self.chain.source_split(s.chain_node, Some(output), SplitEvent::Current(number))?;
                }
                self.state.rows += batch.num_rows();
                if !batch.is_empty() {
                    self.chain.source_batch(s.chain_node, output, batch)?;
                }
            }
            ReaderEvent::SplitFinished(split) => {
                if let Some(number) = s.splits.remove(&split) {
                    s.latest = None;
                    s.current.iter_mut().filter(|c| **c == Some(number)).for_each(|c| *c = None);
                    self.chain.source_split(s.chain_node, None, SplitEvent::Finished(number))?;
                }
                s.tell(EnumeratorInput::SplitFinished(split));
                self.count_splits(source);
            }
            ReaderEvent::Message(message) => {
                s.tell(EnumeratorInput::Message { subtask: s.subtask, message });
            }
            ReaderEvent::End => {
                s.ended = true;
                self.chain.source_end(s.chain_node)?;
            }
        }
        Ok(())
    }

    fn count_splits(&self, source: usize) {
        let s = &self.sources[source];
        self.chain.count_splits(s.node, s.splits.len() as u64);
    }

    /// Sends what has left the chain, in order.
    async fn send_outbox(&mut self) -> Result<(), Exit> {
        if self.chain.outbox.is_empty() {
            return Ok(());
        }
        let mut items = std::mem::take(&mut self.chain.outbox);
        let (clock, waited) = (&self.context.env.clock, &mut self.state.waited);
        for (target, item) in items.drain(..) {
            match (&mut self.targets[target], item) {
                (Target::Sink(sink), Item::Element(Element::Batch(batch))) => {
                    sink.unflushed = true;
                    let written = measured(clock.as_ref(), waited, sink.writer.write(batch)).await;
                    written.map_err(|e| Error::from(e).at_default(sink.span))?;
                }
                // Writers know rows and barriers; time and ends are of no use to them.
                (Target::Sink(_), _) => {}
                (Target::Exchange(out), Item::Element(element)) => {
                    let sent = measured(clock.as_ref(), waited, out.send(element)).await?;
                    sent.map_err(|_| Exit::Closed)?;
                }
                (Target::Exchange(out), Item::End) => {
                    out.broadcast(&Message::End).await.map_err(|_| Exit::Closed)?;
                }
            }
        }
        self.chain.outbox = items;
        Ok(())
    }

    /// Whether an emission bound is reached.
    fn must_flush(&self, now: Duration) -> bool {
        let s = &self.state;
        s.dirty && (s.rows >= self.emission.rows_max || now.saturating_sub(s.dirty_since) >= self.emission.latency_max)
    }

    /// Nothing waits for a flush any more.
    fn flushed(&mut self) {
        let s = &mut self.state;
        s.dirty = false;
        s.rows = 0;
        s.hold = None;
        s.hold_until = self.context.env.clock.monotonic() + FLUSH_PAUSE;
    }

    /// Flushes operators, then sinks.
    async fn flush(&mut self) -> Result<(), Exit> {
        self.flushed();
        if self.chain.pending() {
            self.chain.flush()?;
            self.send_outbox().await?;
        }
        let (clock, waited) = (&self.context.env.clock, &mut self.state.waited);
        for target in &mut self.targets {
            if let Target::Sink(sink) = target
                && sink.unflushed
                && !sink.flush_at_barriers_only
            {
                sink.unflushed = false;
                let flushed = measured(clock.as_ref(), waited, sink.writer.flush()).await;
                flushed.map_err(|e| Error::from(e).at_default(sink.span))?;
            }
        }
        Ok(())
    }
}

fn rows(element: &Element) -> usize {
    match element {
        Element::Batch(batch) => batch.num_rows(),
        _ => 0,
    }
}

/// Awaits `future`; the time is added to `waited` only if it has to wait at all.
async fn measured<T>(
    clock: &dyn dflow_common::env::Clock,
    waited: &mut Duration,
    future: impl Future<Output = T>,
) -> T {
    let mut future = pin!(future);
    let first = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    if let Poll::Ready(value) = first {
        return value;
    }
    let since = clock.monotonic();
    let value = future.await;
    *waited += clock.monotonic().saturating_sub(since);
    value
}
