//! State files: rows of one table, of one instance, for one checkpoint, as Parquet.
//!
//! # Layout
//! ```text
//! __kg: u16 | __op: i8 (0 put, 1 delete) | the table's columns; a delete has its key and NULLs
//! ```
//! Sorted by key group, then by the hash of the key: no reader needs the keys' own order, and comparing hashes costs a
//! third of comparing keys (ADR 0013). A row group holds whole key groups until it is full; only a key group larger than a
//! row group is split. Written plain: no dictionary, LZ4, and statistics of `__kg` only, by which a reader of some key
//! groups skips row groups.
//!
//! # Invariants
//! A key occurs once per file: of several rows, the last one given. So puts and deletes of a file can be applied in
//! any order, and files in theirs.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int8Array, RecordBatch, RecordBatchOptions, UInt16Array, UInt32Array, new_null_array,
};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use dflow_common::ids::KeyGroup;
use dflow_common::limits::BATCH_ROWS;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, Encoding};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnPath;

use crate::keys;
use crate::state::{StateOp, StateRows};

/// Rows after which a row group ends with its key group.
const ROW_GROUP_ROWS: usize = 64 << 10;
/// Rows after which a row group ends anyway.
const ROW_GROUP_ROWS_MAX: usize = 4 * ROW_GROUP_ROWS;

const KEY_GROUP: &str = "__kg";
const OP: &str = "__op";
const PUT: i8 = 0;
const DELETE: i8 = 1;

/// Why rows could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Of the Parquet layer.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    /// Of the Arrow layer.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// The file holds something else than the table.
    #[error("{0}")]
    Layout(String),
}

/// An encoded file.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The file.
    pub bytes: Vec<u8>,
    /// Rows in it.
    pub rows: u64,
    /// The key groups it has rows of, lowest to highest.
    pub key_groups: Range<KeyGroup>,
}

/// Encodes rows, given in the order they were written; `None` when there is none.
///
/// # Errors
/// When a type cannot be stored.
pub fn encode(schema: &SchemaRef, key_columns: usize, rows: &[StateRows]) -> Result<Option<Encoded>, Error> {
    let rows: Vec<&StateRows> = rows.iter().filter(|r| r.rows.num_rows() > 0).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let groups: Vec<KeyGroup> = rows.iter().flat_map(|r| &r.key_groups).copied().collect();
    let ops = Int8Array::from_iter_values(rows.iter().flat_map(|r| {
        let op = if r.op == StateOp::Put { PUT } else { DELETE };
        std::iter::repeat_n(op, r.rows.num_rows())
    }));
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len() + 2);
    for (i, field) in schema.fields().iter().enumerate() {
        let parts: Vec<ArrayRef> = rows
            .iter()
            .map(|r| match r.rows.columns().get(i) {
                Some(column) => column.clone(),
                None => new_null_array(field.data_type(), r.rows.num_rows()),
            })
            .collect();
        columns.push(compute::concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?);
    }
    let order = sorted(&groups, &columns[..key_columns.min(columns.len())]);
    let key_groups = groups[order[0] as usize]..groups[order[order.len() - 1] as usize] + 1;
    columns.insert(0, Arc::new(ops));
    columns.insert(0, Arc::new(UInt16Array::from(groups.clone())));
    let batch = RecordBatch::try_new(file_schema(schema), columns)?;

    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties()))?;
    for range in row_groups(&order, &groups) {
        let indices = UInt32Array::from_iter_values(order[range].iter().copied());
        writer.write(&compute::take_record_batch(&batch, &indices)?)?;
        writer.flush()?;
    }
    Ok(Some(Encoded { bytes: writer.into_inner()?, rows: order.len() as u64, key_groups }))
}

/// The schema of a file of a table. Every column is nullable, for deletes.
fn file_schema(table: &SchemaRef) -> SchemaRef {
    let own = [Field::new(KEY_GROUP, DataType::UInt16, false), Field::new(OP, DataType::Int8, false)];
    let columns = table.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(own.into_iter().chain(columns).collect::<Vec<_>>()))
}

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_created_by("dflow".into())
        .set_dictionary_enabled(false)
        .set_encoding(Encoding::PLAIN)
        .set_compression(Compression::LZ4_RAW)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_statistics_enabled(ColumnPath::from(KEY_GROUP), EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(None)
        .build()
}

