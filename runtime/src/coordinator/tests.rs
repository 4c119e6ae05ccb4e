//! One test per rule. Time is in seconds; two tasks and one enumerator take part.

use super::*;
use crate::error::FENCED;

const S: fn(u64) -> Duration = Duration::from_secs;

struct Bench {
    machine: Coordinator,
    now: Duration,
    activity: u64,
}

impl Bench {
    fn new(change: impl FnOnce(&mut CheckpointConfig)) -> Self {
        let mut config = CheckpointConfig { timeout: S(60), ..CheckpointConfig::default() };
        change(&mut config);
        Self { machine: Coordinator::new(config, S(25), 2, 3, Epoch(7), S(0)), now: S(0), activity: 0 }
    }

    /// Steps and prints the actions.
    fn step(&mut self, event: Event) -> String {
        let actions = self.machine.step(self.now, self.activity, event);
        let text = actions.iter().map(|a| match a {
            Action::Inject { epoch, last: false } => format!("inject {epoch}"),
            Action::Inject { epoch, last: true } => format!("inject {epoch} last"),
            Action::Commit { epoch } => format!("commit {epoch}"),
            Action::Abort { epoch, error } => format!("abort {epoch} {}", error.code()),
            Action::Publish { epoch } => format!("publish {epoch}"),
            Action::Complete { epoch, took } => format!("complete {epoch} in {}", took.as_secs()),
            Action::MarkFinished => "mark".to_owned(),
            Action::MarkSettled => "settle".to_owned(),
            Action::End(end) => format!("end {end:?}"),
            Action::Fail(error) => format!("fail {}", error.code()),
        });
        text.collect::<Vec<_>>().join(", ")
    }

    fn at(&mut self, seconds: u64) -> String {
        self.now = S(seconds);
        self.step(Event::Timer)
    }

    fn acks(&mut self, epoch: u64) -> String {
        let all: Vec<_> = (0..3).map(|p| self.step(Event::Ack { participant: p, epoch: Epoch(epoch) })).collect();
        all.concat()
    }

    /// From injected to complete.
    fn succeed(&mut self, epoch: u64) -> String {
        assert_eq!(self.acks(epoch), format!("commit {epoch}"));
        assert_eq!(self.step(Event::Committed { epoch: Epoch(epoch) }), format!("publish {epoch}"));
        self.step(Event::Published { epoch: Epoch(epoch) })
    }

    fn part_failed(&mut self, epoch: u64) -> String {
        self.step(Event::PartFailed { epoch: Epoch(epoch), error: Error::internal("disk").retry() })
    }

    fn end_tasks(&mut self) -> String {
        let first = self.step(Event::TaskEnded { task: 0 });
        format!("{first}{}", self.step(Event::TaskEnded { task: 1 }))
    }
}

#[test]
fn a_checkpoint_begins_after_the_interval_and_completes_after_acks_manifest_and_sinks() {
    let mut b = Bench::new(|_| ());
    b.activity = 1;
    assert_eq!(b.machine.deadline(), Some(S(10)));
    assert_eq!(b.at(9), "");
    assert_eq!(b.at(10), "inject 7");
    b.activity = 2;
    b.now = S(12);
    assert_eq!(b.succeed(7), "complete 7 in 2");
    assert_eq!(b.at(19), "");
    assert_eq!(b.at(20), "inject 8", "ten seconds after the last one began");
}

#[test]
fn an_ack_counts_once_and_only_for_its_epoch() {
    let mut b = Bench::new(|_| ());
    b.activity = 1;
    b.at(10);
    for _ in 0..3 {
        assert_eq!(b.step(Event::Ack { participant: 0, epoch: Epoch(7) }), "");
    }
    assert_eq!(b.step(Event::Ack { participant: 1, epoch: Epoch(6) }), "");
    assert_eq!(b.step(Event::Ack { participant: 1, epoch: Epoch(7) }), "");
    assert_eq!(b.step(Event::Ack { participant: 2, epoch: Epoch(7) }), "commit 7");
}

#[test]
fn nothing_changed_means_no_checkpoint_until_something_does() {
    let mut b = Bench::new(|_| ());
    assert_eq!(b.at(10), "");
    assert_eq!(b.machine.deadline(), Some(S(20)));
    b.activity = 5;
    assert_eq!(b.at(20), "inject 7");
    b.succeed(7);
    assert_eq!(b.at(30), "", "the activity of the barrier is covered");
    assert_eq!(b.step(Event::Requested), "inject 8", "a request is always answered");
}

