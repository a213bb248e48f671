//! Tries servers that rested, so that no seat with work to do has to find out whether they are back.

use std::sync::Arc;

use super::super::fleet::ServerId;
use super::Shared;
use super::worker::{Dialled, LOOK_AROUND, Pace, dial};

/// Goes its rounds for a pool of several servers.
pub struct Scout {
    shared: Arc<Shared>,
    tried: Option<(ServerId, Dialled)>,
}

impl Scout {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            tried: None,
        }
    }

    /// Runs until the pool is stopped.
    pub(super) fn run(mut self) {
        loop {
            if let Pace::Pause(time) = self.step()
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
            Some((server, Ok(opened))) => {
                drop(opened);
                let mut fleet = shared.fleet.lock();
                fleet.passed(server);
                let label = fleet.label(server);
                log::info!("{}: {label} answers again", shared.plan.name);
            }
            Some((server, Err(why))) => {
                shared.note_refusal(server, &why);
            }
            None => {
                let due = shared.fleet.lock().trial(shared.time.now());
                if let Some(server) = due {
                    self.tried = Some((server, dial(shared, server)));
                    return Pace::Now;
                }
            }
        }
        Pace::Pause(LOOK_AROUND)
    }
}
