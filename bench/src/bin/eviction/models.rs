//! What the cache is compared with, and the numbers that drive both.

use std::collections::{BTreeMap, HashMap};

/// splitmix64: seeded, and the same on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Anything that caches.
pub(crate) trait Policy {
    /// True for a hit; a miss fills.
    fn request(&mut self, key: u64, now_s: u64) -> bool;
    /// Once a second.
    fn tick(&mut self, now_s: u64);
}

/// Expiry for the models: keys by the second in which they die, with the cache's jitter.
#[derive(Default)]
struct Lives {
    ttl_s: u64,
    due: BTreeMap<u64, Vec<(u64, u64)>>,
    fills: u64,
}

impl Lives {
    fn new(ttl_s: u32) -> Self {
        Self {
            ttl_s: u64::from(ttl_s),
            ..Self::default()
        }
    }

    /// The number of this fill, which tells it from an earlier one of the same key.
    fn begin(&mut self, key: u64, now_s: u64) -> u64 {
        self.fills += 1;
        let jitter = Random(key).next() % (self.ttl_s / 10 + 1);
        self.due
            .entry(now_s + self.ttl_s - jitter)
            .or_default()
            .push((key, self.fills));
        self.fills
    }

    fn ended(&mut self, now_s: u64) -> Vec<(u64, u64)> {
        let later = self.due.split_off(&(now_s + 1));
        std::mem::replace(&mut self.due, later)
            .into_values()
            .flatten()
            .collect()
    }
}

/// CLOCK with one bit and timely expiry.
pub(crate) struct Clock {
    index: HashMap<u64, usize>,
    slots: Vec<Option<(u64, u64, bool)>>,
    free: Vec<usize>,
    hand: usize,
    lives: Lives,
}

impl Clock {
    pub(crate) fn new(entries_max: usize, ttl_s: u32) -> Self {
        Self {
            index: HashMap::new(),
            slots: vec![None; entries_max],
            free: (0..entries_max).collect(),
            hand: 0,
            lives: Lives::new(ttl_s),
        }
    }

    fn evict(&mut self) -> usize {
        loop {
            let at = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            if let Some((key, _, is_visited)) = &mut self.slots[at]
                && !std::mem::take(is_visited)
            {
                self.index.remove(key);
                return at;
            }
        }
    }
}

impl Policy for Clock {
    fn request(&mut self, key: u64, now_s: u64) -> bool {
        if let Some(&slot) = self.index.get(&key) {
            if let Some((_, _, is_visited)) = &mut self.slots[slot] {
                *is_visited = true;
            }
            return true;
        }
        let slot = self.free.pop().unwrap_or_else(|| self.evict());
        self.slots[slot] = Some((key, self.lives.begin(key, now_s), false));
        self.index.insert(key, slot);
        false
    }

    fn tick(&mut self, now_s: u64) {
        for (key, fill) in self.lives.ended(now_s) {
            if let Some(&slot) = self.index.get(&key)
                && self.slots[slot].is_some_and(|(_, held, _)| held == fill)
            {
                self.index.remove(&key);
                self.slots[slot] = None;
                self.free.push(slot);
            }
        }
    }
}

/// LRU with timely expiry.
pub(crate) struct Lru {
    index: HashMap<u64, (u64, u64)>,
    order: BTreeMap<u64, u64>,
    uses: u64,
    lives: Lives,
    entries_max: usize,
}

impl Lru {
    pub(crate) fn new(entries_max: usize, ttl_s: u32) -> Self {
        Self {
            index: HashMap::new(),
            order: BTreeMap::new(),
            uses: 0,
            lives: Lives::new(ttl_s),
            entries_max,
        }
    }
}

impl Policy for Lru {
    fn request(&mut self, key: u64, now_s: u64) -> bool {
        self.uses += 1;
        let held = self.index.get(&key).copied();
        let fill = if let Some((used, fill)) = held {
            self.order.remove(&used);
            fill
        } else {
            if self.index.len() == self.entries_max
                && let Some((_, oldest)) = self.order.pop_first()
            {
                self.index.remove(&oldest);
            }
            self.lives.begin(key, now_s)
        };
        self.order.insert(self.uses, key);
        self.index.insert(key, (self.uses, fill));
        held.is_some()
    }

    fn tick(&mut self, now_s: u64) {
        for (key, fill) in self.lives.ended(now_s) {
            if let Some(&(used, held)) = self.index.get(&key)
                && held == fill
            {
                self.index.remove(&key);
                self.order.remove(&used);
            }
        }
    }
}

/// No slot.
const NONE: usize = usize::MAX;

#[derive(Clone, Copy)]
struct Node {
    key: u64,
    fill: u64,
    is_visited: bool,
    newer: usize,
    older: usize,
}

/// SIEVE as published, with timely expiry: new keys enter at one end, the hand goes from the old end to the new one
/// and stays where it evicted.
pub(crate) struct Sieve {
    index: HashMap<u64, usize>,
    nodes: Vec<Node>,
    free: Vec<usize>,
    newest: usize,
    oldest: usize,
    hand: usize,
    entries_max: usize,
    lives: Lives,
}

impl Sieve {
    pub(crate) fn new(entries_max: usize, ttl_s: u32) -> Self {
        Self {
            index: HashMap::new(),
            nodes: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            hand: NONE,
            entries_max,
            lives: Lives::new(ttl_s),
        }
    }

    fn evict(&mut self) {
        let mut at = self.hand;
        loop {
            if at == NONE {
                at = self.oldest;
            }
            let node = &mut self.nodes[at];
            if !std::mem::take(&mut node.is_visited) {
                break;
            }
            at = node.newer;
        }
        self.hand = at;
        self.remove(at);
    }

    /// Takes a key out; a hand that stood there goes on to the next.
    fn remove(&mut self, at: usize) {
        let Node {
            key, newer, older, ..
        } = self.nodes[at];
        if self.hand == at {
            self.hand = newer;
        }
        match newer {
            NONE => self.newest = older,
            newer => self.nodes[newer].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.nodes[older].newer = newer,
        }
        self.index.remove(&key);
        self.free.push(at);
    }
}

impl Policy for Sieve {
    fn request(&mut self, key: u64, now_s: u64) -> bool {
        if let Some(&at) = self.index.get(&key) {
            self.nodes[at].is_visited = true;
            return true;
        }
        if self.index.len() == self.entries_max {
            self.evict();
        }
        let node = Node {
            key,
            fill: self.lives.begin(key, now_s),
            is_visited: false,
            newer: NONE,
            older: self.newest,
        };
        let at = if let Some(at) = self.free.pop() {
            self.nodes[at] = node;
            at
        } else {
            self.nodes.push(node);
            self.nodes.len() - 1
        };
        match self.newest {
            NONE => self.oldest = at,
            newest => self.nodes[newest].newer = at,
        }
        self.newest = at;
        self.index.insert(key, at);
        false
    }

    fn tick(&mut self, now_s: u64) {
        for (key, fill) in self.lives.ended(now_s) {
            if let Some(&at) = self.index.get(&key)
                && self.nodes[at].fill == fill
            {
                self.remove(at);
            }
        }
    }
}
