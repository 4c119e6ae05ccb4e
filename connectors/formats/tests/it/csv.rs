use dflow_common::TypeKind;
use dflow_connector_api::format::{Decoding, FormatRequest};

use crate::kit::*;

fn abc(options: &[(&str, &str)]) -> FormatRequest {
    table(&[("a", int()), ("b", string()), ("c", TypeKind::Double.into())], options)
}

#[test]
fn fields_fill_columns_by_position() {
    let text = "1,x,2.5\r\n\n2,,\n3,\"q \"\"u\"\", \nnext line\",1\n";
    assert_eq!(
        rows("csv", &abc(&[]), text),
        [r#"{"a":1,"b":"x","c":2.5}"#, r#"{"a":2,"b":"","c":null}"#, r#"{"a":3,"b":"q \"u\", \nnext line","c":1.0}"#]
    );
}

#[test]
fn lines_inside_quotes_count() {
    let (_, progress) = decode("csv", &abc(&[]), "1,\"a\nb\",1\nx,y,z\n");
    assert_eq!((progress.lines, progress.records), (3, 2));
    assert_eq!(progress.bad[0].line, 2, "the bad record is the third line");
    assert_eq!(progress.bad[0].field.as_deref(), Some("a"));
}

#[test]
fn only_projected_columns_are_built() {
    let mut request = abc(&[]);
    request.projection = vec![2, 0];
    let mut d = decoder("csv", &request);
    d.decode(b"1,x,2.5\n", true, 10).unwrap();
    let batch = d.take().unwrap();
    let names: Vec<_> = batch.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["c", "a"]);
}

#[test]
fn options_change_the_dialect() {
    let request = abc(&[
        ("field-delimiter", "\\t"),
        ("quote-character", "'"),
        ("escape-character", "\\"),
        ("allow-comments", "true"),
        ("null-literal", "n/a"),
        ("header", "true"),
    ]);
    let text = "# before\nA\tB\tC\n1\t'it\\'s'\tn/a\n# between\n2\tn/a\t3\n3\t'n/a'\t4\n4\ta\\\tb\t5\n";
    assert_eq!(
        rows("csv", &request, text),
        [
            r#"{"a":1,"b":"it's","c":null}"#,
            r#"{"a":2,"b":null,"c":3.0}"#,
            r#"{"a":3,"b":"n/a","c":4.0}"#,
            r#"{"a":4,"b":"a\tb","c":5.0}"#
        ]
    );
}

