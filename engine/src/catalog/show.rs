//! Answers of SHOW and DESCRIBE.

use dflow_common::secret::is_sensitive;
use dflow_dsl::redact::redact;

use super::{Catalog, Column, ColumnSource, Object, Table};

/// A small table of text: the answer of a statement that is not a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

impl Rows {
    /// Rows of one column.
    pub(crate) fn list(column: &str, values: impl IntoIterator<Item = String>) -> Rows {
        Rows { columns: vec![column.into()], rows: values.into_iter().map(|v| vec![Some(v)]).collect() }
    }

    /// Keeps the rows whose first column matches an SQL LIKE pattern.
    pub(crate) fn like(mut self, pattern: &str, negated: bool, ignore_case: bool) -> Rows {
        let fold = |s: &str| if ignore_case { s.to_lowercase() } else { s.to_owned() };
        let pattern: Vec<char> = fold(pattern).chars().collect();
        self.rows.retain(|row| {
            let text: Vec<char> = fold(row.first().and_then(Option::as_deref).unwrap_or("")).chars().collect();
            like(&text, &pattern) != negated
        });
        self
    }
}

/// `%` is any text, `_` one character.
fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('%', rest)) => (0..=text.len()).any(|i| like(&text[i..], rest)),
        Some((p, rest)) => text.split_first().is_some_and(|(t, tail)| (*p == '_' || p == t) && like(tail, rest)),
    }
}

impl Catalog {
    /// `SHOW CATALOGS`
    pub(crate) fn show_catalogs(&self) -> Rows {
        Rows::list("catalog name", self.catalog_names().map(str::to_owned))
    }

    /// `SHOW DATABASES`
    pub(crate) fn show_databases(&self, catalog: &str) -> Rows {
        Rows::list("database name", self.database_names(catalog).map(str::to_owned))
    }

    /// `SHOW TABLES` lists views too, as Flink does; `SHOW VIEWS` views only.
    pub(crate) fn show_tables(&self, catalog: &str, database: &str, views_only: bool) -> Rows {
        let column = if views_only { "view name" } else { "table name" };
        let objects = self.objects(catalog, database);
        let wanted = objects.filter(|o| !views_only || matches!(o, Object::View(_)));
        Rows::list(column, wanted.map(|o| o.id().name.clone()))
    }
}

/// `DESCRIBE t` and `SHOW COLUMNS FROM t`.
pub(crate) fn describe(object: &Object) -> Rows {
    let columns = ["name", "type", "null", "key", "extras", "watermark"].map(str::to_owned).to_vec();
    let rows = match object {
        Object::Table(t) => (0..t.columns.len()).map(|i| describe_column(t, i)).collect(),
        Object::View(v) => v
            .columns
            .iter()
            .map(|(name, ty)| {
                let plain = ty.clone().with_nullable(true);
                vec![Some(name.clone()), Some(plain.to_string()), Some(upper(ty.nullable)), None, None, None]
            })
            .collect(),
    };
    Rows { columns, rows }
}

fn describe_column(t: &Table, i: usize) -> Vec<Option<String>> {
    let c = &t.columns[i];
    let key = t.primary_key.contains(&i).then(|| {
        let names: Vec<_> = t.primary_key.iter().map(|k| t.columns[*k].name.as_str()).collect();
        format!("PRI({})", names.join(", "))
    });
    let extras = match &c.source {
        ColumnSource::Physical => None,
        ColumnSource::Metadata { .. } => Some(metadata(c)),
        ColumnSource::Computed { text, .. } => Some(format!("AS {text}")),
    };
    let watermark = t.watermark.as_ref().filter(|w| w.column == i).map(|w| w.text.clone());
    let plain = c.ty.clone().with_nullable(true).to_string();
    let rowtime = if watermark.is_some() { " *ROWTIME*" } else { "" };
    vec![Some(c.name.clone()), Some(format!("{plain}{rowtime}")), Some(upper(c.ty.nullable)), key, extras, watermark]
}

fn upper(b: bool) -> String {
    if b { "TRUE".into() } else { "FALSE".into() }
}

