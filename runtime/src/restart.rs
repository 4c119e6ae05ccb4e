//! Whether and when a failed job starts again. Pure: the caller waits.
//!
//! | strategy | restarts | delay |
//! |---|---|---|
//! | none | never | |
//! | fixed-delay | `attempts` in all | always the same |
//! | failure-rate | while at most `max_failures` fall into one `interval` | always the same |
//! | exponential-delay | `attempts` in a row | grows by `multiplier` up to `max`, ± jitter; starts over after a quiet time |

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::RestartStrategy;

/// Counts failures.
#[derive(Debug)]
pub(crate) struct Restarts {
    strategy: RestartStrategy,
    count: u32,
    failures: VecDeque<Duration>,
    /// When the delay of the last restart was over.
    resumed: Duration,
}

impl Restarts {
    pub(crate) fn new(strategy: RestartStrategy) -> Self {
        Self { strategy, count: 0, failures: VecDeque::new(), resumed: Duration::ZERO }
    }

    /// The job failed at `now`: how long to wait before it starts again, `None` to give up. `unit` is a random number
    /// in 0.0..1.0 for the jitter.
    pub(crate) fn failed(&mut self, now: Duration, unit: f64) -> Option<Duration> {
        let delay = match self.strategy {
            RestartStrategy::None => None,
            RestartStrategy::FixedDelay { attempts, delay } => (self.count < attempts).then_some(delay),
            RestartStrategy::FailureRate { max_failures, interval, delay } => {
                self.failures.push_back(now);
                while self.failures.front().is_some_and(|f| now.saturating_sub(*f) > interval) {
                    self.failures.pop_front();
                }
                (self.failures.len() <= max_failures as usize).then_some(delay)
            }
            RestartStrategy::ExponentialDelay { initial, max, multiplier, reset_after, jitter, attempts } => {
                if now.saturating_sub(self.resumed) >= reset_after {
                    self.count = 0;
                }
                (self.count < attempts).then(|| {
                    let grown = initial.as_secs_f64() * multiplier.max(1.0).powi(self.count as i32);
                    let delay = grown.min(max.as_secs_f64());
                    let factor = 1.0 + jitter.clamp(0.0, 1.0) * (2.0 * unit - 1.0);
                    Duration::from_secs_f64((delay * factor).max(0.0))
                })
            }
        }?;
        self.count += 1;
        self.resumed = now + delay;
        Some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn delays(strategy: RestartStrategy, failures: &[u64]) -> Vec<Option<Duration>> {
        let mut restarts = Restarts::new(strategy);
        failures.iter().map(|at| restarts.failed(S(*at), 0.5)).collect()
    }

    #[test]
    fn none_never_restarts() {
        assert_eq!(delays(RestartStrategy::None, &[0]), [None]);
    }

    #[test]
    fn fixed_delay_restarts_that_many_times_in_all() {
        let strategy = RestartStrategy::FixedDelay { attempts: 2, delay: S(3) };
        assert_eq!(delays(strategy, &[0, 10_000, 20_000]), [Some(S(3)), Some(S(3)), None]);
    }

    #[test]
    fn failure_rate_gives_up_when_failures_come_too_fast() {
        let strategy = RestartStrategy::FailureRate { max_failures: 2, interval: S(60), delay: S(1) };
        assert_eq!(delays(strategy.clone(), &[0, 30, 61, 92]), [Some(S(1)); 4], "never three within a minute");
        assert_eq!(delays(strategy, &[0, 30, 60]), [Some(S(1)), Some(S(1)), None]);
    }

    #[test]
    fn exponential_delay_grows_to_its_maximum_and_starts_over_after_a_quiet_time() {
        let strategy = RestartStrategy::ExponentialDelay {
            initial: S(1),
            max: S(3),
            multiplier: 2.0,
            reset_after: S(100),
            jitter: 0.0,
            attempts: 3,
        };
        assert_eq!(delays(strategy.clone(), &[0, 2, 5, 9]), [Some(S(1)), Some(S(2)), Some(S(3)), None]);
        assert_eq!(delays(strategy, &[0, 2, 200]), [Some(S(1)), Some(S(2)), Some(S(1))]);
    }

    #[test]
    fn jitter_moves_the_delay_by_its_part_of_it() {
        let strategy = RestartStrategy::ExponentialDelay {
            initial: S(10),
            max: S(60),
            multiplier: 1.0,
            reset_after: S(100),
            jitter: 0.1,
            attempts: 3,
        };
        let mut restarts = Restarts::new(strategy);
        assert_eq!(restarts.failed(S(0), 0.0), Some(S(9)));
        assert_eq!(restarts.failed(S(0), 1.0), Some(S(11)));
    }
}
