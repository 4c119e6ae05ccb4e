//! dflow runs streaming pipelines written in Flink SQL, in one process, vectorised on Arrow, exactly-once by barrier
//! checkpoints.
//!
//! This crate is the front of the house: it puts the connectors of this build into a [`registry`], re-exports what an
//! embedding program needs, and draws diagnostics ([`render`]). The `dflow` binary is one user of it.
//!
//! *Architecture invariant:* the library never ends the process, installs no signal handler, no logger, and keeps no
//! global; two engines in one process do not know each other.

pub mod error;
pub mod pages;
pub mod pipeline;
pub mod reference;
pub mod render;

pub use dflow_common as common;
pub use dflow_connector_api as connector;
pub use dflow_dsl as dsl;
pub use dflow_engine::{
    CompiledScript, CompiledStatement, Engine, ScalarFunction, Session, SessionOptions, StreamJob, batch, catalog,
    functions, settings, stream,
};
pub use dflow_runtime as runtime;

use dflow_common::CodeInfo;
use dflow_connector_api::ConnectorRegistry;

/// The connectors and formats of this build, by its features.
pub fn registry() -> ConnectorRegistry {
    let mut registry = ConnectorRegistry::new();
    dflow_formats::register(&mut registry);
    #[cfg(feature = "files")]
    dflow_connector_files::register(&mut registry);
    #[cfg(feature = "datagen")]
    dflow_connector_datagen::register(&mut registry);
    #[cfg(feature = "mysql")]
    dflow_connector_mysql::register(&mut registry);
    registry
}

/// Every error code of every crate in this build.
pub fn codes() -> Vec<CodeInfo> {
    let all: &[&[CodeInfo]] = &[
        error::CODES,
        dflow_dsl::CODES,
        dflow_engine::CODES,
        dflow_engine::functions::error::CODES,
        dflow_engine::operators::error::CODES,
        dflow_formats::CODES,
        dflow_connector_api::CODES,
        dflow_runtime::CODES,
        #[cfg(feature = "datagen")]
        dflow_connector_datagen::CODES,
        #[cfg(feature = "files")]
        dflow_connector_files::CODES,
        #[cfg(feature = "mysql")]
        dflow_connector_mysql::CODES,
        #[cfg(feature = "mysql")]
        dflow_connector_mysql::cdc::error::CODES,
        #[cfg(feature = "mysql")]
        dflow_connector_mysql::client::CODES,
        #[cfg(feature = "mysql")]
        dflow_connector_mysql::JDBC_CODES,
    ];
    all.concat()
}
