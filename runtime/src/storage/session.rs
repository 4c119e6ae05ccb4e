//! What one claim knows: the manifest it wrote last, which snapshots are complete, which files are whose. No I/O.
//!
//! # Base or delta
//! An instance may write a delta when the snapshot it took last is in the newest manifest, or is the one it was
//! restored from with the same key groups; and per table, while the deltas are fewer than
//! [`STATE_DELTAS_MAX`] files with the base and weigh less than it. A base then replaces them, written from memory:
//! files are never merged, and at most twice the state is stored.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use dflow_common::ids::KeyGroup;
use dflow_common::limits::STATE_DELTAS_MAX;
use dflow_common::{Epoch, OperatorId};
use serde::{Deserialize, Serialize};

use super::manifest::{File, Manifest, Operator, Part};
use super::retention::Kept;
use crate::checkpoint::{Checkpoint, ClaimRequest, InstanceId, OperatorInfo, UploadRef};
use crate::error::{Error, Result};
use crate::keys::group_range;
use crate::state::SnapshotMode;

/// Whether this claim may still write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody has taken over, as far as we know.
    Claimed,
    /// Another instance has.
    Fenced,
    /// A manifest was written but no answer came: only a new claim finds out what is true.
    InDoubt,
}

/// State of one claim.
pub(super) struct Session {
    /// The manifest this claim wrote last.
    pub(super) manifest: Manifest,
    /// The one it restores from.
    pub(super) restored: Arc<Manifest>,
    /// All manifests that exist, oldest first, but for…
    pub(super) kept: Vec<Kept>,
    /// …those that were there before the claim and are not read yet.
    pub(super) unread: Vec<u64>,
    pub(super) standing: Standing,
    operators: Vec<OperatorInfo>,
    instances: HashMap<InstanceId, Instance>,
    /// Files of checkpoints that are not committed.
    uploads: BTreeMap<Epoch, Vec<String>>,
    /// Uploads for this epoch and those before come too late.
    closed: Epoch,
    files: u64,
}

#[derive(Default)]
struct Instance {
    taken: Option<Epoch>,
    included: Option<Epoch>,
}

/// The content of an [`UploadRef`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Uploaded {
    pub(super) key_groups: Range<KeyGroup>,
    pub(super) tables: Vec<UploadedTable>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UploadedTable {
    pub(super) base: bool,
    pub(super) file: Option<File>,
}

impl Session {
    /// Just claimed with `manifest`, after the manifests with the numbers `older`.
    pub(super) fn new(manifest: Manifest, request: &ClaimRequest, older: Vec<u64>) -> Self {
        Self {
            restored: Arc::new(manifest.clone()),
            closed: Epoch(manifest.epoch_used.0.saturating_sub(1)),
            kept: vec![Kept::new(&manifest)],
            unread: older,
            manifest,
            standing: Standing::Claimed,
            operators: request.operators.clone(),
            instances: HashMap::new(),
            uploads: BTreeMap::new(),
            files: 0,
        }
    }

    pub(super) fn info(&self, operator: &OperatorId) -> Option<&OperatorInfo> {
        self.operators.iter().find(|o| o.id == *operator)
    }

    /// See [`crate::checkpoint::CheckpointStore::snapshot_modes`].
    pub(super) fn modes(&mut self, epoch: Epoch, instance: &InstanceId, tables: usize) -> Vec<SnapshotMode> {
        let key_groups = self
            .info(&instance.operator)
            .map(|info| group_range(self.manifest.max_parallelism, info.parallelism, instance.subtask));
        let known = self.instances.entry(instance.clone()).or_default();
        let complete = known.taken.is_none() || known.taken == known.included;
        known.taken = Some(epoch);
        let stored = self.manifest.operator(&instance.operator);
        let mode = |table: usize| {
            let part = stored.and_then(|o| o.tables.get(table)).and_then(|t| t.part(key_groups.as_ref()?));
            match part {
                Some(part) if complete && !outgrown(part) => SnapshotMode::Delta,
                _ => SnapshotMode::Base,
            }
        };
        (0..tables).map(mode).collect()
    }

    /// A name for a new object, of which `hint` tells people what it is.
    pub(super) fn name(&mut self, directory: &str, hint: &str, extension: &str) -> String {
        self.files += 1;
        let hint: String =
            hint.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(80).collect();
        format!("{directory}/g{}-{hint}-{}-{}.{extension}", self.manifest.generation, self.manifest.writer, self.files)
    }

    /// Remembers that an object belongs to a checkpoint that is not committed; `false` when it comes too late.
    pub(super) fn uploading(&mut self, epoch: Epoch, path: String) -> bool {
        if epoch <= self.closed {
            return false;
        }
        self.uploads.entry(epoch).or_default().push(path);
        true
    }

    /// Whether uploads for this epoch are still welcome.
    pub(super) fn open(&self, epoch: Epoch) -> bool {
        epoch > self.closed
    }

