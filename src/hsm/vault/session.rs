//! One pool thread's conversation with one server: batches of encrypts and decrypts. Keys are the business
//! of `keys`.
//!
//! Must never be true: an answer taken for another item's; a plaintext outside the locked buffers and the
//! arena; a request sent without a token that the `book` gave. Called by the pool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroize;

use super::super::batch::clean;
use super::super::dial::Address;
use super::super::fleet::Ailment;
use super::super::pool::{Served, Session as PoolSession};
use super::super::store::Store;
use super::super::{HsmError, Job, Request};
use super::book::Token;
use super::fault::{Fault, judge};
use super::http::{Call, CallError, Client};
use super::{Site, json, keys};
use crate::metrics::Exchanged;
use crate::net::scratch::Scratch;
use crate::secret::LockedBuf;
use crate::wire::json::Value;

mod crypt;
mod object;

pub(super) use object::object_id;

/// Bytes of the buffer in which requests are made; a longer one spills to wiped memory.
const REQUEST_BYTES: usize = 32 * 1024;
/// Bytes of the buffer in which a plaintext is decoded; a longer one borrows a buffer for itself.
const PLAIN_BYTES: usize = 4 * 1024;
/// Bytes of locked buffers that one session holds, its connection's not counted.
pub(super) const LOCKED_BYTES_PER_SESSION: usize = REQUEST_BYTES + PLAIN_BYTES;
/// Bytes of an answer about the server, or of an error.
const SMALL_BYTES_MAX: usize = 64 * 1024;
/// A name that no key should have.
const NO_KEY: &str = "connected-kms-no-such-key";
/// How long a refused request waits to be sent again with another token.
const TOKEN_WAIT_MAX: Duration = Duration::from_secs(2);

/// One request; its body, if it has one, is what `out` holds.
pub(super) struct Ask<'a> {
    pub(super) method: &'static str,
    pub(super) path: &'a str,
    pub(super) has_body: bool,
    pub(super) bytes_max: usize,
    pub(super) is_secret: bool,
    /// Wraps and unwraps in it; 0: it is about something else.
    pub(super) items: usize,
    pub(super) deadline: Instant,
}

/// One connection.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) site: Arc<Site>,
    pub(super) store: Arc<Store>,
    /// The request that is being made.
    pub(super) out: Scratch,
    plain: LockedBuf,
    pub(super) place: String,
    /// What answers there.
    product: String,
    /// Requests sent since the last look.
    messages: Vec<Exchanged>,
}

impl Session {
    /// Connects, and asks how the server is. The error says what is wrong, without the place.
    pub(super) fn open(
        site: &Arc<Site>,
        address: &Address,
        deadline: Instant,
    ) -> Result<Self, String> {
        let arena = site.store.arena();
        let client = Client::open(address, site.tls().as_ref(), arena, deadline)?;
        let buffer = |bytes| {
            let buffer = arena.buffer(bytes);
            buffer.ok_or_else(|| "no locked memory is left".to_owned())
        };
        let mut session = Self {
            client,
            site: Arc::clone(site),
            store: Arc::clone(&site.store),
            out: Scratch::new(buffer(REQUEST_BYTES)?),
            plain: buffer(PLAIN_BYTES)?,
            place: format!("{}:{}", address.host, address.port),
            product: String::new(),
            messages: Vec::new(),
        };
        session.product = session.look(deadline)?;
        Ok(session)
    }

    /// What the server says of itself, if it can serve. No token and no namespace: that works everywhere.
    fn look(&mut self, deadline: Instant) -> Result<String, String> {
        let call = Call {
            method: "GET",
            path: "/v1/sys/health",
            headers: &[],
            body: None,
            bytes_max: SMALL_BYTES_MAX,
            is_secret: false,
            deadline,
        };
        let status = self.client.call(&call).map_err(|error| error.to_string())?;
        let said = health(status, self.client.body(), self.client.location.as_deref());
        self.client.forget();
        said
    }

    /// Asks with the token there is, and once more with a newer one if that is refused. The answer's
    /// body stays with the client.
    pub(super) fn ask(&mut self, ask: &Ask<'_>) -> Result<u16, Fault> {
        let mut token = self.site.book.token()?;
        let mut status = self.send(&token, ask)?;
        if status == 403 {
            let until = ask.deadline.min(Instant::now() + TOKEN_WAIT_MAX);
            if let Some(newer) = self.site.book.suspect(&token, until) {
                token = newer;
                status = self.send(&token, ask)?;
            }
        }
        if status < 300 || status == 400 {
            self.site.book.works(&token);
        }
        let body = self.client.body();
        // An envelope has no errors either, and is not looked through for them.
        let errors = match status {
            200 => json::object(body).map(|_| Vec::new()),
            _ => json::errors(body),
        };
        let location = self.client.location.as_deref();
        judge(status, errors.as_deref(), (ask.method, ask.path), location)
    }

