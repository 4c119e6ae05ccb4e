//! Random typed expressions over the columns of a relation.
//!
//! What is left out, because DataFusion has no way to say what Flink means, or not exactly: `CAST(DOUBLE AS STRING)` (Java's
//! digits), DECIMAL division and ROUND (other scales), comparison of BIGINT with DOUBLE, overflow of `ABS`, division by a value
//! that may be 0 or -1 outside of a guard (an error in both), TRIM of other characters, CHAR padding.

use dflow_common::env::{Rng, SeededRng};

use super::aggregate::wrapped;
use super::{Expr, Type};
use crate::classes::Classes;

/// The constructs, each a class.
pub const CONSTRUCTS: [&str; 31] = [
    "literal",
    "NULL literal",
    "arithmetic",
    "arithmetic of extremes",
    "division",
    "guarded division",
    "remainder",
    "negation",
    "CASE",
    "CASE without ELSE",
    "COALESCE",
    "NULLIF",
    "IF",
    "GREATEST or LEAST",
    "cast to a number",
    "cast that wraps",
    "cast to text",
    "cast of a time",
    "TRY_CAST",
    "comparison",
    "comparison of floats",
    "comparison of two types",
    "IS NULL",
    "IS TRUE",
    "IS DISTINCT FROM",
    "AND, OR, NOT",
    "IN",
    "BETWEEN",
    "LIKE",
    "text function",
    "date function",
];

/// Makes expressions over `scope`.
pub struct Scalars<'a> {
    /// What decides.
    pub rng: &'a SeededRng,
    /// What was made.
    pub classes: &'a mut Classes,
    /// The columns: any expressions that may stand here.
    pub scope: &'a [Expr],
}

