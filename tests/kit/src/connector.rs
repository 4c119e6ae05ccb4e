//! The connector `oracle`: tables that the harness feeds and reads by hand.
//!
//! As a source it only declares what it emits (`'changelog' = 'append' | 'retract' | 'upsert'`); as a sink it only
//! declares what it takes. Nothing is ever read from it or written to it by a task.

use std::sync::Arc;

use dflow_connector_api::error::ROLE_NOT_SUPPORTED;
use dflow_connector_api::{
    Boundedness, ChangelogSupport, ConnectorFactory, ConnectorSpec, Enumerator, Error, OptionSpec, OptionType, Options,
    OutputSchema, Reader, ReaderContext, Result, Roles, Sink, SinkMode, Source, SourceChangelog, SourceContext,
    TableRequest, Writer, WriterContext,
};

const OPTIONS: &[OptionSpec] = &[OptionSpec::new(
    "changelog",
    OptionType::Enum(&["append", "retract", "upsert"]),
    "What kinds of change the table emits or takes.",
)
.default("retract")
.identity()];

static SPEC: ConnectorSpec = ConnectorSpec {
    name: "oracle",
    summary: "Tables a test feeds by hand.",
    roles: Roles { source: true, sink: true, lookup: false },
    options: OPTIONS,
    takes_format: false,
    guarantees: &[],
};

/// Makes `oracle` tables.
pub struct OracleFactory;

impl ConnectorFactory for OracleFactory {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn source(&self, request: &TableRequest) -> Result<Arc<dyn Source>, Vec<Error>> {
        let changelog = match changelog(request)?.as_str() {
            "append" => SourceChangelog::Append,
            "upsert" => SourceChangelog::Upsert,
            _ => SourceChangelog::Retract,
        };
        let output = OutputSchema {
            table: request.name.clone(),
            schema: request.schema.clone(),
            projection: request.projection.clone(),
            predicate: None,
            changelog,
        };
        Ok(Arc::new(OracleSource(vec![output])))
    }

    fn sink(&self, request: &TableRequest) -> Result<Arc<dyn Sink>, Vec<Error>> {
        Ok(Arc::new(OracleSink(match changelog(request)?.as_str() {
            "append" => ChangelogSupport::AppendOnly,
            "upsert" => ChangelogSupport::Upsert,
            _ => ChangelogSupport::All,
        })))
    }
}

fn changelog(request: &TableRequest) -> Result<String, Vec<Error>> {
    let options = Options::check("connector 'oracle'", OPTIONS, &request.options, request.span)?;
    Ok(options.required("changelog").to_ascii_lowercase())
}

fn by_hand() -> Error {
    Error::new(ROLE_NOT_SUPPORTED, "tables of the connector 'oracle' are fed and read by the test")
}

struct OracleSource(Vec<OutputSchema>);

impl Source for OracleSource {
    fn outputs(&self) -> &[OutputSchema] {
        &self.0
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Unbounded
    }

    fn enumerator(&self, _: &SourceContext, _: Option<serde_json::Value>) -> Result<Box<dyn Enumerator>> {
        Err(by_hand())
    }

    fn reader(&self, _: &ReaderContext) -> Result<Box<dyn Reader>> {
        Err(by_hand())
    }
}

struct OracleSink(ChangelogSupport);

impl Sink for OracleSink {
    fn mode(&self) -> SinkMode {
        SinkMode::AtLeastOnce
    }

    fn changelog(&self) -> ChangelogSupport {
        self.0.clone()
    }

    fn writer(&self, _: &WriterContext) -> Result<Box<dyn Writer>> {
        Err(by_hand())
    }
}
