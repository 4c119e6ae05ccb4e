//! A seekable source with several outputs whose splits appear while it runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;
use dflow_common::{ChangeBatch, Epoch};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::error::{Error, ROLE_NOT_SUPPORTED, Result};
use crate::source::{
    Boundedness, Enumerator, EnumeratorEvent, OutputSchema, Reader, ReaderContext, ReaderEvent, Replay, ShareKey,
    Source, SourceContext, SplitAssignment, SplitId,
};

/// The system a [`MemorySource`] reads: named splits that hold rows. Cheap to clone; all clones are one system.
#[derive(Clone)]
pub struct Broker(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Counts changes, so that readers can wait for the next one.
    version: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    splits: BTreeMap<SplitId, Stored>,
    closed: bool,
    reader_epochs: Vec<(usize, Epoch)>,
    enumerator_epochs: Vec<Epoch>,
    messages: Vec<(usize, Value)>,
}

struct Stored {
    output: usize,
    batches: Vec<ChangeBatch>,
    finished: bool,
    revoked: bool,
}

impl Default for Broker {
    fn default() -> Self {
        Self::new()
    }
}

impl Broker {
    /// No splits yet.
    pub fn new() -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), version: watch::Sender::new(0) }))
    }

    /// Adds rows to a split, which appears with its first rows. All rows of a split are of one output.
    pub fn append(&self, split: &str, output: usize, batch: ChangeBatch) -> &Self {
        self.change(|state| {
            let stored = state.splits.entry(SplitId(split.into())).or_insert_with(|| Stored {
                output,
                batches: Vec::new(),
                finished: false,
                revoked: false,
            });
            assert_eq!(stored.output, output, "a split belongs to one output");
            stored.batches.push(batch);
        })
    }

    /// No further rows will be added to the split.
    pub fn finish(&self, split: &str) -> &Self {
        self.change(|state| {
            if let Some(stored) = state.splits.get_mut(&SplitId(split.into())) {
                stored.finished = true;
            }
        })
    }

    /// The split is gone: its enumerator revokes it.
    pub fn revoke(&self, split: &str) -> &Self {
        self.change(|state| {
            if let Some(stored) = state.splits.get_mut(&SplitId(split.into())) {
                stored.revoked = true;
            }
        })
    }

    /// Finishes every split; no other will appear.
    pub fn close(&self) -> &Self {
        self.change(|state| {
            state.closed = true;
            state.splits.values_mut().for_each(|s| s.finished = true);
        })
    }

    /// Which subtask was told that which checkpoint is durable, in order.
    pub fn reader_epochs(&self) -> Vec<(usize, Epoch)> {
        self.lock().reader_epochs.clone()
    }

    /// Of which durable checkpoints the enumerator was told, in order.
    pub fn enumerator_epochs(&self) -> Vec<Epoch> {
        self.lock().enumerator_epochs.clone()
    }

    /// What readers told the enumerator: `{"started": split}` for every split they took over.
    pub fn messages(&self) -> Vec<(usize, Value)> {
        self.lock().messages.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> &Self {
        change(&mut self.lock());
        self.0.version.send_modify(|v| *v += 1);
        self
    }
}

/// A source over a [`Broker`]. A position is the number of rows read of a split.
pub struct MemorySource {
    broker: Broker,
    outputs: Vec<OutputSchema>,
    boundedness: Boundedness,
    batch_rows: usize,
    share_key: Option<ShareKey>,
}

impl MemorySource {
    /// A source of these outputs that ends when the broker is closed, in batches of at most 4 rows.
    pub fn new(broker: &Broker, outputs: Vec<OutputSchema>) -> Self {
        Self { broker: broker.clone(), outputs, boundedness: Boundedness::Bounded, batch_rows: 4, share_key: None }
    }

    /// Declares that it has no end.
    pub fn unbounded(mut self) -> Self {
        self.boundedness = Boundedness::Unbounded;
        self
    }

    /// Rows in a batch, at most.
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows.max(1);
        self
    }

    /// Sources of the same key become one.
    pub fn share(mut self, key: &str) -> Self {
        self.share_key = Some(ShareKey(key.into()));
        self
    }
}

