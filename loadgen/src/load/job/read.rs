//! From the words of a job to what they mean, and on to a feed.
//!
//! Called through [`super::Job`].

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::{CONNECTIONS_MAX, DURATION_S_MAX, Job, Load};
use crate::load::engine::Life;
use crate::load::keys::{Keys, StreamPlan};
use crate::load::mix::{Kind, Mix, Operation};
use crate::load::schedule::{Arrivals, Profile, RATE_MAX, Schedule, SchedulePlan};
use crate::load::source::{ANYBODY, Feed, Recorded, Supply};
use crate::load::trace;

/// A load that was read and checked.
pub(super) enum Read {
    Scheduled {
        profile: Profile,
        arrivals: Arrivals,
        streams: Vec<StreamPlan>,
        mix: Mix,
    },
    Recorded(Recorded),
}

/// A job that was read and checked.
pub struct Checked {
    pub(super) reads: Vec<Read>,
    /// Seconds in figures.
    pub duration_s: f64,
    /// Data keys that it needs at least.
    pub keys_min: u32,
    /// Whether plaintexts are asked for.
    pub decrypts: bool,
    /// Whether anything is asked over common connections.
    pub needs_common: bool,
    /// Connections at most.
    pub connections_max: u32,
    /// How long connections live.
    pub life: Life,
}

impl Job {
    /// Reads what is told in words, and the files of traces.
    pub fn check(&self) -> Result<Checked, String> {
        self.check_numbers()?;
        let mut reads = Vec::new();
        for load in &self.loads {
            reads.push(load.read(self)?);
        }
        let last_ns = |read: &Read| match read {
            Read::Recorded(list) => list.entries.last().map(|entry| entry.at_ns),
            Read::Scheduled { .. } => None,
        };
        let ends = self.loads.iter().zip(&reads);
        let last_s =
            ends.filter_map(|(load, read)| Some(load.start_s + last_ns(read)? as f64 / 1e9));
        let last_s = last_s.reduce(f64::max);
        let only_recorded = reads.iter().all(|read| matches!(read, Read::Recorded(_)));
        let duration_s = match (self.duration_s, last_s) {
            (Some(duration_s), _) => duration_s,
            (None, Some(last_s)) if only_recorded => last_s.max(0.001),
            (None, _) => 10.0,
        };
        let needed = self
            .loads
            .iter()
            .zip(&reads)
            .map(|(load, read)| load.keys_needed(read));
        let keys_min = needed.max().unwrap_or(1);
        if self.keys.is_some_and(|keys| keys < keys_min) {
            return Err(format!(
                "the load asks for {keys_min} data keys, the working set has fewer (--keys)"
            ));
        }
        let connections_max = self.connections_max.unwrap_or(self.connections);
        if connections_max < self.connections || connections_max > CONNECTIONS_MAX {
            return Err(format!(
                "{connections_max} connections at most; {} to {CONNECTIONS_MAX} belong here",
                self.connections
            ));
        }
        Ok(Checked {
            decrypts: reads.iter().any(Read::decrypts),
            needs_common: reads.iter().any(Read::needs_common),
            reads,
            duration_s,
            keys_min,
            connections_max,
            life: self.life()?,
        })
    }
}

impl Load {
    fn read(&self, job: &Job) -> Result<Read, String> {
        if !(0.0..=DURATION_S_MAX).contains(&self.start_s)
            || self
                .duration_s
                .is_some_and(|s| !(0.001..=DURATION_S_MAX).contains(&s))
        {
            return Err("a load's start_s or duration_s is out of range".to_owned());
        }
        let (number, of) = job.share;
        let mut recorded = match (&self.storm, &self.trace) {
            (Some(_), Some(_)) => return Err("a load has a storm or a trace, not both".to_owned()),
            (Some(storm), None) => storm.recorded(self.first_key, job.seed)?,
            (None, Some(path)) => self.read_trace(path)?,
            (None, None) => return self.read_schedule(job),
        };
        if self.rate.is_some() {
            return Err("a storm or a trace has no rate of its own".to_owned());
        }
        if of > 1 {
            // All of a device at one generator.
            let mut count = 0;
            recorded.entries.retain(|entry| {
                count += 1;
                let whose = if entry.device > 0 {
                    entry.device
                } else {
                    count
                };
                whose % of == number
            });
        }
        Ok(Read::Recorded(recorded))
    }

    fn read_trace(&self, path: &Path) -> Result<Recorded, String> {
        let name = path.display().to_string();
        if !(1e-3..=1e3).contains(&self.speed) {
            return Err(format!(
                "a speed of {}; 0.001 to 1000 belongs here",
                self.speed
            ));
        }
        let file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
        let mut trace = trace::read(BufReader::new(file), &name, self.speed)?;
        if self.first_key > 0 {
            for key in &mut trace.recorded.keys {
                *key = key.saturating_add(self.first_key);
            }
        }
        Ok(trace.recorded)
    }

