//! Random conditions, and the functions of text and times.

use super::scalar::{Scalars, same};
use super::{Expr, Type};

impl Scalars<'_> {
    pub(super) fn condition(&mut self, d: u32) -> Expr {
        let ty = Type::Bool;
        match self.below(12) {
            0..=2 => self.comparison(d),
            3 => {
                self.classes.hit("IS NULL");
                let a = self.any(d);
                same(ty, self.pick(&["({0} IS NULL)", "({0} IS NOT NULL)"]), &[&a]).nullable(false)
            }
            4 => {
                self.classes.hit("IS TRUE");
                let a = self.expr(ty, d);
                same(ty, self.pick(&["({0} IS TRUE)", "({0} IS NOT FALSE)", "({0} IS FALSE)"]), &[&a]).nullable(false)
            }
            5 => {
                self.classes.hit("IS DISTINCT FROM");
                let of = self.pick(&[Type::Int, Type::BigInt, Type::Text, Type::Timestamp]);
                let (a, b) = (self.expr(of, d), self.expr(of, d));
                let text = self.pick(&["({0} IS DISTINCT FROM {1})", "({0} IS NOT DISTINCT FROM {1})"]);
                same(ty, text, &[&a, &b]).nullable(false)
            }
            6 | 7 => {
                self.classes.hit("AND, OR, NOT");
                let (a, b) = (self.expr(ty, d), self.expr(ty, d));
                same(ty, self.pick(&["({0} AND {1})", "({0} OR {1})", "(NOT {0})"]), &[&a, &b])
            }
            8 => self.in_list(d),
            9 => {
                self.classes.hit("BETWEEN");
                let of =
                    self.pick(&[Type::Int, Type::BigInt, Type::Decimal(2), Type::Text, Type::Timestamp, Type::Date]);
                let (a, b, c) = (self.expr(of, d), self.leaf(of), self.leaf(of));
                same(ty, self.pick(&["({0} BETWEEN {1} AND {2})", "({0} NOT BETWEEN {1} AND {2})"]), &[&a, &b, &c])
            }
            10 => {
                self.classes.hit("LIKE");
                let a = self.expr(Type::Text, d);
                let pattern = self.pick(&["a%", "%b", "_", "%é%", "%", "", "a_b", "%not inlined"]);
                let not = self.pick(&["", "NOT "]);
                same(ty, &format!("({{0}} {not}LIKE '{pattern}')"), &[&a])
            }
            _ => {
                self.classes.hit("guarded division");
                let (a, b) = (self.leaf(Type::Int), self.leaf(Type::Int));
                let batch = "({1} <= 0 OR {0} / (CASE WHEN {1} > 0 THEN {1} END) > 1)";
                Expr::call(ty, "({1} <= 0 OR {0} / {1} > 1)", batch, &[&a, &b])
            }
        }
    }

    fn comparison(&mut self, d: u32) -> Expr {
        let op = self.pick(&["=", "<>", "<", "<=", ">", ">="]);
        let text = format!("({{0}} {op} {{1}})");
        match self.below(8) {
            0 | 1 => {
                self.classes.hit("comparison of floats");
                let (a, b) = (self.expr(Type::Double, d), self.leaf(Type::Double));
                compare_floats(op, &a, &b)
            }
            2 => {
                self.classes.hit("comparison of two types");
                if self.below(3) == 0 {
                    // A literal with a point is a DECIMAL in Flink; beside a DOUBLE it is one.
                    let (a, n) = (self.expr(Type::Double, d), self.pick(&["1.5", "0.0", "-2.25"]));
                    let literal = Expr::call(Type::Double, n, &format!("CAST({n} AS DOUBLE)"), &[]);
                    return compare_floats(op, &a, &literal);
                }
                let wide = self.pick(&[Type::BigInt, Type::Decimal(2)]);
                let (a, b) = (self.expr(Type::Int, d), self.leaf(wide));
                same(Type::Bool, &text, &[&a, &b])
            }
            _ => {
                self.classes.hit("comparison");
                let types = Type::ALL.map(|t| if t == Type::Double { Type::Int } else { t });
                let of = self.pick(&types);
                let (a, b) = (self.expr(of, d), self.leaf(of));
                same(Type::Bool, &text, &[&a, &b])
            }
        }
    }

    fn in_list(&mut self, d: u32) -> Expr {
        self.classes.hit("IN");
        let of = self.pick(&[Type::Int, Type::BigInt, Type::Text, Type::Decimal(2), Type::Date]);
        let a = self.expr(of, d);
        let (b, c, e) = (self.value(of), self.literal(of), self.value(of));
        let text = self.pick(&["({0} IN ({1}, {2}, {3}))", "({0} NOT IN ({1}, {2}, {3}))", "({0} IN ({1}))"]);
        same(Type::Bool, text, &[&a, &b, &c, &e])
    }

    pub(super) fn text(&mut self, d: u32) -> Expr {
        let ty = Type::Text;
        match self.below(10) {
            0..=4 => {
                self.classes.hit("text function");
                let a = self.expr(ty, d);
                let (flink, theirs) = self.pick(&[
                    ("UPPER({0})", "upper({0})"),
                    ("LOWER({0})", "lower({0})"),
                    ("({0} || '-')", "({0} || '-')"),
                    ("CONCAT({0}, 'x')", "({0} || 'x')"),
                    ("SUBSTRING({0} FROM 2 FOR 3)", "substr({0}, 2, 3)"),
                    ("SUBSTRING({0}, 2)", "substr({0}, 2)"),
                    ("LEFT({0}, 2)", "left({0}, 2)"),
                    ("RIGHT({0}, 2)", "right({0}, 2)"),
                    ("REPLACE({0}, 'a', 'bb')", "replace({0}, 'a', 'bb')"),
                    ("TRIM({0})", "trim({0})"),
                    ("REVERSE({0})", "reverse({0})"),
                    ("LPAD({0}, 4, '*')", "lpad({0}, 4, '*')"),
                    ("REPEAT({0}, 2)", "repeat({0}, 2)"),
                    ("SPLIT_INDEX({0}, ' ', 0)", "(CASE WHEN {0} <> '' THEN split_part({0}, ' ', 1) END)"),
                ]);
                let may = flink.starts_with("SPLIT");
                let nullable = a.nullable || may;
                Expr::call(ty, flink, theirs, &[&a]).nullable(nullable)
            }
            5 => {
                self.classes.hit("text function");
                let (a, b) = (self.expr(ty, d), self.expr(ty, d));
                same(ty, "({0} || {1})", &[&a, &b])
            }
            6 => {
                self.classes.hit("cast to text");
                let a = self.of(&[Type::Int, Type::BigInt, Type::Date], d);
                same(ty, "CAST({0} AS STRING)", &[&a])
            }
            7 => {
                self.classes.hit("cast to text");
                let a = self.expr(Type::Bool, d);
                let batch = "(CASE WHEN {0} THEN 'TRUE' WHEN NOT {0} THEN 'FALSE' END)";
                Expr::call(ty, "CAST({0} AS STRING)", batch, &[&a])
            }
            8 => {
                self.classes.hit("cast to text");
                let a = self.expr(Type::Decimal(2), d);
                same(ty, "CAST({0} AS STRING)", &[&a])
            }
            _ => {
                self.classes.hit("date function");
                let a = self.expr(Type::Timestamp, d);
                let (flink, theirs) = self.pick(&[
                    ("DATE_FORMAT({0}, 'yyyy-MM-dd HH:mm:ss')", "to_char({0}, '%Y-%m-%d %H:%M:%S')"),
                    ("DATE_FORMAT({0}, 'MM/dd')", "to_char({0}, '%m/%d')"),
                    ("CAST({0} AS STRING)", "to_char({0}, '%Y-%m-%d %H:%M:%S%.3f')"),
                ]);
                Expr::call(ty, flink, theirs, &[&a])
            }
        }
    }

    pub(super) fn time(&mut self, ty: Type, d: u32) -> Expr {
        if ty == Type::Date {
            self.classes.hit("cast of a time");
            let a = self.expr(Type::Timestamp, d);
            return same(ty, "CAST({0} AS DATE)", &[&a]);
        }
        match self.below(5) {
            0 => {
                self.classes.hit("cast of a time");
                let a = self.expr(Type::Date, d);
                same(ty, "CAST({0} AS TIMESTAMP(3))", &[&a])
            }
            n => {
                self.classes.hit("date function");
                let a = self.expr(ty, d);
                if n < 3 {
                    let interval = self.pick(&["'1' DAY", "'90' MINUTE", "'1' MONTH", "'5' SECOND"]);
                    let op = self.pick(&["+", "-"]);
                    return same(ty, &format!("({{0}} {op} INTERVAL {interval})"), &[&a]);
                }
                let unit = self.pick(&["DAY", "HOUR", "MINUTE", "MONTH", "YEAR"]);
                Expr::call(ty, &format!("FLOOR({{0}} TO {unit})"), &format!("date_trunc('{unit}', {{0}})"), &[&a])
            }
        }
    }
}

/// Zeros are equal, NaN is unlike everything.
fn compare_floats(op: &str, a: &Expr, b: &Expr) -> Expr {
    let nan = if op == "<>" { "TRUE" } else { "FALSE" };
    let batch = format!(
        "(CASE WHEN {{0}} IS NULL OR {{1}} IS NULL THEN NULL WHEN isnan({{0}}) OR isnan({{1}}) THEN {nan} \
         ELSE ({{0}} + 0.0) {op} ({{1}} + 0.0) END)"
    );
    Expr::call(Type::Bool, &format!("({{0}} {op} {{1}})"), &batch, &[a, b])
}
