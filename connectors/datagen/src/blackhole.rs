//! The sink that takes everything and keeps nothing.
//!
//! It looks at every column of every batch, so that a plan that puts work off cannot look faster than it is.

use std::sync::Arc;

use arrow::array::Array;
use dflow_common::{ChangeBatch, Epoch};
use dflow_connector_api::{
    ChangelogSupport, Committable, ConnectorFactory, ConnectorSpec, Error, OptionSpec, OptionType, Options, Result,
    Roles, Sink, SinkMode, TableRequest, Writer, WriterContext,
};
use futures::future::BoxFuture;

const OPTIONS: &[OptionSpec] =
    &[OptionSpec::new("property-version", OptionType::Int, "Accepted as Flink accepts it.").without_effect()];

const SPEC: ConnectorSpec = ConnectorSpec {
    name: "blackhole",
    summary: "Takes every row and keeps none: for measuring and for queries run for their side effects.",
    roles: Roles { source: false, sink: true, lookup: false },
    options: OPTIONS,
    takes_format: false,
    guarantees: &["sink: nothing is kept, so nothing is lost or doubled"],
};

/// Makes blackhole sinks.
pub struct BlackholeFactory;

impl ConnectorFactory for BlackholeFactory {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn sink(&self, request: &TableRequest) -> Result<Arc<dyn Sink>, Vec<Error>> {
        Options::check("connector 'blackhole'", OPTIONS, &request.options, request.span)?;
        Ok(Arc::new(Blackhole))
    }
}

struct Blackhole;

impl Sink for Blackhole {
    fn mode(&self) -> SinkMode {
        SinkMode::Idempotent
    }

    fn changelog(&self) -> ChangelogSupport {
        ChangelogSupport::All
    }

    fn writer(&self, _context: &WriterContext) -> Result<Box<dyn Writer>> {
        Ok(Box::new(BlackholeWriter))
    }
}

struct BlackholeWriter;

impl Writer for BlackholeWriter {
    fn write(&mut self, batch: ChangeBatch) -> BoxFuture<'_, Result<()>> {
        for column in batch.data.columns() {
            std::hint::black_box((column.null_count(), column.len()));
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn prepare(&mut self, _epoch: Epoch) -> BoxFuture<'_, Result<Vec<Committable>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}
