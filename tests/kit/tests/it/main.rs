//! Tests that need the oracles: the engine against the batch answer.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "tests touch files, clocks and processes")]

mod batch;
mod case;
mod ids;
mod oracle;
mod random;
