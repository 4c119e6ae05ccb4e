//! Writes files aside.
//!
//! Encoding and writing happen on a blocking thread, one batch behind: [`Writer::write`] waits for the previous batch
//! only. An error of a batch therefore comes with the next call, at the latest with `prepare`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dflow_common::env::{FsFile, TaskHandle};
use dflow_common::metrics::{BYTES_OUT, CounterHandle, Gauge, SINK_PENDING_BYTES};
use dflow_common::{ChangeBatch, Env, Epoch, RowKind};
use dflow_connector_api::format::Encoder;
use dflow_connector_api::{Committable, Error, Result, Writer, WriterContext};
use futures::future::BoxFuture;
use indexmap::IndexMap;

use super::Config;
use super::create_durable;
use super::names::{Finished, Owner, hidden};
use crate::error::{UNEXPECTED_CHANGE, WRITE_FAILED, writing};

/// Files one writer has open at most; the one that rests longest is closed for another.
pub(crate) const OPEN_FILES_MAX: usize = 64;
/// Encoded bytes collected before they are written.
const BUFFER_BYTES: usize = 256 << 10;

pub(super) struct FileWriter {
    env: Env,
    /// At home, or on its way through a blocking call.
    files: Option<Files>,
    running: Option<TaskHandle<(Files, Result<()>)>>,
}

/// The files of one writer.
struct Files {
    config: Arc<Config>,
    env: Env,
    owner: Owner,
    subtask: usize,
    attempt: u32,
    /// The epoch new files are named after.
    epoch: Epoch,
    /// Files begun.
    count: u64,
    open: IndexMap<String, OpenFile>,
    finished: Vec<Finished>,
    /// Directories with names that are not durable yet.
    dirs: BTreeSet<PathBuf>,
    bytes: CounterHandle,
    pending: Gauge,
    /// What of `pending` is this writer's and not prepared yet.
    reported: u64,
}

struct OpenFile {
    name: String,
    path: PathBuf,
    file: Box<dyn FsFile>,
    encoder: Box<dyn Encoder>,
    buffer: Vec<u8>,
    written: u64,
    rows: u64,
    opened: Duration,
    touched: Duration,
}

impl FileWriter {
    pub(super) fn new(config: Arc<Config>, context: &WriterContext) -> Self {
        let files = Files {
            owner: Owner::new(&context.owner, &context.sink),
            env: context.env.clone(),
            subtask: context.subtask,
            attempt: context.env.rng.next_u64() as u32,
            epoch: context.restored.next(),
            count: 0,
            open: IndexMap::new(),
            finished: Vec::new(),
            dirs: BTreeSet::new(),
            pending: context.metrics.gauge(&SINK_PENDING_BYTES, &[&context.job, &context.sink]),
            bytes: context.metrics.counter(&BYTES_OUT, &[&context.job, &context.sink]),
            reported: 0,
            config,
        };
        Self { env: context.env.clone(), files: Some(files), running: None }
    }

    /// Waits for the call under way and takes the files home.
    async fn home(&mut self) -> Result<Files> {
        if let Some(running) = &mut self.running {
            let ended = running.await;
            self.running = None;
            let (files, result) = ended.map_err(|e| stopped(&e.to_string()))?;
            // After a failed write the files stay away: nothing of them may be committed.
            result?;
            self.files = Some(files);
        }
        self.files.take().ok_or_else(|| stopped("an earlier write failed"))
    }

    fn start(&mut self, mut files: Files, call: impl FnOnce(&mut Files) -> Result<()> + Send + 'static) {
        self.running = Some(self.env.spawner.blocking(move || {
            let result = call(&mut files).map_err(|e| e.at_default(files.config.span));
            (files, result)
        }));
    }
}

fn stopped(why: &str) -> Error {
    Error::new(WRITE_FAILED, format!("the writer has stopped: {why}")).retry()
}

fn unexpected(config: &Config, kind: RowKind) -> Error {
    Error::new(
        UNEXPECTED_CHANGE,
        format!("table `{}` was given a {} row, which its format cannot write", config.table, kind.short()),
    )
    .note("this is a bug of dflow: such queries are refused when they are planned")
}

impl Writer for FileWriter {
    fn write(&mut self, batch: ChangeBatch) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let files = self.home().await?;
            if !files.config.encoding.changelog()
                && let Some(row) = (0..batch.num_rows()).find(|i| batch.ops.kind(*i) != RowKind::Insert)
            {
                return Err(unexpected(&files.config, batch.ops.kind(row)));
            }
            self.start(files, move |files| files.write(&batch));
            Ok(())
        })
    }

    fn prepare(&mut self, epoch: Epoch) -> BoxFuture<'_, Result<Vec<Committable>>> {
        Box::pin(async move {
            let files = self.home().await?;
            self.start(files, move |files| files.finish_all(epoch));
            let mut files = self.home().await?;
            let finished = std::mem::take(&mut files.finished);
            self.files = Some(files);
            finished
                .into_iter()
                .map(|f| {
                    serde_json::to_value(f)
                        .map(Committable)
                        .map_err(|e| Error::new(WRITE_FAILED, format!("a file's name does not serialise: {e}")))
                })
                .collect()
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            // What was not prepared is forgotten; recovery removes its files.
            let Ok(files) = self.home().await else { return Ok(()) };
            self.start(files, |files| {
                files.forget();
                Ok(())
            });
            self.home().await.map(drop)
        })
    }
}

