//! Which chunk is read when, and when the log follows.
//!
//! ```text
//! find tables ─> plan chunks ─> assign a few ahead ─> all read ─> (a barrier) ─> assign the log
//!                                   ▲ finished ranges with their marks ┘
//! restart with new tables:  revoke the log ─> it is put down ─> chunks of the new tables ─> (a barrier) ─> assign the log
//! ```
//! # Handing over
//! The rows of a key may come from two readers: from its chunk, then from the log. Downstream they may meet in one task over
//! two channels, and nothing orders two channels but a barrier. So with more than one reader the log is assigned behind a
//! barrier that is itself behind all chunks:
//! 1. A reader tells of a chunk after it has handed out the chunk's rows, so when the enumerator hears of the last one all
//!    rows of all chunks are in their channels, or before them in a reader's chain.
//! 2. At the next checkpoint the runtime takes the enumerator's snapshot, and puts the barrier into every reader's commands
//!    behind every assignment that was made until then. That snapshot notes that everything was finished ([`Seal`]).
//! 3. The log is assigned after it. The command reaches its reader behind the barrier, so every row of the log is behind the
//!    barrier in its channel; every row of a chunk is before the barrier in its own.
//! 4. A task that has the barrier from one channel reads that channel on only when it has it from all. So the rows of the
//!    chunks are taken in first.
//!
//! Whether the checkpoint succeeds is of no matter: barriers of an aborted one go the same way. After a restore everything that
//! the checkpoint calls finished lies before its barrier, and no other one is needed. With one reader all rows take the same
//! way, and the log is assigned at once. Without checkpoints and with several readers there is no barrier, and the log would
//! wait for ever: a warning says so.
//!
//! # State
//! Tables with what is planned of them, and finished ranges, of which neighbours with equal marks are one. Once the log is
//! assigned its split has the ranges, and drops those of each table it is past; here only the tables' names are left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering as Atomic};
use std::time::Duration;

use dflow_common::Env;
use dflow_common::env::TaskHandle;
use dflow_connector_api::{Enumerator, EnumeratorEvent, Result, SourceContext, SplitAssignment, SplitId};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::chunks::Chunk;
use super::chunks::plan::{Plan, Planned, Planner};
use super::discover::{Found, discover};
use super::progress::{Counts, Progress};
use super::source::Shared;
use super::split::{Done, Message, Split};
use super::state::{Known, Log, Run, State, Table, add_run, index_of, later};
use super::stream::{Capture, LogState, TableGate};
use crate::binlog::gate::Gate;
use crate::binlog::key::Order;
use crate::binlog::position::{FilePosition, Position};
use crate::error;

/// The format of a stored state.
const STATE_VERSION: u8 = 1;
/// Chunks that are assigned and not finished, for each reader.
const CHUNKS_PER_READER: usize = 2;
/// How long the log may wait for a barrier before a warning.
const BARRIER_WARNING: Duration = Duration::from_secs(60);

/// Whether a barrier lies behind everything that is finished.
struct Seal(AtomicU8);

impl Seal {
    const BROKEN: u8 = 0;
    const WHOLE: u8 = 1;

    fn set(&self, whole: bool) {
        self.0.store(if whole { Self::WHOLE } else { Self::BROKEN }, Atomic::Relaxed);
    }

    fn is_whole(&self) -> bool {
        self.0.load(Atomic::Relaxed) == Self::WHOLE
    }
}

/// Discovers chunks, then the log.
pub(super) struct CdcEnumerator {
    shared: Arc<Shared>,
    env: Env,
    parallelism: usize,
    state: State,
    seal: Seal,
    /// Whether `next` was called: what was heard before is of the restored checkpoint.
    is_live: bool,
    /// Whether tables were looked for since the start.
    is_discovered: bool,
    discovering: Option<TaskHandle<Result<Found>>>,
    planner: Option<Planner>,
    is_announced: bool,
    waiting_since: Option<Duration>,
    progress: Option<Progress>,
}

