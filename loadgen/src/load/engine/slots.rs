//! Places for connections: opened when they are needed or kept, closed when they have served their time, opened
//! again when they broke.
//!
//! Places stand in lanes: the common one, whose connections take any request, and one for each device, whose
//! requests go over a connection of its own. A request that finds no connection waits in its lane.
//!
//! Must never be true: connecting without a pause to a server that refuses; a place in two lists of its lane. Called
//! by the event loop.

use std::collections::VecDeque;

use kms::net::pipe::PipeError;
use mio::{Interest, Registry, Token};
use rand::rngs::SmallRng;

use super::core::{Asked, Core, Due};
use super::{EnginePlan, Pace};
use crate::connection::{Broken, Connection};
use crate::load::source::ANYBODY;
use crate::results::ErrorKind;

/// Between two attempts of one place to connect, when the first came to nothing.
const REST_NS: u64 = 100_000_000;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    Closed,
    Opening,
    Open,
    Resting { until_ns: u64 },
}

pub(super) struct Slot {
    pub connection: Option<Connection<Asked>>,
    pub state: State,
    pub lane: u32,
    /// Of its lane: which certificate, which address.
    number: u32,
    /// Opened again when it breaks.
    is_kept: bool,
    /// In the lane's list of those.
    pub is_idle: bool,
    pub opened_ns: u64,
    /// Requests until it is closed.
    pub left: u32,
    /// Waits for the handshake.
    pub ahead: Option<Due>,
}

#[derive(Default)]
pub(super) struct Lane {
    pub idle: VecDeque<u32>,
    pub closed: Vec<u32>,
    pub waiting: VecDeque<Due>,
    /// Places that are open or opening.
    pub alive: u32,
    /// Of these, those that are opening.
    pub opening: u32,
}

/// All places.
pub(super) struct Slots {
    pub all: Vec<Slot>,
    pub lanes: Vec<Lane>,
    pub plan: EnginePlan,
    pub random: SmallRng,
    /// Token of the first.
    tokens_from: usize,
    pub open: u64,
    /// When the poll returned last. What was ready then could not be seen before.
    pub polled_ns: u64,
    /// Why the last connection failed, and as what.
    pub last_failure: Option<(String, ErrorKind)>,
    /// What the first connection agreed on.
    pub agreed: Option<String>,
}

impl Slots {
    pub fn new(plan: EnginePlan, devices: u32, random: SmallRng, tokens_from: usize) -> Self {
        let mut lanes = Vec::new();
        lanes.resize_with(devices as usize + 1, Lane::default);
        let mut slots = Self {
            all: Vec::new(),
            lanes,
            plan,
            random,
            tokens_from,
            open: 0,
            polled_ns: 0,
            last_failure: None,
            agreed: None,
        };
        let (kept, common) = (slots.plan.kept(), slots.plan.connections_max);
        for place in 0..common + devices {
            let lane = (place + 1).saturating_sub(common);
            slots.all.push(Slot {
                connection: None,
                state: State::Closed,
                lane,
                number: if lane == ANYBODY { place } else { lane - 1 },
                is_kept: place < kept,
                is_idle: false,
                opened_ns: 0,
                left: 0,
                ahead: None,
            });
            if place >= kept
                && let Some(lane) = slots.lanes.get_mut(lane as usize)
            {
                lane.closed.push(place);
            }
        }
        slots
    }

    /// A new clock begins.
    pub fn forget_times(&mut self) {
        self.polled_ns = 0;
        for slot in &mut self.all {
            slot.opened_ns = 0;
        }
    }

    /// The first place that is to be kept open and is not yet begun.
    pub fn next_kept(&self) -> Option<u32> {
        let mut all = self.all.iter().zip(0..);
        let found = all.find(|(slot, _)| slot.is_kept && slot.state == State::Closed);
        found.map(|(_, place)| place)
    }

    /// Places that are opening.
    pub fn opening(&self) -> usize {
        let is_opening = |slot: &&Slot| slot.state == State::Opening;
        self.all.iter().filter(is_opening).count()
    }

    /// Requests that were begun and have no end yet.
    pub fn under_way(&self) -> usize {
        let of = |slot: &Slot| {
            let in_flight = slot.connection.as_ref().map_or(0, Connection::in_flight);
            in_flight + usize::from(slot.ahead.is_some())
        };
        let waiting = |lane: &Lane| lane.waiting.len();
        self.all.iter().map(of).sum::<usize>() + self.lanes.iter().map(waiting).sum::<usize>()
    }

    pub fn lane_mut(&mut self, place: u32) -> Option<&mut Lane> {
        let lane = self.all.get(place as usize)?.lane;
        self.lanes.get_mut(lane as usize)
    }

    /// Begins to connect a place that is closed; `ahead` is sent once it is open.
    pub fn open_place(
        &mut self,
        place: u32,
        ahead: Option<Due>,
        registry: &Registry,
        core: &mut Core,
    ) {
        let now_ns = core.clock.now_ns();
        let token = Token(self.tokens_from + place as usize);
        let Some(slot) = self.all.get_mut(place as usize) else {
            return;
        };
        slot.ahead = ahead;
        slot.opened_ns = now_ns;
        slot.state = State::Opening;
        slot.left = self.plan.life.draw(&mut self.random);
        let targets = self.plan.targets.len().max(1);
        let Some(target) = self.plan.targets.get(slot.number as usize % targets) else {
            return;
        };
        let preamble = match &mut self.plan.proxy {
            Some(proxy) => proxy.header(slot.number, target.address),
            None => Vec::new(),
        };
        let opened = Connection::open(target, preamble).and_then(|mut connection| {
            let both = Interest::READABLE | Interest::WRITABLE;
            let registered = registry.register(connection.stream_mut(), token, both);
            registered.map_err(PipeError::Io)?;
            Ok(connection)
        });
        if let Some(lane) = self.lanes.get_mut(slot.lane as usize) {
            lane.alive += 1;
            lane.opening += 1;
        }
        match opened {
            Ok(connection) => slot.connection = Some(connection),
            Err(error) => self.break_off(place, &Broken::Pipe(error), registry, core),
        }
    }

