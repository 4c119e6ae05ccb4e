//! Every expression of `tests/data/flink_expressions.tsv`, bound and computed as a query would, against what Flink made of it.
//!
//! `tests/data/flink_differences.tsv` lists where dflow differs: the expression, what dflow makes of it, and why. A line
//! that is no longer true fails the test as much as a new difference does.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::execution::context::ExecutionProps;
use datafusion::physical_expr::create_physical_expr;
use dflow_common::{SourceId, SqlType, TypeKind};
use dflow_dsl::ast::{ColumnKind, StatementKind, TableElement};

use super::datetime::Zone;
use crate::bind::prepass::Context;
use crate::bind::{Binder, Functions};
use crate::catalog::Catalog;
use crate::operators::testing::context as operator_context;
use crate::settings::RuntimeMode;

/// The columns of the row, with the expressions that make them.
const ROW: &[(&str, &str)] = &[
    ("a", "5"),
    ("b", "2"),
    ("s", "CAST('hello' AS STRING)"),
    ("ns", "CAST(NULL AS STRING)"),
    ("ni", "CAST(NULL AS INT)"),
    ("d", "CAST(1.15 AS DECIMAL(10, 2))"),
    ("ts", "CAST('2024-01-02 03:04:05.678' AS TIMESTAMP(3))"),
    ("dbl", "1.0e0"),
];

/// What became of an expression.
struct Outcome {
    ty: Option<SqlType>,
    value: String,
}

struct Golden {
    functions: Functions,
    columns: Vec<(String, SqlType)>,
    row: RecordBatch,
}

impl Golden {
    fn new(zone: &str, with_row: bool) -> Golden {
        let clock = operator_context(1, 0).env.clock;
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let empty = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        let mut golden = Golden { functions: Functions::new(zone, &clock, &[]), columns: Vec::new(), row: empty };
        if with_row {
            let (mut fields, mut values) = (Vec::new(), Vec::new());
            for (name, text) in ROW {
                let (ty, value) = golden.compute(text).unwrap();
                fields.push(Field::new(*name, value.data_type().clone(), true));
                golden.columns.push(((*name).to_owned(), ty));
                values.push(value);
            }
            golden.row = RecordBatch::try_new(Arc::new(Schema::new(fields)), values).unwrap();
        }
        golden
    }

    /// Binds and computes an expression over the row.
    fn compute(&self, text: &str) -> Result<(SqlType, ArrayRef), String> {
        let parsed = dflow_dsl::parse(SourceId(0), &format!("CREATE TABLE t (x AS {text})"));
        if let Some(d) = parsed.diagnostics.first() {
            return Err(format!("ERR {}", d.code));
        }
        let StatementKind::CreateTable(create) = &parsed.script.statements[0].kind else { panic!("a table") };
        let Some(TableElement::Column(column)) = create.elements.first() else { panic!("a column") };
        let ColumnKind::Computed(expr) = &column.kind else { panic!("a computed column") };
        let catalog = Catalog::default();
        let sources = dflow_common::SourceMap::new();
        let binder = Binder::new(Context {
            catalog: &catalog,
            functions: &self.functions,
            mode: RuntimeMode::Streaming,
            dynamic_options: false,
            expand: &|_| (Vec::new(), Vec::new()),
            sources: &sources,
            views: None,
        });
        let bound = binder.expression(expr, &self.columns).map_err(|e| format!("ERR {}", e.diagnostics()[0].code))?;
        let schema = DFSchema::try_from(self.row.schema().as_ref().clone()).unwrap();
        let physical = create_physical_expr(&bound.expr, &schema, &ExecutionProps::new(), &Default::default())
            .map_err(|e| format!("ERR physical {e}"))?;
        let value = physical
            .evaluate(&self.row)
            .and_then(|v| v.into_array(1))
            .map_err(|e| format!("ERR {}", super::error::diagnose(&e).code))?;
        Ok((bound.ty, value))
    }

