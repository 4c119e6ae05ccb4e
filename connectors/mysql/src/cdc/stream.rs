//! The log as a split: changes of all captured tables, from a position on, without an end or up to one.
//!
//! # Batches
//! Rows are handed out when [`BATCH_ROWS`] or [`BATCH_BYTES`] are together, and at once when the server has nothing more to
//! send: under light load a change waits for nobody. Each output has a batch then; they are handed out one after the other.
//!
//! # Positions
//! ```text
//!            handed out       in the builders
//! log   ────────────────┬───────────────────┬─────>
//!                       │ `at`              │ `until`
//!                       └ outputs whose batch of this round was handed out already are *ahead*, at `until`
//! ```
//! A checkpoint stores `at`, which outputs are ahead and how far, and the gates as they are at `at`. A restart reads from `at`
//! and hands nothing of the outputs that are ahead out twice. Inside a transaction `at` counts row events.
//!
//! # Cancel safety
//! Dropping [`LogSplit::next`] loses nothing: questions to the server run in a task of their own.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use dflow_common::env::TaskHandle;
use dflow_common::limits::{BATCH_BYTES, BATCH_ROWS};
use dflow_common::{ChangeBatch, Env};
use dflow_connector_api::{ReaderEvent, Result, SplitAssignment, SplitId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::log::LogOptions;
use super::questions::{Answer, Question, ask};
use super::reader::LogReader;
use super::source::{Routes, Shared};
use super::split::Message;
use crate::binlog::assembler::{Ahead, Assembler, Gates, Notice, Outcome};
use crate::binlog::gate::Gate;
use crate::binlog::position::{FilePosition, Position};
use crate::client::Session;
use crate::error;

/// The ranges of a table that were read, as they travel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableGate {
    /// The declared table.
    pub output: String,
    /// The table's database.
    pub database: String,
    /// Its name.
    pub table: String,
    /// Its ranges.
    pub gate: Gate,
}

/// A declared table that the log is read for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    /// Its name.
    pub output: String,
    /// The tables, each with its database; `None` for all that match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<BTreeSet<(String, String)>>,
}

/// Outputs that are ahead, by the names of their declared tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AheadState {
    /// Up to here.
    pub until: Position,
    /// Which.
    pub outputs: Vec<String>,
}

/// Where the log is read from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogState {
    /// Behind everything that was handed out.
    pub at: Position,
    /// Outputs that were handed out further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<AheadState>,
    /// What it is read for. A declared table that is not among them has nothing of it, though it may match.
    pub captures: Vec<Capture>,
    /// Tables whose snapshot the log is not past.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<TableGate>,
    /// Where it ends; `None` without an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<FilePosition>,
    /// Whether it was put down, and only that must still be told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_suspended: bool,
}

/// The log that is read.
pub struct LogSplit {
    assignment: SplitAssignment,
    shared: Arc<Shared>,
    env: Env,
    log: LogReader<Routes>,
    /// Whose gates they are, by index.
    gated: Vec<(String, String, String)>,
    end: Option<FilePosition>,
    asking: Option<TaskHandle<Result<(Answer, Session)>>>,
    /// For questions.
    session: Option<Session>,
    /// Batches of this round that were not handed out.
    pending: VecDeque<(usize, ChangeBatch)>,
    /// Outputs of this round that were.
    ahead: Vec<usize>,
    /// Where the log is behind this round.
    until: Position,
    /// As it is stored.
    state: LogState,
    suspending: bool,
    /// When a position was last told.
    told: Duration,
    is_over: bool,
}

