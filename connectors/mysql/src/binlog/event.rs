//! What an event says: the bodies, borrowed from the packet.

use std::borrow::Cow;

use super::bytes::{Cursor, Fault};
use super::frame::Header;
use super::gtid::{Gtid, MariaGtid, Uuid};

/// The kinds of event, as the servers number them.
#[allow(missing_docs, reason = "the servers' own names")]
pub mod kind {
    pub const QUERY: u8 = 2;
    pub const STOP: u8 = 3;
    pub const ROTATE: u8 = 4;
    pub const INTVAR: u8 = 5;
    pub const RAND: u8 = 13;
    pub const USER_VAR: u8 = 14;
    pub const FORMAT_DESCRIPTION: u8 = 15;
    pub const XID: u8 = 16;
    pub const BEGIN_LOAD_QUERY: u8 = 17;
    pub const EXECUTE_LOAD_QUERY: u8 = 18;
    pub const TABLE_MAP: u8 = 19;
    pub const WRITE_ROWS_V1: u8 = 23;
    pub const UPDATE_ROWS_V1: u8 = 24;
    pub const DELETE_ROWS_V1: u8 = 25;
    pub const HEARTBEAT: u8 = 27;
    pub const IGNORABLE: u8 = 28;
    pub const ROWS_QUERY: u8 = 29;
    pub const WRITE_ROWS: u8 = 30;
    pub const UPDATE_ROWS: u8 = 31;
    pub const DELETE_ROWS: u8 = 32;
    pub const GTID: u8 = 33;
    pub const ANONYMOUS_GTID: u8 = 34;
    pub const PREVIOUS_GTIDS: u8 = 35;
    pub const TRANSACTION_CONTEXT: u8 = 36;
    pub const VIEW_CHANGE: u8 = 37;
    pub const XA_PREPARE: u8 = 38;
    pub const TRANSACTION_PAYLOAD: u8 = 40;
    pub const HEARTBEAT_V2: u8 = 41;
    pub const GTID_TAGGED: u8 = 42;
    pub const MARIA_ANNOTATE_ROWS: u8 = 160;
    pub const MARIA_CHECKPOINT: u8 = 161;
    pub const MARIA_GTID: u8 = 162;
    pub const MARIA_GTID_LIST: u8 = 163;
    pub const MARIA_START_ENCRYPTION: u8 = 164;
    pub const MARIA_QUERY_COMPRESSED: u8 = 165;
    pub const MARIA_WRITE_ROWS_COMPRESSED_V1: u8 = 166;
    pub const MARIA_UPDATE_ROWS_COMPRESSED_V1: u8 = 167;
    pub const MARIA_DELETE_ROWS_COMPRESSED_V1: u8 = 168;
    pub const MARIA_WRITE_ROWS_COMPRESSED: u8 = 169;
    pub const MARIA_UPDATE_ROWS_COMPRESSED: u8 = 170;
    pub const MARIA_DELETE_ROWS_COMPRESSED: u8 = 171;
}

/// The table id of a row event that only ends a statement.
pub const DUMMY_TABLE_ID: u64 = 0x00ff_ffff;

