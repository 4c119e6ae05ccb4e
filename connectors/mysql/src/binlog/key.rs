//! Keys: values of columns that tell rows apart or put them in order, the same whether they come from the log or from a
//! query.
//!
//! # Invariants
//! * Two keys are equal when the server stores the same value: for text that is narrower than what a collation calls
//!   equal, so that an update of `a` to `A` is a delete and an insert.
//! * [`Order::compare`] orders keys exactly as the server does, or says that only the server can.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::bytes::{Cursor, Fault};
use super::charset::Charset;
use super::column::temporal::{Date, DateTime};
use super::column::{Cell, Wire};
use super::table_map::{ColumnDef, TableMap, column_type as t};

const DAY: i64 = 86_400_000_000;

/// A value of a key column that is not NULL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Key {
    /// A whole number, of up to 64 bits with or without a sign.
    #[serde(rename = "i", with = "wide")]
    Int(i128),
    /// A DECIMAL: no zeros in front, none at the end of the fraction.
    #[serde(rename = "d")]
    Decimal(String),
    /// DATE, DATETIME and TIMESTAMP (in UTC): year, month, day and microseconds, packed so that they keep their order,
    /// also of dates that no calendar has.
    #[serde(rename = "t")]
    DateTime(i64),
    /// TIME in microseconds.
    #[serde(rename = "c")]
    Time(i64),
    /// Bytes.
    #[serde(rename = "b")]
    Bytes(Vec<u8>),
    /// Text.
    #[serde(rename = "s")]
    Text(String),
    /// The bits of a floating-point number.
    #[serde(rename = "f")]
    Float(u64),
}

/// A whole number as JSON has them: of 64 bits, with or without a sign.
mod wide {
    use serde::{Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &i128, to: S) -> Result<S::Ok, S::Error> {
        match (i64::try_from(*value), u64::try_from(*value)) {
            (Ok(value), _) => to.serialize_i64(value),
            (_, Ok(value)) => to.serialize_u64(value),
            _ => Err(serde::ser::Error::custom("a key has more than 64 bits")),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i128, D::Error> {
        struct Number;
        impl de::Visitor<'_> for Number {
            type Value = i128;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E>(self, value: i64) -> Result<i128, E> {
                Ok(value.into())
            }

            fn visit_u64<E>(self, value: u64) -> Result<i128, E> {
                Ok(value.into())
            }
        }
        from.deserialize_any(Number)
    }
}

/// How the server orders the keys of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// As [`Key`]s of their kind: numbers, times, bytes.
    Exact,
    /// By code points, and as if the shorter text had spaces at its end.
    Padded,
    /// By a collation, which only the server knows.
    Server {
        /// The column's character set.
        charset: String,
        /// Its collation.
        collation: String,
    },
}

impl Order {
    /// Which comes first; `None` when only the server knows.
    pub fn compare(&self, a: &Key, b: &Key) -> Option<Ordering> {
        match (self, a, b) {
            (Order::Server { .. }, ..) => None,
            (_, Key::Int(a), Key::Int(b)) => Some(a.cmp(b)),
            (_, Key::DateTime(a), Key::DateTime(b)) | (_, Key::Time(a), Key::Time(b)) => Some(a.cmp(b)),
            (_, Key::Bytes(a), Key::Bytes(b)) => Some(a.cmp(b)),
            (_, Key::Decimal(a), Key::Decimal(b)) => Some(compare_decimals(a, b)),
            (Order::Exact, Key::Text(a), Key::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (Order::Padded, Key::Text(a), Key::Text(b)) => Some(compare_padded(a.as_bytes(), b.as_bytes())),
            _ => None,
        }
    }

    /// Whether keys are compared without the server.
    pub fn is_ours(&self) -> bool {
        !matches!(self, Order::Server { .. })
    }
}

/// As if the shorter one went on with spaces.
fn compare_padded(a: &[u8], b: &[u8]) -> Ordering {
    let common = a.len().min(b.len());
    match a[..common].cmp(&b[..common]) {
        Ordering::Equal if a.len() == b.len() => Ordering::Equal,
        Ordering::Equal => {
            let (rest, longer) = if a.len() > b.len() { (&a[common..], true) } else { (&b[common..], false) };
            let order = rest.iter().map(|byte| byte.cmp(&b' ')).find(|o| *o != Ordering::Equal);
            let order = order.unwrap_or(Ordering::Equal);
            if longer { order } else { order.reverse() }
        }
        order => order,
    }
}

/// Of normal form.
fn compare_decimals(a: &str, b: &str) -> Ordering {
    let split = |text: &str| {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest.to_owned()),
            None => (false, text.to_owned()),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
        (negative, whole.len(), format!("{whole}{fraction}"))
    };
    let (a, b) = (split(a), split(b));
    match (a.0, b.0) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (negative, _) => {
            let order = a.1.cmp(&b.1).then_with(|| a.2.cmp(&b.2));
            if negative { order.reverse() } else { order }
        }
    }
}

