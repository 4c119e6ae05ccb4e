//! Taking over a state directory.
//!
//! ```text
//! read newest manifest n ─> may this job go on from it? ─> lock ─> create n+1 as a claim ─> clean up
//!          ▲                        no: error, nothing changed          │ taken
//!          └────────────────────────────────────────────────────────────┘
//! ```
//! | restore mode | newest manifest | the claim holds |
//! |---|---|---|
//! | auto | none, without state, or finished | nothing: a fresh start |
//! | auto, require | with state | its content |
//! | require | none, without state, or finished | error |
//! | none | with state | nothing, after the whole directory was moved aside |
//! | path | any | a copy of the manifest there; own state is moved aside first |
//!
//! The mode is that of the first claim of a process: a restart of the job within it goes on from its own newest
//! checkpoint.
//!
//! # Invariants
//! Numbers, generations and epochs never go back, also over a fresh start: commit tokens hold them.

use std::collections::BTreeMap;
use std::path::{Path as FsPath, PathBuf};
use std::sync::PoisonError;

use dflow_common::{Diagnostic, Epoch};
use object_store::PutMode;
use serde_json::Value;
use tracing::warn;

use super::codes::{self, FOREIGN_FILES, FOREIGN_STATE, NO_STATE, STATE_IN_USE};
use super::manifest::{Body, DATA, DIRECTORY, FORMAT, Manifest, Operator, STAGED};
use super::retention::{self, Kept};
use super::session::Session;
use super::{HEAD, LocalStore, Shared, Written, compat, manifest};
use crate::checkpoint::{Checkpoint, ClaimRequest, Claimed, Found};
use crate::config::RestoreMode;
use crate::error::{Error, FENCED, Result};

/// Claims that may be lost to other instances before giving up.
const CLAIM_ATTEMPTS: usize = 16;

/// The file that is locked.
const LOCK: &str = "lock";

/// What a state directory may hold in which no manifest was found: what a first claim makes before it writes one, and what
/// another instance writes meanwhile.
const OWN: &[&str] = &[LOCK, DIRECTORY, DATA, STAGED, HEAD];

/// Whether a file in one of the folders is one that a claim has made.
fn is_ours(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let written = name.starts_with('g') && name.contains('-') && (name.ends_with(".parquet") || name.ends_with(".bin"));
    written || Manifest::number_of(path).is_some()
}

/// The manifests of a directory.
struct History {
    /// Numbers of those that exist, ascending.
    numbers: Vec<u64>,
    /// The highest number that was given, also to one that is missing.
    last: Option<u64>,
    /// The newest readable one.
    newest: Option<Manifest>,
    /// Whether a newer one than that is missing or unreadable.
    damaged: bool,
}

/// What goes on over a fresh start.
#[derive(Clone, Default)]
struct Carried {
    generation: u64,
    epoch_used: Epoch,
    owner: String,
}

impl Carried {
    fn or(self, manifest: Option<&Manifest>) -> Carried {
        let (generation, epoch_used) = manifest.map_or((0, Epoch(0)), |m| (m.generation, m.epoch_used));
        Carried {
            generation: self.generation.max(generation),
            epoch_used: self.epoch_used.max(epoch_used),
            owner: manifest.map(|m| m.owner.clone()).filter(|o| !o.is_empty()).unwrap_or(self.owner),
        }
    }
}

/// What a claim in some mode takes over.
struct Decision {
    history: History,
    carried: Carried,
    /// The manifest whose content it holds; `None` starts fresh…
    base: Option<Manifest>,
    /// …and where that is, when it is not ours.
    elsewhere: Option<LocalStore>,
    /// What is told of the script beside it, a line each.
    told: Vec<String>,
    /// Whether own state is moved aside first.
    aside: bool,
}

impl Shared {
    /// See [`crate::checkpoint::CheckpointStore::look`].
    pub(super) async fn look(&self, request: &ClaimRequest) -> Result<Found> {
        let d = self.decide(request, &request.restore, Carried::default()).await?;
        let next = d.carried.epoch_used.max(d.base.as_ref().map_or(Epoch(0), |m| m.epoch_used)).next();
        let mut notices = notices(&d.history, &request.restore, d.base.as_ref(), next, None, d.told);
        if d.aside {
            notices.push("the state that is here is moved aside".into());
        }
        Ok(Found { restored: d.base.filter(Manifest::has_state).map(|m| m.epoch), notices })
    }