/// An event.
#[derive(Debug, PartialEq)]
pub enum Event<'a> {
    /// The events after this one are at `pos` of `file`.
    Rotate {
        /// The file.
        file: &'a [u8],
        /// The position in it.
        pos: u64,
    },
    /// How the events of this file are written.
    FormatDescription(FormatDescription),
    /// Nothing happened up to here.
    Heartbeat {
        /// The file.
        file: &'a [u8],
        /// The position; `None` when only the header has it.
        pos: Option<u64>,
    },
    /// A transaction with a global id begins.
    Gtid(Gtid),
    /// A transaction without a global id begins.
    AnonymousGtid,
    /// A transaction of MariaDB begins.
    MariaGtid {
        /// Its id.
        gtid: MariaGtid,
        /// The id of the XA transaction that it prepares.
        prepares: Option<String>,
    },
    /// The first transactions of the file follow these.
    MariaGtidList(Vec<MariaGtid>),
    /// A statement: `BEGIN`, `COMMIT`, `XA …`, data definition, or a change that was not logged as rows.
    Query {
        /// The default database.
        database: &'a [u8],
        /// The text.
        text: Cow<'a, [u8]>,
    },
    /// The transaction commits.
    Xid,
    /// The transaction is prepared under this id and commits (or not) later; `one_phase` commits it at once.
    XaPrepare {
        /// As it stands in `XA COMMIT`.
        xid: String,
        /// Whether it is committed.
        one_phase: bool,
    },
    /// The table of the row events that follow; see [`super::TableMap`].
    TableMap(&'a [u8]),
    /// Changed rows.
    Rows(Rows<'a>),
    /// A whole transaction, compressed.
    Payload(Payload<'a>),
    /// Known, and without meaning for a reader of rows.
    Passed,
}

/// How the events of a file are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatDescription {
    /// The server, as it names itself.
    pub server_version: String,
    /// Whether a CRC32 follows each event.
    pub checksums: bool,
    /// Bytes of the fixed part of each kind, from kind 1.
    post_headers: Vec<u8>,
}

impl FormatDescription {
    /// Reads the body with its checksum.
    pub(super) fn read(body: &[u8]) -> Result<Self, Fault> {
        let mut c = Cursor(body);
        if c.u16()? != 4 {
            return Err(Fault::Malformed("the log is not of version 4 (MySQL 5.0 and later)"));
        }
        let version = c.array::<50>()?;
        c.take(4)?;
        if usize::from(c.u8()?) != super::frame::HEADER_BYTES {
            return Err(Fault::Malformed("the headers of its events are not 19 bytes long"));
        }
        // Behind the lengths: which checksum, and room for one.
        let rest = c.rest();
        let lengths = rest.len().checked_sub(1 + super::frame::CHECKSUM_BYTES).ok_or(Fault::Truncated)?;
        let checksums = match rest[lengths] {
            0 => false,
            1 => true,
            _ => return Err(Fault::Malformed("its checksums are of an unknown kind")),
        };
        let server_version = String::from_utf8_lossy(&version).trim_end_matches('\0').to_owned();
        Ok(Self { server_version, checksums, post_headers: rest[..lengths].to_vec() })
    }

    /// Whether the server is MariaDB.
    pub fn is_mariadb(&self) -> bool {
        self.server_version.contains("MariaDB")
    }

    /// Whether the signedness in table maps has a bit for each YEAR too. MySQL 8.0.15 has none, 8.0.29 has; in between
    /// nobody looked.
    pub(super) fn signs_years(&self) -> Option<bool> {
        let mut parts = self.server_version.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        match (next(), next(), next()) {
            _ if self.is_mariadb() => Some(true),
            version if version <= (8, 0, 15) => Some(false),
            version if version >= (8, 0, 29) => Some(true),
            _ => None,
        }
    }

    /// Bytes of a table id in events of this kind.
    pub(super) fn table_id_bytes(&self, kind: u8) -> usize {
        let length = usize::from(kind).checked_sub(1).and_then(|i| self.post_headers.get(i));
        if length == Some(&6) { 4 } else { 6 }
    }
}

/// What a row event does to its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsKind {
    /// New rows.
    Write,
    /// Pairs of rows: before, after.
    Update,
    /// Rows that are gone.
    Delete,
}

/// A row event whose rows are not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows<'a> {
    /// What it does.
    pub kind: RowsKind,
    /// Of the table map before it.
    pub table_id: u64,
    /// Whether it is the last of its statement.
    pub ends_statement: bool,
    /// How many columns the table had.
    pub columns: usize,
    /// One bit per column of the (before) image: whether it is there.
    pub present: &'a [u8],
    /// The same of the after image of an update.
    pub present_after: &'a [u8],
    /// The images; compressed when `compressed`.
    pub images: &'a [u8],
    /// Whether the images are compressed as MariaDB does.
    pub compressed: bool,
}

/// A compressed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// The bytes.
    pub data: &'a [u8],
    /// Whether they are compressed (with zstd) at all.
    pub zstd: bool,
    /// How long they are when decompressed.
    pub uncompressed: u64,
}

