//! INSERT: the query's columns become the sink's, position by position, with Flink's implicit casts only.
//!
//! ```text
//! INSERT INTO t PARTITION (day = '2026-01-01') (id, total) SELECT k, SUM(v) …      t (id BIGINT NOT NULL, total DECIMAL(10, 2), note STRING, day STRING)
//!   id    <- k        INT -> BIGINT: widening, cast
//!   total <- SUM(v)   DECIMAL(38, 2) -> DECIMAL(10, 2): cast, NULL on overflow
//!   note  <- NULL     not in the list
//!   day   <- '2026-01-01'
//! ```
//! In front of a table stands a check of NOT NULL and lengths; in front of a keyed one, or where `-U +U` pairs are
//! shown, a consolidation per key.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use dflow_common::{Diagnostic, Span, SqlType, TypeKind};
use dflow_connector_api::{ChangelogSupport, RawOption};
use dflow_dsl::ast as dsl;

use crate::bind::{Binder, Functions, blame};
use crate::catalog::{Column, ColumnSource, Table};
use crate::error::{self, Errors, Result, at, unsupported};
use crate::lint;
use crate::rel::convert::{Converter, Fragment, FragmentColumn};
use crate::rel::props::{Kind, derive};
use crate::rel::{Field, NodeId, Op, Rel, Target};

/// Where each persisted column of a sink gets its value from.
#[derive(Clone, Debug)]
pub(crate) enum Feed {
    /// The query's column of this number.
    Query(usize),
    /// A constant of the PARTITION clause.
    Constant(Expr),
    /// Not in the column list.
    Null,
}

/// A checked INSERT.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    pub(crate) table: Arc<Table>,
    pub(crate) options: Vec<RawOption>,
    /// One per persisted column.
    pub(crate) feeds: Vec<Feed>,
    pub(crate) on_conflict: Option<dsl::OnConflict>,
    /// The sink's name in the statement.
    pub(crate) span: Span,
}

