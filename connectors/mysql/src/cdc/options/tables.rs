//! Which tables are captured: two regular expressions of Java, one for databases and one for tables.

use std::fmt;

/// Databases that servers keep for themselves; no expression matches them.
const OF_THE_SERVER: [&str; 5] = ["mysql", "information_schema", "performance_schema", "sys", "innodb"];
/// Steps a match may take; names are short, so only a pattern that explodes needs as many.
const STEPS_MAX: usize = 1_000_000;

/// See the [module](self).
///
/// Both expressions match whole names, each for itself, with the case as written. A plain name is an expression that
/// matches itself.
#[derive(Clone)]
pub struct TableFilter {
    database: Pattern,
    table: Pattern,
    leaves_out_helpers: bool,
}

#[derive(Clone)]
struct Pattern {
    text: String,
    regex: fancy_regex::Regex,
}

impl TableFilter {
    /// Compiles both.
    ///
    /// # Errors
    /// Whether it is the database's (else the table's), and what is wrong with it.
    pub fn new(database: &str, table: &str) -> Result<TableFilter, (bool, String)> {
        Ok(TableFilter {
            database: Pattern::new(database).map_err(|why| (true, why))?,
            table: Pattern::new(table).map_err(|why| (false, why))?,
            leaves_out_helpers: false,
        })
    }

    /// Leaves out the tables in which gh-ost and pt-online-schema-change prepare a change: `_orders_gho`, `_orders_new`.
    /// In the end such a table takes the name of the changed one, which is captured all the time.
    pub fn without_helpers(mut self, leaves_out_helpers: bool) -> Self {
        self.leaves_out_helpers = leaves_out_helpers;
        self
    }

    /// Whether a table is captured. A match that takes too long is none; [`TableFilter::try_matches`] says so.
    pub fn matches(&self, database: &str, table: &str) -> bool {
        self.try_matches(database, table).unwrap_or(false)
    }

    /// Whether a table is captured.
    ///
    /// # Errors
    /// When that takes too many steps to find out.
    pub fn try_matches(&self, database: &str, table: &str) -> Result<bool, String> {
        if self.leaves_out_helpers && is_helper(table) {
            return Ok(false);
        }
        Ok(self.try_database(database)? && self.table.matches(table)?)
    }

    /// Whether tables of a database can be captured.
    ///
    /// # Errors
    /// When that takes too many steps to find out.
    pub fn try_database(&self, database: &str) -> Result<bool, String> {
        Ok(!OF_THE_SERVER.contains(&database) && self.database.matches(database)?)
    }

    /// Both expressions, as the script has them: of the database, of the table.
    pub fn texts(&self) -> (&str, &str) {
        (&self.database.text, &self.table.text)
    }

    /// Whether a table would be captured if upper and lower case were the same.
    pub fn matches_ignoring_case(&self, database: &str, table: &str) -> bool {
        let loose = |pattern: &Pattern, name: &str| {
            Pattern::new(&format!("(?i:{})", pattern.text)).and_then(|p| p.matches(name)).unwrap_or(false)
        };
        !OF_THE_SERVER.contains(&database) && loose(&self.database, database) && loose(&self.table, table)
    }
}

/// As the tools name them.
fn is_helper(table: &str) -> bool {
    let endings = ["_gho", "_ghc", "_del", "_new", "_old"];
    table.strip_prefix('_').is_some_and(|name| endings.iter().any(|end| name.len() > end.len() && name.ends_with(end)))
}

impl fmt::Display for TableFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' of database '{}'", self.table.text, self.database.text)
    }
}

impl fmt::Debug for TableFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Pattern, String> {
        let translated = translated(text);
        // By itself first: the parentheses around it must not repair it.
        let compile = |pattern: &str| {
            fancy_regex::RegexBuilder::new(pattern).backtrack_limit(STEPS_MAX).build().map_err(|e| e.to_string())
        };
        compile(&translated)?;
        let regex = compile(&format!(r"\A(?:{translated})\z"))?;
        Ok(Pattern { text: text.to_owned(), regex })
    }

    fn matches(&self, name: &str) -> Result<bool, String> {
        let why = |e| format!("matching `{name}` against '{}' takes too long: {e}", self.text);
        self.regex.is_match(name).map_err(why)
    }
}