impl Files {
    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        let now = self.env.clock.monotonic();
        self.roll_by_time(now)?;
        let config = self.config.clone();
        for (dir, rows) in config.partitioning.split(batch)? {
            if rows.is_empty() {
                continue;
            }
            let open = match self.open.get_mut(&dir) {
                Some(open) => open,
                None => self.begin(&dir, now)?,
            };
            open.append(&rows, now)?;
            if open.bytes() >= config.rolling.bytes {
                self.finish(&dir)?;
            }
        }
        self.report();
        Ok(())
    }

    /// Adds what this writer has written since the last report; other writers share the gauge.
    fn report(&mut self) {
        let open: u64 = self.open.values().map(OpenFile::bytes).sum();
        let now = open + self.finished.iter().map(|f| f.bytes).sum::<u64>();
        self.pending.inc_by(now as f64 - self.reported as f64);
        self.reported = now;
    }

    fn roll_by_time(&mut self, now: Duration) -> Result<()> {
        let rolling = self.config.rolling;
        let due: Vec<String> = self
            .open
            .iter()
            .filter(|(_, f)| {
                now.saturating_sub(f.opened) >= rolling.age || now.saturating_sub(f.touched) >= rolling.inactivity
            })
            .map(|(dir, _)| dir.clone())
            .collect();
        due.iter().try_for_each(|dir| self.finish(dir))
    }

    /// Begins a file in a directory; makes room for it first.
    fn begin(&mut self, dir: &str, now: Duration) -> Result<&mut OpenFile> {
        if self.open.len() >= OPEN_FILES_MAX
            && let Some(resting) = self.open.iter().min_by_key(|(_, f)| f.touched).map(|(dir, _)| dir.clone())
        {
            self.finish(&resting)?;
        }
        let config = &self.config;
        let path = config.dir.join(dir);
        let fs = &self.env.fs;
        create_durable(fs.as_ref(), &path).map_err(|e| writing(&path, &e))?;
        self.dirs.insert(path.clone());
        let extension = config.encoding.extension();
        let name = self.owner.file(self.epoch, self.subtask, self.count, self.attempt, extension);
        self.count += 1;
        let path = path.join(hidden(&name));
        let file = fs.create_new(&path).map_err(|e| writing(&path, &e))?;
        let open = OpenFile {
            name,
            path,
            file,
            encoder: config.encoding.encoder()?,
            buffer: Vec::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 4),
            written: 0,
            rows: 0,
            opened: now,
            touched: now,
        };
        Ok(self.open.entry(dir.to_owned()).insert_entry(open).into_mut())
    }

    /// Ends a file: everything is written and on disk.
    fn finish(&mut self, dir: &str) -> Result<()> {
        let Some(mut open) = self.open.shift_remove(dir) else { return Ok(()) };
        open.encoder.finish(&mut open.buffer)?;
        open.flush()?;
        open.file.sync().map_err(|e| writing(&open.path, &e))?;
        self.bytes.inc_by(open.written as f64);
        self.finished.push(Finished { dir: dir.to_owned(), file: open.name, rows: open.rows, bytes: open.written });
        Ok(())
    }

    fn finish_all(&mut self, epoch: Epoch) -> Result<()> {
        let dirs: Vec<String> = self.open.keys().cloned().collect();
        dirs.iter().try_for_each(|dir| self.finish(dir))?;
        // After a crash the commit must find the hidden names.
        for dir in std::mem::take(&mut self.dirs) {
            self.env.fs.sync_dir(&dir).map_err(|e| writing(&dir, &e))?;
        }
        self.epoch = epoch.next();
        // From here on the committer counts them down.
        self.report();
        self.reported = 0;
        Ok(())
    }

    /// Removes what is open and not prepared, as far as that is possible.
    fn forget(&mut self) {
        for (_, open) in self.open.drain(..) {
            drop(open.file);
            // Recovery removes it if this fails.
            let _ = self.env.fs.remove_file(&open.path);
        }
    }
}

impl OpenFile {
    fn bytes(&self) -> u64 {
        self.written + (self.buffer.len() + self.encoder.pending_bytes()) as u64
    }

    fn append(&mut self, rows: &ChangeBatch, now: Duration) -> Result<()> {
        self.encoder.encode(rows, &mut self.buffer)?;
        self.rows += rows.num_rows() as u64;
        self.touched = now;
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all(&self.buffer).map_err(|e| writing(&self.path, &e))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
