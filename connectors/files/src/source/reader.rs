//! Reads its splits one after the other, one batch ahead.
//!
//! While the pipeline works on a batch, a blocking thread reads and decodes the next one.
//!
//! # Invariants
//! * The step under way lives in the reader, not in the future of `next`: dropping that future loses nothing.
//! * `position` is what was returned, never what was read ahead.

use std::collections::VecDeque;
use std::sync::Arc;

use dflow_common::Env;
use dflow_common::env::{Fs, TaskHandle};
use dflow_common::metrics::{BYTES_IN, CounterHandle};
use dflow_connector_api::{Error, Reader, ReaderContext, ReaderEvent, Result, SplitAssignment, SplitId};
use futures::future::BoxFuture;

use super::Config;
use super::errors::Bin;
use super::split::{FileSplit, Position, SplitReader, Step, parse};
use crate::error::READ_FAILED;

/// What travels to the blocking thread and back.
struct Work {
    reader: SplitReader,
    bin: Bin,
}

/// A step's result, and what is needed for the next one.
type Stepped = (Result<Step>, Option<Work>);

pub(super) struct FileReader {
    config: Arc<Config>,
    env: Env,
    context: ReaderContext,
    queue: VecDeque<SplitAssignment>,
    /// The split being read; its position is behind the last batch returned.
    current: Option<SplitAssignment>,
    /// Splits given up before they were begun, to be reported as finished.
    given_up: VecDeque<SplitId>,
    /// The current split is given up.
    stop_current: bool,
    running: Option<TaskHandle<Stepped>>,
    /// Home of the bin between two splits, so that one reader writes one dead-letter file.
    bin: Option<Bin>,
    no_more: bool,
    /// Up to which byte of the current split (unpacked) `bytes` has counted.
    counted: u64,
    bytes: CounterHandle,
}

impl FileReader {
    pub(super) fn new(config: Arc<Config>, context: &ReaderContext) -> Self {
        let labels = [context.source.job.as_str(), config.table.as_str()];
        Self {
            counted: 0,
            bytes: context.source.metrics.counter(&BYTES_IN, &labels),
            env: context.source.env.clone(),
            context: context.clone(),
            config,
            queue: VecDeque::new(),
            current: None,
            given_up: VecDeque::new(),
            stop_current: false,
            running: None,
            bin: None,
            no_more: false,
        }
    }

    async fn advance(&mut self) -> Result<ReaderEvent> {
        loop {
            if let Some(id) = self.given_up.pop_front() {
                return Ok(ReaderEvent::SplitFinished(id));
            }
            let Some(current) = &mut self.current else {
                self.current = self.queue.pop_front();
                match (&self.current, self.no_more) {
                    (Some(_), _) => continue,
                    (None, true) => return Ok(ReaderEvent::End),
                    // Splits are added between two calls, never during one.
                    (None, false) => return futures::future::pending().await,
                }
            };
            let id = current.id.clone();
            let running = match &mut self.running {
                Some(running) => running,
                None => {
                    let new = || Bin::new(&self.config.table, self.config.policy.clone(), &self.context);
                    let bin = self.bin.take().unwrap_or_else(new);
                    let (begun, offset) = begin(&self.config, &self.env, bin, current)?;
                    self.counted = offset;
                    self.running.insert(begun)
                }
            };
            let stepped = running.await;
            self.running = None;
            let (result, work) =
                stepped.map_err(|e| Error::new(READ_FAILED, format!("the thread that read {} stopped: {e}", id.0)))?;
            match result? {
                Step::Batch(batch, position) if !self.stop_current => {
                    current.position = Some(to_json(&position)?);
                    self.bytes.inc_by(position.offset.saturating_sub(self.counted) as f64);
                    self.counted = position.offset;
                    self.running = work.map(|work| go_on(&self.config, &self.env, work));
                    if !batch.is_empty() {
                        return Ok(ReaderEvent::Batch { output: 0, split: id, batch });
                    }
                }
                _ => {
                    self.bin = work.map(|work| work.bin);
                    self.current = None;
                    self.stop_current = false;
                    return Ok(ReaderEvent::SplitFinished(id));
                }
            }
        }
    }
}

/// Opens a split and takes the first step; also says at which byte it begins.
fn begin(
    config: &Arc<Config>,
    env: &Env,
    bin: Bin,
    assignment: &SplitAssignment,
) -> Result<(TaskHandle<Stepped>, u64)> {
    let split: FileSplit = parse(&assignment.split)?;
    let position: Option<Position> = assignment.position.as_ref().map(parse).transpose()?;
    let offset = position.map_or(split.start, |p| p.offset);
    let (config, fs) = (config.clone(), env.fs.clone());
    let step = env.spawner.blocking(move || match SplitReader::open(&config, fs.as_ref(), split, position) {
        Ok(reader) => step(&config, fs.as_ref(), Work { reader, bin }),
        Err(e) => (Err(e.at_default(config.span)), None),
    });
    Ok((step, offset))
}

fn go_on(config: &Arc<Config>, env: &Env, work: Work) -> TaskHandle<Stepped> {
    let (config, fs) = (config.clone(), env.fs.clone());
    env.spawner.blocking(move || step(&config, fs.as_ref(), work))
}

fn step(config: &Config, fs: &dyn Fs, mut work: Work) -> Stepped {
    let result = work.reader.step(config, fs, &mut work.bin).map_err(|e| e.at_default(config.span));
    (result, Some(work))
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|e| Error::new(READ_FAILED, format!("a position does not serialise: {e}")))
}

impl Reader for FileReader {
    fn add_splits(&mut self, splits: Vec<SplitAssignment>) -> Result<()> {
        self.queue.extend(splits);
        Ok(())
    }

    fn revoke_splits(&mut self, splits: &[SplitId]) {
        self.stop_current |= self.current.as_ref().is_some_and(|c| splits.contains(&c.id));
        let queue = std::mem::take(&mut self.queue);
        for assignment in queue {
            if splits.contains(&assignment.id) {
                self.given_up.push_back(assignment.id);
            } else {
                self.queue.push_back(assignment);
            }
        }
    }

    fn no_more_splits(&mut self) {
        self.no_more = true;
    }

    fn next(&mut self) -> BoxFuture<'_, Result<ReaderEvent>> {
        Box::pin(self.advance())
    }

    fn snapshot(&mut self) -> Result<Vec<SplitAssignment>> {
        Ok(self.current.iter().chain(&self.queue).cloned().collect())
    }
}