/// What Java writes another way: `\Q…\E` quotes, and `\d`, `\w`, `\s` are ASCII.
fn translated(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut is_in_class = false;
    while let Some(c) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix(r"\Q") {
            let (inside, behind) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            out.push_str(&fancy_regex::escape(inside));
            rest = behind;
            continue;
        }
        let escaped = rest[c.len_utf8()..].chars().next().filter(|_| c == '\\');
        rest = &rest[c.len_utf8() + escaped.map_or(0, char::len_utf8)..];
        match (c, escaped) {
            (_, Some(e)) => match (e, is_in_class) {
                ('d', true) => out.push_str("0-9"),
                ('w', true) => out.push_str("a-zA-Z_0-9"),
                ('d', false) => out.push_str("[0-9]"),
                ('w', false) => out.push_str("[a-zA-Z_0-9]"),
                ('D', false) => out.push_str("[^0-9]"),
                ('W', false) => out.push_str("[^a-zA-Z_0-9]"),
                _ => out.extend(['\\', e]),
            },
            ('[', _) => {
                is_in_class = true;
                out.push(c);
            }
            (']', _) => {
                is_in_class = false;
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(pattern: &str, name: &str) -> bool {
        TableFilter::new("d", pattern).unwrap().matches("d", name)
    }

    #[test]
    fn whole_names_match() {
        for (pattern, yes, no) in [
            ("orders", "orders", "orders_2"),
            ("orders_.*", "orders_2", "my_orders_2"),
            ("a|b", "b", "ab"),
            ("(t[5-8]|tt)", "t7", "t9"),
            (r"customers\.1", "customers.1", "customersx1"),
            (r"\Qa.b\E_\d+", "a.b_17", "axb_17"),
            ("[p$]$", "$", "p$x"),
            (r"[\d_]+", "1_2", "1_a"),
            (r"(?!tmp_).*", "orders", "tmp_orders"),
            ("^((?!_bak).)*$", "orders", "orders_bak"),
            ("Orders", "Orders", "orders"),
            ("größe", "größe", "grosse"),
            ("(?i)orders", "ORDERS", "order"),
            (r"t\$1", "t$1", "t1"),
        ] {
            assert!(table(pattern, yes), "{pattern} and {yes}");
            assert!(!table(pattern, no), "{pattern} and {no}");
        }
    }

    #[test]
    fn database_and_table_match_each_for_itself() {
        let filter = TableFilter::new("db_[0-9]+", ".*").unwrap();
        assert!(filter.matches("db_1", "t") && filter.matches("db_1", "a.b"));
        assert!(!filter.matches("db_x", "t") && !filter.matches("db_1x", "t"));
        assert!(!TableFilter::new(".*", ".*").unwrap().matches("mysql", "user"), "the server's own");
        assert!(TableFilter::new("d", "Orders").unwrap().matches_ignoring_case("D", "orders"));
    }

    #[test]
    fn helpers_of_online_changes_are_left_out_when_asked_for() {
        let all = TableFilter::new("d", ".*").unwrap();
        let some = all.clone().without_helpers(true);
        for helper in ["_orders_gho", "_orders_ghc", "_orders_del", "_orders_new", "_orders_old"] {
            assert!(all.matches("d", helper) && !some.matches("d", helper), "{helper}");
        }
        for table in ["orders", "orders_new", "_gho", "_orders"] {
            assert!(some.matches("d", table), "{table}");
        }
    }

    #[test]
    fn broken_pattern_says_which_one_it_is() {
        assert!(TableFilter::new("d(", "t").unwrap_err().0);
        assert!(!TableFilter::new("d", "a)|(b").unwrap_err().0);
    }

    #[test]
    fn pattern_that_explodes_is_told_and_matches_nothing() {
        let filter = TableFilter::new("d", "(a|a)*(?=b)b?c").unwrap();
        let name = "a".repeat(64);
        assert!(filter.try_matches("d", &name).is_err());
        assert!(!filter.matches("d", &name));
    }
}
