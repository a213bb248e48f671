//! A message that was not answered as it was sent: in parts, to other servers, or not at all.

use std::time::Instant;

use super::super::{Envelope, HsmError, Job};
use super::{Batch, Finished, Item, ItemIds};

impl Batch {
    /// Batches of one item and one operation each, under new ids: for an HSM that refuses the whole message.
    pub fn split(mut self, ids: &mut ItemIds) -> Vec<Batch> {
        self.form.single = true;
        self.parts(1, ids)
    }

    /// Two batches of half the items each, under new ids: for an HSM to which the message is too long.
    pub fn halve(self, ids: &mut ItemIds) -> Vec<Batch> {
        let half = self.items.len().div_ceil(2);
        self.parts(half, ids)
    }

    fn parts(self, items_max: usize, ids: &mut ItemIds) -> Vec<Batch> {
        let mut parts = Vec::new();
        let mut rest = self.items.into_iter().peekable();
        while rest.peek().is_some() {
            let mut items: Vec<Item> = rest.by_ref().take(items_max.max(1)).collect();
            for item in &mut items {
                if self.form.envelope == Envelope::AesCbcHmac {
                    item.begin(self.form.single);
                }
                item.renumber(ids);
            }
            let form = self.form;
            parts.push(Batch { items, form });
        }
        parts
    }

    /// After a server has not answered: ends for those whose time is over by `now`, and the jobs of
    /// those who may be asked elsewhere.
    pub fn split_late(self, now: Instant) -> (Finished, Vec<Job>) {
        let (late, in_time): (Vec<_>, Vec<_>) = self
            .into_jobs()
            .into_iter()
            .partition(|job| job.deadline <= now);
        let late = late.into_iter();
        (
            late.map(|job| (job.done, Err(HsmError::TimedOut)))
                .collect(),
            in_time,
        )
    }

    /// Gives every waiter the same failure.
    pub fn fail(self, error: &HsmError) -> Finished {
        let waiters = self.items.into_iter().flat_map(|item| item.waiters);
        waiters
            .map(|waiter| (waiter.done, Err(error.clone())))
            .collect()
    }

    /// The jobs back, to be tried once more. A shared item becomes one job a waiter again.
    pub fn into_jobs(self) -> Vec<Job> {
        let mut jobs = Vec::with_capacity(self.items.len());
        for item in self.items {
            let Item {
                request, waiters, ..
            } = item;
            jobs.extend(
                waiters
                    .into_iter()
                    .map(|waiter| waiter.into_job(request.clone())),
            );
        }
        jobs
    }
}
