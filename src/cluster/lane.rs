//! One server of the engine: its connection, what has been asked on it, and whether it is asked at all.
//!
//! Commands are pipelined, and answered in their order. A caller whose time is over is told so, and the answer
//! that comes later is read past. Any error of the connection ends it and tells all who wait. Must never be
//! true: a caller that is told nothing, or twice; a caller that waits past its deadline while the loop turns; a
//! command on a connection that has failed. The loop drives it; the time is an argument.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::Unmet;
use super::access::{Access, refusal_of_login};
use super::breaker::Breaker;
use super::link::Link;
use super::resp::Reply;
use super::slots::Place;
use mio::{Interest, Registry, Token as Slot};

/// For TCP, TLS and the login together.
const OPEN_MAX: Duration = Duration::from_secs(1);
/// For a name to be looked up, before what it was last is tried again.
const RESOLVE_MAX: Duration = Duration::from_millis(500);
/// The oldest command without an answer for so long: the connection is dead.
const STALL_MAX: Duration = Duration::from_millis(500);
/// Rest after the first failure, doubled up to the longest.
const REST: Duration = Duration::from_millis(10);
const REST_MAX: Duration = Duration::from_millis(500);
/// A connection that stood for so long was a good one: the next rest is the shortest again.
const STEADY: Duration = Duration::from_secs(1);
/// Commands under way on one connection.
const FLYING_MAX: usize = 512;

enum State {
    Resting { until: Instant },
    Resolving { until: Instant },
    Opening { until: Instant },
    LoggingIn { until: Instant, replies: usize },
    Up,
}

struct Flying<W> {
    /// None once it was told.
    whom: Option<W>,
    deadline: Instant,
    sent: Instant,
}

/// Whom an answer is for, and the answer.
pub type Told<W> = (W, Result<Reply, Unmet>);

/// See the module. `W` is whom an answer is for.
pub struct Lane<W> {
    place: Place,
    slot: Slot,
    state: State,
    link: Option<Link>,
    addresses: Vec<IpAddr>,
    tried: usize,
    reached: Option<SocketAddr>,
    flying: VecDeque<Flying<W>>,
    pending: Vec<u8>,
    breaker: Breaker,
    rest: Duration,
    /// How often the connection was made.
    connected: u64,
    /// When it was made last.
    risen: Instant,
    asked: Instant,
    /// What is wrong; empty: nothing.
    why: String,
}

impl<W> Lane<W> {
    /// To the server at `place`, whose socket is known to the loop as `slot`.
    pub fn new(place: Place, slot: Slot, now: Instant) -> Self {
        Self {
            place,
            slot,
            state: State::Resting { until: now },
            link: None,
            addresses: Vec::new(),
            tried: 0,
            reached: None,
            flying: VecDeque::new(),
            pending: Vec::new(),
            breaker: Breaker::new(now),
            rest: REST,
            connected: 0,
            risen: now,
            asked: now,
            why: "not connected yet".to_owned(),
        }
    }

