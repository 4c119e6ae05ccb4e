//! Which names are visible where, and how Flink names the columns of a SELECT.

use std::collections::HashSet;

use dflow_common::SqlType;
use indexmap::IndexMap;

use crate::catalog::ObjectId;

/// A column of a relation. The type is known for tables and views only.
#[derive(Clone, Debug)]
pub(super) struct ScopeColumn {
    pub(super) name: String,
    pub(super) ty: Option<SqlType>,
}

impl ScopeColumn {
    pub(super) fn untyped(name: impl Into<String>) -> Self {
        Self { name: name.into(), ty: None }
    }
}

/// One item of FROM.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    /// Its alias or own name; `None` for a derived table without alias.
    pub(super) name: Option<String>,
    /// The table behind it, unless it has an alias.
    pub(super) id: Option<ObjectId>,
    pub(super) columns: Vec<ScopeColumn>,
}

impl Relation {
    fn column(&self, name: &str) -> Option<&ScopeColumn> {
        self.columns.iter().find(|c| c.name == name)
    }
}

/// The relations of one FROM.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) relations: Vec<Relation>,
    /// An error has been reported for one of the relations: names that are not found are no news.
    pub(super) poisoned: bool,
}

/// What a name with dots stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The first `usize` parts name the table in full and are to be replaced by this name.
    Column { replace: usize, relation: Option<String> },
    /// Several relations have the column.
    Ambiguous,
    /// The relation exists, the column does not.
    NoColumn { relation: usize, part: usize },
    /// Nothing of that name.
    Nothing,
}

impl Scope {
    /// Looks up `parts`, a column name with what stands before and (for fields of a ROW) behind it.
    pub(super) fn find(&self, parts: &[&str]) -> Found {
        // A table name in front wins over a ROW column of the same name, as in Flink.
        for prefix in (1..parts.len()).rev() {
            let Some((index, relation)) = self.relations.iter().enumerate().find(|(_, r)| matches(r, &parts[..prefix]))
            else {
                continue;
            };
            if relation.column(parts[prefix]).is_some() {
                return Found::Column { replace: prefix, relation: relation.name.clone() };
            }
            if prefix > 1 || self.column_owners(parts[0]) == 0 {
                return Found::NoColumn { relation: index, part: prefix };
            }
        }
        match self.column_owners(parts[0]) {
            0 => Found::Nothing,
            1 => Found::Column { replace: 0, relation: None },
            _ => Found::Ambiguous,
        }
    }

    fn column_owners(&self, name: &str) -> usize {
        self.relations.iter().filter(|r| r.column(name).is_some()).count()
    }

    /// All column names, for suggestions.
    pub(super) fn column_names(&self) -> impl Iterator<Item = &str> {
        self.relations.iter().flat_map(|r| r.columns.iter().map(|c| c.name.as_str()))
    }

    /// The type of a column by name, when exactly one relation has it.
    pub(super) fn type_of(&self, name: &str) -> Option<&SqlType> {
        let mut found = self.relations.iter().filter_map(|r| r.column(name));
        match (found.next(), found.next()) {
            (Some(c), None) => c.ty.as_ref(),
            _ => None,
        }
    }
}

fn matches(relation: &Relation, prefix: &[&str]) -> bool {
    match (prefix, &relation.id) {
        ([name], _) => relation.name.as_deref() == Some(name),
        ([d, n], Some(id)) => id.database == *d && id.name == *n,
        ([c, d, n], Some(id)) => id.catalog == *c && id.database == *d && id.name == *n,
        _ => false,
    }
}

/// Names the columns of one SELECT as Flink does: `a, a0, EXPR$1`.
#[derive(Default)]
pub(super) struct Namer {
    distinct: IndexMap<String, ()>,
    used: HashSet<String>,
    names: Vec<String>,
}

impl Namer {
    /// The output name of the next item, whose own name is `name` if it has one.
    pub(super) fn next(&mut self, name: Option<&str>) -> String {
        // Calcite numbers an unnamed column by the distinct names before it, not by its position.
        let own = name.map_or_else(|| format!("EXPR${}", self.distinct.len()), str::to_owned);
        self.distinct.insert(own.clone(), ());
        let mut unique = own.clone();
        let mut attempt = 0;
        while !self.used.insert(unique.clone()) {
            unique = format!("{own}{attempt}");
            attempt += 1;
        }
        self.names.push(unique.clone());
        unique
    }

    /// All output names.
    pub(super) fn finish(self) -> Vec<String> {
        self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_as_flink_names_them() {
        let name = |items: &[Option<&str>]| {
            let mut n = Namer::default();
            items.iter().for_each(|i| drop(n.next(*i)));
            n.finish()
        };
        assert_eq!(name(&[Some("product"), Some("product"), None, None]), ["product", "product0", "EXPR$1", "EXPR$2"]);
        assert_eq!(
            name(&[Some("a"), Some("b"), None, None, None, None, Some("a")]),
            ["a", "b", "EXPR$2", "EXPR$3", "EXPR$4", "EXPR$5", "a0"]
        );
        assert_eq!(name(&[None, None]), ["EXPR$0", "EXPR$1"]);
    }

    #[test]
    fn a_full_table_name_is_replaced_by_the_relations_name() {
        let id = ObjectId { catalog: "c".into(), database: "d".into(), name: "t".into() };
        let columns = vec![ScopeColumn::untyped("r"), ScopeColumn::untyped("t")];
        let scope =
            Scope { relations: vec![Relation { name: Some("t".into()), id: Some(id), columns }], poisoned: false };
        let column = |replace| Found::Column { replace, relation: (replace > 0).then(|| "t".into()) };
        assert_eq!(scope.find(&["c", "d", "t", "r"]), column(3));
        assert_eq!(scope.find(&["t", "r", "field"]), column(1));
        assert_eq!(scope.find(&["r", "field"]), column(0));
        assert_eq!(scope.find(&["t", "field"]), column(0), "the ROW column `t`, since the table has no such column");
        assert_eq!(scope.find(&["x"]), Found::Nothing);
    }
}
