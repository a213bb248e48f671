//! The server's own cache on a made-up stream of requests: for what has no formula.
//!
//! SIEVE with a spared tenth, lives, fetching ahead: all of it is [`kms::cache`], to which time is an
//! argument; here is only who asks when. A large cache is run at a smaller scale: the less popular keys and
//! the entries are thinned alike, and keys that are hit in every round of the eviction hand anyway are
//! asked for less often. Error: held by `tests/des_cache.rs`. Domain: independent random requests.
//!
//! Must never be true: a copy of the cache's rules; a run without a bound. All entries share one
//! plaintext, so a run locks some pages whatever the number of entries.

mod run;

use std::fmt;
use std::sync::OnceLock;

use kms::cache::Digest;
use kms::secret::{Arena, ArenaPlan, SecretKey};

use super::bounded::{self, Policy};
use super::lives::Flows;
use crate::trace::{Error, Formula, Held};

use super::popularity::Popularity;
use run::Run;

/// [`Flows::hit_ratio`] of [`Stream::run`].
pub static HIT_RATIO: Formula = Formula {
    text: "the server's cache code, run on a made-up stream",
    source: "src/cache itself (SIEVE that spares the newest tenth, lives, fetches ahead)",
    error: Error::Absolute(0.015),
    domain: "independent random requests",
    held: Held::Test("des_cache"),
};
/// [`Flows::fetches`] and [`Flows::misses`] of it.
pub static FETCHES: Formula = Formula {
    text: "the server's cache code, run on a made-up stream",
    source: "src/cache itself (SIEVE that spares the newest tenth, lives, fetches ahead)",
    error: Error::Relative(0.04),
    domain: "independent random requests",
    held: Held::Test("des_cache"),
};
/// [`Flows::held`] of it.
pub static HELD: Formula = Formula {
    text: "all there is room for",
    source: "the cache is full",
    error: Error::Relative(0.02),
    domain: "independent random requests",
    held: Held::Test("des_cache"),
};

/// A key that is asked for so often before the hand may come, or in the part of its life that counts, is there.
const OFTEN: f64 = 12.0;
/// Part of the entries that the hand spares.
const YOUNG: f64 = 0.1;
/// Part of a life in which it is fetched anew.
const LAST: f64 = 0.1;

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Requests a second, those for cold keys not counted.
    pub rate: f64,
    /// Requests a second for keys that come up once.
    pub cold_rate: f64,
    /// How often each of these is asked for.
    pub cold_reads: u32,
    /// Seconds between.
    pub cold_gap_s: f64,
    /// Entries of the cache.
    pub entries: f64,
    /// Time to live; whole seconds.
    pub ttl_s: f64,
    /// Time of a fetch.
    pub fetch_s: f64,
    /// Entries that are really run, about.
    pub entries_run: f64,
    /// Requests that are really run at most, the warm-up included.
    pub requests_max: u64,
    /// Of the random numbers.
    pub seed: u64,
}

/// Why nothing could be run.
#[derive(Debug)]
pub struct NoMemory(String);

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the cache cannot be run here: {}", self.0)
    }
}

impl std::error::Error for NoMemory {}

/// splitmix64: seeded, and the same on every machine.
pub struct Random(pub u64);

impl Random {
    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }
}

/// The digest of a key by its number: uniform, as the server's are.
pub fn digest(key: u64) -> Digest {
    let mut random = Random(key ^ 0x5eed_0000_0000);
    Digest((u128::from(random.bits()) << 64 | u128::from(random.bits())).to_le_bytes())
}

/// One plaintext, for all entries of all runs.
pub fn plaintext() -> Result<(&'static Arena, SecretKey), NoMemory> {
    static ARENA: OnceLock<Result<&'static Arena, String>> = OnceLock::new();
    let plan = ArenaPlan {
        key_bytes: 4096,
        large_count: 1,
        large_bytes: 4096,
        buffer_bytes: 4096,
        mode: None,
    };
    let reserve = || Arena::reserve(&plan).map_err(|error| error.to_string());
    let arena = ARENA.get_or_init(reserve).clone().map_err(NoMemory)?;
    let key = arena
        .store(&[0; 32])
        .map_err(|error| NoMemory(format!("{error:?}")))?;
    Ok((arena, key))
}

impl Stream {
    /// Runs it: what becomes of requests, a second.
    pub fn run(&self, popularity: &Popularity) -> Result<Flows, NoMemory> {
        let (arena, plaintext) = plaintext()?;
        let mut run = Run::new(self, popularity, arena, plaintext);
        run.fill();
        // A life and a few rounds of evictions make it forget how it was filled.
        let warm = run.requests_to_warm();
        let measured = (self.requests_max - warm).min(warm.max(self.requests_max / 4));
        run.go(warm);
        run.forget_counts();
        run.go(measured);
        Ok(run.flows())
    }

    /// How often a key is asked for at most, without a change in what becomes of it.
    fn rate_max(&self, popularity: &Popularity) -> f64 {
        let round = bounded::characteristic_s(
            Policy::Clock,
            popularity,
            self.rate,
            self.entries,
            self.ttl_s,
        );
        // The hand spares the newest tenth only: it may come to a new entry in a tenth of its round.
        OFTEN / (round * YOUNG).min(self.ttl_s * LAST)
    }
}