    /// Where the server is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether it can be asked.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up)
    }

    /// Whether it is up and answers.
    pub fn answers(&self) -> bool {
        self.is_up() && !self.breaker.is_open()
    }

    /// Which of its addresses it was reached at last.
    pub fn reached(&self) -> Option<SocketAddr> {
        self.reached
    }

    /// How often the connection was made: another number, another connection.
    pub fn connected(&self) -> u64 {
        self.connected
    }

    /// When it was asked last.
    pub fn asked(&self) -> Instant {
        self.asked
    }

    /// What is wrong; empty: nothing.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Asks `command`, or tells at once that it cannot. Flush afterwards.
    pub fn ask(
        &mut self,
        command: &[u8],
        whom: W,
        deadline: Instant,
        now: Instant,
        told: &mut Vec<Told<W>>,
    ) {
        let refusal = if deadline <= now {
            Some(Unmet::TimedOut)
        } else if !self.is_up() || self.flying.len() >= FLYING_MAX || !self.breaker.allows(now) {
            Some(Unmet::Down)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            told.push((whom, Err(refusal)));
            return;
        }
        self.pending.extend_from_slice(command);
        self.asked = now;
        self.flying.push_back(Flying {
            whom: Some(whom),
            deadline,
            sent: now,
        });
    }

    /// Writes what was asked: one record for all of it.
    pub fn flush(&mut self, now: Instant, told: &mut Vec<Told<W>>) {
        if self.pending.is_empty() {
            return;
        }
        let Some(link) = &mut self.link else {
            return;
        };
        let sent = link.send(&self.pending).and_then(|()| link.flush());
        self.pending.clear();
        if let Err(why) = sent {
            self.fall(why, now, told);
        }
    }

    /// The socket has news.
    pub fn event(
        &mut self,
        access: &Access,
        scratch: &mut [u8],
        now: Instant,
        told: &mut Vec<Told<W>>,
    ) {
        let Some(link) = &mut self.link else {
            return;
        };
        let turned = link.turn_over(scratch);
        // What came before the end counts.
        let read = self.take_replies(now, told);
        if let Err(why) = turned.and(read) {
            self.fall(why, now, told);
            return;
        }
        if matches!(self.state, State::Opening { .. }) {
            self.log_in(access, now, told);
        }
    }

    fn log_in(&mut self, access: &Access, now: Instant, told: &mut Vec<Told<W>>) {
        let Some(link) = self.link.as_mut().filter(|link| link.is_established()) else {
            return;
        };
        let (mut commands, replies) = access.greeting();
        let sent = link.send(&commands).and_then(|()| link.flush());
        crate::secret::wipe_slice(&mut commands);
        let until = now + OPEN_MAX;
        self.state = State::LoggingIn { until, replies };
        if let Err(why) = sent {
            self.fall(why, now, told);
        }
    }

    fn take_replies(&mut self, now: Instant, told: &mut Vec<Told<W>>) -> Result<(), String> {
        while let Some(link) = &mut self.link {
            let Some(reply) = link.reply()? else {
                break;
            };
            match &mut self.state {
                State::LoggingIn { replies, .. } => {
                    if let Some(why) = refusal_of_login(&reply) {
                        return Err(why);
                    }
                    *replies -= 1;
                    if *replies == 0 {
                        self.rise(now);
                    }
                }
                State::Up => {
                    let Some(flying) = self.flying.pop_front() else {
                        return Err("it answers what it was not asked".to_owned());
                    };
                    self.breaker.answered(now);
                    if now.saturating_duration_since(self.risen) >= STEADY {
                        self.rest = REST;
                    }
                    if let Some(whom) = flying.whom {
                        told.push((whom, Ok(reply)));
                    }
                }
                _ => return Err("it speaks before it is asked".to_owned()),
            }
        }
        Ok(())
    }

    fn rise(&mut self, now: Instant) {
        self.state = State::Up;
        self.breaker = Breaker::new(now);
        self.connected += 1;
        self.risen = now;
        self.why.clear();
        log::info!("shared cache: connected server={}", self.place);
    }

    /// Ends the connection and tells all who wait.
    pub fn fall(&mut self, why: String, now: Instant, told: &mut Vec<Told<W>>) {
        if self.why != why {
            log::warn!("shared cache: server={} {why}", self.place);
        }
        self.why = why;
        self.link = None;
        self.pending.clear();
        for flying in self.flying.drain(..) {
            if let Some(whom) = flying.whom {
                told.push((whom, Err(Unmet::Lost)));
            }
        }
        self.state = State::Resting {
            until: now + self.rest,
        };
        self.rest = (self.rest * 2).min(REST_MAX);
    }

    /// Does what is due. Gives a name that is to be looked up.
    pub fn tick(
        &mut self,
        access: &Access,
        registry: &Registry,
        now: Instant,
        told: &mut Vec<Told<W>>,
    ) -> Option<String> {
        self.expire(now, told);
        match self.state {
            State::Resting { until } if now >= until => {
                let Ok(address) = self.place.host.parse() else {
                    let until = now + RESOLVE_MAX;
                    self.state = State::Resolving { until };
                    return Some(self.place.host.clone());
                };
                self.addresses = vec![address];
                self.open(access, registry, now, told);
            }
            State::Resolving { until } if now >= until => {
                self.resolved(
                    Err("the name server does not answer".to_owned()),
                    access,
                    registry,
                    now,
                    told,
                );
            }
            State::Opening { until } | State::LoggingIn { until, .. } if now >= until => {
                self.fall(access.unfinished(), now, told);
            }
            State::Up => {
                let stalled =
                    |flying: &Flying<W>| now.saturating_duration_since(flying.sent) >= STALL_MAX;
                if self.flying.front().is_some_and(stalled) {
                    self.fall("it does not answer".to_owned(), now, told);
                }
            }
            _ => {}
        }
        None
    }

    /// The name was looked up; what it was last is good when that failed.
    pub fn resolved(
        &mut self,
        found: Result<Vec<IpAddr>, String>,
        access: &Access,
        registry: &Registry,
        now: Instant,
        told: &mut Vec<Told<W>>,
    ) {
        if !matches!(self.state, State::Resolving { .. }) {
            return;
        }
        match found {
            Ok(addresses) if !addresses.is_empty() => self.addresses = addresses,
            Ok(_) if self.addresses.is_empty() => {
                return self.fall("its name has no address".to_owned(), now, told);
            }
            Err(why) if self.addresses.is_empty() => {
                return self.fall(format!("its name cannot be resolved: {why}"), now, told);
            }
            _ => {}
        }
        self.open(access, registry, now, told);
    }

    fn open(
        &mut self,
        access: &Access,
        registry: &Registry,
        now: Instant,
        told: &mut Vec<Told<W>>,
    ) {
        let at = self.tried % self.addresses.len().max(1);
        self.tried = self.tried.wrapping_add(1);
        let Some(address) = self.addresses.get(at) else {
            return self.fall("its name has no address".to_owned(), now, told);
        };
        let address = SocketAddr::new(*address, self.place.port);
        let made = access.tls_for(&self.place).and_then(|tls| {
            let mut link = Link::open(address, tls.as_ref())?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            registry
                .register(link.source(), self.slot, interest)
                .map_err(|error| error.to_string())?;
            Ok(link)
        });
        match made {
            Ok(link) => {
                self.link = Some(link);
                self.reached = Some(address);
                let until = now + OPEN_MAX;
                self.state = State::Opening { until };
            }
            Err(why) => self.fall(why, now, told),
        }
    }

    fn expire(&mut self, now: Instant, told: &mut Vec<Told<W>>) {
        for flying in &mut self.flying {
            if flying.deadline <= now
                && let Some(whom) = flying.whom.take()
            {
                self.breaker.timed_out(now);
                told.push((whom, Err(Unmet::TimedOut)));
            }
        }
    }

    /// When [`Self::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Resting { until }
            | State::Resolving { until }
            | State::Opening { until }
            | State::LoggingIn { until, .. } => Some(until),
            State::Up => {
                let waiting = self.flying.iter().filter(|flying| flying.whom.is_some());
                let first = waiting.map(|flying| flying.deadline).min();
                let stall = self.flying.front().map(|flying| flying.sent + STALL_MAX);
                first.into_iter().chain(stall).min()
            }
        }
    }
}
