//! Starting and stopping.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

static SKIPPED: AtomicUsize = AtomicUsize::new(0);
static SHARED: OnceLock<Mutex<HashMap<String, Launched>>> = OnceLock::new();

/// A shared server, or why there is none.
type Launched = Result<Arc<Server>, String>;

/// How many tests of this binary were skipped for want of a server.
pub fn skipped() -> usize {
    SKIPPED.load(Ordering::Relaxed)
}

/// A running server on 127.0.0.1.
pub struct Server {
    kind: String,
    port: u16,
    version: String,
    home: Option<Home>,
}

/// Where a server of ours lives.
struct Home {
    dir: tempfile::TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Server {
    /// The server of this kind (a folder of `tests/servers`) that all tests of this binary share; `None` when it cannot be
    /// had and need not. Tests make a database of their own in it and never stop it.
    ///
    /// # Panics
    /// When there is none and `DFLOW_REQUIRE_BACKENDS` names it.
    pub fn get(kind: &str) -> Option<Arc<Server>> {
        let mut servers = SHARED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        let server = servers.entry(kind.to_owned()).or_insert_with(|| shared(kind)).clone();
        drop(servers);
        server.map_err(|why| skip(kind, &why)).ok()
    }

    /// A server of this test alone.
    ///
    /// # Panics
    /// As [`Server::get`].
    pub fn own(kind: &str) -> Option<Server> {
        Self::own_with(kind, &[], &[])
    }

    /// A server of this test alone, with more arguments and environment variables for its `start.sh`.
    ///
    /// # Panics
    /// As [`Server::get`].
    pub fn own_with(kind: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Option<Server> {
        launch(kind, arguments, environment).map_err(|why| skip(kind, &why)).ok()
    }

    /// Which kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its port on 127.0.0.1. Stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The version that was asked for, as its start script spells it; empty for a server that ran already.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Stops it with SIGKILL.
    ///
    /// # Panics
    /// When it cannot be stopped, or is not ours.
    pub fn kill(&self) {
        self.stop_with(&["--kill"]);
    }

    /// Stops it in order.
    ///
    /// # Panics
    /// When it cannot be stopped, or is not ours.
    pub fn stop(&self) {
        self.stop_with(&[]);
    }

    /// Starts it again after [`Server::kill`] or [`Server::stop`]: same data, same port.
    ///
    /// # Panics
    /// When it does not start, or is not ours.
    pub fn start(&self) {
        let home = self.home();
        run_start(&self.kind, home.dir.path(), &home.arguments, &home.environment)
            .expect("a server that ran starts again");
    }

    fn home(&self) -> &Home {
        self.home.as_ref().expect("a server that was given by DFLOW_TEST_… is not ours to stop: use Server::own")
    }

    fn stop_with(&self, arguments: &[&str]) {
        let status = Command::new(script(&self.kind, "stop.sh")).arg(self.home().dir.path()).args(arguments).status();
        assert!(status.is_ok_and(|s| s.success()), "stopping {} failed", self.kind);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.home.is_some() {
            self.stop_with(&["--kill"]);
        }
    }
}

fn skip(kind: &str, why: &str) {
    let required = std::env::var("DFLOW_REQUIRE_BACKENDS").unwrap_or_default();
    assert!(!required.split(',').any(|r| r.trim() == kind), "DFLOW_REQUIRE_BACKENDS names {kind}: {why}");
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not eprintln!: the test harness would keep it to itself.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: no {kind}: {why} ({count} so far)");
}

fn shared(kind: &str) -> Launched {
    if let Ok(given) = std::env::var(format!("DFLOW_TEST_{}", kind.to_uppercase())) {
        let port = given.rsplit(':').next().and_then(|p| p.parse().ok());
        let port = port.ok_or_else(|| format!("DFLOW_TEST_{} is not host:port", kind.to_uppercase()))?;
        return Ok(Arc::new(Server { kind: kind.into(), port, version: String::new(), home: None }));
    }
    launch(kind, &[], &[]).map(Arc::new)
}

fn launch(kind: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Server, String> {
    let dir = tempfile::Builder::new().prefix("dflow-server-").tempdir().map_err(|e| e.to_string())?;
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).into()).collect();
    let environment: Vec<_> = environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    run_start(kind, dir.path(), &arguments, &environment)?;
    let env = std::fs::read_to_string(dir.path().join("server.env")).map_err(|e| e.to_string())?;
    let field = |name: &str| env.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
    let port = field("PORT").parse().map_err(|_| format!("server.env has no port: {env}"))?;
    let version = field("VERSION").to_owned();
    Ok(Server { kind: kind.into(), port, version, home: Some(Home { dir, arguments, environment }) })
}

fn run_start(kind: &str, dir: &Path, arguments: &[String], environment: &[(String, String)]) -> Result<(), String> {
    // Output goes to a file: the server inherits it, and a pipe would end when the server does.
    let said = dir.join("start.log");
    let log = std::fs::File::create(&said).map_err(|e| e.to_string())?;
    let status = Command::new(script(kind, "start.sh"))
        .arg(dir)
        .args(arguments)
        .envs(environment.iter().map(|(k, v)| (k, v)))
        // The server must not outlive the tests, however they end.
        .env("DFLOW_SERVER_OWNER", std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .status()
        .map_err(|e| format!("its start script does not run: {e}"))?;
    if status.success() {
        return Ok(());
    }
    let said = std::fs::read_to_string(said).unwrap_or_default();
    Err(said.lines().last().unwrap_or("its start script failed").to_owned())
}

fn script(kind: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(name)
}
