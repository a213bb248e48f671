//! One session without a socket, TLS or a clock: the whole way of a request in memory.
//!
//! Plaintext in, replies out, and the caller plays the HSM behind the engine. Does to a session what
//! a worker and its connection do, in the same order. Must never be true: a reply here that a client
//! could not get. Called by `fuzz/`, and by the simulation in `loadgen/tests/`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::ResolvesServerCertUsingSni;

use crate::engine::{Engine, Outcome, Waiter};
use crate::identity::{Pin, Snapshot};
use crate::metrics::Metrics;
use crate::net::scratch::Scratch;
use crate::quota::{Address, Quota, QuotaConfig};
use crate::secret::Arena;

use super::clock::Clock;
use super::desk::{Desk, RequestIds};
use super::session::{Session, State};
use super::tally::Tally;
use super::{Settings, Shared};

/// Bytes of the locked form of replies; longer ones spill, as in a worker.
const REPLY_BYTES: usize = 16 * 1024;

/// What a loopback waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Awaits {
    /// More of the client's bytes.
    Bytes,
    /// Tickets for the parked request, or [`Loopback::give_up`].
    Tickets,
    /// Nothing: the connection ends.
    Nothing,
}

/// Which of several connections, and whose.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its number; the waiters of its requests bear it.
    pub conn: u32,
    /// Where its client is.
    pub address: IpAddr,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            conn: 0,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
}

fn clock(now: Instant, unix_s: u32) -> Option<Clock> {
    let wall = UNIX_EPOCH + Duration::from_secs(unix_s.into());
    Some(Clock {
        now,
        unix_s: unix_s.into(),
        date: httpdate::fmt_http_date(wall).as_bytes().try_into().ok()?,
    })
}

/// What the parts of a loopback share: the real thing, but no handshake succeeds with it.
pub fn shared(
    engine: Engine,
    metrics: Arc<Metrics>,
    arena: &'static Arena,
    settings: Settings,
) -> Result<Shared, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
    let pins = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
    let quota = Arc::new(Quota::new(&QuotaConfig::UNLIMITED, Instant::now()));
    Ok(Shared::new(
        engine,
        pins,
        Arc::new(tls),
        metrics,
        quota,
        arena,
        settings,
    ))
}

/// One client's connection, behind its TLS.
pub struct Loopback<'s> {
    shared: &'s Shared,
    session: Session,
    desk: Desk,
}

impl<'s> Loopback<'s> {
    /// A connection of the holder of `pin`, at a time that stands still until [`Loopback::set_clock`].
    /// `None`: no locked memory, or no random numbers.
    pub fn open(shared: &'s Shared, pin: Arc<Pin>, now: Instant, unix_s: u32) -> Option<Self> {
        let place = Place::default();
        Self::open_at(shared, pin, place, now, unix_s)
    }

    /// As [`Loopback::open`], for one of several connections.
    pub fn open_at(
        shared: &'s Shared,
        pin: Arc<Pin>,
        place: Place,
        now: Instant,
        unix_s: u32,
    ) -> Option<Self> {
        let desk = Desk {
            worker: 0,
            clock: clock(now, unix_s)?,
            reply: Scratch::new(shared.arena.buffer(REPLY_BYTES)?),
            decoded: Vec::new(),
            ids: RequestIds::new().ok()?,
            tally: Tally::new(),
            audit: None,
            is_cut: false,
        };
        let address = Address::of(SocketAddr::new(place.address, 0));
        let client = shared.quota.client(&pin.fingerprint, address, now);
        Some(Self {
            shared,
            session: Session::new(pin, client, place.address, place.conn, 0),
            desk,
        })
    }

    /// Later.
    pub fn set_clock(&mut self, now: Instant, unix_s: u32) {
        if let Some(clock) = clock(now, unix_s) {
            self.desk.clock = clock;
        }
    }

    /// When [`Loopback::give_up`] is due, if a request is parked.
    pub fn deadline(&self) -> Option<Instant> {
        match self.session.state() {
            State::Parked { deadline } => Some(deadline),
            _ => None,
        }
    }

    /// Takes what one TLS record carried; appends to `replies` what is answered to it.
    pub fn feed(&mut self, plaintext: &mut [u8], replies: &mut Vec<u8>) -> Awaits {
        if self.awaits() != Awaits::Nothing {
            self.session.feed(plaintext, self.shared, &mut self.desk);
        }
        self.drive(replies)
    }

    /// Takes what the engine delivered to this connection's number.
    pub fn ticket(&mut self, waiter: Waiter, outcome: Outcome, replies: &mut Vec<u8>) -> Awaits {
        if self.session.accept(waiter, outcome, self.desk.clock.now) {
            self.session.unpark(self.shared, &mut self.desk);
        }
        self.drive(replies)
    }

    /// The parked request's time is over.
    pub fn give_up(&mut self, replies: &mut Vec<u8>) -> Awaits {
        if self.awaits() == Awaits::Tickets {
            self.session.give_up(self.shared, &self.desk);
            self.session.unpark(self.shared, &mut self.desk);
        }
        self.drive(replies)
    }

    fn drive(&mut self, replies: &mut Vec<u8>) -> Awaits {
        loop {
            replies.extend_from_slice(self.desk.reply.bytes());
            self.desk.reply.clear();
            if self.session.state() != State::Ready {
                return self.awaits();
            }
            self.session.resume(self.shared, &mut self.desk);
        }
    }

    fn awaits(&self) -> Awaits {
        match self.session.state() {
            State::Idle | State::Ready => Awaits::Bytes,
            State::Parked { .. } => Awaits::Tickets,
            State::Ending | State::Cut => Awaits::Nothing,
        }
    }
}

impl Drop for Loopback<'_> {
    fn drop(&mut self) {
        self.session.release(self.shared);
    }
}
