//! From `fields.*` options to what makes each field's values.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, TimeUnit};
use dflow_common::limits::RECORD_BYTES_MAX;
use dflow_common::types::LENGTH_MAX;
use dflow_common::{Span, SqlType, TypeKind, suggest};
use dflow_connector_api::{ColumnKind, Error, FieldMask, Options, TableSchema};

use super::field_error;
use crate::error::{NO_SUCH_COLUMN, NO_SUCH_FIELD};

/// Length of random text and bytes without `length`, as in Flink.
const LENGTH_DEFAULT: u32 = 100;
/// Elements of a random collection without `length`, as in Flink.
const ELEMENTS_DEFAULT: u32 = 3;
/// Elements of a collection at most: a row is still one batch's business.
const ELEMENTS_MAX: u32 = 1 << 20;

/// A field that can be made.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// The Arrow type of its values.
    pub(super) ty: DataType,
    /// Distinguishes the field from others of the same seed.
    pub(super) salt: u64,
    /// A row is NULL when its draw is below this share of all numbers; 0 never.
    pub(super) null_below: u64,
    pub(super) kind: Kind,
}

/// How its values are made.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// `start + index`.
    Sequence {
        start: i64,
        rows: u64,
    },
    Bool,
    /// From `min`, `span` numbers; 0 stands for 2^64.
    Int {
        min: i64,
        span: u64,
    },
    Float {
        min: f64,
        max: f64,
    },
    /// Unscaled, both ends included.
    Decimal {
        min: i128,
        max: i128,
    },
    /// Characters or bytes.
    Bytes {
        len: u32,
        varying: bool,
    },
    /// The day, or the time of day, of the row.
    Now,
    /// Up to this much before the row's time.
    Past {
        max_us: u64,
    },
    List {
        len: u32,
        element: Box<Field>,
    },
    Map {
        len: u32,
        key: Box<Field>,
        value: Box<Field>,
    },
    Row(Vec<Field>),
    /// Nobody reads it.
    Absent,
}

impl Field {
    /// How many rows it has values for, when it ends.
    pub(super) fn rows(&self) -> Option<u64> {
        match &self.kind {
            Kind::Sequence { rows, .. } => Some(*rows),
            Kind::Row(fields) => fields.iter().filter_map(Field::rows).min(),
            _ => None,
        }
    }

    /// Bytes of a value, about.
    pub(super) fn bytes(&self) -> u64 {
        match &self.kind {
            Kind::Absent => 1,
            Kind::Bytes { len, .. } => 16 + u64::from(*len),
            Kind::List { len, element } => 4 + u64::from(*len) * element.bytes(),
            Kind::Map { len, key, value } => 4 + u64::from(*len) * (key.bytes() + value.bytes()),
            Kind::Row(fields) => fields.iter().map(Field::bytes).sum(),
            _ => 8,
        }
    }

    /// The same field without the parts nobody reads.
    pub(super) fn masked(mut self, mask: &FieldMask) -> Self {
        if let Kind::Row(fields) = self.kind {
            let kept = fields.into_iter().enumerate().map(|(i, field)| match mask.field(i) {
                Some(mask) => field.masked(mask),
                None => Field { kind: Kind::Absent, ..field },
            });
            self.kind = Kind::Row(kept.collect());
        }
        self
    }
}

/// The fields of all columns. Pushes every problem to `errors`.
pub(super) fn of_table(schema: &TableSchema, options: &Options, errors: &mut Vec<Error>) -> Vec<Field> {
    let mut reader =
        Reader { options, errors, paths: BTreeSet::new(), span: Span::new(dflow_common::SourceId(0), 0, 0) };
    let mut fields = Vec::with_capacity(schema.columns.len());
    for column in &schema.columns {
        if let ColumnKind::Metadata { .. } = column.kind {
            reader.errors.push(
                Error::new(NO_SUCH_COLUMN, format!("datagen has no metadata, so `{}` cannot be read", column.name))
                    .at(column.span, "metadata column")
                    .help("declare it as an ordinary or a computed column"),
            );
        }
        reader.span = column.span;
        fields.push(reader.field(&column.name, &column.ty, false));
    }
    reader.refuse_unknown_fields();
    fields
}

