//! MySQL and MariaDB: change capture from the binary log, scans, lookups and sinks.
//!
//! | module | what | leans on |
//! |---|---|---|
//! | [`error`] | every code of this crate, and which server error means which | |
//! | [`binlog`] | bytes of the binary log to Arrow: framing, table maps, row images, positions. No socket, no task | |
//!
//! *Architecture invariant:* `binlog` is pure: bytes in, columns and positions out, and no input makes it panic.

pub mod binlog;
pub mod error;

pub use error::CODES;
