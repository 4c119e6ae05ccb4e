//! What the text of a logged statement does, as far as a reader of rows must know.
//!
//! Rows carry the data; of statements only the frame of transactions matters, and whether one changed rows without
//! logging them.

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// `BEGIN`
    Begin,
    /// `COMMIT`
    Commit,
    /// `ROLLBACK`
    Rollback,
    /// `ROLLBACK TO savepoint`
    RollbackTo,
    /// `SAVEPOINT x`
    Savepoint,
    /// `XA START id`
    XaStart(String),
    /// `XA END id`
    XaEnd,
    /// `XA COMMIT id`
    XaCommit(String),
    /// `XA ROLLBACK id`
    XaRollback(String),
    /// `INSERT`, `UPDATE`, `DELETE`, `REPLACE`, `LOAD`: rows changed, and only the statement was logged.
    ChangesRows,
    /// `TRUNCATE`: all rows are gone, and no row event says so.
    Truncate,
    /// `ALTER`, `CREATE`, `DROP`, `RENAME`.
    Definition,
    /// Anything else: `GRANT`, `FLUSH`, …
    Other,
}

/// Reads as much of a statement as is needed to know what it does.
pub fn statement(text: &[u8]) -> Statement {
    let text = skip_comments(text);
    let (first, rest) = word(text);
    let (second, tail) = word(rest);
    match first.to_ascii_uppercase().as_slice() {
        b"BEGIN" => Statement::Begin,
        b"START" if second.eq_ignore_ascii_case(b"TRANSACTION") => Statement::Begin,
        b"COMMIT" => Statement::Commit,
        b"ROLLBACK" if second.eq_ignore_ascii_case(b"TO") => Statement::RollbackTo,
        b"ROLLBACK" => Statement::Rollback,
        b"SAVEPOINT" => Statement::Savepoint,
        b"XA" => match second.to_ascii_uppercase().as_slice() {
            b"START" | b"BEGIN" => Statement::XaStart(xid(tail)),
            b"END" => Statement::XaEnd,
            b"COMMIT" => Statement::XaCommit(xid(tail)),
            b"ROLLBACK" => Statement::XaRollback(xid(tail)),
            _ => Statement::Other,
        },
        b"INSERT" | b"UPDATE" | b"DELETE" | b"REPLACE" | b"LOAD" => Statement::ChangesRows,
        b"TRUNCATE" => Statement::Truncate,
        b"ALTER" | b"CREATE" | b"DROP" | b"RENAME" => Statement::Definition,
        _ => Statement::Other,
    }
}

/// The first word, and what is behind it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    let end = text.iter().position(|b| !b.is_ascii_alphanumeric() && *b != b'_').unwrap_or(text.len());
    text.split_at(end)
}

/// The id of an XA transaction as the server writes it in the log, `X'67',X'62',1`, without what may follow.
fn xid(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.trim_ascii());
    text.trim_end_matches(" ONE PHASE")
        .to_ascii_uppercase()
        .replace("X'", "x'")
        .to_ascii_lowercase()
        .replace("x'", "X'")
}

/// Without the comments in front; `/*! … */` is no comment.
fn skip_comments(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        let end = match text {
            [b'/', b'*', b'!', ..] => return text,
            [b'/', b'*', ..] => text.windows(2).position(|pair| pair == b"*/").map(|i| i + 2),
            [b'#', ..] | [b'-', b'-', b' ' | b'\t' | b'\n', ..] => text.iter().position(|b| *b == b'\n'),
            _ => return text,
        };
        text = end.and_then(|end| text.get(end..)).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_of_transactions_is_recognised() {
        let read = |text: &str| statement(text.as_bytes());
        assert_eq!(read("BEGIN"), Statement::Begin);
        assert_eq!(read("ROLLBACK TO `a`"), Statement::RollbackTo);
        assert_eq!(read("XA START X'6161',X'62',1"), Statement::XaStart("X'6161',X'62',1".into()));
        assert_eq!(read("XA COMMIT X'6A',X'',1 ONE PHASE"), Statement::XaCommit("X'6a',X'',1".into()));
        assert_eq!(read("XA END X'6a',X'',1"), Statement::XaEnd);
    }

    #[test]
    fn comments_hide_nothing() {
        let read = |text: &str| statement(text.as_bytes());
        assert_eq!(read("/* app:1 */ -- x\n # y\n INSERT INTO t VALUES (1)"), Statement::ChangesRows);
        assert_eq!(read("/* app */ truncate table t"), Statement::Truncate);
        assert_eq!(read("alter table t add c int"), Statement::Definition);
        assert_eq!(read("/*!40000 ALTER TABLE t ENABLE KEYS */"), Statement::Other);
        assert_eq!(read("/* no end"), Statement::Other);
        assert_eq!(read(""), Statement::Other);
        assert_eq!(read("GRANT ALL ON *.* TO u"), Statement::Other);
    }
}
