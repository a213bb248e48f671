//! The connection on which messages of other nodes come.
//!
//! Apart from the others: what comes on it was not asked for. It is asked a PING now and then, and ended when
//! nothing comes for [`SILENCE_MAX`]. Must never be true: a connection that counts as subscribed before the
//! engine said so; a silent one kept. The loop drives it; the time is an argument.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Interest, Registry, Token as Slot};

use super::access::{Access, refusal_of_login};
use super::link::Link;
use super::resp::{self, Reply};
use super::slots::Place;

const OPEN_MAX: Duration = Duration::from_secs(1);
const PING_EVERY: Duration = Duration::from_millis(500);
const SILENCE_MAX: Duration = Duration::from_secs(2);
const REST: Duration = Duration::from_millis(10);
const REST_MAX: Duration = Duration::from_millis(500);
/// A subscription that stood for so long was a good one: the next rest is the shortest again.
const STEADY: Duration = Duration::from_secs(1);

enum State {
    Resting { until: Instant },
    Opening { until: Instant },
    Subscribing { until: Instant },
    Up,
}

/// See the module.
pub struct Subscriber {
    slot: Slot,
    channel: String,
    state: State,
    link: Option<Link>,
    heard: Instant,
    pinged: Instant,
    rest: Duration,
    /// How often it was subscribed.
    subscribed: u64,
    /// When it was last.
    risen: Instant,
    place: Option<Place>,
    why: String,
}

impl Subscriber {
    /// To `channel`; the loop knows its socket as `slot`.
    pub fn new(channel: String, slot: Slot, now: Instant) -> Self {
        Self {
            slot,
            channel,
            state: State::Resting { until: now },
            link: None,
            heard: now,
            pinged: now,
            rest: REST,
            subscribed: 0,
            risen: now,
            place: None,
            why: String::new(),
        }
    }

    /// Whether messages come.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up)
    }

    /// How often it was subscribed: another number, and messages may have been missed.
    pub fn subscribed(&self) -> u64 {
        self.subscribed
    }

    /// Ends the connection, to be made anew after a rest.
    pub fn fall(&mut self, why: &str, now: Instant) {
        if self.why != why {
            log::warn!("shared cache: messages of other nodes: {why}");
            why.clone_into(&mut self.why);
        }
        self.link = None;
        self.state = State::Resting {
            until: now + self.rest,
        };
        self.rest = (self.rest * 2).min(REST_MAX);
    }

    /// The socket has news; `take` gets each message.
    pub fn event(
        &mut self,
        access: &Access,
        scratch: &mut [u8],
        now: Instant,
        take: &mut dyn FnMut(&[u8]),
    ) {
        let Some(link) = &mut self.link else {
            return;
        };
        let turned = link.turn_over(scratch);
        let read = self.read(now, take);
        if let Err(why) = turned.and(read) {
            self.fall(&why, now);
            return;
        }
        if matches!(self.state, State::Opening { .. }) {
            self.subscribe(access, now);
        }
    }

    fn subscribe(&mut self, access: &Access, now: Instant) {
        let Some(link) = self.link.as_mut().filter(|link| link.is_established()) else {
            return;
        };
        let (mut commands, _) = access.greeting();
        resp::encode(&mut commands, &[b"SUBSCRIBE", self.channel.as_bytes()]);
        let sent = link.send(&commands).and_then(|()| link.flush());
        crate::secret::wipe_slice(&mut commands);
        let until = now + OPEN_MAX;
        self.state = State::Subscribing { until };
        if let Err(why) = sent {
            self.fall(&why, now);
        }
    }

    fn read(&mut self, now: Instant, take: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        while let Some(link) = &mut self.link {
            let Some(reply) = link.reply()? else {
                break;
            };
            self.heard = now;
            if self.is_up() && now.saturating_duration_since(self.risen) >= STEADY {
                self.rest = REST;
            }
            if let Some(why) = refusal_of_login(&reply) {
                return Err(why);
            }
            if let Reply::Error(text) = &reply {
                let clean: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
                return Err(format!("SUBSCRIBE is refused ({clean})"));
            }
            match reply.items() {
                [kind, _, message] if kind.bytes() == Some(b"message") => {
                    if let Some(message) = message.bytes() {
                        take(message);
                    }
                }
                [kind, ..] if kind.bytes() == Some(b"subscribe") => {
                    self.state = State::Up;
                    self.subscribed += 1;
                    self.risen = now;
                    self.why.clear();
                }
                // Answers to the login and to PING.
                _ => {}
            }
        }
        Ok(())
    }

    /// Does what is due. `address` is where the server at `place` was last reached.
    pub fn tick(
        &mut self,
        target: Option<(&Place, SocketAddr)>,
        access: &Access,
        registry: &Registry,
        now: Instant,
    ) {
        match self.state {
            State::Resting { until } if now >= until => {
                if let Some((place, address)) = target {
                    self.open(place, address, access, registry, now);
                } else {
                    // Nobody to subscribe at; the lanes tell why.
                    let until = now + REST;
                    self.state = State::Resting { until };
                }
            }
            State::Opening { until } | State::Subscribing { until } if now >= until => {
                self.fall("the subscription is not completed in time", now);
            }
            State::Up if now.saturating_duration_since(self.heard) >= SILENCE_MAX => {
                self.fall("the server is silent", now);
            }
            State::Up if target.is_some_and(|(place, _)| self.place.as_ref() != Some(place)) => {
                self.fall("another server is asked now", now);
            }
            State::Up if now.saturating_duration_since(self.pinged) >= PING_EVERY => {
                self.pinged = now;
                let ping = resp::command(&[b"PING"]);
                let sent = self
                    .link
                    .as_mut()
                    .map_or(Ok(()), |link| link.send(&ping).and_then(|()| link.flush()));
                if let Err(why) = sent {
                    self.fall(&why, now);
                }
            }
            _ => {}
        }
    }

    fn open(
        &mut self,
        place: &Place,
        address: SocketAddr,
        access: &Access,
        registry: &Registry,
        now: Instant,
    ) {
        self.place = Some(place.clone());
        let made = access.tls_for(place).and_then(|tls| {
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
                self.heard = now;
                self.pinged = now;
                let until = now + OPEN_MAX;
                self.state = State::Opening { until };
            }
            Err(why) => self.fall(&why, now),
        }
    }

    /// When [`Self::tick`] has something to do.
    pub fn due(&self) -> Instant {
        match self.state {
            State::Resting { until } | State::Opening { until } | State::Subscribing { until } => {
                until
            }
            State::Up => (self.pinged + PING_EVERY).min(self.heard + SILENCE_MAX),
        }
    }
}