impl<'a> Event<'a> {
    /// Reads a body, which comes without its checksum (that of a format description with it).
    pub(super) fn read(
        header: &Header,
        body: &'a [u8],
        format: Option<&FormatDescription>,
    ) -> Result<Event<'a>, Fault> {
        let c = &mut Cursor(body);
        Ok(match header.kind {
            kind::ROTATE => {
                let pos = c.u64()?;
                let file = c.rest();
                if std::str::from_utf8(file).is_err() || file.is_empty() {
                    return Err(Fault::Malformed("it names no file"));
                }
                Event::Rotate { file, pos }
            }
            kind::FORMAT_DESCRIPTION => Event::FormatDescription(FormatDescription::read(body)?),
            kind::HEARTBEAT => Event::Heartbeat { file: c.rest(), pos: None },
            kind::HEARTBEAT_V2 => heartbeat_v2(c)?,
            kind::GTID => {
                c.u8()?;
                Event::Gtid(Gtid { server: Uuid(c.array()?), tag: String::new(), number: c.u64()? })
            }
            kind::GTID_TAGGED => Event::Gtid(tagged_gtid(c)?),
            kind::ANONYMOUS_GTID => Event::AnonymousGtid,
            kind::MARIA_GTID => maria_gtid(c, header.server_id)?,
            kind::MARIA_GTID_LIST => {
                // The high four bits are flags.
                let n = c.u32()? & 0x0fff_ffff;
                let read = |_| Ok(MariaGtid { domain: c.u32()?, server: c.u32()?, sequence: c.u64()?, flags: 0 });
                Event::MariaGtidList((0..n).map(read).collect::<Result<_, Fault>>()?)
            }
            kind::QUERY => query(c, false)?,
            kind::MARIA_QUERY_COMPRESSED => query(c, true)?,
            kind::XID => Event::Xid,
            kind::XA_PREPARE => xa_prepare(c)?,
            kind::TABLE_MAP => Event::TableMap(body),
            kind::WRITE_ROWS_V1..=kind::DELETE_ROWS_V1
            | kind::WRITE_ROWS..=kind::DELETE_ROWS
            | kind::MARIA_WRITE_ROWS_COMPRESSED_V1..=kind::MARIA_DELETE_ROWS_COMPRESSED => {
                let format = format.ok_or(Fault::Malformed("it comes before the description of its file"))?;
                Event::Rows(rows(header.kind, c, format)?)
            }
            kind::TRANSACTION_PAYLOAD => Event::Payload(payload(c)?),
            kind::STOP
            | kind::INTVAR
            | kind::RAND
            | kind::USER_VAR
            | kind::IGNORABLE
            | kind::ROWS_QUERY
            | kind::PREVIOUS_GTIDS
            | kind::TRANSACTION_CONTEXT
            | kind::VIEW_CHANGE
            | kind::MARIA_ANNOTATE_ROWS
            | kind::MARIA_CHECKPOINT
            | kind::MARIA_START_ENCRYPTION => Event::Passed,
            _ if header.is_ignorable() => Event::Passed,
            _ => return Err(Fault::Unknown),
        })
    }
}

/// `(type varlen, length varlen, bytes)*`, type 0 ends it.
fn heartbeat_v2<'a>(c: &mut Cursor<'a>) -> Result<Event<'a>, Fault> {
    let (mut file, mut pos): (&[u8], _) = (&[], None);
    while !c.is_empty() {
        let field = c.lenenc()?;
        if field == 0 {
            break;
        }
        let value = c.lenenc_bytes()?;
        match field {
            1 => file = value,
            2 => pos = Some(Cursor(value).lenenc()?),
            _ => {}
        }
    }
    Ok(Event::Heartbeat { file, pos })
}

/// A message of MySQL's serialization library: fields by number, in order, each in its own encoding.
///
/// # Source
/// `mysql/mysql-server`, `libs/mysql/serialization/readme.md`: integers are [`Cursor::varlen`], signed ones zigzag, byte
/// arrays of fixed length are one varlen per byte, strings have their length in front.
fn tagged_gtid(c: &mut Cursor<'_>) -> Result<Gtid, Fault> {
    const VERSION: u64 = 1;
    const SERVER: u64 = 1;
    const NUMBER: u64 = 2;
    const TAG: u64 = 3;
    if c.varlen()? != VERSION {
        return Err(Fault::Malformed("it is written in an unknown version"));
    }
    let (_size, _last_required) = (c.varlen()?, c.varlen()?);
    let (mut server, mut number, mut tag) = (None, None, String::new());
    while tag.is_empty() && !c.is_empty() {
        match c.varlen()? {
            // Flags.
            0 => {
                c.varlen()?;
            }
            SERVER => {
                let mut uuid = [0; 16];
                for byte in &mut uuid {
                    *byte = u8::try_from(c.varlen()?).map_err(|_| Fault::Malformed("a byte is above 255"))?;
                }
                server = Some(Uuid(uuid));
            }
            NUMBER => {
                let zigzag = c.varlen()?;
                number = Some(zigzag >> 1 ^ (zigzag & 1).wrapping_neg());
            }
            TAG => {
                let n = c.varlen()?;
                let text = c.take(usize::try_from(n).map_err(|_| Fault::Truncated)?)?;
                tag = String::from_utf8(text.to_vec()).map_err(|_| Fault::Malformed("its tag is not text"))?;
                break;
            }
            _ => break,
        }
    }
    match (server, number) {
        (Some(server), Some(number)) => Ok(Gtid { server, tag, number }),
        _ => Err(Fault::Malformed("it has no transaction id")),
    }
}

