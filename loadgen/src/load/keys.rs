//! Which data key is asked for next: popularities, scans, and mixtures of them. Seeded.
//!
//! Must never be true: an index outside the stream's own range; two streams of one run that share keys.
//! Called by [`super::source`].

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::Zipf;

/// Requests between the two reads of a scan that reads twice, unless it is told.
const REREAD_GAP: u32 = 2000;
const REREAD_GAP_MAX: u32 = 10_000_000;
/// Streams of one run.
pub const STREAMS_MAX: usize = 16;

/// How keys follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Popularity {
    /// All alike.
    Uniform,
    /// The nth most popular one as often as `n^-exponent`.
    Zipf {
        /// 0 is uniform, 1 the classic.
        exponent: f64,
    },
    /// A share of requests goes to a few keys, the rest to the others alike.
    Hot {
        /// Of requests, 0 to 1.
        share: f64,
        /// How many hot ones there are.
        keys: u32,
    },
    /// One after another, each once.
    ScanOnce,
    /// One after another, each once more after so many requests.
    ScanTwice {
        /// Requests of the run from the first read to the second.
        gap: u32,
    },
}

/// One stream as `--stream` says it: `POPULARITY[,keys=N][@WEIGHT]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StreamPlan {
    /// How keys follow each other.
    pub popularity: Popularity,
    /// How many keys are its own; `None`: an equal part of those that no stream claims.
    pub keys: Option<u32>,
    /// Its share of requests is this over the sum of all.
    pub weight: f64,
}

const FORMS: &str = "uniform, zipf[:EXPONENT], hot[:SHARE[:KEYS]], scan-once, scan-twice[:GAP], each with \
                     [,keys=N][@WEIGHT] behind it";

impl FromStr for StreamPlan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no stream of keys; there are {FORMS}");
        let (rest, weight) = match text.rsplit_once('@') {
            Some((rest, weight)) => (rest, number(weight, 1e-6, 1e6).ok_or_else(bad)?),
            None => (text, 1.0),
        };
        let (rest, keys) = match rest.split_once(",keys=") {
            Some((rest, keys)) => {
                let keys = keys.parse().ok().filter(|keys| *keys > 0);
                (rest, Some(keys.ok_or_else(bad)?))
            }
            None => (rest, None),
        };
        let parts: Vec<&str> = rest.split(':').collect();
        let popularity = match parts.as_slice() {
            ["uniform"] => Some(Popularity::Uniform),
            ["zipf"] => Some(Popularity::Zipf { exponent: 1.0 }),
            ["zipf", exponent] => {
                number(exponent, 0.0, 10.0).map(|exponent| Popularity::Zipf { exponent })
            }
            ["hot"] => Some(Popularity::Hot {
                share: 0.9,
                keys: 1,
            }),
            ["hot", share] => {
                number(share, 0.0, 1.0).map(|share| Popularity::Hot { share, keys: 1 })
            }
            ["hot", share, keys] => match (number(share, 0.0, 1.0), keys.parse()) {
                (Some(share), Ok(keys)) if keys > 0 => Some(Popularity::Hot { share, keys }),
                _ => None,
            },
            ["scan-once"] => Some(Popularity::ScanOnce),
            ["scan-twice"] => Some(Popularity::ScanTwice { gap: REREAD_GAP }),
            ["scan-twice", gap] => gap
                .parse()
                .ok()
                .filter(|gap| (1..=REREAD_GAP_MAX).contains(gap))
                .map(|gap| Popularity::ScanTwice { gap }),
            _ => None,
        };
        Ok(Self {
            popularity: popularity.ok_or_else(bad)?,
            keys,
            weight,
        })
    }
}

fn number(text: &str, min: f64, max: f64) -> Option<f64> {
    let number = text.parse::<f64>().ok()?;
    (min..=max).contains(&number).then_some(number)
}

impl fmt::Display for StreamPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.popularity {
            Popularity::Uniform => f.write_str("uniform")?,
            Popularity::Zipf { exponent } => write!(f, "zipf:{exponent}")?,
            Popularity::Hot { share, keys } => write!(f, "hot:{share}:{keys}")?,
            Popularity::ScanOnce => f.write_str("scan-once")?,
            Popularity::ScanTwice { gap } => write!(f, "scan-twice:{gap}")?,
        }
        if let Some(keys) = self.keys {
            write!(f, ",keys={keys}")?;
        }
        write!(f, "@{}", self.weight)
    }
}

/// A scan's place.
#[derive(Clone, Debug, Default)]
struct Scan {
    next: u32,
    /// What is due again: the number of the request, and the key.
    again: VecDeque<(u64, u32)>,
    rounds: u64,
}

#[derive(Clone, Debug)]
enum Picker {
    Uniform,
    Zipf(Zipf<f64>),
    Hot { share: f64, keys: u32 },
    Scan { gap: Option<u32>, scan: Scan },
}

