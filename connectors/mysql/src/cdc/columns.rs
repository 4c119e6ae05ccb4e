//! The columns a script declares, as what is read from the log or a table.
//!
//! | metadata | type | what |
//! |---|---|---|
//! | `table_name`, `database_name` | STRING | where the row is |
//! | `op_ts` | TIMESTAMP_LTZ(p) | when the change was made; 1970-01-01 for rows that were read from the table |
//! | `row_kind` | STRING | `+I`, `-U`, `+U`, `-D` |

use dflow_common::{CodeInfo, SqlType, TypeKind};
use dflow_connector_api::{Column, ColumnKind, Error, TableRequest};

use crate::binlog::rows::{From, Wanted};
use crate::cdc::error::METADATA_UNKNOWN;
use crate::error::COLUMN_TYPE;

/// What a table and its changes can tell beside their columns.
const METADATA: [(&str, From); 4] = [
    ("table_name", From::TableName),
    ("database_name", From::DatabaseName),
    ("op_ts", From::Time),
    ("row_kind", From::RowKind),
];

/// The projected columns of a request, in the order of the projection.
///
/// Adds a problem of each column whose metadata does not exist or has another type to `errors`.
pub fn wanted(request: &TableRequest, errors: &mut Vec<Error>) -> Vec<Wanted> {
    let columns = request.projection.iter().map(|i| &request.schema.columns[*i]);
    columns
        .map(|column| {
            let from = source(column).unwrap_or_else(|e| {
                errors.push(e);
                From::Column
            });
            Wanted { name: column.name.clone(), ty: column.ty.clone(), from }
        })
        .collect()
}

fn source(column: &Column) -> Result<From, Error> {
    let ColumnKind::Metadata { key, .. } = &column.kind else { return Ok(From::Column) };
    let refuse =
        |info: CodeInfo, message: String, help: String| Err(Error::new(info, message).at(column.span, "").help(help));
    let Some((_, from)) = METADATA.iter().find(|(name, _)| name == key) else {
        let names = METADATA.map(|(name, _)| name);
        let help = match dflow_common::suggest::nearest(key, names) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("choose one of {}", names.join(", ")),
        };
        return refuse(METADATA_UNKNOWN, format!("a captured table has no metadata '{key}'"), help);
    };
    let (fits, instead) = match from {
        From::Time => (matches!(column.ty.kind, TypeKind::TimestampLtz(_)), "TIMESTAMP_LTZ(3)"),
        _ => (is_text(&column.ty), "STRING"),
    };
    if fits {
        return Ok(*from);
    }
    refuse(
        COLUMN_TYPE,
        format!("metadata '{key}' cannot be read as {}", column.ty),
        format!("declare `{}` as {instead} METADATA FROM '{key}' VIRTUAL", column.name),
    )
}

fn is_text(ty: &SqlType) -> bool {
    matches!(ty.kind, TypeKind::VarChar(_) | TypeKind::Char(_))
}

#[cfg(test)]
mod tests {
    use dflow_common::{Classified, SourceId, Span};

    use super::*;

    fn of(key: &str, kind: TypeKind) -> Result<From, Error> {
        let span = Span::new(SourceId(0), 3, 4);
        let kind_of = ColumnKind::Metadata { key: key.into(), is_virtual: true };
        source(&Column { name: "c".into(), ty: kind.into(), kind: kind_of, span })
    }

    #[test]
    fn metadata_has_a_name_and_a_type() {
        let text = SqlType::STRING.kind;
        assert_eq!(of("table_name", text.clone()).unwrap(), From::TableName);
        assert_eq!(of("op_ts", TypeKind::TimestampLtz(3)).unwrap(), From::Time);
        for (key, kind, code, help) in [
            ("op_ts", TypeKind::Timestamp(3), COLUMN_TYPE, "`c` as TIMESTAMP_LTZ(3)"),
            ("row_kind", TypeKind::Int, COLUMN_TYPE, "`c` as STRING"),
            ("database", text.clone(), METADATA_UNKNOWN, "table_name, database_name, op_ts, row_kind"),
            ("table_nam", text, METADATA_UNKNOWN, "did you mean 'table_name'?"),
        ] {
            let error = of(key, kind).unwrap_err();
            assert_eq!((error.code(), error.span().map(|s| s.start)), (code.code, Some(3)), "{error}");
            assert!(error.diagnostic().help[0].contains(help), "{error}");
        }
    }
}
