//! Which entry to evict: the cache as it is against models of SIEVE as published, CLOCK and LRU, on the same seeded streams;
//! and what a hit and an entry cost as the cache grows.
//!
//! `cargo run --release -p kms-bench --bin eviction` prints the tables of README.md, "Eviction".
#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a program that prints ratios"
)]

mod models;

use std::collections::VecDeque;
use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use kms::cache::{Cache, CacheConfig, Digest, Family};
use kms::secret::{Arena, ArenaPlan, Mode};
use kms_bench::environment::Environment;
use kms_bench::markdown::{head, line};
use kms_bench::progress::say;
use kms_bench::readme::put_table;

use crate::models::{Clock, Lru, Policy, Random, Sieve};

const KEYS: usize = 100_000;
const ENTRIES_MAX: usize = 20_000;
const WARM_UP: u64 = 500_000;
const REQUESTS: u64 = 1_500_000;
/// Smaller caches reuse memory that larger ones have freed: theirs cannot be told.
const MEASURABLE_ENTRIES: usize = 100_000;
const REREAD_GAP: u64 = 2_000;
/// Time passes by requests: a TTL of 100 s is 100 000 of them.
const REQUEST_TIME: Duration = Duration::from_millis(1);
const SEED: u64 = 0x5eed;

/// One row of the table.
struct Stream {
    name: &'static str,
    zipf: f64,
    cold_share: f64,
    is_reread: bool,
    ttl_s: u32,
}

const STREAMS: [Stream; 7] = [
    Stream {
        name: "Zipf 1.0, no cold keys",
        zipf: 1.0,
        cold_share: 0.0,
        is_reread: false,
        ttl_s: NEVER,
    },
    Stream {
        name: "30 % cold, read once",
        zipf: 1.0,
        cold_share: 0.3,
        is_reread: false,
        ttl_s: NEVER,
    },
    Stream {
        name: "60 % cold, read once",
        zipf: 1.0,
        cold_share: 0.6,
        is_reread: false,
        ttl_s: NEVER,
    },
    Stream {
        name: "30 % cold, read twice",
        zipf: 1.0,
        cold_share: 0.3,
        is_reread: true,
        ttl_s: NEVER,
    },
    Stream {
        name: "60 % cold, read twice",
        zipf: 1.0,
        cold_share: 0.6,
        is_reread: true,
        ttl_s: NEVER,
    },
    Stream {
        name: "Zipf 0.8, TTL 100 000 requests",
        zipf: 0.8,
        cold_share: 0.0,
        is_reread: false,
        ttl_s: 100,
    },
    Stream {
        name: "Zipf 0.8, TTL 30 000 requests",
        zipf: 0.8,
        cold_share: 0.0,
        is_reread: false,
        ttl_s: 30,
    },
];
/// Longer than any stream.
const NEVER: u32 = 10_000;

/// The real thing.
struct Real {
    cache: Cache,
    arena: &'static Arena,
    start: Instant,
    requests: u32,
}

impl Real {
    fn now(&self) -> Instant {
        self.start + REQUEST_TIME * self.requests
    }
}

impl Policy for Real {
    fn request(&mut self, key: u64, _now_s: u64) -> bool {
        self.requests += 1;
        let (digest, now) = (digest(key), self.now());
        if self
            .cache
            .lookup(&digest, now, |bytes| black_box(bytes.len()))
            .is_some()
        {
            return true;
        }
        let epoch = self.cache.begin_fill(Family(0));
        let is_filled = self
            .arena
            .store(&[7; 32])
            .is_ok_and(|plaintext| self.cache.insert(digest, Family(0), &plaintext, epoch, now));
        assert!(is_filled, "the arena was planned for all entries");
        false
    }

    fn tick(&mut self, _now_s: u64) {
        while self.cache.tick(self.now()) {}
    }
}

fn digest(key: u64) -> Digest {
    let mut random = Random(key ^ SEED << 32);
    Digest((u128::from(random.next()) << 64 | u128::from(random.next())).to_le_bytes())
}

/// Hit ratios of the background keys and of all requests.
fn run(stream: &Stream, policy: &mut dyn Policy) -> (f64, f64) {
    let mut random = Random(SEED);
    let mut total = 0.0;
    let below: Vec<f64> = (1..=KEYS)
        .map(|rank| {
            total += (rank as f64).powf(-stream.zipf);
            total
        })
        .collect();
    let mut rereads: VecDeque<(u64, u64)> = VecDeque::new();
    let mut next_cold = KEYS as u64;
    let (mut background, mut background_hits, mut hits) = (0u64, 0u64, 0u64);
    for at in 0..WARM_UP + REQUESTS {
        let is_cold = random.unit() < stream.cold_share;
        let key = if is_cold {
            if let Some((key, _)) = rereads.pop_front_if(|&mut (_, due)| due <= at) {
                key
            } else {
                next_cold += 1;
                if stream.is_reread {
                    rereads.push_back((next_cold, at + REREAD_GAP));
                }
                next_cold
            }
        } else {
            let point = random.unit() * total;
            below.partition_point(|&sum| sum <= point) as u64
        };
        let is_hit = policy.request(key, at / 1000);
        if at % 1000 == 999 {
            policy.tick(at / 1000);
        }
        if at >= WARM_UP {
            hits += u64::from(is_hit);
            background += u64::from(!is_cold);
            background_hits += u64::from(is_hit && !is_cold);
        }
    }
    (
        background_hits as f64 / background as f64,
        hits as f64 / REQUESTS as f64,
    )
}

