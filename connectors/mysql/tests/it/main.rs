//! The crate against what real servers wrote.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod fuzz;
mod recorded;
mod transactions;
mod types;
