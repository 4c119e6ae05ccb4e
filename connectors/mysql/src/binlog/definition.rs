//! Which tables a logged statement takes away, empties, renames or changes.
//!
//! ```text
//! DROP TABLE a, shop.b        Dropped(db.a), Dropped(shop.b)
//! RENAME TABLE a TO b         Renamed(db.a, db.b)         a table that is swapped for another is neither gone nor renamed
//! TRUNCATE a                  Emptied(db.a)
//! ALTER TABLE a DROP PARTITION p, ADD c INT               Emptied(db.a), Altered(db.a)
//! ```
//! Only as much of a statement is read as that takes: names, and words outside of quotes and parentheses.

/// A table by database and name.
pub type TableName = (String, String);

/// What a statement does to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Definition {
    /// It is gone.
    Dropped(TableName),
    /// All tables of the database are gone.
    DroppedDatabase(String),
    /// Rows are gone (all, or those of a partition), and no row event says so.
    Emptied(TableName),
    /// It has another name now.
    Renamed(TableName, TableName),
    /// Its columns, or anything else about it, changed.
    Altered(TableName),
}

/// What a statement does to tables; `database` is the one that plain names are of.
pub fn definitions(text: &[u8], database: &str) -> Vec<Definition> {
    let text = String::from_utf8_lossy(text);
    let mut p = Parser { tokens: tokens(&text), at: 0, database };
    match p.word().as_str() {
        "TRUNCATE" => {
            p.skip("TABLE");
            p.table().map(Definition::Emptied).into_iter().collect()
        }
        "DROP" => p.drop(),
        "RENAME" => p.rename(),
        "ALTER" => p.alter(),
        "CREATE" if p.skip("OR") && p.skip("REPLACE") && p.skip("TABLE") => {
            p.table().map(Definition::Emptied).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A word or a name without quotes.
    Word(String),
    /// A name in backticks.
    Quoted(String),
    Symbol(char),
}

/// Words, names and symbols. Comments are left out, but for what is in `/*! … */`; so are strings.
fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '`' => {
                let mut name = String::new();
                while let Some(c) = chars.next() {
                    if c == '`' && chars.next_if_eq(&'`').is_none() {
                        break;
                    }
                    name.push(c);
                }
                out.push(Token::Quoted(name));
            }
            '\'' | '"' => {
                while let Some(inside) = chars.next() {
                    match inside {
                        '\\' => _ = chars.next(),
                        end if end == c && chars.next_if_eq(&c).is_none() => break,
                        _ => {}
                    }
                }
            }
            '/' if chars.next_if_eq(&'*').is_some() => {
                if chars.next_if_eq(&'!').is_some() {
                    while chars.next_if(char::is_ascii_digit).is_some() {}
                    continue;
                }
                let mut last = ' ';
                while let Some(c) = chars.next().filter(|c| !(last == '*' && *c == '/')) {
                    last = c;
                }
            }
            '*' if chars.next_if_eq(&'/').is_some() => {}
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            '-' if chars.peek() == Some(&'-') => while chars.next_if(|c| *c != '\n').is_some() {},
            c if is_in_word(c) => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| is_in_word(*c)) {
                    word.push(c);
                }
                out.push(Token::Word(word));
            }
            c if c.is_whitespace() => {}
            c => out.push(Token::Symbol(c)),
        }
    }
    out
}

fn is_in_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    database: &'a str,
}