#[derive(Clone, Debug)]
struct Stream {
    first: u32,
    keys: u32,
    picker: Picker,
    /// Sum of the weights up to and with this stream.
    weight_to: f64,
}

/// All streams of a run.
#[derive(Clone, Debug)]
pub struct Keys {
    streams: Vec<Stream>,
    requests: u64,
    random: SmallRng,
}

impl Keys {
    /// Streams over `working_set` keys from `first` on, each over a range of its own.
    pub fn new(
        plans: &[StreamPlan],
        working_set: u32,
        mut first: u32,
        seed: u64,
    ) -> Result<Self, String> {
        if plans.is_empty() || plans.len() > STREAMS_MAX {
            return Err(format!(
                "{} streams of keys; 1 to {STREAMS_MAX} belong here",
                plans.len()
            ));
        }
        let claimed: u64 = plans
            .iter()
            .filter_map(|plan| plan.keys)
            .map(u64::from)
            .sum();
        let sharing = plans.iter().filter(|plan| plan.keys.is_none()).count() as u64;
        let left = u64::from(working_set).checked_sub(claimed);
        let Some(left) = left.filter(|left| *left >= sharing) else {
            return Err(format!(
                "the streams ask for {} keys or more, the working set has {working_set}",
                claimed + sharing
            ));
        };
        let (mut weight_to, mut streams) = (0.0, Vec::new());
        for plan in plans {
            let keys = plan
                .keys
                .unwrap_or_else(|| u32::try_from(left / sharing.max(1)).unwrap_or(u32::MAX));
            weight_to += plan.weight;
            streams.push(Stream {
                first,
                keys,
                picker: picker(plan.popularity, keys)?,
                weight_to,
            });
            first += keys;
        }
        Ok(Self {
            streams,
            requests: 0,
            random: SmallRng::seed_from_u64(seed),
        })
    }

    /// The next key.
    pub fn next_key(&mut self) -> u32 {
        let request = self.requests;
        self.requests += 1;
        let total = self.streams.last().map_or(0.0, |stream| stream.weight_to);
        let at = if self.streams.len() == 1 {
            0
        } else {
            let place = self.random.random::<f64>() * total;
            self.streams
                .partition_point(|stream| stream.weight_to <= place)
        };
        let Some(stream) = self.streams.get_mut(at) else {
            return 0;
        };
        stream.first + stream.picker.pick(stream.keys, request, &mut self.random)
    }

    /// How often a scan went through all its keys and began anew: from then on they are not read the first time.
    pub fn rounds(&self) -> u64 {
        let rounds = |stream: &Stream| match &stream.picker {
            Picker::Scan { scan, .. } => scan.rounds,
            _ => 0,
        };
        self.streams.iter().map(rounds).max().unwrap_or(0)
    }
}

fn picker(popularity: Popularity, keys: u32) -> Result<Picker, String> {
    Ok(match popularity {
        Popularity::Uniform => Picker::Uniform,
        Popularity::Zipf { exponent } => {
            let zipf = Zipf::new(f64::from(keys), exponent);
            Picker::Zipf(zipf.map_err(|error| format!("zipf:{exponent}: {error}"))?)
        }
        Popularity::Hot { keys: hot, .. } if hot > keys => {
            return Err(format!("{hot} hot keys of {keys}"));
        }
        Popularity::Hot { share, keys } => Picker::Hot { share, keys },
        Popularity::ScanOnce => Picker::Scan {
            gap: None,
            scan: Scan::default(),
        },
        Popularity::ScanTwice { gap } => Picker::Scan {
            gap: Some(gap),
            scan: Scan::default(),
        },
    })
}

impl Picker {
    /// A number below `keys`, which is not 0.
    fn pick(&mut self, keys: u32, request: u64, random: &mut SmallRng) -> u32 {
        match self {
            Self::Uniform => random.random_range(0..keys),
            // From 1 to `keys`.
            Self::Zipf(zipf) => (random.sample(*zipf) as u32).clamp(1, keys) - 1,
            Self::Hot { share, keys: hot } => {
                let (share, hot) = (*share, *hot);
                if hot == keys || random.random::<f64>() < share {
                    random.random_range(0..hot)
                } else {
                    random.random_range(hot..keys)
                }
            }
            Self::Scan { gap, scan } => scan.pick(*gap, keys, request),
        }
    }
}

impl Scan {
    fn pick(&mut self, gap: Option<u32>, keys: u32, request: u64) -> u32 {
        if let Some((due, key)) = self.again.front().copied()
            && due <= request
        {
            self.again.pop_front();
            return key;
        }
        let key = self.next;
        self.next += 1;
        if self.next == keys {
            self.next = 0;
            self.rounds += 1;
        }
        if let Some(gap) = gap {
            self.again.push_back((request + u64::from(gap), key));
        }
        key
    }
}

#[cfg(test)]
#[path = "keys/tests.rs"]
mod tests;