impl CdcEnumerator {
    /// From scratch, or from a snapshot.
    ///
    /// # Errors
    /// [`error::STATE_UNREADABLE`].
    pub(super) fn new(shared: Arc<Shared>, context: &SourceContext, restored: Option<Value>) -> Result<Self> {
        let state = match restored {
            Some(value) => {
                let state: State =
                    serde_json::from_value(value).map_err(|e| error::state_unreadable(&e.to_string()))?;
                if state.version != STATE_VERSION {
                    let why = format!("it is of version {}, this build reads {STATE_VERSION}", state.version);
                    return Err(error::state_unreadable(&why));
                }
                state
            }
            None => State {
                version: STATE_VERSION,
                start: None,
                tables: Vec::new(),
                known: BTreeSet::new(),
                marks: Vec::new(),
                log: Log::Waits,
                logs: 0,
            },
        };
        Ok(Self {
            shared,
            env: context.env.clone(),
            parallelism: context.parallelism,
            state,
            seal: Seal(AtomicU8::new(Seal::BROKEN)),
            is_live: false,
            is_discovered: false,
            discovering: None,
            planner: None,
            is_announced: false,
            waiting_since: None,
            progress: None,
        })
    }

    async fn decide(&mut self) -> Result<EnumeratorEvent> {
        if !std::mem::replace(&mut self.is_live, true) {
            self.seal.set(self.is_all_read());
        }
        loop {
            if !self.is_discovered {
                self.discover().await?;
                continue;
            }
            if self.state.log == Log::Read && self.state.tables.iter().any(|t| !t.plan.is_over || !t.open.is_empty()) {
                // New tables: the log waits for them.
                self.state.log = Log::Revoked;
                self.is_announced = true;
                self.seal.set(false);
                return Ok(EnumeratorEvent::Revoke(vec![self.log_id()]));
            }
            if self.state.log == Log::Revoked && !self.is_announced {
                self.is_announced = true;
                return Ok(EnumeratorEvent::Revoke(vec![self.log_id()]));
            }
            self.tell_progress();
            if self.is_all_read() {
                if let Some(event) = self.hand_over().await {
                    return Ok(event);
                }
                continue;
            }
            let open: usize = self.state.tables.iter().map(|t| t.open.len()).sum();
            if open >= CHUNKS_PER_READER * self.parallelism || self.state.tables.iter().all(|t| t.plan.is_over) {
                // A reader will tell when a chunk is read.
                return std::future::pending().await;
            }
            if let Some(chunk) = self.planned().await? {
                let split = SplitAssignment { id: chunk.id(), split: json!(Split::Chunk(chunk)), position: None };
                return Ok(EnumeratorEvent::Assign(vec![split]));
            }
        }
    }

    fn tell_progress(&mut self) {
        let now = self.env.clock.monotonic();
        if self.progress.as_ref().is_some_and(|progress| !progress.is_due(now)) {
            return;
        }
        let mut counts = Counts { tables: self.state.tables.len(), ..Counts::default() };
        for Table { plan, open, finished } in &self.state.tables {
            let is_read = plan.is_over && open.is_empty();
            let chunks: u64 = finished.iter().map(|run| run.last - run.first + 1).sum();
            let read = chunks.saturating_mul(plan.shape.as_ref().map_or(0, |shape| shape.rows));
            counts.tables_read += usize::from(is_read);
            counts.rows += plan.rows;
            counts.rows_read += if is_read { plan.rows } else { read.min(plan.rows) };
        }
        let progress = self.progress.get_or_insert_with(|| Progress::new(now, counts.rows_read));
        if let Some(report) = progress.report(now, counts).filter(|_| counts.tables_read < counts.tables) {
            tracing::info!("{report}");
        }
    }

