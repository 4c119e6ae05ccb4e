//! `json`: one object per line (or per message).
//!
//! ```text
//! {"id":1,"name":"pen","price":2.50,"tags":["a","b"]}
//! {"id":2,"name":null,"extra":{"is":"skipped"}}
//! ```
//! Keys that are no columns are walked over, not decoded. Columns whose key is absent are NULL. Of equal keys the
//! last wins.
//!
//! # Types
//! As Flink's `json` format, with three differences where Flink changes data silently: a number with a fraction does
//! not fit a whole-number column, a number too large for its DECIMAL is an error (Flink: NULL), and `BOOLEAN` text
//! must be `true` or `false` (Flink: anything else is false). A STRING column takes any value: numbers and nested
//! values as their text. `BYTES` is base64. A `MAP` has STRING keys.

pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod fault;
pub(crate) mod scan;
pub(crate) mod values;

use std::sync::Arc;

use dflow_common::{SqlType, TypeKind};
use dflow_connector_api::format::{Decoding, Encoding, FormatFactory, FormatRequest};
use dflow_connector_api::{Error, FormatSpec, OptionSpec, OptionType, Options, Result};

use crate::error::TYPE_NOT_SUPPORTED;
use values::Rules;

pub(crate) const FAIL_ON_MISSING_FIELD: OptionSpec =
    OptionSpec::new("fail-on-missing-field", OptionType::Bool, "A record without a column's key is bad.")
        .default("false");
pub(crate) const IGNORE_PARSE_ERRORS: OptionSpec = OptionSpec::new(
    "ignore-parse-errors",
    OptionType::Bool,
    "Values that do not fit become NULL and records that are not JSON are skipped, counted.",
)
.default("false");
pub(crate) const TIMESTAMP_STANDARD: OptionSpec = OptionSpec::new(
    "timestamp-format.standard",
    OptionType::Enum(&["SQL", "ISO-8601"]),
    "SQL: `2024-01-31 13:45:00.123`; ISO-8601: `2024-01-31T13:45:00.123`.",
)
.default("SQL");
pub(crate) const MAP_NULL_KEY_MODE: OptionSpec = OptionSpec::new(
    "map-null-key.mode",
    OptionType::Enum(&["FAIL", "DROP", "LITERAL"]),
    "What writing a map with a NULL key does.",
)
.default("FAIL");
pub(crate) const MAP_NULL_KEY_LITERAL: OptionSpec =
    OptionSpec::new("map-null-key.literal", OptionType::Text, "What stands for a NULL key in mode LITERAL.")
        .default("null");
pub(crate) const PLAIN_DECIMALS: OptionSpec =
    OptionSpec::new("encode.decimal-as-plain-number", OptionType::Bool, "Write 0.000000027, not 2.7E-8.")
        .default("false");
pub(crate) const IGNORE_NULL_FIELDS: OptionSpec =
    OptionSpec::new("encode.ignore-null-fields", OptionType::Bool, "Leave NULL columns out.").default("false");

const OPTIONS: &[OptionSpec] = &[
    FAIL_ON_MISSING_FIELD,
    IGNORE_PARSE_ERRORS,
    TIMESTAMP_STANDARD,
    MAP_NULL_KEY_MODE,
    MAP_NULL_KEY_LITERAL,
    PLAIN_DECIMALS,
    IGNORE_NULL_FIELDS,
    OptionSpec::new(
        "decode.json-parser.enabled",
        OptionType::Bool,
        "Flink's switch between two parsers; both mean the one parser here.",
    )
    .default("true"),
];

static SPEC: FormatSpec = FormatSpec {
    name: "json",
    summary: "One JSON object per line or message.",
    options: OPTIONS,
    decodes: true,
    encodes: true,
    changelog: false,
};

/// The `json` format.
pub struct Json;

impl FormatFactory for Json {
    fn spec(&self) -> &'static FormatSpec {
        &SPEC
    }

    fn decoding(&self, request: &FormatRequest) -> Result<Decoding, Vec<Error>> {
        let options = Options::check("format 'json'", OPTIONS, &request.options, request.span)?;
        check_types("json", request)?;
        let rules = rules(&options)?;
        Ok(Decoding::Records(Arc::new(decode::JsonDecoding { request: request.clone(), rules })))
    }

    fn encoding(&self, request: &FormatRequest) -> Result<Arc<dyn Encoding>, Vec<Error>> {
        let options = Options::check("format 'json'", OPTIONS, &request.options, request.span)?;
        check_types("json", request)?;
        Ok(Arc::new(encode::JsonEncoding { style: encode::Style::new(&options), request: request.clone() }))
    }
}

/// How records are read, from the options `json` and `debezium-json` share.
pub(crate) fn rules(options: &Options) -> Result<Rules, Vec<Error>> {
    let (missing, ignore) = (options.bool("fail-on-missing-field"), options.bool("ignore-parse-errors"));
    if missing && ignore {
        return Err(vec![
            options
                .invalid("fail-on-missing-field", "it cannot be true together with 'ignore-parse-errors'")
                .help("choose one of them"),
        ]);
    }
    Ok(Rules { separator: separator(options), fail_on_missing: missing, ignore_errors: ignore })
}

/// What stands between date and time.
pub(crate) fn separator(options: &Options) -> u8 {
    if options.required("timestamp-format.standard").eq_ignore_ascii_case("SQL") { b' ' } else { b'T' }
}

/// Refuses columns JSON cannot carry.
pub(crate) fn check_types(format: &str, request: &FormatRequest) -> Result<(), Vec<Error>> {
    let errors: Vec<Error> = request
        .projection
        .iter()
        .map(|i| &request.schema.columns[*i])
        .filter_map(|c| {
            let why = unsupported(&c.ty)?;
            let e =
                Error::new(TYPE_NOT_SUPPORTED, format!("format '{format}' cannot carry column `{}`: {why}", c.name));
            Some(e.at(c.span, format!("{}", c.ty)))
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn unsupported(ty: &SqlType) -> Option<&'static str> {
    match &ty.kind {
        TypeKind::Map(k, v) if k.kind.is_string() => unsupported(v),
        TypeKind::Multiset(k) if k.kind.is_string() => None,
        TypeKind::Map(..) | TypeKind::Multiset(_) => Some("the keys of a map must be STRING"),
        TypeKind::Array(t) => unsupported(t),
        TypeKind::Row(fields) => fields.iter().find_map(|f| unsupported(&f.ty)),
        _ => None,
    }
}
