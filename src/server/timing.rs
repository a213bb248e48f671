//! Where one request's time went, for a client that asked to be told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::hsm::SentStamp;
use crate::wire::http::ServerTiming;

/// Kept only for requests that ask for it.
#[derive(Default)]
pub(super) struct Timing {
    /// When the first of its jobs left the queue; stays empty where there is no queue, and for a
    /// request that joined another's job.
    pub sent: Arc<SentStamp>,
    parked: Option<Instant>,
    ticket: Option<Instant>,
    gave_up: bool,
}

impl Timing {
    /// It has begun to wait, or waits again.
    pub(super) fn park(&mut self, now: Instant) {
        self.parked.get_or_insert(now);
    }

    /// Something that it waits for has come.
    pub(super) fn ticket(&mut self, now: Instant) {
        self.ticket = Some(now);
    }

    /// Its time is over.
    pub(super) fn give_up(&mut self, now: Instant) {
        self.ticket = Some(now);
        self.gave_up = true;
    }

    /// What an answer that is written now tells. `cached`: it is of a kind that the cache may have.
    pub(super) fn so_far(&self, cached: bool) -> ServerTiming {
        let (Some(parked), Some(ticket)) = (self.parked, self.ticket) else {
            return ServerTiming {
                cache_hit: cached.then_some(true),
                ..ServerTiming::default()
            };
        };
        let never_sent = if self.gave_up { ticket } else { parked };
        let sent = self.sent.get().copied().unwrap_or(never_sent);
        let (sent, over) = (sent.max(parked), self.gave_up && sent >= ticket);
        ServerTiming {
            queue_us: Some(micros(sent.saturating_duration_since(parked))),
            cache_hit: cached.then_some(false),
            hsm_us: (!over).then(|| micros(ticket.saturating_duration_since(sent))),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_split_at_the_sending() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let (miss, told_ms) = (Some(false), |ms: u64| Some(ms * 1000));
        for (name, sent, ticket, gave_up, want) in [
            ("never parked", None, None, false, (None, Some(true), None)),
            (
                "sent",
                Some(2),
                Some(5),
                false,
                (told_ms(2), miss, told_ms(3)),
            ),
            (
                "no queue",
                None,
                Some(5),
                false,
                (told_ms(0), miss, told_ms(5)),
            ),
            ("never sent", None, Some(5), true, (told_ms(5), miss, None)),
            (
                "not answered",
                Some(1),
                Some(5),
                true,
                (told_ms(1), miss, told_ms(4)),
            ),
        ] {
            let mut timing = Timing::default();
            if let Some(sent) = sent {
                let _ = timing.sent.set(ms(sent));
            }
            if let Some(ticket) = ticket {
                timing.park(start);
                timing.park(ms(4));
                timing.ticket(ms(1));
                if gave_up {
                    timing.give_up(ms(ticket));
                } else {
                    timing.ticket(ms(ticket));
                }
            }
            let told = timing.so_far(true);
            assert_eq!((told.queue_us, told.cache_hit, told.hsm_us), want, "{name}");
            assert_eq!(
                timing.so_far(false).cache_hit,
                None,
                "{name}: not of the cache"
            );
        }
    }
}