    /// Looks for tables; at a restart for those that are new.
    async fn discover(&mut self) -> Result<()> {
        let discovering = match self.discovering.take() {
            Some(discovering) => discovering,
            None => {
                let task = discover(self.env.clone(), self.shared.clone(), self.state.start.is_none());
                self.env.spawner.spawn_io("mysql-discover", task)
            }
        };
        let discovering = self.discovering.insert(discovering);
        let found = discovering.await.map_err(|e| error::state_unreadable(&format!("looking for tables failed: {e}")));
        self.discovering = None;
        let found = found??;
        let is_first = self.state.start.is_none();
        // Chunks that are read already need the log from where they began.
        if let Some(start) = found.start
            && self.state.tables.is_empty()
        {
            self.state.start = Some(start);
        }
        let of = |plan: &Plan| Known {
            output: plan.output.clone(),
            database: plan.database.clone(),
            table: plan.table.clone(),
        };
        let outputs: BTreeSet<String> = self.state.known.iter().map(|k| k.output.clone()).collect();
        let being_read: BTreeSet<Known> = self.state.tables.iter().map(|t| of(&t.plan)).collect();
        for plan in found.plans {
            let known = of(&plan);
            if self.state.known.contains(&known) || being_read.contains(&known) {
                continue;
            }
            let takes_new =
                self.shared.output(&plan.output).is_some_and(|i| self.shared.captured[i].options.takes_new_tables);
            // A table that the script did not declare before is read whatever the option says: it has nothing yet.
            if is_first
                || takes_new
                || (!outputs.contains(&plan.output) && !being_read.iter().any(|k| k.output == plan.output))
            {
                self.state.tables.push(Table { plan, open: BTreeSet::new(), finished: Vec::new() });
            } else {
                tracing::warn!(
                    table = format!("{}.{}", plan.database, plan.table),
                    "a new table matches; its rows are not read, its changes are: 'scan.newly-added-table.enabled' = 'true' reads both"
                );
                self.state.known.insert(known);
            }
        }
        if !self.shared.options().startup.reads_tables() {
            self.state.known.extend(std::mem::take(&mut self.state.tables).iter().map(|t| of(&t.plan)));
        }
        self.is_discovered = true;
        Ok(())
    }

    /// The next chunk. Cancel safe.
    async fn planned(&mut self) -> Result<Option<Chunk>> {
        let planner = match self.planner.take() {
            Some(planner) => planner,
            None => {
                let plans = self.state.tables.iter().map(|t| t.plan.clone()).collect();
                Planner::start(self.shared.clone(), &self.env, plans)
            }
        };
        match self.planner.insert(planner).next().await {
            Some(Ok(Planned::Shape(i, shape))) => {
                self.state.tables[i].plan.shape = Some(shape);
                Ok(None)
            }
            Some(Ok(Planned::Chunk(i, chunk, is_last))) => {
                let table = &mut self.state.tables[i];
                table.open.insert(chunk.number);
                table.plan.is_over = is_last;
                match chunk.number {
                    Chunk::LAST => table.plan.number = table.plan.number.max(1),
                    number => (table.plan.number, table.plan.from) = (number + 1, chunk.to.clone()),
                }
                Ok(Some(chunk))
            }
            Some(Err(e)) => Err(e),
            None => {
                // Declared no more: nothing of them is read.
                self.state.tables.iter_mut().for_each(|t| t.plan.is_over = true);
                Ok(None)
            }
        }
    }

    fn is_all_read(&self) -> bool {
        self.state.start.is_some()
            && !matches!(self.state.log, Log::Revoked)
            && self.state.tables.iter().all(|t| t.plan.is_over && t.open.is_empty())
    }

    fn log_id(&self) -> SplitId {
        SplitId(format!("log/{}", self.state.logs))
    }

