//! CAST and TRY_CAST with Flink's rules.
//!
//! # Example
//! ```text
//! CAST('42.7' AS INT)            42              text is trimmed, a fraction is cut
//! CAST(300 AS TINYINT)           44              whole numbers wrap
//! CAST(3e10 AS INT)              2147483647      floats saturate
//! CAST(99999.9 AS DECIMAL(5,2))  NULL            a decimal that does not fit
//! CAST('abc' AS INT)             job error       TRY_CAST: NULL
//! CAST(1e7 AS STRING)            '1.0E7'         as Java prints it
//! CAST(ts AS STRING)             '2024-01-02 03:04:05.678'
//! ```
//! # Lengths
//! `VARCHAR(n)` and `VARBINARY(n)` cut, `CHAR(n)` and `BINARY(n)` also pad. TIMESTAMP(p) cuts the fraction to `p` digits.
//!
//! # Precision of times
//! Arrow knows milliseconds, not TIMESTAMP(0). A cast to such a precision notes it in its field's metadata, so that a
//! cast of its result to text prints no fraction.

mod nested;
mod number;
mod print;
mod read;
#[cfg(test)]
mod tests;
mod time;

use std::any::Any;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewBuilder, StringViewBuilder, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use dflow_common::types::{LENGTH_MAX, precision_of};
use dflow_common::{SqlType, TypeKind};

use super::call::shown;
use super::datetime::Zone;
use super::error::EvalError;

/// Where a field notes the digits of its fraction when they are fewer than its Arrow unit has.
const PRECISION: &str = "dflow.precision";

/// The function of `CAST(… AS ty)` or `TRY_CAST(… AS ty)` in a session of this zone.
pub fn function(ty: &SqlType, is_try: bool, zone: Zone) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Cast {
        name: format!("{} AS {ty}", if is_try { "TRY_CAST" } else { "CAST" }),
        ty: ty.clone(),
        is_try,
        zone,
        signature: Signature::any(1, Volatility::Immutable),
    }))
}

/// `CAST` or `TRY_CAST` and the type a cast function casts to; `None` for other functions.
pub fn target(f: &ScalarUDF) -> Option<(&'static str, SqlType)> {
    let cast = (f.inner().as_ref() as &dyn Any).downcast_ref::<Cast>()?;
    Some((if cast.is_try { "TRY_CAST" } else { "CAST" }, cast.ty.clone()))
}

/// Whether Flink casts between these types at all.
pub fn possible(from: &DataType, to: &SqlType) -> bool {
    use TypeKind as T;
    let text = matches!(from, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let number = from.is_integer() || from.is_floating() || matches!(from, DataType::Decimal128(..));
    let bytes =
        matches!(from, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_));
    let timestamp = matches!(from, DataType::Timestamp(..));
    if *from == DataType::Null {
        return true;
    }
    match &to.kind {
        T::Null => false,
        T::Char(_) | T::VarChar(_) => true,
        T::Binary(_) | T::VarBinary(_) => text || bytes,
        T::Boolean => text || number || *from == DataType::Boolean,
        T::TinyInt | T::SmallInt | T::Int | T::BigInt | T::Float | T::Double | T::Decimal(..) => {
            text || number || *from == DataType::Boolean
        }
        T::Date => text || timestamp || *from == DataType::Date32,
        T::Time(_) => text || timestamp || matches!(from, DataType::Time32(_)),
        T::Timestamp(_) | T::TimestampLtz(_) => {
            text || timestamp || matches!(from, DataType::Date32 | DataType::Time32(_))
        }
        T::IntervalYearMonth | T::IntervalDayTime => *from == to.to_arrow(),
        T::Array(_) | T::Map(..) | T::Multiset(_) | T::Row(_) => nested::possible(from, to),
    }
}

struct Cast {
    name: String,
    ty: SqlType,
    is_try: bool,
    zone: Zone,
    signature: Signature,
}

impl std::fmt::Debug for Cast {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Cast {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.zone) == (&other.name, other.zone)
    }
}

impl Eq for Cast {}

impl Hash for Cast {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Cast {
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
        let from = &args.arg_fields[0];
        if !possible(from.data_type(), &self.ty) {
            return plan_err!("the cast from {} to {} is not possible", shown(from.data_type()), self.ty.kind);
        }
        // A decimal that does not fit becomes NULL.
        let overflows = matches!(self.ty.kind, TypeKind::Decimal(..));
        let field = Field::new(self.name(), self.ty.to_arrow(), self.is_try || overflows || from.is_nullable());
        Ok(Arc::new(match (&self.ty.kind, field.data_type()) {
            (TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p), DataType::Timestamp(unit, _))
                if *p != precision_of(*unit) =>
            {
                field.with_metadata(HashMap::from([(PRECISION.to_owned(), p.to_string())]))
            }
            _ => field,
        }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let precision = args.arg_fields.first().and_then(|f| f.metadata().get(PRECISION)).and_then(|p| p.parse().ok());
        let rules = Rules { is_try: self.is_try, zone: self.zone, precision };
        match &args.args[0] {
            ColumnarValue::Array(a) => Ok(ColumnarValue::Array(cast(a, &self.ty, &rules)?)),
            ColumnarValue::Scalar(s) => {
                let one = cast(&s.to_array()?, &self.ty, &rules)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&one, 0)?))
            }
        }
    }
}

