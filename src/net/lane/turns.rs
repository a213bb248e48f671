//! Items of many clients, taken in turns: round robin among clients, first in first out within one.
//!
//! Every operation on one item is O(1). All room is reserved at the start: the places are a slab,
//! linked into one list for each client and one of free places. Must never be true: a client in the
//! round without an item, or with an item and not in the round, or there twice.

use std::collections::{HashMap, VecDeque};

use super::NOBODY;

/// No place.
const NONE: u32 = u32::MAX;

/// There is no room; the item comes back.
#[derive(Debug)]
pub(super) struct NotQueued<T>(pub(super) T);

struct Place<T> {
    held: Option<T>,
    /// The next of the same client, or the next free one.
    next: u32,
}

/// A client's items, oldest first.
struct List {
    head: u32,
    tail: u32,
    len: usize,
}

pub(super) struct Turns<T> {
    places: Vec<Place<T>>,
    free: u32,
    lists: HashMap<u32, List>,
    /// Whose turn it is, and who comes then.
    round: VecDeque<u32>,
    len: usize,
    capacity: usize,
    share: usize,
}

impl<T> Turns<T> {
    /// Room for `capacity` items, and for `share` of any one client but [`NOBODY`].
    pub(super) fn new(capacity: usize, share: usize) -> Self {
        let capacity = capacity.min(NONE as usize);
        Self {
            places: Vec::with_capacity(capacity),
            free: NONE,
            lists: HashMap::with_capacity(capacity),
            round: VecDeque::with_capacity(capacity),
            len: 0,
            capacity,
            share,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Queues `item` behind those of its client, unless that many and `elsewhere` more fill the room.
    pub(super) fn push(
        &mut self,
        client: u32,
        item: T,
        elsewhere: usize,
    ) -> Result<(), NotQueued<T>> {
        let own = self.lists.get(&client).map_or(0, |list| list.len);
        let over_share = client != NOBODY && own >= self.share;
        if over_share || self.len + elsewhere >= self.capacity {
            return Err(NotQueued(item));
        }
        let at = self.place(item);
        self.append(client, at);
        Ok(())
    }

    /// Takes the next item, and says whether it `counts`: only then the client's turn is over.
    pub(super) fn pop(&mut self, counts: impl Fn(&T) -> bool) -> Option<(bool, T)> {
        loop {
            let client = self.round.pop_front()?;
            let Some(item) = self.take_first(client) else {
                continue;
            };
            let counts = counts(&item);
            if self.lists.contains_key(&client) {
                if counts {
                    self.round.push_back(client);
                } else {
                    self.round.push_front(client);
                }
            }
            return Some((counts, item));
        }
    }

    /// Moves every item that is `gone` to `removed`; who stays keeps its turn.
    pub(super) fn remove_if(&mut self, gone: &impl Fn(&T) -> bool, removed: &mut Vec<T>) {
        for _ in 0..self.round.len() {
            let Some(client) = self.round.pop_front() else {
                return;
            };
            let waiting = self.lists.get(&client).map_or(0, |list| list.len);
            // Once round the client's own list.
            for _ in 0..waiting {
                let Some(item) = self.take_first(client) else {
                    break;
                };
                if gone(&item) {
                    removed.push(item);
                } else {
                    let at = self.place(item);
                    self.link(client, at);
                }
            }
            if self.lists.contains_key(&client) {
                self.round.push_back(client);
            }
        }
    }

    fn append(&mut self, client: u32, at: u32) {
        if self.link(client, at) {
            self.round.push_back(client);
        }
    }

    /// Puts a filled place at the end of a client's list; true when that is new.
    fn link(&mut self, client: u32, at: u32) -> bool {
        self.len += 1;
        let Some(list) = self.lists.get_mut(&client) else {
            let list = List {
                head: at,
                tail: at,
                len: 1,
            };
            self.lists.insert(client, list);
            return true;
        };
        if let Some(last) = self.places.get_mut(list.tail as usize) {
            last.next = at;
        }
        list.tail = at;
        list.len += 1;
        false
    }

    /// A place for `item`, linked to nothing.
    fn place(&mut self, item: T) -> u32 {
        let filled = Place {
            held: Some(item),
            next: NONE,
        };
        if let Some(free) = self.places.get_mut(self.free as usize) {
            let at = std::mem::replace(&mut self.free, free.next);
            *free = filled;
            return at;
        }
        let at = u32::try_from(self.places.len()).unwrap_or(NONE);
        self.places.push(filled);
        at
    }

    /// Takes a client's oldest item; its list goes with the last one.
    fn take_first(&mut self, client: u32) -> Option<T> {
        let list = self.lists.get_mut(&client)?;
        let at = list.head;
        let place = self.places.get_mut(at as usize)?;
        let item = place.held.take();
        list.head = std::mem::replace(&mut place.next, self.free);
        list.len -= 1;
        self.free = at;
        self.len -= 1;
        if list.len == 0 {
            self.lists.remove(&client);
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same, written to be read.
    struct Model {
        queues: Vec<(u32, VecDeque<u32>)>,
        capacity: usize,
        share: usize,
    }

    impl Model {
        fn len(&self) -> usize {
            self.queues.iter().map(|(_, queue)| queue.len()).sum()
        }

        fn push(&mut self, client: u32, item: u32) -> bool {
            if self.len() == self.capacity {
                return false;
            }
            match self.queues.iter_mut().find(|(held, _)| *held == client) {
                Some((_, queue)) if client != NOBODY && queue.len() >= self.share => return false,
                Some((_, queue)) => queue.push_back(item),
                None => self.queues.push((client, [item].into())),
            }
            true
        }

        fn pop(&mut self, counts: impl Fn(&u32) -> bool) -> Option<(bool, u32)> {
            let item = self.queues.first_mut()?.1.pop_front()?;
            let counts = counts(&item);
            if self.queues[0].1.is_empty() {
                self.queues.remove(0);
            } else if counts {
                self.queues.rotate_left(1);
            }
            Some((counts, item))
        }

        fn remove_if(&mut self, gone: impl Fn(&u32) -> bool) -> Vec<u32> {
            let mut removed = Vec::new();
            for (_, queue) in &mut self.queues {
                removed.extend(queue.iter().filter(|item| gone(item)));
                queue.retain(|item| !gone(item));
            }
            self.queues.retain(|(_, queue)| !queue.is_empty());
            removed
        }
    }

    #[test]
    fn does_what_the_model_does() {
        for seed in 1..=40_u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut below = |limit: u32| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                u32::try_from(random % u64::from(limit)).unwrap_or(0)
            };
            let (capacity, share) = (16, 8);
            let mut turns = Turns::new(capacity, share);
            let mut model = Model {
                queues: Vec::new(),
                capacity,
                share,
            };
            let room = (turns.places.capacity(), turns.round.capacity());
            for step in 0..2000 {
                let counts = |item: &u32| !item.is_multiple_of(5);
                match below(20) {
                    0..=10 => {
                        let client = below(4).min(below(4));
                        let queued = turns.push(client, step, 0).is_ok();
                        assert_eq!(queued, model.push(client, step), "{seed} {step}");
                    }
                    11..=18 => assert_eq!(turns.pop(counts), model.pop(counts), "{seed} {step}"),
                    _ => {
                        let nth = 2 + below(3);
                        let gone = |item: &u32| item.is_multiple_of(nth);
                        let mut removed = Vec::new();
                        turns.remove_if(&gone, &mut removed);
                        assert_eq!(removed, model.remove_if(gone), "{seed} {step}");
                    }
                }
                assert_eq!(turns.len(), model.len());
            }
            let now = (turns.places.capacity(), turns.round.capacity());
            assert_eq!(room, now, "nothing grew");
        }
    }

    #[test]
    fn what_waits_elsewhere_takes_room() {
        let mut turns = Turns::new(4, 4);
        assert!(turns.push(1, 'a', 3).is_ok());
        assert!(turns.push(1, 'b', 3).is_err());
        assert!(turns.push(1, 'b', 0).is_ok());
    }
}
