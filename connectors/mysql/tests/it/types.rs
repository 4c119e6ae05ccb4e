//! Every type: what the log says is what the server's own SELECT says.

use dflow_common::{Classified, TypeKind as K};
use dflow_connector_mysql::binlog::rows::Wanted;
use dflow_connector_mysql::binlog::table_map::CatalogColumn;
use dflow_connector_mysql::error::{COLUMN_MISSING, COLUMN_TYPE, ROW_INCOMPLETE};

use crate::recorded::{SERVERS, changes, column, expected, folded, text};

/// The columns of `types` whose text is the same in the log and in SELECT.
const TEXTS: [&str; 44] = [
    "id", "ti", "tu", "y", "si", "su", "mi", "mu", "i", "iu", "bi", "bu", "zf", "f", "d", "dec10", "dec38", "dec9",
    "dec65", "dt", "t0", "t1", "t3", "t6", "dt0", "dt2", "dt6", "ts0", "ts3", "ts6", "c", "cl", "vc", "vl", "tx", "lt",
    "b", "vb", "bl", "tb", "b1", "b10", "b64", "e",
];

fn names() -> Vec<&'static str> {
    TEXTS.into_iter().chain(["s", "st", "pt"]).collect()
}

/// As text where there is one; ZEROFILL and bits need a look of their own.
fn as_text(name: &str) -> Wanted {
    match name {
        "f" => column(name, K::Float),
        "d" => column(name, K::Double),
        "b1" | "b10" | "b64" => column(name, K::VarBinary(8)),
        name => text(name),
    }
}

/// Cells where they differ, but for how they are written.
fn differences(names: &[&str], read: &[Vec<String>], said: &[Vec<String>]) -> Vec<String> {
    let mut out = Vec::new();
    assert_eq!(read.len(), said.len(), "rows");
    for (read, said) in read.iter().zip(said) {
        for ((name, read), said) in names.iter().zip(read).zip(said) {
            let said = match *name {
                // Floats are shown with six digits by the server.
                "f" | "d" if said != "NULL" => {
                    let close = |a: f64, b: f64| (a - b).abs() <= a.abs() * 1e-5;
                    if close(read.parse().unwrap(), said.parse().unwrap()) { read.clone() } else { said.clone() }
                }
                "zf" if said != "NULL" => said.parse::<u64>().unwrap().to_string(),
                // HEX drops leading zeros and has the highest byte first; ours is the lowest first, all of them.
                "b1" | "b10" | "b64" if said != "NULL" => {
                    let value = u64::from_str_radix(said, 16).unwrap();
                    let width = read.len() / 2;
                    value.to_le_bytes()[..width].iter().map(|b| format!("{b:02x}")).collect()
                }
                _ => said.clone(),
            };
            if *read != said {
                out.push(format!("{name}: log {read:?}, SELECT {said:?}"));
            }
        }
    }
    out
}

#[test]
fn every_type_reads_as_select_shows_it() {
    let names = names();
    let wanted: Vec<_> = names.iter().map(|name| as_text(name)).collect();
    for server in SERVERS.into_iter().chain(["mariadb-10.11-compressed"]) {
        let read = folded(changes(server, "types", &wanted, &[]).unwrap());
        assert_eq!(read.len(), 6, "{server}");
        assert_eq!(differences(&names, &read, &expected(server, "types")), Vec::<String>::new(), "{server}");
    }
}

#[test]
fn declared_types_have_the_same_values() {
    let decimal = |p, s| K::Decimal(p, s);
    let columns = [
        ("id", K::Int),
        ("ti", K::TinyInt),
        ("tu", K::SmallInt),
        ("y", K::Int),
        ("si", K::SmallInt),
        ("su", K::Int),
        ("mi", K::Int),
        ("mu", K::BigInt),
        ("i", K::Int),
        ("iu", K::BigInt),
        ("bi", K::BigInt),
        ("bu", decimal(20, 0)),
        ("dec10", decimal(10, 2)),
        ("dec38", decimal(38, 10)),
        ("dec9", decimal(12, 0)),
        ("dt2", K::Timestamp(2)),
        ("dt6", K::Timestamp(6)),
        ("ts6", K::Timestamp(6)),
    ];
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    let wanted: Vec<_> = columns.iter().map(|(name, kind)| column(name, kind.clone())).collect();
    let all = self::names();
    for server in SERVERS {
        let read = folded(changes(server, "types", &wanted, &[]).unwrap());
        let said: Vec<Vec<String>> = expected(server, "types")
            .into_iter()
            .map(|row| names.iter().map(|n| row[all.iter().position(|a| a == n).unwrap()].clone()).collect())
            .collect();
        // Arrow writes a T between date and time, no zeros behind a fraction, and YEAR 0 with one digit.
        let same = |name: &str, cell: &str| match name {
            "dt2" | "dt6" | "ts6" if cell.contains(['-', ':']) => {
                let cell = cell.replace('T', " ");
                cell.split_once('.').map_or(cell.clone(), |(whole, fraction)| {
                    format!("{whole}.{}", fraction.trim_end_matches('0')).trim_end_matches('.').to_owned()
                })
            }
            "y" => cell.replace("0000", "0"),
            _ => cell.to_owned(),
        };
        let plain = |rows: Vec<Vec<String>>| -> Vec<Vec<String>> {
            rows.into_iter().map(|row| names.iter().zip(row).map(|(n, cell)| same(n, &cell)).collect()).collect()
        };
        assert_eq!(plain(read), plain(said), "{server}");
    }
}