    /// Looks at what is there. Refusals come before anything is touched.
    async fn decide(&self, request: &ClaimRequest, mode: &RestoreMode, carried: Carried) -> Result<Decision> {
        // State that is moved aside need not be whole.
        let allow_older = self.allow_older || *mode == RestoreMode::None;
        let history = self.history(&self.local, allow_older).await?;
        if history.last.is_none() {
            self.refuse_foreign_files().await?;
        }
        let newest = history.newest.as_ref();
        if let Some(other) = newest.filter(|m| m.job != request.job) {
            return Err(self.foreign(&other.job, &request.job));
        }
        let mut carried = carried.or(newest);
        if carried.owner.is_empty() {
            carried.owner = request.owner.clone();
        }
        if history.damaged {
            // What was counted in what cannot be read: at least about as far as the manifests were.
            let last = history.last.unwrap_or_default();
            carried.generation = carried.generation.max(last);
            carried.epoch_used = carried.epoch_used.max(Epoch(last));
        }
        let own = newest.filter(|m| m.has_state());
        let (base, elsewhere) = match mode {
            RestoreMode::Auto | RestoreMode::Require => {
                if *mode == RestoreMode::Require && own.is_none() {
                    return Err(self.no_state(newest));
                }
                (own.cloned(), None)
            }
            RestoreMode::None => (None, None),
            RestoreMode::Path(path) => {
                let (store, manifest) = self.elsewhere(path).await?;
                // A manifest of our own, under whatever name of the directory, needs no copy.
                let ours = self.read_manifest(&self.local, manifest.number).await.is_ok_and(|m| m == manifest);
                (Some(Manifest { finished: false, ..manifest }), (!ours).then_some(store))
            }
        };
        let told = match &base {
            Some(base) => compat::check(&self.place(), base, request)?,
            None => Vec::new(),
        };
        let aside = match mode {
            RestoreMode::None => own.is_some() || history.damaged,
            RestoreMode::Path(_) => own.is_some() && elsewhere.is_some(),
            RestoreMode::Auto | RestoreMode::Require => false,
        };
        Ok(Decision { carried, base, elsewhere, told, aside, history })
    }

    pub(super) async fn claim(&self, request: &ClaimRequest) -> Result<Claimed> {
        let _turn = self.turn.lock().await;
        let first = self.session.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        let mode = if first { request.restore.clone() } else { RestoreMode::Auto };
        let mut carried = Carried::default();
        let mut kept_aside = None;
        for _ in 0..CLAIM_ATTEMPTS {
            let decision = self.decide(request, &mode, carried).await?;
            carried = decision.carried.clone();
            let Decision { history, base, elsewhere, told, aside, .. } = decision;
            let newest = history.newest.as_ref();
            if self.lock(request).await? {
                // Somebody may have written between our look and our lock.
                continue;
            }
            if aside {
                kept_aside = Some(self.move_aside(newest.map_or(Epoch(0), |m| m.epoch), request).await?);
                continue;
            }
            let epoch_used = carried.epoch_used.max(base.as_ref().map_or(Epoch(0), |m| m.epoch_used)).next();
            let notices = notices(&history, &mode, base.as_ref(), epoch_used, kept_aside.as_deref(), told);

            let mut next = Manifest {
                format: FORMAT,
                number: history.last.unwrap_or(0) + 1,
                parent: newest.map_or(0, |m| m.number),
                generation: carried.generation + 1,
                writer: self.writer.clone(),
                job: request.job.clone(),
                max_parallelism: request.max_parallelism,
                created_ms: self.env.clock.wall_ms(),
                claim: true,
                finished: false,
                epoch_used,
                owner: carried.owner.clone(),
                ..base.clone().unwrap_or_else(|| nothing(request))
            };
            if let Some(store) = &elsewhere {
                self.copy(store, &mut next).await?;
            }
            match self.write_manifest(&next).await.0 {
                Written::Done => {
                    self.note_head(next.number).await;
                    return Ok(self.claimed(next, history.numbers, notices, request).await);
                }
                Written::Taken => continue,
                Written::Failed(error) | Written::InDoubt(error) => return Err(error),
            }
        }
        Err(Error::coded(FENCED, format!("other instances claimed {} {CLAIM_ATTEMPTS} times meanwhile", self.place())))
    }

