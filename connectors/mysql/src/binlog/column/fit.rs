//! Which columns can be read as which declared types, and what has to be done to their values.
//!
//! | MySQL | declared |
//! |---|---|
//! | TINYINT … BIGINT, signed or not | TINYINT … BIGINT, DECIMAL, STRING; TINYINT also BOOLEAN |
//! | YEAR | SMALLINT, INT, BIGINT, STRING |
//! | FLOAT; DOUBLE | FLOAT, DOUBLE; DOUBLE |
//! | DECIMAL(p, s) | DECIMAL of the same or a larger scale; STRING; with more than 38 digits STRING only |
//! | DATE; TIME | DATE, STRING; TIME, STRING |
//! | DATETIME | TIMESTAMP, STRING |
//! | TIMESTAMP | TIMESTAMP_LTZ; TIMESTAMP and STRING on the clock of `server-time-zone` |
//! | CHAR, VARCHAR, TEXT, ENUM, JSON, GEOMETRY | STRING, VARCHAR, CHAR |
//! | SET | `ARRAY<STRING>`, STRING |
//! | BINARY, VARBINARY, BLOB | BYTES, VARBINARY, BINARY; STRING as base64 or hex |
//! | BIT(1); BIT(n) | BOOLEAN, BYTES; BYTES, the lowest byte first |
//! | VECTOR | `ARRAY<FLOAT>` |
//! | MariaDB's UUID, INET4, INET6 | STRING |

use dflow_common::{SqlType, TypeKind as K};

use super::super::charset::{Charset, name_of_collation};
use super::super::table_map::{Address, ColumnDef, column_type as t};
use super::decimal::{DIGITS_I128, Layout};

/// How binary columns become text, when they are declared as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BinaryText {
    /// They do not.
    #[default]
    Refused,
    /// RFC 4648, padded.
    Base64,
    /// Lower-case digits.
    Hex,
}

/// What has to be done to the values of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Fit {
    /// Nothing but to see that they are in range.
    Plain,
    /// The number is times this, to have the declared scale.
    Scale(i128),
    /// The DECIMAL is times this.
    Decimal(Layout, i128),
    /// The DECIMAL is written.
    DecimalText(Layout),
    /// Read as text of this character set.
    Text(Charset),
    /// Filled up with zero bytes to this length.
    Bytes(usize),
    /// The same, then written as text.
    BytesText(usize, BinaryText),
    /// Reads as JSON of the server.
    Json,
    /// Reads as a geometry.
    Geometry,
    /// One of these.
    Enum(Vec<String>),
    /// Any of these.
    Set(Vec<String>),
    /// Written as the server writes it.
    Address(Address),
    /// Digits of a fraction, when written as text.
    Digits(u8),
}

