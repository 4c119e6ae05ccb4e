//! Checkpoints that outlive the process: a state directory over the `object_store` interface.
//!
//! # Layout
//! ```text
//! <state directory>/lock                           held by the one instance of this machine
//!                   manifests/<20 digits>.json     what a checkpoint consists of           (manifest)
//!                   data/g<generation>-….parquet   one table of one task, base or delta    (parquet)
//!                   staged/g<generation>-….bin     bodies of staged sinks                  (stage)
//!                   head                           the number of the newest manifest: a hint, by which a
//!                                                  manifest that somebody removed is missed
//!                   .tmp/                          half-written files                      (local)
//! ```
//! # The commit point
//! Manifest n+1 is created if absent, after every file it names is durable. Who fails to create it is fenced. A new
//! instance first creates manifest n+1 as a *claim* (content of n, generation + 1): from then on the old one cannot
//! commit ([`claim`]).
//! ```text
//! upload files ──> create manifest n+1 ──> answer ──> drop manifests beyond `retained`, then the files only they needed
//! ```
//! # Invariants
//! * Objects are never changed, and their length and CRC-32 are checked whenever they are read.
//! * A restore reads what the newest manifest names, or fails and says which file is wrong. It never answers with less.
//! * When no answer came to a manifest write, the store finds out whether it is there; when it cannot, the claim is *in
//!   doubt*, commits nothing more and deletes nothing, until a new claim reads what is true.

mod base64;
mod claim;
pub mod codes;
pub mod compat;
mod local;
pub mod manifest;
pub mod parquet;
mod retention;
mod session;
mod stage;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use dflow_common::env::FsLock;
use dflow_common::ids::KeyGroup;
use dflow_common::limits::STATE_INLINE_BYTES_MAX;
use dflow_common::{Diagnostic, Env, Epoch, OperatorId};
use dflow_connector_api::StageStore;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use tracing::warn;

pub use local::LocalStore;

use crate::checkpoint::{
    Checkpoint, CheckpointStore, ClaimRequest, Claimed, CommitInfo, Found, InstanceId, OperatorSnapshot, UploadRef,
};
use crate::error::{Error, FENCED, Result};
use crate::state::{SnapshotMode, StoredRows};
use manifest::{Body, File, Manifest};
use session::{Session, Standing, Uploaded, UploadedTable};

/// Holds the number of the newest manifest.
const HEAD: &str = "head";

/// Tries to write a manifest before the claim is in doubt.
const WRITE_ATTEMPTS: usize = 3;

/// Where state is kept, and how much.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// A directory, or a `file://` URL of one.
    pub location: String,
    /// Completed checkpoints that are kept; at least one is.
    pub retained: usize,
    /// Whether to go on from an older checkpoint when the newest manifest is damaged.
    pub allow_older: bool,
}

/// A state directory, as one process sees it. See the [module](self).
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    env: Env,
    local: LocalStore,
    retained: usize,
    allow_older: bool,
    /// Tells our manifests from those of another instance that claims at the same moment.
    writer: String,
    lock: Mutex<Option<Box<dyn FsLock>>>,
    session: Mutex<Option<Session>>,
    /// One claim or commit at a time.
    turn: tokio::sync::Mutex<()>,
}

/// What came of writing a manifest.
enum Written {
    /// It is durable.
    Done,
    /// Its number is taken by somebody else's.
    Taken,
    /// It was not written.
    Failed(Error),
    /// It may have been written.
    InDoubt(Error),
}