impl Parser<'_> {
    /// The next word in upper case; empty when a name or a symbol comes.
    fn word(&mut self) -> String {
        let Some(Token::Word(word)) = self.tokens.get(self.at) else { return String::new() };
        self.at += 1;
        word.to_ascii_uppercase()
    }

    /// Passes over a word if it comes next.
    fn skip(&mut self, expected: &str) -> bool {
        let comes = matches!(self.tokens.get(self.at), Some(Token::Word(word)) if word.eq_ignore_ascii_case(expected));
        self.at += usize::from(comes);
        comes
    }

    fn symbol(&mut self, expected: char) -> bool {
        let comes = self.tokens.get(self.at) == Some(&Token::Symbol(expected));
        self.at += usize::from(comes);
        comes
    }

    fn name(&mut self) -> Option<String> {
        let (Token::Word(name) | Token::Quoted(name)) = self.tokens.get(self.at)? else { return None };
        self.at += 1;
        Some(name.clone())
    }

    /// `name` or `database.name`
    fn table(&mut self) -> Option<TableName> {
        let first = self.name()?;
        match self.symbol('.') {
            true => Some((first, self.name()?)),
            false => Some((self.database.to_owned(), first)),
        }
    }

    fn if_exists(&mut self) {
        if self.skip("IF") {
            self.skip("EXISTS");
        }
    }

    fn drop(&mut self) -> Vec<Definition> {
        if self.skip("DATABASE") || self.skip("SCHEMA") {
            self.if_exists();
            return self.name().map(Definition::DroppedDatabase).into_iter().collect();
        }
        let mut dropped = Vec::new();
        // A temporary table is in no log.
        if self.skip("TABLE") || self.skip("TABLES") {
            self.if_exists();
            while let Some(table) = self.table() {
                dropped.push(Definition::Dropped(table));
                if !self.symbol(',') {
                    break;
                }
            }
        }
        dropped
    }

    fn rename(&mut self) -> Vec<Definition> {
        let mut pairs = Vec::new();
        if self.skip("TABLE") || self.skip("TABLES") {
            self.if_exists();
            while let Some(from) = self.table() {
                self.skip("TO");
                let Some(to) = self.table() else { break };
                pairs.push((from, to));
                if !self.symbol(',') {
                    break;
                }
            }
        }
        // A table whose name another one takes in the same statement was changed by somebody who copied it.
        let is_taken = |name: &TableName| pairs.iter().any(|(_, to)| to == name);
        let one = |(from, to): &(TableName, TableName)| match is_taken(from) {
            true => Definition::Altered(from.clone()),
            false => Definition::Renamed(from.clone(), to.clone()),
        };
        pairs.iter().map(one).collect()
    }

    fn alter(&mut self) -> Vec<Definition> {
        self.skip("ONLINE");
        self.skip("IGNORE");
        if !self.skip("TABLE") {
            return Vec::new();
        }
        self.if_exists();
        let Some(table) = self.table() else { return Vec::new() };
        let (mut depth, mut renamed, mut is_emptied, mut before) = (0_usize, None, false, String::new());
        while let Some(token) = self.tokens.get(self.at).cloned() {
            self.at += 1;
            match token {
                Token::Symbol('(') => depth += 1,
                Token::Symbol(')') => depth = depth.saturating_sub(1),
                Token::Word(word) if depth == 0 => {
                    let word = word.to_ascii_uppercase();
                    match (before.as_str(), word.as_str()) {
                        ("TRUNCATE" | "DROP" | "EXCHANGE", "PARTITION") => is_emptied = true,
                        ("RENAME", "COLUMN" | "INDEX" | "KEY" | "CONSTRAINT") => {}
                        ("RENAME", "TO" | "AS") => renamed = self.table().or(renamed),
                        ("RENAME", _) => {
                            self.at -= 1;
                            renamed = self.table().or(renamed);
                        }
                        _ => {}
                    }
                    before = word;
                    continue;
                }
                Token::Quoted(_) if depth == 0 && before == "RENAME" => {
                    self.at -= 1;
                    renamed = self.table().or(renamed);
                }
                _ => {}
            }
            before.clear();
        }
        let emptied = is_emptied.then(|| Definition::Emptied(table.clone()));
        let last = match renamed {
            Some(to) => Definition::Renamed(table, to),
            None => Definition::Altered(table),
        };
        emptied.into_iter().chain([last]).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<String> {
        let name = |(d, t): &TableName| format!("{d}.{t}");
        let shown = |d: &Definition| match d {
            Definition::Dropped(t) => format!("dropped {}", name(t)),
            Definition::DroppedDatabase(d) => format!("dropped {d}.*"),
            Definition::Emptied(t) => format!("emptied {}", name(t)),
            Definition::Renamed(a, b) => format!("renamed {} {}", name(a), name(b)),
            Definition::Altered(t) => format!("altered {}", name(t)),
        };
        definitions(text.as_bytes(), "d").iter().map(shown).collect()
    }

    #[test]
    fn statements_say_which_tables_they_are_about() {
        for (text, expected) in [
            ("TRUNCATE TABLE `a`", &["emptied d.a"][..]),
            ("/* x */ truncate shop.a", &["emptied shop.a"]),
            ("DROP TABLE IF EXISTS `a`,`s p`.`b``c` /* generated by server */", &["dropped d.a", "dropped s p.b`c"]),
            ("DROP TEMPORARY TABLE a", &[]),
            ("DROP DATABASE IF EXISTS shop", &["dropped shop.*"]),
            ("DROP INDEX i ON a", &[]),
            ("RENAME TABLE a TO b, shop.c TO d", &["renamed d.a d.b", "renamed shop.c d.d"]),
            ("rename table a to _a_del, _a_gho to a", &["altered d.a", "renamed d._a_gho d.a"]),
            ("ALTER TABLE a ADD COLUMN c INT COMMENT 'RENAME TO x'", &["altered d.a"]),
            ("ALTER TABLE a RENAME b", &["renamed d.a d.b"]),
            ("ALTER TABLE a ADD c INT, RENAME TO shop.b", &["renamed d.a shop.b"]),
            ("ALTER TABLE a RENAME `b`", &["renamed d.a d.b"]),
            ("ALTER TABLE a RENAME COLUMN b TO c, RENAME INDEX x TO y", &["altered d.a"]),
            ("ALTER TABLE a TRUNCATE PARTITION p0", &["emptied d.a", "altered d.a"]),
            ("ALTER TABLE a DROP PARTITION p0, p1", &["emptied d.a", "altered d.a"]),
            ("ALTER TABLE a ADD PARTITION (PARTITION p2 VALUES LESS THAN (7))", &["altered d.a"]),
            ("/*!40000 ALTER TABLE a */", &["altered d.a"]),
            ("CREATE OR REPLACE TABLE a (id INT)", &["emptied d.a"]),
            ("CREATE TABLE a (id INT)", &[]),
            ("CREATE OR REPLACE VIEW a AS SELECT 1", &[]),
            ("GRANT ALL ON a TO b", &[]),
            ("", &[]),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(ALTER|DROP|RENAME|TRUNCATE)? ?(TABLE)? ?[ -~`'é]{0,40}") {
            definitions(text.as_bytes(), "d");
        }
    }
}
