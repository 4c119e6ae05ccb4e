//! A fixed view of the tables, and where in the log it is.
//!
//! ```text
//! log      ──────────P────────────────────H──────>
//!                    │  in flight: a few  │
//!                    │  transactions      │
//! view               all of these are in it ≤ what is in it ≤ nothing behind here is in it
//! ```
//! # MariaDB
//! A consistent snapshot says its place in the log exactly: P = H, and nothing is in flight.
//!
//! # MySQL with GTIDs
//! 1. A *follower* reads the log up to where it ends now; what it has read is the set S at P.
//! 2. Once S is within `@@gtid_executed`, every row of S is visible.
//! 3. `START TRANSACTION WITH CONSISTENT SNAPSHOT` fixes the view. (What a query sees is decided there, not when it reads.)
//! 4. H is the end of the log now: what became visible before had been written before.
//! 5. The follower reads on to H and keeps the row changes in between, those *in flight*: some are in the view, some are not.
//!
//! A chunk that is read in the view, with the changes in flight applied to it by primary key, is the table exactly as it was
//! at H: a change that is in the view already is applied a second time and changes nothing. Where nothing was written between
//! P and H there is nothing to apply, and that is known, not guessed from two equal samples.
//!
//! # MySQL without GTIDs
//! The same, but P is the end of the log some time ago ([`crate::cdc::marks`]).
//!
//! # State
//! One connection for the view; on MySQL the follower's, which stays open, so that no byte of the log is read twice; one for
//! questions, when there are any. Changes in flight up to [`IN_FLIGHT_BYTES_MAX`]: with more a later view is taken.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use dflow_common::Env;
use dflow_connector_api::Result;
use mysql_async::prelude::Queryable;

use crate::binlog::assembler::{Assembler, Notice, Outcome};
use crate::binlog::position::{FilePosition, Point, Position, Seen};
use crate::binlog::transaction::HeldRows;
use crate::cdc::catalog;
use crate::cdc::log::LogOptions;
use crate::cdc::marks;
use crate::cdc::reader::LogReader;
use crate::cdc::source::{Routes, Shared};
use crate::client::{Place, Session, connect};
use crate::error;

/// How long a view is used; an old one makes the server keep old versions of rows.
const VIEW_AGE_MAX: Duration = Duration::from_secs(10);
/// A fail point whose argument is another limit than [`IN_FLIGHT_BYTES_MAX`]; with 0 one view in vain is enough.
pub const IN_FLIGHT_LIMIT: &str = "mysql-cdc-in-flight-bytes";
/// Bytes of changes in flight that are kept.
const IN_FLIGHT_BYTES_MAX: usize = 64 << 20;
/// Views that are taken in vain because too much was in flight, before the job hears of it.
const VIEWS_IN_VAIN_MAX: u32 = 20;
/// Times the follower reads on to the end of the log, which moves meanwhile.
const APPROACHES_MAX: u32 = 10;
/// It is near the end when it took no longer than this.
const APPROACH_NEAR: Duration = Duration::from_millis(50);
/// The first wait for transactions to become visible; it doubles.
const VISIBLE_WAIT_MIN: Duration = Duration::from_millis(1);
/// The longest one.
const VISIBLE_WAIT_MAX: Duration = Duration::from_millis(50);
/// After so long without becoming visible, a warning.
const VISIBLE_WARNING: Duration = Duration::from_secs(10);
/// A follower that was not used for so long is given up.
const FOLLOWER_GAP_MAX: Duration = Duration::from_secs(60);
/// An idle server tells the follower where it is at least this often.
const FOLLOWER_HEARTBEAT: Duration = Duration::from_millis(500);

/// What messages say is read.
const TABLES: &str = "the tables";

/// See the [module](self).
pub struct View {
    /// Everything up to here is in it.
    pub low: Point,
    /// Nothing behind here is in it.
    pub high: FilePosition,
    /// Row changes between the two, in order.
    pub in_flight: Vec<HeldRows>,
    opened: Duration,
}

/// A view and the connection that has it.
pub struct Opened {
    /// The connection.
    pub session: Session,
    /// What it sees.
    pub view: View,
}

/// Takes views.
pub struct Views {
    shared: Arc<Shared>,
    env: Env,
    server_id: u32,
    session: Option<Session>,
    questions: Option<Session>,
    follower: Option<LogReader<Routes>>,
    settle: Option<Duration>,
    /// When the follower was used last.
    followed: Duration,
    in_flight_max: usize,
}

