//! Flink's type texts: `ROW<a INT NOT NULL, b ARRAY<STRING>>`, `DECIMAL(10, 2)`, `INT ARRAY`, `TIMESTAMP(3) WITH LOCAL TIME ZONE`.
//!
//! # Input and output
//! In: tokens (of a column, of a CAST) or a text. Out: [`SqlType`], or one diagnostic that points at the wrong word.
//! A CAST carries its type through sqlparser's tree as text: [`custom_type`] writes it, [`flink_type`] reads it back.
//!
//! # Invariants
//! `parse_type(&ty.to_string()) == ty` for every type. Nesting is bounded by [`NESTING_MAX`] before anything recurses.

use dflow_common::limits::NESTING_MAX;
use dflow_common::suggest::nearest;
use dflow_common::types::{DECIMAL_PRECISION_MAX, LENGTH_MAX, RowField};
use dflow_common::{Diagnostic, SourceId, Span, SqlType, TypeKind};
use sqlparser::ast as sql;

use crate::ast::FLINK_TYPE;
use crate::lexer::{Token, TokenKind, lex, unquote};
use crate::{error, reserved};

type Result<T> = std::result::Result<T, Box<Diagnostic>>;

/// Reads a type text. Spans in the error are bytes of `text`, in `source`.
///
/// # Errors
/// An unknown type, a parameter out of range, or text that is no type.
pub fn parse_type(source: SourceId, text: &str) -> Result<SqlType> {
    let (tokens, mut errors) = lex(source, text);
    if !errors.is_empty() {
        return Err(Box::new(errors.swap_remove(0)));
    }
    let mut parser = TypeParser::new(source, text, &tokens);
    let ty = parser.data_type(0)?;
    match parser.peek() {
        None => Ok(ty),
        Some(_) => Err(parser.unexpected("the end of the type")),
    }
}

/// The type a CAST of this crate's trees casts to; `None` for a data type this crate did not write.
pub fn flink_type(data_type: &sql::DataType) -> Option<SqlType> {
    match data_type {
        sql::DataType::Custom(name, modifiers) if is_marker(name) => {
            parse_type(SourceId(u32::MAX), modifiers.first()?).ok()
        }
        _ => None,
    }
}

/// A data type for sqlparser's tree that [`flink_type`] reads back.
pub fn custom_type(ty: &SqlType) -> sql::DataType {
    sql::DataType::Custom(sql::ObjectName::from(vec![sql::Ident::new(FLINK_TYPE)]), vec![ty.to_string()])
}

fn is_marker(name: &sql::ObjectName) -> bool {
    matches!(name.0.as_slice(), [sql::ObjectNamePart::Identifier(id)] if id.value == FLINK_TYPE)
}

/// Reads a type from the front of a run of tokens.
pub(crate) struct TypeParser<'a> {
    source: SourceId,
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
}

/// Type names of other systems, and what Flink calls them.
const FOREIGN: &[(&str, &str)] = &[
    ("TEXT", "STRING"),
    ("TINYTEXT", "STRING"),
    ("MEDIUMTEXT", "STRING"),
    ("LONGTEXT", "STRING"),
    ("CLOB", "STRING"),
    ("NVARCHAR", "VARCHAR"),
    ("VARCHAR2", "VARCHAR"),
    ("UUID", "STRING"),
    ("JSON", "STRING"),
    ("JSONB", "STRING"),
    ("XML", "STRING"),
    ("ENUM", "STRING"),
    ("DATETIME", "TIMESTAMP(3)"),
    ("TIMESTAMPTZ", "TIMESTAMP_LTZ(3)"),
    ("LONG", "BIGINT"),
    ("SHORT", "SMALLINT"),
    ("BYTE", "TINYINT"),
    ("INT2", "SMALLINT"),
    ("INT4", "INT"),
    ("INT8", "BIGINT"),
    ("INT16", "SMALLINT"),
    ("INT32", "INT"),
    ("INT64", "BIGINT"),
    ("SERIAL", "INT"),
    ("BIGSERIAL", "BIGINT"),
    ("UINT", "BIGINT"),
    ("UNSIGNED", "BIGINT"),
    ("MEDIUMINT", "INT"),
    ("REAL", "FLOAT"),
    ("FLOAT4", "FLOAT"),
    ("FLOAT8", "DOUBLE"),
    ("FLOAT32", "FLOAT"),
    ("FLOAT64", "DOUBLE"),
    ("NUMBER", "DECIMAL"),
    ("MONEY", "DECIMAL(19, 4)"),
    ("BOOL", "BOOLEAN"),
    ("BIT", "BOOLEAN"),
    ("BLOB", "BYTES"),
    ("BYTEA", "BYTES"),
    ("STRUCT", "ROW"),
    ("OBJECT", "ROW"),
    ("LIST", "ARRAY"),
];

