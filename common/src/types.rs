//! Flink's SQL types and the Arrow types that carry them.
//!
//! | Flink | Arrow |
//! |---|---|
//! | `BOOLEAN`, `TINYINT` … `BIGINT`, `FLOAT`, `DOUBLE` | Boolean, Int8 … Int64, Float32, Float64 |
//! | `DECIMAL(p, s)`; bare = (10, 0) | Decimal128(p, s) |
//! | `STRING` = `VARCHAR(2147483647)`, `VARCHAR(n)`, `CHAR(n)` | Utf8View |
//! | `BYTES` = `VARBINARY(2147483647)`, `VARBINARY(n)`, `BINARY(n)` | BinaryView |
//! | `DATE`, `TIME(p)` | Date32, Time32(ms) |
//! | `TIMESTAMP(p)`, bare = (6) | Timestamp(ms ≤ 3, µs ≤ 6, ns ≤ 9) |
//! | `TIMESTAMP_LTZ(p)` | the same with zone "UTC": an instant |
//! | `INTERVAL` | Interval(YearMonth) or Duration(ms): expressions only, never a column |
//! | `ARRAY<T>`, `MAP<K, V>`, `MULTISET<T>`, `ROW<…>` | List, Map, Map(T → Int32), Struct |
//!
//! Physical fields are always nullable: a delete of an upsert stream carries only its key.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use serde::{Deserialize, Serialize};

/// Length of `STRING` and `BYTES`.
pub const LENGTH_MAX: u32 = 2_147_483_647;
/// Digits of a DECIMAL at most.
pub const DECIMAL_PRECISION_MAX: u8 = 38;

/// A SQL type with its nullability.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SqlType {
    /// Which type.
    pub kind: TypeKind,
    /// Whether NULL is a value of it.
    pub nullable: bool,
}

/// Which type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TypeKind {
    /// `BOOLEAN`
    Boolean,
    /// `TINYINT`
    TinyInt,
    /// `SMALLINT`
    SmallInt,
    /// `INT`
    Int,
    /// `BIGINT`
    BigInt,
    /// `FLOAT`
    Float,
    /// `DOUBLE`
    Double,
    /// `DECIMAL(precision, scale)`, 1..=38 digits
    Decimal(u8, u8),
    /// `CHAR(n)`: padded on CAST
    Char(u32),
    /// `VARCHAR(n)`; `STRING` has length [`LENGTH_MAX`]
    VarChar(u32),
    /// `BINARY(n)`
    Binary(u32),
    /// `VARBINARY(n)`; `BYTES` has length [`LENGTH_MAX`]
    VarBinary(u32),
    /// `DATE`
    Date,
    /// `TIME(p)`; carried in milliseconds
    Time(u8),
    /// `TIMESTAMP(p)`: a wall-clock reading
    Timestamp(u8),
    /// `TIMESTAMP_LTZ(p)`: an instant, shown in the session time zone
    TimestampLtz(u8),
    /// `INTERVAL YEAR TO MONTH`, in months
    IntervalYearMonth,
    /// `INTERVAL DAY TO SECOND`, in milliseconds
    IntervalDayTime,
    /// `ARRAY<T>`
    Array(Box<SqlType>),
    /// `MAP<K, V>`
    Map(Box<SqlType>, Box<SqlType>),
    /// `MULTISET<T>`
    Multiset(Box<SqlType>),
    /// `ROW<name type, …>`
    Row(Vec<RowField>),
    /// The type of a bare `NULL`
    Null,
}

/// A field of a `ROW`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RowField {
    /// Its name, case kept.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// Its comment.
    pub comment: Option<String>,
}

impl From<TypeKind> for SqlType {
    fn from(kind: TypeKind) -> Self {
        SqlType { kind, nullable: true }
    }
}

impl SqlType {
    /// `STRING`, nullable.
    pub const STRING: SqlType = SqlType { kind: TypeKind::VarChar(LENGTH_MAX), nullable: true };

    /// The same type with NOT NULL.
    pub fn not_null(mut self) -> Self {
        self.nullable = false;
        self
    }

    /// The same type with this nullability.
    pub fn with_nullable(mut self, nullable: bool) -> Self {
        self.nullable = nullable;
        self
    }

    /// The Arrow type that carries it.
    pub fn to_arrow(&self) -> DataType {
        self.kind.to_arrow()
    }

    /// A nullable Arrow field of this type.
    pub fn to_field(&self, name: impl Into<String>) -> Field {
        Field::new(name, self.to_arrow(), true)
    }

