//! `dflow run`, and what it shares with `check` and `explain`: from a file name to a compiled script.
//!
//! ```text
//! file ─> text ─┐
//! flags ────────┼─> session ─> compiled script ─┬─ SHOW, DESCRIBE      rows to stdout
//! variables ────┘                               ├─ streaming job       head block, watch, summary
//!                                               └─ batch statements    one after the other
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use dflow::batch::BatchJob;
use dflow::common::env::{Fs, Spawner};
use dflow::common::metrics::Metrics;
use dflow::common::units::format_duration;
use dflow::common::{Classified, Diagnostic, Env, SourceMap};
use dflow::dsl::vars::Variables;
use dflow::error::BUG;
use dflow::pipeline::{self, Compiled, State};
use dflow::runtime::config::RestoreMode;
use dflow::settings::Overridden;
use dflow::stream::{Guarantee, JobSummary, QueryOutput};
use dflow::{CompiledStatement, Engine, Session, SessionOptions, StreamJob};
use dflow_connector_datagen::PrintFactory;

use super::args::{Output, Parallelism, RunArgs, ScriptArgs, Until, VarArgs};
use super::pipe::{Pipe, Rows};
use super::progress::{plural, short_name};
use super::report::Report;
use super::rows::RowWriter;
use super::script::{self, Loaded};
use super::watch::{Signals, Watch, tell_start, watch};
use super::{stdout, tables};

/// An engine over the machine, and the standard output its rows go to.
pub(crate) struct House {
    pub(crate) engine: Engine,
    pub(crate) pipe: Pipe,
    pub(crate) env: Env,
    pub(crate) cores: usize,
}

impl House {
    /// Opens it.
    pub(crate) fn open() -> Result<Self, Box<Diagnostic>> {
        let cores = available_parallelism().map_or(1, usize::from);
        let spawner = Spawner::owned(cores).map_err(|e| {
            Box::new(
                Diagnostic::error(BUG, format!("cannot start threads: {e}")).with_help("raise the limit of threads"),
            )
        })?;
        let env = Env::production(spawner);
        let pipe = Pipe::stdout();
        let mut registry = dflow::registry();
        // `print` must share standard output with the rows of a SELECT, and end cleanly with its reader.
        registry
            .connector(Arc::new(PrintFactory::new(Arc::new(pipe.clone()), Arc::new(dflow_connector_datagen::Stderr))));
        Ok(Self { engine: Engine::new(registry, env.clone(), Metrics::new()), pipe, env, cores })
    }

    /// A session for this script, with its variables. What they resolve to is never shown.
    fn session(&self, script: &Loaded, vars: &VarArgs, report: &Arc<Report>) -> Result<Session, Box<Diagnostic>> {
        let from_files = script::env_files(&vars.env_file, self.env.fs.as_ref())?;
        let fs = self.env.fs.clone();
        let base = script.base_dir.clone();
        let (for_env, for_files) = (report.clone(), report.clone());
        let variables = Variables::new(
            vars.var.iter().cloned().collect(),
            move |name| {
                let value = match from_files.get(name) {
                    Some(secret) => secret.expose().to_owned(),
                    None => std::env::var(name).ok()?,
                };
                for_env.keep_secret(&value);
                Some(value)
            },
            move |path| {
                let value = read_secret(fs.as_ref(), &base.join(path))?;
                for_files.keep_secret(&value);
                Ok(value)
            },
        );
        let mut options = SessionOptions::new(&script.stem, &script.base_dir);
        options.parallelism = self.cores;
        options.variables = Arc::new(variables);
        Ok(self.engine.session(options))
    }
}

