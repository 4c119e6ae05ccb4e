//! The functions of [`crate::functions`] by the names a query uses.

use std::sync::Arc;

use datafusion::logical_expr::{Operator, ScalarUDF};
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

pub(crate) fn cast_function(ty: &SqlType, is_try: bool, time_zone: &str) -> Arc<ScalarUDF> {
    functions::cast::function(ty, is_try, Zone::parse(time_zone).unwrap_or(Zone::UTC))
}

pub(super) fn cast_target(f: &ScalarUDF) -> Option<SqlType> {
    functions::cast::target(f).map(|(_, ty)| ty)
}

pub(crate) fn cast_words(f: &ScalarUDF) -> Option<(&'static str, SqlType)> {
    functions::cast::target(f)
}

pub(super) fn decimal_arithmetic(op: Operator, l: (u8, i8), r: (u8, i8)) -> Option<Arc<ScalarUDF>> {
    functions::decimal::arithmetic(op, l, r)
}
