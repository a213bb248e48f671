//! What is asked next, and when: schedules, keys and mixes put together, several of them side by side.
//!
//! Sans-IO. Must never be true: a request that is planned earlier than one given before; an allocation for
//! a single request (batches reuse their lists). Called by the event loop ([`super::engine`]).

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::keys::Keys;
use super::mix::{KINDS_MAX, Kind, Mix};
use super::schedule::Schedule;

/// Any connection.
pub const ANYBODY: u32 = 0;

/// The data keys of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Items {
    /// This one.
    One(u32),
    /// Those of [`Feed::items`].
    Many(u32),
}

/// One request to send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shot {
    /// When, in nanoseconds since the start.
    pub at_ns: u64,
    /// Place in [`Feed::kinds`].
    pub kind: u8,
    /// Whose connection, from 1; [`ANYBODY`]: any of the common ones.
    pub device: u32,
    /// What for.
    pub items: Items,
}

/// What is asked, apart from when.
#[derive(Clone, Debug)]
pub struct Supply {
    keys: Keys,
    mix: Mix,
    random: SmallRng,
}

impl Supply {
    /// Keys and operations by `seed`.
    pub fn new(keys: Keys, mix: Mix, seed: u64) -> Self {
        Self {
            keys,
            mix,
            random: SmallRng::seed_from_u64(seed),
        }
    }
}

/// One request of a trace or a storm.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry {
    /// When, in nanoseconds since the start.
    pub at_ns: u64,
    /// Place of its first key in [`Recorded::keys`].
    pub first: u32,
    /// How many keys.
    pub count: u16,
    /// Place in [`Recorded::kinds`].
    pub kind: u8,
    /// Whose connection, from 1; [`ANYBODY`]: any.
    pub device: u32,
}

/// Requests that are known beforehand, in the order of their times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// Of requests.
    pub entries: Vec<Entry>,
    /// Data keys of all entries.
    pub keys: Vec<u32>,
    /// Kinds of request that occur.
    pub kinds: Vec<Kind>,
    /// Devices that occur, numbered from 1.
    pub devices: u32,
}

enum Pace {
    Scheduled(Supply, Box<Schedule>),
    Recorded { list: Recorded, next: usize },
}

struct Source {
    pace: Pace,
    /// Starts so much after the run.
    offset_ns: u64,
    /// Time of the next request.
    next_ns: Option<u64>,
    /// Its kinds as places in the feed's.
    kinds: Vec<u8>,
    /// Devices of the sources before it.
    devices_before: u32,
}

impl Source {
    fn advance(&mut self) {
        let next = match &mut self.pace {
            Pace::Scheduled(_, schedule) => schedule.next(),
            Pace::Recorded { list, next } => list.entries.get(*next).map(|entry| entry.at_ns),
        };
        self.next_ns = next.map(|ns| ns + self.offset_ns);
    }
}

/// All sources of a run.
#[derive(Default)]
pub struct Feed {
    sources: Vec<Source>,
    /// Asked when the last answer came: a closed loop.
    unpaced: Option<Supply>,
    kinds: Vec<Kind>,
    lists: Lists,
    devices: u32,
}

/// Keys of batches, in lists that are used again.
#[derive(Default)]
struct Lists {
    lists: Vec<Vec<u32>>,
    free: Vec<u32>,
}

impl Feed {
    /// One whose requests are not planned ahead: [`Feed::now`].
    pub fn unpaced(supply: Supply) -> Self {
        let mut feed = Self::default();
        // A mix has no more kinds than a feed.
        let _ = feed.kinds_of(supply.mix.kinds());
        feed.unpaced = Some(supply);
        feed
    }

    /// Adds requests on a schedule that starts after `offset_ns`.
    pub fn add_scheduled(
        &mut self,
        supply: Supply,
        schedule: Schedule,
        offset_ns: u64,
    ) -> Result<(), String> {
        let kinds = self.kinds_of(supply.mix.kinds())?;
        self.add(
            Pace::Scheduled(supply, Box::new(schedule)),
            kinds,
            offset_ns,
        );
        Ok(())
    }

    /// Adds requests known beforehand, from `offset_ns` on; their devices have connections of their own.
    pub fn add_recorded(&mut self, list: Recorded, offset_ns: u64) -> Result<(), String> {
        let kinds = self.kinds_of(list.kinds.iter().copied())?;
        let devices = list.devices;
        self.add(Pace::Recorded { list, next: 0 }, kinds, offset_ns);
        self.devices += devices;
        Ok(())
    }

