//! A job in the words of its options, for results.
//!
//! Called by [`crate::load::run`].

use super::read::Read;
use super::{Checked, Job, Load};
use crate::load::engine::Life;
use crate::load::schedule::{Profile, SchedulePlan, stages};
use crate::load::tally;
use crate::results::{Loop, MixPart, Plan, Stage};

impl Checked {
    /// What was asked for.
    pub fn words(&self, job: &Job, keys: u32, identities: usize) -> Plan {
        let each = || job.loads.iter().zip(&self.reads);
        let schedule: Vec<String> = each().map(|(load, _)| load.schedule_words(job)).collect();
        let streams: Vec<String> = each().map(|(load, read)| load.stream_words(read)).collect();
        Plan {
            mode: if job.closed { Loop::Closed } else { Loop::Open },
            schedule: schedule.join(" and "),
            stages: self.stages(job),
            mix: self.mix(job),
            key_stream: streams.join(" and "),
            working_set: keys.into(),
            connections: self.connections_max.div_ceil(job.share.1),
            depth: job.depth.into(),
            identities: u32::try_from(identities).unwrap_or(u32::MAX),
            reuse: match self.life {
                Life::KEEP => "keep-alive".to_owned(),
                Life { max: 1, .. } => "new connection per request".to_owned(),
                Life { min, max } => format!("{min} to {max} requests a connection"),
            },
            resumption: job.resume,
            duration_us: (self.duration_s * 1e6) as u64,
            warm_up_us: (job.warm_up_s * 1e6) as u64,
            timeout_us: job.timeout_ms * 1000,
            scenario: None,
            processes: 1,
        }
    }

    /// Of the only load with a schedule; several have no rate in common.
    fn stages(&self, job: &Job) -> Vec<Stage> {
        let scheduled = self
            .reads
            .iter()
            .zip(&job.loads)
            .filter_map(|(read, load)| match read {
                Read::Scheduled { profile, .. } if !job.closed => Some((*profile, load)),
                _ => None,
            });
        let list: Vec<(Profile, &Load)> = scheduled.collect();
        let [(profile, load)] = list.as_slice() else {
            return Vec::new();
        };
        let of = f64::from(job.share.1);
        let lasts_s = load.duration_s.unwrap_or(self.duration_s - load.start_s);
        let stage = |(at_s, from, to): (f64, f64, f64)| Stage {
            at_us: ((at_s + load.start_s) * 1e6) as u64,
            rate_per_s: from / of,
            ramps_to_per_s: (from.to_bits() != to.to_bits()).then_some(to / of),
        };
        let found = stages(*profile, lasts_s).unwrap_or_default();
        found.into_iter().map(stage).collect()
    }

    /// Weights of several loads are those of their rates.
    fn mix(&self, job: &Job) -> Vec<MixPart> {
        let mut parts: Vec<MixPart> = Vec::new();
        for (read, load) in self.reads.iter().zip(&job.loads) {
            let scale = match read {
                Read::Scheduled { .. } if self.reads.len() > 1 => load.rate.unwrap_or(1.0),
                _ => 1.0,
            };
            for (kind, weight) in read.weights() {
                let operation = tally::name(kind);
                let weight = weight * scale;
                match parts.iter_mut().find(|part| part.operation == operation) {
                    Some(part) => part.weight += weight,
                    None => parts.push(MixPart {
                        operation,
                        weight,
                        batch: kind.items.into(),
                    }),
                }
            }
        }
        parts
    }
}

impl Load {
    fn schedule_words(&self, job: &Job) -> String {
        if let Some(storm) = &self.storm {
            return format!(
                "storm of {} devices with {} keys each in {} s",
                storm.devices, storm.keys_each, storm.window_s
            );
        }
        if let Some(trace) = &self.trace {
            let name = trace.file_name().unwrap_or_default().to_string_lossy();
            return format!("trace {name} at {} times its speed", self.speed);
        }
        match (job.closed, self.rate) {
            (true, _) => "as fast as answers come".to_owned(),
            (false, Some(rate)) => format!("{} {rate}/s", self.schedule),
            (false, None) => match self.schedule.parse::<SchedulePlan>() {
                Ok(plan) => plan.to_string(),
                Err(_) => self.schedule.clone(),
            },
        }
    }

    fn stream_words(&self, read: &Read) -> String {
        match read {
            Read::Recorded(_) if self.storm.is_some() => "each device its own".to_owned(),
            Read::Recorded(_) => "as recorded".to_owned(),
            Read::Scheduled { .. } => self.streams.join(" + "),
        }
    }
}
