//! Scripts through the whole engine, over connectors that live in memory.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod alter;
mod batch;
mod errors;
mod explain;
mod identity;
mod kit;
mod lints;
mod session;
mod stream;
