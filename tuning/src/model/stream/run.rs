//! One run of the cache on a stream: who asks when, and what is counted.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use kms::cache::{Cache, CacheConfig, Family};
use kms::secret::{Arena, SecretKey};

use super::super::bounded::{self, Policy};
use super::super::lives::Flows;
use super::super::popularity::{Group, Popularity};
use super::{Random, Stream, digest};

/// How often the node's housekeeping looks at the cache.
const TICK_S: f64 = 0.1;
/// How often the cache is turned over before anything is counted.
const ROUNDS: f64 = 10.0;

/// Keys that are run, and how many they stand for.
#[allow(clippy::struct_field_names)] // `_run`: as it is run, not as it is
pub(super) struct Part {
    /// Number of the first of them.
    first: u64,
    run: u64,
    /// Keys of the site for each that is run.
    stands_for: f64,
    /// Requests a second of one, as it is; and as it is run.
    rate: f64,
    rate_run: f64,
    /// Sum of `rate_run` up to and with this part.
    until: f64,
    asked: u64,
    hits: u64,
    joins: u64,
    misses: u64,
    ahead: u64,
}

#[allow(clippy::struct_field_names)] // `_run`: as it is run, not as it is
pub(super) struct Run<'s> {
    stream: &'s Stream,
    cache: Cache,
    plaintext: SecretKey,
    start: Instant,
    now_s: f64,
    ticked_s: f64,
    parts: Vec<Part>,
    rate_run: f64,
    /// Of cold keys.
    cold: Part,
    entries_run: f64,
    /// Fetches under way: when they are done, and of which key.
    fetches: VecDeque<(f64, u64)>,
    fetching: HashSet<u64>,
    /// Cold keys to be read again: when, which, how often still.
    again: VecDeque<(f64, u64, u32)>,
    random: Random,
    measured_from_s: f64,
    /// About the share of the requests as run that miss.
    missing: f64,
}

impl<'s> Run<'s> {
    pub(super) fn new(
        stream: &'s Stream,
        popularity: &Popularity,
        arena: &'static Arena,
        plaintext: SecretKey,
    ) -> Self {
        let single = popularity.groups().iter().filter(|group| group.keys <= 1.0);
        let head = single
            .map(|group| group.keys)
            .sum::<f64>()
            .min(stream.entries / 2.0);
        let thinned = ((stream.entries - head) / stream.entries_run).max(1.0);
        let (parts, rate_run) = parts(stream, popularity, head, thinned);
        let first_cold = parts.last().map_or(0, |part| part.first + part.run);
        let entries_run = (head + (stream.entries - head) / thinned).max(1.0).round();
        let hit = bounded::hit_ratio(
            Policy::Clock,
            popularity,
            stream.rate,
            stream.entries,
            stream.ttl_s,
        );
        let fetches = stream.rate * (1.0 - hit) / thinned;
        let missing = (fetches / rate_run).clamp(0.01, 1.0);
        let start = Instant::now();
        let config = CacheConfig {
            entries_max: to_whole(entries_run),
            ttl_s: u32::try_from(to_whole(stream.ttl_s)).unwrap_or(u32::MAX),
            stale_max_s: 0,
        };
        Self {
            stream,
            cache: Cache::new(&config, arena, start),
            plaintext,
            start,
            now_s: 0.0,
            ticked_s: 0.0,
            parts,
            rate_run,
            cold: Part {
                rate: stream.cold_rate,
                rate_run: stream.cold_rate / thinned,
                ..Part::new(first_cold, 0, thinned)
            },
            entries_run,
            fetches: VecDeque::new(),
            fetching: HashSet::new(),
            again: VecDeque::new(),
            random: Random(stream.seed),
            measured_from_s: 0.0,
            missing,
        }
    }

    /// Puts the most popular keys in, at random moments of one life, so that they do not end together.
    pub(super) fn fill(&mut self) {
        let mut chosen = Vec::new();
        let mut left = to_whole(self.entries_run) as u64;
        for part in &self.parts {
            let taken = part.run.min(left);
            chosen.extend(part.first..part.first + taken);
            left -= taken;
        }
        let ttl_s = self.stream.ttl_s;
        let mut at: Vec<(f64, u64)> = Vec::with_capacity(chosen.len());
        for key in chosen {
            at.push((self.random.unit() * ttl_s, key));
        }
        at.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (at_s, key) in at {
            self.now_s = at_s;
            self.insert(key);
        }
        self.now_s = ttl_s;
        self.tick();
    }

    pub(super) fn requests_to_warm(&self) -> u64 {
        let all = self.rate_run + self.cold.rate_run;
        let lives = self.stream.ttl_s * all;
        let rounds = ROUNDS * self.entries_run / self.missing;
        (to_whole(lives.max(rounds)) as u64).min(self.stream.requests_max / 2)
    }

    pub(super) fn go(&mut self, requests: u64) {
        let all = self.rate_run + self.cold.rate_run;
        for _ in 0..requests {
            self.now_s += self.random.exponential() / all;
            self.finish_fetches();
            if self.now_s - self.ticked_s >= TICK_S {
                self.tick();
            }
            let point = self.random.unit() * all;
            if point < self.rate_run {
                let at = self
                    .parts
                    .partition_point(|part| part.until <= point)
                    .min(self.parts.len() - 1);
                let within = self.random.bits() % self.parts[at].run;
                let key = self.parts[at].first + within;
                self.ask(key, Some(at));
            } else {
                let key = self.cold_key();
                self.ask(key, None);
            }
        }
    }

