//! `debezium-json`: a changelog, one change per line or message.
//!
//! ```text
//! {"before":null,"after":{"id":1,"n":"pen"},"op":"c"}                     +I (1, pen)
//! {"before":{"id":1,"n":"pen"},"after":{"id":1,"n":"ink"},"op":"u"}       -U (1, pen)  +U (1, ink)
//! {"before":{"id":1,"n":"ink"},"after":null,"op":"d"}                     -D (1, ink)
//! ```
//! `op` is `c` or `r` (insert), `u` (update), `d` (delete). With `debezium-json.schema-include` the change stands
//! under `payload`. An empty or `null` message (a tombstone) is no change.
//!
//! # Semantics
//! As Flink's: every change carries full rows, also for tables with a primary key; an update without `before` is a
//! bad record that says what to set at the database. Written are `+I` and `+U` as `c`, `-U` and `-D` as `d`; reading
//! that back gives the same rows with the same signs.
//!
//! # How it is read
//! The envelope is walked once, remembering where `before`, `after` and `op` begin; then only these rows are decoded.

use std::sync::Arc;

use dflow_common::{ChangeBatch, RowKind};
use dflow_connector_api::format::{
    Decoding, Encoder, Encoding, FormatFactory, FormatRequest, RecordDecoder, RecordDecoding,
};
use dflow_connector_api::{Error, FormatSpec, OptionSpec, OptionType, Options, Result};

use crate::json::decode::{object, utf8};
use crate::json::encode::{BatchWriter, Style};
use crate::json::fault::Fault;
use crate::json::scan::Cursor;
use crate::json::values::{Rules, Values};
use crate::json::{
    IGNORE_NULL_FIELDS, IGNORE_PARSE_ERRORS, MAP_NULL_KEY_LITERAL, MAP_NULL_KEY_MODE, PLAIN_DECIMALS,
    TIMESTAMP_STANDARD, check_types, rules,
};
use crate::records::{BodyFault, LineDecoder, RecordBody, Rows};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "schema-include",
        OptionType::Bool,
        "Messages carry their schema, the change is under `payload`. For reading.",
    )
    .default("false"),
    IGNORE_PARSE_ERRORS,
    TIMESTAMP_STANDARD,
    MAP_NULL_KEY_MODE,
    MAP_NULL_KEY_LITERAL,
    PLAIN_DECIMALS,
    IGNORE_NULL_FIELDS,
];

static SPEC: FormatSpec = FormatSpec {
    name: "debezium-json",
    summary: "A changelog in Debezium's JSON envelope.",
    options: OPTIONS,
    decodes: true,
    encodes: true,
    changelog: true,
};

/// The `debezium-json` format.
pub struct DebeziumJson;

impl FormatFactory for DebeziumJson {
    fn spec(&self) -> &'static FormatSpec {
        &SPEC
    }

    fn decoding(&self, request: &FormatRequest) -> Result<Decoding, Vec<Error>> {
        let options = Options::check("format 'debezium-json'", OPTIONS, &request.options, request.span)?;
        check_types("debezium-json", request)?;
        let (rules, schema) = (rules(&options)?, options.bool("schema-include"));
        Ok(Decoding::Records(Arc::new(DebeziumDecoding { request: request.clone(), rules, schema })))
    }

    fn encoding(&self, request: &FormatRequest) -> Result<Arc<dyn Encoding>, Vec<Error>> {
        let options = Options::check("format 'debezium-json'", OPTIONS, &request.options, request.span)?;
        check_types("debezium-json", request)?;
        if options.bool("schema-include") {
            return Err(vec![
                options
                    .invalid("schema-include", "changes are written without their schema, as in Flink")
                    .help("remove the option from the table that is written to"),
            ]);
        }
        Ok(Arc::new(DebeziumEncoding { style: Style::new(&options), table: request.table.clone() }))
    }
}

struct DebeziumDecoding {
    request: FormatRequest,
    rules: Rules,
    schema: bool,
}

impl RecordDecoding for DebeziumDecoding {
    fn decoder(&self, at_start: bool) -> Box<dyn RecordDecoder> {
        let body = DebeziumBody { values: Values::new(self.rules), schema: self.schema };
        Box::new(LineDecoder::new(body, Rows::new(&self.request), at_start))
    }

    fn ignores_errors(&self) -> bool {
        self.rules.ignore_errors
    }
}

struct DebeziumBody {
    values: Values,
    schema: bool,
}

