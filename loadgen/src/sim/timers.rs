//! What is due when: a heap of times, and the timer that wakes the loop for the first of them.
//!
//! Called by the event loop; nothing here sleeps.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;

use mio::{Registry, Token};

use crate::alarm::Alarm;

/// What happens at a time.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Due {
    /// The request that a connection (its place and number) is served is done, or refused as busy.
    Answer {
        place: usize,
        number: u64,
        busy: bool,
    },
    /// A connection may have been idle for too long.
    Idle { place: usize, number: u64 },
    /// The model pauses.
    Stall,
}

/// Times to come, earliest first; equal ones in the order in which they were set.
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(u64, u64, Due)>>,
    sequence: u64,
    alarm: Alarm,
}

impl Timers {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self {
            heap: BinaryHeap::new(),
            sequence: 0,
            alarm: Alarm::new(registry, token)?,
        })
    }

    pub(super) fn set(&mut self, at_ns: u64, due: Due) {
        self.sequence += 1;
        self.heap.push(Reverse((at_ns, self.sequence, due)));
    }

    /// What is due by now, with its time; one at a time.
    pub(super) fn take(&mut self, now_ns: u64) -> Option<(u64, Due)> {
        let Reverse((at_ns, ..)) = self.heap.peek()?;
        if *at_ns > now_ns {
            return None;
        }
        self.heap.pop().map(|Reverse((at_ns, _, due))| (at_ns, due))
    }

    /// When the next one is due.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at_ns, ..))| *at_ns)
    }

    /// Makes the kernel wake the loop at that time, if it does not yet.
    pub(super) fn arm(&mut self, next_ns: Option<u64>, now_ns: u64) -> io::Result<()> {
        self.alarm.arm(next_ns.unwrap_or(u64::MAX), now_ns)
    }

    /// The kernel's timer went off: it must be armed anew.
    pub(super) fn went_off(&mut self) {
        self.alarm.went_off();
    }
}
