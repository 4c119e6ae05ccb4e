//! LogicalPlan to [`Plan`].
//!
//! Projections and filters do not become nodes at once: they collect in a [`Fragment`], and only an operator that needs
//! real rows (an aggregate, a union, a sink) turns the fragment into one Calc. So any tower of views and subqueries is one
//! fused Calc, whatever its aliases are.
//!
//! ```text
//! SELECT k, count(*) FROM (SELECT upper(name) AS k FROM t WHERE v > 1) GROUP BY k
//! fragment over Source t:  [name, v]  ->  filter v > 1  ->  [upper(name)]      = Calc(v > 1; upper(name))
//! ```

use std::sync::Arc;

use datafusion::common::{DFSchema, DataFusionError, ScalarValue};
use datafusion::logical_expr::expr::AggregateFunction as DfAggregate;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, ExprSchemable, LogicalPlan, TableScan};
use dflow_common::{Span, SqlType, TypeKind};
use dflow_connector_api::{FieldMask, SourceChangelog};

use super::expr::{self, column, replace_columns};
use super::fingerprint;
use super::{Call, Field, NodeId, Op, Plan, Rel, SourceOp};
use crate::bind::context::{PlannedTable, planned_table};
use crate::bind::{aggregates, types};
use crate::catalog::ColumnSource;
use crate::error::{self, Errors, Result, at, unsupported};
use crate::operators::hash_agg::AggregateFunction;
use crate::session::merge_options;

/// What conversion asks about connectors: which changes a table delivers.
pub(crate) trait Sources {
    /// Opens the source and says.
    fn changelog(&self, source: &PlannedTable) -> Result<SourceChangelog>;

    /// Which data a table is, as frozen text.
    fn identity(&self, table: &crate::catalog::Table, options: &[dflow_connector_api::RawOption]) -> String;
}

/// A column of a fragment.
#[derive(Clone, Debug)]
pub(crate) struct FragmentColumn {
    pub(crate) name: String,
    pub(crate) ty: SqlType,
    /// Over the columns of the input node.
    pub(crate) expr: Expr,
}

/// Projections and filters over a node.
#[derive(Clone, Debug)]
pub(crate) struct Fragment {
    pub(crate) input: NodeId,
    pub(crate) predicate: Vec<Expr>,
    pub(crate) columns: Vec<FragmentColumn>,
}

/// Converts the queries of one job into one plan.
pub(crate) struct Converter<'a> {
    pub(crate) plan: Plan,
    sources: &'a dyn Sources,
    /// Normalise change sources with a key even when they deliver full rows.
    cdc_events_duplicate: bool,
    /// The statement that is being converted.
    statement: Span,
}

impl<'a> Converter<'a> {
    pub(crate) fn new(sources: &'a dyn Sources, cdc_events_duplicate: bool, statement: Span) -> Self {
        Self { plan: Plan::default(), sources, cdc_events_duplicate, statement }
    }

    /// Converts a query; `statement` is the place for what has none of its own.
    ///
    /// # Errors
    /// What a stream cannot do, by name.
    pub(crate) fn query(&mut self, plan: &LogicalPlan, statement: Span) -> Result<Fragment> {
        self.statement = statement;
        self.fragment(plan)
    }

    fn internal(&self, e: &DataFusionError) -> Errors {
        at(error::BAD_QUERY, self.statement, e.strip_backtrace(), "").into()
    }

