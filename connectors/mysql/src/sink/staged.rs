//! Exactly-once: rows wait in the checkpoint, and are written with a marker when it is durable.

use std::sync::Arc;

use dflow_common::metrics::{BYTES_OUT, Gauge, SINK_PENDING_BYTES};
use dflow_common::{ChangeBatch, Env, Epoch};
use dflow_connector_api::error::ROLE_NOT_SUPPORTED;
use dflow_connector_api::{
    Committable, Committer, CommitterContext, Error, Result, StageStore, StagedRef, Writer, WriterContext,
};
use dflow_connector_jdbc::body;
use dflow_connector_jdbc::error::STAGED_BODY;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::Config;
use super::apply::{Applier, Marker};
use super::writer::{Gathered, check_kinds};

/// Rows of one chunk, and so of one transaction.
const CHUNK_ROWS: usize = 8_192;
/// Markers of so many epochs are kept behind the last one.
const EPOCHS_KEPT: u64 = 16;

/// What one writer prepared for one epoch.
#[derive(Serialize, Deserialize)]
struct Prepared {
    epoch: Epoch,
    subtask: usize,
    chunks: Vec<Chunk>,
}

#[derive(Serialize, Deserialize)]
struct Chunk {
    token: String,
    body: StagedRef,
}

pub(super) struct StagedWriter {
    config: Arc<Config>,
    env: Env,
    stage: Arc<dyn StageStore>,
    subtask: usize,
    gathered: Gathered,
    chunks: Vec<Chunk>,
    pending: Gauge,
}

impl StagedWriter {
    pub(super) fn new(config: Arc<Config>, context: &WriterContext) -> Self {
        Self {
            config,
            env: context.env.clone(),
            stage: context.stage.clone(),
            subtask: context.subtask,
            gathered: Gathered::default(),
            chunks: Vec::new(),
            pending: context.metrics.gauge(&SINK_PENDING_BYTES, &[&context.job, &context.sink]),
        }
    }

    async fn put(&mut self) -> Result<()> {
        let Some(batch) = self.gathered.take()? else { return Ok(()) };
        let body = self.stage.put(body::encode(&batch)?).await?;
        self.pending.inc_by(body.len as f64);
        let token = format!("{:016x}{:016x}", self.env.rng.next_u64(), self.env.rng.next_u64());
        self.chunks.push(Chunk { token, body });
        Ok(())
    }
}

impl Writer for StagedWriter {
    fn write(&mut self, batch: ChangeBatch) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            check_kinds(&self.config, &batch)?;
            self.gathered.add(batch);
            if self.gathered.is_full(CHUNK_ROWS) { self.put().await } else { Ok(()) }
        })
    }

    fn prepare(&mut self, epoch: Epoch) -> BoxFuture<'_, Result<Vec<Committable>>> {
        Box::pin(async move {
            self.put().await?;
            if self.chunks.is_empty() {
                return Ok(Vec::new());
            }
            let prepared = Prepared { epoch, subtask: self.subtask, chunks: std::mem::take(&mut self.chunks) };
            let value = serde_json::to_value(prepared)
                .map_err(|e| Error::new(ROLE_NOT_SUPPORTED, format!("a committable is JSON: {e}")))?;
            Ok(vec![Committable(value)])
        })
    }
}

pub(super) struct StagedCommitter {
    stage: Arc<dyn StageStore>,
    applier: Applier,
    job: String,
    sink: String,
    /// Names the state of the job and the sink among the markers.
    owner: String,
    pending: Gauge,
}

impl StagedCommitter {
    pub(super) fn new(config: Arc<Config>, context: &CommitterContext) -> Self {
        let (job, sink) = (context.job.clone(), context.sink.clone());
        let bytes = context.metrics.counter(&BYTES_OUT, &[&job, &sink]);
        Self {
            stage: context.stage.clone(),
            applier: Applier::new(config, context.env.clone(), bytes),
            owner: format!("{:016x}", xxh3_64(format!("{}\0{sink}", context.owner).as_bytes())),
            pending: context.metrics.gauge(&SINK_PENDING_BYTES, &[&job, &sink]),
            job,
            sink,
        }
    }

    /// Writes all chunks in the order in which they were prepared.
    async fn publish(&mut self, committables: Vec<Committable>) -> Result<()> {
        let parse = |c: Committable| serde_json::from_value::<Prepared>(c.0);
        let prepared: Result<Vec<Prepared>, _> = committables.into_iter().map(parse).collect();
        let mut prepared =
            prepared.map_err(|e| Error::new(STAGED_BODY, format!("what was prepared cannot be read: {e}")))?;
        prepared.sort_by_key(|p| (p.epoch, p.subtask));
        for Prepared { epoch, chunks, .. } in prepared {
            for (number, Chunk { token, body }) in (0..).zip(chunks) {
                let batch = body::decode(&self.stage.get(&body).await?)?;
                let marker = Marker {
                    token,
                    owner: self.owner.clone(),
                    epoch: epoch.0,
                    chunk: number,
                    job: self.job.clone(),
                    sink: self.sink.clone(),
                };
                self.applier.apply(&batch, Some(&marker)).await?;
                self.pending.set((self.pending.get() - body.len as f64).max(0.0));
            }
        }
        Ok(())
    }
}

impl Committer for StagedCommitter {
    /// What is newer than the manifest was never written: writing needs a manifest.
    fn recover(&mut self, _epoch: Epoch, pending: Vec<Committable>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.applier.prepare_markers().await?;
            self.publish(pending).await
        })
    }

    fn commit(&mut self, epoch: Epoch, committables: Vec<Committable>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if committables.is_empty() {
                return Ok(());
            }
            self.publish(committables).await?;
            self.applier.forget_markers(&self.owner, epoch.0.saturating_sub(EPOCHS_KEPT)).await
        })
    }
}
