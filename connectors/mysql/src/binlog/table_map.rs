//! Table maps: which table the row events that follow are of, and how its columns are written.
//!
//! ```text
//! table id | flags u16 | len db 0 | len table 0 | columns | type u8 ... | len | meta ... | nullable bits | metadata
//! metadata: (type u8, length, bytes)*: signedness, character sets, names, ENUM and SET values, primary key, ...
//! ```
//! A table map is true for the events behind it until the next one with its id; an `ALTER TABLE` gives a new id.
//! Servers write signedness and character sets always (MySQL 8.0) or with `binlog_row_metadata=FULL` (MariaDB), names,
//! keys and values with `FULL` only. What is missing must come from the catalog: [`TableMap::complete`].
//!
//! # Source
//! `mysql/mysql-server`, `libs/mysql/binlog/event/rows_event.h: Table_map_event`.

use super::bytes::{Cursor, Fault};
use super::event::FormatDescription;
use super::event::kind::TABLE_MAP;

/// The types of columns, as the servers number them.
#[allow(missing_docs, reason = "the servers' own names")]
pub mod column_type {
    pub const DECIMAL: u8 = 0;
    pub const TINY: u8 = 1;
    pub const SHORT: u8 = 2;
    pub const LONG: u8 = 3;
    pub const FLOAT: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const NULL: u8 = 6;
    pub const TIMESTAMP: u8 = 7;
    pub const LONGLONG: u8 = 8;
    pub const INT24: u8 = 9;
    pub const DATE: u8 = 10;
    pub const TIME: u8 = 11;
    pub const DATETIME: u8 = 12;
    pub const YEAR: u8 = 13;
    pub const NEWDATE: u8 = 14;
    pub const VARCHAR: u8 = 15;
    pub const BIT: u8 = 16;
    pub const TIMESTAMP2: u8 = 17;
    pub const DATETIME2: u8 = 18;
    pub const TIME2: u8 = 19;
    pub const TYPED_ARRAY: u8 = 20;
    pub const MARIA_BLOB_COMPRESSED: u8 = 140;
    pub const MARIA_VARCHAR_COMPRESSED: u8 = 141;
    pub const VECTOR: u8 = 242;
    pub const JSON: u8 = 245;
    pub const NEWDECIMAL: u8 = 246;
    pub const ENUM: u8 = 247;
    pub const SET: u8 = 248;
    pub const TINY_BLOB: u8 = 249;
    pub const MEDIUM_BLOB: u8 = 250;
    pub const LONG_BLOB: u8 = 251;
    pub const BLOB: u8 = 252;
    pub const VAR_STRING: u8 = 253;
    pub const STRING: u8 = 254;
    pub const GEOMETRY: u8 = 255;
}
use column_type as t;

/// What MariaDB's log writes as bytes of a fixed length, and its client as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// `UUID`
    Uuid,
    /// `INET4`
    Inet4,
    /// `INET6`
    Inet6,
}

/// A column as the log writes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnDef {
    /// Of [`column_type`]; ENUM and SET are told from CHAR.
    pub ty: u8,
    /// What the type needs besides: a length, a precision, digits of a fraction.
    pub meta: u16,
    /// Whether NULL is a value of it.
    pub nullable: bool,
    /// Whether a number has no sign; `None` when the log does not say.
    pub unsigned: Option<bool>,
    /// The collation of a text, of the values of an ENUM or SET; `None` when the log does not say.
    pub collation: Option<u64>,
    /// Its name; `None` when the log does not say.
    pub name: Option<String>,
    /// The values of an ENUM or SET, in its character set; `None` when the log does not say.
    pub values: Option<Vec<Vec<u8>>>,
    /// Whether `SELECT *` shows it.
    pub visible: bool,
    /// Whether bytes are an address; the log never says, only the catalog does.
    pub address: Option<Address>,
    /// Whether it may be an address, and nobody has looked yet.
    pub may_be_address: bool,
}

/// A table as the log writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct TableMap {
    /// What row events call it.
    pub table_id: u64,
    /// Its database.
    pub database: String,
    /// Its name.
    pub table: String,
    /// Its columns, in order.
    pub columns: Vec<ColumnDef>,
    /// The columns of its primary key, when the log says so.
    pub primary_key: Vec<usize>,
}

/// What the catalog knows of a column and the log may not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatalogColumn {
    /// Its name.
    pub name: String,
    /// Its type and metadata, as the log would write them; `None` when they need not be compared.
    pub kind: Option<(u8, u16)>,
    /// Whether a number has no sign.
    pub unsigned: bool,
    /// The name of its character set.
    pub charset: Option<String>,
    /// The values of an ENUM or SET, in UTF-8.
    pub values: Vec<String>,
    /// Whether bytes are an address.
    pub address: Option<Address>,
}

