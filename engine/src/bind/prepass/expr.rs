//! Expressions: names are looked up, literals get Flink's types, casts become functions.
//!
//! ```text
//! price + 1                      price + CAST(1 AS INT)              Flink's 1 is INT, DataFusion's BIGINT
//! CAST(x AS DECIMAL(10, 2))      `$CAST DECIMAL(10, 2)`(x)           casts must be visible in expression names
//! 1e3                            CAST('1e3' AS DOUBLE)
//! TIMESTAMP '2020-01-01 00:00'   `$CAST TIMESTAMP(0)`('2020-…')
//! INTERVAL '1-2' YEAR TO MONTH   INTERVAL '14' MONTH
//! ```

use std::ops::ControlFlow;

use dflow_common::{Span, SqlType, TypeKind};
use dflow_dsl::ast as dsl;
use dflow_dsl::{reserved, types};
use sqlparser::ast::{self as sql, Spanned as _, VisitMut as _};

use super::names::{Found, Scope};
use super::{Prepass, quoted};
use crate::bind::functions::{CAST_PREFIX, Kind, TRY_CAST_PREFIX};
use crate::error::{self, at, did_you_mean, unsupported};
use crate::functions::datetime::{parse_time, parse_timestamp};

/// Where an expression stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// No aggregates.
    Scalar,
    /// Aggregates are allowed.
    Aggregates,
    /// A group key.
    GroupBy,
    /// Names may be those of the SELECT's items; literals are positions.
    OrderBy,
}

impl Prepass<'_> {
    /// Prepares an expression.
    pub(super) fn expr(&mut self, e: &mut sql::Expr, scope: &Scope, place: Place) {
        if place == Place::GroupBy
            && let sql::Expr::GroupingSets(_) | sql::Expr::Cube(_) | sql::Expr::Rollup(_) = e
        {
            let span = self.place(e.span());
            self.refuse_in_stream("GROUPING SETS, CUBE and ROLLUP", span);
        }
        let mut visitor = Rewriter { pass: self, scope, place, raw: 0, unknown_place: None };
        let _ = e.visit(&mut visitor);
    }
}

struct Rewriter<'r, 'p> {
    pass: &'r mut Prepass<'p>,
    scope: &'r Scope,
    place: Place,
    /// Inside something whose literals are syntax: an interval, a subquery that is refused as a whole.
    raw: usize,
    /// The span of the nearest node that has one.
    unknown_place: Option<Span>,
}

impl sql::VisitorMut for Rewriter<'_, '_> {
    type Break = ();

    fn pre_visit_expr(&mut self, e: &mut sql::Expr) -> ControlFlow<()> {
        if let Some(span) = dsl::span_of(self.pass.source, e.span()) {
            self.unknown_place = Some(span);
        }
        if self.is_raw(e) {
            if self.raw == 0 {
                self.refuse_raw(e);
            }
            self.raw += 1;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, e: &mut sql::Expr) -> ControlFlow<()> {
        if self.is_raw(e) {
            self.raw -= 1;
            if self.raw == 0 {
                self.interval(e);
            }
            return ControlFlow::Continue(());
        }
        if self.raw > 0 {
            return ControlFlow::Continue(());
        }
        let written = e.span();
        match e {
            sql::Expr::Value(_) => self.literal(e),
            sql::Expr::Cast { .. } => self.cast(e),
            sql::Expr::TypedString(_) => self.typed_string(e),
            sql::Expr::Identifier(_) | sql::Expr::CompoundIdentifier(_) => self.name(e),
            sql::Expr::Function(_) => self.function(e),
            sql::Expr::Extract { .. } => self.extract(e),
            sql::Expr::Ceil { .. } | sql::Expr::Floor { .. } => self.rounding(e),
            sql::Expr::Like { .. } => self.like(e),
            sql::Expr::Substring { substring_from: None, substring_for: None, .. } => {
                let d = at(error::BAD_ARGUMENTS, self.span(e), "SUBSTRING takes 2 or 3 arguments, 1 is given", "");
                self.pass.errors.push(d.with_help("write SUBSTRING(text FROM start FOR length)"));
            }
            _ => self.refuse_expr(e),
        }
        // A call that was made out of something else stands where that stood.
        if let sql::Expr::Function(f) = e
            && let Some(sql::ObjectNamePart::Identifier(name)) = f.name.0.first_mut()
            && name.span == sqlparser::tokenizer::Span::empty()
        {
            name.span = written;
        }
        ControlFlow::Continue(())
    }
}

impl Rewriter<'_, '_> {
    fn span(&self, e: &sql::Expr) -> Span {
        dsl::span_of(self.pass.source, e.span()).or(self.unknown_place).unwrap_or(self.pass.span)
    }

