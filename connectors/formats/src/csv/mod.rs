//! `csv`: one record per line, columns by position.
//!
//! ```text
//! 1,pen,2.50
//! 2,"a ""quoted"", name",
//! ```
//! # Text and NULL
//! An empty unquoted field is NULL in every column that is not text, and the empty string in a text column (Flink
//! refuses the former). With `csv.null-literal` an unquoted field equal to it is NULL in any column.
//!
//! # Records
//! A record has as many fields as the table has columns; other counts make it bad (`csv.ignore-parse-errors` fills
//! with NULL or drops the rest). Quotes may enclose line feeds, so a file with quoting on is one split;
//! `csv.disable-quote-character` makes large files readable in ranges. Quotes count only at the beginning of a field.
//!
//! # Types
//! `ARRAY` and `ROW` of scalars are joined by `csv.array-element-delimiter`; `MAP` cannot be carried.

mod decode;
mod encode;

use std::sync::Arc;

use dflow_common::{SqlType, TypeKind};
use dflow_connector_api::format::{Decoding, Encoding, FormatFactory, FormatRequest};
use dflow_connector_api::{Error, FormatSpec, OptionSpec, OptionType, Options, Result};

use crate::error::TYPE_NOT_SUPPORTED;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "field-delimiter",
        OptionType::Text,
        "What separates fields: one ASCII character, `\\t` for a tab.",
    )
    .default(","),
    OptionSpec::new("disable-quote-character", OptionType::Bool, "Quotes are ordinary characters.").default("false"),
    OptionSpec::new("quote-character", OptionType::Text, "What encloses fields: one ASCII character.").default("\""),
    OptionSpec::new("allow-comments", OptionType::Bool, "Lines that begin with # are skipped.").default("false"),
    OptionSpec::new(
        "ignore-parse-errors",
        OptionType::Bool,
        "Values that do not fit become NULL and records that cannot be cut are skipped, counted.",
    )
    .default("false"),
    OptionSpec::new("array-element-delimiter", OptionType::Text, "What separates the elements of ARRAY and ROW.")
        .default(";"),
    OptionSpec::new("escape-character", OptionType::Text, "What makes the next character ordinary."),
    OptionSpec::new("null-literal", OptionType::Text, "The unquoted text that means NULL."),
    OptionSpec::new(
        "write-bigdecimal-in-scientific-notation",
        OptionType::Bool,
        "Write very small decimals as 2.7E-8, not 0.000000027.",
    )
    .default("true"),
    OptionSpec::new(
        "header",
        OptionType::Bool,
        "The first line of every file names the columns: skipped when reading, written when writing. Not in Flink.",
    )
    .default("false"),
];

static SPEC: FormatSpec = FormatSpec {
    name: "csv",
    summary: "Comma-separated values, columns by position.",
    options: OPTIONS,
    decodes: true,
    encodes: true,
    changelog: false,
};

/// The `csv` format.
pub struct Csv;

/// The checked options.
#[derive(Clone, Debug)]
struct Dialect {
    delimiter: u8,
    quote: Option<u8>,
    escape: Option<u8>,
    comments: bool,
    header: bool,
    ignore_errors: bool,
    elements: String,
    null: Option<String>,
    plain_decimals: bool,
    /// Bytes that cannot stand in a field without quotes or an escape.
    special: Box<[bool; 256]>,
    /// Numbers, dates and the like never need quotes.
    bare_scalars: bool,
}

/// What text of scalars consists of.
const SCALAR_TEXT: &[u8] = b"0123456789+-.:/=abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ";

impl Dialect {
    fn check(request: &FormatRequest) -> Result<Self, Vec<Error>> {
        let options = Options::check("format 'csv'", OPTIONS, &request.options, request.span)?;
        let mut errors = type_errors(request);
        let mut ascii = |key: &str| -> Option<u8> {
            let text = options.text(key)?;
            let text = match text {
                "\\t" => "\t",
                other => other,
            };
            match text.as_bytes() {
                [b] if b.is_ascii() && !matches!(b, b'\n' | b'\r') => Some(*b),
                _ => {
                    errors.push(options.invalid(key, format!("`{text}` is not one ASCII character")));
                    None
                }
            }
        };
        let (delimiter, quote, escape) =
            (ascii("field-delimiter"), ascii("quote-character"), ascii("escape-character"));
        let quote = quote.filter(|_| !options.bool("disable-quote-character"));
        if delimiter.is_some() && (delimiter == quote || delimiter == escape) {
            errors.push(options.invalid("field-delimiter", "it is the quote or the escape character too"));
        }
        let elements = options.required("array-element-delimiter").to_owned();
        if elements.is_empty() {
            errors.push(options.invalid("array-element-delimiter", "it is empty"));
        }
        let Some(delimiter) = delimiter.filter(|_| errors.is_empty()) else { return Err(errors) };
        let mut special = Box::new([false; 256]);
        for b in [Some(delimiter), quote, escape, Some(b'\n'), Some(b'\r')].into_iter().flatten() {
            special[usize::from(b)] = true;
        }
        Ok(Self {
            bare_scalars: !SCALAR_TEXT.iter().any(|b| special[usize::from(*b)])
                && options.text("null-literal").is_none(),
            special,
            delimiter,
            quote,
            escape,
            comments: options.bool("allow-comments"),
            header: options.bool("header"),
            ignore_errors: options.bool("ignore-parse-errors"),
            elements,
            null: options.text("null-literal").map(str::to_owned),
            plain_decimals: !options.bool("write-bigdecimal-in-scientific-notation"),
        })
    }
}

fn type_errors(request: &FormatRequest) -> Vec<Error> {
    let scalar = |t: &SqlType| {
        !matches!(t.kind, TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Array(_) | TypeKind::Row(_))
    };
    request
        .schema
        .columns
        .iter()
        .filter_map(|c| {
            let why = match &c.ty.kind {
                TypeKind::Map(..) | TypeKind::Multiset(_) => "it has no way to write a map",
                TypeKind::Array(t) if !scalar(t) => "the elements of an array must be scalars",
                TypeKind::Row(fields) if !fields.iter().all(|f| scalar(&f.ty)) => "the fields of a row must be scalars",
                _ => return None,
            };
            let e = Error::new(TYPE_NOT_SUPPORTED, format!("format 'csv' cannot carry column `{}`: {why}", c.name));
            Some(e.at(c.span, c.ty.to_string()))
        })
        .collect()
}

impl FormatFactory for Csv {
    fn spec(&self) -> &'static FormatSpec {
        &SPEC
    }

    fn decoding(&self, request: &FormatRequest) -> Result<Decoding, Vec<Error>> {
        let dialect = Dialect::check(request)?;
        Ok(Decoding::Records(Arc::new(decode::CsvDecoding::new(dialect, request.clone()))))
    }

    fn encoding(&self, request: &FormatRequest) -> Result<Arc<dyn Encoding>, Vec<Error>> {
        Ok(Arc::new(encode::CsvEncoding { dialect: Arc::new(Dialect::check(request)?) }))
    }
}
