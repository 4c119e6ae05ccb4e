//! The `dflow` binary.
fn main() {}
