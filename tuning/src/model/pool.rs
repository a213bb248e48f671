//! The HSM connections of one node: each takes all that waits, up to a message's worth, when its last answer is there.
//!
//! A message of n items takes a J + b n. Two numbers depend on each other and are found together: how many
//! items a message has, and how likely it is that all connections are busy. As the paper machine would have it:
//!
//! - x = lambda S / c, A = lambda S, S = a + b n
//! - all busy: A^c/c! (1 + x) / (sum over j < c of A^j/j! + A^c/c! (1 + x))
//! - n = min(B, 1 / (1 - busy x / (1 + x)))
//!
//! A job that finds all busy waits for the first of c residual times, then rides with what came meanwhile.
//! When full messages leave jobs behind they wait for whole messages more, in a queue of messages of B
//! items, as often as more come between two messages than one holds. Source: fixed point of the greedy
//! batch server (this project); Erlang. Error: held by `tests/des_pool.rs`. Domain: independent random jobs, up to
//! 0.9 of the capacity, deadlines not reached.

use crate::trace::{Error, Formula, Held};

use super::distribution::{Message, normal_above, quantile};

/// [`Served::capacity`].
pub static CAPACITY: Formula = Formula {
    text: "c B / (mean message + b B)",
    source: "full messages on all connections",
    error: Error::Relative(0.02),
    domain: "connections that the HSM serves at the same time",
    held: Held::Test("des_pool"),
};
/// [`Served::load`].
pub static LOAD: Formula = Formula::arithmetic("jobs/s / capacity");
/// [`Served::batch`].
pub static BATCH: Formula = Formula {
    text: "min(B, 1 / (1 - busy x / (1 + x))), x = lambda S / c, S = mean message + b n",
    source: "fixed point of a greedy batch server",
    error: Error::Relative(0.10),
    domain: "load up to 0.9 of the capacity",
    held: Held::Test("des_pool"),
};
/// [`Served::busy`].
pub static BUSY: Formula = Formula {
    text: "A^c/c! (1 + x) / (sum over j < c of A^j/j! + A^c/c! (1 + x)), A = lambda S, x = A / c",
    source: "Erlang, with a queue that is emptied each time",
    error: Error::Relative(0.11),
    domain: "load up to 0.9 of the capacity; it over-states by up to 0.05 where keys are fetched ahead, which leaves a connection free",
    held: Held::Test("des_pool"),
};
/// [`Times::quantile_s`] of the median.
pub static P50: Formula = Formula {
    text: "median of wait + message + b n: the wait is the least of c residual times, n what came meanwhile",
    source: "greedy batch server (tuning/src/model/pool.rs)",
    error: Error::Relative(0.10),
    domain: "load up to 0.7 of the capacity; up to 0.9 within 25 %",
    held: Held::Test("des_pool"),
};
/// [`Times::quantile_s`] of 99 %.
pub static P99: Formula = Formula {
    text: "99 % of wait + message + b n: the wait is the least of c residual times, n what came meanwhile",
    source: "greedy batch server (tuning/src/model/pool.rs)",
    error: Error::Relative(0.14),
    domain: "load up to 0.7 of the capacity; up to 0.9 within 25 %",
    held: Held::Test("des_pool"),
};
/// [`Times::quantile_s`] of 99.9 %.
pub static P999: Formula = Formula {
    text: "99.9 % of wait + message + b n: the wait is the least of c residual times, n what came meanwhile",
    source: "greedy batch server (tuning/src/model/pool.rs)",
    error: Error::Relative(0.2),
    domain: "load up to 0.7 of the capacity; up to 0.9 within 50 %",
    held: Held::Test("des_pool"),
};

/// Rounds of the fixed point; it settles in some tens.
const ROUNDS: usize = 200;
/// Gauss and Hermite's three points of a normal distribution, and their weights.
const SPREAD: [(f64, f64); 3] = [
    (-1.732_050_8, 1.0 / 6.0),
    (0.0, 2.0 / 3.0),
    (1.732_050_8, 1.0 / 6.0),
];
/// Points that the time since the last message is spread over.
const OTHERS: u32 = 12;
/// Waits that so few have count for nothing.
const NEGLIGIBLE: f64 = 1e-10;
/// Items that take less than this part of a time, more or less, change it by nothing.
const ALIKE: f64 = 2e-3;
/// Points that a wait is spread over.
const POINTS: usize = 32;

/// Connections and what they speak to.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// Jobs a second.
    pub rate: f64,
    /// Connections, as far as the HSM works on their messages at the same time.
    pub connections: f64,
    /// Items of a message, at most.
    pub batch_max: f64,
    /// The message without its items.
    pub message: Message,
    /// Each item.
    pub item_s: f64,
}

/// What the pool does.
#[derive(Clone, Debug)]
pub struct Served {
    /// Jobs a second that it can do.
    pub capacity: f64,
    /// The rate over that.
    pub load: f64,
    /// Items of a message, on average.
    pub batch: f64,
    /// Share of jobs that find all connections busy.
    pub busy: f64,
    /// Mean time of a message.
    pub message_s: f64,
    pool: Pool,
}

