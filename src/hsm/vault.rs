//! The Vault back end: Transit of a Vault or OpenBao, over HTTPS.
//!
//! `stream`, `wire` and `http` carry requests, `session` asks for a pool's thread, `keeper` sees to it that there
//! is a token in the `book`; [`super::pool`] owns the other threads. Ciphertexts pass through unchanged. Must
//! never be true: a plaintext or a token outside locked or wiped memory; a renewal that an unwrap waits
//! for; an operation asked again that may have changed a key.

mod azure;
mod book;
mod fault;
mod http;
mod json;
mod keeper;
mod keys;
mod life;
mod login;
pub mod policy;
mod record;
mod session;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::ServerReport;
use super::dial::Address;
use super::places::{Places, Way};
use super::pool::{Connector, Pool, PoolPlan, Session as PoolSession};
use super::store::Store;
use super::{Access, ClientTag, Envelope, Errand, Found, Health, Hsm, Job};
use crate::metrics::HsmMetrics;
use crate::secret::SecretString;
use book::Book;
use keeper::Keeper;
use session::Session;

pub use azure::Azure;

/// Bytes of locked buffers that one connection holds; the arena's plan must have them, and those of one
/// connection more, for the token.
pub const LOCKED_BYTES_PER_CONNECTION: usize =
    http::LOCKED_BYTES_PER_CLIENT + session::LOCKED_BYTES_PER_SESSION;

/// Reads the token anew from where it came from.
pub type Reread = Box<dyn Fn() -> Result<SecretString, String> + Send + Sync>;

/// How to log in.
pub enum Auth {
    /// With a token that was given.
    Token {
        /// As read at start.
        token: SecretString,
        /// Where a newer one may be found.
        reread: Option<Reread>,
    },
    /// As the Azure machine that this runs on.
    Azure(Azure),
}

/// What to connect to, and how.
pub struct VaultPlan {
    /// Never empty; connections are spread over them.
    pub addresses: Vec<Address>,
    /// Trust, and client certificate if there is one.
    pub tls: Arc<ClientConfig>,
    /// `X-Vault-Namespace`.
    pub namespace: Option<String>,
    /// Path of the Transit engine, without slashes at its ends.
    pub mount: String,
    /// How to log in.
    pub auth: Auth,
    /// How long before its end a token is renewed.
    pub renew_before: Duration,
}

/// What all connections share.
struct Site {
    places: Places,
    namespace: Option<String>,
    mount: String,
    book: Book,
    store: Arc<Store>,
}

impl Site {
    /// How connections are made now.
    fn tls(&self) -> Option<Arc<ClientConfig>> {
        self.places.tls()
    }
}

/// The back end.
pub struct Vault {
    pool: Pool,
    site: Arc<Site>,
    keeper: Keeper,
}

/// Starts the back end. Fails only when a thread cannot be made: a Vault that is down is no error.
pub fn start(plan: VaultPlan, pool: PoolPlan, store: Store) -> std::io::Result<Vault> {
    let timeout = pool.connect_timeout;
    let (site, auth, renew_before) = prepare(plan, store);
    let keeper = Keeper::start(Arc::clone(&site), auth, renew_before, timeout)?;
    let pool = Pool::start(pool, Box::new(VaultConnector(Arc::clone(&site))))?;
    Ok(Vault { pool, site, keeper })
}

/// Connects to each address once, in at most `timeout` each, and looks at the token there: the place, and what
/// answers or why nothing does. For `kms check`; changes nothing, save that Azure's login makes a token.
pub fn probe(
    plan: VaultPlan,
    store: Store,
    timeout: Duration,
) -> Vec<(String, Result<Found, String>)> {
    let (site, auth, _) = prepare(plan, store);
    let probe = |address: &Address| {
        let found = Session::open(&site, address, Instant::now() + timeout).and_then(|session| {
            let token = keeper::examine(&site, &auth, address, timeout)?;
            Ok(Found {
                what: format!("{}; {token}", session.describe()),
                clock_unix_s: session.client.clock_unix_s,
            })
        });
        (format!("{}:{}", address.host, address.port), found)
    };
    site.places.configured().iter().map(probe).collect()
}

fn prepare(plan: VaultPlan, store: Store) -> (Arc<Site>, Auth, Duration) {
    let site = Site {
        places: Places::new(plan.addresses, Some(plan.tls)),
        namespace: plan.namespace,
        mount: plan.mount,
        book: Book::default(),
        store: Arc::new(store),
    };
    (Arc::new(site), plan.auth, plan.renew_before)
}

struct VaultConnector(Arc<Site>);

impl Connector for VaultConnector {
    fn servers(&self) -> Vec<Arc<str>> {
        self.0.places.labels()
    }

    fn envelope(&self) -> Envelope {
        Envelope::Transit
    }

    fn connect(&self, server: usize, deadline: Instant) -> Result<Box<dyn PoolSession>, String> {
        let address = self.0.places.at(server)?;
        Ok(Box::new(Session::open(&self.0, &address, deadline)?))
    }

    fn renew(&self, way: Way) -> Vec<usize> {
        self.0.places.renew(way)
    }
}

impl Hsm for Vault {
    fn name(&self) -> &'static str {
        self.pool.name()
    }

    fn submit(&self, job: Job) {
        self.pool.submit(job);
    }

    fn submit_spare(&self, errand: Errand, job: Job) {
        self.pool.submit_spare(errand, job);
    }

    fn raise(&self, errand: Errand, client: ClientTag, deadline: Instant) {
        self.pool.raise(errand, client, deadline);
    }

    fn renew(&self, way: Way) {
        self.pool.renew(way);
    }

    fn servers(&self) -> Vec<ServerReport> {
        Hsm::servers(&self.pool)
    }

    fn metrics(&self) -> Option<&HsmMetrics> {
        Hsm::metrics(&self.pool)
    }

    /// Up while a server answers, once there has been a good token: that it is refused later is no outage,
    /// during which stale plaintexts may be served, but a decision of the site's.
    fn health(&self) -> Health {
        let health = self.pool.health();
        let standing = self.site.book.standing(Instant::now());
        let detail = match &standing.remark {
            Some(remark) => format!("{}; {remark}", health.detail),
            None => health.detail,
        };
        Health {
            up: health.up && standing.was_good,
            was_up: health.was_up && standing.was_good,
            detail,
            access: Access {
                refused: standing.refused.or(health.access.refused),
                ends_in_s: standing.ends_in_s,
            },
            ..health
        }
    }

    fn envelope(&self) -> Envelope {
        Envelope::Transit
    }

    fn shutdown(&self) {
        self.site.book.stop();
        self.pool.shutdown();
        self.keeper.join();
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.shutdown();
    }
}