    /// No upload up to this epoch will be committed from here on: the objects to delete.
    pub(super) fn close(&mut self, epoch: Epoch) -> Vec<String> {
        self.closed = self.closed.max(epoch);
        let later = self.uploads.split_off(&epoch.next());
        let closed = std::mem::replace(&mut self.uploads, later);
        if self.standing == Standing::InDoubt {
            // They may be part of a manifest that exists.
            return Vec::new();
        }
        let still_needed = |path: &String| self.kept.iter().any(|k| k.references.contains(path));
        closed.into_values().flatten().filter(|p| !still_needed(p)).collect()
    }

    /// The manifest that `checkpoint` makes.
    pub(super) fn next(&self, checkpoint: &Checkpoint, now_ms: i64) -> Result<Manifest> {
        let mut next = self.follow(now_ms);
        next.epoch = checkpoint.epoch;
        next.epoch_used = next.epoch_used.max(checkpoint.epoch);
        next.sources = checkpoint.sources.clone();
        next.sinks = checkpoint.sinks.clone();
        let stored = |info: &OperatorInfo| {
            let tables = self.manifest.operator(&info.id).map(|o| o.tables.clone());
            let new = Operator::new(info);
            Operator { tables: tables.unwrap_or(new.tables.clone()), ..new }
        };
        next.operators = self.operators.iter().map(stored).collect();
        for (instance, upload) in &checkpoint.uploads {
            let operator = next.operators.iter_mut().find(|o| o.id == instance.operator);
            operator
                .ok_or_else(|| Error::internal(format!("upload of unknown operator {}", instance.operator)))?
                .add(upload)?;
        }
        Ok(next)
    }

    /// The manifest after this one with the same content.
    pub(super) fn follow(&self, now_ms: i64) -> Manifest {
        let (number, parent) = (self.manifest.number + 1, self.manifest.number);
        Manifest { number, parent, created_ms: now_ms, claim: false, ..self.manifest.clone() }
    }

    /// The manifest after this one, in which no sink has anything to commit any more; `None` when that is so already.
    pub(super) fn settled(&self, now_ms: i64) -> Option<Manifest> {
        let pending = self.manifest.sinks.values().any(|s| !s.committables.is_empty());
        pending.then(|| {
            let mut next = self.follow(now_ms);
            next.sinks.values_mut().for_each(|s| s.committables.clear());
            next
        })
    }

    /// `next` is durable.
    pub(super) fn committed(&mut self, next: Manifest, uploads: &[(InstanceId, UploadRef)]) {
        for (instance, _) in uploads {
            let known = self.instances.entry(instance.clone()).or_default();
            known.included = Some(next.epoch);
        }
        self.kept.push(Kept::new(&next));
        self.manifest = next;
    }
}

impl Operator {
    /// Adds what one instance wrote.
    fn add(&mut self, upload: &UploadRef) -> Result<()> {
        let uploaded: Uploaded = serde_json::from_value(upload.content.clone())
            .map_err(|e| Error::internal(format!("an upload reference of {} does not read: {e}", self.name)))?;
        if uploaded.tables.len() != self.tables.len() {
            return Err(Error::internal(format!("{} uploaded another number of tables than it has", self.name)));
        }
        for (table, uploaded_table) in self.tables.iter_mut().zip(uploaded.tables) {
            let key_groups = uploaded.key_groups.clone();
            if uploaded_table.base {
                table.replace(key_groups, uploaded_table.file);
            } else if !table.append(&key_groups, uploaded_table.file) {
                return Err(Error::internal(format!("{}.{}: a delta without base", self.name, table.name)));
            }
        }
        Ok(())
    }
}

/// Whether it is time for a new base.
fn outgrown(part: &Part) -> bool {
    let bytes = |mode| part.files.iter().filter(|f| f.mode == mode).map(|f| f.len).sum::<u64>();
    part.files.len() >= STATE_DELTAS_MAX || bytes(SnapshotMode::Delta) > bytes(SnapshotMode::Base)
}

#[cfg(test)]
mod tests {
    use super::super::manifest::Body;
    use super::*;

    #[test]
    fn a_base_is_due_when_deltas_outweigh_it_or_are_too_many() {
        let file = |mode, len| File {
            mode,
            epoch: Epoch(1),
            rows: 1,
            key_groups: 0..1,
            len,
            crc32: 0,
            body: Body::Inline(String::new()),
        };
        let part = |base, deltas: &[u64]| {
            let deltas = deltas.iter().map(|len| file(SnapshotMode::Delta, *len));
            Part { key_groups: 0..1, files: std::iter::once(file(SnapshotMode::Base, base)).chain(deltas).collect() }
        };
        assert!(!outgrown(&part(10, &[4, 6])) && outgrown(&part(10, &[4, 7])));
        assert!(
            !outgrown(&part(1000, &[1; STATE_DELTAS_MAX - 2])) && outgrown(&part(1000, &[1; STATE_DELTAS_MAX - 1]))
        );
    }
}
