//! What the command line contributes to a script: its text, its variables, the folder of its state.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use dflow::common::env::Fs;
use dflow::common::limits::SCRIPT_BYTES_MAX;
use dflow::common::{Diagnostic, Secret, suggest};
use dflow::error::{ENV_FILE, NO_STATE_DIR, SCRIPT_UNREADABLE};

/// A script as the user named it.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The name in messages: the path as typed, or `<stdin>`.
    pub(crate) name: String,
    /// The text.
    pub(crate) text: String,
    /// What relative paths in it are relative to: its folder, or the working directory for standard input.
    pub(crate) base_dir: PathBuf,
    /// The job's name unless the script or a flag says otherwise: the file name without its ending.
    pub(crate) stem: String,
    /// Whether it came from standard input.
    pub(crate) stdin: bool,
}

/// Reads a script; `-` is standard input.
pub(crate) fn load(path: &Path, fs: &dyn Fs) -> Result<Loaded, Box<Diagnostic>> {
    let stdin = path == Path::new("-");
    let name = if stdin { "<stdin>".to_owned() } else { path.display().to_string() };
    let unreadable =
        |why: String| Diagnostic::error(SCRIPT_UNREADABLE, format!("cannot read the script `{name}`: {why}"));
    // One byte more than allowed tells too large from just right without reading a whole disk.
    let limit = SCRIPT_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let read = if stdin {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        fs.open(path).and_then(|f| f.take(limit).read_to_end(&mut bytes))
    };
    if let Err(e) = read {
        let error = unreadable(e.to_string());
        let near = (e.kind() == ErrorKind::NotFound).then(|| sibling(path, fs)).flatten();
        return Err(Box::new(match near {
            Some(near) => error.with_help(format!("did you mean `{near}`?")),
            None => error.with_help("give the path of a script, or - for standard input"),
        }));
    }
    if bytes.len() > SCRIPT_BYTES_MAX {
        let most = dflow::common::units::format_size(SCRIPT_BYTES_MAX as u64);
        return Err(Box::new(
            unreadable(format!("it is larger than {most}")).with_help("split it into several scripts"),
        ));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let line = e.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
        Box::new(unreadable(format!("line {line} is not UTF-8 text")).with_help("save it as UTF-8"))
    })?;
    let base_dir = if stdin { PathBuf::from(".") } else { folder(path) };
    let stem = path.file_stem().filter(|_| !stdin).map_or("stdin".into(), |s| s.to_string_lossy().into_owned());
    Ok(Loaded { name, text, base_dir, stem, stdin })
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The file beside a missing one whose name is nearest.
fn sibling(path: &Path, fs: &dyn Fs) -> Option<String> {
    let dir = folder(path);
    let entries = fs.read_dir(&dir).ok()?;
    let names: Vec<String> = entries
        .iter()
        .filter(|e| !e.meta.is_dir)
        .filter_map(|e| e.path.file_name().map(|n| n.to_string_lossy().into_owned()))
        .collect();
    let near = suggest::nearest(&path.file_name()?.to_string_lossy(), names.iter().map(String::as_str))?;
    Some(if path.parent() == Some(Path::new("")) { near.to_owned() } else { dir.join(near).display().to_string() })
}

/// Reads `NAME=value` lines. Later files and lines win. All values are secrets.
pub(crate) fn env_files(paths: &[PathBuf], fs: &dyn Fs) -> Result<BTreeMap<String, Secret>, Box<Diagnostic>> {
    let mut values = BTreeMap::new();
    for path in paths {
        let bytes = fs.read(path).map_err(|e| {
            Box::new(
                Diagnostic::error(ENV_FILE, format!("cannot read the variables file `{}`: {e}", path.display()))
                    .with_help("give the path of a file of NAME=value lines"),
            )
        })?;
        for (i, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            match env_line(line) {
                Ok(None) => {}
                Ok(Some((name, value))) => {
                    values.insert(name.to_owned(), Secret::new(value));
                }
                Err(()) => {
                    return Err(Box::new(
                        Diagnostic::error(
                            ENV_FILE,
                            format!("line {} of the variables file `{}` is not NAME=value", i + 1, path.display()),
                        )
                        .with_help("write one NAME=value per line; lines beginning with # are comments"),
                    ));
                }
            }
        }
    }
    Ok(values)
}

/// One line: nothing (blank, comment), a pair, or neither.
fn env_line(line: &str) -> Result<Option<(&str, &str)>, ()> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or(())?;
    let (name, value) = (name.trim(), value.trim());
    let valid = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let quoted = |q: char| value.len() >= 2 && value.starts_with(q) && value.ends_with(q);
    let value = if quoted('"') || quoted('\'') { &value[1..value.len() - 1] } else { value };
    if valid { Ok(Some((name, value))) } else { Err(()) }
}

/// One folder for every name: what would lead elsewhere is written as in a URL.
fn folder_name(job: &str) -> String {
    let leads_up = job.chars().all(|c| c == '.');
    let odd = |c: char| matches!(c, '/' | '\\' | '%') || c.is_control() || (leads_up && c == '.');
    let mut name = String::with_capacity(job.len());
    for c in job.chars() {
        if odd(c) { name += &format!("%{:02X}", u32::from(c)) } else { name.push(c) }
    }
    if name.is_empty() { "%".into() } else { name }
}