    /// The SQL type an Arrow type reads back as, nullable. `None` for types SQL has no word for.
    pub fn from_arrow(ty: &DataType) -> Option<SqlType> {
        let kind = match ty {
            DataType::Null => TypeKind::Null,
            DataType::Boolean => TypeKind::Boolean,
            DataType::Int8 => TypeKind::TinyInt,
            DataType::Int16 | DataType::UInt8 => TypeKind::SmallInt,
            DataType::Int32 | DataType::UInt16 => TypeKind::Int,
            DataType::Int64 | DataType::UInt32 => TypeKind::BigInt,
            DataType::UInt64 => TypeKind::Decimal(20, 0),
            DataType::Float32 => TypeKind::Float,
            DataType::Float64 => TypeKind::Double,
            DataType::Decimal128(p, s) if *s >= 0 => TypeKind::Decimal(*p, *s as u8),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => TypeKind::VarChar(LENGTH_MAX),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => TypeKind::VarBinary(LENGTH_MAX),
            DataType::FixedSizeBinary(n) => TypeKind::Binary(*n as u32),
            DataType::Date32 => TypeKind::Date,
            DataType::Time32(TimeUnit::Second) => TypeKind::Time(0),
            DataType::Time32(_) | DataType::Time64(_) => TypeKind::Time(3),
            DataType::Timestamp(unit, zone) => {
                let p = precision_of(*unit);
                if zone.is_some() { TypeKind::TimestampLtz(p) } else { TypeKind::Timestamp(p) }
            }
            DataType::Interval(IntervalUnit::YearMonth) => TypeKind::IntervalYearMonth,
            DataType::Interval(_) | DataType::Duration(_) => TypeKind::IntervalDayTime,
            DataType::List(f) | DataType::LargeList(f) => TypeKind::Array(Box::new(Self::from_arrow(f.data_type())?)),
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(kv) if kv.len() == 2 => TypeKind::Map(
                    Box::new(Self::from_arrow(kv[0].data_type())?.not_null()),
                    Box::new(Self::from_arrow(kv[1].data_type())?),
                ),
                _ => return None,
            },
            DataType::Struct(fields) => TypeKind::Row(
                fields
                    .iter()
                    .map(|f| {
                        Some(RowField { name: f.name().clone(), ty: Self::from_arrow(f.data_type())?, comment: None })
                    })
                    .collect::<Option<_>>()?,
            ),
            _ => return None,
        };
        Some(kind.into())
    }
}

impl TypeKind {
    /// The Arrow type that carries it.
    pub fn to_arrow(&self) -> DataType {
        match self {
            TypeKind::Null => DataType::Null,
            TypeKind::Boolean => DataType::Boolean,
            TypeKind::TinyInt => DataType::Int8,
            TypeKind::SmallInt => DataType::Int16,
            TypeKind::Int => DataType::Int32,
            TypeKind::BigInt => DataType::Int64,
            TypeKind::Float => DataType::Float32,
            TypeKind::Double => DataType::Float64,
            TypeKind::Decimal(p, s) => DataType::Decimal128(*p, *s as i8),
            TypeKind::Char(_) | TypeKind::VarChar(_) => DataType::Utf8View,
            TypeKind::Binary(_) | TypeKind::VarBinary(_) => DataType::BinaryView,
            TypeKind::Date => DataType::Date32,
            TypeKind::Time(_) => DataType::Time32(TimeUnit::Millisecond),
            TypeKind::Timestamp(p) => DataType::Timestamp(unit_of(*p), None),
            TypeKind::TimestampLtz(p) => DataType::Timestamp(unit_of(*p), Some("UTC".into())),
            TypeKind::IntervalYearMonth => DataType::Interval(IntervalUnit::YearMonth),
            TypeKind::IntervalDayTime => DataType::Duration(TimeUnit::Millisecond),
            TypeKind::Array(t) => DataType::List(Arc::new(t.to_field("item"))),
            TypeKind::Map(k, v) => map_type(k.to_arrow(), v.to_arrow()),
            TypeKind::Multiset(t) => map_type(t.to_arrow(), DataType::Int32),
            TypeKind::Row(fields) => {
                DataType::Struct(fields.iter().map(|f| f.ty.to_field(&f.name)).collect::<Fields>())
            }
        }
    }

    /// Whether it is a number.
    pub fn is_numeric(&self) -> bool {
        self.is_integer() || matches!(self, TypeKind::Float | TypeKind::Double | TypeKind::Decimal(..))
    }

