//! The task of one source's enumerator: discovers splits, spreads them over the readers, and starts every checkpoint of
//! its source.
//!
//! # The cut
//! At a barrier the enumerator's snapshot is taken first, and the barrier is put into the readers' command queues right
//! behind every assignment it knows of ([`crate::task::source`]): no split is lost between the two. In the other
//! direction, what a reader had said before its barrier and the enumerator hears after its snapshot is recorded, per
//! reader until the reader's own barrier comes back, and told again after a restore. The part of a source in a checkpoint
//! is therefore complete when every reader's barrier has come back.
//!
//! # Assignment
//! A split goes to the reader with the fewest; among equals to the first. Restored splits are assigned in the same way,
//! by id, whatever the parallelism was: the same snapshot always gives the same assignment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dflow_common::{Epoch, Span};
use dflow_connector_api::{Enumerator, EnumeratorEvent, SplitAssignment, SplitId};
use tokio::sync::mpsc;

use crate::checkpoint::{EnumeratorInput, SourceSnapshot};
use crate::error::{Error, Result};
use crate::failpoint::{self, pass};
use crate::task::source::{FromReader, ReaderCommand};
use crate::task::{AttemptContext, TaskEvent};

/// From the driver.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EnumeratorCommand {
    /// A checkpoint begins; the last one stops the source.
    Barrier { epoch: Epoch, last: bool },
    /// It is durable and committed.
    Complete(Epoch),
}

/// See the module.
pub(crate) struct EnumeratorTask {
    pub(crate) number: usize,
    pub(crate) span: Option<Span>,
    pub(crate) context: AttemptContext,
    pub(crate) enumerator: Box<dyn Enumerator>,
    pub(crate) commands: mpsc::UnboundedReceiver<EnumeratorCommand>,
    pub(crate) from_readers: mpsc::UnboundedReceiver<FromReader>,
    pub(crate) readers: Vec<mpsc::UnboundedSender<ReaderCommand>>,
    pub(crate) activity: Arc<AtomicU64>,
    pub(crate) restored: Option<SourceSnapshot>,
}

/// Which reader has which split.
#[derive(Debug)]
struct Assignments {
    owner: BTreeMap<SplitId, usize>,
    load: Vec<usize>,
}

impl Assignments {
    fn new(readers: usize) -> Self {
        Self { owner: BTreeMap::new(), load: vec![0; readers] }
    }

    /// Spreads splits; what each reader gets.
    fn assign(&mut self, splits: Vec<SplitAssignment>) -> Vec<(usize, Vec<SplitAssignment>)> {
        let mut parts: Vec<Vec<SplitAssignment>> = vec![Vec::new(); self.load.len()];
        for split in splits {
            let reader = (0..self.load.len()).min_by_key(|r| self.load[*r]).unwrap_or(0);
            self.load[reader] += 1;
            self.owner.insert(split.id.clone(), reader);
            parts[reader].push(split);
        }
        parts.into_iter().enumerate().filter(|(_, p)| !p.is_empty()).collect()
    }

    fn finished(&mut self, split: &SplitId) {
        if let Some(reader) = self.owner.remove(split) {
            self.load[reader] -= 1;
        }
    }

    /// Which readers have these splits.
    fn owners(&self, splits: Vec<SplitId>) -> BTreeMap<usize, Vec<SplitId>> {
        let mut parts: BTreeMap<usize, Vec<SplitId>> = BTreeMap::new();
        for split in splits {
            if let Some(reader) = self.owner.get(&split) {
                parts.entry(*reader).or_default().push(split);
            }
        }
        parts
    }
}

/// A cut that waits for the readers.
struct Cut {
    epoch: Epoch,
    snapshot: SourceSnapshot,
    /// Readers whose barrier has come back.
    passed: Vec<bool>,
}

/// What happens next.
enum Wake {
    Command(EnumeratorCommand),
    FromReader(FromReader),
    Decided(dflow_connector_api::Result<EnumeratorEvent>),
}

impl EnumeratorTask {
    /// Runs until the job is over.
    ///
    /// # Errors
    /// What the enumerator returned.
    pub(crate) async fn run(self) -> Result<()> {
        let over = self.context.over.clone();
        over.run_until_cancelled(self.work()).await.unwrap_or(Ok(()))
    }