/// Checks the columns of an INSERT; also returns what is allowed and probably not meant.
///
/// # Errors
/// All columns that do not fit.
pub(crate) fn map(
    binder: &Binder<'_>,
    insert: &dsl::Insert,
    table: &Arc<Table>,
    options: Vec<RawOption>,
    query: &[(String, SqlType)],
) -> Result<(Mapping, Vec<Diagnostic>)> {
    let mut errors = Vec::new();
    let persisted = table.persisted();
    let mut constants: Vec<(usize, Expr)> = Vec::new();
    for (name, value) in insert.partition.iter().flat_map(|p| &p.entries) {
        let found = table.index_of(&name.value).filter(|i| table.partition_keys.contains(i));
        let Some(i) = found else {
            let message = format!("`{}` is not a partition column of `{}`", name.value, table.id.name);
            errors.push(at(error::SINK_COLUMN, name.span, message, "not a partition column"));
            continue;
        };
        let Some(value) = value else { continue };
        match binder.expression(value, &[]) {
            Ok(bound) => {
                let cast = binder.context.functions.cast_to(&table.columns[i].ty);
                constants.push((i, cast.call(vec![bound.expr])));
            }
            Err(e) => errors.extend(e.into_diagnostics()),
        }
    }
    let free: Vec<usize> = persisted.iter().copied().filter(|i| constants.iter().all(|(c, _)| c != i)).collect();
    let targets = targets(insert, table, &free, &mut errors);
    if let Some(errors) = Errors::from_list(std::mem::take(&mut errors)) {
        return Err(errors);
    }
    let place = |i: usize| blame::column(&insert.query, i, binder.context.sources);
    if targets.len() != query.len() {
        return Err(wrong_count(insert, table, &targets, query, place(targets.len())).into());
    }
    for (i, (t, (name, ty))) in targets.iter().zip(query).enumerate() {
        let column = &table.columns[*t];
        if !implicit(ty, &column.ty) {
            let message =
                format!("column `{}` of `{}` is {}, the query gives {ty}", column.name, table.id.name, column.ty);
            errors.push(
                at(error::SINK_COLUMN_TYPE, place(i), message, format!("its column `{name}`"))
                    .with_label(column.span, format!("declared {}", column.ty))
                    .with_help(format!("write CAST({name} AS {})", column.ty.clone().with_nullable(true))),
            );
        } else if ty.kind == TypeKind::Null && !column.ty.nullable {
            let message = format!("column `{}` of `{}` is NOT NULL, the query gives NULL", column.name, table.id.name);
            errors.push(at(error::SINK_NOT_NULL, place(i), message, "always NULL").with_label(column.span, ""));
        }
    }
    let pairs: Vec<(&str, &Column)> =
        targets.iter().zip(query).map(|(t, (name, _))| (name.as_str(), &table.columns[*t])).collect();
    let zones = query.iter().zip(&pairs).enumerate();
    let warnings: Vec<Diagnostic> =
        zones.filter_map(|(i, ((_, ty), (_, column)))| lint::zone(ty, column, place(i))).take(1).collect();
    // Who lists the columns has thought of their order.
    let swapped = insert.columns.is_empty().then(|| lint::positions(&pairs, place)).flatten();
    let warnings = warnings.into_iter().chain(swapped).collect();
    let feeds: Vec<Feed> = persisted
        .iter()
        .map(|i| match (targets.iter().position(|t| t == i), constants.iter().find(|(c, _)| c == i)) {
            (Some(q), _) => Feed::Query(q),
            (None, Some((_, e))) => Feed::Constant(e.clone()),
            (None, None) => Feed::Null,
        })
        .collect();
    for (i, feed) in persisted.iter().zip(&feeds) {
        let column = &table.columns[*i];
        if matches!(feed, Feed::Null) && !column.ty.nullable {
            let message = format!("column `{}` of `{}` is NOT NULL and not in the list", column.name, table.id.name);
            errors.push(
                at(error::SINK_NOT_NULL, insert.table.span, message, "would always be NULL")
                    .with_label(column.span, "declared here"),
            );
        }
    }
    match Errors::from_list(errors) {
        Some(errors) => Err(errors),
        None => {
            let (table, span) = (table.clone(), insert.table.span);
            Ok((Mapping { table, options, feeds, on_conflict: insert.on_conflict, span }, warnings))
        }
    }
}

/// A query of more or fewer columns than its sink takes. `surplus` is the place of the first that is too many.
fn wrong_count(
    insert: &dsl::Insert,
    table: &Table,
    targets: &[usize],
    query: &[(String, SqlType)],
    surplus: Span,
) -> Diagnostic {
    let count = |n: usize| if n == 1 { "1 column".to_owned() } else { format!("{n} columns") };
    let target = |i: &usize| table.columns[*i].name.as_str();
    let (given, taken) = (query.len(), targets.len());
    let message = format!("the query has {}, the sink `{}` takes {taken}", count(given), table.id.name);
    let (place, label) = match (query.get(taken), targets.get(given)) {
        (Some((name, _)), _) => (surplus, format!("`{name}` is one too many")),
        (_, Some(missing)) => (insert.query.span, format!("nothing for column `{}`", target(missing))),
        (None, None) => (insert.query.span, count(given)),
    };
    let names = |all: Vec<&str>| all.join(", ");
    let d = at(error::SINK_COLUMN_COUNT, place, message, label)
        .with_label(insert.table.span, count(taken))
        .with_note(format!("query: {}", names(query.iter().map(|(n, _)| n.as_str()).collect())))
        .with_note(format!("sink: {}", names(targets.iter().map(target).collect())));
    match given < taken && insert.columns.is_empty() {
        true => d.with_help(format!(
            "list the columns that are written, the others become NULL: INSERT INTO {} ({}) …",
            insert.table,
            names(targets.iter().take(given).map(target).collect())
        )),
        false => d,
    }
}

