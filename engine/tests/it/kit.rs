//! A connector in memory, and ways to compile and run a script.
//!
//! `'connector' = 'mem'`: a source of the rows in its option `rows` (`+ 1,a; - 1,a; …`, fields cast to the columns' types), with
//! `changelog` `append`, `retract` or `upsert`; a sink that keeps what it gets under the table's name and takes what its
//! option `takes` says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::cast;
use dflow_common::env::Spawner;
use dflow_common::metrics::Metrics;
use dflow_common::{ChangeBatch, Diagnostic, Env, Epoch, Ops, SourceMap};
use dflow_connector_api::testing::{Broker, MemorySource, rows};
use dflow_connector_api::{
    ChangelogSupport, Committable, ConnectorFactory, ConnectorRegistry, ConnectorSpec, Error, OptionSpec, OptionType,
    Options, OutputSchema, Result, Roles, Sink, SinkMode, Source, SourceChangelog, TableRequest, Writer, WriterContext,
};
use dflow_engine::{CompiledScript, CompiledStatement, Engine, Session, SessionOptions};
use dflow_runtime::checkpoint::MemoryStore;
use dflow_runtime::job::{Job, JobEnd};
use futures::future::BoxFuture;

/// What sinks got, by table.
pub(crate) type Written = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

static SPEC: ConnectorSpec = ConnectorSpec {
    name: "mem",
    summary: "Rows in memory.",
    roles: Roles { source: true, sink: true, lookup: false },
    options: &[
        OptionSpec::new("rows", OptionType::Text, "The rows."),
        OptionSpec::new("changelog", OptionType::Enum(&["append", "retract", "upsert"]), "Kinds.").default("append"),
        OptionSpec::new("takes", OptionType::Enum(&["append", "upsert", "all"]), "Kinds taken.").default("append"),
        OptionSpec::new("share", OptionType::Text, "Tables of one value share a reader."),
        OptionSpec::new("topic", OptionType::Text, "Which data it is.").identity(),
        OptionSpec::new("unbounded", OptionType::Bool, "It never ends.").default("false"),
        OptionSpec::new("property-version", OptionType::Int, "Nothing.").without_effect(),
        OptionSpec::new("password", OptionType::Text, "A secret.").secret(),
    ],
    takes_format: false,
    guarantees: &["For tests."],
};

pub(crate) struct MemFactory(pub(crate) Written);

impl MemFactory {
    fn options(request: &TableRequest) -> Result<Options, Vec<Error>> {
        Options::check("connector 'mem'", SPEC.options, &request.options, request.span)
    }
}

impl ConnectorFactory for MemFactory {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn source(&self, request: &TableRequest) -> Result<Arc<dyn Source>, Vec<Error>> {
        let options = Self::options(request)?;
        let broker = Broker::new();
        if let Some(batch) = batch(request, options.text("rows").unwrap_or("")) {
            broker.append(&request.name, 0, batch);
        }
        broker.finish(&request.name).close();
        let output = OutputSchema {
            table: request.name.clone(),
            schema: request.schema.clone(),
            projection: request.projection.clone(),
            predicate: request.predicate.clone(),
            changelog: match options.required("changelog") {
                "retract" => SourceChangelog::Retract,
                "upsert" => SourceChangelog::Upsert,
                _ => SourceChangelog::Append,
            },
        };
        let source = MemorySource::new(&broker, vec![output]);
        let source = if options.bool("unbounded") { source.unbounded() } else { source };
        Ok(match options.text("share") {
            Some(key) => Arc::new(source.share(key)),
            None => Arc::new(source),
        })
    }

    fn sink(&self, request: &TableRequest) -> Result<Arc<dyn Sink>, Vec<Error>> {
        let options = Self::options(request)?;
        let takes = match options.required("takes") {
            "upsert" => ChangelogSupport::Upsert,
            "all" => ChangelogSupport::All,
            _ => ChangelogSupport::AppendOnly,
        };
        let name = request.name.rsplit('.').next().unwrap_or_default().to_owned();
        Ok(Arc::new(MemSink { written: self.0.clone(), name, takes }))
    }
}

/// `+ 1,a; - 1,a` as a batch of all columns; the source projects.
fn batch(request: &TableRequest, text: &str) -> Option<ChangeBatch> {
    let lines: Vec<&str> = text.split(';').map(str::trim).filter(|l| !l.is_empty()).collect();
    if lines.is_empty() {
        return None;
    }
    let kinds = lines.iter().map(|l| if l.starts_with('-') { 3 } else { 0 }).collect();
    let fields: Vec<Vec<&str>> = lines.iter().map(|l| l[1..].trim().split(',').collect()).collect();
    let schema = request.schema.arrow();
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(i, field)| {
            let text: StringArray = fields.iter().map(|f| f.get(i).filter(|f| **f != "NULL").copied()).collect();
            cast(&text, field.data_type()).unwrap()
        })
        .collect();
    let data = RecordBatch::try_new(schema, columns).unwrap();
    Some(ChangeBatch::new(data, Ops::from_kinds(kinds)))
}

struct MemSink {
    written: Written,
    name: String,
    takes: ChangelogSupport,
}

