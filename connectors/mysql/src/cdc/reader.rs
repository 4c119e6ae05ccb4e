//! The log without an end.
//!
//! # Invariants
//! A connection that breaks is opened again at [`Assembler::position`]: what is in the outputs is not read twice, and
//! nothing behind it is left out.

use std::time::Duration;

use dflow_common::Classified;
use dflow_common::env::Env;
use dflow_connector_api::error::Result;
use futures::future::BoxFuture;

use super::error::{SERVER_ID_TAKEN, server_id_clash};
use super::log::{LogConnection, LogOptions};
use crate::binlog::assembler::{Assembler, Outcome, Router};
use crate::client::Endpoint;
use crate::client::connect::backoff;

/// Connections that may be lost to another reader with our server id. The first may be one of ours that the server has not
/// noticed is gone.
const CLASHES_MAX: u32 = 3;
/// Clashes that are further apart have nothing to do with each other.
const CLASHES_WITHIN: Duration = Duration::from_secs(60);

/// Reads the log of one server.
pub struct LogReader<R> {
    env: Env,
    endpoint: Endpoint,
    options: LogOptions,
    assembler: Assembler<R>,
    connection: Option<LogConnection>,
    opening: Option<BoxFuture<'static, Result<LogConnection>>>,
    /// The wait before the next opening.
    pause: Option<BoxFuture<'static, ()>>,
    /// Connections in a row that gave no packet.
    failures: u32,
    /// Connections that the server ended for another reader with our number, and when the last one was.
    clashes: (u32, Duration),
    /// A packet that waits for the catalog of its table.
    waiting: Option<Vec<u8>>,
}

impl<R: Router> LogReader<R> {
    /// Goes on where the assembler is. Opens nothing yet.
    pub fn new(env: Env, endpoint: Endpoint, options: LogOptions, assembler: Assembler<R>) -> Self {
        Self {
            env,
            endpoint,
            options,
            assembler,
            connection: None,
            opening: None,
            pause: None,
            failures: 0,
            clashes: (0, Duration::ZERO),
            waiting: None,
        }
    }

    /// What is read: outputs, position, notices, catalog.
    pub fn assembler(&mut self) -> &mut Assembler<R> {
        &mut self.assembler
    }

    /// Reads one packet, on a new connection if the last one broke. Waits while nothing happens.
    ///
    /// # Errors
    /// Those that no new connection can cure.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn advance(&mut self) -> Result<Outcome> {
        if let Some(packet) = &self.waiting {
            let outcome = self.assembler.packet(packet)?;
            if outcome == Outcome::Done {
                self.waiting = None;
            }
            return Ok(outcome);
        }
        loop {
            let broken = match self.try_advance().await {
                Ok(outcome) => return Ok(outcome),
                Err(e) if !e.retryable() => return Err(e),
                Err(e) => e,
            };
            self.connection = None;
            self.failures += 1;
            if broken.code() == SERVER_ID_TAKEN.code {
                let now = self.env.clock.monotonic();
                let (count, at) = self.clashes;
                self.clashes = (if now.saturating_sub(at) > CLASHES_WITHIN { 1 } else { count + 1 }, now);
                if self.clashes.0 >= CLASHES_MAX {
                    return Err(server_id_clash(&self.endpoint.shown(), self.options.server_id, CLASHES_MAX));
                }
            }
            tracing::warn!(
                failures = self.failures,
                server = self.endpoint.shown(),
                "the log connection broke: {broken}"
            );
            self.pause = Some(self.env.clock.sleep(backoff(&self.env, self.failures)));
        }
    }

    async fn try_advance(&mut self) -> Result<Outcome> {
        if let Some(pause) = &mut self.pause {
            pause.await;
            self.pause = None;
        }
        if self.connection.is_none() {
            // Kept here: an opening that is dropped now and then would never end.
            let opening = match self.opening.take() {
                Some(opening) => opening,
                None => {
                    let (env, endpoint, options) = (self.env.clone(), self.endpoint.clone(), self.options.clone());
                    let from = self.assembler.reopen();
                    Box::pin(async move { LogConnection::open(&env, &endpoint, &options, &from, Duration::ZERO).await })
                }
            };
            let opened = self.opening.insert(opening).await;
            self.opening = None;
            self.connection = Some(opened?);
        }
        let Some(connection) = &mut self.connection else { return Ok(Outcome::Done) };
        let packet = connection.next(self.assembler.start()).await?;
        self.failures = 0;
        let outcome = self.assembler.packet(packet)?;
        if outcome != Outcome::Done {
            self.waiting = Some(packet.to_vec());
        }
        Ok(outcome)
    }
}
