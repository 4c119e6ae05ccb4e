//! Codes of the facade and the command line: 17xx for what is given to it, 91xx for its own troubles.

use dflow_common::{Class, Code, CodeInfo};

/// Every code of the root package.
pub const CODES: &[CodeInfo] =
    &[USAGE, SCRIPT_UNREADABLE, ENV_FILE, NO_STATE_DIR, WARNINGS_DENIED, OUTPUT_FAILED, BUG, BENCH_FAILED];

/// Flags or arguments that make no sense.
pub const USAGE: CodeInfo = info(1700, "wrong flags or arguments", Class::Usage);
/// The script cannot be read.
pub const SCRIPT_UNREADABLE: CodeInfo = info(1701, "the script cannot be read", Class::Config);
/// The file of `--env-file` cannot be read, or a line of it is not `NAME=value`.
pub const ENV_FILE: CodeInfo = info(1702, "the variables file cannot be used", Class::Config);
/// No folder to keep state in can be worked out.
pub const NO_STATE_DIR: CodeInfo = info(1703, "no place for state", Class::Config);
/// `check --deny warnings` found one.
pub const WARNINGS_DENIED: CodeInfo = info(1704, "warnings were denied", Class::Lint);
/// Rows cannot be written to standard output.
pub const OUTPUT_FAILED: CodeInfo = info(1705, "standard output cannot be written", Class::Resources);
/// A panic.
pub const BUG: CodeInfo = info(9100, "dflow has a bug", Class::Internal);
/// A benchmark did not do what it should.
pub const BENCH_FAILED: CodeInfo = info(9101, "a benchmark failed", Class::Internal);

const fn info(code: u16, title: &'static str, class: Class) -> CodeInfo {
    CodeInfo { code: Code(code), title, class }
}
