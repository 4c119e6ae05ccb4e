//! From a script's text to a running job: what an embedding program calls, and what `dflow run` is made of.
//!
//! # Example
//! ```no_run
//! use dflow::common::{Env, SourceMap, env::Spawner, metrics::Metrics};
//! use dflow::pipeline::{self, State};
//! use dflow::{Engine, SessionOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let env = Env::production(Spawner::owned(2)?);
//! let engine = Engine::new(dflow::registry(), env.clone(), Metrics::new());
//! let mut sources = SourceMap::new();
//! let text = "CREATE TABLE t (a INT) WITH ('connector' = 'datagen', 'number-of-rows' = '3'); SELECT a FROM t;";
//! let mut session = engine.session(SessionOptions::new("example", "."));
//! let script = pipeline::compile(&mut session, "example.sql", text, &mut sources)
//!     .map_err(|errors| dflow::render::text(&errors[0], &sources, false))?;
//! for job in script.streams() {
//!     let mut job = pipeline::start(&engine, job, State::InMemory)?;
//!     env.spawner.block_on(async {
//!         while let Some(batch) = job.queries[0].rows.recv().await {
//!             println!("{:?}", batch.data);
//!         }
//!         job.handle.wait().await
//!     });
//! }
//! # Ok(())
//! # }
//! ```
//! # What it does not do
//! It prints nothing, ends no process and installs no signal handler; stopping is [`JobHandle::stop`].

use std::path::PathBuf;
use std::sync::Arc;

use dflow_common::{Diagnostic, Env, SourceMap};
use dflow_engine::stream::QueryOutput;
use dflow_engine::{CompiledScript, CompiledStatement, Engine, Session, StreamJob};
use dflow_runtime::checkpoint::{CheckpointStore, Found, MemoryStore};
use dflow_runtime::graph::NodeKind;
use dflow_runtime::job::{Job, JobHandle};
use dflow_runtime::storage::{Store, StoreOptions};

/// Reads and plans a script. `name` is what messages call it; the text is added to `sources`.
///
/// # Errors
/// All independent errors of the script, in the order of its text.
pub fn compile(
    session: &mut Session,
    name: &str,
    text: &str,
    sources: &mut SourceMap,
) -> Result<Compiled, Vec<Diagnostic>> {
    let source = sources.add(name, text);
    let parsed = dflow_dsl::parse(source, text);
    let is_ok = parsed.is_ok();
    let mut told = parsed.diagnostics;
    // Statements that parse are planned even when others do not, so that one run shows all there is to correct.
    match session.compile(&parsed.script, sources) {
        Ok(mut script) if is_ok => {
            told.append(&mut script.warnings);
            script.warnings = told;
            Ok(Compiled(script))
        }
        Ok(_) => Err(told),
        Err(errors) => {
            told.extend(errors.into_diagnostics());
            told.sort_by_key(|d| d.span().map_or((u32::MAX, 0), |s| (s.source.0, s.start)));
            Err(told)
        }
    }
}

/// A script that can be run.
#[derive(Debug)]
pub struct Compiled(pub CompiledScript);

impl Compiled {
    /// Its streaming jobs: one for all `INSERT`s of a script and its SELECT, one per SELECT when there are several, none in
    /// batch mode.
    pub fn streams(self) -> impl Iterator<Item = StreamJob> {
        self.0.statements.into_iter().filter_map(|s| match s {
            CompiledStatement::Stream(job) => Some(*job),
            CompiledStatement::Rows(_) | CompiledStatement::Batch(_) => None,
        })
    }
}

/// Asks every system that a job reads or writes whether it is ready: what is not, and what may go wrong later. Changes
/// nothing there.
pub async fn preflight(job: &StreamJob, env: &Env) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    for node in &job.graph.nodes {
        let told = match &node.kind {
            NodeKind::Source(source) => source.preflight(env).await,
            NodeKind::Sink { sink, .. } => sink.preflight(env).await,
            NodeKind::Operator(_) => Vec::new(),
        };
        // Two sinks of one table have the same problems.
        for d in told {
            if !found.contains(&d) {
                found.push(d);
            }
        }
    }
    found
}

/// Where a job keeps its checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// In this directory: it survives the process.
    Directory(PathBuf),
    /// Nowhere: restarts inside this process go on from a checkpoint, the next process starts fresh.
    InMemory,
}

/// A job that was started.
pub struct Started {
    /// Watches and stops it.
    pub handle: JobHandle,
    /// Rows of the script's bare SELECTs. They must be read, or the job waits.
    pub queries: Vec<QueryOutput>,
}

/// Starts a job in the background.
///
/// # Errors
/// A state directory that cannot be one. What goes wrong later is in the job's outcome.
pub fn start(engine: &Engine, mut job: StreamJob, state: State) -> dflow_runtime::Result<Started> {
    let queries = std::mem::take(&mut job.queries);
    let handle = runnable(engine, job, state)?.start()?;
    Ok(Started { handle, queries })
}

/// What a job would start from. Nothing is opened, and nothing is changed.
///
/// # Errors
/// State that it could not go on from.
pub async fn look(engine: &Engine, job: StreamJob, state: State) -> dflow_runtime::Result<Found> {
    runnable(engine, job, state)?.look().await
}

fn runnable(engine: &Engine, job: StreamJob, state: State) -> dflow_runtime::Result<Job> {
    let store: Arc<dyn CheckpointStore> = match state {
        State::InMemory => MemoryStore::alone(),
        State::Directory(directory) => Arc::new(Store::open(
            engine.env().clone(),
            StoreOptions {
                location: directory.to_string_lossy().into_owned(),
                retained: job.config.checkpoint.retained,
                allow_older: false,
            },
        )?),
    };
    Ok(Job {
        graph: job.graph,
        config: job.config,
        env: engine.env().clone(),
        metrics: engine.metrics().clone(),
        store,
    })
}