    /// What follows when all tables are read; `None` when that has to be looked at again.
    async fn hand_over(&mut self) -> Option<EnumeratorEvent> {
        let is_bounded = !self.shared.options().startup.reads_log();
        match self.state.log {
            Log::Waits | Log::Down(_) => {}
            Log::Over if is_bounded && !std::mem::replace(&mut self.is_announced, true) => {
                return Some(EnumeratorEvent::NoMoreSplits);
            }
            // A restart may have new tables: the end of splits is never told.
            _ => return std::future::pending().await,
        }
        let state = self.log_state();
        let follows_rows = !self.state.tables.is_empty() || matches!(self.state.log, Log::Down(_));
        if state.is_some() && self.parallelism > 1 && follows_rows && !self.seal.is_whole() {
            let now = self.env.clock.monotonic();
            let since = *self.waiting_since.get_or_insert(now);
            let left = (since + BARRIER_WARNING).saturating_sub(now);
            if left.is_zero() {
                self.waiting_since = Some(now + BARRIER_WARNING * 60);
                tracing::warn!(
                    "all tables are read; their changes follow at the next checkpoint, and none came for {BARRIER_WARNING:?}: \
                     set 'execution.checkpointing.interval', or a parallelism of 1"
                );
            }
            self.env.clock.sleep(left.max(Duration::from_millis(1))).await;
            return None;
        }
        self.state.known.extend(std::mem::take(&mut self.state.tables).into_iter().map(|t| Known {
            output: t.plan.output,
            database: t.plan.database,
            table: t.plan.table,
        }));
        self.state.marks.clear();
        self.planner = None;
        let Some(state) = state else {
            self.state.log = Log::Over;
            return None;
        };
        self.state.log = if is_bounded { Log::Over } else { Log::Read };
        self.state.logs += 1;
        let split = SplitAssignment { id: self.log_id(), split: json!(Split::Log(state)), position: None };
        Some(EnumeratorEvent::Assign(vec![split]))
    }

    /// Where the log is read from; `None` when nothing has to be.
    fn log_state(&self) -> Option<LogState> {
        let mut gates: Vec<TableGate> = self.state.tables.iter().filter_map(|t| self.gate(t)).collect();
        let mut at = self.state.start.clone()?;
        let is_bounded = !self.shared.options().startup.reads_log();
        let end = gates.iter().map(|g| &g.gate.last).cloned().reduce(later).filter(|_| is_bounded);
        if is_bounded && gates.iter().all(|g| g.gate.marks.iter().all(|mark| Some(mark) == end.as_ref())) {
            // All chunks are of one moment.
            return None;
        }
        if let Log::Down(down) = &self.state.log {
            at = self.resumed(down, at, &mut gates);
        }
        Some(LogState { at, ahead: None, captures: self.captures(), gates, end, is_suspended: false })
    }

    /// What the log is read for: declared tables; with their tables when others are new at the next restart.
    fn captures(&self) -> Vec<Capture> {
        let capture = |(i, c): (usize, &Arc<super::source::Captured>)| {
            let name = self.shared.name(i);
            let is_limited = c.options.takes_new_tables && c.options.startup.reads_tables();
            let read = self.state.tables.iter().map(|t| &t.plan).filter(|p| p.output == name);
            let read = read.map(|p| (p.database.clone(), p.table.clone()));
            let known = self.state.known.iter().filter(|k| k.output == name);
            let known = known.map(|k| (k.database.clone(), k.table.clone()));
            Capture { output: name.to_owned(), tables: is_limited.then(|| read.chain(known).collect()) }
        };
        self.shared.captured.iter().enumerate().map(capture).collect()
    }

