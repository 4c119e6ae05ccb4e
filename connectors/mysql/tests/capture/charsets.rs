//! Text of every character set reads from the log as the server converts it.

use dflow_connector_mysql::binlog::charset::Charset;
use mysql_async::prelude::Queryable;

use crate::kit::{Database, KINDS};

/// Of one byte.
const NARROW: [&str; 16] = [
    "latin1", "latin2", "latin5", "latin7", "greek", "hebrew", "tis620", "cp1250", "cp1251", "cp1256", "cp1257",
    "cp866", "koi8r", "koi8u", "macroman", "ascii",
];
/// Of two bytes and more.
const WIDE: [&str; 14] = [
    "gbk", "gb2312", "gb18030", "big5", "sjis", "cp932", "ujis", "eucjpms", "euckr", "ucs2", "utf16", "utf16le",
    "utf8", "utf8mb4",
];

/// Each character set with some of its texts: an expression over bytes, and which bytes.
fn texts() -> Vec<(&'static str, &'static str, &'static str)> {
    let mut all: Vec<_> = NARROW.iter().map(|name| (*name, "x.b", "b x")).collect();
    all.extend(WIDE.iter().map(|name| (*name, "CONCAT(x.b, y.b)", "b x, b y")));
    for name in ["ujis", "eucjpms"] {
        all.push((name, "CONCAT(X'8f', x.b, y.b)", "b x, b y WHERE x.b >= X'a1' AND y.b >= X'a1'"));
    }
    let four = "b x, b y, b z, b w WHERE x.b BETWEEN X'81' AND X'84' AND y.b BETWEEN X'30' AND X'39' \
                AND z.b BETWEEN X'81' AND X'fe' AND w.b BETWEEN X'30' AND X'39'";
    all.push(("gb18030", "CONCAT(x.b, y.b, z.b, w.b)", four));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_character_reads_as_the_server_converts_it() {
    let mut wrong = Vec::new();
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        let mut conn = database.conn().await;
        let has: Vec<String> =
            conn.query("SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS").await.unwrap();
        conn.query_drop("CREATE TABLE b (b BINARY(1) PRIMARY KEY)").await.unwrap();
        let all: Vec<String> = (0..=255).map(|b| format!("(X'{b:02x}')")).collect();
        conn.query_drop(format!("INSERT INTO b VALUES {}", all.join(","))).await.unwrap();
        let mut compared = 0;
        for (name, bytes, from) in texts() {
            // MariaDB calls it by its longer name.
            if !has.iter().any(|h| h == name || (name == "utf8" && h == "utf8mb3")) {
                continue;
            }
            let text = format!("CONVERT(CONVERT({bytes} USING {name}) USING utf8mb4)");
            let sql = format!("SELECT {bytes}, {text}, HEX(CONVERT({text} USING {name})) = HEX({bytes}) FROM {from}");
            type Converted = (Vec<u8>, Option<Vec<u8>>, Option<i8>);
            let rows: Vec<Converted> = conn.query(sql).await.unwrap();
            let charset = Charset::of_name(name).unwrap();
            for (bytes, text, comes_back) in rows {
                // What the server cannot convert it cannot store either.
                let text = text.and_then(|t| String::from_utf8(t).ok());
                let (Some(text), Some(1)) = (text, comes_back) else { continue };
                let (ours, _) = charset.decode(&bytes);
                if ours != text {
                    wrong.push(format!("{kind} {name} {bytes:02X?}: {text:?} reads as {ours:?}"));
                }
                compared += 1;
            }
        }
        assert!(compared > 500_000, "{kind}: {compared} texts were compared");
    }
    assert!(wrong.is_empty(), "{} texts, the first: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
}