/// The columns the query's columns go to, in order.
fn targets(insert: &dsl::Insert, table: &Table, free: &[usize], errors: &mut Vec<Diagnostic>) -> Vec<usize> {
    if insert.columns.is_empty() {
        return free.to_vec();
    }
    let mut targets = Vec::new();
    for parts in &insert.columns {
        let [name] = parts.as_slice() else {
            if let Some((first, last)) = parts.first().zip(parts.last()) {
                errors.push(unsupported("a field of a ROW in the column list", first.span.join(last.span)));
            }
            continue;
        };
        let d = match table.index_of(&name.value) {
            Some(i) if targets.contains(&i) => {
                at(error::SINK_COLUMN, name.span, format!("column `{}` is listed twice", name.value), "again")
            }
            Some(i) if free.contains(&i) => {
                targets.push(i);
                continue;
            }
            Some(i) => {
                let why = match &table.columns[i].source {
                    ColumnSource::Computed { .. } => "a computed column",
                    ColumnSource::Metadata { .. } => "a read-only metadata column",
                    ColumnSource::Physical => "set by PARTITION",
                };
                at(error::SINK_COLUMN, name.span, format!("column `{}` cannot be written", name.value), why)
            }
            None => {
                let message = format!("column `{}` not found in `{}`", name.value, table.id.name);
                let d = at(error::SINK_COLUMN, name.span, message, "not found");
                error::did_you_mean(d, &name.value, free.iter().map(|i| table.columns[*i].name.as_str()))
            }
        };
        errors.push(d);
    }
    targets
}

/// Whether Flink casts without being asked.
pub(crate) fn implicit(from: &SqlType, to: &SqlType) -> bool {
    use TypeKind as T;
    match (&from.kind, &to.kind) {
        (T::Null, _) => true,
        (a, b) if a == b => true,
        (T::Char(_) | T::VarChar(_), T::VarChar(_)) | (T::Char(_), T::Char(_)) => true,
        (T::Binary(_) | T::VarBinary(_), T::VarBinary(_)) | (T::Binary(_), T::Binary(_)) => true,
        (a, T::Decimal(..)) => a.is_numeric(),
        (a, T::Double) => a.is_numeric(),
        (a, T::Float) => a.is_numeric() && *a != T::Double,
        (a, b) if a.is_integer() && b.is_integer() => width(a) <= width(b),
        (T::Timestamp(_), T::Date | T::Time(_)) | (T::Time(_), T::Time(_)) => true,
        (T::Timestamp(_) | T::TimestampLtz(_), T::Timestamp(_) | T::TimestampLtz(_)) => true,
        (T::Array(a), T::Array(b)) | (T::Multiset(a), T::Multiset(b)) => implicit(a, b),
        (T::Map(k, v), T::Map(k2, v2)) => implicit(k, k2) && implicit(v, v2),
        (T::Row(a), T::Row(b)) => a.len() == b.len() && a.iter().zip(b).all(|(x, y)| implicit(&x.ty, &y.ty)),
        _ => false,
    }
}

fn width(t: &TypeKind) -> u8 {
    match t {
        TypeKind::TinyInt => 1,
        TypeKind::SmallInt => 2,
        TypeKind::Int => 4,
        _ => 8,
    }
}