/// All type names, for "did you mean".
const NAMES: &[&str] = &[
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "INTEGER",
    "BIGINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
    "NUMERIC",
    "DEC",
    "CHAR",
    "CHARACTER",
    "VARCHAR",
    "STRING",
    "BINARY",
    "VARBINARY",
    "BYTES",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "ARRAY",
    "MAP",
    "MULTISET",
    "ROW",
    "INTERVAL",
];

impl<'a> TypeParser<'a> {
    pub(crate) fn new(source: SourceId, text: &'a str, tokens: &'a [Token]) -> Self {
        Self { source, text, tokens, at: 0 }
    }

    /// How many tokens were read.
    pub(crate) fn consumed(&self) -> usize {
        self.at
    }

    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn span(&self, token: Token) -> Span {
        Span::new(self.source, token.start, token.end)
    }

    fn eat_op(&mut self, op: &str) -> bool {
        let found = self.peek().is_some_and(|t| t.is_op(op));
        self.at += usize::from(found);
        found
    }

    /// Takes a run of keywords, all or none.
    fn eat_words(&mut self, words: &[&str]) -> bool {
        let found = words
            .iter()
            .enumerate()
            .all(|(i, w)| self.tokens.get(self.at + i).is_some_and(|t| t.is_word(self.text, w)));
        if found {
            self.at += words.len();
        }
        found
    }

    pub(crate) fn unexpected(&self, expected: &str) -> Box<Diagnostic> {
        let (found, span) = match self.peek() {
            Some(t) => (t.describe(self.text), self.span(t)),
            None => {
                let end = self.tokens.last().map_or(self.text.len(), |t| t.end);
                ("the end".to_owned(), Span::new(self.source, end, end))
            }
        };
        Box::new(
            Diagnostic::error(error::UNKNOWN_TYPE, format!("expected {expected}, found {found}"))
                .with_span(span, format!("expected {expected}")),
        )
    }

    /// A type with its postfixes: `T [NOT NULL] [ARRAY | MULTISET] …`.
    pub(crate) fn data_type(&mut self, depth: usize) -> Result<SqlType> {
        if depth >= NESTING_MAX {
            let span = self.peek().map_or(Span::new(self.source, 0, 0), |t| self.span(t));
            return Err(Box::new(error::nested_too_deep(span)));
        }
        let mut ty = SqlType::from(self.base(depth)?);
        ty.nullable = self.nullability();
        let mut wraps = depth;
        loop {
            let wrap: fn(Box<SqlType>) -> TypeKind = if self.eat_words(&["ARRAY"]) {
                TypeKind::Array
            } else if self.eat_words(&["MULTISET"]) {
                TypeKind::Multiset
            } else {
                return Ok(ty);
            };
            wraps += 1;
            if wraps >= NESTING_MAX {
                let span = self.peek().map_or(Span::new(self.source, 0, 0), |t| self.span(t));
                return Err(Box::new(error::nested_too_deep(span)));
            }
            ty = SqlType::from(wrap(Box::new(ty)));
            ty.nullable = self.nullability();
        }
    }

    fn nullability(&mut self) -> bool {
        if self.eat_words(&["NOT", "NULL"]) {
            return false;
        }
        self.eat_words(&["NULL"]);
        true
    }

