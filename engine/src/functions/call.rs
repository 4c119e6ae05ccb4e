//! The frame of a scalar function: declaration, coercion, NULL, constants.
//!
//! A function is a table entry: a name, what its arguments are coerced to, what it returns, and a kernel over whole
//! columns. A call whose arguments are all constants runs once and stays a constant, so that plans fold it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Int64Type};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use dflow_common::env::Clock;

use super::datetime::Zone;

/// What a kernel may ask of its session.
#[derive(Clone)]
pub struct Session {
    /// `table.local-time-zone`.
    pub zone: Zone,
    /// For CURRENT_TIMESTAMP and its kin.
    pub clock: Arc<dyn Clock>,
}

/// One call: its arguments after coercion.
pub(crate) struct Call<'a> {
    pub(crate) args: Vec<ArrayRef>,
    constant: Vec<bool>,
    pub(crate) rows: usize,
    /// The type that was planned.
    pub(crate) result: DataType,
    pub(crate) session: &'a Session,
}

/// A text argument: one value for all rows, or one per row.
pub(crate) struct Text<'a> {
    column: &'a StringViewArray,
    constant: bool,
}

impl<'a> Text<'a> {
    /// The value of row `i`.
    pub(crate) fn get(&self, i: usize) -> Option<&'a str> {
        let i = if self.constant { 0 } else { i };
        self.column.is_valid(i).then(|| self.column.value(i))
    }

    /// The value when it is the same for every row.
    pub(crate) fn constant(&self) -> Option<Option<&'a str>> {
        self.constant.then(|| self.get(0))
    }
}

impl Call<'_> {
    /// Argument `i`, coerced to [`DataType::Utf8View`].
    pub(crate) fn text(&self, i: usize) -> Text<'_> {
        Text { column: self.args[i].as_string_view(), constant: self.constant[i] }
    }

    /// Argument `i` of row `row`, coerced to [`DataType::Int32`].
    pub(crate) fn int(&self, i: usize, row: usize) -> Option<i32> {
        let row = if self.constant[i] { 0 } else { row };
        let column = self.args[i].as_primitive::<Int32Type>();
        column.is_valid(row).then(|| column.value(row))
    }

    /// Argument `i` of row `row`, coerced to [`DataType::Int64`].
    pub(crate) fn long(&self, i: usize, row: usize) -> Option<i64> {
        let row = if self.constant[i] { 0 } else { row };
        let column = self.args[i].as_primitive::<Int64Type>();
        column.is_valid(row).then(|| column.value(row))
    }

    /// Argument `i` with one value per row.
    pub(crate) fn column(&self, i: usize) -> Result<ArrayRef> {
        if self.constant[i] && self.rows != 1 {
            return ScalarValue::try_from_array(&self.args[i], 0)?.to_array_of_size(self.rows);
        }
        Ok(self.args[i].clone())
    }

    /// A text column from a function of the row.
    pub(crate) fn build_text(&self, mut value: impl FnMut(usize, &mut String) -> Option<()>) -> ArrayRef {
        let mut builder = StringViewBuilder::with_capacity(self.rows);
        let mut buffer = String::new();
        for row in 0..self.rows {
            buffer.clear();
            match value(row, &mut buffer) {
                Some(()) => builder.append_value(&buffer),
                None => builder.append_null(),
            }
        }
        Arc::new(builder.finish())
    }
}

/// Whether the result may be NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nulls {
    /// Only when an argument is.
    FromArguments,
    /// Also for values it cannot handle.
    Possible,
    /// Never.
    Never,
}

