//! `kms-loadgen knee`.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;

use super::output::OutputArgs;
use super::reach::ReachArgs;
use super::run::live;
use super::shape::ShapeArgs;
use super::{clock_jump, say, stop_on_signals};
use crate::load::job::Job;
use crate::load::knee::{KneePlan, Search, Told};
use crate::load::run::Conditions;
use crate::load::schedule::RATE_MAX;
use crate::load::session::Session;
use crate::results::slo::{Outcome, Slo};
use crate::results::{Completeness, Knee as Found, Probe, RunResult};

/// Share of the highest rate that a search begins with.
const FIRST_SHARE: f64 = 0.3;
/// The lowest rate that is tried, requests a second.
const RATE_MIN: f64 = 1.0;
/// Seconds of the closed loop that finds it.
const CEILING_S: f64 = 2.0;
/// Between two probes: queues of the server run empty.
const PAUSE: Duration = Duration::from_secs(1);

/// Searches the highest rate that meets an SLO, by probes in an open loop.
///
/// The answer is an interval: the highest rate that surely met it and the lowest that surely missed it, each with 95 %
/// confidence by order statistics. Results are those of the highest rate that met it.
#[derive(Args)]
pub(super) struct Knee {
    /// First rate; without it a closed loop of 2 s finds one.
    #[arg(long, value_name = "PER_S")]
    from: Option<f64>,
    /// Highest rate that is tried.
    #[arg(long, value_name = "PER_S", default_value_t = RATE_MAX)]
    to: f64,
    /// Ends when the interval is so narrow: 0.05 is 5 %.
    #[arg(long, value_name = "RATIO", default_value_t = 0.05)]
    precision: f64,
    /// Seconds of a probe; one that is not sure is made three and nine times as long.
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    probe_s: f64,
    /// Probes at most.
    #[arg(long, value_name = "N", default_value_t = 40)]
    probes_max: u32,
    /// poisson or constant.
    #[arg(long, default_value = "poisson")]
    schedule: String,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    shape: ShapeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl Knee {
    /// Searches; the exit code.
    pub fn execute(&self) -> Result<u8, String> {
        let mut job = self.shape.job(&self.reach);
        job.name.clone_from(&self.output.name);
        let slo = job
            .slo
            .clone()
            .ok_or("knee needs --slo: what must hold at the rate that is searched")?;
        let slo: Slo = slo.parse().map_err(|error| format!("--slo: {error}"))?;
        self.check()?;
        let stop = stop_on_signals()?;
        let mut tell = |text: &str| {
            if !self.output.quiet {
                say(text);
            }
        };
        // Any rate: the first is not known yet.
        self.set_rate(&mut job, 1.0, 1);
        let session = Session::open(&job, self.reach.token(), &mut tell)
            .map_err(|error| error.to_string())?;
        if job.fill_cache {
            tell("filling the cache");
            session
                .fill_cache(&job, &stop)
                .map_err(|error| error.to_string())?;
        }
        let from = match self.from {
            Some(from) => from,
            None => self.first_rate(&session, &job, &stop)?,
        };
        let plan = KneePlan {
            from,
            min: RATE_MIN,
            max: self.to,
            precision: self.precision,
            probes_max: self.probes_max,
        };
        let found = self.search(plan, &session, &mut job, &stop)?;
        self.give(&slo, found)
    }

    fn check(&self) -> Result<(), String> {
        let rates = RATE_MIN..=RATE_MAX;
        let first = self.from.unwrap_or(RATE_MIN);
        if !rates.contains(&first) || !rates.contains(&self.to) || first > self.to {
            return Err(format!(
                "--from and --to: rates from {RATE_MIN} to {RATE_MAX} belong there, the lower one first"
            ));
        }
        if !(0.001..=1.0).contains(&self.precision) {
            return Err(format!(
                "--precision {}: 0.001 to 1 belongs there",
                self.precision
            ));
        }
        Ok(())
    }

    fn give(&self, slo: &Slo, found: Probed) -> Result<u8, String> {
        let Probed {
            search,
            best,
            probes,
            cut,
        } = found;
        let mut result = match (best, &cut) {
            (Some(best), _) => best,
            (None, Some(why)) => return Err(why.clone()),
            (None, None) => return Err("no probe was made".to_owned()),
        };
        let (met_per_s, missed_per_s) = search.interval();
        if let Some(limit) = search.too_fast() {
            result.about.notes.push(format!(
                "the generator could not offer {limit:.0}/s: the knee may be above it"
            ));
        }
        if let Some(why) = cut {
            result.about.completeness = Completeness::Partial(format!(
                "the search was cut after probe {}: {why}",
                probes.len()
            ));
        }
        result.knee = Some(Found {
            slo: slo.to_string(),
            met_per_s,
            missed_per_s,
            probes,
        });
        let code = self.output.give(&mut result)?;
        // The probe that is shown met the SLO, or none did.
        Ok(if met_per_s.is_some() {
            code
        } else {
            code.max(1)
        })
    }

    fn set_rate(&self, job: &mut Job, rate: f64, longer: u32) {
        for load in &mut job.loads {
            load.rate = Some(rate);
            load.schedule.clone_from(&self.schedule);
        }
        job.duration_s = Some(self.probe_s * f64::from(longer));
    }

    /// Some of what a closed loop reaches.
    fn first_rate(&self, session: &Session, job: &Job, stop: &AtomicBool) -> Result<f64, String> {
        let mut closed = job.clone();
        closed.closed = true;
        closed.slo = None;
        closed.duration_s = Some(CEILING_S);
        for load in &mut closed.loads {
            load.rate = None;
            load.schedule = crate::load::job::Load::default().schedule;
        }
        let result = session
            .run(&closed, Conditions::plain(stop))
            .map_err(|error| error.to_string())?;
        let rate = result.rate_per_s();
        if !self.output.quiet {
            say(&format!("a closed loop reaches {rate:.0}/s"));
        }
        Ok((rate * FIRST_SHARE).max(1.0))
    }

    fn search(
        &self,
        plan: KneePlan,
        session: &Session,
        job: &mut Job,
        stop: &AtomicBool,
    ) -> Result<Probed, String> {
        let mut found = Probed::new(plan);
        while let Some(tried) = found.search.next_try() {
            if !found.probes.is_empty() {
                std::thread::sleep(PAUSE);
            }
            self.set_rate(job, tried.rate, tried.longer);
            job.seed = job.seed.wrapping_add(1);
            if !self.output.quiet {
                say(&format!(
                    "probing {:.0}/s for {:.0} s",
                    tried.rate,
                    job.duration_s.unwrap_or(0.0)
                ));
            }
            let conditions = Conditions {
                progress: (!self.output.quiet).then(|| live(job)),
                jump: clock_jump()?,
                ..Conditions::plain(stop)
            };
            match session.run(job, conditions) {
                Ok(result) => found.add(tried.rate, result),
                // What the probes before it said is as true as ever.
                Err(error) => found.cut = Some(error.to_string()),
            }
            if found.cut.is_some() {
                break;
            }
        }
        Ok(found)
    }
}

/// What a search has so far.
struct Probed {
    search: Search,
    best: Option<RunResult>,
    probes: Vec<Probe>,
    cut: Option<String>,
}

impl Probed {
    fn new(plan: KneePlan) -> Self {
        Self {
            search: Search::new(plan),
            best: None,
            probes: Vec::new(),
            cut: None,
        }
    }

