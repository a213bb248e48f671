//! Whether the master keys in this process still do what they should: one of them wraps and unwraps, now and then.
//!
//! Memory can go bad, and nobody else would tell. Called when somebody asks after the back end's health.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::super::check::round_trip;
use super::super::fleet::CHECK_EVERY;
use super::super::{Answer, HsmError, ObjectId, Request};
use super::Shared;
use crate::metrics::HsmMetrics;

/// What the last look came to.
#[derive(Default)]
pub(super) struct Pulse {
    last: Mutex<(Option<Instant>, Option<Arc<str>>)>,
    pub(super) metrics: HsmMetrics,
}

impl Pulse {
    /// Why the keys are not to be relied on, by what `look` finds if it is time; `None` of it: nothing was learnt.
    fn feel(
        &self,
        now: Instant,
        look: impl FnOnce() -> Option<Result<(), HsmError>>,
    ) -> Option<Arc<str>> {
        let mut last = self.last.lock();
        let is_due = |at: Instant| now.saturating_duration_since(at) >= CHECK_EVERY;
        if last.0.is_some_and(|at| !is_due(at)) {
            return last.1.clone();
        }
        last.0 = Some(now);
        match look() {
            None => {}
            Some(Ok(())) => {
                self.metrics.checks.bump();
                last.1 = None;
            }
            Some(Err(error)) => {
                self.metrics.checks_failed.bump();
                if last.1.is_none() {
                    log::error!("a master key does not unwrap what it has wrapped: {error:?}");
                }
                let why = "a master key in this process does not unwrap what it has wrapped: restart; if that does \
                           not help, this machine's memory is damaged";
                last.1 = Some(why.into());
            }
        }
        last.1.clone()
    }
}

impl Shared {
    /// Why the keys are not to be relied on, if they are not. Looks at most every [`CHECK_EVERY`].
    pub(super) fn trouble_with_keys(&self, now: Instant) -> Option<Arc<str>> {
        self.pulse.feel(now, || {
            let object = self.keyring.any_active()?;
            match round_trip(&object, |request| self.crypt(&object, request)) {
                // Destroyed meanwhile, or nowhere to put it: that tells nothing.
                Err(
                    HsmError::ObjectNotFound
                    | HsmError::NotActive { .. }
                    | HsmError::NoLockedMemory,
                ) => None,
                outcome => Some(outcome),
            }
        })
    }

    fn crypt(&self, object: &ObjectId, request: Request) -> Result<Answer, HsmError> {
        match request {
            Request::Encrypt { plaintext, .. } => self.encrypt(object, plaintext.expose(), &[]),
            Request::Decrypt { sealed, .. } => self.decrypt(object, &sealed, &[]),
            _ => Err(HsmError::Unsupported("not a wrap or an unwrap")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Whether it is due, and what it finds.
    type Look = Option<Option<Result<(), HsmError>>>;

    #[test]
    fn a_look_is_taken_at_most_every_ten_seconds_and_a_failure_kept_until_the_next() {
        let (pulse, start) = (Pulse::default(), Instant::now());
        let lies = || Some(Err(HsmError::Protocol("x")));
        let rows: [(&str, u64, Look, bool); 7] = [
            ("first", 0, Some(Some(Ok(()))), false),
            ("soon", 9, None, false),
            ("it fails", 10, Some(lies()), true),
            ("kept", 19, None, true),
            ("nothing learnt", 20, Some(None), true),
            ("not again so soon", 29, None, true),
            ("well again", 30, Some(Some(Ok(()))), false),
        ];
        for (name, at_s, look, is_bad) in rows {
            let now = start + Duration::from_secs(at_s);
            let mut looked = false;
            let is_due = look.is_some();
            let felt = pulse.feel(now, || {
                looked = true;
                look.flatten()
            });
            assert_eq!((looked, felt.is_some()), (is_due, is_bad), "{name}");
        }
        let metrics = &pulse.metrics;
        assert_eq!((metrics.checks.get(), metrics.checks_failed.get()), (2, 1));
    }
}
