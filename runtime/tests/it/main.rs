//! The runtime as its users see it, in seeded single-threaded runs with virtual time.
#![allow(clippy::unwrap_used)]

mod flow;
mod kit;
mod sum;
