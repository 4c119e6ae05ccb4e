//! The reader: chunks by a worker, then perhaps the log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dflow_common::metrics::{BYTES_IN, CounterHandle};
use dflow_common::{ChangeBatch, Env};
use dflow_connector_api::{Reader, ReaderContext, ReaderEvent, Result, SplitAssignment, SplitId};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::chunks::Chunk;
use super::snapshot::{Part, Worker};
use super::source::Shared;
use super::stream::{LogSplit, LogState};
use crate::binlog::key::Key;
use crate::binlog::position::FilePosition;
use crate::error;

/// A split, as it travels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// A range of a table.
    Chunk(Chunk),
    /// The log.
    Log(LogState),
}

/// A range that was read: where it begins, and up to where in the log it is as it was read.
pub type Done = (Option<Key>, FilePosition);

/// How far a chunk is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChunkPosition {
    /// Ranges that were handed out, in order.
    pub done: Vec<Done>,
    /// Where the rest begins.
    pub rest: Option<Key>,
    /// Whether there is no rest.
    pub is_over: bool,
}

/// From a reader to the enumerator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Message {
    /// A chunk is read.
    Chunk {
        /// Its id.
        id: SplitId,
        /// Its ranges.
        done: Vec<Done>,
    },
    /// The log is put down, to be taken up again behind new tables.
    Suspended {
        /// Its id.
        id: SplitId,
        /// Where it is.
        state: Box<LogState>,
    },
    /// The log moved on though no captured table changed.
    Moved,
}

struct OpenChunk {
    assignment: SplitAssignment,
    chunk: Chunk,
    position: ChunkPosition,
}

/// Reads splits.
pub struct SplitReader {
    shared: Arc<Shared>,
    env: Env,
    subtask: usize,
    bytes: Vec<CounterHandle>,
    worker: Option<Worker>,
    chunks: BTreeMap<SplitId, OpenChunk>,
    log: Option<LogSplit>,
    events: VecDeque<ReaderEvent>,
    no_more: bool,
}

impl SplitReader {
    /// Without splits.
    pub fn new(shared: Arc<Shared>, context: &ReaderContext) -> Self {
        let source = &context.source;
        let bytes =
            |c: &Arc<super::source::Captured>| source.metrics.counter(&BYTES_IN, &[&source.job, &c.output.table]);
        Self {
            bytes: shared.captured.iter().map(bytes).collect(),
            env: source.env.clone(),
            subtask: context.subtask,
            shared,
            worker: None,
            chunks: BTreeMap::new(),
            log: None,
            events: VecDeque::new(),
            no_more: false,
        }
    }

    fn server_id(&self) -> u32 {
        self.shared.options().server_id(self.subtask as u64, &self.env)
    }

    fn add(&mut self, assignment: SplitAssignment) -> Result<()> {
        let unreadable = |e: serde_json::Error| error::state_unreadable(&e.to_string());
        match serde_json::from_value(assignment.split.clone()).map_err(unreadable)? {
            Split::Chunk(chunk) => {
                let position: ChunkPosition = match &assignment.position {
                    Some(position) => serde_json::from_value(position.clone()).map_err(unreadable)?,
                    None => ChunkPosition { rest: chunk.from.clone(), ..ChunkPosition::default() },
                };
                let id = assignment.id.clone();
                let open = OpenChunk { assignment, chunk, position };
                if open.position.is_over {
                    self.chunks.insert(id.clone(), open);
                    self.finish(&id);
                } else {
                    let (shared, env, server_id) = (self.shared.clone(), self.env.clone(), self.server_id());
                    let worker = self.worker.get_or_insert_with(|| Worker::start(shared, &env, server_id));
                    worker.order(open.chunk.clone(), open.position.rest.clone());
                    self.chunks.insert(id, open);
                }
            }
            Split::Log(state) => {
                let state = match &assignment.position {
                    Some(position) => serde_json::from_value(position.clone()).map_err(unreadable)?,
                    None => state,
                };
                let server_id = self.server_id();
                self.log = Some(LogSplit::new(&self.shared, &self.env, assignment, state, server_id)?);
            }
        }
        Ok(())
    }

    /// Tells of a chunk that is read.
    fn finish(&mut self, id: &SplitId) {
        if let Some(open) = self.chunks.get(id) {
            let message = Message::Chunk { id: id.clone(), done: open.position.done.clone() };
            self.events.push_back(ReaderEvent::Message(json!(message)));
            self.events.push_back(ReaderEvent::SplitFinished(id.clone()));
        }
    }

    /// An event that is handed out: what is finished is forgotten.
    fn hand_out(&mut self, event: ReaderEvent) -> ReaderEvent {
        if let ReaderEvent::SplitFinished(id) = &event {
            self.chunks.remove(id);
            if self.log.as_ref().is_some_and(|log| log.id() == id) {
                self.log = None;
            }
        }
        if let ReaderEvent::Batch { output, batch, .. } = &event {
            self.bytes[*output].inc_by(batch.data.get_array_memory_size() as f64);
        }
        event
    }

    async fn next_event(&mut self) -> Result<ReaderEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(self.hand_out(event));
            }
            if let Some(worker) = self.worker.as_mut().filter(|_| !self.chunks.is_empty()) {
                let part = worker.next().await?;
                self.take(part);
            } else if let Some(log) = &mut self.log {
                let event = log.next().await?;
                return Ok(self.hand_out(event));
            } else if self.no_more {
                return Ok(ReaderEvent::End);
            } else {
                return std::future::pending().await;
            }
        }
    }

    fn take(&mut self, part: Part) {
        match part {
            Part::Rows { split, output, batch, from, rest, is_last, mark } => {
                let Some(open) = self.chunks.get_mut(&split) else { return };
                open.position.done.push((from, mark));
                (open.position.rest, open.position.is_over) = (rest, is_last);
                if batch.num_rows() > 0 {
                    let batch = ChangeBatch::inserts(batch);
                    self.events.push_back(ReaderEvent::Batch { output, split: split.clone(), batch });
                }
                if is_last {
                    self.finish(&split);
                }
            }
            Part::Gone(split) => {
                if let Some(open) = self.chunks.get_mut(&split) {
                    open.position.is_over = true;
                    self.finish(&split);
                }
            }
        }
    }
}

impl Reader for SplitReader {
    fn add_splits(&mut self, splits: Vec<SplitAssignment>) -> Result<()> {
        splits.into_iter().try_for_each(|split| self.add(split))
    }

    fn revoke_splits(&mut self, splits: &[SplitId]) {
        if let Some(log) = &mut self.log
            && splits.contains(log.id())
        {
            log.suspend();
        }
    }

    fn no_more_splits(&mut self) {
        self.no_more = true;
    }

    fn next(&mut self) -> BoxFuture<'_, Result<ReaderEvent>> {
        Box::pin(self.next_event())
    }

    fn snapshot(&mut self) -> Result<Vec<SplitAssignment>> {
        let mut splits: Vec<SplitAssignment> = Vec::new();
        for open in self.chunks.values() {
            splits.push(SplitAssignment { position: Some(json!(open.position)), ..open.assignment.clone() });
        }
        if let Some(log) = &mut self.log {
            splits.push(log.snapshot());
        }
        Ok(splits)
    }
}
