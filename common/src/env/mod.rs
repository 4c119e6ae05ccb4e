//! The door to the outside world: clock, randomness, files, fail points, tasks.
//!
//! One [`Env`] per engine, handed down, never a global. Production uses [`Env::production`]; tests swap any
//! part: a manual clock, a seeded random source, an in-memory file system that forgets what was not synced,
//! fail points that crash.

mod clock;
mod fs;
mod rng;
#[cfg(any(test, feature = "test-util"))]
pub mod sim;
mod spawn;

use std::sync::Arc;

pub use clock::{Clock, SystemClock};
pub use fail_parallel::FailPointRegistry;
pub use fs::{DirEntry, Fs, FsFile, FsLock, FsRead, Metadata, RealFs};
pub use rng::{Rng, SeededRng, entropy_seed};
pub use spawn::{Spawner, TaskHandle};

/// Everything a task may ask of the outside world. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Wall and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Random numbers, seeded.
    pub rng: Arc<dyn Rng>,
    /// Local files.
    pub fs: Arc<dyn Fs>,
    /// Named places where a test may crash or fail the program.
    pub failpoints: Arc<FailPointRegistry>,
    /// The only way to start a task.
    pub spawner: Spawner,
}

impl Env {
    /// The real world, with tasks on the given runtimes.
    pub fn production(spawner: Spawner) -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            rng: Arc::new(SeededRng::new(entropy_seed())),
            fs: Arc::new(RealFs),
            failpoints: Arc::new(FailPointRegistry::new()),
            spawner,
        }
    }
}

impl Env {
    /// Evaluates the fail point `name`: `None` unless a test has set it with [`set_fail_point`](Self::set_fail_point),
    /// else the argument of its `return(..)` action. Costs a look into an empty map in production.
    pub fn fail_point(&self, name: &str) -> Option<String> {
        fail_parallel::eval(Arc::clone(&self.failpoints), name, Option::unwrap_or_default)
    }

    /// Sets what happens at the fail point `name`, in the language of the `fail` crate: `1*off->return(crash)` passes
    /// once and then answers `crash`. For tests.
    #[cfg(any(test, feature = "test-util"))]
    pub fn set_fail_point(&self, name: &str, actions: &str) {
        fail_parallel::cfg(Arc::clone(&self.failpoints), name, actions).expect("actions of a test are well formed");
    }

    /// Calls `f` whenever the fail point `name` is passed. For tests.
    #[cfg(any(test, feature = "test-util"))]
    pub fn on_fail_point(&self, name: &str, f: impl Fn() + Send + Sync + 'static) {
        fail_parallel::cfg_callback(Arc::clone(&self.failpoints), name, f).expect("a callback is well formed");
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Env")
    }
}
