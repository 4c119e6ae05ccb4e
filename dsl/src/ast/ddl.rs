//! CREATE, ALTER, DROP.

use dflow_common::Span;

use super::{Expr, Ident, ObjectName, Options, PartitionSpec, Query, Text, TypeRef};

/// How a CREATE treats an object that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateMode {
    /// `CREATE`
    Create,
    /// `CREATE OR REPLACE`, or `REPLACE`
    Replace,
}

/// ```sql
/// CREATE [TEMPORARY] TABLE [IF NOT EXISTS] t ( elements ) COMMENT '…' DISTRIBUTED … PARTITIONED BY (…) WITH (…)
///   [LIKE source (…) | AS query]
/// ```
#[derive(Clone, Debug)]
pub struct CreateTable {
    /// `CREATE` or `REPLACE`
    pub mode: CreateMode,
    /// Lives in the session only.
    pub temporary: bool,
    /// An existing table is no error.
    pub if_not_exists: bool,
    /// Its name.
    pub name: ObjectName,
    /// What stands in the parentheses, in order. Empty when there are none.
    pub elements: Vec<TableElement>,
    /// `COMMENT 'text'`
    pub comment: Option<Text>,
    /// `DISTRIBUTED …`
    pub distribution: Option<Distribution>,
    /// `PARTITIONED BY (…)`
    pub partitioned_by: Vec<Ident>,
    /// `WITH (…)`
    pub options: Option<Options>,
    /// `LIKE source (…)`
    pub like: Option<Like>,
    /// `AS query`
    pub query: Option<Box<Query>>,
}

impl CreateTable {
    /// The columns in order: physical, metadata and computed ones, and bare names of a CTAS.
    pub fn columns(&self) -> impl Iterator<Item = &Column> {
        self.elements.iter().filter_map(|e| match e {
            TableElement::Column(c) => Some(c),
            _ => None,
        })
    }

    /// The primary key, wherever it is written.
    pub fn primary_key(&self) -> Option<&PrimaryKey> {
        self.elements.iter().find_map(|e| match e {
            TableElement::PrimaryKey(k) => Some(k),
            TableElement::Column(Column { primary_key: Some(k), .. }) => Some(k),
            _ => None,
        })
    }

    /// The watermark.
    pub fn watermark(&self) -> Option<&Watermark> {
        self.elements.iter().find_map(|e| match e {
            TableElement::Watermark(w) => Some(w),
            _ => None,
        })
    }
}

/// One item between the parentheses of a table.
#[derive(Clone, Debug)]
pub enum TableElement {
    /// A column of any kind.
    Column(Column),
    /// `WATERMARK FOR column AS expression`
    Watermark(Watermark),
    /// `[CONSTRAINT n] PRIMARY KEY (…) NOT ENFORCED`
    PrimaryKey(PrimaryKey),
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: Ident,
    /// Where its values come from.
    pub kind: ColumnKind,
    /// The key when it is declared at the column; its list then has this one column.
    pub primary_key: Option<PrimaryKey>,
    /// `COMMENT 'text'`
    pub comment: Option<Text>,
    /// The whole item.
    pub span: Span,
}

/// Where the values of a column come from.
#[derive(Clone, Debug)]
pub enum ColumnKind {
    /// From the payload.
    Physical(TypeRef),
    /// From the connector.
    Metadata {
        /// Its type.
        ty: TypeRef,
        /// `FROM 'key'`; the column's own name without it.
        key: Option<Text>,
        /// Read only: not part of the sink schema.
        is_virtual: bool,
    },
    /// From an expression over the others: `name AS expression`.
    Computed(Box<Expr>),
    /// A name alone: reorders the columns of `CREATE TABLE t (a, b) AS query`.
    Name,
}

/// `WATERMARK FOR column AS expression`
#[derive(Clone, Debug)]
pub struct Watermark {
    /// The time column; more than one part names a nested field.
    pub column: Vec<Ident>,
    /// The watermark of a row.
    pub expr: Box<Expr>,
    /// The whole item.
    pub span: Span,
}

/// `[CONSTRAINT n] PRIMARY KEY (…) NOT ENFORCED`
#[derive(Clone, Debug)]
pub struct PrimaryKey {
    /// Its name.
    pub name: Option<Ident>,
    /// Its columns.
    pub columns: Vec<Ident>,
    /// From `CONSTRAINT` or `PRIMARY` to `ENFORCED`.
    pub span: Span,
}

