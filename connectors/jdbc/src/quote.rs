//! The one place where a name becomes SQL text.
//!
//! Names come from scripts and from servers and may hold anything. A quoted name is one token whatever is in it: the quote character
//! inside is doubled, and nothing else is special inside quotes in the dialects here. (The SQL mode `NO_BACKSLASH_ESCAPES` and
//! `ANSI_QUOTES` change strings and double quotes, not backticks.)

/// How a system writes names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// MySQL and MariaDB: `` `a``b` ``.
    MySql,
    /// SQL Server: `[a]]b]`.
    SqlServer,
}

impl Dialect {
    /// Appends a name, quoted.
    pub fn push_name(self, sql: &mut String, name: &str) {
        let (open, close) = match self {
            Dialect::MySql => ('`', '`'),
            Dialect::SqlServer => ('[', ']'),
        };
        sql.push(open);
        for c in name.chars() {
            if c == close {
                sql.push(close);
            }
            sql.push(c);
        }
        sql.push(close);
    }

    /// Appends names, quoted, with commas between them.
    pub fn push_names<'a>(self, sql: &mut String, names: impl IntoIterator<Item = &'a str>) {
        for (i, name) in names.into_iter().enumerate() {
            if i > 0 {
                sql.push_str(", ");
            }
            self.push_name(sql, name);
        }
    }

    /// A name, quoted.
    pub fn name(self, name: &str) -> String {
        let mut sql = String::with_capacity(name.len() + 2);
        self.push_name(&mut sql, name);
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a quoted name back, as the server does; `None` when the quotes end early.
    fn read(dialect: Dialect, sql: &str) -> Option<String> {
        let (open, close) = if dialect == Dialect::MySql { ('`', '`') } else { ('[', ']') };
        let mut chars = sql.strip_prefix(open)?.chars().peekable();
        let mut name = String::new();
        while let Some(c) = chars.next() {
            if c != close {
                name.push(c);
            } else if chars.next_if_eq(&close).is_some() {
                name.push(close);
            } else {
                return chars.next().is_none().then_some(name);
            }
        }
        None
    }

    #[test]
    fn a_quoted_name_is_one_token_whatever_is_in_it() {
        for name in ["a", "", "a`b", "`", "``", "a]b", "]]", "x`; DROP TABLE t; --", "\\`", "\n\"'", "größe", "?", "/*"]
        {
            for dialect in [Dialect::MySql, Dialect::SqlServer] {
                assert_eq!(read(dialect, &dialect.name(name)).as_deref(), Some(name), "{dialect:?}");
            }
        }
        assert_eq!(Dialect::MySql.name("a`b"), "`a``b`");
        assert_eq!(Dialect::SqlServer.name("a]b"), "[a]]b]");
    }
}
