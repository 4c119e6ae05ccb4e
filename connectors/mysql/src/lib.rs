//! MySQL and MariaDB: change capture from the binary log, scans, lookups and sinks.
//!
//! | module | what | leans on |
//! |---|---|---|
//! | [`error`] | codes of the binary log and of preflight | |
//! | [`binlog`] | bytes of the binary log to Arrow: framing, table maps, row images, positions. No socket, no task | |
//! | [`cdc`] | tables and their changes: what a server must allow, chunks, the log | `binlog`, `client` |
//! | [`client`] | connections, what servers say about themselves, and what their errors mean | |
//! | `scan` | a table or ranges of it, read once | `client` |
//! | `sink` | rows by key or at the end, at least once or exactly once | `client` |
//! | `connector` | the names `jdbc`, `mysql` and `mysql-cdc` | `scan`, `sink`, `cdc` |
//!
//! *Architecture invariant:* `binlog` is pure: bytes in, columns and positions out, and no input makes it panic.

pub mod binlog;
pub mod cdc;
pub mod client;
mod connector;
pub mod error;
mod scan;
mod sink;

pub use connector::register;
pub use dflow_connector_jdbc::CODES as JDBC_CODES;
pub use error::CODES;
