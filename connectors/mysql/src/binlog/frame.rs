//! Framing: packets to events, each checked before anything in it is believed.
//!
//! ```text
//! packet:  timestamp u32 | type u8 | server id u32 | size u32 | end position u32 | flags u16 | body | CRC32 u32
//! checked: size = length of the packet; CRC32 of everything before it; the type is known, or may be ignored
//! ```
//! The end position has 32 bits; a file may be longer, so [`Framer`] carries the high bits on.
//!
//! # Invariants
//! * An event that is not understood is an error, unless the server marked it as one that may be ignored.
//! * No input makes it panic.
//!
//! # Source
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication.html>,
//! <https://mariadb.com/kb/en/replication-protocol/>

use super::bytes::{Cursor, Fault};
use super::event::{Event, FormatDescription};
use super::position::FilePosition;
use crate::error::{self, Error, Place};

/// Bytes of the fixed header of an event.
pub const HEADER_BYTES: usize = 19;
/// Bytes of the checksum behind an event.
pub const CHECKSUM_BYTES: usize = 4;
/// The server made the event up for this connection: it is in no file.
const FLAG_ARTIFICIAL: u16 = 0x20;
/// Whoever does not know the event may pass over it.
const FLAG_IGNORABLE: u16 = 0x80;
/// The file is still being written; set after the checksum was computed.
const FLAG_IN_USE: u16 = 0x01;

/// The fixed header of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// When the statement began, in seconds since 1970.
    pub timestamp: u32,
    /// Which event.
    pub kind: u8,
    /// Where it was written first.
    pub server_id: u32,
    /// Bytes of the whole event.
    pub size: u32,
    /// Where it ends in its file, the low 32 bits; 0 for events that are in no file.
    pub end: u32,
    /// Flags.
    pub flags: u16,
}

impl Header {
    fn read(c: &mut Cursor<'_>) -> Result<Header, Fault> {
        Ok(Header {
            timestamp: c.u32()?,
            kind: c.u8()?,
            server_id: c.u32()?,
            size: c.u32()?,
            end: c.u32()?,
            flags: c.u16()?,
        })
    }

    /// Whether the event is in the file, and so moves the position.
    fn is_in_file(&self) -> bool {
        self.end != 0 && self.flags & FLAG_ARTIFICIAL == 0
    }

    /// Whether one who does not know it may pass over it.
    pub fn is_ignorable(&self) -> bool {
        self.flags & FLAG_IGNORABLE != 0
    }
}

/// An event with its header.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The fixed header.
    pub header: Header,
    /// What it says.
    pub event: Event<'a>,
}

/// Turns the packets of one log connection (or the events of one file) into events.
#[derive(Clone, Debug)]
pub struct Framer {
    format: Option<FormatDescription>,
    at: FilePosition,
}

impl Framer {
    /// Starts at a place of a file. The server sends where it really begins.
    pub fn new(at: FilePosition) -> Self {
        Self { format: None, at }
    }

    /// Behind the last event of the file that was framed.
    pub fn position(&self) -> &FilePosition {
        &self.at
    }