    /// One that is due to be read again, or a new one.
    fn cold_key(&mut self) -> u64 {
        let now_s = self.now_s;
        let (key, left) =
            if let Some((_, key, left)) = self.again.pop_front_if(|(at_s, ..)| *at_s <= now_s) {
                (key, left - 1)
            } else {
                self.cold.run += 1;
                let fresh = self.cold.first + self.cold.run;
                (fresh, self.stream.cold_reads.saturating_sub(1))
            };
        if left > 0 {
            self.again
                .push_back((self.now_s + self.stream.cold_gap_s, key, left));
        }
        key
    }

    fn ask(&mut self, key: u64, part: Option<usize>) {
        let now = self.instant(self.now_s);
        let found = self.cache.lookup_aged(&digest(key), now, |_| ());
        let is_fetched = self.fetching.contains(&key);
        let part = match part {
            Some(at) => &mut self.parts[at],
            None => &mut self.cold,
        };
        part.asked += 1;
        match found {
            Some(((), age)) => {
                part.hits += 1;
                if age.refresh && !is_fetched {
                    part.ahead += 1;
                    self.fetch(key);
                }
            }
            None if is_fetched => part.joins += 1,
            None => {
                part.misses += 1;
                self.fetch(key);
            }
        }
    }

    fn fetch(&mut self, key: u64) {
        self.fetching.insert(key);
        self.fetches
            .push_back((self.now_s + self.stream.fetch_s, key));
    }

    fn finish_fetches(&mut self) {
        let now_s = self.now_s;
        while let Some((done_s, key)) = self
            .fetches
            .front()
            .copied()
            .filter(|(at_s, _)| *at_s <= now_s)
        {
            self.fetches.pop_front();
            self.fetching.remove(&key);
            self.now_s = done_s;
            self.insert(key);
        }
        self.now_s = now_s;
    }

    fn insert(&mut self, key: u64) {
        let (now, family) = (self.instant(self.now_s), Family(0));
        let epoch = self.cache.begin_fill(family);
        self.cache
            .insert(digest(key), family, &self.plaintext, epoch, now);
    }

    fn tick(&mut self) {
        self.ticked_s = self.now_s;
        while self.cache.tick(self.instant(self.now_s)) {}
    }

    fn instant(&self, at_s: f64) -> Instant {
        self.start + Duration::try_from_secs_f64(at_s).unwrap_or_default()
    }

    pub(super) fn forget_counts(&mut self) {
        self.measured_from_s = self.now_s;
        for part in self.parts.iter_mut().chain([&mut self.cold]) {
            (part.asked, part.hits, part.joins, part.misses, part.ahead) = (0, 0, 0, 0, 0);
        }
    }

    /// Each part's shares, at the rate that it has in the site.
    pub(super) fn flows(&self) -> Flows {
        let mut all = Flows::default();
        let measured_s = self.now_s - self.measured_from_s;
        for part in &self.parts {
            let keys = part.run as f64 * part.stands_for;
            let rate = part.rate * keys;
            let asked = part.asked as f64;
            if asked <= 0.0 {
                all.misses += rate;
                continue;
            }
            // Misses and fetches go by time: a key that is asked for less often than it is has as many.
            let by_time = part.stands_for / measured_s;
            let is_often = part.rate > part.rate_run;
            let misses = if is_often {
                part.misses as f64 * by_time
            } else {
                rate * part.misses as f64 / asked
            };
            let joins = rate * part.joins as f64 / asked;
            all.misses += misses;
            all.joins += joins;
            all.hits += (rate - misses - joins).max(0.0);
            all.ahead += part.ahead as f64 * by_time;
        }
        let cold = &self.cold;
        let asked = (cold.asked as f64).max(1.0);
        all.hits += cold.rate * cold.hits as f64 / asked;
        all.joins += cold.rate * cold.joins as f64 / asked;
        all.misses += cold.rate * cold.misses as f64 / asked;
        all.held = self.cache.len() as f64 / self.entries_run * self.stream.entries;
        all
    }
}

impl Part {
    fn new(first: u64, run: u64, stands_for: f64) -> Self {
        Self {
            first,
            run,
            stands_for,
            rate: 0.0,
            rate_run: 0.0,
            until: 0.0,
            asked: 0,
            hits: 0,
            joins: 0,
            misses: 0,
            ahead: 0,
        }
    }
}

/// Groups made into whole numbers of keys, those behind the `head` thinned.
fn parts(stream: &Stream, popularity: &Popularity, head: f64, thinned: f64) -> (Vec<Part>, f64) {
    let rate_max = stream.rate_max(popularity);
    let (mut parts, mut first, mut until, mut met) = (Vec::new(), 0, 0.0, 0.0);
    let mut open = Group {
        keys: 0.0,
        share: 0.0,
    };
    for group in popularity.groups() {
        let factor = if met < head { 1.0 } else { thinned };
        met += group.keys;
        // `share` is that of all keys together while the part is open.
        open.share += group.keys * group.share;
        open.keys += group.keys;
        let run = (open.keys / factor + 1e-9).floor();
        if run < 1.0 {
            continue;
        }
        let rate = stream.rate * open.share / open.keys;
        let rate_run = rate.min(rate_max);
        until += rate_run * run;
        parts.push(Part {
            rate,
            rate_run,
            until,
            ..Part::new(first, to_whole(run) as u64, open.keys / run)
        });
        first += to_whole(run) as u64;
        open = Group {
            keys: 0.0,
            share: 0.0,
        };
    }
    (parts, until)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates, as it should
fn to_whole(value: f64) -> usize {
    value.round() as usize
}
