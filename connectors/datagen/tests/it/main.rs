//! The connectors of this crate as an engine uses them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod contract;
mod datagen;
mod kit;
mod nexmark;
mod print;
