//! Tables and rows in the fewest words.

use std::sync::Arc;

use dflow_common::{Env, SourceId, Span, SqlType, TypeKind, env::sim, metrics::Metrics};
use dflow_connector_api::{
    Column, ColumnKind, ConnectorRegistry, EnumeratorEvent, Error, OptionText, RawOption, ReaderContext, ReaderEvent,
    Source, SourceContext, TableRequest, TableSchema,
};
use dflow_connector_datagen::text;

/// A span, so that places can be told apart.
pub fn span(i: usize) -> Span {
    Span::new(SourceId(0), i, i + 1)
}

/// A column.
pub fn column(name: &str, ty: TypeKind) -> Column {
    Column { name: name.into(), ty: SqlType::from(ty), kind: ColumnKind::Physical, span: span(100) }
}

/// A request for all these columns.
pub fn request(columns: Vec<Column>, options: &[(&str, &str)]) -> TableRequest {
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
pub fn env() -> Env {
    sim::env_real_fs(1)
}

/// The connectors under test.
pub fn registry() -> ConnectorRegistry {
    let mut registry = ConnectorRegistry::new();
    dflow_connector_datagen::register(&mut registry);
    registry
}

/// Opens a source.
pub fn source(connector: &str, request: &TableRequest) -> Result<Arc<dyn Source>, Vec<Error>> {
    registry().get(connector, request.span).unwrap().source(request)
}

/// `rows` rows of a source at parallelism 1, or all of them, as text.
pub async fn lines(source: &dyn Source, rows: usize) -> Vec<String> {
    let context = SourceContext { job: "job".into(), parallelism: 1, env: env(), metrics: Metrics::new() };
    let mut enumerator = source.enumerator(&context, None).unwrap();
    let mut reader = source.reader(&ReaderContext { source: context, subtask: 0 }).unwrap();
    loop {
        match enumerator.next().await.unwrap() {
            EnumeratorEvent::Assign(splits) => reader.add_splits(splits).unwrap(),
            EnumeratorEvent::Revoke(_) => unreachable!("generators keep their splits"),
            EnumeratorEvent::NoMoreSplits => break reader.no_more_splits(),
        }
    }
    let mut out = Vec::new();
    while out.len() < rows {
        match reader.next().await.unwrap() {
            ReaderEvent::Batch { batch, .. } => {
                let mut bytes = Vec::new();
                text::append(&batch, b"", &mut bytes).unwrap();
                out.extend(String::from_utf8(bytes).unwrap().lines().map(str::to_owned));
            }
            ReaderEvent::End => break,
            _ => {}
        }
    }
    out.truncate(rows);
    out
}

/// Codes and messages of a refusal.
pub fn refusals<T>(result: Result<T, Vec<Error>>) -> Vec<String> {
    result.err().unwrap().iter().map(|e| format!("{e} {e:?}")).collect()
}
