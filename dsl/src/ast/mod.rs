//! The syntax tree: what a script says, and where it says it.
//!
//! # Shape
//! ```text
//! Script ── Statement { kind, span } ─┬─ CreateTable { name, elements, options, like | query, .. }   ddl.rs
//!                                     ├─ Insert { table, hint, columns, query, .. }                  dml.rs
//!                                     ├─ Set { key, value }, Show, Explain, ..                       command.rs
//!                                     ├─ Query { ast: sqlparser::ast::Query, hints, .. }             query.rs
//!                                     └─ Invalid: a statement whose errors are in the diagnostics
//! ```
//! # Invariants
//! * Every node has its [`Span`]: bytes of the script, on `char` boundaries, inside the text.
//! * Names keep the case they were written in; backticks are removed (and remembered in [`Ident::quoted`]).
//! * String literals are unescaped (`''` is `'`); `${…}` in them is *not* expanded: see [`crate::vars`].
//! * Nothing is resolved: whether a table, column, option or function exists is the binder's business.

mod command;
mod ddl;
mod dml;
mod query;

pub use command::*;
pub use ddl::*;
pub use dml::*;
pub use query::*;

use dflow_common::{SourceId, Span, Spanned, SqlType};

/// A whole script.
#[derive(Clone, Debug)]
pub struct Script {
    /// Which text it was read from.
    pub source: SourceId,
    /// Its statements in the order of the text, the invalid ones included.
    pub statements: Vec<Statement>,
}

/// One statement; the span does not include the `;`.
#[derive(Clone, Debug)]
pub struct Statement {
    /// What it says.
    pub kind: StatementKind,
    /// Where: from its first to its last token.
    pub span: Span,
}

/// All statements of Flink SQL 2.3 and its client.
#[derive(Clone, Debug)]
pub enum StatementKind {
    /// `CREATE TABLE`, `CREATE OR REPLACE TABLE`, `REPLACE TABLE`, with or without `LIKE` or `AS query`.
    CreateTable(Box<CreateTable>),
    /// `CREATE VIEW`
    CreateView(Box<CreateView>),
    /// `CREATE CATALOG`
    CreateCatalog(CreateCatalog),
    /// `CREATE DATABASE`
    CreateDatabase(CreateDatabase),
    /// `CREATE FUNCTION`
    CreateFunction(CreateFunction),
    /// `CREATE MODEL`
    CreateModel(Box<CreateModel>),
    /// `CREATE [OR ALTER] MATERIALIZED TABLE`
    CreateMaterializedTable(Box<CreateMaterializedTable>),
    /// `ALTER TABLE`
    AlterTable(Box<AlterTable>),
    /// `ALTER VIEW`
    AlterView(Box<AlterView>),
    /// `ALTER CATALOG`
    AlterCatalog(AlterCatalog),
    /// `ALTER DATABASE`
    AlterDatabase(AlterDatabase),
    /// `ALTER FUNCTION`
    AlterFunction(AlterFunction),
    /// `ALTER MODEL`
    AlterModel(AlterModel),
    /// `ALTER MATERIALIZED TABLE`
    AlterMaterializedTable(Box<AlterMaterializedTable>),
    /// `DROP …`
    Drop(Drop),
    /// `TRUNCATE TABLE name`
    Truncate(ObjectName),
    /// `INSERT INTO`, `INSERT OVERWRITE`
    Insert(Box<Insert>),
    /// Both spellings of a statement set: one job made of several `INSERT`s.
    StatementSet(StatementSet),
    /// `UPDATE`
    Update(Box<Update>),
    /// `DELETE FROM`
    Delete(Box<Delete>),
    /// A query on its own.
    Query(Box<Query>),
    /// `SET`, alone or with a key and value
    Set(Option<SetOption>),
    /// `RESET`, alone or with a key
    Reset(Option<Text>),
    /// `USE …`
    Use(Use),
    /// `SHOW …`
    Show(Box<Show>),
    /// `DESCRIBE …`
    Describe(Describe),
    /// `EXPLAIN …`
    Explain(Box<Explain>),
    /// `COMPILE [AND EXECUTE] PLAN …`
    CompilePlan(Box<CompilePlan>),
    /// `EXECUTE PLAN 'file'`
    ExecutePlan(Text),
    /// `LOAD MODULE name [WITH (…)]`
    LoadModule(LoadModule),
    /// `UNLOAD MODULE name`
    UnloadModule(Ident),
    /// `ADD JAR 'file'`
    AddJar(Text),
    /// `REMOVE JAR 'file'`
    RemoveJar(Text),
    /// `CALL procedure(…)`
    Call(Box<Call>),
    /// `ANALYZE TABLE …`
    Analyze(Box<Analyze>),
    /// `STOP JOB 'id' …`
    StopJob(StopJob),
    /// `HELP`
    Help,
    /// `QUIT` or `EXIT`
    Quit,
    /// `CLEAR`
    Clear,
    /// A statement that has an error, so that its place and name stay known.
    Invalid(Invalid),
}

/// What can be said about a statement that does not parse.
#[derive(Clone, Debug)]
pub struct Invalid {
    /// The table, view, function, … it was going to create: later statements that name it are not to blame.
    pub creates: Option<ObjectName>,
}

/// A name as written, without its backticks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ident {
    /// The name; case kept.
    pub value: String,
    /// Whether it stood in backticks.
    pub quoted: bool,
    /// Where, backticks included.
    pub span: Span,
}

/// A name of one to three parts: `[[catalog.]database.]object`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectName {
    /// Never empty.
    pub parts: Vec<Ident>,
    /// From the first to the last part.
    pub span: Span,
}

impl ObjectName {
    /// The last part: the object's own name.
    pub fn object(&self) -> &Ident {
        self.parts.last().expect("an object name has at least one part")
    }
}

impl std::fmt::Display for ObjectName {
    /// The parts joined by dots; a part that is not a plain word is put in backticks.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, part) in self.parts.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            write!(f, "{part}")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Ident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plain = self.value.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && self.value.chars().all(|c| c.is_alphanumeric() || c == '_');
        match plain {
            true => f.write_str(&self.value),
            false => write!(f, "`{}`", self.value.replace('`', "``")),
        }
    }
}

/// A string literal, unescaped; the span includes the quotes.
pub type Text = Spanned<String>;

/// A type with its place.
pub type TypeRef = Spanned<SqlType>;

/// `'key' = 'value'`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionEntry {
    /// The key.
    pub key: Text,
    /// The value, variables not expanded.
    pub value: Text,
    /// Both.
    pub span: Span,
}

/// `WITH ('key' = 'value', …)`, `SET (…)` or the list of an `OPTIONS` hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// In the order of the text; duplicates kept.
    pub entries: Vec<OptionEntry>,
    /// The list with its parentheses.
    pub span: Span,
}

impl Options {
    /// The entry of a key; the last one when it is written twice, as Flink does.
    pub fn get(&self, key: &str) -> Option<&OptionEntry> {
        self.entries.iter().rev().find(|e| e.key.value == key)
    }
}
