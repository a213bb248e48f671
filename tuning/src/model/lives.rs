//! A cache with room for all that lives: entries end by their time alone.
//!
//! The server's entries live L, spread evenly over the last tenth below the TTL, from the fetch on; a hit in
//! the last tenth w of the TTL has the entry fetched anew behind the answer. For requests of one key that
//! come at random (Poisson, rate l) the first request after L - w, whenever it comes, begins the next life:
//! within w it is a hit and the fetch goes ahead, later it is a miss. So a cycle lasts L - w + 1/l + D on
//! average (D: the time of a fetch) and has 1 + l (L - w + D) requests, of which exactly one asks the HSM:
//!
//! - fetches  l / (1 + l (L - w + D))
//! - of which misses  e^(-l w) of them; the rest are fetched ahead
//! - joined  l D for each miss
//!
//! Without fetching ahead w is 0: the well-known TTL formula. Source: renewal argument. Error: held by
//! `tests/des_cache.rs`. Domain: random requests, TTL of 10 s or more (the cache counts tenths of a second),
//! the cache never full, capacity to spare for fetches ahead.

use crate::trace::{Error, Formula, Held};

use super::popularity::Popularity;

/// [`Flows::hit_ratio`].
pub static HIT_RATIO: Formula = Formula {
    text: "1 - sum of p (e^(-l w) (1 + l D)) / (1 + l (L - w + D)) over the keys; L 0.9 to 1 TTL, w 0.1 TTL",
    source: "renewal argument on the server's lives and fetches ahead (tuning/src/model/lives.rs)",
    error: Error::Absolute(0.005),
    domain: "random requests, TTL from 10 s, room for all that lives, capacity to spare for fetches ahead",
    held: Held::Test("des_cache"),
};
/// [`Flows::fetches`].
pub static FETCHES: Formula = Formula {
    text: "sum of l / (1 + l (L - w + D)) over the keys; cold keys once a life",
    source: "renewal argument on the server's lives and fetches ahead (tuning/src/model/lives.rs)",
    error: Error::Relative(0.02),
    domain: "random requests, TTL from 10 s, room for all that lives, capacity to spare for fetches ahead",
    held: Held::Test("des_cache"),
};
/// [`Flows::misses`].
pub static MISSES: Formula = Formula {
    text: "sum of l e^(-l w) / (1 + l (L - w + D)) over the keys; cold keys once a life",
    source: "renewal argument on the server's lives and fetches ahead (tuning/src/model/lives.rs)",
    error: Error::Relative(0.03),
    domain: "random requests, TTL from 10 s, room for all that lives, capacity to spare for fetches ahead",
    held: Held::Test("des_cache"),
};
/// [`Flows::joins`] of all.
pub static JOINS: Formula = Formula {
    text: "misses x l D of each key / requests",
    source: "requests that come while a fetch is under way",
    error: Error::Relative(0.2),
    domain: "random requests",
    held: Held::Test("des_cache"),
};
/// [`Flows::held`].
pub static HELD: Formula = Formula {
    text: "sum of the shares of time that each key is held",
    source: "random requests find what random moments do (PASTA)",
    error: Error::Relative(0.02),
    domain: "random requests, TTL from 10 s, room for all that lives",
    held: Held::Test("des_cache"),
};

/// Part of the TTL by which lives are spread.
const SPREAD: f64 = 0.1;
/// Part of the TTL, at the end, in which a hit fetches anew.
const LAST: f64 = 0.1;
/// The cache counts tenths of a second and rounds down: lives are shorter by half of one.
const GRAIN_S: f64 = 0.05;
/// An entry whose life is over is wiped at the end of the second in which it ended, by a tick every tenth.
const LINGERS_S: f64 = 0.55;
/// Gauss and Legendre's three points on [0, 1] and their weights: the mean over the spread of lives.
const POINTS: [(f64, f64); 3] = [
    (0.112_701_665_379_258_3, 5.0 / 18.0),
    (0.5, 8.0 / 18.0),
    (0.887_298_334_620_741_7, 5.0 / 18.0),
];

