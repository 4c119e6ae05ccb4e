//! Arrow builders for the declared types, and how cells get into them.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
    Int8Builder, Int16Builder, Int32Builder, Int64Builder, ListBuilder, StringViewBuilder, Time32MillisecondBuilder,
    TimestampMicrosecondBuilder, TimestampMillisecondBuilder, TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field};
use dflow_common::{SqlType, TypeKind as K};

use super::super::bytes::Fault;
use super::super::zone::Zone;
use super::fit::{BinaryText, Fit};
use super::temporal::{DateTime, write_date, write_datetime, write_time};
use super::{Cell, geometry, json};

/// What happens to values that the declared type cannot hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Dates that no calendar has (`0000-00-00`, `2026-02-31`) become NULL; otherwise they are an error.
    pub zero_dates_are_null: bool,
    /// Bytes that are no text become U+FFFD; otherwise they are an error.
    pub replace_bad_text: bool,
    /// How binary columns become text.
    pub binary_text: BinaryText,
    /// The server's clock.
    pub zone: Zone,
}

impl Default for Policy {
    fn default() -> Self {
        Self { zero_dates_are_null: true, replace_bad_text: true, binary_text: BinaryText::Refused, zone: Zone::UTC }
    }
}

/// What was changed by [`Policy`], since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Dates that became NULL.
    pub zero_dates: u64,
    /// Texts that got a U+FFFD.
    pub bad_texts: u64,
}

/// What pushing needs besides the cell.
#[derive(Debug, Default)]
pub struct Context {
    /// What to do with values that do not fit.
    pub policy: Policy,
    /// How often it was done.
    pub tally: Tally,
    /// Whether the column that is pushed to may be NULL.
    pub nullable: bool,
    scratch: String,
}

impl Context {
    /// With nothing counted.
    pub fn new(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }
}

/// Why a value did not get into its builder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Its bytes are damaged.
    Damaged(Fault),
    /// It is not one of the declared type: what it is.
    Value(String),
}

impl From<Fault> for Unfit {
    fn from(fault: Fault) -> Self {
        Unfit::Damaged(fault)
    }
}

/// A builder of a declared type.
#[allow(missing_docs, reason = "the types' own names")]
#[derive(Debug)]
pub enum Sink {
    Bool(BooleanBuilder),
    I8(Int8Builder),
    I16(Int16Builder),
    I32(Int32Builder),
    I64(Int64Builder),
    F32(Float32Builder),
    F64(Float64Builder),
    /// And the smallest number that has too many digits.
    Decimal(Decimal128Builder, i128),
    Text(StringViewBuilder),
    Bytes(BinaryViewBuilder),
    Date(Date32Builder),
    Time(Time32MillisecondBuilder),
    /// And whether it is a reading of a clock: TIMESTAMP rather than TIMESTAMP_LTZ.
    Millis(TimestampMillisecondBuilder, bool),
    Micros(TimestampMicrosecondBuilder, bool),
    Nanos(TimestampNanosecondBuilder, bool),
    Texts(ListBuilder<StringViewBuilder>),
    Floats(ListBuilder<Float32Builder>),
}

/// Runs `$body` with `$b` bound to the builder, whichever it is.
macro_rules! each {
    ($sink:expr, $b:ident => $body:expr) => {
        match $sink {
            Sink::Bool($b) => $body,
            Sink::I8($b) => $body,
            Sink::I16($b) => $body,
            Sink::I32($b) => $body,
            Sink::I64($b) => $body,
            Sink::F32($b) => $body,
            Sink::F64($b) => $body,
            Sink::Decimal($b, _) => $body,
            Sink::Text($b) => $body,
            Sink::Bytes($b) => $body,
            Sink::Date($b) => $body,
            Sink::Time($b) => $body,
            Sink::Millis($b, _) => $body,
            Sink::Micros($b, _) => $body,
            Sink::Nanos($b, _) => $body,
            Sink::Texts($b) => $body,
            Sink::Floats($b) => $body,
        }
    };
}