impl Store {
    /// A store at a location. Touches nothing before the first claim.
    ///
    /// # Errors
    /// [`codes::UNKNOWN_STORAGE`]: the URL is not one of a local directory.
    pub fn open(env: Env, options: StoreOptions) -> Result<Self> {
        let local = LocalStore::new(env.clone(), directory(&options.location)?);
        let writer = format!("{:016x}", env.rng.next_u64());
        let shared = Shared {
            env,
            local,
            retained: options.retained,
            allow_older: options.allow_older,
            writer,
            lock: Mutex::default(),
            session: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The newest manifest of this claim.
    pub fn manifest(&self) -> Option<Manifest> {
        self.shared.session(|s| Ok(s.manifest.clone())).ok()
    }
}

/// The directory a location names.
fn directory(location: &str) -> Result<PathBuf> {
    match location.split_once("://") {
        None => Ok(PathBuf::from(location)),
        Some(("file", path)) if path.starts_with('/') => Ok(PathBuf::from(path)),
        Some((scheme, _)) => {
            Err(Diagnostic::error(codes::UNKNOWN_STORAGE, format!("no checkpoint storage for `{scheme}://`"))
                .with_context("state", location)
                .with_help("use a directory, or `file:///absolute/path`")
                .into())
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("at", &self.shared.local).finish_non_exhaustive()
    }
}

impl Shared {
    /// Where the state is, for messages.
    fn place(&self) -> String {
        self.local.root().display().to_string()
    }

    /// Does something with the claim.
    fn session<T>(&self, act: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        act(session.as_mut().ok_or_else(|| Error::internal("the state directory is used before it is claimed"))?)
    }

    async fn put(&self, path: &str, bytes: Bytes, mode: PutMode) -> Result<()> {
        let put = self.local.put_opts(&Path::from(path), bytes.into(), mode.into()).await;
        put.map_err(|e| codes::storage(&self.place(), &format!("write {path}"), e))?;
        Ok(())
    }

    /// Reads an object.
    async fn get(&self, store: &LocalStore, path: &str) -> object_store::Result<Bytes> {
        store.get(&Path::from(path)).await?.bytes().await
    }

    /// Reads an object and checks that it is what was written.
    async fn get_checked(&self, path: &str, len: u64, crc32: u32) -> Result<Bytes> {
        self.get_checked_from(&self.local, path, len, crc32).await
    }

    async fn get_checked_from(&self, store: &LocalStore, path: &str, len: u64, crc32: u32) -> Result<Bytes> {
        let place = store.root().display().to_string();
        let bytes = self.get(store, path).await.map_err(|e| match e {
            object_store::Error::NotFound { .. } => codes::damaged(&place, path, "it is missing"),
            e => codes::storage(&place, &format!("read {path}"), e),
        })?;
        check(&place, path, &bytes, len, crc32)?;
        Ok(bytes)
    }

    /// The objects in a directory.
    async fn list(&self, store: &LocalStore, directory: &str) -> Result<Vec<String>> {
        let listed = store.list(Some(&Path::from(directory))).map_ok(|m| m.location.to_string());
        let place = store.root().display().to_string();
        listed.try_collect().await.map_err(|e| codes::storage(&place, &format!("list {directory}"), e))
    }

    /// Deletes objects; what is gone already is fine. The first failure ends it.
    async fn delete(&self, paths: Vec<String>) -> Result<()> {
        for path in paths {
            match self.local.delete(&Path::from(path.as_str())).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(codes::storage(&self.place(), &format!("remove {path}"), e)),
            }
        }
        Ok(())
    }

    /// Creates a manifest, and finds out what happened when the answer is not clear.
    async fn write_manifest(&self, manifest: &Manifest) -> (Written, u64) {
        let path = Manifest::path(manifest.number);
        let location = Path::from(path.as_str());
        let bytes = Bytes::from(manifest.to_bytes());
        let len = bytes.len() as u64;
        let mut doubt = None;
        for attempt in 1..=WRITE_ATTEMPTS {
            let put = self.local.put_opts(&location, bytes.clone().into(), PutMode::Create.into());
            let failed = match put.await {
                Ok(_) => return (Written::Done, len),
                Err(e) => e,
            };
            let taken = matches!(failed, object_store::Error::AlreadyExists { .. });
            match self.get(&self.local, &path).await {
                // An earlier try of ours; that the name is taken was answered after it became durable.
                Ok(found) if taken && found == bytes => return (Written::Done, len),
                Ok(found) if found != bytes => return (Written::Taken, len),
                // Another instance that claims now took our half-written file for a leftover.
                Err(object_store::Error::NotFound { .. })
                    if matches!(failed, object_store::Error::NotFound { .. }) && attempt < WRITE_ATTEMPTS => {}
                Err(object_store::Error::NotFound { .. }) if !taken => {
                    return (Written::Failed(codes::storage(&self.place(), &format!("write {path}"), failed)), len);
                }
                _ => doubt = Some(failed),
            }
        }
        let doing = format!("find out whether {path} was written");
        let error = match doubt {
            Some(e) => codes::storage(&self.place(), &doing, e),
            None => Error::internal(doing),
        };
        (Written::InDoubt(error), len)
    }

    /// Notes that a manifest is the newest. Nothing depends on it but the finding that one is missing.
    async fn note_head(&self, number: u64) {
        if let Err(error) = self.put(HEAD, manifest::head(number).into(), PutMode::Overwrite).await {
            warn!(%error, "the number of the newest manifest was not noted");
        }
    }

    /// Writes the manifest after the session's and tells whether this claim still holds.
    async fn advance(&self, next: Manifest, uploads: &[(InstanceId, UploadRef)]) -> Result<u64> {
        let standing = self.session(|s| Ok(s.standing))?;
        if standing != Standing::Claimed {
            return Err(self.refused(standing));
        }
        let (written, bytes) = self.write_manifest(&next).await;
        let standing = match written {
            Written::Failed(error) => return Err(error),
            Written::InDoubt(error) => {
                self.stand(Standing::InDoubt)?;
                return Err(error);
            }
            Written::Taken => Standing::Fenced,
            // The number may be free again because a newer instance has dropped the manifest that had it.
            Written::Done => match self.list(&self.local, manifest::DIRECTORY).await {
                Ok(paths) if paths.iter().filter_map(|p| Manifest::number_of(p)).max() > Some(next.number) => {
                    let _ = self.delete(vec![Manifest::path(next.number)]).await;
                    Standing::Fenced
                }
                Ok(_) => Standing::Claimed,
                Err(error) => {
                    self.stand(Standing::InDoubt)?;
                    return Err(error);
                }
            },
        };
        if standing != Standing::Claimed {
            self.stand(standing)?;
            return Err(self.refused(standing));
        }
        let number = next.number;
        self.session(|s| {
            s.committed(next, uploads);
            Ok(())
        })?;
        self.note_head(number).await;
        Ok(bytes)
    }

    fn stand(&self, standing: Standing) -> Result<()> {
        self.session(|s| {
            s.standing = standing;
            Ok(())
        })
    }

    fn refused(&self, standing: Standing) -> Error {
        match standing {
            Standing::InDoubt => Error::from(
                Diagnostic::error(codes::STORAGE_FAILED, "whether the last checkpoint was written is not known")
                    .with_context("state", self.place()),
            )
            .retry(),
            _ => Diagnostic::error(FENCED, "another instance has taken over the state directory")
                .with_context("state", self.place())
                .with_note("this instance has stopped before it could write anything the other one would not know of")
                .with_help("let one instance run")
                .into(),
        }
    }

    /// Drops manifests beyond the retained ones and the files only they needed.
    async fn retire(&self) -> Result<()> {
        self.read_older().await?;
        let (stay, go) = self.session(|s| Ok(retention::split(s.kept.clone(), self.retained)))?;
        self.delete(go.iter().map(|m| Manifest::path(m.number)).collect()).await?;
        self.delete(retention::unneeded(&go, &stay).into_iter().collect()).await?;
        self.session(|s| {
            s.kept.retain(|kept| go.iter().all(|gone| gone.number != kept.number));
            Ok(())
        })
    }

    /// Cleans up after a checkpoint. What fails is tried again after the next one, or by the next claim.
    async fn tidy(&self, left: Vec<String>) {
        let done = match self.delete(left).await {
            Ok(()) => self.retire().await,
            failed => failed,
        };
        if let Err(error) = done {
            warn!(%error, "old checkpoints were not removed");
        }
    }

    async fn upload(&self, epoch: Epoch, snapshot: OperatorSnapshot) -> Result<UploadRef> {
        let (tables, names) = self.session(|s| {
            let info = s.info(&snapshot.instance.operator);
            let tables = info.map(|i| i.tables.clone()).filter(|t| t.len() == snapshot.tables.len());
            let unknown = || Error::internal(format!("snapshot of unknown tables of {}", snapshot.instance.operator));
            let tables = tables.ok_or_else(unknown)?;
            let hint = |t: &str| format!("e{epoch}-{}-{}-{t}", snapshot.instance.operator, snapshot.instance.subtask);
            let names: Vec<String> = tables.iter().map(|t| s.name(manifest::DATA, &hint(&t.name), "parquet")).collect();
            Ok((tables, names))
        })?;
        let encode = move || -> Result<_> {
            let mut files = Vec::new();
            for (table, written) in tables.iter().zip(&snapshot.tables) {
                let encoded = parquet::encode(&table.schema, &written.rows)
                    .map_err(|e| Error::internal(format!("state table {} does not encode: {e}", table.name)))?;
                files.push((written.mode == SnapshotMode::Base, encoded));
            }
            Ok((snapshot.key_groups, files))
        };
        let encoded = self.env.spawner.blocking(encode).await;
        let (key_groups, files) = encoded.map_err(|e| Error::internal(format!("encoding state: {e}")))??;

        let mut tables = Vec::new();
        let (mut bytes, mut empty) = (0, true);
        for ((base, encoded), path) in files.into_iter().zip(names) {
            let Some(encoded) = encoded else {
                tables.push(UploadedTable { base, file: None });
                continue;
            };
            empty = false;
            let (len, crc32) = (encoded.bytes.len() as u64, crc32fast::hash(&encoded.bytes));
            bytes += len;
            let body = if encoded.bytes.len() < STATE_INLINE_BYTES_MAX {
                Body::Inline(base64::encode(&encoded.bytes))
            } else {
                let late = || Error::internal(format!("state for epoch {epoch} comes after it was closed")).retry();
                self.session(|s| if s.uploading(epoch, path.clone()) { Ok(()) } else { Err(late()) })?;
                self.put(&path, encoded.bytes.into(), PutMode::Create).await?;
                if !self.session(|s| Ok(s.open(epoch)))? {
                    // Given up while it was written; nobody else will remove it before the next claim.
                    let _ = self.delete(vec![path]).await;
                    return Err(late());
                }
                Body::Path(path)
            };
            let (rows, key_groups) = (encoded.rows, encoded.key_groups);
            let mode = if base { SnapshotMode::Base } else { SnapshotMode::Delta };
            tables.push(UploadedTable { base, file: Some(File { mode, epoch, rows, key_groups, len, crc32, body }) });
        }
        let content = serde_json::to_value(Uploaded { key_groups, tables })
            .map_err(|e| Error::internal(format!("an upload reference does not encode: {e}")))?;
        Ok(UploadRef { content, bytes, empty })
    }

    async fn commit(&self, checkpoint: Checkpoint) -> Result<CommitInfo> {
        let _turn = self.turn.lock().await;
        let now_ms = self.env.clock.wall_ms();
        let next = self.session(|s| s.next(&checkpoint, now_ms))?;
        let manifest_bytes = self.advance(next, &checkpoint.uploads).await?;
        let left = self.session(|s| Ok(s.close(checkpoint.epoch)))?;
        self.tidy(left).await;
        Ok(CommitInfo { bytes: manifest_bytes + checkpoint.uploads.iter().map(|(_, u)| u.bytes).sum::<u64>() })
    }

    async fn restore(&self, operator: &OperatorId, table: usize, groups: Range<KeyGroup>) -> Result<StoredRows> {
        let (restored, spec) = self.session(|s| {
            let spec = s.info(operator).and_then(|i| i.tables.get(table)).cloned();
            let unknown = || Error::internal(format!("restore of unknown table {table} of {operator}"));
            Ok((s.restored.clone(), spec.ok_or_else(unknown)?))
        })?;
        let stored = restored.operator(operator).and_then(|o| o.tables.get(table));
        let (mut files, mut keys) = (Vec::new(), 0);
        for part in stored.into_iter().flat_map(|t| &t.parts) {
            let wanted = part.key_groups.start.max(groups.start)..part.key_groups.end.min(groups.end);
            for file in part.files.iter().filter(|f| manifest::overlap(&f.key_groups, &wanted)) {
                let (name, bytes) = self.body(restored.number, file).await?;
                if file.mode == SnapshotMode::Base {
                    let share = wanted.len() as f64 / file.key_groups.len().max(wanted.len()).max(1) as f64;
                    keys += (file.rows as f64 * share) as u64;
                }
                files.push((name, bytes, wanted.clone()));
            }
        }
        let place = self.place();
        let rows = files.into_iter().flat_map(move |(name, bytes, wanted)| {
            let place = place.clone();
            parquet::decode(bytes, &spec.schema, spec.key_columns, wanted)
                .map(move |rows| rows.map_err(|e| codes::damaged(&place, &name, e.to_string())))
        });
        Ok(StoredRows::new(keys, rows))
    }

    /// The bytes of a state file, checked, with a name for messages.
    async fn body(&self, manifest: u64, file: &File) -> Result<(String, Bytes)> {
        match &file.body {
            Body::Path(path) => Ok((path.clone(), self.get_checked(path, file.len, file.crc32).await?)),
            Body::Inline(text) => {
                let name = Manifest::path(manifest);
                let bytes = base64::decode(text).unwrap_or_default();
                check(&self.place(), &name, &bytes, file.len, file.crc32)?;
                Ok((name, bytes.into()))
            }
        }
    }
}

/// Whether bytes are those that were written.
fn check(place: &str, name: &str, bytes: &[u8], len: u64, crc32: u32) -> Result<()> {
    if bytes.len() as u64 != len {
        return Err(codes::damaged(place, name, format!("it has {} bytes, {len} were written", bytes.len())));
    }
    if crc32fast::hash(bytes) != crc32 {
        return Err(codes::damaged(place, name, "its checksum does not match its content"));
    }
    Ok(())
}

impl CheckpointStore for Store {
    fn claim<'a>(&'a self, request: &'a ClaimRequest) -> BoxFuture<'a, Result<Claimed>> {
        self.shared.claim(request).boxed()
    }

    fn look<'a>(&'a self, request: &'a ClaimRequest) -> BoxFuture<'a, Result<Found>> {
        self.shared.look(request).boxed()
    }

    fn restore<'a>(
        &'a self,
        operator: &'a OperatorId,
        table: usize,
        groups: Range<KeyGroup>,
    ) -> BoxFuture<'a, Result<StoredRows>> {
        self.shared.restore(operator, table, groups).boxed()
    }

