//! Change capture: the binary log on a real connection.
//!
//! | module | what |
//! |---|---|
//! | [`options`] | what a script says: options, tables, where to begin |
//! | [`columns`], [`catalog`] | declared columns, and the tables of the server they are compared with |
//! | [`logs`], [`startup`] | what the server says of its log, and where reading begins |
//! | [`preflight`] | whether a server allows and has what capture needs |
//! | [`error`] | what keeps a table from being captured |
//! | [`log`], `refused` | a connection that reads the log: opened at a position, its packets; what servers say instead |
//! | [`reader`] | the log without an end: reconnects at the exact position, with back-off |
//! | [`source`], `enumerator`, `discover`, `progress` | the source: which tables, which chunks when, when the log follows; how far it is |
//! | [`chunks`], [`snapshot`], [`marks`] | tables in ranges, read without locks, each with its place in the log |
//! | [`split`], [`stream`], `questions` | the reader: chunks, then the log behind them |

pub mod catalog;
pub mod chunks;
pub mod columns;
mod discover;
mod enumerator;
pub mod error;
pub mod log;
pub mod logs;
pub mod marks;
pub mod options;
pub mod preflight;
mod progress;
mod questions;
pub mod reader;
mod refused;
pub mod snapshot;
pub mod source;
pub mod split;
pub mod startup;
mod state;
pub mod stream;