fn metadata(c: &Column) -> String {
    match &c.source {
        ColumnSource::Metadata { key, is_virtual } => {
            let from = if *key == c.name { String::new() } else { format!(" FROM '{}'", key.replace('\'', "''")) };
            format!("METADATA{from}{}", if *is_virtual { " VIRTUAL" } else { "" })
        }
        _ => String::new(),
    }
}

/// `SHOW CREATE TABLE t`, `SHOW CREATE VIEW v`. Secrets are shown as `***`.
pub(crate) fn show_create(object: &Object) -> Rows {
    let quote = |s: &str| format!("`{}`", s.replace('`', "``"));
    let text = |s: &str| format!("'{}'", s.replace('\'', "''"));
    let id = object.id();
    let name = format!("{}.{}.{}", quote(&id.catalog), quote(&id.database), quote(&id.name));
    let temporary = if object.temporary() { "TEMPORARY " } else { "" };
    let ddl = match object {
        Object::View(v) => {
            let columns: Vec<_> = v.columns.iter().map(|(n, _)| format!("  {}", quote(n))).collect();
            format!("CREATE {temporary}VIEW {name} (\n{}\n)\nAS {}", columns.join(",\n"), redact(&v.text, is_sensitive))
        }
        Object::Table(t) => {
            let mut items: Vec<String> = t
                .columns
                .iter()
                .map(|c| {
                    let what = match &c.source {
                        ColumnSource::Physical => c.ty.to_string(),
                        ColumnSource::Metadata { .. } => format!("{} {}", c.ty, metadata(c)),
                        ColumnSource::Computed { text, .. } => format!("AS {text}"),
                    };
                    let comment = c.comment.as_ref().map(|c| format!(" COMMENT {}", text(c))).unwrap_or_default();
                    format!("  {} {what}{comment}", quote(&c.name))
                })
                .collect();
            if let Some(w) = &t.watermark {
                items.push(format!("  WATERMARK FOR {} AS {}", quote(&t.columns[w.column].name), w.text));
            }
            let names = |of: &[usize]| of.iter().map(|i| quote(&t.columns[*i].name)).collect::<Vec<_>>().join(", ");
            if !t.primary_key.is_empty() {
                let constraint =
                    t.primary_key_name.as_ref().map(|n| format!("CONSTRAINT {} ", quote(n))).unwrap_or_default();
                items.push(format!("  {constraint}PRIMARY KEY ({}) NOT ENFORCED", names(&t.primary_key)));
            }
            let mut ddl = format!("CREATE {temporary}TABLE {name} (\n{}\n)", items.join(",\n"));
            if let Some(c) = &t.comment {
                ddl += &format!("\nCOMMENT {}", text(c));
            }
            if !t.partition_keys.is_empty() {
                ddl += &format!("\nPARTITIONED BY ({})", names(&t.partition_keys));
            }
            let connector = t.connector.as_ref().map(|c| ("connector", c.value.as_str()));
            let options: Vec<_> = connector
                .into_iter()
                .chain(t.options.iter().map(|o| (o.key.as_str(), o.value.shown())))
                .map(|(k, v)| format!("  {} = {}", text(k), text(v)))
                .collect();
            if !options.is_empty() {
                ddl += &format!("\nWITH (\n{}\n)", options.join(",\n"));
            }
            ddl
        }
    };
    Rows::list("result", [ddl])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_patterns_match_as_in_sql() {
        let rows = Rows::list("n", ["orders", "Orders", "order_items", "bid"].map(String::from));
        let names = |r: Rows| r.rows.into_iter().filter_map(|mut r| r.pop().flatten()).collect::<Vec<_>>();
        assert_eq!(names(rows.clone().like("order%", false, false)), ["orders", "order_items"]);
        assert_eq!(names(rows.clone().like("ORDERS", false, true)), ["orders", "Orders"]);
        assert_eq!(names(rows.clone().like("_id", false, false)), ["bid"]);
        assert_eq!(names(rows.like("%r%", true, false)), ["bid"]);
    }
}