impl Source for MemorySource {
    fn share_key(&self) -> Option<ShareKey> {
        self.share_key.clone()
    }

    /// The other's outputs come after ours: whoever fills the broker counts them on.
    fn merge(&self, other: &dyn Source) -> Result<Arc<dyn Source>> {
        if self.share_key.is_none() || other.share_key() != self.share_key {
            return Err(Error::new(ROLE_NOT_SUPPORTED, "sources of different share keys are not one source"));
        }
        Ok(Arc::new(MemorySource {
            broker: self.broker.clone(),
            outputs: self.outputs.iter().chain(other.outputs()).cloned().collect(),
            boundedness: self.boundedness,
            batch_rows: self.batch_rows,
            share_key: self.share_key.clone(),
        }))
    }

    fn outputs(&self) -> &[OutputSchema] {
        &self.outputs
    }

    fn boundedness(&self) -> Boundedness {
        self.boundedness
    }

    fn replay(&self) -> Replay {
        Replay::Seekable
    }

    fn enumerator(&self, _context: &SourceContext, restored: Option<Value>) -> Result<Box<dyn Enumerator>> {
        let assigned = match restored {
            Some(value) => serde_json::from_value(value)
                .map_err(|e| Error::new(ROLE_NOT_SUPPORTED, format!("not the state of a memory source: {e}")))?,
            None => Vec::new(),
        };
        Ok(Box::new(MemoryEnumerator {
            version: self.broker.0.version.subscribe(),
            broker: self.broker.clone(),
            assigned,
            revoked: Vec::new(),
            closed: false,
        }))
    }

    fn reader(&self, context: &ReaderContext) -> Result<Box<dyn Reader>> {
        Ok(Box::new(MemoryReader {
            version: self.broker.0.version.subscribe(),
            broker: self.broker.clone(),
            schemas: self.outputs.iter().map(|o| o.schema.arrow_projected(&o.projection)).collect(),
            projections: self.outputs.iter().map(|o| o.projection.clone()).collect(),
            batch_rows: self.batch_rows,
            subtask: context.subtask,
            splits: Vec::new(),
            turn: 0,
            started: Vec::new(),
            no_more: false,
        }))
    }
}

struct MemoryEnumerator {
    broker: Broker,
    version: watch::Receiver<u64>,
    assigned: Vec<SplitId>,
    revoked: Vec<SplitId>,
    closed: bool,
}

impl MemoryEnumerator {
    fn poll(&mut self) -> Option<EnumeratorEvent> {
        self.version.mark_unchanged();
        let state = self.broker.lock();
        let gone: Vec<SplitId> = state
            .splits
            .iter()
            .filter(|(id, s)| s.revoked && self.assigned.contains(id) && !self.revoked.contains(id))
            .map(|(id, _)| id.clone())
            .collect();
        if !gone.is_empty() {
            self.revoked.extend(gone.iter().cloned());
            return Some(EnumeratorEvent::Revoke(gone));
        }
        let new: Vec<SplitId> = state
            .splits
            .iter()
            .filter(|(id, s)| !s.revoked && !self.assigned.contains(id))
            .map(|(id, _)| id.clone())
            .collect();
        if !new.is_empty() {
            self.assigned.extend(new.iter().cloned());
            let assign = |id: SplitId| {
                let output = state.splits[&id].output;
                SplitAssignment { id, split: json!({ "output": output }), position: None }
            };
            return Some(EnumeratorEvent::Assign(new.into_iter().map(assign).collect()));
        }
        if state.closed && !self.closed {
            self.closed = true;
            return Some(EnumeratorEvent::NoMoreSplits);
        }
        None
    }
}

impl Enumerator for MemoryEnumerator {
    fn next(&mut self) -> BoxFuture<'_, Result<EnumeratorEvent>> {
        Box::pin(async move {
            loop {
                if let Some(event) = self.poll() {
                    return Ok(event);
                }
                if self.closed || self.version.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        })
    }

