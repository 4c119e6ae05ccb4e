//! Which connectors and formats this build has.

use std::collections::BTreeMap;
use std::sync::Arc;

use dflow_common::{Env, Span, metrics::Metrics, suggest};

use crate::error::{Error, ROLE_NOT_SUPPORTED, Result, UNKNOWN_CONNECTOR, UNKNOWN_FORMAT};
use crate::format::FormatFactory;
use crate::options::{OptionSpec, RawOption};
use crate::predicate::Predicate;
use crate::scan::TableScan;
use crate::schema::{FieldMask, TableSchema};
use crate::sink::Sink;
use crate::source::Source;

/// What a connector can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// `SELECT … FROM` it.
    pub source: bool,
    /// `INSERT INTO` it.
    pub sink: bool,
    /// `JOIN … FOR SYSTEM_TIME AS OF` it.
    pub lookup: bool,
}

/// A connector as it declares itself.
#[derive(Clone, Copy, Debug)]
pub struct ConnectorSpec {
    /// The value of `'connector' = '…'`.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// What it can be.
    pub roles: Roles,
    /// Its options, without `connector` and without those of a format.
    pub options: &'static [OptionSpec],
    /// Whether it takes a `format`.
    pub takes_format: bool,
    /// What it promises as a source and as a sink, one line each.
    pub guarantees: &'static [&'static str],
}

/// A format as it declares itself.
#[derive(Clone, Copy, Debug)]
pub struct FormatSpec {
    /// The value of `'format' = '…'`.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Its options, written `<name>.<option>` in a script; keys here are without the prefix.
    pub options: &'static [OptionSpec],
    /// Whether it reads.
    pub decodes: bool,
    /// Whether it writes.
    pub encodes: bool,
    /// Whether its records carry row kinds (a changelog).
    pub changelog: bool,
}

/// A table that a connector is to open.
#[derive(Clone)]
pub struct TableRequest {
    /// `catalog.database.table`, for messages and metrics.
    pub name: String,
    /// Its physical and metadata columns and keys.
    pub schema: TableSchema,
    /// Columns that are read, by index, in output order. For sinks: the columns written (all persisted ones).
    pub projection: Vec<usize>,
    /// What is read of each projected column: as long as `projection`, or empty when every column is read whole.
    pub masks: Vec<FieldMask>,
    /// A filter the reader may use to read less.
    pub predicate: Option<Predicate>,
    /// Options as the script gives them, without `connector`; the connector checks them.
    pub options: Vec<RawOption>,
    /// Where the table is declared.
    pub span: Span,
    /// What relative paths are relative to: the folder of the script.
    pub base_dir: std::path::PathBuf,
    /// The session's time zone (`table.local-time-zone`), an IANA name.
    pub time_zone: String,
    /// The job's name, for metrics.
    pub job: String,
    /// The outside world.
    pub env: Env,
    /// Where to count.
    pub metrics: Metrics,
    /// Formats of this build.
    pub formats: Arc<BTreeMap<&'static str, Arc<dyn FormatFactory>>>,
}

/// Makes sources and sinks of one kind.
pub trait ConnectorFactory: Send + Sync {
    /// What it declares.
    fn spec(&self) -> &'static ConnectorSpec;

    /// Opens a source. Checks options, touches nothing outside.
    ///
    /// # Errors
    /// All problems of the options and the schema.
    fn source(&self, request: &TableRequest) -> Result<Arc<dyn Source>, Vec<Error>> {
        Err(vec![self.role_error(request, "source")])
    }

    /// Opens a bounded scan for batch mode. Defaults to the source, read to its end.
    ///
    /// # Errors
    /// As [`ConnectorFactory::source`]; also when the source is not bounded.
    fn scan(&self, request: &TableRequest) -> Result<Arc<dyn TableScan>, Vec<Error>> {
        crate::scan::bounded(self.source(request)?, request)
    }

