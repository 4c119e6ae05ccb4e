//! Answers of SHOW and DESCRIBE as text.

use comfy_table::{Table, presets};
use dflow::catalog::Rows;

/// One column is a list; several are a table.
pub(crate) fn text(rows: &Rows) -> String {
    let cell = |c: &Option<String>| c.clone().unwrap_or_else(|| "NULL".into());
    if rows.columns.len() == 1 {
        return rows.rows.iter().map(|r| r.iter().map(cell).collect::<String>() + "\n").collect();
    }
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(&rows.columns);
    for row in &rows.rows {
        table.add_row(row.iter().map(cell));
    }
    format!("{table}\n")
}
