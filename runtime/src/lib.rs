//! The machine that runs operator graphs: tasks, channels, watermarks, barriers, checkpoints, recovery.
//!
//! It knows no SQL. What flows in is a [`JobGraph`](graph::JobGraph) of sources, operators and sinks; what comes out
//! is a job handle that tells how the job is doing and can stop it.
//!
//! ```text
//!  coordinator ──barrier n──> source tasks ──> tasks ──> sink tasks          every task: flush, freeze, forward, upload
//!       ▲                                                     │
//!       └────────────── acks (state files, positions, committables) ─────────┘
//!       all acks ─> one atomic manifest write = the commit point ─> sinks commit, sources acknowledge
//! ```

mod attempt;
mod channel;
pub mod checkpoint;
pub mod config;
mod coordinator;
mod enumerate;
pub mod error;
mod exchange;
pub mod failpoint;
pub mod graph;
pub mod job;
pub mod keys;
pub mod operator;
mod plan;
mod restart;
pub mod state;
pub mod storage;
mod supervisor;
mod task;
mod watermark;

pub use error::{CODES, Error, Result};
