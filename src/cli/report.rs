//! Talk: everything dflow says that is not data. All of it goes to standard error.
//!
//! ```text
//! diagnostics   rendered, or one JSON object each      always, also with -q
//! status lines  head block, progress, summary          not with -q; as {"level":"INFO","msg":…,"ts":…} in JSON
//! last line     dflow: exit 12 preflight [DF…] …       whenever the exit code is not 0
//! ```
//! # Secrets
//! Values that came from `${env:…}` and `${file:…}` are typed as secrets and print as `***` by themselves. Should one
//! travel further as a plain text, such as a path in the message of a system call, it is masked here once more.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;

use dflow::common::{Diagnostic, Severity, SourceMap};
use dflow::render;
use serde_json::{Value, json};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::args::{ColorChoice, Global, LogFormat};

/// Where talk goes. One per process.
pub(crate) struct Report {
    color: bool,
    json: bool,
    quiet: bool,
    live: bool,
    /// Whether the last thing written is live lines that the next write replaces, and how many.
    live_lines: Mutex<usize>,
    secrets: Mutex<Vec<String>>,
}

/// Shorter values are not masked in running text: they would hide half of it, and nothing that short is a secret.
const MASKED_LENGTH_MIN: usize = 4;

impl Report {
    /// As the flags and the environment say.
    pub(crate) fn new(global: &Global) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let env = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        let json = global.log_format == LogFormat::Json;
        let color = wants_color(global.color, terminal, env("NO_COLOR"), env("CLICOLOR_FORCE"));
        Self {
            color: color && !json,
            json,
            quiet: global.quiet,
            live: terminal && !json && !global.quiet,
            live_lines: Mutex::new(0),
            secrets: Mutex::default(),
        }
    }

    /// Never shows this value.
    pub(crate) fn keep_secret(&self, value: &str) {
        let mut secrets = self.secrets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A secret of several lines is shown line by line, if at all.
        for part in value.lines().map(str::trim).filter(|p| p.len() >= MASKED_LENGTH_MIN) {
            if secrets.iter().all(|s| s != part) {
                secrets.push(part.to_owned());
            }
        }
        // Longest first: a secret may contain another.
        secrets.sort_by_key(|s| std::cmp::Reverse(s.len()));
    }

    /// The text without the secrets in it.
    pub(crate) fn masked(&self, text: &str) -> String {
        let secrets = self.secrets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        secrets.iter().fold(text.to_owned(), |text, secret| {
            let escaped = serde_json::to_string(secret).unwrap_or_default();
            text.replace(secret.as_str(), "***").replace(escaped.trim_matches('"'), "***")
        })
    }

    /// Whether lines may be drawn over.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Tells a diagnostic.
    pub(crate) fn diagnostic(&self, diagnostic: &Diagnostic, sources: &SourceMap) {
        if self.quiet && diagnostic.severity == Severity::Note {
            return;
        }
        if self.json {
            self.object(render::json(diagnostic, sources));
        } else {
            self.write(&render::text(diagnostic, sources, self.color));
        }
    }

    /// Tells several; the exit code is that of the first error, 0 without one.
    pub(crate) fn all(&self, diagnostics: &[Diagnostic], sources: &SourceMap) -> u8 {
        for d in diagnostics {
            self.diagnostic(d, sources);
        }
        match render::deciding(diagnostics) {
            Some(d) => self.end(d),
            None => 0,
        }
    }

    /// Tells an error and ends with it.
    pub(crate) fn fail(&self, diagnostic: &Diagnostic, sources: &SourceMap) -> u8 {
        self.diagnostic(diagnostic, sources);
        self.end(diagnostic)
    }

    /// Writes the last line; the exit code.
    pub(crate) fn end(&self, diagnostic: &Diagnostic) -> u8 {
        let code = diagnostic.class.exit_code();
        if self.json {
            let (class, df, message) = (diagnostic.class, diagnostic.code.to_string(), &diagnostic.message);
            self.object(json!({"exit": code, "class": class, "code": df, "message": message}));
        } else {
            self.write(&render::last_line(diagnostic));
        }
        code
    }

    /// A status line.
    pub(crate) fn status(&self, text: &str) {
        self.event(text, || json!({ "msg": text }));
    }

    /// A status line that has fields in JSON.
    pub(crate) fn event(&self, text: &str, fields: impl FnOnce() -> Value) {
        if self.quiet {
            return;
        }
        if self.json {
            let mut value = json!({ "level": "INFO" });
            if let (Value::Object(all), Value::Object(more)) = (&mut value, fields()) {
                all.extend(more);
            }
            self.object(value);
        } else {
            self.write(text);
        }
    }

    /// A line of the log, formatted already.
    pub(crate) fn log(&self, line: &str) {
        self.write(line);
    }

    /// Lines that the next write replaces. Only on a terminal.
    pub(crate) fn live(&self, lines: &[String]) {
        if !self.live {
            return;
        }
        let mut drawn = self.lock();
        let mut text = erase(*drawn);
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        *drawn = lines.len();
        put(&text);
    }

    /// Writes an object with the time.
    fn object(&self, mut value: Value) {
        if let Value::Object(all) = &mut value {
            all.insert("ts".into(), now().into());
        }
        self.write(&value.to_string());
    }

    fn write(&self, text: &str) {
        let mut drawn = self.lock();
        let mut all = erase(std::mem::take(&mut *drawn));
        all.push_str(&self.masked(text));
        all.push('\n');
        put(&all);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, usize> {
        self.live_lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The time as lines of the log have it.
fn now() -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// Moves up over `lines` lines and clears what follows.
fn erase(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\u{1b}[{lines}A\u{1b}[J") }
}

/// Nobody may be listening any more; there is no one left to tell.
fn put(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn wants_color(choice: ColorChoice, terminal: bool, no_color: bool, force: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => !no_color && (terminal || force),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_environment_and_no_color_over_force() {
        use ColorChoice::{Always, Auto, Never};
        assert!(wants_color(Always, false, true, false));
        assert!(!wants_color(Never, true, false, true));
        assert!(wants_color(Auto, true, false, false));
        assert!(!wants_color(Auto, true, true, false));
        assert!(wants_color(Auto, false, false, true));
        assert!(!wants_color(Auto, false, true, true));
        assert!(!wants_color(Auto, false, false, false));
    }

    #[test]
    fn secrets_are_masked_wherever_they_turn_up() {
        let global = Global { color: ColorChoice::Never, quiet: true, verbose: 0, log_format: LogFormat::Text };
        let report = Report::new(&global);
        report.keep_secret("hunter2\nsecond line\nab");
        report.keep_secret("hunter2-and-more");
        report.keep_secret("quote\"d");
        assert_eq!(
            report.masked("cannot open /x/hunter2/y: hunter2-and-more, second line"),
            "cannot open /x/***/y: ***, ***"
        );
        assert_eq!(report.masked(r#"{"message":"quote\"d"}"#), r#"{"message":"***"}"#);
        assert_eq!(report.masked("ab"), "ab", "too short to be one");
    }

    #[test]
    fn live_lines_are_erased_by_moving_up() {
        assert_eq!(erase(0), "");
        assert_eq!(erase(2), "\u{1b}[2A\u{1b}[J");
    }
}
