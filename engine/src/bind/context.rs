//! What DataFusion's SQL planner asks for: tables by number, functions by name, operators.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Column, DFSchema, Result, TableReference, plan_err};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    AggregateUDF, Expr, ExprSchemable, HigherOrderUDF, LogicalPlan, Operator, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::sql::planner::ContextProvider;
use dflow_connector_api::RawOption;

use super::Functions;
use super::prepass::{Referenced, TableRef};
use crate::catalog::{Table, table_schema};

/// A table as DataFusion sees it while planning. Never executed: [`crate::batch`] replaces it first.
#[derive(Clone, Debug)]
pub(crate) struct PlannedTable {
    /// The table.
    pub(crate) table: Arc<Table>,
    /// The options of an OPTIONS hint.
    pub(crate) hint: Vec<RawOption>,
    /// Where the query names it.
    pub(crate) span: dflow_common::Span,
    schema: SchemaRef,
}

impl TableSource for PlannedTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// A view: DataFusion puts its plan in the place of the scan.
struct PlannedView {
    plan: Arc<LogicalPlan>,
    schema: SchemaRef,
}

impl TableSource for PlannedView {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn get_logical_plan(&self) -> Option<std::borrow::Cow<'_, LogicalPlan>> {
        Some(std::borrow::Cow::Borrowed(&self.plan))
    }
}

/// The planned table behind a scan.
pub(crate) fn planned_table(source: &Arc<dyn TableSource>) -> Option<&PlannedTable> {
    (source.as_ref() as &dyn Any).downcast_ref()
}

/// The tables a plan reads, once per scan.
pub(crate) fn planned_tables(plan: &LogicalPlan) -> Vec<&PlannedTable> {
    let own = match plan {
        LogicalPlan::TableScan(scan) => planned_table(&scan.source),
        _ => None,
    };
    own.into_iter().chain(plan.inputs().into_iter().flat_map(planned_tables)).collect()
}

/// See the module.
pub(crate) struct Provider {
    functions: Functions,
    options: Arc<ConfigOptions>,
    tables: Vec<Arc<dyn TableSource>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
}

impl Provider {
    pub(crate) fn new(functions: &Functions, options: Arc<ConfigOptions>, tables: &[TableRef]) -> Self {
        let tables = tables
            .iter()
            .map(|t| match &t.referenced {
                Referenced::Table(table) => Arc::new(PlannedTable {
                    table: table.clone(),
                    hint: t.hint.clone(),
                    span: t.span,
                    schema: table.arrow(),
                }) as Arc<dyn TableSource>,
                Referenced::View(view) => Arc::new(PlannedView {
                    plan: view.plan.clone(),
                    schema: table_schema(view.columns.iter().map(|(n, t)| (n.as_str(), t))),
                }),
            })
            .collect();
        Self { functions: functions.clone(), options, tables, planners: planners(functions) }
    }
}

/// Ours first: the first that plans an expression wins.
fn planners(functions: &Functions) -> Vec<Arc<dyn ExprPlanner>> {
    vec![
        Arc::new(FlinkExpressions { functions: functions.clone() }),
        Arc::new(datafusion::functions::core::planner::CoreFunctionPlanner::default()),
        Arc::new(datafusion::functions_nested::planner::NestedFunctionPlanner),
        Arc::new(datafusion::functions_nested::planner::FieldAccessPlanner),
        Arc::new(datafusion::functions::datetime::planner::DatetimeFunctionPlanner),
        Arc::new(datafusion::functions::unicode::planner::UnicodeFunctionPlanner),
        Arc::new(datafusion::functions_aggregate::planner::AggregateFunctionPlanner),
        Arc::new(datafusion::functions_window::planner::WindowFunctionPlanner),
    ]
}

impl ContextProvider for Provider {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let number = name.table().strip_prefix("$t").and_then(|n| n.parse::<usize>().ok());
        match number.and_then(|n| self.tables.get(n)) {
            Some(table) => Ok(table.clone()),
            None => plan_err!("table '{name}' not found"),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.scalar(name)
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate(name)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window(name)
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.names().map(str::to_owned).collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Where Flink's expressions differ from DataFusion's.
#[derive(Debug)]
struct FlinkExpressions {
    functions: Functions,
}

impl ExprPlanner for FlinkExpressions {
    /// Decimal arithmetic: whole numbers take part as DECIMAL(3 | 5 | 10 | 19, 0), and division has Flink's scale.
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        use sqlparser::ast::BinaryOperator as B;
        let op = match &expr.op {
            B::Plus => Operator::Plus,
            B::Minus => Operator::Minus,
            B::Multiply => Operator::Multiply,
            B::Divide => Operator::Divide,
            B::Modulo => Operator::Modulo,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let (left, right) = (expr.left.get_type(schema)?, expr.right.get_type(schema)?);
        let decimal = |t: &DataType| matches!(t, DataType::Decimal128(..));
        if !(decimal(&left) || decimal(&right)) {
            return Ok(PlannerResult::Original(expr));
        }
        let (Some(l), Some(r)) = (as_decimal(&left), as_decimal(&right)) else {
            return Ok(PlannerResult::Original(expr));
        };
        match super::library::decimal_arithmetic(op, l, r) {
            Some(function) => Ok(PlannerResult::Planned(function.call(vec![expr.left, expr.right]))),
            None => Ok(PlannerResult::Original(expr)),
        }
    }

    /// `r.x` of a ROW column has the name `x`.
    fn plan_compound_identifier(
        &self,
        field: &arrow::datatypes::Field,
        qualifier: Option<&TableReference>,
        nested: &[String],
    ) -> Result<PlannerResult<Vec<Expr>>> {
        let mut e = Expr::Column(Column::from((qualifier, field)));
        for name in nested {
            e = datafusion::functions::core::expr_fn::get_field(e, name.as_str());
        }
        Ok(PlannerResult::Planned(e))
    }

    /// `SUBSTRING(s FROM i FOR n)` is Flink's SUBSTRING, not DataFusion's.
    fn plan_substring(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(match self.functions.scalar("substring") {
            Some(f) => PlannerResult::Planned(f.call(args)),
            None => PlannerResult::Original(args),
        })
    }
}

/// Precision and scale of a number type in decimal arithmetic.
fn as_decimal(ty: &DataType) -> Option<(u8, i8)> {
    match ty {
        DataType::Decimal128(p, s) => Some((*p, *s)),
        DataType::Int8 => Some((3, 0)),
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((19, 0)),
        _ => None,
    }
}