pub(crate) type Coerce = fn(&[DataType]) -> Result<Vec<DataType>>;
pub(crate) type Returns = fn(&[DataType]) -> Result<DataType>;
/// The arguments that are literals.
pub(crate) type Constants<'a> = &'a [Option<&'a ScalarValue>];
pub(crate) type ReturnsByConstants = fn(&[DataType], Constants<'_>) -> Result<DataType>;
pub(crate) type Kernel = fn(&Call<'_>) -> Result<ArrayRef>;

/// The declaration of a function.
#[derive(Clone, Copy)]
pub(crate) struct Declaration {
    pub(crate) name: &'static str,
    pub(crate) coerce: Coerce,
    pub(crate) returns: Returns,
    /// Types that depend on the values of literals, such as ROUND(x, 2).
    pub(crate) by_constants: Option<ReturnsByConstants>,
    pub(crate) nulls: Nulls,
    pub(crate) volatility: Volatility,
    pub(crate) kernel: Kernel,
}

impl Declaration {
    /// An immutable function that is NULL where an argument is.
    pub(crate) const fn new(name: &'static str, coerce: Coerce, returns: Returns, kernel: Kernel) -> Self {
        let (nulls, volatility) = (Nulls::FromArguments, Volatility::Immutable);
        Self { name, coerce, returns, by_constants: None, nulls, volatility, kernel }
    }

    /// The result's type depends on literals.
    pub(crate) const fn typed_by_constants(mut self, returns: ReturnsByConstants) -> Self {
        self.by_constants = Some(returns);
        self
    }

    /// May be NULL without a NULL argument.
    pub(crate) const fn nullable(mut self) -> Self {
        self.nulls = Nulls::Possible;
        self
    }

    /// Another value at every call, never NULL.
    pub(crate) const fn volatile(mut self) -> Self {
        self.nulls = Nulls::Never;
        self.volatility = Volatility::Volatile;
        self
    }

    /// The function in a session.
    pub(crate) fn udf(self, session: &Session) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(self.volatility);
        Arc::new(ScalarUDF::from(Function { declaration: self, session: session.clone(), signature }))
    }
}

struct Function {
    declaration: Declaration,
    session: Session,
    signature: Signature,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.declaration.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.declaration.name == other.declaration.name && self.session.zone == other.session.zone
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.declaration.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.declaration.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let coerced = (self.declaration.coerce)(types)?;
        if coerced.len() != types.len() {
            return plan_err!("wrong number of arguments for {}: {}", self.declaration.name, types.len());
        }
        Ok(coerced)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        (self.declaration.returns)(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let nullable = match self.declaration.nulls {
            Nulls::FromArguments => args.arg_fields.iter().any(|f| f.is_nullable()),
            Nulls::Possible => true,
            Nulls::Never => false,
        };
        let ty = match self.declaration.by_constants {
            Some(returns) => returns(&types, args.scalar_arguments)?,
            None => self.return_type(&types)?,
        };
        Ok(Arc::new(Field::new(self.declaration.name, ty, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant: Vec<bool> = args.args.iter().map(|a| matches!(a, ColumnarValue::Scalar(_))).collect();
        let all_constant = constant.iter().all(|c| *c) && !constant.is_empty();
        let arrays = args
            .args
            .into_iter()
            .map(|a| match a {
                ColumnarValue::Array(a) => Ok(a),
                ColumnarValue::Scalar(s) => s.to_array_of_size(1),
            })
            .collect::<Result<Vec<_>>>()?;
        let types: Vec<DataType> = arrays.iter().map(|a| a.data_type().clone()).collect();
        // Plans coerce; expressions built by hand may not have been.
        let coerced = (self.declaration.coerce)(&types)?;
        let arrays = arrays
            .into_iter()
            .zip(&coerced)
            .map(|(a, t)| if a.data_type() == t { Ok(a) } else { cast(&a, t).map_err(Into::into) })
            .collect::<Result<Vec<_>>>()?;
        let call = Call {
            args: arrays,
            constant,
            rows: if all_constant { 1 } else { args.number_rows },
            result: args.return_field.data_type().clone(),
            session: &self.session,
        };
        let result = (self.declaration.kernel)(&call)?;
        if all_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// Coercion to text for every argument; `n` says how many are allowed.
pub(crate) fn texts(types: &[DataType], n: std::ops::RangeInclusive<usize>) -> Result<Vec<DataType>> {
    arity(types, n)?;
    types.iter().map(as_text).collect()
}

/// Checks the number of arguments.
pub(crate) fn arity(types: &[DataType], n: std::ops::RangeInclusive<usize>) -> Result<()> {
    if n.contains(&types.len()) {
        return Ok(());
    }
    let given = match types.len() {
        1 => "1 is".to_owned(),
        n => format!("{n} are"),
    };
    match (n.start(), n.end()) {
        (1, 1) => plan_err!("1 argument is expected, {given} given"),
        (from, to) if from == to => plan_err!("{to} arguments are expected, {given} given"),
        (from, to) => plan_err!("{from} to {to} arguments are expected, {given} given"),
    }
}

/// Text stays text, NULL becomes text; Flink casts nothing else to text by itself.
pub(crate) fn as_text(ty: &DataType) -> Result<DataType> {
    match ty {
        DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8 | DataType::Null => Ok(DataType::Utf8View),
        other => plan_err!("text is expected, {} is given; write CAST(… AS STRING)", shown(other)),
    }
}

/// Whole numbers become this one.
pub(crate) fn as_int(ty: &DataType, int: DataType) -> Result<DataType> {
    match ty {
        DataType::Null | DataType::Int8 | DataType::Int16 | DataType::Int32 => Ok(int),
        DataType::Int64 => Ok(int),
        other => plan_err!("a whole number is expected, {} is given", shown(other)),
    }
}

/// A type as a user knows it.
pub(crate) fn shown(ty: &DataType) -> String {
    dflow_common::SqlType::from_arrow(ty).map_or_else(|| ty.to_string(), |t| t.to_string())
}
