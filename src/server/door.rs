//! Who may come in: connections by the address of their client, which a load balancer may have to tell first.
//!
//! With load balancers configured, nobody else is let in, and each connection begins with the balancer's
//! word on whose it is. Must never be true: a connection counted to a balancer's address that is a
//! client's; a byte behind the balancer's header taken from the client's TLS; a line in the log for
//! every one of a flood. Called by the acceptor and the handshake threads.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::Instant;

use parking_lot::Mutex;

use crate::config::Network;
use crate::metrics::Metrics;
use crate::quota::{Address, Guest, Quota};
use crate::wire::Step;
use crate::wire::proxy::{HEADER_BYTES_MAX, ProxyError, Source, decode};

use super::log_quota::LogQuota;

/// Refusals that the log tells of in a second.
const REFUSALS_LOGGED_A_SECOND: u32 = 1;

/// Where connections are let in, or not.
pub(super) struct Door {
    balancers: Vec<Network>,
    refusals_logged: Mutex<LogQuota>,
}

/// What becomes of a connection that was accepted.
pub(super) enum Knock {
    /// It comes in, counted to its address.
    In(Guest),
    /// A load balancer's: its header is to come first.
    Announced(Box<Preface>),
    /// It is closed.
    Refused,
}

impl Door {
    /// With `balancers`, only they may connect, and tell whose connection it is.
    pub(super) fn new(balancers: Vec<Network>) -> Self {
        Self {
            balancers,
            refusals_logged: Mutex::new(LogQuota::new(REFUSALS_LOGGED_A_SECOND)),
        }
    }

    /// A connection from `peer`.
    pub(super) fn knock(
        &self,
        peer: SocketAddr,
        quota: &Quota,
        metrics: &Metrics,
        now: Instant,
    ) -> Knock {
        if self.balancers.is_empty() {
            return self
                .enter(peer, quota, metrics, now)
                .map_or(Knock::Refused, Knock::In);
        }
        if self.balancers.iter().any(|net| net.contains(peer.ip())) {
            return Knock::Announced(Box::default());
        }
        metrics.turned_away_address.bump();
        self.tell(now, || {
            format!("{} is not in kms.server.proxy-protocol.from", peer.ip())
        });
        Knock::Refused
    }

    /// Counts a connection to the address of its client; `None`: it is one too many.
    pub(super) fn enter(
        &self,
        client: SocketAddr,
        quota: &Quota,
        metrics: &Metrics,
        now: Instant,
    ) -> Option<Guest> {
        let address = Address::of(client);
        quota
            .enter(address)
            .inspect_err(|count| {
                metrics.turned_away_address.bump();
                self.tell(now, || {
                    format!(
                        "{address} has {count} already, as many as kms.limit.connections allows"
                    )
                });
            })
            .ok()
    }

    /// A balancer's connection did not begin as it should.
    pub(super) fn misannounced(&self, balancer: SocketAddr, error: ProxyError, now: Instant) {
        self.tell(now, || format!("{balancer} sent {error}"));
    }

    fn tell(&self, now: Instant, why: impl FnOnce() -> String) {
        if self.refusals_logged.lock().admit(now) {
            log::warn!("connection refused: {}", why());
        }
    }

    /// Tells of refusals that were not logged one by one. True: some are yet to be told of.
    pub(super) fn tell_left_out(&self, now: Instant) -> bool {
        let mut refusals = self.refusals_logged.lock();
        if let Some(left_out) = refusals.take_left_out(now) {
            log::warn!("connection refused: {left_out} more, not logged one by one");
        }
        refusals.has_left_out()
    }
}

/// The beginning of a balancer's connection, as far as it has come.
pub(super) struct Preface {
    bytes: [u8; HEADER_BYTES_MAX],
    len: usize,
}

impl Default for Preface {
    fn default() -> Self {
        Self {
            bytes: [0; HEADER_BYTES_MAX],
            len: 0,
        }
    }
}

/// What a preface has come to.
#[derive(Debug)]
pub(super) enum Announced {
    /// More is to come.
    NotYet,
    /// It is whole; what follows is the client's.
    Whole(Source),
    /// The connection ended first: as a balancer's health check may.
    Ended,
    /// It is none.
    Wrong(ProxyError),
}

impl Preface {
    /// Reads what has come, and not a byte behind the header.
    pub(super) fn read(&mut self, stream: &mut impl Read) -> Announced {
        loop {
            let (come, room) = self.bytes.split_at_mut(self.len);
            let need = match decode(come) {
                Ok(Step::Item(source, _)) => return Announced::Whole(source),
                Ok(Step::Need(need)) => need,
                Err(error) => return Announced::Wrong(error),
            };
            let Some(room) = room.get_mut(..need) else {
                return Announced::Wrong(ProxyError::TooLong);
            };
            match stream.read(room) {
                Ok(0) => return Announced::Ended,
                Ok(count) => self.len += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Announced::NotYet;
                }
                Err(_) => return Announced::Ended,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::proxy::put_header;

    /// Gives a byte at a time, then says that no more is there, then goes on.
    struct Drops<'a>(&'a [u8], bool);

    impl Read for Drops<'_> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let Some((first, rest)) = self.0.split_first() else {
                return Ok(0);
            };
            room[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    #[test]
    fn a_preface_is_read_to_its_end_and_no_further() {
        let client = SocketAddr::from(([10, 1, 2, 3], 4000));
        let mut bytes = Vec::new();
        put_header(&mut bytes, client, SocketAddr::from(([10, 0, 0, 1], 8443)));
        bytes.extend_from_slice(b"TLS");
        let (mut stream, mut preface) = (Drops(&bytes, false), Preface::default());
        let source = loop {
            match preface.read(&mut stream) {
                Announced::NotYet => {}
                Announced::Whole(source) => break source,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(source, Source::Client(client));
        assert_eq!(stream.0, b"TLS");

        for (name, bytes, ended) in [
            ("nothing", &b""[..], true),
            ("half a header", &bytes[..20], true),
            ("TLS", b"\x16\x03\x01", false),
        ] {
            let (mut stream, mut preface) = (Drops(bytes, false), Preface::default());
            let last = loop {
                match preface.read(&mut stream) {
                    Announced::NotYet => {}
                    other => break other,
                }
            };
            let told = match last {
                Announced::Ended => true,
                Announced::Wrong(ProxyError::Signature) => false,
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(told, ended, "{name}");
        }
    }
}
