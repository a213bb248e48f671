//! The KMIP back end: what an HSM that speaks KMIP 1.2 to 2.1 needs behind the seam.
//!
//! `link` carries messages over TLS, `session` speaks, [`super::pool`] owns the threads. Must never be
//! true: a plaintext outside the arena's buffers and keys; a key chosen among several of one name;
//! AES-GCM below KMIP 1.4, where servers drop the tag; a ciphertext without authentication.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::dial::dial;
use super::places::{Places, Way};
use super::pool::{Connector, Pool, PoolPlan, Session as PoolSession};
use super::store::Store;
use super::{Envelope, Found};
use crate::secret::SecretString;

mod keys;
mod link;
mod session;
#[cfg(test)]
mod tests;

pub use super::dial::{Address, DIAL_MAX};
pub use link::{LOCKED_BYTES_PER_LINK, Link, LinkError, TlsLink};
pub use session::items::reply_of;
pub use session::{LOCKED_BYTES_PER_SESSION, Session};

/// Bytes of locked buffers that one connection holds; the arena's plan must have them.
pub const LOCKED_BYTES_PER_CONNECTION: usize = LOCKED_BYTES_PER_LINK + LOCKED_BYTES_PER_SESSION;

/// A login beside the client certificate.
pub struct Login {
    /// Who.
    pub username: String,
    /// The password.
    pub password: SecretString,
}

/// What to connect to, and how.
pub struct KmipPlan {
    /// Never empty; connections are spread over them.
    pub addresses: Vec<Address>,
    /// Trust and client certificate.
    pub tls: Arc<ClientConfig>,
    /// Login, if the HSM wants one.
    pub login: Option<Login>,
    /// How keys are sealed: AES-GCM from KMIP 1.4, AES-CBC with HMAC from 1.2.
    pub envelope: Envelope,
}

/// Starts the back end. Fails only when a thread cannot be made: an HSM that is down is no error.
pub fn start(plan: KmipPlan, pool: PoolPlan, store: Store) -> std::io::Result<Pool> {
    Pool::start(pool, Box::new(KmipConnector::new(plan, store)))
}

/// Connects to each address once, in at most `timeout` each: the place, and what answers there or why
/// nothing does. For `kms check`; a running node looks after its connections itself.
pub fn probe(
    plan: KmipPlan,
    store: Store,
    timeout: Duration,
) -> Vec<(String, Result<Found, String>)> {
    let connector = KmipConnector::new(plan, store);
    let probe = |address: &Address| {
        let opened = connector.open(address, Instant::now() + timeout);
        let place = format!("{}:{}", address.host, address.port);
        let found = opened.map(|session| Found {
            what: session.describe(),
            clock_unix_s: session.clock_unix_s,
        });
        (place, found)
    };
    connector.places.configured().iter().map(probe).collect()
}

struct KmipConnector {
    login: Option<Login>,
    envelope: Envelope,
    places: Places,
    store: Arc<Store>,
}

impl Connector for KmipConnector {
    fn servers(&self) -> Vec<Arc<str>> {
        self.places.labels()
    }

    fn envelope(&self) -> Envelope {
        self.envelope
    }

    fn connect(&self, server: usize, deadline: Instant) -> Result<Box<dyn PoolSession>, String> {
        let address = self.places.at(server)?;
        let session = self.open(&address, deadline)?;
        Ok(Box::new(session))
    }

    fn renew(&self, way: Way) -> Vec<usize> {
        self.places.renew(way)
    }
}

impl KmipConnector {
    fn new(plan: KmipPlan, store: Store) -> Self {
        Self::shared(plan, Arc::new(store))
    }

    fn shared(plan: KmipPlan, store: Arc<Store>) -> Self {
        Self {
            login: plan.login,
            envelope: plan.envelope,
            places: Places::new(plan.addresses, Some(plan.tls)),
            store,
        }
    }

    fn open(&self, address: &Address, deadline: Instant) -> Result<Session, String> {
        let socket = dial(address, deadline)?;
        let arena = self.store.arena();
        let tls = self.places.tls().ok_or("no TLS is configured")?;
        let link = TlsLink::open(socket, tls, address.server_name.clone(), arena, deadline)
            .map_err(|error| error.to_string())?;
        let place = format!("{}:{}", address.host, address.port);
        let login = self.login.as_ref();
        Session::open(
            Box::new(link),
            place,
            Arc::clone(&self.store),
            login,
            self.envelope,
            deadline,
        )
    }
}
