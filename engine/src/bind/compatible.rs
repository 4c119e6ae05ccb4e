//! Types that may meet: what Flink refuses and DataFusion would turn into text.
//!
//! ```text
//! CASE WHEN c THEN 1 ELSE DATE '2024-01-01' END      no type for both: refused at the second branch
//! id = 'x', id IN (1, 'x'), id BETWEEN 1 AND 'x'     a number is not compared with text
//! day = '2024-01-01'                                 text beside a date or a time is read as one
//! ```
//! Looked at before types are coerced, when expressions still have the types they were written with.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::{Case, InList};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use dflow_common::{CodeInfo, SqlType};

use crate::error;

/// Two types that do not fit.
#[derive(Clone, Debug)]
pub(super) struct Misfit {
    pub(super) code: CodeInfo,
    /// What is wrong.
    pub(super) message: String,
    /// Which part of the expression it is, as [`super::blame`] counts them.
    pub(super) part: Option<usize>,
    /// What to do.
    pub(super) help: &'static str,
}

const CAST_ONE: &str = "CAST one of them to the type of the other";
const CONDITION: &str = "write a comparison, such as `x <> 0` or `x IS NOT NULL`";

/// The first misfit of a plan, inner expressions first.
pub(super) fn misfit(plan: &LogicalPlan) -> Option<Misfit> {
    plan.inputs().into_iter().find_map(misfit).or_else(|| of_node(plan))
}