/// Only the names and the id: enough to decide whether the table is wanted at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableMapHead<'a> {
    /// What row events call it.
    pub table_id: u64,
    /// Its database.
    pub database: &'a [u8],
    /// Its name.
    pub table: &'a [u8],
    rest: &'a [u8],
    /// Whether a geometry is a text and has a character set.
    maria: bool,
    signs_years: Option<bool>,
}

impl<'a> TableMapHead<'a> {
    /// Reads the beginning of a body.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn read(body: &'a [u8], format: Option<&FormatDescription>) -> Result<Self, Fault> {
        let mut c = Cursor(body);
        let table_id = c.uint_le(format.map_or(6, |f| f.table_id_bytes(TABLE_MAP)))?;
        c.take(2)?;
        let mut name = || -> Result<&'a [u8], Fault> {
            let length = usize::from(c.u8()?);
            let name = c.take(length)?;
            c.take(1)?;
            Ok(name)
        };
        let (database, table) = (name()?, name()?);
        let (maria, signs_years) = (format.is_some_and(|f| f.is_mariadb()), format.and_then(|f| f.signs_years()));
        Ok(Self { table_id, database, table, rest: c.0, maria, signs_years })
    }

    /// Its database and its name.
    pub fn names(&self) -> (String, String) {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        (text(self.database), text(self.table))
    }

    /// Reads the columns.
    ///
    /// # Errors
    /// When it is cut short, or a type is unknown.
    pub fn columns(&self) -> Result<TableMap, Fault> {
        let mut c = Cursor(self.rest);
        let n = usize::try_from(c.lenenc()?).map_err(|_| Fault::Truncated)?;
        let types = c.take(n)?;
        let metas = &mut Cursor(c.lenenc_bytes()?);
        let nullable = c.take(n.div_ceil(8))?;
        let mut columns = Vec::with_capacity(n);
        for (i, ty) in types.iter().enumerate() {
            let (ty, meta) = read_meta(*ty, metas)?;
            let nullable = nullable[i / 8] & 1 << (i % 8) != 0;
            columns.push(ColumnDef { ty, meta, nullable, visible: true, ..ColumnDef::default() });
        }
        let (database, table) = self.names();
        let mut map = TableMap { table_id: self.table_id, database, table, columns, primary_key: Vec::new() };
        super::metadata::read(&mut c, &mut map, self.maria, self.signs_years)?;
        for column in map.columns.iter_mut().filter(|_| self.maria) {
            column.may_be_address = column.ty == t::STRING && matches!(column.meta, 4 | 16) && column.is_bytes();
        }
        Ok(map)
    }
}

/// The real type and its metadata.
fn read_meta(ty: u8, c: &mut Cursor<'_>) -> Result<(u8, u16), Fault> {
    Ok(match ty {
        t::FLOAT
        | t::DOUBLE
        | t::TINY_BLOB..=t::BLOB
        | t::MARIA_BLOB_COMPRESSED
        | t::GEOMETRY
        | t::JSON
        | t::VECTOR
        | t::TIME2
        | t::DATETIME2
        | t::TIMESTAMP2 => (ty, u16::from(c.u8()?)),
        t::VARCHAR | t::VAR_STRING | t::MARIA_VARCHAR_COMPRESSED => (ty, c.u16()?),
        // Bits of the last byte, whole bytes: together, bits.
        t::BIT => {
            let [bits, bytes] = c.array()?;
            (ty, u16::from(bytes) * 8 + u16::from(bits))
        }
        // Precision, scale.
        t::NEWDECIMAL => (ty, u16::from_be_bytes(c.array()?)),
        t::STRING | t::ENUM | t::SET => {
            let [first, second] = c.array()?;
            // Lengths above 255 borrow two bits of the type, inverted.
            match first & 0x30 {
                0x30 => (first, u16::from(second)),
                borrowed => (first | 0x30, u16::from(second) | u16::from(borrowed ^ 0x30) << 4),
            }
        }
        t::TYPED_ARRAY => {
            // The type of its elements, and their metadata; the array itself is written as JSON.
            let element = c.u8()?;
            match element {
                t::VARCHAR => c.take(3)?,
                t::NEWDECIMAL | t::STRING => c.take(2)?,
                t::TIME2 | t::DATETIME2 | t::TIMESTAMP2 | t::FLOAT | t::DOUBLE => c.take(1)?,
                _ => &[],
            };
            (ty, 4)
        }
        t::DECIMAL
        | t::TINY
        | t::SHORT
        | t::LONG
        | t::NULL
        | t::TIMESTAMP
        | t::LONGLONG
        | t::INT24
        | t::DATE
        | t::TIME
        | t::DATETIME
        | t::YEAR
        | t::NEWDATE => (ty, 0),
        _ => return Err(Fault::Malformed("a column has an unknown type")),
    })
}

