//! Definitions of tables and views.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::logical_expr::Expr;
use dflow_common::{Span, SqlType};
use dflow_connector_api as api;
use dflow_connector_api::RawOption;
use dflow_dsl::ast as dsl;

use super::ObjectId;

/// A column of a table.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name, case kept.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// Where its values come from.
    pub source: ColumnSource,
    /// `COMMENT '…'`
    pub comment: Option<String>,
    /// Where it is declared.
    pub span: Span,
}

/// Where the values of a column come from.
#[derive(Clone, Debug)]
pub enum ColumnSource {
    /// From the record.
    Physical,
    /// From the connector.
    Metadata {
        /// The connector's name for it.
        key: String,
        /// Whether it is only read.
        is_virtual: bool,
    },
    /// From an expression over physical and metadata columns, bound to their names.
    Computed {
        /// The bound expression.
        expr: Box<Expr>,
        /// As read: it is bound again when the columns it names change.
        written: Arc<dsl::Expr>,
        /// As written.
        text: String,
    },
}

impl Column {
    /// Whether an INSERT writes it.
    pub fn persisted(&self) -> bool {
        matches!(self.source, ColumnSource::Physical | ColumnSource::Metadata { is_virtual: false, .. })
    }

    /// Whether the connector delivers it.
    pub fn from_connector(&self) -> bool {
        !matches!(self.source, ColumnSource::Computed { .. })
    }
}

/// `WATERMARK FOR column AS expression`
#[derive(Clone, Debug)]
pub struct Watermark {
    /// Index of the time column.
    pub column: usize,
    /// The watermark of a row, bound to column names.
    pub expr: Box<Expr>,
    /// As read: it is bound again when the columns it names change.
    pub written: Arc<dsl::Watermark>,
    /// As written.
    pub text: String,
    /// Where.
    pub span: Span,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its full name.
    pub id: ObjectId,
    /// Lives in the session only.
    pub temporary: bool,
    /// In declared order.
    pub columns: Vec<Column>,
    /// Indices of the primary key's columns.
    pub primary_key: Vec<usize>,
    /// The name of the key's constraint.
    pub primary_key_name: Option<String>,
    /// Indices of the partition columns.
    pub partition_keys: Vec<usize>,
    /// The watermark.
    pub watermark: Option<Watermark>,
    /// The value of `connector`, with its place.
    pub connector: Option<dflow_common::Spanned<String>>,
    /// All other options.
    pub options: Vec<RawOption>,
    /// `COMMENT '…'`
    pub comment: Option<String>,
    /// Its name in the CREATE statement.
    pub span: Span,
}

impl Table {
    /// The columns a connector knows (all but computed ones), and for each its index in [`Table::columns`].
    pub fn connector_schema(&self) -> (api::TableSchema, Vec<usize>) {
        let indices: Vec<usize> = (0..self.columns.len()).filter(|i| self.columns[*i].from_connector()).collect();
        let positions =
            |wanted: &[usize]| wanted.iter().filter_map(|w| indices.iter().position(|i| i == w)).collect::<Vec<_>>();
        let columns = indices
            .iter()
            .map(|i| {
                let c = &self.columns[*i];
                let kind = match &c.source {
                    ColumnSource::Metadata { key, is_virtual } => {
                        api::ColumnKind::Metadata { key: key.clone(), is_virtual: *is_virtual }
                    }
                    _ => api::ColumnKind::Physical,
                };
                api::Column { name: c.name.clone(), ty: c.ty.clone(), kind, span: c.span }
            })
            .collect();
        let schema = api::TableSchema {
            columns,
            primary_key: positions(&self.primary_key),
            partition_keys: positions(&self.partition_keys),
        };
        (schema, indices)
    }

    /// Indices of the columns an INSERT writes, in order.
    pub fn persisted(&self) -> Vec<usize> {
        (0..self.columns.len()).filter(|i| self.columns[*i].persisted()).collect()
    }

    /// All columns as a schema with their declared nullability.
    pub fn arrow(&self) -> SchemaRef {
        arrow_schema(self.columns.iter().map(|c| (c.name.as_str(), &c.ty)))
    }

    /// The index of a column.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }
}

/// A schema for the binder: NOT NULL is kept, which batches at run time do not do.
pub(crate) fn arrow_schema<'a>(columns: impl IntoIterator<Item = (&'a str, &'a SqlType)>) -> SchemaRef {
    Arc::new(Schema::new(
        columns.into_iter().map(|(name, ty)| Field::new(name, ty.to_arrow(), ty.nullable)).collect::<Vec<_>>(),
    ))
}

/// A view. What its query names is looked up where the view is used ([`crate::bind::views`]).
#[derive(Clone, Debug)]
pub struct View {
    /// Its full name.
    pub id: ObjectId,
    /// Lives in the session only.
    pub temporary: bool,
    /// Its columns, as they were when it was created.
    pub columns: Vec<(String, SqlType)>,
    /// What the query called them then.
    pub query_columns: Vec<String>,
    /// Its query.
    pub query: Arc<dsl::Query>,
    /// The catalog and the database in which names of one and of two parts are looked up.
    pub namespace: (String, String),
    /// The query as written.
    pub text: String,
    /// `COMMENT '…'`
    pub comment: Option<String>,
    /// Its name in the CREATE statement.
    pub span: Span,
}