/// Row numbers by key group and key hash, each key's last row only. Keys are compared where their hashes are equal.
fn sorted(groups: &[KeyGroup], columns: &[ArrayRef]) -> Vec<u32> {
    // A table without key columns has one row at most: all rows are of the same key.
    let hashes = if columns.is_empty() { vec![0; groups.len()] } else { keys::key_hashes(columns) };
    let mut rows: Vec<(KeyGroup, u64, u32)> =
        groups.iter().zip(&hashes).enumerate().map(|(row, (group, hash))| (*group, *hash, row as u32)).collect();
    rows.sort_unstable();
    let mut last_of_key = Vec::with_capacity(rows.len());
    for same_hash in rows.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        if let [(_, _, row)] = same_hash {
            last_of_key.push(*row);
            continue;
        }
        let encoded: Vec<Vec<u8>> = same_hash.iter().map(|r| keys::encode_key(columns, r.2 as usize)).collect();
        for (i, (_, _, row)) in same_hash.iter().enumerate() {
            if !encoded[i + 1..].contains(&encoded[i]) {
                last_of_key.push(*row);
            }
        }
    }
    last_of_key
}

/// Ranges of `order` that become row groups.
fn row_groups(order: &[u32], groups: &[KeyGroup]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for i in 1..=order.len() {
        let ends = i == order.len() || groups[order[i] as usize] != groups[order[i - 1] as usize];
        if i == order.len() || (ends && i - start >= ROW_GROUP_ROWS) || i - start >= ROW_GROUP_ROWS_MAX {
            ranges.push(start..i);
            start = i;
        }
    }
    ranges
}

/// Reads the rows whose key group lies in `wanted`, a batch at a time: the deletes of a batch, then its puts. An error is
/// the last item: the bytes are not a state file of such a table. Callers check length and checksum first.
pub fn decode(
    bytes: Bytes,
    schema: &SchemaRef,
    key_columns: usize,
    wanted: Range<KeyGroup>,
) -> impl Iterator<Item = Result<StateRows, Error>> + Send + use<> {
    let (decoder, failed) = match Decoder::open(bytes, schema, key_columns, wanted) {
        Ok(decoder) => (Some(decoder), None),
        Err(e) => (None, Some(Err(e))),
    };
    failed.into_iter().chain(decoder.into_iter().flatten())
}

/// The rows of a file.
struct Decoder {
    batches: ParquetRecordBatchReader,
    schema: SchemaRef,
    keys: SchemaRef,
    wanted: Range<KeyGroup>,
    /// The puts of a batch of which the deletes were given out.
    puts: Option<StateRows>,
    failed: bool,
}

