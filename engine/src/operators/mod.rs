//! The streaming operators: what the runtime runs for each node of a plan.
