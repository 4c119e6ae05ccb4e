//! Scripts through the whole engine, over connectors that live in memory.

mod batch;
mod errors;

mod explain;
mod identity;
mod kit;
mod session;
mod stream;