    /// Opens a sink. Checks options, touches nothing outside.
    ///
    /// # Errors
    /// All problems of the options and the schema.
    fn sink(&self, request: &TableRequest) -> Result<Arc<dyn Sink>, Vec<Error>> {
        Err(vec![self.role_error(request, "sink")])
    }

    /// The error for a role this connector does not have.
    fn role_error(&self, request: &TableRequest, role: &str) -> Error {
        Error::new(ROLE_NOT_SUPPORTED, format!("connector '{}' cannot be used as a {role}", self.spec().name))
            .at(request.span, format!("table `{}`", request.name))
    }
}

/// The connectors and formats of one engine.
#[derive(Clone, Default)]
pub struct ConnectorRegistry {
    connectors: BTreeMap<&'static str, Arc<dyn ConnectorFactory>>,
    formats: Arc<BTreeMap<&'static str, Arc<dyn FormatFactory>>>,
}

impl ConnectorRegistry {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a connector.
    pub fn connector(&mut self, factory: Arc<dyn ConnectorFactory>) -> &mut Self {
        self.connectors.insert(factory.spec().name, factory);
        self
    }

    /// Adds or replaces a format.
    pub fn format(&mut self, factory: Arc<dyn FormatFactory>) -> &mut Self {
        Arc::make_mut(&mut self.formats).insert(factory.spec().name, factory);
        self
    }

    /// A connector by name.
    ///
    /// # Errors
    /// [`UNKNOWN_CONNECTOR`] with the nearest name.
    pub fn get(&self, name: &str, span: Span) -> Result<&Arc<dyn ConnectorFactory>> {
        self.connectors.get(name).ok_or_else(|| {
            let e = Error::new(UNKNOWN_CONNECTOR, format!("unknown connector '{name}'")).at(span, "no such connector");
            e.help(nearest_or_all(name, self.connectors.keys().copied()))
        })
    }

    /// All connectors by name.
    pub fn connectors(&self) -> impl Iterator<Item = &'static ConnectorSpec> {
        self.connectors.values().map(|f| f.spec())
    }

    /// A format by name.
    ///
    /// # Errors
    /// [`UNKNOWN_FORMAT`] with the nearest name.
    pub fn find_format(&self, name: &str, span: Span) -> Result<&Arc<dyn FormatFactory>> {
        find_format(&self.formats, name, span)
    }

    /// All formats by name.
    pub fn formats(&self) -> &Arc<BTreeMap<&'static str, Arc<dyn FormatFactory>>> {
        &self.formats
    }
}

impl TableRequest {
    /// A format by name.
    ///
    /// # Errors
    /// [`UNKNOWN_FORMAT`] with the nearest name.
    pub fn find_format(&self, name: &str, span: Span) -> Result<&Arc<dyn FormatFactory>> {
        find_format(&self.formats, name, span)
    }

    /// What is read of the `i`-th projected column.
    pub fn mask(&self, i: usize) -> &FieldMask {
        self.masks.get(i).unwrap_or(&FieldMask::All)
    }

    /// The Arrow schema of the projected columns.
    pub fn output_schema(&self) -> arrow::datatypes::SchemaRef {
        self.schema.arrow_projected(&self.projection)
    }
}

/// The formats of a build.
type Formats = BTreeMap<&'static str, Arc<dyn FormatFactory>>;

fn find_format<'a>(formats: &'a Formats, name: &str, span: Span) -> Result<&'a Arc<dyn FormatFactory>> {
    formats.get(name).ok_or_else(|| {
        let e = Error::new(UNKNOWN_FORMAT, format!("unknown format '{name}'")).at(span, "no such format");
        e.help(nearest_or_all(name, formats.keys().copied()))
    })
}

/// "did you mean", or what there is.
fn nearest_or_all(name: &str, all: impl Iterator<Item = &'static str> + Clone) -> String {
    match suggest::nearest(name, all.clone()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("this build has: {}", all.collect::<Vec<_>>().join(", ")),
    }
}