/// `DISTRIBUTED [BY [HASH|RANGE] (…)] [INTO n BUCKETS]`
#[derive(Clone, Debug)]
pub struct Distribution {
    /// `HASH`, `RANGE`, or left to the connector.
    pub kind: Option<DistributionKind>,
    /// The columns.
    pub columns: Vec<Ident>,
    /// `INTO n BUCKETS`
    pub buckets: Option<u64>,
    /// The whole clause.
    pub span: Span,
}

/// How rows are assigned to buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DistributionKind {
    /// `HASH`
    Hash,
    /// `RANGE`
    Range,
}

/// `LIKE source (INCLUDING ALL …)`
#[derive(Clone, Debug)]
pub struct Like {
    /// The table whose definition is taken over.
    pub source: ObjectName,
    /// In order; empty means `INCLUDING ALL OVERWRITING OPTIONS`.
    pub options: Vec<LikeOption>,
    /// The whole clause.
    pub span: Span,
}

/// One rule of a LIKE clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LikeOption {
    /// What to do with the feature.
    pub merge: LikeMerge,
    /// Which feature.
    pub feature: LikeFeature,
    /// Where.
    pub span: Span,
}

/// How LIKE merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LikeMerge {
    /// Take it; a conflict is an error.
    Including,
    /// Do not take it.
    Excluding,
    /// Take it; the new table wins.
    Overwriting,
}

/// What LIKE merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LikeFeature {
    /// Everything.
    All,
    /// Primary and unique keys.
    Constraints,
    /// `DISTRIBUTED …`
    Distribution,
    /// `PARTITIONED BY`
    Partitions,
    /// Computed columns.
    Generated,
    /// Metadata columns.
    Metadata,
    /// `WITH (…)`
    Options,
    /// Watermarks.
    Watermarks,
}

/// `CREATE [OR REPLACE] [TEMPORARY] VIEW [IF NOT EXISTS] v [(c, …)] [COMMENT '…'] AS query`
#[derive(Clone, Debug)]
pub struct CreateView {
    /// `CREATE` or `CREATE OR REPLACE`
    pub mode: CreateMode,
    /// Lives in the session only.
    pub temporary: bool,
    /// An existing view is no error.
    pub if_not_exists: bool,
    /// Its name.
    pub name: ObjectName,
    /// New names for the query's columns; empty keeps them.
    pub columns: Vec<ViewColumn>,
    /// `COMMENT 'text'`
    pub comment: Option<Text>,
    /// Its query.
    pub query: Box<Query>,
}

/// A column name of a view.
#[derive(Clone, Debug)]
pub struct ViewColumn {
    /// The name.
    pub name: Ident,
    /// `COMMENT 'text'`
    pub comment: Option<Text>,
}

/// `CREATE CATALOG [IF NOT EXISTS] c [COMMENT '…'] [WITH (…)]`
#[derive(Clone, Debug)]
pub struct CreateCatalog {
    /// An existing one is no error.
    pub if_not_exists: bool,
    /// Its name.
    pub name: Ident,
    /// `COMMENT 'text'`
    pub comment: Option<Text>,
    /// `WITH (…)`
    pub options: Option<Options>,
}

/// `CREATE DATABASE [IF NOT EXISTS] d [COMMENT '…'] [WITH (…)]`
#[derive(Clone, Debug)]
pub struct CreateDatabase {
    /// An existing one is no error.
    pub if_not_exists: bool,
    /// Its name, with or without a catalog.
    pub name: ObjectName,
    /// `COMMENT 'text'`
    pub comment: Option<Text>,
    /// `WITH (…)`
    pub options: Option<Options>,
}

/// How long a function lives and where it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionScope {
    /// In the catalog.
    Catalog,
    /// `TEMPORARY`: in the session, under a database.
    Temporary,
    /// `TEMPORARY SYSTEM`: in the session, everywhere.
    TemporarySystem,
}

/// `CREATE [TEMPORARY [SYSTEM]] FUNCTION [IF NOT EXISTS] f AS 'class' [LANGUAGE …] [USING …] [WITH (…)]`
#[derive(Clone, Debug)]
pub struct CreateFunction {
    /// Where it lives.
    pub scope: FunctionScope,
    /// An existing one is no error.
    pub if_not_exists: bool,
    /// Its name.
    pub name: ObjectName,
    /// The class or symbol.
    pub identifier: Text,
    /// `LANGUAGE JAVA | SCALA | PYTHON | SQL`
    pub language: Option<Ident>,
    /// `USING JAR 'path', …`
    pub resources: Vec<Resource>,
    /// `WITH (…)`
    pub options: Option<Options>,
}

