//! Messages of Encrypts and Decrypts on one connection: how many are on their way, and in what order
//! things happen. With one message at a time, each is written when the last one's answer was read.
//!
//! Answers come in the order of messages. The first that cannot be believed ends the connection, and no
//! later one is read: the jobs behind it are given back. Must never be true: anything but Encrypts and
//! Decrypts asked while an answer is outstanding; more on its way than both sides' sockets can hold,
//! for a server that reads nothing before its answer is taken would wait for us as we for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::super::super::batch::{Batch, Doubtful};
use super::super::super::pool::Served;
use super::{Session, give};

/// Once messages on their way have so many bytes together, by weight, no other is written ahead. Their
/// answers, which are shorter, fit the socket buffers of any usual system.
const FLYING_BYTES_MAX: usize = 64 * 1024;

/// A message that was written and is not answered.
pub(super) struct Flying {
    pub(super) batch: Batch,
    /// Its weight.
    pub(super) bytes: usize,
    /// When it was made.
    pub(super) sent: Instant,
    /// When its answer is given up.
    pub(super) deadline: Instant,
}

/// What follows from answers and is asked when none is outstanding.
#[derive(Default)]
pub(super) struct After {
    /// Messages of several items that were refused as a whole: Result Reason and text.
    pub(super) refused: Vec<(Batch, u32, Arc<str>)>,
    /// Messages whose answers came in another order.
    pub(super) unordered: Vec<Batch>,
    /// Failures that cannot be read without the key's state.
    pub(super) doubtful: Vec<Doubtful>,
    /// What finishes items of two stages.
    pub(super) next: Vec<Batch>,
}

impl After {
    fn is_empty(&self) -> bool {
        let Self {
            refused,
            unordered,
            doubtful,
            next,
        } = self;
        refused.is_empty() && unordered.is_empty() && doubtful.is_empty() && next.is_empty()
    }
}

impl Session {
    /// Exchanges all of `waiting`, with at most `flying_max` messages on their way.
    pub(super) fn exchange_all(
        &mut self,
        mut waiting: VecDeque<Batch>,
        flying_max: usize,
        served: &mut Served,
    ) {
        let mut flying = VecDeque::new();
        let mut after = After::default();
        loop {
            while served.broken.is_none() && after.is_empty() && has_room(&flying, flying_max) {
                let Some(batch) = waiting.pop_front() else {
                    break;
                };
                flying.extend(self.write(batch, &mut waiting, served));
            }
            match flying.pop_front() {
                Some(oldest) if served.broken.is_none() => self.read(oldest, &mut after, served),
                Some(oldest) => self.give_back(oldest, served),
                None if after.is_empty() => break,
                None => self.follow(std::mem::take(&mut after), &mut waiting, served),
            }
        }
        // Only a broken connection leaves any.
        let unsent = waiting.into_iter().flat_map(Batch::into_jobs);
        served.unsent.extend(unsent);
    }

    /// Its answer, if there is one, stands behind one that broke the connection. Nothing was changed by
    /// it, so it may be asked again.
    fn give_back(&mut self, flying: Flying, served: &mut Served) {
        let (late, in_time) = flying.batch.split_late(self.time.now());
        give(late);
        served.retry.extend(in_time);
    }

    /// Nothing is outstanding now.
    fn follow(&mut self, after: After, waiting: &mut VecDeque<Batch>, served: &mut Served) {
        for (batch, reason, text) in after.refused {
            if served.broken.is_some() {
                served.unsent.extend(batch.into_jobs());
            } else {
                self.exchange_parts(batch, reason, &text, served);
            }
        }
        for batch in after.unordered {
            self.exchange_unordered(batch, served);
        }
        self.resolve(after.doubtful, served);
        let next = after.next.into_iter();
        next.rev().for_each(|next| waiting.push_front(next));
    }
}

fn has_room(flying: &VecDeque<Flying>, flying_max: usize) -> bool {
    let bytes: usize = flying.iter().map(|flying| flying.bytes).sum();
    flying.is_empty() || flying.len() < flying_max && bytes < FLYING_BYTES_MAX
}