/// Puts a mapped query in front of its table: Calc, check, consolidation, sink.
///
/// # Errors
/// A query that the sink cannot take.
pub(crate) fn attach(
    converter: &mut Converter<'_>,
    fragment: Fragment,
    mapping: &Mapping,
    functions: &Functions,
    changelog: &ChangelogSupport,
    statement: Span,
) -> Result<NodeId> {
    let table = &mapping.table;
    let persisted = table.persisted();
    let columns = persisted
        .iter()
        .zip(&mapping.feeds)
        .map(|(i, feed)| {
            let column = &table.columns[*i];
            let (expr, ty) = match feed {
                Feed::Query(q) => {
                    let source = &fragment.columns[*q];
                    let same = source.ty.to_arrow() == column.ty.to_arrow();
                    // A row with NULL is the check's business; the type of the column is the query's until then.
                    let ty = column.ty.clone().with_nullable(source.ty.nullable);
                    match same {
                        true => (source.expr.clone(), ty),
                        false => (functions.cast_to(&column.ty).call(vec![source.expr.clone()]), ty),
                    }
                }
                Feed::Constant(e) => (e.clone(), column.ty.clone()),
                Feed::Null => {
                    let null = ScalarValue::try_from(&column.ty.to_arrow()).unwrap_or(ScalarValue::Null);
                    (Expr::Literal(null, None), column.ty.clone())
                }
            };
            FragmentColumn { name: column.name.clone(), ty, expr }
        })
        .collect();
    let calc = converter.settle(Fragment { columns, ..fragment })?;
    let props = derive(&converter.plan).swap_remove(calc);
    let key: Vec<usize> = table.primary_key.iter().filter_map(|k| persisted.iter().position(|p| p == k)).collect();
    check_changes(mapping, changelog, props.kind, &props.upsert_keys, &key, statement)?;
    let fields: Vec<Field> = persisted
        .iter()
        .map(|i| Field { name: table.columns[*i].name.clone(), ty: table.columns[*i].ty.clone() })
        .collect();
    let push = |converter: &mut Converter<'_>, op: Op, input: NodeId| {
        let rel = &converter.plan.nodes[input];
        let (lineage, rows) = (rel.lineage.clone(), rel.rows.clone());
        converter.plan.push(Rel {
            op,
            inputs: vec![input],
            fields: fields.clone(),
            lineage,
            rows,
            span: Some(mapping.span),
        })
    };
    let mut node = push(converter, Op::SinkEdge(table.clone()), calc);
    let consolidate = match changelog {
        ChangelogSupport::AppendOnly => None,
        ChangelogSupport::Upsert => (!key.is_empty()).then_some(key),
        ChangelogSupport::All => match props.kind {
            Kind::Append => None,
            _ => props.upsert_keys.first().cloned(),
        },
    };
    if let Some(key) = consolidate {
        node = push(converter, Op::Consolidate { key }, node);
    }
    let target = Target::Table { table: table.clone(), options: mapping.options.clone() };
    Ok(push(converter, Op::Sink(target), node))
}

/// Puts a bare SELECT in front of the caller.
pub(crate) fn attach_output(
    converter: &mut Converter<'_>,
    fragment: Fragment,
    number: usize,
    statement: Span,
) -> Result<NodeId> {
    let mut node = converter.settle(fragment)?;
    let props = derive(&converter.plan).swap_remove(node);
    let push = |converter: &mut Converter<'_>, op: Op, input: NodeId| {
        let rel = &converter.plan.nodes[input];
        let (lineage, rows, fields) = (rel.lineage.clone(), rel.rows.clone(), rel.fields.clone());
        converter.plan.push(Rel { op, inputs: vec![input], fields, lineage, rows, span: Some(statement) })
    };
    if let (Kind::Retract | Kind::Upsert, Some(key)) = (props.kind, props.upsert_keys.first()) {
        node = push(converter, Op::Consolidate { key: key.clone() }, node);
    }
    Ok(push(converter, Op::Sink(Target::Output(number)), node))
}