/// How long jobs take.
#[derive(Clone, Debug)]
pub struct Times {
    pool: Pool,
    is_over: bool,
    waits: Vec<Wait>,
}

/// One of equally likely waits, and the items of the message that the job then rides in.
#[derive(Clone, Copy, Debug)]
struct Wait {
    share: f64,
    time_s: f64,
    items: f64,
    /// By how much these differ from time to time.
    spread: f64,
}

impl Pool {
    /// Finds what it does.
    pub fn solve(&self) -> Served {
        let mean_s = self.message.mean_s();
        let full_s = mean_s + self.item_s * self.batch_max;
        let capacity = if full_s > 0.0 {
            self.connections * self.batch_max / full_s
        } else {
            f64::INFINITY
        };
        let load = self.rate / capacity;
        let (mut batch, mut busy) = (1.0_f64, 0.0);
        for _ in 0..ROUNDS {
            let served_s = mean_s + self.item_s * batch;
            let x = self.rate * served_s / self.connections;
            busy = all_busy(self.rate * served_s, self.connections, x);
            let next = (1.0 / (1.0 - busy * x / (1.0 + x)).max(1e-9)).clamp(1.0, self.batch_max);
            batch = 0.5 * (batch + next);
        }
        if self.batch_max < 1.5 {
            busy = erlang_c(self.rate * full_s, self.connections);
        }
        let message_s = mean_s + self.item_s * batch;
        Served {
            capacity,
            load,
            batch,
            busy,
            message_s,
            pool: *self,
        }
    }
}

/// Share of jobs that find all of c connections busy, when the queue behind them is emptied each time.
fn all_busy(offered: f64, connections: f64, x: f64) -> f64 {
    // Terms relative to the last, so that nothing overflows.
    let (mut term, mut below) = (1.0, 0.0);
    let mut at = connections;
    while at >= 1.0 {
        term *= at / offered.max(f64::MIN_POSITIVE);
        if !term.is_finite() {
            return 0.0;
        }
        below += term;
        at -= 1.0;
    }
    (1.0 + x) / (below + 1.0 + x)
}

/// Erlang's C: share that waits for one of `servers` at `offered` erlangs.
pub fn erlang_c(offered: f64, servers: f64) -> f64 {
    if offered >= servers {
        return 1.0;
    }
    let mut blocked = 1.0;
    let mut at = 1.0;
    while at <= servers {
        blocked = offered * blocked / (at + offered * blocked);
        at += 1.0;
    }
    servers * blocked / (servers - offered * (1.0 - blocked))
}

impl Pool {
    /// Share of messages that take longer than what is `left_s` of a time.
    fn exceeds(&self, left_s: f64) -> f64 {
        if left_s < 0.0 {
            1.0
        } else {
            self.message.exceeds(left_s)
        }
    }
}

impl Times {
    /// Share of jobs that take longer than `time_s`, waiting included.
    pub fn exceeds(&self, time_s: f64) -> f64 {
        let of = |wait: &Wait| {
            if wait.share < NEGLIGIBLE {
                return 0.0;
            }
            if wait.spread * self.pool.item_s < ALIKE * time_s {
                let left = time_s - wait.time_s - self.pool.item_s * wait.items;
                return wait.share * self.pool.exceeds(left);
            }
            let less = |(width, weight): &(f64, f64)| {
                let items = (wait.items + width * wait.spread).clamp(1.0, self.pool.batch_max);
                let left = time_s - wait.time_s - self.pool.item_s * items;
                weight * self.pool.exceeds(left)
            };
            wait.share * SPREAD.iter().map(less).sum::<f64>()
        };
        self.waits.iter().map(of).sum()
    }

    /// The time within which that share of jobs is done.
    pub fn quantile_s(&self, share: f64) -> f64 {
        if self.is_over {
            return f64::INFINITY;
        }
        quantile(share, |time_s| self.exceeds(time_s))
    }

    /// Mean.
    pub fn mean_s(&self) -> f64 {
        let wait = |wait: &Wait| wait.share * (wait.time_s + self.pool.item_s * wait.items);
        self.waits.iter().map(wait).sum::<f64>() + self.pool.message.mean_s()
    }
}

impl Served {
    /// How long jobs take.
    pub fn times(&self) -> Times {
        Times {
            pool: self.pool,
            is_over: self.load >= 1.0,
            waits: self.find_waits(),
        }
    }