impl Views {
    /// Without a connection.
    pub fn new(shared: Arc<Shared>, env: Env, server_id: u32) -> Self {
        let in_flight_max = env.fail_point(IN_FLIGHT_LIMIT).and_then(|n| n.parse().ok()).unwrap_or(IN_FLIGHT_BYTES_MAX);
        Self {
            shared,
            env,
            server_id,
            session: None,
            questions: None,
            follower: None,
            settle: None,
            followed: Duration::ZERO,
            in_flight_max,
        }
    }

    /// Gives up all connections after an error.
    pub fn reset(&mut self) {
        (self.session, self.questions, self.follower) = (None, None, None);
    }

    /// Whether a view should be given back and another one be taken.
    pub fn is_old(&self, view: &View) -> bool {
        self.env.clock.monotonic().saturating_sub(view.opened) > VIEW_AGE_MAX
    }

    /// Gives a view back.
    pub fn close(&mut self, opened: Opened) {
        self.session = Some(opened.session);
    }

    /// Gives a view back at once, and with it what the server keeps for it.
    pub async fn release(&mut self, mut opened: Opened) {
        match opened.session.conn.query_drop("ROLLBACK").await {
            Ok(()) => self.session = Some(opened.session),
            Err(e) => tracing::debug!("giving a view back: {e}"),
        }
    }

    /// Takes a view.
    ///
    /// # Errors
    /// Of the connections and the log; [`error::TOO_MUCH_IN_FLIGHT`].
    pub async fn take(&mut self) -> Result<Opened> {
        let shared = self.shared.clone();
        let endpoint = &shared.options().endpoint;
        let place = Place { endpoint, table: TABLES };
        let mut session = match self.session.take() {
            Some(mut session) => {
                session.conn.query_drop("ROLLBACK").await.map_err(|e| place.error(&e))?;
                session
            }
            None => {
                let mut session = open(&self.env, &shared).await?;
                let level = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";
                session.conn.query_drop(level).await.map_err(|e| place.error(&e))?;
                session
            }
        };
        let view = if session.server.is_mariadb {
            let low = marks::mariadb_snapshot(&mut session, endpoint).await?;
            View { high: low.at.clone(), low, in_flight: Vec::new(), opened: self.env.clock.monotonic() }
        } else {
            self.mysql(&mut session).await?
        };
        Ok(Opened { session, view })
    }

