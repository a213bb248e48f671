//! Host names to addresses, on a thread of its own: the system's resolver waits as long as it likes.
//!
//! Must never be true: the loop waits for a name; more than [`WAITING_MAX`] names wait. A name server that
//! hangs costs nothing but new addresses: the loop goes on with those it had.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use parking_lot::Mutex;

/// Names in the queue.
const WAITING_MAX: usize = 64;
/// Addresses of one name.
const ADDRESSES_MAX: usize = 16;

/// Whom to tell: the name, and what was found.
pub type Report = Box<dyn Fn(String, Result<Vec<IpAddr>, String>) + Send>;

/// See the module.
pub struct Resolver {
    queue: SyncSender<String>,
    asked: Arc<Mutex<HashSet<String>>>,
}

impl Resolver {
    /// Starts the thread, which ends with the resolver, though not while the system's hangs.
    pub fn start(report: Report) -> io::Result<Self> {
        let (queue, names) = sync_channel::<String>(WAITING_MAX);
        let asked = Arc::new(Mutex::new(HashSet::new()));
        let done = Arc::clone(&asked);
        std::thread::Builder::new()
            .name("cache-names".to_owned())
            .spawn(move || {
                for name in names {
                    let found = (name.as_str(), 0).to_socket_addrs();
                    let found = found
                        .map(|all| all.map(|one| one.ip()).take(ADDRESSES_MAX).collect())
                        .map_err(|error| error.to_string());
                    done.lock().remove(&name);
                    report(name, found);
                }
            })?;
        Ok(Self { queue, asked })
    }

    /// Has `name` looked up, unless it is being looked up.
    pub fn ask(&self, name: String) {
        if !self.asked.lock().insert(name.clone()) {
            return;
        }
        if let Err(TrySendError::Full(name) | TrySendError::Disconnected(name)) =
            self.queue.try_send(name)
        {
            self.asked.lock().remove(&name);
        }
    }
}
