//! A staged sink, the stage it writes into, and the server it publishes to.
//!
//! ```text
//! write … write   prepare(7): body = the epoch's rows as an Arrow stream ── put ──> MemoryStage
//!                 committable {epoch 7, subtask 0, staged}      in the manifest of checkpoint 7
//! commit(7):      get body ── publish("job/sink/7/0", body) ──> Server: rows visible; the same token again: no-op
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int8Type, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use dflow_common::{ChangeBatch, Class, Code, CodeInfo, Epoch, Ops};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ROLE_NOT_SUPPORTED, Result};
use crate::sink::{
    ChangelogSupport, Committable, Committer, CommitterContext, Sink, SinkMode, StageStore, StagedRef, Writer,
    WriterContext,
};

/// The error a [`Server`] gives when it was told to fail. Not a code of the product: tests only.
const SERVER_DOWN: CodeInfo =
    CodeInfo { code: Code(7999), title: "the test server is down", class: Class::Unavailable };

/// A [`StageStore`] in memory. Clones share their bodies.
#[derive(Clone, Default)]
pub struct MemoryStage(Arc<Mutex<BTreeMap<String, Bytes>>>);

impl MemoryStage {
    /// Nothing staged.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bodies are kept.
    pub fn bodies(&self) -> usize {
        self.lock().len()
    }

    /// Flips a bit of a body, so that reading it back must fail.
    pub fn damage(&self, staged: &StagedRef) {
        if let Some(body) = self.lock().get_mut(&staged.path) {
            let mut bytes = body.to_vec();
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            *body = bytes.into();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StageStore for MemoryStage {
    fn put(&self, body: Bytes) -> BoxFuture<'_, Result<StagedRef>> {
        Box::pin(async move {
            let mut bodies = self.lock();
            let path = format!("staged/{}", bodies.len());
            let staged = StagedRef { path: path.clone(), len: body.len() as u64, crc: crc32fast::hash(&body) };
            bodies.insert(path, body);
            Ok(staged)
        })
    }

    fn get(&self, staged: &StagedRef) -> BoxFuture<'_, Result<Bytes>> {
        let (found, staged) = (self.lock().get(&staged.path).cloned(), staged.clone());
        Box::pin(async move {
            found
                .filter(|b| b.len() as u64 == staged.len && crc32fast::hash(b) == staged.crc)
                .ok_or_else(|| Error::new(SERVER_DOWN, format!("staged body {} is lost or damaged", staged.path)))
        })
    }
}

/// The system a [`StagedSink`] publishes to. Clones are one server.
#[derive(Clone, Default)]
pub struct Server(Arc<Mutex<Published>>);

#[derive(Default)]
struct Published {
    bodies: BTreeMap<String, Bytes>,
    order: Vec<String>,
    repeats: usize,
    fail: usize,
    lose_answers: usize,
}

impl Server {
    /// Nothing published.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses the next `n` publishes.
    pub fn fail(&self, n: usize) {
        self.lock().fail = n;
    }

    /// Carries out the next `n` publishes, and answers with an error.
    pub fn lose_answers(&self, n: usize) {
        self.lock().lose_answers = n;
    }

    /// How often a token came again.
    pub fn repeats(&self) -> usize {
        self.lock().repeats
    }

    /// The tokens in the order of their first publish.
    pub fn tokens(&self) -> Vec<String> {
        self.lock().order.clone()
    }

    /// What is visible, in the order it was published.
    ///
    /// # Panics
    /// When a body is not what a [`StagedSink`] writes.
    pub fn changes(&self) -> Vec<ChangeBatch> {
        let published = self.lock();
        let bodies = published.order.iter().map(|token| &published.bodies[token]);
        bodies.flat_map(|body| decode(body).expect("bodies are what a staged sink wrote")).collect()
    }

    /// [`Server::changes`] as lines of [`rows`](super::rows).
    pub fn rows(&self) -> Vec<String> {
        self.changes().iter().flat_map(super::rows).collect()
    }

