//! Batch scripts from text to rows, over a connector in memory and over files.
#![allow(clippy::disallowed_methods)]

use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use dflow_common::env::Spawner;
use dflow_common::metrics::{Metrics, RECORDS_IN, RECORDS_OUT};
use dflow_common::{ChangeBatch, Classified, Diagnostic, Env, SourceMap, TypeKind};
use dflow_connector_api::testing::{Broker, MemorySource, Server, StagedSink, rows};
use dflow_connector_api::{
    CompareOp, ConnectorFactory, ConnectorRegistry, ConnectorSpec, Error, OptionSpec, OptionType, Options,
    OutputSchema, Predicate, Result, Roles, Sink, Source, SourceChangelog, TableRequest, Value,
};
use dflow_runtime::Result as RunResult;

use super::BatchJob;
use crate::{CompiledStatement, Engine, ScalarFunction, Session, SessionOptions};

static SPEC: ConnectorSpec = ConnectorSpec {
    name: "mem",
    summary: "Rows in memory; a sink that stages them.",
    roles: Roles { source: true, sink: true, lookup: false },
    options: &[
        OptionSpec::new("rows", OptionType::Text, "The rows: `1,a; 2,b`."),
        OptionSpec::new("count", OptionType::Int, "So many rows 0, 1, …"),
        OptionSpec::new("kind", OptionType::Enum(&["append", "changes", "endless", "waiting"]), "What it does.")
            .default("append"),
    ],
    takes_format: false,
    guarantees: &["For tests."],
};

/// What sources were asked for: projection and predicate.
type Asked = Arc<Mutex<Vec<(Vec<usize>, Option<Predicate>)>>>;

struct Memory {
    asked: Asked,
    server: Server,
}

impl ConnectorFactory for Memory {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn source(&self, request: &TableRequest) -> Result<Arc<dyn Source>, Vec<Error>> {
        let options = Options::check("connector 'mem'", SPEC.options, &request.options, request.span)?;
        self.asked.lock().unwrap().push((request.projection.clone(), request.predicate.clone()));
        let broker = Broker::new();
        let text = options.text("rows").unwrap_or_default();
        match options.text("count") {
            // Batches of their own: a slice of a big one counts as the whole of it.
            Some(n) => {
                let numbers: Vec<String> = (0..n.parse::<usize>().unwrap()).map(|i| i.to_string()).collect();
                for part in numbers.chunks(1000) {
                    broker.append("s", 0, batch(request, &part.join(";")).unwrap());
                }
            }
            None => {
                if let Some(batch) = batch(request, text) {
                    broker.append("s", 0, batch);
                }
            }
        }
        broker.close();
        let kind = options.required("kind");
        if let Some(batch) = batch(request, text).filter(|_| kind == "waiting") {
            // A split that came after closing is read and never finishes.
            broker.append("waiting", 0, batch);
        }
        let changelog = if kind == "changes" { SourceChangelog::Retract } else { SourceChangelog::Append };
        let source = MemorySource::new(
            &broker,
            vec![OutputSchema {
                table: request.name.clone(),
                schema: request.schema.clone(),
                projection: request.projection.clone(),
                predicate: None,
                changelog,
            }],
        )
        .batch_rows(1000);
        Ok(Arc::new(if kind == "endless" { source.unbounded() } else { source }))
    }

    fn sink(&self, _: &TableRequest) -> Result<Arc<dyn Sink>, Vec<Error>> {
        Ok(Arc::new(StagedSink::new(&self.server)))
    }
}

/// All physical columns of `1,a; 2,b`: the source projects them.
fn batch(request: &TableRequest, text: &str) -> Option<ChangeBatch> {
    let lines: Vec<Vec<&str>> =
        text.split(';').map(str::trim).filter(|l| !l.is_empty()).map(|l| l.split(',').collect()).collect();
    let schema = request.schema.arrow_projected(&(0..request.schema.columns.len()).collect::<Vec<_>>());
    let column = |i: usize| -> ArrayRef {
        let text: StringArray = lines.iter().map(|l| l.get(i).filter(|f| **f != "NULL").copied()).collect();
        cast(&text, schema.field(i).data_type()).unwrap()
    };
    let columns = (0..schema.fields().len()).map(column).collect();
    (!lines.is_empty()).then(|| ChangeBatch::inserts(RecordBatch::try_new(schema.clone(), columns).unwrap()))
}

