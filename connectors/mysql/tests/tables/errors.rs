//! What servers refuse, as codes with a way out.

use std::time::Duration;

use dflow_common::{Classified, CodeInfo, Secret, SqlType, TypeKind};
use dflow_connector_api::Error;
use dflow_connector_jdbc::error::BAD_URL;
use dflow_connector_mysql::client::error::{
    ACCESS_DENIED, LOCKED, MARKER_TABLE, NO_PRIVILEGE, NO_UNIQUE_KEY, NOT_FOUND, NOT_TRANSACTIONAL, READ_ONLY, REFUSED,
    TLS_FAILED, UNREACHABLE,
};
use dflow_connector_mysql::client::{Endpoint, Tls, connect};
use dflow_test_servers::Server;
use mysql_async::prelude::Queryable;

use crate::kit::{Database, KINDS, Table};

async fn failure(table: &Table) -> Error {
    let batch = dflow_connector_api::contract::sink::inserts([1]);
    let quick = table.clone().with("connection.max-retry-timeout", "1 s").with("sink.max-retries", "1");
    match quick.write().await {
        Ok(mut writing) => writing.all(batch).await.unwrap_err(),
        Err(e) => e,
    }
}

async fn check(table: &Table, code: CodeInfo, says: &str) {
    let e = failure(table).await;
    assert_eq!(e.code(), code.code, "{e}");
    assert!(e.to_string().contains(says), "{says:?} is not in {e}");
    assert!(e.to_string().contains("help: "), "a way out: {e}");
    assert!(!e.to_string().contains("hunter2"), "{e}");
}

fn columns() -> [(&'static str, SqlType); 2] {
    [("id", TypeKind::BigInt.into()), ("name", SqlType::STRING)]
}

#[tokio::test]
async fn wrong_password_privilege_database_table_column_and_key_are_told_apart() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT)").await;
        let good = database.table(&columns(), &[0]);
        check(&good.clone().with("password", "hunter2"), ACCESS_DENIED, "1045").await;
        check(&good.clone().with("database-name", "nope"), NOT_FOUND, "nope").await;
        check(&good.clone().with("table-name", "nope"), NOT_FOUND, "nope").await;
        check(&database.table(&[("id", TypeKind::BigInt.into()), ("nome", SqlType::STRING)], &[0]), NOT_FOUND, "nome")
            .await;
        check(&database.table(&columns(), &[0, 1]), NO_UNIQUE_KEY, "ADD UNIQUE (`id`, `name`)").await;
        check(&good.clone().with("properties.sslMode", "VERIFY_IDENTITY"), TLS_FAILED, "sslCa").await;

        let user = format!("weak_{}", database.name.replace('`', ""));
        let name = database.name.replace('`', "``");
        database
            .run(&format!("CREATE USER '{user}' IDENTIFIED BY 'hunter2'; GRANT SELECT ON `{name}`.* TO '{user}'"))
            .await;
        let weak = good.clone().with("username", &user).with("password", "hunter2");
        check(&weak, NO_PRIVILEGE, "GRANT").await;
        check(
            &weak.with("sink.delivery-guarantee", "exactly-once"),
            MARKER_TABLE,
            "CREATE TABLE IF NOT EXISTS `dflow_commits`",
        )
        .await;
    }
}

#[tokio::test]
async fn exactly_once_refuses_a_table_without_transactions() {
    for kind in KINDS {
        let Some(database) = Database::on(kind).await else { continue };
        database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT) ENGINE = MyISAM").await;
        let table = database.table(&columns(), &[0]);
        table.write().await.unwrap().all(dflow_connector_api::contract::sink::inserts([1])).await.unwrap();
        check(&table.with("sink.delivery-guarantee", "exactly-once"), NOT_TRANSACTIONAL, "ENGINE = InnoDB").await;
    }
}

