//! What a task does at a barrier. The module above says in which order and why.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;

use dflow_common::Epoch;
use futures::FutureExt;

use super::source::FromReader;
use super::{AttemptContext, Exit, Target, Task, TaskAck, TaskEvent, measured};
use crate::channel::Message;
use crate::checkpoint::OperatorSnapshot;
use crate::error::{Error, Result, panic_error};
use crate::failpoint::{self, pass};
use crate::state::SnapshotWriter;

impl Task {
    /// One more input has delivered the barrier and is blocked.
    pub(super) async fn arrived(&mut self, epoch: Epoch) -> Result<(), Exit> {
        let inputs = self.inbox.len() + self.sources.len();
        let arrived = match self.state.aligning {
            None => 1,
            Some((aligning, arrived)) if aligning == epoch => arrived + 1,
            Some((aligning, _)) => {
                return Err(Error::internal(format!("barrier {epoch} while aligning {aligning}")).into());
            }
        };
        if arrived < inputs {
            self.state.aligning = Some((epoch, arrived));
            return Ok(());
        }
        self.state.aligning = None;
        self.checkpoint(epoch).await?;
        self.inbox.unblock_all();
        self.sources.iter_mut().for_each(|s| s.blocked = false);
        Ok(())
    }

    /// All inputs are at the barrier.
    async fn checkpoint(&mut self, epoch: Epoch) -> Result<(), Exit> {
        self.chain.flush()?;
        self.send_outbox().await?;
        self.flushed();
        let env = self.context.env.clone();
        let live = self.context.epochs.live.load(Ordering::Acquire) == epoch.0;
        let mut ack = TaskAck::default();
        let mut snapshots = Vec::new();
        if live {
            pass(&env, failpoint::TASK_SNAPSHOT).await?;
            snapshots = self.freeze(epoch)?;
            ack.rows = self.chain.counted();
            for source in &mut self.sources {
                let splits = source.reader.snapshot().map_err(|e| source.error(e))?;
                ack.splits.push((source.node, splits));
            }
        }
        for source in &self.sources {
            let _ = source.enumerator.send(FromReader::Barrier { subtask: source.subtask, epoch });
        }
        for target in &mut self.targets {
            if let Target::Exchange(out) = target {
                out.broadcast(&Message::Barrier(epoch)).await.map_err(|_| Exit::Closed)?;
            }
        }
        if live {
            pass(&env, failpoint::BEFORE_PREPARE).await?;
            self.prepare(epoch, &mut ack).await?;
            pass(&env, failpoint::AFTER_PREPARE).await?;
            self.upload(epoch, snapshots, ack);
        }
        self.chain.publish();
        self.chain.publish_state();
        Ok(())
    }

    /// Takes the state of every operator that has tables.
    fn freeze(&mut self, epoch: Epoch) -> Result<Vec<OperatorSnapshot>> {
        let mut snapshots = Vec::with_capacity(self.stateful.len());
        for s in &self.stateful {
            let modes = self.context.store.snapshot_modes(epoch, &s.instance, s.schemas.len());
            let mut writer = SnapshotWriter::new(modes);
            self.chain.snapshot(s.chain_node, &mut writer)?;
            snapshots.push(OperatorSnapshot {
                instance: s.instance.clone(),
                key_groups: s.key_groups.clone(),
                tables: writer.finish(),
                schemas: s.schemas.clone(),
            });
        }
        Ok(snapshots)
    }

    /// Lets sinks prepare, and collects what is not known to be committed.
    async fn prepare(&mut self, epoch: Epoch, ack: &mut TaskAck) -> Result<(), Exit> {
        let complete = Epoch(self.context.epochs.complete.load(Ordering::Acquire));
        let (clock, waited) = (&self.context.env.clock, &mut self.state.waited);
        for target in &mut self.targets {
            let Target::Sink(sink) = target else { continue };
            sink.unflushed = false;
            let prepared = measured(clock.as_ref(), waited, sink.writer.prepare(epoch)).await;
            let prepared = prepared.map_err(|e| Error::from(e).at_default(sink.span))?;
            sink.prepared.retain(|(e, _)| *e > complete);
            sink.prepared.push((epoch, prepared));
            let all = sink.prepared.iter().flat_map(|(_, c)| c.iter().cloned()).collect();
            ack.committables.push((sink.node, all));
        }
        Ok(())
    }

    /// Uploads and acknowledges in the background.
    fn upload(&self, epoch: Epoch, snapshots: Vec<OperatorSnapshot>, ack: TaskAck) {
        let (context, task) = (self.context.clone(), self.number);
        let work = async move {
            let over = context.over.clone();
            let stored = AssertUnwindSafe(store(&context, epoch, snapshots, ack)).catch_unwind();
            let Some(stored) = over.run_until_cancelled(stored).await else { return };
            let event = match stored.unwrap_or_else(|panic| Err(panic_error("checkpoint upload", panic.as_ref()))) {
                Ok(ack) => TaskEvent::Ack { task, epoch, ack },
                Err(error) => TaskEvent::PartFailed { epoch, error },
            };
            let _ = context.events.send(event);
        };
        self.context.env.spawner.spawn_io("upload", self.context.tracker.track_future(work));
    }
}

async fn store(
    context: &AttemptContext,
    epoch: Epoch,
    snapshots: Vec<OperatorSnapshot>,
    mut ack: TaskAck,
) -> Result<TaskAck> {
    pass(&context.env, failpoint::BEFORE_UPLOAD).await?;
    for snapshot in snapshots {
        let instance = snapshot.instance.clone();
        ack.uploads.push((instance, context.store.upload(epoch, snapshot).await?));
    }
    pass(&context.env, failpoint::BEFORE_ACK).await?;
    Ok(ack)
}
