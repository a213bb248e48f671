//! A bounded queue of work with deadlines, drained in batches by a few threads.
//!
//! The batch grows while the last round trip flies: [`Lane::drain`] takes what waits and never waits
//! for more. Clients take turns: one with a thousand items waiting delays another's by one item each
//! round, and may have no more than half of the queue.
//!
//! Must never be true: an item taken after its deadline as if it were in time, an item lost, more
//! than `capacity` items pushed. Called by the HSM pool, and by the shared cache.

mod turns;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::time::Time;
use turns::{NotQueued, Turns};

#[cfg(test)]
mod tests;

/// The client that has no share of the queue to keep to: the server itself.
pub const NOBODY: u32 = 0;

/// Why an item was not queued; it comes back untouched.
#[derive(Debug, Eq, PartialEq)]
pub enum Refused<T> {
    /// As many wait as may, of this client or in all.
    Full(T),
    /// The lane was closed.
    Closed(T),
}

/// What one [`Lane::drain`] took: in the order of turns, and of each client oldest first.
#[derive(Debug)]
pub struct Drained<T> {
    /// To be done.
    pub ready: Vec<T>,
    /// Past their deadline: to be answered, not done.
    pub expired: Vec<T>,
    /// The lane is closed and empty: the thread should end.
    pub closed: bool,
}

/// A point in the order of pushes; see [`Lane::take_before`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Mark(u64);

struct Entry<T> {
    item: T,
    deadline: Instant,
    place: Mark,
}

struct State<T> {
    /// Put back; first to go.
    back: VecDeque<Entry<T>>,
    turns: Turns<Entry<T>>,
    next_place: u64,
    sleepers: usize,
    closed: bool,
}

/// The queue. Share it by `Arc`.
pub struct Lane<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    /// By which deadlines are kept. Sleeping takes real time.
    time: Time,
}

impl<T> Lane<T> {
    /// Room for `capacity` items, all of it reserved now.
    pub fn new(capacity: usize) -> Self {
        Self::with_time(capacity, Time::real())
    }

    /// As [`Lane::new`], with deadlines of that clock.
    pub fn with_time(capacity: usize, time: Time) -> Self {
        let state = State {
            back: VecDeque::new(),
            turns: Turns::new(capacity, (capacity / 2).max(1)),
            next_place: 1,
            sleepers: 0,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            arrived: Condvar::new(),
            time,
        }
    }

    /// Queues `item` of `client`, or of [`NOBODY`], and wakes one sleeping thread.
    pub fn push(&self, client: u32, item: T, deadline: Instant) -> Result<(), Refused<T>> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Refused::Closed(item));
        }
        let place = Mark(state.next_place);
        let entry = Entry {
            item,
            deadline,
            place,
        };
        // What was put back counts as waiting.
        let put_back = state.back.len();
        if let Err(NotQueued(entry)) = state.turns.push(client, entry, put_back) {
            return Err(Refused::Full(entry.item));
        }
        state.next_place += 1;
        let wake = state.sleepers > 0;
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Puts drained items back at the front, in their order, over capacity if need be (each thread
    /// holds at most one batch, so the excess is bounded). They count as pushed before every [`Mark`],
    /// and have had their turn. Gives them back when the lane is closed.
    pub fn put_back(&self, items: Vec<(T, Instant)>) -> Result<(), Vec<T>> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(items.into_iter().map(|(item, _)| item).collect());
        }
        for (item, deadline) in items.into_iter().rev() {
            state.back.push_front(Entry {
                item,
                deadline,
                place: Mark(0),
            });
        }
        drop(state);
        self.arrived.notify_all();
        Ok(())
    }

    /// Takes what waits, at most `max` items in time and all expired ones before them. Sleeps up to
    /// `wait` when nothing does, so an empty answer is possible.
    pub fn drain(&self, max: usize, wait: Duration) -> Drained<T> {
        let until = Instant::now() + wait;
        let mut state = self.state.lock();
        while state.len() == 0 && !state.closed {
            state.sleepers += 1;
            let timed_out = self.arrived.wait_until(&mut state, until).timed_out();
            state.sleepers -= 1;
            if timed_out {
                break;
            }
        }
        let drained = state.take(max, self.time.now());
        // One push wakes one thread; what this one leaves behind is another's.
        let wake = state.len() > 0 && state.sleepers > 0;
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        drained
    }

    /// Removes what expired by `now`, wherever it stands; oldest first.
    pub fn expire(&self, now: Instant) -> Vec<T> {
        self.remove_if(|entry| entry.deadline <= now)
    }

    /// The present end of the queue.
    pub fn mark(&self) -> Mark {
        Mark(self.state.lock().next_place)
    }

    /// Removes what was pushed before `mark`; oldest first.
    pub fn take_before(&self, mark: Mark) -> Vec<T> {
        self.remove_if(|entry| entry.place < mark)
    }

    /// Refuses pushes from now on, wakes every sleeper and gives back what waited, oldest first.
    pub fn close(&self) -> Vec<T> {
        self.state.lock().closed = true;
        self.arrived.notify_all();
        self.remove_if(|_| true)
    }

    /// True after [`Lane::close`].
    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Items waiting.
    pub fn len(&self) -> usize {
        self.state.lock().len()
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn remove_if(&self, gone: impl Fn(&Entry<T>) -> bool) -> Vec<T> {
        let mut removed = self.state.lock().remove_if(gone);
        // Those put back come first and keep their order: the sort is stable.
        removed.sort_by_key(|entry| entry.place);
        removed.into_iter().map(|entry| entry.item).collect()
    }
}

impl<T> State<T> {
    fn len(&self) -> usize {
        self.back.len() + self.turns.len()
    }

    fn take(&mut self, max: usize, now: Instant) -> Drained<T> {
        let mut drained = Drained {
            ready: Vec::with_capacity(max.min(self.len())),
            expired: Vec::new(),
            closed: self.closed && self.len() == 0,
        };
        while drained.ready.len() < max {
            let in_time = |entry: &Entry<T>| entry.deadline > now;
            let next = self.back.pop_front().map(|entry| (in_time(&entry), entry));
            let Some((in_time, entry)) = next.or_else(|| self.turns.pop(in_time)) else {
                break;
            };
            if in_time {
                drained.ready.push(entry.item);
            } else {
                drained.expired.push(entry.item);
            }
        }
        drained
    }

    fn remove_if(&mut self, gone: impl Fn(&Entry<T>) -> bool) -> Vec<Entry<T>> {
        let mut removed = Vec::new();
        for _ in 0..self.back.len() {
            let Some(entry) = self.back.pop_front() else {
                break;
            };
            if gone(&entry) {
                removed.push(entry);
            } else {
                self.back.push_back(entry);
            }
        }
        self.turns.remove_if(&gone, &mut removed);
        removed
    }
}