    fn publish(&self, token: &str, body: Bytes) -> Result<()> {
        let mut published = self.lock();
        let down = || Error::new(SERVER_DOWN, "the server does not answer").retry();
        if published.fail > 0 {
            published.fail -= 1;
            return Err(down());
        }
        match published.bodies.get(token) {
            Some(first) if *first == body => published.repeats += 1,
            Some(_) => {
                return Err(Error::new(SERVER_DOWN, format!("token {token} came again with another body")));
            }
            None => {
                published.order.push(token.to_owned());
                published.bodies.insert(token.to_owned(), body);
            }
        }
        if published.lose_answers > 0 {
            published.lose_answers -= 1;
            return Err(down());
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sink that stages its epochs and publishes them to a [`Server`].
pub struct StagedSink {
    server: Server,
    changelog: ChangelogSupport,
}

impl StagedSink {
    /// Takes all kinds of change.
    pub fn new(server: &Server) -> Self {
        Self { server: server.clone(), changelog: ChangelogSupport::All }
    }

    /// Takes these changes only.
    pub fn taking(mut self, changelog: ChangelogSupport) -> Self {
        self.changelog = changelog;
        self
    }
}

impl Sink for StagedSink {
    fn mode(&self) -> SinkMode {
        SinkMode::Staged
    }

    fn changelog(&self) -> ChangelogSupport {
        self.changelog.clone()
    }

    fn writer(&self, context: &WriterContext) -> Result<Box<dyn Writer>> {
        Ok(Box::new(StagedWriter {
            subtask: context.subtask,
            stage: context.stage.clone(),
            changelog: self.changelog.clone(),
            batches: Vec::new(),
        }))
    }

    fn committer(&self, context: &CommitterContext) -> Result<Option<Box<dyn Committer>>> {
        Ok(Some(Box::new(StagedCommitter {
            prefix: format!("{}/{}", context.owner, context.sink),
            stage: context.stage.clone(),
            server: self.server.clone(),
        })))
    }
}

#[derive(Serialize, Deserialize)]
struct Chunk {
    epoch: Epoch,
    subtask: usize,
    staged: StagedRef,
}

struct StagedWriter {
    subtask: usize,
    stage: Arc<dyn StageStore>,
    changelog: ChangelogSupport,
    batches: Vec<ChangeBatch>,
}

impl Writer for StagedWriter {
    fn write(&mut self, batch: ChangeBatch) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if self.changelog == ChangelogSupport::AppendOnly && !batch.ops.is_append() {
                return Err(Error::new(ROLE_NOT_SUPPORTED, "this sink takes inserts only"));
            }
            self.batches.push(batch);
            Ok(())
        })
    }

    fn prepare(&mut self, epoch: Epoch) -> BoxFuture<'_, Result<Vec<Committable>>> {
        Box::pin(async move {
            if self.batches.is_empty() {
                return Ok(Vec::new());
            }
            let staged = self.stage.put(encode(&self.batches).map_err(not_a_body)?).await?;
            self.batches.clear();
            let chunk = Chunk { epoch, subtask: self.subtask, staged };
            Ok(vec![Committable(serde_json::to_value(chunk).map_err(not_a_body)?)])
        })
    }
}

struct StagedCommitter {
    prefix: String,
    stage: Arc<dyn StageStore>,
    server: Server,
}

impl StagedCommitter {
    async fn publish(&self, committables: Vec<Committable>) -> Result<()> {
        for Committable(value) in committables {
            let chunk: Chunk = serde_json::from_value(value).map_err(not_a_body)?;
            let body = self.stage.get(&chunk.staged).await?;
            self.server.publish(&format!("{}/{}/{}", self.prefix, chunk.epoch, chunk.subtask), body)?;
        }
        Ok(())
    }
}

impl Committer for StagedCommitter {
    /// What is newer than the manifest was never published: publishing needs a manifest.
    fn recover(&mut self, _epoch: Epoch, pending: Vec<Committable>) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.publish(pending))
    }

    fn commit(&mut self, _epoch: Epoch, committables: Vec<Committable>) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.publish(committables))
    }
}

fn not_a_body(e: impl std::fmt::Display) -> Error {
    Error::new(ROLE_NOT_SUPPORTED, format!("not a staged body: {e}"))
}

/// The name of the column that carries the row kinds in a body.
const KIND: &str = "__kind";

/// An Arrow stream of the batches with their kinds as the last column.
fn encode(batches: &[ChangeBatch]) -> Result<Bytes, ArrowError> {
    let schema = batches[0].schema();
    let fields = schema.fields().iter().cloned().chain([Arc::new(Field::new(KIND, DataType::Int8, false))]);
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    for batch in batches {
        let kinds: Int8Array = (0..batch.num_rows()).map(|row| Some(batch.ops.kind(row) as i8)).collect();
        let columns = batch.data.columns().iter().cloned().chain([Arc::new(kinds) as ArrayRef]);
        writer.write(&RecordBatch::try_new(schema.clone(), columns.collect())?)?;
    }
    writer.finish()?;
    writer.into_inner().map(Bytes::from)
}

fn decode(body: &[u8]) -> Result<Vec<ChangeBatch>, ArrowError> {
    StreamReader::try_new(body, None)?
        .map(|batch| {
            let mut batch = batch?;
            let kinds = batch.remove_column(batch.num_columns() - 1);
            let kinds = kinds.as_primitive::<Int8Type>();
            debug_assert_eq!(kinds.null_count(), 0, "every row has a kind");
            Ok(ChangeBatch::new(batch, Ops::from_kinds(kinds.values().to_vec())))
        })
        .collect()
}
