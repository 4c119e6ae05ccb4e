//! What can go wrong before a server is asked.

use dflow_common::{Class, Code, CodeInfo};

/// Codes of this crate.
pub const CODES: &[CodeInfo] = &[BAD_URL, UNSUPPORTED_TYPE, BAD_METADATA, STAGED_BODY];

/// A JDBC URL that cannot be used.
pub const BAD_URL: CodeInfo = info(2601, "a JDBC URL cannot be used", Class::Script);
/// A column type databases have no counterpart for.
pub const UNSUPPORTED_TYPE: CodeInfo = info(2602, "a column type that SQL databases do not have", Class::Script);
/// A metadata column of a database table.
pub const BAD_METADATA: CodeInfo = info(2603, "database tables have no metadata columns", Class::Script);
/// A staged body that does not read back.
pub const STAGED_BODY: CodeInfo = info(8601, "staged rows of a checkpoint cannot be read", Class::State);

const fn info(code: u16, title: &'static str, class: Class) -> CodeInfo {
    CodeInfo { code: Code(code), title, class }
}