    fn read_schedule(&self, job: &Job) -> Result<Read, String> {
        let plan: SchedulePlan = self.schedule.parse()?;
        let profile = match (plan.profile, self.rate) {
            (Some(profile), None) => profile,
            (Some(_), Some(_)) => {
                return Err(
                    "a ramp or steps have rates of their own: leave out the rate".to_owned(),
                );
            }
            (None, Some(rate)) if rate > 0.0 && rate <= RATE_MAX => Profile::Constant { rate },
            (None, Some(rate)) => {
                return Err(format!(
                    "a rate of {rate}; above 0 up to {RATE_MAX} belongs here"
                ));
            }
            // Never looked at.
            (None, None) if job.closed => Profile::Constant { rate: 1.0 },
            (None, None) => {
                return Err(
                    "name a rate, or a schedule that has one (open loop), or ask for a closed loop"
                        .to_owned(),
                );
            }
        };
        let streams = self
            .streams
            .iter()
            .map(|text| text.parse())
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Read::Scheduled {
            profile,
            arrivals: plan.arrivals,
            streams,
            mix: self.mix.parse()?,
        })
    }

    fn keys_needed(&self, read: &Read) -> u32 {
        match read {
            Read::Recorded(list) => list
                .keys
                .iter()
                .max()
                .map_or(1, |key| key.saturating_add(1)),
            Read::Scheduled { streams, .. } => {
                let claimed: u32 = streams.iter().map(|stream| stream.keys.unwrap_or(1)).sum();
                self.first_key.saturating_add(self.keys.unwrap_or(claimed))
            }
        }
    }
}

impl Read {
    /// Kinds of request, and how often each comes.
    pub(super) fn weights(&self) -> Vec<(Kind, f64)> {
        match self {
            Self::Scheduled { mix, .. } => mix.weights().to_vec(),
            Self::Recorded(list) => {
                let mut counts = vec![0.0; list.kinds.len()];
                for entry in &list.entries {
                    if let Some(count) = counts.get_mut(usize::from(entry.kind)) {
                        *count += 1.0;
                    }
                }
                list.kinds.iter().copied().zip(counts).collect()
            }
        }
    }

    /// Whether there are requests without a device.
    fn needs_common(&self) -> bool {
        match self {
            Self::Scheduled { .. } => true,
            Self::Recorded(list) => list.entries.iter().any(|entry| entry.device == ANYBODY),
        }
    }

    fn decrypts(&self) -> bool {
        let is_decrypt = |(kind, _): &(Kind, f64)| kind.operation == Operation::Decrypt;
        self.weights().iter().any(is_decrypt)
    }
}

impl Checked {
    /// What is asked when, over a working set of `keys` data keys.
    pub fn feed(self, job: &Job, keys: u32) -> Result<Feed, String> {
        let mut feed = Feed::default();
        let warm_up_s = job.warm_up_s;
        for (number, (load, read)) in (0_u64..).zip(job.loads.iter().zip(self.reads)) {
            let left_s = (self.duration_s - load.start_s).max(0.001);
            let lasts_s = load.duration_s.unwrap_or(left_s).min(left_s);
            let offset_ns = ((warm_up_s + load.start_s) * 1e9) as u64;
            match read {
                Read::Recorded(mut list) => {
                    list.entries
                        .retain(|entry| entry.at_ns as f64 <= lasts_s * 1e9);
                    feed.add_recorded(list, offset_ns)?;
                }
                Read::Scheduled {
                    profile,
                    arrivals,
                    streams,
                    mix,
                } => {
                    let all = keys.saturating_sub(load.first_key);
                    let own = load.keys.unwrap_or(all);
                    let keys = Keys::new(&streams, own, load.first_key, job.seed_of(4 * number))?;
                    let supply = Supply::new(keys, mix, job.seed_of(4 * number + 1));
                    if job.closed {
                        return Ok(Feed::unpaced(supply));
                    }
                    // What begins with the run also warms it up.
                    let (lead_s, offset_ns) = if load.start_s > 0.0 {
                        (0.0, offset_ns)
                    } else {
                        (warm_up_s, 0)
                    };
                    let seed = job.seed_of(4 * number + 2);
                    let schedule = Schedule::new(profile, arrivals, (lead_s, lasts_s), seed)?;
                    let (number, of) = job.share;
                    feed.add_scheduled(supply, schedule.share(number, of), offset_ns)?;
                }
            }
        }
        Ok(feed)
    }
}