/// How entries live and how they are fetched.
#[derive(Clone, Copy, Debug)]
pub struct Lives {
    /// Time to live.
    pub ttl_s: f64,
    /// Time of one fetch.
    pub fetch_s: f64,
    /// Share of fetches that the HSM refuses; the entry is then not there.
    pub refused: f64,
    /// Whether entries in use are fetched ahead of their end.
    pub ahead: bool,
}

/// What becomes of requests, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flows {
    /// Served from the cache.
    pub hits: f64,
    /// Waited for another's fetch.
    pub joins: f64,
    /// Asked the HSM and waited.
    pub misses: f64,
    /// Fetches ahead, which nobody waits for.
    pub ahead: f64,
    /// Entries held, on average.
    pub held: f64,
}

impl Flows {
    /// All unwraps.
    pub fn requests(&self) -> f64 {
        self.hits + self.joins + self.misses
    }

    /// Share served from the cache.
    pub fn hit_ratio(&self) -> f64 {
        self.hits / self.requests().max(f64::MIN_POSITIVE)
    }

    /// What the HSM is asked for.
    pub fn fetches(&self) -> f64 {
        self.misses + self.ahead
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.combine(other, 1.0)
    }

    /// With `times` as much of the other.
    #[must_use]
    pub fn combine(&self, other: &Self, times: f64) -> Self {
        Self {
            hits: self.hits + times * other.hits,
            joins: self.joins + times * other.joins,
            misses: self.misses + times * other.misses,
            ahead: self.ahead + times * other.ahead,
            held: self.held + times * other.held,
        }
    }
}

impl Lives {
    /// One key that is asked for `rate` times a second.
    pub fn of_key(&self, rate: f64) -> Flows {
        let mut all = Flows::default();
        for (point, weight) in POINTS {
            let life = (self.ttl_s * (1.0 - SPREAD * point) - GRAIN_S).max(0.0);
            all = all.combine(&self.of_life(rate, life), weight);
        }
        all
    }

    fn of_life(&self, rate: f64, life: f64) -> Flows {
        let last = if self.ahead {
            // Less than a tenth is left, counted in whole tenths of a second.
            (self.ttl_s * LAST - 2.0 * GRAIN_S).clamp(0.0, life)
        } else {
            0.0
        };
        let kept = life - last;
        // A refused fetch is asked again by the next request; one ahead by a later hit.
        let tries = 1.0 / (1.0 - self.refused);
        let absent = (-rate * last).exp();
        let cycle = 1.0
            + rate * (kept + self.fetch_s)
            + absent * (tries - 1.0) * (1.0 + rate * self.fetch_s);
        let begun = rate / cycle;
        let misses = begun * absent * tries;
        let joins = misses * rate * self.fetch_s;
        Flows {
            hits: (rate - misses - joins).max(0.0),
            joins,
            misses,
            ahead: begun * (1.0 - absent) * tries,
            // A random request finds what a random moment does; those that ended linger.
            held: if rate > 0.0 {
                let absent_s = 1.0 / rate;
                let lingers_s = absent_s * (1.0 - (-LINGERS_S / absent_s).exp());
                ((rate - misses - joins) / rate + begun * absent * lingers_s).max(0.0)
            } else {
                0.0
            },
        }
    }

    /// All keys together, `rate` requests a second.
    pub fn of(&self, popularity: &Popularity, rate: f64) -> Flows {
        let mut all = Flows::default();
        for group in popularity.groups() {
            all = all.combine(&self.of_key(rate * group.share), group.keys);
        }
        all
    }

    /// Keys that come up once and are asked for `reads` times, `gap_s` apart; `rate` requests a second.
    pub fn of_cold(&self, rate: f64, reads: f64, gap_s: f64) -> Flows {
        let fresh = rate / reads.max(1.0);
        let life = self.ttl_s * (1.0 - SPREAD / 2.0);
        // Reads within the life that the first began are hits.
        let lives = 1.0 + ((reads - 1.0) * gap_s / life).floor();
        let per_key = if gap_s < life { lives } else { reads };
        let misses = fresh * per_key;
        Flows {
            hits: rate - misses,
            joins: 0.0,
            misses,
            ahead: 0.0,
            held: misses * (life + LINGERS_S),
        }
    }
}
