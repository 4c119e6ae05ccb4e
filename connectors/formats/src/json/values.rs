//! One JSON object into the builders of one row.

use std::collections::HashSet;

use super::fault::{Fault, Kind, Result};
use super::scan::{Cursor, RawString, is_number, not_a_value, unescape};
use crate::column::{ColumnBuilder, ListBuilder, MapBuilder, RowBuilder};
use crate::keys::KeyTable;
use crate::text::{self, clip};

/// How values are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// What stands between date and time: blank (SQL) or `T` (ISO-8601).
    pub(crate) separator: u8,
    /// A column whose key is absent makes the record bad.
    pub(crate) fail_on_missing: bool,
    /// A value that does not fit makes its column NULL instead of the record bad.
    pub(crate) ignore_errors: bool,
}

/// Decodes objects; holds only scratch memory between them.
pub(crate) struct Values {
    rules: Rules,
    scratch: String,
    /// Set while a record with a duplicate key is decoded for the second time.
    careful: bool,
}

impl Values {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, scratch: String::new(), careful: false }
    }

    /// Decodes a whole record into a new row of `row`. After an error `row` must be settled.
    pub(crate) fn record(&mut self, text: &str, row: &mut RowBuilder) -> Result<()> {
        let mut cursor = Cursor::new(text);
        if cursor.peek() != b'{' {
            return Err(cursor.unexpected("an object"));
        }
        self.object(&mut cursor, row, 0)?;
        cursor.end()
    }

    /// The same record again after [`Kind::Duplicate`].
    pub(crate) fn record_careful(&mut self, text: &str, row: &mut RowBuilder) -> Result<()> {
        self.careful = true;
        let result = self.record(text, row);
        self.careful = false;
        result
    }

    /// Decodes an object, the cursor at its brace, into a new row of `row`.
    fn object(&mut self, cursor: &mut Cursor<'_>, row: &mut RowBuilder, depth: usize) -> Result<()> {
        cursor.guard(depth)?;
        if self.careful {
            return self.object_careful(cursor, row, depth);
        }
        let object = row.keys.begin();
        let mut set = 0;
        cursor.at += 1;
        if cursor.peek() == b'}' {
            cursor.at += 1;
        } else {
            loop {
                match Self::column_of_key(cursor, &mut row.keys)? {
                    Some(column) => {
                        if !row.keys.mark(column, object) {
                            return Err(Fault::duplicate());
                        }
                        self.field(cursor, row, column, depth)?;
                        set += 1;
                    }
                    None => cursor.skip(depth + 1)?,
                }
                if !cursor.more(b'}')? {
                    break;
                }
            }
        }
        if set < row.read {
            self.missing(row, object)?;
        }
        row.close();
        Ok(())
    }

    /// Finds the last value of every key first, then decodes only those.
    #[cold]
    fn object_careful(&mut self, cursor: &mut Cursor<'_>, row: &mut RowBuilder, depth: usize) -> Result<()> {
        let object = row.keys.begin();
        let mut last = vec![None; row.columns.len()];
        cursor.at += 1;
        if cursor.peek() == b'}' {
            cursor.at += 1;
        } else {
            loop {
                if let Some(column) = Self::column_of_key(cursor, &mut row.keys)? {
                    last[column] = Some(cursor.at);
                }
                cursor.skip(depth + 1)?;
                if !cursor.more(b'}')? {
                    break;
                }
            }
        }
        for (column, at) in last.iter().enumerate().filter_map(|(c, at)| at.map(|at| (c, at))) {
            row.keys.mark(column, object);
            let mut value = *cursor;
            value.at = at;
            self.field(&mut value, row, column, depth)?;
        }
        self.missing(row, object)?;
        row.close();
        Ok(())
    }

    /// Consumes a key and its colon; the cursor is then at the value.
    #[inline]
    fn column_of_key(cursor: &mut Cursor<'_>, keys: &mut KeyTable) -> Result<Option<usize>> {
        cursor.peek();
        if let Some((spelled, column)) = keys.guess()
            && spelled.begins(cursor.rest())
        {
            let (len, column) = (spelled.len(), *column);
            cursor.at += len;
            keys.guessed();
            cursor.peek();
            return Ok(column);
        }
        let key = Self::key(cursor)?;
        Ok(keys.find(key.text.as_bytes(), || unescaped(key)))
    }

    /// [`Self::column_of_key`] for any key.
    #[inline(never)]
    fn key<'a>(cursor: &mut Cursor<'a>) -> Result<RawString<'a>> {
        if cursor.peek() != b'"' {
            return Err(cursor.unexpected("a key"));
        }
        let key = cursor.string()?;
        cursor.expect(b':', "':'")?;
        cursor.peek();
        Ok(key)
    }

    #[inline]
    fn field(&mut self, cursor: &mut Cursor<'_>, row: &mut RowBuilder, column: usize, depth: usize) -> Result<()> {
        let start = cursor.at;
        match self.value(cursor, &mut row.columns[column], depth + 1) {
            Ok(()) => Ok(()),
            Err(fault) => {
                if self.rules.ignore_errors && fault.kind() == Kind::Value {
                    cursor.at = start;
                    cursor.skip(depth + 1)?;
                    let n = row.len() + 1;
                    row.columns[column].settle(n);
                    return Ok(());
                }
                Err(fault.within(row.name(column)))
            }
        }
    }

    #[inline(never)]
    fn missing(&mut self, row: &mut RowBuilder, object: u64) -> Result<()> {
        for column in 0..row.columns.len() {
            if row.keys.is_marked(column, object) || matches!(row.columns[column], ColumnBuilder::Unread(_)) {
                continue;
            }
            if self.rules.fail_on_missing && !self.rules.ignore_errors {
                return Err(Fault::value("the field is missing".into()).within(row.name(column)));
            }
            row.columns[column].push_null();
        }
        Ok(())
    }

    /// Decodes one value, the cursor at its first byte.
    #[inline]
    fn value(&mut self, cursor: &mut Cursor<'_>, column: &mut ColumnBuilder, depth: usize) -> Result<()> {
        match cursor.peek() {
            b'"' => {
                let raw = cursor.string()?;
                if !raw.escaped {
                    return self.text(raw.text, column);
                }
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.clear();
                let result = unescape(raw.text, &mut scratch).and_then(|()| self.text(&scratch, column));
                self.scratch = scratch;
                result
            }
            b'n' if cursor.null() => {
                column.push_null();
                Ok(())
            }
            b'{' | b'[' => self.nested(cursor, column, depth),
            _ => self.scalar(cursor, column),
        }
    }

    /// A value in quotes.
    #[inline]
    fn text(&mut self, text: &str, column: &mut ColumnBuilder) -> Result<()> {
        match column {
            ColumnBuilder::Text(b) => {
                b.append_value(text);
                Ok(())
            }
            _ => push_text(text, column, self.rules.separator).map_err(Fault::value),
        }
    }

    /// A number or a word.
    #[inline]
    fn scalar(&mut self, cursor: &mut Cursor<'_>, column: &mut ColumnBuilder) -> Result<()> {
        let start = cursor.at;
        match column {
            ColumnBuilder::Int64(b) => {
                if let Some((v, 0)) = cursor.short_number() {
                    b.push(v);
                    return Ok(());
                }
            }
            ColumnBuilder::Int32(b) => {
                if let Some((v, 0)) = cursor.short_number()
                    && let Ok(v) = i32::try_from(v)
                {
                    b.push(v);
                    return Ok(());
                }
            }
            ColumnBuilder::Double(b) => {
                // A negative zero keeps its sign only in the general parser.
                if let Some((mantissa @ (..=-1 | 1..), fraction)) = cursor.short_number()
                    && let Some(v) = text::float_of(mantissa, fraction)
                {
                    b.push(v);
                    return Ok(());
                }
            }
            ColumnBuilder::Decimal(b, p, s) => {
                if let Some((mantissa, fraction)) = cursor.short_number()
                    && let Some(v) = text::decimal_of(mantissa, fraction, *p, *s)
                {
                    b.push(v);
                    return Ok(());
                }
            }
            ColumnBuilder::Bool(b) => {
                let v = cursor.literal(b"true");
                if (v || cursor.literal(b"false")) && matches!(cursor.peek(), b',' | b'}' | b']') {
                    b.push(v);
                    return Ok(());
                }
            }
            _ => {}
        }
        cursor.at = start;
        self.other_scalar(cursor, column)
    }

    /// [`Self::scalar`] for what is not short or not common.
    #[inline(never)]
    fn other_scalar(&mut self, cursor: &mut Cursor<'_>, column: &mut ColumnBuilder) -> Result<()> {
        let start = cursor.at;
        let token = cursor.token();
        if token.is_empty() {
            return Err(cursor.unexpected("a value"));
        }
        let number = is_number(token);
        if !number && !matches!(token, "true" | "false") {
            cursor.at = start;
            return Err(not_a_value(token));
        }
        match column {
            ColumnBuilder::Text(b) => {
                b.append_value(token);
                Ok(())
            }
            ColumnBuilder::Bool(b) if !number => {
                b.push(token == "true");
                Ok(())
            }
            ColumnBuilder::Double(b) if number => {
                b.push(text::float(token).ok_or_else(|| not_a_value(token))?);
                Ok(())
            }
            ColumnBuilder::Null(_) => {
                column.push_null();
                Ok(())
            }
            ColumnBuilder::Int8(_)
            | ColumnBuilder::Int16(_)
            | ColumnBuilder::Int32(_)
            | ColumnBuilder::Int64(_)
            | ColumnBuilder::Months(_)
            | ColumnBuilder::Millis(_)
            | ColumnBuilder::Float(_)
            | ColumnBuilder::Decimal(..)
                if number =>
            {
                push_text(token, column, self.rules.separator).map_err(Fault::value)
            }
            _ => Err(Fault::value(format!("`{}` is not {}", clip(token), describe(column)))),
        }
    }

    #[inline(never)]
    fn nested(&mut self, cursor: &mut Cursor<'_>, column: &mut ColumnBuilder, depth: usize) -> Result<()> {
        cursor.guard(depth)?;
        match (cursor.peek(), column) {
            (b'{', ColumnBuilder::Row(row)) => self.object(cursor, row, depth),
            (b'[', ColumnBuilder::List(list)) => self.list(cursor, list, depth),
            (b'{', ColumnBuilder::Map(map)) => self.map(cursor, map, depth),
            // A STRING column takes a nested value as its text.
            (_, ColumnBuilder::Text(b)) => {
                let start = cursor.at;
                cursor.skip(depth)?;
                b.append_value(cursor.since(start));
                Ok(())
            }
            (_, column) => {
                let what = if cursor.peek() == b'{' { "an object" } else { "an array" };
                Err(Fault::value(format!("{what} is not {}", describe(column))))
            }
        }
    }

    fn list(&mut self, cursor: &mut Cursor<'_>, list: &mut ListBuilder, depth: usize) -> Result<()> {
        cursor.at += 1;
        if cursor.peek() == b']' {
            cursor.at += 1;
        } else {
            let mut index = 0;
            loop {
                cursor.peek();
                self.value(cursor, &mut list.child, depth + 1).map_err(|f| f.element(index))?;
                index += 1;
                if !cursor.more(b']')? {
                    break;
                }
            }
        }
        list.close(true).ok_or_else(too_many)
    }

    fn map(&mut self, cursor: &mut Cursor<'_>, map: &mut MapBuilder, depth: usize) -> Result<()> {
        cursor.at += 1;
        let mut entries: Vec<(String, usize)> = Vec::new();
        if cursor.peek() == b'}' {
            cursor.at += 1;
        } else {
            loop {
                let key = Self::key(cursor)?;
                let mut name = String::with_capacity(key.text.len());
                unescape(key.text, &mut name)?;
                entries.push((name, cursor.at));
                cursor.skip(depth + 1)?;
                if !cursor.more(b'}')? {
                    break;
                }
            }
        }
        keep_last(&mut entries);
        for (name, at) in &entries {
            if let ColumnBuilder::Text(keys) = &mut map.keys {
                keys.append_value(name);
            }
            let mut value = *cursor;
            value.at = *at;
            self.value(&mut value, &mut map.values, depth + 1).map_err(|f| f.within(name))?;
        }
        map.close(true).ok_or_else(too_many)
    }
}

