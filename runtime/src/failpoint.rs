//! Named places where a test stops, fails or delays the job.
//!
//! What a point does is set through [`dflow_common::Env::set_fail_point`]:
//!
//! | action | effect |
//! |---|---|
//! | `return(crash)` | the process ends here: this code never goes on, and the point [`CRASHED`] tells the test |
//! | `return(error)` | a retryable error |
//! | `return(pause)` | waits until the point is set to something else |
//!
//! In production nothing is set and a point costs a look into an empty map; none lies on the path of a batch.

use std::time::Duration;

use dflow_common::Env;

use crate::error::{Error, INTERNAL, Result};

/// Evaluated after every crash, for the test that caused it.
pub const CRASHED: &str = "runtime::crashed";
/// Before the state directory is claimed.
pub const BEFORE_CLAIM: &str = "runtime::before-claim";
/// After it is claimed, before sinks recover.
pub const BEFORE_RECOVER: &str = "runtime::before-recover";
/// After sinks have recovered, before operators restore.
pub const BEFORE_RESTORE: &str = "runtime::before-restore";
/// After everything is open, before the first row.
pub const BEFORE_START: &str = "runtime::before-start";
/// Before an enumerator takes its snapshot and hands the barrier to its readers.
pub const ENUMERATOR_BARRIER: &str = "runtime::enumerator-barrier";
/// In a task, inputs aligned and operators flushed, before their snapshot.
pub const TASK_SNAPSHOT: &str = "runtime::task-snapshot";
/// In a task, the barrier forwarded, before sinks prepare.
pub const BEFORE_PREPARE: &str = "runtime::before-prepare";
/// In a task, after sinks have prepared.
pub const AFTER_PREPARE: &str = "runtime::after-prepare";
/// Before the snapshots of a task are uploaded.
pub const BEFORE_UPLOAD: &str = "runtime::before-upload";
/// After the upload, before the acknowledgement.
pub const BEFORE_ACK: &str = "runtime::before-ack";
/// Everything acknowledged, before the manifest.
pub const BEFORE_COMMIT: &str = "runtime::before-commit";
/// After the manifest, before any sink commits.
pub const AFTER_COMMIT: &str = "runtime::after-commit";
/// After each sink's commit.
pub const AFTER_SINK_COMMIT: &str = "runtime::after-sink-commit";
/// Before enumerators and readers hear that a checkpoint is complete.
pub const BEFORE_COMPLETE: &str = "runtime::before-complete";
/// Before the state is marked as finished.
pub const BEFORE_FINISH: &str = "runtime::before-finish";

/// All points a checkpoint or a recovery passes, in the order it does.
pub const ALL: &[&str] = &[
    BEFORE_CLAIM,
    BEFORE_RECOVER,
    BEFORE_RESTORE,
    BEFORE_START,
    ENUMERATOR_BARRIER,
    TASK_SNAPSHOT,
    BEFORE_PREPARE,
    AFTER_PREPARE,
    BEFORE_UPLOAD,
    BEFORE_ACK,
    BEFORE_COMMIT,
    AFTER_COMMIT,
    AFTER_SINK_COMMIT,
    BEFORE_COMPLETE,
    BEFORE_FINISH,
];

/// How often a paused point looks again.
const PAUSE: Duration = Duration::from_millis(10);

/// Passes the point `name`, or does what a test wants there.
pub(crate) async fn pass(env: &Env, name: &str) -> Result<()> {
    loop {
        match env.fail_point(name).as_deref() {
            None => return Ok(()),
            Some("crash") => {
                env.fail_point(CRASHED);
                return std::future::pending().await;
            }
            Some("pause") => env.clock.sleep(PAUSE).await,
            Some(other) => return Err(Error::coded(INTERNAL, format!("fail point {name}: {other}")).retry()),
        }
    }
}
