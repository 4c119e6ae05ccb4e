//! A compiled Calc: which expressions run when, on which columns.
//!
//! ```text
//! input ─ early commons ─> [input.. $e..] ─ conjuncts ─> mask ─ filter kept columns ─> [kept..] ─ late commons ─> outputs
//! ```
//! Early commons are shared by the filter (and perhaps the projection) and never fail. Late commons are shared within
//! the projection; they may fail only if some use of them is reached by every row.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{and_kleene, prep_null_mask_filter};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::logical_expr::Operator as BinaryOp;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, CastExpr, Column, Literal};
use dflow_common::{ChangeBatch, Span};
use dflow_runtime::{Error, Result};

use super::guard::{Guarded, guard};
use super::{CalcExpr, CalcSpec};
use crate::functions;
use crate::operators::error;

type Expr = Arc<dyn PhysicalExpr>;

/// Nodes an expression may have to be searched for common subexpressions; larger ones are evaluated as they are.
const COMMON_NODES_MAX: usize = 20_000;

/// An output column.
enum Out {
    /// Column of the kept batch.
    Pass(usize),
    /// Computed.
    Compute(CalcExpr),
}

/// See the module.
pub(super) struct Program {
    input: SchemaRef,
    early: Vec<CalcExpr>,
    /// Conditions, and whether they can fail.
    conjuncts: Vec<(CalcExpr, bool)>,
    /// Columns of `input ++ early` that survive the filter.
    kept: Vec<usize>,
    late: Vec<CalcExpr>,
    outputs: Vec<Out>,
    output: SchemaRef,
    identity: bool,
}

impl Program {
    /// Plans the evaluation.
    pub(super) fn compile(spec: &CalcSpec) -> Result<Program> {
        let width = spec.input.fields().len();
        let mut conjuncts = Vec::new();
        if let Some(predicate) = &spec.predicate {
            split_conjunction(predicate, &mut conjuncts);
        }
        // Stable: those that can fail keep their order, behind all that cannot.
        conjuncts.sort_by_key(|c| can_fail(&c.expr, &spec.input));
        let fallible: Vec<bool> = conjuncts.iter().map(|c| can_fail(&c.expr, &spec.input)).collect();
        let mut projection = spec.projection.clone();
        for e in conjuncts.iter_mut().chain(&mut projection) {
            e.expr = guard(&e.expr, &spec.input).map_err(broken)?;
        }

        let (mut early, mut fields) = (Vec::new(), fields_of(&spec.input));
        if !conjuncts.is_empty() {
            let commons = find_commons(&conjuncts, &projection, true, &spec.input);
            (early, fields) = hoist(commons, fields, width, &mut conjuncts, &mut projection)?;
        }

        let mut kept: Vec<usize> = Vec::new();
        for p in &projection {
            collect_columns(&p.expr, &mut kept);
        }
        kept.sort_unstable();
        kept.dedup();
        let kept_fields: Vec<Field> = kept.iter().map(|i| fields[*i].clone()).collect();
        let position: HashMap<usize, usize> = kept.iter().enumerate().map(|(new, old)| (*old, new)).collect();
        for p in &mut projection {
            p.expr = remap(&p.expr, &position)?;
        }

        let kept_schema = Arc::new(Schema::new(kept_fields.clone()));
        let commons = find_commons(&projection, &[], false, &kept_schema);
        let (late, _) = hoist(commons, kept_fields, kept.len(), &mut projection, &mut [])?;

        let outputs: Vec<Out> = projection
            .into_iter()
            .map(|p| match p.expr.downcast_ref::<Column>() {
                Some(c) => Out::Pass(c.index()),
                None => Out::Compute(p),
            })
            .collect();
        let identity = conjuncts.is_empty()
            && outputs.len() == width
            && outputs.iter().enumerate().all(|(i, o)| matches!(o, Out::Pass(c) if kept.get(*c) == Some(&i)));
        Ok(Program {
            input: spec.input.clone(),
            early,
            conjuncts: conjuncts.into_iter().zip(fallible).collect(),
            kept,
            late,
            outputs,
            output: spec.output.clone(),
            identity,
        })
    }

