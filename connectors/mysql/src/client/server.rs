//! Which server answered.

use dflow_connector_jdbc::quote::Dialect;
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
    /// As whom we are logged in, quoted: `` `dflow`@`%` ``.
    pub account: String,
}

impl ServerInfo {
    /// Asks.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn ask(conn: &mut Conn) -> mysql_async::Result<ServerInfo> {
        let first: Option<(String, u64, String)> =
            conn.query_first("SELECT VERSION(), @@max_allowed_packet, CURRENT_USER()").await?;
        let (version, max_allowed_packet, user) = first.unwrap_or_default();
        let (user, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
        let account = format!("{}@{}", Dialect::MySql.name(user), Dialect::MySql.name(host));
        let is_mariadb = version.contains("MariaDB");
        let (uuid, has_gtid) = if is_mariadb {
            (None, true)
        } else {
            let row: Option<(String, String)> = conn.query_first("SELECT @@server_uuid, @@gtid_mode").await?;
            let (uuid, mode) = row.unwrap_or_default();
            (Some(uuid), mode.eq_ignore_ascii_case("ON"))
        };
        Ok(ServerInfo { is_mariadb, version, uuid, has_gtid, max_allowed_packet, account })
    }

    /// Its version as numbers, for comparison: 8.0.15. Of a fork, the numbers it begins with.
    pub fn number(&self) -> (u32, u32, u32) {
        let mut parts = self.version.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        (next(), next(), next())
    }
}