/// `JAR 'path'` or `ARTIFACT 'path'`
#[derive(Clone, Debug)]
pub struct Resource {
    /// `JAR` or `ARTIFACT`
    pub kind: ResourceKind,
    /// The file.
    pub path: Text,
}

/// The kind of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// `JAR`
    Jar,
    /// `ARTIFACT`
    Artifact,
}

/// `CREATE [TEMPORARY] MODEL [IF NOT EXISTS] m [INPUT (…)] [OUTPUT (…)] [COMMENT '…'] [WITH (…)] [AS query]`
#[derive(Clone, Debug)]
pub struct CreateModel {
    /// Lives in the session only.
    pub temporary: bool,
    /// An existing one is no error.
    pub if_not_exists: bool,
    /// Its name.
    pub name: ObjectName,
    /// `INPUT (…)`
    pub input: Vec<TableElement>,
    /// `OUTPUT (…)`
    pub output: Vec<TableElement>,
    /// `COMMENT 'text'`
    pub comment: Option<Text>,
    /// `WITH (…)`
    pub options: Option<Options>,
    /// `AS query`
    pub query: Option<Box<Query>>,
}

/// `CREATE [OR ALTER] MATERIALIZED TABLE …`
#[derive(Clone, Debug)]
pub struct CreateMaterializedTable {
    /// `OR ALTER`
    pub or_alter: bool,
    /// An existing one is no error.
    pub if_not_exists: bool,
    /// Its name.
    pub name: ObjectName,
    /// What stands in the parentheses.
    pub elements: Vec<TableElement>,
    /// `COMMENT 'text'`
    pub comment: Option<Text>,
    /// `DISTRIBUTED …`
    pub distribution: Option<Distribution>,
    /// `PARTITIONED BY (…)`
    pub partitioned_by: Vec<Ident>,
    /// `WITH (…)`
    pub options: Option<Options>,
    /// `START_MODE = …`, as written.
    pub start_mode: Option<Text>,
    /// `FRESHNESS = INTERVAL …`
    pub freshness: Option<Box<Expr>>,
    /// `REFRESH_MODE = …`
    pub refresh_mode: Option<Ident>,
    /// Its query.
    pub query: Box<Query>,
}

/// `ALTER TABLE [IF EXISTS] t action`
#[derive(Clone, Debug)]
pub struct AlterTable {
    /// A missing table is no error.
    pub if_exists: bool,
    /// Which table.
    pub name: ObjectName,
    /// What to do.
    pub action: AlterTableAction,
}

/// What `ALTER TABLE` does.
#[derive(Clone, Debug)]
pub enum AlterTableAction {
    /// `SET (…)`
    SetOptions(Options),
    /// `RESET ('k', …)`
    ResetOptions(Vec<Text>),
    /// `RENAME TO t`
    RenameTable(ObjectName),
    /// `RENAME a TO b`; the old name may be a nested field.
    RenameColumn {
        /// The old name.
        from: Vec<Ident>,
        /// The new one.
        to: Ident,
    },
    /// `ADD x` or `ADD (x, …)`
    Add(Vec<AlterElement>),
    /// `MODIFY x` or `MODIFY (x, …)`
    Modify(Vec<AlterElement>),
    /// `ADD [IF NOT EXISTS] PARTITION (…) [WITH (…)] …`
    AddPartitions {
        /// An existing one is no error.
        if_not_exists: bool,
        /// The partitions.
        partitions: Vec<(PartitionSpec, Option<Options>)>,
    },
    /// `DROP [IF EXISTS] PARTITION (…), …`
    DropPartitions {
        /// A missing one is no error.
        if_exists: bool,
        /// The partitions.
        partitions: Vec<PartitionSpec>,
    },
    /// `DROP c` or `DROP (c, …)`; each may be a nested field.
    DropColumns(Vec<Vec<Ident>>),
    /// `DROP PRIMARY KEY`
    DropPrimaryKey,
    /// `DROP CONSTRAINT n`
    DropConstraint(Ident),
    /// `DROP WATERMARK`
    DropWatermark,
    /// `DROP DISTRIBUTION`
    DropDistribution,
}

