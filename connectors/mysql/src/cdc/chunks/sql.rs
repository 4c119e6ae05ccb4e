//! Keys in statements: bound values, and the conditions of ranges.
//!
//! Names are quoted by [`Dialect`]; values are bound. Bytes are bound as hexadecimal digits, because a server may take a bound
//! text for one of the connection's character set, and decimals are cast, because it would compare them as floating-point
//! numbers with a text.

use dflow_connector_jdbc::quote::Dialect;
use mysql_async::Value;
use mysql_async::consts::ColumnType;

use super::column::ChunkColumn;
use crate::binlog::column::temporal::{Date, DateTime};
use crate::binlog::key::{Key, Order};

const SECOND: i64 = 1_000_000;

/// `` `database`.`table` ``
pub fn table_name(database: &str, table: &str) -> String {
    format!("{}.{}", Dialect::MySql.name(database), Dialect::MySql.name(table))
}

/// A condition and what is bound to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Condition {
    /// Its text; empty when it is always true.
    pub sql: String,
    /// The values of its `?`, in order.
    pub values: Vec<Value>,
}

/// Rows from `from` on, and before `to`.
pub fn range(column: &ChunkColumn, from: Option<&Key>, to: Option<&Key>) -> Condition {
    let name = Dialect::MySql.name(&column.name);
    let mut values = Vec::new();
    let mut bind = |key: &Key| {
        let (sql, value) = bound(key);
        values.push(value);
        sql
    };
    let sql = match (from, to) {
        (None, None) => String::new(),
        (Some(from), None) => format!("{name} >= {}", bind(from)),
        (None, Some(to)) if column.nullable => format!("({name} < {} OR {name} IS NULL)", bind(to)),
        (None, Some(to)) => format!("{name} < {}", bind(to)),
        (Some(from), Some(to)) => format!("{name} >= {} AND {name} < {}", bind(from), bind(to)),
    };
    Condition { sql, values }
}

/// How a key stands in a statement, and its value.
pub fn bound(key: &Key) -> (String, Value) {
    match key {
        Key::Int(v) => match i64::try_from(*v) {
            Ok(v) => ("?".into(), Value::Int(v)),
            Err(_) => ("?".into(), Value::UInt(u64::try_from(*v).unwrap_or(u64::MAX))),
        },
        Key::Decimal(text) => {
            let scale = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            (format!("CAST(? AS DECIMAL(65, {scale}))"), Value::Bytes(text.clone().into_bytes()))
        }
        Key::DateTime(packed) => {
            let at = Key::unpack_date_time(*packed);
            let (seconds, micros) = (at.micros / SECOND, (at.micros % SECOND) as u32);
            let clock = ((seconds / 3_600) as u8, (seconds / 60 % 60) as u8, (seconds % 60) as u8);
            let Date { year, month, day } = at.date;
            ("?".into(), Value::Date(year, month, day, clock.0, clock.1, clock.2, micros))
        }
        Key::Time(micros) => {
            let (absolute, negative) = (micros.unsigned_abs(), *micros < 0);
            let (seconds, rest) = (absolute / SECOND as u64, (absolute % SECOND as u64) as u32);
            let (hours, minutes) = ((seconds / 3_600) as u32, (seconds / 60 % 60) as u8);
            ("?".into(), Value::Time(negative, hours / 24, (hours % 24) as u8, minutes, (seconds % 60) as u8, rest))
        }
        Key::Bytes(bytes) => {
            ("UNHEX(?)".into(), Value::Bytes(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>().into_bytes()))
        }
        Key::Text(text) => ("?".into(), Value::Bytes(text.clone().into_bytes())),
        Key::Float(bits) => ("?".into(), Value::Double(f64::from_bits(*bits))),
    }
}

/// A text, converted and compared as the column's; `order` is one that only the server knows.
pub fn collated(order: &Order) -> String {
    match order {
        // Names of character sets and collations are letters, digits and underscores; a name is no value that could be bound.
        Order::Server { charset, collation } => {
            let plain =
                |name: &str| name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
            format!("CONVERT(? USING {}) COLLATE {}", plain(charset), plain(collation))
        }
        _ => "?".into(),
    }
}

