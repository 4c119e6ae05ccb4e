//! Data: the only module that writes to standard output.
//!
//! A reader that went away (`dflow … | head`) is not an error: there is nobody left to print for.

use std::io::{self, ErrorKind, IsTerminal, Write};

use dflow::common::{Diagnostic, SourceMap};
use dflow::error::OUTPUT_FAILED;

use super::report::Report;

/// Whether a person reads it.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Prints a text; the exit code.
pub(crate) fn print(text: &str, report: &Report) -> u8 {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => 0,
        Err(e) if e.kind() == ErrorKind::BrokenPipe => 0,
        Err(e) => report.fail(&failed(&e), &SourceMap::new()),
    }
}

/// Standard output could not be written.
pub(crate) fn failed(error: &io::Error) -> Diagnostic {
    Diagnostic::error(OUTPUT_FAILED, format!("cannot write rows to standard output: {error}"))
        .with_help("make room, or send the output elsewhere")
}