    fn find_waits(&self) -> Vec<Wait> {
        if self.load >= 1.0 || self.pool.rate <= 0.0 {
            return vec![Wait {
                share: 1.0,
                time_s: 0.0,
                items: 1.0,
                spread: 0.0,
            }];
        }
        let (rate, batch_max) = (self.pool.rate, self.pool.batch_max);
        let mut waits = vec![Wait {
            share: 1.0 - self.busy,
            time_s: 0.0,
            items: 1.0,
            spread: 0.0,
        }];
        if batch_max < 1.5 {
            waits.extend(self.classic_waits());
            return waits;
        }
        let residual = |time_s: f64| self.residual_exceeds(time_s).powf(self.pool.connections);
        let points = POINTS as f64;
        let first: Vec<f64> = (0..POINTS)
            .map(|at| quantile((at as f64 + 0.5) / points, residual))
            .collect();
        let others = self.pool.connections - 1.0;
        let others_s: Vec<f64> = (0..OTHERS)
            .filter(|_| others > 0.0)
            .map(|at| {
                let share = (f64::from(at) + 0.5) / f64::from(OTHERS);
                quantile(share, |time_s| self.residual_exceeds(time_s).powf(others))
            })
            .collect();
        let (behind, behind_s) = self.left_behind();
        for wait_s in first {
            let items = (1.0 + rate * (wait_s + self.since_s(wait_s, &others_s))).min(batch_max);
            let share = self.busy / points;
            waits.push(Wait {
                share: share * (1.0 - behind),
                time_s: wait_s,
                items,
                spread: (items - 1.0).max(0.0).sqrt(),
            });
            if behind > 0.0 {
                waits.extend(exponential(behind_s, 1.0).map(|(part, longer_s)| Wait {
                    share: share * behind * part,
                    time_s: wait_s + longer_s,
                    items: batch_max,
                    spread: 0.0,
                }));
            }
        }
        waits
    }

    /// What is left of messages under way beyond `time_s`, on average, nothing counted where less is.
    fn beyond_s(&self, time_s: f64) -> f64 {
        let items_s = self.pool.item_s * self.batch;
        let message = &self.pool.message;
        if time_s < items_s {
            message.mean_s() + items_s - time_s
        } else {
            message.mean_beyond(time_s - items_s)
        }
    }

    /// Share of messages under way that take longer than `time_s` from now on.
    fn residual_exceeds(&self, time_s: f64) -> f64 {
        self.beyond_s(time_s) / self.message_s.max(f64::MIN_POSITIVE)
    }

    /// For a job that waits `wait_s`: how long before it came a connection last took all that waited. The
    /// connection that takes it has been at work as long as a message goes on that lasts so long; of the
    /// others, `others_s` are the times since the last of them began, equally likely.
    fn since_s(&self, wait_s: f64, others_s: &[f64]) -> f64 {
        let items_s = self.pool.item_s * self.batch;
        let lasts = self.pool.message.exceeds(wait_s - items_s).max(1e-9);
        let beyond_s = self.beyond_s(wait_s);
        if others_s.is_empty() {
            return beyond_s / lasts;
        }
        let nearest = |other_s: &f64| (beyond_s - self.beyond_s(wait_s + other_s)) / lasts;
        others_s.iter().map(nearest).sum::<f64>() / others_s.len() as f64
    }

    /// One item a message: the queue of Erlang, its wait exponential with Lee and Longton's mean.
    fn classic_waits(&self) -> impl Iterator<Item = Wait> + use<'_> {
        let scv = self.pool.message.scv() * (self.pool.message.mean_s() / self.message_s).powi(2);
        let mean_s =
            self.message_s / (self.pool.connections * (1.0 - self.load)) * f64::midpoint(1.0, scv);
        exponential(mean_s, 3.0).map(move |(share, time_s)| Wait {
            share: share * self.busy,
            time_s,
            items: 1.0,
            spread: 0.0,
        })
    }

    /// Share of those that wait who are left behind by a full message, and for how long on average.
    fn left_behind(&self) -> (f64, f64) {
        let full_s = self.pool.message.mean_s() + self.pool.item_s * self.pool.batch_max;
        let mean_s = self.pool.message.mean_s();
        let scv = if full_s > 0.0 {
            self.pool.message.scv() * (mean_s / full_s).powi(2)
        } else {
            0.0
        };
        let spread = f64::midpoint(1.0 / self.pool.batch_max, scv);
        let wait_s = full_s / (self.pool.connections * (1.0 - self.load)) * spread;
        // How often more come between two messages than one holds: times between them are the more
        // random the more connections there are.
        let between = 1.0 - (1.0 - scv) / self.pool.connections;
        let spread = (self.batch + self.batch * self.batch * between).sqrt();
        (
            normal_above((self.pool.batch_max - self.batch) / spread),
            wait_s,
        )
    }
}

/// An exponential time by parts: their shares and times, so many parts a halving, down to one in 16 384.
fn exponential(mean_s: f64, parts: f64) -> impl Iterator<Item = (f64, f64)> {
    const HALVINGS: f64 = 14.0;
    let count = HALVINGS * parts;
    let above = move |at: f64| (-at / parts).exp2();
    let at = (0..64).map(f64::from).take_while(move |at| *at < count);
    at.map(move |at| {
        let is_last = at + 1.5 > count;
        let share = above(at) - if is_last { 0.0 } else { above(at + 1.0) };
        (share, mean_s * (at + 0.5) / parts * std::f64::consts::LN_2)
    })
}