    fn base(&mut self, depth: usize) -> Result<TypeKind> {
        let Some(token) = self.peek().filter(|t| t.kind == TokenKind::Word) else {
            return Err(self.unexpected("a type"));
        };
        let word = token.text(self.text).to_ascii_uppercase();
        self.at += 1;
        Ok(match word.as_str() {
            "BOOLEAN" => TypeKind::Boolean,
            "TINYINT" => TypeKind::TinyInt,
            "SMALLINT" => TypeKind::SmallInt,
            "INT" | "INTEGER" => TypeKind::Int,
            "BIGINT" => TypeKind::BigInt,
            "FLOAT" => TypeKind::Float,
            "DOUBLE" => {
                self.eat_words(&["PRECISION"]);
                TypeKind::Double
            }
            "DECIMAL" | "NUMERIC" | "DEC" => self.decimal()?,
            "STRING" => TypeKind::VarChar(LENGTH_MAX),
            "BYTES" => TypeKind::VarBinary(LENGTH_MAX),
            "CHAR" | "CHARACTER" if self.eat_words(&["VARYING"]) => TypeKind::VarChar(self.length()?),
            "CHAR" | "CHARACTER" => TypeKind::Char(self.length()?),
            "VARCHAR" => TypeKind::VarChar(self.length()?),
            "BINARY" if self.eat_words(&["VARYING"]) => TypeKind::VarBinary(self.length()?),
            "BINARY" => TypeKind::Binary(self.length()?),
            "VARBINARY" => TypeKind::VarBinary(self.length()?),
            "DATE" => TypeKind::Date,
            "TIME" => {
                let precision = self.precision(0, 9)?;
                self.eat_words(&["WITHOUT", "TIME", "ZONE"]);
                TypeKind::Time(precision)
            }
            "TIMESTAMP" => self.timestamp(token)?,
            "TIMESTAMP_LTZ" => TypeKind::TimestampLtz(self.precision(6, 9)?),
            "INTERVAL" => self.interval()?,
            "ARRAY" => TypeKind::Array(Box::new(self.element(depth)?)),
            "MULTISET" => TypeKind::Multiset(Box::new(self.element(depth)?)),
            "MAP" => {
                self.open("<")?;
                let key = self.data_type(depth + 1)?;
                if !self.eat_op(",") {
                    return Err(self.unexpected("`,` and the type of the map's values"));
                }
                let value = self.data_type(depth + 1)?;
                self.close(">")?;
                TypeKind::Map(Box::new(key), Box::new(value))
            }
            "ROW" => self.row(depth)?,
            "NULL" => TypeKind::Null,
            _ => return Err(self.unknown(token, &word)),
        })
    }

    fn unknown(&self, token: Token, word: &str) -> Box<Diagnostic> {
        if ["VARIANT", "BITMAP", "RAW", "STRUCTURED", "DESCRIPTOR"].contains(&word) {
            return Box::new(
                Diagnostic::error(error::UNKNOWN_TYPE, format!("the type `{word}` of Flink is not supported"))
                    .with_span(self.span(token), "not supported"),
            );
        }
        let d = Diagnostic::error(error::UNKNOWN_TYPE, format!("Flink SQL has no type `{}`", token.text(self.text)))
            .with_span(self.span(token), "unknown type");
        Box::new(match FOREIGN.iter().find(|(foreign, _)| *foreign == word) {
            Some((_, flink)) => d.with_help(format!("write `{flink}`")),
            None => match nearest(word, NAMES.iter().copied()) {
                Some(name) => d.with_help(format!("did you mean `{name}`?")),
                None => d,
            },
        })
    }

    fn open(&mut self, bracket: &str) -> Result<()> {
        match self.eat_op(bracket) {
            true => Ok(()),
            false => Err(self.unexpected(&format!("`{bracket}` and the type of the elements"))),
        }
    }

    fn close(&mut self, bracket: &str) -> Result<()> {
        match self.eat_op(bracket) {
            true => Ok(()),
            false => Err(self.unexpected(&format!("`{bracket}`"))),
        }
    }

    fn element(&mut self, depth: usize) -> Result<SqlType> {
        self.open("<")?;
        let ty = self.data_type(depth + 1)?;
        self.close(">")?;
        Ok(ty)
    }

    fn row(&mut self, depth: usize) -> Result<TypeKind> {
        if self.eat_op("<>") {
            return Ok(TypeKind::Row(Vec::new()));
        }
        let close = if self.eat_op("<") {
            ">"
        } else if self.eat_op("(") {
            ")"
        } else {
            return Err(self.unexpected("`<` and the fields of the row"));
        };
        let mut fields = Vec::new();
        if self.eat_op(close) {
            return Ok(TypeKind::Row(fields));
        }
        loop {
            let Some(token) = self.peek() else { return Err(self.unexpected("a field name")) };
            let name = match token.kind {
                TokenKind::Word if reserved::is_reserved(token.text(self.text)) => {
                    return Err(Box::new(reserved::error(self.span(token), token.text(self.text))));
                }
                TokenKind::Word => token.text(self.text).to_owned(),
                TokenKind::Quoted => unquote(token.text(self.text)),
                _ => return Err(self.unexpected("a field name")),
            };
            self.at += 1;
            let ty = self.data_type(depth + 1)?;
            let comment = self.peek().filter(|t| t.kind == TokenKind::String).map(|t| unquote(t.text(self.text)));
            self.at += usize::from(comment.is_some());
            fields.push(RowField { name, ty, comment });
            if !self.eat_op(",") {
                break;
            }
        }
        self.close(close)?;
        Ok(TypeKind::Row(fields))
    }