    fn fragment(&mut self, plan: &LogicalPlan) -> Result<Fragment> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(a) => self.fragment(&a.input),
            LogicalPlan::Projection(p) => {
                let input = self.fragment(&p.input)?;
                let input = self.settle_volatile(input, &p.expr, p.input.schema())?;
                let mut columns = Vec::with_capacity(p.expr.len());
                for (e, field) in p.expr.iter().zip(p.schema.fields()) {
                    let ty = self.type_of(e, p.input.schema(), &input)?;
                    let expr = self.resolve(e, p.input.schema(), &input)?;
                    columns.push(FragmentColumn { name: field.name().clone(), ty, expr });
                }
                Ok(Fragment { columns, ..input })
            }
            LogicalPlan::Filter(f) => {
                let input = self.fragment(&f.input)?;
                let mut input = self.settle_volatile(input, std::slice::from_ref(&f.predicate), f.input.schema())?;
                let predicate = self.resolve(&f.predicate, f.input.schema(), &input)?;
                input.predicate.push(predicate);
                Ok(input)
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let fragment = self.fragment(input)?;
                self.distinct(fragment)
            }
            LogicalPlan::Union(u) => {
                let inputs = u.inputs.iter().map(|i| self.fragment(i)).collect::<Result<Vec<_>>>()?;
                self.union(inputs, &u.schema)
            }
            LogicalPlan::Aggregate(a) => self.aggregate(a),
            LogicalPlan::EmptyRelation(e) => {
                let rows = if e.produce_one_row { vec![vec![]] } else { vec![] };
                self.values(rows, &e.schema)
            }
            LogicalPlan::Values(v) => self.values(v.values.clone(), &v.schema),
            LogicalPlan::Join(_) => Err(Errors::from(unsupported("JOIN in a stream", self.statement))),
            LogicalPlan::Window(_) => Err(Errors::from(unsupported("OVER in a stream", self.statement))),
            LogicalPlan::Sort(_) => Err(Errors::from(unsupported("ORDER BY in a stream", self.statement))),
            LogicalPlan::Limit(_) => Err(Errors::from(unsupported("LIMIT in a stream", self.statement))),
            other => {
                let what = other.display().to_string();
                let what = what.split([':', ' ']).next().unwrap_or("this operator").to_owned();
                Err(Errors::from(unsupported(format!("{what} in a stream"), self.statement)))
            }
        }
    }

    /// Source, watermark and computed columns of a table.
    fn scan(&mut self, scan: &TableScan) -> Result<Fragment> {
        let Some(planned) = planned_table(&scan.source) else {
            return Err(Errors::from(unsupported("this table in a stream", self.statement)));
        };
        let planned = planned.clone();
        let table = planned.table.clone();
        let changelog = self.sources.changelog(&planned)?;
        let (schema, indices) = table.connector_schema();
        let options = merge_options(&table.options, &planned.hint);
        let rows = fingerprint::source(&self.sources.identity(&table, &options));
        let fields: Vec<Field> =
            schema.columns.iter().map(|c| Field { name: c.name.clone(), ty: c.ty.clone() }).collect();
        let lineage = fields.iter().map(|f| format!("{rows}.{}", f.name)).collect();
        let op = Op::Source(Box::new(SourceOp {
            table: table.clone(),
            options: options.clone(),
            projection: (0..fields.len()).collect(),
            masks: vec![FieldMask::All; fields.len()],
            predicate: None,
            changelog,
        }));
        let shared = |r: &Rel| match &r.op {
            // A table that was dropped and created again has its name, and may have nothing else.
            Op::Source(s) => Arc::ptr_eq(&s.table, &table) && same_options(&s.options, &options),
            _ => false,
        };
        let mut node = self.share(shared, || Rel {
            op,
            inputs: vec![],
            fields: fields.clone(),
            lineage,
            rows,
            span: Some(planned.span),
        });
        // A table's column by its name, over the source's columns.
        let of_table = |c: &datafusion::common::Column| -> datafusion::common::Result<Expr> {
            let i = table
                .index_of(&c.name)
                .ok_or_else(|| DataFusionError::Internal(format!("column {} of {} is gone", c.name, table.id)))?;
            match &table.columns[i].source {
                ColumnSource::Computed { expr, .. } => replace_columns((**expr).clone(), &|c| {
                    let i = table.index_of(&c.name).and_then(|i| indices.iter().position(|k| *k == i));
                    Ok(column(i.unwrap_or_default()))
                }),
                _ => Ok(column(indices.iter().position(|k| *k == i).unwrap_or_default())),
            }
        };
        if let Some(w) = &table.watermark {
            let e = replace_columns((*w.expr).clone(), &of_table).map_err(|e| self.internal(&e))?;
            let input = &self.plan.nodes[node];
            let rel = Rel {
                op: Op::Watermark { expr: e, column: table.columns[w.column].name.clone() },
                inputs: vec![node],
                fields: input.fields.clone(),
                lineage: input.lineage.clone(),
                rows: input.rows.clone(),
                span: Some(w.span),
            };
            node = self.share(|r| matches!(r.op, Op::Watermark { .. }) && r.inputs == [node], || rel);
        }
        let key: Vec<usize> = table.primary_key.iter().filter_map(|k| indices.iter().position(|i| i == k)).collect();
        let normalise = match changelog {
            SourceChangelog::Append => false,
            SourceChangelog::Retract => self.cdc_events_duplicate && !key.is_empty(),
            SourceChangelog::Upsert => true,
        };
        if normalise {
            if key.is_empty() {
                return Err(Errors::from(
                    at(error::BAD_KEY_COLUMN, planned.span, "an upsert source needs a primary key", "read here")
                        .with_label(table.span, "declared here")
                        .with_help("add PRIMARY KEY (…) NOT ENFORCED to the table"),
                ));
            }
            let input = &self.plan.nodes[node];
            let (hash, lineage) = fingerprint::normalized(input, &key);
            let rel = Rel {
                op: Op::Normalize { key },
                inputs: vec![node],
                fields: input.fields.clone(),
                lineage,
                rows: hash,
                span: Some(planned.span),
            };
            node = self.share(|r| matches!(r.op, Op::Normalize { .. }) && r.inputs == [node], || rel);
        }
        let wanted: Vec<usize> = match &scan.projection {
            Some(p) => p.clone(),
            None => (0..table.columns.len()).collect(),
        };
        let columns = wanted
            .into_iter()
            .map(|i| {
                let c = &table.columns[i];
                let name = datafusion::common::Column::new_unqualified(c.name.clone());
                let expr = of_table(&name).map_err(|e| self.internal(&e))?;
                Ok(FragmentColumn { name: c.name.clone(), ty: c.ty.clone(), expr })
            })
            .collect::<Result<_>>()?;
        Ok(Fragment { input: node, predicate: vec![], columns })
    }

    /// The node like this one that is there already, or a new one.
    fn share(&mut self, same: impl Fn(&Rel) -> bool, new: impl FnOnce() -> Rel) -> NodeId {
        match self.plan.nodes.iter().position(same) {
            Some(id) => id,
            None => self.plan.push(new()),
        }
    }

    /// The SQL type of an expression over a plan's schema.
    fn type_of(&self, e: &Expr, schema: &DFSchema, input: &Fragment) -> Result<SqlType> {
        types::sql_type(e, schema, &|i| input.columns[i].ty.clone()).ok_or_else(|| {
            let place = expr::span(e).unwrap_or(self.statement);
            Errors::from(at(error::BAD_EXPRESSION, place, "the result has a type Flink SQL has no word for", ""))
        })
    }

    /// An expression over a plan's schema as one over the fragment's input node.
    fn resolve(&self, e: &Expr, schema: &DFSchema, input: &Fragment) -> Result<Expr> {
        replace_columns(e.clone(), &|c| {
            let i = schema.index_of_column(c)?;
            let mut found = input.columns[i].expr.clone();
            // The place where the query names the column says more than where a view below it does.
            if let Expr::Column(found) = &mut found
                && c.spans.first().is_some()
            {
                found.spans = c.spans.clone();
            }
            Ok(found)
        })
        .map_err(|e| self.internal(&e))
    }

    /// A value that differs with every evaluation is computed once: before it is used in a second place.
    fn settle_volatile(&mut self, input: Fragment, uses: &[Expr], schema: &DFSchema) -> Result<Fragment> {
        let volatile: Vec<usize> =
            (0..input.columns.len()).filter(|i| expr::is_volatile(&input.columns[*i].expr)).collect();
        let used = uses.iter().any(|e| {
            !matches!(e, Expr::Column(_))
                && e.column_refs().iter().any(|c| schema.index_of_column(c).is_ok_and(|i| volatile.contains(&i)))
        });
        if volatile.is_empty() || !used {
            return Ok(input);
        }
        let node = self.settle(input)?;
        Ok(self.over(node))
    }

    /// A fragment that passes a node's columns on.
    fn over(&self, node: NodeId) -> Fragment {
        let columns = self.plan.nodes[node]
            .fields
            .iter()
            .enumerate()
            .map(|(i, f)| FragmentColumn { name: f.name.clone(), ty: f.ty.clone(), expr: column(i) })
            .collect();
        Fragment { input: node, predicate: vec![], columns }
    }

    /// Turns a fragment into a node: one Calc, or none when it does nothing.
    pub(crate) fn settle(&mut self, fragment: Fragment) -> Result<NodeId> {
        if self.is_identity(&fragment) { Ok(fragment.input) } else { self.settle_as_calc(fragment) }
    }

    fn is_identity(&self, fragment: &Fragment) -> bool {
        let input = &self.plan.nodes[fragment.input];
        fragment.predicate.is_empty()
            && fragment.columns.len() == input.fields.len()
            && fragment.columns.iter().enumerate().all(|(i, c)| expr::as_column(&c.expr) == Some(i))
            && fragment.columns.iter().zip(&input.fields).all(|(c, f)| c.ty == f.ty && c.name == f.name)
    }

    /// Turns a fragment into a Calc of its own, whose columns nobody else decides about.
    fn settle_as_calc(&mut self, fragment: Fragment) -> Result<NodeId> {
        let input = &self.plan.nodes[fragment.input];
        let schema = expr::schema(&input.fields).map_err(|e| self.internal(&e))?;
        let mut exprs = Vec::with_capacity(fragment.columns.len());
        for c in &fragment.columns {
            exprs.push(expr::in_type(c.expr.clone(), &schema, &c.ty).map_err(|e| self.internal(&e))?);
        }
        let predicate = conjunction(fragment.predicate);
        let spans = exprs.iter().chain(&predicate).filter_map(expr::span);
        let span = spans.filter(|s| s.source == self.statement.source).reduce(Span::join).or(Some(self.statement));
        let (rows, lineage) = fingerprint::calc(input, predicate.as_ref(), &exprs);
        let fields = fragment.columns.into_iter().map(|c| Field { name: c.name, ty: c.ty }).collect();
        Ok(self.plan.push(Rel {
            op: Op::Calc { predicate, exprs },
            inputs: vec![fragment.input],
            fields,
            lineage,
            rows,
            span,
        }))
    }

    fn distinct(&mut self, fragment: Fragment) -> Result<Fragment> {
        let node = self.settle(fragment)?;
        let group: Vec<usize> = (0..self.plan.nodes[node].fields.len()).collect();
        let names: Vec<String> = self.plan.nodes[node].fields.iter().map(|f| f.name.clone()).collect();
        let id = self.push_aggregate(node, group, vec![], &names, None);
        Ok(self.over(id))
    }

    fn union(&mut self, inputs: Vec<Fragment>, schema: &DFSchema) -> Result<Fragment> {
        let width = schema.fields().len();
        let mut fields = Vec::with_capacity(width);
        for i in 0..width {
            let all: Vec<&SqlType> = inputs.iter().map(|f| &f.columns[i].ty).collect();
            let nullable = all.iter().any(|t| t.nullable);
            let kind = match all.first() {
                Some(first) if all.iter().all(|t| t.kind == first.kind) => first.kind.clone(),
                // Inputs of several types were coerced to one by the binder.
                _ => SqlType::from_arrow(schema.field(i).data_type()).map_or(TypeKind::Null, |t| t.kind),
            };
            fields.push(Field { name: schema.field(i).name().clone(), ty: SqlType { kind, nullable } });
        }
        let mut nodes = Vec::with_capacity(inputs.len());
        for mut input in inputs {
            for (c, f) in input.columns.iter_mut().zip(&fields) {
                c.name.clone_from(&f.name);
                c.ty = f.ty.clone();
            }
            // All inputs of a union must have the same columns after pruning.
            nodes.push(self.settle_as_calc(input)?);
        }
        let (rows, lineage) = fingerprint::union(&nodes.iter().map(|n| &self.plan.nodes[*n]).collect::<Vec<_>>());
        let node =
            self.plan.push(Rel { op: Op::Union, inputs: nodes, fields, lineage, rows, span: Some(self.statement) });
        Ok(self.over(node))
    }

    fn aggregate(&mut self, a: &Aggregate) -> Result<Fragment> {
        let input = self.fragment(&a.input)?;
        let schema = a.input.schema();
        let mut all: Vec<Expr> = a.group_expr.clone();
        all.extend(a.aggr_expr.iter().cloned());
        let input = self.settle_volatile(input, &all, schema)?;
        let mut pre = PreCalc { columns: Vec::new() };
        let mut group = Vec::new();
        for e in &a.group_expr {
            if matches!(e, Expr::GroupingSet(_)) {
                return Err(Errors::from(unsupported("GROUPING SETS in a stream", self.statement)));
            }
            let ty = self.type_of(e, schema, &input)?;
            let resolved = self.resolve(e, schema, &input)?;
            group.push(pre.add(e.schema_name().to_string(), ty, resolved));
        }
        let mut calls = Vec::new();
        for e in &a.aggr_expr {
            calls.push(self.call(e, schema, &input, &mut pre)?);
        }
        let types = a.aggr_expr.iter().map(|e| self.type_of(e, schema, &input)).collect::<Result<Vec<_>>>()?;
        let span = a.group_expr.iter().chain(&a.aggr_expr).filter_map(expr::span).reduce(Span::join);
        let node = self.settle(Fragment { columns: pre.columns, ..input })?;
        // Group columns that are equal are one; so are calls. The output lists both as the query does.
        let mut keys: Vec<usize> = Vec::new();
        group.iter().for_each(|g| {
            if !keys.contains(g) {
                keys.push(*g)
            }
        });
        let printed = |c: &Call| fingerprint::call(c, &self.plan.nodes[node]);
        let mut sorted: Vec<(String, Call, SqlType)> = Vec::new();
        for (call, ty) in calls.iter().zip(&types) {
            let text = printed(call);
            if sorted.iter().all(|(t, ..)| *t != text) {
                sorted.push((text, call.clone(), ty.clone()));
            }
        }
        // The order of calls is part of the state's layout; that of the query is not.
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let columns: Vec<usize> = group
            .iter()
            .map(|g| keys.iter().position(|k| k == g).unwrap_or_default())
            .chain(calls.iter().map(|c| {
                let text = printed(c);
                keys.len() + sorted.iter().position(|(t, ..)| *t == text).unwrap_or_default()
            }))
            .collect();
        let names: Vec<String> = keys
            .iter()
            .map(|k| self.plan.nodes[node].fields[*k].name.clone())
            .chain(sorted.iter().map(|(_, c, _)| call_name(c, &self.plan.nodes[node].fields)))
            .collect();
        let id = self.push_aggregate(node, keys, sorted.into_iter().map(|(_, c, t)| (c, t)).collect(), &names, span);
        let schema = &a.schema;
        let columns = columns
            .into_iter()
            .enumerate()
            .map(|(i, at)| FragmentColumn {
                name: schema.field(i).name().clone(),
                ty: self.plan.nodes[id].fields[at].ty.clone(),
                expr: column(at),
            })
            .collect();
        Ok(Fragment { input: id, predicate: vec![], columns })
    }

    fn push_aggregate(
        &mut self,
        node: NodeId,
        group: Vec<usize>,
        calls: Vec<(Call, SqlType)>,
        names: &[String],
        span: Option<Span>,
    ) -> NodeId {
        let input = &self.plan.nodes[node];
        let mut types: Vec<SqlType> = group.iter().map(|g| input.fields[*g].ty.clone()).collect();
        types.extend(calls.iter().map(|(_, t)| t.clone()));
        let calls: Vec<Call> = calls.into_iter().map(|(c, _)| c).collect();
        let (rows, lineage) = fingerprint::aggregate(input, &group, &calls);
        let fields = names.iter().zip(types).map(|(n, ty)| Field { name: n.clone(), ty }).collect();
        self.plan.push(Rel {
            op: Op::Aggregate { group, calls },
            inputs: vec![node],
            fields,
            lineage,
            rows,
            span: span.or(Some(self.statement)),
        })
    }

    fn call(&self, e: &Expr, schema: &DFSchema, input: &Fragment, pre: &mut PreCalc) -> Result<Call> {
        let place = expr::span(e).unwrap_or(self.statement);
        let Expr::AggregateFunction(DfAggregate { func, params }) = e.clone().unalias_nested().data else {
            return Err(Errors::from(unsupported("this aggregate in a stream", place)));
        };
        let Some(function) = aggregates::streaming(func.name()) else {
            let what = format!("the aggregate {} in a stream", func.name().to_uppercase());
            return Err(Errors::from(unsupported(what, place)));
        };
        if !params.order_by.is_empty() || params.null_treatment.is_some() {
            return Err(Errors::from(unsupported("ORDER BY in an aggregate", place)));
        }
        let argument = match params.args.as_slice() {
            [Expr::Literal(v, _)] if function == AggregateFunction::Count && !v.is_null() && !params.distinct => None,
            [] if function == AggregateFunction::Count => None,
            // A column of no type has no marks of NULL to count by.
            [arg] if function == AggregateFunction::Count && arg.get_type(schema).is_ok_and(|t| t.is_null()) => {
                let null = Expr::Literal(ScalarValue::Boolean(None), None);
                Some(pre.add(arg.schema_name().to_string(), TypeKind::Boolean.into(), null))
            }
            [arg] => {
                let ty = self.type_of(arg, schema, input)?;
                if function.result_type(Some(&ty.to_arrow())).is_none() {
                    let message = format!("{} does not take {ty}", function.name());
                    return Err(Errors::from(at(error::BAD_ARGUMENTS, place, message, format!("{ty}"))));
                }
                let resolved = self.resolve(arg, schema, input)?;
                Some(pre.add(arg.schema_name().to_string(), ty, resolved))
            }
            _ => return Err(Errors::from(unsupported("an aggregate of several columns in a stream", place))),
        };
        let filter = match &params.filter {
            Some(f) => {
                let resolved = self.resolve(f, schema, input)?;
                Some(pre.add(f.schema_name().to_string(), TypeKind::Boolean.into(), resolved))
            }
            None => None,
        };
        Ok(Call { function, argument, distinct: params.distinct, filter, span: Some(place) })
    }

    fn values(&mut self, rows: Vec<Vec<Expr>>, schema: &DFSchema) -> Result<Fragment> {
        let mut fields: Vec<Field> = schema
            .fields()
            .iter()
            .map(|f| Field {
                name: f.name().clone(),
                ty: SqlType::from_arrow(f.data_type()).unwrap_or(TypeKind::Null.into()).with_nullable(f.is_nullable()),
            })
            .collect();
        // A row without columns has no length; one column that nobody reads gives it one.
        let mut rows = rows;
        if fields.is_empty() {
            fields.push(Field { name: "one".into(), ty: SqlType::from(TypeKind::Boolean).not_null() });
            rows.iter_mut().for_each(|r| r.push(datafusion::prelude::lit(true)));
        }
        let text = fingerprint::values(&rows);
        let lineage = (0..fields.len()).map(|i| format!("{text}.{i}")).collect();
        let node = self.plan.push(Rel {
            op: Op::Values(rows),
            inputs: vec![],
            fields,
            lineage,
            rows: text,
            span: Some(self.statement),
        });
        let mut fragment = self.over(node);
        fragment.columns.truncate(schema.fields().len());
        Ok(fragment)
    }
}

