//! Where reading begins when there is no state.

use dflow_connector_api::{Error, Options};

use crate::binlog::gtid::{GtidSet, MariaPosition};
use crate::binlog::position::{FilePosition, Inside, Seen};

const FILE: &str = "scan.startup.specific-offset.file";
const POS: &str = "scan.startup.specific-offset.pos";
const GTIDS: &str = "scan.startup.specific-offset.gtid-set";
const EVENTS: &str = "scan.startup.specific-offset.skip-events";
const ROWS: &str = "scan.startup.specific-offset.skip-rows";
const MILLIS: &str = "scan.startup.timestamp-millis";

/// See the [module](self).
#[derive(Clone, Debug, PartialEq)]
pub enum Startup {
    /// The tables, then what changes.
    Initial,
    /// The tables alone.
    Snapshot,
    /// Whatever the log still has.
    Earliest,
    /// What changes from now on.
    Latest,
    /// What changed behind a place.
    At(StartAt),
    /// What changed from an instant on, in milliseconds since 1970.
    Time(i64),
}

/// A place in the log, as a script gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct StartAt {
    /// In a file; `None` when only transaction ids are given.
    pub at: Option<FilePosition>,
    /// The transactions that are not read; they go before the file.
    pub seen: Option<Seen>,
    /// How much of the transaction behind it is not read either.
    pub skip: Inside,
}

impl Startup {
    /// Whether the rows of the tables are read.
    pub fn reads_tables(&self) -> bool {
        matches!(self, Startup::Initial | Startup::Snapshot)
    }

    /// Whether what changes is read, without an end.
    pub fn reads_log(&self) -> bool {
        *self != Startup::Snapshot
    }

    /// From checked options; `None` when something is wrong, which was added to `errors`.
    pub(super) fn read(options: &Options, errors: &mut Vec<Error>) -> Option<Startup> {
        let before = errors.len();
        let mode = options.required("scan.startup.mode").trim().to_ascii_lowercase();
        for (keys, of) in [(&[FILE, POS, GTIDS, EVENTS, ROWS][..], "specific-offset"), (&[MILLIS][..], "timestamp")] {
            for key in keys.iter().filter(|key| mode != of && options.is_set(key)) {
                errors.push(
                    options
                        .invalid(key, format!("'scan.startup.mode' is '{mode}'"))
                        .help(format!("write 'scan.startup.mode' = '{of}', or remove the option")),
                );
            }
        }
        let startup = match mode.as_str() {
            "snapshot" => Startup::Snapshot,
            "earliest-offset" => Startup::Earliest,
            "latest-offset" => Startup::Latest,
            "specific-offset" => Startup::At(start_at(options, errors)),
            "timestamp" => {
                let millis = options.int(MILLIS).filter(|millis| *millis >= 0);
                if millis.is_none() {
                    let e = options.invalid("scan.startup.mode", format!("'timestamp' needs the option '{MILLIS}'"));
                    errors.push(e.help(format!("add '{MILLIS}' = '1764000000000': milliseconds since 1970")));
                }
                Startup::Time(millis.unwrap_or_default())
            }
            _ => Startup::Initial,
        };
        (errors.len() == before).then_some(startup)
    }
}

fn start_at(options: &Options, errors: &mut Vec<Error>) -> StartAt {
    let file = options.text(FILE).map(str::trim).filter(|file| !file.is_empty());
    let pos = options.int(POS);
    let at = match (file, pos) {
        (Some(file), Some(pos)) => match u64::try_from(pos).ok().filter(|pos| *pos >= FilePosition::FIRST) {
            Some(pos) => Some(FilePosition::new(file, pos)),
            None => {
                errors.push(options.invalid(POS, "at least 4, where the first event of a file is"));
                None
            }
        },
        (None, None) => None,
        (file, _) => {
            let (given, missing) = if file.is_some() { (FILE, POS) } else { (POS, FILE) };
            errors.push(options.invalid(given, format!("'{missing}' is missing")).help("give both"));
            None
        }
    };
    let seen = options.text(GTIDS).and_then(|text| {
        let seen = seen(text);
        if seen.is_none() {
            let why = format!("`{text}` is no set of transaction ids");
            let help = "write '3e11fa47-71ca-11e1-9e33-c80aa9429562:1-90', on MariaDB '0-1-90'";
            errors.push(options.invalid(GTIDS, why).help(help));
        }
        seen
    });
    if file.is_none() && pos.is_none() && !options.is_set(GTIDS) {
        let why = format!("'specific-offset' needs '{FILE}' and '{POS}', or '{GTIDS}'");
        errors.push(options.invalid("scan.startup.mode", why).help("SHOW BINARY LOGS lists the files of the server"));
    }
    let mut count = |key: &str| {
        let n = u64::try_from(options.int(key).unwrap_or_default());
        n.unwrap_or_else(|_| {
            errors.push(options.invalid(key, "at least 0"));
            0
        })
    };
    StartAt { at, seen, skip: Inside { events: count(EVENTS), rows: count(ROWS) } }
}

/// Transaction ids of either server; their texts have nothing in common.
fn seen(text: &str) -> Option<Seen> {
    if let Ok(set) = text.parse::<GtidSet>() {
        // No transaction is left out: that is 'earliest-offset'.
        return (!set.is_empty()).then_some(Seen::Mysql(set));
    }
    text.parse::<MariaPosition>().ok().filter(|p| !p.is_empty()).map(Seen::Mariadb)
}
