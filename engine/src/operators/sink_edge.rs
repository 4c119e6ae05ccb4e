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
//! Any changelog whose columns already have the sink's Arrow types (the planner casts in a Calc before). Rows keep their
//! kinds and get the sink's column names. Lengths are counted in characters for text and in bytes for bytes.
//!
//! # State
//! None.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewBuilder, BooleanArray, RecordBatch, RecordBatchOptions, StringViewBuilder,
};
use arrow::datatypes::SchemaRef;
use dflow_common::metrics::{CounterHandle, NULLS_DROPPED};
use dflow_common::types::LENGTH_MAX;
use dflow_common::{ChangeBatch, Diagnostic, Ops, Span, SqlType, TypeKind};
use dflow_runtime::operator::{Operator, OperatorContext, OperatorFactory, Output};
use dflow_runtime::{Error, Result};

use super::error::{NOT_NULL_VIOLATED, VALUE_TOO_LONG};

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
    /// A value that is too long fails the job.
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
    /// Whether rows that remove may carry the key only; their NULLs are not checked then.
    pub deletes_by_key: bool,
}

impl OperatorFactory for SinkEdgeSpec {
    fn create(&self, context: &OperatorContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(SinkEdge {
            spec: self.clone(),
            dropped: context.metrics.counter(&NULLS_DROPPED, &[&context.job, &self.table]),
        }))
    }
}

struct SinkEdge {
    spec: SinkEdgeSpec,
    dropped: CounterHandle,
}

impl SinkEdge {
    /// Rows without a NULL where none may be; `None` when that is all of them.
    fn without_nulls(&self, batch: &ChangeBatch) -> Result<Option<BooleanArray>> {
        let unchecked = |row: usize| self.spec.deletes_by_key && batch.ops.sign(row) < 0;
        let mut keep: Option<Vec<bool>> = None;
        for (column, values) in self.spec.columns.iter().zip(batch.data.columns()) {
            if column.ty.nullable || values.null_count() == 0 {
                continue;
            }
            for row in (0..batch.num_rows()).filter(|row| values.is_null(*row) && !unchecked(*row)) {
                if self.spec.not_null == NotNullEnforcer::Error {
                    return Err(self.null_error(column));
                }
                keep.get_or_insert_with(|| vec![true; batch.num_rows()])[row] = false;
            }
        }
        Ok(keep.map(BooleanArray::from))
    }

    fn null_error(&self, column: &SinkColumn) -> Error {
        let (table, name) = (&self.spec.table, &column.name);
        let diagnostic =
            Diagnostic::error(NOT_NULL_VIOLATED, format!("NULL for column `{name}` of `{table}`, which is NOT NULL"))
                .with_help(format!("filter such rows (`WHERE {name} IS NOT NULL`), or give them a value (COALESCE)"))
                .with_help("SET 'table.exec.sink.not-null-enforcer' = 'drop' drops and counts them");
        Error::from(diagnostic).at_default(column.span)
    }

