//! Manifests: what a checkpoint consists of.
//!
//! # File
//! `manifests/<number as 20 digits>.json`: the JSON of a [`Manifest`], a line feed, and a trailer of fixed length:
//! ```text
//! {"format":1,"number":7,"job":"orders", … }
//! #dflow-manifest 00000000000000001234 9ae0daaf        bytes before this line, their CRC-32
//! ```
//! The trailer is compared byte for byte with what the content demands, so any flipped byte and any truncation shows.
//!
//! # State of a table
//! A table's state is a list of [`Part`]s with disjoint ranges of key groups: what one instance wrote. A part is a base
//! and the deltas after it, in order. Only rows whose key group lies in the part's range count, so that a base of
//! another slicing takes over exactly its range ([`Table::replace`]).
//!
//! # Invariants
//! `number` is the one in the file's name. A manifest is never changed; the newest is the one with the highest number.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use arrow::datatypes::{DataType, Field, TimeUnit};
use dflow_common::ids::KeyGroup;
use dflow_common::{Epoch, OperatorId, Span};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checkpoint::{OperatorInfo, OperatorKind, Origin, SinkSnapshot, SourceSnapshot};
use crate::state::{SnapshotMode, TableSpec};

/// The version this dflow writes.
pub const FORMAT: u32 = 1;

/// Where manifests are.
pub const DIRECTORY: &str = "manifests";
/// Where state files are.
pub const DATA: &str = "data";
/// Where bodies of staged sinks are.
pub const STAGED: &str = "staged";

const TRAILER: usize = "#dflow-manifest 00000000000000000000 00000000\n".len();

/// What a checkpoint consists of, or a claim of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Its place in the history.
    pub number: u64,
    /// The manifest it follows; 0 for none.
    pub parent: u64,
    /// Counts claims.
    pub generation: u64,
    /// Tells two instances of one generation apart.
    pub writer: String,
    /// Whose state this is.
    pub job: String,
    /// Random, as old as the state: tells the output of jobs of one name apart. Empty in manifests of early versions.
    #[serde(default)]
    pub owner: String,
    /// Key groups, frozen as long as there is state.
    pub max_parallelism: KeyGroup,
    /// When it was written, milliseconds since 1970.
    pub created_ms: i64,
    /// Whether it only takes over what its parent holds.
    pub claim: bool,
    /// Whether the job has read and committed everything.
    pub finished: bool,
    /// The checkpoint it holds; 0 when it holds no state.
    pub epoch: Epoch,
    /// The highest number of a checkpoint that was tried.
    pub epoch_used: Epoch,
    /// All operators of the job.
    pub operators: Vec<Operator>,
    /// Sources by operator.
    pub sources: BTreeMap<OperatorId, SourceSnapshot>,
    /// Sinks by operator.
    pub sinks: BTreeMap<OperatorId, SinkSnapshot>,
}

/// An operator with its tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operator {
    /// Identity of its state.
    pub id: OperatorId,
    /// Short name.
    pub name: String,
    /// What it is.
    pub kind: OperatorKind,
    /// What it computes, as text.
    pub description: String,
    /// Its place in the script of that time.
    pub span: Option<Span>,
    /// Where it came from, in words. Manifests of early versions have neither this nor the next.
    #[serde(default)]
    pub origin: Origin,
    /// The sinks that its rows reached.
    #[serde(default)]
    pub feeds: Vec<OperatorId>,
    /// How many instances.
    pub parallelism: usize,
    /// Its tables.
    pub tables: Vec<Table>,
}

/// A table with its files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// How many columns are the key.
    pub key_columns: usize,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its state, by range of key groups.
    pub parts: Vec<Part>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type in the words of [`type_name`].
    #[serde(rename = "type")]
    pub ty: String,
}

/// What one instance wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Whose rows count.
    pub key_groups: Range<KeyGroup>,
    /// A base and the deltas after it. A base without rows has no file.
    pub files: Vec<File>,
}

/// A state file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// Base or delta.
    #[serde(with = "mode")]
    pub mode: SnapshotMode,
    /// The checkpoint it was written for.
    pub epoch: Epoch,
    /// Puts and deletes in it.
    pub rows: u64,
    /// The key groups its rows are of, lowest to highest.
    pub key_groups: Range<KeyGroup>,
    /// Bytes.
    pub len: u64,
    /// CRC-32 of the bytes.
    pub crc32: u32,
    /// The bytes, or where they are.
    #[serde(flatten)]
    pub body: Body,
}