/// Whether the sink can take the changes of the query.
fn check_changes(
    mapping: &Mapping,
    changelog: &ChangelogSupport,
    kind: Kind,
    upsert_keys: &[Vec<usize>],
    key: &[usize],
    statement: Span,
) -> Result<()> {
    let name = &mapping.table.id.name;
    if let Some(conflict) = mapping.on_conflict {
        match conflict.action {
            dsl::ConflictAction::Deduplicate => {}
            dsl::ConflictAction::Nothing => {
                return Err(unsupported("ON CONFLICT DO NOTHING", conflict.span)
                    .with_note("it needs every key that was ever written, and a sink here keeps no state")
                    .with_help(
                        "make the query give one row per key: GROUP BY the sink's key, with MIN or MAX of the rest",
                    )
                    .into());
            }
            dsl::ConflictAction::Error => {
                return Err(unsupported("ON CONFLICT DO ERROR", conflict.span)
                    .with_note("it needs every key that was ever written, and a sink here keeps no state")
                    .with_help(
                        "leave the clause out: a query whose rows the sink's key does not identify is refused (DF2403)",
                    )
                    .into());
            }
        }
    }
    if kind == Kind::Append {
        return Ok(());
    }
    match changelog {
        ChangelogSupport::AppendOnly => Err(at(
            error::SINK_APPEND_ONLY,
            mapping.span,
            format!("`{name}` takes inserts only, but this query updates and deletes rows it has written"),
            "append-only",
        )
        .with_label(statement, "updating query")
        .with_note("GROUP BY and DISTINCT correct earlier results as rows arrive")
        .with_help("write into a sink that takes changes: a format such as 'debezium-json', or a keyed table")
        .into()),
        ChangelogSupport::All => Ok(()),
        ChangelogSupport::Upsert if key.is_empty() => Err(at(
            error::SINK_NO_KEY,
            mapping.span,
            format!("`{name}` updates rows by primary key and has none"),
            "no primary key",
        )
        .with_label(mapping.table.span, "declared here")
        .with_help("add PRIMARY KEY (…) NOT ENFORCED with the columns that identify a row of the query")
        .into()),
        ChangelogSupport::Upsert if upsert_keys.iter().any(|u| u.iter().all(|c| key.contains(c))) => Ok(()),
        ChangelogSupport::Upsert => {
            let persisted = mapping.table.persisted();
            let names = |columns: &[usize]| {
                let all: Vec<_> = columns.iter().map(|c| mapping.table.columns[persisted[*c]].name.as_str()).collect();
                format!("({})", all.join(", "))
            };
            let query = match upsert_keys.first() {
                Some(u) => format!("the query's rows are identified by {}", names(u)),
                None => "the query's rows have no key".to_owned(),
            };
            Err(at(
                error::SINK_KEY,
                mapping.span,
                format!("the primary key {} of `{name}` does not identify the query's rows", names(key)),
                "another key",
            )
            .with_label(mapping.table.span, "declared here")
            .with_note(query)
            .with_note("several rows of the query may have one key of the sink; which of them stays would be chance")
            .with_help("make the columns that identify the query's rows the primary key of the sink")
            .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ty(text: &str) -> SqlType {
        dflow_dsl::types::parse_type(dflow_common::SourceId(0), text).unwrap()
    }

    #[test]
    fn only_widening_is_implicit() {
        for (from, to) in [
            ("INT", "BIGINT"),
            ("INT", "DECIMAL(5, 2)"),
            ("BIGINT", "DOUBLE"),
            ("CHAR(3)", "STRING"),
            ("STRING", "VARCHAR(3)"),
            ("TIMESTAMP(3)", "TIMESTAMP_LTZ(3)"),
            ("TIMESTAMP(3)", "DATE"),
            ("ARRAY<INT>", "ARRAY<BIGINT>"),
            ("ROW<a INT>", "ROW<b BIGINT>"),
        ] {
            assert!(implicit(&ty(from), &ty(to)), "{from} -> {to}");
        }
        for (from, to) in [
            ("BIGINT", "INT"),
            ("INT", "STRING"),
            ("STRING", "BIGINT"),
            ("DOUBLE", "FLOAT"),
            ("STRING", "CHAR(3)"),
            ("DATE", "TIMESTAMP(3)"),
            ("STRING", "BYTES"),
            ("ROW<a INT>", "ROW<a INT, b INT>"),
        ] {
            assert!(!implicit(&ty(from), &ty(to)), "{from} -> {to}");
        }
    }
}
