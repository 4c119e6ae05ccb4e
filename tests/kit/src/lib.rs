//! What tests of several crates share. Dev-only.
//!
//! * [`changelog`]: folding a changelog into its table, canonical row text
//! * [`connector`]: tables that a test feeds by hand
//! * [`generate`]: random changelogs that collide on purpose, with counted classes
//! * [`harness`]: a job graph run by hand, barrier by barrier
//! * [`supervise`]: the real binary, killed at random moments
//! * [`servers`]: real servers, and a proxy that breaks connections to them

pub mod changelog;
pub mod connector;
pub mod generate;
pub mod harness;
pub mod supervise;

pub use dflow_test_servers as servers;
