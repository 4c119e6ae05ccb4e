//! Change capture: the binary log on a real connection.
//!
//! | module | what |
//! |---|---|
//! | [`log`] | a connection that reads the log: opened at a position, its packets, and what its errors mean |
//! | [`reader`] | the log without an end: reconnects at the exact position, with back-off |

pub mod log;
pub mod reader;
