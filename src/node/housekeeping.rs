//! A slow thread: expires cached keys on time, notes what the outage budget needs, and notices when the machine was asleep.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use crate::server::{Shared, thread};

const EVERY: Duration = Duration::from_millis(100);
/// Wall and monotonic time apart by more than this since the last look: the machine was suspended,
/// or its clock was set. Lives were measured in a time that did not pass: everything is dropped.
const JUMP_MAX: Duration = Duration::from_secs(5);

/// The running thread.
pub(super) struct Handle {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: JoinHandle<()>,
}

impl Handle {
    pub(super) fn stop(self) {
        *self.stop.0.lock() = true;
        self.stop.1.notify_all();
        if self.thread.join().is_err() {
            log::error!("the housekeeping thread panicked");
        }
    }
}

pub(super) fn start(shared: Arc<Shared>) -> io::Result<Handle> {
    let stop = Arc::new((Mutex::new(false), Condvar::new()));
    let stopped = Arc::clone(&stop);
    let thread = thread::spawn("housekeeping".to_owned(), move || {
        let mut jumps = Jumps::new(Instant::now(), SystemTime::now());
        let mut stopping = stopped.0.lock();
        while !*stopping {
            stopped.1.wait_for(&mut stopping, EVERY);
            let (now, cache) = (Instant::now(), shared.engine.cache());
            shared.engine.note_budget(now);
            if jumps.jumped(now, SystemTime::now()) {
                log::warn!("the clock jumped (suspend, or set); all cached keys are dropped");
                cache.purge_all();
            }
            while cache.tick(now) && !*stopping {
                // At most 256 entries a call; between calls others get the locks.
                std::thread::yield_now();
            }
        }
    })?;
    Ok(Handle { stop, thread })
}

/// Compares the two clocks from look to look.
struct Jumps {
    monotonic: Instant,
    wall: SystemTime,
}

impl Jumps {
    fn new(monotonic: Instant, wall: SystemTime) -> Self {
        Self { monotonic, wall }
    }

    fn jumped(&mut self, monotonic: Instant, wall: SystemTime) -> bool {
        let by_monotonic = monotonic.saturating_duration_since(self.monotonic);
        let apart = match wall.duration_since(self.wall) {
            Ok(by_wall) => by_wall.abs_diff(by_monotonic),
            Err(backwards) => backwards.duration() + by_monotonic,
        };
        *self = Self { monotonic, wall };
        apart > JUMP_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_apart_by_more_than_the_bound_are_a_jump() {
        let (instant, wall) = (Instant::now(), SystemTime::now());
        let s = Duration::from_secs;
        for (name, by_monotonic, to_wall, want) in [
            ("together", s(1), wall + s(1), false),
            ("slewed", s(1), wall + s(3), false),
            ("suspended an hour", s(1), wall + s(3600), true),
            ("set back", s(1), wall - s(3600), true),
        ] {
            let mut jumps = Jumps::new(instant, wall);
            assert_eq!(
                jumps.jumped(instant + by_monotonic, to_wall),
                want,
                "{name}"
            );
            assert!(
                !jumps.jumped(instant + by_monotonic, to_wall),
                "{name}: told once"
            );
        }
    }
}