    async fn work(mut self) -> Result<()> {
        let mut assignments = Assignments::new(self.readers.len());
        let mut no_more = false;
        let mut stopped = false;
        let mut cut: Option<Cut> = None;
        if let Some(restored) = self.restored.take() {
            restored.messages.into_iter().for_each(|input| self.hear(&mut assignments, input));
            self.assign(&mut assignments, restored.splits);
            if restored.no_more_splits {
                no_more = true;
                self.tell_all(&ReaderCommand::NoMoreSplits);
            }
        }
        loop {
            match self.next(no_more || stopped).await {
                Wake::Command(EnumeratorCommand::Barrier { epoch, last }) => {
                    pass(&self.context.env, failpoint::ENUMERATOR_BARRIER).await?;
                    let enumerator = self.enumerator.snapshot().map_err(|e| self.error(e))?;
                    let snapshot = SourceSnapshot { enumerator, no_more_splits: no_more, ..SourceSnapshot::default() };
                    cut = Some(Cut { epoch, snapshot, passed: vec![false; self.readers.len()] });
                    stopped |= last;
                    self.tell_all(&ReaderCommand::Barrier { epoch, last });
                }
                Wake::Command(EnumeratorCommand::Complete(epoch)) => {
                    self.tell_all(&ReaderCommand::Complete(epoch));
                    self.enumerator.checkpoint_complete(epoch).await.map_err(|e| self.error(e))?;
                    let _ = self.context.events.send(TaskEvent::Acknowledged { epoch });
                }
                Wake::FromReader(FromReader::Input { subtask, input }) => {
                    if let Some(cut) = &mut cut
                        && !cut.passed[subtask]
                    {
                        cut.snapshot.messages.push(input.clone());
                    }
                    self.activity.fetch_add(1, Ordering::Relaxed);
                    self.hear(&mut assignments, input);
                }
                Wake::FromReader(FromReader::Barrier { subtask, epoch }) => {
                    if let Some(c) = &mut cut
                        && c.epoch == epoch
                    {
                        c.passed[subtask] = true;
                        if c.passed.iter().all(|p| *p)
                            && let Some(Cut { epoch, snapshot, .. }) = cut.take()
                        {
                            let event = TaskEvent::EnumeratorAck { enumerator: self.number, epoch, snapshot };
                            let _ = self.context.events.send(event);
                        }
                    }
                }
                Wake::Decided(event) => {
                    self.activity.fetch_add(1, Ordering::Relaxed);
                    match event.map_err(|e| self.error(e))? {
                        EnumeratorEvent::Assign(splits) => self.assign(&mut assignments, splits),
                        EnumeratorEvent::Revoke(splits) => {
                            for (reader, splits) in assignments.owners(splits) {
                                let _ = self.readers[reader].send(ReaderCommand::Revoke(splits));
                            }
                        }
                        EnumeratorEvent::NoMoreSplits => {
                            no_more = true;
                            self.tell_all(&ReaderCommand::NoMoreSplits);
                        }
                    }
                }
            }
        }
    }

    /// The next event: commands first, then readers, then the enumerator's own decisions.
    async fn next(&mut self, silent: bool) -> Wake {
        tokio::select! {
            biased;
            Some(command) = self.commands.recv() => Wake::Command(command),
            Some(message) = self.from_readers.recv() => Wake::FromReader(message),
            event = self.enumerator.next(), if !silent => Wake::Decided(event),
            // Driver and readers are gone: the job is over, and `run` ends us.
            else => std::future::pending().await,
        }
    }

    fn hear(&mut self, assignments: &mut Assignments, input: EnumeratorInput) {
        match input {
            EnumeratorInput::SplitFinished(split) => {
                assignments.finished(&split);
                self.enumerator.split_finished(&split);
            }
            EnumeratorInput::Message { subtask, message } => self.enumerator.reader_message(subtask, message),
        }
    }

    /// A reader that is gone has failed, and the job with it: sending to it is harmless.
    fn assign(&self, assignments: &mut Assignments, splits: Vec<SplitAssignment>) {
        for (reader, part) in assignments.assign(splits) {
            let _ = self.readers[reader].send(ReaderCommand::Add(part));
        }
    }

    fn tell_all(&self, command: &ReaderCommand) {
        for reader in &self.readers {
            let _ = reader.send(command.clone());
        }
    }

    fn error(&self, error: dflow_connector_api::Error) -> Error {
        Error::from(error).at_default(self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splits(ids: &[&str]) -> Vec<SplitAssignment> {
        let split = |id: &&str| SplitAssignment {
            id: SplitId((*id).to_owned()),
            split: serde_json::Value::Null,
            position: None,
        };
        ids.iter().map(split).collect()
    }

    fn shape(parts: &[(usize, Vec<SplitAssignment>)]) -> Vec<String> {
        let ids = |p: &[SplitAssignment]| p.iter().map(|s| s.id.0.clone()).collect::<String>();
        parts.iter().map(|(reader, p)| format!("{reader}:{}", ids(p))).collect()
    }

    #[test]
    fn splits_go_to_the_reader_with_the_fewest_and_finished_ones_make_room() {
        let mut a = Assignments::new(2);
        assert_eq!(shape(&a.assign(splits(&["a", "b", "c"]))), ["0:ac", "1:b"]);
        a.finished(&SplitId("a".into()));
        a.finished(&SplitId("c".into()));
        assert_eq!(shape(&a.assign(splits(&["d"]))), ["0:d"]);
        assert_eq!(a.owners(vec![SplitId("b".into()), SplitId("a".into())]).len(), 1, "`a` is read no more");
    }
}
