//! A connector's bounded scan as a table DataFusion can execute.
//!
//! A scan is one partition; DataFusion spreads its rows over more. NOT NULL of the table is kept in the schema, because
//! the plan was simplified with it, and therefore checked here: connectors deliver fields that may all be NULL.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use dflow_common::Span;
use dflow_common::metrics::CounterHandle;
use dflow_connector_api as api;
use dflow_connector_api::TableScan;
use futures::{StreamExt, stream};

use crate::error::SOURCE_NOT_NULL;

/// A table of a batch statement.
#[derive(Clone)]
pub(super) struct ScannedTable {
    pub(super) scan: Arc<dyn TableScan>,
    /// Columns in the scan's order, NOT NULL where the table says so.
    pub(super) schema: SchemaRef,
    /// `catalog.database.table`
    pub(super) name: String,
    /// Where the query names it.
    pub(super) span: Span,
    /// Counts its rows.
    pub(super) read: CounterHandle,
}

impl ScannedTable {
    /// As DataFusion reads it.
    pub(super) fn provider(self) -> Result<StreamingTable> {
        StreamingTable::try_new(self.schema.clone(), vec![Arc::new(self)])
    }

    /// The rows under the table's schema.
    fn typed(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.schema.fields().iter().zip(batch.columns());
        if let Some((field, _)) = columns.into_iter().find(|(f, c)| !f.is_nullable() && c.null_count() > 0) {
            let column = field.name();
            let message = format!("`{}` has a row with NULL for column `{column}`, which is NOT NULL", self.name);
            return Err(external(
                api::Error::new(SOURCE_NOT_NULL, message)
                    .at(self.span, "read here")
                    .help(format!("declare `{column}` without NOT NULL")),
            ));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), batch.columns().to_vec(), &options)?)
    }
}

fn external(e: api::Error) -> DataFusionError {
    DataFusionError::External(Box::new(e))
}

impl fmt::Debug for ScannedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScannedTable").field(&self.name).finish()
    }
}

impl PartitionStream for ScannedTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = match self.scan.scan(1) {
            Ok(streams) => stream::select_all(streams).boxed(),
            Err(e) => stream::once(std::future::ready(Err(e))).boxed(),
        };
        let table = self.clone();
        let typed = rows.map(move |batch| {
            let batch = table.typed(&batch.map_err(external)?)?;
            table.read.inc_by(batch.num_rows() as f64);
            Ok(batch)
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), typed))
    }
}
