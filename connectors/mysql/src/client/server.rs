//! Which server answered.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

/// What a server says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// Whether it is MariaDB.
    pub is_mariadb: bool,
    /// Its version, as it writes it.
    pub version: String,
    /// `server_uuid`; MariaDB has none.
    pub uuid: Option<String>,
    /// Whether transactions have GTIDs. Always on MariaDB.
    pub has_gtid: bool,
    /// Bytes of one packet at most.
    pub max_allowed_packet: u64,
}

impl ServerInfo {
    /// Asks.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn ask(conn: &mut Conn) -> mysql_async::Result<ServerInfo> {
        let first: Option<(String, u64)> = conn.query_first("SELECT VERSION(), @@max_allowed_packet").await?;
        let (version, max_allowed_packet) = first.unwrap_or_default();
        let is_mariadb = version.contains("MariaDB");
        let (uuid, has_gtid) = if is_mariadb {
            (None, true)
        } else {
            let row: Option<(String, String)> = conn.query_first("SELECT @@server_uuid, @@gtid_mode").await?;
            let (uuid, mode) = row.unwrap_or_default();
            (Some(uuid), mode.eq_ignore_ascii_case("ON"))
        };
        Ok(ServerInfo { is_mariadb, version, uuid, has_gtid, max_allowed_packet })
    }
}
