//! Names of files: what is read, in which order, and what directories say.
//!
//! ```text
//! path = '/data/in'                a directory, read recursively
//! path = '/data/in/a.json'         one file
//! path = '/data/*/2024-??.json'    a glob: `*`, `?`, `[a-z]` within one part, `**` for any number of parts
//! ```
//! Names that begin with `.` or `_` are hidden: files being written, markers. Partition directories are `name=value`,
//! escaped as Hive does (`%2F` for `/`).

use std::io;
use std::path::{Component, Path, PathBuf};

use dflow_common::env::{Fs, Metadata};

/// Directories below a source at most.
const DEPTH_MAX: usize = 128;

/// What a table's `path` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    /// The part without wildcards; file names in positions are relative to it.
    pub(crate) base: PathBuf,
    /// The parts from the first wildcard on; empty without one.
    pattern: Vec<String>,
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) meta: Metadata,
}

/// The path an option means: without `file:`, relative to the script's folder.
pub(crate) fn resolve(base_dir: &Path, text: &str) -> PathBuf {
    let local = match text.strip_prefix("file:") {
        Some(rest) if rest.starts_with("///") => &rest[2..],
        Some(rest) => rest,
        None => text,
    };
    base_dir.join(local)
}

/// Another scheme than `file:`, such as `s3`.
pub(crate) fn foreign_scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    (scheme != "file" && !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric())).then_some(scheme)
}