impl Scalars<'_> {
    pub(super) fn below(&self, n: usize) -> usize {
        self.rng.below(n as u64) as usize
    }

    pub(super) fn pick<T: Copy>(&self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn hit(&mut self, construct: &str) {
        self.classes.hit(construct);
    }

    /// An expression of any type.
    pub fn any(&mut self, depth: u32) -> Expr {
        self.of(&Type::ALL, depth)
    }

    /// An expression of one of these types.
    pub fn of(&mut self, types: &[Type], depth: u32) -> Expr {
        let ty = self.pick(types);
        self.expr(ty, depth)
    }

    /// A DOUBLE whose sum is exact in any order.
    pub fn exact_double(&mut self) -> Expr {
        let columns: Vec<&Expr> = self.scope.iter().filter(|c| c.ty == Type::Double && c.exact).collect();
        match columns.as_slice() {
            [] => self.literal(Type::Double),
            _ => self.pick(&columns).clone(),
        }
    }

    /// An expression of a type, at most `depth` calls deep (a few more where a type needs them).
    pub fn expr(&mut self, ty: Type, depth: u32) -> Expr {
        if depth == 0 {
            return self.leaf(ty);
        }
        let d = depth - 1;
        match self.below(12) {
            0 | 1 => self.leaf(ty),
            2 => {
                self.hit("CASE");
                let (c, a, b) = (self.expr(Type::Bool, d), self.expr(ty, d), self.expr(ty, d));
                let nullable = a.nullable || b.nullable;
                same(ty, "CASE WHEN {0} THEN {1} ELSE {2} END", &[&c, &a, &b])
                    .nullable(nullable)
                    .exact(a.exact && b.exact)
            }
            3 => {
                self.hit("CASE without ELSE");
                let (c, a) = (self.expr(Type::Bool, d), self.expr(ty, d));
                same(ty, "CASE WHEN {0} THEN {1} END", &[&c, &a]).nullable(true).exact(a.exact)
            }
            4 => {
                self.hit("COALESCE");
                let (a, b) = (self.expr(ty, d), self.expr(ty, d));
                coalesce(ty, &a, &b)
            }
            5 if ty != Type::Double => {
                self.hit("NULLIF");
                let (a, b) = (self.expr(ty, d), self.leaf(ty));
                same(ty, "NULLIF({0}, {1})", &[&a, &b]).nullable(true).exact(a.exact)
            }
            6 => {
                self.hit("IF");
                let (c, a, b) = (self.expr(Type::Bool, d), self.expr(ty, d), self.expr(ty, d));
                let nullable = a.nullable || b.nullable;
                let batch = "CASE WHEN {0} THEN {1} ELSE {2} END";
                Expr::call(ty, "IF({0}, {1}, {2})", batch, &[&c, &a, &b]).nullable(nullable).exact(a.exact && b.exact)
            }
            7 if !matches!(ty, Type::Bool | Type::Double) => {
                self.hit("GREATEST or LEAST");
                let (a, b) = (self.expr(ty, d), self.expr(ty, d));
                // Flink: NULL when one is; DataFusion leaves NULL out.
                let name = self.pick(&["GREATEST", "LEAST"]);
                let batch =
                    format!("(CASE WHEN {{0}} IS NOT NULL AND {{1}} IS NOT NULL THEN {name}({{0}}, {{1}}) END)");
                Expr::call(ty, &format!("{name}({{0}}, {{1}})"), &batch, &[&a, &b])
            }
            _ => self.own(ty, d),
        }
    }

    /// What only this type has.
    fn own(&mut self, ty: Type, d: u32) -> Expr {
        match ty {
            Type::Int | Type::BigInt => self.whole(ty, d),
            Type::Double => self.double(d),
            Type::Decimal(_) => self.decimal(ty, d),
            Type::Bool => self.condition(d),
            Type::Text => self.text(d),
            Type::Timestamp | Type::Date => self.time(ty, d),
        }
    }

    /// A column or a literal.
    pub(super) fn leaf(&mut self, ty: Type) -> Expr {
        let columns: Vec<&Expr> = self.scope.iter().filter(|c| c.ty == ty).collect();
        if !columns.is_empty() && self.below(5) > 0 {
            return self.pick(&columns).clone();
        }
        self.literal(ty)
    }

    pub(super) fn literal(&mut self, ty: Type) -> Expr {
        if self.below(12) == 0 {
            self.hit("NULL literal");
            return same(ty, &format!("CAST(NULL AS {})", ty.sql()), &[]).nullable(true);
        }
        self.value(ty)
    }

    /// A literal that is not NULL.
    pub(super) fn value(&mut self, ty: Type) -> Expr {
        self.hit("literal");
        match ty {
            Type::Int => {
                let n = self.pick(&["0", "1", "2", "-1", "3", "5"]);
                Expr::call(ty, n, &format!("CAST({n} AS INT)"), &[])
            }
            Type::BigInt => same(ty, &format!("CAST({} AS BIGINT)", self.pick(&["0", "1", "-1", "2", "7"])), &[]),
            Type::Double => {
                let n = self.pick(&["0", "1", "2.5", "-0.25", "4"]);
                let stream = if self.below(2) == 0 { format!("{n}E0") } else { format!("CAST({n} AS DOUBLE)") };
                Expr::call(ty, &stream, &format!("CAST({n} AS DOUBLE)"), &[])
            }
            Type::Decimal(6) => same(ty, "CAST(0.500000 AS DECIMAL(20, 6))", &[]),
            Type::Decimal(_) => {
                let n = self.pick(&["0.00", "1.50", "-0.34", "0.65"]);
                Expr::call(ty, n, &format!("CAST({n} AS DECIMAL(3, 2))"), &[])
            }
            Type::Text => same(ty, self.pick(&["''", "'a'", "'b'", "'a b'", "'it''s'", "'é𝄞'", "'z1'"]), &[]),
            Type::Bool => same(ty, self.pick(&["TRUE", "FALSE"]), &[]),
            Type::Timestamp => {
                let t = self.pick(&["1970-01-01 00:00:00.000", "2024-03-30 20:00:00.001", "2024-02-29 12:34:56.789"]);
                Expr::call(ty, &format!("TIMESTAMP '{t}'"), &format!("CAST('{t}' AS TIMESTAMP(3))"), &[])
            }
            Type::Date => same(ty, &format!("DATE '{}'", self.pick(&["1970-01-01", "2024-03-30", "1969-12-31"])), &[]),
        }
    }

    fn whole(&mut self, ty: Type, d: u32) -> Expr {
        match self.below(if ty == Type::Int { 13 } else { 11 }) {
            0..=2 => {
                let (a, b) = (self.expr(ty, d), self.expr(ty, d));
                self.hit(if a.exact && b.exact { "arithmetic" } else { "arithmetic of extremes" });
                let op = self.pick(&["+", "-"]);
                same(ty, &format!("({{0}} {op} {{1}})"), &[&a, &b])
            }
            3 => {
                let a = self.expr(ty, d);
                self.hit(if a.exact { "arithmetic" } else { "arithmetic of extremes" });
                let n = self.pick(&["2", "3", "-1"]);
                Expr::call(ty, &format!("({{0}} * {n})"), &format!("({{0}} * CAST({n} AS {}))", ty.sql()), &[&a])
            }
            4 => {
                self.hit("division");
                let (a, n) = (self.expr(ty, d), self.pick(&["2", "3", "-4"]));
                Expr::call(ty, &format!("({{0}} / {n})"), &format!("({{0}} / CAST({n} AS {}))", ty.sql()), &[&a])
            }
            5 => {
                self.hit("guarded division");
                let (a, b) = (self.leaf(ty), self.leaf(ty));
                // DataFusion need not keep from dividing: its divisor is NULL there.
                let batch = "CASE WHEN {1} > 0 THEN {0} / (CASE WHEN {1} > 0 THEN {1} END) END";
                Expr::call(ty, "CASE WHEN {1} > 0 THEN {0} / {1} END", batch, &[&a, &b]).nullable(true)
            }
            6 => {
                self.hit("remainder");
                let (a, n) = (self.expr(ty, d), self.pick(&["2", "3", "-4"]));
                let stream = self.pick(&["MOD({0}, #)", "({0} % #)"]);
                let stream = stream.replace('#', n);
                Expr::call(ty, &stream, &format!("({{0}} % CAST({n} AS {}))", ty.sql()), &[&a]).exact(true)
            }
            7 => {
                self.hit("negation");
                let a = self.expr(ty, d);
                if a.exact && self.below(2) == 0 { same(ty, "ABS({0})", &[&a]) } else { same(ty, "(- {0})", &[&a]) }
            }
            8 => self.cast_to_whole(ty, d),
            9 if ty == Type::Int => {
                self.hit("TRY_CAST");
                let a = self.expr(Type::Text, d);
                // Text that both read the same: digits, or not a number at all.
                let digits = "CASE WHEN {0} ~ '^-?[0-9]+$' THEN TRY_CAST({0} AS INT) END";
                let stream = "CASE WHEN REGEXP({0}, '^-?[0-9]+$') THEN TRY_CAST({0} AS INT) END";
                Expr::call(ty, stream, digits, &[&a]).nullable(true).exact(false)
            }
            9 | 10 if ty == Type::BigInt => {
                self.hit("date function");
                let t = self.expr(Type::Timestamp, d);
                let (flink, theirs) = self.pick(&[
                    ("YEAR", "date_part('year', {0})"),
                    ("QUARTER", "date_part('quarter', {0})"),
                    ("MONTH", "date_part('month', {0})"),
                    ("DAY", "date_part('day', {0})"),
                    ("HOUR", "date_part('hour', {0})"),
                    ("MINUTE", "date_part('minute', {0})"),
                    ("SECOND", "date_part('second', {0})"),
                    ("DOY", "date_part('doy', {0})"),
                    ("DOW", "date_part('dow', {0}) + 1"),
                ]);
                Expr::call(ty, &format!("EXTRACT({flink} FROM {{0}})"), &format!("CAST({theirs} AS BIGINT)"), &[&t])
                    .exact(true)
            }
            10 => {
                self.hit("text function");
                let a = self.expr(Type::Text, d);
                same(ty, "CHAR_LENGTH({0})", &[&a]).exact(true)
            }
            _ => {
                self.hit("text function");
                let a = self.expr(Type::Text, d);
                Expr::call(ty, "POSITION('a' IN {0})", "strpos({0}, 'a')", &[&a]).exact(true)
            }
        }
    }

    fn cast_to_whole(&mut self, ty: Type, d: u32) -> Expr {
        let to = ty.sql();
        let cast = format!("CAST({{0}} AS {to})");
        match self.below(4) {
            0 if ty == Type::Int => {
                self.hit("cast that wraps");
                let a = self.expr(Type::BigInt, d);
                Expr::call(ty, &cast, &wrapped("{0}"), &[&a])
            }
            0 => {
                self.hit("cast to a number");
                let a = self.expr(Type::Int, d);
                same(ty, &cast, &[&a])
            }
            1 => {
                self.hit("cast to a number");
                let a = self.expr(Type::Bool, d);
                same(ty, &cast, &[&a]).exact(true)
            }
            2 => {
                self.hit("cast to a number");
                let a = self.exact_double();
                let batch =
                    format!("(CASE WHEN isnan({{0}}) THEN CAST(0 AS {to}) ELSE CAST(trunc({{0}}) AS {to}) END)");
                Expr::call(ty, &cast, &batch, &[&a])
            }
            _ => {
                self.hit("cast to a number");
                let a = self.leaf(Type::Decimal(2));
                same(ty, &cast, &[&a])
            }
        }
    }

    fn double(&mut self, d: u32) -> Expr {
        let ty = Type::Double;
        match self.below(6) {
            0 | 1 => {
                self.hit("arithmetic");
                let (a, b) = (self.expr(ty, d), self.expr(ty, d));
                let op = self.pick(&["+", "-"]);
                same(ty, &format!("({{0}} {op} {{1}})"), &[&a, &b])
            }
            2 => {
                self.hit("arithmetic");
                let a = self.expr(ty, d);
                // Halves of halves of halves are still exact sums, but not quarters of quarters.
                same(ty, self.pick(&["({0} * CAST(-2 AS DOUBLE))", "({0} * CAST(3 AS DOUBLE))"]), &[&a])
            }
            3 => {
                self.hit("negation");
                let a = self.expr(ty, d);
                same(ty, self.pick(&["(- {0})", "ABS({0})", "FLOOR({0})", "CEIL({0})"]), &[&a])
            }
            4 => {
                self.hit("cast to a number");
                let a = self.expr(Type::Int, d);
                same(ty, "CAST({0} AS DOUBLE)", &[&a])
            }
            _ => {
                self.hit("cast to a number");
                let a = self.leaf(Type::Decimal(2));
                same(ty, "CAST({0} AS DOUBLE)", &[&a]).exact(false)
            }
        }
    }

    fn decimal(&mut self, ty: Type, d: u32) -> Expr {
        match self.below(4) {
            0 | 1 => {
                self.hit("arithmetic");
                let (a, b) = (self.expr(ty, d), self.expr(ty, d));
                let op = self.pick(&["+", "-"]);
                same(ty, &format!("CAST({{0}} {op} {{1}} AS {})", ty.sql()), &[&a, &b])
            }
            2 => {
                self.hit("negation");
                let a = self.expr(ty, d);
                same(ty, self.pick(&["(- {0})", "ABS({0})"]), &[&a])
            }
            _ => {
                self.hit("cast to a number");
                let a = self.expr(Type::Int, d);
                same(ty, &format!("CAST({{0}} AS {})", ty.sql()), &[&a]).exact(true)
            }
        }
    }
}

/// COALESCE, which the reference does not evaluate by itself.
pub(super) fn coalesce(ty: Type, a: &Expr, b: &Expr) -> Expr {
    let batch = "(CASE WHEN {0} IS NOT NULL THEN {0} ELSE {1} END)";
    Expr::call(ty, "COALESCE({0}, {1})", batch, &[a, b]).nullable(a.nullable && b.nullable)
}

/// The same text in both languages.
pub(super) fn same(ty: Type, text: &str, args: &[&Expr]) -> Expr {
    Expr::call(ty, text, text, args)
}
