//! Finds files and cuts them into splits.
//!
//! State: `{"seen":["a.json","b/c.json"],"complete":true}`, the files assigned so far (relative to the path) and, for
//! a bounded table, that there will be no others.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dflow_common::Env;
use dflow_common::env::TaskHandle;
use dflow_connector_api::{Enumerator, EnumeratorEvent, Error, Result, SourceContext, SplitAssignment};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Config;
use super::split::cut;
use crate::error::{PATH_MISSING, READ_FAILED, looking};
use crate::paths::Found;

#[derive(Default, Serialize, Deserialize)]
struct State {
    seen: BTreeSet<String>,
    complete: bool,
}

pub(super) struct FileEnumerator {
    config: Arc<Config>,
    env: Env,
    state: State,
    /// A listing under way; kept here so that a dropped `next` loses nothing.
    listing: Option<TaskHandle<Result<Vec<Found>>>>,
    /// When the last listing ended, in monotonic time.
    listed_at: Option<Duration>,
    /// Whether the end was announced.
    announced: bool,
}

impl FileEnumerator {
    pub(super) fn new(config: Arc<Config>, context: &SourceContext, restored: Option<Value>) -> Result<Self> {
        let state = match restored {
            Some(value) => serde_json::from_value(value)
                .map_err(|e| Error::new(READ_FAILED, format!("the checkpoint's list of files does not read: {e}")))?,
            None => State::default(),
        };
        Ok(Self { config, env: context.env.clone(), state, listing: None, listed_at: None, announced: false })
    }

    async fn advance(&mut self) -> Result<EnumeratorEvent> {
        loop {
            if self.state.complete {
                if self.announced {
                    return futures::future::pending().await;
                }
                self.announced = true;
                return Ok(EnumeratorEvent::NoMoreSplits);
            }
            if self.listing.is_none() {
                if let (Some(interval), Some(last)) = (self.config.monitor_interval, self.listed_at) {
                    // Against a deadline: a wait that is dropped by every barrier would never end.
                    let passed = self.env.clock.monotonic().saturating_sub(last);
                    if let Some(left) = interval.checked_sub(passed).filter(|d| !d.is_zero()) {
                        self.env.clock.sleep(left).await;
                    }
                }
                self.listing = Some(self.start());
            }
            let Some(listing) = self.listing.as_mut() else { continue };
            let listed = listing.await;
            self.listing = None;
            self.listed_at = Some(self.env.clock.monotonic());
            let found = listed.map_err(|e| Error::new(READ_FAILED, format!("listing files failed: {e}")))??;
            self.state.complete = self.config.monitor_interval.is_none();
            let splits = self.assign(&found);
            if !splits.is_empty() {
                return Ok(EnumeratorEvent::Assign(splits));
            }
        }
    }

    fn start(&self) -> TaskHandle<Result<Vec<Found>>> {
        let (config, fs) = (self.config.clone(), self.env.fs.clone());
        self.env.spawner.blocking(move || {
            let root = &config.root;
            let mut found = root.list(fs.as_ref()).map_err(|e| looking(&root.base, &e).at_default(config.span))?;
            if found.is_empty() && root.is_glob() && config.monitor_interval.is_none() {
                return Err(Error::new(PATH_MISSING, format!("no file matches the path of table `{}`", config.table))
                    .at(config.span, "")
                    .help("check the table's 'path'; relative paths start at the script's folder"));
            }
            if let Some(pattern) = &config.pattern {
                found.retain(|f| pattern.is_match(&f.path.to_string_lossy()));
            }
            Ok(found)
        })
    }

    fn assign(&mut self, found: &[Found]) -> Vec<SplitAssignment> {
        let mut splits = Vec::new();
        for file in found {
            let relative = self.config.root.relative(&file.path);
            if self.state.seen.insert(relative.clone()) {
                splits.extend(cut(&self.config, relative, file));
            }
        }
        splits
    }
}

impl Enumerator for FileEnumerator {
    fn next(&mut self) -> BoxFuture<'_, Result<EnumeratorEvent>> {
        Box::pin(self.advance())
    }

    fn snapshot(&self) -> Result<Value> {
        serde_json::to_value(&self.state)
            .map_err(|e| Error::new(READ_FAILED, format!("the list of files does not serialise: {e}")))
    }
}
