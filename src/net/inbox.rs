//! A bounded queue into an event loop: push from any thread, one wake for many pushes.

use mio::Waker;

/// The sending side and the receiving side in one; share it by `Arc`.
pub struct Inbox<T> { _t: std::marker::PhantomData<T>, _waker: Waker }

impl<T> Inbox<T> {
    /// Room for `capacity` messages; `waker` wakes the loop that drains.
    pub fn new(_capacity: usize, _waker: Waker) -> Self { todo!() }
    /// Queues `message` and wakes the loop unless a wake is already on its way. Gives it back when full.
    pub fn push(&self, _message: T) -> Result<(), T> { todo!() }
    /// The next message. Call [`Inbox::drained`] first, then pop until `None`.
    pub fn pop(&self) -> Option<T> { todo!() }
    /// Says that the loop is awake: pushes from now on wake it again.
    pub fn drained(&self) { todo!() }
}
