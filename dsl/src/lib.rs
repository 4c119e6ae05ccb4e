//! Script text to statements with spans.
//!
//! ```
//! let parsed = dflow_dsl::parse(dflow_common::SourceId(0), "SET 'parallelism.default' = '2'; SELECT 1;");
//! assert!(parsed.is_ok());
//! assert_eq!(parsed.script.statements.len(), 2);
//! ```
//! # Modules
//! | module | in | out |
//! |---|---|---|
//! | [`parse()`] | a script's text | [`ast::Script`] and all its errors |
//! | [`ast`] | | the tree; queries and expressions are sqlparser's trees with the places they came from |
//! | [`types`] | `ROW<a INT, …>` | [`dflow_common::SqlType`] |
//! | [`vars`] | a literal with `${env:NAME}` | its text, perhaps a secret |
//! | [`options`] | an option's text | a duration, size, number, word |
//! | [`redact`] | a script's text | the same with the values of secret options masked |
//! | [`reserved`] | | the words that need backticks |
//! | [`dialect`] | | how sqlparser reads Flink's queries |
//! | [`error`] | | the codes DF1000 to DF1999 |
//!
//! *Architecture invariants:* this crate knows neither DataFusion nor Tokio, resolves no name, and touches nothing outside
//! its arguments.

pub mod ast;
mod build;
pub mod dialect;
pub mod error;
mod lexer;
mod message;
pub mod options;
mod parse;
pub mod redact;
pub mod reserved;
pub mod types;
pub mod vars;

pub use error::CODES;
pub use parse::{Parsed, parse};
