//! The streaming operators: what the runtime runs for each node of a plan.
//!
//! | operator | in | out | state |
//! |---|---|---|---|
//! | [`calc`] | changelog | the same kinds, filtered and projected | none |
//! | [`watermark`] | source rows | the same rows and watermarks | none |
//! | [`union`] | changelogs | their union | none |
//! | [`hash_agg`] | changelog | changelog keyed by the group columns | groups |
//! | [`normalize`] | upserts | exact `-old +new` | last row per key |
//! | [`sink_edge`] | changelog | the same, checked against the sink's columns | none |
//! | [`consolidate`] | changelog | at most one change per key and flush, paired | rows of this flush |
//!
//! The planner builds the plain `…Spec` structs; each is an [`OperatorFactory`](dflow_runtime::operator::OperatorFactory).

pub mod calc;
mod changes;
pub mod consolidate;
pub mod error;
pub mod hash_agg;
mod key_table;
pub mod normalize;
pub mod sink_edge;
#[cfg(test)]
pub(crate) mod testing;
pub mod union;
pub mod watermark;
