//! Tables in chunks: by which column, and where each chunk begins.
//!
//! ```text
//! dense whole numbers   1 … 1000, about 990 rows       arithmetic:    (-∞, 101) [101, 201) … [1000, ∞)
//! anything else         a question per chunk           the key of the n-th row behind the last boundary
//! ```
//! | module | what |
//! |---|---|
//! | [`column`] | which column the chunks are ranges of |
//! | [`sql`] | keys in statements |
//! | [`plan`] | where chunks begin: asked from the server, a few ahead of the readers |
//!
//! The last chunk has no upper end. It begins at the largest key at the time and comes first, so that it does not grow
//! while the others are read.

pub mod column;
pub mod plan;
pub mod sql;

use dflow_connector_api::SplitId;
use serde::{Deserialize, Serialize};

use self::column::ChunkColumn;
use crate::binlog::key::Key;

/// A range of a table, as a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// The declared table that reads it.
    pub output: String,
    /// The table's database.
    pub database: String,
    /// Its name.
    pub table: String,
    /// Its place among the chunks of the table, in the order of their keys.
    pub number: u64,
    /// The column.
    pub column: ChunkColumn,
    /// The columns of the primary key; empty without one.
    pub primary_key: Vec<String>,
    /// Where it begins; `None` below every key.
    pub from: Option<Key>,
    /// The first key behind it; `None` above every key.
    pub to: Option<Key>,
}

impl Chunk {
    /// The number of the chunk without an upper end.
    pub const LAST: u64 = u64::MAX;

    /// Unique for ever: a chunk is read by one job once.
    pub fn id(&self) -> SplitId {
        let number = if self.number == Self::LAST { "last".to_owned() } else { self.number.to_string() };
        SplitId(format!("{}/{}.{}/{number}", self.output, self.database, self.table))
    }
}
