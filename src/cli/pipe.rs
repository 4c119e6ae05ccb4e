//! Standard output as a place for rows of a running job.
//!
//! Two kinds of lines go there: rows of a final SELECT ([`Pipe::rows`]) and those of the `print` connector
//! ([`Output`]). Each write is whole lines and is shown at once. When the reader has gone (`… | head -3`), or has all
//! the rows it asked for (`--until rows=N`), further lines are dropped and [`Pipe::done`] wakes the watcher, which stops
//! the job: a clean end.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dflow::common::ChangeBatch;
use dflow::connector::{Error, Result};
use dflow_connector_datagen::Output;
use tokio::sync::Notify;

use super::rows::RowWriter;
use super::stdout;

/// Cheap to clone; all clones are the one standard output.
#[derive(Clone)]
pub(crate) struct Pipe(Arc<Inner>);

struct Inner {
    out: Mutex<Box<dyn Write + Send>>,
    closed: AtomicBool,
    done: Notify,
}

impl Pipe {
    /// The standard output of this process.
    pub(crate) fn stdout() -> Self {
        Self::to(stdout::open())
    }

    fn to(out: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Inner { out: Mutex::new(out), closed: AtomicBool::new(false), done: Notify::new() }))
    }

    /// Waits until nobody wants more lines. Cancel safe.
    pub(crate) async fn done(&self) {
        self.0.done.notified().await;
    }

    /// A sink of rows that writes at most `limit` of them.
    pub(crate) fn rows(&self, writer: RowWriter, limit: Option<u64>) -> Rows {
        Rows { pipe: self.clone(), writer, left: limit }
    }

    /// Nobody wants more lines.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
        // Keeps one permit, so that a watcher that asks later is woken too.
        self.0.done.notify_one();
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() || self.0.closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut out = self.0.out.lock().unwrap_or_else(PoisonError::into_inner);
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(e) if e.kind() == ErrorKind::BrokenPipe => {
                self.close();
                Ok(())
            }
            result => result,
        }
    }
}

impl Output for Pipe {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes)
    }
}

/// Prints rows of one result.
pub(crate) struct Rows {
    pipe: Pipe,
    writer: RowWriter,
    left: Option<u64>,
}

impl Rows {
    /// Prints a batch. Blocks while the reader does not read.
    pub(crate) fn print(&mut self, batch: &ChangeBatch) -> Result<()> {
        let rows = self.left.map_or(batch.num_rows(), |left| batch.num_rows().min(left as usize));
        let mut text = String::new();
        self.writer.append(&batch.slice(0, rows), &mut text)?;
        self.pipe.write(text.as_bytes()).map_err(|e| failed(&e))?;
        if let Some(left) = &mut self.left {
            *left -= rows as u64;
            if *left == 0 {
                self.pipe.close();
            }
        }
        Ok(())
    }

    /// Prints what is owed when no row came.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let mut text = String::new();
        self.writer.finish(&mut text)?;
        self.pipe.write(text.as_bytes()).map_err(|e| failed(&e))
    }
}

fn failed(error: &io::Error) -> Error {
    Error::from(stdout::failed(error))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use arrow::datatypes::DataType;
    use dflow::common::{Classified, SqlType};
    use futures::FutureExt;

    use super::super::args;
    use super::*;

    #[derive(Clone, Default)]
    struct Sink {
        bytes: Arc<Mutex<Vec<u8>>>,
        error: Option<ErrorKind>,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.error {
                Some(kind) => Err(kind.into()),
                None => self.bytes.lock().unwrap().write(bytes),
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn batch(values: std::ops::Range<i64>) -> ChangeBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
        ChangeBatch::inserts(RecordBatch::try_from_iter([("n", column)]).unwrap())
    }

    fn rows(sink: &Sink, limit: Option<u64>) -> (Pipe, Rows) {
        let pipe = Pipe::to(Box::new(sink.clone()));
        let columns = [("n".to_owned(), SqlType::from_arrow(&DataType::Int64).unwrap())];
        let writer = RowWriter::new(args::Output::Csv, &columns, false, dflow::functions::datetime::Zone::UTC).unwrap();
        let rows = pipe.rows(writer, limit);
        (pipe, rows)
    }

    #[test]
    fn exactly_the_wanted_rows_are_printed() {
        let sink = Sink::default();
        let (pipe, mut rows) = rows(&sink, Some(3));
        rows.print(&batch(0..2)).unwrap();
        assert!(pipe.done().now_or_never().is_none());
        rows.print(&batch(2..9)).unwrap();
        rows.print(&batch(9..10)).unwrap();
        assert_eq!(String::from_utf8(sink.bytes.lock().unwrap().clone()).unwrap(), "n\n0\n1\n2\n");
        assert!(pipe.done().now_or_never().is_some(), "the job may stop");
    }

    #[test]
    fn a_reader_that_left_ends_the_run_without_an_error() {
        let sink = Sink { error: Some(ErrorKind::BrokenPipe), ..Sink::default() };
        let (pipe, mut rows) = rows(&sink, None);
        rows.print(&batch(0..2)).unwrap();
        assert!(pipe.done().now_or_never().is_some());
    }

    #[test]
    fn a_full_disk_is_an_error_with_its_code() {
        let sink = Sink { error: Some(ErrorKind::StorageFull), ..Sink::default() };
        let (_, mut rows) = rows(&sink, None);
        let error = rows.print(&batch(0..2)).unwrap_err();
        assert_eq!((error.code(), error.class().exit_code()), (dflow::error::OUTPUT_FAILED.code, 23));
    }
}
