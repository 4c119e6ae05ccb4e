use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Fields, Int32Type};

use super::*;

#[test]
fn ranges_cover_every_group_once_and_owner_agrees() {
    for max in [1u16, 7, 128, 256] {
        for parallelism in 1..=usize::from(max.min(9)) {
            let mut next = 0;
            for subtask in 0..parallelism {
                let range = group_range(max, parallelism, subtask);
                assert_eq!(range.start, next);
                next = range.end;
                assert!(range.clone().all(|g| owner(max, parallelism, g) == subtask), "{max} {parallelism} {range:?}");
            }
            assert_eq!(next, max);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn column(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

/// `ARRAY[1, NULL]`, NULL, `ARRAY[]`.
fn lists() -> ArrayRef {
    column(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]))
}

/// `MAP['b', 2, 'a', 1]`, and the same in the other order.
fn maps() -> ArrayRef {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for entries in [[("b", 2), ("a", 1)], [("a", 1), ("b", 2)]] {
        for (key, value) in entries {
            builder.keys().append_value(key);
            builder.values().append_value(value);
        }
        builder.append(true).expect("keys and values are of equal length");
    }
    column(builder.finish())
}

/// `ROW(7, 'x')`, `ROW(NULL, 'y')`, NULL.
fn rows() -> ArrayRef {
    let fields = Fields::from(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8View, true)]);
    let columns = vec![
        column(Int32Array::from(vec![Some(7), None, Some(9)])),
        column(StringViewArray::from(vec!["x", "y", "z"])),
    ];
    column(StructArray::new(fields, columns, Some(vec![true, true, false].into())))
}

/// The frozen format. A change here loses everybody's state: do not repair the vectors, repair the code.
#[test]
fn golden_bytes_and_hashes() {
    let mut got = Vec::new();
    let mut add = |name: &str, columns: &[ArrayRef]| {
        let hashes = key_hashes(columns);
        for (row, hash) in hashes.iter().enumerate() {
            got.push(format!("{name}[{row}] {} {hash:016x}", hex(&encode_key(columns, row))));
        }
    };
    add("bool", &[column(BooleanArray::from(vec![Some(true), Some(false), None]))]);
    add("int", &[column(Int32Array::from(vec![Some(1), Some(-1), None]))]);
    add("bigint", &[column(Int64Array::from(vec![i64::MIN, i64::MAX]))]);
    add("date", &[column(Date32Array::from(vec![20_000]))]);
    add("timestamp", &[column(TimestampMicrosecondArray::from(vec![1_767_225_600_000_000]))]);
    add("decimal", &[column(Decimal128Array::from(vec![-12_345]))]);
    add("double", &[column(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 1.5]))]);
    add("text", &[column(StringViewArray::from(vec![Some(""), Some("ä"), Some("longer than twelve bytes"), None]))]);
    add("bytes", &[column(BinaryViewArray::from(vec![b"\x00\xff".as_slice()]))]);
    add("array", &[lists()]);
    add("map", &[maps()]);
    add("row", &[rows()]);
    add("two", &[column(StringViewArray::from(vec!["a", "ab"])), column(Int64Array::from(vec![Some(1), None]))]);
    let golden = include_str!("golden.txt");
    assert_eq!(got.join("\n"), golden.trim_end());
}

#[test]
fn key_groups_are_the_hash_modulo_max_parallelism() {
    let columns = [column(Int64Array::from_iter_values(0..1000))];
    let hashes = key_hashes(&columns);
    for max in [1u16, 7, 256, 32_768] {
        let groups = key_groups(&columns, max);
        assert!(hashes.iter().zip(&groups).all(|(h, g)| h % u64::from(max) == u64::from(*g)), "{max}");
    }
    let mut seen = vec![0; 16];
    key_groups(&columns, 16).into_iter().for_each(|g| seen[usize::from(g)] += 1);
    assert!(seen.iter().all(|n| (30..100).contains(n)), "1000 keys spread over 16 groups: {seen:?}");
    assert!(key_groups(&[], 16).is_empty());
}

/// Every carrier of the same values, beside the plain one.
#[test]
fn the_same_values_hash_alike_in_every_array_that_can_carry_them() {
    let alike = |arrays: Vec<ArrayRef>| {
        let expected = general(&arrays[..1]);
        for array in &arrays {
            assert_eq!(key_hashes(std::slice::from_ref(array)), expected, "{}", array.data_type());
            assert_eq!(general(std::slice::from_ref(array)), expected, "{}", array.data_type());
        }
    };
    let whole = [Some(1i8), Some(-3), None];
    alike(vec![
        column(Int64Array::from_iter(whole.map(|v| v.map(i64::from)))),
        column(Int32Array::from_iter(whole.map(|v| v.map(i32::from)))),
        column(Int16Array::from_iter(whole.map(|v| v.map(i16::from)))),
        column(Int8Array::from_iter(whole)),
        column(Date32Array::from_iter(whole.map(|v| v.map(i32::from)))),
        column(TimestampMillisecondArray::from_iter(whole.map(|v| v.map(i64::from)))),
        column(DictionaryArray::new(
            Int8Array::from(vec![Some(1), Some(0), None]),
            column(Int32Array::from(vec![-3, 1])),
        )),
    ]);
    alike(vec![
        column(Float64Array::from(vec![0.5, -0.0, f64::NAN])),
        column(Float32Array::from(vec![0.5, 0.0, -f32::NAN])),
    ]);
    let text = [Some("a"), None, Some("a much longer text"), Some("a much longer text")];
    let runs = RunArray::try_new(&Int32Array::from(vec![1, 2, 4]), &StringArray::from(vec![Some("a"), None, text[2]]));
    alike(vec![
        column(StringViewArray::from_iter(text)),
        column(StringArray::from_iter(text)),
        column(LargeStringArray::from_iter(text)),
        column(BinaryViewArray::from_iter(text.map(|t| t.map(str::as_bytes)))),
        column(BinaryArray::from_iter(text.map(|t| t.map(str::as_bytes)))),
        column(text.into_iter().collect::<DictionaryArray<Int32Type>>()),
        column(runs.expect("run ends ascend")),
    ]);
    alike(vec![
        lists(),
        column(LargeListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])])),
    ]);
    let maps = key_hashes(&[maps()]);
    assert_eq!(maps[0], maps[1], "a map has no order");
}

#[test]
fn slices_hash_like_the_rows_they_show() {
    for array in [
        column(Int64Array::from_iter((0..40).map(|i| (i % 3 > 0).then_some(i)))),
        column(StringViewArray::from_iter((0..40).map(|i| (i % 3 > 0).then(|| format!("key number {i}"))))),
        column(BooleanArray::from_iter((0..40).map(|i| (i % 3 > 0).then_some(i % 2 == 0)))),
        lists(),
        maps(),
        rows(),
    ] {
        let all = key_hashes(std::slice::from_ref(&array));
        assert_eq!(key_hashes(&[array.slice(1, array.len() - 1)]), all[1..], "{}", array.data_type());
    }
}

#[test]
fn columns_do_not_run_into_each_other() {
    let pairs = [("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", "")];
    let left = column(StringViewArray::from_iter_values(pairs.map(|p| p.0)));
    let right = column(StringViewArray::from_iter_values(pairs.map(|p| p.1)));
    let mut hashes = key_hashes(&[left, right]);
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), pairs.len());
}
