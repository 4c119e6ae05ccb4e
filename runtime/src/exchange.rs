//! Moving rows to other tasks.
//!
//! # Example
//! `Hash[0]` to two receivers that own key groups 0..128 and 128..256:
//! ```text
//! in   k  group         to receiver 0      to receiver 1
//!      a   17           a, c               b
//!      b  200
//!      c   99           one `take` per receiver, rows in their order
//! ```
//! A batch whose rows all go to one receiver is handed on as it is; with one receiver nothing is even hashed. Watermarks,
//! idleness, barriers and the end go to every receiver.

use arrow::array::UInt32Array;
use dflow_common::ChangeBatch;
use dflow_common::ids::KeyGroup;

use crate::channel::{Closed, Message, Sender};
use crate::error::Result;
use crate::graph::Exchange;
use crate::keys;
use crate::operator::Element;

/// The sending side of one edge in one task.
pub(crate) struct Outgoing {
    exchange: Exchange,
    receivers: Vec<Sender>,
    /// The receiver of each key group: a look-up per row is cheaper than a division.
    owners: Vec<u16>,
    next: usize,
}

impl Outgoing {
    /// `receivers` by subtask; one of them for `Forward`. `subtask` is ours: round robin starts there, so that senders
    /// do not all begin with the same receiver.
    pub(crate) fn new(exchange: Exchange, receivers: Vec<Sender>, max_parallelism: KeyGroup, subtask: usize) -> Self {
        let next = subtask % receivers.len().max(1);
        let owners = owners(max_parallelism, receivers.len());
        Self { exchange, receivers, owners, next }
    }

    /// Sends a batch or a signal.
    ///
    /// # Errors
    /// When rows cannot be partitioned. `Ok(Err(Closed))` when a receiver is gone.
    pub(crate) async fn send(&mut self, element: Element) -> Result<Result<(), Closed>> {
        let batch = match element {
            Element::Batch(batch) => batch,
            signal => return Ok(self.broadcast(&Message::Element(signal)).await),
        };
        if let [only] = self.receivers.as_slice() {
            return Ok(only.send(Message::Element(Element::Batch(batch))).await);
        }
        match &self.exchange {
            Exchange::Hash(columns) => {
                for (receiver, part) in partition(&batch, columns, &self.owners, self.receivers.len())? {
                    let message = Message::Element(Element::Batch(part));
                    if self.receivers[receiver].send(message).await.is_err() {
                        return Ok(Err(Closed));
                    }
                }
                Ok(Ok(()))
            }
            Exchange::Forward | Exchange::Rebalance => {
                let receiver = self.next;
                self.next = (self.next + 1) % self.receivers.len();
                Ok(self.receivers[receiver].send(Message::Element(Element::Batch(batch))).await)
            }
        }
    }

    /// Sends a control message to every receiver.
    pub(crate) async fn broadcast(&self, message: &Message) -> Result<(), Closed> {
        for receiver in &self.receivers {
            receiver.send(message.clone()).await?;
        }
        Ok(())
    }
}

/// The receiver of each key group.
fn owners(max_parallelism: KeyGroup, receivers: usize) -> Vec<u16> {
    (0..max_parallelism).map(|group| keys::owner(max_parallelism, receivers, group) as u16).collect()
}

/// The rows of each receiver that gets any, by receiver.
fn partition(
    batch: &ChangeBatch,
    columns: &[usize],
    owners: &[u16],
    receivers: usize,
) -> Result<Vec<(usize, ChangeBatch)>> {
    if columns.is_empty() {
        return Ok(vec![(usize::from(owners[0]), batch.clone())]);
    }
    let columns: Vec<_> = columns.iter().map(|c| batch.column(*c).clone()).collect();
    let groups = keys::key_groups(&columns, owners.len() as KeyGroup);
    // An even spread and a little more, so that few of them grow.
    let room = batch.num_rows() / receivers + batch.num_rows() / 8 + 8;
    let mut rows: Vec<Vec<u32>> = (0..receivers).map(|_| Vec::with_capacity(room)).collect();
    for (row, group) in groups.iter().enumerate() {
        rows[usize::from(owners[usize::from(*group)])].push(row as u32);
    }
    if let Some(all) = rows.iter().position(|r| r.len() == batch.num_rows()) {
        return Ok(vec![(all, batch.clone())]);
    }
    rows.into_iter()
        .enumerate()
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(receiver, rows)| Ok((receiver, batch.take(&UInt32Array::from(rows))?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn batch(values: impl IntoIterator<Item = i64>) -> ChangeBatch {
        let v: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
        ChangeBatch::inserts(RecordBatch::try_from_iter([("v", v)]).unwrap())
    }

    fn values(b: &ChangeBatch) -> Vec<i64> {
        b.column(0).as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn every_row_goes_to_the_owner_of_its_key_group_in_order() {
        let parts = partition(&batch(0..1000), &[0], &owners(256, 3), 3).unwrap();
        let mut seen = 0;
        for (receiver, part) in &parts {
            let groups = keys::key_groups(&[part.column(0).clone()], 256);
            assert!(groups.iter().all(|g| keys::owner(256, 3, *g) == *receiver));
            assert!(values(part).is_sorted());
            seen += part.num_rows();
        }
        assert_eq!((seen, parts.len()), (1000, 3));
    }

    #[test]
    fn a_batch_of_one_key_is_not_copied_and_no_columns_mean_key_group_zero() {
        let b = batch([5, 5, 5]);
        let parts = partition(&b, &[0], &owners(256, 4), 4).unwrap();
        assert_eq!(parts.len(), 1);
        assert!(Arc::ptr_eq(parts[0].1.column(0), b.column(0)));
        assert_eq!(partition(&batch(0..10), &[], &owners(256, 4), 4).unwrap()[0].0, 0);
    }
}