fn arena(entries: usize) -> Result<&'static Arena, Box<dyn Error>> {
    let plan = ArenaPlan {
        // One page over, for the key on its way in; whole pages.
        key_bytes: (entries * 32).next_multiple_of(4096) + 4096,
        large_count: 1,
        large_bytes: 4096,
        buffer_bytes: 4096,
        mode: Some(Mode::Mlock),
    };
    Ok(Arena::reserve(&plan).map_err(|error| format!("{error:?}"))?)
}

fn ratios() -> Result<String, Box<dyn Error>> {
    let arena = arena(ENTRIES_MAX)?;
    let columns = ["stream", "the cache", "SIEVE as published", "CLOCK", "LRU"];
    let mut table = head(&columns.map(str::to_owned));
    for stream in &STREAMS {
        say(stream.name);
        let start = Instant::now();
        let config = CacheConfig {
            entries_max: ENTRIES_MAX,
            ttl_s: stream.ttl_s,
            stale_max_s: 0,
        };
        let mut policies: [Box<dyn Policy>; 4] = [
            Box::new(Real {
                cache: Cache::new(&config, arena, start),
                arena,
                start,
                requests: 0,
            }),
            Box::new(Sieve::new(ENTRIES_MAX, stream.ttl_s)),
            Box::new(Clock::new(ENTRIES_MAX, stream.ttl_s)),
            Box::new(Lru::new(ENTRIES_MAX, stream.ttl_s)),
        ];
        let mut cells = vec![stream.name.to_owned()];
        for policy in &mut policies {
            let (background, all) = run(stream, policy.as_mut());
            cells.push(format!("{background:.3} ({all:.3})"));
        }
        table.push_str(&line(&cells));
    }
    Ok(table)
}

fn resident_bytes() -> Result<usize, Box<dyn Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    Ok(statm
        .split_whitespace()
        .nth(1)
        .ok_or("statm has no second field")?
        .parse::<usize>()?
        * 4096)
}

/// Best of five passes over the same random keys.
fn lookup_ns(cache: &Cache, entries: u64, now: Instant) -> f64 {
    let mut random = Random(SEED);
    let wanted: Vec<Digest> = (0..200_000)
        .map(|_| digest(random.next() % entries))
        .collect();
    let mut best = f64::MAX;
    for _ in 0..5 {
        let begin = Instant::now();
        for digest in &wanted {
            let found = cache.lookup(digest, now, |bytes| {
                bytes.iter().fold(0u8, |sum, byte| sum ^ byte)
            });
            assert!(black_box(found).is_some(), "every key is there");
        }
        best = best.min(begin.elapsed().as_nanos() as f64 / wanted.len() as f64);
    }
    best
}

/// What one entry and one hit cost, by the number of entries.
fn costs() -> Result<String, Box<dyn Error>> {
    let columns = [
        "entries",
        "resident bytes a key",
        "lookup of a random key, ns",
        "insert into a full cache, ns",
    ];
    let mut lines = Vec::new();
    for entries in [1_000_000, 100_000, 10_000, 1_000] {
        say(&format!("{entries} entries"));
        lines.push(line(&costs_at(entries)?));
    }
    lines.push(head(&columns.map(str::to_owned)));
    lines.reverse();
    Ok(lines.concat())
}

fn costs_at(entries: usize) -> Result<[String; 4], Box<dyn Error>> {
    let before = resident_bytes()?;
    let arena = arena(entries)?;
    let start = Instant::now();
    let config = CacheConfig {
        entries_max: entries,
        ttl_s: NEVER,
        stale_max_s: 0,
    };
    let cache = Cache::new(&config, arena, start);
    let fill = |key: u64| -> Result<(), Box<dyn Error>> {
        let plaintext = arena
            .store(&[7; 32])
            .map_err(|error| format!("{error:?}"))?;
        let epoch = cache.begin_fill(Family(0));
        if cache.insert(digest(key), Family(0), &plaintext, epoch, start) {
            Ok(())
        } else {
            Err("not inserted".into())
        }
    };
    for key in 0..entries as u64 {
        fill(key)?;
    }
    let resident = if entries >= MEASURABLE_ENTRIES {
        let bytes = resident_bytes()?.saturating_sub(before);
        format!("{:.0}", bytes as f64 / entries as f64)
    } else {
        "-".to_owned()
    };
    let lookup_ns = lookup_ns(&cache, entries as u64, start);
    let begin = Instant::now();
    for key in 0..100_000 {
        fill(entries as u64 + key)?;
    }
    let insert_ns = begin.elapsed().as_nanos() as f64 / 100_000.0;
    Ok([
        entries.to_string(),
        resident,
        format!("{lookup_ns:.0}"),
        format!("{insert_ns:.0}"),
    ])
}

/// Hit ratios by policy, and what an entry and a hit cost. bench/README.md explains it.
#[derive(Parser)]
struct Arguments {
    /// File whose marked blocks get the tables as well: bench/README.md.
    #[arg(long)]
    readme: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let environment = Environment::now();
    // First, while no freed memory can hide what the cache takes.
    let costs = costs()?;
    let ratios = ratios()?;
    println!(
        "{KEYS} keys, {ENTRIES_MAX} entries, {REQUESTS} requests; hit ratio of background keys (of all)\n\n{ratios}\n{costs}"
    );
    if let Some(readme) = &arguments.readme {
        put_table(readme, "eviction", &environment, &ratios)?;
        put_table(readme, "eviction-cost", &environment, &costs)?;
    }
    Ok(())
}
