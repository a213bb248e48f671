//! The token that is in force: the keeper writes it, every connection reads it.
//!
//! A connection whose token was refused has the keeper look into that, at most once in [`CHECK_EVERY`], and
//! waits for what comes of it; nobody else waits for the keeper, ever. Must never be true: a token shown
//! in a log; a lock held while something is asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::super::HsmError;
use crate::secret::SecretString;

/// Refusals are looked into at most this often: a policy that lacks something must not cost a login for
/// each request that meets it.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(5);

/// A token, and which one it was.
pub(super) struct Token {
    pub(super) text: SecretString,
    generation: u64,
}

/// What readiness wants to know.
pub(super) struct Standing {
    pub(super) refused: Option<Arc<str>>,
    pub(super) ends_in_s: Option<u64>,
    /// A token has been good for something since start.
    pub(super) was_good: bool,
    /// For people.
    pub(super) remark: Option<String>,
}

/// Why the keeper was woken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Woken {
    /// To end.
    Stop,
    /// A connection's token was refused.
    Suspicion,
    /// It is time.
    Time,
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    generation: u64,
    refused: Option<Arc<str>>,
    was_good: bool,
    ends: Option<Instant>,
    /// Nothing is known that would prolong it.
    is_last: bool,
    /// Why nothing is known of the token, or there is none, for the moment.
    trouble: Option<String>,
    suspected: bool,
    next_check: Option<Instant>,
    stopping: bool,
}

/// The book.
#[derive(Default)]
pub(super) struct Book {
    state: Mutex<State>,
    changed: Condvar,
}

impl Book {
    /// The token to ask with.
    pub(super) fn token(&self) -> Result<Arc<Token>, HsmError> {
        let state = self.state.lock();
        match (&state.token, &state.refused) {
            (Some(token), _) => Ok(Arc::clone(token)),
            (None, Some(why)) => Err(HsmError::Declined(Arc::clone(why))),
            (None, None) => Err(HsmError::Unavailable(
                "not logged in to the Vault yet".into(),
            )),
        }
    }

    /// `token` was refused: another one, if there is or soon comes one.
    pub(super) fn suspect(&self, token: &Token, until: Instant) -> Option<Arc<Token>> {
        let mut state = self.state.lock();
        if state.generation == token.generation && !state.suspected {
            if state.next_check.is_some_and(|next| Instant::now() < next) {
                return None;
            }
            state.suspected = true;
            self.changed.notify_all();
        }
        while state.generation == token.generation && state.suspected && !state.stopping {
            if self.changed.wait_until(&mut state, until).timed_out() {
                return None;
            }
        }
        let newer = state.generation != token.generation;
        state.token.clone().filter(|_| newer)
    }

    /// `token` was good for a request.
    pub(super) fn works(&self, token: &Token) {
        let mut state = self.state.lock();
        if state.generation == token.generation {
            state.was_good = true;
            state.trouble = None;
            if state.refused.take().is_some() {
                log::info!("vault: the token is accepted again");
            }
        }
    }

    /// The token in force, for the keeper.
    pub(super) fn current(&self) -> Option<Arc<Token>> {
        self.state.lock().token.clone()
    }

    /// A new token.
    pub(super) fn give(&self, text: SecretString) {
        let mut state = self.state.lock();
        state.generation += 1;
        let generation = state.generation;
        state.token = Some(Arc::new(Token { text, generation }));
        state.refused = None;
        (state.ends, state.is_last) = (None, false);
        state.trouble = None;
        self.changed.notify_all();
    }

    /// The keeper found the token good.
    pub(super) fn is_good(&self) {
        let current = self.current();
        if let Some(token) = current {
            self.works(&token);
        }
    }

    /// When the token ends, and whether nothing is known that would prolong it.
    pub(super) fn note_end(&self, ends: Option<Instant>, is_last: bool) {
        let mut state = self.state.lock();
        (state.ends, state.is_last) = (ends, is_last);
    }

    /// The keeper could not do what was due.
    pub(super) fn note_trouble(&self, why: &str) {
        self.state.lock().trouble = Some(why.to_owned());
    }

    /// The token is good for nothing, or there is none.
    pub(super) fn refuse(&self, why: &str) {
        let mut state = self.state.lock();
        if state.refused.as_deref() != Some(why) {
            log::error!("vault: {why}");
            state.refused = Some(why.into());
        }
    }

    /// The suspicion was looked into.
    pub(super) fn checked(&self, now: Instant) {
        let mut state = self.state.lock();
        state.suspected = false;
        state.next_check = Some(now + CHECK_EVERY);
        self.changed.notify_all();
    }