impl Root {
    pub(crate) fn new(path: &Path) -> Self {
        let parts: Vec<Component<'_>> = path.components().collect();
        let wild = |c: &Component<'_>| c.as_os_str().to_string_lossy().contains(['*', '?', '[']);
        let first = parts.iter().position(wild).unwrap_or(parts.len());
        Self {
            base: parts[..first].iter().collect(),
            pattern: parts[first..].iter().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect(),
        }
    }

    pub(crate) fn is_glob(&self) -> bool {
        !self.pattern.is_empty()
    }

    /// All visible files, sorted by path.
    pub(crate) fn list(&self, fs: &dyn Fs) -> io::Result<Vec<Found>> {
        let meta = fs.metadata(&self.base)?;
        let mut found = Vec::new();
        if self.is_glob() {
            self.matching(fs, &self.base, &self.pattern, &mut found, 0)?;
        } else if meta.is_dir {
            walk(fs, &self.base, &mut found, 0)?;
        } else {
            found.push(Found { path: self.base.clone(), meta });
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found.dedup();
        Ok(found)
    }

    fn matching(
        &self,
        fs: &dyn Fs,
        dir: &Path,
        pattern: &[String],
        found: &mut Vec<Found>,
        depth: usize,
    ) -> io::Result<()> {
        let Some((part, rest)) = pattern.split_first() else { return Ok(()) };
        if depth > DEPTH_MAX {
            return Ok(());
        }
        if part == "**" {
            self.matching(fs, dir, rest, found, depth + 1)?;
        }
        for entry in read_dir(fs, dir)? {
            let name = entry.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // A pattern that spells the hidden name asks for it.
            if is_hidden(&name) && !part.starts_with(['.', '_']) {
                continue;
            }
            if part == "**" {
                if entry.meta.is_dir {
                    self.matching(fs, &entry.path, pattern, found, depth + 1)?;
                } else if rest.is_empty() {
                    found.push(Found { path: entry.path, meta: entry.meta });
                }
            } else if glob_matches(part.as_bytes(), name.as_bytes()) {
                match (entry.meta.is_dir, rest.is_empty()) {
                    (true, true) => walk(fs, &entry.path, found, depth + 1)?,
                    (true, false) => self.matching(fs, &entry.path, rest, found, depth + 1)?,
                    (false, true) => found.push(Found { path: entry.path, meta: entry.meta }),
                    (false, false) => {}
                }
            }
        }
        Ok(())
    }

    /// The path as it is kept in positions: relative, so that a moved directory still fits.
    pub(crate) fn relative(&self, path: &Path) -> String {
        match path.strip_prefix(&self.base) {
            Ok(rest) if !rest.as_os_str().is_empty() => rest.to_string_lossy().into_owned(),
            _ => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }
}

fn walk(fs: &dyn Fs, dir: &Path, found: &mut Vec<Found>, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Ok(());
    }
    for entry in read_dir(fs, dir)? {
        if is_hidden(&entry.path.file_name().unwrap_or_default().to_string_lossy()) {
            continue;
        }
        if entry.meta.is_dir {
            walk(fs, &entry.path, found, depth + 1)?;
        } else {
            found.push(Found { path: entry.path, meta: entry.meta });
        }
    }
    Ok(())
}

/// The names in a directory; none when it went away meanwhile.
fn read_dir(fs: &dyn Fs, dir: &Path) -> io::Result<Vec<dflow_common::env::DirEntry>> {
    match fs.read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// Whether a name is not for readers.
pub(crate) fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// `*`, `?`, `[a-z]` and `[!a-z]` against one part of a path.
fn glob_matches(pattern: &[u8], name: &[u8]) -> bool {
    // The last star, and where in the name it was tried: on a mismatch it takes one byte more.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(b'?') => {
                (p, n) = (p + 1, n + 1);
                continue;
            }
            Some(b'[') => {
                if let Some((hit, used)) = class_matches(&pattern[p..], name[n])
                    && hit
                {
                    (p, n) = (p + used, n + 1);
                    continue;
                }
            }
            Some(c) if *c == name[n] => {
                (p, n) = (p + 1, n + 1);
                continue;
            }
            _ => {}
        }
        match star {
            Some((sp, sn)) => {
                star = Some((sp, sn + 1));
                (p, n) = (sp + 1, sn + 1);
            }
            None => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// A `[…]` at the front of `pattern`: whether it takes `byte`, and its length. `None` without a closing bracket.
fn class_matches(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let close = pattern.iter().skip(2).position(|b| *b == b']')? + 2;
    let body = &pattern[1..close];
    let (negated, body) = match body.split_first() {
        Some((b'!' | b'^', rest)) => (true, rest),
        _ => (false, body),
    };
    let mut hit = false;
    let mut i = 0;
    while i < body.len() {
        match body.get(i..i + 3) {
            Some([from, b'-', to]) => {
                hit |= (*from..=*to).contains(&byte);
                i += 3;
            }
            _ => {
                hit |= body[i] == byte;
                i += 1;
            }
        }
    }
    Some((hit != negated, close + 1))
}

/// The `name=value` parts of a path, unescaped, outermost first.
pub(crate) fn partition_values(relative: &str) -> Vec<(String, String)> {
    Path::new(relative)
        .parent()
        .map(|dir| {
            dir.components()
                .filter_map(|c| {
                    let part = c.as_os_str().to_string_lossy();
                    let (name, value) = part.split_once('=')?;
                    Some((unescape(name), unescape(value)))
                })
                .collect()
        })
        .unwrap_or_default()
}

/// A partition value as part of a path, escaped as Hive does.
pub(crate) fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        let special = c.is_ascii_control()
            || matches!(
                c,
                '"' | '#' | '%' | '\'' | '*' | '/' | ':' | '=' | '?' | '\\' | '\u{7f}' | '{' | '}' | '[' | ']' | '^'
            );
        if special {
            out.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let code = (bytes[i] == b'%')
            .then(|| text.get(i + 1..i + 3).filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit())))
            .flatten()
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match code {
            Some(b) => {
                out.push(b);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_shells_do() {
        for (pattern, name, hit) in [
            ("*.json", "a.json", true),
            ("*.json", "a.csv", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("a*b*c", "a--b-b--c", true),
            ("a*b*c", "a--c", false),
            ("**", "anything", true),
            ("[", "[", false),
            ("", "", true),
        ] {
            assert_eq!(glob_matches(pattern.as_bytes(), name.as_bytes()), hit, "{pattern} {name}");
        }
    }

    #[test]
    fn partition_values_survive_the_way_through_a_path() {
        for value in ["2024-01-02", "a/b", "x=y", "100%", "ü", "", "a:b?c*", "%2F"] {
            let path = format!("k={}/f.json", escape(value));
            assert_eq!(partition_values(&path), [("k".to_owned(), value.to_owned())], "{path}");
        }
    }

    #[test]
    fn paths_resolve_against_the_scripts_folder() {
        let base = Path::new("/jobs");
        for (text, path) in [("in", "/jobs/in"), ("/abs", "/abs"), ("file:///abs", "/abs"), ("file:/abs", "/abs")] {
            assert_eq!(resolve(base, text), Path::new(path));
        }
        assert_eq!(foreign_scheme("s3://bucket/x"), Some("s3"));
        assert_eq!(foreign_scheme("file:///x"), None);
        assert_eq!(foreign_scheme("/x"), None);
    }
}
