//! Where things run: servers on one core, the client on another, so that neither takes from the other.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Core of the servers.
pub const SERVER_CORE: usize = 0;
/// Core of the client.
pub const CLIENT_CORE: usize = 1;

/// Pins the calling thread, and the processes it starts from now on.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)?;
    Ok(())
}

/// Calls `start` on the servers' core; what it spawns stays there. Then returns to the client's core.
pub fn on_server_core<T>(start: impl FnOnce() -> T) -> io::Result<T> {
    pin(SERVER_CORE)?;
    let started = start();
    pin(CLIENT_CORE)?;
    Ok(started)
}

/// Lets servers started from now on lock as much memory as this user may allow: root any amount,
/// others up to the hard limit (`ulimit -Hl`).
pub fn raise_locked_memory_limit() {
    let limit = getrlimit(Resource::Memlock);
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    if setrlimit(Resource::Memlock, unlimited).is_err() {
        let hard = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        // Too little is the server's own start error, which names the limit.
        let _ = setrlimit(Resource::Memlock, hard);
    }
}

/// Lets this process, and servers started from now on, open as many files as the hard limit allows
/// (`ulimit -Hn`). How many that is; `None`: any number.
pub fn raise_open_files_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let hard = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if setrlimit(Resource::Nofile, hard).is_err() {
        return limit.current;
    }
    limit.maximum
}
