//! The connectors of this crate as an engine uses them.

mod contract;
mod datagen;
mod kit;
mod nexmark;
mod print;
