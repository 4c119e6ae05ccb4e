//! Tables of real servers: MySQL and MariaDB of `tests/servers`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "tests touch clocks and processes")]

mod contract;
mod errors;
mod faults;
mod kit;
mod scan;
mod sink;
mod types;
