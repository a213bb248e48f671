//! Who asks for which key when: Zipf, cold keys, a storm; and which node a key meets.

use std::cmp::Reverse;

use kms_tune::model::stream::Random;

use super::{NS, World};

impl World {
    pub(super) fn plan_storm(&mut self) {
        let Some(storm) = self.plan.storm else {
            return;
        };
        for _ in 0..storm.keys {
            self.next_cold += 1;
            let at_s = storm.from_s + self.random.unit() * storm.window_s;
            let entry = ((at_s * NS) as u64, self.next_cold, storm.reads);
            self.stormy.push(Reverse(entry));
        }
    }

    /// Reads of the storm until then.
    pub(super) fn read_storm(&mut self, until_s: f64) {
        while let Some(Reverse((at_ns, key, left))) = self.stormy.peek().copied() {
            let at_s = at_ns as f64 / NS;
            if at_s > until_s {
                return;
            }
            self.stormy.pop();
            self.finish_until(at_s);
            self.now_s = at_s;
            let node = self.node_of(key);
            self.ask(node, key);
            if left > 1 {
                let gap_s = self.plan.storm.unwrap().gap_s;
                let again_ns = ((at_s + gap_s) * NS) as u64;
                self.stormy.push(Reverse((again_ns, key, left - 1)));
            }
        }
    }

    /// The most popular keys at random moments of one life, each node for itself.
    pub(super) fn fill(&mut self) {
        let ttl_s = f64::from(self.plan.ttl_s);
        let total = self.below[self.below.len() - 1];
        // What a node is asked for: all keys at a part of their rate, or a part of the keys.
        let parts = self.nodes.len() as f64;
        let rate = self.plan.rate / if self.plan.by_hash { 1.0 } else { parts };
        for node in 0..self.nodes.len() {
            let mut order: Vec<(f64, u64)> = Vec::new();
            for key in 0..self.plan.keys as u64 {
                // As likely as without any fetching ahead: a start, no more.
                let share = (key as f64 + 1.0).powf(-self.plan.zipf_s) / total;
                let often = rate * share * ttl_s;
                let is_here = !self.plan.by_hash || self.node_of(key) == node;
                if is_here && self.random.unit() < often / (1.0 + often) {
                    order.push((self.random.unit() * ttl_s, key));
                }
            }
            order.truncate(self.plan.entries);
            order.sort_by(|a, b| a.0.total_cmp(&b.0));
            for (at_s, key) in order {
                self.insert(node, key, at_s);
                self.put(key, at_s);
            }
        }
        self.now_s = ttl_s;
        self.tick();
    }

    pub(super) fn key(&mut self) -> u64 {
        if self.plan.cold_share > 0.0 && self.random.unit() < self.plan.cold_share {
            return self.cold_key();
        }
        let point = self.random.unit() * self.below[self.below.len() - 1];
        self.below.partition_point(|sum| *sum <= point) as u64
    }

    fn cold_key(&mut self) -> u64 {
        let due = self
            .again
            .front()
            .is_some_and(|(at_s, ..)| *at_s <= self.now_s);
        let (key, left) = if due {
            let (_, key, left) = self.again.pop_front().unwrap();
            (key, left - 1)
        } else {
            self.next_cold += 1;
            (self.next_cold, self.plan.cold_reads - 1)
        };
        if left > 0 {
            self.again
                .push_back((self.now_s + self.plan.cold_gap_s, key, left));
        }
        key
    }

    pub(super) fn node_of(&mut self, key: u64) -> usize {
        let all = self.nodes.len();
        let gone = self.plan.gone_s.is_some_and(|at_s| self.now_s >= at_s);
        if !self.plan.by_hash {
            let there = if gone { all - 1 } else { all };
            return self.random.bits() as usize % there;
        }
        let mixed = Random(key).bits() as usize;
        let home = mixed % all;
        if gone && home == all - 1 {
            (mixed / all) % (all - 1)
        } else {
            home
        }
    }
}
