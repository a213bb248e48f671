//! A bounded queue into an event loop: push from any thread, one wake for many pushes.
//!
//! Must never be true: a message in the queue and a loop asleep with no wake on its way. Used for
//! accepted sockets, established connections and tickets.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::queue::ArrayQueue;
use mio::Waker;

/// The sending side and the receiving side in one; share it by `Arc`.
pub struct Inbox<T> {
    queue: ArrayQueue<T>,
    waker: Waker,
    /// A wake is on its way: further pushes need no system call.
    waking: AtomicBool,
}

impl<T> Inbox<T> {
    /// Room for `capacity` messages; `waker` wakes the loop that drains.
    pub fn new(capacity: usize, waker: Waker) -> Self {
        Self {
            queue: ArrayQueue::new(capacity.max(1)),
            waker,
            waking: AtomicBool::new(false),
        }
    }

    /// Queues `message` and wakes the loop unless a wake is already on its way. Gives it back when full.
    pub fn push(&self, message: T) -> Result<(), T> {
        self.queue.push(message)?;
        self.wake();
        Ok(())
    }

    /// Wakes the loop without a message: something it reads elsewhere has changed.
    pub fn wake(&self) {
        if !self.waking.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            // The next push tries again; eventfd writes fail only when the process is ending.
            self.waking.store(false, Ordering::Release);
            log::error!("an event loop could not be woken: {error}");
        }
    }

    /// The next message. Call [`Inbox::drained`] first, then pop until `None`.
    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Says that the loop is awake: pushes from now on wake it again. Before the first `pop`, so
    /// that a message pushed in between is either popped or wakes.
    pub fn drained(&self) {
        // A read-modify-write, so that a push ordered before it is visible to the pops that follow.
        self.waking.swap(false, Ordering::AcqRel);
    }

    /// Messages waiting now.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
