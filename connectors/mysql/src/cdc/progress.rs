//! How far the tables are read, told now and then.
//!
//! Rows are estimates of the server; a chunk counts as the rows it was planned with.

use std::time::Duration;

/// Time between two reports.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Rows that were read and rows there are, by estimate; tables likewise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) tables_read: usize,
    pub(super) tables: usize,
    pub(super) rows_read: u64,
    pub(super) rows: u64,
}

/// When it was told last.
#[derive(Debug)]
pub(super) struct Progress {
    /// When this process began, and what had been read by then.
    began: (Duration, u64),
    told: Duration,
}

impl Progress {
    /// Begins at `now` (monotonic), with so many rows read.
    pub(super) fn new(now: Duration, rows_read: u64) -> Progress {
        Progress { began: (now, rows_read), told: now }
    }

    /// Whether it is time to tell.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        now.saturating_sub(self.told) >= REPORT_EVERY
    }

    /// What to tell, if it is time.
    pub(super) fn report(&mut self, now: Duration, counts: Counts) -> Option<String> {
        if !self.is_due(now) {
            return None;
        }
        self.told = now;
        let seconds = now.saturating_sub(self.began.0).as_secs_f64();
        let rate = counts.rows_read.saturating_sub(self.began.1) as f64 / seconds;
        // Estimates may be too low: more than all is never told.
        let rows = counts.rows.max(counts.rows_read);
        let left = (rows - counts.rows_read) as f64 / rate;
        let mut text = format!(
            "{} of {} tables are read, about {} of {rows} rows, {rate:.0} rows/s",
            counts.tables_read, counts.tables, counts.rows_read
        );
        if left.is_finite() {
            let left = Duration::from_secs(left as u64);
            text.push_str(&format!(", about {} left", dflow_common::units::format_duration(left)));
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_the_rate_of_this_process() {
        let at = Duration::from_secs;
        let mut progress = Progress::new(at(100), 1_000);
        let counts = Counts { tables_read: 1, tables: 3, rows_read: 3_000, rows: 9_000 };
        assert_eq!(progress.report(at(105), counts), None, "not yet");
        let told = progress.report(at(120), counts).unwrap();
        assert_eq!(told, "1 of 3 tables are read, about 3000 of 9000 rows, 100 rows/s, about 1min left");
        assert_eq!(progress.report(at(125), counts), None);
        let told = progress.report(at(200), Counts { rows: 10, ..counts }).unwrap();
        assert!(told.contains("about 3000 of 3000 rows") && told.ends_with("about 0s left"), "{told}");
        let mut stuck = Progress::new(at(0), 3_000);
        assert!(!stuck.report(at(10), counts).unwrap().contains("left"), "nobody knows");
    }
}
