//! The combined watermark of several senders.
//!
//! # Example
//! ```text
//! sender 0: 10   sender 1: 7            combined 7
//! sender 1: idle                        combined 10        an idle sender holds nothing back
//! sender 1: active, watermark 8         combined stays 10  a watermark never shrinks
//! both ended                            combined MAX
//! ```
//! # Invariants
//! The combined watermark only grows. Senders that are idle or have ended are left out of the minimum; when no other
//! is left, the result is idle, or [`Watermark::MAX`] once all have ended.

use crate::operator::Watermark;

/// See the module.
#[derive(Debug)]
pub(crate) struct Valve {
    senders: Vec<Sender>,
    combined: Watermark,
    idle: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sender {
    watermark: Watermark,
    idle: bool,
}

/// What a sender said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Watermark(Watermark),
    Idle,
    Active,
}

/// What changed by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// It is active again: tell before anything else.
    pub(crate) active: bool,
    /// It grew.
    pub(crate) watermark: Option<Watermark>,
    /// It is idle from here on: tell last.
    pub(crate) idle: bool,
}

impl Valve {
    pub(crate) fn new(senders: usize) -> Self {
        Self {
            senders: vec![Sender { watermark: Watermark::MIN, idle: false }; senders],
            combined: Watermark::MIN,
            idle: false,
        }
    }

    /// Takes a signal of one sender. The end of a sender is `Watermark::MAX`.
    pub(crate) fn signal(&mut self, sender: usize, signal: Signal) -> Change {
        let s = &mut self.senders[sender];
        match signal {
            Signal::Watermark(w) => s.watermark = s.watermark.max(w),
            Signal::Idle => s.idle = true,
            Signal::Active => s.idle = false,
        }
        let ended = |s: &Sender| s.watermark == Watermark::MAX;
        let running = self.senders.iter().filter(|s| !s.idle && !ended(s)).map(|s| s.watermark).min();
        let (watermark, idle) = match running {
            Some(w) => (w, false),
            None if self.senders.iter().all(ended) => (Watermark::MAX, false),
            None => (Watermark::MIN, true),
        };
        let change = Change {
            active: self.idle && !idle,
            watermark: (watermark > self.combined).then_some(watermark),
            idle: idle && !self.idle,
        };
        self.combined = self.combined.max(watermark);
        self.idle = idle;
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(w: i64) -> Change {
        Change { watermark: Some(Watermark(w)), ..Change::default() }
    }

    #[test]
    fn the_slowest_sender_counts_and_an_idle_one_does_not() {
        let mut v = Valve::new(2);
        assert_eq!(v.signal(0, Signal::Watermark(Watermark(10))), Change::default(), "sender 1 is still silent");
        assert_eq!(v.signal(1, Signal::Watermark(Watermark(7))), grown(7));
        assert_eq!(v.signal(1, Signal::Idle), grown(10));
        assert_eq!(v.signal(1, Signal::Active), Change::default());
        assert_eq!(v.signal(1, Signal::Watermark(Watermark(8))), Change::default(), "never shrinks");
        assert_eq!(v.signal(1, Signal::Watermark(Watermark(12))), Change::default());
        assert_eq!(v.signal(0, Signal::Watermark(Watermark(11))), grown(11));
    }

    #[test]
    fn all_idle_is_idle_and_an_ended_sender_beside_an_idle_one_does_not_end_time() {
        let mut v = Valve::new(2);
        v.signal(0, Signal::Watermark(Watermark(5)));
        v.signal(1, Signal::Watermark(Watermark(5)));
        v.signal(0, Signal::Idle);
        assert!(v.signal(1, Signal::Idle).idle);
        let back = v.signal(1, Signal::Active);
        assert!(back.active && back.watermark.is_none());
        let end = v.signal(1, Signal::Watermark(Watermark::MAX));
        assert_eq!(end, Change { idle: true, ..Change::default() }, "sender 0 may come back");
        assert_eq!(
            v.signal(0, Signal::Watermark(Watermark::MAX)),
            Change { active: true, watermark: Some(Watermark::MAX), idle: false }
        );
    }
}
