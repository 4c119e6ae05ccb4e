//! A column of `information_schema.COLUMNS`, as the log would describe it.

use mysql_async::{Row, Value};

use super::ColumnInfo;
use crate::binlog::table_map::{Address, ColumnDef, a_collation_of, column_type as t};

/// What is asked of a column.
pub(super) const COLUMNS: &str = "TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, CHARACTER_SET_NAME, \
     COLLATION_NAME, CHARACTER_OCTET_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, EXTRA";

/// The collation number of bytes.
const BINARY: u64 = 63;

/// The table a column is of, and the column.
pub(super) fn column(row: Row) -> (String, ColumnInfo) {
    let mut values = row.unwrap().into_iter();
    let mut text = || match values.next()? {
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Value::Int(n) => Some(n.to_string()),
        Value::UInt(n) => Some(n.to_string()),
        _ => None,
    };
    let table = text().unwrap_or_default();
    let (name, data, ty) = (text().unwrap_or_default(), text().unwrap_or_default(), text().unwrap_or_default());
    let nullable = text().is_some_and(|t| t.eq_ignore_ascii_case("YES"));
    let (charset, collation) = (text(), text());
    let mut numbers = [0_u64; 4];
    for number in &mut numbers {
        *number = text().and_then(|t| t.parse().ok()).unwrap_or_default();
    }
    let [octets, precision, scale, digits] = numbers;
    let extra = text().unwrap_or_default().to_ascii_uppercase();
    let data = data.to_ascii_lowercase();
    let (log_type, meta) = log_type(&data, &ty, octets, precision, scale, digits);
    let values = if matches!(log_type, t::ENUM | t::SET) { listed(&ty) } else { Vec::new() };
    let mut def = ColumnDef {
        ty: log_type,
        meta,
        nullable,
        name: Some(name.clone()),
        visible: !extra.contains("INVISIBLE"),
        ..ColumnDef::default()
    };
    if def.is_number() {
        let lower = ty.to_ascii_lowercase();
        def.unsigned = Some(lower.contains("unsigned") || lower.contains("zerofill"));
    }
    if matches!(log_type, t::ENUM | t::SET) {
        // Here the server speaks UTF-8, whatever the column's character set is.
        def.collation = a_collation_of("utf8mb4");
        def.values = Some(values.iter().map(|v| v.clone().into_bytes()).collect());
    } else if def.is_text() {
        def.collation = charset.as_deref().map_or(Some(BINARY), a_collation_of);
    }
    def.address = match data.as_str() {
        "uuid" => Some(Address::Uuid),
        "inet4" => Some(Address::Inet4),
        "inet6" => Some(Address::Inet6),
        _ => None,
    };
    let is_virtual = extra.contains("VIRTUAL");
    (table, ColumnInfo { name, ty, def, charset, collation, values, is_virtual })
}

/// The type and its metadata.
fn log_type(data: &str, ty: &str, octets: u64, precision: u64, scale: u64, digits: u64) -> (u8, u16) {
    let octets = u16::try_from(octets).unwrap_or(u16::MAX);
    let digits = digits as u16;
    match data {
        "tinyint" => (t::TINY, 0),
        "smallint" => (t::SHORT, 0),
        "mediumint" => (t::INT24, 0),
        "int" => (t::LONG, 0),
        "bigint" => (t::LONGLONG, 0),
        "float" => (t::FLOAT, 4),
        "double" => (t::DOUBLE, 8),
        "decimal" => (t::NEWDECIMAL, u16::from_be_bytes([precision as u8, scale as u8])),
        "date" => (t::DATE, 0),
        "time" => (t::TIME2, digits),
        "datetime" => (t::DATETIME2, digits),
        "timestamp" => (t::TIMESTAMP2, digits),
        "year" => (t::YEAR, 0),
        "bit" => (t::BIT, precision as u16),
        "enum" => (t::ENUM, 1),
        "set" => (t::SET, 8),
        "json" => (t::JSON, 4),
        "vector" => (t::VECTOR, 4),
        "char" | "binary" => (t::STRING, octets),
        // In the log as bytes of a fixed length; what they are only the catalog knows.
        "uuid" | "inet6" => (t::STRING, 16),
        "inet4" => (t::STRING, 4),
        "varchar" | "varbinary" => (t::VARCHAR, octets),
        "tinytext" | "tinyblob" => (t::BLOB, 1),
        "text" | "blob" => (t::BLOB, 2),
        "mediumtext" | "mediumblob" => (t::BLOB, 3),
        "longtext" | "longblob" => (t::BLOB, 4),
        // `int unsigned` and the like always say `int`; what is left are the shapes.
        _ if ty.to_ascii_lowercase().starts_with("int") => (t::LONG, 0),
        _ => (t::GEOMETRY, 4),
    }
}

/// The values of `enum('a','it''s')`.
fn listed(ty: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut chars = ty.chars().skip_while(|c| *c != '(').skip(1).peekable();
    while chars.next_if_eq(&'\'').is_some() {
        let mut value = String::new();
        while let Some(c) = chars.next() {
            match c {
                '\'' if chars.next_if_eq(&'\'').is_none() => break,
                '\\' => value.extend(chars.next().map(|escaped| match escaped {
                    '0' => '\0',
                    'n' => '\n',
                    'r' => '\r',
                    other => other,
                })),
                c => value.push(c),
            }
        }
        values.push(value);
        chars.next_if_eq(&',');
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_an_enum_are_listed_whatever_is_in_them() {
        assert_eq!(listed("enum('a','b')"), ["a", "b"]);
        assert_eq!(listed("set('it''s','a,b',')','','größe')"), ["it's", "a,b", ")", "", "größe"]);
        assert_eq!(listed(r"enum('a\\b','c\nd')"), ["a\\b", "c\nd"]);
        assert_eq!(listed("enum('cut"), ["cut"], "nothing that a server writes");
    }
}
