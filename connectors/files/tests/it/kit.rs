//! Small words for tests.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dflow_common::env::{DirEntry, Env, Fs, FsFile, FsLock, FsRead, Metadata, RealFs, sim};
use dflow_common::metrics::Metrics;
use dflow_common::{ChangeBatch, Epoch, SourceId, Span, SqlType, TypeKind};
use dflow_connector_api::testing::{MemoryStage, rows};
use dflow_connector_api::{
    Column, ColumnKind, Committable, Committer, CommitterContext, ConnectorRegistry, Enumerator, EnumeratorEvent,
    Error, OptionText, RawOption, Reader, ReaderContext, ReaderEvent, Result, Sink, Source, SourceContext,
    SplitAssignment, TableRequest, TableSchema, Writer, WriterContext,
};
use serde_json::Value;

pub(crate) fn span() -> Span {
    Span::new(SourceId(0), 0, 1)
}

pub(crate) fn int() -> SqlType {
    TypeKind::Int.into()
}

pub(crate) fn bigint() -> SqlType {
    TypeKind::BigInt.into()
}

pub(crate) fn string() -> SqlType {
    SqlType::STRING
}

/// A table under a temporary directory.
pub(crate) struct Table {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) env: Env,
    pub(crate) metrics: Metrics,
    columns: Vec<Column>,
    partitions: Vec<usize>,
    options: Vec<(String, String)>,
}

impl Table {
    /// Columns and options as a script would give them; `path` is `data` unless given.
    pub(crate) fn new(columns: &[(&str, SqlType)], options: &[(&str, &str)]) -> Self {
        let column = |(name, ty): &(&str, SqlType)| Column {
            name: (*name).into(),
            ty: ty.clone(),
            kind: ColumnKind::Physical,
            span: span(),
        };
        Self {
            dir: tempfile::tempdir().unwrap(),
            env: sim::env_real_fs(7),
            metrics: Metrics::new(),
            columns: columns.iter().map(column).collect(),
            partitions: Vec::new(),
            options: options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        }
    }

    /// JSON with `id BIGINT, name STRING`.
    pub(crate) fn json(options: &[(&str, &str)]) -> Self {
        let mut all = vec![("format", "json")];
        all.extend(options);
        Self::new(&[("id", bigint()), ("name", string())], &all)
    }

    pub(crate) fn partitioned_by(mut self, names: &[&str]) -> Self {
        self.partitions = names.iter().map(|n| self.columns.iter().position(|c| c.name == *n).unwrap()).collect();
        self
    }

    pub(crate) fn metadata(mut self, name: &str, key: &str, ty: SqlType) -> Self {
        let kind = ColumnKind::Metadata { key: key.into(), is_virtual: false };
        self.columns.push(Column { name: name.into(), ty, kind, span: span() });
        self
    }

    pub(crate) fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.env = sim::env(7, fs);
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("data").join(name)
    }

    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn request(&self) -> TableRequest {
        let option = |(k, v): &(String, String)| RawOption {
            key: k.clone(),
            key_span: span(),
            value: OptionText::Plain(v.clone()),
            value_span: span(),
        };
        let mut options: Vec<RawOption> = self.options.iter().map(option).collect();
        if !self.options.iter().any(|(k, _)| k == "path") {
            options.push(option(&("path".into(), "data".into())));
        }
        TableRequest {
            name: "default_catalog.default_database.t".into(),
            schema: TableSchema {
                columns: self.columns.clone(),
                primary_key: Vec::new(),
                partition_keys: self.partitions.clone(),
            },
            projection: (0..self.columns.len()).collect(),
            masks: Vec::new(),
            predicate: None,
            options,
            span: span(),
            base_dir: self.dir.path().to_owned(),
            time_zone: "UTC".into(),
            job: "job".into(),
            env: self.env.clone(),
            metrics: self.metrics.clone(),
            formats: registry().formats().clone(),
        }
    }

    pub(crate) fn try_source(&self, projection: Option<&[usize]>) -> Result<Arc<dyn Source>, Vec<Error>> {
        let mut request = self.request();
        if let Some(projection) = projection {
            request.projection = projection.to_vec();
        }
        registry().get("filesystem", span()).unwrap().source(&request)
    }

    pub(crate) fn source(&self) -> Arc<dyn Source> {
        self.try_source(None).unwrap()
    }

    pub(crate) fn try_sink(&self) -> Result<Arc<dyn Sink>, Vec<Error>> {
        registry().get("filesystem", span()).unwrap().sink(&self.request())
    }

    pub(crate) fn context(&self) -> SourceContext {
        SourceContext { job: "job".into(), parallelism: 1, env: self.env.clone(), metrics: self.metrics.clone() }
    }

    /// Reads a bounded table to its end with one reader.
    pub(crate) async fn read(&self) -> Result<Vec<String>> {
        Run::start(self, None)?.finish().await
    }
}