/// Where the bytes of a state file are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// In this file, relative to the state directory.
    Path(String),
    /// Here, in base64.
    Inline(String),
}

mod mode {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::state::SnapshotMode;

    pub(super) fn serialize<S: Serializer>(mode: &SnapshotMode, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(match mode {
            SnapshotMode::Base => "base",
            SnapshotMode::Delta => "delta",
        })
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<SnapshotMode, D::Error> {
        match String::deserialize(from)?.as_str() {
            "base" => Ok(SnapshotMode::Base),
            "delta" => Ok(SnapshotMode::Delta),
            other => Err(serde::de::Error::custom(format!("`{other}` is neither base nor delta"))),
        }
    }
}

/// Why bytes are no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not what was written.
    #[error("{0}")]
    Damaged(String),
    /// Written by a newer dflow.
    #[error("it has format {0}, and this dflow reads up to {FORMAT}")]
    Newer(u32),
}

impl Manifest {
    /// The object of manifest `number`.
    pub fn path(number: u64) -> String {
        format!("{DIRECTORY}/{number:020}.json")
    }

    /// The number in a manifest's file name; `None` for other files.
    pub fn number_of(path: &str) -> Option<u64> {
        let digits = path.strip_prefix(DIRECTORY)?.strip_prefix('/')?.strip_suffix(".json")?;
        (digits.len() == 20).then(|| digits.parse().ok())?
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("strings, numbers, and maps with string keys always encode");
        bytes.push(b'\n');
        let trailer = trailer(&bytes);
        bytes.extend_from_slice(trailer.as_bytes());
        bytes
    }

    /// Reads manifest `number` back.
    ///
    /// # Errors
    /// Why it cannot be trusted.
    pub fn from_bytes(number: u64, bytes: &[u8]) -> Result<Manifest, Unreadable> {
        let damaged = |why: String| Unreadable::Damaged(why);
        let Some(len) = bytes.len().checked_sub(TRAILER) else {
            return Err(damaged(format!("it has {} bytes, too few for a manifest", bytes.len())));
        };
        let (content, found) = bytes.split_at(len);
        if found != trailer(content).as_bytes() {
            return Err(damaged("its checksum does not match its content".into()));
        }
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_slice(content).map_err(|e| damaged(e.to_string()))?;
        if head.format > FORMAT {
            return Err(Unreadable::Newer(head.format));
        }
        let manifest: Manifest = serde_json::from_slice(content).map_err(|e| damaged(e.to_string()))?;
        if manifest.number != number {
            return Err(damaged(format!("it is the content of manifest {}", manifest.number)));
        }
        Ok(manifest)
    }

    /// Whether a job can go on from it.
    pub fn has_state(&self) -> bool {
        self.epoch > Epoch(0) && !self.finished
    }

    /// An operator.
    pub fn operator(&self, id: &OperatorId) -> Option<&Operator> {
        self.operators.iter().find(|o| o.id == *id)
    }

    /// All state files, inline ones too.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.operators.iter().flat_map(|o| &o.tables).flat_map(|t| &t.parts).flat_map(|p| &p.files)
    }

    /// The objects it needs, relative to the state directory.
    pub fn references(&self) -> BTreeSet<String> {
        let mut paths: BTreeSet<String> = self.files().filter_map(|f| f.path().map(str::to_owned)).collect();
        let committables = self.sinks.values().flat_map(|s| &s.committables);
        committables.for_each(|c| staged_paths(&c.0, &mut paths));
        paths
    }
}

/// Committables are the sinks' business, but a [`dflow_connector_api::StagedRef`] in them is recognised by its path.
fn staged_paths(value: &Value, paths: &mut BTreeSet<String>) {
    match value {
        Value::String(s) if s.starts_with(STAGED) => {
            paths.insert(s.clone());
        }
        Value::Array(values) => values.iter().for_each(|v| staged_paths(v, paths)),
        Value::Object(fields) => fields.values().for_each(|v| staged_paths(v, paths)),
        _ => {}
    }
}

fn trailer(content: &[u8]) -> String {
    format!("#dflow-manifest {:020} {:08x}\n", content.len(), crc32fast::hash(content))
}

/// The file that notes the newest manifest: number and CRC-32 of the number.
pub(super) fn head(number: u64) -> String {
    let number = format!("{number:020}");
    format!("{number} {:08x}\n", crc32fast::hash(number.as_bytes()))
}

/// The number in a [`head`]; `None` when it is not one.
pub(super) fn read_head(bytes: &[u8]) -> Option<u64> {
    let number = std::str::from_utf8(bytes.get(..20)?).ok()?.parse().ok()?;
    (head(number).as_bytes() == bytes).then_some(number)
}