/// One item of ADD or MODIFY.
#[derive(Clone, Debug)]
pub enum AlterElement {
    /// A column with its place.
    Column {
        /// The column.
        column: Box<Column>,
        /// `FIRST`, `AFTER c`, or at the end.
        position: Option<ColumnPosition>,
    },
    /// A watermark.
    Watermark(Watermark),
    /// A primary key.
    PrimaryKey(PrimaryKey),
    /// A distribution.
    Distribution(Distribution),
}

/// Where a column goes.
#[derive(Clone, Debug)]
pub enum ColumnPosition {
    /// `FIRST`
    First,
    /// `AFTER c`
    After(Ident),
}

/// `ALTER VIEW v RENAME TO w` or `AS query`
#[derive(Clone, Debug)]
pub struct AlterView {
    /// Which view.
    pub name: ObjectName,
    /// What to do.
    pub action: AlterViewAction,
}

/// What `ALTER VIEW` does.
#[derive(Clone, Debug)]
pub enum AlterViewAction {
    /// `RENAME TO w`
    Rename(ObjectName),
    /// `AS query`
    Query(Box<Query>),
}

/// `ALTER CATALOG c …`
#[derive(Clone, Debug)]
pub struct AlterCatalog {
    /// Which catalog.
    pub name: Ident,
    /// What to do.
    pub action: AlterCatalogAction,
}

/// What `ALTER CATALOG` does.
#[derive(Clone, Debug)]
pub enum AlterCatalogAction {
    /// `SET (…)`
    SetOptions(Options),
    /// `RESET ('k', …)`
    ResetOptions(Vec<Text>),
    /// `COMMENT '…'`
    Comment(Text),
}

/// `ALTER DATABASE d SET (…)`
#[derive(Clone, Debug)]
pub struct AlterDatabase {
    /// Which database.
    pub name: ObjectName,
    /// `SET (…)`
    pub options: Options,
}

/// `ALTER [TEMPORARY [SYSTEM]] FUNCTION [IF EXISTS] f AS 'class' [LANGUAGE …]`
#[derive(Clone, Debug)]
pub struct AlterFunction {
    /// Where it lives.
    pub scope: FunctionScope,
    /// A missing one is no error.
    pub if_exists: bool,
    /// Its name.
    pub name: ObjectName,
    /// The class or symbol.
    pub identifier: Text,
    /// `LANGUAGE …`
    pub language: Option<Ident>,
}

/// `ALTER MODEL [IF EXISTS] m …`
#[derive(Clone, Debug)]
pub struct AlterModel {
    /// A missing one is no error.
    pub if_exists: bool,
    /// Its name.
    pub name: ObjectName,
    /// What to do.
    pub action: AlterModelAction,
}

/// What `ALTER MODEL` does.
#[derive(Clone, Debug)]
pub enum AlterModelAction {
    /// `SET (…)`
    SetOptions(Options),
    /// `RESET ('k', …)`
    ResetOptions(Vec<Text>),
    /// `RENAME TO m`
    Rename(ObjectName),
}

/// `ALTER MATERIALIZED TABLE t …`
#[derive(Clone, Debug)]
pub struct AlterMaterializedTable {
    /// Which one.
    pub name: ObjectName,
    /// What to do.
    pub action: AlterMaterializedTableAction,
}

/// What `ALTER MATERIALIZED TABLE` does.
#[derive(Clone, Debug)]
pub enum AlterMaterializedTableAction {
    /// `SUSPEND`
    Suspend,
    /// `RESUME [WITH (…)]`
    Resume(Option<Options>),
    /// `REFRESH [PARTITION (…)]`
    Refresh(Option<PartitionSpec>),
    /// `AS query`
    Query(Box<Query>),
    /// The actions it shares with `ALTER TABLE`.
    Table(AlterTableAction),
}

/// `DROP [TEMPORARY [SYSTEM]] kind [IF EXISTS] name [CASCADE | RESTRICT]`
#[derive(Clone, Debug)]
pub struct Drop {
    /// What kind of object.
    pub kind: ObjectKind,
    /// `TEMPORARY`
    pub temporary: bool,
    /// `SYSTEM` (functions only)
    pub system: bool,
    /// A missing one is no error.
    pub if_exists: bool,
    /// Its name.
    pub name: ObjectName,
    /// `CASCADE` (databases only)
    pub cascade: bool,
}

/// The kinds of named objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A table.
    Table,
    /// A view.
    View,
    /// A catalog.
    Catalog,
    /// A database.
    Database,
    /// A function.
    Function,
    /// A model.
    Model,
    /// A materialized table.
    MaterializedTable,
}