#[test]
fn activity_after_the_barrier_is_not_covered_by_it() {
    let mut b = Bench::new(|_| ());
    b.activity = 5;
    b.at(10);
    b.activity = 6;
    b.succeed(7);
    assert_eq!(b.at(20), "inject 8");
}

#[test]
fn without_an_interval_only_requests_and_ends_take_one() {
    let mut b = Bench::new(|c| c.interval = None);
    b.activity = 1;
    assert_eq!(b.machine.deadline(), None);
    assert_eq!(b.at(1_000), "");
    assert_eq!(b.step(Event::Requested), "inject 7");
}

#[test]
fn the_pause_is_counted_from_the_end_of_the_last_one() {
    let mut b = Bench::new(|c| c.min_pause = S(8));
    b.activity = 1;
    b.at(10);
    b.now = S(19);
    b.succeed(7);
    b.activity = 2;
    assert_eq!(b.at(26), "");
    assert_eq!(b.machine.deadline(), Some(S(27)));
    assert_eq!(b.at(27), "inject 8");
}

#[test]
fn one_at_a_time_and_a_request_waits_for_the_running_one() {
    let mut b = Bench::new(|_| ());
    b.activity = 1;
    b.at(10);
    assert_eq!(b.at(50), "");
    assert_eq!(b.step(Event::Requested), "");
    assert_eq!(b.succeed(7), "complete 7 in 40, inject 8");
}

#[test]
fn an_expired_checkpoint_is_aborted_and_the_job_goes_on() {
    let mut b = Bench::new(|_| ());
    b.activity = 1;
    b.at(10);
    assert_eq!(b.machine.deadline(), Some(S(70)));
    assert_eq!(b.at(69), "");
    assert_eq!(b.at(70), "abort 7 DF8102, inject 8");
    assert_eq!(b.acks(7), "", "late acknowledgements are of no epoch");
    assert_eq!(b.succeed(8), "complete 8 in 0");
}

#[test]
fn the_timeout_does_not_cover_the_commit() {
    let mut b = Bench::new(|_| ());
    b.activity = 1;
    b.at(10);
    b.acks(7);
    assert_eq!(b.at(1_000), "");
    assert_eq!(b.step(Event::Committed { epoch: Epoch(7) }), "publish 7");
}

#[test]
fn failures_in_a_row_are_tolerated_up_to_the_limit_and_a_success_starts_over() {
    let mut b = Bench::new(|c| c.tolerable_failures = 1);
    b.activity = 1;
    b.at(10);
    assert_eq!(b.part_failed(7), "abort 7 DF9001");
    assert_eq!(b.part_failed(7), "", "a second part of the same checkpoint");
    b.at(20);
    b.succeed(8);
    b.activity = 2;
    b.at(30);
    assert_eq!(b.part_failed(9), "abort 9 DF9001");
    b.at(40);
    assert_eq!(b.part_failed(10), "abort 10 DF9001, fail DF8103");
    assert_eq!(b.at(50), "", "over");
}

#[test]
fn a_failed_manifest_fails_the_checkpoint_and_a_fenced_one_the_job() {
    let mut b = Bench::new(|_| ());
    b.activity = 1;
    b.at(10);
    b.acks(7);
    let error = Error::internal("503").retry();
    assert_eq!(b.step(Event::CommitFailed { epoch: Epoch(7), error }), "abort 7 DF9001");
    b.at(20);
    b.acks(8);
    let error = Error::coded(FENCED, "taken over");
    assert_eq!(b.step(Event::CommitFailed { epoch: Epoch(8), error }), "fail DF8100");
}

#[test]
fn a_sink_that_cannot_commit_fails_the_job() {
    let mut b = Bench::new(|_| ());
    b.activity = 1;
    b.at(10);
    b.acks(7);
    b.step(Event::Committed { epoch: Epoch(7) });
    assert_eq!(b.step(Event::PublishFailed { error: Error::internal("down").retry() }), "fail DF9001");
}

#[test]
fn checkpoints_go_on_after_a_task_has_ended() {
    let mut b = Bench::new(|_| ());
    b.activity = 1;
    assert_eq!(b.step(Event::TaskEnded { task: 0 }), "");
    assert_eq!(b.at(10), "inject 7");
    assert_eq!(b.succeed(7), "complete 7 in 0");
}