    fn is_raw(&self, e: &sql::Expr) -> bool {
        matches!(
            e,
            sql::Expr::Interval(_)
                | sql::Expr::Subquery(_)
                | sql::Expr::Exists { .. }
                | sql::Expr::InSubquery { .. }
                | sql::Expr::Lambda(_)
        ) || matches!(e, sql::Expr::Function(f) if is_pseudo(f))
    }

    fn refuse_raw(&mut self, e: &sql::Expr) {
        let span = self.span(e);
        match e {
            sql::Expr::Subquery(_) => self.pass.refuse("a subquery as a value", span),
            sql::Expr::Exists { .. } => self.pass.refuse("EXISTS", span),
            sql::Expr::InSubquery { .. } => self.pass.refuse("IN with a subquery", span),
            sql::Expr::Lambda(_) => self.pass.refuse_foreign(&[(true, "a lambda")], span),
            sql::Expr::Function(f) => {
                let what = match f.name.to_string().trim_matches('`') {
                    dsl::MAP_CONSTRUCTOR => "MAP[…]",
                    dsl::IS_JSON => "IS JSON",
                    dsl::MODEL_ARG => "MODEL",
                    _ => "TABLE as an argument",
                };
                self.pass.refuse(what, span);
            }
            _ => {}
        }
    }

    /// Flink's literal types.
    fn literal(&mut self, e: &mut sql::Expr) {
        let span = self.span(e);
        let sql::Expr::Value(value) = e else { return };
        let place = value.span;
        match &value.value {
            sql::Value::Number(text, _) if self.place == Place::OrderBy && text.parse::<u32>().is_ok() => {}
            sql::Value::Number(text, _) => {
                let text = text.to_string();
                if text.contains(['e', 'E']) {
                    *e = native_cast(
                        sql::Expr::Value(sql::Value::SingleQuotedString(text).with_span(place)),
                        sql::DataType::Double(sql::ExactNumberInfo::None),
                    );
                } else if text.contains('.') {
                    let digits = text.bytes().filter(u8::is_ascii_digit).count();
                    if digits > usize::from(dflow_common::types::DECIMAL_PRECISION_MAX) + 1 {
                        self.range_error(&text, span);
                    }
                } else if text.parse::<i32>().is_ok() {
                    let number = std::mem::replace(e, sql::Expr::value(sql::Value::Null));
                    *e = native_cast(number, sql::DataType::Int(None));
                } else if text.parse::<i64>().is_err() {
                    self.range_error(&text, span);
                }
            }
            sql::Value::NationalStringLiteral(s) | sql::Value::UnicodeStringLiteral(s) => {
                value.value = sql::Value::SingleQuotedString(s.clone());
            }
            _ => {}
        }
    }

    fn range_error(&mut self, text: &str, span: Span) {
        let d = at(error::LITERAL_RANGE, span, format!("no type holds the number {text}"), "too many digits");
        self.pass.errors.push(d.with_help("BIGINT ends at 9223372036854775807, DECIMAL has 38 digits"));
    }

    /// `CAST(e AS type)` as the function that carries the type in its name.
    fn cast(&mut self, e: &mut sql::Expr) {
        let sql::Expr::Cast { kind, expr, data_type, .. } = e else { return };
        let Some(ty) = types::flink_type(data_type) else { return };
        let prefix = match kind {
            sql::CastKind::TryCast => TRY_CAST_PREFIX,
            _ => CAST_PREFIX,
        };
        let inner = std::mem::replace(expr.as_mut(), sql::Expr::value(sql::Value::Null));
        *e = call(&format!("{prefix}{ty}"), vec![inner]);
    }

