//! The metadata at the end of a table map.
//!
//! Each field is about the columns of some types only, in order: signedness has a bit for each number, a character set
//! stands for each text, a list of values for each ENUM.

use super::bytes::{Cursor, Fault};
use super::table_map::{ColumnDef, TableMap, column_type as t};

const SIGNEDNESS: u8 = 1;
const DEFAULT_CHARSET: u8 = 2;
const COLUMN_CHARSET: u8 = 3;
const COLUMN_NAME: u8 = 4;
const SET_VALUES: u8 = 5;
const ENUM_VALUES: u8 = 6;
const PRIMARY_KEY: u8 = 8;
const PRIMARY_KEY_WITH_PREFIX: u8 = 9;
const ENUM_AND_SET_DEFAULT_CHARSET: u8 = 10;
const ENUM_AND_SET_COLUMN_CHARSET: u8 = 11;
const VISIBILITY: u8 = 12;

/// Reads all of it into `map`. Fields that are not known are about what is not needed. `maria`: a geometry counts as a
/// text; `signs_years`: a YEAR counts as a number, if that is known.
pub(super) fn read(
    c: &mut Cursor<'_>,
    map: &mut TableMap,
    maria: bool,
    signs_years: Option<bool>,
) -> Result<(), Fault> {
    let is_text = if maria { is_text_of_maria } else { ColumnDef::is_text };
    while !c.is_empty() {
        let field = c.u8()?;
        let value = &mut Cursor(c.lenenc_bytes()?);
        match field {
            SIGNEDNESS => signedness(value, &mut map.columns, signs_years)?,
            DEFAULT_CHARSET => default_charset(value, &mut map.columns, is_text)?,
            COLUMN_CHARSET => column_charset(value, &mut map.columns, is_text)?,
            COLUMN_NAME => {
                for column in &mut map.columns {
                    column.name = Some(String::from_utf8_lossy(value.lenenc_bytes()?).into_owned());
                }
            }
            SET_VALUES => values(value, &mut map.columns, t::SET)?,
            ENUM_VALUES => values(value, &mut map.columns, t::ENUM)?,
            PRIMARY_KEY | PRIMARY_KEY_WITH_PREFIX => {
                while !value.is_empty() {
                    let column = index(value, map.columns.len())?;
                    if field == PRIMARY_KEY_WITH_PREFIX {
                        value.lenenc()?;
                    }
                    map.primary_key.push(column);
                }
            }
            ENUM_AND_SET_DEFAULT_CHARSET => default_charset(value, &mut map.columns, is_enum_or_set)?,
            ENUM_AND_SET_COLUMN_CHARSET => column_charset(value, &mut map.columns, is_enum_or_set)?,
            VISIBILITY => {
                for (i, column) in map.columns.iter_mut().enumerate() {
                    column.visible = bit(value.0, i)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_text_of_maria(column: &ColumnDef) -> bool {
    column.is_text() || column.ty == t::GEOMETRY
}

fn is_enum_or_set(column: &ColumnDef) -> bool {
    matches!(column.ty, t::ENUM | t::SET)
}

/// Bit `i`, the highest of a byte first.
fn bit(bytes: &[u8], i: usize) -> Result<bool, Fault> {
    Ok(bytes.get(i / 8).ok_or(Fault::Truncated)? & 0x80 >> (i % 8) != 0)
}

fn index(c: &mut Cursor<'_>, columns: usize) -> Result<usize, Fault> {
    let i = usize::try_from(c.lenenc()?).unwrap_or(usize::MAX);
    if i < columns { Ok(i) } else { Err(Fault::Malformed("its metadata names a column it does not have")) }
}

/// Where nobody knows whether a YEAR has a bit, what is behind the first one stays unknown, unless the bytes can only
/// be those of one or the other.
fn signedness(c: &mut Cursor<'_>, columns: &mut [ColumnDef], signs_years: Option<bool>) -> Result<(), Fault> {
    let numbers = columns.iter().filter(|column| column.is_number()).count();
    let years = columns.iter().filter(|column| column.ty == t::YEAR).count();
    let (without, with) = (numbers.div_ceil(8), (numbers + years).div_ceil(8));
    let signs_years = match signs_years {
        None if years == 0 => Some(false),
        None if without != with => Some(c.0.len() == with),
        known => known,
    };
    let mut i = 0;
    for column in columns {
        match (column.ty == t::YEAR, signs_years) {
            (true, Some(true)) => i += 1,
            (true, Some(false)) => {}
            (true, None) => return Ok(()),
            (false, _) if column.is_number() => {
                column.unsigned = Some(bit(c.0, i)?);
                i += 1;
            }
            _ => {}
        }
    }
    Ok(())
}

/// One collation for most, and those that differ by their number among the columns it is about.
fn default_charset(c: &mut Cursor<'_>, columns: &mut [ColumnDef], about: fn(&ColumnDef) -> bool) -> Result<(), Fault> {
    let default = c.lenenc()?;
    let mut about: Vec<_> = columns.iter_mut().filter(|column| about(column)).collect();
    for column in &mut about {
        column.collation = Some(default);
    }
    while !c.is_empty() {
        let i = index(c, about.len())?;
        about[i].collation = Some(c.lenenc()?);
    }
    Ok(())
}

fn column_charset(c: &mut Cursor<'_>, columns: &mut [ColumnDef], about: fn(&ColumnDef) -> bool) -> Result<(), Fault> {
    for column in columns.iter_mut().filter(|column| about(column)) {
        column.collation = Some(c.lenenc()?);
    }
    Ok(())
}

fn values(c: &mut Cursor<'_>, columns: &mut [ColumnDef], ty: u8) -> Result<(), Fault> {
    for column in columns.iter_mut().filter(|column| column.ty == ty) {
        let n = c.lenenc()?;
        // No capacity ahead: the count may be damaged.
        column.values = Some((0..n).map(|_| Ok(c.lenenc_bytes()?.to_vec())).collect::<Result<_, Fault>>()?);
    }
    Ok(())
}