    /// Whether it is a whole number type.
    pub fn is_integer(&self) -> bool {
        matches!(self, TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int | TypeKind::BigInt)
    }

    /// Whether it is text.
    pub fn is_string(&self) -> bool {
        matches!(self, TypeKind::Char(_) | TypeKind::VarChar(_))
    }
}

/// The Arrow unit of a fraction of `p` digits.
pub fn unit_of(p: u8) -> TimeUnit {
    match p {
        0..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

/// The digits an Arrow unit can hold.
pub fn precision_of(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

fn map_type(key: DataType, value: DataType) -> DataType {
    let entries = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        if !self.nullable {
            f.write_str(" NOT NULL")?;
        }
        Ok(())
    }
}

impl fmt::Display for TypeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TypeKind::Null => f.write_str("NULL"),
            TypeKind::Boolean => f.write_str("BOOLEAN"),
            TypeKind::TinyInt => f.write_str("TINYINT"),
            TypeKind::SmallInt => f.write_str("SMALLINT"),
            TypeKind::Int => f.write_str("INT"),
            TypeKind::BigInt => f.write_str("BIGINT"),
            TypeKind::Float => f.write_str("FLOAT"),
            TypeKind::Double => f.write_str("DOUBLE"),
            TypeKind::Decimal(p, s) => write!(f, "DECIMAL({p}, {s})"),
            TypeKind::Char(n) => write!(f, "CHAR({n})"),
            TypeKind::VarChar(LENGTH_MAX) => f.write_str("STRING"),
            TypeKind::VarChar(n) => write!(f, "VARCHAR({n})"),
            TypeKind::Binary(n) => write!(f, "BINARY({n})"),
            TypeKind::VarBinary(LENGTH_MAX) => f.write_str("BYTES"),
            TypeKind::VarBinary(n) => write!(f, "VARBINARY({n})"),
            TypeKind::Date => f.write_str("DATE"),
            TypeKind::Time(p) => write!(f, "TIME({p})"),
            TypeKind::Timestamp(p) => write!(f, "TIMESTAMP({p})"),
            TypeKind::TimestampLtz(p) => write!(f, "TIMESTAMP_LTZ({p})"),
            TypeKind::IntervalYearMonth => f.write_str("INTERVAL YEAR TO MONTH"),
            TypeKind::IntervalDayTime => f.write_str("INTERVAL DAY TO SECOND(3)"),
            TypeKind::Array(t) => write!(f, "ARRAY<{t}>"),
            TypeKind::Map(k, v) => write!(f, "MAP<{k}, {v}>"),
            TypeKind::Multiset(t) => write!(f, "MULTISET<{t}>"),
            TypeKind::Row(fields) => {
                f.write_str("ROW<")?;
                for (i, field) in fields.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "`{}` {}", field.name.replace('`', "``"), field.ty)?;
                    if let Some(comment) = &field.comment {
                        write!(f, " '{}'", comment.replace('\'', "''"))?;
                    }
                }
                f.write_str(">")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_print_as_flink_prints_them() {
        let row = TypeKind::Row(vec![RowField {
            name: "a".into(),
            ty: SqlType::from(TypeKind::Int).not_null(),
            comment: None,
        }]);
        assert_eq!(SqlType::from(row).not_null().to_string(), "ROW<`a` INT NOT NULL> NOT NULL");
        assert_eq!(SqlType::STRING.to_string(), "STRING");
        assert_eq!(SqlType::from(TypeKind::Decimal(10, 2)).to_string(), "DECIMAL(10, 2)");
    }

    #[test]
    fn every_column_type_survives_the_way_to_arrow_and_back() {
        let string = || Box::new(SqlType::STRING);
        for kind in [
            TypeKind::Boolean,
            TypeKind::TinyInt,
            TypeKind::BigInt,
            TypeKind::Double,
            TypeKind::Decimal(38, 10),
            TypeKind::VarChar(LENGTH_MAX),
            TypeKind::VarBinary(LENGTH_MAX),
            TypeKind::Date,
            TypeKind::Time(3),
            TypeKind::Timestamp(3),
            TypeKind::TimestampLtz(6),
            TypeKind::Timestamp(9),
            TypeKind::Array(string()),
            TypeKind::Map(Box::new(SqlType::STRING.not_null()), string()),
        ] {
            assert_eq!(SqlType::from_arrow(&kind.to_arrow()), Some(kind.clone().into()), "{kind}");
        }
    }
}
