//! Random scripts in batch mode: the same text, over rows that do not change, gives the reference's answer.
//!
//! `DFLOW_ORACLE_SCRIPT=<seed>` repeats one, `=<first>-<last>` several.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use dflow_common::env::{SeededRng, Spawner};
use dflow_common::metrics::Metrics;
use dflow_common::{ChangeBatch, Env, Epoch, SourceMap};
use dflow_connector_api as api;
use dflow_connector_api::{
    ChangelogSupport, Committable, ConnectorFactory, ConnectorRegistry, ConnectorSpec, Sink, SinkMode, Source,
    TableRequest, TableScan, Writer, WriterContext,
};
use dflow_engine::{CompiledStatement, Engine, SessionOptions};
use dflow_testkit::changelog::Fold;
use dflow_testkit::classes::Classes;
use dflow_testkit::connector::OracleFactory;
use dflow_testkit::generate::{self, Table, TableKind};
use dflow_testkit::query::random::{self, Script};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};

use super::case::{Reference, schema_of};

/// Scripts of a CI run; `DFLOW_TEST_LEVEL=full` runs twenty times as many.
const SCRIPTS: u64 = 165;
/// Changes that make the rows of each table.
const CHANGES: usize = 40;

/// The tables of one script: what is read, and what was written.
#[derive(Clone, Default)]
struct Tables {
    rows: Arc<Mutex<BTreeMap<String, RecordBatch>>>,
    written: Arc<Mutex<Fold>>,
}

/// The connector `oracle`, with rows.
struct Factory(Tables);

impl ConnectorFactory for Factory {
    fn spec(&self) -> &'static ConnectorSpec {
        OracleFactory.spec()
    }

    fn source(&self, request: &TableRequest) -> api::Result<Arc<dyn Source>, Vec<api::Error>> {
        OracleFactory.source(request)
    }

    fn scan(&self, request: &TableRequest) -> api::Result<Arc<dyn TableScan>, Vec<api::Error>> {
        let name = request.name.rsplit('.').next().unwrap_or_default();
        let rows = self.0.rows.lock().unwrap()[name].project(&request.projection).unwrap();
        Ok(Arc::new(Scan { schema: request.output_schema(), rows }))
    }

    fn sink(&self, _: &TableRequest) -> api::Result<Arc<dyn Sink>, Vec<api::Error>> {
        Ok(Arc::new(Written(self.0.clone())))
    }
}

struct Scan {
    schema: SchemaRef,
    rows: RecordBatch,
}

impl TableScan for Scan {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// In small batches, so that DataFusion has several to merge.
    fn scan(&self, _: usize) -> api::Result<Vec<BoxStream<'static, api::Result<RecordBatch>>>> {
        let rows = RecordBatch::try_new(self.schema.clone(), self.rows.columns().to_vec()).unwrap();
        let n = rows.num_rows();
        let parts: Vec<_> = (0..n).step_by(5).map(|i| Ok(rows.slice(i, 5.min(n - i)))).collect();
        Ok(vec![stream::iter(parts).boxed()])
    }
}

struct Written(Tables);

impl Sink for Written {
    fn mode(&self) -> SinkMode {
        SinkMode::AtLeastOnce
    }

    fn changelog(&self) -> ChangelogSupport {
        ChangelogSupport::All
    }

    fn writer(&self, _: &WriterContext) -> api::Result<Box<dyn Writer>> {
        Ok(Box::new(Written(self.0.clone())))
    }
}

impl Writer for Written {
    fn write(&mut self, batch: ChangeBatch) -> BoxFuture<'_, api::Result<()>> {
        self.0.written.lock().unwrap().apply(&batch).expect("batch mode only inserts");
        Box::pin(std::future::ready(Ok(())))
    }

    fn prepare(&mut self, _: Epoch) -> BoxFuture<'_, api::Result<Vec<Committable>>> {
        Box::pin(std::future::ready(Ok(vec![])))
    }
}

/// What a script writes in batch mode.
fn answer(env: &Env, script: &str, tables: &Tables, parallelism: usize) -> Result<Fold, String> {
    let mut registry = ConnectorRegistry::new();
    registry.connector(Arc::new(Factory(tables.clone())));
    let engine = Engine::new(registry, env.clone(), Metrics::new());
    let mut options = SessionOptions::new("oracle", "");
    options.parallelism = parallelism;
    let text = format!("SET 'execution.runtime-mode' = 'batch';\n{script}");
    let mut sources = SourceMap::new();
    let id = sources.add("oracle.sql", text.clone());
    let parsed = dflow_dsl::parse(id, &text);
    let compiled = engine.session(options).compile(&parsed.script, &sources);
    let Some(CompiledStatement::Batch(job)) =
        compiled.map_err(|e| format!("{:#?}", e.into_diagnostics()))?.statements.into_iter().next_back()
    else {
        return Err("no batch statement".into());
    };
    *tables.written.lock().unwrap() = Fold::new();
    env.spawner.block_on(async move { job.run().await }).map_err(|e| e.to_string())?;
    Ok(tables.written.lock().unwrap().clone())
}

#[test]
fn random_scripts_give_the_same_in_batch_mode() {
    let full = std::env::var("DFLOW_TEST_LEVEL").as_deref() == Ok("full");
    let only = std::env::var("DFLOW_ORACLE_SCRIPT").ok().map(|text| {
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        first.parse::<u64>().unwrap()..=last.parse::<u64>().unwrap()
    });
    let seeds = only.clone().unwrap_or(1..=if full { 20 * SCRIPTS } else { SCRIPTS });
    let env = Env::production(Spawner::owned(2).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reference = Reference::new();
    let mut failures = Vec::new();
    let mut rows = 0;
    for seed in seeds {
        let script = Script::random(seed, &mut random::classes());
        let rng = SeededRng::new(seed ^ 0xba7c4);
        let classes = &mut Classes::of(generate::CLASSES);
        let (mut t, mut a) = (Table::new(script.kind), Table::new(TableKind::Append));
        t.changes(CHANGES, &rng, classes);
        a.changes(CHANGES / 2, &rng, classes);
        let tables = Tables::default();
        *tables.rows.lock().unwrap() = [("t".to_owned(), t.live()), ("a".to_owned(), a.live())].into();
        let columns = script.sink_columns();
        let sink = schema_of(columns.iter().map(|(n, t)| (n.as_str(), t.as_str())));
        // Over no rows a stream has no answer yet, and batch mode has one.
        let question = script.batch().replace(" HAVING COUNT(*) > 0", "").replace(" AND COUNT(*) > 0", "");
        let expected = runtime.block_on(reference.answer(&question, t.live(), a.live()));
        let expected = Fold::of_table(&expected.unwrap_or_else(|e| panic!("script {seed}: the reference: {e}")), &sink);
        rows += expected.len();
        let text = script.stream();
        match answer(&env, &text, &tables, 1 + (seed % 3) as usize) {
            Ok(found) if found == expected => {}
            Ok(found) => failures.push(format!("script {seed}: {}\n{text}", expected.diff(&found))),
            Err(e) => failures.push(format!("script {seed}: {e}\n{text}")),
        }
    }
    assert!(failures.is_empty(), "{} scripts failed:\n{}", failures.len(), failures.join("\n\n"));
    assert!(rows > 0 || only.is_some(), "no script has a row");
}