    fn add(&mut self, pace: Pace, kinds: Vec<u8>, offset_ns: u64) {
        let mut source = Source {
            pace,
            offset_ns,
            next_ns: None,
            kinds,
            devices_before: self.devices,
        };
        source.advance();
        self.sources.push(source);
    }

    fn kinds_of(&mut self, kinds: impl Iterator<Item = Kind>) -> Result<Vec<u8>, String> {
        let mut places = Vec::new();
        for kind in kinds {
            let place = self
                .kinds
                .iter()
                .position(|known| *known == kind)
                .unwrap_or(self.kinds.len());
            if place == self.kinds.len() {
                self.kinds.push(kind);
            }
            let small = u8::try_from(place)
                .ok()
                .filter(|place| usize::from(*place) < KINDS_MAX);
            places.push(small.ok_or_else(|| format!("more than {KINDS_MAX} kinds of request"))?);
        }
        Ok(places)
    }

    /// Kinds of request that may come.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// Devices with connections of their own.
    pub fn devices(&self) -> u32 {
        self.devices
    }

    /// When the next request is planned; none when the last one was given.
    pub fn peek_ns(&self) -> Option<u64> {
        self.sources
            .iter()
            .filter_map(|source| source.next_ns)
            .min()
    }

    /// The next planned request.
    pub fn next_shot(&mut self) -> Option<Shot> {
        let planned = self
            .sources
            .iter_mut()
            .filter(|source| source.next_ns.is_some());
        let source = planned.min_by_key(|source| source.next_ns)?;
        let at_ns = source.next_ns?;
        let shot = match &mut source.pace {
            Pace::Scheduled(supply, _) => self.lists.draw(&self.kinds, supply, at_ns),
            Pace::Recorded { list, next } => {
                let entry = *list.entries.get(*next)?;
                *next += 1;
                let first = entry.first as usize;
                let keys = list
                    .keys
                    .get(first..first + usize::from(entry.count))
                    .unwrap_or_default();
                let items = match keys {
                    [only] => Items::One(*only),
                    many => self.lists.take(many.iter().copied()),
                };
                let device = match entry.device {
                    ANYBODY => ANYBODY,
                    own => source.devices_before + own,
                };
                Shot {
                    at_ns,
                    kind: source
                        .kinds
                        .get(usize::from(entry.kind))
                        .copied()
                        .unwrap_or(0),
                    device,
                    items,
                }
            }
        };
        source.advance();
        Some(shot)
    }

    /// In a closed loop: what to ask now.
    pub fn now(&mut self, now_ns: u64) -> Option<Shot> {
        let supply = self.unpaced.as_mut()?;
        Some(self.lists.draw(&self.kinds, supply, now_ns))
    }

    /// The data keys of a request.
    pub fn items<'a>(&'a self, items: &'a Items) -> &'a [u32] {
        match items {
            Items::One(only) => std::slice::from_ref(only),
            Items::Many(list) => self
                .lists
                .lists
                .get(*list as usize)
                .map_or(&[], Vec::as_slice),
        }
    }

    /// A request is over: its list may be used again.
    pub fn release(&mut self, items: Items) {
        if let Items::Many(list) = items {
            self.lists.free.push(list);
        }
    }

    /// How often a scan began anew.
    pub fn rounds(&self) -> u64 {
        let supplies = self.sources.iter().filter_map(|source| match &source.pace {
            Pace::Scheduled(supply, _) => Some(supply),
            Pace::Recorded { .. } => None,
        });
        supplies
            .chain(&self.unpaced)
            .map(|supply| supply.keys.rounds())
            .max()
            .unwrap_or(0)
    }
}

impl Lists {
    fn draw(&mut self, kinds: &[Kind], supply: &mut Supply, at_ns: u64) -> Shot {
        let kind = supply.mix.pick(&mut supply.random);
        let place = kinds.iter().position(|known| *known == kind).unwrap_or(0);
        let items = match kind.items {
            1 => Items::One(supply.keys.next_key()),
            many => {
                let keys = &mut supply.keys;
                self.take((0..many).map(|_| keys.next_key()))
            }
        };
        Shot {
            at_ns,
            kind: u8::try_from(place).unwrap_or(0),
            device: ANYBODY,
            items,
        }
    }

    fn take(&mut self, keys: impl Iterator<Item = u32>) -> Items {
        let place = self.free.pop().unwrap_or_else(|| {
            self.lists.push(Vec::new());
            u32::try_from(self.lists.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(list) = self.lists.get_mut(place as usize) {
            list.clear();
            list.extend(keys);
        }
        Items::Many(place)
    }
}

#[cfg(test)]
#[path = "source/tests.rs"]
mod tests;