impl Key {
    /// A DECIMAL of the server's text.
    pub fn decimal(text: &str) -> Key {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => ("-", rest),
            None => ("", text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        let whole = if whole.is_empty() { "0" } else { whole };
        Key::Decimal(match (fraction.is_empty(), whole) {
            (true, "0") => "0".into(),
            (true, _) => format!("{sign}{whole}"),
            (false, _) => format!("{sign}{whole}.{fraction}"),
        })
    }

    /// A date and a time of day.
    pub fn date_time(at: DateTime) -> Key {
        let Date { year, month, day } = at.date;
        let days = (i64::from(year) << 9) | (i64::from(month) << 5) | i64::from(day);
        Key::DateTime(days * DAY + at.micros)
    }

    /// What [`Key::DateTime`] was packed from.
    pub fn unpack_date_time(packed: i64) -> DateTime {
        let (days, micros) = (packed.div_euclid(DAY), packed.rem_euclid(DAY));
        let date = Date { year: (days >> 9) as u16, month: (days >> 5 & 15) as u8, day: (days & 31) as u8 };
        DateTime { date, micros }
    }

    /// An instant, in microseconds since 1970; 0 is the server's zero date.
    fn instant(utc_micros: i64) -> Key {
        match utc_micros {
            0 => Key::DateTime(0),
            micros => Key::date_time(super::zone::Zone::UTC.date_time(micros)),
        }
    }
}

/// How a column of a table's row images becomes a key.
#[derive(Debug)]
struct Part {
    column: usize,
    wire: Wire,
    charset: Charset,
    /// Bytes that BINARY is filled up to.
    pad: usize,
    /// The values of an ENUM or SET.
    names: Vec<String>,
}

/// The key columns of one version of a table.
#[derive(Debug)]
pub struct KeyColumns {
    parts: Vec<Part>,
    /// One behind the last of them: columns from there on need not be looked at.
    end: usize,
}

impl KeyColumns {
    /// Finds columns by name.
    ///
    /// # Errors
    /// The name of a column that the table does not have, or whose values cannot be keys.
    pub fn find<'a>(map: &TableMap, names: impl IntoIterator<Item = &'a str>) -> Result<KeyColumns, String> {
        let find = |name: &str| {
            let at = map.columns.iter().position(|c| c.name.as_deref().is_some_and(|n| n.eq_ignore_ascii_case(name)));
            let part = at.and_then(|column| Part::of(column, &map.columns[column]));
            part.ok_or_else(|| name.to_owned())
        };
        let parts = names.into_iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let end = parts.iter().map(|p| p.column + 1).max().unwrap_or(0);
        Ok(KeyColumns { parts, end })
    }

    /// One behind the last column that is looked at.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// Whether a column is one of them.
    pub(super) fn has(&self, column: usize) -> bool {
        self.parts.iter().any(|part| part.column == column)
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// Reads the value of a column, if it is one of them.
    pub(super) fn read(
        &self,
        column: usize,
        wire: Wire,
        c: &mut Cursor<'_>,
        out: &mut [Option<Key>],
    ) -> Result<(), Fault> {
        let mut wanted = self.parts.iter().enumerate().filter(|(_, part)| part.column == column).peekable();
        if wanted.peek().is_none() {
            return wire.skip(c);
        }
        let cell = wire.read(c)?;
        for (i, part) in wanted {
            out[i] = Some(part.key(cell)?);
        }
        Ok(())
    }
}

impl Part {
    fn of(column: usize, def: &ColumnDef) -> Option<Part> {
        let wire = Wire::of(def).ok()?;
        let charset = match def.is_text() || matches!(def.ty, t::ENUM | t::SET) {
            true => Charset::of_collation(def.collation?)?,
            false => Charset::Binary,
        };
        let names = def.values.iter().flatten().map(|v| charset.decode(v).0.into_owned()).collect();
        let pad = if def.ty == t::STRING && charset == Charset::Binary { usize::from(def.meta) } else { 0 };
        (!matches!(wire, Wire::Compressed(_))).then_some(Part { column, wire, charset, pad, names })
    }