struct Kit {
    session: Session,
    engine: Engine,
    asked: Asked,
    server: Server,
}

fn kit() -> Kit {
    kit_in(".")
}

fn kit_in(dir: impl Into<std::path::PathBuf>) -> Kit {
    let (asked, server) = (Asked::default(), Server::new());
    let mut registry = ConnectorRegistry::new();
    dflow_formats::register(&mut registry);
    dflow_connector_files::register(&mut registry);
    registry.connector(Arc::new(Memory { asked: asked.clone(), server: server.clone() }));
    let mut engine = Engine::new(registry, Env::production(Spawner::current()), Metrics::new());
    engine.register(ScalarFunction {
        name: "boom".into(),
        arguments: vec![TypeKind::Int.into()],
        returns: TypeKind::Int.into(),
        body: Arc::new(|columns| {
            panic!("boom at {}", columns[0].as_primitive::<arrow::datatypes::Int32Type>().value(0))
        }),
    });
    let mut options = SessionOptions::new("test", dir);
    options.parallelism = 2;
    Kit { session: engine.session(options), engine, asked, server }
}

impl Kit {
    fn compile(&mut self, text: &str) -> Result<Vec<BatchJob>, Vec<Diagnostic>> {
        let mut sources = SourceMap::new();
        let text = format!("SET 'execution.runtime-mode' = 'batch';\n{TABLES}{text}");
        let id = sources.add("test.sql", &text);
        let parsed = dflow_dsl::parse(id, &text);
        assert!(parsed.is_ok(), "{:#?}", parsed.diagnostics);
        let script = self.session.compile(&parsed.script, &sources).map_err(crate::Errors::into_diagnostics)?;
        let jobs = script.statements.into_iter().map(|s| match s {
            CompiledStatement::Batch(job) => *job,
            other => panic!("{other:?}"),
        });
        Ok(jobs.collect())
    }

    fn refused(text: &str) -> (u16, Option<String>) {
        let e = kit().compile(text).expect_err("the script is refused").remove(0);
        (e.code.0, e.primary.map(|_| e.message))
    }

    /// The rows of every SELECT, one statement after the other.
    async fn run(&mut self, text: &str) -> RunResult<Vec<String>> {
        let mut all = Vec::new();
        for job in self.compile(text).unwrap_or_else(|e| panic!("{e:#?}")) {
            all.extend(run(job).await?);
        }
        Ok(all)
    }
}

async fn run(mut job: BatchJob) -> RunResult<Vec<String>> {
    let output = job.output.take();
    let received = async {
        let mut all = Vec::new();
        if let Some(mut output) = output {
            while let Some(batch) = output.rows.recv().await {
                all.extend(rows(&batch));
            }
        }
        all
    };
    let run = async move {
        let result = job.run().await;
        drop(job);
        result
    };
    let (result, all) = futures::join!(run, received);
    result.map(|_| all)
}

const TABLES: &str = "CREATE TABLE orders (id INT, name STRING, v BIGINT, twice AS v * 2) WITH (
  'connector' = 'mem', 'rows' = '1,a,10; 2,b,20; 3,a,30; 4,NULL,NULL');
CREATE TABLE big (n BIGINT) WITH ('connector' = 'mem', 'count' = '300000');
CREATE TABLE sums (name STRING, n BIGINT) WITH ('connector' = 'mem');\n";

#[tokio::test]
async fn a_select_filters_groups_and_orders() {
    let query = "SELECT name, COUNT(*), SUM(twice) FROM orders WHERE id < 4 GROUP BY name ORDER BY name DESC;";
    assert_eq!(kit().run(query).await.unwrap(), ["+I b|1|40", "+I a|2|80"]);
}

