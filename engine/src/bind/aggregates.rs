//! COUNT, SUM, AVG, MIN and MAX with Flink's result types.
//!
//! | call | result |
//! |---|---|
//! | `COUNT` | BIGINT NOT NULL |
//! | `SUM(INT)` … `SUM(DOUBLE)` | the argument's type; whole numbers wrap |
//! | `SUM(DECIMAL(p, s))` | DECIMAL(38, s) |
//! | `AVG(INT)` … `AVG(DOUBLE)` | the argument's type; whole numbers truncate |
//! | `AVG(DECIMAL(p, s))` | DECIMAL(38, max(6, s)), rounded half up |
//! | `MIN`, `MAX` | the argument's type; of floats, NaN is the greatest |
//!
//! Streams run them in [`crate::operators::hash_agg`]; the accumulators here are for batch mode.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
};

use crate::operators::hash_agg::AggregateFunction;

/// The aggregates a stream can run.
pub(super) fn all() -> Vec<Arc<AggregateUDF>> {
    vec![
        datafusion::functions_aggregate::count::count_udaf(),
        Arc::new(AggregateUDF::from(Extreme { theirs: min_udaf(), greatest: false })),
        Arc::new(AggregateUDF::from(Extreme { theirs: max_udaf(), greatest: true })),
        Arc::new(AggregateUDF::from(FlinkNumber::new(AggregateFunction::Sum))),
        Arc::new(AggregateUDF::from(FlinkNumber::new(AggregateFunction::Avg))),
    ]
}

/// Which streaming aggregate a DataFusion aggregate stands for.
pub(crate) fn streaming(name: &str) -> Option<AggregateFunction> {
    Some(match name {
        "count" => AggregateFunction::Count,
        "sum" => AggregateFunction::Sum,
        "avg" => AggregateFunction::Avg,
        "min" => AggregateFunction::Min,
        "max" => AggregateFunction::Max,
        _ => return None,
    })
}

/// SUM or AVG.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FlinkNumber {
    function: AggregateFunction,
    signature: Signature,
}

