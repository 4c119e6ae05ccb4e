//! Column pruning: sources read what somebody uses, down to the fields of ROW columns.
//!
//! One pass from the sinks up collects, per node, which of its columns are used and how much of each; a second pass drops
//! the others and renumbers. A source that several queries read is read for all of them.

use std::collections::BTreeMap;

use datafusion::logical_expr::Expr;
use dflow_common::{SqlType, TypeKind};
use dflow_connector_api::FieldMask;

use super::{Call, NodeId, Op, Plan, Rel, expr};
use crate::bind::types::{field, field_path};

/// What is used of a node: columns, and how much of each.
type Needed = BTreeMap<usize, FieldMask>;

/// Drops unused columns of all nodes.
pub(crate) fn prune(plan: Plan) -> Plan {
    let mut needed: Vec<Needed> = vec![Needed::new(); plan.nodes.len()];
    for id in (0..plan.nodes.len()).rev() {
        let rel = &plan.nodes[id];
        if rel.inputs.is_empty() {
            keep_one(rel, &mut needed[id]);
            continue;
        }
        if is_fixed(&rel.op) {
            needed[id] = (0..rel.fields.len()).map(|c| (c, FieldMask::All)).collect();
        }
        let mine = needed[id].clone();
        for input in &rel.inputs {
            let wants = of_input(rel, &mine, &plan.nodes[*input]);
            for (column, mask) in wants {
                add(&mut needed[*input], column, mask);
            }
        }
    }
    // A node that passes rows through has whatever columns its input has, also those that others asked for.
    for id in 0..plan.nodes.len() {
        if let Op::Watermark { .. } | Op::Normalize { .. } = plan.nodes[id].op {
            needed[id] = needed[plan.nodes[id].inputs[0]].clone();
        }
    }
    let mut out = Plan::default();
    for (id, rel) in plan.nodes.into_iter().enumerate() {
        let rel = rewrite(rel, &needed, id);
        out.push(rel);
    }
    out
}

/// Whether a node's output is fixed by what it computes, not by who reads it.
fn is_fixed(op: &Op) -> bool {
    matches!(op, Op::Aggregate { .. } | Op::SinkEdge(_) | Op::Consolidate { .. } | Op::Sink(_))
}

fn add(needed: &mut Needed, column: usize, mask: FieldMask) {
    match needed.remove(&column) {
        Some(old) => needed.insert(column, old.union(mask)),
        None => needed.insert(column, mask),
    };
}

/// A batch without columns has no rows to speak of: a source reads at least one, the cheapest.
fn keep_one(rel: &Rel, needed: &mut Needed) {
    if !needed.is_empty() {
        return;
    }
    let cost = |t: &SqlType| match t.kind {
        TypeKind::Boolean | TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int | TypeKind::BigInt => 0,
        TypeKind::Float | TypeKind::Double | TypeKind::Date | TypeKind::Time(_) => 1,
        TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) | TypeKind::Decimal(..) => 2,
        TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Row(_) => 4,
        _ => 3,
    };
    if let Some(cheapest) = (0..rel.fields.len()).min_by_key(|i| (cost(&rel.fields[*i].ty), *i)) {
        needed.insert(cheapest, FieldMask::All);
    }
}

/// What a node needs of an input, given what is used of the node.
fn of_input(rel: &Rel, mine: &Needed, input: &Rel) -> Needed {
    let mut wants = Needed::new();
    let all = |columns: &[usize], wants: &mut Needed| columns.iter().for_each(|c| add(wants, *c, FieldMask::All));
    match &rel.op {
        Op::Source(_) | Op::Values(_) => {}
        Op::Watermark { expr, .. } => {
            wants = mine.clone();
            usage(expr, FieldMask::All, input, &mut wants);
        }
        Op::Union => wants = mine.clone(),
        Op::Calc { predicate, exprs } => {
            for (i, mask) in mine {
                usage(&exprs[*i], mask.clone(), input, &mut wants);
            }
            if let Some(p) = predicate {
                usage(p, FieldMask::All, input, &mut wants);
            }
        }
        Op::Aggregate { group, calls } => {
            all(group, &mut wants);
            for c in calls {
                all(&c.argument.into_iter().chain(c.filter).collect::<Vec<_>>(), &mut wants);
            }
        }
        Op::Normalize { key } => {
            wants.extend(mine.keys().map(|c| (*c, FieldMask::All)));
            all(key, &mut wants);
        }
        Op::SinkEdge(_) | Op::Consolidate { .. } | Op::Sink(_) => {
            all(&(0..input.fields.len()).collect::<Vec<_>>(), &mut wants);
        }
    }
    wants
}