/// The text of a secret file, without the newline editors put at the end.
fn read_secret(fs: &dyn Fs, path: &std::path::Path) -> Result<String, String> {
    let bytes = fs.read(path).map_err(|e| e.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    Ok(text.strip_suffix('\n').map(|t| t.strip_suffix('\r').unwrap_or(t)).unwrap_or(&text).to_owned())
}

/// A script read and planned, or the diagnostics that say why not.
pub(crate) fn compiled(
    house: &House,
    args: &ScriptArgs,
    flags: &[(&str, String, &str)],
    sources: &mut SourceMap,
    report: &Arc<Report>,
) -> Result<(Loaded, Compiled), Vec<Diagnostic>> {
    let script = script::load(&args.script, house.env.fs.as_ref()).map_err(|e| vec![*e])?;
    // Messages may quote the words they are about.
    for value in dflow::dsl::redact::literals(&script.text, dflow::common::secret::is_sensitive) {
        report.keep_secret(&value);
    }
    let mut session = house.session(&script, &args.vars, report).map_err(|e| vec![*e])?;
    for (key, value, origin) in flags {
        session.set_flag(key, value, origin).map_err(|e| vec![*e])?;
    }
    let compiled = pipeline::compile(&mut session, &script.name, &script.text, sources)?;
    Ok((script, compiled))
}

/// `-p` as a setting.
pub(crate) fn parallelism_flag(
    parallelism: Option<Parallelism>,
    cores: usize,
) -> Option<(&'static str, String, &'static str)> {
    let n = match parallelism? {
        Parallelism::Auto => cores,
        Parallelism::Fixed(n) => n,
    };
    Some(("parallelism.default", n.to_string(), "--parallelism"))
}

/// Runs a script; the exit code.
pub(crate) fn run(args: &RunArgs, report: &Arc<Report>) -> u8 {
    let mut sources = SourceMap::new();
    let house = match House::open() {
        Ok(house) => house,
        Err(e) => return report.fail(&e, &sources),
    };
    let mut flags: Vec<(&str, String, &str)> = Vec::new();
    flags.extend(args.name.clone().map(|n| ("pipeline.name", n, "--name")));
    flags.extend(parallelism_flag(args.parallelism, house.cores));
    flags.extend(
        args.checkpoint_interval
            .map(|d| ("execution.checkpointing.interval", format_duration(d), "--checkpoint-interval")),
    );
    let state_dir = args.state_dir.as_ref().map(|dir| dir.display().to_string());
    flags.extend(state_dir.map(|dir| ("execution.checkpointing.dir", dir, "--state-dir")));
    flags
        .extend((args.restore != "auto").then(|| ("execution.state-recovery.path", args.restore.clone(), "--restore")));
    let (script, Compiled(compiled)) = match compiled(&house, &args.script, &flags, &mut sources, report) {
        Ok(done) => done,
        Err(errors) => return report.all(&errors, &sources),
    };
    for warning in &compiled.warnings {
        report.diagnostic(warning, &sources);
    }
    if compiled.statements.is_empty() {
        report.status("nothing to do: the script has no INSERT, no SELECT and no question");
        return 0;
    }
    let retained_dir = compiled.settings.state_dir.map(|(dir, _)| dir);
    let overridden = overridden(&compiled.settings.overridden, &sources);
    // A streaming job tells it in its head.
    if !compiled.statements.iter().any(|s| matches!(s, CompiledStatement::Stream(_))) {
        overridden.iter().for_each(|line| report.status(line.trim_start()));
    }
    let streams = compiled.statements.iter().filter(|s| matches!(s, CompiledStatement::Stream(_))).count();
    let run = Run {
        overridden,
        several: streams > 1,
        args,
        report,
        house: &house,
        script: &script,
        state_root: retained_dir,
        sources: &sources,
    };
    house.env.spawner.block_on(run.statements(compiled.statements))
}

/// One run of one script.
struct Run<'a> {
    args: &'a RunArgs,
    report: &'a Report,
    house: &'a House,
    script: &'a Loaded,
    /// A line per setting that a flag has overridden.
    overridden: Vec<String>,
    /// Whether the script is several jobs: queries that run one after the other.
    several: bool,
    /// `execution.checkpointing.dir`
    state_root: Option<String>,
    sources: &'a SourceMap,
}

