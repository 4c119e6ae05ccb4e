//! Where staged sinks keep their bodies: objects beside the state files.

use std::sync::Arc;

use bytes::Bytes;
use dflow_connector_api as api;
use dflow_connector_api::{StageStore, StagedRef};
use futures::future::BoxFuture;
use object_store::PutMode;

use super::{Shared, manifest};
use crate::error::Error;

/// A view of the store for sinks.
pub(super) struct Stage(pub(super) Arc<Shared>);

impl StageStore for Stage {
    fn put(&self, body: Bytes) -> BoxFuture<'_, api::Result<StagedRef>> {
        Box::pin(async move {
            let path = self.0.session(|s| Ok(s.name(manifest::STAGED, "body", "bin"))).map_err(for_connector)?;
            let staged = StagedRef { path, len: body.len() as u64, crc: crc32fast::hash(&body) };
            self.0.put(&staged.path, body, PutMode::Create).await.map_err(for_connector)?;
            Ok(staged)
        })
    }

    fn get(&self, staged: &StagedRef) -> BoxFuture<'_, api::Result<Bytes>> {
        let staged = staged.clone();
        Box::pin(async move { self.0.get_checked(&staged.path, staged.len, staged.crc).await.map_err(for_connector) })
    }
}

/// Connectors speak of errors in the words of their interface.
fn for_connector(error: Error) -> api::Error {
    use dflow_common::Classified;
    let retryable = error.retryable();
    let error = api::Error::from(error.diagnostic());
    if retryable { error.retry() } else { error }
}