    fn outcome(&self, text: &str) -> Outcome {
        match self.compute(text) {
            Ok((ty, value)) => Outcome { value: show(&value, &ty), ty: Some(ty) },
            Err(value) => Outcome { ty: None, value },
        }
    }
}

/// A value as Flink's client prints it.
fn show(value: &ArrayRef, ty: &SqlType) -> String {
    if value.is_null(0) {
        return "null".into();
    }
    if let DataType::Binary | DataType::BinaryView = value.data_type() {
        let view = arrow::compute::cast(value, &DataType::BinaryView).unwrap();
        let bytes = view.as_binary_view().value(0);
        return format!("bytes:{}", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>());
    }
    let printed = super::cast::to_text(value, Zone::UTC);
    match &ty.kind {
        TypeKind::Boolean => printed.to_lowercase(),
        TypeKind::Array(_) => printed.replace("NULL", "null"),
        TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => {
            // LocalDateTime.toString leaves out what is zero.
            let (date, time) = printed.split_once(' ').unwrap();
            let time = time.trim_end_matches('0').trim_end_matches('.');
            let fraction = time.split_once('.').map(|(_, f)| f.len().div_ceil(3) * 3);
            let mut time = match (fraction, time.split_once('.')) {
                (Some(n), Some((clock, f))) => format!("{clock}.{f:0<n$}"),
                _ => format!("{}{}", time, &"00:00:00"[time.len().min(8)..]),
            };
            if let TypeKind::TimestampLtz(_) = ty.kind {
                return format!("{date}T{time}Z");
            }
            if let Some(short) = time.strip_suffix(":00") {
                time = short.into();
            }
            format!("{date}T{time}")
        }
        _ => printed,
    }
}

/// Whether two types are one to Arrow: lengths of text and precisions within one unit are not told apart.
fn same_type(ours: &SqlType, flinks: &str) -> bool {
    let Ok(flink) = dflow_dsl::types::parse_type(SourceId(0), flinks) else { return true };
    let text = |t: &SqlType| t.kind.is_string();
    (text(ours) && text(&flink)) || ours.to_arrow() == flink.to_arrow()
}

#[test]
fn expressions_have_flinks_types_and_values() {
    let differences: BTreeMap<&str, &str> = include_str!("../../tests/data/flink_differences.tsv")
        .lines()
        .filter(|l| !l.starts_with('#'))
        .map(|l| {
            let mut parts = l.split('\t');
            (parts.next().unwrap(), parts.next().unwrap_or_default())
        })
        .collect();
    let plain = Golden::new("UTC", false);
    let row = Golden::new("Asia/Shanghai", true);
    let (mut agree, mut wrong) = (0, Vec::new());
    for line in include_str!("../../tests/data/flink_expressions.tsv").lines().filter(|l| !l.starts_with('#')) {
        let parts: Vec<&str> = line.split('\t').collect();
        let (over, text, ty, value) = (parts[0], parts[1], parts[2], parts[3]);
        let ours = if over == "row" { &row } else { &plain }.outcome(text);
        let right_type = ours.ty.as_ref().is_none_or(|t| same_type(t, ty.trim_end_matches(" NOT NULL")));
        let right_value = ours.value == value || (value.starts_with("ERR") && ours.value.starts_with("ERR"));
        let shown = match &ours.ty {
            Some(t) if !right_type => format!("{} {}", t.kind, ours.value),
            _ => ours.value.clone(),
        };
        match differences.get(text) {
            Some(expected) if *expected == shown && !(right_type && right_value) => {}
            Some(expected) => wrong.push(format!("{text}\t{shown}\tlisted as {expected}; Flink {ty} {value}")),
            None if right_type && right_value => agree += 1,
            None => wrong.push(format!("{text}\t{shown}\tFlink {ty} {value}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), wrong.len() + agree, wrong.join("\n"));
    assert!(agree > 350, "only {agree} expressions agree");
}