    fn snapshot_modes(&self, epoch: Epoch, instance: &InstanceId, tables: usize) -> Vec<SnapshotMode> {
        // Before a claim there is nothing a delta could build on.
        self.shared.session(|s| Ok(s.modes(epoch, instance, tables))).unwrap_or(vec![SnapshotMode::Base; tables])
    }

    fn upload(&self, epoch: Epoch, snapshot: OperatorSnapshot) -> BoxFuture<'_, Result<UploadRef>> {
        self.shared.upload(epoch, snapshot).boxed()
    }

    fn commit(&self, checkpoint: Checkpoint) -> BoxFuture<'_, Result<CommitInfo>> {
        self.shared.commit(checkpoint).boxed()
    }

    fn abort(&self, epoch: Epoch) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let left = self.shared.session(|s| Ok(s.close(epoch))).unwrap_or_default();
            if let Err(error) = self.shared.delete(left).await {
                warn!(%error, %epoch, "files of a given-up checkpoint were not removed");
            }
        })
    }

    fn mark_finished(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let _turn = self.shared.turn.lock().await;
            let now_ms = self.shared.env.clock.wall_ms();
            let next = self.shared.session(|s| Ok(Manifest { finished: true, ..s.follow(now_ms) }))?;
            self.shared.advance(next, &[]).await?;
            self.shared.tidy(Vec::new()).await;
            Ok(())
        })
    }

    fn mark_settled(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let _turn = self.shared.turn.lock().await;
            let now_ms = self.shared.env.clock.wall_ms();
            let Some(next) = self.shared.session(|s| Ok(s.settled(now_ms)))? else { return Ok(()) };
            self.shared.advance(next, &[]).await?;
            self.shared.tidy(Vec::new()).await;
            Ok(())
        })
    }

    fn stage(&self) -> Arc<dyn StageStore> {
        Arc::new(stage::Stage(self.shared.clone()))
    }
}

#[cfg(test)]
mod tests;