/// Decides how the values of `column` become `declared`.
///
/// # Errors
/// Why they cannot, and what to declare instead.
pub fn fit(column: &ColumnDef, declared: &SqlType, binary: BinaryText) -> Result<Fit, String> {
    let text = matches!(declared.kind, K::Char(_) | K::VarChar(_));
    let bytes = matches!(declared.kind, K::Binary(_) | K::VarBinary(_));
    let [high, low] = column.meta.to_be_bytes();
    let fraction = if matches!(column.ty, t::TIME2 | t::DATETIME2 | t::TIMESTAMP2) { low } else { 0 };
    match (column.ty, &declared.kind) {
        (t::TINY, K::Boolean) => Ok(Fit::Plain),
        (t::TINY | t::SHORT | t::INT24 | t::LONG | t::LONGLONG, kind) => match kind {
            K::TinyInt | K::SmallInt | K::Int | K::BigInt => Ok(Fit::Plain),
            K::Decimal(_, scale) => Ok(Fit::Scale(power(*scale))),
            _ if text => Ok(Fit::Plain),
            _ => Err("TINYINT, SMALLINT, INT, BIGINT or DECIMAL".into()),
        },
        (t::YEAR, K::SmallInt | K::Int | K::BigInt) => Ok(Fit::Plain),
        (t::YEAR, _) => {
            if text {
                Ok(Fit::Plain)
            } else {
                Err("INT".into())
            }
        }
        (t::FLOAT, K::Float | K::Double) | (t::DOUBLE, K::Double) => Ok(Fit::Plain),
        (t::FLOAT, _) => Err("FLOAT or DOUBLE".into()),
        (t::DOUBLE, _) => Err("DOUBLE".into()),
        (t::NEWDECIMAL, kind) => {
            let layout = Layout::new(high, low).map_err(|fault| fault.to_string())?;
            match kind {
                _ if text => Ok(Fit::DecimalText(layout)),
                K::Decimal(_, scale) if high <= DIGITS_I128 && *scale >= low => {
                    Ok(Fit::Decimal(layout, power(*scale - low)))
                }
                _ if high > DIGITS_I128 => Err("STRING: it has more than 38 digits".into()),
                _ => Err(format!("DECIMAL({high}, {low}) or STRING")),
            }
        }
        (t::DATE | t::NEWDATE, K::Date) | (t::DATETIME | t::DATETIME2, K::Timestamp(_)) => Ok(Fit::Plain),
        (t::TIME2, K::Time(4..)) if fraction > 3 => {
            Err("STRING, or TIME(3) for milliseconds: TIME carries no more".into())
        }
        (t::TIME | t::TIME2, K::Time(_)) => Ok(Fit::Plain),
        (t::TIMESTAMP | t::TIMESTAMP2, K::Timestamp(_) | K::TimestampLtz(_)) => Ok(Fit::Plain),
        (t::DATE | t::NEWDATE, _) => {
            if text {
                Ok(Fit::Plain)
            } else {
                Err("DATE".into())
            }
        }
        (t::TIME | t::TIME2, _) => {
            if text {
                Ok(Fit::Digits(fraction))
            } else {
                Err(format!("TIME({fraction})"))
            }
        }
        (t::DATETIME | t::DATETIME2, _) => match text {
            true => Ok(Fit::Digits(fraction)),
            false => Err(format!("TIMESTAMP({fraction})")),
        },
        (t::TIMESTAMP | t::TIMESTAMP2, _) => match text {
            true => Ok(Fit::Digits(fraction)),
            false => Err(format!("TIMESTAMP_LTZ({fraction})")),
        },
        (t::BIT, K::Boolean) if column.meta == 1 => Ok(Fit::Plain),
        (t::BIT, _) => {
            if bytes {
                Ok(Fit::Bytes(0))
            } else {
                Err("BYTES (BIT(1) also BOOLEAN)".into())
            }
        }
        (t::ENUM, _) if text => Ok(Fit::Enum(names(column)?)),
        (t::ENUM, _) => Err("STRING".into()),
        (t::SET, K::Array(item)) if matches!(item.kind, K::VarChar(_) | K::Char(_)) => Ok(Fit::Set(names(column)?)),
        (t::SET, _) if text => Ok(Fit::Set(names(column)?)),
        (t::SET, _) => Err("STRING or ARRAY<STRING>".into()),
        (t::JSON | t::TYPED_ARRAY, _) => {
            if text {
                Ok(Fit::Json)
            } else {
                Err("STRING".into())
            }
        }
        (t::GEOMETRY, _) => {
            if text {
                Ok(Fit::Geometry)
            } else {
                Err("STRING".into())
            }
        }
        (t::VECTOR, K::Array(item)) if item.kind == K::Float => Ok(Fit::Plain),
        (t::VECTOR, _) => Err("ARRAY<FLOAT>".into()),
        _ if column.is_text() => characters(column, text, bytes, binary),
        _ => Err("no type: dflow cannot read it".into()),
    }
}

fn characters(column: &ColumnDef, text: bool, bytes: bool, binary: BinaryText) -> Result<Fit, String> {
    if let Some(address) = column.address {
        return if text { Ok(Fit::Address(address)) } else { Err("STRING".into()) };
    }
    let charset = charset(column)?;
    // BINARY(n) loses its last zero bytes in the log.
    let pad = if column.ty == t::STRING { usize::from(column.meta) } else { 0 };
    match charset {
        Charset::Binary if bytes => Ok(Fit::Bytes(pad)),
        Charset::Binary if text && binary != BinaryText::Refused => Ok(Fit::BytesText(pad, binary)),
        Charset::Binary => Err("BYTES (or STRING with 'debezium.binary.handling.mode' = 'base64' or 'hex')".into()),
        charset if text => Ok(Fit::Text(charset)),
        _ => Err("STRING".into()),
    }
}

fn charset(column: &ColumnDef) -> Result<Charset, String> {
    let Some(id) = column.collation else {
        return Err("no type before its character set is known: set binlog_row_metadata=FULL on the server".into());
    };
    Charset::of_collation(id).ok_or_else(|| {
        let name = name_of_collation(id).map_or_else(|| format!("of collation {id}"), str::to_owned);
        format!("no type: dflow cannot read the character set {name}; convert the column to utf8mb4")
    })
}

/// The names of the values of an ENUM or SET.
fn names(column: &ColumnDef) -> Result<Vec<String>, String> {
    let Some(values) = &column.values else {
        return Err("no type before its values are known: set binlog_row_metadata=FULL on the server".into());
    };
    let charset = charset(column)?;
    Ok(values.iter().map(|value| charset.decode(value).0.into_owned()).collect())
}

fn power(n: u8) -> i128 {
    10i128.pow(u32::from(n.min(DIGITS_I128)))
}
