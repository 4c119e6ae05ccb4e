//! The sink: batches to files, exactly once.
//!
//! ```text
//! write     rows ── by partition ──> dt=2024-01-02/.part-….json.inprogress     hidden, growing
//! prepare   every open file is finished and on disk; its two names go into the manifest
//! commit    .part-….json.inprogress ── rename ──> part-….json                  visible
//! recover   the manifest's files are committed again, other hidden files of this sink are removed
//! ```
//! # Names
//! `part-<sink>-<epoch>-<writer>-<n>-<attempt>.<format>`: `<sink>` is a fingerprint of the job's state and the sink, so that recovery touches
//! only files of this sink; `<attempt>` is random, so that no run can take a file of another for its own.
//!
//! # Invariants
//! * A visible file is complete, belongs to a checkpoint and never changes.
//! * Every checkpoint closes every file: nothing that is in a manifest is written to again. The rolling policy only
//!   makes files smaller than that.
//! * Visible files are never removed by us, also not when an older checkpoint is restored.

mod committer;
mod names;
mod partition;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dflow_common::env::Fs;
use dflow_connector_api::format::{Encoding, FormatRequest};
use dflow_connector_api::{
    ChangelogSupport, ColumnKind, Committer, CommitterContext, Error, Options, Result, Sink, SinkMode, TableRequest,
    TableSchema, Writer, WriterContext,
};

use crate::error::BAD_METADATA;
use crate::options;
use crate::paths;
use partition::Partitioning;

/// Everything writers and committer share.
pub(crate) struct Config {
    pub(crate) table: String,
    pub(crate) dir: PathBuf,
    pub(crate) encoding: Arc<dyn Encoding>,
    pub(crate) partitioning: Partitioning,
    pub(crate) rolling: Rolling,
    /// The marker file of partitions that were written to.
    pub(crate) success_file: Option<String>,
    pub(crate) span: dflow_common::Span,
}

/// When a file is closed before its checkpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rolling {
    pub(crate) bytes: u64,
    pub(crate) age: Duration,
    pub(crate) inactivity: Duration,
}

struct FileSink {
    config: Arc<Config>,
    parallelism: Option<usize>,
}

/// Checks a table and makes its sink.
pub(crate) fn open(request: &TableRequest) -> Result<Arc<dyn Sink>, Vec<Error>> {
    let options::Split { options, format_options } = options::check(request)?;
    let mut errors = Vec::new();
    let path = options.required("path");
    if let Some(scheme) = paths::foreign_scheme(path) {
        errors.push(
            options
                .invalid("path", format!("'{scheme}://' is not supported, only local files are"))
                .help("use a path such as /data/out or file:///data/out"),
        );
    }
    let dir = paths::resolve(&request.base_dir, path);
    if paths::Root::new(&dir).is_glob() {
        errors.push(options.invalid("path", "a table that is written to needs a directory, not a pattern"));
    }
    let success_file = unsupported(&options, &mut errors);
    for i in &request.projection {
        let column = &request.schema.columns[*i];
        if let ColumnKind::Metadata { key, .. } = &column.kind {
            errors.push(
                Error::new(BAD_METADATA, format!("metadata '{key}' of files cannot be written"))
                    .at(column.span, "")
                    .help("declare the column METADATA … VIRTUAL"),
            );
        }
    }
    let partitioning = Partitioning::new(request, options.required("partition.default-name"));

    let name = options.required("format");
    let encoding = request.find_format(name, options.span("format").unwrap_or(request.span)).map_err(|e| vec![e]);
    let encoding = encoding.and_then(|format| {
        let columns: Vec<usize> = partitioning.record_columns().iter().map(|i| request.projection[*i]).collect();
        let schema = TableSchema {
            primary_key: request
                .schema
                .primary_key
                .iter()
                .filter_map(|k| columns.iter().position(|c| c == k))
                .collect(),
            partition_keys: Vec::new(),
            columns: columns.iter().map(|i| request.schema.columns[*i].clone()).collect(),
        };
        format.encoding(&FormatRequest {
            table: request.name.clone(),
            projection: (0..schema.columns.len()).collect(),
            masks: Vec::new(),
            schema,
            options: format_options,
            span: request.span,
            time_zone: request.time_zone.clone(),
        })
    });
    let encoding = encoding.map_err(|e| errors.extend(e)).ok();
    let (Some(encoding), true) = (encoding, errors.is_empty()) else { return Err(errors) };
    let duration = |key: &str| options.duration(key).unwrap_or(Duration::MAX);
    let rolling = Rolling {
        bytes: options.size("sink.rolling-policy.file-size").unwrap_or(u64::MAX).max(1),
        age: duration("sink.rolling-policy.rollover-interval"),
        inactivity: duration("sink.rolling-policy.inactivity-interval"),
    };
    let config = Config {
        table: request.name.clone(),
        dir,
        encoding,
        success_file: success_file.filter(|_| partitioning.is_partitioned()),
        partitioning,
        rolling,
        span: request.span,
    };
    let parallelism = options.int("sink.parallelism").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    Ok(Arc::new(FileSink { config: Arc::new(config), parallelism }))
}

/// Refuses what Flink's options can ask for and this sink does not do; returns the marker file's name.
fn unsupported(options: &Options, errors: &mut Vec<Error>) -> Option<String> {
    for key in ["auto-compaction", "sink.shuffle-by-partition.enable"] {
        if options.bool(key) {
            errors.push(options.invalid(key, "it is not supported").help("remove the option"));
        }
    }
    if options.duration("sink.partition-commit.delay").is_some_and(|d| !d.is_zero()) {
        errors.push(
            options
                .invalid("sink.partition-commit.delay", "a delay is not supported")
                .help("remove the option: a partition is marked when its files appear"),
        );
    }
    let kind = options.text("sink.partition-commit.policy.kind")?;
    for policy in kind.split(',').map(str::trim).filter(|p| *p != "success-file") {
        errors.push(
            options
                .invalid("sink.partition-commit.policy.kind", format!("policy '{policy}' is not supported"))
                .help("use 'success-file', or remove the option"),
        );
    }
    let name = options.required("sink.partition-commit.success-file.name");
    if !paths::is_hidden(name) || name.contains('/') {
        errors.push(
            options
                .invalid("sink.partition-commit.success-file.name", "readers would take the marker for data")
                .help("use a name that begins with _ or ."),
        );
    }
    Some(name.to_owned())
}

impl Sink for FileSink {
    fn mode(&self) -> SinkMode {
        SinkMode::Transactional
    }

    fn changelog(&self) -> ChangelogSupport {
        if self.config.encoding.changelog() { ChangelogSupport::All } else { ChangelogSupport::AppendOnly }
    }

    fn max_parallelism(&self) -> Option<usize> {
        self.parallelism
    }

    fn writer(&self, context: &WriterContext) -> Result<Box<dyn Writer>> {
        Ok(Box::new(writer::FileWriter::new(self.config.clone(), context)))
    }

    fn committer(&self, context: &CommitterContext) -> Result<Option<Box<dyn Committer>>> {
        Ok(Some(Box::new(committer::FileCommitter::new(self.config.clone(), context))))
    }
}

/// Creates a directory such that it is there after a crash: the entries of all new directories are on disk.
pub(crate) fn create_durable(fs: &dyn Fs, path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|p| !p.as_os_str().is_empty() && fs.metadata(p).is_err()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    fs.create_dir_all(path)?;
    missing.iter().filter_map(|p| p.parent()).try_for_each(|parent| fs.sync_dir(parent))
}