    /// Starts the session of a claim that is durable, and cleans up.
    async fn claimed(
        &self,
        manifest: Manifest,
        older: Vec<u64>,
        notices: Vec<String>,
        request: &ClaimRequest,
    ) -> Claimed {
        let restored = manifest.has_state().then(|| Checkpoint {
            epoch: manifest.epoch,
            uploads: Vec::new(),
            sources: manifest.sources.clone(),
            sinks: manifest.sinks.clone(),
        });
        let claimed = Claimed {
            generation: manifest.generation,
            owner: manifest.owner.clone(),
            restored,
            notices,
            next_epoch: manifest.epoch_used,
        };
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(Session::new(manifest, request, older));
        if let Err(error) = self.clean_up().await {
            warn!(%error, "leftovers of earlier runs were not removed");
        }
        claimed
    }

    /// Removes old manifests, and files that nobody refers to. An error ends it early; nothing depends on it.
    async fn clean_up(&self) -> Result<()> {
        self.retire().await?;
        self.local.clean_temporary().await.map_err(|e| codes::local(&self.place(), "remove temporary files", e))?;
        let (generation, stay) = self.session(|s| Ok((s.manifest.generation, s.kept.clone())))?;
        for directory in [DATA, STAGED] {
            let paths = self.list(&self.local, directory).await?;
            let orphans = paths.into_iter().filter(|p| retention::orphan(p, generation, &stay)).collect();
            self.delete(orphans).await?;
        }
        Ok(())
    }