impl Sink {
    /// A builder of a declared type.
    ///
    /// # Errors
    /// The type, when no column of MySQL can be read as it.
    pub fn new(declared: &SqlType) -> Result<Sink, String> {
        let ty = declared.to_arrow();
        Ok(match &declared.kind {
            K::Boolean => Sink::Bool(BooleanBuilder::new()),
            K::TinyInt => Sink::I8(Int8Builder::new()),
            K::SmallInt => Sink::I16(Int16Builder::new()),
            K::Int => Sink::I32(Int32Builder::new()),
            K::BigInt => Sink::I64(Int64Builder::new()),
            K::Float => Sink::F32(Float32Builder::new()),
            K::Double => Sink::F64(Float64Builder::new()),
            K::Decimal(precision, _) => {
                Sink::Decimal(Decimal128Builder::new().with_data_type(ty), 10i128.pow(u32::from(*precision)))
            }
            K::Char(_) | K::VarChar(_) => Sink::Text(StringViewBuilder::new()),
            K::Binary(_) | K::VarBinary(_) => Sink::Bytes(BinaryViewBuilder::new()),
            K::Date => Sink::Date(Date32Builder::new()),
            K::Time(_) => Sink::Time(Time32MillisecondBuilder::new()),
            K::Timestamp(p) | K::TimestampLtz(p) => {
                let local = matches!(declared.kind, K::Timestamp(_));
                match p {
                    0..=3 => Sink::Millis(TimestampMillisecondBuilder::new().with_data_type(ty), local),
                    4..=6 => Sink::Micros(TimestampMicrosecondBuilder::new().with_data_type(ty), local),
                    _ => Sink::Nanos(TimestampNanosecondBuilder::new().with_data_type(ty), local),
                }
            }
            K::Array(item) if matches!(item.kind, K::VarChar(_) | K::Char(_)) => Sink::Texts(
                ListBuilder::new(StringViewBuilder::new()).with_field(Field::new("item", DataType::Utf8View, true)),
            ),
            K::Array(item) if item.kind == K::Float => Sink::Floats(
                ListBuilder::new(Float32Builder::new()).with_field(Field::new("item", DataType::Float32, true)),
            ),
            _ => return Err(declared.to_string()),
        })
    }

    /// Takes the column out; the builder is empty then.
    pub fn finish(&mut self) -> ArrayRef {
        each!(self, b => Arc::new(b.finish()))
    }

    /// Appends NULL.
    #[inline]
    pub fn push_null(&mut self) {
        each!(self, b => b.append_null());
    }

    /// Appends a text the connector makes up: the name of a table, a row kind.
    pub fn push_text(&mut self, text: &str) {
        match self {
            Sink::Text(b) => b.append_value(text),
            other => other.push_null(),
        }
    }

    /// Appends an instant the connector makes up.
    pub fn push_instant(&mut self, utc_micros: i64, cx: &mut Context) -> Result<(), Unfit> {
        self.timestamp(utc_micros, cx.policy.zone)
    }

    /// Appends a cell.
    ///
    /// # Errors
    /// When it is damaged or not of the declared type. Then the builder may have one row less than the others, and what
    /// is in them must be thrown away.
    #[inline]
    pub fn push(&mut self, cell: Cell<'_>, fit: &Fit, cx: &mut Context) -> Result<(), Unfit> {
        match (cell, self) {
            (Cell::Int(v), sink) => sink.int(i128::from(v), fit),
            (Cell::UInt(v), sink) => sink.int(i128::from(v), fit),
            (Cell::Year(v), Sink::Text(b)) => {
                b.append_value(format!("{v:04}"));
                Ok(())
            }
            (Cell::Year(v), sink) => sink.int(i128::from(v), fit),
            (Cell::Float(v), Sink::F32(b)) => {
                b.append_value(v);
                Ok(())
            }
            (Cell::Float(v), Sink::F64(b)) => {
                b.append_value(f64::from(v));
                Ok(())
            }
            (Cell::Double(v), Sink::F64(b)) => {
                b.append_value(v);
                Ok(())
            }
            (Cell::Decimal(bytes), sink) => sink.decimal(bytes, fit, cx),
            (Cell::Bytes(bytes), sink) => sink.bytes(bytes, fit, cx),
            (Cell::Date(v), Sink::Date(b)) => {
                match v.days() {
                    Some(days) => b.append_value(days),
                    None => return Sink::zero_date(DateTime { date: v, micros: 0 }, cx).map(|()| b.append_null()),
                }
                Ok(())
            }
            (Cell::Date(v), sink) => sink.written(cx, |out| write_date(v, out)),
            (Cell::DateTime(v), Sink::Text(b)) => {
                let Fit::Digits(digits) = fit else { return Err(mismatch()) };
                cx.scratch.clear();
                write_datetime(v, *digits, &mut cx.scratch);
                b.append_value(&cx.scratch);
                Ok(())
            }
            (Cell::DateTime(v), sink) => match v.micros() {
                Some(micros) => sink.clock(micros),
                None => Sink::zero_date(v, cx).map(|()| sink.push_null()),
            },
            (Cell::Timestamp(v), sink) => sink.instant(v, fit, cx),
            (Cell::Time(v), Sink::Time(b)) => {
                const DAY: i64 = 86_400_000_000;
                if !(0..DAY).contains(&v) {
                    let mut shown = String::new();
                    write_time(v, 6, &mut shown);
                    return Err(Unfit::Value(format!(
                        "{shown}, and a TIME is between 00:00 and 24:00; declare STRING"
                    )));
                }
                b.append_value((v / 1_000) as i32);
                Ok(())
            }
            (Cell::Time(v), sink) => {
                let Fit::Digits(digits) = fit else { return Err(mismatch()) };
                sink.written(cx, |out| write_time(v, *digits, out))
            }
            (Cell::Bits(bits), Sink::Bool(b)) => {
                b.append_value(bits.iter().any(|b| *b != 0));
                Ok(())
            }
            (Cell::Bits(bits), Sink::Bytes(b)) => {
                let mut reversed = [0; 8];
                for (to, from) in reversed.iter_mut().zip(bits.iter().rev()) {
                    *to = *from;
                }
                b.append_value(&reversed[..bits.len().min(8)]);
                Ok(())
            }
            (Cell::Enum(i), Sink::Text(b)) => {
                let Fit::Enum(names) = fit else { return Err(mismatch()) };
                match i.checked_sub(1).map(|i| names.get(i as usize)) {
                    // The value that is none of them.
                    None => b.append_value(""),
                    Some(Some(name)) => b.append_value(name),
                    Some(None) => return Err(Unfit::Value(format!("value {i} of an ENUM that has {}", names.len()))),
                }
                Ok(())
            }
            (Cell::Set(bits), sink) => sink.set(bits, fit, cx),
            _ => Err(mismatch()),
        }
    }

