//! The binary log, from bytes to Arrow.
//!
//! ```text
//! packet ──Framer──> Event ──Tracker──> Step (hand out, hold for XA, transaction ends)
//!                      │                  │
//!                   TableMap ──compile──> TableDecoder ──rows──> Output ──> ChangeBatch
//! ```
//! | module | what |
//! |---|---|
//! | [`assembler`] | all of it together: packets in, batches and positions out |
//! | [`frame`], [`event`] | packets to events: lengths, checksums, kinds; compressed ones by [`compress`] |
//! | [`table_map`], [`metadata`] | tables as the log describes them |
//! | [`rows`], [`column`] | row images to Arrow builders |
//! | [`gtid`], [`position`] | which transactions were seen, where a reader is |
//! | [`transaction`], [`statement`] | where transactions begin and end; XA |
//! | [`key`], [`gate`] | keys of rows; which changes a snapshot has already |
//! | [`definition`], [`drift`], `schemas` | statements and table maps that change a table, and what that does to its readers |
//! | [`charset`], [`zone`] | text, clocks |
//!
//! # Invariants
//! * Bytes in, columns and positions out: no socket, no task, no clock.
//! * No input makes anything here panic, and none is passed over that may carry a change.

pub mod assembler;
mod bytes;
pub mod charset;
pub mod column;
pub mod compress;
pub mod definition;
pub mod drift;
pub mod event;
pub mod frame;
pub mod gate;
pub mod gtid;
pub mod key;
mod metadata;
pub mod position;
pub mod rows;
mod schemas;
pub mod statement;
pub mod table_map;
pub mod transaction;
pub mod zone;

pub use bytes::{Cursor, Fault};
