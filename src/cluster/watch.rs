//! What this node has seen of the cluster's token, and what a new one means for it.
//!
//! Must never be true: a token that was not accounted for taken as seen without telling; a node that counts
//! as fresh though the engine has not shown it a token for [`FRESH`]. Sans-IO; the time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::bulletin::Token;

/// How long one look at the token is good for.
pub const FRESH: Duration = Duration::from_secs(1);
/// Tokens remembered as dealt with.
const REMEMBERED: usize = 512;

/// What must be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Nothing: it is as it was, or was dealt with.
    Known,
    /// Exactly what the message says.
    Told,
    /// Something was missed: every key is to be looked up again.
    Missed,
    /// An order to drop plaintexts was missed: all go.
    MissedPurge,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Watch {
    seen: Option<Token>,
    /// When that was learnt.
    taken: Option<Instant>,
    /// When the engine was last asked with success; not when it answered.
    asked: Option<Instant>,
    dealt_with: VecDeque<Token>,
}

impl Watch {
    /// The token in force, as far as this node knows.
    pub fn token(&self) -> Option<Token> {
        self.seen
    }

    /// Until when the node counts as fresh.
    pub fn fresh_until(&self) -> Option<Instant> {
        self.asked.map(|asked| asked + FRESH)
    }

    /// The engine, asked at `asked`, shows `token`.
    pub fn polled(&mut self, token: Token, asked: Instant, now: Instant) -> Verdict {
        self.asked = Some(self.asked.map_or(asked, |before| before.max(asked)));
        let verdict = match self.seen {
            None => Verdict::Known,
            Some(seen) if seen == token => return Verdict::Known,
            // A message was quicker: the engine answered before what the message tells of.
            Some(_) if self.taken.is_some_and(|taken| asked <= taken) => return Verdict::Known,
            // Also one that was seen before: the engine has lost what came after, and perhaps more.
            Some(seen) if seen.generation == token.generation => Verdict::Missed,
            Some(_) => Verdict::MissedPurge,
        };
        self.take(token, now);
        verdict
    }

    /// A message, or the engine's answer to this node's own change, says that `token` follows `previous`.
    pub fn told(&mut self, token: Token, previous: Option<Token>, now: Instant) -> Verdict {
        if self.dealt_with.contains(&token) {
            return Verdict::Known;
        }
        let verdict = match (self.seen, previous) {
            // Nothing was cached under another one.
            (None, _) => Verdict::Told,
            (seen, previous) if seen == previous => Verdict::Told,
            (Some(seen), Some(previous)) if seen.generation == previous.generation => {
                Verdict::Missed
            }
            // The engine had lost what was before, and no order to purge is among it.
            (Some(seen), _) if seen.generation == token.generation => Verdict::Missed,
            _ => Verdict::MissedPurge,
        };
        self.take(token, now);
        verdict
    }

    /// The engine had lost its token and was given this one. Every change before it was told by a message,
    /// or was lost with it; of another generation, an order to purge among them.
    pub fn replaced(&mut self, token: Token, now: Instant) -> Verdict {
        let verdict = match self.seen {
            None => Verdict::Known,
            Some(seen) if seen.generation == token.generation => Verdict::Missed,
            Some(_) => Verdict::MissedPurge,
        };
        self.take(token, now);
        verdict
    }

    fn take(&mut self, token: Token, now: Instant) {
        self.seen = Some(token);
        self.taken = Some(now);
        if self.dealt_with.contains(&token) {
            return;
        }
        if self.dealt_with.len() == REMEMBERED {
            self.dealt_with.pop_front();
        }
        self.dealt_with.push_back(token);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// 0 and 1 are of one generation, 10 and 11 of the next, and so on.
    fn token(number: u8) -> Token {
        Token {
            generation: [number / 10; 16],
            change: [number; 16],
        }
    }

    #[test]
    fn a_look_at_the_engine_is_judged_by_what_was_seen() {
        let start = Instant::now();
        for (name, messages, polled, asked_ms, want) in [
            ("as it was", &[][..], 0, 100, Verdict::Known),
            ("a message was lost", &[], 1, 100, Verdict::Missed),
            ("a purge was lost", &[], 10, 100, Verdict::MissedPurge),
            ("the message came first", &[(1, 0)], 1, 100, Verdict::Known),
            ("the answer was overtaken", &[(1, 0)], 0, 40, Verdict::Known),
            ("backwards", &[(1, 0)], 0, 100, Verdict::Missed),
            (
                "backwards over a purge",
                &[(10, 0)],
                0,
                100,
                Verdict::MissedPurge,
            ),
        ] {
            let mut watch = Watch::default();
            assert_eq!(
                watch.polled(token(0), start, start),
                Verdict::Known,
                "{name}"
            );
            for (said, previous) in messages {
                let verdict = watch.told(token(*said), Some(token(*previous)), start + 50 * MS);
                assert_eq!(verdict, Verdict::Told, "{name}");
            }
            let asked = start + asked_ms * MS;
            assert_eq!(
                watch.polled(token(polled), asked, asked + MS),
                want,
                "{name}"
            );
            assert_eq!(watch.fresh_until(), Some(asked + FRESH), "{name}");
        }
    }

    #[test]
    fn a_message_that_follows_another_token_shows_that_one_was_missed() {
        let start = Instant::now();
        for (name, said, previous, want) in [
            ("the next", 1, Some(0), Verdict::Told),
            ("one was missed", 2, Some(1), Verdict::Missed),
            ("a purge was missed", 11, Some(10), Verdict::MissedPurge),
            ("the engine had lost its token", 1, None, Verdict::Missed),
            ("and a purge with it", 11, None, Verdict::MissedPurge),
        ] {
            let mut watch = Watch::default();
            watch.polled(token(0), start, start);
            let previous = previous.map(token);
            assert_eq!(
                watch.told(token(said), previous, start + MS),
                want,
                "{name}"
            );
            assert_eq!(watch.token(), Some(token(said)), "{name}");
            let again = watch.told(token(said), previous, start + 2 * MS);
            assert_eq!(again, Verdict::Known, "{name}: twice");
        }
    }

    #[test]
    fn messages_out_of_order_cost_looks_and_end_at_the_engines_token() {
        let start = Instant::now();
        let mut watch = Watch::default();
        watch.polled(token(0), start, start);
        assert_eq!(
            watch.told(token(2), Some(token(1)), start + MS),
            Verdict::Missed
        );
        assert_eq!(
            watch.told(token(1), Some(token(0)), start + 2 * MS),
            Verdict::Missed
        );
        assert_eq!(
            watch.polled(token(2), start + 3 * MS, start + 4 * MS),
            Verdict::Missed
        );
        assert_eq!(
            watch.polled(token(2), start + 5 * MS, start + 6 * MS),
            Verdict::Known
        );
    }

    #[test]
    fn a_lost_token_is_a_change_for_whoever_had_one() {
        let now = Instant::now();
        for (name, seen, founded, want) in [
            ("the first", None, 0, Verdict::Known),
            ("of what was known", Some(0), 1, Verdict::Missed),
            ("after a purge elsewhere", Some(0), 10, Verdict::MissedPurge),
        ] {
            let mut watch = Watch::default();
            if let Some(seen) = seen {
                watch.polled(token(seen), now, now);
            }
            assert_eq!(watch.replaced(token(founded), now), want, "{name}");
        }
    }
}
