//! A small job driven by hand over a simulated disk: what every test of the store runs.
//!
//! Its state after step `s` is a pure function of `s` ([`model`]), and the checkpoint says which step it is of. So any
//! restored state can be judged: it must be that of its step, and the step must not be older than what was acknowledged.

mod claims;
mod damage;
mod faults;
mod golden;
mod retention;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FsPath;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use dflow_common::env::sim::{self, SimFs};
use dflow_common::ids::KeyGroup;
use dflow_common::{Epoch, OperatorId, SourceId, Span};
use dflow_connector_api::{Committable, StagedRef};
use serde_json::json;
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::checkpoint::{OperatorInfo, OperatorKind, Origin, SinkSnapshot, SourceSnapshot};
use crate::config::RestoreMode;
use crate::keys::{group_range, key_groups};
use crate::state::{SnapshotWriter, StateOp, StateReader, TableSpec};

const ROOT: &str = "/state/orders";
const MAX_PARALLELISM: KeyGroup = 16;

fn id(name: &str) -> OperatorId {
    OperatorId(name.into())
}

fn groups_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8View, true), Field::new("v", DataType::Utf8View, true)]))
}

fn count_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
}

/// A source, a keyed aggregate of `parallelism` instances, a counter of one, a staged sink.
fn operators(parallelism: usize) -> Vec<OperatorInfo> {
    let operator = |name: &str, kind, parallelism, tables| OperatorInfo {
        id: id(name),
        name: name.into(),
        kind,
        description: format!("the {name} of the test"),
        span: Some(Span::new(SourceId(0), 3, 9)),
        origin: Origin { place: Some(format!("orders.sql:1:{}", name.len())), ..Origin::default() },
        feeds: vec![id("sink")],
        parallelism,
        tables,
    };
    let groups = TableSpec { name: "groups".into(), schema: groups_schema(), key_columns: 1 };
    let count = TableSpec { name: "count".into(), schema: count_schema(), key_columns: 0 };
    vec![
        operator("source", OperatorKind::Source, 1, vec![]),
        operator("aggregate", OperatorKind::Operator, parallelism, vec![groups]),
        operator("counter", OperatorKind::Operator, 1, vec![count]),
        operator("sink", OperatorKind::Sink, 1, vec![]),
    ]
}

fn request(parallelism: usize) -> ClaimRequest {
    ClaimRequest {
        job: "orders".into(),
        owner: "0123456789abcdef".into(),
        max_parallelism: MAX_PARALLELISM,
        restore: RestoreMode::Auto,
        ignore_unclaimed_state: false,
        operators: operators(parallelism),
    }
}

type Model = BTreeMap<String, String>;
/// New values by key; none: the key is gone.
type Changes = BTreeMap<String, Option<String>>;

/// How much changes per step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Size {
    keys: u64,
    changes: u64,
    /// Values of this many bytes that do not compress.
    value: usize,
}

/// Files of their own for bases and deltas.
const LARGE: Size = Size { keys: 160, changes: 80, value: 192 };
/// Everything inline.
const SMALL: Size = Size { keys: 8, changes: 4, value: 8 };

/// What step `step` changes. Computed once: the tests run the same steps thousands of times.
fn changes(size: Size, step: u64) -> Changes {
    static KNOWN: Mutex<BTreeMap<(Size, u64), Changes>> = Mutex::new(BTreeMap::new());
    KNOWN.lock().expect("no test fails in here").entry((size, step)).or_insert_with(|| compute(size, step)).clone()
}

fn compute(size: Size, step: u64) -> Changes {
    let random = |i: u64, salt: u64| xxh3_64(&[step, i, salt].map(u64::to_le_bytes).concat());
    let value = |i: u64| (0..size.value / 16).map(|n| format!("{:016x}", random(i, 2 + n as u64))).collect::<String>();
    (0..size.changes)
        .map(|i| {
            let key = format!("key-{}", random(i, 0) % size.keys);
            (key, (random(i, 1) % 5 > 0).then(|| format!("{step}:{}", value(i))))
        })
        .collect()
}

fn apply(model: &mut Model, changes: Changes) {
    for (key, value) in changes {
        match value {
            Some(value) => model.insert(key, value),
            None => model.remove(&key),
        };
    }
}

/// The aggregate's state after `step`.
fn model(size: Size, step: u64) -> Model {
    let mut model = Model::new();
    (1..=step).for_each(|s| apply(&mut model, changes(size, s)));
    model
}

fn staged_body(step: u64) -> Bytes {
    Bytes::from(format!("the body of step {step}"))
}

/// What an outsider knows of the job.
#[derive(Default, Debug)]
struct Progress {
    /// Steps whose commit was answered.
    acknowledged: u64,
    /// The last step a commit was tried for.
    tried: u64,
}

/// A store over the machine's files. Every process draws other random numbers.
fn open(fs: &SimFs, retained: usize) -> Store {
    let env = sim::env(fs.operations() + 1, Arc::new(fs.clone()));
    let location = format!("file://{ROOT}");
    Store::open(env, StoreOptions { location, retained, allow_older: false }).expect("a file URL is known")
}

