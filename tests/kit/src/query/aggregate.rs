//! Random aggregate calls.
//!
//! The batch text says what Flink means where DataFusion means something else:
//!
//! | call | Flink | batch text |
//! |---|---|---|
//! | `SUM(INT)` | INT, wraps | the BIGINT sum, wrapped |
//! | `AVG` of whole numbers | truncates | `SUM / COUNT` |
//! | `AVG(DECIMAL)` | six digits, half up | in whole millionths |
//! | `MIN`, `MAX(DOUBLE)` | NaN is the greatest | NaN and the rest apart |

use super::scalar::Scalars;
use super::{Expr, Type};

/// The aggregates, by name. `COUNT(*)` has no argument.
pub const FUNCTIONS: [&str; 6] = ["COUNT(*)", "COUNT", "SUM", "AVG", "MIN", "MAX"];

/// A way to call an aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// One of [`FUNCTIONS`].
    pub function: &'static str,
    /// `DISTINCT`
    pub distinct: bool,
    /// `FILTER (WHERE …)`
    pub filter: bool,
}

impl Form {
    /// All that there are.
    pub fn all() -> Vec<Form> {
        let forms = FUNCTIONS.iter().flat_map(|function| {
            [(false, false), (false, true), (true, false), (true, true)].map(|(distinct, filter)| Form {
                function,
                distinct,
                filter,
            })
        });
        forms.filter(|f| !(f.distinct && f.function == "COUNT(*)")).collect()
    }

    /// The name of its class over input of these changes.
    pub fn class(self, changes: &str) -> String {
        let distinct = if self.distinct { " DISTINCT" } else { "" };
        let filter = if self.filter { " FILTER" } else { "" };
        format!("{}{distinct}{filter} over {changes}", self.function)
    }
}

/// A call of this form.
pub fn call(form: Form, scalars: &mut Scalars<'_>) -> Expr {
    let filter = form.filter.then(|| scalars.expr(Type::Bool, 1));
    let argument = match form.function {
        "COUNT(*)" => None,
        "COUNT" => Some(scalars.any(1)),
        "SUM" | "AVG" => Some(summable(scalars)),
        _ => {
            let types = Type::ALL.map(|t| if t == Type::Bool { Type::Text } else { t });
            Some(scalars.of(&types, 1))
        }
    };
    with(form, argument.as_ref(), filter.as_ref())
}

/// A number whose sum does not depend on the order of addition.
fn summable(scalars: &mut Scalars<'_>) -> Expr {
    let e = scalars.of(&[Type::Int, Type::BigInt, Type::Double, Type::Decimal(2)], 1);
    if e.ty == Type::Double && !e.exact { scalars.exact_double() } else { e }
}

fn with(form: Form, argument: Option<&Expr>, filter: Option<&Expr>) -> Expr {
    let Form { function, .. } = form;
    let distinct = if form.distinct { "DISTINCT " } else { "" };
    let stream_filter = filter.map(|f| format!(" FILTER (WHERE {})", f.stream)).unwrap_or_default();
    let Some(x) = argument else {
        let batch_filter = filter.map(|f| format!(" FILTER (WHERE {})", f.batch)).unwrap_or_default();
        return result(Type::BigInt, format!("COUNT(*){stream_filter}"), format!("COUNT(*){batch_filter}"))
            .nullable(false)
            .exact(true);
    };
    let stream = format!("{function}({distinct}{}){stream_filter}", x.stream);
    // One aggregate of the batch text over the argument, with the filter and another condition.
    let aggregate = |name: &str, and: Option<&str>| {
        let conditions: Vec<&str> = filter.map(|f| f.batch.as_str()).into_iter().chain(and).collect();
        let filter = match conditions.is_empty() {
            true => String::new(),
            false => format!(" FILTER (WHERE {})", conditions.join(" AND ")),
        };
        format!("{name}({distinct}{}){filter}", x.normal())
    };
    let (sum, count) = (aggregate("SUM", None), aggregate("COUNT", None));
    let exact_sum = x.exact;
    match (function, x.ty) {
        ("COUNT", _) => result(Type::BigInt, stream, count).nullable(false).exact(true),
        ("SUM", Type::Int) => result(Type::Int, stream, wrapped(&sum)).exact(false),
        ("SUM", ty) => result(ty, stream, sum).exact(exact_sum),
        ("AVG", Type::Double) => {
            result(Type::Double, stream, format!("({sum} / CAST({count} AS DOUBLE))")).exact(false)
        }
        ("AVG", Type::Decimal(_)) => result(Type::Decimal(6), stream, decimal_average(&sum, &count)),
        ("AVG", ty) => result(ty, stream, format!("CAST({sum} / {count} AS {})", ty.sql())).exact(exact_sum),
        ("MAX", Type::Double) => {
            let nan = format!("isnan({})", x.batch);
            let rest = format!("NOT {nan}");
            let (nans, rest) = (aggregate("COUNT", Some(&nan)), aggregate("MAX", Some(&rest)));
            let text = format!("(CASE WHEN {nans} > 0 THEN CAST('NaN' AS DOUBLE) ELSE {rest} END)");
            result(Type::Double, stream, text).exact(x.exact)
        }
        ("MIN", Type::Double) => {
            let nan = format!("isnan({})", x.batch);
            let rest = format!("NOT {nan}");
            let (nans, rest) = (aggregate("COUNT", Some(&nan)), aggregate("MIN", Some(&rest)));
            let text = format!("(CASE WHEN {rest} IS NULL AND {nans} > 0 THEN CAST('NaN' AS DOUBLE) ELSE {rest} END)");
            result(Type::Double, stream, text).exact(x.exact)
        }
        (name, ty) => result(ty, stream, aggregate(name, None)).exact(x.exact),
    }
}

fn result(ty: Type, stream: String, batch: String) -> Expr {
    Expr { ty, stream, batch, nullable: true, exact: true, reads: true }
}

/// A BIGINT cut to 32 bits, as Java does.
pub(super) fn wrapped(long: &str) -> String {
    format!("CAST((({long}) % 4294967296 + 6442450944) % 4294967296 - 2147483648 AS INT)")
}

/// In millionths, halves away from zero.
fn decimal_average(sum: &str, count: &str) -> String {
    let millionths = format!("(CAST(ROUND(CAST({sum} AS DOUBLE) * 100.0) AS BIGINT) * 10000)");
    let size = format!("((abs({millionths}) * 2 + {count}) / ({count} * 2))");
    let signed = format!("(CASE WHEN {millionths} < 0 THEN -{size} ELSE {size} END)");
    format!("(CAST({signed} AS DECIMAL(19, 0)) * CAST(0.000001 AS DECIMAL(7, 6)))")
}