    /// `(n)`, `(n, m)`, or nothing.
    fn parameters(&mut self) -> Result<Vec<(u64, Span)>> {
        let mut numbers = Vec::new();
        if !self.eat_op("(") {
            return Ok(numbers);
        }
        loop {
            let Some(token) = self.peek().filter(|t| t.kind == TokenKind::Number) else {
                return Err(self.unexpected("a number"));
            };
            // What does not fit in 64 bits is out of every range.
            numbers.push((token.text(self.text).parse().unwrap_or(u64::MAX), self.span(token)));
            self.at += 1;
            if !self.eat_op(",") {
                break;
            }
        }
        self.close(")")?;
        Ok(numbers)
    }

    fn range(&self, (n, span): (u64, Span), what: &str, min: u64, max: u64) -> Result<u64> {
        if (min..=max).contains(&n) {
            return Ok(n);
        }
        Err(Box::new(
            Diagnostic::error(error::TYPE_PARAMETER, format!("the {what} of a type lies between {min} and {max}"))
                .with_span(span, format!("not between {min} and {max}")),
        ))
    }

    fn one(&mut self, what: &str, default: u64, min: u64, max: u64) -> Result<u64> {
        let numbers = self.parameters()?;
        match numbers.as_slice() {
            [] => Ok(default),
            [n] => self.range(*n, what, min, max),
            [_, (_, second), ..] => Err(Box::new(
                Diagnostic::error(error::TYPE_PARAMETER, "this type has one parameter".to_owned())
                    .with_span(*second, "one too many"),
            )),
        }
    }

    fn length(&mut self) -> Result<u32> {
        Ok(self.one("length", 1, 1, u64::from(LENGTH_MAX))? as u32)
    }

    fn precision(&mut self, default: u64, max: u64) -> Result<u8> {
        Ok(self.one("precision", default, 0, max)? as u8)
    }

    fn decimal(&mut self) -> Result<TypeKind> {
        let numbers = self.parameters()?;
        let precision = match numbers.first() {
            Some(n) => self.range(*n, "precision", 1, u64::from(DECIMAL_PRECISION_MAX))?,
            None => 10,
        };
        let scale = match numbers.get(1) {
            Some(n) => self.range(*n, "scale", 0, precision)?,
            None => 0,
        };
        match numbers.get(2) {
            Some((_, span)) => Err(Box::new(
                Diagnostic::error(error::TYPE_PARAMETER, "DECIMAL has two parameters: precision and scale".to_owned())
                    .with_span(*span, "one too many"),
            )),
            None => Ok(TypeKind::Decimal(precision as u8, scale as u8)),
        }
    }

    fn timestamp(&mut self, token: Token) -> Result<TypeKind> {
        let precision = self.precision(6, 9)?;
        if self.eat_words(&["WITH", "LOCAL", "TIME", "ZONE"]) {
            return Ok(TypeKind::TimestampLtz(precision));
        }
        if self.eat_words(&["WITH", "TIME", "ZONE"]) {
            let end = self.tokens[self.at - 1].end;
            return Err(Box::new(
                Diagnostic::error(error::UNKNOWN_TYPE, "Flink SQL has no TIMESTAMP WITH TIME ZONE".to_owned())
                    .with_span(Span::new(self.source, token.start, end), "unknown type")
                    .with_help(format!("an instant is `TIMESTAMP_LTZ({precision})`")),
            ));
        }
        self.eat_words(&["WITHOUT", "TIME", "ZONE"]);
        Ok(TypeKind::Timestamp(precision))
    }

    /// `INTERVAL DAY(2) TO SECOND(3)`: which of Flink's two kinds it is.
    fn interval(&mut self) -> Result<TypeKind> {
        let first = self.interval_unit()?;
        if self.eat_words(&["TO"]) {
            self.interval_unit()?;
        }
        Ok(if first { TypeKind::IntervalYearMonth } else { TypeKind::IntervalDayTime })
    }

    /// Whether the unit is one of months.
    fn interval_unit(&mut self) -> Result<bool> {
        const UNITS: [(&str, bool); 8] = [
            ("YEAR", true),
            ("QUARTER", true),
            ("MONTH", true),
            ("WEEK", false),
            ("DAY", false),
            ("HOUR", false),
            ("MINUTE", false),
            ("SECOND", false),
        ];
        for (unit, months) in UNITS {
            if self.eat_words(&[unit]) {
                self.parameters()?;
                return Ok(months);
            }
        }
        Err(self.unexpected("a unit such as YEAR or DAY"))
    }
}
