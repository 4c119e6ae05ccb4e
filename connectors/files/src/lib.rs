//! `'connector' = 'filesystem'`: tables that are files.
//!
//! | direction | how |
//! |---|---|
//! | source | a file, a directory or a glob; bounded, or watching for new files; splits are files or ranges of them |
//! | sink | files written aside and published by the commit of their checkpoint: exactly once |
//!
//! *Architecture invariant:* files are touched only through `Env::fs`, and only on blocking threads.

pub mod error;
mod options;
mod paths;
mod sink;
mod source;

use std::sync::Arc;

use dflow_connector_api::{
    ConnectorFactory, ConnectorRegistry, ConnectorSpec, Error, Roles, Sink, Source, TableRequest,
};

pub use error::CODES;

static SPEC: ConnectorSpec = ConnectorSpec {
    name: "filesystem",
    summary: "Files in a directory, read once or watched, and written exactly once.",
    roles: Roles { source: true, sink: true, lookup: false },
    options: options::OPTIONS,
    takes_format: true,
    guarantees: &[
        "source: exactly once; a file is read as it was when it was found",
        "sink: exactly once; files appear when their checkpoint is complete",
        "dead letters: at least once",
    ],
};

/// The `filesystem` connector.
pub struct Filesystem;

impl ConnectorFactory for Filesystem {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn source(&self, request: &TableRequest) -> Result<Arc<dyn Source>, Vec<Error>> {
        source::open(request)
    }

    fn sink(&self, request: &TableRequest) -> Result<Arc<dyn Sink>, Vec<Error>> {
        sink::open(request)
    }
}

/// Adds the connector. Formats are registered by `dflow_formats::register`.
pub fn register(registry: &mut ConnectorRegistry) {
    registry.connector(Arc::new(Filesystem));
}
