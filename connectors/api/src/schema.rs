//! A table as its connector sees it.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use dflow_common::{Span, SqlType};

/// Where a column's values come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// From the record.
    Physical,
    /// From what the connector knows about the record (`METADATA [FROM 'key'] [VIRTUAL]`).
    Metadata {
        /// The connector's name for it.
        key: String,
        /// Whether it is only read.
        is_virtual: bool,
    },
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name, case kept.
    pub name: String,
    /// Its type, with nullability.
    pub ty: SqlType,
    /// Where its values come from.
    pub kind: ColumnKind,
    /// Where it is declared.
    pub span: Span,
}

/// The columns a connector reads or writes (computed columns and watermarks are the engine's), and the keys.
#[derive(Clone, Debug)]
pub struct TableSchema {
    /// In declared order.
    pub columns: Vec<Column>,
    /// `PRIMARY KEY … NOT ENFORCED`: indices into `columns`; empty without one.
    pub primary_key: Vec<usize>,
    /// `PARTITIONED BY`: indices into `columns`.
    pub partition_keys: Vec<usize>,
}

impl TableSchema {
    /// All columns as an Arrow schema; every field is nullable.
    pub fn arrow(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(|c| c.ty.to_field(&c.name)).collect::<Vec<_>>()))
    }

    /// These columns, in this order, as an Arrow schema.
    pub fn arrow_projected(&self, projection: &[usize]) -> SchemaRef {
        Arc::new(Schema::new(
            projection.iter().map(|i| self.columns[*i].ty.to_field(&self.columns[*i].name)).collect::<Vec<_>>(),
        ))
    }

    /// The index of a column.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }
}