#[tokio::test]
async fn locked_rows_a_read_only_server_and_a_refused_statement_have_codes() {
    for kind in KINDS {
        let Some(server) = tokio::task::spawn_blocking(move || Server::own(kind)).await.unwrap() else { continue };
        let database = Database::of(server.into()).await;
        database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT)").await;
        let table = database.table(&columns(), &[0]);
        database.run("SET GLOBAL innodb_lock_wait_timeout = 1").await;
        let mut other = database.conn().await;
        other.query_drop("START TRANSACTION").await.unwrap();
        other.query_drop("INSERT INTO t VALUES (1, 'x')").await.unwrap();
        check(&table, LOCKED, "INNODB STATUS").await;
        assert!(failure(&table).await.retryable());
        other.query_drop("ROLLBACK").await.unwrap();

        database.run("CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not today'").await;
        check(&table, REFUSED, "not today").await;
        database.run("DROP TRIGGER no").await;

        // An administrator may still write: the user of the table is none.
        database
            .run(&format!(
                "CREATE USER plain IDENTIFIED BY 'p'; GRANT ALL ON `{}`.* TO plain",
                database.name.replace('`', "``")
            ))
            .await;
        database.run("SET GLOBAL read_only = 1").await;
        check(&table.with("username", "plain").with("password", "p"), READ_ONLY, "primary").await;
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable_after_the_patience_is_over() {
    let Some(database) = Database::on("mariadb").await else { return };
    // A port that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let table = database.table(&columns(), &[0]).with("port", &port.to_string());
    let start = std::time::Instant::now();
    check(&table, UNREACHABLE, "127.0.0.1").await;
    assert!(start.elapsed() >= std::time::Duration::from_secs(1), "it was tried for as long as it should be");
    assert!(failure(&table).await.retryable());
}

#[tokio::test]
async fn urls_are_checked_when_the_table_is_declared() {
    let Some(database) = Database::on("mariadb").await else { return };
    let mut table = database.table(&columns(), &[0]);
    for key in ["hostname", "port", "database-name"] {
        table.options.remove(key);
    }
    for (url, says) in [
        ("jdbc:postgresql://h/d", "postgresql"),
        ("jdbc:mysql://h", "no database"),
        ("jdbc:mysql://u:hunter2@h/d", "user and password"),
        ("jdbc:mysql://h/d?password=hunter2", "option 'username' or 'password'"),
        ("jdbc:mysql://h/d?sslMode=MAYBE", "VERIFY_IDENTITY"),
        ("jdbc:mysql://h/d?noSuchThing=1", "noSuchThing"),
        ("jdbc:mysql://h/d?connectionTimeZone=Asia/Tokyo", "table.local-time-zone"),
    ] {
        let errors = table.clone().with("url", url).try_sink().err().unwrap();
        assert_eq!(errors.iter().map(Classified::code).collect::<Vec<_>>(), [BAD_URL.code], "{url}");
        assert!(errors[0].to_string().contains(says) && !errors[0].to_string().contains("hunter2"), "{errors:?}");
    }
    let port = database.server.port();
    let name = database.name.replace('`', "%60");
    database.run("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT)").await;
    for url in [
        format!("jdbc:mysql://127.0.0.1:{port}/{name}?useSSL=false&rewriteBatchedStatements=true&serverTimezone=UTC"),
        format!("jdbc:mariadb://localhost:{port}/{name}?sslMode=PREFERRED&connectTimeout=3000"),
    ] {
        let mut writing = table.clone().with("url", &url).write().await.unwrap();
        writing.all(dflow_connector_api::contract::sink::inserts([1])).await.unwrap();
    }
}

#[tokio::test]
async fn connections_are_encrypted_where_both_sides_can() {
    let Some(database) = Database::on("mysql").await else { return };
    let open = async |tls| {
        let mut endpoint = Endpoint::new("127.0.0.1", database.server.port());
        (endpoint.user, endpoint.password) = (Some("dflow_sha2".into()), Some(Secret::new("dflow")));
        endpoint.tls = tls;
        let mut session = connect(&database.env, &endpoint, "t", Duration::from_secs(1)).await?;
        let cipher: Option<(String, String)> = session.conn.query_first("SHOW STATUS LIKE 'Ssl_cipher'").await.unwrap();
        Ok::<_, Error>(cipher.unwrap().1)
    };
    assert_eq!(open(Tls::Disabled).await.unwrap(), "");
    // Its ciphers are from before 2019, and rustls has none of them.
    let is_old = database.server.version().starts_with("8.0.1");
    assert_eq!(open(Tls::Preferred).await.unwrap().is_empty(), is_old);
    match open(Tls::Required).await {
        Ok(cipher) => assert!(!is_old && !cipher.is_empty()),
        Err(e) => assert!(is_old && e.code() == TLS_FAILED.code, "{e}"),
    }
}
