//! Whether each server still answers, and answers what it was asked.
//!
//! A PING with a number, which comes back. Must never be true: a connection kept on which a question was left out, so
//! that every answer is another's. Runs on the loop.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mio::Token as Slot;

use super::Unmet;
use super::resp::{self, Reply};
use super::run::{Runner, Whom};

/// A server that nobody has asked for so long is asked: found dead by this rather than by a caller.
const IDLE: Duration = Duration::from_millis(200);
/// And a busy one so often.
const EVERY: Duration = Duration::from_secs(1);
/// It may take so long.
const WITHIN: Duration = Duration::from_millis(100);

/// When each was asked last, and the last one's number.
#[derive(Default)]
pub(super) struct Pulse {
    asked: BTreeMap<Slot, Instant>,
    number: u64,
}

impl Pulse {
    /// The server is no longer asked.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.asked.remove(&slot);
    }
}

impl Runner {
    pub(super) fn take_pulses(&mut self, now: Instant) {
        let since = |then| now.saturating_duration_since(then);
        let pulse = &mut self.route.pulse;
        for (slot, lane) in &mut self.route.lanes {
            let asked = pulse.asked.get(slot).copied();
            let is_due = asked.is_none_or(|asked| since(asked) >= EVERY);
            if !lane.is_up() || !(is_due || since(lane.asked()) >= IDLE) {
                continue;
            }
            pulse.asked.insert(*slot, now);
            pulse.number = pulse.number.wrapping_add(1);
            let number = pulse.number.to_string();
            let ping = resp::command(&[b"PING", number.as_bytes()]);
            let whom = Whom::Pulse(*slot, number);
            lane.ask(&ping, whom, now + WITHIN, now, &mut self.told);
        }
    }

    pub(super) fn pulse_taken(
        &mut self,
        slot: Slot,
        number: &str,
        reply: Result<Reply, Unmet>,
        now: Instant,
    ) {
        match reply {
            Ok(Reply::Bulk(said)) if said == number.as_bytes() => {}
            Ok(reply @ Reply::Error(_)) => self.heed(&reply, now),
            Ok(_) => {
                if let Some(lane) = self.route.lanes.get_mut(&slot) {
                    let why = "its answers are not to what it was asked".to_owned();
                    lane.fall(why, now, &mut self.told);
                }
            }
            Err(_) => {}
        }
    }
}