impl Run<'_> {
    async fn statements(&self, statements: Vec<CompiledStatement>) -> u8 {
        let mut signals = match Signals::listen() {
            Ok(signals) => signals,
            Err(e) => {
                let error = Diagnostic::error(BUG, format!("cannot listen for signals: {e}"));
                return self.report.fail(&error, self.sources);
            }
        };
        for statement in statements {
            let (code, finished) = match statement {
                CompiledStatement::Rows(rows) => (stdout::print(&tables::text(&rows), self.report), true),
                CompiledStatement::Stream(job) => self.stream(*job, &mut signals).await,
                CompiledStatement::Batch(job) => (self.batch(*job, &mut signals).await, true),
            };
            // Who stops one of several queries stops the run.
            if code != 0 || !finished {
                return code;
            }
        }
        0
    }

    /// Runs a job; the exit code, and whether it read all its input.
    async fn stream(&self, mut job: StreamJob, signals: &mut Signals) -> (u8, bool) {
        job.config.stop_timeout = self.args.stop_timeout;
        let failed = |e: &Diagnostic| (self.report.fail(e, self.sources), false);
        let state = match self.state(&job) {
            Ok(state) => state,
            Err(e) => return failed(&e),
        };
        let head = head(&job.summary, &self.script.name, &state, job.config.checkpoint.interval, self.several);
        for line in head.iter().chain(&self.overridden) {
            self.report.status(line);
        }
        if self.args.dry_run {
            match pipeline::look(&self.house.engine, job, state).await {
                Ok(found) => tell_start(self.report, found.restored, &found.notices),
                Err(e) => return failed(&e.diagnostic()),
            }
            self.report.status("dry run: nothing was read or written");
            return (0, true);
        }
        let prints = !job.queries.is_empty() || job.summary.sinks.iter().any(|s| s.connector == "print");
        let live = self.report.is_live() && !(prints && stdout::is_terminal());
        let mut printers = Vec::new();
        for query in std::mem::take(&mut job.queries) {
            match self.printer(query) {
                Ok(printer) => printers.push(self.house.env.spawner.spawn_io("print", printer)),
                Err(e) => return failed(&e),
            }
        }
        let keeps_state = matches!(state, State::Directory(_));
        let without = match job.config.restore {
            RestoreMode::Auto | RestoreMode::Require => "",
            _ if self.args.restore != "auto" => " without `--restore`",
            _ => " without 'execution.state-recovery.path'",
        };
        let handle = match pipeline::start(&self.house.engine, job, state) {
            Ok(started) => started.handle,
            Err(e) => return failed(&e.diagnostic()),
        };
        let context = Watch {
            report: self.report,
            sources: self.sources,
            env: &self.house.env,
            metrics: self.house.engine.metrics(),
            until: self.args.until,
            pipe: &self.house.pipe,
            keeps_state,
            without,
            live,
        };
        let (mut code, finished) = watch(&handle, signals, &context).await;
        // Forced: nobody waits for rows that are still on their way.
        if code >= 128 {
            return (code, finished);
        }
        for printer in printers {
            code = self.printed(printer.await, code);
        }
        (code, finished)
    }

    /// Prints the rows of a query as they come. After an error it keeps taking them, so that the job can stop.
    fn printer(
        &self,
        mut query: QueryOutput,
    ) -> Result<impl Future<Output = Result<(), Diagnostic>> + Send + use<>, Box<Diagnostic>> {
        let limit = match self.args.until {
            Some(Until::Rows(n)) => Some(n),
            _ => None,
        };
        let mut rows = Some(self.rows(&query, limit)?);
        let (spawner, pipe) = (self.house.env.spawner.clone(), self.house.pipe.clone());
        Ok(async move {
            let mut outcome = Ok(());
            while let Some(batch) = query.rows.recv().await {
                let Some(mut printing) = rows.take() else { continue };
                // Standard output may block for as long as its reader likes.
                let printed = spawner.blocking(move || {
                    let result = printing.print(&batch);
                    (printing, result)
                });
                match printed.await {
                    Ok((printing, Ok(()))) => rows = Some(printing),
                    Ok((_, Err(e))) => {
                        outcome = Err(e.diagnostic());
                        pipe.close();
                    }
                    Err(e) => {
                        outcome = Err(super::bug(&e.to_string(), None));
                        pipe.close();
                    }
                }
            }
            match rows {
                Some(mut rows) => rows.finish().map_err(|e| e.diagnostic()),
                None => outcome,
            }
        })
    }

    fn rows(&self, query: &QueryOutput, limit: Option<u64>) -> Result<Rows, Box<Diagnostic>> {
        let output = self.args.output.unwrap_or(if stdout::is_terminal() { Output::Table } else { Output::Jsonl });
        let writer = RowWriter::new(output, &query.columns, !query.append_only, query.time_zone)
            .map_err(|mut e| Box::new(e.remove(0).diagnostic()))?;
        Ok(self.house.pipe.rows(writer, limit))
    }

    async fn batch(&self, mut job: BatchJob, signals: &mut Signals) -> u8 {
        if self.args.dry_run {
            self.report.status(&format!("would run: {}", job.description));
            return 0;
        }
        let started = self.house.env.clock.monotonic();
        let printer = match job.output.take().map(|query| self.printer(query)).transpose() {
            Ok(printer) => printer.map(|p| self.house.env.spawner.spawn_io("print", p)),
            Err(e) => return self.report.fail(&e, self.sources),
        };
        let (description, pipe) = (job.description.clone(), self.house.pipe.clone());
        let result = tokio::select! {
            biased;
            // A batch statement has no state to save: dropping it stops it, and what was not committed is never seen.
            code = signals.next() => {
                self.report.status("stopped; the statement has no result");
                return code;
            }
            () = pipe.done() => return 0,
            result = job.run() => result,
        };
        // It holds the sending end of its rows: the printer ends with it.
        drop(job);
        let code = match result {
            Ok(rows) => {
                let took = self.house.env.clock.monotonic().saturating_sub(started);
                self.report.status(&format!("{description}: {} in {}", plural(rows, "row"), format_duration(took)));
                0
            }
            Err(e) => self.report.fail(&e.diagnostic(), self.sources),
        };
        match printer {
            Some(printer) => self.printed(printer.await, code),
            None => code,
        }
    }

    /// The exit code after a printer has ended, too.
    fn printed(&self, outcome: Result<Result<(), Diagnostic>, tokio::task::JoinError>, code: u8) -> u8 {
        match outcome {
            Ok(Ok(())) => code,
            Ok(Err(e)) if code == 0 => self.report.fail(&e, self.sources),
            Ok(Err(_)) => code,
            Err(e) => self.report.fail(&super::bug(&e.to_string(), None), self.sources),
        }
    }

    /// Where this job's state goes. A query on its own keeps none: two of them at once are not two instances of one job.
    fn state(&self, job: &StreamJob) -> Result<State, Box<Diagnostic>> {
        if self.several {
            // One after the other they would take each other's state for their own.
            return Ok(State::InMemory);
        }
        if let Some(dir) = &self.args.state_dir {
            return Ok(State::Directory(dir.clone()));
        }
        if let Some(root) = &self.state_root {
            let root = root.strip_prefix("file://").unwrap_or(root);
            if root.contains("://") {
                // Whether that is a place for state is for the store to say.
                return Ok(State::Directory(PathBuf::from(root)));
            }
            return Ok(State::Directory(self.script.base_dir.join(root).join(&job.config.name)));
        }
        let only_queries = job.summary.sinks.len() == job.queries.len();
        if only_queries && self.args.restore == "auto" {
            return Ok(State::InMemory);
        }
        script::default_state_dir(self.script, &job.config.name, |name| std::env::var_os(name)).map(State::Directory)
    }
}

