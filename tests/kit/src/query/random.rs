//! Random scripts: tables, a query of SELECTs nested into each other, a sink that fits.
//!
//! The kind of the source, the outer shape and the forms of the aggregates go round with the seed, so that every combination is
//! reached; everything else is drawn.

use dflow_common::env::{Rng, SeededRng};

use super::aggregate::{self, Form};
use super::scalar::{CONSTRUCTS, Scalars, coalesce};
use super::{Expr, From, Language, Query, Select, Type};
use crate::classes::Classes;
use crate::generate::{self, TableKind};

const KINDS: [TableKind; 3] = [TableKind::Append, TableKind::Retract, TableKind::Upsert];
const CHANGES: [&str; 4] = ["append", "retract", "upsert", "aggregate"];

/// What a SELECT does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Projection and filter.
    Project,
    /// GROUP BY.
    Aggregate,
    /// SELECT DISTINCT.
    Distinct,
    /// UNION ALL.
    Union,
}

/// The outer two SELECTs.
const SHAPES: [(Shape, Option<Shape>); 11] = [
    (Shape::Project, None),
    (Shape::Aggregate, None),
    (Shape::Aggregate, Some(Shape::Project)),
    (Shape::Aggregate, Some(Shape::Aggregate)),
    (Shape::Union, None),
    (Shape::Distinct, None),
    (Shape::Distinct, Some(Shape::Aggregate)),
    (Shape::Aggregate, Some(Shape::Union)),
    (Shape::Project, Some(Shape::Aggregate)),
    (Shape::Aggregate, Some(Shape::Distinct)),
    (Shape::Union, Some(Shape::Aggregate)),
];

/// What [`Script::random`] may hit.
pub fn classes() -> Classes {
    let mut all: Vec<String> = CONSTRUCTS.iter().map(|c| (*c).to_owned()).collect();
    for changes in CHANGES {
        all.extend(Form::all().into_iter().map(|f| f.class(changes)));
        for what in ["projection", "filter", "DISTINCT", "UNION ALL"] {
            all.push(format!("{what} over {changes}"));
        }
        for keys in ["0 keys", "1 key", "2 keys", "3 keys"] {
            all.push(format!("GROUP BY {keys} over {changes}"));
        }
        all.push(format!("HAVING over {changes}"));
        all.push(format!("keyed sink over {changes}"));
    }
    for what in [
        "view",
        "subquery",
        "key that is an expression",
        "three levels",
        "watermark",
        "no watermark",
        "sink key wider than the query's",
        "global aggregate into a keyed sink",
        "upsert key through a projection",
        "retract source with a key",
    ] {
        all.push(what.to_owned());
    }
    Classes::of(all)
}

/// A script to run.
#[derive(Clone, Debug)]
pub struct Script {
    /// Where it came from.
    pub seed: u64,
    /// What `t` emits.
    pub kind: TableKind,
    /// Whether `t` has a primary key.
    pub keyed_source: bool,
    /// Whether both tables have a watermark.
    pub watermark: bool,
    /// The question.
    pub query: Query,
    /// The primary key of the sink, as columns; `None`: it takes all changes.
    pub sink_key: Option<Vec<usize>>,
}

impl Script {
    /// The script of a seed.
    pub fn random(seed: u64, classes: &mut Classes) -> Self {
        let rng = SeededRng::new(seed);
        let kind = KINDS[(seed % 3) as usize];
        let keyed_source = kind == TableKind::Upsert || (kind == TableKind::Retract && rng.below(2) == 0);
        let watermark = rng.below(2) == 0;
        classes.hit(if watermark { "watermark" } else { "no watermark" });
        if keyed_source && kind == TableKind::Retract {
            classes.hit("retract source with a key");
        }
        let turn = (seed / 3) as usize;
        let (outer, inner) = SHAPES[turn % SHAPES.len()];
        let wants_key = rng.below(2) == 0;
        let mut make = Maker {
            rng: &rng,
            classes,
            kind,
            keyed_source,
            keyed: wants_key,
            form: 5 * (turn / SHAPES.len()),
            names: 0,
        };
        let query = make.query(outer, inner, 1 + usize::from(inner.is_some()));
        let sink_key = if wants_key { make.sink_key(&query) } else { None };
        Self { seed, kind, keyed_source, watermark, query, sink_key }
    }