struct Reader<'a> {
    options: &'a Options,
    errors: &'a mut Vec<Error>,
    paths: BTreeSet<String>,
    /// Where the column is declared.
    span: Span,
}

impl Reader<'_> {
    fn field(&mut self, path: &str, ty: &SqlType, nested: bool) -> Field {
        self.paths.insert(path.to_owned());
        let sequence = self.text(path, "kind").is_some_and(|k| k.trim().eq_ignore_ascii_case("sequence"));
        let kind = match self.kind(path, &ty.kind, sequence, nested) {
            Ok(kind) => kind,
            Err(e) => {
                self.errors.push(e);
                Kind::Absent
            }
        };
        Field { ty: ty.to_arrow(), salt: salt(path), null_below: self.null_below(path), kind }
    }

    fn kind(&mut self, path: &str, ty: &TypeKind, sequence: bool, nested: bool) -> Result<Kind, Error> {
        if sequence {
            return self.sequence(path, ty, nested);
        }
        for name in ["start", "end"] {
            if self.text(path, name).is_some() {
                return Err(self
                    .wrong(path, name, "only a sequence has a start and an end")
                    .help(format!("add 'fields.{path}.kind' = 'sequence', or use 'fields.{path}.min' and '.max'")));
            }
        }
        self.refuse_unused(path, ty)?;
        Ok(match ty {
            TypeKind::Boolean => Kind::Bool,
            TypeKind::TinyInt => self.int(path, i8::MIN.into(), i8::MAX.into())?,
            TypeKind::SmallInt => self.int(path, i16::MIN.into(), i16::MAX.into())?,
            TypeKind::Int => self.int(path, i32::MIN.into(), i32::MAX.into())?,
            TypeKind::BigInt => self.int(path, i64::MIN, i64::MAX)?,
            TypeKind::Float => self.float(path, f64::from(f32::MAX))?,
            TypeKind::Double => self.float(path, f64::MAX)?,
            TypeKind::Decimal(precision, scale) => self.decimal(path, *precision, *scale)?,
            TypeKind::Char(n) | TypeKind::Binary(n) => {
                if self.text(path, "length").is_some() {
                    return Err(self.wrong(path, "length", format!("{ty} always has length {n}")));
                }
                if self.flag(path, "var-len") {
                    return Err(self.wrong(path, "var-len", format!("{ty} always has length {n}")));
                }
                Kind::Bytes { len: self.length(path, *n, RECORD_BYTES_MAX as u32)?, varying: false }
            }
            TypeKind::VarChar(n) | TypeKind::VarBinary(n) => {
                let default = if *n == LENGTH_MAX { LENGTH_DEFAULT } else { *n };
                let len = self.length(path, default, (*n).min(RECORD_BYTES_MAX as u32))?;
                Kind::Bytes { len, varying: self.flag(path, "var-len") }
            }
            TypeKind::Date | TypeKind::Time(_) => Kind::Now,
            TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => {
                let past = self.options.duration(&format!("fields.{path}.max-past")).unwrap_or_default();
                Kind::Past { max_us: u64::try_from(past.as_micros()).unwrap_or(u64::MAX) }
            }
            TypeKind::Array(element) => Kind::List {
                len: self.length(path, ELEMENTS_DEFAULT, ELEMENTS_MAX)?,
                element: Box::new(self.field(&format!("{path}.element"), element, true)),
            },
            TypeKind::Map(key, value) => Kind::Map {
                len: self.length(path, ELEMENTS_DEFAULT, ELEMENTS_MAX)?,
                key: Box::new(Field { null_below: 0, ..self.field(&format!("{path}.key"), key, true) }),
                value: Box::new(self.field(&format!("{path}.value"), value, true)),
            },
            TypeKind::Multiset(element) => Kind::Map {
                len: self.length(path, ELEMENTS_DEFAULT, ELEMENTS_MAX)?,
                key: Box::new(Field { null_below: 0, ..self.field(&format!("{path}.element"), element, true) }),
                value: Box::new(Field {
                    ty: DataType::Int32,
                    salt: salt(&format!("{path}.count")),
                    null_below: 0,
                    kind: Kind::Int { min: 1, span: 10 },
                }),
            },
            TypeKind::Row(fields) => {
                Kind::Row(fields.iter().map(|f| self.field(&format!("{path}.{}", f.name), &f.ty, nested)).collect())
            }
            TypeKind::IntervalYearMonth | TypeKind::IntervalDayTime | TypeKind::Null => {
                return Err(field_error(path, self.span, format!("there are no columns of type {ty}")));
            }
        })
    }

    /// Options that mean nothing for the type are mistakes: Flink refuses them too.
    fn refuse_unused(&self, path: &str, ty: &TypeKind) -> Result<(), Error> {
        let number = ty.is_numeric();
        let sized = matches!(
            ty,
            TypeKind::Char(_)
                | TypeKind::VarChar(_)
                | TypeKind::Binary(_)
                | TypeKind::VarBinary(_)
                | TypeKind::Array(_)
                | TypeKind::Map(..)
                | TypeKind::Multiset(_)
        );
        let time = matches!(ty, TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_));
        let varying = matches!(ty, TypeKind::VarChar(_) | TypeKind::VarBinary(_));
        for (name, used) in
            [("min", number), ("max", number), ("length", sized), ("max-past", time), ("var-len", varying || sized)]
        {
            if !used && self.text(path, name).is_some() {
                return Err(self.wrong(path, name, format!("{ty} has no '{name}'")));
            }
        }
        if sized && !varying && self.flag(path, "var-len") && !matches!(ty, TypeKind::Char(_) | TypeKind::Binary(_)) {
            return Err(self.wrong(path, "var-len", format!("{ty} has no 'var-len'")));
        }
        Ok(())
    }

    fn sequence(&self, path: &str, ty: &TypeKind, nested: bool) -> Result<Kind, Error> {
        let (low, high): (i64, i64) = match ty {
            TypeKind::TinyInt => (i8::MIN.into(), i8::MAX.into()),
            TypeKind::SmallInt => (i16::MIN.into(), i16::MAX.into()),
            TypeKind::Int => (i32::MIN.into(), i32::MAX.into()),
            TypeKind::Decimal(precision, scale) => {
                let digits = u32::from(precision.saturating_sub(*scale));
                10i64.checked_pow(digits).map_or((i64::MIN, i64::MAX), |n| (1 - n, n - 1))
            }
            TypeKind::BigInt | TypeKind::Float | TypeKind::Double | TypeKind::Char(_) | TypeKind::VarChar(_) => {
                (i64::MIN, i64::MAX)
            }
            _ => return Err(self.wrong(path, "kind", format!("{ty} has no sequence")).help("use 'random'")),
        };
        if nested {
            return Err(self.wrong(path, "kind", "elements of a collection have no sequence").help("use 'random'"));
        }
        let bound = |name: &str| match self.options.int(&format!("fields.{path}.{name}")) {
            None => Err(self.wrong(path, "kind", format!("a sequence needs 'fields.{path}.{name}'"))),
            Some(n) if n < low || n > high => Err(self.wrong(path, name, format!("{n} is not a value of {ty}"))),
            Some(n) => Ok(n),
        };
        let (start, end) = (bound("start")?, bound("end")?);
        if end < start {
            return Err(self.wrong(path, "end", format!("it ends at {end}, before its start {start}")));
        }
        Ok(Kind::Sequence { start, rows: (end.wrapping_sub(start) as u64).saturating_add(1) })
    }

    fn number<T: std::str::FromStr + PartialOrd + Copy + std::fmt::Display>(
        &self,
        path: &str,
        name: &str,
        default: T,
        (low, high): (T, T),
    ) -> Result<T, Error> {
        let Some(text) = self.text(path, name) else { return Ok(default) };
        match text.trim().parse::<T>() {
            Ok(n) if n >= low && n <= high => Ok(n),
            Ok(n) => Err(self.wrong(path, name, format!("{n} is not between {low} and {high}"))),
            Err(_) => Err(self.wrong(path, name, format!("`{text}` is not a number of its type"))),
        }
    }

    fn int(&self, path: &str, low: i64, high: i64) -> Result<Kind, Error> {
        let (min, max) = (self.number(path, "min", low, (low, high))?, self.number(path, "max", high, (low, high))?);
        self.ordered(path, min <= max)?;
        Ok(Kind::Int { min, span: (max.wrapping_sub(min) as u64).wrapping_add(1) })
    }

    fn float(&self, path: &str, high: f64) -> Result<Kind, Error> {
        // Flink's default minimum is Java's MIN_VALUE: the smallest positive number, in effect zero.
        let (min, max) =
            (self.number(path, "min", 0.0, (-high, high))?, self.number(path, "max", high, (-high, high))?);
        self.ordered(path, min <= max)?;
        Ok(Kind::Float { min, max })
    }

    fn decimal(&self, path: &str, precision: u8, scale: u8) -> Result<Kind, Error> {
        let largest = 10i128.pow(precision.into()) - 1;
        let unit = 10f64.powi(scale.into());
        let high = largest as f64 / unit;
        let (min, max) =
            (self.number(path, "min", 0.0, (-high, high))?, self.number(path, "max", high, (-high, high))?);
        self.ordered(path, min <= max)?;
        let unscaled = |n: f64| ((n * unit).round() as i128).clamp(-largest, largest);
        Ok(Kind::Decimal { min: unscaled(min), max: unscaled(max) })
    }

    fn ordered(&self, path: &str, ordered: bool) -> Result<(), Error> {
        if ordered { Ok(()) } else { Err(self.wrong(path, "min", "its minimum is above its maximum")) }
    }

    fn length(&self, path: &str, default: u32, max: u32) -> Result<u32, Error> {
        let len = self.options.int(&format!("fields.{path}.length")).unwrap_or(default.into());
        match u32::try_from(len) {
            Ok(len) if (1..=max).contains(&len) => Ok(len),
            _ => Err(self.wrong(path, "length", format!("a length of {len} is not between 1 and {max}"))),
        }
    }

    fn null_below(&mut self, path: &str) -> u64 {
        let rate = self.options.float(&format!("fields.{path}.null-rate")).unwrap_or(0.0);
        if !(0.0..=1.0).contains(&rate) {
            self.errors.push(self.wrong(path, "null-rate", format!("{rate} is not between 0 and 1")));
            return 0;
        }
        (rate * u64::MAX as f64) as u64
    }

    fn text(&self, path: &str, name: &str) -> Option<&str> {
        self.options.text(&format!("fields.{path}.{name}"))
    }

    fn flag(&self, path: &str, name: &str) -> bool {
        self.options.bool(&format!("fields.{path}.{name}"))
    }

    fn wrong(&self, path: &str, name: &str, why: impl std::fmt::Display) -> Error {
        let key = format!("fields.{path}.{name}");
        let span = if self.options.is_set(&key) { self.options.span(&key) } else { None };
        field_error(path, span.unwrap_or(self.span), why)
    }

    fn refuse_unknown_fields(&mut self) {
        for (key, _) in self.options.shown().filter(|(key, _)| key.starts_with("fields.")) {
            let path = key["fields.".len()..].rsplit_once('.').map_or("", |(path, _)| path);
            if self.paths.contains(path) {
                continue;
            }
            let mut e = Error::new(NO_SUCH_FIELD, format!("option '{key}': the table has no field `{path}`"));
            if let Some(span) = self.options.span(key) {
                e = e.at(span, "no such field");
            }
            self.errors.push(match suggest::nearest(path, self.paths.iter().map(String::as_str)) {
                Some(near) => e.help(format!("did you mean `{near}`?")),
                None => e.help(format!("fields are {}", self.paths.iter().cloned().collect::<Vec<_>>().join(", "))),
            });
        }
    }
}

/// FNV-1a over the field's path: the name, not the place in the table, decides the values.
fn salt(path: &str) -> u64 {
    path.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Microseconds of one tick of the unit, as a fraction: (ticks, microseconds).
pub(super) fn ticks_per_us(unit: TimeUnit) -> (i64, i64) {
    match unit {
        TimeUnit::Second => (1, 1_000_000),
        TimeUnit::Millisecond => (1, 1_000),
        TimeUnit::Microsecond => (1, 1),
        TimeUnit::Nanosecond => (1_000, 1),
    }
}
