//! A bounded queue of work with deadlines, drained in batches by a few threads.
//!
//! The batch grows while the last round trip flies: [`Lane::drain`] takes what waits and never waits
//! for more. Must never be true: an item taken after its deadline as if it were in time, an item
//! lost, more than `capacity` items pushed. Called by the HSM pool, and by the shared cache.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Why an item was not queued; it comes back untouched.
#[derive(Debug, Eq, PartialEq)]
pub enum Refused<T> {
    /// As many wait as may.
    Full(T),
    /// The lane was closed.
    Closed(T),
}

/// What one [`Lane::drain`] took, oldest first.
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
    queue: VecDeque<Entry<T>>,
    next_place: u64,
    sleepers: usize,
    closed: bool,
}

/// The queue. Share it by `Arc`.
pub struct Lane<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    capacity: usize,
}

impl<T> Lane<T> {
    /// Room for `capacity` items, all of it reserved now.
    pub fn new(capacity: usize) -> Self {
        let state = State {
            queue: VecDeque::with_capacity(capacity),
            next_place: 1,
            sleepers: 0,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            arrived: Condvar::new(),
            capacity,
        }
    }

    /// Queues `item` and wakes one sleeping thread.
    pub fn push(&self, item: T, deadline: Instant) -> Result<(), Refused<T>> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Refused::Closed(item));
        }
        if state.queue.len() >= self.capacity {
            return Err(Refused::Full(item));
        }
        let place = Mark(state.next_place);
        state.next_place += 1;
        state.queue.push_back(Entry {
            item,
            deadline,
            place,
        });
        let wake = state.sleepers > 0;
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Puts drained items back at the front, in their order, over capacity if need be (each thread
    /// holds at most one batch, so the excess is bounded). They count as pushed before every [`Mark`].
    /// Gives them back when the lane is closed.
    pub fn put_back(&self, items: Vec<(T, Instant)>) -> Result<(), Vec<T>> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(items.into_iter().map(|(item, _)| item).collect());
        }
        for (item, deadline) in items.into_iter().rev() {
            state.queue.push_front(Entry {
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
        while state.queue.is_empty() && !state.closed {
            state.sleepers += 1;
            let timed_out = self.arrived.wait_until(&mut state, until).timed_out();
            state.sleepers -= 1;
            if timed_out {
                break;
            }
        }
        let drained = state.take(max, Instant::now());
        // One push wakes one thread; what this one leaves behind is another's.
        let wake = !state.queue.is_empty() && state.sleepers > 0;
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        drained
    }

    /// Removes what expired by `now`, wherever it stands.
    pub fn expire(&self, now: Instant) -> Vec<T> {
        self.remove_if(|entry| entry.deadline <= now)
    }

    /// The present end of the queue.
    pub fn mark(&self) -> Mark {
        Mark(self.state.lock().next_place)
    }

    /// Removes what was pushed before `mark`.
    pub fn take_before(&self, mark: Mark) -> Vec<T> {
        self.remove_if(|entry| entry.place < mark)
    }

    /// Refuses pushes from now on, wakes every sleeper and gives back what waited.
    pub fn close(&self) -> Vec<T> {
        let mut state = self.state.lock();
        state.closed = true;
        let left = std::mem::take(&mut state.queue);
        drop(state);
        self.arrived.notify_all();
        left.into_iter().map(|entry| entry.item).collect()
    }

    /// True after [`Lane::close`].
    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Items waiting.
    pub fn len(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn remove_if(&self, mut gone: impl FnMut(&Entry<T>) -> bool) -> Vec<T> {
        let mut state = self.state.lock();
        let mut removed = Vec::new();
        // Once round in place: the reserved room stays.
        for _ in 0..state.queue.len() {
            let Some(entry) = state.queue.pop_front() else {
                break;
            };
            if gone(&entry) {
                removed.push(entry.item);
            } else {
                state.queue.push_back(entry);
            }
        }
        removed
    }
}

impl<T> State<T> {
    fn take(&mut self, max: usize, now: Instant) -> Drained<T> {
        let mut drained = Drained {
            ready: Vec::with_capacity(max.min(self.queue.len())),
            expired: Vec::new(),
            closed: self.closed && self.queue.is_empty(),
        };
        while drained.ready.len() < max {
            let Some(entry) = self.queue.pop_front() else {
                break;
            };
            if entry.deadline <= now {
                drained.expired.push(entry.item);
            } else {
                drained.ready.push(entry.item);
            }
        }
        drained
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const NO_WAIT: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn drains_in_order_and_at_most_max() {
        let lane = Lane::new(8);
        let deadline = Instant::now() + LONG;
        for n in 0..5 {
            assert_eq!(lane.push(n, deadline), Ok(()));
        }
        assert_eq!(lane.drain(3, NO_WAIT).ready, [0, 1, 2]);
        assert_eq!(lane.drain(3, NO_WAIT).ready, [3, 4]);
        assert!(lane.drain(3, NO_WAIT).ready.is_empty());
    }

    #[test]
    fn refuses_when_full_and_when_closed() {
        let lane = Lane::new(1);
        let deadline = Instant::now() + LONG;
        assert_eq!(lane.push('a', deadline), Ok(()));
        assert_eq!(lane.push('b', deadline), Err(Refused::Full('b')));
        assert_eq!(lane.close(), ['a']);
        assert_eq!(lane.push('c', deadline), Err(Refused::Closed('c')));
        assert_eq!(lane.put_back(vec![('d', deadline)]), Err(vec!['d']));
        assert!(lane.drain(1, LONG).closed);
    }

    #[test]
    fn the_expired_are_split_off_and_do_not_count() {
        let lane = Lane::new(8);
        let now = Instant::now();
        for (item, deadline) in [('x', now), ('a', now + LONG), ('y', now), ('b', now + LONG)] {
            assert_eq!(lane.push(item, deadline), Ok(()));
        }
        let drained = lane.drain(2, NO_WAIT);
        assert_eq!(
            (drained.ready, drained.expired),
            (vec!['a', 'b'], vec!['x', 'y'])
        );
    }

    #[test]
    fn expire_takes_only_what_is_due() {
        let lane = Lane::new(8);
        let now = Instant::now();
        for (item, ahead) in [('a', 5), ('b', 1), ('c', 2)] {
            assert_eq!(lane.push(item, now + Duration::from_secs(ahead)), Ok(()));
        }
        assert_eq!(lane.expire(now + Duration::from_secs(2)), ['b', 'c']);
        assert_eq!(lane.len(), 1);
    }

    #[test]
    fn a_mark_splits_old_from_new_and_put_back_counts_as_old() {
        let lane = Lane::new(8);
        let deadline = Instant::now() + LONG;
        assert_eq!(lane.push('a', deadline), Ok(()));
        let mark = lane.mark();
        assert_eq!(lane.push('b', deadline), Ok(()));
        assert_eq!(
            lane.put_back(vec![('r', deadline), ('s', deadline)]),
            Ok(())
        );
        assert_eq!(lane.take_before(mark), ['r', 's', 'a']);
        assert_eq!(lane.drain(8, NO_WAIT).ready, ['b']);
    }

    #[test]
    fn every_item_reaches_exactly_one_of_many_threads() {
        let lane = Arc::new(Lane::new(10_000));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let lane = Arc::clone(&lane);
                std::thread::spawn(move || {
                    let mut seen = Vec::new();
                    loop {
                        let drained = lane.drain(7, LONG);
                        if drained.closed {
                            return seen;
                        }
                        seen.extend(drained.ready);
                    }
                })
            })
            .collect();
        let deadline = Instant::now() + LONG;
        for n in 0..5_000_u32 {
            assert_eq!(lane.push(n, deadline), Ok(()));
        }
        while !lane.is_empty() {
            std::thread::yield_now();
        }
        assert!(lane.close().is_empty());
        let mut all: Vec<u32> = threads
            .into_iter()
            .flat_map(|t| t.join().unwrap_or_default())
            .collect();
        all.sort_unstable();
        assert_eq!(all, (0..5_000).collect::<Vec<_>>());
    }
}