    /// `CREATE TABLE` of `t`, `a` and the sink `o`.
    pub fn tables(&self) -> String {
        let columns = generate::COLUMNS;
        let watermark = if self.watermark { ", WATERMARK FOR ts AS ts - INTERVAL '1' SECOND" } else { "" };
        let key = if self.keyed_source { ", PRIMARY KEY (id) NOT ENFORCED" } else { "" };
        let changelog = From::Table(self.kind).changes();
        let mut sink: Vec<String> = self.sink_columns().iter().map(|(n, t)| format!("{n} {t}")).collect();
        if let Some(key) = &self.sink_key {
            let names: Vec<String> = key.iter().map(|i| format!("c{i}")).collect();
            sink.push(format!("PRIMARY KEY ({}) NOT ENFORCED", names.join(", ")));
        }
        let takes = if self.sink_key.is_some() { "upsert" } else { "retract" };
        format!(
            "CREATE TABLE t ({columns}{watermark}{key}) WITH ('connector' = 'oracle', 'changelog' = '{changelog}');\n\
             CREATE TABLE a ({columns}{watermark}) WITH ('connector' = 'oracle', 'changelog' = 'append');\n\
             CREATE TABLE o ({}) WITH ('connector' = 'oracle', 'changelog' = '{takes}');\n",
            sink.join(", ")
        )
    }

    /// The sink's columns: names and types.
    pub fn sink_columns(&self) -> Vec<(String, String)> {
        // A sum of DECIMALs has 38 digits, and a key must not be cut.
        let ty = |c: &Expr| match c.ty {
            Type::Decimal(scale) => format!("DECIMAL(38, {scale})"),
            other => other.sql(),
        };
        self.query.columns().iter().map(|c| (c.stream.clone(), ty(c))).collect()
    }

    /// What a user would write.
    pub fn stream(&self) -> String {
        let query = self.query.sql(Language::Stream);
        format!("{}{}INSERT INTO o {query};\n", self.tables(), self.query.views())
    }

    /// The question for the reference.
    pub fn batch(&self) -> String {
        self.query.sql(Language::Batch)
    }
}

struct Maker<'a> {
    rng: &'a SeededRng,
    classes: &'a mut Classes,
    kind: TableKind,
    keyed_source: bool,
    /// Whether keys must not be NULL.
    keyed: bool,
    /// The next aggregate form.
    form: usize,
    /// Subqueries and views so far.
    names: usize,
}