#[test]
fn without_quotes_a_file_can_be_cut_anywhere() {
    let splittable = |options: &[(&str, &str)]| match format("csv").decoding(&abc(options)).unwrap() {
        Decoding::Records(r) => r.ends_at_line_feed(),
        Decoding::Files(_) => panic!("csv is a record format"),
    };
    assert!(!splittable(&[]));
    assert!(splittable(&[("disable-quote-character", "true")]));
    assert_eq!(
        rows("csv", &abc(&[("disable-quote-character", "true")]), "1,\"x,2\n"),
        [r#"{"a":1,"b":"\"x","c":2.0}"#]
    );
}

#[test]
fn a_wrong_number_of_fields_or_a_broken_quote_is_a_bad_record() {
    assert_eq!(
        bad("csv", &abc(&[]), "1,x\n1,x,2,3\n1,\"x\"y,2\n1,x,2\n1,\"open,2\n"),
        [
            "1:: 2 fields where the table has 3 columns",
            "2:: 4 fields where the table has 3 columns",
            "3:: text follows a closing quote",
            "5:: a quoted field is not closed",
        ]
    );
}

#[test]
fn ignoring_errors_nulls_fields_and_takes_any_number_of_them() {
    let request = abc(&[("ignore-parse-errors", "true")]);
    let (rows, progress) = decode("csv", &request, "x,y,z\n1,b\n1,b,2,9\n\"a\"b,c,1\n");
    assert_eq!(rows, [r#"{"a":null,"b":"y","c":null}"#, r#"{"a":1,"b":"b","c":null}"#, r#"{"a":1,"b":"b","c":2.0}"#]);
    assert_eq!(progress.bad.len(), 1);
}

#[test]
fn every_type_survives_the_way_there_and_back() {
    let request = table(&every_type(), &[("null-literal", "NULL")]);
    let b = batch(&request, EVERY_TYPE_ROWS);
    let text = String::from_utf8(encode("csv", &request, &b)).unwrap();
    assert!(
        text.starts_with("true,-128,32767,-2147483648,9223372036854775807,1.5,-2.5e-300,1234567890.1234,"),
        "{text}"
    );
    assert_eq!(rows("csv", &request, &text), EVERY_TYPE_ROWS.lines().collect::<Vec<_>>());
}

#[test]
fn text_that_looks_like_structure_survives_the_way_there_and_back() {
    let hostile = r##"{"b":""}
{"b":"a,b"}
{"b":"say \"hi\""}
{"b":"line\nfeed\r"}
{"b":"#not a comment"}
{"b":"back\\slash"}
{"b":"NULL"}
{"b":null}
{"b":"é😀"}
"##;
    for options in [
        &[("null-literal", "NULL"), ("allow-comments", "true")][..],
        &[("null-literal", "NULL"), ("escape-character", "\\")][..],
        &[("null-literal", "NULL"), ("quote-character", "'"), ("field-delimiter", ";")][..],
    ] {
        let one = table(&[("b", string())], options);
        let text = String::from_utf8(encode("csv", &one, &batch(&one, hostile))).unwrap();
        assert_eq!(rows("csv", &one, &text), hostile.lines().collect::<Vec<_>>(), "{text}");
    }
}

#[test]
fn arrays_and_rows_are_joined() {
    let request = table(&[("l", array(int())), ("r", row(&[("x", int()), ("y", string())]))], &[]);
    let text = "1;2;3,7;z\n,\n5,;\n";
    assert_eq!(
        rows("csv", &request, text),
        [r#"{"l":[1,2,3],"r":{"x":7,"y":"z"}}"#, r#"{"l":null,"r":null}"#, r#"{"l":[5],"r":{"x":null,"y":""}}"#]
    );
    let b = batch(&request, r#"{"l":[1,null],"r":{"x":1,"y":"q"}}"#);
    assert_eq!(encode("csv", &request, &b), b"1;,1;q\n");
    assert_eq!(
        bad("csv", &request, "1,1;2;3\nx,1;y\n"),
        ["1:r: 3 elements where the ROW has 2 fields", "2:l: `x` is not a whole number"]
    );
}

#[test]
fn what_csv_cannot_carry_is_refused_by_name() {
    let errors = refused(format("csv").decoding(&table(&[("m", map(int())), ("n", array(array(int())))], &[])));
    assert_eq!(
        errors,
        [
            "DF5104 format 'csv' cannot carry column `m`: it has no way to write a map",
            "DF5104 format 'csv' cannot carry column `n`: the elements of an array must be scalars"
        ]
    );
    for options in
        [[("field-delimiter", "ab")], [("field-delimiter", "é")], [("quote-character", ",")], [("field-delimiter", "")]]
    {
        assert!(refused(format("csv").decoding(&abc(&options)))[0].starts_with("DF2303"), "{options:?}");
    }
}

#[test]
fn records_are_found_across_any_cut_of_the_bytes() {
    let text = "1,\"a\"\"b\nc\",2\r\n2,x,3\n3,\"\",4";
    for cut in 0..text.len() {
        let mut d = decoder("csv", &abc(&[]));
        let first = d.decode(&text.as_bytes()[..cut], false, 100).unwrap();
        let rest = d.decode(&text.as_bytes()[first.bytes..], true, 100).unwrap();
        assert_eq!((first.records + rest.records, first.lines + rest.lines), (3, 4), "cut at {cut}");
        assert!(first.bad.is_empty() && rest.bad.is_empty(), "cut at {cut}");
        assert_eq!(lines(&d.take().unwrap(), &abc(&[]))[0], r#"{"a":1,"b":"a\"b\nc","c":2.0}"#);
    }
}

#[test]
fn a_header_is_written_and_skipped() {
    let request = table(&[("id", int()), ("full, name", string())], &[("header", "true")]);
    let b = batch(&request, "{\"id\":1,\"full, name\":\"x\"}");
    let text = String::from_utf8(encode("csv", &request, &b)).unwrap();
    assert_eq!(text, "id,\"full, name\"\n1,x\n");
    assert_eq!(rows("csv", &request, &text).len(), 1);
    let Ok(Decoding::Records(r)) = format("csv").decoding(&request) else { panic!("csv is a record format") };
    let mut behind = r.decoder(false);
    assert_eq!(behind.decode(b"1,x\n", true, 10).unwrap().records, 1, "no header in the middle of a file");
}

#[test]
fn an_endless_record_is_an_error() {
    let open = format!("1,\"{}", "x".repeat(dflow_common::limits::RECORD_BYTES_MAX));
    let mut d = decoder("csv", &abc(&[]));
    let progress = d.decode(open.as_bytes(), false, 10).unwrap();
    assert_eq!((progress.bytes, progress.records, progress.inside), (open.len(), 0, true));
    assert!(progress.bad[0].too_long);
    // The line feeds inside of its quotes end nothing; a doubled quote does not close them, also across two pieces.
    for piece in [&b"a\nb\"\"c\""[..], b"\"d\ne", b"f\n"] {
        let progress = d.decode(piece, false, 10).unwrap();
        assert_eq!((progress.bytes, progress.lines, progress.inside), (piece.len(), 1, true), "{progress:?}");
    }
    let progress = d.decode(b"g\",z\n1,x,2\n", true, 10).unwrap();
    assert_eq!((progress.records, progress.lines, progress.bad.len(), d.rows()), (2, 2, 0, 1), "{progress:?}");
}

#[test]
fn a_byte_order_mark_in_front_of_a_file_is_no_part_of_it() {
    let plain = rows("csv", &abc(&[]), "1,x,3\n2,x,4\n");
    assert_eq!(rows("csv", &abc(&[]), "\u{feff}1,x,3\n2,x,4\n"), plain);
    assert_eq!(rows("csv", &abc(&[]), "\u{feff}\"1\",x,3\n2,x,4\n"), plain, "a quote behind it opens a field");
}
