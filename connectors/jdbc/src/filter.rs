//! A predicate as a condition over placeholders.
//!
//! # Example
//! ```text
//! And[id >= 10, name <> 'x', lower(…)]      name is TEXT with a collation the server chose
//! `id` >= ?      bound: 10                  the engine filters the rest again
//! ```
//! # Invariant
//! The condition holds for *every* row the predicate holds for. It may hold for more: the engine evaluates the whole filter again. A
//! part that cannot promise that is left out of a conjunction, and takes a whole disjunction or negation with it.

use dflow_connector_api::{CompareOp, Predicate, Value};

use crate::quote::Dialect;

/// How far the server's comparison of a column agrees with ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparable {
    /// Not at all: another type on the server, rounding on the way, values that read as NULL.
    No,
    /// What is equal here is equal there, and perhaps more is (text: case, accents, trailing blanks).
    Equality,
    /// A truth value: zero or anything else.
    Truth,
    /// Exactly.
    Exact,
}

/// A condition and what is bound to its placeholders, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Condition {
    /// SQL text.
    pub sql: String,
    /// One per placeholder.
    pub values: Vec<Value>,
}

/// Values an `IN` is pushed with at most.
const IN_MAX: usize = 1_000;

/// What a table's columns are called, and how they compare. By index into the table's schema.
pub trait Columns {
    /// The name on the server.
    fn name(&self, column: usize) -> &str;
    /// How it compares.
    fn comparable(&self, column: usize) -> Comparable;
}

/// The part of a predicate a server can check; `None` when that is nothing.
pub fn condition(dialect: Dialect, predicate: &Predicate, columns: &dyn Columns) -> Option<Condition> {
    let mut writer = Writer { dialect, columns, out: Condition::default() };
    writer.superset(predicate).then_some(writer.out)
}

struct Writer<'a> {
    dialect: Dialect,
    columns: &'a dyn Columns,
    out: Condition,
}