    #[inline]
    fn int(&mut self, v: i128, fit: &Fit) -> Result<(), Unfit> {
        macro_rules! narrow {
            ($b:ident, $t:ty, $name:literal) => {
                match <$t>::try_from(v) {
                    Ok(v) => $b.append_value(v),
                    Err(_) => return Err(Unfit::Value(format!("{v}, which is no {}", $name))),
                }
            };
        }
        match self {
            Sink::I8(b) => narrow!(b, i8, "TINYINT"),
            Sink::I16(b) => narrow!(b, i16, "SMALLINT"),
            Sink::I32(b) => narrow!(b, i32, "INT"),
            Sink::I64(b) => narrow!(b, i64, "BIGINT"),
            Sink::Bool(b) => b.append_value(v != 0),
            Sink::Decimal(b, limit) => {
                let factor = if let Fit::Scale(factor) = fit { *factor } else { 1 };
                match v.checked_mul(factor).filter(|v| v.unsigned_abs() < limit.unsigned_abs()) {
                    Some(v) => b.append_value(v),
                    None => return Err(Unfit::Value(format!("{v}, which has too many digits"))),
                }
            }
            Sink::Text(b) => b.append_value(v.to_string()),
            _ => return Err(mismatch()),
        }
        Ok(())
    }

    fn decimal(&mut self, bytes: &[u8], fit: &Fit, cx: &mut Context) -> Result<(), Unfit> {
        match (self, fit) {
            (Sink::Decimal(b, limit), Fit::Decimal(layout, factor)) => {
                let v = layout.unscaled(bytes)?;
                match v.checked_mul(*factor).filter(|v| v.unsigned_abs() < limit.unsigned_abs()) {
                    Some(v) => b.append_value(v),
                    None => {
                        let mut shown = String::new();
                        layout.write(bytes, &mut shown)?;
                        return Err(Unfit::Value(format!("{shown}, which has too many digits")));
                    }
                }
                Ok(())
            }
            (Sink::Text(b), Fit::DecimalText(layout)) => {
                cx.scratch.clear();
                layout.write(bytes, &mut cx.scratch)?;
                b.append_value(&cx.scratch);
                Ok(())
            }
            _ => Err(mismatch()),
        }
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8], fit: &Fit, cx: &mut Context) -> Result<(), Unfit> {
        match (self, fit) {
            (Sink::Text(b), Fit::Text(charset)) => {
                let (text, bad) = charset.decode(bytes);
                if bad {
                    if !cx.policy.replace_bad_text {
                        return Err(Unfit::Value(format!("bytes that are no text: {text:?}")));
                    }
                    cx.tally.bad_texts += 1;
                }
                b.append_value(text);
                Ok(())
            }
            (Sink::Bytes(b), Fit::Bytes(pad)) => {
                b.append_value(padded(bytes, *pad));
                Ok(())
            }
            (sink, Fit::BytesText(pad, how)) => sink.written(cx, |out| match how {
                BinaryText::Base64 => json::write_base64(&padded(bytes, *pad), out),
                _ => padded(bytes, *pad).iter().for_each(|b| out.push_str(&format!("{b:02x}"))),
            }),
            (Sink::Text(b), Fit::Json) => {
                cx.scratch.clear();
                json::write(bytes, &mut cx.scratch)?;
                b.append_value(&cx.scratch);
                Ok(())
            }
            (Sink::Text(b), Fit::Geometry) => {
                cx.scratch.clear();
                geometry::write(bytes, &mut cx.scratch)?;
                b.append_value(&cx.scratch);
                Ok(())
            }
            (Sink::Text(b), Fit::Address(address)) => {
                cx.scratch.clear();
                address.write(bytes, &mut cx.scratch)?;
                b.append_value(&cx.scratch);
                Ok(())
            }
            (Sink::Floats(b), Fit::Plain) => {
                let (floats, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(Unfit::Damaged(Fault::Malformed("a VECTOR has a part of a number")));
                }
                floats.iter().for_each(|f| b.values().append_value(f32::from_le_bytes(*f)));
                b.append(true);
                Ok(())
            }
            _ => Err(mismatch()),
        }
    }

    fn set(&mut self, bits: u64, fit: &Fit, cx: &mut Context) -> Result<(), Unfit> {
        let Fit::Set(names) = fit else { return Err(mismatch()) };
        if u32::try_from(names.len()).is_ok_and(|n| bits.checked_shr(n).unwrap_or(0) != 0) {
            return Err(Unfit::Value(format!("bits {bits:#x} of a SET that has {} values", names.len())));
        }
        let chosen = names.iter().enumerate().filter(|(i, _)| bits >> i & 1 != 0).map(|(_, name)| name);
        match self {
            Sink::Texts(b) => {
                chosen.for_each(|name| b.values().append_value(name));
                b.append(true);
                Ok(())
            }
            sink => sink.written(cx, |out| {
                for (i, name) in chosen.enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    out.push_str(name);
                }
            }),
        }
    }

    /// Appends what `write` writes.
    fn written(&mut self, cx: &mut Context, write: impl FnOnce(&mut String)) -> Result<(), Unfit> {
        let Sink::Text(b) = self else { return Err(mismatch()) };
        cx.scratch.clear();
        write(&mut cx.scratch);
        b.append_value(&cx.scratch);
        Ok(())
    }

    fn instant(&mut self, utc_micros: i64, fit: &Fit, cx: &mut Context) -> Result<(), Unfit> {
        // The server keeps 1970-01-01 00:00:00 UTC for its zero date.
        let zero = utc_micros == 0;
        match (self, fit) {
            (Sink::Text(b), Fit::Digits(digits)) => {
                cx.scratch.clear();
                let value = if zero { ZERO } else { cx.policy.zone.date_time(utc_micros) };
                write_datetime(value, *digits, &mut cx.scratch);
                b.append_value(&cx.scratch);
                Ok(())
            }
            (sink, _) if zero => Sink::zero_date(ZERO, cx).map(|()| sink.push_null()),
            (sink, _) => sink.timestamp(utc_micros, cx.policy.zone),
        }
    }

    fn timestamp(&mut self, utc_micros: i64, zone: Zone) -> Result<(), Unfit> {
        match self {
            Sink::Millis(_, true) | Sink::Micros(_, true) | Sink::Nanos(_, true) => self.clock(zone.local(utc_micros)),
            _ => self.clock(utc_micros),
        }
    }

    /// Microseconds into whichever unit; digits that were not declared are cut off.
    #[inline]
    fn clock(&mut self, micros: i64) -> Result<(), Unfit> {
        match self {
            Sink::Millis(b, _) => b.append_value(micros.div_euclid(1_000)),
            Sink::Micros(b, _) => b.append_value(micros),
            Sink::Nanos(b, _) => match micros.checked_mul(1_000) {
                Some(nanos) => b.append_value(nanos),
                None => return Err(Unfit::Value("a time too far away for nanoseconds; declare TIMESTAMP(6)".into())),
            },
            _ => return Err(mismatch()),
        }
        Ok(())
    }

    /// Counts a date that no calendar has, or refuses it.
    fn zero_date(value: DateTime, cx: &mut Context) -> Result<(), Unfit> {
        if !cx.policy.zero_dates_are_null || !cx.nullable {
            let mut shown = String::new();
            write_datetime(value, 0, &mut shown);
            return Err(Unfit::Value(format!("{shown}, which is no date")));
        }
        cx.tally.zero_dates += 1;
        Ok(())
    }
}

const ZERO: DateTime = DateTime { date: super::temporal::Date { year: 0, month: 0, day: 0 }, micros: 0 };

/// What [`super::fit::fit`] never lets happen.
#[cold]
fn mismatch() -> Unfit {
    Unfit::Damaged(Fault::Malformed("a column changed its type"))
}

fn padded(bytes: &[u8], length: usize) -> Cow<'_, [u8]> {
    if bytes.len() >= length {
        return Cow::Borrowed(bytes);
    }
    let mut out = bytes.to_vec();
    out.resize(length, 0);
    Cow::Owned(out)
}