fn of_node(node: &LogicalPlan) -> Option<Misfit> {
    match node {
        LogicalPlan::Union(union) => {
            let first = union.inputs.first()?;
            return union.inputs.iter().skip(1).find_map(|other| columns("UNION", first.schema(), other.schema()));
        }
        LogicalPlan::Join(join) if join.filter.is_none() => {
            let misfit = join.on.iter().enumerate().find_map(|(i, (l, r))| {
                let (l, r) = (l.get_type(join.left.schema()).ok()?, r.get_type(join.right.schema()).ok()?);
                (!comparable(&l, &r)).then(|| no_comparison("=", &l, &r, Some(i)))
            });
            if misfit.is_some() {
                return misfit;
            }
        }
        LogicalPlan::Values(values) => return cells(&values.values),
        _ => {}
    }
    let schema = merge_schema(&node.inputs());
    let mut found = None;
    let _ = node.apply_expressions(|e| {
        found = of_expr(e, &schema);
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

/// The first misfit of an expression, inner ones first.
pub(super) fn of_expr(e: &Expr, schema: &DFSchema) -> Option<Misfit> {
    let mut found = None;
    let _ = e.apply_children(|child| {
        found = of_expr(child, schema);
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found.or_else(|| here(e, schema).ok().flatten())
}

fn here(e: &Expr, schema: &DFSchema) -> DfResult<Option<Misfit>> {
    let types = |all: &[Expr]| all.iter().map(|e| e.get_type(schema)).collect::<DfResult<Vec<_>>>();
    Ok(match e {
        Expr::Case(case) => of_case(case, schema)?,
        Expr::BinaryExpr(binary) => of_binary(binary, schema)?,
        Expr::InList(InList { expr, list, .. }) => {
            let (one, list) = (expr.get_type(schema)?, types(list)?);
            let misfit = list.iter().position(|t| !comparable(&one, t));
            misfit.map(|i| Misfit {
                code: error::BAD_EXPRESSION,
                message: format!("IN cannot compare {} with {}", shown(&one), shown(&list[i])),
                part: Some(i),
                help: CAST_ONE,
            })
        }
        Expr::Between(between) => {
            let one = between.expr.get_type(schema)?;
            let bounds = [between.low.get_type(schema)?, between.high.get_type(schema)?];
            let misfit = bounds.iter().position(|t| !comparable(&one, t));
            misfit.map(|i| Misfit {
                code: error::BAD_EXPRESSION,
                message: format!("BETWEEN cannot compare {} with {}", shown(&one), shown(&bounds[i])),
                part: Some(i),
                help: CAST_ONE,
            })
        }
        Expr::IsTrue(x) | Expr::IsNotTrue(x) => no_boolean("IS TRUE takes BOOLEAN", &x.get_type(schema)?, None),
        Expr::IsFalse(x) | Expr::IsNotFalse(x) => no_boolean("IS FALSE takes BOOLEAN", &x.get_type(schema)?, None),
        Expr::IsUnknown(x) | Expr::IsNotUnknown(x) => {
            no_boolean("IS UNKNOWN takes BOOLEAN", &x.get_type(schema)?, None)
        }
        Expr::AggregateFunction(call) => match &call.params.filter {
            Some(filter) => no_boolean("a condition is BOOLEAN", &filter.get_type(schema)?, None),
            None => None,
        },
        Expr::Like(like) => {
            let operands = [like.expr.get_type(schema)?, like.pattern.get_type(schema)?];
            let misfit = operands.iter().position(|t| !matches!(family(t), Family::Null | Family::Text));
            misfit.map(|i| Misfit {
                code: error::BAD_EXPRESSION,
                message: format!("LIKE takes STRING, {} is given", shown(&operands[i])),
                part: None,
                help: "write CAST(… AS STRING)",
            })
        }
        Expr::ScalarFunction(call) => match call.name() {
            "coalesce" | "nvl" | "greatest" | "least" | "make_array" => of_list(&types(&call.args)?, 0),
            "if" if call.args.len() == 3 => of_list(&types(&call.args[1..])?, 1),
            "nullif" if call.args.len() == 2 => {
                let types = types(&call.args)?;
                (!comparable(&types[0], &types[1])).then(|| Misfit {
                    code: error::BAD_ARGUMENTS,
                    message: format!("{} and {} cannot be compared", shown(&types[0]), shown(&types[1])),
                    part: Some(1),
                    help: CAST_ONE,
                })
            }
            _ => None,
        },
        _ => None,
    })
}

/// Arguments that need one type; the first is part `offset` of the call.
fn of_list(types: &[DataType], offset: usize) -> Option<Misfit> {
    let (first, i) = unlike(types)?;
    Some(Misfit {
        code: error::BAD_ARGUMENTS,
        message: format!("the arguments have no type in common: {} and {}", shown(first), shown(&types[i])),
        part: Some(offset + i),
        help: CAST_ONE,
    })
}

/// The first type that is known, and the place of the first that does not go with it.
fn unlike(types: &[DataType]) -> Option<(&DataType, usize)> {
    let first = types.iter().find(|t| !t.is_null())?;
    types.iter().position(|t| !compatible(first, t)).map(|i| (first, i))
}

fn of_case(case: &Case, schema: &DFSchema) -> DfResult<Option<Misfit>> {
    let results = case.when_then_expr.iter().map(|(_, then)| then.as_ref()).chain(case.else_expr.as_deref());
    let results = results.map(|e| e.get_type(schema)).collect::<DfResult<Vec<_>>>()?;
    if let Some((first, i)) = unlike(&results) {
        return Ok(Some(Misfit {
            code: error::BAD_EXPRESSION,
            message: format!(
                "the branches of CASE have no type in common: {} and {}",
                shown(first),
                shown(&results[i])
            ),
            part: Some(i),
            help: CAST_ONE,
        }));
    }
    let Some(operand) = &case.expr else {
        for (i, (when, _)) in case.when_then_expr.iter().enumerate() {
            let wrong = no_boolean("a condition is BOOLEAN", &when.get_type(schema)?, Some(results.len() + i));
            if wrong.is_some() {
                return Ok(wrong);
            }
        }
        return Ok(None);
    };
    let operand = operand.get_type(schema)?;
    for (i, (when, _)) in case.when_then_expr.iter().enumerate() {
        let when = when.get_type(schema)?;
        if !comparable(&operand, &when) {
            return Ok(Some(no_comparison("=", &operand, &when, Some(results.len() + i))));
        }
    }
    Ok(None)
}

fn of_binary(binary: &BinaryExpr, schema: &DFSchema) -> DfResult<Option<Misfit>> {
    let (l, r) = (binary.left.get_type(schema)?, binary.right.get_type(schema)?);
    let is = |t: &DataType, all: &[Family]| all.contains(&family(t));
    Ok(match binary.op {
        Operator::Eq
        | Operator::NotEq
        | Operator::Lt
        | Operator::LtEq
        | Operator::Gt
        | Operator::GtEq
        | Operator::IsDistinctFrom
        | Operator::IsNotDistinctFrom => {
            (!comparable(&l, &r)).then(|| no_comparison(&binary.op.to_string(), &l, &r, None))
        }
        Operator::And | Operator::Or => {
            let takes = format!("{} takes BOOLEAN", binary.op);
            no_boolean(&takes, &l, None).or_else(|| no_boolean(&takes, &r, None))
        }
        Operator::StringConcat => {
            let joined = [Family::Null, Family::Text, Family::Bytes, Family::List];
            (!is(&l, &joined) || !is(&r, &joined)).then(|| Misfit {
                code: error::BAD_EXPRESSION,
                message: format!("|| joins texts, {} and {} are given", shown(&l), shown(&r)),
                part: None,
                help: CAST_ONE,
            })
        }
        _ => None,
    })
}

fn no_boolean(takes: &str, ty: &DataType, part: Option<usize>) -> Option<Misfit> {
    (!matches!(family(ty), Family::Bool | Family::Null)).then(|| Misfit {
        code: error::BAD_EXPRESSION,
        message: format!("{takes}, {} is given", shown(ty)),
        part,
        help: CONDITION,
    })
}

fn no_comparison(op: &str, l: &DataType, r: &DataType, part: Option<usize>) -> Misfit {
    let message = format!("these types cannot be compared: {} {op} {}", shown(l), shown(r));
    Misfit { code: error::BAD_EXPRESSION, message, part, help: CAST_ONE }
}

/// Columns of one place in two inputs of a set operation.
fn columns(what: &str, first: &DFSchema, other: &DFSchema) -> Option<Misfit> {
    let pairs = first.fields().iter().zip(other.fields());
    let (i, (a, b)) = pairs.enumerate().find(|(_, (a, b))| !compatible(a.data_type(), b.data_type()))?;
    let message = format!(
        "{what} has no type for both {} and {}: column {} of its inputs",
        shown(a.data_type()),
        shown(b.data_type()),
        i + 1
    );
    Some(Misfit { code: error::BAD_EXPRESSION, message, part: Some(i), help: CAST_ONE })
}

/// The cells of VALUES; the part counts them row by row.
fn cells(rows: &[Vec<Expr>]) -> Option<Misfit> {
    let width = rows.first()?.len();
    (0..width).find_map(|column| {
        let types: Vec<DataType> = rows.iter().map(|row| written_type(&row[column])).collect::<DfResult<_>>().ok()?;
        let (first, row) = unlike(&types)?;
        Some(Misfit {
            code: error::BAD_EXPRESSION,
            message: format!(
                "column {} of VALUES is {}, a later row gives {}",
                column + 1,
                shown(first),
                shown(&types[row])
            ),
            part: Some(row * width + column),
            help: CAST_ONE,
        })
    })
}

/// The type of a cell without the cast that DataFusion has put around it. Casts of a query are functions; the one around
/// the digits of a DOUBLE literal stays.
fn written_type(e: &Expr) -> DfResult<DataType> {
    let is_double = |e: &Expr| match e {
        Expr::Literal(ScalarValue::Utf8(Some(s)) | ScalarValue::Utf8View(Some(s)), _) => s.parse::<f64>().is_ok(),
        _ => false,
    };
    match e {
        Expr::Cast(c) if !(c.field.data_type().is_floating() && is_double(&c.expr)) => written_type(&c.expr),
        other => other.get_type(&DFSchema::empty()),
    }
}

fn shown(t: &DataType) -> String {
    SqlType::from_arrow(t).map_or_else(|| t.to_string(), |t| t.to_string())
}

/// Types that have a common one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Null,
    Bool,
    Number,
    Text,
    Bytes,
    /// DATE, TIMESTAMP, TIMESTAMP_LTZ.
    Day,
    Time,
    Interval,
    List,
    Map,
    Row,
}

fn family(t: &DataType) -> Family {
    use DataType as D;
    match t {
        D::Boolean => Family::Bool,
        D::Utf8 | D::LargeUtf8 | D::Utf8View => Family::Text,
        D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => Family::Bytes,
        D::Date32 | D::Date64 | D::Timestamp(..) => Family::Day,
        D::Time32(_) | D::Time64(_) => Family::Time,
        D::Interval(_) | D::Duration(_) => Family::Interval,
        D::List(_) | D::LargeList(_) | D::FixedSizeList(..) => Family::List,
        D::Map(..) => Family::Map,
        D::Struct(_) => Family::Row,
        t if t.is_numeric() => Family::Number,
        _ => Family::Null,
    }
}

/// Whether one type can hold values of both.
fn compatible(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(x), DataType::List(y)) | (DataType::Map(x, _), DataType::Map(y, _)) => {
            compatible(x.data_type(), y.data_type())
        }
        (DataType::Struct(x), DataType::Struct(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| compatible(x.data_type(), y.data_type()))
        }
        _ => {
            let (a, b) = (family(a), family(b));
            a == b || a == Family::Null || b == Family::Null
        }
    }
}

/// Whether two values can be compared: text is read as the date or time beside it.
fn comparable(a: &DataType, b: &DataType) -> bool {
    let point = |t: &DataType| matches!(family(t), Family::Day | Family::Time);
    let text = |t: &DataType| family(t) == Family::Text;
    compatible(a, b) || (text(a) && point(b)) || (point(a) && text(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrow(text: &str) -> DataType {
        dflow_dsl::types::parse_type(dflow_common::SourceId(0), text).unwrap().to_arrow()
    }

    #[test]
    fn one_type_for_both() {
        for (a, b) in
            [("INT", "DECIMAL(5, 2)"), ("CHAR(1)", "STRING"), ("DATE", "TIMESTAMP(3)"), ("ARRAY<INT>", "ARRAY<DOUBLE>")]
        {
            assert!(compatible(&arrow(a), &arrow(b)), "{a}, {b}");
        }
        for (a, b) in
            [("INT", "DATE"), ("INT", "STRING"), ("BOOLEAN", "INT"), ("ARRAY<INT>", "ARRAY<DATE>"), ("TIME(3)", "DATE")]
        {
            assert!(!compatible(&arrow(a), &arrow(b)), "{a}, {b}");
        }
        assert!(compatible(&DataType::Null, &arrow("DATE")));
    }

    #[test]
    fn text_is_compared_with_dates_and_not_with_numbers() {
        assert!(comparable(&arrow("STRING"), &arrow("DATE")) && comparable(&arrow("TIMESTAMP(3)"), &arrow("STRING")));
        assert!(!comparable(&arrow("STRING"), &arrow("INT")) && !comparable(&arrow("BOOLEAN"), &arrow("STRING")));
    }
}