#[test]
fn the_end_of_all_input_takes_a_final_checkpoint_and_marks_the_state() {
    let mut b = Bench::new(|c| c.min_pause = S(100));
    assert_eq!(b.end_tasks(), "inject 7", "at once, whatever the interval");
    assert_eq!(b.succeed(7), "complete 7 in 0, mark");
    assert_eq!(b.step(Event::Marked(Ok(()))), "end Finished");
    assert_eq!(b.machine.deadline(), None);
}

#[test]
fn a_checkpoint_begun_before_the_end_does_not_cover_the_tail() {
    let mut b = Bench::new(|_| ());
    b.activity = 1;
    b.at(10);
    assert_eq!(b.end_tasks(), "");
    assert_eq!(b.succeed(7), "complete 7 in 0, inject 8");
    assert_eq!(b.succeed(8), "complete 8 in 0, mark");
}

#[test]
fn a_failed_final_checkpoint_is_tried_again() {
    let mut b = Bench::new(|_| ());
    b.end_tasks();
    assert_eq!(b.part_failed(7), "abort 7 DF9001");
    assert_eq!(b.machine.deadline(), Some(RETRY_PAUSE));
    b.now = RETRY_PAUSE;
    assert_eq!(b.step(Event::Timer), "inject 8");
    assert_eq!(b.succeed(8), "complete 8 in 0, mark");
}

#[test]
fn a_stop_takes_a_last_checkpoint_and_ends() {
    let mut b = Bench::new(|_| ());
    assert_eq!(b.step(Event::Stop), "inject 7 last");
    assert_eq!(b.step(Event::Stop), "", "repeated calls do nothing");
    assert_eq!(b.succeed(7), "complete 7 in 0, settle");
    assert_eq!(b.machine.deadline(), None, "it has stopped well, however long the note takes");
    assert_eq!(b.at(1_000), "");
    assert_eq!(b.step(Event::Marked(Ok(()))), "end Stopped");
}

#[test]
fn a_stop_waits_for_the_running_checkpoint_and_not_for_ever() {
    let mut b = Bench::new(|_| ());
    b.activity = 1;
    b.at(10);
    assert_eq!(b.step(Event::Stop), "");
    assert_eq!(b.machine.deadline(), Some(S(35)));
    assert_eq!(b.at(34), "");
    assert_eq!(b.at(35), "fail DF4000");
}

#[test]
fn a_stop_after_everything_was_read_finishes() {
    let mut b = Bench::new(|_| ());
    b.end_tasks();
    b.step(Event::Stop);
    assert_eq!(b.succeed(7), "complete 7 in 0, mark");
}

#[test]
fn a_state_that_cannot_be_marked_fails_the_job() {
    let mut b = Bench::new(|_| ());
    b.end_tasks();
    b.succeed(7);
    assert_eq!(b.step(Event::Marked(Err(Error::coded(FENCED, "taken over")))), "fail DF8100");
}

#[test]
fn for_lack_of_room_it_is_tried_again_soon_and_in_the_end_that_is_the_error() {
    use crate::storage::codes::DISK_FULL;
    let full = || Error::coded(DISK_FULL, "no room").retry();
    let mut b = Bench::new(|c| c.tolerable_failures = 2);
    b.activity = 1;
    for (at, epoch) in [(10, 7), (12, 8)] {
        assert_eq!(b.at(at), format!("inject {epoch}"));
        let error = full();
        assert_eq!(b.step(Event::PartFailed { epoch: Epoch(epoch), error }), format!("abort {epoch} DF9050"));
        assert_eq!(b.at(at + 1), "");
    }
    assert_eq!(b.at(14), "inject 9");
    let actions = b.machine.step(b.now, 1, Event::PartFailed { epoch: Epoch(9), error: full() });
    let [Action::Abort { .. }, Action::Fail(error)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((error.code(), error.retryable()), (DISK_FULL.code, false), "a restart makes no room");
    assert_eq!(error.diagnostic().notes, ["3 checkpoints in a row failed, 2 are tolerated"]);
}

#[test]
fn an_interval_shorter_than_the_pause_stays() {
    let mut b = Bench::new(|c| c.interval = Some(S(1)));
    b.activity = 1;
    b.at(1);
    let error = Error::coded(crate::storage::codes::DISK_FULL, "no room").retry();
    b.step(Event::PartFailed { epoch: Epoch(7), error });
    assert_eq!(b.at(2), "inject 8");
}
