//! Rows of a final SELECT as text.
//!
//! | `-o` | one change | |
//! |---|---|---|
//! | `jsonl` | `{"op":"+I","city":"Berlin","n":1}` | always with `op`; values as the `json` format writes them |
//! | `csv` | `Berlin,1` or `+I,Berlin,1` | with a header; the kind only when the result changes |
//! | `table` | `Berlin \| 1` | columns in line; widths only grow, so that rows can appear while they arise |
//!
//! Instants (`TIMESTAMP_LTZ`) are shown in the session's time zone in `csv` and `table`, as Flink's client does; `jsonl`
//! says them in UTC with a `Z`.
//!
//! # Invariants
//! One call to [`RowWriter::append`] appends whole lines; what is appended can be written at once.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dflow::common::{ChangeBatch, SourceId, Span, SqlType};
use dflow::connector::format::{Encoder, FormatFactory, FormatRequest};
use dflow::connector::{Column, ColumnKind, Error, Result, TableSchema};
use dflow::functions::datetime::{Zone, local_batch};

use super::args::Output;

/// Widest a column of a table gets; longer values stick out.
const COLUMN_WIDTH_MAX: usize = 40;

/// Turns changes into lines.
pub(crate) enum RowWriter {
    /// `-o jsonl`
    Jsonl(Box<dyn Encoder>),
    /// `-o csv`
    Csv { header: Option<String>, changing: bool, schema: SchemaRef, zone: Zone },
    /// `-o table`
    Table { header: bool, changing: bool, widths: Vec<usize>, schema: SchemaRef, zone: Zone },
}

impl RowWriter {
    /// A writer of rows of these columns. `changing`: whether rows other than `+I` may come. `zone`: the clock that
    /// instants are shown by; JSON says them in UTC, as the `json` format does.
    ///
    /// # Errors
    /// A column of a type that JSON cannot carry.
    pub(crate) fn new(
        output: Output,
        columns: &[(String, SqlType)],
        changing: bool,
        zone: Zone,
    ) -> Result<Self, Vec<Error>> {
        let schema: SchemaRef = Arc::new(Schema::new(columns.iter().map(|(n, ty)| ty.to_field(n)).collect::<Vec<_>>()));
        Ok(match output {
            Output::Jsonl => RowWriter::Jsonl(json_encoder(columns)?),
            Output::Csv => {
                let names = columns.iter().map(|(name, _)| quoted(name));
                let header = changing.then(|| "op".to_owned()).into_iter().chain(names).collect::<Vec<_>>().join(",");
                RowWriter::Csv { header: Some(header + "\n"), changing, schema, zone }
            }
            Output::Table => RowWriter::Table { header: true, changing, widths: vec![0; columns.len()], schema, zone },
        })
    }

    /// Appends the lines of a batch.
    ///
    /// # Errors
    /// A value that has no text.
    pub(crate) fn append(&mut self, batch: &ChangeBatch, out: &mut String) -> Result<()> {
        match self {
            RowWriter::Jsonl(encoder) => jsonl(encoder.as_mut(), batch, out),
            RowWriter::Csv { header, changing, zone, .. } => {
                out.push_str(&header.take().unwrap_or_default());
                let cells = cells(&batch.data, *zone)?;
                for row in 0..batch.num_rows() {
                    if *changing {
                        out.push_str(batch.ops.kind(row).short());
                        out.push(',');
                    }
                    let fields: Vec<String> =
                        cells.iter().map(|c| c[row].as_deref().map(quoted).unwrap_or_default()).collect();
                    out.push_str(&fields.join(","));
                    out.push('\n');
                }
                Ok(())
            }
            RowWriter::Table { header, changing, widths, schema, zone } => {
                let cells = cells(&batch.data, *zone)?;
                for (i, (width, column)) in widths.iter_mut().zip(&cells).enumerate() {
                    let longest = column.iter().map(|c| length(c.as_deref().unwrap_or("NULL"))).max().unwrap_or(0);
                    *width = (*width).max(longest.max(length(schema.field(i).name())).min(COLUMN_WIDTH_MAX));
                }
                if std::mem::take(header) {
                    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                    table_line(changing.then_some("op"), &names, widths, out);
                    let rules: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
                    table_line(
                        changing.then_some("--"),
                        &rules.iter().map(String::as_str).collect::<Vec<_>>(),
                        widths,
                        out,
                    );
                }
                for row in 0..batch.num_rows() {
                    let values: Vec<&str> = cells.iter().map(|c| c[row].as_deref().unwrap_or("NULL")).collect();
                    table_line(changing.then(|| batch.ops.kind(row).short()), &values, widths, out);
                }
                Ok(())
            }
        }
    }

