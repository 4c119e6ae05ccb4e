//! Where a reader is in a log.
//!
//! ```json
//! {"version":1,"server":"3e11fa47-…","file":"binlog.000007","pos":1532,"seen":{"mysql":"3e11fa47-…:1-90"},
//!  "inside":{"events":2,"rows":300},"inside_of":"3e11fa47-…:91"}
//! ```
//! A position is behind a whole transaction, plus how much of the next one was handed out. File and offset mean
//! something on one server only; transaction ids mean the same on every replica, and are preferred.
//!
//! # Invariants
//! Reading from [`Position::start`] and skipping what [`Position`] says was handed out goes on exactly there.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::gtid::{GtidSet, MariaPosition};

/// The format of a stored position.
pub const POSITION_VERSION: u8 = 1;

/// A place in a file of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePosition {
    /// The file's name, without a folder.
    pub file: String,
    /// Bytes from its beginning.
    pub pos: u64,
}

impl FilePosition {
    /// Of the first event of a file.
    pub const FIRST: u64 = 4;

    /// A place.
    pub fn new(file: impl Into<String>, pos: u64) -> Self {
        Self { file: file.into(), pos }
    }

    /// Which comes first. Files are numbered, and `.1000000` comes after `.999999`; files of two names have no order.
    pub fn compare(&self, other: &FilePosition) -> Option<Ordering> {
        if self.file == other.file {
            return Some(self.pos.cmp(&other.pos));
        }
        let ((a, n), (b, m)) = (numbered(&self.file)?, numbered(&other.file)?);
        (a == b).then(|| n.cmp(&m).then(self.pos.cmp(&other.pos)))
    }
}

impl std::fmt::Display for FilePosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.pos)
    }
}

fn numbered(file: &str) -> Option<(&str, u64)> {
    let (name, number) = file.rsplit_once('.')?;
    Some((name, number.parse().ok()?))
}

/// Which transactions were seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    /// Of MySQL.
    Mysql(GtidSet),
    /// Of MariaDB.
    Mariadb(MariaPosition),
}

/// A place between two transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Where in the files of the server.
    #[serde(flatten)]
    pub at: FilePosition,
    /// The transactions up to there; `None` on a server without transaction ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// How much of a transaction was handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Inside {
    /// Its first row events, of all tables.
    pub events: u64,
    /// Rows of the row event behind them; an update is one row.
    pub rows: u64,
}

impl Inside {
    fn is_start(&self) -> bool {
        *self == Inside::default()
    }
}

/// Where a reader is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    version: u8,
    /// The server on which file and offset mean something: its UUID, or its id on MariaDB.
    pub server: String,
    /// Behind the last whole transaction.
    #[serde(flatten)]
    pub point: Point,
    /// How much of the transaction behind it was handed out.
    #[serde(default, skip_serializing_if = "Inside::is_start")]
    pub inside: Inside,
    /// The id of that transaction: another one behind the same point means another history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside_of: Option<String>,
    /// Where to read from when that is earlier: a transaction that was prepared there may still commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepared_from: Option<Box<Point>>,
}

/// How two positions lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The first is earlier.
    Before,
    /// They are the same.
    At,
    /// The first is later.
    After,
    /// They are of two histories.
    Incomparable,
}

impl From<Option<Ordering>> for Order {
    fn from(order: Option<Ordering>) -> Self {
        match order {
            Some(Ordering::Less) => Order::Before,
            Some(Ordering::Equal) => Order::At,
            Some(Ordering::Greater) => Order::After,
            None => Order::Incomparable,
        }
    }
}

impl Position {
    /// Between two transactions.
    pub fn new(server: impl Into<String>, point: Point) -> Self {
        let server = server.into();
        Self {
            version: POSITION_VERSION,
            server,
            point,
            inside: Inside::default(),
            inside_of: None,
            prepared_from: None,
        }
    }