    /// The rows that pass, projected; `None` when none does.
    pub(super) fn run(&self, batch: ChangeBatch) -> Result<Option<ChangeBatch>> {
        if batch.is_empty() {
            return Ok(None);
        }
        if self.identity {
            let data = with_schema(&self.output, batch.data.columns().to_vec(), batch.num_rows())?;
            return Ok(Some(batch.with_data(data)));
        }
        let ChangeBatch { data, ops } = batch;
        let data = append(data, &self.input, &self.early)?;
        let mut batch = ChangeBatch { data, ops };
        if !self.conjuncts.is_empty() {
            match self.filter(batch)? {
                Some(passed) => batch = passed,
                None => return Ok(None),
            }
        } else {
            batch = batch.with_data(batch.data.project(&self.kept)?);
        }
        let rows = batch.num_rows();
        let schema = batch.schema();
        let data = append(batch.data, &schema, &self.late)?;
        let mut columns = Vec::with_capacity(self.outputs.len());
        for out in &self.outputs {
            columns.push(match out {
                Out::Pass(i) => data.column(*i).clone(),
                Out::Compute(e) => evaluate(e, &data)?,
            });
        }
        for (column, field) in columns.iter_mut().zip(self.output.fields()) {
            // Some functions of DataFusion return the other representation of text.
            if *field.data_type() == DataType::Utf8View && column.data_type() == &DataType::Utf8 {
                *column = arrow::compute::cast(column, &DataType::Utf8View)?;
            }
        }
        Ok(Some(ChangeBatch { data: with_schema(&self.output, columns, rows)?, ops: batch.ops }))
    }

    /// Applies the conjuncts and keeps the columns the projection needs.
    fn filter(&self, mut batch: ChangeBatch) -> Result<Option<ChangeBatch>> {
        let mut mask: Option<BooleanArray> = None;
        for (conjunct, fallible) in &self.conjuncts {
            if let Some(m) = &mask {
                if *fallible && m.true_count() < batch.num_rows() {
                    batch = batch.filter(m)?;
                    mask = None;
                } else if m.true_count() == 0 {
                    return Ok(None);
                }
            }
            if batch.is_empty() {
                return Ok(None);
            }
            let passed = as_mask(evaluate(conjunct, &batch.data)?)?;
            mask = Some(match mask {
                Some(m) => and_kleene(&m, &passed)?,
                None => passed,
            });
        }
        let Some(mask) = mask else { return Ok(Some(batch)) };
        let passing = mask.true_count();
        if passing == 0 {
            return Ok(None);
        }
        let kept = batch.with_data(batch.data.project(&self.kept)?);
        if passing == kept.num_rows() {
            return Ok(Some(kept));
        }
        Ok(Some(kept.filter(&mask)?))
    }
}

/// A boolean column in which NULL is false.
fn as_mask(array: ArrayRef) -> Result<BooleanArray> {
    let Some(mask) = array.as_any().downcast_ref::<BooleanArray>() else {
        return Err(Error::internal(format!("a predicate of type {}", array.data_type())));
    };
    Ok(if mask.null_count() == 0 { mask.clone() } else { prep_null_mask_filter(mask) })
}

fn evaluate(e: &CalcExpr, batch: &RecordBatch) -> Result<ArrayRef> {
    e.expr
        .evaluate(batch)
        .and_then(|v| v.into_array(batch.num_rows()))
        .map_err(|error| error::expression(&error, e.span, &e.expr.to_string()))
}

/// Appends computed columns. Each may use those before it.
fn append(data: RecordBatch, schema: &SchemaRef, exprs: &[CalcExpr]) -> Result<RecordBatch> {
    if exprs.is_empty() {
        return Ok(data);
    }
    let rows = data.num_rows();
    let mut fields = fields_of(schema);
    let mut data = data;
    for e in exprs {
        let column = evaluate(e, &data)?;
        let mut columns = data.columns().to_vec();
        fields.push(Field::new(format!("${}", columns.len()), column.data_type().clone(), true));
        columns.push(column);
        data = with_schema(&Arc::new(Schema::new(fields.clone())), columns, rows)?;
    }
    Ok(data)
}