impl Decoder {
    fn open(bytes: Bytes, schema: &SchemaRef, key_columns: usize, wanted: Range<KeyGroup>) -> Result<Self, Error> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
        let found = builder.schema().fields().iter().map(|f| f.name().as_str());
        let expected = [KEY_GROUP, OP].into_iter().chain(schema.fields().iter().map(|f| f.name().as_str()));
        if !found.clone().eq(expected) {
            return Err(Error::Layout(format!("it has columns {}", found.collect::<Vec<_>>().join(", "))));
        }
        let chosen = builder.metadata().row_groups().iter().enumerate();
        let chosen = chosen.filter(|(_, g)| may_hold(g, &wanted)).map(|(i, _)| i).collect();
        let keys = Arc::new(schema.project(&(0..key_columns).collect::<Vec<_>>())?);
        let batches = builder.with_row_groups(chosen).with_batch_size(BATCH_ROWS).build()?;
        Ok(Self { batches, schema: schema.clone(), keys, wanted, puts: None, failed: false })
    }

    /// Deletes and puts of a batch; `None` where it has none that are wanted.
    fn split(&self, batch: &RecordBatch) -> Result<(Option<StateRows>, Option<StateRows>), Error> {
        let groups = typed::<UInt16Array>(batch, 0)?;
        let ops = typed::<Int8Array>(batch, 1)?;
        let deletes = self.pick(batch, groups, ops, StateOp::Delete)?;
        Ok((deletes, self.pick(batch, groups, ops, StateOp::Put)?))
    }

    fn pick(
        &self,
        batch: &RecordBatch,
        groups: &UInt16Array,
        ops: &Int8Array,
        op: StateOp,
    ) -> Result<Option<StateRows>, Error> {
        let (code, schema) = if op == StateOp::Put { (PUT, &self.schema) } else { (DELETE, &self.keys) };
        let chosen = groups.values().iter().zip(ops.values());
        let mask: BooleanArray = chosen.map(|(g, o)| Some(*o == code && self.wanted.contains(g))).collect();
        let count = mask.true_count();
        if count == 0 {
            return Ok(None);
        }
        let kept = |column: &ArrayRef, ty: &DataType| -> Result<ArrayRef, ArrowError> {
            let kept = if count == batch.num_rows() { column.clone() } else { compute::filter(column, &mask)? };
            if kept.data_type() == ty { Ok(kept) } else { compute::cast(&kept, ty) }
        };
        let columns = schema.fields().iter().enumerate();
        let columns = columns.map(|(i, f)| kept(batch.column(i + 2), f.data_type())).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
        let key_groups = compute::filter(groups, &mask)?;
        let key_groups = key_groups.as_any().downcast_ref::<UInt16Array>().map(|g| g.values().to_vec());
        Ok(Some(StateRows { op, rows, key_groups: key_groups.unwrap_or_default() }))
    }
}

impl Iterator for Decoder {
    type Item = Result<StateRows, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(puts) = self.puts.take() {
            return Some(Ok(puts));
        }
        while !self.failed {
            let batch = self.batches.next()?;
            match batch.map_err(Error::from).and_then(|b| self.split(&b)) {
                Ok((None, None)) => {}
                Ok((Some(deletes), puts)) => {
                    self.puts = puts;
                    return Some(Ok(deletes));
                }
                Ok((None, Some(puts))) => return Some(Ok(puts)),
                Err(e) => {
                    self.failed = true;
                    return Some(Err(e));
                }
            }
        }
        None
    }
}

fn typed<T: 'static>(batch: &RecordBatch, column: usize) -> Result<&T, Error> {
    let array = batch.column(column);
    let name = || format!("column {column} is {}", array.data_type());
    array.as_any().downcast_ref().ok_or_else(|| Error::Layout(name()))
}

