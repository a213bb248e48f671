//! Which server is asked about a name: one, the master that the sentinels name, or the keeper of its slot.
//!
//! Must never be true: a server asked that says it is a replica; a map of slots believed that is none. Runs on
//! the loop.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mio::Token as Slot;

use super::lane::{Lane, Told};
use super::pulse::Pulse;
use super::resp::{self, Reply};
use super::run::{Runner, Votes, Whom};
use super::slots::{Place, SlotMap, slot_of};
use super::{Access, ClusterPlan, Mode, ServerReport, Unmet};

/// How often the order of things is asked for while all is well.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// And while it is not.
const LOOK_SOON: Duration = Duration::from_millis(200);
const LOOK_MAX: Duration = Duration::from_millis(200);
/// For how long a sentinel's answer counts.
const VOTE_LIFE: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Route {
    mode: Mode,
    places: Vec<Place>,
    pub(super) lanes: BTreeMap<Slot, Lane<Whom>>,
    /// Those of `lanes` that are sentinels.
    sentinels: Vec<Slot>,
    votes: Votes,
    /// The only server that is asked, save with a cluster.
    one: Option<Slot>,
    map: Option<SlotMap>,
    next_slot: usize,
    looked: Option<Instant>,
    pub(super) pulse: Pulse,
    /// Something shows that servers have changed places.
    doubted: bool,
    turn: usize,
}

impl Route {
    pub(super) fn new(plan: &ClusterPlan, now: Instant) -> Self {
        let mut route = Self {
            mode: plan.mode.clone(),
            places: plan.places.clone(),
            lanes: BTreeMap::new(),
            sentinels: Vec::new(),
            votes: Votes::new(),
            one: None,
            map: None,
            next_slot: 0,
            looked: None,
            pulse: Pulse::default(),
            doubted: false,
            turn: 0,
        };
        for place in plan.places.clone() {
            let slot = route.add(place, now);
            match route.mode {
                Mode::Standalone => route.one = Some(slot),
                Mode::Sentinel { .. } => route.sentinels.push(slot),
                Mode::Cluster => {}
            }
        }
        route
    }

    fn add(&mut self, place: Place, now: Instant) -> Slot {
        let slot = Slot(self.next_slot);
        self.next_slot += 1;
        self.lanes.insert(slot, Lane::new(place, slot, now));
        slot
    }

    pub(super) fn lanes(&self) -> impl Iterator<Item = (Slot, &Lane<Whom>)> {
        self.lanes.iter().map(|(slot, lane)| (*slot, lane))
    }

    /// Until when the only server counts as the master: while most of the sentinels say so. One that is cut off from
    /// them may be none any more, and knows no better. `None`: nobody needs to vouch.
    pub(super) fn vouched_until(&self, now: Instant) -> Option<Instant> {
        let Mode::Sentinel { .. } = self.mode else {
            return None;
        };
        let present = self.one.and_then(|slot| self.lanes.get(&slot));
        let votes = self.votes.values();
        let mut heard: Vec<Instant> = votes
            .filter(|(place, _)| present.is_some_and(|lane| lane.place() == place))
            .map(|(_, at)| *at)
            .collect();
        heard.sort_unstable_by(|one, other| other.cmp(one));
        let last = heard.get(self.sentinels.len() / 2);
        Some(last.map_or(now, |last| *last + VOTE_LIFE))
    }

    pub(super) fn due(&self, now: Instant) -> Instant {
        let every = if self.doubted || self.lanes.values().any(|lane| !lane.answers()) {
            LOOK_SOON
        } else {
            LOOK_EVERY
        };
        self.looked.map_or(now, |looked| looked + every)
    }

    /// Who is asked about `name`.
    fn lane_of(&self, name: &str) -> Option<Slot> {
        if self.mode != Mode::Cluster {
            return self.one;
        }
        let keeper = self.map.as_ref()?.keeper(slot_of(name.as_bytes()))?;
        self.lanes()
            .find(|(_, lane)| lane.place() == keeper)
            .map(|(slot, _)| slot)
    }

    pub(super) fn report(&self) -> Vec<ServerReport> {
        let report = |(slot, lane): (Slot, &Lane<Whom>)| ServerReport {
            server: lane.place().to_string(),
            role: if self.sentinels.contains(&slot) {
                "sentinel"
            } else {
                "server"
            },
            up: lane.answers(),
            why: if lane.is_up() && !lane.answers() {
                "it does not answer in time".to_owned()
            } else {
                lane.why().to_owned()
            },
        };
        self.lanes().map(report).collect()
    }

