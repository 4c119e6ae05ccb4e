//! Scripts to things that can be run: the public face of the engine.
//!
//! ```text
//! Engine ── session ──> Session (catalog, settings) ── compile(script) ──> CompiledScript
//!                                                        ├─ Rows      SHOW, DESCRIBE, EXPLAIN
//!                                                        ├─ Stream    all INSERTs of a streaming script, one job
//!                                                        └─ Batch     one statement of a batch script
//! ```
//! # Invariants
//! Compiling touches nothing outside: connectors check their options, no file is read, no server is asked. Either the
//! whole script compiles, or all of its independent errors are returned and the session is as before.

mod alter;
mod define;
mod draft;
mod external;
mod job;
mod options;
mod script;

pub(crate) use options::{merge as merge_options, no_connector};

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use dflow_common::metrics::Metrics;
use dflow_common::{Diagnostic, Env, SourceMap, SqlType};
use dflow_connector_api::ConnectorRegistry;
use dflow_dsl::ast::Script;
use dflow_dsl::vars::{VariableSource, Variables};
use dflow_runtime::config::JobConfig;
use dflow_runtime::graph::JobGraph;

pub use external::{FunctionBody, ScalarFunction};

use crate::batch::BatchJob;
use crate::catalog::{Catalog, Rows};
use crate::error::Result;
use crate::settings::{Resolved, Settings};
use crate::stream::{JobSummary, QueryOutput};

/// What all sessions of a process share: connectors, functions, the outside world. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) registry: ConnectorRegistry,
    pub(crate) env: Env,
    pub(crate) metrics: Metrics,
    pub(crate) functions: Vec<Arc<ScalarUDF>>,
}

impl Engine {
    /// An engine with these connectors.
    pub fn new(registry: ConnectorRegistry, env: Env, metrics: Metrics) -> Self {
        Self { registry, env, metrics, functions: Vec::new() }
    }

    /// Adds a scalar function of the embedding program; its name is found in any case. One of a built-in function's
    /// name takes its place.
    pub fn scalar_function(&mut self, function: ScalarUDF) -> &mut Self {
        self.functions.push(Arc::new(function));
        self
    }

    /// Adds a scalar function of the embedding program, given without DataFusion's types.
    pub fn register(&mut self, function: ScalarFunction) -> &mut Self {
        self.scalar_function(function.into())
    }

    /// The connectors and formats.
    pub fn registry(&self) -> &ConnectorRegistry {
        &self.registry
    }

    /// The outside world.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Where is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Opens a session: an empty catalog, default settings.
    pub fn session(&self, options: SessionOptions) -> Session {
        Session { engine: self.clone(), options, catalog: Catalog::new(), settings: Settings::new() }
    }
}

/// What a session starts with.
pub struct SessionOptions {
    /// The job's name unless the script sets `pipeline.name`; usually the script's file name without extension.
    pub job_name: String,
    /// What relative paths in table options are relative to: the folder of the script.
    pub base_dir: PathBuf,
    /// Instances per operator unless the script says otherwise: the number of cores.
    pub parallelism: usize,
    /// The time zone unless the script sets `table.local-time-zone`: an IANA name.
    pub time_zone: String,
    /// What `${var:…}`, `${env:…}` and `${file:…}` stand for.
    pub variables: Arc<dyn VariableSource + Send + Sync>,
}

impl SessionOptions {
    /// Parallelism 1, UTC, no variables.
    pub fn new(job_name: impl Into<String>, base_dir: impl Into<PathBuf>) -> Self {
        Self {
            job_name: job_name.into(),
            base_dir: base_dir.into(),
            parallelism: 1,
            time_zone: "UTC".into(),
            variables: Arc::new(Variables::none()),
        }
    }
}

/// A catalog and settings that scripts work on.
pub struct Session {
    pub(crate) engine: Engine,
    pub(crate) options: SessionOptions,
    pub(crate) catalog: Catalog,
    pub(crate) settings: Settings,
}

impl Session {
    /// Sets a key from a flag, which wins over `SET` in scripts. `origin` is the flag as typed.
    ///
    /// # Errors
    /// An unknown key or a value it does not take.
    pub fn set_flag(&mut self, key: &str, value: &str, origin: &str) -> std::result::Result<(), Box<Diagnostic>> {
        self.settings.set_flag(key, value, origin)
    }

    /// The tables and views.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The settings as set.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Compiles a script that parsed without errors.
    ///
    /// # Errors
    /// All independent errors of the script.
    pub fn compile(&mut self, script: &Script, sources: &SourceMap) -> Result<CompiledScript> {
        script::compile(self, script, sources)
    }
}

/// A script that can be run.
#[derive(Debug)]
pub struct CompiledScript {
    /// What to do, in order. Definitions and settings have taken effect already and are not among them.
    pub statements: Vec<CompiledStatement>,
    /// What to tell the user before anything runs.
    pub warnings: Vec<Diagnostic>,
    /// The settings at the end of the script.
    pub settings: Resolved,
}

/// Something a script does.
#[derive(Debug)]
pub enum CompiledStatement {
    /// The answer of SHOW, DESCRIBE, EXPLAIN.
    Rows(Rows),
    /// A streaming job.
    Stream(Box<StreamJob>),
    /// A statement of a batch script.
    Batch(Box<BatchJob>),
}

/// A job for the runtime.
pub struct StreamJob {
    /// What runs.
    pub graph: JobGraph,
    /// How it runs.
    pub config: JobConfig,
    /// What to tell about it.
    pub summary: JobSummary,
    /// The results of bare SELECTs: rows arrive while the job runs.
    pub queries: Vec<QueryOutput>,
    /// The text EXPLAIN would show.
    pub explain: String,
}

impl std::fmt::Debug for StreamJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamJob").field("summary", &self.summary).finish_non_exhaustive()
    }
}

/// The columns of a result.
pub type OutputColumns = Vec<(String, SqlType)>;