impl File {
    /// Its object, when it is one.
    pub fn path(&self) -> Option<&str> {
        match &self.body {
            Body::Path(path) => Some(path),
            Body::Inline(_) => None,
        }
    }
}

impl Operator {
    /// An operator without state.
    pub fn new(info: &OperatorInfo) -> Self {
        Self {
            id: info.id.clone(),
            name: info.name.clone(),
            kind: info.kind,
            description: info.description.clone(),
            span: info.span,
            origin: info.origin.clone(),
            feeds: info.feeds.clone(),
            parallelism: info.parallelism,
            tables: info.tables.iter().map(Table::new).collect(),
        }
    }
}

impl Table {
    /// A table without state.
    pub fn new(spec: &TableSpec) -> Self {
        let column = |f: &arrow::datatypes::FieldRef| Column { name: f.name().clone(), ty: type_name(f.data_type()) };
        Self {
            name: spec.name.clone(),
            key_columns: spec.key_columns,
            columns: spec.schema.fields().iter().map(column).collect(),
            parts: Vec::new(),
        }
    }

    /// The part an instance with exactly these key groups goes on with.
    pub fn part(&self, key_groups: &Range<KeyGroup>) -> Option<&Part> {
        self.parts.iter().find(|p| p.key_groups == *key_groups)
    }

    /// A new base for these key groups: what other parts hold of them no longer counts.
    pub fn replace(&mut self, key_groups: Range<KeyGroup>, base: Option<File>) {
        let mut parts = Vec::with_capacity(self.parts.len() + 1);
        for part in self.parts.drain(..) {
            let (start, end) = (part.key_groups.start, part.key_groups.end);
            let before = start..end.min(key_groups.start);
            let after = start.max(key_groups.end)..end;
            for rest in [before, after].into_iter().filter(|r| !r.is_empty()) {
                let mut part = Part { key_groups: rest, ..part.clone() };
                part.files.retain(|f| overlap(&f.key_groups, &part.key_groups));
                parts.push(part);
            }
        }
        if !key_groups.is_empty() {
            parts.push(Part { key_groups, files: base.into_iter().collect() });
        }
        parts.sort_by_key(|p| p.key_groups.start);
        self.parts = parts;
    }

    /// A delta after what the part of exactly these key groups has; `false` when there is none.
    pub fn append(&mut self, key_groups: &Range<KeyGroup>, delta: Option<File>) -> bool {
        let Some(part) = self.parts.iter_mut().find(|p| p.key_groups == *key_groups) else {
            return key_groups.is_empty();
        };
        part.files.extend(delta);
        true
    }
}

/// Whether two ranges have a group in common.
pub fn overlap(a: &Range<KeyGroup>, b: &Range<KeyGroup>) -> bool {
    a.start.max(b.start) < a.end.min(b.end)
}