    fn reader_message(&mut self, subtask: usize, message: Value) {
        self.broker.lock().messages.push((subtask, message));
    }

    fn snapshot(&self) -> Result<Value> {
        Ok(json!(self.assigned))
    }

    fn checkpoint_complete(&mut self, epoch: Epoch) -> BoxFuture<'_, Result<()>> {
        self.broker.lock().enumerator_epochs.push(epoch);
        Box::pin(std::future::ready(Ok(())))
    }
}

struct Open {
    id: SplitId,
    data: Value,
    /// Rows read.
    rows: usize,
    revoked: bool,
}

struct MemoryReader {
    broker: Broker,
    version: watch::Receiver<u64>,
    schemas: Vec<SchemaRef>,
    projections: Vec<Vec<usize>>,
    batch_rows: usize,
    subtask: usize,
    splits: Vec<Open>,
    turn: usize,
    /// Splits whose takeover the enumerator has not been told of.
    started: Vec<SplitId>,
    no_more: bool,
}

impl MemoryReader {
    fn poll(&mut self) -> Result<Option<ReaderEvent>> {
        self.version.mark_unchanged();
        if let Some(id) = self.started.pop() {
            return Ok(Some(ReaderEvent::Message(json!({ "started": id }))));
        }
        let state = self.broker.lock();
        for i in 0..self.splits.len() {
            let at = (self.turn + i) % self.splits.len();
            let open = &mut self.splits[at];
            let stored = state.splits.get(&open.id);
            if let Some(stored) = stored
                && !open.revoked
            {
                let mut skip = open.rows;
                for batch in &stored.batches {
                    if skip >= batch.num_rows() {
                        skip -= batch.num_rows();
                        continue;
                    }
                    let part = batch.slice(skip, self.batch_rows.min(batch.num_rows() - skip));
                    open.rows += part.num_rows();
                    self.turn = at + 1;
                    let output = stored.output;
                    let data = part
                        .data
                        .project(&self.projections[output])
                        .and_then(|d| d.with_schema(self.schemas[output].clone()))
                        .map_err(|e| Error::new(ROLE_NOT_SUPPORTED, format!("rows do not fit their output: {e}")))?;
                    return Ok(Some(ReaderEvent::Batch {
                        output,
                        split: open.id.clone(),
                        batch: part.with_data(data),
                    }));
                }
            }
            if open.revoked || stored.is_none_or(|s| s.finished) {
                return Ok(Some(ReaderEvent::SplitFinished(self.splits.remove(at).id)));
            }
        }
        Ok((self.no_more && self.splits.is_empty()).then_some(ReaderEvent::End))
    }
}

impl Reader for MemoryReader {
    fn add_splits(&mut self, splits: Vec<SplitAssignment>) -> Result<()> {
        for SplitAssignment { id, split, position } in splits {
            let rows = position.as_ref().and_then(Value::as_u64).unwrap_or(0) as usize;
            self.started.push(id.clone());
            self.splits.push(Open { id, data: split, rows, revoked: false });
        }
        Ok(())
    }

    fn revoke_splits(&mut self, splits: &[SplitId]) {
        self.splits.iter_mut().filter(|s| splits.contains(&s.id)).for_each(|s| s.revoked = true);
    }

    fn no_more_splits(&mut self) {
        self.no_more = true;
    }

    fn next(&mut self) -> BoxFuture<'_, Result<ReaderEvent>> {
        Box::pin(async move {
            loop {
                if let Some(event) = self.poll()? {
                    return Ok(event);
                }
                if self.version.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        })
    }

    fn snapshot(&mut self) -> Result<Vec<SplitAssignment>> {
        Ok(self
            .splits
            .iter()
            .map(|s| SplitAssignment { id: s.id.clone(), split: s.data.clone(), position: Some(json!(s.rows)) })
            .collect())
    }

    fn checkpoint_complete(&mut self, epoch: Epoch) -> BoxFuture<'_, Result<()>> {
        self.broker.lock().reader_epochs.push((self.subtask, epoch));
        Box::pin(std::future::ready(Ok(())))
    }
}
