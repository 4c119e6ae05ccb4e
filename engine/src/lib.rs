//! From statements to operators: binding, planning, functions, batch execution.

pub mod functions;
pub mod operators;
