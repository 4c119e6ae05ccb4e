//! Formats: bytes to Arrow columns and back.
//!
//! | format | reads | writes | changelog |
//! |---|---|---|---|
//! | `json` | yes | yes | no |
//! | `csv` | yes | yes | no |
//! | `raw` | yes | yes | no |
//! | `debezium-json` | yes | yes | yes |
//! | `parquet` | yes | yes | no |
//!
//! ```text
//! text formats     records::LineDecoder or csv::split ── values ──> column::RowBuilder ──> ChangeBatch
//! parquet          row groups ── projection ── checked cast ──> ChangeBatch
//! ```
//! Option names and defaults are Flink's; what differs is said in the module of the format.
//!
//! # Invariants
//! * No input bytes make a decoder panic; a bad record is a [`BadRecord`](dflow_connector_api::format::BadRecord)
//!   and leaves no row behind.
//! * Strings and bytes are view arrays, every top-level field is nullable.

mod bound;
mod column;
pub mod csv;
pub mod debezium;
pub mod error;
pub mod json;
mod keys;
pub mod parquet;
pub mod raw;
mod records;
mod text;

pub use bound::texts;
pub use column::{constant, repeat};

use std::sync::Arc;

use dflow_connector_api::ConnectorRegistry;

pub use error::CODES;

/// Adds all formats of this crate.
pub fn register(registry: &mut ConnectorRegistry) {
    registry
        .format(Arc::new(json::Json))
        .format(Arc::new(csv::Csv))
        .format(Arc::new(raw::Raw))
        .format(Arc::new(debezium::DebeziumJson))
        .format(Arc::new(parquet::Parquet));
}
