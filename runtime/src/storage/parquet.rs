//! State files: rows of one table, of one instance, for one checkpoint, as Parquet.
//!
//! # Layout
//! ```text
//! __kg: u16 | __op: i8 (0 put, 1 delete) | the table's columns; a delete has its key and NULLs
//! ```
//! Sorted by key group; within one, rows keep the order in which they were written, and are replayed in it: the last row
//! of a key is the one that counts (ADR 0013). A row group holds whole key groups until it is full; only a key group larger
//! than a row group is split. Written plain: no dictionary, LZ4, and statistics of `__kg` only, by which a reader of some
//! key groups skips row groups.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int8Array, RecordBatch, RecordBatchOptions, UInt16Array, UInt32Array, new_null_array,
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
pub fn encode(schema: &SchemaRef, rows: &[StateRows]) -> Result<Option<Encoded>, Error> {
    let rows: Vec<&StateRows> = rows.iter().filter(|r| r.rows.num_rows() > 0).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let order = by_key_group(&rows);
    let parts: Vec<RecordBatch> = rows.iter().map(|r| stored(schema, r)).collect::<Result<_, _>>()?;
    let parts: Vec<&RecordBatch> = parts.iter().collect();
    let group = |at: &(u32, u32)| rows[at.0 as usize].key_groups[at.1 as usize];
    let key_groups = group(&order[0])..group(&order[order.len() - 1]) + 1;
    let mut writer = ArrowWriter::try_new(Vec::new(), file_schema(schema), Some(properties()))?;
    for range in row_groups(&order, group) {
        let order = &order[range];
        let batch = match parts.as_slice() {
            [one] => compute::take_record_batch(one, &UInt32Array::from_iter_values(order.iter().map(|at| at.1)))?,
            many => {
                let order: Vec<(usize, usize)> = order.iter().map(|at| (at.0 as usize, at.1 as usize)).collect();
                compute::interleave_record_batch(many, &order)?
            }
        };
        writer.write(&batch)?;
        writer.flush()?;
    }
    Ok(Some(Encoded { bytes: writer.into_inner()?, rows: order.len() as u64, key_groups }))
}

/// Rows as they are in a file. A delete has NULLs beside its key.
fn stored(table: &SchemaRef, rows: &StateRows) -> Result<RecordBatch, ArrowError> {
    let count = rows.rows.num_rows();
    let op = if rows.op == StateOp::Put { PUT } else { DELETE };
    let mut columns: Vec<ArrayRef> =
        vec![Arc::new(UInt16Array::from(rows.key_groups.clone())), Arc::new(Int8Array::from_value(op, count))];
    columns.extend(rows.rows.columns().iter().cloned());
    columns.extend(table.fields().iter().skip(rows.rows.num_columns()).map(|f| new_null_array(f.data_type(), count)));
    RecordBatch::try_new(file_schema(table), columns)
}

/// Which part and which row of it, by key group, otherwise in the order they were written: a counting sort.
fn by_key_group(parts: &[&StateRows]) -> Vec<(u32, u32)> {
    let last = parts.iter().flat_map(|p| &p.key_groups).max().map_or(0, |g| usize::from(*g));
    let mut next = vec![0usize; last + 2];
    for group in parts.iter().flat_map(|p| &p.key_groups) {
        next[usize::from(*group) + 1] += 1;
    }
    for i in 1..next.len() {
        next[i] += next[i - 1];
    }
    let mut order = vec![(0, 0); next[last + 1]];
    for (part, rows) in parts.iter().enumerate() {
        for (row, group) in rows.key_groups.iter().enumerate() {
            let at = &mut next[usize::from(*group)];
            order[*at] = (part as u32, row as u32);
            *at += 1;
        }
    }
    order
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

/// Ranges of `order` that become row groups.
fn row_groups(order: &[(u32, u32)], group: impl Fn(&(u32, u32)) -> KeyGroup) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for i in 1..=order.len() {
        let ends = i == order.len() || group(&order[i]) != group(&order[i - 1]);
        if i == order.len() || (ends && i - start >= ROW_GROUP_ROWS) || i - start >= ROW_GROUP_ROWS_MAX {
            ranges.push(start..i);
            start = i;
        }
    }
    ranges
}