#[tokio::test]
async fn joins_and_windows_run_too() {
    let query =
        "SELECT a.id, b.v FROM orders a JOIN orders b ON a.id = b.id WHERE a.id > 1 ORDER BY a.id DESC LIMIT 2;";
    assert_eq!(kit().run(query).await.unwrap(), ["+I 4|∅", "+I 3|30"]);
}

#[tokio::test]
async fn rows_without_a_table() {
    let script = "SELECT 1 + 1; INSERT INTO sums VALUES ('x', 1), ('y', 2);";
    let mut kit = kit();
    assert_eq!(kit.run(script).await.unwrap(), ["+I 2"]);
    assert_eq!(kit.server.rows(), ["+I x|1", "+I y|2"]);
}

#[tokio::test]
async fn connectors_are_asked_for_the_columns_and_rows_in_use() {
    let mut kit = kit();
    let rows = kit.run("SELECT twice FROM orders WHERE id >= 2 AND twice < 50;").await.unwrap();
    assert_eq!(rows, ["+I 40"]);
    let asked = kit.asked.lock().unwrap().pop().unwrap();
    // `twice` is computed from `v`; a filter on it means nothing to the connector.
    assert_eq!(asked, (vec![0, 2], Some(Predicate::Compare(0, CompareOp::GtEq, Value::Int(2)))));
}

#[tokio::test]
async fn hints_replace_options_and_counting_needs_no_column() {
    let query = "SELECT COUNT(*) FROM orders /*+ OPTIONS('rows' = '7,z,1; 8,z,1') */;";
    assert_eq!(kit().run(query).await.unwrap(), ["+I 2"]);
}

#[tokio::test]
async fn every_run_of_an_insert_adds_its_rows_once() {
    let mut kit = kit();
    let insert = "INSERT INTO sums SELECT name, v FROM orders WHERE id = 1;";
    let mut jobs = kit.compile(&format!("{insert} {insert}")).unwrap();
    for job in jobs.drain(..) {
        assert_eq!(job.run().await.unwrap(), 1);
        assert_eq!(job.run().await.unwrap(), 1);
    }
    assert_eq!(kit.server.rows(), ["+I a|10"; 4]);
    assert_eq!(kit.server.repeats(), 0);
    let metrics = kit.engine.metrics();
    assert_eq!((metrics.total(&RECORDS_OUT), metrics.total(&RECORDS_IN)), (16.0, 4.0));
}

#[tokio::test]
async fn nothing_shows_of_a_statement_that_fails() {
    let mut kit = kit();
    let e = kit.run("INSERT INTO sums SELECT name, 10 / (id - 3) FROM orders;").await.unwrap_err();
    assert_eq!((e.code().0, e.span().is_some()), (2501, true), "{e}");
    assert!(kit.server.rows().is_empty());
}

#[tokio::test]
async fn a_panic_is_an_error_of_the_statement() {
    for insert in [
        "INSERT INTO sums SELECT name, boom(id) FROM orders;",
        "INSERT INTO sums SELECT MAX(name), boom(id) FROM orders GROUP BY boom(id);",
    ] {
        let mut kit = kit();
        let e = kit.run(insert).await.unwrap_err();
        assert_eq!((e.code().0, e.to_string().contains("boom at")), (9002, true), "{e}");
        assert!(kit.server.rows().is_empty());
    }
}

/// Lets other tasks run until something holds, which must happen within so many turns.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn a_dropped_statement_stops_and_commits_nothing() {
    let mut kit = kit();
    let script = "INSERT INTO sums SELECT name, id FROM orders /*+ OPTIONS('kind' = 'waiting') */;";
    let job = kit.compile(script).unwrap().remove(0);
    {
        let mut running = Box::pin(job.run());
        assert!(futures::poll!(&mut running).is_pending());
        eventually("it reads", || kit.engine.metrics().total(&RECORDS_OUT) > 0.0).await;
        assert!(futures::poll!(&mut running).is_pending());
    }
    // The task holds the statement until it has ended.
    eventually("it has stopped", || Arc::strong_count(&job.statement) == 1).await;
    assert!(kit.server.rows().is_empty());
}

