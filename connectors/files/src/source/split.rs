//! One split read step by step, on a blocking thread.
//!
//! ```text
//! file ──(gunzip, unzstd)──> buffer ── decoder ──> batch, bad records
//!         read in chunks      [done | to decode | free]
//! ```

use std::io::{Read, SeekFrom};
use std::path::{Path, PathBuf};

use dflow_common::ChangeBatch;
use dflow_common::env::{Fs, FsRead};
use dflow_common::limits::{BATCH_BYTES, BATCH_ROWS};
use dflow_connector_api::format::{Decoding, FileDecoder, Progress, RecordDecoder};
use dflow_connector_api::{Error, Result, SplitAssignment, SplitId};
use serde::{Deserialize, Serialize};

use super::Config;
use super::columns::FileColumns;
use super::errors::{Bin, Found as FoundBad};
use crate::error::{DAMAGED_COMPRESSION, READ_FAILED, lost, reading, unpacking};
use crate::paths::Found;

/// Bytes asked from a file at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A file or a range of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileSplit {
    /// Relative to the table's path.
    pub(crate) path: String,
    /// The file's size when it was found.
    pub(crate) size: u64,
    /// Its last change when it was found.
    pub(crate) modified_ms: i64,
    /// The first byte of the range.
    pub(crate) start: u64,
    /// The byte behind the range; the size for the last.
    pub(crate) end: u64,
}

/// How far a split was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The next byte of the file (unpacked).
    pub(crate) offset: u64,
    /// Lines of the split that are done.
    pub(crate) lines: u64,
    /// Records of the split that are done.
    pub(crate) rows: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Zstd,
}

fn packing(path: &str) -> Result<Packing> {
    let extension = Path::new(path).extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match extension.as_str() {
        "gz" | "gzip" => Ok(Packing::Gzip),
        "zst" | "zstd" => Ok(Packing::Zstd),
        "bz2" | "xz" | "deflate" | "lz4" | "snappy" | "zip" => Err(Error::new(
            DAMAGED_COMPRESSION,
            format!("file {path} is compressed with .{extension}, which is not supported"),
        )
        .help("unpack it, or pack it with gzip (.gz) or zstd (.zst)")),
        _ => Ok(Packing::None),
    }
}

/// The splits of a file, in order.
pub(crate) fn cut(config: &Config, path: String, file: &Found) -> Vec<SplitAssignment> {
    let range = config.split_bytes;
    let size = file.meta.len;
    let whole = match &config.decoding {
        Decoding::Records(r) => !r.ends_at_line_feed() || !matches!(packing(&path), Ok(Packing::None)),
        Decoding::Files(_) => true,
    };
    let ranges = if whole { 1 } else { size.div_ceil(range).max(1) };
    (0..ranges)
        .map(|i| {
            let (start, end) = (i * range, if i + 1 == ranges { size } else { (i + 1) * range });
            let split = FileSplit { path: path.clone(), size, modified_ms: file.meta.modified_ms, start, end };
            SplitAssignment {
                id: SplitId(if ranges == 1 { path.clone() } else { format!("{path}@{start}") }),
                split: serde_json::to_value(&split).expect("a struct of numbers and text serialises"),
                position: None,
            }
        })
        .collect()
}

/// What one step came to.
pub(crate) enum Step {
    /// Rows, and the position behind them.
    Batch(ChangeBatch, Position),
    /// No more rows.
    End,
}

/// A split being read.
pub(crate) struct SplitReader {
    split: FileSplit,
    path: PathBuf,
    shown: String,
    columns: FileColumns,
    position: Position,
    source: Input,
}

enum Input {
    Records(Records),
    File(Box<dyn FileDecoder>),
}

struct Records {
    input: Box<dyn Read + Send>,
    packing: Packing,
    decoder: Box<dyn RecordDecoder>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are decoded.
    done: usize,
    /// Bytes of the buffer that are read.
    filled: usize,
    /// The input has no more bytes.
    exhausted: bool,
    /// Records that begin at or behind this byte are another split's.
    stop: Option<u64>,
    /// The range is read.
    finished: bool,
}