/// Reads the rows whose key group lies in `wanted`, in the order of the file. An error is the last item: the bytes are not
/// a state file of such a table. Callers check length and checksum first.
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
    /// What is left of a batch: wanted rows only.
    rest: Option<RecordBatch>,
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
        Ok(Self { batches, schema: schema.clone(), keys, wanted, rest: None, failed: false })
    }

    /// The next rows of one kind.
    fn run(&mut self) -> Result<Option<StateRows>, Error> {
        loop {
            if let Some(batch) = self.rest.take() {
                let ops = typed::<Int8Array>(&batch, 1)?.values();
                let same = ops.iter().take_while(|op| **op == ops[0]).count();
                let op = if ops[0] == PUT { StateOp::Put } else { StateOp::Delete };
                let run = self.rows(op, &batch.slice(0, same))?;
                self.rest = (same < batch.num_rows()).then(|| batch.slice(same, batch.num_rows() - same));
                return Ok(Some(run));
            }
            let Some(batch) = self.batches.next().transpose()? else { return Ok(None) };
            let groups = typed::<UInt16Array>(&batch, 0)?.values();
            let start = groups.partition_point(|g| *g < self.wanted.start);
            let end = groups.partition_point(|g| *g < self.wanted.end);
            self.rest = (start < end).then(|| batch.slice(start, end - start));
        }
    }

    fn rows(&self, op: StateOp, batch: &RecordBatch) -> Result<StateRows, Error> {
        let schema = if op == StateOp::Put { &self.schema } else { &self.keys };
        let one = |(i, field): (usize, &Arc<Field>)| -> Result<ArrayRef, ArrowError> {
            let column = batch.column(i + 2);
            if column.data_type() == field.data_type() {
                return Ok(column.clone());
            }
            compute::cast(column, field.data_type())
        };
        let columns = schema.fields().iter().enumerate().map(one).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
        Ok(StateRows { op, rows, key_groups: typed::<UInt16Array>(batch, 0)?.values().to_vec() })
    }
}

impl Iterator for Decoder {
    type Item = Result<StateRows, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let run = self.run();
        self.failed = run.is_err();
        run.transpose()
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
    use crate::keys;

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

    /// What rows fold to, replayed in their order.
    fn fold(rows: &[StateRows]) -> std::collections::BTreeMap<String, String> {
        let mut folded = std::collections::BTreeMap::new();
        for shown in show(rows) {
            match shown.split_once('=') {
                Some((key, value)) => folded.insert(key.to_owned(), value.to_owned()),
                None => folded.remove(&shown),
            };
        }
        folded
    }

    #[test]
    fn rows_are_replayed_in_the_order_they_were_written() {
        let rows = [
            put(&[("a", 1), ("b", 2)]),
            delete(&["b", "c"]),
            put(&[("c", 3), ("a much longer key", 4), ("a", 5)]),
            delete(&["a much longer key"]),
        ];
        let file = encode(&schema(), &rows).unwrap().unwrap();
        assert_eq!(file.rows, 8);
        let folded = fold(&decode(file.bytes.into(), &schema(), 1, &(0..16)).unwrap());
        assert_eq!(folded.into_iter().collect::<Vec<_>>(), [("a".into(), "5".into()), ("c".into(), "3".into())]);
        assert!(encode(&schema(), &[]).unwrap().is_none());
    }

    #[test]
    fn a_table_without_key_has_its_last_row_last() {
        let rows = [put(&[("x", 1)]), put(&[("x", 2)])];
        let file = encode(&schema(), &rows).unwrap().unwrap();
        assert_eq!(show(&decode(file.bytes.into(), &schema(), 0, &(0..16)).unwrap()), ["x=1", "x=2"]);
    }

    #[test]
    fn rows_are_sorted_by_key_group_and_row_groups_hold_whole_key_groups() {
        let keys: Vec<String> = (0..200_000).map(|i| format!("{i:06}")).collect();
        let rows: Vec<(&str, i64)> = keys.iter().rev().map(|k| (k.as_str(), 0)).collect();
        let file = encode(&schema(), &[put(&rows)]).unwrap().unwrap();
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
        let file = encode(&schema, std::slice::from_ref(&rows)).unwrap().unwrap();
        let read = decode(file.bytes.into(), &schema, 1, &(0..16)).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].rows, rows.rows);
    }

    #[test]
    fn another_tables_file_is_refused() {
        let file = encode(&schema(), &[put(&[("a", 1)])]).unwrap().unwrap();
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
            let file = encode(&schema(), &rows).unwrap();
            let folded = file.map_or_else(Default::default, |f| fold(&decode(f.bytes.into(), &schema(), 1, &(0..16)).unwrap()));
            let expected = model.into_iter().filter_map(|(k, v)| Some((k, v?.to_string()))).collect();
            prop_assert_eq!(folded, expected);
        }
    }
}
