//! Tasks.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};

/// A running task. Dropping it does not stop it; [`TaskHandle::abort`] does.
pub type TaskHandle<T> = tokio::task::JoinHandle<T>;

/// Starts named tasks: I/O on one runtime, operators on another, so that a busy operator never delays a
/// heartbeat. In simulation both are one seeded current-thread runtime.
#[derive(Clone)]
pub struct Spawner {
    io: Handle,
    cpu: Handle,
    /// Owned runtimes, kept alive; none when the caller brought its own.
    _owned: Arc<Vec<RuntimeGuard>>,
}

/// Shuts a runtime down without waiting, which is allowed inside another runtime.
struct RuntimeGuard(Option<Runtime>);

impl Drop for RuntimeGuard {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Spawner {
    /// Both kinds of task on the runtime of the caller.
    pub fn current() -> Self {
        let handle = Handle::current();
        Self { io: handle.clone(), cpu: handle, _owned: Arc::new(Vec::new()) }
    }

    /// Two runtimes of our own: `cpu_threads` for operators, two threads for I/O.
    pub fn owned(cpu_threads: usize) -> io::Result<Self> {
        let io = Builder::new_multi_thread().worker_threads(2).thread_name("dflow-io").enable_all().build()?;
        let cpu = Builder::new_multi_thread()
            .worker_threads(cpu_threads.max(1))
            .thread_name("dflow-cpu")
            .enable_all()
            .build()?;
        Ok(Self {
            io: io.handle().clone(),
            cpu: cpu.handle().clone(),
            _owned: Arc::new(vec![RuntimeGuard(Some(io)), RuntimeGuard(Some(cpu))]),
        })
    }

    /// Starts a task that mostly waits.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn_io<F>(&self, _name: &str, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.io.spawn(future)
    }

    /// Starts a task that mostly computes.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn_cpu<F>(&self, _name: &str, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.cpu.spawn(future)
    }

    /// Runs a blocking call on a thread of its own.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn blocking<F, T>(&self, call: F) -> TaskHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.io.spawn_blocking(call)
    }

    /// Runs a future to its end on the I/O runtime, from a thread that is not a runtime's.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.io.block_on(future)
    }
}