    /// `DATE '…'`, `TIME '…'`, `TIMESTAMP '…'`.
    fn typed_string(&mut self, e: &mut sql::Expr) {
        let span = self.span(e);
        let sql::Expr::TypedString(literal) = e else { return };
        let Some(text) = literal.value.clone().into_string() else { return };
        let (right, form) = match &literal.data_type {
            sql::DataType::Time(..) => {
                let time = text.trim();
                (parse_time(time).is_some() || parse_timestamp(time).is_some(), "TIME '03:04:05'")
            }
            sql::DataType::Date => (parse_timestamp(&text).is_some(), "DATE '2024-01-02'"),
            _ => (parse_timestamp(&text).is_some(), "TIMESTAMP '2024-01-02 03:04:05'"),
        };
        if !right {
            let message = format!("'{text}' is not a {}", form.split(' ').next().unwrap_or(form));
            let d = at(error::BAD_EXPRESSION, span, message, "cannot be read");
            return self.pass.errors.push(d.with_help(format!("write {form}")));
        }
        let digits = text.rsplit_once('.').map_or(0, |(_, fraction)| fraction.trim().len().min(9) as u8);
        let ty: SqlType = match &literal.data_type {
            sql::DataType::Date => TypeKind::Date.into(),
            sql::DataType::Time(..) => TypeKind::Time(digits.min(3)).into(),
            sql::DataType::Timestamp(..) => TypeKind::Timestamp(digits).into(),
            other => return self.pass.refuse(format!("a literal of type {other}"), span),
        };
        *e = call(&format!("{CAST_PREFIX}{ty}"), vec![sql::Expr::value(sql::Value::SingleQuotedString(text))]);
    }

    /// `INTERVAL '1-2' YEAR TO MONTH` and the other compound intervals as one unit.
    fn interval(&mut self, e: &mut sql::Expr) {
        let span = self.span(e);
        let sql::Expr::Interval(interval) = e else { return };
        let sql::Expr::Value(value) = interval.value.as_ref() else {
            return self.pass.refuse("INTERVAL with an expression", span);
        };
        let (Some(text), Some(leading)) = (value.value.clone().into_string(), interval.leading_field.clone()) else {
            return;
        };
        let unit = |f: &sql::DateTimeField| f.to_string().trim_end_matches('S').to_owned();
        let Some(total) = interval_total(text.trim(), &unit(&leading), interval.last_field.as_ref().map(unit)) else {
            let d =
                at(error::BAD_EXPRESSION, span, format!("'{text}' is not an interval of this kind"), "cannot be read");
            self.pass.errors.push(
                d.with_help("write INTERVAL '1' DAY, INTERVAL '1 02:30' DAY TO MINUTE, INTERVAL '1-2' YEAR TO MONTH"),
            );
            return;
        };
        *interval = sql::Interval {
            value: Box::new(sql::Expr::value(sql::Value::SingleQuotedString(total))),
            leading_field: None,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        };
    }

