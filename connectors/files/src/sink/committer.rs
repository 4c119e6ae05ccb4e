//! Publishes files of durable checkpoints.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dflow_common::env::Fs;
use dflow_common::metrics::{CounterHandle, Gauge, SINK_COMMITS, SINK_PENDING_BYTES};
use dflow_common::{Env, Epoch};
use dflow_connector_api::{Committable, Committer, CommitterContext, Error, Result};
use futures::future::BoxFuture;

use super::Config;
use super::create_durable;
use super::names::{Finished, Owner, hidden};
use crate::error::{COMMITTED_FILE_LOST, WRITE_FAILED, writing};
use crate::paths::is_hidden;

pub(super) struct FileCommitter {
    config: Arc<Config>,
    env: Env,
    owner: Owner,
    done: CounterHandle,
    failed: CounterHandle,
    pending: Gauge,
}

impl FileCommitter {
    pub(super) fn new(config: Arc<Config>, context: &CommitterContext) -> Self {
        let count = |result| context.metrics.counter(&SINK_COMMITS, &[&context.job, &context.sink, result]);
        Self {
            owner: Owner::new(&context.owner, &context.sink),
            env: context.env.clone(),
            done: count("ok"),
            failed: count("failed"),
            pending: context.metrics.gauge(&SINK_PENDING_BYTES, &[&context.job, &context.sink]),
            config,
        }
    }

    async fn run(&self, call: impl FnOnce(&Config, &dyn Fs) -> Result<()> + Send + 'static) -> Result<()> {
        let (config, fs) = (self.config.clone(), self.env.fs.clone());
        let call = self.env.spawner.blocking(move || call(&config, fs.as_ref()).map_err(|e| e.at_default(config.span)));
        call.await.map_err(|e| Error::new(WRITE_FAILED, format!("the commit stopped: {e}")).retry())?
    }

    fn count(&self, result: Result<()>) -> Result<()> {
        match &result {
            Ok(()) => self.done.inc(),
            Err(_) => self.failed.inc(),
        };
        result
    }
}

impl Committer for FileCommitter {
    fn recover(&mut self, _epoch: Epoch, pending: Vec<Committable>) -> BoxFuture<'_, Result<()>> {
        let owner = self.owner.clone();
        Box::pin(async move {
            let files = parse(pending)?;
            self.pending.set(0.0);
            self.run(move |config, fs| {
                ready(config, fs, &owner)?;
                publish(config, fs, &files)?;
                // Everything of the manifest is visible now: what is still hidden belongs to no checkpoint.
                clean(fs, &config.dir, &owner).map_err(|e| writing(&config.dir, &e))
            })
            .await
        })
    }

    fn commit(&mut self, _epoch: Epoch, committables: Vec<Committable>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let files = parse(committables)?;
            if files.is_empty() {
                return Ok(());
            }
            let bytes: u64 = files.iter().map(|f| f.bytes).sum();
            let result = self.run(move |config, fs| publish(config, fs, &files)).await;
            self.pending.dec_by(bytes as f64);
            self.count(result)
        })
    }
}

fn parse(committables: Vec<Committable>) -> Result<Vec<Finished>> {
    committables
        .into_iter()
        .map(|c| {
            serde_json::from_value(c.0)
                .map_err(|e| Error::new(COMMITTED_FILE_LOST, format!("a file of the checkpoint does not read: {e}")))
        })
        .collect()
}

/// The directory is there and can be written to. Better known before the first row than at the first checkpoint.
fn ready(config: &Config, fs: &dyn Fs, owner: &Owner) -> Result<()> {
    let dir = &config.dir;
    create_durable(fs, dir).map_err(|e| writing(dir, &e))?;
    let probe = dir.join(owner.probe());
    fs.create(&probe)
        .and_then(|file| {
            drop(file);
            fs.remove_file(&probe)
        })
        .map_err(|e| writing(dir, &e))
}

/// Gives files their visible names; those that have them already are left alone.
fn publish(config: &Config, fs: &dyn Fs, files: &[Finished]) -> Result<()> {
    let mut dirs: BTreeSet<PathBuf> = BTreeSet::new();
    for file in files {
        let dir = config.dir.join(&file.dir);
        let (from, to) = (dir.join(hidden(&file.file)), dir.join(&file.file));
        match fs.rename(&from, &to) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => match fs.metadata(&to) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(vanished(config, &to)),
                Err(e) => return Err(writing(&to, &e)),
            },
            Err(e) => return Err(writing(&to, &e)),
        }
        dirs.insert(dir);
    }
    for dir in &dirs {
        if let Some(name) = &config.success_file {
            let marker = dir.join(name);
            fs.create(&marker).and_then(|mut f| f.sync()).map_err(|e| writing(&marker, &e))?;
        }
        fs.sync_dir(dir).map_err(|e| writing(dir, &e))?;
    }
    Ok(())
}

fn vanished(config: &Config, path: &Path) -> Error {
    Error::new(
        COMMITTED_FILE_LOST,
        format!("{} of table `{}` belongs to a completed checkpoint but is not there", path.display(), config.table),
    )
    .note("it was prepared, then removed by somebody else, before or after it became visible")
    .help("put it back; or start afresh with `--restore none`, which reads the input again")
}

/// Removes the hidden files of this sink, in all partitions.
fn clean(fs: &dyn Fs, dir: &Path, owner: &Owner) -> io::Result<()> {
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        let mut removed = false;
        for entry in fs.read_dir(&dir)? {
            let name = entry.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if entry.meta.is_dir {
                if !is_hidden(&name) {
                    todo.push(entry.path);
                }
            } else if owner.owns_hidden(&name) {
                match fs.remove_file(&entry.path) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    _ => removed = true,
                }
            }
        }
        if removed {
            fs.sync_dir(&dir)?;
        }
    }
    Ok(())
}