impl Maker<'_> {
    fn below(&self, n: usize) -> usize {
        self.rng.below(n as u64) as usize
    }

    fn hit(&mut self, what: &str, from: &From) {
        self.classes.hit(&format!("{what} over {}", from.changes()));
    }

    fn scalars<'s>(&'s mut self, scope: &'s [Expr]) -> Scalars<'s> {
        Scalars { rng: self.rng, classes: self.classes, scope }
    }

    /// A query of this shape; over a query of shape `inner`, or one drawn, or a table.
    fn query(&mut self, shape: Shape, inner: Option<Shape>, depth: usize) -> Query {
        if shape == Shape::Union {
            return self.union(inner, depth);
        }
        let from = match inner {
            Some(inner) => {
                let below = if depth > 1 && self.below(4) == 0 {
                    self.classes.hit("three levels");
                    Some([Shape::Project, Shape::Aggregate, Shape::Distinct, Shape::Union][self.below(4)])
                } else {
                    None
                };
                let query = self.query(inner, below, depth.saturating_sub(1));
                self.nested(query)
            }
            None => From::Table(self.kind),
        };
        let select = self.select(shape, from, None);
        Query { branches: vec![select] }
    }

    fn nested(&mut self, query: Query) -> From {
        self.names += 1;
        if self.below(2) == 0 {
            self.classes.hit("view");
            From::View(Box::new(query), self.names)
        } else {
            self.classes.hit("subquery");
            From::Subquery(Box::new(query), self.names)
        }
    }

    fn union(&mut self, inner: Option<Shape>, depth: usize) -> Query {
        let all = [
            Type::Int,
            Type::BigInt,
            Type::Text,
            Type::Double,
            Type::Decimal(2),
            Type::Timestamp,
            Type::Date,
            Type::Bool,
        ];
        let types: Vec<Type> = (0..2 + self.below(2)).map(|_| all[self.below(all.len())]).collect();
        let second = self.below(3) == 0;
        let branches = (0..2 + self.below(2)).map(|n| {
            let from = match (n, inner) {
                (1, _) if second => From::Second,
                (_, Some(inner)) if n == 0 => {
                    let query = self.query(inner, None, depth.saturating_sub(1));
                    self.nested(query)
                }
                _ => From::Table(self.kind),
            };
            self.hit("UNION ALL", &from);
            self.select(Shape::Project, from, Some(&types))
        });
        Query { branches: branches.collect() }
    }

    fn select(&mut self, shape: Shape, from: From, types: Option<&[Type]>) -> Select {
        let (scope, input_key) = self.scope(&from);
        let filter = (self.below(3) == 0).then(|| {
            self.hit("filter", &from);
            self.scalars(&scope).expr(Type::Bool, 2)
        });
        if shape == Shape::Aggregate {
            return self.aggregate(from, filter, &scope);
        }
        let mut items: Vec<Expr> = Vec::new();
        let mut key = None;
        if shape == Shape::Project {
            self.hit("projection", &from);
            if let (None, Some(input)) = (types, &input_key) {
                items.extend(input.iter().map(|i| scope[*i].clone()));
                key = Some((0..items.len()).collect());
            }
        }
        match types {
            Some(types) => types.iter().for_each(|t| items.push(self.scalars(&scope).expr(*t, 2))),
            None => (0..1 + self.below(3)).for_each(|_| items.push(self.scalars(&scope).any(2))),
        }
        if shape == Shape::Distinct {
            self.hit("DISTINCT", &from);
            items = items.into_iter().map(|e| self.as_key(e)).collect();
            key = Some((0..items.len()).collect());
        }
        Select { distinct: shape == Shape::Distinct, items, from, filter, group: None, having: None, key }
    }

    fn aggregate(&mut self, from: From, filter: Option<Expr>, scope: &[Expr]) -> Select {
        let mut keys: Vec<Expr> = Vec::new();
        for _ in 0..[0, 1, 1, 1, 2, 2, 3][self.below(7)] {
            let key = self.group_key(scope);
            // DataFusion does not plan two equal keys.
            if keys.iter().all(|k| k.stream != key.stream && k.batch != key.batch) {
                keys.push(key);
            }
        }
        let words = ["0 keys", "1 key", "2 keys", "3 keys"][keys.len()];
        self.hit(&format!("GROUP BY {words}"), &from);
        let forms = Form::all();
        let mut calls: Vec<Expr> = Vec::new();
        for _ in 0..1 + self.below(3) {
            let form = forms[self.form % forms.len()];
            self.form += 1;
            self.classes.hit(&form.class(from.changes()));
            calls.push(aggregate::call(form, &mut self.scalars(scope)));
        }
        let results: Vec<Expr> = keys.iter().chain(&calls).cloned().collect();
        let having = (self.below(5) == 0).then(|| {
            self.hit("HAVING", &from);
            self.scalars(&results).expr(Type::Bool, 1)
        });
        // Sometimes a key is not selected; then the result has none.
        let hidden = !self.keyed && keys.len() > 1 && self.below(4) == 0;
        let mut items: Vec<Expr> = if hidden { results[1..].to_vec() } else { results.clone() };
        if self.below(4) == 0 {
            let ty = calls[0].ty;
            items.push(self.scalars(&results).expr(ty, 1));
        }
        let key = (!hidden).then(|| (0..keys.len()).collect());
        Select { distinct: false, items, from, filter, group: Some(keys), having, key }
    }

    /// An expression to group by; one NaN and one zero in the batch text.
    fn group_key(&mut self, scope: &[Expr]) -> Expr {
        let mut key = self.scalars(scope).any(0);
        if self.below(3) == 0 {
            let drawn = self.scalars(scope).any(2);
            if drawn.reads {
                self.classes.hit("key that is an expression");
                key = drawn;
            }
        }
        if !key.reads {
            key = scope[self.below(scope.len())].clone();
        }
        let key = self.as_key(key);
        Expr { batch: key.normal(), ..key }
    }

    /// Without NULL where the sink needs it.
    fn as_key(&mut self, e: Expr) -> Expr {
        if !self.keyed || !e.nullable {
            return e;
        }
        let instead = self.scalars(&[]).value(e.ty);
        coalesce(e.ty, &e, &instead)
    }

    /// The columns of a relation and those that identify its rows.
    fn scope(&self, from: &From) -> (Vec<Expr>, Option<Vec<usize>>) {
        match from {
            From::Table(_) => (table_columns(), self.keyed_source.then(|| vec![0])),
            From::Second => (table_columns(), None),
            From::Subquery(q, _) | From::View(q, _) => (q.columns(), q.key().cloned()),
        }
    }

    /// A primary key for the sink, when the query has one.
    fn sink_key(&mut self, query: &Query) -> Option<Vec<usize>> {
        let mut key = query.key()?.clone();
        let top = &query.branches[0];
        if key.iter().any(|i| top.items[*i].nullable) {
            return None;
        }
        let global = key.is_empty();
        if global || self.below(4) == 0 {
            let more = (0..top.items.len()).find(|i| !key.contains(i) && !top.items[*i].nullable);
            if let Some(more) = more {
                key.push(more);
                self.classes.hit(if global {
                    "global aggregate into a keyed sink"
                } else {
                    "sink key wider than the query's"
                });
            }
        }
        if key.is_empty() {
            return None;
        }
        if top.group.is_none() && !top.distinct {
            self.classes.hit("upsert key through a projection");
        }
        self.hit("keyed sink", &top.from);
        Some(key)
    }
}

fn table_columns() -> Vec<Expr> {
    let c = |name, ty, exact| Expr::column(name, ty, true, exact);
    vec![
        Expr::column("id", Type::Int, false, true),
        c("k", Type::Int, true),
        c("s", Type::Text, true),
        c("v", Type::BigInt, false),
        c("i", Type::Int, false),
        c("d", Type::Double, true),
        c("m", Type::Decimal(2), true),
        c("b", Type::Bool, true),
        c("ts", Type::Timestamp, true),
    ]
}
