//! Tries servers that rested, so that no seat with work to do has to find out whether they are back; and checks
//! those to which nobody connects.

use std::sync::Arc;

use super::super::fleet::{Ailment, ServerId};
use super::Shared;
use super::check::check;
use super::worker::{Dialled, LOOK_AROUND, Pace, dial};

/// Goes its rounds for a pool of several servers.
pub struct Scout {
    shared: Arc<Shared>,
    tried: Option<Tried>,
}

/// What a look at a server came to.
enum Tried {
    /// One that had rested.
    Rested(ServerId, Dialled),
    /// One of which nothing was known of late.
    Unwatched(ServerId, Result<(), Ailment>),
}

impl Scout {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            tried: None,
        }
    }

    /// Runs until the pool is stopped. The only server is looked after by its connections.
    pub(super) fn run(mut self) {
        loop {
            let is_several = self.shared.fleet.lock().is_several();
            if !is_several {
                if self.shared.pause(LOOK_AROUND) {
                    return;
                }
            } else if let Pace::Pause(time) = self.step()
                && self.shared.pause(time)
            {
                return;
            }
        }
    }

    /// Tries a server, or keeps what that came to; see [`super::Seat::step`].
    pub fn step(&mut self) -> Pace {
        let shared = &*self.shared;
        match self.tried.take() {
            Some(Tried::Rested(server, Ok(opened))) => {
                drop(opened);
                let mut fleet = shared.fleet.lock();
                fleet.passed(server, shared.time.now());
                let label = fleet.label(server);
                log::info!("{}: {label} answers again", shared.plan.name);
            }
            Some(Tried::Rested(server, Err(why))) => {
                shared.note_refusal(server, &why);
            }
            Some(Tried::Unwatched(server, outcome)) => {
                shared.note_check(server, &outcome);
                match outcome {
                    Err(Ailment::Broken(why)) => _ = shared.note_refusal(server, &why),
                    _ => shared.fleet.lock().passed(server, shared.time.now()),
                }
            }
            None => {
                self.tried = self.look();
                if self.tried.is_some() {
                    return Pace::Now;
                }
            }
        }
        Pace::Pause(LOOK_AROUND)
    }

    /// Looks at a server that is due, if there is one.
    fn look(&self) -> Option<Tried> {
        let shared = &*self.shared;
        let now = shared.time.now();
        let (rested, unwatched) = {
            let mut fleet = shared.fleet.lock();
            let rested = fleet.trial(now);
            let unwatched = if rested.is_none() {
                fleet.unwatched(now)
            } else {
                None
            };
            (rested, unwatched)
        };
        if let Some(server) = rested {
            return Some(Tried::Rested(server, dial(shared, server)));
        }
        let server = unwatched?;
        let outcome = match dial(shared, server) {
            Ok(mut opened) => check(shared, server, opened.session.as_mut()),
            Err(why) => Err(Ailment::Broken(why)),
        };
        Some(Tried::Unwatched(server, outcome))
    }
}