    /// What is owed when no row came: the header of a table or a CSV file.
    pub(crate) fn finish(&mut self, out: &mut String) -> Result<()> {
        let schema = match self {
            RowWriter::Jsonl(_) => return Ok(()),
            RowWriter::Csv { schema, .. } | RowWriter::Table { schema, .. } => schema.clone(),
        };
        self.append(&ChangeBatch::empty(schema), out)
    }
}

/// The `json` format over these columns.
fn json_encoder(columns: &[(String, SqlType)]) -> Result<Box<dyn Encoder>, Vec<Error>> {
    let span = Span::new(SourceId(u32::MAX), 0, 0);
    let column = |(name, ty): &(String, SqlType)| Column {
        name: name.clone(),
        ty: ty.clone(),
        kind: ColumnKind::Physical,
        span,
    };
    let schema = TableSchema {
        columns: columns.iter().map(column).collect(),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    };
    let request = FormatRequest {
        table: "result".into(),
        projection: (0..columns.len()).collect(),
        masks: Vec::new(),
        schema,
        options: Vec::new(),
        span,
        time_zone: "UTC".into(),
    };
    dflow_formats::json::Json.encoding(&request)?.encoder().map_err(|e| vec![e])
}

/// `{"a":1}` per row from the encoder, with `"op"` put in front.
fn jsonl(encoder: &mut dyn Encoder, batch: &ChangeBatch, out: &mut String) -> Result<()> {
    let mut bytes = Vec::new();
    encoder.encode(&ChangeBatch::inserts(batch.data.clone()), &mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    for (row, line) in text.lines().enumerate() {
        let fields = line.strip_prefix('{').unwrap_or(line);
        let comma = if fields == "}" { "" } else { "," };
        // Writing into a string cannot fail.
        let _ = writeln!(out, "{{\"op\":\"{}\"{comma}{fields}", batch.ops.kind(row).short());
    }
    Ok(())
}

/// Every value as text, column by column; `None` is NULL.
fn cells(batch: &RecordBatch, zone: Zone) -> Result<Vec<Vec<Option<String>>>> {
    let options = FormatOptions::default().with_null("NULL").with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"));
    let failed =
        |e: arrow::error::ArrowError| Error::new(dflow::error::OUTPUT_FAILED, format!("cannot print a value: {e}"));
    local_batch(batch, zone)
        .map_err(failed)?
        .columns()
        .iter()
        .map(|column| {
            let values = ArrayFormatter::try_new(column.as_ref(), &options).map_err(failed)?;
            // A column of NULLs alone has no marks of them.
            let nulls = column.logical_nulls();
            (0..column.len())
                .map(|row| {
                    if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
                        Ok(None)
                    } else {
                        values.value(row).try_to_string().map(Some).map_err(failed)
                    }
                })
                .collect()
        })
        .collect()
}

