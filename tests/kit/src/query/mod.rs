//! Random queries in two languages: Flink SQL for the stream, DataFusion's for the batch answer.
//!
//! ```text
//! seed ─ random ─> Script { tables, Query, sink }  ─ stream() ─> what a user would write
//!                                                  ─ batch()  ─> the same question over the live rows
//! ```
//! | module | what it makes |
//! |---|---|
//! | [`scalar`] | typed expressions: arithmetic, comparison, CASE, casts, text and date functions |
//! | [`aggregate`] | COUNT, SUM, AVG, MIN, MAX with DISTINCT and FILTER |
//! | [`random`] | SELECT, GROUP BY, HAVING, DISTINCT, UNION ALL, subqueries and views; the whole script |
//! | [`disguise`] | other texts of the same meaning |
//!
//! Where the languages differ in meaning (the type of `1`, `SUM` of INT, floats that are NaN), the batch text spells out what
//! Flink means. Every construct is counted in [`crate::classes::Classes`].

pub mod aggregate;
mod condition;
pub mod disguise;
pub mod random;
pub mod scalar;

use std::fmt::Write as _;

use crate::generate::TableKind;

/// A type of SQL. Numbers with a point have their scale; their precision is 20 wherever it is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// INT
    Int,
    /// BIGINT
    BigInt,
    /// DOUBLE
    Double,
    /// DECIMAL(20, s)
    Decimal(u8),
    /// STRING
    Text,
    /// BOOLEAN
    Bool,
    /// TIMESTAMP(3)
    Timestamp,
    /// DATE
    Date,
}

impl Type {
    /// All that a table's columns can be turned into.
    pub const ALL: [Type; 8] =
        [Type::Int, Type::BigInt, Type::Double, Type::Decimal(2), Type::Text, Type::Bool, Type::Timestamp, Type::Date];

    /// As both languages write it.
    pub fn sql(self) -> String {
        match self {
            Type::Int => "INT".into(),
            Type::BigInt => "BIGINT".into(),
            Type::Double => "DOUBLE".into(),
            Type::Decimal(s) => format!("DECIMAL(20, {s})"),
            Type::Text => "STRING".into(),
            Type::Bool => "BOOLEAN".into(),
            Type::Timestamp => "TIMESTAMP(3)".into(),
            Type::Date => "DATE".into(),
        }
    }
}

/// An expression in both languages, and what is known of its values.
#[derive(Clone, Debug)]
pub struct Expr {
    /// Its type.
    pub ty: Type,
    /// Flink SQL.
    pub stream: String,
    /// DataFusion SQL.
    pub batch: String,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Numbers whose sum is exact in any order: small, floats in steps of 1/4 (or NaN).
    pub exact: bool,
    /// Whether it reads a column. (`GROUP BY 1` means a position.)
    pub reads: bool,
}

impl Expr {
    /// A column of a relation.
    pub fn column(name: &str, ty: Type, nullable: bool, exact: bool) -> Self {
        Self { ty, stream: name.into(), batch: name.into(), nullable, exact, reads: true }
    }

    /// Both texts, with `{0}`, `{1}`, … for the arguments. NULL when an argument is.
    pub fn call(ty: Type, stream: &str, batch: &str, args: &[&Expr]) -> Self {
        let fill = |template: &str, text: &dyn Fn(&Expr) -> String| {
            args.iter().enumerate().fold(template.to_owned(), |t, (i, a)| t.replace(&format!("{{{i}}}"), &text(a)))
        };
        Self {
            ty,
            stream: fill(stream, &|a| a.stream.clone()),
            batch: fill(batch, &|a| a.batch.clone()),
            nullable: args.iter().any(|a| a.nullable),
            exact: args.iter().all(|a| a.exact),
            reads: args.iter().any(|a| a.reads),
        }
    }

    /// May be NULL whatever its arguments are.
    pub fn nullable(mut self, nullable: bool) -> Self {
        self.nullable = nullable;
        self
    }

    /// Whether sums of it are exact.
    pub fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }

    /// The batch text with one NaN and one zero, as keys and DISTINCT have them.
    pub fn normal(&self) -> String {
        match self.ty {
            Type::Double => {
                format!("(CASE WHEN isnan({0}) THEN CAST('NaN' AS DOUBLE) ELSE {0} + 0.0 END)", self.batch)
            }
            _ => self.batch.clone(),
        }
    }
}

/// Where rows come from.
#[derive(Clone, Debug)]
pub enum From {
    /// The table under test, `t`.
    Table(TableKind),
    /// The second, append-only table `a`.
    Second,
    /// A query in parentheses, by the number of its alias.
    Subquery(Box<Query>, usize),
    /// A view, by its number. Batch: a subquery.
    View(Box<Query>, usize),
}