fn maria_gtid<'a>(c: &mut Cursor<'a>, server: u32) -> Result<Event<'a>, Fault> {
    let gtid = MariaGtid { sequence: c.u64()?, domain: c.u32()?, flags: c.u8()?, server };
    if gtid.is(MariaGtid::GROUP_COMMIT) {
        c.u64()?;
    }
    let mut prepares = None;
    if gtid.is(MariaGtid::PREPARED_XA) {
        let (format, global, branch) = (c.u32()?, usize::from(c.u8()?), usize::from(c.u8()?));
        prepares = Some(xid(c.take(global)?, c.take(branch)?, format));
    }
    Ok(Event::MariaGtid { gtid, prepares })
}

fn query<'a>(c: &mut Cursor<'a>, compressed: bool) -> Result<Event<'a>, Fault> {
    c.take(8)?;
    let database = usize::from(c.u8()?);
    c.take(2)?;
    let variables = usize::from(c.u16()?);
    c.take(variables)?;
    let database = c.take(database)?;
    if c.u8()? != 0 {
        return Err(Fault::Malformed("the name of its database does not end"));
    }
    let text = match compressed {
        false => Cow::Borrowed(c.rest()),
        true => Cow::Owned(super::compress::maria(c.rest())?),
    };
    Ok(Event::Query { database, text })
}

/// The id as `SHOW BINLOG EVENTS` writes it: `X'67',X'62',1`.
fn xid(global: &[u8], branch: &[u8], format: u32) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    format!("X'{}',X'{}',{format}", hex(global), hex(branch))
}

fn xa_prepare<'a>(c: &mut Cursor<'a>) -> Result<Event<'a>, Fault> {
    let one_phase = c.u8()? != 0;
    let (format, global, branch) = (c.u32()?, c.u32()?, c.u32()?);
    let (global, branch) = (c.take(global as usize)?, c.take(branch as usize)?);
    Ok(Event::XaPrepare { xid: xid(global, branch, format), one_phase })
}

fn rows<'a>(kind: u8, c: &mut Cursor<'a>, format: &FormatDescription) -> Result<Rows<'a>, Fault> {
    let compressed = kind >= kind::MARIA_WRITE_ROWS_COMPRESSED_V1;
    // MariaDB sizes the compressed kinds as the plain ones.
    let (first, has_extra) = match kind {
        kind::WRITE_ROWS_V1..=kind::DELETE_ROWS_V1 => (kind::WRITE_ROWS_V1, false),
        kind::WRITE_ROWS..=kind::DELETE_ROWS => (kind::WRITE_ROWS, true),
        kind::MARIA_WRITE_ROWS_COMPRESSED_V1..=kind::MARIA_DELETE_ROWS_COMPRESSED_V1 => {
            (kind::MARIA_WRITE_ROWS_COMPRESSED_V1, false)
        }
        _ => (kind::MARIA_WRITE_ROWS_COMPRESSED, true),
    };
    let rows_kind = [RowsKind::Write, RowsKind::Update, RowsKind::Delete][usize::from(kind - first)];
    let table_id = c.uint_le(format.table_id_bytes(kind))?;
    let flags = c.u16()?;
    if has_extra {
        // The length counts itself.
        let extra = usize::from(c.u16()?).checked_sub(2).ok_or(Fault::Malformed("its extra data has no length"))?;
        c.take(extra)?;
    }
    let columns = usize::try_from(c.lenenc()?).map_err(|_| Fault::Truncated)?;
    let bitmap = columns.div_ceil(8);
    let present = c.take(bitmap)?;
    let present_after = if rows_kind == RowsKind::Update { c.take(bitmap)? } else { present };
    Ok(Rows {
        kind: rows_kind,
        table_id,
        ends_statement: flags & 1 != 0,
        columns,
        present,
        present_after,
        images: c.rest(),
        compressed,
    })
}

/// `(type, length, bytes)*` in length-encoded integers, type 0 ends it, the payload is behind.
fn payload<'a>(c: &mut Cursor<'a>) -> Result<Payload<'a>, Fault> {
    const SIZE: u64 = 1;
    const COMPRESSION: u64 = 2;
    const UNCOMPRESSED: u64 = 3;
    let (mut size, mut zstd, mut uncompressed) = (None, false, None);
    loop {
        let field = c.lenenc()?;
        if field == 0 {
            break;
        }
        let value = &mut Cursor(c.lenenc_bytes()?);
        match field {
            SIZE => size = Some(value.lenenc()?),
            COMPRESSION => {
                zstd = match value.lenenc()? {
                    0 => true,
                    255 => false,
                    _ => return Err(Fault::Malformed("its compression is not known")),
                }
            }
            UNCOMPRESSED => uncompressed = Some(value.lenenc()?),
            _ => {}
        }
    }
    let data = c.rest();
    if size.is_some_and(|size| size != data.len() as u64) {
        return Err(Fault::Malformed("its payload is not as long as it says"));
    }
    Ok(Payload { data, zstd, uncompressed: uncompressed.unwrap_or(data.len() as u64) })
}