pub(crate) fn registry() -> ConnectorRegistry {
    let mut registry = ConnectorRegistry::new();
    dflow_formats::register(&mut registry);
    dflow_connector_files::register(&mut registry);
    registry
}

/// One enumerator and one reader.
pub(crate) struct Run {
    pub(crate) enumerator: Box<dyn Enumerator>,
    pub(crate) reader: Box<dyn Reader>,
    pub(crate) rows: Vec<String>,
}

impl Run {
    pub(crate) fn start(table: &Table, from: Option<(Value, Vec<SplitAssignment>)>) -> Result<Self> {
        let source = table.source();
        let (state, splits) = from.map_or((None, Vec::new()), |(s, p)| (Some(s), p));
        let enumerator = source.enumerator(&table.context(), state)?;
        let mut reader = source.reader(&ReaderContext { source: table.context(), subtask: 0 })?;
        reader.add_splits(splits)?;
        Ok(Self { enumerator, reader, rows: Vec::new() })
    }

    /// Assigns what there is; true when there will be no more.
    pub(crate) async fn assign(&mut self) -> Result<bool> {
        match self.enumerator.next().await? {
            EnumeratorEvent::Assign(splits) => self.reader.add_splits(splits).map(|()| false),
            EnumeratorEvent::Revoke(splits) => {
                self.reader.revoke_splits(&splits);
                Ok(false)
            }
            EnumeratorEvent::NoMoreSplits => {
                self.reader.no_more_splits();
                Ok(true)
            }
        }
    }

    /// The next event of the reader; rows are collected. False at the end.
    pub(crate) async fn step(&mut self) -> Result<bool> {
        match self.reader.next().await? {
            ReaderEvent::Batch { batch, .. } => self.rows.extend(rows(&batch)),
            ReaderEvent::SplitFinished(id) => self.enumerator.split_finished(&id),
            ReaderEvent::Message(_) => {}
            ReaderEvent::End => return Ok(false),
        }
        Ok(true)
    }

    pub(crate) async fn finish(mut self) -> Result<Vec<String>> {
        while !self.assign().await? {}
        while self.step().await? {}
        Ok(self.rows)
    }

    pub(crate) fn checkpoint(&mut self) -> (Value, Vec<SplitAssignment>) {
        (self.enumerator.snapshot().unwrap(), self.reader.snapshot().unwrap())
    }
}

/// One writer and the committer of a sink, recovered from a manifest.
pub(crate) struct Writing {
    pub(crate) writer: Box<dyn Writer>,
    pub(crate) committer: Box<dyn Committer>,
}

impl Writing {
    pub(crate) async fn start(table: &Table, restored: u64, pending: Vec<Committable>) -> Result<Self> {
        let sink = table.try_sink().unwrap();
        let stage = Arc::new(MemoryStage::new());
        let mut committer = sink
            .committer(&CommitterContext {
                job: "job".into(),
                owner: "owner".into(),
                sink: "sink".into(),
                env: table.env.clone(),
                metrics: table.metrics.clone(),
                stage: stage.clone(),
            })?
            .expect("files are committed");
        committer.recover(Epoch(restored), pending).await?;
        let writer = sink.writer(&WriterContext {
            job: "job".into(),
            owner: "owner".into(),
            sink: "sink".into(),
            subtask: 0,
            parallelism: 1,
            restored: Epoch(restored),
            env: table.env.clone(),
            metrics: table.metrics.clone(),
            stage,
        })?;
        Ok(Self { writer, committer })
    }

    pub(crate) async fn checkpoint(&mut self, epoch: u64) -> Result<Vec<Committable>> {
        let files = self.writer.prepare(Epoch(epoch)).await?;
        self.committer.commit(Epoch(epoch), files.clone()).await?;
        Ok(files)
    }
}

