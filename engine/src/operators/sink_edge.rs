//! The edge to a sink: Flink's checks of every row against the sink's columns.
//!
//! # Example
//! Sink `(id INT NOT NULL, name VARCHAR(3))` with `table.exec.sink.not-null-enforcer = 'drop'` and
//! `table.exec.sink.type-length-enforcer = 'trim-pad'`:
//! ```text
//! in    + (1,'abcd')   + (NULL,'x')
//! out   + (1,'abc')                      the second row is dropped and counted
//! ```
//! # Input and output
//! Any changelog whose columns already have the sink's types (the planner casts in a Calc before). Rows keep their kinds.

use arrow::datatypes::SchemaRef;
use dflow_common::{Span, SqlType};

/// `table.exec.sink.not-null-enforcer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotNullEnforcer {
    /// A NULL fails the job.
    #[default]
    Error,
    /// The row is dropped and counted.
    Drop,
}

/// `table.exec.sink.type-length-enforcer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LengthEnforcer {
    /// Lengths are not checked.
    #[default]
    Ignore,
    /// Long values are cut, short CHAR and BINARY values are padded.
    TrimPad,
    /// A long value fails the job.
    Error,
}

/// A column of the sink.
#[derive(Clone, Debug)]
pub struct SinkColumn {
    /// Its name.
    pub name: String,
    /// Its declared type.
    pub ty: SqlType,
    /// Where it is declared.
    pub span: Option<Span>,
}

/// The checks in front of a sink.
#[derive(Clone, Debug)]
pub struct SinkEdgeSpec {
    /// The sink, for messages and metrics.
    pub table: String,
    /// Its columns, in the order of the input's.
    pub columns: Vec<SinkColumn>,
    /// What goes out: the same columns under the sink's names.
    pub output: SchemaRef,
    /// What a NULL does.
    pub not_null: NotNullEnforcer,
    /// What a wrong length does.
    pub length: LengthEnforcer,
}
