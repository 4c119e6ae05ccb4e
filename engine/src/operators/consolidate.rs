//! At most one change per key and flush, `-U` beside `+U`.
//!
//! # Example
//! Key `k`:
//! ```text
//! in    + (a,1)   - (a,1)   + (a,2)   - (b,1)   + (b,3)   - (c,1)   + (c,1)
//! out   +I (a,2)  -U (b,1) +U (b,3)                                            c did not change
//! ```

/// Consolidation by key, before keyed sinks and wherever `-U +U` pairs are shown.
#[derive(Clone, Debug)]
pub struct ConsolidateSpec {
    /// Indices of the key columns.
    pub key: Vec<usize>,
}
