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

/// Which parts of a `ROW` column are read.
///
/// A hint: a connector may build the whole column. Where it does not, a field that is not read is all NULL; the type of
/// the column, and which of its rows are NULL, stay what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FieldMask {
    /// All of it.
    #[default]
    All,
    /// These fields, by index into the type's fields, and what is read of each.
    Fields(Vec<(usize, FieldMask)>),
}

impl FieldMask {
    /// What is read of field `index`; `None` when nothing is.
    pub fn field(&self, index: usize) -> Option<&FieldMask> {
        match self {
            FieldMask::All => Some(&FieldMask::All),
            FieldMask::Fields(fields) => fields.iter().find(|(i, _)| *i == index).map(|(_, mask)| mask),
        }
    }

    /// Adds what another reader of the same column needs.
    pub fn union(self, other: FieldMask) -> FieldMask {
        let (FieldMask::Fields(mut fields), FieldMask::Fields(others)) = (self, other) else {
            return FieldMask::All;
        };
        for (index, mask) in others {
            match fields.iter_mut().find(|(i, _)| *i == index) {
                Some((_, mine)) => *mine = std::mem::take(mine).union(mask),
                None => fields.push((index, mask)),
            }
        }
        fields.sort_by_key(|(i, _)| *i);
        FieldMask::Fields(fields)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_two_readers_add_up() {
        let only = |i| FieldMask::Fields(vec![(i, FieldMask::All)]);
        let nested = FieldMask::Fields(vec![(2, only(0)), (5, FieldMask::All)]);
        let both = nested.clone().union(FieldMask::Fields(vec![(2, only(1)), (1, FieldMask::All)]));
        assert_eq!(both.field(2), Some(&FieldMask::Fields(vec![(0, FieldMask::All), (1, FieldMask::All)])));
        assert_eq!((both.field(1), both.field(5)), (Some(&FieldMask::All), Some(&FieldMask::All)));
        assert_eq!(both.field(3), None, "a field nobody reads");
        assert_eq!(nested.union(FieldMask::All), FieldMask::All);
    }
}