/// `SELECT … FROM … WHERE … GROUP BY … HAVING …`. Its columns are named `c0`, `c1`, ….
#[derive(Clone, Debug)]
pub struct Select {
    /// SELECT DISTINCT.
    pub distinct: bool,
    /// The columns.
    pub items: Vec<Expr>,
    /// FROM.
    pub from: From,
    /// WHERE.
    pub filter: Option<Expr>,
    /// GROUP BY; empty for a global aggregate.
    pub group: Option<Vec<Expr>>,
    /// HAVING.
    pub having: Option<Expr>,
    /// Items that together identify a row at any time.
    pub key: Option<Vec<usize>>,
}

/// One SELECT, or several under UNION ALL.
#[derive(Clone, Debug)]
pub struct Query {
    /// At least one.
    pub branches: Vec<Select>,
}

/// Which of the two languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Flink SQL, subqueries where views are.
    StreamInline,
    /// Flink SQL.
    Stream,
    /// DataFusion SQL.
    Batch,
}

impl Expr {
    fn in_language(&self, language: Language) -> &str {
        if language == Language::Batch { &self.batch } else { &self.stream }
    }
}

impl Query {
    /// The columns as the query around it sees them.
    pub fn columns(&self) -> Vec<Expr> {
        let width = self.branches[0].items.len();
        (0..width)
            .map(|i| {
                let all = || self.branches.iter().map(move |b| &b.items[i]);
                let (nullable, exact) = (all().any(|e| e.nullable), all().all(|e| e.exact));
                Expr::column(&format!("c{i}"), self.branches[0].items[i].ty, nullable, exact)
            })
            .collect()
    }

    /// Columns that identify a row.
    pub fn key(&self) -> Option<&Vec<usize>> {
        if let [one] = self.branches.as_slice() { one.key.as_ref() } else { None }
    }

    /// The text in a language.
    pub fn sql(&self, language: Language) -> String {
        self.branches.iter().map(|b| b.sql(language)).collect::<Vec<_>>().join(" UNION ALL ")
    }

    /// `CREATE VIEW` statements for all views in it, innermost first.
    pub fn views(&self) -> String {
        let mut out = String::new();
        for branch in &self.branches {
            match &branch.from {
                From::View(query, number) => {
                    out.push_str(&query.views());
                    let _ = writeln!(out, "CREATE VIEW v{number} AS {};", query.sql(Language::Stream));
                }
                From::Subquery(query, _) => out.push_str(&query.views()),
                From::Table(_) | From::Second => {}
            }
        }
        out
    }

    /// Whether a table is read, by name.
    pub fn reads(&self, table: &str) -> bool {
        self.branches.iter().any(|b| match &b.from {
            From::Table(_) => table == "t",
            From::Second => table == "a",
            From::Subquery(q, _) | From::View(q, _) => q.reads(table),
        })
    }

    /// What its changes are: those of its table, or an aggregate's.
    pub fn changes(&self) -> &'static str {
        let weight = |changes: &&str| ["append", "upsert", "retract", "aggregate"].iter().position(|c| c == changes);
        let all =
            self.branches.iter().map(|b| if b.distinct || b.group.is_some() { "aggregate" } else { b.from.changes() });
        all.max_by_key(weight).unwrap_or("append")
    }
}

impl From {
    /// See [`Query::changes`].
    pub fn changes(&self) -> &'static str {
        match self {
            From::Table(TableKind::Retract) => "retract",
            From::Table(TableKind::Upsert) => "upsert",
            From::Table(TableKind::Append) | From::Second => "append",
            From::Subquery(q, _) | From::View(q, _) => q.changes(),
        }
    }

    fn sql(&self, language: Language) -> String {
        match self {
            From::Table(_) => "t".into(),
            From::Second => "a".into(),
            From::View(_, number) if language == Language::Stream => format!("v{number}"),
            From::Subquery(query, number) => format!("({}) AS q{number}", query.sql(language)),
            From::View(query, number) => format!("({}) AS v{number}", query.sql(language)),
        }
    }
}

impl Select {
    fn sql(&self, language: Language) -> String {
        let batch = language == Language::Batch;
        let item = |e: &Expr| match batch && self.distinct {
            true => e.normal(),
            false => e.in_language(language).to_owned(),
        };
        let items = self.items.iter().enumerate().map(|(i, e)| format!("{} AS c{i}", item(e))).collect::<Vec<_>>();
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        let mut sql = format!("SELECT {distinct}{} FROM {}", items.join(", "), self.from.sql(language));
        if let Some(filter) = &self.filter {
            let _ = write!(sql, " WHERE {}", filter.in_language(language));
        }
        let keys: Vec<&str> = self.group.iter().flatten().map(|k| k.in_language(language)).collect();
        if !keys.is_empty() {
            let _ = write!(sql, " GROUP BY {}", keys.join(", "));
        }
        let mut having: Vec<&str> = self.having.iter().map(|h| h.in_language(language)).collect();
        if batch && keys.is_empty() && self.group.is_some() {
            // Over no rows a stream has no answer yet.
            having.push("COUNT(*) > 0");
        }
        if !having.is_empty() {
            let _ = write!(sql, " HAVING {}", having.join(" AND "));
        }
        sql
    }
}
