//! Checkpoints in memory, for jobs that keep no state directory and for tests.
//!
//! A [`MemoryBackend`] plays the directory, a [`MemoryStore`] one process that works in it. Claims fence each other
//! just as durable ones do; the state is gone with the backend.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dflow_common::ids::KeyGroup;
use dflow_common::{Epoch, OperatorId};
use dflow_connector_api as api;
use dflow_connector_api::{StageStore, StagedRef};
use futures::future::BoxFuture;
use serde_json::json;

use super::{
    Checkpoint, CheckpointStore, ClaimRequest, Claimed, CommitInfo, Found, InstanceId, OperatorSnapshot, UploadRef,
};
use crate::config::RestoreMode;
use crate::error::{Error, FENCED, Result};
use crate::state::{SnapshotMode, StoredRows};

/// Deltas after which a base is asked for.
const DELTAS_MAX: usize = 4;

/// The shared "directory".
#[derive(Default)]
pub struct MemoryBackend {
    inner: Mutex<Backend>,
}

#[derive(Default)]
struct Backend {
    generation: u64,
    owner: String,
    next_epoch: u64,
    next_upload: u64,
    finished: bool,
    newest: Option<Stored>,
    /// By number, with the generation that wrote it.
    uploads: HashMap<u64, (u64, OperatorSnapshot)>,
    staged: HashMap<String, Bytes>,
}

/// A committed checkpoint: its cut, and per instance the snapshots that make up its state, base first.
#[derive(Clone)]
struct Stored {
    cut: Checkpoint,
    chains: BTreeMap<InstanceId, Vec<OperatorSnapshot>>,
}

impl MemoryBackend {
    /// Empty.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The newest committed checkpoint.
    pub fn newest(&self) -> Option<Checkpoint> {
        self.lock().newest.as_ref().map(|s| s.cut.clone())
    }

    /// Whether the job that ran here has finished.
    pub fn finished(&self) -> bool {
        self.lock().finished
    }

    /// How often it was claimed.
    pub fn generation(&self) -> u64 {
        self.lock().generation
    }

    fn lock(&self) -> MutexGuard<'_, Backend> {
        // Every change is made under one lock hold that does not panic half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One process' view of a [`MemoryBackend`].
pub struct MemoryStore {
    backend: Arc<MemoryBackend>,
    mine: Mutex<Mine>,
}

/// What this claim knows of its instances.
#[derive(Default)]
struct Mine {
    generation: u64,
    committed: Epoch,
    taken: HashMap<InstanceId, Epoch>,
}

impl MemoryStore {
    /// A store over a backend.
    pub fn new(backend: Arc<MemoryBackend>) -> Arc<Self> {
        Arc::new(Self { backend, mine: Mutex::default() })
    }

    /// A store over a backend of its own.
    pub fn alone() -> Arc<Self> {
        Self::new(MemoryBackend::new())
    }

    fn mine(&self) -> MutexGuard<'_, Mine> {
        self.mine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_claim(&self, backend: &Backend) -> Result<()> {
        let mine = self.mine().generation;
        if backend.generation == mine {
            return Ok(());
        }
        Err(Error::coded(FENCED, format!("generation {} has taken over from {mine}", backend.generation)))
    }

    fn claim_now(&self, request: &ClaimRequest) -> Claimed {
        let mut backend = self.backend.lock();
        if request.restore == RestoreMode::None || backend.finished {
            backend.newest = None;
            backend.finished = false;
        }
        if backend.owner.is_empty() {
            backend.owner = request.owner.clone();
        }
        backend.generation += 1;
        backend.next_epoch += 1;
        // What was never committed is of instances that are gone.
        backend.uploads.clear();
        let restored = backend.newest.as_ref().map(|s| Checkpoint { uploads: Vec::new(), ..s.cut.clone() });
        *self.mine() = Mine { generation: backend.generation, ..Mine::default() };
        Claimed {
            generation: backend.generation,
            owner: backend.owner.clone(),
            restored,
            notices: Vec::new(),
            next_epoch: Epoch(backend.next_epoch),
        }
    }

    fn commit_now(&self, checkpoint: Checkpoint) -> Result<CommitInfo> {
        let mut guard = self.backend.lock();
        self.check_claim(&guard)?;
        let backend = &mut *guard;
        let first_of_claim = self.mine().committed == Epoch(0);
        let mut chains = backend.newest.take().map(|s| s.chains).unwrap_or_default();
        if first_of_claim {
            // All instances wrote bases: chains of another parallelism must not survive beside them. An operator
            // whose instances have all finished before their first snapshot keeps its chains.
            chains.retain(|id, _| !checkpoint.uploads.iter().any(|(i, _)| i.operator == id.operator));
        }
        let mut bytes = 0;
        for (instance, upload) in &checkpoint.uploads {
            let snapshot = upload.content.as_u64().and_then(|id| backend.uploads.remove(&id));
            let Some((_, snapshot)) = snapshot else {
                return Err(Error::internal(format!("no upload {} of {}", upload.content, instance.operator)));
            };
            bytes += upload.bytes;
            let chain = chains.entry(instance.clone()).or_default();
            if snapshot.tables.iter().all(|t| t.mode == SnapshotMode::Base) {
                chain.clear();
            }
            chain.push(snapshot);
        }
        let epoch = checkpoint.epoch;
        backend.next_epoch = backend.next_epoch.max(epoch.0);
        backend.newest = Some(Stored { cut: checkpoint, chains });
        self.mine().committed = epoch;
        Ok(CommitInfo { bytes })
    }
}

impl CheckpointStore for MemoryStore {
    fn claim<'a>(&'a self, request: &'a ClaimRequest) -> BoxFuture<'a, Result<Claimed>> {
        Box::pin(async move { Ok(self.claim_now(request)) })
    }

