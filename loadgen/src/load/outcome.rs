//! From what an engine and an observer saw to a result.
//!
//! Sans-IO. Must never be true: a doubt that is not in the result. Called by [`super::run`].

use std::time::Duration;

use super::engine::Ended;
use super::job::Job;
use super::observer::Seen;
use super::verdict::{Facts, is_own_limit, judge};
use crate::results::{About, Completeness, Cpu, RunResult, Tls};

/// What was seen beside the engine.
pub(super) struct Measured {
    /// Second by second.
    pub seen: Seen,
    /// CPU time that other guests took, before and after.
    pub stolen: Option<(Duration, Duration)>,
}

impl Measured {
    /// Puts all into the result.
    pub fn put(self, ended: Ended, job: &Job, run: &mut RunResult) {
        run.totals = ended.tally.totals();
        run.series = self.seen.series;
        run.server.before = self.seen.before;
        run.server.after = self.seen.after;
        run.server.tls = ended.agreed.as_deref().and_then(agreed);
        run.cpu = Cpu {
            client_us: micros(ended.cpu),
            server_us: self.seen.server_cpu.map(micros),
        };
        if let (Some((before, after)), Some(machine)) = (self.stolen, run.machines.first_mut()) {
            machine.set_stolen(before, after);
        }
        let tally = &ended.tally;
        let (answers, lost_ticks) = (tally.answers(), tally.lost_ticks());
        let begun = (tally.begun_on_schedule(), tally.begun_in_time());
        run.latencies = ended.tally.into_latencies();
        let duration_s = ended.duration_ns as f64 / 1e9;
        let stolen = self
            .stolen
            .map(|(before, after)| after.saturating_sub(before));
        let all_s = cpu_seconds(run, duration_s + job.warm_up_s);
        let facts = Facts {
            is_closed: job.closed,
            planned: run.totals.planned,
            begun_on_schedule: begun.0,
            begun_in_time: begun.1,
            answers,
            duration_s,
            planned_s: ended.planned_ns as f64 / 1e9,
            lag_p99_ns: run.latencies.lag.at_ns(0.99),
            response_p99_ns: run.headline().at_ns(0.99),
            lag_ns_max: (job.lag_ms_max * 1e6) as u64,
            cpu_s: ended.cpu.as_secs_f64(),
            spins: job.spin,
            jump_us: ended.clock.largest_jump_us(),
            steal_ratio: stolen.map(|stolen| stolen.as_secs_f64() / all_s),
            stolen_s: stolen.unwrap_or_default().as_secs_f64(),
        };
        run.validity = judge(&facts);
        let words = Words {
            facts: &facts,
            rounds: ended.rounds,
            lost_ticks,
            first_refusal: ended.first_refusal,
            last_failure: ended.last_failure,
            unheard: self.seen.unheard,
        };
        let mut notes = std::mem::take(&mut run.about.notes);
        notes.extend(words.notes());
        run.about = About {
            name: job.name.clone(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            command_line: Vec::new(),
            seed: job.seed,
            start_unix_us: ended.start_unix_us,
            duration_us: ended.duration_ns / 1000,
            completeness: ended.cut.map_or(Completeness::Whole, Completeness::Partial),
            merged_from: Vec::new(),
            notes,
        };
    }
}

/// Of all cores of this machine in so many seconds.
fn cpu_seconds(run: &RunResult, seconds: f64) -> f64 {
    let machine = run.machines.first();
    let cores = machine.map_or(1, |machine| machine.cores_online.max(1));
    (f64::from(cores) * seconds).max(f64::MIN_POSITIVE)
}

/// What readers ought to know.
struct Words<'a> {
    facts: &'a Facts,
    rounds: u64,
    lost_ticks: u64,
    first_refusal: Option<String>,
    last_failure: Option<String>,
    unheard: Option<String>,
}

impl Words<'_> {
    fn notes(self) -> impl Iterator<Item = String> {
        let (rounds, lost) = (self.rounds, self.lost_ticks);
        let busy = "the generator's core was busy all the time: it, not the server, was the limit";
        let scanned = format!(
            "a scan went through all its keys {rounds} times: later reads are not first ones"
        );
        let missing = format!("{lost} seconds are missing in the series");
        let of = |what: &'static str| move |why| format!("{what}: {why}");
        [
            is_own_limit(self.facts).then(|| busy.to_owned()),
            (rounds > 0).then_some(scanned),
            (lost > 0).then_some(missing),
            self.first_refusal.map(of("the first refusal")),
            self.last_failure.map(of("the last connection that failed")),
            self.unheard.map(of("the server's figures")),
        ]
        .into_iter()
        .flatten()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// `TLSv1_3, TLS13_AES_128_GCM_SHA256, X25519MLKEM768`.
fn agreed(text: &str) -> Option<Tls> {
    let mut parts = text.split(", ").map(str::to_owned);
    Some(Tls {
        version: parts.next()?,
        cipher_suite: parts.next()?,
        key_exchange: parts.next().unwrap_or_default(),
        certificate: None,
    })
}