    fn send(&mut self, token: &Token, ask: &Ask<'_>) -> Result<u16, CallError> {
        let mut headers = vec![
            ("X-Vault-Token", token.text.expose()),
            ("X-Vault-Request", "true"),
        ];
        headers.extend(
            self.site
                .namespace
                .as_deref()
                .map(|name| ("X-Vault-Namespace", name)),
        );
        let sent = Instant::now();
        let status = self.client.call(&Call {
            method: ask.method,
            path: ask.path,
            headers: &headers,
            body: ask.has_body.then(|| self.out.bytes()),
            bytes_max: ask.bytes_max,
            is_secret: ask.is_secret,
            deadline: ask.deadline,
        });
        // One whose connection died tells nothing of the Vault.
        if matches!(status, Ok(_) | Err(CallError::TimedOut)) {
            self.messages.push(Exchanged {
                items: ask.items,
                took: sent.elapsed(),
            });
        }
        status
    }

    /// Path of something in the Transit engine.
    pub(super) fn path(&self, below: &str) -> String {
        format!("/v1/{}/{below}", self.site.mount)
    }

    fn serve_key(&mut self, job: Job, served: &mut Served) {
        if job.deadline <= Instant::now() {
            return (job.done)(Err(HsmError::TimedOut));
        }
        let answer = keys::serve(self, &job.request, job.deadline);
        self.client.forget();
        match answer {
            Ok(answer) => {
                served.worked = true;
                (job.done)(Ok(answer));
            }
            Err(stop) => {
                served.busy |= matches!(stop.fault, Fault::Jobs(HsmError::Busy));
                served.broken = stop
                    .fault
                    .broken()
                    .map(|why| format!("{}: {why}", self.place));
                if stop.is_repeatable() {
                    served.retry.push(job);
                } else {
                    let error = stop.fault.blame(&self.place);
                    (job.done)(Err(error));
                }
            }
        }
    }
}

impl PoolSession for Session {
    fn describe(&self) -> String {
        format!("{} ({})", self.place, self.product)
    }

    fn serve(&mut self, jobs: Vec<Job>, until: Option<Instant>) -> Served {
        let mut served = Served::default();
        self.messages.clear();
        let (groups, others) = crypt::gather(jobs);
        for group in groups {
            self.exchange(group, until, &mut served);
        }
        for job in others {
            if served.broken.is_some() {
                served.unsent.push(job);
            } else {
                self.serve_key(job, &mut served);
            }
        }
        served.messages = std::mem::take(&mut self.messages);
        served
    }

    fn is_quiet(&mut self) -> bool {
        self.client.is_quiet()
    }

    /// How the server is, and a key that is not there: for that the token must be good and the engine there.
    fn probe(&mut self, deadline: Instant) -> Result<(), Ailment> {
        let broken = |place: &str, why: &str| Err(Ailment::Broken(format!("{place}: {why}")));
        if let Err(why) = self.look(deadline) {
            return broken(&self.place, &why);
        }
        let name = NO_KEY.into();
        let found = keys::serve(self, &Request::Find { name }, deadline);
        self.client.forget();
        match found.map_err(|stop| stop.fault) {
            Err(Fault::Jobs(HsmError::Declined(why))) => Err(Ailment::Refuses(why)),
            // Neither the token, which has its own keeper, nor what its policy allows.
            Ok(_) | Err(Fault::Jobs(_) | Fault::Denied(_)) => Ok(()),
            Err(fault) => broken(&self.place, &fault.broken().unwrap_or_default()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.plain.zeroize();
        self.out.clear();
    }
}

/// What an answer to `sys/health` says: a standby passes requests on, a sealed one does nothing.
fn health(status: u16, body: &[u8], location: Option<&str>) -> Result<String, String> {
    let mut version = None;
    let mut is_vault = false;
    if let Some(raw) = json::object(body) {
        let read = json::members(raw, |name, value| match (name, &value) {
            ("version", Value::Text(text)) => version = Some(clean(text.as_str())),
            ("sealed", Value::Bool(_)) => is_vault = true,
            _ => {}
        });
        is_vault &= read.is_ok();
    }
    match status {
        300..=399 => Err(format!(
            "it redirects to {}, which is refused: correct kms.hsm.server.url",
            location.unwrap_or("nowhere")
        )),
        _ if !is_vault => Err(format!(
            "it answers HTTP {status} to /v1/sys/health as no Vault does: is kms.hsm.server.url a Vault's?"
        )),
        200 | 429 | 473 => Ok(format!(
            "Vault {}",
            version.as_deref().unwrap_or("of no version")
        )),
        501 => Err("the Vault is not initialised".to_owned()),
        503 => Err("the Vault is sealed: unseal it".to_owned()),
        472 => Err("the Vault is a disaster recovery secondary and serves nothing".to_owned()),
        _ => Err(format!("the Vault's health is HTTP {status}")),
    }
}
