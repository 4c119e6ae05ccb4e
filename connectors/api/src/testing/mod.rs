//! Systems that live in memory (feature `test-util`): what the traits are proven with before a real system needs them.
//!
//! ```text
//! Broker ── splits appear, grow, end ──> MemorySource       seekable, several outputs, hears of finished checkpoints
//! StagedSink ── bodies ──> MemoryStage                      the part of the checkpoint a staged sink writes
//!            └─ publish(token, body) ──> Server             knows a token it has seen; counts repeats
//! ```
//! The [`Broker`] and the [`Server`] are the outside world: a test keeps them while it drops and reopens everything else.

mod source;
mod stage;

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dflow_common::ChangeBatch;

pub use source::{Broker, MemorySource};
pub use stage::{MemoryStage, Server, StagedSink};

/// One line per change, `+I 1|a`: enough to compare rows in tests.
///
/// # Panics
/// On a type that has no text.
pub fn rows(batch: &ChangeBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("∅");
    let zoneless = |c: &ArrayRef| cast(c, &zoneless(c.data_type())).expect("only the name of a zone is taken off");
    let columns: Vec<ArrayRef> = batch.data.columns().iter().map(zoneless).collect();
    let columns: Vec<_> = columns
        .iter()
        .map(|c| ArrayFormatter::try_new(c.as_ref(), &options).expect("columns of SQL types have a text"))
        .collect();
    (0..batch.num_rows())
        .map(|row| {
            let fields: Vec<String> = columns.iter().map(|c| c.value(row).to_string()).collect();
            format!("{} {}", batch.ops.kind(row).short(), fields.join("|"))
        })
        .collect()
}

/// The type without time zones: Arrow prints a zone only with its `chrono-tz` feature.
fn zoneless(ty: &DataType) -> DataType {
    let field = |f: &Arc<Field>| Arc::new(f.as_ref().clone().with_data_type(zoneless(f.data_type())));
    match ty {
        DataType::Timestamp(unit, _) => DataType::Timestamp(*unit, None),
        DataType::List(item) => DataType::List(field(item)),
        DataType::Map(entries, sorted) => DataType::Map(field(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        other => other.clone(),
    }
}
