use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, LargeStringArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field};
use dflow_common::{Classified, TypeKind};
use dflow_connector_api::Result;
use dflow_connector_api::format::{Decoding, FileDecoder, FormatRequest};
use parquet::arrow::ArrowWriter;

use crate::kit::*;

fn open(request: &FormatRequest, file: Vec<u8>, skip: u64) -> Result<Box<dyn FileDecoder>> {
    match format("parquet").decoding(request).unwrap() {
        Decoding::Files(f) => f.open(Path::new("part.parquet"), Box::new(Cursor::new(file)), skip),
        Decoding::Records(_) => panic!("parquet reads files"),
    }
}

fn read_all(request: &FormatRequest, file: Vec<u8>, skip: u64) -> Vec<String> {
    let mut decoder = open(request, file, skip).unwrap();
    let mut all = Vec::new();
    while let Some(batch) = decoder.next().unwrap() {
        all.extend(lines(&batch, request));
    }
    all
}

/// A file as another program would write it.
fn foreign(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    out
}

#[test]
fn every_type_survives_the_way_there_and_back() {
    let mut columns = every_type();
    columns.push(("l", array(row(&[("x", int()), ("y", string())]))));
    columns.push(("m", map(array(string()))));
    let request = table(&columns, &[]);
    let nested = r#""l":[{"x":1,"y":"a"},null],"m":{"k":["v",null],"n":null}}"#;
    let text: String = EVERY_TYPE_ROWS.lines().map(|l| format!("{},{nested}\n", l.trim_end_matches('}'))).collect();
    for compression in ["SNAPPY", "GZIP", "ZSTD", "LZ4", "none"] {
        let written = table(&columns, &[("compression", compression)]);
        let file = encode("parquet", &written, &batch(&request, &text));
        assert_eq!(read_all(&request, file, 0), text.lines().collect::<Vec<_>>(), "{compression}");
    }
}

#[test]
fn projected_columns_are_read_in_their_order_and_rows_can_be_skipped() {
    let request = table(&[("a", int()), ("b", string()), ("c", int())], &[("batch-size", "2")]);
    let text: String = (0..5).map(|i| format!("{{\"a\":{i},\"b\":\"x{i}\",\"c\":{}}}\n", i * 10)).collect();
    let file = encode("parquet", &table(&[("a", int()), ("b", string()), ("c", int())], &[]), &batch(&request, &text));
    let mut narrow = request.clone();
    narrow.projection = vec![2, 0];
    let mut decoder = open(&narrow, file.clone(), 3).unwrap();
    let first = decoder.next().unwrap().unwrap();
    assert_eq!(first.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["c", "a"]);
    assert_eq!(first.num_rows(), 2);
    assert!(decoder.next().unwrap().is_none());

    narrow.projection = vec![];
    let mut decoder = open(&narrow, file, 0).unwrap();
    let mut rows = 0;
    while let Some(b) = decoder.next().unwrap() {
        rows += b.num_rows();
    }
    assert_eq!(rows, 5, "rows are counted without columns");
}

#[test]
fn foreign_files_fit_when_their_values_do() {
    let inner: ArrayRef = Arc::new(StructArray::from(vec![(
        Arc::new(Field::new("y", DataType::Utf8, true)),
        Arc::new(StringArray::from(vec![Some("q"), None])) as ArrayRef,
    )]));
    let file = foreign(vec![
        ("n", Arc::new(Int32Array::from(vec![Some(7), None]))),
        ("s", Arc::new(LargeStringArray::from(vec!["é", ""]))),
        ("r", inner),
        ("unused", Arc::new(Int64Array::from(vec![1, 2]))),
    ]);
    let request = table(
        &[("s", string()), ("n", bigint()), ("later", string()), ("r", row(&[("x", int()), ("y", string())]))],
        &[],
    );
    assert_eq!(
        read_all(&request, file, 0),
        [
            r#"{"s":"é","n":7,"later":null,"r":{"x":null,"y":"q"}}"#,
            r#"{"s":"","n":null,"later":null,"r":{"x":null,"y":null}}"#
        ]
    );
}

#[test]
fn a_column_that_does_not_fit_is_named() {
    let file = foreign(vec![("n", Arc::new(Int64Array::from(vec![1])))]);
    let e = open(&table(&[("n", int())], &[]), file.clone(), 0).err().unwrap();
    assert_eq!(e.diagnostic().message, "column `n` is Int64 in part.parquet, which does not fit INT");
    assert_eq!(e.diagnostic().class, dflow_common::Class::Schema);
    let e = open(&table(&[("N", bigint())], &[]), file, 0).err().unwrap();
    assert_eq!(e.code().to_string(), "DF5103");
    assert_eq!(e.diagnostic().notes, ["it has n; names are compared with their case"]);
}

#[test]
fn what_is_no_parquet_file_is_damaged() {
    for bytes in [&b""[..], b"PAR1", b"{\"a\":1}\n", b"PAR1 something PAR1"] {
        let e = open(&table(&[("n", int())], &[]), bytes.to_vec(), 0).err().unwrap();
        assert_eq!((e.code().to_string().as_str(), e.class()), ("DF5102", dflow_common::Class::Data));
    }
}

#[test]
fn intervals_and_unknown_compressions_are_refused() {
    let request = table(&[("i", TypeKind::IntervalDayTime.into())], &[]);
    assert_eq!(refused(format("parquet").encoding(&request)), ["DF5104 format 'parquet' cannot carry column `i`"]);
    let request = table(&[("i", int())], &[("compression", "SNAPY")]);
    assert!(refused(format("parquet").encoding(&request))[0].contains("did you mean 'SNAPPY'?"));
}

#[test]
fn row_groups_end_at_the_block_size() {
    let request = table(&[("a", string())], &[("block.size", "16 kb"), ("compression", "none")]);
    let mut encoder = encoding("parquet", &request).encoder().unwrap();
    let mut out = Vec::new();
    for i in 0..40 {
        let text: String =
            (0..100).map(|j| format!("{{\"a\":\"row {i} {j} {}\"}}\n", i * 7919 + j * 104_729)).collect();
        encoder.encode(&batch(&request, &text), &mut out).unwrap();
    }
    encoder.finish(&mut out).unwrap();
    let meta = parquet::file::metadata::ParquetMetaDataReader::new()
        .parse_and_finish(&bytes::Bytes::from(out.clone()))
        .unwrap();
    assert!(meta.num_row_groups() > 3, "{}", meta.num_row_groups());
    assert_eq!(read_all(&table(&[("a", string())], &[]), out, 0).len(), 4000);
}

#[test]
fn decimals_of_every_width_survive_and_may_widen() {
    for (precision, scale, value) in [
        (5, 2, "-123.45"),
        (9, 2, "1234567.89"),
        (18, 3, "123456789012345.678"),
        (38, 0, "99999999999999999999999999999999999999"),
    ] {
        let request = table(&[("d", TypeKind::Decimal(precision, scale).into())], &[]);
        let text = format!("{{\"d\":{value}}}");
        let file = encode("parquet", &request, &batch(&request, &text));
        assert_eq!(read_all(&request, file.clone(), 0), [text.as_str()], "DECIMAL({precision}, {scale})");
        if precision < 38 {
            let wider = table(&[("d", TypeKind::Decimal(precision + 2, scale + 1).into())], &[]);
            assert_eq!(read_all(&wider, file, 0), [format!("{{\"d\":{value}0}}")]);
        }
    }
}
