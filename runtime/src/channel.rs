//! Bounded queues between tasks.
//!
//! ```text
//!  task A ──Sender──> [ queue 0 ] ─┐
//!  task B ──Sender──> [ queue 1 ] ─┴─> Inbox of task C       one queue per sender, in order
//! ```
//! # Limits
//! A sender of data waits while its queue holds [`ChannelLimits`] rows or bytes or more; so a queue exceeds a limit by
//! one batch at most, and a batch larger than the limit still passes. Control messages (watermarks, barriers, ends) stay
//! in order with data but never wait: a barrier can always be forwarded.
//!
//! # Alignment
//! An input that is blocked is not polled: its queue fills and its sender waits.
//!
//! # Cancel safety
//! `send` puts its message in the queue at the moment it completes, `poll_recv` takes one only when it is ready.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use dflow_common::Epoch;
use futures::task::AtomicWaker;

use crate::config::ChannelLimits;
use crate::operator::Element;

/// What moves between tasks.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// Rows, watermarks, idleness.
    Element(Element),
    /// All before it belongs to the checkpoint. Barriers still follow after `End`.
    Barrier(Epoch),
    /// No row and no watermark follows.
    End,
}

/// The receiver is gone: its task has ended, and so will ours.
#[derive(Debug)]
pub(crate) struct Closed;

struct Channel {
    queue: Mutex<Queue>,
    limits: ChannelLimits,
    receiver: Arc<AtomicWaker>,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<(Message, usize)>,
    rows: usize,
    bytes: usize,
    sender: Option<Waker>,
    closed: bool,
}

impl Channel {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing under this lock panics.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts messages into one queue.
pub(crate) struct Sender(Arc<Channel>);

impl Sender {
    /// Sends data; waits while the queue is full.
    pub(crate) async fn send(&self, message: Message) -> Result<(), Closed> {
        let (rows, bytes) = size(&message);
        if rows == 0 {
            return self.push(message, 0, 0);
        }
        let mut message = Some(message);
        std::future::poll_fn(|cx| {
            let mut queue = self.0.lock();
            if !queue.closed && (queue.rows >= self.0.limits.rows_max || queue.bytes >= self.0.limits.bytes_max) {
                queue.sender = Some(cx.waker().clone());
                return Poll::Pending;
            }
            drop(queue);
            Poll::Ready(message.take().map_or(Ok(()), |m| self.push(m, rows, bytes)))
        })
        .await
    }

    fn push(&self, message: Message, rows: usize, bytes: usize) -> Result<(), Closed> {
        let mut queue = self.0.lock();
        if queue.closed {
            return Err(Closed);
        }
        queue.messages.push_back((message, bytes));
        queue.rows += rows;
        queue.bytes += bytes;
        drop(queue);
        self.0.receiver.wake();
        Ok(())
    }
}

fn size(message: &Message) -> (usize, usize) {
    match message {
        Message::Element(Element::Batch(b)) => (b.num_rows(), b.memory_bytes()),
        _ => (0, 0),
    }
}

/// Takes messages out of all queues of a task, fairly.
#[derive(Default)]
pub(crate) struct Inbox {
    channels: Vec<Arc<Channel>>,
    blocked: Vec<bool>,
    waker: Arc<AtomicWaker>,
    next: usize,
}

impl Inbox {
    /// Adds an input; inputs are numbered in the order they are added.
    pub(crate) fn add(&mut self, limits: ChannelLimits) -> Sender {
        let channel = Arc::new(Channel { queue: Mutex::default(), limits, receiver: Arc::clone(&self.waker) });
        self.channels.push(Arc::clone(&channel));
        self.blocked.push(false);
        Sender(channel)
    }

    /// How many inputs.
    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Stops taking from an input, or goes on.
    pub(crate) fn set_blocked(&mut self, input: usize, blocked: bool) {
        self.blocked[input] = blocked;
    }

    /// Goes on with every input.
    pub(crate) fn unblock_all(&mut self) {
        self.blocked.fill(false);
    }

    /// The next message of an input that is not blocked.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<(usize, Message)> {
        if let Some(found) = self.try_recv() {
            return Poll::Ready(found);
        }
        if self.channels.is_empty() {
            return Poll::Pending;
        }
        self.waker.register(cx.waker());
        // A message may have come between the look and the registration.
        self.try_recv().map_or(Poll::Pending, Poll::Ready)
    }