/// Of entries with equal keys only the last stays.
fn keep_last(entries: &mut Vec<(String, usize)>) {
    if entries.len() < 2 {
        return;
    }
    let mut seen = HashSet::with_capacity(entries.len());
    let last: HashSet<usize> =
        entries.iter().rev().filter(|(name, _)| seen.insert(name.as_str())).map(|(_, at)| *at).collect();
    if last.len() < entries.len() {
        entries.retain(|(_, at)| last.contains(at));
    }
}

fn too_many() -> Fault {
    Fault::value("the batch holds more elements than 32-bit offsets can count".into())
}

#[cold]
fn unescaped(key: RawString<'_>) -> Option<Vec<u8>> {
    if !key.escaped {
        return None;
    }
    let mut out = String::new();
    unescape(key.text, &mut out).ok()?;
    Some(out.into_bytes())
}

/// Appends a value given as text to a column of any scalar type.
pub(crate) fn push_text(t: &str, column: &mut ColumnBuilder, separator: u8) -> std::result::Result<(), String> {
    fn whole<N: TryFrom<i64>>(t: &str, what: &str) -> std::result::Result<N, String> {
        let t = text::trim(t);
        let v = text::int(t).ok_or_else(|| format!("`{}` is not a whole number", clip(t)))?;
        N::try_from(v).map_err(|_| format!("{v} does not fit {what}"))
    }
    match column {
        ColumnBuilder::Text(b) => b.append_value(t),
        ColumnBuilder::Int8(b) => b.push(whole(t, "TINYINT")?),
        ColumnBuilder::Int16(b) => b.push(whole(t, "SMALLINT")?),
        ColumnBuilder::Int32(b) => b.push(whole(t, "INT")?),
        ColumnBuilder::Int64(b) => b.push(whole(t, "BIGINT")?),
        ColumnBuilder::Months(b) => b.push(whole(t, "INTERVAL YEAR TO MONTH")?),
        ColumnBuilder::Millis(b) => b.push(whole(t, "INTERVAL DAY TO SECOND")?),
        ColumnBuilder::Float(b) => b.push(float32(text::trim(t)).ok_or_else(|| not(t, "a number"))?),
        ColumnBuilder::Double(b) => b.push(text::float(text::trim(t)).ok_or_else(|| not(t, "a number"))?),
        ColumnBuilder::Decimal(b, p, s) => b.push(text::decimal(text::trim(t), *p, *s)?),
        ColumnBuilder::Bool(b) => b.push(text::boolean(text::trim(t)).ok_or_else(|| not(t, "true or false"))?),
        ColumnBuilder::Bytes(b) => b.append_value(text::base64(t).ok_or_else(|| not(t, "base64"))?),
        ColumnBuilder::Date(b) => b.push(text::date(t).ok_or_else(|| not(t, "a date such as 2024-01-31"))?),
        ColumnBuilder::Time(b) => b.push(text::time(t).ok_or_else(|| not(t, "a time such as 13:45:00"))?),
        ColumnBuilder::Timestamp(b, p, zoned) => {
            b.push(text::timestamp(t, separator, *p, *zoned).ok_or_else(|| not_a_timestamp(t, separator, *p, *zoned))?);
        }
        other => return Err(format!("text is not {}", describe(other))),
    }
    Ok(())
}

