//! The runtime as its users see it, in seeded single-threaded runs with virtual time.
#![allow(clippy::unwrap_used)]

mod crash;
mod durable;
mod end;
mod faults;
mod flow;
mod kit;
mod source;
mod sum;
mod threads;