impl LogSplit {
    /// Goes on where `state` says.
    ///
    /// # Errors
    /// [`error::COLUMN_TYPE`].
    pub fn new(
        shared: &Arc<Shared>,
        env: &Env,
        assignment: SplitAssignment,
        state: LogState,
        server_id: u32,
    ) -> Result<LogSplit> {
        let options = shared.options();
        let (mut gates, mut gated, mut by_name): (Gates, Vec<_>, HashMap<_, _>) = Default::default();
        for TableGate { output, database, table, gate } in &state.gates {
            if let Some(i) = shared.output(output) {
                by_name.insert((i, database.clone(), table.clone()), gates.len());
                gated.push((output.clone(), database.clone(), table.clone()));
                gates.push(Some(gate.clone()));
            }
        }
        let ahead = state.ahead.as_ref().map(|ahead| Ahead {
            until: ahead.until.clone(),
            outputs: ahead.outputs.iter().filter_map(|name| shared.output(name)).collect(),
        });
        let captures = state.captures.iter().filter_map(|c| Some((shared.output(&c.output)?, c.tables.clone())));
        let routes = Routes::new(shared, captures.collect(), by_name);
        let assembler = Assembler::new(state.at.clone(), shared.declared()?, routes)
            .with_gates(gates)
            .with_ahead(ahead)
            .with_schema_changes(shared.captured.iter().map(|c| c.options.schema_changes).collect());
        let log = LogOptions { server_id, heartbeat: options.heartbeat };
        let log = LogReader::new(env.clone(), options.endpoint.clone(), log, assembler);
        let mut split = LogSplit {
            assignment,
            shared: shared.clone(),
            env: env.clone(),
            log,
            gated,
            end: state.end.clone(),
            asking: None,
            session: None,
            pending: VecDeque::new(),
            ahead: Vec::new(),
            until: state.at.clone(),
            suspending: state.is_suspended,
            state,
            told: env.clock.monotonic(),
            is_over: false,
        };
        split.ask(Question::Check(Box::new(split.state.clone())));
        Ok(split)
    }

    /// Which split it is.
    pub fn id(&self) -> &SplitId {
        &self.assignment.id
    }

    /// Puts it down at the end of the present transaction.
    pub fn suspend(&mut self) {
        self.suspending = true;
    }

    /// As it is stored.
    pub fn snapshot(&mut self) -> SplitAssignment {
        self.settle();
        let mut state = self.state.clone();
        if !self.pending.is_empty() && !self.ahead.is_empty() {
            let name = |i: &usize| self.shared.name(*i).to_owned();
            state.ahead =
                Some(AheadState { until: self.until.clone(), outputs: self.ahead.iter().map(name).collect() });
        }
        SplitAssignment { position: Some(json!(state)), ..self.assignment.clone() }
    }

