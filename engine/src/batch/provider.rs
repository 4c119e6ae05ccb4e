//! A connector's bounded scan as a table DataFusion can execute.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use dflow_connector_api::TableScan;
use futures::{StreamExt, stream};

/// A scan as a table of one partition; DataFusion spreads its rows.
///
/// # Errors
/// None in practice: the schema is the partition's own.
pub(super) fn table(scan: Arc<dyn TableScan>, schema: SchemaRef) -> Result<StreamingTable> {
    StreamingTable::try_new(schema.clone(), vec![Arc::new(ScanPartition { scan, schema })])
}

struct ScanPartition {
    scan: Arc<dyn TableScan>,
    /// With NOT NULL where the table says so; batches of connectors have only nullable fields.
    schema: SchemaRef,
}

impl fmt::Debug for ScanPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScanPartition")
    }
}

impl PartitionStream for ScanPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = self.schema.clone();
        let rows = match self.scan.scan(1) {
            Ok(streams) => stream::select_all(streams).boxed(),
            Err(e) => stream::once(std::future::ready(Err(e))).boxed(),
        };
        let typed = rows.map(move |batch| {
            let batch = batch.map_err(|e| DataFusionError::External(Box::new(e)))?;
            Ok(RecordBatch::try_new(schema.clone(), batch.columns().to_vec())?)
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), typed))
    }
}