    /// Waits for something to do.
    pub(super) fn rest(&self, until: Option<Instant>) -> Woken {
        let mut state = self.state.lock();
        loop {
            if state.stopping {
                return Woken::Stop;
            }
            if state.suspected {
                return Woken::Suspicion;
            }
            match until {
                Some(until) if Instant::now() >= until => return Woken::Time,
                Some(until) => {
                    self.changed.wait_until(&mut state, until);
                }
                None => self.changed.wait(&mut state),
            }
        }
    }

    /// Sleeps; true: to end.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = self.state.lock();
        while !state.stopping && Instant::now() < until {
            self.changed.wait_until(&mut state, until);
        }
        state.stopping
    }

    /// Ends the keeper and whoever waits for it.
    pub(super) fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_all();
    }

    /// How things stand.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        let state = self.state.lock();
        let left = |ends: Instant| ends.saturating_duration_since(now).as_secs();
        let ends_in_s = state.ends.map(left);
        let remark = match (&state.refused, ends_in_s) {
            (Some(why), _) => Some(why.to_string()),
            (None, Some(left)) if state.is_last => Some(format!(
                "the token ends in {left} s and cannot be renewed: replace it"
            )),
            _ => state.trouble.clone(),
        };
        Standing {
            refused: state.refused.clone(),
            ends_in_s,
            was_good: state.was_good,
            remark,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn text(token: &Token) -> &str {
        token.text.expose()
    }

    fn secret(text: &str) -> SecretString {
        SecretString::new(text.to_owned())
    }

    #[test]
    fn without_a_token_it_is_told_why() {
        let book = Book::default();
        let error = |book: &Book| book.token().map(|_| ()).unwrap_err();
        assert!(matches!(error(&book), HsmError::Unavailable(_)));
        assert!(!book.standing(Instant::now()).was_good);
        book.note_trouble("the login failed");
        let remark = book.standing(Instant::now()).remark;
        assert_eq!(remark.as_deref(), Some("the login failed"));
        book.refuse("the login is refused");
        assert_eq!(
            error(&book),
            HsmError::Declined("the login is refused".into())
        );
        book.give(secret("a"));
        assert_eq!(text(&book.token().unwrap()), "a");
        assert_eq!(book.standing(Instant::now()).refused, None);
    }

    #[test]
    fn a_suspicion_waits_for_the_keeper_and_is_not_raised_again_soon() {
        let book = Arc::new(Book::default());
        book.give(secret("old"));
        let old = book.token().unwrap();
        let keeper = Arc::clone(&book);
        let keeper = std::thread::spawn(move || {
            assert_eq!(keeper.rest(None), Woken::Suspicion);
            keeper.give(secret("new"));
            keeper.checked(Instant::now());
            keeper.rest(None)
        });
        let until = Instant::now() + Duration::from_secs(10);
        let newer = book.suspect(&old, until).unwrap();
        assert_eq!(text(&newer), "new");
        // Whoever still has the old one gets the new one at once; the new one is not looked at again so soon.
        assert_eq!(text(&book.suspect(&old, until).unwrap()), "new");
        assert!(book.suspect(&newer, until).is_none());
        book.stop();
        assert_eq!(keeper.join().unwrap(), Woken::Stop);
    }

    #[test]
    fn a_suspicion_ends_without_a_keeper() {
        let book = Book::default();
        book.give(secret("a"));
        let token = book.token().unwrap();
        let until = Instant::now() + Duration::from_millis(20);
        assert!(book.suspect(&token, until).is_none());
        assert_eq!(book.rest(None), Woken::Suspicion, "still to be looked into");
        book.checked(Instant::now());
        assert_eq!(book.rest(Some(Instant::now())), Woken::Time);
    }

    #[test]
    fn the_end_is_told_before_it_comes() {
        let book = Book::default();
        book.give(secret("a"));
        let now = Instant::now();
        let ends = now + Duration::from_secs(90);
        book.note_end(Some(ends), false);
        let standing = book.standing(now);
        assert_eq!((standing.ends_in_s, standing.remark), (Some(90), None));
        book.note_end(Some(ends), true);
        let remark = book.standing(now).remark.unwrap();
        assert_eq!(
            remark,
            "the token ends in 90 s and cannot be renewed: replace it"
        );
        book.refuse("x");
        let token = book.token().unwrap();
        book.works(&token);
        assert!(book.standing(now).was_good && book.standing(now).refused.is_none());
    }
}
