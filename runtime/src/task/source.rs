//! A reader as an input of its task.
//!
//! Commands come from the enumerator's task in one ordered queue, and the barrier is one of them. So every split that
//! was assigned before the enumerator took its snapshot has reached the reader when the reader takes its own, and every
//! later one comes after the barrier: no split is ever between the two.
//! ```text
//! enumerator:  assign a ─ assign b ─ snapshot {a, b} ─ barrier ─ assign c
//! reader:      a ── b ── barrier: snapshot [a at 17, b at 3] ── c
//! ```

use std::collections::HashMap;
use std::task::{Context, Poll};

use dflow_common::{Epoch, Span};
use dflow_connector_api::{Reader, ReaderEvent, SplitAssignment, SplitId};
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::checkpoint::EnumeratorInput;
use crate::error::{Error, Result};
use crate::graph::NodeIndex;

/// From the enumerator's task to a reader.
#[derive(Clone, Debug)]
pub(crate) enum ReaderCommand {
    Add(Vec<SplitAssignment>),
    Revoke(Vec<SplitId>),
    NoMoreSplits,
    /// A checkpoint begins here; after the last one nothing more is read.
    Barrier {
        epoch: Epoch,
        last: bool,
    },
    /// A checkpoint is durable.
    Complete(Epoch),
}

/// From a reader to the enumerator's task.
#[derive(Debug)]
pub(crate) enum FromReader {
    Input {
        subtask: usize,
        input: EnumeratorInput,
    },
    /// Everything before it is from before the barrier.
    Barrier {
        subtask: usize,
        epoch: Epoch,
    },
}

/// See the module.
pub(crate) struct SourceInput {
    pub(crate) node: NodeIndex,
    /// Its number in the chain.
    pub(crate) chain_node: usize,
    pub(crate) subtask: usize,
    pub(crate) span: Option<Span>,
    pub(crate) reader: Box<dyn Reader>,
    pub(crate) commands: mpsc::UnboundedReceiver<ReaderCommand>,
    pub(crate) enumerator: mpsc::UnboundedSender<FromReader>,
    /// Task-local numbers of the splits being read.
    pub(crate) splits: HashMap<SplitId, u32>,
    /// Per output, the split whose rows came last.
    pub(crate) current: Vec<Option<u32>>,
    /// The split of the batch before, to spare the lookup.
    pub(crate) latest: Option<(SplitId, u32)>,
    /// Waits for the other inputs of the task to reach the barrier.
    pub(crate) blocked: bool,
    /// Reads no more: a graceful stop.
    pub(crate) stopped: bool,
    /// Has read everything.
    pub(crate) ended: bool,
}

impl SourceInput {
    /// What the task polls. The reader's future is made when it is first needed, and dropped when something else comes
    /// first: readers are cancel safe.
    pub(crate) fn polled(&mut self) -> Polled<'_> {
        let reads = !self.blocked && !self.stopped && !self.ended;
        Polled {
            commands: (!self.blocked).then_some(&mut self.commands),
            reader: reads.then_some(&mut self.reader),
            next: None,
        }
    }

    /// The local number of a split that is being read.
    pub(crate) fn number(&mut self, split: &SplitId) -> Result<u32> {
        if let Some((latest, number)) = &self.latest
            && latest == split
        {
            return Ok(*number);
        }
        let number = self.splits.get(split).copied();
        let number = number.ok_or_else(|| {
            Error::internal(format!("the reader returned rows of split {}, which it was not given", split.0))
        })?;
        self.latest = Some((split.clone(), number));
        Ok(number)
    }

    /// Tells the enumerator; one that is gone has failed, and the job with it.
    pub(crate) fn tell(&self, input: EnumeratorInput) {
        let _ = self.enumerator.send(FromReader::Input { subtask: self.subtask, input });
    }

    /// A connector's error with the table's place in the script.
    pub(crate) fn error(&self, error: dflow_connector_api::Error) -> Error {
        Error::from(error).at_default(self.span)
    }
}

/// The parts of a [`SourceInput`] that can be waited for.
pub(crate) struct Polled<'a> {
    commands: Option<&'a mut mpsc::UnboundedReceiver<ReaderCommand>>,
    reader: Option<&'a mut Box<dyn Reader>>,
    next: Option<BoxFuture<'a, dflow_connector_api::Result<ReaderEvent>>>,
}

impl Polled<'_> {
    pub(crate) fn poll_command(&mut self, cx: &mut Context<'_>) -> Poll<ReaderCommand> {
        match self.commands.as_mut().map(|c| c.poll_recv(cx)) {
            Some(Poll::Ready(Some(command))) => Poll::Ready(command),
            // A closed queue means that the enumerator's task is gone; the job ends for that reason.
            _ => Poll::Pending,
        }
    }

    pub(crate) fn poll_reader(&mut self, cx: &mut Context<'_>) -> Poll<dflow_connector_api::Result<ReaderEvent>> {
        if self.next.is_none() {
            self.next = self.reader.take().map(|r| r.next());
        }
        self.next.as_mut().map_or(Poll::Pending, |next| next.as_mut().poll(cx))
    }
}