impl Writer<'_> {
    /// Writes a condition that holds whenever the predicate does; false (and nothing written) when there is none.
    fn superset(&mut self, predicate: &Predicate) -> bool {
        match predicate {
            Predicate::And(parts) => {
                let before = self.mark();
                self.out.sql.push('(');
                let mut any = false;
                for part in parts {
                    let mark = self.mark();
                    if any {
                        self.out.sql.push_str(" AND ");
                    }
                    if self.superset(part) {
                        any = true;
                    } else {
                        self.reset(mark);
                    }
                }
                self.out.sql.push(')');
                any || self.reset(before)
            }
            Predicate::Or(parts) => self.all(parts, " OR ", Self::superset),
            Predicate::Not(inner) => {
                let mark = self.mark();
                self.out.sql.push_str("NOT ");
                self.exact(inner) || self.reset(mark)
            }
            Predicate::Compare(column, op, value) => self.compare(*column, *op, value, false),
            Predicate::In(column, values) => self.is_in(*column, values, false),
            Predicate::IsNull(_) | Predicate::IsNotNull(_) => self.exact(predicate),
        }
    }

    /// Writes a condition that holds exactly when the predicate does, and is unknown exactly when it is.
    fn exact(&mut self, predicate: &Predicate) -> bool {
        match predicate {
            Predicate::And(parts) => self.all(parts, " AND ", Self::exact),
            Predicate::Or(parts) => self.all(parts, " OR ", Self::exact),
            Predicate::Not(inner) => {
                let mark = self.mark();
                self.out.sql.push_str("NOT ");
                self.exact(inner) || self.reset(mark)
            }
            Predicate::Compare(column, op, value) => self.compare(*column, *op, value, true),
            Predicate::In(column, values) => self.is_in(*column, values, true),
            Predicate::IsNull(column) => self.null_check(*column, " IS NULL)"),
            Predicate::IsNotNull(column) => self.null_check(*column, " IS NOT NULL)"),
        }
    }

    fn all(&mut self, parts: &[Predicate], between: &str, each: fn(&mut Self, &Predicate) -> bool) -> bool {
        if parts.is_empty() {
            return false;
        }
        let mark = self.mark();
        self.out.sql.push('(');
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                self.out.sql.push_str(between);
            }
            if !each(self, part) {
                return self.reset(mark);
            }
        }
        self.out.sql.push(')');
        true
    }

    fn null_check(&mut self, column: usize, check: &str) -> bool {
        if self.columns.comparable(column) == Comparable::No {
            return false;
        }
        self.out.sql.push('(');
        self.name(column);
        self.out.sql.push_str(check);
        true
    }

    fn compare(&mut self, column: usize, op: CompareOp, value: &Value, exactly: bool) -> bool {
        let fits = match self.columns.comparable(column) {
            Comparable::No => false,
            Comparable::Equality => op == CompareOp::Eq && !exactly,
            Comparable::Truth => {
                let (Value::Bool(truth), CompareOp::Eq | CompareOp::NotEq) = (value, op) else { return false };
                // A true value need not be 1.
                let is_zero = *truth == (op == CompareOp::NotEq);
                self.out.sql.push('(');
                self.name(column);
                self.out.sql.push_str(if is_zero { " = 0)" } else { " <> 0)" });
                return true;
            }
            Comparable::Exact => true,
        };
        if !fits || !bindable(value) {
            return false;
        }
        self.out.sql.push('(');
        self.name(column);
        self.out.sql.push_str(match op {
            CompareOp::Eq => " = ?)",
            CompareOp::NotEq => " <> ?)",
            CompareOp::Lt => " < ?)",
            CompareOp::LtEq => " <= ?)",
            CompareOp::Gt => " > ?)",
            CompareOp::GtEq => " >= ?)",
        });
        self.out.values.push(value.clone());
        true
    }

    fn is_in(&mut self, column: usize, values: &[Value], exactly: bool) -> bool {
        let fits = match self.columns.comparable(column) {
            Comparable::No | Comparable::Truth => false,
            Comparable::Equality => !exactly,
            Comparable::Exact => true,
        };
        if !fits || values.is_empty() || values.len() > IN_MAX || !values.iter().all(bindable) {
            return false;
        }
        self.out.sql.push('(');
        self.name(column);
        self.out.sql.push_str(" IN (");
        for (i, value) in values.iter().enumerate() {
            self.out.sql.push_str(if i == 0 { "?" } else { ", ?" });
            self.out.values.push(value.clone());
        }
        self.out.sql.push_str("))");
        true
    }

    fn name(&mut self, column: usize) {
        self.dialect.push_name(&mut self.out.sql, self.columns.name(column));
    }

    fn mark(&self) -> (usize, usize) {
        (self.out.sql.len(), self.out.values.len())
    }

    /// Takes back what was written since `mark`; always false.
    fn reset(&mut self, mark: (usize, usize)) -> bool {
        self.out.sql.truncate(mark.0);
        self.out.values.truncate(mark.1);
        false
    }
}

/// Whether a value is compared there as it is here. A decimal is bound as text, and then compared as a floating-point number; those lose
/// digits of large integers, and have no NaN.
fn bindable(value: &Value) -> bool {
    !matches!(value, Value::Float(_) | Value::Decimal(..))
}

#[cfg(test)]
mod tests {
    use CompareOp::{Eq, GtEq, Lt, NotEq};
    use Predicate::{And, Compare, In, IsNotNull, IsNull, Not, Or};

    use super::*;

    /// 0 `id` exact, 1 `name` text, 2 `ok` truth, 3 `t` not comparable.
    struct Table;

    impl Columns for Table {
        fn name(&self, column: usize) -> &str {
            ["id", "na`me", "ok", "t"][column]
        }

        fn comparable(&self, column: usize) -> Comparable {
            [Comparable::Exact, Comparable::Equality, Comparable::Truth, Comparable::No][column]
        }
    }

    fn id(op: CompareOp, v: i64) -> Predicate {
        Compare(0, op, Value::Int(v))
    }

