//! What several tests here need: the repository's files, the binary.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest a test waits for something that happens at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder of the repository whose names end so, sorted; build output and state left out.
pub(crate) fn files(below: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![below.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    todo.push(path);
                }
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A path below the repository's folder, with `/`.
pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// A Rust file cut into the part that ships and the part that tests.
pub(crate) fn code_and_tests(path: &Path) -> (String, String) {
    let text = fs::read_to_string(path).unwrap();
    let relative = relative(path);
    let all_test = relative.starts_with("tests/")
        || relative.contains("/tests/")
        || relative.contains("/benches/")
        || relative.contains("/examples/")
        || relative.ends_with("/tests.rs")
        || relative.ends_with("_tests.rs")
        || text.contains("#![cfg(test)]");
    if all_test {
        return (String::new(), text);
    }
    match text.find("#[cfg(test)]\nmod ").or_else(|| text.find("#[cfg(test)]\n#[allow")) {
        Some(at) => {
            let (code, tests) = text.split_at(at);
            (code.to_owned(), tests.to_owned())
        }
        None => (text, String::new()),
    }
}

/// What a finished run said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The last line on standard error.
    pub(crate) fn last_line(&self) -> &str {
        self.err.lines().last().unwrap_or_default()
    }

    /// Panics with everything it said unless it ended so.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Panics unless it ended with this code, naming this error at its place and in its last line.
    #[track_caller]
    pub(crate) fn expect_error(self, exit: i32, code: dflow::common::CodeInfo) -> Self {
        let ran = self.expect(exit);
        assert_eq!(i32::from(code.class.exit_code()), exit, "{} leads to another exit code", code.code);
        assert!(ran.err.contains(&format!("error[{}]: ", code.code)), "{ran:#?}");
        let ending = format!("dflow: exit {exit} {} [{}] ", code.class.name(), code.code);
        assert!(ran.last_line().starts_with(&ending), "{ran:#?}");
        ran
    }
}

/// A folder of its own with scripts in it, and the binary.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// With a copy of an example.
    pub(crate) fn of_example(name: &str) -> Self {
        let place = Self::new();
        let from = root().join("examples").join(name);
        for path in files(&from, "") {
            let to = place.path(path.strip_prefix(&from).unwrap().to_str().unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(&path, to).unwrap();
        }
        // What somebody's own run of the example left behind.
        let _ = fs::remove_dir_all(place.path("out"));
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, making its folder.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// All lines of all files below a folder that are no markers, sorted by file.
    pub(crate) fn lines_below(&self, folder: &str) -> Vec<String> {
        if !self.path(folder).exists() {
            return Vec::new();
        }
        files(&self.path(folder), "")
            .iter()
            .filter(|p| !p.file_name().unwrap().to_string_lossy().starts_with(['.', '_']))
            .flat_map(|p| fs::read_to_string(p).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    /// The binary, in this folder, with an environment of its own.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dflow"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.dir.path().join("home"))
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        finish(&mut self.command(args))
    }

    /// Runs it with a text on standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> Ran {
        let mut child =
            self.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        ran(child.wait_with_output().unwrap())
    }

    /// Starts it and lets it run.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let err = self.path("stderr.txt");
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(fs::File::create(&err).unwrap());
        Running { child: command.spawn().unwrap(), err }
    }
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Ran {
    ran(command.output().unwrap())
}

fn ran(output: std::process::Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A process of ours; killed when the test is over.
pub(crate) struct Running {
    pub(crate) child: Child,
    err: PathBuf,
}

impl Running {
    /// Sends a signal: `INT`, `TERM`, `KILL`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// What it said so far on standard error.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.err).unwrap_or_default()
    }

    /// Waits until it has said something on standard error.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        wait_until(text, || self.said().contains(text));
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ran {
        let mut out = String::new();
        if let Some(mut pipe) = self.child.stdout.take() {
            std::io::Read::read_to_string(&mut pipe, &mut out).unwrap();
        }
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        Ran { code, out, err: self.said() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
