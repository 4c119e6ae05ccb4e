//! Literal rows as a source: `VALUES (…)`, `SELECT 1`.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use dflow_common::ChangeBatch;
use dflow_connector_api::{
    Boundedness, Enumerator, EnumeratorEvent, OutputSchema, Reader, ReaderContext, ReaderEvent, Result, Source,
    SourceChangelog, SourceContext, SplitAssignment, SplitId, TableSchema,
};
use futures::future::BoxFuture;
use serde_json::Value;

/// The one split there is.
const SPLIT: &str = "values";

/// A source of one batch.
pub(crate) struct ValuesSource {
    batch: RecordBatch,
    outputs: Vec<OutputSchema>,
}

impl ValuesSource {
    /// The rows of `columns`, all of `rows` values.
    pub(crate) fn new(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> arrow::error::Result<Self> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let outputs = vec![OutputSchema {
            table: "(values)".into(),
            schema: TableSchema { columns: vec![], primary_key: vec![], partition_keys: vec![] },
            projection: vec![],
            predicate: None,
            changelog: SourceChangelog::Append,
        }];
        Ok(Self { batch, outputs })
    }
}

impl ValuesSource {
    /// A batch to evaluate constants over.
    pub(crate) fn one_row() -> RecordBatch {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let schema = SchemaRef::new(arrow::datatypes::Schema::empty());
        RecordBatch::try_new_with_options(schema, vec![], &options).expect("one row of no columns is a batch")
    }
}

impl Source for ValuesSource {
    fn outputs(&self) -> &[OutputSchema] {
        &self.outputs
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn max_parallelism(&self) -> Option<usize> {
        Some(1)
    }

    fn enumerator(&self, _: &SourceContext, restored: Option<Value>) -> Result<Box<dyn Enumerator>> {
        Ok(Box::new(OneSplit { assigned: restored.is_some_and(|v| v == Value::Bool(true)) }))
    }

    fn reader(&self, _: &ReaderContext) -> Result<Box<dyn Reader>> {
        Ok(Box::new(ValuesReader { batch: self.batch.clone(), state: State::Waiting, no_more: false }))
    }
}

struct OneSplit {
    assigned: bool,
}

impl Enumerator for OneSplit {
    fn next(&mut self) -> BoxFuture<'_, Result<EnumeratorEvent>> {
        let event = if self.assigned {
            EnumeratorEvent::NoMoreSplits
        } else {
            EnumeratorEvent::Assign(vec![SplitAssignment {
                id: SplitId(SPLIT.into()),
                split: Value::Null,
                position: None,
            }])
        };
        self.assigned = true;
        Box::pin(std::future::ready(Ok(event)))
    }

    fn snapshot(&self) -> Result<Value> {
        Ok(Value::Bool(self.assigned))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No split yet, or done with it.
    Waiting,
    /// The rows are next.
    Rows,
    /// The end of the split is next.
    End,
}

struct ValuesReader {
    batch: RecordBatch,
    state: State,
    no_more: bool,
}

impl Reader for ValuesReader {
    fn add_splits(&mut self, splits: Vec<SplitAssignment>) -> Result<()> {
        for split in splits {
            // A position means that the rows were handed out before the checkpoint.
            self.state = if split.position.is_some() { State::End } else { State::Rows };
        }
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.no_more = true;
    }

    fn next(&mut self) -> BoxFuture<'_, Result<ReaderEvent>> {
        let split = SplitId(SPLIT.into());
        match self.state {
            State::Rows => {
                self.state = State::End;
                let batch = ChangeBatch::inserts(self.batch.clone());
                Box::pin(std::future::ready(Ok(ReaderEvent::Batch { output: 0, split, batch })))
            }
            State::End => {
                self.state = State::Waiting;
                Box::pin(std::future::ready(Ok(ReaderEvent::SplitFinished(split))))
            }
            State::Waiting if self.no_more => Box::pin(std::future::ready(Ok(ReaderEvent::End))),
            State::Waiting => Box::pin(std::future::pending()),
        }
    }

    fn snapshot(&mut self) -> Result<Vec<SplitAssignment>> {
        let position = match self.state {
            State::Waiting => return Ok(vec![]),
            State::Rows => None,
            State::End => Some(Value::Bool(true)),
        };
        Ok(vec![SplitAssignment { id: SplitId(SPLIT.into()), split: Value::Null, position }])
    }
}