    /// Has exactly these servers, beside the sentinels, and those of the configuration in a cluster.
    fn keep_only(&mut self, wanted: &[Place], now: Instant, told: &mut Vec<Told<Whom>>) {
        let seeds = if self.mode == Mode::Cluster {
            &self.places[..]
        } else {
            &[]
        };
        let gone: Vec<Slot> = self
            .lanes()
            .filter(|(slot, lane)| {
                let place = lane.place();
                !self.sentinels.contains(slot) && !wanted.contains(place) && !seeds.contains(place)
            })
            .map(|(slot, _)| slot)
            .collect();
        for slot in gone {
            self.pulse.forget(slot);
            if let Some(mut lane) = self.lanes.remove(&slot) {
                lane.fall("it is no longer asked".to_owned(), now, told);
            }
        }
        for place in wanted {
            let is_there = self
                .lanes()
                .any(|(slot, lane)| lane.place() == place && !self.sentinels.contains(&slot));
            if !is_there {
                self.add(place.clone(), now);
            }
        }
    }
}

fn access_of<'a>(plan: &'a ClusterPlan, sentinels: &[Slot], slot: Slot) -> &'a Access {
    if sentinels.contains(&slot) {
        &plan.sentinel_access
    } else {
        &plan.access
    }
}

impl Runner {
    pub(super) fn lane_of(&self, name: &str) -> Option<Slot> {
        self.route.lane_of(name)
    }

    /// The server that holds the token.
    pub(super) fn home(&self) -> Option<(Slot, &Lane<Whom>)> {
        let slot = self.route.lane_of(&self.board.token_name())?;
        self.route.lanes.get(&slot).map(|lane| (slot, lane))
    }

    /// Asks a server, or tells that there is none. True: it was asked.
    pub(super) fn ask_lane(
        &mut self,
        slot: Option<Slot>,
        command: &[u8],
        whom: Whom,
        deadline: Instant,
        now: Instant,
    ) -> bool {
        let lane = slot.and_then(|slot| self.route.lanes.get_mut(&slot));
        let Some(lane) = lane else {
            self.told.push((whom, Err(Unmet::Down)));
            return false;
        };
        let before = self.told.len();
        lane.ask(command, whom, deadline, now, &mut self.told);
        self.told.len() == before
    }

    pub(super) fn lane_event(&mut self, slot: Slot, now: Instant) {
        let access = access_of(&self.plan, &self.route.sentinels, slot);
        if let Some(lane) = self.route.lanes.get_mut(&slot) {
            lane.event(access, &mut self.scratch, now, &mut self.told);
        }
    }

    pub(super) fn flush(&mut self, now: Instant) {
        for lane in self.route.lanes.values_mut() {
            lane.flush(now, &mut self.told);
        }
    }

    pub(super) fn tick_lanes(&mut self, now: Instant) {
        let registry = self.poll.registry();
        for (slot, lane) in &mut self.route.lanes {
            let access = access_of(&self.plan, &self.route.sentinels, *slot);
            if let Some(name) = lane.tick(access, registry, now, &mut self.told) {
                self.resolver.ask(name);
            }
        }
    }

    pub(super) fn resolved(
        &mut self,
        name: &str,
        found: &Result<Vec<IpAddr>, String>,
        now: Instant,
    ) {
        let registry = self.poll.registry();
        for (slot, lane) in &mut self.route.lanes {
            if lane.place().host == name {
                let access = access_of(&self.plan, &self.route.sentinels, *slot);
                lane.resolved(found.clone(), access, registry, now, &mut self.told);
            }
        }
    }

    /// Asks for the order of things when it is due.
    pub(super) fn route_tick(&mut self, now: Instant) {
        if now < self.route.due(now) {
            return;
        }
        self.route.looked = Some(now);
        let deadline = now + LOOK_MAX;
        match self.route.mode.clone() {
            Mode::Standalone => {}
            Mode::Sentinel { master } => {
                let question = ["SENTINEL", "get-master-addr-by-name", &master];
                let command = resp::command(&question.map(str::as_bytes));
                for slot in self.route.sentinels.clone() {
                    self.ask_lane(Some(slot), &command, Whom::Master(slot), deadline, now);
                }
            }
            Mode::Cluster => {
                // Another one each time: one that is cut off from the others must not be the only source.
                let up: Vec<(Slot, Place)> = self
                    .route
                    .lanes()
                    .filter(|(_, lane)| lane.answers())
                    .map(|(slot, lane)| (slot, lane.place().clone()))
                    .collect();
                self.route.turn = self.route.turn.wrapping_add(1);
                if let Some((slot, place)) = up.get(self.route.turn % up.len().max(1)) {
                    let command = resp::command(&[b"CLUSTER", b"SLOTS"]);
                    self.ask_lane(
                        Some(*slot),
                        &command,
                        Whom::Map(place.clone()),
                        deadline,
                        now,
                    );
                }
            }
        }
        if self.route.mode != Mode::Cluster
            && let Some(slot) = self.route.one
        {
            let command = resp::command(&[b"ROLE"]);
            self.ask_lane(Some(slot), &command, Whom::Role(slot), deadline, now);
        }
    }

