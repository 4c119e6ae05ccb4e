//! A connection that reads the binary log.
//!
//! ```text
//! SET heartbeat, identity, capability   then   COM_REGISTER_SLAVE, COM_BINLOG_DUMP(_GTID)   then   packets without an end
//! ```
//! # What is set on it
//! * A heartbeat, so that silence means a dead connection, and idle tables move the position too.
//! * An identity of its own, so that a server does not end it for another reader with the same server id.
//! * MariaDB: that we know its events; otherwise it rewrites them.
//!
//! The session's `net_write_timeout` is an hour ([`crate::client`]): a server waits for a reader that is held up.

use std::panic::AssertUnwindSafe;
use std::task::Poll;
use std::time::Duration;

use dflow_common::env::Env;
use dflow_connector_api::error::Result;
use futures::future::{Either, FutureExt, select};
use futures::stream::StreamExt;
use mysql_async::binlog::{BinlogChecksumAlg, events};
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest, Sid};

use super::refused::refused;
use crate::binlog::event::kind::FORMAT_DESCRIPTION;
use crate::binlog::frame::HEADER_BYTES;
use crate::binlog::position::{Point, Seen};
use crate::client::error::unreachable_server;
use crate::client::{Endpoint, Place, ServerInfo, connect};
use crate::error::{self, Error};

/// Heartbeats that may be missing before the connection counts as dead.
const SILENCE_HEARTBEATS: u32 = 3;
/// The shortest silence that counts as death: a server that looks for the place to begin at may be busy.
const SILENCE_MIN: Duration = Duration::from_secs(5);
/// Time for what has arrived to be noticed, after a reader was held up.
const ARRIVAL: Duration = Duration::from_millis(50);

/// How to read a log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// As whom a server sees us among its replicas.
    pub server_id: u32,
    /// How often a server says that nothing happened.
    pub heartbeat: Duration,
}

/// A connection that reads the log.
pub struct LogConnection {
    env: Env,
    endpoint: Endpoint,
    server: ServerInfo,
    server_id: u32,
    stream: BinlogStream,
    silence: Duration,
    /// When the last packet came.
    heard: Duration,
    packet: Vec<u8>,
}

impl LogConnection {
    /// Opens it behind a point: by transaction ids when there are any, else by file and position.
    ///
    /// # Errors
    /// As [`connect`]; that a server no longer has the point, only the first packet says.
    pub async fn open(
        env: &Env,
        endpoint: &Endpoint,
        options: &LogOptions,
        from: &Point,
        patience: Duration,
    ) -> Result<Self> {
        let mut session = connect(env, endpoint, "the binary log", patience).await?;
        let place = Place { endpoint, table: "the binary log" };
        let nanos = options.heartbeat.as_nanos();
        let identity = uuid(env);
        let mut setup = vec![
            format!("SET @master_heartbeat_period = {nanos}, @source_heartbeat_period = {nanos}"),
            format!("SET @slave_uuid = '{identity}', @replica_uuid = '{identity}'"),
        ];
        let mut request = BinlogStreamRequest::new(options.server_id);
        match &from.seen {
            Some(Seen::Mysql(set)) if !set.is_empty() => {
                request = request.with_gtid().with_gtid_set(sids(set)?);
            }
            Some(Seen::Mariadb(position)) if !position.is_empty() => {
                // Digits and dashes only.
                setup.push(format!("SET @slave_connect_state = '{position}'"));
            }
            _ => request = request.with_filename(from.at.file.as_bytes()).with_pos(from.at.pos),
        }
        if session.server.is_mariadb {
            setup.push("SET @mariadb_slave_capability = 4".into());
        }
        for statement in setup {
            session.conn.query_drop(statement).await.map_err(|e| place.error(&e))?;
        }
        let (server, server_id) = (session.server, options.server_id);
        let stream = session.conn.get_binlog_stream(request).await;
        let stream = stream.map_err(|e| refused(endpoint, &server, server_id, from, &e))?;
        let silence = (options.heartbeat * SILENCE_HEARTBEATS).max(SILENCE_MIN);
        let (env, endpoint) = (env.clone(), endpoint.clone());
        let heard = env.clock.monotonic();
        Ok(Self { env, endpoint, server, server_id, stream, silence, heard, packet: Vec::new() })
    }