    fn name(&mut self, e: &mut sql::Expr) {
        let idents: &[sql::Ident] = match e {
            sql::Expr::Identifier(i) => std::slice::from_ref(i),
            sql::Expr::CompoundIdentifier(parts) => parts,
            _ => return,
        };
        let parts: Vec<&str> = idents.iter().map(|i| i.value.as_str()).collect();
        let span_of = |i: usize| dsl::span_of(self.pass.source, idents[i].span).or(self.unknown_place);
        let whole = span_of(0).unwrap_or(self.pass.span).join(span_of(parts.len() - 1).unwrap_or(self.pass.span));
        match self.scope.find(&parts) {
            Found::Column { replace, relation } => {
                if replace > 1
                    && let (sql::Expr::CompoundIdentifier(all), Some(relation)) = (&mut *e, relation)
                {
                    all.splice(..replace, [quoted(&relation)]);
                }
            }
            Found::Ambiguous => {
                let owners: Vec<String> = self
                    .scope
                    .relations
                    .iter()
                    .filter(|r| r.columns.iter().any(|c| c.name == parts[0]))
                    .filter_map(|r| r.name.as_ref().map(|n| format!("`{n}.{}`", parts[0])))
                    .collect();
                let d = at(error::COLUMN_AMBIGUOUS, whole, format!("column `{}` is ambiguous", parts[0]), "which one?");
                self.pass.errors.push(d.with_help(format!("write {}", owners.join(" or "))));
            }
            Found::NoColumn { relation, part } => {
                let relation = &self.scope.relations[relation];
                let table = relation.name.as_deref().unwrap_or("the subquery");
                let span = span_of(part).unwrap_or(whole);
                let d = at(
                    error::COLUMN_NOT_FOUND,
                    span,
                    format!("column `{}` not found in table `{table}`", parts[part]),
                    "not found",
                );
                let d = suggest(d, parts[part], relation.columns.iter().map(|c| (c.name.as_str(), c.ty.as_ref())));
                self.pass.errors.push(d);
            }
            Found::Nothing if self.scope.poisoned => {}
            Found::Nothing if parts.len() == 1 && reserved::is_function_without_parentheses(parts[0]) => {
                *e = sql::Expr::Function(function(parts[0], sql::FunctionArguments::None));
                self.function(e);
            }
            Found::Nothing => {
                let name = parts.join(".");
                let tables: Vec<_> = self.scope.relations.iter().filter_map(|r| r.name.as_deref()).collect();
                let place = match tables.as_slice() {
                    [] => String::new(),
                    [one] => format!(" in table `{one}`"),
                    many => format!(" in tables `{}`", many.join("`, `")),
                };
                let d = at(error::COLUMN_NOT_FOUND, whole, format!("column `{name}` not found{place}"), "not found");
                let columns = self.scope.column_names().map(|n| (n, self.scope.type_of(n)));
                self.pass.errors.push(suggest(d, parts[0], columns));
            }
        }
    }

    fn function(&mut self, e: &mut sql::Expr) {
        let span = self.span(e);
        let sql::Expr::Function(f) = e else { return };
        let written = f.name.to_string();
        if f.name.0.last().and_then(|p| p.as_ident()).is_some_and(|i| i.value.starts_with('$')) {
            return;
        }
        let name = written.trim_matches('`').to_lowercase();
        let name_span = f.name.0.first().and_then(|p| dsl::span_of(self.pass.source, p.span())).unwrap_or(span);
        if f.over.is_some() {
            self.pass.refuse_in_stream("OVER", span);
        }
        if f.null_treatment.is_some() {
            self.pass.refuse("IGNORE NULLS or RESPECT NULLS", span);
        }
        if !f.within_group.is_empty() {
            self.pass.refuse("WITHIN GROUP", span);
        }
        if let sql::FunctionArguments::List(list) = &f.args {
            if !list.clauses.is_empty() {
                self.pass.refuse(format!("this clause in {}", written.to_uppercase()), span);
            }
            if list.args.iter().any(|a| !matches!(a, sql::FunctionArg::Unnamed(_))) {
                self.pass.refuse("a named argument", span);
            }
            let stars = |a: &sql::FunctionArg| {
                matches!(
                    a,
                    sql::FunctionArg::Unnamed(
                        sql::FunctionArgExpr::Wildcard | sql::FunctionArgExpr::WildcardWithOptions(_)
                    )
                )
            };
            if name == "count"
                && (list.args.is_empty() || (list.duplicate_treatment.is_some() && list.args.iter().any(stars)))
            {
                let d = at(error::BAD_ARGUMENTS, span, "COUNT takes * alone, or an expression", "");
                self.pass.errors.push(d.with_help("write COUNT(*), COUNT(x) or COUNT(DISTINCT x)"));
            }
            if list.duplicate_treatment == Some(sql::DuplicateTreatment::Distinct) && list.args.len() > 1 {
                self.pass.refuse(format!("{}(DISTINCT …) of several columns", written.to_uppercase()), span);
            }
        }
        match self.pass.context.functions.kind(&name) {
            Some(Kind::Aggregate) if matches!(self.place, Place::Scalar | Place::GroupBy) => {
                let message = format!("the aggregate {} cannot stand here", written.to_uppercase());
                self.pass.errors.push(
                    at(error::BAD_EXPRESSION, span, message, "aggregate")
                        .with_help("aggregates stand in SELECT and HAVING; filter groups with HAVING"),
                );
            }
            Some(Kind::BatchAggregate) if self.pass.streaming() => {
                self.pass.refuse_in_stream(format!("the aggregate {}", written.to_uppercase()), name_span);
            }
            Some(Kind::Scalar | Kind::Aggregate | Kind::BatchAggregate) => {}
            Some(Kind::Window) if f.over.is_some() => {}
            Some(Kind::Window) if PLAIN_AGGREGATES.contains(&name.as_str()) => {
                let what = format!("the aggregate {} without OVER", written.to_uppercase());
                self.pass.errors.push(
                    unsupported(what, name_span).with_help(
                        "MIN and MAX do not depend on the order of rows; MIN(ts) says when the first row came",
                    ),
                );
            }
            _ if is_group_window(&name) => self.pass.refuse_window(&written, name_span),
            Some(Kind::Window) => {
                let message = format!("{} needs OVER (…)", written.to_uppercase());
                self.pass.errors.push(at(error::BAD_EXPRESSION, span, message, "no OVER"));
            }
            Some(Kind::FlinkOnly) => self.pass.refuse(format!("the function {}", written.to_uppercase()), name_span),
            None => {
                let message = format!("function {} not found", written.to_uppercase());
                let d = at(error::FUNCTION_NOT_FOUND, name_span, message, "not found");
                let names = self.pass.context.functions.names();
                let near = dflow_common::suggest::nearest(&name, names).map(str::to_uppercase);
                self.pass.errors.push(match near {
                    Some(near) => d.with_help(format!("did you mean {near}?")),
                    None => d,
                });
            }
        }
    }