#[test]
fn dates_that_no_calendar_has_are_null_as_dates() {
    let wanted = [
        column("id", K::Int),
        column("dt", K::Date),
        column("dt0", K::Timestamp(0)),
        column("ts0", K::TimestampLtz(0)),
    ];
    for server in SERVERS {
        let rows = folded(changes(server, "types", &wanted, &[]).unwrap());
        assert_eq!(rows[3], ["3", "NULL", "NULL", "NULL"], "{server}");
        assert_eq!(rows[2], ["2", "9999-12-31", "9999-12-31T23:59:59", "2038-01-19T03:14:07"], "{server}");
        assert_eq!(rows[1][1], "0000-01-01", "{server}");
    }
}

#[test]
fn every_character_set_reads_as_text() {
    let names = [
        "id", "latin1", "latin2", "ucs2", "utf16", "utf16le", "utf32", "utf8", "ascii", "gbk", "gb2312", "big5",
        "sjis", "cp932", "ujis", "eucjpms", "euckr", "cp1250", "cp1251", "cp1256", "cp1257", "cp866", "koi8r", "koi8u",
        "latin5", "latin7", "greek", "hebrew", "tis620", "macroman", "ge",
    ];
    let wanted: Vec<_> = names.iter().map(|name| text(name)).collect();
    for server in SERVERS {
        let read = folded(changes(server, "charsets", &wanted, &[]).unwrap());
        assert_eq!(differences(&names, &read, &expected(server, "charsets")), Vec::<String>::new(), "{server}");
    }
}

#[test]
fn json_is_written_as_the_server_writes_it() {
    for server in ["mysql-8.0", "mysql-9.7"] {
        let read = folded(changes(server, "documents", &[text("id"), text("j")], &[]).unwrap());
        assert_eq!(differences(&["id", "j"], &read, &expected(server, "documents")), Vec::<String>::new(), "{server}");
    }
}