impl SplitReader {
    /// Opens the file and goes to the position.
    pub(crate) fn open(config: &Config, fs: &dyn Fs, split: FileSplit, position: Option<Position>) -> Result<Self> {
        let base = &config.root.base;
        // A table that is one file: the base is the file itself.
        let direct = !config.root.is_glob() && base.file_name().is_some_and(|n| n.to_string_lossy() == split.path);
        let path =
            if direct && fs.metadata(base).is_ok_and(|m| !m.is_dir) { base.clone() } else { base.join(&split.path) };
        let meta = fs.metadata(&path).map_err(|e| reading(&path, &e))?;
        if meta.len < split.size {
            return Err(lost(
                &path,
                &format!("it had {} bytes when it was found and has {} now", split.size, meta.len),
            ));
        }
        let shown = path.to_string_lossy().into_owned();
        let columns = config.layout.of_file(&split, &shown)?;
        let file = fs.open(&path).map_err(|e| reading(&path, &e))?;
        let (source, position) = match &config.decoding {
            Decoding::Files(files) => {
                let position = position.unwrap_or_default();
                (Input::File(files.open(&path, file, position.rows)?), position)
            }
            Decoding::Records(records) => {
                let at_start = position.is_none_or(|p| p.offset == 0) && split.start == 0;
                let decoder = records.decoder(at_start);
                let (records, position) = Records::open(&split, &path, file, position, decoder)?;
                (Input::Records(records), position)
            }
        };
        Ok(Self { split, path, shown, columns, position, source })
    }

    /// Reads the next batch. Bad records go to `bin` before the rows around them are returned.
    pub(crate) fn step(&mut self, config: &Config, fs: &dyn Fs, bin: &mut Bin) -> Result<Step> {
        let batch = match &mut self.source {
            Input::File(file) => match file.next().map_err(|e| e.context("file", self.shown.clone()))? {
                Some(batch) => {
                    self.position.rows += batch.num_rows() as u64;
                    // Rows are what counts in such a file; the bytes are for the metrics.
                    self.position.offset = self.split.size;
                    batch
                }
                None => return Ok(Step::End),
            },
            Input::Records(_) => match self.records(fs, bin)? {
                Some(batch) => batch,
                None => return Ok(Step::End),
            },
        };
        Ok(Step::Batch(config.layout.assemble(batch, &self.columns)?, self.position))
    }

    fn records(&mut self, fs: &dyn Fs, bin: &mut Bin) -> Result<Option<ChangeBatch>> {
        let Input::Records(records) = &mut self.source else { return Ok(None) };
        let (mut bytes, mut inside) = (0, false);
        loop {
            let enough = records.decoder.rows() >= BATCH_ROWS || bytes >= BATCH_BYTES;
            // A position inside a record that is passed over is nothing to go on from.
            if (enough && !inside) || records.finished {
                break;
            }
            let (len, end) = records.decodable(self.position.offset);
            let slice = &records.buffer[records.done..records.done + len];
            let progress = records
                .decoder
                .decode(slice, end, BATCH_ROWS)
                .map_err(|e| at(e, &self.shown, self.position.lines + 1))?;
            if !progress.bad.is_empty() {
                let before = lines_before(fs, &self.path, &self.split)? + self.position.lines;
                bin.take(&describe(&progress, slice, &self.shown, before, self.position.offset))?;
            }
            bytes += progress.bytes;
            self.position.offset += progress.bytes as u64;
            self.position.lines += progress.lines;
            self.position.rows += progress.records;
            records.done += progress.bytes;
            inside = progress.inside;
            let reached = !inside && records.stop.is_some_and(|stop| self.position.offset >= stop);
            if reached || (end && (progress.bytes == 0 || records.done == records.filled)) {
                records.finished = true;
            } else if progress.bytes == 0 {
                records.fill(&self.path)?;
            }
        }
        if records.decoder.rows() == 0 && records.finished { Ok(None) } else { records.decoder.take().map(Some) }
    }
}