/// Where state goes when nobody says: beside the script, or in the user's state folder for standard input.
///
/// It does not depend on the working directory, except for a script given by a relative path.
pub(crate) fn default_state_dir(
    script: &Loaded,
    job: &str,
    var: impl Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<PathBuf, Box<Diagnostic>> {
    let job = folder_name(job);
    if !script.stdin {
        return Ok(script.base_dir.join(".dflow").join(job));
    }
    let set = |name: &str| var(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    match set("XDG_STATE_HOME").or_else(|| set("HOME").map(|h| h.join(".local/state"))) {
        Some(root) => Ok(root.join("dflow").join(job)),
        None => Err(Box::new(
            Diagnostic::error(
                NO_STATE_DIR,
                "no place for the state of a script from standard input: neither XDG_STATE_HOME nor HOME is set",
            )
            .with_help("say where with --state-dir DIR or SET 'execution.checkpointing.dir' = 'DIR'"),
        )),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests write files")]
mod tests {
    use std::fs;

    use dflow::common::env::RealFs;

    use super::*;

    fn code(error: &Diagnostic) -> u16 {
        error.code.0
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_one_folder() {
        let names = ["orders", "a b.c-ä", "../../x", "..", "", "a/b", "a%2Fb", "a\\b\n"].map(folder_name);
        assert_eq!(names, ["orders", "a b.c-ä", "..%2F..%2Fx", "%2E%2E", "%", "a%2Fb", "a%252Fb", "a%5Cb%0A"]);
    }

    #[test]
    fn a_missing_script_is_met_with_the_nearest_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("pipeline.sql"), "").unwrap();
        let error = load(&dir.path().join("pipline.sql"), &RealFs).unwrap_err();
        assert_eq!(code(&error), SCRIPT_UNREADABLE.code.0);
        assert!(error.help[0].ends_with("pipeline.sql`?"), "{error}");
    }

    #[test]
    fn a_script_is_utf8_of_at_most_a_megabyte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sql");
        fs::write(&path, b"SELECT 1;\nSELECT '\xff'").unwrap();
        assert!(load(&path, &RealFs).unwrap_err().message.ends_with("line 2 is not UTF-8 text"));
        fs::write(&path, vec![b' '; SCRIPT_BYTES_MAX]).unwrap();
        assert_eq!(load(&path, &RealFs).unwrap().text.len(), SCRIPT_BYTES_MAX);
        fs::write(&path, vec![b' '; SCRIPT_BYTES_MAX + 1]).unwrap();
        assert!(load(&path, &RealFs).unwrap_err().message.ends_with("larger than 1.0 MB"));
    }

    #[test]
    fn variables_files_take_comments_quotes_and_export() {
        assert_eq!(env_line("  # x=1"), Ok(None));
        assert_eq!(env_line(""), Ok(None));
        assert_eq!(env_line("export A = b c "), Ok(Some(("A", "b c"))));
        assert_eq!(env_line("A='b'"), Ok(Some(("A", "b"))));
        assert_eq!(env_line("A=\"x=y\""), Ok(Some(("A", "x=y"))));
        assert_eq!(env_line("A=\""), Ok(Some(("A", "\""))));
        for bad in ["A", "=b", "1A=b", "A B=c"] {
            assert_eq!(env_line(bad), Err(()), "{bad}");
        }
    }

    #[test]
    fn a_bad_line_of_a_variables_file_is_named_but_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prod.env");
        fs::write(&path, "A=1\nhunter2\n").unwrap();
        let error = env_files(std::slice::from_ref(&path), &RealFs).unwrap_err();
        assert_eq!(code(&error), ENV_FILE.code.0);
        assert!(error.message.contains("line 2") && !error.to_string().contains("hunter2"), "{error}");
        fs::write(&path, "A=1\nA=2\n").unwrap();
        assert_eq!(env_files(&[path], &RealFs).unwrap()["A"].expose(), "2");
    }

    #[test]
    fn state_lies_beside_the_script_and_for_stdin_in_the_users_state_folder() {
        let mut script = Loaded {
            name: "a/q.sql".into(),
            text: String::new(),
            base_dir: "a".into(),
            stem: "q".into(),
            stdin: false,
        };
        let none = |_: &str| None;
        let home = |name: &str| (name == "HOME").then(|| "/h".into());
        let xdg = |name: &str| (name == "XDG_STATE_HOME").then(|| "/x".into());
        assert_eq!(default_state_dir(&script, "job", none).unwrap(), PathBuf::from("a/.dflow/job"));
        script.stdin = true;
        assert_eq!(default_state_dir(&script, "job", home).unwrap(), PathBuf::from("/h/.local/state/dflow/job"));
        assert_eq!(default_state_dir(&script, "job", xdg).unwrap(), PathBuf::from("/x/dflow/job"));
        assert_eq!(code(&default_state_dir(&script, "job", none).unwrap_err()), NO_STATE_DIR.code.0);
    }
}
