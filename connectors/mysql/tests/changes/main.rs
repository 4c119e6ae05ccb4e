//! `mysql-cdc` against real servers: tables and their changes, without a gap.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "tests touch clocks and processes")]

mod contract;
mod drift;
mod faults;
mod follow;
mod keys;
mod kit;
mod race;
mod restart;
mod values;
