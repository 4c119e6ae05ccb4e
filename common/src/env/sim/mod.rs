//! Doubles of the outside world for tests (feature `test-util`).

mod fs;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::{Clock, Env, FailPointRegistry, Fs, RealFs, SeededRng, Spawner};

pub use fs::{Fault, Loss, SimFs};

/// Tokio's (pausable) time as a clock: virtual under `tokio::time::pause`.
pub struct TokioClock {
    start: tokio::time::Instant,
    wall_us: i64,
}

impl TokioClock {
    /// Wall time starts at `wall_us` microseconds since 1970.
    #[expect(clippy::disallowed_methods, reason = "a clock")]
    pub fn starting_at(wall_us: i64) -> Self {
        Self { start: tokio::time::Instant::now(), wall_us }
    }
}

impl Clock for TokioClock {
    fn wall_us(&self) -> i64 {
        self.wall_us + self.start.elapsed().as_micros() as i64
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "a clock")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// An environment on the current runtime with seeded randomness, Tokio's clock from 2026-01-01 and the given files.
pub fn env(seed: u64, fs: Arc<dyn Fs>) -> Env {
    Env {
        clock: Arc::new(TokioClock::starting_at(1_767_225_600_000_000)),
        rng: Arc::new(SeededRng::new(seed)),
        fs,
        failpoints: Arc::new(FailPointRegistry::new()),
        spawner: Spawner::current(),
    }
}

/// [`env`] over real files.
pub fn env_real_fs(seed: u64) -> Env {
    env(seed, Arc::new(RealFs))
}