#[tokio::test]
async fn sorting_spills_and_joins_that_do_not_fit_are_sorted() {
    // The rows are 2.4 MB, a hash table of them several times that. A join that starts again reads its tables again.
    for (query, memory_bytes, first, read) in [
        ("SELECT n FROM big ORDER BY n DESC;", 2_000_000, "+I 299999", 300_000.0..=300_000.0),
        (
            "SELECT COUNT(*) FROM big a JOIN big b ON a.n * 1000003 = b.n * 1000003;",
            12_000_000,
            "+I 300000",
            600_001.0..=1_200_000.0,
        ),
    ] {
        let mut kit = kit();
        let mut job = kit.compile(query).unwrap().remove(0);
        job.memory_bytes = memory_bytes;
        assert_eq!(run(job).await.unwrap()[0], first, "{query}");
        let rows = kit.engine.metrics().total(&RECORDS_OUT);
        assert!(read.contains(&rows), "{rows}: {query}");
    }
}

#[tokio::test]
async fn a_statement_that_needs_more_memory_says_so() {
    let mut job = kit().compile("SELECT n FROM big ORDER BY n;").unwrap().remove(0);
    job.memory_bytes = 1000;
    let e = run(job).await.unwrap_err();
    assert_eq!((e.code().to_string().as_str(), e.span().is_some()), ("DF2450", true), "{e}");
}

#[tokio::test]
async fn null_in_a_not_null_column_names_the_column() {
    let table = "CREATE TABLE strict (id INT NOT NULL) WITH ('connector' = 'mem', 'rows' = '1; NULL');";
    let e = kit().run(&format!("{table} SELECT id FROM strict;")).await.unwrap_err();
    assert_eq!((e.code().to_string().as_str(), e.to_string().contains("column `id`")), ("DF2451", true), "{e}");
}

#[tokio::test]
async fn what_has_no_end_or_takes_rows_back_is_refused_by_name() {
    for (kind, why) in [("endless", "it has no end"), ("changes", "it is a changelog")] {
        let (code, message) = Kit::refused(&format!("SELECT id FROM orders /*+ OPTIONS('kind' = '{kind}') */;"));
        let message = message.expect("it has a place");
        assert!(code == 2306 && message.contains("orders") && message.contains(why), "{code} {message}");
    }
    let (code, message) = Kit::refused("INSERT OVERWRITE sums SELECT name, id FROM orders;");
    assert!(code == 1900 && message.expect("it has a place").contains("INSERT OVERWRITE"));
}

#[tokio::test]
async fn files_to_files() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    std::fs::write(dir.path().join("in/a.csv"), "1,ann,3.50\n2,bob,4.25\n3,ann,1.00\n").unwrap();
    let script = "CREATE TABLE visits (id INT, name STRING, paid DECIMAL(10, 2)) WITH (
          'connector' = 'filesystem', 'path' = 'in', 'format' = 'csv');
        CREATE TABLE totals (name STRING, visits BIGINT, paid DECIMAL(38, 2)) WITH (
          'connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
        INSERT INTO totals SELECT name, COUNT(*), SUM(paid) FROM visits GROUP BY name ORDER BY name;
        SELECT name, paid FROM totals WHERE visits > 1;";
    let mut kit = kit_in(dir.path());
    assert_eq!(kit.run(script).await.unwrap(), ["+I ann|4.50"]);
    let files: Vec<_> = std::fs::read_dir(dir.path().join("out")).unwrap().map(|f| f.unwrap().path()).collect();
    let visible: Vec<_> = files.iter().filter(|f| f.extension().is_some_and(|e| e == "json")).collect();
    let [file] = visible.as_slice() else { panic!("one visible file: {files:?}") };
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [r#"{"name":"ann","visits":2,"paid":4.50}"#, r#"{"name":"bob","visits":1,"paid":4.25}"#]
    );
}
