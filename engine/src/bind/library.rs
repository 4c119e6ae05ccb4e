//! The functions of [`crate::functions`] by the names a query uses.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use dflow_common::SqlType;
use dflow_common::env::Clock;

use crate::functions;
use crate::functions::datetime::Zone;

pub(super) fn scalar_functions(time_zone: &str, clock: &Arc<dyn Clock>) -> Vec<(String, Arc<ScalarUDF>)> {
    // The settings have checked the name.
    let zone = Zone::parse(time_zone).unwrap_or(Zone::UTC);
    let session = functions::Session { zone, clock: Arc::clone(clock) };
    functions::scalar_functions(&session).into_iter().map(|f| (f.name().to_owned(), f)).collect()
}

pub(crate) fn cast_function(ty: &SqlType, is_try: bool, _time_zone: &str) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(ArrowCast {
        name: format!("{} AS {ty}", if is_try { "TRY_CAST" } else { "CAST" }),
        ty: ty.clone(),
        is_try,
        signature: Signature::any(1, Volatility::Immutable),
    }))
}

pub(super) fn cast_target(f: &ScalarUDF) -> Option<SqlType> {
    (f.inner().as_ref() as &dyn Any).downcast_ref::<ArrowCast>().map(|c| c.ty.clone())
}

pub(crate) fn cast_words(f: &ScalarUDF) -> Option<(&'static str, SqlType)> {
    let cast = (f.inner().as_ref() as &dyn Any).downcast_ref::<ArrowCast>()?;
    Some((if cast.is_try { "TRY_CAST" } else { "CAST" }, cast.ty.clone()))
}

pub(super) fn decimal_arithmetic(_op: Operator, _l: (u8, i8), _r: (u8, i8)) -> Option<Arc<ScalarUDF>> {
    None
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ArrowCast {
    name: String,
    ty: SqlType,
    is_try: bool,
    signature: Signature,
}

impl ScalarUDFImpl for ArrowCast {
    fn name(&self) -> &str {
        &self.name
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.ty.to_arrow())
    }
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), self.ty.to_arrow(), self.is_try || args.arg_fields[0].is_nullable())))
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        args.args[0].cast_to(&self.ty.to_arrow(), None)
    }
}
