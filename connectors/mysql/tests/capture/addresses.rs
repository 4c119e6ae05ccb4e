//! MariaDB's UUID, INET4 and INET6 read from the log as the server shows them.

use dflow_connector_mysql::binlog::assembler::{Assembler, Outcome};
use dflow_connector_mysql::cdc::log::LogOptions;
use dflow_connector_mysql::cdc::reader::LogReader;
use dflow_connector_mysql::cdc::{catalog, logs};
use mysql_async::prelude::Queryable;
use std::time::Duration;

use crate::kit::{Database, OnlyTable};
use crate::recorded::{declared, lines, text};

#[tokio::test(flavor = "multi_thread")]
async fn addresses_read_as_the_server_shows_them() {
    for metadata in ["--binlog-row-metadata=NO_LOG", "--binlog-row-metadata=FULL"] {
        let arguments: &'static [&str] = if metadata.ends_with("FULL") {
            &["--binlog-row-metadata=FULL"]
        } else {
            &["--binlog-row-metadata=NO_LOG"]
        };
        let Some(database) = Database::own("mariadb", arguments, "ON").await else { return };
        database
            .run("CREATE TABLE t (u UUID, i4 INET4, i6 INET6, b BINARY(16), id INT AUTO_INCREMENT PRIMARY KEY)")
            .await;
        let options = database.options(&[]);
        let mut session = database.session().await;
        let from = logs::now(&mut session, &options.endpoint).await.unwrap();
        let uuids = [
            "550e8400-e29b-41d4-a716-446655440000",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            "1ec9414c-232a-6b00-b3c8-9e6bdeced846",
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
            "320c3d4d-cc00-875b-8ec9-32d5f69181c0",
            "a3bb189e-8bf9-3888-9912-ace4e6543002",
            "00000000-0000-4000-8000-000000000000",
            "12345678-1234-1234-1234-123456789a00",
        ];
        let v6 = [
            "::",
            "::1",
            "::2.3.4.5",
            "::0.0.255.1",
            "::1.0.0.0",
            "::ffff:1.2.3.4",
            "2001:db8::",
            "2001:db8:0:1:1:1:1:1",
            "1:0:0:2:0:0:0:3",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ];
        let v4 = [
            "0.0.0.0",
            "255.255.255.255",
            "10.0.0.0",
            "1.2.3.4",
            "0.0.0.1",
            "127.0.0.1",
            "192.168.0.0",
            "8.8.8.8",
            "1.0.0.0",
            "0.1.0.0",
        ];
        for ((u, i6), i4) in uuids.iter().zip(v6).zip(v4) {
            database
                .run(&format!("INSERT INTO t (u, i4, i6, b) VALUES ('{u}', '{i4}', '{i6}', X'{}')", u.replace('-', "")))
                .await;
        }
        // By chance, of every version.
        database.run("INSERT INTO t (u, i4, i6, b) SELECT UUID(), INET_NTOA(FLOOR(RAND(seq) * 4294967295)), INET6_NTOA(UNHEX(MD5(seq))), UNHEX(MD5(seq)) FROM seq_1_to_300").await;
        database.run("INSERT INTO t (u) SELECT CONCAT(SUBSTR(h, 1, 8), '-', SUBSTR(h, 9, 4), '-', SUBSTR(h, 13, 4), '-', SUBSTR(h, 17, 4), '-', SUBSTR(h, 21)) FROM (SELECT INSERT(INSERT(MD5(seq), 13, 1, MOD(seq, 9)), 17, 1, ELT(MOD(seq, 4) + 1, '8', '9', 'a', 'b')) h FROM seq_1_to_500) x").await;

        let wanted = ["u", "i4", "i6", "b"].map(text);
        let log = Assembler::new(from, vec![declared(&wanted, false)], OnlyTable(database.name.clone()));
        let log_options = LogOptions { server_id: 7_100, heartbeat: Duration::from_millis(500) };
        let mut reader = LogReader::new(database.env.clone(), options.endpoint.clone(), log_options, log);
        let mut read = Vec::new();
        while read.len() < 810 {
            let outcome = tokio::time::timeout(Duration::from_secs(20), reader.advance()).await.unwrap().unwrap();
            if let Outcome::NeedsCatalog { database, table } = outcome {
                let found = catalog::find(&mut session, &options.endpoint, &database, &table).await.unwrap().unwrap();
                reader.assembler().add_catalog(database, table, found.for_log());
            }
            if let Some(batch) = reader.assembler().finish(0).unwrap() {
                read.extend(lines(&batch).into_iter().map(|(_, row)| row));
            }
        }
        let sql = "SELECT IFNULL(CAST(u AS CHAR), 'NULL'), IFNULL(CAST(i4 AS CHAR), 'NULL'), IFNULL(CAST(i6 AS CHAR), 'NULL'), IFNULL(LOWER(HEX(b)), 'NULL') FROM t ORDER BY id";
        let shown: Vec<(String, String, String, String)> = database.conn().await.query(sql).await.unwrap();
        for (mine, (u, i4, i6, b)) in read.iter().zip(shown) {
            assert_eq!(*mine, [u, i4, i6, b], "{metadata}");
        }
    }
}