/// A process of the job.
struct Process {
    store: Store,
    claimed: Claimed,
    size: Size,
    parallelism: usize,
    state: Model,
    /// Per instance of the aggregate, what changed since its last snapshot.
    dirty: Vec<BTreeSet<String>>,
    step: u64,
    epoch: Epoch,
}

impl Process {
    /// Claims, restores and judges what was restored.
    async fn start(store: Store, request: &ClaimRequest, size: Size, progress: &mut Progress) -> Result<Process> {
        let claimed = store.claim(request).await?;
        let parallelism = request.operators[1].parallelism;
        let mut process = Process {
            epoch: claimed.next_epoch,
            step: 0,
            state: Model::new(),
            dirty: vec![BTreeSet::new(); parallelism],
            store,
            claimed,
            size,
            parallelism,
        };
        if let Some(checkpoint) = process.claimed.restored.clone() {
            process.step = checkpoint.sources[&id("source")].enumerator["step"].as_u64().expect("steps are stored");
            process.restore(&checkpoint).await?;
        }
        let step = process.step;
        assert!((progress.acknowledged..=progress.tried).contains(&step), "restored step {step}: {progress:?}");
        progress.acknowledged = step;
        Ok(process)
    }

    async fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        for subtask in 0..self.parallelism {
            let range = group_range(MAX_PARALLELISM, self.parallelism, subtask);
            let rows = self.store.restore(&id("aggregate"), 0, range.clone()).await?;
            StateReader::new(range, vec![rows]).read(0, &mut |rows| {
                let keys = rows.rows.column(0).as_string_view();
                for i in 0..rows.rows.num_rows() {
                    match rows.op {
                        StateOp::Put => {
                            let value = rows.rows.column(1).as_string_view().value(i).to_owned();
                            self.state.insert(keys.value(i).into(), value)
                        }
                        StateOp::Delete => self.state.remove(keys.value(i)),
                    };
                }
                Ok(())
            })?;
        }
        assert_eq!(self.state, model(self.size, self.step), "the aggregate after step {}", self.step);
        let rows = self.store.restore(&id("counter"), 0, 0..MAX_PARALLELISM).await?;
        let last = rows.last().transpose()?.map(|r| r.rows.column(0).as_primitive::<Int64Type>().value(0));
        assert_eq!(last, Some(self.step as i64), "the counter after step {}", self.step);
        let committable = &checkpoint.sinks[&id("sink")].committables[0].0;
        let staged: StagedRef = serde_json::from_value(committable["body"].clone()).expect("it is a staged reference");
        let body = self.store.stage().get(&staged).await?;
        assert_eq!(body, staged_body(self.step), "the staged body of step {}", self.step);
        Ok(())
    }

    /// Goes one step on.
    fn advance(&mut self) {
        self.step += 1;
        let changes = changes(self.size, self.step);
        for key in changes.keys() {
            let group = self.group(key);
            let owner = crate::keys::owner(MAX_PARALLELISM, self.parallelism, group);
            self.dirty[owner].insert(key.clone());
        }
        apply(&mut self.state, changes);
    }

    fn group(&self, key: &str) -> KeyGroup {
        key_groups(&[Arc::new(StringViewArray::from(vec![key]))], MAX_PARALLELISM)[0]
    }

    /// The aggregate's snapshot: it forgets what is dirty, as operators do.
    fn snapshot(&mut self, subtask: usize) -> OperatorSnapshot {
        let instance = InstanceId { operator: id("aggregate"), subtask };
        let range = group_range(MAX_PARALLELISM, self.parallelism, subtask);
        let modes = self.store.snapshot_modes(self.epoch, &instance, 1);
        let mut writer = SnapshotWriter::new(modes);
        let dirty = std::mem::take(&mut self.dirty[subtask]);
        let wanted = |key: &&String| match writer.mode(0) {
            SnapshotMode::Base => range.contains(&self.group(key)),
            SnapshotMode::Delta => dirty.contains(*key),
        };
        let live: Vec<&String> = self.state.keys().filter(wanted).collect();
        let gone: Vec<&String> = match writer.mode(0) {
            SnapshotMode::Base => Vec::new(),
            SnapshotMode::Delta => dirty.iter().filter(|k| !self.state.contains_key(*k)).collect(),
        };
        let keys: ArrayRef = Arc::new(StringViewArray::from_iter_values(&live));
        let groups = key_groups(std::slice::from_ref(&keys), MAX_PARALLELISM);
        let values: ArrayRef = Arc::new(StringViewArray::from_iter_values(live.iter().map(|k| &self.state[*k])));
        writer.put(0, RecordBatch::try_new(groups_schema(), vec![keys, values]).expect("it fits the schema"), groups);
        if !gone.is_empty() {
            let keys: ArrayRef = Arc::new(StringViewArray::from_iter_values(&gone));
            let groups = key_groups(std::slice::from_ref(&keys), MAX_PARALLELISM);
            let schema = Arc::new(groups_schema().project(&[0]).expect("there is a first column"));
            writer.delete(0, RecordBatch::try_new(schema, vec![keys]).expect("it fits the schema"), groups);
        }
        let (tables, schemas) = (writer.finish(), vec![groups_schema()]);
        OperatorSnapshot { instance, key_groups: range, tables, schemas }
    }

    fn counter_snapshot(&mut self) -> OperatorSnapshot {
        let instance = InstanceId { operator: id("counter"), subtask: 0 };
        let mut writer = SnapshotWriter::new(self.store.snapshot_modes(self.epoch, &instance, 1));
        let column: ArrayRef = Arc::new(Int64Array::from(vec![self.step as i64]));
        writer.put(0, RecordBatch::try_new(count_schema(), vec![column]).expect("it fits the schema"), vec![0]);
        let (tables, schemas) = (writer.finish(), vec![count_schema()]);
        OperatorSnapshot { instance, key_groups: 0..MAX_PARALLELISM, tables, schemas }
    }

    /// One checkpoint of the state as it is. Counts as tried when the commit begins.
    async fn checkpoint(&mut self, progress: &mut Progress) -> Result<()> {
        let epoch = self.epoch;
        let mut snapshots: Vec<OperatorSnapshot> = (0..self.parallelism).map(|i| self.snapshot(i)).collect();
        snapshots.push(self.counter_snapshot());
        self.epoch = epoch.next();
        let staged = self.store.stage().put(staged_body(self.step)).await?;
        let mut uploads = Vec::new();
        for snapshot in snapshots {
            let instance = snapshot.instance.clone();
            uploads.push((instance, self.store.upload(epoch, snapshot).await?));
        }
        let source = SourceSnapshot { enumerator: json!({"step": self.step}), ..SourceSnapshot::default() };
        let sink = SinkSnapshot { committables: vec![Committable(json!({"body": staged}))] };
        let checkpoint = Checkpoint {
            epoch,
            uploads,
            sources: BTreeMap::from([(id("source"), source)]),
            sinks: BTreeMap::from([(id("sink"), sink)]),
        };
        progress.tried = progress.tried.max(self.step);
        self.store.commit(checkpoint).await?;
        progress.acknowledged = self.step;
        Ok(())
    }

    /// Steps with a checkpoint each, up to step `to`. Like a coordinator, it gives a failed checkpoint up and tolerates
    /// three in a row.
    async fn run(&mut self, to: u64, progress: &mut Progress) -> Result<()> {
        while self.step < to {
            self.advance();
            let mut failures = 0;
            while let Err(error) = self.checkpoint(progress).await {
                failures += 1;
                self.store.abort(Epoch(self.epoch.0 - 1)).await;
                if failures > 3 {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// A fresh directory after `steps` steps, with its process ended.
async fn after(size: Size, parallelism: usize, steps: u64) -> SimFs {
    let fs = SimFs::new();
    let mut progress = Progress::default();
    let mut process =
        Process::start(open(&fs, 3), &request(parallelism), size, &mut progress).await.expect("no fault is injected");
    process.run(steps, &mut progress).await.expect("no fault is injected");
    fs.kill();
    fs.process()
}

/// Starts over what is there and judges it; returns the step.
async fn judge(fs: &SimFs, size: Size, parallelism: usize) -> Result<u64> {
    let mut any = Progress { acknowledged: 0, tried: u64::MAX };
    Ok(Process::start(open(fs, 3), &request(parallelism), size, &mut any).await?.step)
}

fn paths(fs: &SimFs, directory: &str) -> Vec<String> {
    let root = format!("{ROOT}/");
    let files = fs.files();
    let names = files.keys().filter_map(|p| p.to_str()?.strip_prefix(&root).map(str::to_owned));
    names.filter(|p| p.starts_with(directory)).collect()
}

fn read(fs: &SimFs, path: &str) -> Vec<u8> {
    fs.files().remove(&FsPath::new(ROOT).join(path)).expect("the file is there")
}

fn manifests(fs: &SimFs) -> Vec<Manifest> {
    let numbers = paths(fs, manifest::DIRECTORY).into_iter().filter_map(|p| Manifest::number_of(&p));
    numbers.map(|n| Manifest::from_bytes(n, &read(fs, &Manifest::path(n))).expect("it is whole")).collect()
}

/// Every file that exists is needed by a manifest that exists, and every needed one exists with its content.
fn assert_tidy(fs: &SimFs) {
    let needed: BTreeSet<String> = manifests(fs).iter().flat_map(Manifest::references).collect();
    let there: BTreeSet<String> = paths(fs, manifest::DATA).into_iter().chain(paths(fs, manifest::STAGED)).collect();
    assert_eq!(there, needed);
    assert_complete(fs);
    assert!(paths(fs, ".tmp").is_empty());
}

/// Every file a manifest needs is there with its content.
fn assert_complete(fs: &SimFs) {
    for manifest in manifests(fs) {
        for file in manifest.files() {
            if let Some(path) = file.path() {
                check(ROOT, path, &read(fs, path), file.len, file.crc32).expect("it is what was written");
            }
        }
        manifest.references().iter().for_each(|path| drop(read(fs, path)));
    }
}