impl Records {
    fn open(
        split: &FileSplit,
        path: &Path,
        mut file: Box<dyn FsRead>,
        position: Option<Position>,
        decoder: Box<dyn RecordDecoder>,
    ) -> Result<(Self, Position)> {
        let packing = packing(&split.path)?;
        let start = match (packing, position) {
            (Packing::None, Some(p)) => p.offset,
            // One byte earlier: whether a record begins at `start` depends on the byte before it.
            (Packing::None, None) => split.start.saturating_sub(1),
            _ => 0,
        };
        file.seek(SeekFrom::Start(start)).map_err(|e| reading(path, &e))?;
        let input: Box<dyn Read + Send> = match packing {
            Packing::None => Box::new(file.take(split.size.saturating_sub(start))),
            Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(std::io::BufReader::new(file))),
            Packing::Zstd => Box::new(zstd::stream::read::Decoder::new(file).map_err(|e| unpacking(path, &e))?),
        };
        let mut records = Self {
            input,
            packing,
            decoder,
            buffer: vec![0; CHUNK_BYTES],
            done: 0,
            filled: 0,
            exhausted: false,
            stop: (split.end < split.size).then_some(split.end),
            finished: split.start == split.end,
        };
        let position = match position {
            Some(p) => {
                if packing != Packing::None {
                    records.discard(p.offset, path)?;
                }
                if records.stop.is_some_and(|stop| p.offset >= stop) {
                    records.finished = true;
                }
                p
            }
            None if split.start > 0 => Position { offset: records.align(start, path)?, ..Position::default() },
            None => Position::default(),
        };
        if records.stop.is_some_and(|stop| position.offset >= stop) {
            records.finished = true;
        }
        Ok((records, position))
    }

    /// Skips unpacked bytes.
    fn discard(&mut self, mut bytes: u64, path: &Path) -> Result<()> {
        while bytes > 0 {
            let n = self.read_some(0, path)?;
            if n == 0 {
                return Err(lost(path, "it is shorter than what was read of it"));
            }
            let skipped = bytes.min(n as u64);
            bytes -= skipped;
            self.done = skipped as usize;
            self.filled = n;
        }
        Ok(())
    }

    /// Skips to the byte behind the next line feed and returns its offset.
    fn align(&mut self, start: u64, path: &Path) -> Result<u64> {
        let mut offset = start;
        loop {
            let n = self.read_some(0, path)?;
            if n == 0 {
                (self.done, self.filled, self.finished) = (0, 0, true);
                return Ok(offset);
            }
            if let Some(i) = self.buffer[..n].iter().position(|b| *b == b'\n') {
                (self.done, self.filled) = (i + 1, n);
                return Ok(offset + i as u64 + 1);
            }
            offset += n as u64;
        }
    }

    /// Reads once into the buffer from `at` on.
    fn read_some(&mut self, at: usize, path: &Path) -> Result<usize> {
        loop {
            match self.input.read(&mut self.buffer[at..]) {
                Ok(n) => {
                    self.exhausted |= n == 0;
                    return Ok(n);
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) if self.packing == Packing::None => return Err(reading(path, &e)),
                Err(e) => return Err(unpacking(path, &e)),
            }
        }
    }

    /// Moves what is left to the front and reads more behind it.
    fn fill(&mut self, path: &Path) -> Result<()> {
        self.buffer.copy_within(self.done..self.filled, 0);
        self.filled -= self.done;
        self.done = 0;
        if self.buffer.len() - self.filled < CHUNK_BYTES / 2 {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        while self.buffer.len() - self.filled >= CHUNK_BYTES / 2 && !self.exhausted {
            self.filled += self.read_some(self.filled, path)?;
        }
        Ok(())
    }

    /// How many bytes may be decoded now, and whether the last record may end without a terminator.
    fn decodable(&self, offset: u64) -> (usize, bool) {
        let all = &self.buffer[self.done..self.filled];
        if let Some(stop) = self.stop {
            // The record that holds the last byte of the range ends at the first line feed from that byte on.
            let last = usize::try_from((stop - 1).saturating_sub(offset)).unwrap_or(usize::MAX);
            if let Some(i) = all.get(last..).and_then(|tail| tail.iter().position(|b| *b == b'\n')) {
                return (last + i + 1, false);
            }
        }
        (all.len(), self.exhausted)
    }
}

fn at(e: Error, file: &str, line: u64) -> Error {
    e.context("file", file).context("line", line.to_string())
}

/// Lines of the file before the split begins, for messages about ranges.
fn lines_before(fs: &dyn Fs, path: &Path, split: &FileSplit) -> Result<u64> {
    if split.start == 0 {
        return Ok(0);
    }
    let failed = |e: std::io::Error| reading(path, &e);
    let mut input = fs.open(path).map_err(failed)?.take(split.start - 1);
    let (mut buffer, mut lines) = (vec![0; CHUNK_BYTES], 0);
    loop {
        match input.read(&mut buffer) {
            // The record across the border is not ours, its line feed is before us too.
            Ok(0) => return Ok(lines + 1),
            Ok(n) => lines += buffer[..n].iter().filter(|b| **b == b'\n').count() as u64,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(e)),
        }
    }
}

fn describe<'a>(progress: &'a Progress, slice: &'a [u8], file: &'a str, lines: u64, offset: u64) -> Vec<FoundBad<'a>> {
    progress
        .bad
        .iter()
        .map(|bad| FoundBad {
            bad,
            file,
            line: lines + bad.line + 1,
            offset: offset + bad.offset as u64,
            record: slice.get(bad.offset..bad.offset + bad.len).unwrap_or_default(),
        })
        .collect()
}

/// A split as the checkpoint holds it.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(value: &serde_json::Value) -> Result<T> {
    serde_json::from_value(value.clone())
        .map_err(|e| Error::new(READ_FAILED, format!("a split of the checkpoint does not read: {e}")))
}
