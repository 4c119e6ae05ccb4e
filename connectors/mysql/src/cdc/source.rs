//! `mysql-cdc` as a source: what its declared tables share, and how two of them become one.
//!
//! # One log for all
//! Declared tables of one server that begin at the same place have one [`ShareKey`]: the engine merges them into one source
//! with an output each. The log of a server is then read once, whatever the number of tables.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use dflow_common::Diagnostic;
use dflow_common::Env;
use dflow_common::Span;
use dflow_connector_api::error::ROLE_NOT_SUPPORTED;
use dflow_connector_api::{
    Boundedness, Enumerator, Error, Options, OutputSchema, Reader, ReaderContext, Result, ShareKey, Source,
    SourceChangelog, SourceContext, TableRequest,
};
use futures::future::BoxFuture;
use serde_json::Value;

use super::columns;
use super::enumerator::CdcEnumerator;
use super::options::CdcOptions;
use super::preflight::{self, Beginning};
use super::split::SplitReader;
use crate::binlog::assembler::{Declared, Router};
use crate::binlog::rows::{Output, Wanted};

/// A declared table.
pub struct Captured {
    /// What it delivers.
    pub output: OutputSchema,
    /// Its options.
    pub options: CdcOptions,
    /// Its projected columns.
    pub wanted: Vec<Wanted>,
    /// Where it is declared.
    pub span: Span,
}

impl Captured {
    /// Where rows of the log are put together.
    ///
    /// # Errors
    /// [`crate::error::COLUMN_TYPE`].
    pub fn output_of_log(&self) -> Result<Output> {
        let schema = self.output.schema.arrow_projected(&self.output.projection);
        Output::new(schema, &self.wanted, self.options.policy, self.options.is_append_only)
    }
}

/// What enumerator, readers and workers share.
pub struct Shared {
    /// The declared tables, in the order of the outputs.
    pub captured: Vec<Arc<Captured>>,
    /// What each is called in a checkpoint: its name; from the second on of the same name, with its number.
    names: Vec<String>,
}

impl Shared {
    /// Of these declared tables.
    pub fn new(captured: Vec<Arc<Captured>>) -> Shared {
        let mut names: Vec<String> = Vec::with_capacity(captured.len());
        for c in &captured {
            let name = &c.output.table;
            let before = names.iter().filter(|n| n.split('#').next() == Some(name)).count();
            names.push(if before == 0 { name.clone() } else { format!("{name}#{}", before + 1) });
        }
        Shared { captured, names }
    }

    /// What an output is called in a checkpoint.
    pub fn name(&self, output: usize) -> &str {
        &self.names[output]
    }

    /// What stands in the way of reading.
    pub async fn preflight(&self, env: &Env, beginning: Beginning<'_>) -> Vec<Diagnostic> {
        let captured = self.captured.iter().map(|c| preflight::Captured {
            options: &c.options,
            output: &c.output,
            wanted: &c.wanted,
            span: c.span,
        });
        preflight::preflight(env, &captured.collect::<Vec<_>>(), beginning).await
    }

    /// Of the first declared table; what concerns the server is the same for all.
    pub fn options(&self) -> &CdcOptions {
        &self.captured[0].options
    }

    /// The output of this [name](Shared::name).
    pub fn output(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }

    /// The outputs of the log, without rows.
    ///
    /// # Errors
    /// [`crate::error::COLUMN_TYPE`].
    pub fn declared(&self) -> Result<Vec<Declared>> {
        let declared = |c: &Arc<Captured>| Ok(Declared { wanted: c.wanted.clone(), output: c.output_of_log()? });
        self.captured.iter().map(declared).collect()
    }
}

/// Tables with their databases.
type TableNames = BTreeSet<(String, String)>;

/// Which outputs read which tables, and behind which gates.
pub struct Routes {
    shared: Arc<Shared>,
    /// Outputs, perhaps of certain tables only.
    captures: BTreeMap<usize, Option<TableNames>>,
    gates: HashMap<(usize, String, String), usize>,
}

impl Routes {
    /// `captures`: outputs, perhaps of certain tables only; `gates`: indices by output, database and table.
    pub fn new(
        shared: &Arc<Shared>,
        captures: BTreeMap<usize, Option<TableNames>>,
        gates: HashMap<(usize, String, String), usize>,
    ) -> Routes {
        Routes { shared: shared.clone(), captures, gates }
    }

