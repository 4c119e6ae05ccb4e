//! From statements to operators: binding, planning, functions, batch execution.
