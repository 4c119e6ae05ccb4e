//! Bounded scans for batch mode.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};

use crate::error::{Error, ROLE_NOT_SUPPORTED, Result};
use crate::registry::TableRequest;
use crate::source::{
    Boundedness, Enumerator, EnumeratorEvent, Reader, ReaderContext, ReaderEvent, Source, SourceChangelog,
    SourceContext,
};

/// A finite table: the projected columns of the rows that may match the predicate.
pub trait TableScan: Send + Sync {
    /// The columns, in projection order.
    fn schema(&self) -> SchemaRef;

    /// Streams of rows, at most `partitions` of them.
    ///
    /// # Errors
    /// When the data cannot be opened.
    fn scan(&self, partitions: usize) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>>;
}

/// A scan that reads a bounded, append-only source to its end.
///
/// # Errors
/// When the source does not end, or emits changes.
pub fn bounded(source: Arc<dyn Source>, request: &TableRequest) -> Result<Arc<dyn TableScan>, Vec<Error>> {
    let refuse = |why: &str| {
        vec![
            Error::new(ROLE_NOT_SUPPORTED, format!("table `{}` cannot be read in batch mode: {why}", request.name))
                .at(request.span, "read here in batch mode")
                .help("remove SET 'execution.runtime-mode' = 'batch' to run the script as a stream"),
        ]
    };
    if source.boundedness() == Boundedness::Unbounded {
        return Err(refuse("it has no end"));
    }
    if source.outputs().iter().any(|o| o.changelog != SourceChangelog::Append) {
        return Err(refuse("it is a changelog"));
    }
    let context = SourceContext {
        job: request.job.clone(),
        parallelism: 1,
        env: request.env.clone(),
        metrics: request.metrics.clone(),
    };
    Ok(Arc::new(SourceScan { source, schema: request.output_schema(), context }))
}

struct SourceScan {
    source: Arc<dyn Source>,
    schema: SchemaRef,
    context: SourceContext,
}

impl TableScan for SourceScan {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn scan(&self, _partitions: usize) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let enumerator = self.source.enumerator(&self.context, None)?;
        let reader = self.source.reader(&ReaderContext { source: self.context.clone(), subtask: 0 })?;
        let state = Some((enumerator, reader, false));
        Ok(vec![
            stream::unfold(state, |state| async move {
                let (mut enumerator, mut reader, mut assigned) = state?;
                match next_batch(enumerator.as_mut(), reader.as_mut(), &mut assigned).await {
                    Ok(Some(batch)) => Some((Ok(batch), Some((enumerator, reader, assigned)))),
                    Ok(None) => None,
                    Err(e) => Some((Err(e), None)),
                }
            })
            .boxed(),
        ])
    }
}

async fn next_batch(
    enumerator: &mut dyn Enumerator,
    reader: &mut dyn Reader,
    assigned: &mut bool,
) -> Result<Option<RecordBatch>> {
    while !*assigned {
        match enumerator.next().await? {
            EnumeratorEvent::Assign(splits) => reader.add_splits(splits)?,
            EnumeratorEvent::Revoke(splits) => reader.revoke_splits(&splits),
            EnumeratorEvent::NoMoreSplits => {
                reader.no_more_splits();
                *assigned = true;
            }
        }
    }
    loop {
        match reader.next().boxed().await? {
            ReaderEvent::Batch { batch, .. } => return Ok(Some(batch.data)),
            ReaderEvent::SplitFinished(id) => enumerator.split_finished(&id),
            ReaderEvent::Message(m) => enumerator.reader_message(0, m),
            ReaderEvent::End => return Ok(None),
        }
    }
}
