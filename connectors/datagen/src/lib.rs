//! In-process sources and sinks: datagen, nexmark, print, blackhole.
//!
//! ```text
//! datagen ─┐  a row is a pure function of (seed, index)     ┌─ print      Flink's text, one line a change
//! nexmark ─┴─ GeneratorSource: splits are blocks of indices └─ blackhole  counts on nothing but being fast
//! ```
//! The two sources share [`generator`]: splitting, seeking, rate limiting and restoring are written once, and a source
//! is nothing but a function from ranges of indices to a batch of columns.

mod blackhole;
mod datagen;
pub mod error;
mod generator;
mod nexmark;
mod print;

use std::sync::Arc;

use dflow_connector_api::ConnectorRegistry;

pub use blackhole::BlackholeFactory;
pub use datagen::DatagenFactory;
pub use error::CODES;
pub use nexmark::NexmarkFactory;
pub use print::{Capture, Output, PrintFactory, Stderr, Stdout, text};

/// Adds every connector of this crate. `print` writes to the process's standard streams; a caller that wants its
/// lines elsewhere registers [`PrintFactory::new`] afterwards.
pub fn register(registry: &mut ConnectorRegistry) {
    registry
        .connector(Arc::new(DatagenFactory))
        .connector(Arc::new(NexmarkFactory))
        .connector(Arc::new(PrintFactory::stdio()))
        .connector(Arc::new(BlackholeFactory));
}
