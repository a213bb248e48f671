//! A slow thread: expires cached keys on time, notes what the outage budget needs, notices when the machine was
//! asleep, when files have changed and when certificates end.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use crate::server::{Shared, thread};

use super::Reloader;
use super::expiry::Reminder;
use super::watch::{self, Watch};

const EVERY: Duration = Duration::from_millis(100);
const LOOK_AT_FILES_EVERY: Duration = Duration::from_millis(500);
const REMIND_EVERY: Duration = Duration::from_mins(1);
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

pub(super) fn start(shared: Arc<Shared>, reloader: Arc<Reloader>) -> io::Result<Handle> {
    let stop = Arc::new((Mutex::new(false), Condvar::new()));
    let stopped = Arc::clone(&stop);
    // Before anything else can change them.
    let mut chores = Chores::new(shared, reloader);
    let thread = thread::spawn("housekeeping".to_owned(), move || {
        let mut stopping = stopped.0.lock();
        while !*stopping {
            stopped.1.wait_for(&mut stopping, EVERY);
            let now = Instant::now();
            chores.note_time(now);
            while chores.shared.engine.cache().tick(now) && !*stopping {
                // At most 256 entries a call; between calls others get the locks.
                std::thread::yield_now();
            }
            if !*stopping {
                chores.look_at_files(now);
                chores.look_at_audit(now);
                chores.look_at_certificates(now);
            }
        }
    })?;
    Ok(Handle { stop, thread })
}

struct Chores {
    shared: Arc<Shared>,
    reloader: Arc<Reloader>,
    jumps: Jumps,
    watch: Watch<Marks>,
    reminder: Reminder,
    files_looked: Instant,
    audit_looked: Instant,
    is_audit_lost: bool,
    reminded: Option<Instant>,
}

type Marks = Vec<Option<watch::Mark>>;

impl Chores {
    fn new(shared: Arc<Shared>, reloader: Arc<Reloader>) -> Self {
        Self {
            watch: Watch::new(watch::marks(&reloader.files())),
            shared,
            reloader,
            jumps: Jumps::new(Instant::now(), SystemTime::now()),
            reminder: Reminder::default(),
            files_looked: Instant::now(),
            audit_looked: Instant::now(),
            is_audit_lost: false,
            reminded: None,
        }
    }

    fn note_time(&mut self, now: Instant) {
        self.shared.engine.note_budget(now);
        if self.jumps.jumped(now, SystemTime::now()) {
            log::warn!("the clock jumped (suspend, or set); all cached keys are dropped");
            self.shared.engine.cache().purge_all();
        }
    }

    /// A changed file is taken once it has settled; one that is refused, once it has changed again.
    fn look_at_files(&mut self, now: Instant) {
        if now.saturating_duration_since(self.files_looked) < LOOK_AT_FILES_EVERY {
            return;
        }
        self.files_looked = now;
        let marks = watch::marks(&self.reloader.files());
        if self.watch.is_news(&marks, now) {
            log::info!("a file of the configuration has changed");
            // Both outcomes are logged there.
            let _ = self.reloader.reload();
        }
    }

    /// What is written to an audit log that somebody deleted is lost without an error: it is made anew.
    fn look_at_audit(&mut self, now: Instant) {
        let Some(audit) = &self.shared.audit else {
            return;
        };
        if now.saturating_duration_since(self.audit_looked) < LOOK_AT_FILES_EVERY {
            return;
        }
        self.audit_looked = now;
        if !audit.is_deleted() {
            self.is_audit_lost = false;
            return;
        }
        let remade = audit.reopen();
        if !std::mem::replace(&mut self.is_audit_lost, true) {
            log::error!(
                "kms.audit.file was deleted while in use: lines are lost, as kms audit verify will tell; to rotate it, \
                 rename it, then SIGHUP"
            );
            if let Err(error) = remade {
                log::error!("{error}");
            }
        }
    }

    fn look_at_certificates(&mut self, now: Instant) {
        let since = |then| now.saturating_duration_since(then);
        if self.reminded.is_some_and(|then| since(then) < REMIND_EVERY) {
            return;
        }
        self.reminded = Some(now);
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let unix_s = unix.map_or(0, |time| time.as_secs().cast_signed());
        let all = self.shared.certificates.load();
        for word in self.reminder.due(&all, unix_s) {
            log::warn!("{word}");
        }
    }
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