    /// A connection has served its time: says goodbye. In an open loop it is opened again for the next request.
    pub fn retire(&mut self, place: u32, registry: &Registry, core: &mut Core) {
        let Some(slot) = self.all.get_mut(place as usize) else {
            return;
        };
        if let Some(mut connection) = slot.connection.take() {
            connection.close();
            core.tally.bytes(connection.take_bytes());
        }
        slot.state = State::Closed;
        self.open -= 1;
        self.is_dead(place, false);
        self.reuse(place, self.plan.pace != Pace::Open, registry, core);
    }

    fn is_dead(&mut self, place: u32, was_opening: bool) {
        if let Some(lane) = self.lane_mut(place) {
            lane.alive = lane.alive.saturating_sub(1);
            lane.opening = lane.opening.saturating_sub(u32::from(was_opening));
        }
    }

    /// A place is closed: opens it for whoever waits, or because it is to be open.
    fn reuse(&mut self, place: u32, is_kept: bool, registry: &Registry, core: &mut Core) {
        let polled_ns = self.polled_ns;
        let Some(lane) = self.lane_mut(place) else {
            return;
        };
        let waiting = lane.waiting.pop_front();
        let now_ns = core.clock.now_ns();
        let ahead = waiting.map(|due| Due {
            late_ns: due.lag_ns(polled_ns, now_ns),
            ..due
        });
        if ahead.is_some() || (is_kept && !core.is_over) {
            return self.open_place(place, ahead, registry, core);
        }
        if let Some(lane) = self.lane_mut(place) {
            lane.closed.push(place);
        }
        if let Some(slot) = self.all.get_mut(place as usize) {
            slot.state = State::Closed;
        }
    }

    /// A connection is over, or never was.
    pub fn break_off(&mut self, place: u32, why: &Broken, registry: &Registry, core: &mut Core) {
        let now_ns = core.clock.now_ns();
        let Some(slot) = self.all.get_mut(place as usize) else {
            return;
        };
        let was_opening = slot.state == State::Opening;
        let mut connection = slot.connection.take();
        let error = kind_of(was_opening, connection.as_ref(), why);
        let mut lost = 0;
        if let Some(connection) = &mut connection {
            core.tally.bytes(connection.take_bytes());
            for asked in connection.give_up() {
                let error = if lost == 0 {
                    error
                } else {
                    ErrorKind::ConnectionLost
                };
                core.lose(&asked, error, now_ns);
                lost += 1;
            }
        }
        if let Some(due) = slot.ahead.take() {
            core.drop_shot(due.shot, error, now_ns);
        }
        let was_idle = std::mem::take(&mut slot.is_idle);
        let is_kept = slot.is_kept;
        let rests = was_opening || now_ns < slot.opened_ns + REST_NS;
        slot.state = if rests {
            State::Resting {
                until_ns: now_ns + REST_NS,
            }
        } else {
            State::Closed
        };
        if was_opening || lost > 0 {
            self.last_failure = Some((why.to_string(), error));
        }
        if !was_opening {
            self.open -= 1;
        }
        if was_idle && let Some(lane) = self.lane_mut(place) {
            lane.idle.retain(|other| *other != place);
        }
        self.is_dead(place, was_opening);
        if !rests {
            return self.reuse(place, is_kept, registry, core);
        }
        let refusal = self.refusal();
        if was_opening
            && let Some(lane) = self.lane_mut(place)
            && lane.alive == 0
        {
            // Nobody is let in: who waits is told so, as a client would be.
            for due in std::mem::take(&mut lane.waiting) {
                core.drop_shot(due.shot, refusal, now_ns);
            }
        }
    }

    /// How requests fail while nobody is let in.
    pub fn refusal(&self) -> ErrorKind {
        match &self.last_failure {
            Some((_, ErrorKind::HandshakeFailed)) => ErrorKind::HandshakeFailed,
            _ => ErrorKind::ConnectFailed,
        }
    }

    /// A place has rested.
    pub fn wake(&mut self, place: u32, registry: &Registry, core: &mut Core) {
        let is_kept = self
            .all
            .get(place as usize)
            .is_some_and(|slot| slot.is_kept);
        self.reuse(place, is_kept, registry, core);
    }
}

fn kind_of(was_opening: bool, connection: Option<&Connection<Asked>>, why: &Broken) -> ErrorKind {
    let is_connected = connection.is_some_and(Connection::is_connected);
    let is_new = connection.is_some_and(|connection| connection.taken() == 0);
    match why {
        _ if was_opening && !is_connected => ErrorKind::ConnectFailed,
        _ if was_opening => ErrorKind::HandshakeFailed,
        // In TLS 1.3 a server judges the client's certificate when the client is done already.
        Broken::Pipe(PipeError::Tls(_)) if is_new => ErrorKind::HandshakeFailed,
        Broken::Silent => ErrorKind::Timeout,
        Broken::Http(_) | Broken::Unasked => ErrorKind::Malformed,
        Broken::Pipe(_) | Broken::Closed => ErrorKind::ConnectionLost,
    }
}
