//! The sink that prints changes as Flink prints them.
//!
//! ```text
//! +I[1, a]                 no identifier, one subtask
//! 2> -U[1, a]              no identifier, several subtasks: the subtask from 1
//! orders> +U[1, b]         identifier, one subtask
//! orders:2> -D[1, b]       identifier, several subtasks
//! ```
//! Rows of a batch are formatted into one buffer ([`text`]) and handed to an [`Output`] whole, so that lines of
//! subtasks never mix. The output may block (a pipe nobody reads), so it is called on a thread of its own.
//! A restart prints again what it processes again: at least once.

pub mod text;

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use dflow_common::metrics::{BYTES_OUT, CounterHandle};
use dflow_common::{ChangeBatch, Env, Epoch};
use dflow_connector_api::{
    ChangelogSupport, Committable, ConnectorFactory, ConnectorSpec, Error, OptionSpec, OptionType, Options, Result,
    Roles, Sink, SinkMode, TableRequest, Writer, WriterContext,
};
use futures::future::BoxFuture;

use crate::error::{CANNOT_PRINT, OUT_OF_RANGE};

/// Bytes of text collected before they are handed to the output without waiting for the inbox to run empty.
const BUFFER_BYTES: usize = 64 << 10;

/// Where text goes. Calls may block.
pub trait Output: Send + Sync {
    /// Writes all of it, not mixed with what other threads write, and shows it.
    fn write_all(&self, bytes: &[u8]) -> io::Result<()>;
}

/// The process's standard output.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stdout;

impl Output for Stdout {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }
}

/// The process's standard error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stderr;

impl Output for Stderr {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        io::stderr().lock().write_all(bytes)
    }
}

/// Keeps the text: for tests, and for programs that embed the engine.
#[derive(Clone, Debug, Default)]
pub struct Capture(Arc<Mutex<Vec<u8>>>);

impl Capture {
    /// Takes out what was written so far.
    pub fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Output for Capture {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(())
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("print-identifier", OptionType::Text, "Text in front of every line."),
    OptionSpec::new("standard-error", OptionType::Bool, "Print to standard error instead of standard output.")
        .default("false"),
    OptionSpec::new("sink.parallelism", OptionType::Int, "Subtasks that print, at most."),
];

const SPEC: ConnectorSpec = ConnectorSpec {
    name: "print",
    summary: "Prints every change as a line, `+I[1, a]`.",
    roles: Roles { source: false, sink: true, lookup: false },
    options: OPTIONS,
    takes_format: false,
    guarantees: &["sink: at least once; a restart prints again what it processes again"],
};

/// Makes print sinks.
pub struct PrintFactory {
    out: Arc<dyn Output>,
    err: Arc<dyn Output>,
}

impl PrintFactory {
    /// Prints to these instead of the standard streams.
    pub fn new(out: Arc<dyn Output>, err: Arc<dyn Output>) -> Self {
        Self { out, err }
    }

    /// Prints to the standard streams of the process.
    pub fn stdio() -> Self {
        Self::new(Arc::new(Stdout), Arc::new(Stderr))
    }
}

impl ConnectorFactory for PrintFactory {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn sink(&self, request: &TableRequest) -> Result<Arc<dyn Sink>, Vec<Error>> {
        let options = Options::check("connector 'print'", OPTIONS, &request.options, request.span)?;
        let parallelism = match options.int("sink.parallelism") {
            None => None,
            Some(n) if n > 0 => Some(n as usize),
            Some(n) => {
                let e =
                    Error::new(OUT_OF_RANGE, format!("'sink.parallelism' is {n}, and a sink has at least 1 subtask"));
                return Err(vec![match options.span("sink.parallelism") {
                    Some(span) => e.at(span, "must be positive"),
                    None => e,
                }]);
            }
        };
        let output = if options.bool("standard-error") { &self.err } else { &self.out };
        let identifier = options.text("print-identifier").unwrap_or("").to_owned();
        Ok(Arc::new(Print { output: output.clone(), identifier, parallelism }))
    }
}

struct Print {
    output: Arc<dyn Output>,
    identifier: String,
    parallelism: Option<usize>,
}

impl Sink for Print {
    fn mode(&self) -> SinkMode {
        SinkMode::AtLeastOnce
    }

    fn changelog(&self) -> ChangelogSupport {
        ChangelogSupport::All
    }

    fn max_parallelism(&self) -> Option<usize> {
        self.parallelism
    }

    fn writer(&self, context: &WriterContext) -> Result<Box<dyn Writer>> {
        Ok(Box::new(PrintWriter {
            output: self.output.clone(),
            prefix: prefix(&self.identifier, context.subtask, context.parallelism),
            text: Vec::new(),
            env: context.env.clone(),
            bytes: context.metrics.counter(&BYTES_OUT, &[&context.job, &context.sink]),
        }))
    }
}

/// What stands in front of every line of a subtask.
fn prefix(identifier: &str, subtask: usize, parallelism: usize) -> String {
    match (identifier.is_empty(), parallelism > 1) {
        (true, false) => String::new(),
        (true, true) => format!("{}> ", subtask + 1),
        (false, false) => format!("{identifier}> "),
        (false, true) => format!("{identifier}:{}> ", subtask + 1),
    }
}

struct PrintWriter {
    output: Arc<dyn Output>,
    prefix: String,
    text: Vec<u8>,
    env: Env,
    bytes: CounterHandle,
}

impl PrintWriter {
    /// Hands the collected text to the output.
    async fn show(&mut self) -> Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let text = std::mem::take(&mut self.text);
        let output = self.output.clone();
        let written = self.env.spawner.blocking(move || output.write_all(&text).map(|()| text)).await;
        let result = match written {
            Ok(result) => result,
            Err(_) => Err(io::Error::other("the program is stopping")),
        };
        self.text = result.map_err(|e| {
            Error::new(CANNOT_PRINT, format!("cannot print: {e}"))
                .note("the other end of the pipe is closed, or the terminal is gone")
                .help("keep the reader of the output running, or write into a file")
        })?;
        self.bytes.inc_by(self.text.len() as f64);
        self.text.clear();
        Ok(())
    }
}

impl Writer for PrintWriter {
    fn write(&mut self, batch: ChangeBatch) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            text::append(&batch, self.prefix.as_bytes(), &mut self.text)?;
            if self.text.len() >= BUFFER_BYTES { self.show().await } else { Ok(()) }
        })
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.show())
    }

    fn prepare(&mut self, _epoch: Epoch) -> BoxFuture<'_, Result<Vec<Committable>>> {
        Box::pin(async move { self.show().await.map(|()| Vec::new()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_names_the_identifier_and_the_subtask_when_there_are_several() {
        assert_eq!(prefix("", 0, 1), "");
        assert_eq!(prefix("", 1, 2), "2> ");
        assert_eq!(prefix("orders", 0, 1), "orders> ");
        assert_eq!(prefix("orders", 1, 2), "orders:2> ");
    }
}