    /// The place of the event after the last one, for messages.
    pub fn place(&self) -> Place<'_> {
        Place { file: &self.at.file, pos: self.at.pos }
    }

    /// What the server said of the file, once it did.
    pub fn format(&self) -> Option<&FormatDescription> {
        self.format.as_ref()
    }

    /// Reads one event. `packet` is all of it, from the header to the checksum. [`Framer::advance`] moves behind it.
    ///
    /// # Errors
    /// [`error::LOG_EVENT_DAMAGED`] when its length, its checksum or its content is wrong,
    /// [`error::LOG_EVENT_UNKNOWN`] when it is of a kind that must not be passed over.
    pub fn frame<'a>(&self, packet: &'a [u8]) -> Result<Frame<'a>, Error> {
        let mut c = Cursor(packet);
        let header = Header::read(&mut c).map_err(|_| self.damaged(0, "it is shorter than a header"))?;
        if header.size as usize != packet.len() {
            let why = format!("it says {} bytes and has {}", header.size, packet.len());
            return Err(self.damaged(header.kind, &why));
        }
        let body = self.verified(&header, packet)?;
        let event = Event::read(&header, body, self.format.as_ref()).map_err(|fault| match fault {
            Fault::Unknown => error::unknown_event(self.place(), header.kind),
            fault => self.damaged(header.kind, &fault.to_string()),
        })?;
        Ok(Frame { header, event })
    }

    /// Reads one event of a decompressed transaction: no checksum, and it moves no position.
    ///
    /// # Errors
    /// As [`Framer::frame`].
    pub fn frame_inner<'a>(&self, c: &mut Cursor<'a>) -> Result<Frame<'a>, Error> {
        let damaged = |kind, why: &str| self.damaged(kind, &format!("inside a compressed transaction: {why}"));
        let whole = c.0;
        let header = Header::read(&mut Cursor(whole)).map_err(|_| damaged(0, "it is shorter than a header"))?;
        let packet = c.take(header.size as usize).map_err(|fault| damaged(header.kind, &fault.to_string()))?;
        let body = packet.get(HEADER_BYTES..).ok_or_else(|| damaged(header.kind, "it is shorter than a header"))?;
        let event = Event::read(&header, body, self.format.as_ref()).map_err(|fault| match fault {
            Fault::Unknown => error::unknown_event(self.place(), header.kind),
            fault => damaged(header.kind, &fault.to_string()),
        })?;
        match event {
            Event::Payload(_) | Event::FormatDescription(_) | Event::Rotate { .. } => {
                Err(damaged(header.kind, "such an event cannot be there"))
            }
            event => Ok(Frame { header, event }),
        }
    }

    /// The body without the checksum, which is compared.
    fn verified<'a>(&self, header: &Header, packet: &'a [u8]) -> Result<&'a [u8], Error> {
        let body = &packet[HEADER_BYTES..];
        if header.kind == super::event::kind::FORMAT_DESCRIPTION {
            // It says itself whether it has a checksum.
            if FormatDescription::read(body).is_ok_and(|f| f.checksums) {
                self.compare(header, packet)?;
            }
            return Ok(body);
        }
        match &self.format {
            Some(format) if format.checksums => self.compare(header, packet),
            Some(_) => Ok(body),
            // A rotation comes before the description of the file: it has a checksum if it fits.
            None => Ok(self.compare(header, packet).unwrap_or(body)),
        }
    }

    fn compare<'a>(&self, header: &Header, packet: &'a [u8]) -> Result<&'a [u8], Error> {
        let (whole, stored) = packet
            .split_last_chunk::<CHECKSUM_BYTES>()
            .filter(|(whole, _)| whole.len() >= HEADER_BYTES)
            .ok_or_else(|| self.damaged(header.kind, "it is too short for a checksum"))?;
        let stored = u32::from_le_bytes(*stored);
        let mut crc = crc32fast::Hasher::new();
        if header.kind == super::event::kind::FORMAT_DESCRIPTION && header.flags & FLAG_IN_USE != 0 {
            crc.update(&whole[..HEADER_BYTES - 2]);
            crc.update(&(header.flags & !FLAG_IN_USE).to_le_bytes());
            crc.update(&whole[HEADER_BYTES..]);
        } else {
            crc.update(whole);
        }
        let computed = crc.finalize();
        if computed == stored {
            return Ok(&whole[HEADER_BYTES..]);
        }
        Err(self.damaged(header.kind, &format!("its checksum is {stored:08x} and should be {computed:08x}")))
    }

    /// Moves behind an event.
    pub fn advance(&mut self, Frame { header, event }: &Frame<'_>) {
        match event {
            Event::FormatDescription(format) => self.format = Some(format.clone()),
            // Real or made up, it says where the next event is.
            Event::Rotate { file, pos } => {
                self.at = FilePosition { file: String::from_utf8_lossy(file).into_owned(), pos: *pos };
                return;
            }
            Event::Heartbeat { file, pos } => {
                let pos = pos.unwrap_or_else(|| widen(self.at.pos, header.end));
                if *file == self.at.file.as_bytes() && pos > self.at.pos {
                    self.at.pos = pos;
                }
                return;
            }
            _ => {}
        }
        if header.is_in_file() {
            self.at.pos = widen(self.at.pos, header.end);
        }
    }

    fn damaged(&self, kind: u8, why: &str) -> Error {
        error::damaged_event(self.place(), kind, why)
    }
}

/// The position at or after `from` whose low 32 bits are `low`.
fn widen(from: u64, low: u32) -> u64 {
    let same = from & !u64::from(u32::MAX) | u64::from(low);
    if same >= from { same } else { same.saturating_add(1 << 32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_go_on_behind_four_gigabytes() {
        assert_eq!(widen(4, 120), 120);
        assert_eq!(widen(u64::from(u32::MAX) - 10, 5), (1 << 32) + 5);
        assert_eq!(widen((1 << 32) + 5, 5), (1 << 32) + 5);
        assert_eq!(widen(u64::MAX, 0), u64::MAX);
    }
}