fn table_line(kind: Option<&str>, values: &[&str], widths: &[usize], out: &mut String) {
    let mut line = kind.map(|k| format!("{k} | ")).unwrap_or_default();
    for (i, (value, width)) in values.iter().zip(widths).enumerate() {
        if i > 0 {
            line.push_str(" | ");
        }
        line.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c }));
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(length(value))));
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// A CSV field: quoted when it has to be, and when it is empty, to tell it from NULL.
fn quoted(value: &str) -> String {
    if value.is_empty() || value.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringViewArray};
    use dflow::common::Ops;

    use super::*;

    fn batch(names: Vec<Option<&str>>, counts: Vec<i64>, kinds: Vec<i8>) -> ChangeBatch {
        let columns: Vec<(&str, ArrayRef)> =
            vec![("city", Arc::new(StringViewArray::from(names))), ("n", Arc::new(Int64Array::from(counts)))];
        ChangeBatch::new(
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap(),
            Ops::from_kinds(kinds),
        )
    }

    fn written(output: Output, changing: bool, batches: &[ChangeBatch]) -> String {
        let schema = batches[0].schema();
        let columns: Vec<_> =
            schema.fields().iter().map(|f| (f.name().clone(), SqlType::from_arrow(f.data_type()).unwrap())).collect();
        let mut writer = RowWriter::new(output, &columns, changing, Zone::UTC).unwrap();
        let mut out = String::new();
        for b in batches {
            writer.append(b, &mut out).unwrap();
        }
        writer.finish(&mut out).unwrap();
        out
    }

    #[test]
    fn jsonl_has_one_object_per_change_with_its_kind() {
        let b = batch(vec![Some("Köln"), None], vec![1, 2], vec![1, 2]);
        assert_eq!(
            written(Output::Jsonl, true, &[b]),
            "{\"op\":\"-U\",\"city\":\"Köln\",\"n\":1}\n{\"op\":\"+U\",\"city\":null,\"n\":2}\n"
        );
    }

    #[test]
    fn csv_quotes_what_must_be_and_tells_null_from_empty() {
        let b = batch(vec![Some("a,\"b\""), Some(""), None], vec![1, 2, 3], vec![0, 0, 0]);
        assert_eq!(written(Output::Csv, false, std::slice::from_ref(&b)), "city,n\n\"a,\"\"b\"\"\",1\n\"\",2\n,3\n");
        assert!(written(Output::Csv, true, &[b]).starts_with("op,city,n\n+I,"));
    }

    #[test]
    fn a_column_of_nulls_alone_is_null_too() {
        let nulls: ArrayRef = Arc::new(arrow::array::NullArray::new(2));
        let data = RecordBatch::try_from_iter_with_nullable([("n", nulls, true)]).unwrap();
        let batch = ChangeBatch::inserts(data);
        assert_eq!(written(Output::Csv, false, std::slice::from_ref(&batch)), "n\n\n\n");
        assert_eq!(written(Output::Table, false, &[batch]), "n\n----\nNULL\nNULL\n");
    }

    #[test]
    fn a_table_grows_with_its_rows_and_has_a_header_without_any() {
        let first = batch(vec![Some("Bonn"), None], vec![1, 20], vec![0, 0]);
        let second = batch(vec![Some("Saarbrücken")], vec![3], vec![0]);
        assert_eq!(
            written(Output::Table, false, &[first, second]),
            "city | n\n---- | --\nBonn | 1\nNULL | 20\nSaarbrücken | 3\n"
        );
        let none = batch(vec![], vec![], vec![]);
        assert_eq!(written(Output::Table, true, &[none]), "op | city | n\n-- | ---- | -\n");
    }

    #[test]
    fn instants_are_shown_in_the_sessions_zone() {
        let instants = arrow::array::TimestampMillisecondArray::from(vec![1_500]).with_timezone("UTC");
        let data = RecordBatch::try_from_iter_with_nullable([("at", Arc::new(instants) as ArrayRef, true)]).unwrap();
        let batch = ChangeBatch::inserts(data);
        let columns = vec![("at".to_owned(), SqlType::from_arrow(batch.schema().field(0).data_type()).unwrap())];
        let written = |output| {
            let mut writer = RowWriter::new(output, &columns, false, Zone::parse("Asia/Shanghai").unwrap()).unwrap();
            let mut out = String::new();
            writer.append(&batch, &mut out).unwrap();
            out
        };
        assert_eq!(written(Output::Csv), "at\n1970-01-01 08:00:01.500\n");
        assert!(written(Output::Table).ends_with("\n1970-01-01 08:00:01.500\n"));
        assert_eq!(written(Output::Jsonl), "{\"op\":\"+I\",\"at\":\"1970-01-01 00:00:01.5Z\"}\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal_through_a_table() {
        let b = batch(vec![Some("a\u{1b}[2Jb")], vec![1], vec![0]);
        assert!(!written(Output::Table, false, &[b]).contains('\u{1b}'));
    }
}
