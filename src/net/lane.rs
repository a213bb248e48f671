//! A bounded queue of work with deadlines, drained in batches by a few threads.
//!
//! The batch grows while the last round trip flies: [`Lane::drain`] takes what waits and never waits
//! for more. Clients take turns: one with a thousand items waiting delays another's by one item each
//! round, and may have no more than half of the queue. Behind all of them come items that nobody waits
//! for ([`Lane::push_spare`]).
//!
//! Must never be true: an item taken after its deadline as if it were in time, an item lost, more
//! than `capacity` items pushed. Called by the HSM pool, and by the shared cache.

mod spare;
mod turns;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::time::Time;
use spare::Spare;
use turns::{NotQueued, Turns};

pub use spare::SparePlan;

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
    /// Items that nobody waited for, given up because clients' items wait: to be answered, not done.
    pub given_up: Vec<T>,
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
    spare: Spare<Entry<T>>,
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
        Self::with_spare(capacity, SparePlan::default())
    }

    /// As [`Self::new`], and for what `spare` says besides.
    pub fn with_spare(capacity: usize, spare: SparePlan) -> Self {
        let state = State {
            back: VecDeque::new(),
            turns: Turns::new(capacity, (capacity / 2).max(1)),
            spare: Spare::new(spare),
            next_place: 1,
            sleepers: 0,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            arrived: Condvar::new(),
            time: Time::real(),
        }
    }

    /// With deadlines of that clock.
    #[must_use]
    pub fn by(mut self, time: Time) -> Self {
        self.time = time;
        self
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

    /// Queues an `item` that nobody waits for; it has no client's turn. `tag` is for [`Self::raise`].
    pub fn push_spare(&self, tag: u128, item: T, deadline: Instant) -> Result<(), Refused<T>> {
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
        let clients = state.len();
        if let Err(entry) = state.spare.push(tag, entry, clients) {
            return Err(Refused::Full(entry.item));
        }
        state.next_place += 1;
        let wake = state.wakes_for_spare();
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Makes a spare item one of `client`, who waits for it now, until `deadline` at least. False: it does
    /// not wait any more, or the client has no room; then it stays what it is.
    pub fn raise(&self, tag: u128, client: u32, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        let Some(mut entry) = state.spare.take(tag) else {
            return false;
        };
        entry.deadline = entry.deadline.max(deadline);
        let put_back = state.back.len();
        if let Err(NotQueued(entry)) = state.turns.push(client, entry, put_back) {
            state.spare.put_back(tag, entry);
            return false;
        }
        let wake = state.sleepers > 0;
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        true
    }

    /// Puts drained items back at the front, in their order, over capacity if need be (each thread
    /// holds no more than it took at once, so the excess is bounded). They count as pushed before every [`Mark`],
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
        while state.len() == 0 && !state.closed && state.spare_allowed(max) == 0 {
            state.sleepers += 1;
            let timed_out = self.arrived.wait_until(&mut state, until).timed_out();
            state.sleepers -= 1;
            if timed_out {
                break;
            }
        }
        let drained = state.take(max, self.time.now());
        // One push wakes one thread; what this one leaves behind is another's.
        let wake = (state.len() > 0 && state.sleepers > 0) || state.wakes_for_spare();
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        drained
    }

    /// Counts one as asleep that has no thread to sleep in, until [`Self::get_up`].
    pub fn lie_down(&self) {
        self.state.lock().sleepers += 1;
    }

    /// See [`Self::lie_down`].
    pub fn get_up(&self) {
        let mut state = self.state.lock();
        state.sleepers = state.sleepers.saturating_sub(1);
    }

    /// Whether a sleeper would find something to take.
    pub fn wants_sleeper(&self) -> bool {
        let state = self.state.lock();
        state.sleepers > 0 && state.len() > 0 || state.wakes_for_spare()
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

    /// Items of [`Self::push_spare`] waiting.
    pub fn spare_len(&self) -> usize {
        self.state.lock().spare.len()
    }

    /// Items waiting, those of [`Self::push_spare`] not counted.
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
            given_up: Vec::new(),
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
        if drained.ready.is_empty() {
            self.take_spare(max, now, &mut drained);
        } else if self.spare.is_busy(self.len()) {
            drained
                .given_up
                .extend(std::iter::from_fn(|| self.spare.pop()).map(|entry| entry.item));
        }
        drained
    }

    /// Never beside a client's item: it would make that one's message longer.
    fn take_spare(&mut self, max: usize, now: Instant, drained: &mut Drained<T>) {
        let allowed = self.spare_allowed(max);
        while drained.ready.len() < allowed {
            let Some(entry) = self.spare.pop() else {
                return;
            };
            if entry.deadline > now {
                drained.ready.push(entry.item);
            } else {
                drained.expired.push(entry.item);
            }
        }
    }

    /// How many spare items a thread that is awake may take now.
    fn spare_allowed(&self, max: usize) -> usize {
        self.spare.allowed(self.sleepers, max).min(self.spare.len())
    }

    /// Whether a sleeper that were woken now would take a spare item.
    fn wakes_for_spare(&self) -> bool {
        let others = self.sleepers.checked_sub(1);
        self.spare.len() > 0 && others.is_some_and(|others| self.spare.allowed(others, 1) > 0)
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
        self.spare.remove_if(&gone, &mut removed);
        removed
    }
}