fn may_hold(group: &RowGroupMetaData, wanted: &Range<KeyGroup>) -> bool {
    match group.column(0).statistics() {
        Some(Statistics::Int32(s)) => match (s.min_opt(), s.max_opt()) {
            (Some(min), Some(max)) => *min < i32::from(wanted.end) && *max >= i32::from(wanted.start),
            _ => true,
        },
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, MapBuilder, StringBuilder, StringViewArray};
    use arrow::datatypes::{Int64Type, UInt16Type};
    use proptest::prelude::*;

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8View, true), Field::new("v", DataType::Int64, false)]))
    }

    fn group_of(key: &str) -> KeyGroup {
        keys::key_groups(&[Arc::new(StringViewArray::from(vec![key]))], 16)[0]
    }

    fn put(rows: &[(&str, i64)]) -> StateRows {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringViewArray::from_iter_values(rows.iter().map(|r| r.0))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1))),
        ];
        let key_groups = rows.iter().map(|r| group_of(r.0)).collect();
        StateRows { op: StateOp::Put, rows: RecordBatch::try_new(schema(), columns).unwrap(), key_groups }
    }

    fn delete(keys: &[&str]) -> StateRows {
        let schema = Arc::new(schema().project(&[0]).unwrap());
        let columns: Vec<ArrayRef> = vec![Arc::new(StringViewArray::from_iter_values(keys))];
        let key_groups = keys.iter().map(|k| group_of(k)).collect();
        StateRows { op: StateOp::Delete, rows: RecordBatch::try_new(schema, columns).unwrap(), key_groups }
    }

    fn decode(
        bytes: Bytes,
        schema: &SchemaRef,
        key_columns: usize,
        wanted: &Range<KeyGroup>,
    ) -> Result<Vec<StateRows>, Error> {
        super::decode(bytes, schema, key_columns, wanted.clone()).collect()
    }

    /// `k=v` for puts, `k` for deletes, in the order of the file.
    fn show(rows: &[StateRows]) -> Vec<String> {
        let mut shown = Vec::new();
        for r in rows {
            let keys = r.rows.column(0).as_string_view();
            assert_eq!(r.rows.num_rows(), r.key_groups.len());
            for i in 0..keys.len() {
                assert_eq!(r.key_groups[i], group_of(keys.value(i)));
                shown.push(match r.op {
                    StateOp::Put => {
                        format!("{}={}", keys.value(i), r.rows.column(1).as_primitive::<Int64Type>().value(i))
                    }
                    StateOp::Delete => keys.value(i).to_owned(),
                });
            }
        }
        shown
    }

    #[test]
    fn the_last_row_of_a_key_is_read_back() {
        let rows = [put(&[("a", 1), ("b", 2)]), delete(&["b", "c"]), put(&[("c", 3), ("a much longer key", 4)])];
        let file = encode(&schema(), 1, &rows).unwrap().unwrap();
        assert_eq!(file.rows, 4);
        let mut shown = show(&decode(file.bytes.into(), &schema(), 1, &(0..16)).unwrap());
        shown.sort();
        assert_eq!(shown, ["a much longer key=4", "a=1", "b", "c=3"]);
        assert!(encode(&schema(), 1, &[]).unwrap().is_none());
    }

    #[test]
    fn a_table_without_key_keeps_its_last_row() {
        let rows = [put(&[("x", 1)]), put(&[("x", 2)])];
        let file = encode(&schema(), 0, &rows).unwrap().unwrap();
        assert_eq!(show(&decode(file.bytes.into(), &schema(), 0, &(0..16)).unwrap()), ["x=2"]);
    }

    #[test]
    fn rows_are_sorted_by_key_group_and_row_groups_hold_whole_key_groups() {
        let keys: Vec<String> = (0..200_000).map(|i| format!("{i:06}")).collect();
        let rows: Vec<(&str, i64)> = keys.iter().rev().map(|k| (k.as_str(), 0)).collect();
        let file = encode(&schema(), 1, &[put(&rows)]).unwrap().unwrap();
        assert_eq!(file.key_groups, 0..16);
        let bytes = Bytes::from(file.bytes);
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap();
        let sizes: Vec<i64> = builder.metadata().row_groups().iter().map(|g| g.num_rows()).collect();
        assert!(sizes.len() == 3 && sizes[..2].iter().all(|s| *s >= ROW_GROUP_ROWS as i64), "{sizes:?}");
        let mut seen: Vec<(u16, String)> = Vec::new();
        let mut ends = Vec::new();
        for (i, size) in sizes.iter().enumerate() {
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap();
            for batch in reader.with_row_groups(vec![i]).with_batch_size(*size as usize).build().unwrap() {
                let batch = batch.unwrap();
                let groups = batch.column(0).as_primitive::<UInt16Type>();
                let keys = batch.column(2).as_string_view();
                seen.extend((0..keys.len()).map(|i| (groups.value(i), keys.value(i).to_owned())));
            }
            ends.push(seen.len());
        }
        assert!(seen.is_sorted_by_key(|(group, _)| *group) && seen.len() == rows.len());
        assert_eq!(seen.iter().map(|(_, key)| key).collect::<std::collections::BTreeSet<_>>().len(), rows.len());
        assert!(ends[..2].iter().all(|e| seen[*e].0 != seen[*e - 1].0), "a row group ends with its key group");
        for wanted in [0..1, 5..6, 15..16, 3..9] {
            let expected = seen.iter().filter(|(g, _)| wanted.contains(g)).count();
            let read = decode(bytes.clone(), &schema(), 1, &wanted).unwrap();
            assert_eq!(read.iter().map(|r| r.rows.num_rows()).sum::<usize>(), expected);
            assert!(read.iter().flat_map(|r| &r.key_groups).all(|g| wanted.contains(g)));
        }
    }

    #[test]
    fn keys_without_an_order_and_every_sql_type_survive() {
        use dflow_common::types::TypeKind;
        let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for key in ["b", "a", "b"] {
            maps.keys().append_value(key);
            maps.values().append_value("v");
            maps.append(true).unwrap();
        }
        let maps: ArrayRef = Arc::new(maps.finish());
        let kinds = [
            TypeKind::Boolean,
            TypeKind::TinyInt,
            TypeKind::SmallInt,
            TypeKind::Int,
            TypeKind::BigInt,
            TypeKind::Float,
            TypeKind::Double,
            TypeKind::Decimal(38, 10),
            TypeKind::VarChar(9),
            TypeKind::VarBinary(9),
            TypeKind::Date,
            TypeKind::Time(3),
            TypeKind::Timestamp(3),
            TypeKind::Timestamp(9),
            TypeKind::TimestampLtz(6),
            TypeKind::IntervalYearMonth,
            TypeKind::IntervalDayTime,
            TypeKind::Array(Box::new(TypeKind::Int.into())),
            TypeKind::Map(Box::new(TypeKind::Int.into()), Box::new(TypeKind::Date.into())),
            TypeKind::Multiset(Box::new(TypeKind::Int.into())),
            TypeKind::Null,
        ];
        let mut fields = vec![Field::new("key", maps.data_type().clone(), true)];
        let mut columns = vec![maps];
        for (i, kind) in kinds.iter().enumerate() {
            let ty = kind.to_arrow();
            columns.push(new_null_array(&ty, 3));
            fields.push(Field::new(format!("c{i}"), ty, true));
        }
        let schema = Arc::new(Schema::new(fields));
        let rows = RecordBatch::try_new(schema.clone(), columns).unwrap();
        let rows = StateRows { op: StateOp::Put, rows, key_groups: vec![1, 1, 1] };
        let file = encode(&schema, 1, std::slice::from_ref(&rows)).unwrap().unwrap();
        let read = decode(file.bytes.into(), &schema, 1, &(0..16)).unwrap();
        let expected = compute::take_record_batch(&rows.rows, &UInt32Array::from(vec![1, 2])).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].rows, expected);
    }

    #[test]
    fn another_tables_file_is_refused() {
        let file = encode(&schema(), 1, &[put(&[("a", 1)])]).unwrap().unwrap();
        let other = Arc::new(Schema::new(vec![Field::new("x", DataType::Utf8View, true)]));
        let refused = decode(file.bytes.into(), &other, 1, &(0..16)).unwrap_err();
        assert_eq!(refused.to_string(), "it has columns __kg, __op, k, v");
        assert!(decode(Bytes::from_static(b"PAR1 no file PAR1"), &schema(), 1, &(0..16)).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_file_equals_the_map_its_rows_fold_to(
            steps in prop::collection::vec((any::<bool>(), prop::collection::vec((0..12u8, any::<i64>()), 0..6)), 0..8)
        ) {
            let mut model = std::collections::BTreeMap::new();
            let mut rows = Vec::new();
            for (is_put, entries) in &steps {
                let named: Vec<(String, i64)> = entries.iter().map(|(k, v)| (format!("key {k}"), *v)).collect();
                for (k, v) in &named {
                    model.insert(k.clone(), is_put.then_some(*v));
                }
                let pairs: Vec<(&str, i64)> = named.iter().map(|(k, v)| (k.as_str(), *v)).collect();
                rows.push(if *is_put { put(&pairs) } else { delete(&pairs.iter().map(|p| p.0).collect::<Vec<_>>()) });
            }
            let file = encode(&schema(), 1, &rows).unwrap();
            let mut shown = file.map_or(Vec::new(), |f| show(&decode(f.bytes.into(), &schema(), 1, &(0..16)).unwrap()));
            shown.sort();
            let mut expected: Vec<String> =
                model.into_iter().map(|(k, v)| v.map_or(k.clone(), |v| format!("{k}={v}"))).collect();
            expected.sort();
            prop_assert_eq!(shown, expected);
        }
    }
}
