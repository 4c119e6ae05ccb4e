//! What can be wrong with stored state, and the errors that say so.

use std::error::Error as _;
use std::io;

use dflow_common::{Class, Code, CodeInfo, Diagnostic};

use super::manifest::Unreadable;
use crate::error::Error;

/// `--restore require` found nothing to restore.
pub const NO_STATE: CodeInfo = state(8001, "no state to restore");
/// The directory belongs to another job.
pub const FOREIGN_STATE: CodeInfo = state(8002, "state of another job");
/// A file of the state is missing or not what was written.
pub const DAMAGED_STATE: CodeInfo = state(8003, "damaged state");
/// Written by a newer dflow.
pub const NEWER_STATE: CodeInfo = state(8004, "state of a newer version");
/// The script has no operator for some of the state.
pub const UNCLAIMED_STATE: CodeInfo = state(8005, "state without an operator");
/// The operator is there but its tables look different.
pub const CHANGED_TABLES: CodeInfo = state(8006, "state of another layout");
/// Key groups are frozen as long as there is state.
pub const CHANGED_MAX_PARALLELISM: CodeInfo = state(8007, "changed max-parallelism");
/// The directory cannot be created, written or locked.
pub const UNUSABLE_DIRECTORY: CodeInfo =
    CodeInfo { code: Code(8008), title: "unusable state directory", class: Class::Config };
/// No storage for that URL.
pub const UNKNOWN_STORAGE: CodeInfo =
    CodeInfo { code: Code(8009), title: "unknown checkpoint storage", class: Class::Config };
/// Another process works in the directory.
pub const STATE_IN_USE: CodeInfo = CodeInfo { code: Code(8010), title: "state directory in use", class: Class::Fenced };
/// Reading or writing checkpoints fails.
pub const STORAGE_FAILED: CodeInfo =
    CodeInfo { code: Code(8011), title: "checkpoint storage failed", class: Class::Checkpoint };
/// The directory is used for something else.
pub const FOREIGN_FILES: CodeInfo = state(8012, "the state directory holds other files");
/// A table reads other data than the checkpoint's position is of.
pub const CHANGED_SOURCE: CodeInfo = state(8013, "a table reads other data");
/// No room for a checkpoint.
pub const DISK_FULL: CodeInfo =
    CodeInfo { code: Code(9050), title: "no space for checkpoints", class: Class::Resources };

/// The way out that every refusal of old state names.
pub(super) const START_FRESH: &str = "`--restore none` starts fresh and keeps the old state aside";

const fn state(code: u16, title: &'static str) -> CodeInfo {
    CodeInfo { code: Code(code), title, class: Class::State }
}

/// A failed file or object operation. `doing` completes "cannot …".
pub(super) fn storage(place: &str, doing: &str, error: object_store::Error) -> Error {
    let kind = io_kind(&error);
    let diagnostic = |info| Diagnostic::error(info, format!("cannot {doing}: {error}")).with_context("state", place);
    match kind {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge) => {
            let full = diagnostic(DISK_FULL).with_help("free some space there, or move the state directory and name it with `--state-dir`");
            Error::from(full).retry()
        }
        Some(
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory,
        ) => diagnostic(UNUSABLE_DIRECTORY)
            .with_help("make the directory writable, or choose another with `--state-dir` or `SET 'execution.checkpointing.dir'`")
            .into(),
        Some(io::ErrorKind::Unsupported) => diagnostic(UNUSABLE_DIRECTORY)
            .with_help("the file system needs hard links; choose another with `--state-dir`")
            .into(),
        _ => Error::from(diagnostic(STORAGE_FAILED)).retry(),
    }
}

/// [`storage`] for operations outside the object store.
pub(super) fn local(place: &str, doing: &str, error: io::Error) -> Error {
    storage(place, doing, object_store::Error::Generic { store: "file", source: error.into() })
}

/// The kind of the I/O error at the bottom.
fn io_kind(error: &object_store::Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    while let Some(e) = source {
        if let Some(io) = e.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        source = e.source();
    }
    None
}

/// A file that is missing or not what was written.
pub(super) fn damaged(place: &str, file: &str, why: impl Into<String>) -> Error {
    Diagnostic::error(DAMAGED_STATE, format!("state file {file} is damaged: {}", why.into()))
        .with_context("state", place)
        .with_note("nothing was restored, and nothing was changed")
        .with_help("bring the file back from a backup, or give an older manifest of the directory to `--restore`")
        .with_help(START_FRESH)
        .into()
}

/// A manifest that cannot be read.
pub(super) fn unreadable(place: &str, file: &str, why: Unreadable) -> Error {
    match why {
        Unreadable::Damaged(why) => damaged(place, file, why),
        Unreadable::Newer(_) => Diagnostic::error(NEWER_STATE, format!("{file} cannot be read: {why}"))
            .with_context("state", place)
            .with_help("run the newer dflow that wrote it")
            .with_help(START_FRESH)
            .into(),
    }
}