    pub(super) fn map_told(&mut self, asked: &Place, reply: Result<Reply, Unmet>, now: Instant) {
        let Ok(reply) = reply else {
            return;
        };
        let Some(map) = SlotMap::read(&reply, asked) else {
            if self.may_log(now) {
                log::warn!(
                    "shared cache: server={asked} gives no map of slots: is kms.cluster.mode = cluster right? ({})",
                    reply.error_code().unwrap_or("another answer")
                );
            }
            return;
        };
        self.route.doubted = false;
        if map.0.is_empty() || self.route.map.as_ref() == Some(&map) {
            return;
        }
        let masters: Vec<Place> = map.0.iter().map(|(place, _)| place.clone()).collect();
        log::info!("shared cache: the cluster has {} masters", masters.len());
        self.route.keep_only(&masters, now, &mut self.told);
        self.route.map = Some(map);
    }

    pub(super) fn master_told(
        &mut self,
        sentinel: Slot,
        reply: &Result<Reply, Unmet>,
        now: Instant,
    ) {
        let place = match reply {
            // What it said last counts for a while.
            Err(_) => return,
            Ok(Reply::Array(items)) => match items.as_slice() {
                [host, port] => host.text().zip(port.text()),
                _ => None,
            },
            _ => None,
        };
        let place = place.and_then(|(host, port)| Place::named(host, port.parse().ok()?));
        let Some(place) = place else {
            self.route.votes.remove(&sentinel);
            return;
        };
        self.route.votes.insert(sentinel, (place, now));
        self.route.doubted = false;
        let young = |at: Instant| now.saturating_duration_since(at) < VOTE_LIFE;
        self.route.votes.retain(|_, (_, at)| young(*at));
        let mut counts: BTreeMap<Place, usize> = BTreeMap::new();
        for (place, _) in self.route.votes.values() {
            *counts.entry(place.clone()).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        let present = self.route.one.and_then(|slot| self.route.lanes.get(&slot));
        let present = present.map(|lane| lane.place().clone());
        if present
            .as_ref()
            .is_some_and(|place| counts.get(place) == Some(&most))
        {
            return;
        }
        let Some((master, _)) = counts.into_iter().find(|(_, count)| *count == most) else {
            return;
        };
        log::info!("shared cache: the sentinels name the master {master}");
        self.route
            .keep_only(std::slice::from_ref(&master), now, &mut self.told);
        let route = &mut self.route;
        let mut servers = route
            .lanes
            .iter()
            .filter(|(slot, lane)| *lane.place() == master && !route.sentinels.contains(slot));
        let slot = servers.next().map(|(slot, _)| *slot);
        route.one = slot;
    }

    pub(super) fn role_told(&mut self, slot: Slot, reply: Result<Reply, Unmet>, now: Instant) {
        let Ok(reply) = reply else {
            return;
        };
        let role = reply.items().first().and_then(Reply::text);
        if role == Some("slave")
            && let Some(lane) = self.route.lanes.get_mut(&slot)
        {
            lane.fall(
                "it is a replica, not the master".to_owned(),
                now,
                &mut self.told,
            );
            self.route.looked = None;
        }
    }

    /// What an answer says about the order of things.
    pub(super) fn heed(&mut self, reply: &Reply, now: Instant) {
        match reply.error_code() {
            Some("MOVED" | "ASK" | "CLUSTERDOWN" | "TRYAGAIN" | "MASTERDOWN" | "READONLY") => {
                self.route.doubted = true;
            }
            Some(code) if self.may_log(now) => {
                let Reply::Error(text) = reply else { return };
                let clean: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
                log::warn!("shared cache: the engine refuses a command: {code} ({clean})");
            }
            _ => {}
        }
    }
}
