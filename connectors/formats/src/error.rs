//! What can go wrong between bytes and columns.

use dflow_common::{Class, Code, CodeInfo};
use dflow_connector_api::Error;
use dflow_connector_api::format::BadRecord;

/// Codes of this crate.
pub const CODES: &[CodeInfo] =
    &[BAD_RECORD, RECORD_TOO_LONG, DAMAGED_FILE, COLUMN_MISMATCH, TYPE_NOT_SUPPORTED, ENCODE_FAILED];

/// A record does not decode.
pub const BAD_RECORD: CodeInfo = info(5100, "a record could not be decoded", Class::Data);
/// A record has more than [`dflow_common::limits::RECORD_BYTES_MAX`] bytes.
pub const RECORD_TOO_LONG: CodeInfo = info(5101, "a record is too long", Class::Data);
/// A file is not of its format.
pub const DAMAGED_FILE: CodeInfo = info(5102, "a file is damaged or not of its format", Class::Data);
/// The file's column and the table's column do not fit.
pub const COLUMN_MISMATCH: CodeInfo = info(5103, "a file's column does not fit the table", Class::Schema);
/// The format has no way to carry a column of this type.
pub const TYPE_NOT_SUPPORTED: CodeInfo = info(5104, "the format cannot carry a column's type", Class::Schema);
/// A row could not be encoded.
pub const ENCODE_FAILED: CodeInfo = info(7100, "a row could not be encoded", Class::Data);

const fn info(code: u16, title: &'static str, class: Class) -> CodeInfo {
    CodeInfo { code: Code(code), title, class }
}

/// The error for a bad record under policy `fail`; the caller adds the place (`file`, `line`).
pub fn bad_record(table: &str, bad: &BadRecord) -> Error {
    if bad.too_long {
        return Error::new(RECORD_TOO_LONG, format!("bad record in table `{table}`: {}", bad.message))
            .note("a file that is not of the declared format often looks like one endless record")
            .help("check the table's 'format' option and the file");
    }
    let e = Error::new(BAD_RECORD, format!("bad record in table `{table}`: {}", bad.message));
    match &bad.field {
        Some(field) => e.context("field", field.clone()),
        None => e,
    }
}
