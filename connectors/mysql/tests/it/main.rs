//! The crate against what real servers wrote.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod fuzz;
mod live;
mod recorded;
mod transactions;
mod types;