    fn look<'a>(&'a self, request: &'a ClaimRequest) -> BoxFuture<'a, Result<Found>> {
        Box::pin(async move {
            let backend = self.backend.lock();
            let fresh = request.restore == RestoreMode::None || backend.finished;
            let restored = backend.newest.as_ref().filter(|_| !fresh).map(|s| s.cut.epoch);
            Ok(Found { restored, notices: Vec::new() })
        })
    }

    fn restore<'a>(
        &'a self,
        operator: &'a OperatorId,
        table: usize,
        _groups: Range<KeyGroup>,
    ) -> BoxFuture<'a, Result<StoredRows>> {
        Box::pin(async move {
            let backend = self.backend.lock();
            let chains = backend.newest.iter().flat_map(|s| s.chains.iter()).filter(|(id, _)| id.operator == *operator);
            let rows = chains.flat_map(|(_, chain)| chain).flat_map(|s| s.tables[table].rows.iter().cloned());
            Ok(rows.collect::<Vec<_>>().into())
        })
    }

    fn snapshot_modes(&self, epoch: Epoch, instance: &InstanceId, tables: usize) -> Vec<SnapshotMode> {
        let chain = self.backend.lock().newest.as_ref().and_then(|s| s.chains.get(instance)).map_or(0, Vec::len);
        let mut mine = self.mine();
        let committed = mine.committed;
        let taken = mine.taken.insert(instance.clone(), epoch);
        let complete = taken.is_some_and(|t| t == committed);
        let mode = if complete && chain <= DELTAS_MAX { SnapshotMode::Delta } else { SnapshotMode::Base };
        vec![mode; tables]
    }

    fn upload(&self, _epoch: Epoch, snapshot: OperatorSnapshot) -> BoxFuture<'_, Result<UploadRef>> {
        Box::pin(async move {
            let rows = snapshot.tables.iter().flat_map(|t| &t.rows);
            let bytes = rows.map(|r| r.rows.get_array_memory_size() as u64).sum();
            let empty = snapshot.tables.iter().all(|t| t.rows.is_empty());
            let mut backend = self.backend.lock();
            backend.next_upload += 1;
            let id = backend.next_upload;
            backend.uploads.insert(id, (self.mine().generation, snapshot));
            Ok(UploadRef { content: json!(id), bytes, empty })
        })
    }

    fn commit(&self, checkpoint: Checkpoint) -> BoxFuture<'_, Result<CommitInfo>> {
        Box::pin(async move { self.commit_now(checkpoint) })
    }

    fn abort(&self, _epoch: Epoch) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // One checkpoint at a time: whatever is uploaded and not committed belongs to the aborted one.
            let mine = self.mine().generation;
            self.backend.lock().uploads.retain(|_, (generation, _)| *generation != mine);
        })
    }

    fn mark_finished(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut backend = self.backend.lock();
            self.check_claim(&backend)?;
            backend.finished = true;
            Ok(())
        })
    }

    fn mark_settled(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut backend = self.backend.lock();
            self.check_claim(&backend)?;
            let sinks = backend.newest.iter_mut().flat_map(|s| s.cut.sinks.values_mut());
            sinks.for_each(|s| s.committables.clear());
            Ok(())
        })
    }

    fn stage(&self) -> Arc<dyn StageStore> {
        Arc::new(MemoryStage(Arc::clone(&self.backend)))
    }
}

/// Staged bodies in memory.
struct MemoryStage(Arc<MemoryBackend>);

impl StageStore for MemoryStage {
    fn put(&self, body: Bytes) -> BoxFuture<'_, api::Result<StagedRef>> {
        Box::pin(async move {
            let mut backend = self.0.lock();
            backend.next_upload += 1;
            let path = format!("staged/{}", backend.next_upload);
            let staged = StagedRef { path: path.clone(), len: body.len() as u64, crc: crc32fast::hash(&body) };
            backend.staged.insert(path, body);
            Ok(staged)
        })
    }

    fn get(&self, staged: &StagedRef) -> BoxFuture<'_, api::Result<Bytes>> {
        let path = staged.path.clone();
        Box::pin(async move {
            let body = self.0.lock().staged.get(&path).cloned();
            body.ok_or_else(|| {
                api::Error::new(crate::error::INTERNAL, format!("staged body {path} is gone from memory"))
            })
        })
    }
}