fn with_schema(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

fn fields_of(schema: &SchemaRef) -> Vec<Field> {
    schema.fields().iter().map(|f| f.as_ref().clone()).collect()
}

fn split_conjunction(e: &CalcExpr, into: &mut Vec<CalcExpr>) {
    match e.expr.downcast_ref::<BinaryExpr>() {
        Some(b) if *b.op() == BinaryOp::And => {
            split_conjunction(&CalcExpr::new(b.left().clone(), e.span), into);
            split_conjunction(&CalcExpr::new(b.right().clone(), e.span), into);
        }
        _ => into.push(e.clone()),
    }
}

/// Whether evaluating it over columns of `schema` may fail on some row.
pub(super) fn can_fail(e: &Expr, schema: &Schema) -> bool {
    let here = if let Some(b) = e.downcast_ref::<BinaryExpr>() {
        matches!(b.op(), BinaryOp::Divide | BinaryOp::Modulo)
    } else if let Some(f) = e.downcast_ref::<ScalarFunctionExpr>() {
        !functions::never_fails(f.name())
    } else if let Some(c) = e.downcast_ref::<CastExpr>() {
        c.expr().data_type(schema).map_or(true, |from| !widens(&from, c.cast_type()))
    } else {
        false
    };
    here || e.children().into_iter().any(|c| can_fail(c, schema))
}

/// Whether every value of `from` is one of `to`.
pub(crate) fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, LargeUtf8, Timestamp, Utf8, Utf8View};
    let digits = |t: &DataType| match t {
        Int8 => Some((3, 0)),
        Int16 => Some((5, 0)),
        Int32 => Some((10, 0)),
        Int64 => Some((19, 0)),
        Decimal128(p, s) => Some((i16::from(*p), i16::from(*s))),
        _ => None,
    };
    match (from, to) {
        (a, b) if a == b => true,
        (Int8 | Int16 | Int32 | Int64 | Float32 | Decimal128(..), Float32 | Float64) => true,
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => true,
        (Timestamp(..), Timestamp(..)) => false,
        (a, b) => match (digits(a), digits(b)) {
            (Some((p1, s1)), Some((p2, s2))) => s2 >= s1 && p2 - s2 >= p1 - s1,
            _ => false,
        },
    }
}

/// How often a subexpression occurs.
#[derive(Default)]
struct Uses {
    total: usize,
    /// Uses that every row reaches.
    reached: usize,
    in_first: usize,
    nodes: usize,
    span: Option<Span>,
}

/// Subexpressions worth computing once, larger ones later. With `in_first`, only those that occur in `first`.
fn find_commons(first: &[CalcExpr], second: &[CalcExpr], in_first: bool, schema: &Schema) -> Vec<CalcExpr> {
    let mut uses: HashMap<Expr, Uses> = HashMap::new();
    let mut order: Vec<Expr> = Vec::new();
    let mut budget = COMMON_NODES_MAX;
    for (side, exprs) in [(true, first), (false, second)] {
        for e in exprs {
            count(&e.expr, true, side, e.span, &mut uses, &mut order, &mut budget);
        }
    }
    if budget == 0 {
        return Vec::new();
    }
    let mut commons: Vec<CalcExpr> = Vec::new();
    for e in order {
        let u = &uses[&e];
        let safe =
            if in_first { u.in_first > 0 && !can_fail(&e, schema) } else { u.reached > 0 || !can_fail(&e, schema) };
        if u.total >= 2 && u.reached >= 1 && safe {
            commons.push(CalcExpr::new(e.clone(), u.span));
        }
    }
    // A common inside another counts only if it is used outside of it too.
    let inside: Vec<bool> = commons
        .iter()
        .map(|c| {
            let own = uses[&c.expr].total;
            commons.iter().any(|bigger| {
                uses[&bigger.expr].nodes > uses[&c.expr].nodes
                    && occurrences(&bigger.expr, &c.expr) * uses[&bigger.expr].total >= own
                    && occurrences(&bigger.expr, &c.expr) == 1
            })
        })
        .collect();
    let mut keep = inside.iter().map(|i| !i);
    commons.retain(|_| keep.next().unwrap_or(false));
    commons.sort_by_key(|c| uses[&c.expr].nodes);
    commons
}

fn occurrences(inside: &Expr, what: &Expr) -> usize {
    if inside == what {
        return 1;
    }
    inside.children().into_iter().map(|c| occurrences(c, what)).sum()
}

