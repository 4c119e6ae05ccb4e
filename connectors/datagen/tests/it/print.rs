//! `print` and `blackhole` tables.

use std::io;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringViewArray};
use bytes::Bytes;
use dflow_common::metrics::{BYTES_OUT, Metrics};
use dflow_common::{ChangeBatch, Epoch, Ops, TypeKind};
use dflow_connector_api::{
    ChangelogSupport, ConnectorFactory, Result, SinkMode, StageStore, StagedRef, TableRequest, WriterContext,
};
use dflow_connector_datagen::{BlackholeFactory, Capture, Output, PrintFactory};
use futures::future::BoxFuture;

use crate::kit::{column, env, refusals, request};

struct NoStage;

impl StageStore for NoStage {
    fn put(&self, _body: Bytes) -> BoxFuture<'_, Result<StagedRef>> {
        unreachable!("these sinks stage nothing")
    }

    fn get(&self, _staged: &StagedRef) -> BoxFuture<'_, Result<Bytes>> {
        unreachable!("these sinks stage nothing")
    }
}

fn table(options: &[(&str, &str)]) -> TableRequest {
    request(vec![column("a", TypeKind::Int), column("b", TypeKind::VarChar(9))], options)
}

fn context(subtask: usize, parallelism: usize) -> WriterContext {
    WriterContext {
        job: "job".into(),
        owner: "owner".into(),
        sink: "sink".into(),
        subtask,
        parallelism,
        restored: Epoch(0),
        env: env(),
        metrics: Metrics::new(),
        stage: Arc::new(NoStage),
    }
}

fn changes() -> ChangeBatch {
    let a: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
    let b: ArrayRef = Arc::new(StringViewArray::from(vec![Some("x"), Some("a longer text than 12 bytes"), None]));
    ChangeBatch::new(RecordBatch::try_from_iter([("a", a), ("b", b)]).unwrap(), Ops::from_kinds(vec![0, 1, 3]))
}

#[tokio::test]
async fn changes_print_in_flinks_words() {
    let (out, err) = (Capture::default(), Capture::default());
    let factory = PrintFactory::new(Arc::new(out.clone()), Arc::new(err.clone()));
    let sink = factory.sink(&table(&[("print-identifier", "t")])).unwrap();
    assert_eq!((sink.mode(), sink.changelog()), (SinkMode::AtLeastOnce, ChangelogSupport::All));
    let context = context(1, 2);
    let mut writer = sink.writer(&context).unwrap();
    writer.write(changes()).await.unwrap();
    writer.flush().await.unwrap();
    let text = "t:2> +I[1, x]\nt:2> -U[null, a longer text than 12 bytes]\nt:2> -D[3, null]\n";
    assert_eq!(out.take(), text);
    assert_eq!(context.metrics.total(&BYTES_OUT), text.len() as f64);
    assert_eq!(writer.prepare(Epoch(1)).await.unwrap(), []);
    assert_eq!((out.take(), err.take()), (String::new(), String::new()), "nothing new, nothing shown");
}

#[tokio::test]
async fn a_barrier_shows_what_was_written_and_standard_error_is_another_stream() {
    let (out, err) = (Capture::default(), Capture::default());
    let factory = PrintFactory::new(Arc::new(out.clone()), Arc::new(err.clone()));
    let sink = factory.sink(&table(&[("standard-error", "true"), ("sink.parallelism", "1")])).unwrap();
    assert_eq!(sink.max_parallelism(), Some(1));
    let mut writer = sink.writer(&context(0, 1)).unwrap();
    writer.write(changes().slice(0, 1)).await.unwrap();
    writer.prepare(Epoch(1)).await.unwrap();
    assert_eq!((out.take(), err.take().as_str()), (String::new(), "+I[1, x]\n"));
}

struct Closed;

impl Output for Closed {
    fn write_all(&self, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

#[tokio::test]
async fn a_closed_pipe_is_an_error_with_a_way_out() {
    let sink = PrintFactory::new(Arc::new(Closed), Arc::new(Closed)).sink(&table(&[])).unwrap();
    let mut writer = sink.writer(&context(0, 1)).unwrap();
    writer.write(changes()).await.unwrap();
    let e = writer.flush().await.unwrap_err();
    assert!(e.to_string().contains("DF7300") && e.to_string().contains("broken pipe"), "{e}");
    let refused = PrintFactory::stdio().sink(&table(&[("sink.parallelism", "0")]));
    assert!(refusals(refused)[0].contains("DF5303"));
}

#[tokio::test]
async fn the_blackhole_takes_every_change_and_gives_nothing_to_commit() {
    let sink = BlackholeFactory.sink(&table(&[])).unwrap();
    assert_eq!(sink.changelog(), ChangelogSupport::All);
    let mut writer = sink.writer(&context(0, 1)).unwrap();
    writer.write(changes()).await.unwrap();
    assert_eq!(writer.prepare(Epoch(1)).await.unwrap(), []);
    assert!(BlackholeFactory.source(&table(&[])).is_err(), "nothing comes out of it");
}
