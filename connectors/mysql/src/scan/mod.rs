//! Reading: a table, or ranges of a column of it, once.
//!
//! ```text
//! Enumerator   one split, or one per range of scan.partition.column
//! Reader       per split a task: SELECT … WHERE range AND filter ORDER BY primary key ── batches ──> channel ── next()
//! ```
//! # Positions
//! Rows given out of a split. A restore reads the split again and passes over as many: right as long as the table does not change
//! meanwhile, which is what a bounded scan of a live table can promise (the same goes for a query that is begun again after a broken
//! connection). The primary key gives the order; a table without one is read in the order in which the server stores it.

mod decode;
mod query;
mod reader;

use std::sync::Arc;

use dflow_common::TypeKind;
use dflow_connector_api::{
    Boundedness, Enumerator, EnumeratorEvent, Error, Options, OutputSchema, Reader, ReaderContext, Result, Source,
    SourceChangelog, SourceContext, SplitAssignment, SplitId, TableRequest,
};
use dflow_connector_jdbc::options::{self, TableOptions};
use dflow_connector_jdbc::split::{Range, ranges};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::client::Endpoint;
use crate::client::zone::Zone;

/// What enumerator and readers share.
pub(crate) struct Config {
    pub(crate) endpoint: Endpoint,
    pub(crate) options: TableOptions,
    pub(crate) output: OutputSchema,
    pub(crate) zone: Zone,
}

struct MySqlSource(Arc<Config>, Vec<OutputSchema>);

/// Checks a table and makes its source.
pub(crate) fn open(request: &TableRequest, checked: &Options) -> Result<Arc<dyn Source>, Vec<Error>> {
    let mut errors = Vec::new();
    let table = TableOptions::read(checked, request, &mut errors);
    let endpoint = Endpoint::read(checked, request, &mut errors);
    options::check_columns(request, &request.projection, &mut errors);
    if let Some(p) = &table.partitioning
        && matches!(
            request.schema.columns[p.column].ty.kind,
            TypeKind::Date | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_)
        )
    {
        errors.push(
            checked
                .invalid("scan.partition.column", "ranges of dates and timestamps are not supported yet")
                .help("choose a numeric column, or read the table without partitions"),
        );
    }
    let (Some(endpoint), true) = (endpoint, errors.is_empty()) else { return Err(errors) };
    let output = OutputSchema {
        table: request.name.clone(),
        schema: request.schema.clone(),
        projection: request.projection.clone(),
        predicate: request.predicate.clone(),
        changelog: SourceChangelog::Append,
    };
    let config = Config {
        endpoint,
        options: table,
        output: output.clone(),
        // The engine has checked the name.
        zone: Zone::named(&request.time_zone).or(Zone::named("UTC")).expect("UTC is a zone"),
    };
    Ok(Arc::new(MySqlSource(Arc::new(config), vec![output])))
}

impl Source for MySqlSource {
    fn outputs(&self) -> &[OutputSchema] {
        &self.1
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn max_parallelism(&self) -> Option<usize> {
        let splits = self.0.options.partitioning.as_ref().map_or(1, |p| p.count);
        Some(self.0.options.scan_parallelism.unwrap_or(usize::MAX).min(splits))
    }

    fn enumerator(&self, _context: &SourceContext, restored: Option<Value>) -> Result<Box<dyn Enumerator>> {
        let is_assigned = restored.and_then(|v| v.as_bool()).unwrap_or(false);
        Ok(Box::new(Ranges { config: self.0.clone(), is_assigned, is_over: false }))
    }

    fn reader(&self, context: &ReaderContext) -> Result<Box<dyn Reader>> {
        Ok(Box::new(reader::TableReader::new(self.0.clone(), context)))
    }
}

/// All splits at once.
struct Ranges {
    config: Arc<Config>,
    is_assigned: bool,
    is_over: bool,
}

impl Enumerator for Ranges {
    fn next(&mut self) -> BoxFuture<'_, Result<EnumeratorEvent>> {
        if !self.is_assigned {
            self.is_assigned = true;
            let ranges = match &self.config.options.partitioning {
                None => vec![None],
                Some(p) => ranges(p.lower, p.upper, p.count).into_iter().map(Some).collect(),
            };
            let split = |(i, range): (usize, Option<Range>)| SplitAssignment {
                id: SplitId(i.to_string()),
                split: range.map_or(Value::Null, |r| json!([r.lower, r.upper, r.closed])),
                position: None,
            };
            let splits = ranges.into_iter().enumerate().map(split).collect();
            return Box::pin(std::future::ready(Ok(EnumeratorEvent::Assign(splits))));
        }
        if !self.is_over {
            self.is_over = true;
            return Box::pin(std::future::ready(Ok(EnumeratorEvent::NoMoreSplits)));
        }
        Box::pin(std::future::pending())
    }

    fn snapshot(&self) -> Result<Value> {
        Ok(json!(self.is_assigned))
    }
}
