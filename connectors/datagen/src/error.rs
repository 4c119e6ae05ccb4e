//! What can be wrong with a generated table or a printed one.

use dflow_common::{Class, Code, CodeInfo};

/// The codes of this crate.
pub const CODES: &[CodeInfo] =
    &[NO_SUCH_FIELD, CANNOT_GENERATE, NO_SUCH_COLUMN, OUT_OF_RANGE, FOREIGN_POSITION, CANNOT_PRINT];

/// `fields.x.kind`, and the table has no `x`.
pub const NO_SUCH_FIELD: CodeInfo = script(5300, "generator option for a field the table does not have");
/// The options of a field contradict each other or its type.
pub const CANNOT_GENERATE: CodeInfo = script(5301, "field cannot be generated this way");
/// The table declares a column that the generator does not make.
pub const NO_SUCH_COLUMN: CodeInfo = script(5302, "column that the generator does not make");
/// A number outside of what the generator can do.
pub const OUT_OF_RANGE: CodeInfo = script(5303, "generator setting out of range");
/// What a checkpoint holds for this source was written by another kind of source.
pub const FOREIGN_POSITION: CodeInfo =
    CodeInfo { code: Code(5304), title: "saved position belongs to another source", class: Class::State };
/// Standard output or standard error refused the text.
pub const CANNOT_PRINT: CodeInfo =
    CodeInfo { code: Code(7300), title: "cannot write to the terminal or pipe", class: Class::Resources };

const fn script(code: u16, title: &'static str) -> CodeInfo {
    CodeInfo { code: Code(code), title, class: Class::Script }
}
