use dflow_common::limits::RECORD_BYTES_MAX;
use dflow_common::{Classified, SqlType, TypeKind};
use dflow_connector_api::FieldMask;
use dflow_connector_api::format::FormatRequest;

use crate::kit::*;

fn ab() -> FormatRequest {
    table(&[("a", int()), ("b", string())], &[])
}

#[test]
fn columns_are_found_by_key_in_any_order_and_absent_ones_are_null() {
    let text = r#"{"a":1,"b":"x"}
{"b":"y","a":2}

  {"other":{"deep":[1,2,{"a":9}]},"b":"z"}
{}
"#;
    assert_eq!(
        rows("json", &ab(), text),
        [r#"{"a":1,"b":"x"}"#, r#"{"a":2,"b":"y"}"#, r#"{"a":null,"b":"z"}"#, r#"{"a":null,"b":null}"#]
    );
}

#[test]
fn only_projected_columns_are_built_in_projection_order() {
    let mut request = table(&[("a", int()), ("b", string()), ("c", int())], &[]);
    request.projection = vec![2, 1];
    let mut d = decoder("json", &request);
    // `a` is no number, but nobody reads it.
    assert_eq!(d.decode(br#"{"a":"not a number","b":"x","c":3}"#, true, 10).unwrap().bad, []);
    let batch = d.take().unwrap();
    assert_eq!(batch.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["c", "b"]);

    request.projection = vec![];
    let mut d = decoder("json", &request);
    d.decode(b"{}\n{}\n", true, 10).unwrap();
    assert_eq!(d.take().unwrap().num_rows(), 2, "rows are counted without columns");
}

#[test]
fn of_equal_keys_the_last_wins() {
    let request = table(&[("a", int()), ("r", row(&[("x", int())])), ("m", map(int()))], &[]);
    let text = r#"{"a":1,"r":{"x":1,"x":2},"a":"3","m":{"k":1,"j":5,"k":2},"a":4}
{"a":7}
"#;
    assert_eq!(
        rows("json", &request, text),
        [r#"{"a":4,"r":{"x":2},"m":{"j":5,"k":2}}"#, r#"{"a":7,"r":null,"m":null}"#]
    );
    // The loser may even be wrong.
    assert_eq!(rows("json", &ab(), r#"{"a":1,"b":1,"a":2}"#), [r#"{"a":2,"b":"1"}"#]);
}

#[test]
fn every_type_survives_the_way_there_and_back() {
    let request = table(&every_type(), &[]);
    let expected: Vec<&str> = EVERY_TYPE_ROWS.lines().collect();
    assert_eq!(rows("json", &request, EVERY_TYPE_ROWS), expected);
    let iso = table(&every_type(), &[("timestamp-format.standard", "ISO-8601")]);
    let out = encode("json", &iso, &batch(&request, EVERY_TYPE_ROWS));
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.contains(r#""ts":"2024-01-02T03:04:05.678""#) && text.contains(r#""tz":"2024-01-02T03:04:05Z""#),
        "{text}"
    );
    assert_eq!(rows("json", &iso, &text), expected);
}

#[test]
fn nested_values_become_nested_arrays() {
    let request = table(
        &[
            ("l", array(row(&[("x", int()), ("y", array(string()))]))),
            ("m", map(row(&[("z", TypeKind::Decimal(5, 1).into())]))),
        ],
        &[],
    );
    let text = r#"{"l":[{"x":1,"y":["a",null]},null,{"y":[]}],"m":{"k":{"z":1.25},"n":null}}
{"l":[],"m":{}}
{"l":null}
"#;
    assert_eq!(
        rows("json", &request, text),
        [
            r#"{"l":[{"x":1,"y":["a",null]},null,{"x":null,"y":[]}],"m":{"k":{"z":1.3},"n":null}}"#,
            r#"{"l":[],"m":{}}"#,
            r#"{"l":null,"m":null}"#
        ]
    );
}

#[test]
fn a_string_column_takes_any_value_as_its_text() {
    let request = table(&[("s", string())], &[]);
    let text = r#"{"s":1.50}
{"s":true}
{"s":{"a": [1, "x"]}}
{"s":"\u00e9\n"}
"#;
    assert_eq!(
        rows("json", &request, text),
        [r#"{"s":"1.50"}"#, r#"{"s":"true"}"#, r#"{"s":"{\"a\": [1, \"x\"]}"}"#, r#"{"s":"é\n"}"#]
    );
}

#[test]
fn values_that_do_not_fit_name_their_field() {
    let request = table(
        &[
            ("i", int()),
            ("t", TypeKind::TinyInt.into()),
            ("d", TypeKind::Decimal(4, 2).into()),
            ("b", TypeKind::Boolean.into()),
            ("ts", TypeKind::Timestamp(3).into()),
            ("r", row(&[("l", array(int()))])),
            ("m", map(int())),
        ],
        &[],
    );
    let text = r#"{"i":1.5}
{"i":2147483648}
{"t":"128"}
{"d":100}
{"b":"yes"}
{"ts":"2024-01-02T03:04:05"}
{"ts":5}
{"r":{"l":[1,"x"]}}
{"m":{"k":{}}}
{"r":[1]}
{"i":[1]}
"#;
    assert_eq!(
        bad("json", &request, text),
        [
            "1:i: `1.5` is not a whole number",
            "2:i: 2147483648 does not fit INT",
            "3:t: 128 does not fit TINYINT",
            "4:d: `100` does not fit DECIMAL(4, 2)",
            "5:b: `yes` is not true or false",
            "6:ts: `2024-01-02T03:04:05` is not a timestamp such as 2024-01-31 13:45:00.000; it would be with \
             'timestamp-format.standard' = 'ISO-8601'",
            "7:ts: `5` is not a timestamp",
            "8:r.l[1]: `x` is not a whole number",
            "9:m.k: an object is not an INT",
            "10:r: an array is not an object (ROW)",
            "11:i: an array is not an INT",
        ]
    );
}

#[test]
fn text_that_is_not_json_is_a_bad_record_and_leaves_no_row() {
    let good = r#"{"a":1,"b":"x"}"#;
    for broken in [
        r#"{"a":1,"b":"x""#,
        r#"{"a":1 "b":"x"}"#,
        r#"{"a":1,}"#,
        r#"{"a":01}"#,
        r#"{"a":nul}"#,
        r#"{"b":"x}"#,
        "{\"b\":\"\t\"}",
        r#"{"b":"\x"}"#,
        r#"[1]"#,
        r#"1"#,
        r#"{"a":1}{"a":2}"#,
        r#"{"x":tru}"#,
        "{\"b\":\"\u{0}\"}",
    ] {
        let (rows, progress) = decode("json", &ab(), format!("{good}\n{broken}\n{good}\n"));
        assert_eq!(rows, [good, good], "{broken}");
        assert_eq!(progress.bad.len(), 1, "{broken}");
        let b = &progress.bad[0];
        assert_eq!((b.line, b.record, b.offset, b.len), (1, 1, good.len() + 1, broken.len()), "{broken}");
        assert_eq!((progress.records, progress.lines), (3, 3));
    }
    let (rows, progress) = decode("json", &ab(), b"{\"b\":\"\xff\"}\n{\"a\":5}");
    assert_eq!((rows.len(), progress.bad[0].message.as_str()), (1, "not UTF-8 at byte 7"));
}

#[test]
fn ignoring_errors_nulls_the_field_and_skips_what_is_not_json() {
    let request = table(&[("a", int()), ("l", array(int())), ("b", string())], &[("ignore-parse-errors", "true")]);
    let (rows, progress) = decode("json", &request, "{\"a\":\"x\",\"l\":[1,{},3],\"b\":\"ok\"}\n{oops\n");
    assert_eq!(rows, [r#"{"a":null,"l":null,"b":"ok"}"#]);
    assert_eq!(progress.bad.len(), 1);
}

#[test]
fn a_missing_field_fails_when_asked() {
    let request = table(&[("a", int()), ("b", string())], &[("fail-on-missing-field", "true")]);
    assert_eq!(bad("json", &request, "{\"a\":1,\"b\":null}\n{\"a\":1}\n"), ["2:b: the field is missing"]);
    let both = table(&[("a", int())], &[("fail-on-missing-field", "true"), ("ignore-parse-errors", "true")]);
    let errors = refused(format("json").decoding(&both));
    assert!(errors[0].starts_with("DF2303"), "{errors:?}");
}

#[test]
fn nesting_is_bounded_for_read_and_skipped_values() {
    let nested = |n: usize| format!("{{\"x\":{}{}}}", "[".repeat(n), "]".repeat(n));
    assert!(bad("json", &ab(), nested(127)).is_empty());
    assert_eq!(bad("json", &ab(), nested(128)), ["1:: arrays and objects nest deeper than 128"]);
}

#[test]
fn records_are_found_across_any_cut_of_the_bytes() {
    let text = "{\"a\":1,\"b\":\"é\"}\r\n\n{\"a\":2}\n{\"a\":3}";
    for cut in 0..text.len() {
        let mut d = decoder("json", &ab());
        let first = d.decode(&text.as_bytes()[..cut], false, 100).unwrap();
        let rest = d.decode(&text.as_bytes()[first.bytes..], true, 100).unwrap();
        assert_eq!(first.records + rest.records, 3, "cut at {cut}");
        assert_eq!(first.lines + rest.lines, 4, "cut at {cut}");
        assert_eq!(lines(&d.take().unwrap(), &ab()).len(), 3);
    }
}

#[test]
fn decoding_stops_at_the_wanted_number_of_rows() {
    let mut d = decoder("json", &ab());
    let text = "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n";
    let p = d.decode(text.as_bytes(), true, 2).unwrap();
    assert_eq!((p.bytes, p.records, d.rows()), (16, 2, 2));
    assert_eq!(d.take().unwrap().num_rows(), 2);
    assert_eq!(d.rows(), 0);
}

#[test]
fn a_record_may_be_as_long_as_the_limit_and_no_longer() {
    let record = |n: usize| {
        let mut text = String::from("{\"b\":\"");
        text.push_str(&"x".repeat(n - 8));
        text.push_str("\"}");
        text
    };
    for terminator in ["\n", ""] {
        let ok = record(RECORD_BYTES_MAX) + terminator;
        assert_eq!(decoder("json", &ab()).decode(ok.as_bytes(), true, 10).unwrap().records, 1);
        let long = record(RECORD_BYTES_MAX + 1) + terminator;
        let progress = decoder("json", &ab()).decode(long.as_bytes(), true, 10).unwrap();
        assert_eq!((progress.bytes, progress.records, progress.lines, progress.inside), (long.len(), 1, 1, false));
        assert!(progress.bad[0].too_long && progress.bad[0].message == "a record is longer than 16777216 bytes");
        let e = dflow_formats::error::bad_record("t", &progress.bad[0]);
        assert_eq!(e.code(), dflow_formats::error::RECORD_TOO_LONG.code);
    }
}

#[test]
fn the_rest_of_a_record_that_is_too_long_is_passed_over_in_pieces() {
    let mut d = decoder("json", &ab());
    let long = vec![b'x'; RECORD_BYTES_MAX + 1];
    let progress = d.decode(&long, false, 10).unwrap();
    assert_eq!((progress.bytes, progress.bad.len(), progress.records, progress.inside), (long.len(), 1, 0, true));
    let progress = d.decode(&long, false, 10).unwrap();
    assert_eq!((progress.bytes, progress.bad.len(), progress.inside), (long.len(), 0, true), "it is counted once");
    let progress = d.decode(b"xxx\n{\"a\":1}\n", true, 10).unwrap();
    assert_eq!((progress.records, progress.lines, progress.inside, d.rows()), (2, 2, false, 1));
    d.decode(&long, false, 10).unwrap();
    let progress = d.decode(b"", true, 10).unwrap();
    assert_eq!((progress.records, progress.inside), (1, false), "the file ends inside of it");
}

#[test]
fn a_byte_order_mark_in_front_of_a_file_is_no_part_of_it() {
    assert_eq!(rows("json", &ab(), "\u{feff}{\"a\":1}\n"), ["{\"a\":1,\"b\":null}"]);
    assert_eq!(rows("json", &ab(), "\u{feff}\n{\"a\":1}\n"), ["{\"a\":1,\"b\":null}"]);
    let (_, progress) = decode("json", &ab(), "\u{feff}{\"a\":x}\n");
    assert_eq!((progress.bad[0].offset, progress.bad[0].len), (3, 7), "the record begins behind it");
    assert_eq!(decode("json", &ab(), "{\"a\":1}\n\u{feff}{\"a\":2}\n").1.bad.len(), 1, "only in front of a file");
}

#[test]
fn maps_need_text_keys() {
    let ty: SqlType = TypeKind::Map(Box::new(int().not_null()), Box::new(int())).into();
    let errors = refused(format("json").decoding(&table(&[("m", ty)], &[])));
    assert_eq!(errors, ["DF5104 format 'json' cannot carry column `m`: the keys of a map must be STRING"]);
}

#[test]
fn writing_follows_its_options() {
    let columns = [("a", int()), ("d", TypeKind::Decimal(20, 9).into())];
    let b = batch(&table(&columns, &[]), "{\"a\":null,\"d\":0.000000027}");
    let text = |options: &[(&str, &str)]| String::from_utf8(encode("json", &table(&columns, options), &b)).unwrap();
    assert_eq!(text(&[]), "{\"a\":null,\"d\":2.7E-8}\n");
    assert_eq!(
        text(&[("encode.decimal-as-plain-number", "true"), ("encode.ignore-null-fields", "true")]),
        "{\"d\":0.000000027}\n"
    );
}

#[test]
fn numbers_json_has_no_word_for_are_written_in_quotes_and_read_back() {
    let request = table(&[("d", TypeKind::Double.into())], &[]);
    let text = "{\"d\":\"NaN\"}\n{\"d\":\"-Infinity\"}\n{\"d\":-0.0}\n{\"d\":1e300}\n";
    assert_eq!(rows("json", &request, text).join("\n") + "\n", text);
}

#[test]
fn intervals_are_numbers() {
    let request = table(&[("m", TypeKind::IntervalYearMonth.into()), ("s", TypeKind::IntervalDayTime.into())], &[]);
    assert_eq!(rows("json", &request, "{\"m\":14,\"s\":-1500}"), ["{\"m\":14,\"s\":-1500}"]);
}

#[test]
fn a_message_is_decoded_alone() {
    let mut d = decoder("json", &ab());
    d.decode_message(br#"{"a":1}"#).unwrap();
    let bad = d.decode_message(br#"{"a":"x"}"#).unwrap_err();
    assert_eq!((bad.field.as_deref(), d.rows()), (Some("a"), 1));
    d.decode_message(br#"{"a":2,"a":3}"#).unwrap();
    assert_eq!(lines(&d.take().unwrap(), &ab()), [r#"{"a":1,"b":null}"#, r#"{"a":3,"b":null}"#]);
}

#[test]
fn fields_of_rows_that_nobody_reads_are_not_decoded() {
    let mut request =
        table(&[("r", row(&[("a", int()), ("b", row(&[("x", int()), ("y", int())])), ("c", int())]))], &[]);
    let only = |i| FieldMask::Fields(vec![(i, FieldMask::All)]);
    request.masks = vec![FieldMask::Fields(vec![(1, only(1)), (2, FieldMask::All)])];
    let text = r#"{"r":{"a":"not read","b":{"x":"not read","y":1},"c":2}}
{"r":null}
{"r":{"b":null}}
{"r":{"c":"x"}}
"#;
    let (rows, progress) = decode("json", &request, text);
    assert_eq!(
        rows,
        [r#"{"r":{"a":null,"b":{"x":null,"y":1},"c":2}}"#, r#"{"r":null}"#, r#"{"r":{"a":null,"b":null,"c":null}}"#]
    );
    assert_eq!(progress.bad.len(), 1);
    request.options = table(&[], &[("fail-on-missing-field", "true")]).options;
    assert_eq!(bad("json", &request, r#"{"r":{"b":{"y":1},"c":1}}"#), Vec::<String>::new());
}

#[test]
fn a_column_of_a_type_that_is_not_sql_is_a_coded_error() {
    let column: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::UInt64Array::from(vec![1]));
    let data = arrow::array::RecordBatch::try_from_iter([("a", column)]).unwrap();
    let request = table(&[("a", bigint())], &[]);
    let mut encoder = encoding("json", &request).encoder().unwrap();
    let error = encoder.encode(&dflow_common::ChangeBatch::inserts(data), &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("DF7100") && error.to_string().contains("UInt64"), "{error}");
}
