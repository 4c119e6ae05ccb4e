//! Names of files that are written.

use dflow_common::Epoch;
use serde::{Deserialize, Serialize};

const IN_PROGRESS: &str = ".inprogress";

/// A fingerprint of a job's state and a sink: whose files these are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner(String);

impl Owner {
    pub(super) fn new(owner: &str, sink: &str) -> Self {
        // The lengths keep ("a", "bc") and ("ab", "c") apart.
        let text = format!("{}:{owner}{}:{sink}", owner.len(), sink.len());
        Self(format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes())))
    }

    /// The name of a file once it is visible. Sorts by epoch, writer and number.
    pub(super) fn file(&self, epoch: Epoch, subtask: usize, n: u64, attempt: u32, extension: &str) -> String {
        format!("part-{}-{:08}-{subtask:03}-{n:05}-{attempt:08x}.{extension}", self.0, epoch.0)
    }

    /// Whether a name is of a hidden file of this sink, being written or left behind.
    pub(super) fn owns_hidden(&self, name: &str) -> bool {
        name.strip_prefix(".part-")
            .and_then(|rest| rest.strip_prefix(self.0.as_str()))
            .is_some_and(|rest| rest.starts_with('-') && rest.ends_with(IN_PROGRESS))
    }

    /// A hidden name to try out whether the directory can be written to.
    pub(super) fn probe(&self) -> String {
        format!(".part-{}-probe{IN_PROGRESS}", self.0)
    }
}

/// The hidden name of a file while it is written.
pub(super) fn hidden(file: &str) -> String {
    format!(".{file}{IN_PROGRESS}")
}

/// A finished file in the manifest, paths relative to the table's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Finished {
    /// The directory: `dt=2024-01-02`, empty without partitions.
    pub(super) dir: String,
    /// The visible name.
    pub(super) file: String,
    /// Rows in it.
    pub(super) rows: u64,
    /// Bytes in it.
    pub(super) bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hidden_files_of_the_same_sink_are_ours() {
        let ours = Owner::new("job", "sink");
        let file = ours.file(Epoch(3), 0, 1, 7, "json");
        assert!(ours.owns_hidden(&hidden(&file)) && ours.owns_hidden(&ours.probe()));
        assert!(!ours.owns_hidden(&file), "a visible file is nobody's to remove");
        assert!(!Owner::new("jobs", "ink").owns_hidden(&hidden(&file)));
        assert!(!ours.owns_hidden(".part-.inprogress") && !ours.owns_hidden(".other.inprogress"));
    }

    #[test]
    fn names_sort_in_the_order_of_writing() {
        let o = Owner::new("j", "s");
        let name = |epoch, n| o.file(Epoch(epoch), 0, n, 9, "csv");
        assert!(name(2, 0) < name(10, 0) && name(2, 9) < name(2, 10));
    }
}