    /// The next packet, an event from its header to its checksum. `from` is where reading began, for messages.
    ///
    /// # Errors
    /// Those of [`super::refused`]; a retryable one when the connection is broken, silent for too long, or ended by the server.
    ///
    /// # Cancel safety
    /// Cancel safe: a packet is either returned or still to come.
    pub async fn next(&mut self, from: &Point) -> Result<&[u8]> {
        loop {
            let event = {
                // The client library panics on an event that is shorter than it says.
                let mut next = std::pin::pin!(AssertUnwindSafe(self.stream.next()).catch_unwind());
                match futures::poll!(&mut next) {
                    // What has arrived is taken without a timer.
                    Poll::Ready(event) => Some(event),
                    Poll::Pending => {
                        // Against a deadline: a wait that is dropped now and then would never end.
                        let passed = self.env.clock.monotonic().saturating_sub(self.heard);
                        let left = self.silence.saturating_sub(passed).max(ARRIVAL);
                        match select(next, self.env.clock.sleep(left)).await {
                            Either::Left((event, _)) => Some(event),
                            Either::Right(_) => None,
                        }
                    }
                }
            };
            let event = match event {
                Some(Ok(Some(Ok(event)))) => event,
                Some(Ok(Some(Err(e)))) => return Err(refused(&self.endpoint, &self.server, self.server_id, from, &e)),
                Some(Ok(None)) => return Err(self.broken("the server ended the log")),
                Some(Err(_)) => return Err(self.broken("a packet of the log was cut")),
                None => return Err(self.broken(&format!("the log was silent for {:?}", self.silence))),
            };
            self.heard = self.env.clock.monotonic();
            // The library adds the events of a compressed transaction behind it; they are decoded with it.
            if event.footer().get_checksum_enabled() {
                write_packet(&event, &mut self.packet);
                return Ok(&self.packet);
            }
        }
    }

    #[cold]
    fn broken(&self, why: &str) -> Error {
        unreachable_server(&self.endpoint.shown(), why)
    }

    /// Ends it; the server notices.
    pub async fn close(self) {
        if let Err(e) = self.stream.close().await {
            tracing::debug!("closing the log connection: {e}");
        }
    }
}

/// The packet as it came: the library took the checksum off.
fn write_packet(event: &events::Event, out: &mut Vec<u8>) {
    let header = event.header();
    out.clear();
    out.reserve(HEADER_BYTES + event.data().len() + 5);
    out.extend(header.timestamp().to_le_bytes());
    out.push(header.event_type_raw());
    out.extend(header.server_id().to_le_bytes());
    out.extend(header.event_size().to_le_bytes());
    out.extend(header.log_pos().to_le_bytes());
    out.extend(header.flags_raw().to_le_bytes());
    out.extend(event.data());
    let Ok(Some(algorithm)) = event.footer().get_checksum_alg() else { return };
    let describes = header.event_type_raw() == FORMAT_DESCRIPTION;
    if describes {
        out.push(algorithm as u8);
    }
    if (describes || algorithm == BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32)
        && let Some(checksum) = event.checksum()
    {
        out.extend(checksum);
    }
}

fn sids(set: &crate::binlog::gtid::GtidSet) -> Result<Vec<Sid<'static>>> {
    let mut out = Vec::new();
    for (server, tag, runs) in set.runs() {
        let mut text = server.to_string();
        if !tag.is_empty() {
            text = format!("{text}:{tag}");
        }
        for (first, last) in runs {
            text.push_str(&format!(":{first}-{last}"));
        }
        out.push(text.parse::<Sid<'static>>().map_err(|e| error::position_lost(&text, &e.to_string()))?);
    }
    Ok(out)
}

/// A random one.
fn uuid(env: &Env) -> crate::binlog::gtid::Uuid {
    let (a, b) = (env.rng.next_u64(), env.rng.next_u64());
    crate::binlog::gtid::Uuid((u128::from(a) << 64 | u128::from(b)).to_be_bytes())
}
