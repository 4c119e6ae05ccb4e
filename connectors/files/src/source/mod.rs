//! The source: files to batches.
//!
//! ```text
//! Enumerator   list ── new files, cut into splits ──> Assign            state: the files it has assigned
//! Reader       split ── blocking thread: read, unpack, decode ──> batch  position: bytes, lines and rows done
//! ```
//! # Splits
//! A file is a split. A large one that is not compressed and whose format ends records at line feeds is cut into
//! ranges; a record belongs to the range its first byte is in.
//!
//! # Positions
//! `{"offset":4096,"lines":12,"rows":12}`: bytes (unpacked), lines and records of the split that are behind us. A
//! compressed file is unpacked again up to its offset, a `parquet` file skips rows.
//!
//! # Invariants
//! * A file is read as it was when it was found: what is appended later is not read, and a file that shrank or
//!   vanished is [`FILE_LOST`](crate::error::FILE_LOST).
//! * Splits are assigned in the order of their paths and offsets.

mod columns;
mod enumerator;
mod errors;
mod reader;
mod split;

use std::sync::Arc;

use dflow_connector_api::format::{Decoding, FormatRequest};
use dflow_connector_api::source::Boundedness;
use dflow_connector_api::{
    Enumerator, Error, OutputSchema, Reader, ReaderContext, Result, Source, SourceChangelog, SourceContext,
    TableRequest,
};
use serde_json::Value;

use crate::options;
use crate::paths::{self, Root};
use columns::Layout;
use errors::{OnError, Policy};

/// Everything readers and enumerator share.
pub(crate) struct Config {
    pub(crate) table: String,
    pub(crate) root: Root,
    pub(crate) pattern: Option<regex::Regex>,
    /// Larger files are read in ranges.
    pub(crate) split_bytes: u64,
    pub(crate) monitor_interval: Option<std::time::Duration>,
    pub(crate) decoding: Decoding,
    pub(crate) layout: Layout,
    pub(crate) policy: Policy,
    pub(crate) span: dflow_common::Span,
}

struct FileSource {
    config: Arc<Config>,
    outputs: [OutputSchema; 1],
    parallelism: Option<usize>,
}

/// Checks a table and makes its source.
pub(crate) fn open(request: &TableRequest) -> Result<Arc<dyn Source>, Vec<Error>> {
    let options::Split { options, format_options } = options::check(request)?;
    let mut errors = Vec::new();

    let path = options.required("path");
    if let Some(scheme) = paths::foreign_scheme(path) {
        errors.push(
            options
                .invalid("path", format!("'{scheme}://' is not supported, only local files are"))
                .help("use a path such as /data/in or file:///data/in"),
        );
    }
    let root = Root::new(&paths::resolve(&request.base_dir, path));
    let pattern = options.text("source.path.regex-pattern").and_then(|text| {
        // Flink matches the whole path.
        regex::Regex::new(&format!("^(?:{text})$"))
            .map_err(|e| errors.push(options.invalid("source.path.regex-pattern", e)))
            .ok()
    });
    let policy = Policy::check(&options, request, &mut errors);
    let layout = Layout::check(request, options.required("partition.default-name"), &mut errors);

    let name = options.required("format");
    let format = request.find_format(name, options.span("format").unwrap_or(request.span));
    let decoding = match (format, &layout) {
        (Ok(format), Some(layout)) => {
            let format_request = FormatRequest {
                table: request.name.clone(),
                schema: layout.record_schema(&request.schema),
                projection: layout.record_projection(),
                masks: layout.record_masks(),
                options: format_options,
                span: request.span,
                time_zone: request.time_zone.clone(),
            };
            format.decoding(&format_request).map(|d| (d, format.spec().changelog)).map_err(|e| errors.extend(e)).ok()
        }
        (Err(e), _) => {
            errors.push(e);
            None
        }
        (Ok(_), None) => None,
    };
    let (Some(policy), Some(layout), Some((decoding, changelog)), true) = (policy, layout, decoding, errors.is_empty())
    else {
        return Err(errors);
    };

    let ignores = matches!(&decoding, Decoding::Records(r) if r.ignores_errors());
    let policy = if ignores && !options.is_set("dflow.on-error") { policy.with(OnError::Skip) } else { policy };
    let output = OutputSchema {
        table: request.name.clone(),
        schema: request.schema.clone(),
        projection: request.projection.clone(),
        predicate: None,
        changelog: if changelog { SourceChangelog::Retract } else { SourceChangelog::Append },
    };
    let config = Config {
        table: request.name.clone(),
        root,
        pattern,
        split_bytes: options.size("dflow.split-size").unwrap_or(64 << 20).max(1),
        monitor_interval: options.duration("source.monitor-interval"),
        decoding,
        layout,
        policy,
        span: request.span,
    };
    let parallelism = options.int("scan.parallelism").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    // Changes of one key may be in several files, or ranges of one: two readers would mix up their order.
    if changelog && parallelism.is_some_and(|n| n > 1) {
        let why = "a change log is read by one reader, which keeps the order of its changes";
        return Err(vec![
            options.invalid("scan.parallelism", why).help("remove the option; what follows runs in parallel"),
        ]);
    }
    let parallelism = if changelog { Some(1) } else { parallelism };
    Ok(Arc::new(FileSource { config: Arc::new(config), outputs: [output], parallelism }))
}

impl Source for FileSource {
    fn outputs(&self) -> &[OutputSchema] {
        &self.outputs
    }

    fn boundedness(&self) -> Boundedness {
        if self.config.monitor_interval.is_some() { Boundedness::Unbounded } else { Boundedness::Bounded }
    }

    fn max_parallelism(&self) -> Option<usize> {
        self.parallelism
    }

    fn enumerator(&self, context: &SourceContext, restored: Option<Value>) -> Result<Box<dyn Enumerator>> {
        Ok(Box::new(enumerator::FileEnumerator::new(self.config.clone(), context, restored)?))
    }

    fn reader(&self, context: &ReaderContext) -> Result<Box<dyn Reader>> {
        Ok(Box::new(reader::FileReader::new(self.config.clone(), context)))
    }
}
