//! From statements to operators: binding, planning, functions, batch execution.

pub mod batch;
pub mod catalog;
pub mod error;
pub mod functions;
pub mod operators;
pub mod settings;
pub mod stream;

mod bind;
mod explain;
mod lint;
mod rel;
mod session;
mod sink;

pub use error::{CODES, Errors, Result};
pub use session::{
    CompiledScript, CompiledStatement, Engine, FunctionBody, OutputColumns, ScalarFunction, Session, SessionOptions,
    StreamJob,
};