/// Counts the subexpressions of `e`; returns how many nodes it has and whether it is volatile.
fn count(
    e: &Expr,
    reached: bool,
    first: bool,
    span: Option<Span>,
    uses: &mut HashMap<Expr, Uses>,
    order: &mut Vec<Expr>,
    budget: &mut usize,
) -> (usize, bool) {
    *budget = budget.saturating_sub(1);
    if *budget == 0 || e.downcast_ref::<Column>().is_some() || e.downcast_ref::<Literal>().is_some() {
        return (1, false);
    }
    let conditional = conditional_from(e);
    let (mut nodes, mut volatile) = (1, e.is_volatile_node());
    for (i, child) in e.children().into_iter().enumerate() {
        let (n, v) = count(child, reached && i < conditional, first, span, uses, order, budget);
        nodes += n;
        volatile |= v;
    }
    if !volatile && *budget > 0 {
        let entry = uses.entry(e.clone()).or_insert_with(|| {
            order.push(e.clone());
            Uses { nodes, span, ..Uses::default() }
        });
        entry.total += 1;
        entry.reached += usize::from(reached);
        entry.in_first += usize::from(first);
    }
    (nodes, volatile)
}

/// Children from this index on are evaluated for some rows only.
fn conditional_from(e: &Expr) -> usize {
    if e.downcast_ref::<CaseExpr>().is_some() || e.downcast_ref::<Guarded>().is_some() {
        return 1;
    }
    if let Some(b) = e.downcast_ref::<BinaryExpr>() {
        return if matches!(b.op(), BinaryOp::And | BinaryOp::Or) { 1 } else { 2 };
    }
    match e.downcast_ref::<ScalarFunctionExpr>() {
        Some(f) if f.fun().short_circuits() => 1,
        _ => usize::MAX,
    }
}

/// Gives each common a column behind `fields` and replaces its uses.
fn hoist(
    commons: Vec<CalcExpr>,
    mut fields: Vec<Field>,
    width: usize,
    first: &mut [CalcExpr],
    second: &mut [CalcExpr],
) -> Result<(Vec<CalcExpr>, Vec<Field>)> {
    let mut replaced: Vec<(Expr, Expr)> = Vec::new();
    let mut hoisted = Vec::new();
    for common in commons {
        let schema = Arc::new(Schema::new(fields.clone()));
        let field = common_field(&common.expr, &schema)?;
        let index = width + hoisted.len();
        let column: Expr = Arc::new(Column::new(&format!("${index}"), index));
        // Smaller commons come first, so a bigger one can use them.
        let expr = replace(&common.expr, &replaced)?;
        replaced.push((common.expr, column));
        hoisted.push(CalcExpr::new(expr, common.span));
        fields.push(field.with_name(format!("${index}")));
    }
    replaced.reverse();
    for e in first.iter_mut().chain(second) {
        e.expr = replace(&e.expr, &replaced)?;
    }
    Ok((hoisted, fields))
}

fn common_field(e: &Expr, schema: &SchemaRef) -> Result<Field> {
    Ok(Field::new("$", e.data_type(schema).map_err(broken)?, true))
}

fn replace(e: &Expr, by: &[(Expr, Expr)]) -> Result<Expr> {
    if by.is_empty() {
        return Ok(e.clone());
    }
    if let Some((_, column)) = by.iter().find(|(common, _)| common == e) {
        return Ok(column.clone());
    }
    let children = e.children();
    if children.is_empty() {
        return Ok(e.clone());
    }
    let children = children.into_iter().map(|c| replace(c, by)).collect::<Result<Vec<_>>>()?;
    e.clone().with_new_children(children).map_err(broken)
}

fn collect_columns(e: &Expr, into: &mut Vec<usize>) {
    if let Some(c) = e.downcast_ref::<Column>() {
        into.push(c.index());
    }
    e.children().into_iter().for_each(|c| collect_columns(c, into));
}

fn remap(e: &Expr, position: &HashMap<usize, usize>) -> Result<Expr> {
    if let Some(c) = e.downcast_ref::<Column>() {
        return Ok(Arc::new(Column::new(c.name(), position[&c.index()])));
    }
    let children = e.children();
    if children.is_empty() {
        return Ok(e.clone());
    }
    let children = children.into_iter().map(|c| remap(c, position)).collect::<Result<Vec<_>>>()?;
    e.clone().with_new_children(children).map_err(broken)
}

fn broken(e: DataFusionError) -> Error {
    Error::internal(format!("calc: {e}"))
}
