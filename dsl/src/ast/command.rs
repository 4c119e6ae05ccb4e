//! SET, SHOW, DESCRIBE, USE, EXPLAIN, plans, modules, jobs.

use dflow_common::{Span, Spanned};

use super::{Expr, Ident, Insert, ObjectKind, ObjectName, Options, PartitionSpec, Query, StatementSet, Text};

/// `SET 'key' = 'value'`, also `SET key = value` without quotes
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetOption {
    /// The key.
    pub key: Text,
    /// The value, variables not expanded.
    pub value: Text,
}

/// `USE …`
#[derive(Clone, Debug)]
pub enum Use {
    /// `USE CATALOG c`
    Catalog(Ident),
    /// `USE [catalog.]database`
    Database(ObjectName),
    /// `USE MODULES a, b`
    Modules(Vec<Ident>),
}

/// `SHOW what [FROM scope] [[NOT] LIKE 'pattern']`
#[derive(Clone, Debug)]
pub struct Show {
    /// What is listed.
    pub what: ShowWhat,
    /// `FROM | IN` a catalog or database.
    pub scope: Option<ObjectName>,
    /// `[NOT] {LIKE | ILIKE} 'pattern'`
    pub filter: Option<ShowFilter>,
}

/// What `SHOW` lists.
#[derive(Clone, Debug)]
pub enum ShowWhat {
    /// `CATALOGS`
    Catalogs,
    /// `DATABASES`
    Databases,
    /// `TABLES`
    Tables,
    /// `VIEWS`
    Views,
    /// `MATERIALIZED TABLES`
    MaterializedTables,
    /// `COLUMNS {FROM | IN} t`
    Columns(ObjectName),
    /// `PARTITIONS t [PARTITION (…)]`
    Partitions(ObjectName, Option<PartitionSpec>),
    /// `CREATE {TABLE | VIEW | …} x`
    Create(ObjectKind, ObjectName),
    /// `[USER] FUNCTIONS`
    Functions {
        /// `USER`
        user: bool,
    },
    /// `[FULL] MODULES`
    Modules {
        /// `FULL`
        full: bool,
    },
    /// `PROCEDURES`
    Procedures,
    /// `MODELS`
    Models,
    /// `JARS`
    Jars,
    /// `JOBS`
    Jobs,
    /// `CURRENT CATALOG`
    CurrentCatalog,
    /// `CURRENT DATABASE`
    CurrentDatabase,
}

/// `[NOT] {LIKE | ILIKE} 'pattern'`
#[derive(Clone, Debug)]
pub struct ShowFilter {
    /// `NOT`
    pub negated: bool,
    /// `ILIKE`
    pub case_insensitive: bool,
    /// The pattern.
    pub pattern: Text,
}

/// `DESCRIBE [kind] [EXTENDED] name`
#[derive(Clone, Debug)]
pub struct Describe {
    /// What kind of object.
    pub target: DescribeTarget,
    /// `EXTENDED`
    pub extended: bool,
}

/// What is described.
#[derive(Clone, Debug)]
pub enum DescribeTarget {
    /// A table or view.
    Table(ObjectName),
    /// A catalog, function or model.
    Object(ObjectKind, ObjectName),
    /// `JOB 'id'`
    Job(Text),
}

/// `EXPLAIN [PLAN FOR | details] statement`
#[derive(Clone, Debug)]
pub struct Explain {
    /// `ESTIMATED_COST, CHANGELOG_MODE, …`
    pub details: Vec<Spanned<ExplainDetail>>,
    /// What is explained.
    pub target: PlanTarget,
}

/// An extra of EXPLAIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExplainDetail {
    /// `ESTIMATED_COST`
    EstimatedCost,
    /// `CHANGELOG_MODE`
    ChangelogMode,
    /// `PLAN_ADVICE`
    PlanAdvice,
    /// `JSON_EXECUTION_PLAN`
    JsonExecutionPlan,
}

/// What EXPLAIN and COMPILE PLAN are about.
#[derive(Clone, Debug)]
pub enum PlanTarget {
    /// A query.
    Query(Box<Query>),
    /// One insert.
    Insert(Box<Insert>),
    /// A statement set.
    StatementSet(StatementSet),
}

/// `COMPILE [AND EXECUTE] PLAN 'file' [IF NOT EXISTS] FOR …`
#[derive(Clone, Debug)]
pub struct CompilePlan {
    /// `AND EXECUTE`
    pub execute: bool,
    /// The file.
    pub path: Text,
    /// An existing file is no error.
    pub if_not_exists: bool,
    /// What is planned.
    pub target: PlanTarget,
}

/// `LOAD MODULE name [WITH (…)]`
#[derive(Clone, Debug)]
pub struct LoadModule {
    /// Its name.
    pub name: Ident,
    /// `WITH (…)`
    pub options: Option<Options>,
}

/// `CALL procedure(arguments)`
#[derive(Clone, Debug)]
pub struct Call {
    /// The procedure.
    pub name: ObjectName,
    /// The call as a function expression.
    pub call: Box<Expr>,
}

/// `ANALYZE TABLE t [PARTITION (…)] COMPUTE STATISTICS [FOR COLUMNS a, b | FOR ALL COLUMNS]`
#[derive(Clone, Debug)]
pub struct Analyze {
    /// The table.
    pub table: ObjectName,
    /// `PARTITION (…)`
    pub partition: Option<PartitionSpec>,
    /// Which columns.
    pub columns: AnalyzeColumns,
}

/// Which columns are analysed.
#[derive(Clone, Debug)]
pub enum AnalyzeColumns {
    /// None: the table's size only.
    None,
    /// `FOR ALL COLUMNS`
    All,
    /// `FOR COLUMNS a, b`
    Some(Vec<Ident>),
}

/// `STOP JOB 'id' [WITH SAVEPOINT [WITH DRAIN]]`
#[derive(Clone, Debug)]
pub struct StopJob {
    /// Which job.
    pub id: Text,
    /// `WITH SAVEPOINT`
    pub savepoint: bool,
    /// `WITH DRAIN`
    pub drain: bool,
    /// The statement.
    pub span: Span,
}