    /// Reads a stored position.
    ///
    /// # Errors
    /// When it is not one, or of a later version.
    pub fn from_value(value: &serde_json::Value) -> Result<Self, String> {
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(POSITION_VERSION) => {}
            Some(version) => return Err(format!("it is of version {version}, this build reads {POSITION_VERSION}")),
            None => return Err("it has no version".into()),
        }
        serde_json::from_value(value.clone()).map_err(|e| e.to_string())
    }

    /// Where to begin reading.
    pub fn start(&self) -> &Point {
        self.prepared_from.as_deref().unwrap_or(&self.point)
    }

    /// How it lies to another.
    pub fn compare(&self, other: &Position) -> Order {
        let points = self.compare_points(other);
        match points {
            Some(Ordering::Equal) => Some(self.inside.cmp(&other.inside)).into(),
            order => order.into(),
        }
    }

    fn compare_points(&self, other: &Position) -> Option<Ordering> {
        match (&self.point.seen, &other.point.seen) {
            (Some(Seen::Mysql(a)), Some(Seen::Mysql(b))) => match (a.is_subset(b), b.is_subset(a)) {
                (true, true) => Some(Ordering::Equal),
                (true, false) => Some(Ordering::Less),
                (false, true) => Some(Ordering::Greater),
                (false, false) => None,
            },
            (Some(Seen::Mariadb(a)), Some(Seen::Mariadb(b))) => a.compare(b),
            _ if self.server == other.server => self.point.at.compare(&other.point.at),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(server: &str, file: &str, pos: u64) -> Position {
        Position::new(server, Point { at: FilePosition::new(file, pos), seen: None })
    }

    fn seen(text: &str) -> Position {
        let set = text.replace('A', "3e11fa47-71ca-11e1-9e33-c80aa9429562").parse().unwrap();
        Position::new("s", Point { at: FilePosition::default(), seen: Some(Seen::Mysql(set)) })
    }

    #[test]
    fn files_are_ordered_by_number() {
        let order = |a: &str, b: &str| FilePosition::new(a, 9).compare(&FilePosition::new(b, 4));
        assert_eq!(order("binlog.999999", "binlog.1000000"), Some(Ordering::Less));
        assert_eq!(order("binlog.000002", "binlog.000002"), Some(Ordering::Greater));
        assert_eq!(order("a.000001", "b.000002"), None);
        assert_eq!(order("binlog", "binlog.1"), None);
    }

    #[test]
    fn ids_decide_before_files_do() {
        assert_eq!(seen("A:1-5").compare(&seen("A:1-5")), Order::At);
        assert_eq!(seen("A:1-5").compare(&seen("A:1-6")), Order::Before);
        assert_eq!(seen("A:1-5:7").compare(&seen("A:1-6")), Order::Incomparable);
        assert_eq!(at("s", "b.1", 9).compare(&at("s", "b.1", 4)), Order::After);
        assert_eq!(at("s", "b.1", 9).compare(&at("t", "b.1", 4)), Order::Incomparable);
        let mut further = seen("A:1-5");
        further.inside = Inside { events: 1, rows: 3 };
        assert_eq!(seen("A:1-5").compare(&further), Order::Before, "a restart must not repeat a bulk insert");
        let mut later = further.clone();
        later.inside = Inside { events: 2, rows: 0 };
        assert_eq!(later.compare(&further), Order::After);
    }

    #[test]
    fn stored_position_reads_back_and_a_later_version_does_not() {
        let mut position = seen("A:1-5:7");
        position.inside = Inside { events: 2, rows: 300 };
        position.prepared_from = Some(Box::new(Point { at: FilePosition::new("b.1", 4), seen: None }));
        let mut value = serde_json::to_value(&position).unwrap();
        assert_eq!(Position::from_value(&value).unwrap(), position);
        assert_eq!(position.start().at, FilePosition::new("b.1", 4));
        value["version"] = 2.into();
        assert_eq!(Position::from_value(&value).unwrap_err(), "it is of version 2, this build reads 1");
        assert!(Position::from_value(&serde_json::json!({"version": 1})).is_err());
        assert_eq!(
            serde_json::to_string(&at("s", "b.1", 4)).unwrap(),
            r#"{"version":1,"server":"s","file":"b.1","pos":4}"#
        );
    }
}