/// The columns an aggregate needs of the Calc in front of it; equal ones once.
struct PreCalc {
    columns: Vec<FragmentColumn>,
}

impl PreCalc {
    fn add(&mut self, name: String, ty: SqlType, expr: Expr) -> usize {
        if let Some(i) = self.columns.iter().position(|c| c.expr == expr && c.ty == ty) {
            return i;
        }
        // The name of a plain column without its table.
        let name =
            if expr::as_column(&expr).is_some() { name.rsplit('.').next().unwrap_or(&name).to_owned() } else { name };
        self.columns.push(FragmentColumn { name, ty, expr });
        self.columns.len() - 1
    }
}

/// `COUNT(DISTINCT x) FILTER (WHERE y)`
pub(crate) fn call_name(call: &Call, input: &[Field]) -> String {
    let argument = call.argument.map_or("*".to_owned(), |a| input[a].name.clone());
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let filter = call.filter.map(|f| format!(" FILTER (WHERE {})", input[f].name)).unwrap_or_default();
    format!("{}({distinct}{argument}){filter}", call.function.name())
}

fn same_options(a: &[dflow_connector_api::RawOption], b: &[dflow_connector_api::RawOption]) -> bool {
    a.len() == b.len() && a.iter().all(|x| b.iter().any(|y| x.key == y.key && x.value == y.value))
}