/// The parts of a change as text; absent and `null` are `None`.
#[derive(Default)]
struct Envelope<'a> {
    before: Option<&'a str>,
    after: Option<&'a str>,
    op: Option<&'a str>,
    payload: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    fn read(text: &'a str) -> Result<Self, Fault> {
        let mut envelope = Self::default();
        let mut cursor = Cursor::new(text);
        cursor.expect(b'{', "an object")?;
        if cursor.peek() == b'}' {
            cursor.at += 1;
        } else {
            loop {
                if cursor.peek() != b'"' {
                    return Err(cursor.unexpected("a key"));
                }
                let key = cursor.string()?.text;
                cursor.expect(b':', "':'")?;
                cursor.peek();
                let start = cursor.at;
                cursor.skip(1)?;
                let value = Some(cursor.since(start)).filter(|v| *v != "null");
                match key {
                    "before" => envelope.before = value,
                    "after" => envelope.after = value,
                    "op" => envelope.op = value,
                    "payload" => envelope.payload = value,
                    _ => {}
                }
                if !cursor.more(b'}')? {
                    break;
                }
            }
        }
        cursor.end()?;
        Ok(envelope)
    }
}

impl DebeziumBody {
    fn row(&mut self, text: &str, within: &str, kind: RowKind, rows: &mut Rows) -> Result<(), BodyFault> {
        object(&mut self.values, text, rows).map_err(|(field, message)| {
            (Some(field.map_or_else(|| within.to_owned(), |f| format!("{within}.{f}"))), message)
        })?;
        rows.set_kind(kind);
        Ok(())
    }
}

fn missing(field: &str, op: &str) -> BodyFault {
    (Some(field.to_owned()), format!("a change with op {op} needs `{field}`"))
}

impl RecordBody for DebeziumBody {
    const SKIPS_BLANK_LINES: bool = true;

    fn decode(&mut self, record: &[u8], rows: &mut Rows) -> Result<(), BodyFault> {
        let text = utf8(record)?.trim_ascii();
        if text.is_empty() || text == "null" {
            return Ok(());
        }
        let mut envelope = Envelope::read(text).map_err(Fault::into_parts)?;
        if self.schema {
            let payload = envelope.payload.ok_or_else(|| {
                (
                    Some("payload".to_owned()),
                    "it is missing; set 'debezium-json.schema-include' = 'false' for messages without schema"
                        .to_owned(),
                )
            })?;
            envelope = Envelope::read(payload).map_err(Fault::into_parts)?;
        }
        match envelope.op {
            Some(op @ (r#""c""# | r#""r""#)) => {
                let after = envelope.after.ok_or_else(|| missing("after", op))?;
                self.row(after, "after", RowKind::Insert, rows)
            }
            Some(op @ r#""u""#) => {
                let before = envelope.before.ok_or_else(|| {
                    let (field, why) = missing("before", op);
                    (field, format!("{why}; make the database log full rows (PostgreSQL: REPLICA IDENTITY FULL)"))
                })?;
                let after = envelope.after.ok_or_else(|| missing("after", op))?;
                self.row(before, "before", RowKind::UpdateBefore, rows)?;
                self.row(after, "after", RowKind::UpdateAfter, rows)
            }
            Some(op @ r#""d""#) => {
                let before = envelope.before.ok_or_else(|| {
                    let (field, why) = missing("before", op);
                    (field, format!("{why}; make the database log full rows (PostgreSQL: REPLICA IDENTITY FULL)"))
                })?;
                self.row(before, "before", RowKind::Delete, rows)
            }
            Some(op) => Err((Some("op".into()), format!("{} is not one of c, r, u, d", crate::text::clip(op)))),
            None if envelope.payload.is_some() => Err((
                Some("op".into()),
                "it is missing; set 'debezium-json.schema-include' = 'true' for messages with schema".into(),
            )),
            None => Err((Some("op".into()), "it is missing".into())),
        }
    }
}

struct DebeziumEncoding {
    style: Style,
    table: String,
}

impl Encoding for DebeziumEncoding {
    fn encoder(&self) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(DebeziumEncoder { style: self.style.clone(), table: self.table.clone() }))
    }

    fn extension(&self) -> &'static str {
        "json"
    }

    fn changelog(&self) -> bool {
        true
    }

    fn appendable(&self) -> bool {
        true
    }
}

struct DebeziumEncoder {
    style: Style,
    table: String,
}

impl Encoder for DebeziumEncoder {
    fn encode(&mut self, batch: &ChangeBatch, out: &mut Vec<u8>) -> Result<()> {
        let writer = BatchWriter::new(batch, &self.style).map_err(|e| e.context("table", self.table.clone()))?;
        for row in 0..batch.num_rows() {
            if batch.ops.kind(row).is_add() {
                out.extend_from_slice(br#"{"before":null,"after":"#);
                writer.write(row, out)?;
                out.extend_from_slice(b",\"op\":\"c\"}\n");
            } else {
                out.extend_from_slice(br#"{"before":"#);
                writer.write(row, out)?;
                out.extend_from_slice(b",\"after\":null,\"op\":\"d\"}\n");
            }
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}