    fn try_recv(&mut self) -> Option<(usize, Message)> {
        let n = self.channels.len();
        for k in 0..n {
            let i = (self.next + k) % n;
            if self.blocked[i] {
                continue;
            }
            let mut queue = self.channels[i].lock();
            if let Some((message, bytes)) = queue.messages.pop_front() {
                if let Message::Element(Element::Batch(b)) = &message {
                    queue.rows -= b.num_rows();
                    queue.bytes -= bytes;
                }
                let sender = queue.sender.take();
                drop(queue);
                if let Some(waker) = sender {
                    waker.wake();
                }
                self.next = (i + 1) % n;
                return Some((i, message));
            }
        }
        None
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        for channel in &self.channels {
            let mut queue = channel.lock();
            queue.closed = true;
            queue.messages.clear();
            if let Some(waker) = queue.sender.take() {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use dflow_common::ChangeBatch;
    use futures::FutureExt;
    use futures::task::noop_waker;

    use super::*;
    use crate::operator::Watermark;

    fn rows(n: i64) -> Message {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..n));
        Message::Element(Element::Batch(ChangeBatch::inserts(RecordBatch::try_from_iter([("v", column)]).unwrap())))
    }

    fn recv(inbox: &mut Inbox) -> Option<(usize, Message)> {
        match inbox.poll_recv(&mut Context::from_waker(&noop_waker())) {
            Poll::Ready(m) => Some(m),
            Poll::Pending => None,
        }
    }

    #[test]
    fn data_waits_at_the_limit_and_control_does_not() {
        let mut inbox = Inbox::default();
        let tx = inbox.add(ChannelLimits { rows_max: 4, bytes_max: usize::MAX });
        assert!(tx.send(rows(3)).now_or_never().is_some(), "3 rows, one below the limit");
        assert!(tx.send(rows(9)).now_or_never().is_some(), "below the limit a batch of any size passes");
        let mut third = Box::pin(tx.send(rows(1)));
        assert!(third.as_mut().now_or_never().is_none());
        assert!(tx.send(Message::Barrier(Epoch(1))).now_or_never().is_some());
        assert!(matches!(recv(&mut inbox), Some((0, Message::Element(Element::Batch(b)))) if b.num_rows() == 3));
        assert!(third.as_mut().now_or_never().is_none(), "9 rows remain");
        recv(&mut inbox);
        assert!(third.now_or_never().is_some());
        assert!(matches!(recv(&mut inbox), Some((0, Message::Barrier(Epoch(1))))), "in order with data");
    }

    #[test]
    fn bytes_are_a_limit_of_their_own() {
        let mut inbox = Inbox::default();
        let tx = inbox.add(ChannelLimits { rows_max: usize::MAX, bytes_max: 1 });
        assert!(tx.send(rows(1)).now_or_never().is_some());
        assert!(tx.send(rows(1)).now_or_never().is_none());
    }

    #[test]
    fn a_blocked_input_is_not_polled_and_others_take_turns() {
        let mut inbox = Inbox::default();
        let limits = ChannelLimits::default();
        let senders = [inbox.add(limits), inbox.add(limits)];
        for tx in &senders {
            for w in [1, 2] {
                let message = Message::Element(Element::Watermark(Watermark(w)));
                tx.send(message).now_or_never().unwrap().unwrap();
            }
        }
        let order: Vec<usize> = (0..2).map(|_| recv(&mut inbox).unwrap().0).collect();
        assert_eq!(order, [0, 1]);
        inbox.set_blocked(0, true);
        assert_eq!(recv(&mut inbox).unwrap().0, 1);
        assert!(recv(&mut inbox).is_none());
        inbox.unblock_all();
        assert_eq!(recv(&mut inbox).unwrap().0, 0);
    }

    #[test]
    fn a_sender_hears_that_the_receiver_is_gone() {
        let mut inbox = Inbox::default();
        let tx = inbox.add(ChannelLimits { rows_max: 1, bytes_max: 1 });
        tx.send(rows(1)).now_or_never().unwrap().unwrap();
        let mut waiting = Box::pin(tx.send(rows(1)));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(inbox);
        assert!(waiting.now_or_never().unwrap().is_err());
        assert!(tx.send(Message::End).now_or_never().unwrap().is_err());
    }
}
