//! What can go wrong with files.

use std::io;
use std::path::Path;

use dflow_common::{Class, Code, CodeInfo};
use dflow_connector_api::Error;

/// Codes of this crate.
pub const CODES: &[CodeInfo] = &[
    PATH_MISSING,
    FILE_LOST,
    READ_FAILED,
    DAMAGED_COMPRESSION,
    BAD_PARTITION,
    DEAD_LETTER_FAILED,
    BAD_METADATA,
    PATH_DENIED,
    DIR_UNWRITABLE,
    DISK_FULL,
    WRITE_FAILED,
    COMMITTED_FILE_LOST,
    UNEXPECTED_CHANGE,
];

/// Nothing is where the source should be.
pub const PATH_MISSING: CodeInfo = info(5200, "a source path does not exist", Class::Preflight);
/// A file that was being read is gone or shorter than what was read of it.
pub const FILE_LOST: CodeInfo = info(5201, "a file that was being read is gone", Class::PositionLost);
/// The file system failed while reading.
pub const READ_FAILED: CodeInfo = info(5202, "a file could not be read", Class::Unavailable);
/// A compressed file cannot be unpacked.
pub const DAMAGED_COMPRESSION: CodeInfo = info(5203, "a compressed file cannot be unpacked", Class::Data);
/// A path does not name the partition columns, or a value does not fit.
pub const BAD_PARTITION: CodeInfo = info(5204, "a path does not fit the partition columns", Class::Data);
/// Dead letters could not be written.
pub const DEAD_LETTER_FAILED: CodeInfo = info(5205, "dead letters could not be written", Class::Resources);
/// A metadata column names something files do not have.
pub const BAD_METADATA: CodeInfo = info(5206, "no such metadata column", Class::Script);
/// The source path may not be read.
pub const PATH_DENIED: CodeInfo = info(5207, "a source path may not be read", Class::Preflight);

/// The directory of a sink cannot be written to.
pub const DIR_UNWRITABLE: CodeInfo = info(7200, "a directory cannot be written to", Class::Config);
/// No space, no quota, no file descriptors.
pub const DISK_FULL: CodeInfo = info(7201, "no room to write a file", Class::Resources);
/// The file system failed while writing.
pub const WRITE_FAILED: CodeInfo = info(7202, "a file could not be written", Class::Unavailable);
/// A file of a durable checkpoint is gone.
pub const COMMITTED_FILE_LOST: CodeInfo = info(7203, "a file of a checkpoint is gone", Class::State);

/// A row kind the format cannot write reached the writer.
pub const UNEXPECTED_CHANGE: CodeInfo = info(7204, "a change reached an append-only file", Class::Internal);

const fn info(code: u16, title: &'static str, class: Class) -> CodeInfo {
    CodeInfo { code: Code(code), title, class }
}

/// The error of looking at a source path for the first time.
pub(crate) fn looking(path: &Path, e: &io::Error) -> Error {
    let shown = path.display();
    match e.kind() {
        io::ErrorKind::NotFound => Error::new(PATH_MISSING, format!("source path {shown} does not exist"))
            .help("check the table's 'path'; relative paths start at the script's folder"),
        io::ErrorKind::PermissionDenied => Error::new(PATH_DENIED, format!("source path {shown} may not be read"))
            .help("give the user that runs dflow permission to read it"),
        _ => reading(path, e),
    }
}

/// The error of a file that was found before.
pub(crate) fn reading(path: &Path, e: &io::Error) -> Error {
    let shown = path.display();
    match e.kind() {
        io::ErrorKind::NotFound => lost(path, "it no longer exists"),
        io::ErrorKind::PermissionDenied => Error::new(PATH_DENIED, format!("file {shown} may not be read"))
            .help("give the user that runs dflow permission to read it"),
        _ => Error::new(READ_FAILED, format!("reading {shown} failed: {e}")).retry(),
    }
}

/// The error of a file that changed behind our back.
pub(crate) fn lost(path: &Path, why: &str) -> Error {
    Error::new(FILE_LOST, format!("file {} cannot be read on: {why}", path.display()))
        .note(
            "dflow reads a file as it was when it was found; files must not be changed or removed until they are read",
        )
        .help("put the file back, or start afresh with `--restore none`")
}

/// The error of unpacking.
pub(crate) fn unpacking(path: &Path, e: &io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidData
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::Other => {
            Error::new(DAMAGED_COMPRESSION, format!("file {} cannot be unpacked: {e}", path.display()))
                .help("write the file again; it is damaged, cut off, or not compressed as its name says")
        }
        _ => reading(path, e),
    }
}

/// What Linux and macOS answer when a process has no file descriptor left.
const EMFILE: i32 = 24;

/// The error of writing.
pub(crate) fn writing(path: &Path, e: &io::Error) -> Error {
    use io::ErrorKind as K;
    let shown = path.display();
    match e.kind() {
        K::StorageFull | K::QuotaExceeded | K::FileTooLarge => {
            Error::new(DISK_FULL, format!("no room to write {shown}: {e}")).help("make room, and run it again").retry()
        }
        _ if e.raw_os_error() == Some(EMFILE) => Error::new(DISK_FULL, format!("too many open files at {shown}: {e}"))
            .help("raise the limit (`ulimit -n`), or lower 'sink.parallelism'")
            .retry(),
        K::PermissionDenied | K::ReadOnlyFilesystem | K::NotADirectory | K::AlreadyExists | K::IsADirectory => {
            Error::new(DIR_UNWRITABLE, format!("{shown} cannot be written to: {e}"))
                .help("choose a directory that the user who runs dflow may write to")
        }
        _ => Error::new(WRITE_FAILED, format!("writing {shown} failed: {e}")).retry(),
    }
}
