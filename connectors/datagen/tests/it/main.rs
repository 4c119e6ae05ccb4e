//! The connectors of this crate as an engine uses them.

mod datagen;
mod kit;
mod nexmark;
mod print;