    fn key(&self, cell: Cell<'_>) -> Result<Key, Fault> {
        Ok(match cell {
            Cell::Int(v) => Key::Int(v.into()),
            Cell::UInt(v) => Key::Int(v.into()),
            Cell::Year(v) => Key::Int(v.into()),
            Cell::Float(v) => Key::Float(f64::from(v).to_bits()),
            Cell::Double(v) => Key::Float(v.to_bits()),
            Cell::Decimal(bytes) => {
                let Wire::Decimal(layout) = self.wire else { return Err(Fault::Malformed("a key changed its type")) };
                let mut text = String::new();
                layout.write(bytes, &mut text)?;
                Key::decimal(&text)
            }
            Cell::Date(date) => Key::date_time(DateTime { date, micros: 0 }),
            Cell::DateTime(at) => Key::date_time(at),
            Cell::Timestamp(utc_micros) => Key::instant(utc_micros),
            Cell::Time(micros) => Key::Time(micros),
            Cell::Bits(bits) => Key::Int(bits.iter().fold(0, |v, b| v << 8 | i128::from(*b))),
            Cell::Bytes(bytes) if self.charset == Charset::Binary => {
                let mut bytes = bytes.to_vec();
                if bytes.len() < self.pad {
                    bytes.resize(self.pad, 0);
                }
                Key::Bytes(bytes)
            }
            Cell::Bytes(bytes) => Key::Text(self.charset.decode(bytes).0.into_owned()),
            Cell::Enum(i) => {
                Key::Text(i.checked_sub(1).and_then(|i| self.names.get(i as usize)).cloned().unwrap_or_default())
            }
            Cell::Set(bits) => {
                let chosen = self.names.iter().enumerate().filter(|(i, _)| bits >> i & 1 != 0);
                Key::Text(chosen.map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(","))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_ordered_as_numbers() {
        let key = |text: &str| Key::decimal(text);
        let ordered = [
            "-100",
            "-99.50",
            "-2.5",
            "-0.01",
            "0.00",
            "0.5",
            "0.51",
            "1",
            "9.999",
            "10",
            "123456789012345678901234567890123456789012",
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(Order::Exact.compare(&key(a), &key(b)), Some(i.cmp(&j)), "{a} {b}");
            }
        }
        assert_eq!(key("-0.00"), key("0"));
        assert_eq!(key("007.50"), key("7.5"));
    }

    #[test]
    fn text_of_binary_collations_is_padded_with_spaces() {
        let compare = |a: &str, b: &str| Order::Padded.compare(&Key::Text(a.into()), &Key::Text(b.into())).unwrap();
        assert_eq!(compare("a", "a  "), Ordering::Equal);
        assert_eq!(compare("a", "a\t"), Ordering::Greater, "a tab is below a space");
        assert_eq!(compare("a\t", "a"), Ordering::Less);
        assert_eq!(compare("a", "ab"), Ordering::Less);
        assert_eq!(compare("ä", "z"), Ordering::Greater);
        let exact = Order::Exact.compare(&Key::Text("a".into()), &Key::Text("a ".into()));
        assert_eq!(exact, Some(Ordering::Less), "without padding");
    }

    #[test]
    fn dates_keep_their_order_and_come_back() {
        let at = |year, month, day, micros| DateTime { date: Date { year, month, day }, micros };
        let ordered =
            [at(0, 0, 0, 0), at(0, 0, 0, 5), at(2026, 2, 31, 0), at(2026, 3, 0, DAY - 1), at(9999, 12, 31, DAY - 1)];
        for pair in ordered.windows(2) {
            let (a, b) = (Key::date_time(pair[0]), Key::date_time(pair[1]));
            assert_eq!(Order::Exact.compare(&a, &b), Some(Ordering::Less), "{pair:?}");
            let Key::DateTime(packed) = b else { panic!("{b:?}") };
            assert_eq!(Key::unpack_date_time(packed), pair[1]);
        }
    }

    #[test]
    fn keys_survive_a_checkpoint() {
        let keys = [
            Key::Int(i128::from(u64::MAX)),
            Key::Int(i128::from(i64::MIN)),
            Key::Bytes(vec![0, 255]),
            Key::Text("ä".into()),
            Key::decimal("1.50"),
        ];
        for key in keys {
            let value = serde_json::to_value(&key).unwrap();
            assert_eq!(serde_json::from_str::<Key>(&value.to_string()).unwrap(), key, "{value}");
            assert_eq!(serde_json::from_value::<Key>(value).unwrap(), key);
        }
    }

    #[test]
    fn only_the_server_orders_by_its_collations() {
        let order = Order::Server { charset: "utf8mb4".into(), collation: "utf8mb4_0900_ai_ci".into() };
        assert_eq!(order.compare(&Key::Text("a".into()), &Key::Text("B".into())), None);
        assert!(!order.is_ours() && Order::Padded.is_ours());
    }
}