/// What the script sets in vain: `parallelism.default = 2 (p.sql:3:1) is overridden by --parallelism 4`.
fn overridden(all: &[Overridden], sources: &SourceMap) -> Vec<String> {
    let line = |o: &Overridden| {
        let place = o.span.and_then(|s| sources.place(s)).map(|p| format!(" ({p})")).unwrap_or_default();
        format!("  setting    {} = {}{place} is overridden by {} {}", o.key, o.script, o.flag, o.value)
    };
    all.iter().map(line).collect()
}

/// What will run, before the first row moves.
fn head(summary: &JobSummary, script: &str, state: &State, interval: Option<Duration>, several: bool) -> Vec<String> {
    let mut lines = vec![format!("dflow {}  {}  ({script})", env!("CARGO_PKG_VERSION"), summary.name)];
    lines.push(format!(
        "  plan       {}, {}, {} with state, parallelism {}{}",
        plural(summary.sources.len() as u64, "source"),
        plural(summary.sinks.len() as u64, "sink"),
        plural(summary.stateful_operators as u64, "operator"),
        summary.parallelism,
        if summary.bounded { "" } else { ", runs until it is stopped" }
    ));
    for sink in &summary.sinks {
        let mark = if sink.guarantee == Guarantee::ExactlyOnce { "" } else { " (!)" };
        lines.push(format!("  guarantee  {} {}{mark}: {}", short_name(&sink.table), sink.guarantee, sink.reason));
    }
    let every = interval
        .map_or("a checkpoint at the end only".to_owned(), |d| format!("a checkpoint every {}", format_duration(d)));
    lines.push(match state {
        State::Directory(dir) => format!("  state      {}, {every}", dir.display()),
        State::InMemory if several => "  state      none is kept: several queries run one after the other".to_owned(),
        State::InMemory => "  state      none is kept; --state-dir keeps it".to_owned(),
    });
    lines
}