    /// All tables that match.
    pub fn without_gates(shared: &Arc<Shared>) -> Routes {
        Routes::new(shared, (0..shared.captured.len()).map(|i| (i, None)).collect(), HashMap::new())
    }
}

impl Router for Routes {
    fn route(&mut self, database: &str, table: &str) -> Vec<usize> {
        let is_routed = |i: usize, tables: &Option<TableNames>| {
            self.shared.captured[i].options.tables.matches(database, table)
                && tables.as_ref().is_none_or(|t| t.contains(&(database.to_owned(), table.to_owned())))
        };
        self.captures.iter().filter(|(i, tables)| is_routed(**i, tables)).map(|(i, _)| *i).collect()
    }

    fn gate(&mut self, output: usize, database: &str, table: &str) -> Option<usize> {
        self.gates.get(&(output, database.to_owned(), table.to_owned())).copied()
    }
}

/// See the [module](self).
pub struct CdcSource {
    shared: Arc<Shared>,
    outputs: Vec<OutputSchema>,
}

/// Checks a declared table and makes its source.
///
/// # Errors
/// All problems of options and columns.
pub fn open(request: &TableRequest, checked: &Options) -> Result<Arc<dyn Source>, Vec<Error>> {
    let mut errors = Vec::new();
    let options = CdcOptions::read(checked, request, &mut errors);
    let wanted = columns::wanted(request, &mut errors);
    let (Some(options), true) = (options, errors.is_empty()) else { return Err(errors) };
    let output = OutputSchema {
        table: request.name.clone(),
        schema: request.schema.clone(),
        projection: request.projection.clone(),
        predicate: None,
        changelog: if options.is_append_only { SourceChangelog::Append } else { SourceChangelog::Retract },
    };
    let captured = Captured { output, options, wanted, span: request.span };
    Ok(Arc::new(CdcSource::of(vec![Arc::new(captured)])))
}

impl CdcSource {
    fn of(captured: Vec<Arc<Captured>>) -> CdcSource {
        let outputs = captured.iter().map(|c| c.output.clone()).collect();
        CdcSource { shared: Arc::new(Shared::new(captured)), outputs }
    }
}

impl Source for CdcSource {
    fn share_key(&self) -> Option<ShareKey> {
        let options = self.shared.options();
        let user = options.endpoint.user.as_deref().unwrap_or_default();
        Some(ShareKey(format!("mysql-cdc {user}@{} {:?}", options.endpoint.shown(), options.startup)))
    }

    fn merge(&self, other: &dyn Source) -> Result<Arc<dyn Source>> {
        let other = other.as_any().and_then(|other| other.downcast_ref::<CdcSource>());
        let Some(other) = other else {
            return Err(Error::new(ROLE_NOT_SUPPORTED, "only tables of mysql-cdc share a log"));
        };
        Ok(Arc::new(CdcSource::of(self.shared.captured.iter().chain(&other.shared.captured).cloned().collect())))
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }

    fn outputs(&self) -> &[OutputSchema] {
        &self.outputs
    }

    fn boundedness(&self) -> Boundedness {
        match self.shared.options().startup.reads_log() {
            true => Boundedness::Unbounded,
            false => Boundedness::Bounded,
        }
    }

    /// Chunks are read by all readers, a log by one.
    fn max_parallelism(&self) -> Option<usize> {
        let options = self.shared.options();
        let ids = options.server_ids.map(|ids| usize::try_from(ids.count()).unwrap_or(usize::MAX));
        let useful = if options.startup.reads_tables() { usize::MAX } else { 1 };
        Some(ids.unwrap_or(usize::MAX).min(useful)).filter(|n| *n < usize::MAX)
    }

    fn preflight<'a>(&'a self, env: &'a Env) -> BoxFuture<'a, Vec<Diagnostic>> {
        Box::pin(self.shared.preflight(env, Beginning::Script))
    }

    fn enumerator(&self, context: &SourceContext, restored: Option<Value>) -> Result<Box<dyn Enumerator>> {
        Ok(Box::new(CdcEnumerator::new(self.shared.clone(), context, restored)?))
    }

    fn reader(&self, context: &ReaderContext) -> Result<Box<dyn Reader>> {
        Ok(Box::new(SplitReader::new(self.shared.clone(), context)))
    }
}