/// A value of a query as a key; `None` for NULL. `is_text`: bytes are text in UTF-8.
pub fn key(value: &Value, ty: ColumnType, is_text: bool) -> Option<Key> {
    use ColumnType as C;
    Some(match value {
        Value::NULL => return None,
        Value::Int(v) => Key::Int((*v).into()),
        Value::UInt(v) => Key::Int((*v).into()),
        Value::Float(v) => Key::Float(f64::from(*v).to_bits()),
        Value::Double(v) => Key::Float(v.to_bits()),
        Value::Date(year, month, day, hour, minute, second, micros) => {
            let date = Date { year: *year, month: *month, day: *day };
            let seconds = (i64::from(*hour) * 60 + i64::from(*minute)) * 60 + i64::from(*second);
            Key::date_time(DateTime { date, micros: seconds * SECOND + i64::from(*micros) })
        }
        Value::Time(negative, days, hours, minutes, seconds, micros) => {
            let whole = ((i64::from(*days) * 24 + i64::from(*hours)) * 60 + i64::from(*minutes)) * 60;
            let micros = (whole + i64::from(*seconds)) * SECOND + i64::from(*micros);
            Key::Time(if *negative { -micros } else { micros })
        }
        Value::Bytes(bytes) => match ty {
            C::MYSQL_TYPE_DECIMAL | C::MYSQL_TYPE_NEWDECIMAL => Key::decimal(&String::from_utf8_lossy(bytes)),
            C::MYSQL_TYPE_BIT => Key::Int(bytes.iter().fold(0, |v, b| v << 8 | i128::from(*b))),
            _ if is_text => Key::Text(String::from_utf8_lossy(bytes).into_owned()),
            _ => Key::Bytes(bytes.clone()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(nullable: bool) -> ChunkColumn {
        ChunkColumn { name: "k`".into(), order: Order::Exact, is_integer: true, is_unique: true, nullable }
    }

    #[test]
    fn ranges_begin_at_their_key_and_end_before_the_next() {
        let sql = |nullable, from: Option<i128>, to: Option<i128>| {
            range(&column(nullable), from.map(Key::Int).as_ref(), to.map(Key::Int).as_ref())
        };
        assert_eq!(sql(false, Some(1), Some(5)).sql, "`k``` >= ? AND `k``` < ?");
        assert_eq!(sql(false, Some(1), Some(5)).values, [Value::Int(1), Value::Int(5)]);
        assert_eq!(sql(true, None, Some(5)).sql, "(`k``` < ? OR `k``` IS NULL)", "NULL is in the first chunk");
        assert_eq!(sql(true, Some(5), None).sql, "`k``` >= ?");
        assert_eq!(sql(false, None, None), Condition::default());
        assert_eq!(bound(&Key::Int(i128::from(u64::MAX))).1, Value::UInt(u64::MAX));
    }

    #[test]
    fn keys_come_back_from_what_is_bound() {
        use ColumnType as C;
        for (value, ty) in [
            (Value::Int(-5), C::MYSQL_TYPE_LONG),
            (Value::UInt(u64::MAX), C::MYSQL_TYPE_LONGLONG),
            (Value::Date(2026, 2, 31, 23, 59, 58, 7), C::MYSQL_TYPE_DATETIME),
            (Value::Date(0, 0, 0, 0, 0, 0, 0), C::MYSQL_TYPE_DATE),
            (Value::Time(true, 34, 22, 59, 59, 5), C::MYSQL_TYPE_TIME),
            (Value::Bytes(b"-12.5".to_vec()), C::MYSQL_TYPE_NEWDECIMAL),
        ] {
            assert_eq!(bound(&key(&value, ty, false).unwrap()).1, value);
        }
        assert_eq!(key(&Value::NULL, C::MYSQL_TYPE_LONG, false), None);
        let (sql, value) = bound(&Key::Bytes(vec![0, 0xff]));
        assert_eq!((sql.as_str(), value), ("UNHEX(?)", Value::Bytes(b"00ff".to_vec())));
        assert_eq!(bound(&Key::decimal("1.250")).0, "CAST(? AS DECIMAL(65, 2))");
    }
}
