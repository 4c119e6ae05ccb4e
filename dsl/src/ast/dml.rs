//! INSERT, statement sets, UPDATE, DELETE.

use dflow_common::Span;

use super::{Expr, Ident, ObjectName, Options, Query};

/// ```sql
/// [EXECUTE] INSERT {INTO | OVERWRITE} t [/*+ OPTIONS(…) */] [PARTITION (k = v, …)] [(columns)] query
///   [ON CONFLICT DO {NOTHING | ERROR | DEDUPLICATE}]
/// ```
#[derive(Clone, Debug)]
pub struct Insert {
    /// `OVERWRITE`
    pub overwrite: bool,
    /// The sink.
    pub table: ObjectName,
    /// The options of an `OPTIONS` hint at the sink.
    pub hint: Option<Options>,
    /// `PARTITION (k = v, …)`
    pub partition: Option<PartitionSpec>,
    /// The column list; empty means all columns in order. A nested field has more than one part.
    pub columns: Vec<Vec<Ident>>,
    /// What to insert; `VALUES` is a query too.
    pub query: Box<Query>,
    /// `ON CONFLICT DO …`
    pub on_conflict: Option<OnConflict>,
    /// The statement.
    pub span: Span,
}

/// `PARTITION (k = v, k, …)`
#[derive(Clone, Debug)]
pub struct PartitionSpec {
    /// A key without value is dynamic.
    pub entries: Vec<(Ident, Option<Box<Expr>>)>,
    /// The list with its parentheses.
    pub span: Span,
}

/// `ON CONFLICT DO …`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnConflict {
    /// What to do.
    pub action: ConflictAction,
    /// The clause.
    pub span: Span,
}

/// What to do with several rows for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictAction {
    /// `NOTHING`: the first row stays.
    Nothing,
    /// `ERROR`
    Error,
    /// `DEDUPLICATE`: the last row stays.
    Deduplicate,
}

/// `EXECUTE STATEMENT SET BEGIN …; END` or `BEGIN STATEMENT SET; …; END`
#[derive(Clone, Debug)]
pub struct StatementSet {
    /// Its inserts. Members with an error are left out; their errors are in the diagnostics.
    pub inserts: Vec<Insert>,
    /// The whole set.
    pub span: Span,
}

/// `UPDATE t [AS a] SET c = e, … [WHERE e]`
#[derive(Clone, Debug)]
pub struct Update {
    /// The table.
    pub table: ObjectName,
    /// Its alias.
    pub alias: Option<Ident>,
    /// Column and new value.
    pub assignments: Vec<(ObjectName, Box<Expr>)>,
    /// `WHERE`
    pub filter: Option<Box<Expr>>,
}

/// `DELETE FROM t [AS a] [WHERE e]`
#[derive(Clone, Debug)]
pub struct Delete {
    /// The table.
    pub table: ObjectName,
    /// Its alias.
    pub alias: Option<Ident>,
    /// `WHERE`
    pub filter: Option<Box<Expr>>,
}