    /// `EXTRACT(unit FROM t)` as a function of two arguments.
    fn extract(&mut self, e: &mut sql::Expr) {
        let span = self.span(e);
        let sql::Expr::Extract { field, expr, .. } = e else { return };
        if self.pass.context.functions.kind("extract") != Some(Kind::Scalar) {
            return self.pass.refuse("EXTRACT", span);
        }
        let unit = sql::Expr::value(sql::Value::SingleQuotedString(field.to_string().to_uppercase()));
        let inner = std::mem::replace(expr.as_mut(), sql::Expr::value(sql::Value::Null));
        *e = call("extract", vec![unit, inner]);
    }

    /// `FLOOR(t TO unit)` and `CEIL(t TO unit)` as functions of two arguments.
    fn rounding(&mut self, e: &mut sql::Expr) {
        let span = self.span(e);
        let (name, expr, field) = match e {
            sql::Expr::Ceil { expr, field } => ("ceil", expr, field),
            sql::Expr::Floor { expr, field } => ("floor", expr, field),
            _ => return,
        };
        let unit = match field {
            sql::CeilFloorKind::DateTimeField(sql::DateTimeField::NoDateTime) => None,
            sql::CeilFloorKind::DateTimeField(unit) => Some(unit.to_string().to_uppercase()),
            sql::CeilFloorKind::Scale(_) => {
                return self.pass.refuse(format!("{} with a scale", name.to_uppercase()), span);
            }
        };
        let inner = std::mem::replace(expr.as_mut(), sql::Expr::value(sql::Value::Null));
        *e = match unit {
            None => call(name, vec![inner]),
            Some(unit) => {
                let to = format!("${name}_to");
                if self.pass.context.functions.kind(&to) != Some(Kind::Scalar) {
                    self.pass.refuse(format!("{}(… TO unit)", name.to_uppercase()), span);
                }
                call(&to, vec![inner, sql::Expr::value(sql::Value::SingleQuotedString(unit))])
            }
        };
    }

