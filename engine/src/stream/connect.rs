//! Tables to sources and sinks: asks the registry, passes its errors on.

use std::sync::Arc;

use dflow_common::SourceMap;
use dflow_connector_api::{
    ConnectorFactory, ConnectorSpec, FieldMask, Predicate, RawOption, Sink, Source, SourceChangelog, TableRequest,
    TableScan,
};
use dflow_runtime::checkpoint::Origin;

use crate::Engine;
use crate::bind::context::PlannedTable;
use crate::catalog::Table;
use crate::error::{Errors, Result};
use crate::rel::convert::Sources;
use crate::rel::{Op, Rel, SourceOp, Target, fingerprint};
use crate::session::{merge_options, no_connector};

/// Opens tables for one job.
pub(crate) struct Connectors<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) base_dir: std::path::PathBuf,
    pub(crate) time_zone: String,
    pub(crate) job: String,
}

impl Connectors<'_> {
    fn factory(&self, table: &Table) -> Result<&Arc<dyn ConnectorFactory>> {
        let Some(connector) = &table.connector else {
            return Err(no_connector(&table.id.name, table.span, &self.engine.registry).into());
        };
        self.engine.registry.get(&connector.value, connector.span).map_err(|e| Errors::from(vec![e]))
    }

    fn request(
        &self,
        table: &Table,
        options: Vec<RawOption>,
        projection: Vec<usize>,
        masks: Vec<FieldMask>,
        predicate: Option<Predicate>,
    ) -> TableRequest {
        TableRequest {
            name: table.id.to_string(),
            schema: table.connector_schema().0,
            projection,
            masks,
            predicate,
            options,
            span: table.span,
            base_dir: self.base_dir.clone(),
            time_zone: self.time_zone.clone(),
            job: self.job.clone(),
            env: self.engine.env.clone(),
            metrics: self.engine.metrics.clone(),
            formats: self.engine.registry.formats().clone(),
        }
    }

    /// Opens a source as planned.
    pub(crate) fn source(&self, s: &SourceOp) -> Result<Arc<dyn Source>> {
        let masks = if s.masks.iter().all(|m| *m == FieldMask::All) { vec![] } else { s.masks.clone() };
        let request = self.request(&s.table, s.options.clone(), s.projection.clone(), masks, s.predicate.clone());
        self.factory(&s.table)?.source(&request).map_err(Errors::from)
    }

    /// Opens a bounded scan of these columns of the rows that may match `predicate`.
    pub(crate) fn scan(
        &self,
        table: &Table,
        options: Vec<RawOption>,
        projection: Vec<usize>,
        predicate: Option<Predicate>,
    ) -> Result<Arc<dyn TableScan>> {
        let request = self.request(table, options, projection, vec![], predicate);
        self.factory(table)?.scan(&request).map_err(Errors::from)
    }

    /// Opens a sink for all persisted columns.
    pub(crate) fn sink(&self, table: &Table, options: &[RawOption]) -> Result<Arc<dyn Sink>> {
        let (_, indices) = table.connector_schema();
        let projection = table.persisted().iter().filter_map(|p| indices.iter().position(|i| i == p)).collect();
        let request = self.request(table, options.to_vec(), projection, vec![], None);
        self.factory(table)?.sink(&request).map_err(Errors::from)
    }

    /// Where a node comes from, for messages about its state.
    pub(crate) fn origin(&self, rel: &Rel, sources: &SourceMap) -> Origin {
        let (table, options) = match &rel.op {
            Op::Source(s) => (&s.table, &s.options),
            Op::Sink(Target::Table { table, options }) => (table, options),
            _ => return Origin { place: rel.span.and_then(|s| sources.place(s)), ..Origin::default() },
        };
        Origin {
            place: rel.span.and_then(|s| sources.place(s)),
            table: Some(table.id.name.clone()),
            data: fingerprint::data(options, self.spec(table)),
            written: matches!(rel.op, Op::Sink(_)).then(|| fingerprint::written(rel)),
        }
    }

    fn spec(&self, table: &Table) -> Option<&'static ConnectorSpec> {
        let name = table.connector.as_ref()?.value.as_str();
        self.engine.registry.connectors().find(|c| c.name == name)
    }
}

impl Sources for Connectors<'_> {
    fn changelog(&self, planned: &PlannedTable) -> Result<SourceChangelog> {
        let table = &planned.table;
        let options = merge_options(&table.options, &planned.hint);
        let (schema, _) = table.connector_schema();
        let request = self.request(table, options, (0..schema.columns.len()).collect(), vec![], None);
        let source = self.factory(table)?.source(&request).map_err(Errors::from)?;
        Ok(source.outputs().first().map_or(SourceChangelog::Append, |o| o.changelog))
    }

    fn identity(&self, table: &Table, options: &[RawOption]) -> String {
        fingerprint::table(table, options, self.spec(table))
    }
}
