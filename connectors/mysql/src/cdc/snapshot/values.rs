//! Values of a query into the same Arrow builders as those of the log, by the same rules: a row reads the same whether it was
//! found in the table or in the log.
//!
//! The binary protocol gives numbers and times as such; text in UTF-8, which the server converts; ENUM and SET by name.

use mysql_async::Value;

use crate::binlog::Fault;
use crate::binlog::column::Cell;
use crate::binlog::column::fit::{BinaryText, Fit, fit};
use crate::binlog::column::sink::{Context, Sink, Unfit};
use crate::binlog::column::temporal::{Date, DateTime};
use crate::binlog::rows::Wanted;
use crate::binlog::table_map::{a_collation_of, column_type as t};
use crate::cdc::catalog::ColumnInfo;
use crate::error::{self, Error};

const SECOND: i64 = 1_000_000;

/// How a selected column becomes a declared one.
#[derive(Debug)]
pub struct Conversion {
    ty: u8,
    fit: Fit,
    /// Digits behind the point of a DECIMAL.
    scale: usize,
}

impl Conversion {
    /// Decides.
    ///
    /// # Errors
    /// [`error::COLUMN_TYPE`].
    pub fn new(table: &str, column: &ColumnInfo, wanted: &Wanted, binary: BinaryText) -> Result<Conversion, Error> {
        let mut def = column.def.clone();
        if column.charset.is_some() && def.is_text() {
            def.collation = a_collation_of("utf8mb4");
        }
        let fit = fit(&def, &wanted.ty, binary)
            .map_err(|instead| error::column_type(&wanted.name, &wanted.ty.to_string(), Some(table), &instead))?;
        let scale = if def.ty == t::NEWDECIMAL { usize::from(def.meta.to_be_bytes()[1]) } else { 0 };
        Ok(Conversion { ty: def.ty, fit, scale })
    }

    /// Appends a value that is not NULL.
    ///
    /// # Errors
    /// As [`Sink::push`].
    pub fn push(&self, value: &Value, sink: &mut Sink, cx: &mut Context) -> Result<(), Unfit> {
        let cell = match value {
            Value::Int(v) if self.ty == t::YEAR => Cell::Year(u16::try_from(*v).unwrap_or(0)),
            Value::UInt(v) if self.ty == t::YEAR => Cell::Year(u16::try_from(*v).unwrap_or(0)),
            Value::Int(v) => Cell::Int(*v),
            Value::UInt(v) => Cell::UInt(*v),
            Value::Float(v) => Cell::Float(*v),
            Value::Double(v) => Cell::Double(*v),
            Value::Date(year, month, day, hour, minute, second, micros) => {
                let date = Date { year: *year, month: *month, day: *day };
                let seconds = (i64::from(*hour) * 60 + i64::from(*minute)) * 60 + i64::from(*second);
                let at = DateTime { date, micros: seconds * SECOND + i64::from(*micros) };
                match self.ty {
                    t::DATE | t::NEWDATE => Cell::Date(date),
                    // The session's clock shows UTC; 0 is the zero date.
                    t::TIMESTAMP | t::TIMESTAMP2 => Cell::Timestamp(at.micros().unwrap_or(0)),
                    _ => Cell::DateTime(at),
                }
            }
            Value::Time(negative, days, hours, minutes, seconds, micros) => {
                let whole = ((i64::from(*days) * 24 + i64::from(*hours)) * 60 + i64::from(*minutes)) * 60;
                let micros = (whole + i64::from(*seconds)) * SECOND + i64::from(*micros);
                Cell::Time(if *negative { -micros } else { micros })
            }
            Value::Bytes(bytes) => return self.bytes(bytes, sink, cx),
            Value::NULL => {
                sink.push_null();
                return Ok(());
            }
        };
        sink.push(cell, &self.fit, cx)
    }

    fn bytes(&self, bytes: &[u8], sink: &mut Sink, cx: &mut Context) -> Result<(), Unfit> {
        match (self.ty, sink) {
            (t::NEWDECIMAL, sink) => self.decimal(bytes, sink),
            (t::BIT, sink) => sink.push(Cell::Bits(bytes), &self.fit, cx),
            (t::SET, Sink::Texts(b)) => {
                let text = String::from_utf8_lossy(bytes);
                text.split(',').filter(|name| !name.is_empty()).for_each(|name| b.values().append_value(name));
                b.append(true);
                Ok(())
            }
            // By name, and JSON as text.
            (t::ENUM | t::SET | t::JSON | t::TYPED_ARRAY, Sink::Text(b)) => {
                b.append_value(String::from_utf8_lossy(bytes));
                Ok(())
            }
            // The server writes it, as the log's reader does.
            (_, Sink::Text(b)) if matches!(self.fit, Fit::Address(_)) => {
                b.append_value(String::from_utf8_lossy(bytes));
                Ok(())
            }
            (_, sink) => sink.push(Cell::Bytes(bytes), &self.fit, cx),
        }
    }

    /// `-12.50`
    fn decimal(&self, text: &[u8], sink: &mut Sink) -> Result<(), Unfit> {
        let shown = || String::from_utf8_lossy(text).into_owned();
        match (sink, &self.fit) {
            (Sink::Text(b), _) => b.append_value(shown()),
            (Sink::Decimal(b, limit), Fit::Decimal(_, factor)) => {
                let value = unscaled(text, self.scale).and_then(|v| v.checked_mul(*factor));
                match value.filter(|v| v.unsigned_abs() < limit.unsigned_abs()) {
                    Some(value) => b.append_value(value),
                    None => return Err(Unfit::Value(format!("{}, which has too many digits", shown()))),
                }
            }
            _ => return Err(Unfit::Damaged(Fault::Malformed("a column changed its type"))),
        }
        Ok(())
    }
}

/// The number without its point, which has `scale` digits behind it.
fn unscaled(text: &[u8], scale: usize) -> Option<i128> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mut value, mut behind) = (0_i128, None);
    for byte in digits {
        match byte {
            b'.' => behind = Some(0),
            b'0'..=b'9' => {
                value = value.checked_mul(10)?.checked_add((byte - b'0').into())?;
                behind = behind.map(|n| n + 1);
            }
            _ => return None,
        }
    }
    for _ in behind.unwrap_or(0)..scale {
        value = value.checked_mul(10)?;
    }
    (behind.unwrap_or(0) <= scale).then_some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_the_digits_of_their_column() {
        assert_eq!(unscaled(b"-12.50", 2), Some(-1250));
        assert_eq!(unscaled(b"7", 3), Some(7_000));
        assert_eq!(unscaled(b"0.00", 2), Some(0));
        assert_eq!(unscaled(b"1.234", 2), None);
        assert_eq!(unscaled(b"1e5", 0), None);
    }
}