    /// A connection without a view.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn questions(&mut self) -> Result<&mut Session> {
        let session = match self.questions.take() {
            Some(session) => session,
            None => open(&self.env, &self.shared).await?,
        };
        Ok(self.questions.insert(session))
    }

    async fn mysql(&mut self, session: &mut Session) -> Result<View> {
        let shared = self.shared.clone();
        let endpoint = &shared.options().endpoint;
        let place = Place { endpoint, table: TABLES };
        let attempts = if self.in_flight_max == 0 { 1 } else { VIEWS_IN_VAIN_MAX };
        for _ in 0..attempts {
            let (low, mut follower) = match session.server.has_gtid {
                true => self.visible(session).await?,
                false => self.settled(session).await?,
            };
            let fix = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
            session.conn.query_drop(fix).await.map_err(|e| place.error(&e))?;
            let opened = self.env.clock.monotonic();
            let high = marks::log_end(session, endpoint).await?;
            let in_flight = self.follow(&mut follower, &high, true).await?;
            self.follower = session.server.has_gtid.then_some(follower);
            if let Some(in_flight) = in_flight {
                return Ok(View { low, high, in_flight, opened });
            }
            session.conn.query_drop("ROLLBACK").await.map_err(|e| place.error(&e))?;
        }
        Err(error::too_much_in_flight(self.in_flight_max))
    }

    /// A follower at what was the end of the log, once all of that is visible.
    async fn visible(&mut self, session: &mut Session) -> Result<(Point, LogReader<Routes>)> {
        let shared = self.shared.clone();
        let endpoint = &shared.options().endpoint;
        // One that was left behind for long would read much that nobody needs.
        let now = self.env.clock.monotonic();
        let is_near = now.saturating_sub(std::mem::replace(&mut self.followed, now)) < FOLLOWER_GAP_MAX;
        let mut follower = match self.follower.take().filter(|_| is_near) {
            Some(follower) => follower,
            None => {
                let start = marks::safe_start(session, endpoint).await?;
                self.new_follower(start)
            }
        };
        for _ in 0..APPROACHES_MAX {
            let since = self.env.clock.monotonic();
            let end = marks::log_end(session, endpoint).await?;
            self.follow(&mut follower, &end, false).await?;
            // What was written meanwhile would all be in flight.
            if self.env.clock.monotonic().saturating_sub(since) < APPROACH_NEAR {
                break;
            }
        }
        let low = follower.assembler().position().point;
        let since = self.env.clock.monotonic();
        let (mut wait, mut warned) = (VISIBLE_WAIT_MIN, false);
        loop {
            let visible = marks::visible(session, endpoint).await?;
            if matches!(&low.seen, Some(Seen::Mysql(read)) if read.is_subset(&visible)) {
                return Ok((low, follower));
            }
            self.env.clock.sleep(wait).await;
            wait = (wait * 2).min(VISIBLE_WAIT_MAX);
            let waited = self.env.clock.monotonic().saturating_sub(since);
            if waited > VISIBLE_WARNING && !warned {
                warned = true;
                tracing::warn!(
                    "transactions in the log are not visible for {waited:.0?}: is a replica slow to answer?"
                );
            }
        }
    }

    /// A follower at what was the end of the log some time ago.
    async fn settled(&mut self, session: &mut Session) -> Result<(Point, LogReader<Routes>)> {
        let shared = self.shared.clone();
        let endpoint = &shared.options().endpoint;
        let settle = match self.settle {
            Some(settle) => settle,
            None => {
                let settle = marks::settle_time(session, endpoint).await?;
                tracing::warn!(
                    "{} has no GTIDs: that a change is visible {settle:?} after it was logged is assumed, not known; \
                     SET PERSIST gtid_mode = ON makes it known",
                    endpoint.shown()
                );
                *self.settle.insert(settle)
            }
        };
        let low = Point { at: marks::log_end(session, endpoint).await?, seen: None };
        self.env.clock.sleep(settle).await;
        let follower = self.new_follower(low.clone());
        Ok((low, follower))
    }

    fn new_follower(&self, start: Point) -> LogReader<Routes> {
        let options = self.shared.options();
        let log = LogOptions { server_id: self.server_id, heartbeat: FOLLOWER_HEARTBEAT.min(options.heartbeat) };
        let routes = Routes::without_gates(&self.shared);
        let assembler = Assembler::new(Position::new("", start), Vec::new(), routes);
        LogReader::new(self.env.clone(), options.endpoint.clone(), log, assembler)
    }

    /// Reads the log up to `until`; the row changes on the way when they are kept, `None` when they are too many.
    async fn follow(
        &mut self,
        follower: &mut LogReader<Routes>,
        until: &FilePosition,
        keeps: bool,
    ) -> Result<Option<Vec<HeldRows>>> {
        follower.assembler().keep(keeps);
        let mut fits = true;
        // Before its first packet it does not know in which file it is.
        while !matches!(follower.assembler().at().compare(until), Some(Ordering::Equal | Ordering::Greater)) {
            if let Outcome::NeedsCatalog { database, table } = follower.advance().await? {
                let endpoint = self.shared.options().endpoint.clone();
                let found = catalog::find(self.questions().await?, &endpoint, &database, &table).await?;
                let columns = found.map(|t| t.for_log()).unwrap_or_default();
                follower.assembler().add_catalog(database, table, columns);
            }
            // XA COMMIT of what was prepared before the follower began: whether it is in the view nobody knows, a later one
            // has it.
            let notices = follower.assembler().take_notices();
            let is_unknown = keeps && notices.iter().any(|n| matches!(n, Notice::PreparedBefore(_)));
            if is_unknown || follower.assembler().kept_bytes() > self.in_flight_max {
                fits = false;
                follower.assembler().keep(false);
            }
        }
        let kept = follower.assembler().take_kept();
        Ok(fits.then_some(kept))
    }
}

/// A session of the source.
///
/// # Errors
/// As [`connect`].
pub async fn open(env: &Env, shared: &Shared) -> Result<Session> {
    let options = shared.options();
    connect(env, &options.endpoint, TABLES, options.connect_patience).await
}