    /// `LIKE`: without ESCAPE nothing is escaped; DataFusion's `\\` escapes, so patterns are written for it.
    fn like(&mut self, e: &mut sql::Expr) {
        let span = self.span(e);
        let sql::Expr::Like { pattern, escape_char, any, .. } = e else { return };
        if *any {
            return self.pass.refuse_foreign(&[(true, "LIKE ANY")], span);
        }
        let escape = match escape_char.take().map(|v| v.value.into_string()) {
            None => None,
            Some(text) => match text.as_deref().map(|t| (t.chars().next(), t.chars().count())) {
                Some((Some(c), 1)) => Some(c),
                _ => return self.pass.refuse("ESCAPE with other than one character", span),
            },
        };
        let literal = match pattern.as_ref() {
            sql::Expr::Value(v) => v.value.clone().into_string(),
            _ => None,
        };
        match literal {
            Some(text) => match crate::functions::like_pattern(&text, escape) {
                Some(text) => **pattern = sql::Expr::value(sql::Value::SingleQuotedString(text)),
                None => {
                    let message =
                        format!("in the pattern '{text}' the escape character stands before no `%`, `_` or itself");
                    self.pass.errors.push(at(error::BAD_EXPRESSION, span, message, "this pattern"));
                }
            },
            None if escape.is_some() => self.pass.refuse("ESCAPE for a pattern that is not a literal", span),
            None => {
                let text = |t: &str| sql::Expr::value(sql::Value::SingleQuotedString(t.to_owned()));
                let inner = std::mem::replace(pattern.as_mut(), text(""));
                **pattern = call("replace", vec![inner, text("\\"), text("\\\\")]);
            }
        }
    }

    /// What sqlparser reads and nothing behind it handles as Flink does.
    fn refuse_expr(&mut self, e: &sql::Expr) {
        let span = self.span(e);
        match e {
            sql::Expr::SimilarTo { .. } => self.pass.refuse("SIMILAR TO", span),
            sql::Expr::Tuple(_) => self.pass.refuse("a row value (a, b)", span),
            sql::Expr::Overlay { .. } => self.pass.refuse("OVERLAY", span),
            sql::Expr::GroupingSets(_) | sql::Expr::Cube(_) | sql::Expr::Rollup(_) => {}
            sql::Expr::AnyOp { .. } | sql::Expr::AllOp { .. } => self.pass.refuse("ANY, SOME and ALL", span),
            sql::Expr::IsNormalized { .. }
            | sql::Expr::ILike { .. }
            | sql::Expr::RLike { .. }
            | sql::Expr::InUnnest { .. }
            | sql::Expr::Convert { .. }
            | sql::Expr::AtTimeZone { .. }
            | sql::Expr::Collate { .. }
            | sql::Expr::Struct { .. }
            | sql::Expr::Named { .. }
            | sql::Expr::Dictionary(_)
            | sql::Expr::Map(_)
            | sql::Expr::MatchAgainst { .. }
            | sql::Expr::OuterJoin(_)
            | sql::Expr::Prior(_)
            | sql::Expr::MemberOf(_)
            | sql::Expr::JsonAccess { .. }
            | sql::Expr::Prefixed { .. } => self.pass.refuse_foreign(&[(true, "this expression")], span),
            _ => {}
        }
    }
}

/// What Flink computes over groups too, and DataFusion's library has as functions with OVER only.
const PLAIN_AGGREGATES: &[&str] = &["first_value", "last_value"];

/// `TUMBLE(…)` and its like in GROUP BY, and what reads their ends.
fn is_group_window(name: &str) -> bool {
    let base = ["_start", "_end", "_rowtime", "_proctime"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
    matches!(base, "tumble" | "hop" | "session")
}

fn is_pseudo(f: &sql::Function) -> bool {
    let name = f.name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.as_str());
    matches!(name, Some(dsl::MAP_CONSTRUCTOR | dsl::IS_JSON | dsl::MODEL_ARG | dsl::TABLE_ARG))
}

fn suggest<'a>(
    d: dflow_common::Diagnostic,
    name: &str,
    columns: impl Iterator<Item = (&'a str, Option<&'a SqlType>)>,
) -> dflow_common::Diagnostic {
    let columns: Vec<_> = columns.collect();
    match dflow_common::suggest::nearest(name, columns.iter().map(|(n, _)| *n)) {
        Some(near) => {
            let ty = columns.iter().find(|(n, _)| *n == near).and_then(|(_, t)| *t);
            let ty = ty.map(|t| format!(" ({t})")).unwrap_or_default();
            d.with_help(format!("did you mean `{near}`{ty}?"))
        }
        None => did_you_mean(d, name, []),
    }
}

