//! Threads that the node cannot do without.
//!
//! Must never be true: a node that goes on with a thread missing. Connections and tickets of a dead
//! thread would hang, and a load balancer would go on sending clients here; so a panic ends the
//! process, and its supervisor starts a whole one.

use std::io;
use std::thread::JoinHandle;

/// Starts `body` as thread `name`; if it panics, the process aborts with a line in the log.
pub fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let needed = Needed(name.clone());
    std::thread::Builder::new().name(name).spawn(move || {
        let _needed = needed;
        body();
    })
}

/// Says that a needed thread cannot go on, and ends the process.
pub fn give_up(name: &str, why: &dyn std::fmt::Display) -> ! {
    log::error!("{name} cannot go on: {why}; the process ends, start it again");
    log::logger().flush();
    std::process::abort();
}

struct Needed(String);

impl Drop for Needed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            give_up(&self.0, &"it panicked");
        }
    }
}
