//! The vocabulary every dflow crate speaks: spans and diagnostics, change batches, SQL types,
//! secrets, limits, metric names, and [`Env`](env::Env), the only door to the outside world.
//!
//! *Architecture invariant:* nothing outside [`env`] reads a clock, draws a random number, spawns a
//! task or touches a file system (`clippy.toml` lists the forbidden calls; the named exceptions say
//! why where they stand).

pub mod change;
pub mod diag;
pub mod env;
pub mod ids;
pub mod limits;
pub mod metrics;
pub mod secret;
pub mod span;
pub mod suggest;
pub mod types;
pub mod units;

pub use change::{ChangeBatch, Ops, RowKind};
pub use diag::{Class, Classified, Code, CodeInfo, Diagnostic, Label, Severity};
pub use env::Env;
pub use ids::{Epoch, OperatorId};
pub use secret::Secret;
pub use span::{SourceId, SourceMap, Span, Spanned};
pub use types::{SqlType, TypeKind};