/// A frozen name of a column's type. Types that differ only in how they are carried (text and text views) share one.
pub fn type_name(ty: &DataType) -> String {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    };
    let field = |f: &Field| type_name(f.data_type());
    match ty {
        DataType::Null => "null".into(),
        DataType::Boolean => "bool".into(),
        DataType::Int8 => "int8".into(),
        DataType::Int16 => "int16".into(),
        DataType::Int32 => "int32".into(),
        DataType::Int64 => "int64".into(),
        DataType::UInt8 => "uint8".into(),
        DataType::UInt16 => "uint16".into(),
        DataType::UInt32 => "uint32".into(),
        DataType::UInt64 => "uint64".into(),
        DataType::Float32 => "float32".into(),
        DataType::Float64 => "float64".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytes".into(),
        DataType::Date32 => "date".into(),
        DataType::Time32(u) | DataType::Time64(u) => format!("time({})", unit(u)),
        DataType::Timestamp(u, None) => format!("timestamp({})", unit(u)),
        DataType::Timestamp(u, Some(zone)) => format!("timestamp({},{zone})", unit(u)),
        DataType::Duration(u) => format!("duration({})", unit(u)),
        DataType::Decimal128(p, s) => format!("decimal({p},{s})"),
        DataType::List(f) | DataType::LargeList(f) | DataType::ListView(f) => format!("array<{}>", field(f)),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(kv) if kv.len() == 2 => format!("map<{},{}>", field(&kv[0]), field(&kv[1])),
            other => format!("map<{other}>"),
        },
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields.iter().map(|f| format!("{} {}", f.name(), field(f))).collect();
            format!("row<{}>", fields.join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(path: &str, key_groups: Range<KeyGroup>) -> File {
        let body = Body::Path(path.into());
        File { mode: SnapshotMode::Base, epoch: Epoch(1), rows: 1, key_groups, len: 3, crc32: 4, body }
    }

    fn table(parts: &[(Range<KeyGroup>, &str)]) -> Table {
        let parts = parts.iter().map(|(r, p)| Part { key_groups: r.clone(), files: vec![file(p, r.clone())] });
        Table { name: "t".into(), key_columns: 1, columns: Vec::new(), parts: parts.collect() }
    }

    fn show(table: &Table) -> Vec<String> {
        let files = |p: &Part| p.files.iter().filter_map(File::path).collect::<Vec<_>>().join("+");
        table.parts.iter().map(|p| format!("{:?} {}", p.key_groups, files(p))).collect()
    }

    #[test]
    fn a_base_takes_over_exactly_its_key_groups() {
        let mut t = table(&[(0..4, "a"), (4..8, "b")]);
        t.replace(0..3, Some(file("c", 0..3)));
        assert_eq!(show(&t), ["0..3 c", "3..4 a", "4..8 b"]);
        t.replace(3..6, None);
        assert_eq!(show(&t), ["0..3 c", "3..6 ", "6..8 b"]);
        t.replace(6..8, Some(file("d", 6..8)));
        assert_eq!(show(&t), ["0..3 c", "3..6 ", "6..8 d"]);
        t.replace(7..8, Some(file("e", 7..8)));
        t.replace(0..0, Some(file("nothing", 0..0)));
        assert_eq!(show(&t), ["0..3 c", "3..6 ", "6..7 d", "7..8 e"]);
        let mut middle = table(&[(0..9, "a")]);
        middle.replace(3..5, Some(file("b", 3..5)));
        assert_eq!(show(&middle), ["0..3 a", "3..5 b", "5..9 a"]);
    }

    #[test]
    fn a_delta_needs_the_part_it_continues() {
        let mut t = table(&[(0..4, "a")]);
        assert!(t.append(&(0..4), Some(file("b", 1..2))));
        assert!(!t.append(&(0..3), Some(file("c", 1..2))));
        assert!(t.append(&(7..7), None), "an instance without key groups has nothing to continue");
        assert_eq!(show(&t), ["0..4 a+b"]);
    }

    #[test]
    fn numbers_and_names() {
        assert_eq!(Manifest::path(7), "manifests/00000000000000000007.json");
        assert_eq!(Manifest::number_of("manifests/00000000000000000007.json"), Some(7));
        for other in ["manifests/7.json", "manifests/0000000000000000000x.json", "data/00000000000000000007.json"] {
            assert_eq!(Manifest::number_of(other), None, "{other}");
        }
        assert_eq!(read_head(head(7).as_bytes()), Some(7));
        let mut flipped = head(7).into_bytes();
        flipped[19] ^= 1;
        assert_eq!((read_head(&flipped), read_head(b"")), (None, None));
    }

    #[test]
    fn a_manifest_reads_back_and_any_changed_byte_or_truncation_shows() {
        let manifest = Manifest { format: FORMAT, number: 3, job: "ä".into(), ..Manifest::default() };
        let bytes = manifest.to_bytes();
        assert_eq!(Manifest::from_bytes(3, &bytes).as_ref(), Ok(&manifest));
        assert!(Manifest::from_bytes(4, &bytes).is_err(), "under another number");
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[i] ^= 1 << bit;
                assert!(Manifest::from_bytes(3, &flipped).is_err(), "byte {i} bit {bit}");
            }
            assert!(Manifest::from_bytes(3, &bytes[..i]).is_err(), "{i} bytes");
        }
        let newer = Manifest { format: FORMAT + 1, ..manifest };
        assert_eq!(Manifest::from_bytes(3, &newer.to_bytes()), Err(Unreadable::Newer(FORMAT + 1)));
    }

    #[test]
    fn staged_bodies_are_found_wherever_a_committable_keeps_them() {
        let committable = json!({"bodies": [{"path": "staged/1", "len": 1, "crc": 2}], "other": {"at": "staged/2"}});
        let sink = SinkSnapshot { committables: vec![dflow_connector_api::Committable(committable)] };
        let sinks = BTreeMap::from([(OperatorId("s".into()), sink)]);
        let manifest = Manifest { sinks, ..Manifest::default() };
        assert_eq!(manifest.references().into_iter().collect::<Vec<_>>(), ["staged/1", "staged/2"]);
    }
}
