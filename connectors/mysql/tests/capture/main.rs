//! What change capture asks of a server before it reads: MySQL and MariaDB of `tests/servers`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "tests touch clocks and processes")]

mod addresses;
mod catalog;
mod charsets;
mod kit;
mod preflight;
#[path = "../it/recorded.rs"]
#[allow(dead_code, reason = "shared with the recorded logs")]
mod recorded;
mod refused;
mod startup;