    /// The column with the declared lengths.
    fn fit(&self, column: &SinkColumn, values: &ArrayRef) -> Result<ArrayRef> {
        let (max, padded) = match column.ty.kind {
            TypeKind::Char(n) | TypeKind::Binary(n) => (n, true),
            TypeKind::VarChar(n) | TypeKind::VarBinary(n) => (n, false),
            _ => return Ok(values.clone()),
        };
        let (max, pad) = (max as usize, padded && self.spec.length == LengthEnforcer::TrimPad);
        if max == LENGTH_MAX as usize {
            return Ok(values.clone());
        }
        if let Some(text) = values.as_string_view_opt() {
            // The bytes of a view are counted without looking at the text; only longer values need their characters.
            let fits = |v: &str| (v.len() <= max || v.chars().count() <= max) && (!pad || v.chars().count() == max);
            if text.iter().flatten().all(fits) {
                return Ok(values.clone());
            }
            let mut builder = StringViewBuilder::with_capacity(text.len());
            for value in text.iter() {
                let Some(value) = value else {
                    builder.append_null();
                    continue;
                };
                match value.char_indices().nth(max) {
                    Some(_) if self.spec.length == LengthEnforcer::Error => return Err(self.long_error(column, value)),
                    Some((end, _)) => builder.append_value(&value[..end]),
                    None if pad => builder.append_value(format!("{value:<max$}")),
                    None => builder.append_value(value),
                }
            }
            return Ok(Arc::new(builder.finish()));
        }
        let bytes = values.as_binary_view();
        if bytes.iter().flatten().all(|v| v.len() <= max && (!pad || v.len() == max)) {
            return Ok(values.clone());
        }
        let mut builder = BinaryViewBuilder::with_capacity(bytes.len());
        for value in bytes.iter() {
            match value {
                None => builder.append_null(),
                Some(v) if v.len() > max && self.spec.length == LengthEnforcer::Error => {
                    return Err(self.long_error(column, &format!("{} bytes", v.len())));
                }
                Some(v) if v.len() > max => builder.append_value(&v[..max]),
                Some(v) if pad => {
                    let mut padded = v.to_vec();
                    padded.resize(max, 0);
                    builder.append_value(padded);
                }
                Some(v) => builder.append_value(v),
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    fn long_error(&self, column: &SinkColumn, value: &str) -> Error {
        let shown: String = value.chars().take(40).collect();
        let message =
            format!("a value of `{}` is longer than {} of `{}`: {shown}", column.name, column.ty.kind, self.spec.table);
        let diagnostic = Diagnostic::error(VALUE_TOO_LONG, message)
            .with_help("declare the column longer, or cut the value (LEFT, CAST)")
            .with_help("SET 'table.exec.sink.type-length-enforcer' = 'trim-pad' cuts it");
        Error::from(diagnostic).at_default(column.span)
    }
}

impl Operator for SinkEdge {
    fn process(&mut self, _input: usize, batch: ChangeBatch, out: &mut Output) -> Result<()> {
        let mut batch = batch;
        if let Some(keep) = self.without_nulls(&batch)? {
            self.dropped.inc_by((batch.num_rows() - keep.true_count()) as f64);
            batch = batch.filter(&keep)?;
        }
        let mut columns = batch.data.columns().to_vec();
        if self.spec.length != LengthEnforcer::Ignore {
            for (column, values) in self.spec.columns.iter().zip(&mut columns) {
                *values = self.fit(column, values)?;
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let data = RecordBatch::try_new_with_options(self.spec.output.clone(), columns, &options)?;
        let ops: Ops = batch.ops;
        out.batch(ChangeBatch { data, ops });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use dflow_common::{Classified, SourceId};

    use super::*;
    use crate::operators::testing::{batch, check, context, failure, print, schema};

    fn spec(not_null: NotNullEnforcer, length: LengthEnforcer) -> SinkEdgeSpec {
        let column =
            |name: &str, ty: SqlType| SinkColumn { name: name.into(), ty, span: Some(Span::new(SourceId(0), 7, 9)) };
        let columns = vec![
            column("id", SqlType::from(TypeKind::Int).not_null()),
            column("v", TypeKind::VarChar(3).into()),
            column("c", TypeKind::Char(3).into()),
        ];
        let output = Schema::new(columns.iter().map(|c| c.ty.to_field(&c.name)).collect::<Vec<Field>>());
        SinkEdgeSpec { table: "out".into(), columns, output: Arc::new(output), not_null, length, deletes_by_key: false }
    }

    fn input() -> SchemaRef {
        schema(&[("a", DataType::Int32), ("b", DataType::Utf8View), ("c", DataType::Utf8View)])
    }

    #[test]
    fn a_null_fails_the_job_and_names_the_column_and_the_ways_out() {
        let spec = spec(NotNullEnforcer::Error, LengthEnforcer::Ignore);
        let e = failure(&spec, &input(), &["+ 1 x x", "+ NULL x x"]);
        assert_eq!((e.code(), e.span().is_some()), (NOT_NULL_VIOLATED.code, true));
        assert!(e.to_string().contains("`id` of `out`") && e.to_string().contains("not-null-enforcer"), "{e}");
    }

    #[test]
    fn dropped_rows_are_counted() {
        let spec = spec(NotNullEnforcer::Drop, LengthEnforcer::Ignore);
        let context = context(1, 0);
        let mut edge = spec.create(&context).unwrap();
        let mut out = Output::new();
        let rows = ["+ 1 x x", "+ NULL x x", "- 2 NULL NULL", "- NULL NULL NULL"];
        edge.process(0, batch(&input(), &rows), &mut out).unwrap();
        assert_eq!(print(&mut out), ["+I 1 x x", "-D 2 NULL NULL"]);
        assert_eq!(context.metrics.total(&NULLS_DROPPED), 2.0);
    }

    #[test]
    fn deletes_by_key_are_not_checked() {
        let spec = SinkEdgeSpec { deletes_by_key: true, ..spec(NotNullEnforcer::Error, LengthEnforcer::Ignore) };
        let mut edge = spec.create(&context(1, 0)).unwrap();
        let mut out = Output::new();
        edge.process(0, batch(&input(), &["- NULL x NULL"]), &mut out).unwrap();
        assert_eq!(print(&mut out), ["-D NULL x NULL"]);
    }

    #[test]
    fn lengths_are_cut_and_padded_in_characters() {
        let mut edge = spec(NotNullEnforcer::Error, LengthEnforcer::TrimPad).create(&context(1, 0)).unwrap();
        let mut out = Output::new();
        edge.process(0, batch(&input(), &["+ 1 äöüß ä", "+ 2 äöü abcd", "+ 3 NULL NULL"]), &mut out).unwrap();
        assert_eq!(print(&mut out), ["+I 1 äöü ä  ", "+I 2 äöü abc", "+I 3 NULL NULL"]);
    }

    #[test]
    fn a_long_value_fails_the_job_when_asked_to() {
        let spec = spec(NotNullEnforcer::Error, LengthEnforcer::Error);
        let e = failure(&spec, &input(), &["+ 1 äöü x", "+ 1 abcd x"]);
        assert_eq!(e.code(), VALUE_TOO_LONG.code);
        assert!(e.to_string().contains("VARCHAR(3)") && e.to_string().contains("abcd"), "{e}");
    }

    #[test]
    fn without_an_enforcer_lengths_pass() {
        check(&spec(NotNullEnforcer::Error, LengthEnforcer::Ignore), &input(), "");
        let mut edge = spec(NotNullEnforcer::Error, LengthEnforcer::Ignore).create(&context(1, 0)).unwrap();
        let mut out = Output::new();
        edge.process(0, batch(&input(), &["+ 1 abcdef abcdef"]), &mut out).unwrap();
        assert_eq!(print(&mut out), ["+I 1 abcdef abcdef"]);
    }
}