    fn name(op: CompareOp) -> Predicate {
        Compare(1, op, Value::Text("x".into()))
    }

    fn pushed(predicate: &Predicate) -> Option<String> {
        let c = condition(Dialect::MySql, predicate, &Table)?;
        assert_eq!(c.sql.matches('?').count(), c.values.len(), "one value per placeholder: {c:?}");
        Some(c.sql)
    }

    #[test]
    fn values_are_bound_in_the_order_of_their_placeholders() {
        let c =
            condition(Dialect::MySql, &And(vec![id(GtEq, 10), In(1, vec![Value::Text("'".into())])]), &Table).unwrap();
        assert_eq!(c.sql, "((`id` >= ?) AND (`na``me` IN (?)))");
        assert_eq!(c.values, [Value::Int(10), Value::Text("'".into())]);
    }

    #[test]
    fn a_part_that_cannot_be_pushed_leaves_a_conjunction_and_takes_a_disjunction_with_it() {
        let t = IsNull(3);
        assert_eq!(pushed(&And(vec![t.clone(), id(Lt, 1), t.clone()])).unwrap(), "((`id` < ?))");
        assert_eq!(pushed(&And(vec![t.clone()])), None);
        assert_eq!(pushed(&Or(vec![id(Lt, 1), t.clone()])), None);
        assert_eq!(pushed(&Or(vec![id(Lt, 1), And(vec![id(Eq, 2), t])])).unwrap(), "((`id` < ?) OR ((`id` = ?)))");
        assert_eq!(pushed(&And(vec![])), None);
        assert_eq!(pushed(&Or(vec![])), None);
    }

    #[test]
    fn text_is_only_compared_where_more_rows_do_no_harm() {
        assert_eq!(pushed(&name(Eq)).unwrap(), "(`na``me` = ?)");
        for op in [NotEq, Lt, GtEq] {
            assert_eq!(pushed(&name(op)), None, "{op:?}: a collation keeps too few rows");
        }
        assert_eq!(pushed(&Not(Box::new(name(Eq)))), None);
        assert_eq!(pushed(&Not(Box::new(Or(vec![id(Eq, 1), name(Eq)])))), None);
        assert_eq!(pushed(&Not(Box::new(In(1, vec![Value::Text("x".into())])))), None);
        assert_eq!(pushed(&Not(Box::new(id(Eq, 1)))).unwrap(), "NOT (`id` = ?)");
        // Not of a conjunction of which one part is left out would keep too few.
        assert_eq!(pushed(&Not(Box::new(And(vec![id(Eq, 1), IsNull(3)])))), None);
    }

    #[test]
    fn truth_is_zero_or_not_and_fractions_are_not_bound() {
        let ok = |op, v| Compare(2, op, Value::Bool(v));
        assert_eq!(pushed(&ok(Eq, true)).unwrap(), "(`ok` <> 0)");
        assert_eq!(pushed(&ok(NotEq, true)).unwrap(), "(`ok` = 0)");
        assert_eq!(pushed(&ok(Eq, false)).unwrap(), "(`ok` = 0)");
        assert_eq!(pushed(&ok(Lt, true)), None);
        assert_eq!(pushed(&Not(Box::new(ok(Eq, true)))).unwrap(), "NOT (`ok` <> 0)");
        assert_eq!(pushed(&IsNotNull(1)).unwrap(), "(`na``me` IS NOT NULL)");
        assert_eq!(pushed(&Compare(0, Eq, Value::Float(1.0))), None);
        assert_eq!(pushed(&Compare(0, Eq, Value::Decimal(15, 1))), None);
        assert_eq!(pushed(&In(0, vec![])), None);
        assert_eq!(pushed(&In(0, vec![Value::Int(0); IN_MAX])).map(|s| s.len() > IN_MAX), Some(true));
        assert_eq!(pushed(&In(0, vec![Value::Int(0); IN_MAX + 1])), None);
    }
}