/// The batch JSON lines decode to, for a table.
pub(crate) fn batch(table: &Table, json: &str) -> ChangeBatch {
    let request = table.request();
    let format = dflow_connector_api::format::FormatRequest {
        table: "t".into(),
        projection: request.projection.clone(),
        masks: Vec::new(),
        schema: TableSchema { partition_keys: Vec::new(), ..request.schema },
        options: Vec::new(),
        span: span(),
        time_zone: "UTC".into(),
    };
    let Ok(dflow_connector_api::format::Decoding::Records(json_format)) =
        registry().formats()["json"].decoding(&format)
    else {
        panic!("json is a record format")
    };
    let mut decoder = json_format.decoder(true);
    assert_eq!(decoder.decode(json.as_bytes(), true, usize::MAX).unwrap().bad, []);
    decoder.take().unwrap()
}

/// All files below a directory, relative, sorted.
pub(crate) fn tree(dir: &Path) -> Vec<String> {
    fn walk(root: &Path, dir: &Path, out: &mut Vec<String>) {
        for entry in RealFs.read_dir(dir).unwrap_or_default() {
            if entry.meta.is_dir {
                walk(root, &entry.path, out);
            } else {
                out.push(entry.path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    let mut out = Vec::new();
    walk(dir, dir, &mut out);
    out
}

/// Only names readers see.
pub(crate) fn visible(dir: &Path) -> Vec<String> {
    tree(dir).into_iter().filter(|p| !p.rsplit('/').next().unwrap().starts_with(['.', '_'])).collect()
}

/// The real file system, failing on demand: the `n`-th call that changes or reads something.
pub(crate) struct FaultyFs {
    calls: AtomicU64,
    fail_at: Mutex<Option<(u64, io::ErrorKind)>>,
}

impl FaultyFs {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { calls: AtomicU64::new(0), fail_at: Mutex::new(None) })
    }

    /// Fails the `n`-th call from now on, and every one after it.
    pub(crate) fn fail_from(&self, n: u64, kind: io::ErrorKind) {
        self.calls.store(0, Ordering::SeqCst);
        *self.fail_at.lock().unwrap() = Some((n, kind));
    }

    pub(crate) fn heal(&self) {
        *self.fail_at.lock().unwrap() = None;
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn check(&self) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match *self.fail_at.lock().unwrap() {
            Some((n, kind)) if call >= n => Err(io::Error::new(kind, "injected")),
            _ => Ok(()),
        }
    }
}

struct FaultyFile {
    fs: Arc<FaultyFs>,
    file: Box<dyn FsFile>,
}

impl io::Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(e) = self.fs.check() {
            // As a full disk does: a part of it arrives.
            let _ = self.file.write(&bytes[..bytes.len() / 2]);
            return Err(e);
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl FsFile for FaultyFile {
    fn sync(&mut self) -> io::Result<()> {
        self.fs.check()?;
        self.file.sync()
    }
}

struct FaultyRead {
    fs: Arc<FaultyFs>,
    file: Box<dyn FsRead>,
}

impl io::Read for FaultyRead {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.fs.check()?;
        self.file.read(bytes)
    }
}

impl io::Seek for FaultyRead {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// The handle tests give to an environment.
pub(crate) struct Faulty(pub(crate) Arc<FaultyFs>);

impl Fs for Faulty {
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsRead>> {
        self.0.check()?;
        Ok(Box::new(FaultyRead { fs: self.0.clone(), file: RealFs.open(path)? }))
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.0.check()?;
        Ok(Box::new(FaultyFile { fs: self.0.clone(), file: RealFs.create_new(path)? }))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.0.check()?;
        Ok(Box::new(FaultyFile { fs: self.0.clone(), file: RealFs.create(path)? }))
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.check()?;
        RealFs.link(from, to)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.check()?;
        RealFs.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.check()?;
        RealFs.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.check()?;
        RealFs.remove_dir(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.check()?;
        RealFs.create_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.check()?;
        RealFs.sync_dir(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.check()?;
        RealFs.read_dir(path)
    }
    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        RealFs.metadata(path)
    }
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn FsLock>>> {
        RealFs.try_lock(path)
    }
}

/// Longer than anything takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
