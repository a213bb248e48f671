//! Whether a run's figures may be believed: what the generator did, held against what it was to do.
//!
//! Sans-IO. Must never be true: a run that passes because the generator, not the server, was slow. Called by
//! [`super::run`].

use crate::results::{Doubt, Validity};

/// Part of the planned requests that must be sent in time.
const RATE_RATIO_MIN: f64 = 0.99;
/// Busy share of the event loop's core from which on it is the limit.
const BUSY_RATIO_MAX: f64 = 0.97;
/// Share of the machine's CPU time that other guests may take.
const STEAL_RATIO_MAX: f64 = 0.05;
/// Less in all is the kernel's rounding, and the fate of every short run.
const STEAL_S_MIN: f64 = 0.5;
/// Steps of the wall clock that are believed.
const JUMP_US_MAX: u64 = 100_000;
/// Lag is nothing beside a latency so many times as long.
const LAG_PART: u64 = 10;

/// What is known of a run.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// It has no schedule to miss.
    pub is_closed: bool,
    /// Requests that the schedule called for.
    pub planned: u64,
    /// Requests that were begun while it lasted.
    pub begun_on_schedule: u64,
    /// The same, and those begun in the slack after its end.
    pub begun_in_time: u64,
    /// Answers of any kind.
    pub answers: u64,
    /// Seconds in figures.
    pub duration_s: f64,
    /// Of these, the ones in which requests were due.
    pub planned_s: f64,
    /// 99th percentile of the send lag.
    pub lag_p99_ns: Option<u64>,
    /// 99th percentile of the response time.
    pub response_p99_ns: Option<u64>,
    /// Lag that is believed in any case.
    pub lag_ns_max: u64,
    /// CPU seconds of the event loop.
    pub cpu_s: f64,
    /// It waits without sleeping, so being busy says nothing.
    pub spins: bool,
    /// The largest step of the wall clock.
    pub jump_us: i64,
    /// Of the machine's CPU time, what others took.
    pub steal_ratio: Option<f64>,
    /// The same in seconds.
    pub stolen_s: f64,
}

/// Every reason not to believe the run.
pub fn judge(facts: &Facts) -> Validity {
    let mut doubts = Vec::new();
    if facts.answers == 0 {
        doubts.push(Doubt::NoAnswers);
    }
    let limit_ns = facts
        .lag_ns_max
        .max(facts.response_p99_ns.unwrap_or(0) / LAG_PART);
    if let Some(lag_ns) = facts.lag_p99_ns.filter(|lag_ns| *lag_ns > limit_ns) {
        doubts.push(Doubt::SendLag {
            p99_us: lag_ns as f64 / 1e3,
            limit_us: limit_ns as f64 / 1e3,
        });
    }
    let has_missed = |begun: u64| (begun as f64) < facts.planned as f64 * RATE_RATIO_MIN;
    if !facts.is_closed && has_missed(facts.begun_in_time) {
        let seconds = facts.planned_s.max(f64::MIN_POSITIVE);
        doubts.push(Doubt::MissedRate {
            sent_per_s: facts.begun_on_schedule as f64 / seconds,
            planned_per_s: facts.planned as f64 / seconds,
            limit_ratio: RATE_RATIO_MIN,
        });
    }
    let busy = facts.cpu_s / facts.duration_s.max(f64::MIN_POSITIVE);
    // A loop that keeps its schedule may be as busy as it likes; a closed one is then the limit, and a note says so.
    // The slack is for a server's last answers: a full core finds its connections busy, which is no lag, and what it
    // lacks would pass for them.
    let is_limit = has_missed(facts.begun_on_schedule) || !doubts.is_empty();
    if !facts.is_closed && !facts.spins && busy > BUSY_RATIO_MAX && is_limit {
        doubts.push(Doubt::GeneratorBusy {
            ratio: busy,
            limit_ratio: BUSY_RATIO_MAX,
        });
    }
    if facts.jump_us.unsigned_abs() > JUMP_US_MAX {
        doubts.push(Doubt::ClockJump {
            jump_us: facts.jump_us,
            limit_us: JUMP_US_MAX,
        });
    }
    let counts = |ratio: &f64| *ratio > STEAL_RATIO_MAX && facts.stolen_s >= STEAL_S_MIN;
    if let Some(ratio) = facts.steal_ratio.filter(counts) {
        doubts.push(Doubt::StealTime {
            ratio,
            limit_ratio: STEAL_RATIO_MAX,
        });
    }
    Validity { doubts }
}