fn native_cast(expr: sql::Expr, data_type: sql::DataType) -> sql::Expr {
    sql::Expr::Cast { kind: sql::CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

fn function(name: &str, args: sql::FunctionArguments) -> sql::Function {
    sql::Function {
        name: sql::ObjectName::from(vec![quoted(name)]),
        uses_odbc_syntax: false,
        parameters: sql::FunctionArguments::None,
        args,
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    }
}

fn call(name: &str, args: Vec<sql::Expr>) -> sql::Expr {
    let args = args.into_iter().map(|e| sql::FunctionArg::Unnamed(sql::FunctionArgExpr::Expr(e))).collect();
    sql::Expr::Function(function(
        name,
        sql::FunctionArguments::List(sql::FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
    ))
}

/// `('1 02:30', DAY, MINUTE)` as `'95400000 milliseconds'`, `('1-2', YEAR, MONTH)` as `'14 months'`.
fn interval_total(text: &str, leading: &str, last: Option<String>) -> Option<String> {
    let (negative, body) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let sign = if negative { "-" } else { "" };
    let months = |unit: &str| match unit {
        "YEAR" => Some(12i64),
        "QUARTER" => Some(3),
        "MONTH" => Some(1),
        _ => None,
    };
    if let Some(factor) = months(leading) {
        let total = match (last.as_deref(), body.split_once('-')) {
            (Some("MONTH"), Some((y, m))) => y.parse::<i64>().ok()?.checked_mul(12)?.checked_add(m.parse().ok()?)?,
            (None, None) => body.parse::<i64>().ok()?.checked_mul(factor)?,
            _ => return None,
        };
        return Some(format!("{sign}{total} months"));
    }
    const UNITS: [(&str, i64); 5] =
        [("WEEK", 604_800_000), ("DAY", 86_400_000), ("HOUR", 3_600_000), ("MINUTE", 60_000), ("SECOND", 1_000)];
    let from = UNITS.iter().position(|(u, _)| *u == leading)?;
    let to = match &last {
        Some(last) => UNITS.iter().position(|(u, _)| u == last)?,
        None => from,
    };
    let parts: Vec<&str> = body.split([' ', ':']).filter(|p| !p.is_empty()).collect();
    if to < from || parts.len() != to - from + 1 {
        return None;
    }
    let mut total = 0i64;
    for (part, (unit, factor)) in parts.iter().zip(&UNITS[from..=to]) {
        let (whole, fraction) = part.split_once('.').map_or((*part, ""), |(w, f)| (w, f));
        if !fraction.is_empty() && *unit != "SECOND" {
            return None;
        }
        let millis: i64 = if fraction.is_empty() { 0 } else { format!("{fraction:0<3}").get(..3)?.parse().ok()? };
        total = total.checked_add(whole.parse::<i64>().ok()?.checked_mul(*factor)?.checked_add(millis)?)?;
    }
    Some(format!("{sign}{total} milliseconds"))
}

#[cfg(test)]
mod tests {
    use super::interval_total;

    #[test]
    fn intervals_of_several_units_are_one_number() {
        let total = |text, leading, last: Option<&str>| interval_total(text, leading, last.map(str::to_owned));
        assert_eq!(total("1-2", "YEAR", Some("MONTH")).as_deref(), Some("14 months"));
        assert_eq!(total("10", "MINUTE", None).as_deref(), Some("600000 milliseconds"));
        assert_eq!(total("-1 02:30", "DAY", Some("MINUTE")).as_deref(), Some("-95400000 milliseconds"));
        assert_eq!(total("1.5", "SECOND", None).as_deref(), Some("1500 milliseconds"));
        assert_eq!(total("1", "QUARTER", None).as_deref(), Some("3 months"));
        for (text, leading, last) in
            [("x", "DAY", None), ("1:2", "HOUR", None), ("1-2", "YEAR", None), ("1.5", "DAY", None)]
        {
            assert_eq!(total(text, leading, last), None, "{text}");
        }
    }
}