    fn add(&mut self, rate: f64, result: RunResult) {
        if let Completeness::Partial(why) = &result.about.completeness {
            // Interrupted, or the server is gone: of the rate it says nothing.
            self.cut = Some(why.clone());
            self.best.get_or_insert(result);
            return;
        }
        let told = told(&result);
        self.probes.push(probe(rate, &result));
        self.search.told(told);
        let is_better = self.best.as_ref().is_none_or(|best| {
            told == Told::Outcome(Outcome::Met)
                && (best.planned_per_s() < result.planned_per_s() || outcome(best) != Outcome::Met)
        });
        if is_better {
            self.best = Some(result);
        }
    }
}

fn outcome(result: &RunResult) -> Outcome {
    result
        .slo
        .as_ref()
        .map_or(Outcome::Unsure, crate::results::slo::Verdict::outcome)
}

fn told(result: &RunResult) -> Told {
    if result.validity.is_valid() {
        Told::Outcome(outcome(result))
    } else if result.validity.is_servers_alone() {
        Told::Outcome(Outcome::Missed)
    } else {
        Told::Invalid
    }
}

fn probe(rate_per_s: f64, result: &RunResult) -> Probe {
    let latency = result.headline();
    Probe {
        rate_per_s,
        achieved_per_s: result.rate_per_s(),
        duration_us: result.about.duration_us,
        samples: latency.count(),
        p50_ns: latency.at_ns(0.5),
        p99_ns: latency.at_ns(0.99),
        p999_ns: latency.at_ns(0.999),
        error_ratio: result.totals.error_ratio(),
        is_valid: result.validity.is_valid(),
        outcome: match told(result) {
            Told::Outcome(outcome) => outcome,
            Told::Invalid => Outcome::Unsure,
        },
    }
}
