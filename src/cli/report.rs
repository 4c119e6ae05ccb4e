//! Talk: everything dflow says that is not data. All of it goes to standard error.
//!
//! ```text
//! diagnostics   rendered, or one JSON object each      always, also with -q
//! status lines  head block, progress, summary          not with -q; as {"level":"INFO","msg":…} in JSON
//! last line     dflow: exit 12 preflight [DF…] …       whenever the exit code is not 0
//! ```

use std::io::{IsTerminal, Write};
use std::sync::Mutex;

use dflow::common::{Diagnostic, Severity, SourceMap};
use dflow::render;
use serde_json::{Value, json};

use super::args::{ColorChoice, Global, LogFormat};

/// Where talk goes. One per process.
pub(crate) struct Report {
    color: bool,
    json: bool,
    quiet: bool,
    verbose: bool,
    live: bool,
    /// Whether the last thing written is live lines that the next write replaces, and how many.
    live_lines: Mutex<usize>,
}

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
            verbose: global.verbose > 0,
            live: terminal && !json && !global.quiet,
            live_lines: Mutex::new(0),
        }
    }

    /// Whether lines may be drawn over.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Whether every checkpoint is worth a line.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Tells a diagnostic.
    pub(crate) fn diagnostic(&self, diagnostic: &Diagnostic, sources: &SourceMap) {
        if self.quiet && diagnostic.severity == Severity::Note {
            return;
        }
        if self.json {
            self.write(&render::json(diagnostic, sources).to_string());
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
            self.write(
                &json!({"exit": code, "class": diagnostic.class, "code": diagnostic.code.to_string(), "message": diagnostic.message})
                    .to_string(),
            );
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
            self.write(&value.to_string());
        } else {
            self.write(text);
        }
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

    fn write(&self, text: &str) {
        let mut drawn = self.lock();
        let mut all = erase(std::mem::take(&mut *drawn));
        all.push_str(text);
        all.push('\n');
        put(&all);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, usize> {
        self.live_lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
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
    fn live_lines_are_erased_by_moving_up() {
        assert_eq!(erase(0), "");
        assert_eq!(erase(2), "\u{1b}[2A\u{1b}[J");
    }
}
