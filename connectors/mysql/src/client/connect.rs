//! Opening a session, with patience.

use std::time::Duration;

use dflow_common::{Classified, Env};
use dflow_connector_api::{Error, Result};
use futures::future::{Either, select};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::endpoint::{Endpoint, Tls};
use super::error::{Place, is_tls, unreachable_server};
use super::server::ServerInfo;

/// The first wait between two attempts; it doubles.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest one.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// What makes values mean the same on every server. `NO_AUTO_VALUE_ON_ZERO`: a 0 stays a 0. `net_write_timeout`: the server waits for
/// a reader that is held up by its sink.
const SETUP: &str = "SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION', \
     net_write_timeout = 3600, net_read_timeout = 300, autocommit = 1";

/// An open connection, set up.
pub struct Session {
    /// The connection.
    pub conn: Conn,
    /// Who answered.
    pub server: ServerInfo,
}

/// Opens a session; tries again for `patience` while the server does not answer.
///
/// # Errors
/// What cannot be cured by waiting, at once; the last one when the patience is over.
pub async fn connect(env: &Env, endpoint: &Endpoint, table: &str, patience: Duration) -> Result<Session> {
    let start = env.clock.monotonic();
    let mut attempt = 0;
    loop {
        let failed = match once(env, endpoint, table).await {
            Ok(session) => return Ok(session),
            Err(e) => e,
        };
        attempt += 1;
        let elapsed = env.clock.monotonic().saturating_sub(start);
        if !failed.retryable() || elapsed >= patience {
            return Err(if attempt > 1 {
                failed.note(format!("tried {attempt} times in {elapsed:.0?}"))
            } else {
                failed
            });
        }
        tracing::warn!(attempt, server = endpoint.shown(), "cannot connect, trying again: {failed}");
        env.clock.sleep(backoff(env, attempt).min(patience.saturating_sub(elapsed))).await;
    }
}

/// The wait after so many failures in a row, from 1: doubling, the second half of it random.
pub(crate) fn backoff(env: &Env, failures: u32) -> Duration {
    let full = BACKOFF_MIN.saturating_mul(1 << (failures - 1).min(10)).min(BACKOFF_MAX);
    full / 2 + (full / 2).mul_f64(env.rng.unit())
}

async fn once(env: &Env, endpoint: &Endpoint, table: &str) -> Result<Session> {
    let place = Place { endpoint, table };
    let open = async {
        let mut conn = match Conn::new(endpoint.client_options(endpoint.tls != Tls::Disabled)).await {
            // No TLS, or none that both sides know: an old server has ciphers only that nobody should use.
            Err(e) if endpoint.tls == Tls::Preferred && is_tls(&e) => Conn::new(endpoint.client_options(false)).await?,
            conn => conn?,
        };
        conn.query_drop("SET NAMES utf8mb4").await?;
        conn.query_drop(SETUP).await?;
        let server = ServerInfo::ask(&mut conn).await?;
        Ok(Session { conn, server })
    };
    within(env, Some(endpoint.connect_timeout), &place, open).await
}

/// Waits for an answer of the server, but not for ever.
///
/// # Errors
/// Those of the call; [`UNREACHABLE`](super::error::UNREACHABLE) when the time is over. The connection is of no use then.
pub async fn within<T>(
    env: &Env,
    limit: Option<Duration>,
    place: &Place<'_>,
    call: impl Future<Output = mysql_async::Result<T>>,
) -> Result<T, Error> {
    let Some(limit) = limit else { return call.await.map_err(|e| place.error(&e)) };
    match select(std::pin::pin!(call), env.clock.sleep(limit)).await {
        Either::Left((done, _)) => done.map_err(|e| place.error(&e)),
        Either::Right(_) => Err(unreachable_server(&place.endpoint.shown(), &format!("no answer for {limit:?}"))),
    }
}

/// Waits for several answers of a server together, but not for ever.
///
/// # Errors
/// Those of the call; [`UNREACHABLE`](super::error::UNREACHABLE) when `limit` is over. Its connections are of no use then.
pub async fn within_all<T>(
    env: &Env,
    limit: Option<Duration>,
    endpoint: &Endpoint,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some(limit) = limit else { return call.await };
    match select(std::pin::pin!(call), env.clock.sleep(limit)).await {
        Either::Left((done, _)) => done,
        Either::Right(_) => Err(unreachable_server(&endpoint.shown(), &format!("no answer for {limit:?}"))),
    }
}