#[test]
fn shapes_are_json() {
    let shape = |coordinates: &str, ty: &str| format!(r#"{{"coordinates":{coordinates},"type":"{ty}","srid":0}}"#);
    let expected = [
        shape("[1,2.5]", "Point"),
        shape("[[0,0],[1,1]]", "LineString"),
        shape("[[[0,0],[1,0],[1,1],[0,0]]]", "Polygon"),
        shape("[[1,1],[2,2]]", "MultiPoint"),
        shape("[[[0,0],[1,1]],[[2,2],[3,3]]]", "MultiLineString"),
        shape("[[[[0,0],[1,0],[1,1],[0,0]]]]", "MultiPolygon"),
        concat!(
            r#"{"geometries":[{"type":"Point","coordinates":[10,10]},"#,
            r#"{"type":"LineString","coordinates":[[15,15],[20,20]]}],"type":"GeometryCollection","srid":0}"#
        )
        .to_owned(),
        "NULL".to_owned(),
    ];
    for server in SERVERS {
        let read = folded(changes(server, "shapes", &[text("id"), text("g"), text("t"), text("u")], &[]).unwrap());
        let shapes: Vec<_> = read.iter().take(8).map(|row| row[1].clone()).collect();
        assert_eq!(shapes, expected, "{server}");
        assert_eq!(read[8], ["9", "NULL", "é", "é"], "{server}: the texts beside have their own character sets");
    }
}

#[test]
fn sets_are_lists_and_bits_are_booleans() {
    let list = K::Array(Box::new(dflow_common::SqlType::STRING));
    let wanted = [column("id", K::Int), column("s", list), column("b1", K::Boolean), column("ti", K::Boolean)];
    for server in SERVERS {
        let rows = folded(changes(server, "types", &wanted, &[]).unwrap());
        assert_eq!(rows[2], ["2", "[x, y, z]", "true", "true"], "{server}");
        assert_eq!(rows[1], ["1", "[]", "false", "true"], "{server}");
        assert_eq!(rows[0], ["0", "NULL", "NULL", "NULL"], "{server}");
    }
}

#[test]
fn compressed_columns_of_mariadb_are_decompressed() {
    let wanted = [text("id"), text("v"), text("t"), text("b")];
    let read = folded(changes("mariadb-10.11", "packed", &wanted, &[]).unwrap());
    let names = ["id", "v", "t", "b"];
    assert_eq!(differences(&names, &read, &expected("mariadb-10.11", "packed")), Vec::<String>::new());
}

#[test]
fn vectors_and_hidden_columns_of_mysql_9() {
    let floats = K::Array(Box::new(K::Float.into()));
    let rows = folded(changes("mysql-9.7", "vectors", &[text("id"), column("v", floats)], &[]).unwrap());
    assert_eq!(rows, [["1", "[1.0, 2.5, -3.0]"], ["2", "NULL"], ["3", "[0.0, 0.0, 0.0]"]]);
    let read = folded(changes("mysql-9.7", "multi", &[text("id"), text("j")], &[]).unwrap());
    assert_eq!(read, expected("mysql-9.7", "multi"));
}

#[test]
fn names_come_from_the_catalog_when_the_log_has_none() {
    let named = |name: &str| CatalogColumn { name: name.into(), ..CatalogColumn::default() };
    let wanted = [text("id"), text("v")];
    let server = "mysql-9.7-plain";
    let read = folded(changes(server, "squeezed", &wanted, &[named("id"), named("v")]).unwrap());
    assert_eq!(read, expected(server, "squeezed"));
    let error = changes(server, "squeezed", &wanted, &[named("id"), named("v"), named("w")]).unwrap_err();
    assert!(error.to_string().contains("it had 2 columns in the log and has 3 now"), "{error}");
    assert!(error.to_string().contains("DF5408"), "{error}");
}

#[test]
fn columns_that_cannot_be_read_say_what_to_declare() {
    let error = |wanted: &[Wanted]| changes("mysql-8.0", "types", wanted, &[]).unwrap_err();
    for (name, kind, help) in [
        ("dec65", K::Decimal(38, 10), "STRING: it has more than 38 digits"),
        ("dec10", K::Decimal(10, 1), "DECIMAL(10, 2) or STRING"),
        ("d", K::Float, "DOUBLE"),
        ("dt0", K::TimestampLtz(3), "declare it as TIMESTAMP(0)"),
        ("t6", K::Time(6), "STRING, or TIME(3)"),
        ("e", K::Int, "STRING"),
    ] {
        let error = error(&[column(name, kind)]);
        assert_eq!(error.code(), COLUMN_TYPE.code, "{error}");
        assert!(error.diagnostic().help[0].contains(help), "{:?}", error.diagnostic().help);
    }
    let mut absent = column("absent", K::Int);
    assert_eq!(changes("mysql-8.0", "types", &[text("id"), absent.clone()], &[]).unwrap()[0].1[1], "NULL");
    absent.ty = absent.ty.not_null();
    assert_eq!(error(&[absent]).code(), COLUMN_MISSING.code);
}

#[test]
fn values_that_do_not_fit_are_refused_with_their_place() {
    for (name, kind, what) in [
        ("iu", K::Int, "4294967295, which is no INT"),
        ("t0", K::Time(0), "-838:59:59.000000, and a TIME is between"),
        ("dec10", K::Decimal(5, 2), "99999999.99, which has too many digits"),
        ("dt6", K::Timestamp(9), "too far away for nanoseconds"),
    ] {
        let error = changes("mysql-8.0", "types", &[column(name, kind)], &[]).unwrap_err().to_string();
        assert!(error.contains("DF5402") && error.contains(what), "{error}");
    }
    let mut not_null = text("ti");
    not_null.ty = not_null.ty.not_null();
    let error = changes("mysql-8.0", "types", &[not_null], &[]).unwrap_err().to_string();
    assert!(error.contains("NULL, and it is declared NOT NULL"), "{error}");
}

#[test]
fn change_without_all_columns_is_refused_if_they_are_read() {
    for server in SERVERS {
        let error = changes(server, "narrow", &[text("id"), text("v"), text("w")], &[]).unwrap_err();
        assert_eq!(error.code(), ROW_INCOMPLETE.code, "{server}: {error}");
        assert!(error.to_string().contains("`rec.narrow` was logged without column `v`"), "{server}: {error}");
    }
}
