//! Statements over placeholders.
//!
//! Values are bound in the order of the columns given, row after row.

use crate::quote::Dialect;

/// Placeholders one prepared statement may have (MySQL counts them in 16 bits).
pub const PLACEHOLDERS_MAX: usize = 65_535;
/// Rows of one statement at most.
pub const STATEMENT_ROWS_MAX: usize = 2_048;

/// A table whose rows are read or written.
#[derive(Clone, Debug)]
pub struct Statements {
    dialect: Dialect,
    table: String,
    columns: Vec<String>,
    /// Indices into `columns`.
    key: Vec<usize>,
}

impl Statements {
    /// Of these columns of a table; `key` are indices into `columns`.
    pub fn new(dialect: Dialect, table: &str, columns: Vec<String>, key: Vec<usize>) -> Self {
        Self { dialect, table: dialect.name(table), columns, key }
    }

    /// `SELECT a, b FROM t`, and a condition. Without columns it selects NULL, so that rows can be counted.
    pub fn select(&self, condition: Option<&str>) -> String {
        let mut sql = String::from("SELECT ");
        if self.columns.is_empty() {
            sql.push_str("NULL");
        } else {
            self.dialect.push_names(&mut sql, self.columns.iter().map(String::as_str));
        }
        sql.push_str(" FROM ");
        sql.push_str(&self.table);
        if let Some(condition) = condition {
            sql.push_str(" WHERE ");
            sql.push_str(condition);
        }
        sql
    }

    /// `INSERT INTO t (a, b) VALUES (?, ?), …` of `rows` rows.
    pub fn insert(&self, rows: usize) -> String {
        let mut sql = String::from("INSERT INTO ");
        sql.push_str(&self.table);
        sql.push_str(" (");
        self.dialect.push_names(&mut sql, self.columns.iter().map(String::as_str));
        sql.push_str(") VALUES ");
        push_tuples(&mut sql, self.columns.len(), rows);
        sql
    }

    /// An insert that overwrites the row of the same key. Only for [`Dialect::MySql`], whose MariaDB knows `VALUES()` only.
    pub fn upsert(&self, rows: usize) -> String {
        debug_assert_eq!(self.dialect, Dialect::MySql);
        let mut sql = self.insert(rows);
        sql.push_str(" ON DUPLICATE KEY UPDATE ");
        let mut names = (0..self.columns.len()).filter(|c| !self.key.contains(c)).map(|c| &self.columns[c]).peekable();
        if names.peek().is_none() {
            // All columns are key: the row stays as it is.
            let name = self.dialect.name(&self.columns[self.key[0]]);
            return sql + &format!("{name} = {name}");
        }
        for (i, name) in names.enumerate() {
            if i > 0 {
                sql.push_str(", ");
            }
            self.dialect.push_name(&mut sql, name);
            sql.push_str(" = VALUES(");
            self.dialect.push_name(&mut sql, name);
            sql.push(')');
        }
        sql
    }

    /// Deletes `rows` rows by key. Values are bound in the order of the key.
    pub fn delete(&self, rows: usize) -> String {
        let mut sql = String::from("DELETE FROM ");
        sql.push_str(&self.table);
        sql.push_str(" WHERE ");
        let is_one = self.key.len() == 1;
        if !is_one {
            sql.push('(');
        }
        self.dialect.push_names(&mut sql, self.key.iter().map(|k| self.columns[*k].as_str()));
        if is_one {
            sql.push_str(" IN ");
            push_tuples(&mut sql, rows, 1);
        } else {
            sql.push_str(") IN (");
            push_tuples(&mut sql, self.key.len(), rows);
            sql.push(')');
        }
        sql
    }

    /// How many columns.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The key, as indices into the columns.
    pub fn key(&self) -> &[usize] {
        &self.key
    }
}

/// `(?, ?), (?, ?)`.
fn push_tuples(sql: &mut String, width: usize, rows: usize) {
    sql.reserve(rows * (width * 3 + 2));
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..width {
            sql.push_str(if column == 0 { "?" } else { ", ?" });
        }
        sql.push(')');
    }
}

/// Cuts `rows` rows of `width` placeholders into statements whose sizes are powers of two, biggest first: a server keeps few prepared
/// statements whatever the sizes of batches are.
pub fn batch_sizes(rows: usize, width: usize) -> impl Iterator<Item = usize> {
    let most = (PLACEHOLDERS_MAX / width.max(1)).clamp(1, STATEMENT_ROWS_MAX);
    let most = 1 << most.ilog2();
    let mut left = rows;
    std::iter::from_fn(move || {
        let size = most.min(1 << left.checked_ilog2()?);
        left -= size;
        Some(size)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&str], key: &[usize]) -> Statements {
        Statements::new(Dialect::MySql, "t`x", columns.iter().map(|c| (*c).into()).collect(), key.to_vec())
    }

    #[test]
    fn statements_have_quoted_names_and_a_placeholder_per_value() {
        let t = table(&["id", "a;b"], &[0]);
        assert_eq!(t.select(Some("`id` > ?")), "SELECT `id`, `a;b` FROM `t``x` WHERE `id` > ?");
        assert_eq!(t.insert(2), "INSERT INTO `t``x` (`id`, `a;b`) VALUES (?, ?), (?, ?)");
        assert_eq!(
            t.upsert(1),
            "INSERT INTO `t``x` (`id`, `a;b`) VALUES (?, ?) ON DUPLICATE KEY UPDATE `a;b` = VALUES(`a;b`)"
        );
        assert_eq!(t.delete(3), "DELETE FROM `t``x` WHERE `id` IN (?, ?, ?)");
        let both = table(&["a", "b"], &[1, 0]);
        assert_eq!(both.delete(2), "DELETE FROM `t``x` WHERE (`b`, `a`) IN ((?, ?), (?, ?))");
        assert!(both.upsert(1).ends_with("ON DUPLICATE KEY UPDATE `b` = `b`"), "{}", both.upsert(1));
        assert_eq!(table(&[], &[]).select(None), "SELECT NULL FROM `t``x`");
    }

    #[test]
    fn batches_are_powers_of_two_within_the_limits() {
        let sizes = |rows, width| batch_sizes(rows, width).collect::<Vec<_>>();
        assert!(sizes(0, 3).is_empty());
        assert_eq!(sizes(7, 3), [4, 2, 1]);
        assert_eq!(sizes(5_000, 2), [2_048, 2_048, 512, 256, 128, 8]);
        // n and n + 1 placeholders.
        assert_eq!(sizes(1, PLACEHOLDERS_MAX), [1]);
        assert_eq!(sizes(2, PLACEHOLDERS_MAX / 2), [2]);
        assert_eq!(sizes(2, PLACEHOLDERS_MAX / 2 + 1), [1, 1]);
        assert_eq!(sizes(4_096, 100)[0], 512);
    }
}
