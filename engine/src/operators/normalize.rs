//! Turns upserts into an exact changelog.
//!
//! # Example
//! Primary key `k`; a delete may carry the key only:
//! ```text
//! in    + (a,1)   + (a,2)   - (a,NULL)   + (b,5)   + (b,5)
//! out   + (b,5)                                             one flush: a came and went, b did not change twice
//! ```
//! # State
//! The last full row of every live key.
//!
//! # Invariants
//! What goes out adds a row only after the key's last row was removed, and removes exactly that row. A delete of an
//! unknown key says nothing. NULL in the key is [`KEY_NULL`](super::error::KEY_NULL).

use arrow::datatypes::SchemaRef;

/// Normalisation of an upsert source.
#[derive(Clone, Debug)]
pub struct NormalizeSpec {
    /// Columns, in and out.
    pub schema: SchemaRef,
    /// The primary key: indices into `schema`.
    pub key: Vec<usize>,
    /// Whether updates are sent as `-U +U`; `false` sends `+U` only, for consumers that overwrite by key.
    pub update_before: bool,
}