/// How a cast behaves.
#[derive(Clone, Copy)]
struct Rules {
    /// NULL instead of an error.
    is_try: bool,
    zone: Zone,
    /// Digits of the fraction of the times that are cast, when known.
    precision: Option<u8>,
}

impl Rules {
    /// What becomes of a value that cannot be cast.
    fn failed<T>(&self, value: &str, to: &SqlType, why: &str) -> Result<Option<T>, EvalError> {
        if self.is_try { Ok(None) } else { Err(EvalError::cast(value, &to.kind.to_string(), why)) }
    }
}

/// Casts a column.
fn cast(array: &ArrayRef, to: &SqlType, rules: &Rules) -> Result<ArrayRef> {
    use TypeKind as T;
    let target = to.to_arrow();
    match array.data_type() {
        DataType::Null => return Ok(new_null_array(&target, array.len())),
        DataType::Utf8 | DataType::LargeUtf8 => {
            return cast(&arrow::compute::cast(array, &DataType::Utf8View)?, to, rules);
        }
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
            return cast(&arrow::compute::cast(array, &DataType::BinaryView)?, to, rules);
        }
        _ => {}
    }
    match &to.kind {
        T::Char(n) => fit_text(print::text(array, rules)?, *n, true),
        T::VarChar(n) => fit_text(print::text(array, rules)?, *n, false),
        T::Binary(n) => fit_bytes(bytes(array)?, *n, true),
        T::VarBinary(n) => fit_bytes(bytes(array)?, *n, false),
        _ if *array.data_type() == target && !matches!(to.kind, T::Timestamp(_) | T::TimestampLtz(_)) => {
            Ok(Arc::clone(array))
        }
        T::Boolean | T::TinyInt | T::SmallInt | T::Int | T::BigInt | T::Float | T::Double | T::Decimal(..) => {
            number::cast(array, to, rules)
        }
        T::Date | T::Time(_) | T::Timestamp(_) | T::TimestampLtz(_) => time::cast(array, to, rules),
        T::Array(_) | T::Map(..) | T::Multiset(_) | T::Row(_) => nested::cast(array, to, rules),
        T::Null | T::IntervalYearMonth | T::IntervalDayTime => Err(impossible(array.data_type(), to)),
    }
}

fn impossible(from: &DataType, to: &SqlType) -> datafusion::common::DataFusionError {
    EvalError::other(format!("the cast from {} to {} is not possible", shown(from), to.kind)).into()
}

/// Text as UTF-8, bytes as they are.
fn bytes(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.as_string_view_opt() {
        Some(text) => Arc::new(text.clone().to_binary_view()),
        None => Arc::clone(array),
    })
}

/// Cuts text to `n` characters; pads it with blanks when asked to.
fn fit_text(array: ArrayRef, n: u32, pad: bool) -> Result<ArrayRef> {
    if n == LENGTH_MAX {
        return Ok(array);
    }
    let (n, text) = (n as usize, array.as_string_view());
    if !pad && text.iter().flatten().all(|v| v.len() <= n) {
        return Ok(array);
    }
    let mut builder = StringViewBuilder::with_capacity(text.len());
    for value in text.iter() {
        match value {
            None => builder.append_null(),
            Some(v) => match v.char_indices().nth(n) {
                Some((end, _)) => builder.append_value(&v[..end]),
                None if pad => builder.append_value(format!("{v:<n$}")),
                None => builder.append_value(v),
            },
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// Cuts bytes to `n`; pads them with zeros when asked to.
fn fit_bytes(array: ArrayRef, n: u32, pad: bool) -> Result<ArrayRef> {
    if n == LENGTH_MAX {
        return Ok(array);
    }
    let (n, bytes) = (n as usize, array.as_binary_view());
    let mut builder = BinaryViewBuilder::with_capacity(bytes.len());
    for value in bytes.iter() {
        match value {
            None => builder.append_null(),
            Some(v) if v.len() > n => builder.append_value(&v[..n]),
            Some(v) if pad && v.len() < n => {
                let mut padded = v.to_vec();
                padded.resize(n, 0);
                builder.append_value(padded);
            }
            Some(v) => builder.append_value(v),
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// The first value of a column as text.
#[cfg(test)]
pub(super) fn to_text(array: &ArrayRef, zone: Zone) -> String {
    let rules = Rules { is_try: false, zone, precision: None };
    print::text(array, &rules).map_or_else(|e| format!("ERR {e}"), |t| t.as_string_view().value(0).to_owned())
}