    /// The next event.
    ///
    /// # Errors
    /// Those of the log; [`error::POSITION_LOST`] when the server cannot go on from here.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<ReaderEvent> {
        loop {
            if let Some(batch) = self.hand_out() {
                return Ok(batch);
            }
            if let Some(event) = self.ending()? {
                return Ok(event);
            }
            self.answered().await?;
            // What is ahead is less than a round away: until then rows of the others gather.
            let (rows, bytes) = if self.log.assembler().is_behind() { (0, 0) } else { self.ready() };
            if rows >= BATCH_ROWS || bytes >= BATCH_BYTES {
                self.round()?;
                continue;
            }
            let outcome = if rows > 0 {
                let polled = futures::poll!(std::pin::pin!(self.log.advance()));
                match polled {
                    Poll::Ready(outcome) => outcome?,
                    Poll::Pending => {
                        self.round()?;
                        continue;
                    }
                }
            } else {
                self.log.advance().await?
            };
            self.react(outcome);
            if let Some(event) = self.moved() {
                return Ok(event);
            }
        }
    }

    /// The next batch of the round.
    fn hand_out(&mut self) -> Option<ReaderEvent> {
        let (output, batch) = self.pending.pop_front()?;
        self.ahead.push(output);
        self.settle();
        Some(ReaderEvent::Batch { output, split: self.assignment.id.clone(), batch })
    }

    /// What comes at the end, or when the log is put down.
    fn ending(&mut self) -> Result<Option<ReaderEvent>> {
        if self.is_over {
            return Ok(Some(ReaderEvent::SplitFinished(self.assignment.id.clone())));
        }
        let at = self.log.assembler().at();
        let is_at_end =
            self.end.as_ref().is_some_and(|end| matches!(at.compare(end), Some(Ordering::Equal | Ordering::Greater)));
        let is_put_down = self.suspending && !self.log.assembler().is_inside();
        if !is_at_end && !is_put_down {
            return Ok(None);
        }
        if self.ready().0 > 0 {
            self.round()?;
            return Ok(self.hand_out());
        }
        self.settle();
        self.is_over = true;
        if is_at_end {
            return Ok(Some(ReaderEvent::SplitFinished(self.assignment.id.clone())));
        }
        self.state.is_suspended = true;
        let message = Message::Suspended { id: self.assignment.id.clone(), state: Box::new(self.state.clone()) };
        Ok(Some(ReaderEvent::Message(json!(message))))
    }

    /// Rows and bytes in the builders.
    fn ready(&mut self) -> (usize, usize) {
        let outputs = self.shared.captured.len();
        let log = self.log.assembler();
        (0..outputs).map(|i| log.output(i)).fold((0, 0), |(r, b), o| (r + o.rows(), b + o.bytes()))
    }

    /// Takes all rows out of the builders.
    fn round(&mut self) -> Result<()> {
        for i in 0..self.shared.captured.len() {
            if let Some(batch) = self.log.assembler().finish(i)? {
                self.pending.push_back((i, batch));
            }
        }
        self.until = self.log.assembler().position();
        Ok(())
    }

    /// Moves what is stored to where the log is, if everything up to there was handed out.
    fn settle(&mut self) {
        if !self.pending.is_empty() || self.is_over {
            return;
        }
        if !self.ahead.is_empty() {
            self.ahead.clear();
        } else if self.ready().0 > 0 {
            return;
        }
        let log = self.log.assembler();
        if !log.is_behind() {
            self.state.ahead = None;
        }
        self.state.at = log.position();
        log.prune_gates();
        let alive = log.gates().iter().flatten().count();
        if alive != self.state.gates.len() {
            let gates = log.gates().iter().zip(&self.gated);
            self.state.gates = gates
                .filter_map(|(gate, (output, database, table))| {
                    let (output, database, table) = (output.clone(), database.clone(), table.clone());
                    Some(TableGate { output, database, table, gate: gate.clone()? })
                })
                .collect();
        }
    }

    fn react(&mut self, outcome: Outcome) {
        for notice in self.log.assembler().take_notices() {
            match notice {
                Notice::Changed { table, change, at } => {
                    tracing::warn!(table, at = at.to_string(), "a captured table was changed: {change}");
                }
                Notice::PreparedBefore(xid) => {
                    tracing::warn!("XA COMMIT {xid}: prepared before reading began, so its changes are not read");
                }
            }
        }
        match outcome {
            Outcome::Done => {}
            Outcome::NeedsCatalog { database, table } => self.ask(Question::Catalog { database, table }),
            Outcome::NeedsPlaces { gate, keys } => {
                if let Some(Some(Gate { order, bounds, .. })) = self.log.assembler().gates().get(gate) {
                    let (order, bounds) = (order.clone(), bounds.clone());
                    self.ask(Question::Places { gate, order, bounds, keys });
                }
            }
        }
    }

    fn ask(&mut self, question: Question) {
        self.asking = Some(ask(&self.env, &self.shared, self.session.take(), question));
    }

    /// Waits for an answer.
    async fn answered(&mut self) -> Result<()> {
        let Some(asking) = &mut self.asking else { return Ok(()) };
        let answered = asking.await.map_err(|e| error::state_unreadable(&format!("a question was not answered: {e}")));
        self.asking = None;
        let (answer, session) = answered??;
        self.session = Some(session);
        match answer {
            Answer::Checked => {}
            Answer::Catalog { database, table, columns } => self.log.assembler().add_catalog(database, table, columns),
            Answer::Places { gate, placed } => {
                for (key, range) in placed {
                    self.log.assembler().place(gate, key, range);
                }
            }
        }
        Ok(())
    }

    /// Tells now and then that the log moved though no captured table changed: a checkpoint then stores where it is.
    fn moved(&mut self) -> Option<ReaderEvent> {
        let now = self.env.clock.monotonic();
        if now.saturating_sub(self.told) < self.shared.options().heartbeat || self.ready().0 > 0 {
            return None;
        }
        self.told = now;
        let moved = *self.log.assembler().at() != self.state.at.point.at;
        moved.then(|| ReaderEvent::Message(json!(Message::Moved)))
    }
}