/// A single-precision number, rounded once.
fn float32(t: &str) -> Option<f32> {
    match text::float(t) {
        Some(v) if v.is_finite() => t.parse().ok(),
        other => other.map(|v| v as f32),
    }
}

#[cold]
fn not(t: &str, what: &str) -> String {
    format!("`{}` is not {what}", clip(t))
}

#[cold]
fn not_a_timestamp(t: &str, separator: u8, precision: u8, zoned: bool) -> String {
    let z = if zoned { "Z" } else { "" };
    let other = if separator == b'T' { b' ' } else { b'T' };
    let example = format!("2024-01-31{}13:45:00.000{z}", char::from(separator));
    let hint = if text::timestamp(t, other, precision, zoned).is_some() {
        let standard = if separator == b'T' { "SQL" } else { "ISO-8601" };
        format!("; it would be with 'timestamp-format.standard' = '{standard}'")
    } else {
        String::new()
    };
    format!("`{}` is not a timestamp such as {example}{hint}", clip(t))
}

/// The column's type in words, for "… is not …".
pub(crate) fn describe(column: &ColumnBuilder) -> &'static str {
    match column {
        ColumnBuilder::Null(_) | ColumnBuilder::Unread(_) => "null",
        ColumnBuilder::Bool(_) => "true or false",
        ColumnBuilder::Int8(_) => "a TINYINT",
        ColumnBuilder::Int16(_) => "a SMALLINT",
        ColumnBuilder::Int32(_) => "an INT",
        ColumnBuilder::Int64(_) => "a BIGINT",
        ColumnBuilder::Float(_) => "a FLOAT",
        ColumnBuilder::Double(_) => "a DOUBLE",
        ColumnBuilder::Decimal(..) => "a DECIMAL",
        ColumnBuilder::Text(_) => "a string",
        ColumnBuilder::Bytes(_) => "base64 text",
        ColumnBuilder::Date(_) => "a date",
        ColumnBuilder::Time(_) => "a time",
        ColumnBuilder::Timestamp(..) => "a timestamp",
        ColumnBuilder::Months(_) | ColumnBuilder::Millis(_) => "an interval",
        ColumnBuilder::List(_) => "an array",
        ColumnBuilder::Map(_) => "an object (MAP)",
        ColumnBuilder::Row(_) => "an object (ROW)",
    }
}
