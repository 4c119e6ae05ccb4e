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

/// Standard output, or what fails at every write when it was closed before we began.
pub(crate) fn open() -> Box<dyn Write + Send> {
    // `closed.c` has looked before Rust's runtime put `/dev/null` in its place.
    if std::env::var_os("DFLOW_STDOUT_CLOSED").is_some() { Box::new(Closed) } else { Box::new(io::stdout()) }
}

/// Takes nothing.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("the output was closed before dflow started"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints a text; the exit code.
pub(crate) fn print(text: &str, report: &Report) -> u8 {
    let mut out = open();
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