impl TableMap {
    /// Whether the log says all that is needed to read the table by name.
    pub fn is_complete(&self) -> bool {
        self.columns.iter().all(|c| {
            c.name.is_some()
                && !c.may_be_address
                && (!c.is_integer() || c.unsigned.is_some())
                && (!c.is_text() || c.collation.is_some())
                && (!matches!(c.ty, t::ENUM | t::SET) || c.values.is_some())
        })
    }

    /// Adds what the log does not say from the catalog.
    ///
    /// # Errors
    /// How the two differ, when the catalog's table cannot be the one of the log: its columns were changed since.
    pub fn complete(&mut self, catalog: &[CatalogColumn]) -> Result<(), String> {
        if self.columns.iter().all(|c| c.name.is_some()) {
            // Only what the log never says: by name, and nothing is known of a column that is no more.
            for mine in self.columns.iter_mut().filter(|c| c.may_be_address) {
                let theirs = catalog.iter().find(|theirs| mine.name.as_ref() == Some(&theirs.name));
                mine.address = theirs.and_then(|theirs| theirs.address);
                mine.may_be_address = false;
            }
            if self.is_complete() {
                return Ok(());
            }
        }
        if catalog.is_empty() {
            return Err("there is no such table any more".into());
        }
        if catalog.len() != self.columns.len() {
            return Err(format!("it had {} columns in the log and has {} now", self.columns.len(), catalog.len()));
        }
        for (mine, theirs) in self.columns.iter_mut().zip(catalog) {
            if let Some(name) = mine.name.as_ref().filter(|name| **name != theirs.name) {
                return Err(format!("column `{name}` of the log is `{}` now", theirs.name));
            }
            if theirs.kind.is_some_and(|(ty, meta)| !mine.is_kind(ty, meta)) {
                return Err(format!("column `{}` had another type in the log than it has now", theirs.name));
            }
            mine.name = Some(theirs.name.clone());
            (mine.address, mine.may_be_address) = (theirs.address, false);
            mine.unsigned.get_or_insert(theirs.unsigned);
            if mine.collation.is_none() {
                // Bytes have no character set.
                mine.collation = theirs.charset.as_deref().map_or(Some(BINARY), a_collation_of);
            }
            if matches!(mine.ty, t::ENUM | t::SET) && mine.values.is_none() {
                mine.values = Some(theirs.values.iter().map(|v| v.clone().into_bytes()).collect());
                // The catalog speaks UTF-8.
                mine.collation = a_collation_of("utf8mb4");
            }
        }
        Ok(())
    }
}

/// The collation of bytes.
const BINARY: u64 = 63;

/// Some collation of a character set.
pub(crate) fn a_collation_of(charset: &str) -> Option<u64> {
    let charset = if charset == "utf8" { "utf8mb3" } else { charset };
    (1..=323).find(|id| super::charset::name_of_collation(*id) == Some(charset))
}

impl ColumnDef {
    /// Whether it is of a type of the catalog, which does not know in which of two ways a value is written.
    fn is_kind(&self, ty: u8, meta: u16) -> bool {
        match (self.ty, ty) {
            (t::TIME, t::TIME2) | (t::DATETIME, t::DATETIME2) | (t::TIMESTAMP, t::TIMESTAMP2) => meta == 0,
            (t::NEWDATE, t::DATE) => true,
            (t::MARIA_VARCHAR_COMPRESSED, t::VARCHAR) | (t::MARIA_BLOB_COMPRESSED, t::BLOB) => true,
            // The metadata of these is how many bytes they take.
            (t::ENUM, t::ENUM) | (t::SET, t::SET) => true,
            (mine, theirs) => mine == theirs && self.meta == meta,
        }
    }

    /// Whether it is a whole number.
    pub fn is_integer(&self) -> bool {
        matches!(self.ty, t::TINY | t::SHORT | t::INT24 | t::LONG | t::LONGLONG)
    }

    /// Whether the log may say its sign.
    pub(crate) fn is_number(&self) -> bool {
        self.is_integer() || matches!(self.ty, t::NEWDECIMAL | t::FLOAT | t::DOUBLE)
    }

    /// Whether it is bytes, as far as the log says.
    fn is_bytes(&self) -> bool {
        self.is_text() && self.collation.is_none_or(|id| super::charset::name_of_collation(id) == Some("binary"))
    }

    /// Whether it is a text or bytes; which of them, its collation says.
    pub fn is_text(&self) -> bool {
        matches!(
            self.ty,
            t::STRING | t::VAR_STRING | t::VARCHAR | t::TINY_BLOB
                ..=t::BLOB | t::MARIA_BLOB_COMPRESSED | t::MARIA_VARCHAR_COMPRESSED
        )
    }
}
