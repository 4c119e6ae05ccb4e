//! What several tests here need: the repository's files, the binary.

use std::fs;
use std::path::{Path, PathBuf};

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