impl Sink for MemSink {
    fn mode(&self) -> SinkMode {
        if self.takes == ChangelogSupport::Upsert { SinkMode::Idempotent } else { SinkMode::AtLeastOnce }
    }

    fn changelog(&self) -> ChangelogSupport {
        self.takes.clone()
    }

    fn writer(&self, _: &WriterContext) -> Result<Box<dyn Writer>> {
        Ok(Box::new(MemWriter { written: self.written.clone(), name: self.name.clone() }))
    }
}

struct MemWriter {
    written: Written,
    name: String,
}

impl Writer for MemWriter {
    fn write(&mut self, batch: ChangeBatch) -> BoxFuture<'_, Result<()>> {
        self.written.lock().unwrap().entry(self.name.clone()).or_default().extend(rows(&batch));
        Box::pin(std::future::ready(Ok(())))
    }

    fn prepare(&mut self, _: Epoch) -> BoxFuture<'_, Result<Vec<Committable>>> {
        Box::pin(std::future::ready(Ok(vec![])))
    }
}

/// A session with its sources.
pub(crate) struct Kit {
    pub(crate) engine: Engine,
    pub(crate) session: Session,
    pub(crate) sources: SourceMap,
    pub(crate) written: Written,
}

pub(crate) fn kit(parallelism: usize) -> Kit {
    let written = Written::default();
    let mut registry = ConnectorRegistry::new();
    registry.connector(Arc::new(MemFactory(written.clone())));
    let env = Env::production(Spawner::owned(2).unwrap());
    let engine = Engine::new(registry, env, Metrics::new());
    let mut options = SessionOptions::new("test", ".");
    options.parallelism = parallelism;
    Kit { session: engine.session(options), engine, sources: SourceMap::new(), written }
}

impl Kit {
    pub(crate) fn compile(&mut self, text: &str) -> Result<CompiledScript, Vec<Diagnostic>> {
        let id = self.sources.add("test.sql", text);
        let parsed = dflow_dsl::parse(id, text);
        if !parsed.is_ok() {
            return Err(parsed.diagnostics);
        }
        self.session.compile(&parsed.script, &self.sources).map_err(|e| e.into_diagnostics())
    }

    /// Compiles and runs everything; the rows of bare SELECTs come under `(result)`.
    pub(crate) fn run(&mut self, text: &str) -> Result<BTreeMap<String, Vec<String>>, String> {
        let script = self.compile(text).unwrap_or_else(|e| panic!("{e:#?}"));
        for statement in script.statements {
            match statement {
                CompiledStatement::Rows(_) => {}
                CompiledStatement::Stream(job) => self.stream(*job)?,
                CompiledStatement::Batch(mut job) => {
                    let output = job.output.take();
                    let written = self.written.clone();
                    let spawner = self.engine.env().spawner.clone();
                    let result = spawner.block_on(async move {
                        let run = async move {
                            let result = job.run().await;
                            // The rows end when the job and its sink are gone.
                            drop(job);
                            result
                        };
                        let collect = async {
                            let Some(mut output) = output else { return };
                            while let Some(batch) = output.rows.recv().await {
                                written.lock().unwrap().entry("(result)".into()).or_default().extend(rows(&batch));
                            }
                        };
                        tokio::join!(run, collect).0
                    });
                    result.map_err(|e| e.to_string())?;
                }
            }
        }
        Ok(self.written.lock().unwrap().clone())
    }

    fn stream(&self, job: dflow_engine::StreamJob) -> Result<(), String> {
        let mut queries = job.queries;
        let handle = Job {
            graph: job.graph,
            config: job.config,
            env: self.engine.env().clone(),
            metrics: self.engine.metrics().clone(),
            store: MemoryStore::alone(),
        }
        .start()
        .map_err(|e| e.to_string())?;
        let written = self.written.clone();
        let outcome = self.engine.env().spawner.block_on(async move {
            for query in &mut queries {
                while let Some(batch) = query.rows.recv().await {
                    written.lock().unwrap().entry("(result)".into()).or_default().extend(rows(&batch));
                }
            }
            handle.wait().await
        });
        match outcome.end {
            JobEnd::Finished => Ok(()),
            JobEnd::Failed(e) => Err(e.to_string()),
            other => Err(format!("{other:?}")),
        }
    }
}

/// Rows that are left after all changes, sorted.
pub(crate) fn fold(changes: &[String]) -> Vec<String> {
    let mut left: BTreeMap<&str, i64> = BTreeMap::new();
    for change in changes {
        let sign = if change.starts_with("-U") || change.starts_with("-D") { -1 } else { 1 };
        *left.entry(&change[3..]).or_default() += sign;
    }
    left.into_iter().flat_map(|(row, n)| std::iter::repeat_n(row.to_owned(), n.max(0) as usize)).collect()
}

/// The rows of table `sunk` after running a script, folded, at parallelism 1 and 3.
pub(crate) fn check(text: &str, expected: &[&str]) {
    for parallelism in [1, 3] {
        let written = kit(parallelism).run(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let mut rows = fold(written.get("sunk").or(written.get("(result)")).map_or(&[], Vec::as_slice));
        rows.sort();
        assert_eq!(rows, expected, "parallelism {parallelism}: {text}");
    }
}
