//! Queries and expressions: sqlparser's tree, with the places it was read from.
//!
//! # Spans
//! sqlparser counts lines and columns. The tokens it gets from this crate carry the *byte offset in the script* instead:
//! line 1, column = offset + 1. [`Query::span_of`] and [`Expr::span_of`] turn a sqlparser span back into a [`Span`];
//! a node without place (sqlparser's `Span::empty()`) has none.
//!
//! # What the tree looks like where Flink has words that sqlparser's tree has not
//! | Flink | in the tree |
//! |---|---|
//! | `CAST(e AS type)`, `TRY_CAST` | `Expr::Cast` with `DataType::Custom` whose name is [`FLINK_TYPE`] and whose one modifier is Flink's type text; read it with [`crate::types::flink_type`] |
//! | `f(TABLE t PARTITION BY k ORDER BY x)` | function [`TABLE_ARG`] with the subquery `SELECT * FROM t`, the two lists in its `OVER` |
//! | `f(MODEL m)` | function [`MODEL_ARG`] with the name's parts as one compound identifier |
//! | `MAP[k, v, …]` | function [`MAP_CONSTRUCTOR`] |
//! | `CASE v WHEN a, b THEN r` | `CASE WHEN v = a OR v = b THEN r` |
//! | `TIMESTAMPADD(unit, n, t)`, `TIMESTAMPDIFF` | the unit as a string literal in upper case |
//! | `JSON_VALUE(j, 'p' RETURNING INT DEFAULT 0 ON ERROR)` and the other JSON functions | each clause as a named argument, see [`crate::dialect`] |
//! | `x IS [NOT] JSON [kind]` | function [`IS_JSON`] of `x` and the kind as a string, under NOT |
//! | `x BETWEEN SYMMETRIC a AND b` | both orders joined by OR |
//! | `TABLE t` as a query | `SELECT * FROM t` |
//! | `t /*+ OPTIONS('k' = 'v') */`, `SELECT /*+ STATE_TTL('a' = '1 d') */` | [`Query::hints`], not in the tree |
//! | `MATCH_RECOGNIZE … WITHIN INTERVAL …` | [`Query::withins`], not in the tree |
//! | `FOR SYSTEM_TIME AS OF e` | the table factor's `version` |

use dflow_common::{SourceId, Span};
use sqlparser::ast as sql;

use super::{Ident, Options};

/// Name of the custom data type that carries a Flink type.
pub const FLINK_TYPE: &str = "FLINK_TYPE";
/// Function that stands for a `TABLE t` argument.
pub const TABLE_ARG: &str = "$TABLE";
/// Function that stands for a `MODEL m` argument.
pub const MODEL_ARG: &str = "$MODEL";
/// Function that stands for `MAP[…]`.
pub const MAP_CONSTRUCTOR: &str = "$MAP";
/// Function that stands for `IS JSON`.
pub const IS_JSON: &str = "$IS_JSON";

/// A query.
#[derive(Clone, Debug)]
pub struct Query {
    /// sqlparser's tree.
    pub ast: Box<sql::Query>,
    /// Where.
    pub span: Span,
    /// All hints of the query and its subqueries, in the order of the text. Whoever plans the query accounts for each.
    pub hints: Vec<Hint>,
    /// The `WITHIN` clauses of `MATCH_RECOGNIZE`, in the order of the text.
    pub withins: Vec<Within>,
}

impl Query {
    /// The place of a node of this query's tree; `None` for nodes that were not in the text.
    pub fn span_of(&self, span: sqlparser::tokenizer::Span) -> Option<Span> {
        span_of(self.span.source, span)
    }

    /// The hints at a table, by the place of the last part of its name in the tree.
    pub fn table_hints(&self, table: Span) -> impl Iterator<Item = &Hint> {
        self.hints.iter().filter(move |h| h.target == HintTarget::Table(table))
    }

    /// The hints of one SELECT, by the place of its SELECT keyword in the tree.
    pub fn select_hints(&self, select: Span) -> impl Iterator<Item = &Hint> {
        self.hints.iter().filter(move |h| h.target == HintTarget::Select(select))
    }
}

/// An expression outside of a query: computed column, watermark, value of a partition.
#[derive(Clone, Debug)]
pub struct Expr {
    /// sqlparser's tree.
    pub ast: sql::Expr,
    /// Where.
    pub span: Span,
}

impl Expr {
    /// The place of a node of this tree; `None` for nodes that were not in the text.
    pub fn span_of(&self, span: sqlparser::tokenizer::Span) -> Option<Span> {
        span_of(self.span.source, span)
    }
}

/// The place of a sqlparser node that this crate read from `source`.
pub fn span_of(source: SourceId, span: sqlparser::tokenizer::Span) -> Option<Span> {
    let (start, end) = (span.start, span.end);
    (start.line == 1 && end.line == 1 && start.column >= 1 && end.column >= start.column)
        .then(|| Span::new(source, start.column as usize - 1, end.column as usize - 1))
}

/// One hint: `OPTIONS('k' = 'v')`, `STATE_TTL('a' = '1 d')`, `BROADCAST(a)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// What it is attached to.
    pub target: HintTarget,
    /// Its name in upper case.
    pub name: String,
    /// What stands in its parentheses.
    pub args: HintArgs,
    /// The hint without the comment around it.
    pub span: Span,
}

/// What a hint is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintTarget {
    /// The table whose name's last part is here.
    Table(Span),
    /// The SELECT whose keyword is here.
    Select(Span),
}

/// The arguments of a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HintArgs {
    /// `('k' = 'v', …)`
    Options(Options),
    /// `(a, b, …)`, also empty
    Names(Vec<Ident>),
}

/// `WITHIN INTERVAL '…' unit`
#[derive(Clone, Debug)]
pub struct Within {
    /// The place of the `MATCH_RECOGNIZE` keyword it belongs to.
    pub match_recognize: Span,
    /// The interval.
    pub interval: Box<Expr>,
}
