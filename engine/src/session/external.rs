//! Scalar functions that an embedding program brings along, in terms of this workspace: no DataFusion type is needed.

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use dflow_common::SqlType;
use dflow_connector_api as api;

/// What a function does with its arguments: one array per argument, all of one length, to an array of that length.
pub type FunctionBody = dyn Fn(&[ArrayRef]) -> api::Result<ArrayRef> + Send + Sync;

/// A deterministic scalar function. `NULL` arguments reach it as they are.
#[derive(Clone)]
pub struct ScalarFunction {
    /// Its name, found in any case.
    pub name: String,
    /// The types of its arguments; a call is cast to them.
    pub arguments: Vec<SqlType>,
    /// The type of its result.
    pub returns: SqlType,
    /// What it does.
    pub body: Arc<FunctionBody>,
}

impl fmt::Debug for ScalarFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScalarFunction").field("name", &self.name).finish_non_exhaustive()
    }
}

impl From<ScalarFunction> for ScalarUDF {
    fn from(function: ScalarFunction) -> ScalarUDF {
        let arguments = function.arguments.iter().map(SqlType::to_arrow).collect();
        let body = function.body;
        let call = move |values: &[ColumnarValue]| {
            // One row is enough where every argument is a constant.
            let constant = values.iter().all(|v| matches!(v, ColumnarValue::Scalar(_)));
            let arrays = ColumnarValue::values_to_arrays(values)?;
            let result = body(&arrays).map_err(|e| DataFusionError::External(Box::new(e)))?;
            if constant && result.len() == 1 {
                return Ok(ColumnarValue::Scalar(datafusion::scalar::ScalarValue::try_from_array(&result, 0)?));
            }
            Ok(ColumnarValue::Array(result))
        };
        create_udf(&function.name, arguments, function.returns.to_arrow(), Volatility::Immutable, Arc::new(call))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type};
    use datafusion::config::ConfigOptions;
    use datafusion::logical_expr::ScalarFunctionArgs;
    use datafusion::scalar::ScalarValue;
    use dflow_common::TypeKind;

    use super::*;

    #[test]
    fn a_function_is_called_with_arrays_also_for_constants() {
        let bigint = SqlType::from(TypeKind::BigInt);
        let udf = ScalarUDF::from(ScalarFunction {
            name: "twice".into(),
            arguments: vec![bigint.clone()],
            returns: bigint,
            body: Arc::new(|columns| {
                let doubled: Int64Array =
                    columns[0].as_primitive::<Int64Type>().iter().map(|v| v.map(|v| 2 * v)).collect();
                Ok(Arc::new(doubled))
            }),
        });
        let field = Arc::new(Field::new("x", DataType::Int64, true));
        let call = |value: ColumnarValue, rows| {
            udf.invoke_with_args(ScalarFunctionArgs {
                args: vec![value],
                arg_fields: vec![field.clone()],
                number_rows: rows,
                return_field: field.clone(),
                config_options: Arc::new(ConfigOptions::new()),
            })
            .unwrap()
        };
        let column = ColumnarValue::Array(Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])));
        let ColumnarValue::Array(result) = call(column, 3) else { panic!("a column gives a column") };
        assert_eq!(result.as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(2), None, Some(6)]));
        let constant = ColumnarValue::Scalar(ScalarValue::Int64(Some(21)));
        assert!(matches!(call(constant, 5), ColumnarValue::Scalar(ScalarValue::Int64(Some(42)))));
    }
}
