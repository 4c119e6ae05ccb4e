//! Tables and rows in the fewest words.

use std::sync::Arc;

use arrow::array::RecordBatch;
use dflow_common::{ChangeBatch, Env, SourceId, Span, SqlType, TypeKind, env::sim, metrics::Metrics};
use dflow_connector_api::{
    Column, ColumnKind, ConnectorRegistry, EnumeratorEvent, Error, OptionText, RawOption, ReaderContext, ReaderEvent,
    Source, SourceContext, TableRequest, TableSchema,
};
use dflow_connector_datagen::text;

/// A span, so that places can be told apart.
pub(crate) fn span(i: usize) -> Span {
    Span::new(SourceId(0), i, i + 1)
}

/// A column.
pub(crate) fn column(name: &str, ty: TypeKind) -> Column {
    Column { name: name.into(), ty: SqlType::from(ty), kind: ColumnKind::Physical, span: span(100) }
}

/// A request for all these columns.
pub(crate) fn request(columns: Vec<Column>, options: &[(&str, &str)]) -> TableRequest {
    let raw = |(i, (key, value)): (usize, &(&str, &str))| RawOption {
        key: (*key).into(),
        key_span: span(2 * i),
        value: OptionText::Plain((*value).into()),
        value_span: span(2 * i + 1),
    };
    TableRequest {
        name: "default_catalog.default_database.t".into(),
        projection: (0..columns.len()).collect(),
        schema: TableSchema { columns, primary_key: vec![], partition_keys: vec![] },
        masks: vec![],
        predicate: None,
        options: options.iter().enumerate().map(raw).collect(),
        span: span(99),
        base_dir: ".".into(),
        time_zone: "UTC".into(),
        job: "job".into(),
        env: env(),
        metrics: Metrics::new(),
        formats: Arc::default(),
    }
}

/// Virtual time from 2026, seeded randomness.
pub(crate) fn env() -> Env {
    sim::env_real_fs(1)
}

/// The connectors under test.
pub(crate) fn registry() -> ConnectorRegistry {
    let mut registry = ConnectorRegistry::new();
    dflow_connector_datagen::register(&mut registry);
    registry
}

/// Opens a source.
pub(crate) fn source(connector: &str, request: &TableRequest) -> Result<Arc<dyn Source>, Vec<Error>> {
    registry().get(connector, request.span).unwrap().source(request)
}

/// Enumerator and readers of a source, driven to their end or to `rows` rows.
async fn read(source: &dyn Source, parallelism: usize, rows: usize) -> Vec<RecordBatch> {
    let context = SourceContext { job: "job".into(), parallelism, env: env(), metrics: Metrics::new() };
    let mut enumerator = source.enumerator(&context, None).unwrap();
    let mut readers: Vec<_> = (0..parallelism)
        .map(|subtask| source.reader(&ReaderContext { source: context.clone(), subtask }).unwrap())
        .collect();
    loop {
        match enumerator.next().await.unwrap() {
            EnumeratorEvent::Assign(splits) => {
                for (i, split) in splits.into_iter().enumerate() {
                    readers[i % parallelism].add_splits(vec![split]).unwrap();
                }
            }
            EnumeratorEvent::Revoke(_) => unreachable!("generators keep their splits"),
            EnumeratorEvent::NoMoreSplits => break readers.iter_mut().for_each(|r| r.no_more_splits()),
        }
    }
    let (mut out, mut count) = (Vec::new(), 0);
    for mut reader in readers {
        while count < rows {
            match reader.next().await.unwrap() {
                ReaderEvent::Batch { batch, .. } => {
                    count += batch.num_rows();
                    out.push(batch.data);
                }
                ReaderEvent::End => break,
                _ => {}
            }
        }
    }
    out
}

/// All batches of a source.
pub(crate) async fn batches(source: &dyn Source, parallelism: usize) -> Vec<RecordBatch> {
    read(source, parallelism, usize::MAX).await
}

/// `rows` rows of a source at parallelism 1, or all of them, as text.
pub(crate) async fn lines(source: &dyn Source, rows: usize) -> Vec<String> {
    let mut bytes = Vec::new();
    for batch in read(source, 1, rows).await {
        text::append(&ChangeBatch::inserts(batch), b"", &mut bytes).unwrap();
    }
    String::from_utf8(bytes).unwrap().lines().take(rows).map(str::to_owned).collect()
}

/// Codes and messages of a refusal.
pub(crate) fn refusals<T>(result: Result<T, Vec<Error>>) -> Vec<String> {
    result.err().unwrap().iter().map(|e| format!("{e} {e:?}")).collect()
}