/// Whether a closed loop was the limit itself, for a note.
pub fn is_own_limit(facts: &Facts) -> bool {
    facts.is_closed && facts.cpu_s > facts.duration_s * BUSY_RATIO_MAX
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    const GOOD: Facts = Facts {
        is_closed: false,
        planned: 1000,
        begun_on_schedule: 990,
        begun_in_time: 995,
        answers: 995,
        duration_s: 10.0,
        planned_s: 10.0,
        lag_p99_ns: Some(900_000),
        response_p99_ns: Some(2_000_000),
        lag_ns_max: 1_000_000,
        cpu_s: 9.9,
        spins: false,
        jump_us: -90_000,
        steal_ratio: Some(0.04),
        stolen_s: 0.8,
    };
    /// Its event loop sleeps now and then.
    const IDLE: Facts = Facts { cpu_s: 1.0, ..GOOD };
    const CLOSED: Facts = Facts {
        is_closed: true,
        begun_on_schedule: 0,
        begun_in_time: 0,
        lag_p99_ns: None,
        ..GOOD
    };

    #[rustfmt::skip]
    fn rows() -> Vec<(&'static str, Facts, &'static [&'static str])> {
        let late = Some(1_100_000);
        vec![
            ("good", GOOD, &[]),
            ("closed", CLOSED, &[]),
            ("no answers", Facts { answers: 0, ..GOOD }, &["NoAnswers", "GeneratorBusy"]),
            ("lag", Facts { lag_p99_ns: late, ..IDLE }, &["SendLag"]),
            ("lag that is nothing beside the latency", Facts { lag_p99_ns: late, response_p99_ns: Some(12_000_000), ..IDLE }, &[]),
            ("rate missed, waiting for answers", Facts { begun_on_schedule: 970, begun_in_time: 980, ..IDLE }, &["MissedRate"]),
            ("rate missed, busy", Facts { begun_on_schedule: 970, begun_in_time: 980, ..GOOD }, &["MissedRate", "GeneratorBusy"]),
            ("last requests waited for answers", Facts { begun_on_schedule: 950, ..IDLE }, &[]),
            ("last requests waited for a full core", Facts { begun_on_schedule: 989, ..GOOD }, &["GeneratorBusy"]),
            ("rate missed, spinning", Facts { begun_on_schedule: 970, begun_in_time: 980, spins: true, ..GOOD }, &["MissedRate"]),
            ("clock", Facts { jump_us: -110_000, ..GOOD }, &["ClockJump"]),
            ("steal", Facts { steal_ratio: Some(0.06), ..GOOD }, &["StealTime"]),
            ("steal of a short run", Facts { steal_ratio: Some(0.06), stolen_s: 0.4, ..GOOD }, &[]),
        ]
    }

    #[test]
    fn each_doubt_has_its_bound() {
        for (name, facts, want) in rows() {
            let doubts = judge(&facts).doubts;
            let names: Vec<String> = doubts.iter().map(|doubt| format!("{doubt:?}")).collect();
            let is_same = names.len() == want.len()
                && names
                    .iter()
                    .zip(want)
                    .all(|(got, want)| got.starts_with(want));
            assert!(is_same, "{name}: {names:?}");
        }
        let missed = judge(&Facts {
            begun_on_schedule: 970,
            begun_in_time: 980,
            ..IDLE
        });
        let [Doubt::MissedRate { sent_per_s, .. }] = missed.doubts.as_slice() else {
            panic!("{missed:?}");
        };
        assert!(
            (sent_per_s - 97.0).abs() < 1e-9,
            "what came later is no rate"
        );
        assert!(missed.is_servers_alone());
        let busy = Facts {
            begun_on_schedule: 970,
            begun_in_time: 980,
            ..GOOD
        };
        assert!(!judge(&busy).is_servers_alone() && !judge(&GOOD).is_servers_alone());
        assert!(is_own_limit(&CLOSED) && !is_own_limit(&GOOD));
    }
}
