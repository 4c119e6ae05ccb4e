//! What happens to records that cannot be decoded.
//!
//! `fail` (the default) ends the job with file, line and field. `skip` counts. `dead-letter` writes
//! `{"table","file","line","offset","field","error","record"}` as one line of JSON to a file in the dead-letter
//! directory and counts.
//!
//! # Invariants
//! Dead letters are on disk before the rows around them leave the reader, so a checkpoint that is behind a bad record
//! has its dead letter. A restart may write it again: at least once.

use std::path::PathBuf;

use dflow_common::Env;
use dflow_common::env::FsFile;
use dflow_common::metrics::{BAD_RECORDS, CounterHandle, DEAD_LETTERS};
use dflow_connector_api::format::BadRecord;
use dflow_connector_api::{Error, Options, ReaderContext, Result, TableRequest};
use serde_json::json;

use crate::error::DEAD_LETTER_FAILED;
use crate::paths;

/// The choice of `dflow.on-error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnError {
    /// End the job.
    Fail,
    /// Go on and count.
    Skip,
    /// Go on, count and keep the record.
    DeadLetter,
}

/// The choice with its directory.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) on_error: OnError,
    dir: Option<PathBuf>,
}

impl Policy {
    pub(crate) fn check(options: &Options, request: &TableRequest, errors: &mut Vec<Error>) -> Option<Self> {
        let on_error = match options.required("dflow.on-error").to_ascii_lowercase().as_str() {
            "skip" => OnError::Skip,
            "dead-letter" => OnError::DeadLetter,
            _ => OnError::Fail,
        };
        let dir = options.text("dflow.dead-letter.path").map(|p| paths::resolve(&request.base_dir, p));
        if on_error == OnError::DeadLetter && dir.is_none() {
            errors.push(
                options
                    .invalid("dflow.on-error", "'dead-letter' needs a directory")
                    .help("add 'dflow.dead-letter.path' = '…' to the WITH clause"),
            );
            return None;
        }
        Some(Self { on_error, dir })
    }

    pub(crate) fn with(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }
}

/// Where a bad record stands.
pub(crate) struct Found<'a> {
    pub(crate) bad: &'a BadRecord,
    /// The file, for people.
    pub(crate) file: &'a str,
    /// From 1.
    pub(crate) line: u64,
    /// In the file, of its first byte.
    pub(crate) offset: u64,
    pub(crate) record: &'a [u8],
}

/// Counts and keeps bad records of one reader.
pub(crate) struct Bin {
    table: String,
    policy: Policy,
    env: Env,
    subtask: usize,
    file: Option<Box<dyn FsFile>>,
    skipped: CounterHandle,
    dead: CounterHandle,
}

impl Bin {
    pub(crate) fn new(table: &str, policy: Policy, context: &ReaderContext) -> Self {
        let labels = [context.source.job.as_str(), table];
        let metrics = &context.source.metrics;
        Self {
            table: table.to_owned(),
            policy,
            env: context.source.env.clone(),
            subtask: context.subtask,
            file: None,
            skipped: metrics.counter(&BAD_RECORDS, &labels),
            dead: metrics.counter(&DEAD_LETTERS, &labels),
        }
    }

    /// Deals with bad records as the policy says; with `fail` the first of them is the error.
    pub(crate) fn take(&mut self, all: &[Found<'_>]) -> Result<()> {
        let Some(first) = all.first() else { return Ok(()) };
        match self.policy.on_error {
            OnError::Fail => Err(dflow_formats::error::bad_record(&self.table, first.bad)
                .context("file", first.file)
                .context("line", first.line.to_string())
                .context("offset", first.offset.to_string())
                .help("correct the record, or set 'dflow.on-error' = 'skip' or 'dead-letter' on the table")),
            OnError::Skip => {
                self.skipped.inc_by(all.len() as f64);
                Ok(())
            }
            OnError::DeadLetter => {
                let mut text = Vec::new();
                for found in all {
                    self.describe(found, &mut text);
                }
                self.write(&text)?;
                self.skipped.inc_by(all.len() as f64);
                self.dead.inc_by(all.len() as f64);
                Ok(())
            }
        }
    }

    fn describe(&self, found: &Found<'_>, out: &mut Vec<u8>) {
        let letter = json!({
            "table": self.table,
            "file": found.file,
            "line": found.line,
            "offset": found.offset,
            "field": found.bad.field,
            "error": found.bad.message,
            "record": String::from_utf8_lossy(found.record),
        });
        out.extend_from_slice(letter.to_string().as_bytes());
        out.push(b'\n');
    }

    fn write(&mut self, text: &[u8]) -> Result<()> {
        let Some(dir) = self.policy.dir.clone() else { return Ok(()) };
        let failed = |e: std::io::Error| self::failed(&dir, &e);
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                self.env.fs.create_dir_all(&dir).map_err(failed)?;
                let file = self.create(&dir).map_err(failed)?;
                self.env.fs.sync_dir(&dir).map_err(failed)?;
                file
            }
        };
        file.write_all(text).map_err(failed)?;
        file.sync().map_err(failed)?;
        self.file = Some(file);
        Ok(())
    }

    /// A file nobody has: every reader of every attempt writes its own.
    fn create(&self, dir: &std::path::Path) -> std::io::Result<Box<dyn FsFile>> {
        let name = self.table.rsplit('.').next().unwrap_or_default();
        loop {
            let id = self.env.rng.next_u64();
            let path = dir.join(format!("{}-{}-{id:016x}.jsonl", paths::escape(name), self.subtask));
            match self.env.fs.create_new(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                other => return other,
            }
        }
    }
}

fn failed(dir: &std::path::Path, e: &std::io::Error) -> Error {
    Error::new(DEAD_LETTER_FAILED, format!("dead letters could not be written to {}: {e}", dir.display()))
        .help("make room in the directory of 'dflow.dead-letter.path' and let dflow write there")
        .retry()
}