/// Adds what an expression reads, of whose value `mask` is used.
fn usage(e: &Expr, mask: FieldMask, input: &Rel, wants: &mut Needed) {
    match e {
        Expr::Alias(a) => usage(&a.expr, mask, input, wants),
        Expr::Column(c) => {
            if let Some(i) = expr::position(c) {
                add(wants, i, mask);
            }
        }
        Expr::ScalarFunction(f) if f.name() == "get_field" => {
            let read =
                field_path(f).and_then(|(row, path)| Some((row, nested_mask(row_of(row, input)?, &path, &mask)?)));
            match read {
                Some((row, mask)) => usage(row, mask, input, wants),
                None => f.args.iter().for_each(|a| usage(a, FieldMask::All, input, wants)),
            }
        }
        other => {
            use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
            let _ = other.apply_children(|child| {
                usage(child, FieldMask::All, input, wants);
                Ok(TreeNodeRecursion::Continue)
            });
        }
    }
}

/// The part of a ROW that is read when `mask` of the field at the end of `path` is.
fn nested_mask(row: SqlType, path: &[&str], mask: &FieldMask) -> Option<FieldMask> {
    let Some((name, rest)) = path.split_first() else { return Some(mask.clone()) };
    let TypeKind::Row(fields) = row.kind else { return None };
    let index = fields.iter().position(|f| f.name == *name)?;
    Some(FieldMask::Fields(vec![(index, nested_mask(fields[index].ty.clone(), rest, mask)?)]))
}

fn row_of(e: &Expr, input: &Rel) -> Option<SqlType> {
    match e {
        Expr::Alias(a) => row_of(&a.expr, input),
        Expr::Column(c) => Some(input.fields.get(expr::position(c)?)?.ty.clone()),
        Expr::ScalarFunction(f) if f.name() == "get_field" => {
            let (row, path) = field_path(f)?;
            path.into_iter().try_fold(row_of(row, input)?, field)
        }
        _ => None,
    }
}

/// The node with its used columns only, reading inputs that have theirs only.
fn rewrite(mut rel: Rel, needed: &[Needed], id: NodeId) -> Rel {
    let mine: Vec<usize> = needed[id].keys().copied().collect();
    let input = rel.inputs.first().copied();
    let new = |old: usize| {
        let input = input.expect("only operators with an input have expressions over it");
        needed[input].keys().position(|c| *c == old).expect("every column in use was collected")
    };
    match &mut rel.op {
        Op::Source(s) => {
            s.masks = mine.iter().map(|i| needed[id][i].clone()).collect();
            s.projection = mine.iter().map(|i| s.projection[*i]).collect();
        }
        Op::Values(rows) => {
            for row in rows {
                *row = mine.iter().map(|i| row[*i].clone()).collect();
            }
        }
        Op::Watermark { expr: e, .. } => *e = expr::renumber(e.clone(), &new),
        Op::Calc { predicate, exprs } => {
            *exprs = mine.iter().map(|i| expr::renumber(exprs[*i].clone(), &new)).collect();
            *predicate = predicate.take().map(|p| expr::renumber(p, &new));
        }
        Op::Aggregate { group, calls } => {
            group.iter_mut().for_each(|g| *g = new(*g));
            for Call { argument, filter, .. } in calls {
                *argument = argument.map(new);
                *filter = filter.map(new);
            }
        }
        Op::Normalize { key } => key.iter_mut().for_each(|k| *k = new(*k)),
        Op::Union | Op::SinkEdge(_) | Op::Consolidate { .. } | Op::Sink(_) => {}
    }
    rel.fields = mine.iter().map(|i| rel.fields[*i].clone()).collect();
    rel.lineage = mine.iter().map(|i| rel.lineage[*i].clone()).collect();
    rel
}
