use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::logical_expr::{
    ColumnarValue, Operator as Op, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::{CaseExpr, Column, binary, lit};
use dflow_common::{Classified, SourceId};

use super::*;
use crate::functions::error::DIVISION_BY_ZERO;
use crate::operators::testing::{batch, check, context, failure, print, schema};

type Expr = Arc<dyn PhysicalExpr>;

fn input() -> SchemaRef {
    schema(&[("a", DataType::Int32), ("b", DataType::Int32), ("s", DataType::Utf8View)])
}

fn col(i: usize) -> Expr {
    Arc::new(Column::new(input().field(i).name(), i))
}

fn op(l: Expr, o: Op, r: Expr) -> Expr {
    binary(l, o, r, &input()).unwrap()
}

fn span() -> Option<Span> {
    Some(Span::new(SourceId(0), 3, 9))
}

fn spec(predicate: Option<Expr>, projection: Vec<Expr>) -> CalcSpec {
    let fields: Vec<Field> = projection
        .iter()
        .enumerate()
        .map(|(i, e)| Field::new(format!("c{i}"), e.data_type(&input()).unwrap(), true))
        .collect();
    CalcSpec {
        input: input(),
        predicate: predicate.map(|p| CalcExpr::new(p, span())),
        projection: projection.into_iter().map(|p| CalcExpr::new(p, span())).collect(),
        output: Arc::new(Schema::new(fields)),
    }
}

/// Runs rows through a spec, one batch.
fn run(spec: &CalcSpec, rows: &[&str]) -> Vec<String> {
    let mut calc = spec.create(&context(1, 0)).unwrap();
    let mut out = Output::new();
    calc.process(0, batch(&input(), rows), &mut out).unwrap();
    print(&mut out)
}

/// `probe(x) = x`, counting the rows it is evaluated on.
#[derive(Debug)]
struct Probe {
    name: &'static str,
    signature: Signature,
    rows: Arc<AtomicUsize>,
}

impl PartialEq for Probe {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for Probe {}
impl std::hash::Hash for Probe {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Probe {
    fn name(&self) -> &str {
        self.name
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, args: &[DataType]) -> datafusion::common::Result<DataType> {
        Ok(args[0].clone())
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> datafusion::common::Result<ColumnarValue> {
        self.rows.fetch_add(args.number_rows, Ordering::Relaxed);
        Ok(args.args[0].clone())
    }
}

/// The probe over `argument`, under a name that is known never to fail or one that is not known.
fn probe(name: &'static str, volatility: Volatility, argument: Expr) -> (Expr, Arc<AtomicUsize>) {
    let rows = Arc::new(AtomicUsize::new(0));
    let probe = Probe { name, signature: Signature::any(1, volatility), rows: rows.clone() };
    let udf = Arc::new(ScalarUDF::new_from_impl(probe));
    let expr = ScalarFunctionExpr::try_new(udf, vec![argument], &input(), Arc::default()).unwrap();
    (Arc::new(expr), rows)
}

const SAFE: &str = "lower";

#[test]
fn rows_keep_their_kinds_and_null_predicates_drop() {
    let spec = spec(Some(op(col(0), Op::Gt, lit(1i32))), vec![col(2), op(col(0), Op::Plus, col(1))]);
    let rows = ["+I 1 1 x", "-U 2 1 x", "+U 3 1 y", "-D NULL 1 z", "-D 5 NULL z"];
    assert_eq!(run(&spec, &rows), ["-U x 3", "+U y 4", "-D z NULL"]);
    assert!(run(&spec, &["+I 1 1 x"]).is_empty());
}

#[test]
fn without_a_filter_and_expressions_the_columns_pass_unchanged() {
    let identity = spec(None, vec![col(0), col(1), col(2)]);
    let b = batch(&input(), &["+ 1 2 x"]);
    let mut calc = identity.create(&context(1, 0)).unwrap();
    let mut out = Output::new();
    calc.process(0, b.clone(), &mut out).unwrap();
    let dflow_runtime::operator::Element::Batch(passed) = out.drain().next().unwrap() else { panic!("a batch") };
    assert!(Arc::ptr_eq(passed.column(2), b.column(2)));
    assert_eq!(passed.schema(), identity.output);
    check(&spec(None, vec![col(2), col(0), col(0)]), &input(), "");
    assert_eq!(run(&spec(None, vec![col(2), col(0), col(0)]), &["- 1 2 x"]), ["-D x 1 1"]);
}

#[test]
fn a_projection_of_constants_only_keeps_the_rows() {
    assert_eq!(run(&spec(Some(op(col(0), Op::Gt, lit(1i32))), vec![lit(7i32)]), &["+ 1 1 x", "+ 2 1 x"]), ["+I 7"]);
    assert_eq!(run(&spec(Some(op(col(0), Op::Gt, lit(1i32))), vec![]), &["+ 2 1 x"]), ["+I "]);
}

#[test]
fn an_expression_shared_by_filter_and_projection_is_evaluated_once() {
    let (e, rows) = probe(SAFE, Volatility::Immutable, op(col(0), Op::Multiply, lit(3i32)));
    let filter = op(op(e.clone(), Op::Gt, lit(3i32)), Op::And, op(e.clone(), Op::Lt, lit(100i32)));
    let spec = spec(Some(filter), vec![e.clone(), op(e, Op::Plus, lit(1i32)), col(2)]);
    assert_eq!(run(&spec, &["+ 1 1 x", "+ 2 1 y", "+ 3 1 z"]), ["+I 6 7 y", "+I 9 10 z"]);
    assert_eq!(rows.load(Ordering::Relaxed), 3, "once per input row");
}

#[test]
fn an_expression_of_the_projection_is_evaluated_on_the_rows_that_passed() {
    let (e, rows) = probe(SAFE, Volatility::Immutable, col(1));
    let spec = spec(Some(op(col(0), Op::Gt, lit(1i32))), vec![e.clone(), op(e, Op::Plus, lit(1i32))]);
    assert_eq!(run(&spec, &["+ 1 1 x", "+ 2 5 y"]), ["+I 5 6"]);
    assert_eq!(rows.load(Ordering::Relaxed), 1);
}

#[test]
fn volatile_expressions_are_evaluated_per_call() {
    let (e, rows) = probe(SAFE, Volatility::Volatile, col(1));
    run(&spec(None, vec![e.clone(), e]), &["+ 1 1 x", "+ 2 5 y"]);
    assert_eq!(rows.load(Ordering::Relaxed), 4);
}

#[test]
fn a_condition_that_can_fail_sees_only_rows_that_passed_the_others() {
    let guard = op(col(1), Op::NotEq, lit(0i32));
    let quotient = op(col(0), Op::Divide, col(1));
    // Written in either order, as in WHERE b <> 0 AND a / b > 1.
    for filter in [
        op(guard.clone(), Op::And, op(quotient.clone(), Op::Gt, lit(1i32))),
        op(op(quotient.clone(), Op::Gt, lit(1i32)), Op::And, guard),
    ] {
        let spec = spec(Some(filter), vec![col(2), quotient.clone()]);
        assert_eq!(run(&spec, &["+ 4 2 x", "+ 4 0 y", "+ 4 4 z", "+ 9 3 w"]), ["+I x 2", "+I w 3"]);
    }
}

#[test]
fn the_right_side_of_and_and_or_is_evaluated_only_where_the_left_leaves_it_open() {
    let large = op(op(col(0), Op::Divide, col(1)), Op::Gt, lit(1i32));
    let zero = op(col(1), Op::Eq, lit(0i32));
    let some = op(col(1), Op::NotEq, lit(0i32));
    let rows = ["+ 4 2 x", "+ 4 0 y", "+ 4 4 z", "+ NULL 1 n"];
    let filter = spec(Some(op(zero.clone(), Op::Or, large.clone())), vec![col(2)]);
    assert_eq!(run(&filter, &rows), ["+I x", "+I y"]);
    let both = spec(None, vec![op(zero, Op::Or, large.clone()), op(some, Op::And, large)]);
    assert_eq!(run(&both, &rows), ["+I true true", "+I true false", "+I false false", "+I NULL NULL"]);
    // A NULL on the left leaves the row open.
    let unknown = op(op(col(0), Op::Gt, lit(0i32)), Op::Or, op(op(col(0), Op::Divide, col(1)), Op::Gt, lit(1i32)));
    assert_eq!(failure(&spec(None, vec![unknown]), &input(), &["+ -1 0 x"]).code(), DIVISION_BY_ZERO.code);
}

#[test]
fn a_branch_that_no_row_takes_is_not_evaluated_early() {
    let quotient = op(col(0), Op::Divide, col(1));
    let case = |e: Expr| -> Expr {
        Arc::new(CaseExpr::try_new(None, vec![(op(col(1), Op::NotEq, lit(0i32)), e)], Some(lit(-1i32))).unwrap())
    };
    let spec = spec(None, vec![case(quotient.clone()), case(op(quotient, Op::Plus, lit(1i32)))]);
    assert_eq!(run(&spec, &["+ 4 2 x", "+ 4 0 y"]), ["+I 2 3", "+I -1 -1"]);
}

#[test]
fn a_failed_expression_is_a_job_error_with_code_and_place() {
    let spec = spec(None, vec![op(col(0), Op::Divide, col(1))]);
    let e = failure(&spec, &input(), &["+ 1 0 x"]);
    assert_eq!((e.code(), e.span(), e.retryable()), (DIVISION_BY_ZERO.code, span(), false));
    assert!(e.to_string().contains("NULLIF") && e.to_string().contains("a@0 / b@1"), "{e}");
}
