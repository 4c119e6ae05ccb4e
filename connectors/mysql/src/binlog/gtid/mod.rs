//! Global transaction ids: which transactions a reader has seen, wherever they are in which file.
//!
//! | server | id | what was seen |
//! |---|---|---|
//! | MySQL | `uuid:7`, `uuid:tag:7` | a set with gaps: `uuid:1-5:7` |
//! | MariaDB | `domain-server-sequence` | the last of each domain: `0-1-7,1-1-3` |

mod maria;
mod set;

pub use maria::{MariaGtid, MariaPosition};
pub use set::{Gtid, GtidSet, Uuid};

/// Why a text is no set of ids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{part}` is not {expected}")]
pub struct ParseError {
    /// The part that cannot be read.
    pub part: String,
    /// What should stand there.
    pub expected: &'static str,
}
