//! What a script declares against the tables of the server.

use dflow_connector_api::{Column, Error, TableSchema};

use super::TableInfo;
use crate::binlog::column::fit::{BinaryText, fit};
use crate::binlog::rows::{From, Wanted};
use crate::error::{COLUMN_MISSING, column_type};

/// All that does not match, at the place of the column: each declared column at most once, with the first table that
/// differs.
///
/// `wanted` are the columns of `projection`, in its order. A column that may be NULL may be missing in some of the tables.
pub fn mismatches(
    tables: &[TableInfo],
    schema: &TableSchema,
    projection: &[usize],
    wanted: &[Wanted],
    binary: BinaryText,
) -> Vec<Error> {
    let columns = projection.iter().map(|i| &schema.columns[*i]).zip(wanted);
    columns
        .filter(|(_, wanted)| wanted.from == From::Column)
        .filter_map(|(column, wanted)| mismatch(tables, column, wanted, binary))
        .collect()
}

fn mismatch(tables: &[TableInfo], column: &Column, wanted: &Wanted, binary: BinaryText) -> Option<Error> {
    let mut problems = tables.iter().filter_map(|table| match table.column(&wanted.name) {
        Some(i) => {
            let theirs = &table.columns[i];
            let instead = fit(&theirs.def, &wanted.ty, binary).err()?;
            let name = table.full_name();
            let e = column_type(&wanted.name, &wanted.ty.to_string(), Some(&name), &instead);
            Some(e.at(column.span, format!("it is {} on the server", theirs.ty)))
        }
        None if wanted.ty.nullable && tables.iter().any(|t| t.column(&wanted.name).is_some()) => None,
        None => Some(missing(table, column)),
    });
    let first = problems.next()?;
    match problems.count() {
        0 => Some(first),
        1 => Some(first.note("one more table has the same problem")),
        n => Some(first.note(format!("{n} more tables have the same problem"))),
    }
}

fn missing(table: &TableInfo, column: &Column) -> Error {
    let name = &column.name;
    let e = Error::new(COLUMN_MISSING, format!("table `{}` has no column `{name}`", table.full_name()))
        .at(column.span, "declared here");
    match dflow_common::suggest::nearest(name, table.columns.iter().map(|c| c.name.as_str())) {
        Some(near) => e.help(format!("did you mean `{near}`?")),
        None => e.help("remove the column from the script, or add it to the table"),
    }
}

#[cfg(test)]
mod tests {
    use dflow_common::{Classified, SourceId, Span, SqlType, TypeKind};
    use dflow_connector_api::ColumnKind;

    use super::*;
    use crate::binlog::table_map::{ColumnDef, column_type as t};
    use crate::cdc::catalog::ColumnInfo;
    use crate::error::COLUMN_TYPE;

    fn table(name: &str, columns: &[(&str, u8)]) -> TableInfo {
        let column = |(name, ty): &(&str, u8)| ColumnInfo {
            name: (*name).into(),
            ty: "int".into(),
            def: ColumnDef { ty: *ty, unsigned: Some(false), ..ColumnDef::default() },
            charset: None,
            collation: None,
            values: vec![],
            is_virtual: false,
        };
        TableInfo {
            database: "d".into(),
            name: name.into(),
            columns: columns.iter().map(column).collect(),
            primary_key: vec![0],
            unique: vec![],
            rows: 0,
            row_bytes: 0,
            engine: "InnoDB".into(),
        }
    }

    /// Declared columns as `(name, type)`, each at the place of its number.
    fn check(tables: &[TableInfo], declared: &[(&str, SqlType)]) -> Vec<Error> {
        let column = |(i, (name, ty)): (usize, &(&str, SqlType))| Column {
            name: (*name).into(),
            ty: ty.clone(),
            kind: ColumnKind::Physical,
            span: Span::new(SourceId(0), i, i + 1),
        };
        let columns: Vec<Column> = declared.iter().enumerate().map(column).collect();
        let wanted: Vec<Wanted> =
            columns.iter().map(|c| Wanted { name: c.name.clone(), ty: c.ty.clone(), from: From::Column }).collect();
        let projection: Vec<usize> = (0..columns.len()).collect();
        let schema = TableSchema { columns, primary_key: vec![], partition_keys: vec![] };
        mismatches(tables, &schema, &projection, &wanted, BinaryText::Refused)
    }

    #[test]
    fn all_that_differs_is_told_at_once_and_where() {
        let tables = [table("a", &[("id", t::LONG), ("amount", t::DOUBLE)]), table("b", &[("id", t::DATE)])];
        let (int, double) = (SqlType::from(TypeKind::Int), SqlType::from(TypeKind::Double));
        assert!(check(&tables[..1], &[("id", int.clone()), ("AMOUNT", double.clone())]).is_empty());
        let errors = check(&tables, &[("id", int.clone()), ("amuont", double.clone()), ("amount", double.clone())]);
        let found: Vec<_> = errors.iter().map(|e| (e.code(), e.span().unwrap().start)).collect();
        assert_eq!(found, [(COLUMN_TYPE.code, 0), (COLUMN_MISSING.code, 1)], "b may lack what may be NULL: {errors:?}");
        assert!(errors[0].to_string().contains("`d.b`") && errors[1].to_string().contains("`d.a`"), "{errors:?}");
        assert!(errors[1].diagnostic().help[0].contains("did you mean `amount`?"), "{errors:?}");
        assert!(errors[1].diagnostic().notes[0].contains("one more table"), "{errors:?}");
        assert_eq!(check(&tables, &[("amount", double.not_null())]).len(), 1, "b lacks what may not be NULL");
    }
}
