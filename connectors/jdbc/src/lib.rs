//! What connectors of SQL databases share. Speaks to no server.
//!
//! | module | what |
//! |---|---|
//! | [`options`] | the option names and rules of Flink's JDBC connector |
//! | [`url`] | `jdbc:mysql://host:3306/shop?sslMode=REQUIRED` |
//! | [`quote`] | the one place where a name becomes SQL text |
//! | [`statement`] | `SELECT`, `INSERT`, upserts and `DELETE` over placeholders |
//! | [`filter`] | a predicate as a condition over placeholders |
//! | [`split`] | a bounded scan cut into ranges of a column |
//! | [`reduce`] | the last change of each key of a batch |
//! | [`body`] | changes as bytes in a checkpoint |
//!
//! *Architecture invariant:* values never enter SQL text. They are bound to placeholders, in the order in which the builders return or
//! document them.

pub mod body;
pub mod error;
pub mod filter;
pub mod options;
pub mod quote;
pub mod reduce;
pub mod split;
pub mod statement;
pub mod url;

pub use error::CODES;
