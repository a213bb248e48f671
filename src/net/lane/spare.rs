//! Items that nobody waits for: done while there is nothing else to do, given up when there is much.
//!
//! Must never be true: one of them taken while a client's item waits, or on the last free connection
//! of several; more of them than planned. Called by the lane alone.

use std::collections::VecDeque;

/// When there is capacity to spare.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SparePlan {
    /// Items that may wait; 0: none are taken at all.
    pub waiting_max: usize,
    /// As many of clients' items waiting are too many: then no more are taken, and those that wait go.
    pub busy: usize,
    /// Threads that must be idle besides the one that takes; 0 is for a lane with one thread, which
    /// takes one item at a time, so that a client never waits for more.
    pub idle_threads: usize,
}

/// Items in the order they came, each with a tag that no other has.
pub(super) struct Spare<T> {
    plan: SparePlan,
    waiting: VecDeque<(u128, T)>,
}

impl<T> Spare<T> {
    pub(super) fn new(plan: SparePlan) -> Self {
        Self {
            plan,
            waiting: VecDeque::with_capacity(plan.waiting_max),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether so many waiting items of clients leave nothing to spare.
    pub(super) fn is_busy(&self, clients: usize) -> bool {
        clients >= self.plan.busy
    }

    /// How many of `max` a thread may take when `idle` others are.
    pub(super) fn allowed(&self, idle: usize, max: usize) -> usize {
        match self.plan.idle_threads {
            0 => max.min(1),
            needed if idle >= needed => max,
            _ => 0,
        }
    }

    pub(super) fn push(&mut self, tag: u128, item: T, clients: usize) -> Result<(), T> {
        if self.is_busy(clients) || self.waiting.len() >= self.plan.waiting_max {
            return Err(item);
        }
        self.waiting.push_back((tag, item));
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        self.waiting.pop_front().map(|(_, item)| item)
    }

    pub(super) fn take(&mut self, tag: u128) -> Option<T> {
        let at = self.waiting.iter().position(|(held, _)| *held == tag)?;
        self.waiting.remove(at).map(|(_, item)| item)
    }

    /// Puts back what [`Self::take`] took.
    pub(super) fn put_back(&mut self, tag: u128, item: T) {
        self.waiting.push_front((tag, item));
    }

    pub(super) fn remove_if(&mut self, gone: &impl Fn(&T) -> bool, removed: &mut Vec<T>) {
        for _ in 0..self.waiting.len() {
            let Some((tag, item)) = self.waiting.pop_front() else {
                return;
            };
            if gone(&item) {
                removed.push(item);
            } else {
                self.waiting.push_back((tag, item));
            }
        }
    }
}