    /// Where a log that was put down goes on: there, unless it is behind the mark of a new table. Then it begins where the new
    /// tables did, and the old ones are gated up to where it was.
    fn resumed(&self, down: &LogState, start: Position, gates: &mut Vec<TableGate>) -> Position {
        let here = &down.at.point.at;
        let is_behind = |mark: &FilePosition| here.compare(mark) == Some(std::cmp::Ordering::Greater);
        if !gates.iter().any(|g| g.gate.marks.iter().any(is_behind)) {
            gates.extend(down.gates.iter().cloned());
            return down.at.clone();
        }
        for known in &self.state.known {
            let is_of =
                |g: &&TableGate| (&g.output, &g.database, &g.table) == (&known.output, &known.database, &known.table);
            let gate = match down.gates.iter().find(is_of) {
                Some(TableGate { gate, .. }) => {
                    let marks = gate.marks.iter().map(|mark| later(mark.clone(), here.clone()));
                    let bounds = std::iter::once(None).chain(gate.bounds.iter().cloned().map(Some));
                    Gate::new(gate.column.clone(), gate.order.clone(), bounds.zip(marks))
                }
                None => Gate::new(String::new(), Order::Exact, [(None, here.clone())]),
            };
            gates.push(TableGate {
                output: known.output.clone(),
                database: known.database.clone(),
                table: known.table.clone(),
                gate,
            });
        }
        start
    }

    /// The finished ranges of a table, in order.
    fn gate(&self, table: &Table) -> Option<TableGate> {
        let mark = |i: u32| self.state.marks.get(i as usize).cloned().unwrap_or_default();
        let ranges = table.finished.iter().flat_map(|run| &run.ranges).map(|(from, i)| (from.clone(), mark(*i)));
        let (column, order) = (table.plan.column.name.clone(), table.plan.column.order.clone());
        let gate = Gate::new(column, order, ranges);
        (!gate.marks.is_empty()).then(|| TableGate {
            output: table.plan.output.clone(),
            database: table.plan.database.clone(),
            table: table.plan.table.clone(),
            gate,
        })
    }

    /// A chunk is read.
    fn finished(&mut self, id: &SplitId, done: Vec<Done>) {
        let marks = &mut self.state.marks;
        for table in &mut self.state.tables {
            let plan = &table.plan;
            let number = table.open.iter().copied().find(|number| plan.chunk(*number, None, None).id() == *id);
            let Some(number) = number else { continue };
            table.open.remove(&number);
            let ranges = done.into_iter().map(|(from, mark)| (from, index_of(marks, mark))).collect();
            add_run(&mut table.finished, Run { first: number, last: number, ranges });
            self.seal.set(false);
            return;
        }
        // Told a second time after a restart.
    }
}

impl Enumerator for CdcEnumerator {
    fn next(&mut self) -> BoxFuture<'_, Result<EnumeratorEvent>> {
        Box::pin(self.decide())
    }

    fn reader_message(&mut self, _subtask: usize, message: Value) {
        match serde_json::from_value(message) {
            Ok(Message::Chunk { id, done }) => self.finished(&id, done),
            Ok(Message::Suspended { id, state }) if id == self.log_id() && matches!(self.state.log, Log::Revoked) => {
                self.state.log = Log::Down(state);
                self.is_announced = false;
                self.seal.set(false);
            }
            Ok(Message::Suspended { .. } | Message::Moved) => {}
            Err(e) => tracing::error!("a reader's message does not read: {e}"),
        }
    }

    fn snapshot(&self) -> Result<Value> {
        if self.is_all_read() {
            self.seal.set(true);
        }
        Ok(json!(self.state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn checkpoint_of_something_else_is_told() {
        use dflow_common::Classified;
        let context = SourceContext {
            job: "j".into(),
            parallelism: 1,
            env: dflow_common::env::sim::env_real_fs(1),
            metrics: dflow_common::metrics::Metrics::new(),
        };
        let later =
            json!({"version": 2, "start": null, "tables": [], "known": [], "marks": [], "log": "waits", "logs": 0});
        for state in [json!({"files": []}), later] {
            let shared = Arc::new(Shared::new(vec![]));
            let error = CdcEnumerator::new(shared, &context, Some(state)).err().unwrap();
            assert_eq!(error.code(), error::STATE_UNREADABLE.code, "{error}");
        }
    }
}