impl FlinkNumber {
    fn new(function: AggregateFunction) -> Self {
        Self { function, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for FlinkNumber {
    fn name(&self) -> &str {
        if self.function == AggregateFunction::Sum { "sum" } else { "avg" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [t] if self.function.result_type(Some(t)).is_some() => Ok(vec![t.clone()]),
            [DataType::Null] => Ok(vec![DataType::Int32]),
            [t] => plan_err!("{} does not take {t}", self.function.name()),
            _ => plan_err!("{} takes one argument", self.function.name()),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match self.function.result_type(types.first()) {
            Some(t) => Ok(t),
            None => plan_err!("{} does not take {types:?}", self.function.name()),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let value = args.input_fields[0].data_type().clone();
        let fields = if args.is_distinct {
            vec![Field::new_list(format!("{}[values]", args.name), Field::new_list_field(value, true), true)]
        } else {
            let sum = if is_float(&value) { DataType::Float64 } else { DataType::Decimal128(38, 0) };
            vec![
                Field::new(format!("{}[sum]", args.name), sum, true),
                Field::new(format!("{}[count]", args.name), DataType::Int64, true),
            ]
        };
        Ok(fields.into_iter().map(Arc::new).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let value = args.expr_fields[0].data_type().clone();
        let numbers = Numbers {
            average: self.function == AggregateFunction::Avg,
            result: args.return_field.data_type().clone(),
            value,
            whole: 0,
            float: 0.0,
            count: 0,
        };
        Ok(if args.is_distinct { Box::new(Distinct { values: HashSet::new(), numbers }) } else { Box::new(numbers) })
    }
}

/// MIN or MAX: DataFusion's, but for floats, of which there is one NaN, the greatest, and one zero.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme {
    theirs: Arc<AggregateUDF>,
    greatest: bool,
}

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        self.theirs.name()
    }

    fn signature(&self) -> &Signature {
        self.theirs.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.theirs.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.theirs.return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match args.return_field.data_type() {
            t if is_float(t) => Ok(Box::new(FloatExtreme { ty: t.clone(), greatest: self.greatest, best: None })),
            _ => self.theirs.accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !is_float(args.return_field.data_type()) && self.theirs.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.theirs.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.theirs.create_sliding_accumulator(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

/// The least or the greatest float.
#[derive(Debug)]
struct FloatExtreme {
    ty: DataType,
    greatest: bool,
    best: Option<f64>,
}

impl FloatExtreme {
    fn take(&mut self, value: f64) {
        let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
        let better = self.best.is_none_or(|best| match value.total_cmp(&best) {
            Ordering::Less => !self.greatest,
            Ordering::Greater => self.greatest,
            Ordering::Equal => false,
        });
        if better {
            self.best = Some(value);
        }
    }
}

impl Accumulator for FloatExtreme {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match values[0].data_type() {
            DataType::Float32 => {
                values[0].as_primitive::<Float32Type>().iter().flatten().for_each(|v| self.take(v.into()));
            }
            _ => values[0].as_primitive::<Float64Type>().iter().flatten().for_each(|v| self.take(v)),
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(match &self.ty {
            DataType::Float32 => ScalarValue::Float32(self.best.map(|v| v as f32)),
            _ => ScalarValue::Float64(self.best),
        })
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}

fn is_float(t: &DataType) -> bool {
    matches!(t, DataType::Float32 | DataType::Float64)
}

/// A sum and a count. Whole numbers and decimals are exact in 128 bits.
#[derive(Debug)]
struct Numbers {
    average: bool,
    value: DataType,
    result: DataType,
    whole: i128,
    float: f64,
    count: i64,
}

impl Numbers {
    fn add(&mut self, array: &ArrayRef) -> Result<()> {
        macro_rules! each {
            ($t:ty, $target:ident, $as:ty) => {
                for v in array.as_primitive::<$t>().iter().flatten() {
                    self.$target = add(self.$target, v as $as);
                    self.count += 1;
                }
            };
        }
        match array.data_type() {
            DataType::Int8 => each!(Int8Type, whole, i128),
            DataType::Int16 => each!(Int16Type, whole, i128),
            DataType::Int32 => each!(Int32Type, whole, i128),
            DataType::Int64 => each!(Int64Type, whole, i128),
            DataType::Decimal128(..) => each!(Decimal128Type, whole, i128),
            DataType::Float32 => each!(Float32Type, float, f64),
            DataType::Float64 => each!(Float64Type, float, f64),
            other => return internal_err!("SUM of {other}"),
        }
        Ok(())
    }

    fn result(&self) -> Result<ScalarValue> {
        if self.count == 0 {
            return ScalarValue::try_from(&self.result);
        }
        let divisor = if self.average { self.count } else { 1 };
        // Flink adds whole numbers up in a BIGINT, which wraps.
        let sum = if self.value.is_integer() { i128::from(self.whole as i64) } else { self.whole };
        let whole = sum / i128::from(divisor);
        Ok(match &self.result {
            DataType::Int8 => ScalarValue::Int8(Some(whole as i8)),
            DataType::Int16 => ScalarValue::Int16(Some(whole as i16)),
            DataType::Int32 => ScalarValue::Int32(Some(whole as i32)),
            DataType::Int64 => ScalarValue::Int64(Some(whole as i64)),
            DataType::Float32 => ScalarValue::Float32(Some((self.float / divisor as f64) as f32)),
            DataType::Float64 => ScalarValue::Float64(Some(self.float / divisor as f64)),
            DataType::Decimal128(p, s) => ScalarValue::Decimal128(self.decimal(*s, divisor), *p, *s),
            other => return internal_err!("SUM gives {other}"),
        })
    }

    /// The quotient in scale `scale`, rounded half up; NULL when it does not fit.
    fn decimal(&self, scale: i8, divisor: i64) -> Option<i128> {
        let from = match self.value {
            DataType::Decimal128(_, s) => s,
            _ => 0,
        };
        let scaled = self.whole.checked_mul(10i128.checked_pow((scale - from).max(0) as u32)?)?;
        let divisor = i128::from(divisor);
        let (quotient, rest) = (scaled / divisor, scaled % divisor);
        let up = i128::from(rest.abs() * 2 >= divisor) * scaled.signum();
        let value = if rest == 0 { quotient } else { quotient + up };
        (value.unsigned_abs() < 10u128.pow(38)).then_some(value)
    }
}

/// Wraps as Flink does; floats add as floats.
trait Add {
    fn plus(self, other: Self) -> Self;
}

impl Add for i128 {
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

impl Add for f64 {
    fn plus(self, other: Self) -> Self {
        self + other
    }
}

fn add<T: Add>(a: T, b: T) -> T {
    a.plus(b)
}

impl Accumulator for Numbers {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.result()
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = if is_float(&self.value) {
            ScalarValue::Float64(Some(self.float))
        } else {
            ScalarValue::Decimal128(Some(self.whole), 38, 0)
        };
        Ok(vec![sum, ScalarValue::Int64(Some(self.count))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        if is_float(&self.value) {
            self.float += states[0].as_primitive::<Float64Type>().iter().flatten().sum::<f64>();
        } else {
            let sums = states[0].as_primitive::<Decimal128Type>().iter().flatten();
            self.whole = sums.fold(self.whole, i128::wrapping_add);
        }
        self.count += states[1].as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
        Ok(())
    }
}

/// The same over distinct values.
#[derive(Debug)]
struct Distinct {
    values: HashSet<ScalarValue>,
    numbers: Numbers,
}

impl Distinct {
    fn take(&mut self, array: &ArrayRef) -> Result<()> {
        for i in 0..array.len() {
            if array.is_valid(i) {
                self.values.insert(ScalarValue::try_from_array(array, i)?);
            }
        }
        Ok(())
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.take(&values[0])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let Numbers { average, value, result, .. } = &self.numbers;
        let mut numbers =
            Numbers { average: *average, value: value.clone(), result: result.clone(), whole: 0, float: 0.0, count: 0 };
        if !self.values.is_empty() {
            numbers.add(&ScalarValue::iter_to_array(self.values.iter().cloned())?)?;
        }
        numbers.result()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.len() * size_of::<ScalarValue>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> = self.values.iter().cloned().collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &self.numbers.value))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states[0].as_list::<i32>();
        for i in 0..lists.len() {
            if lists.is_valid(i) {
                self.take(&lists.value(i))?;
            }
        }
        Ok(())
    }
}