    /// Learns what the manifests that were there before the claim refer to. Until that is known, no file may go.
    pub(super) async fn read_older(&self) -> Result<()> {
        for number in self.session(|s| Ok(s.unread.clone()))? {
            let read = match self.read_manifest(&self.local, number).await {
                Ok(manifest) => Some(Kept::new(&manifest)),
                // Its files cannot be known any more.
                Err(Reading::Unreadable(_)) => {
                    self.delete(vec![Manifest::path(number)]).await?;
                    None
                }
                Err(Reading::Absent(_)) => None,
                Err(Reading::Failed(error)) => return Err(error),
            };
            self.session(|s| {
                s.unread.retain(|n| *n != number);
                s.kept.extend(read);
                s.kept.sort_by_key(|k| k.number);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Finds the newest manifest. With `allow_older` it may be one before what is damaged or missing.
    async fn history(&self, store: &LocalStore, allow_older: bool) -> Result<History> {
        let place = store.root().display().to_string();
        // Read first: what it names existed before the listing, and only retention removes manifests, never the newest.
        let head = self.get(store, HEAD).await.ok().and_then(|bytes| manifest::read_head(&bytes));
        let paths = self.list(store, DIRECTORY).await?;
        let mut numbers: Vec<u64> = paths.iter().filter_map(|p| Manifest::number_of(p)).collect();
        numbers.sort_unstable();
        let mut history = History { last: head.max(numbers.last().copied()), numbers, newest: None, damaged: false };
        if history.last > history.numbers.last().copied() {
            let path = Manifest::path(history.last.unwrap_or_default());
            if !allow_older {
                return Err(codes::damaged(&place, &path, "it is missing"));
            }
            warn!(state = place, manifest = path, "missing: going on from an older checkpoint");
            history.damaged = true;
        }
        for number in history.numbers.iter().rev() {
            match self.read_manifest(store, *number).await {
                Ok(manifest) => {
                    history.newest = Some(manifest);
                    break;
                }
                Err(Reading::Unreadable(why)) if allow_older => {
                    warn!(state = place, manifest = number, %why, "going on from an older checkpoint");
                    history.damaged = true;
                }
                Err(Reading::Unreadable(why)) => {
                    return Err(codes::unreadable(&place, &Manifest::path(*number), why));
                }
                Err(Reading::Absent(error) | Reading::Failed(error)) => return Err(error),
            }
        }
        Ok(history)
    }

    async fn read_manifest(&self, store: &LocalStore, number: u64) -> Result<Manifest, Reading> {
        let path = Manifest::path(number);
        let place = store.root().display().to_string();
        let bytes = self.get(store, &path).await.map_err(|e| match e {
            object_store::Error::NotFound { .. } => Reading::Absent(codes::damaged(&place, &path, "it is missing")),
            e => Reading::Failed(codes::storage(&place, &format!("read {path}"), e)),
        })?;
        Manifest::from_bytes(number, &bytes).map_err(Reading::Unreadable)
    }

    /// The manifest a user points at: a manifest file, or the newest of a state directory.
    async fn elsewhere(&self, path: &FsPath) -> Result<(LocalStore, Manifest)> {
        let number = path.file_name().and_then(|name| Manifest::number_of(&format!("{DIRECTORY}/{}", name.to_str()?)));
        let root = if number.is_some() { path.parent().and_then(FsPath::parent) } else { Some(path) };
        let root = root.unwrap_or(FsPath::new("."));
        let store = LocalStore::new(self.env.clone(), root);
        let place = root.display().to_string();
        let manifest = match number {
            Some(number) => match self.read_manifest(&store, number).await {
                Ok(manifest) => Some(manifest),
                Err(Reading::Absent(_)) => None,
                Err(Reading::Unreadable(why)) => {
                    return Err(codes::unreadable(&place, &Manifest::path(number), why));
                }
                Err(Reading::Failed(error)) => return Err(error),
            },
            None => self.history(&store, false).await?.newest,
        };
        match manifest {
            Some(manifest) if manifest.epoch > Epoch(0) => Ok((store, manifest)),
            _ => Err(Diagnostic::error(NO_STATE, format!("no checkpoint to restore at {}", path.display()))
                .with_help("give a state directory, or one of the files in its folder `manifests`")
                .into()),
        }
    }

    /// Copies everything a manifest of another directory needs, and points it at the copies.
    async fn copy(&self, store: &LocalStore, manifest: &mut Manifest) -> Result<()> {
        let mut copies: BTreeMap<String, String> = BTreeMap::new();
        let checks: BTreeMap<String, (u64, u32)> =
            manifest.files().filter_map(|f| Some((f.path()?.to_owned(), (f.len, f.crc32)))).collect();
        for (i, path) in manifest.references().into_iter().enumerate() {
            let bytes = match checks.get(&path) {
                Some((len, crc32)) => self.get_checked_from(store, &path, *len, *crc32).await?,
                // A staged body: its sink holds length and checksum and checks them when it reads.
                None => self
                    .get(store, &path)
                    .await
                    .map_err(|e| codes::storage(&store.root().display().to_string(), &format!("read {path}"), e))?,
            };
            let (directory, extension) = if checks.contains_key(&path) { (DATA, "parquet") } else { (STAGED, "bin") };
            let copy = format!("{directory}/g{}-copy-{}-{i}.{extension}", manifest.generation, self.writer);
            self.put(&copy, bytes, PutMode::Overwrite).await?;
            copies.insert(path, copy);
        }
        let files = manifest.operators.iter_mut().flat_map(|o| &mut o.tables).flat_map(|t| &mut t.parts);
        for file in files.flat_map(|p| &mut p.files) {
            if let Body::Path(path) = &mut file.body
                && let Some(copy) = copies.get(path)
            {
                *path = copy.clone();
            }
        }
        let committables = manifest.sinks.values_mut().flat_map(|s| &mut s.committables);
        committables.for_each(|c| replace(&mut c.0, &copies));
        Ok(())
    }

    /// Locks the directory, creating it; `true` when that is new. The lock is kept until the process ends.
    async fn lock(&self, request: &ClaimRequest) -> Result<bool> {
        if self.lock.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(false);
        }
        let failed = |e| codes::local(&self.place(), "use the state directory", e);
        self.local.create(&[DIRECTORY, DATA, STAGED]).await.map_err(failed)?;
        let (fs, path) = (self.env.fs.clone(), self.local.root().join(LOCK));
        let locked = self.env.spawner.blocking(move || fs.try_lock(&path)).await;
        let locked = locked.map_err(|e| Error::internal(format!("locking: {e}")))?.map_err(failed)?;
        let Some(lock) = locked else {
            return Err(Diagnostic::error(
                STATE_IN_USE,
                format!("another dflow process is running `{}` in this state directory", request.job),
            )
            .with_context("state", self.place())
            .with_help("stop the other process, or give this one its own `--state-dir`")
            .into());
        };
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
        Ok(true)
    }

    /// Renames the whole directory, so that it can be restored from or deleted by hand.
    async fn move_aside(&self, epoch: Epoch, request: &ClaimRequest) -> Result<PathBuf> {
        let failed = |e| codes::local(&self.place(), "move the old state aside", e);
        let root = self.local.root();
        let mut name = root.as_os_str().to_owned();
        name.push(format!(".aside-{epoch}"));
        let aside = self.local.move_to(PathBuf::from(name)).await.map_err(failed)?;
        // The lock went with the directory.
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.lock(request).await.map(|_| aside)
    }

    /// Refuses a directory that somebody uses for something else: what is written and removed here must be ours alone.
    /// Only for one without manifests: where those are, it is a state directory, whatever lies beside them.
    async fn refuse_foreign_files(&self) -> Result<()> {
        let failed = |e| codes::local(&self.place(), "look into the state directory", e);
        let Some(found) = self.local.foreign(OWN, is_ours).await.map_err(failed)? else { return Ok(()) };
        Err(Diagnostic::error(
            FOREIGN_FILES,
            format!("the state directory holds files that are not dflow's: `{found}`"),
        )
        .with_context("state", self.place())
        .with_note("nothing was changed")
        .with_help("give the state a directory of its own, such as a new folder in this one, with `--state-dir`")
        .with_help("`SET 'execution.checkpointing.dir'` makes that folder by itself: its last part is the job's name")
        .into())
    }

    fn foreign(&self, theirs: &str, ours: &str) -> Error {
        Diagnostic::error(FOREIGN_STATE, format!("the state directory belongs to job `{theirs}`, and this is `{ours}`"))
            .with_context("state", self.place())
            .with_note("nothing was changed")
            .with_help("choose another directory with `--state-dir`, or the other job's name with `-n`")
            .into()
    }

    fn no_state(&self, newest: Option<&Manifest>) -> Error {
        let why = match newest {
            Some(newest) if newest.finished => "the last run had finished",
            Some(_) => "no checkpoint was completed",
            None => "there is none",
        };
        Diagnostic::error(NO_STATE, format!("no state to restore: {why}"))
            .with_context("state", self.place())
            .with_help("`--restore auto` starts fresh when there is no state")
            .into()
    }
}

/// What a user should hear about what happens to the state.
fn notices(
    history: &History,
    mode: &RestoreMode,
    base: Option<&Manifest>,
    next: Epoch,
    kept_aside: Option<&FsPath>,
    told: Vec<String>,
) -> Vec<String> {
    let mut notices = Vec::new();
    if let Some(aside) = kept_aside {
        notices.push(format!("the old state is kept at {}", aside.display()));
    }
    match (mode, base, &history.newest) {
        (RestoreMode::Path(path), Some(base), _) => {
            let (epoch, job, path) = (base.epoch, &base.job, path.display());
            notices.push(format!("checkpoint {epoch} of job `{job}` at {path} is restored; the next one is {next}"));
        }
        (_, Some(base), _) if history.damaged => {
            notices.push(format!("newer manifests are damaged: checkpoint {} is restored", base.epoch));
        }
        (_, None, Some(newest)) if newest.finished => {
            notices.push("the last run had read everything and finished: this one starts fresh".into());
        }
        _ => {}
    }
    notices.extend(told);
    notices
}

/// Why a manifest could not be had.
enum Reading {
    /// Its bytes are not one.
    Unreadable(super::manifest::Unreadable),
    /// There is none of that number; the error is for where that means damage.
    Absent(Error),
    /// Its bytes could not be read.
    Failed(Error),
}

/// The content of a fresh start.
fn nothing(request: &ClaimRequest) -> Manifest {
    Manifest { operators: request.operators.iter().map(Operator::new).collect(), ..Manifest::default() }
}

fn replace(value: &mut Value, copies: &BTreeMap<String, String>) {
    match value {
        Value::String(s) => {
            if let Some(copy) = copies.get(s) {
                s.clone_from(copy);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|v| replace(v, copies)),
        Value::Object(fields) => fields.values_mut().for_each(|v| replace(v, copies)),
        _ => {}
    }
}
