//! A real HSM, by way of a running node: the time of a message, its spread, what an item adds, and how much it can do.
//!
//! Wraps always ask the HSM and make nothing in it, so they are what is sent; never more of them than told. Error: what
//! the node itself takes, and how far that spreads, is taken off as measured by [`super::machine`] or assumed; batches
//! that the node spreads over several connections make `item_ms` too small (use a node with `kms.hsm.pool.size = 1` for
//! it). Must never be true: more operations a second than the limit.

// Rates and counts were checked.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use std::sync::atomic::{AtomicBool, Ordering};

use kms_loadgen::load::job::{Job, Load, Reach};
use kms_loadgen::load::run::Conditions;
use kms_loadgen::load::session::Session;
use kms_loadgen::results::{Latency, RunResult};

use super::{Findings, line};
use crate::input::field;

/// Items of a request that are tried.
const ITEMS: [u32; 5] = [1, 2, 4, 8, 16];
/// Answers below which a p99 is chance.
const ANSWERS_MIN: u64 = 200;
/// Of the first rate: times beyond it are those of a queue.
const SLOWER: f64 = 3.0;

/// How it is measured.
pub struct Limits<'a> {
    /// The node and a client that may wrap.
    pub reach: Reach,
    /// Operations a second, at most.
    pub ops_max: f64,
    /// Of each part.
    pub seconds: f64,
    /// Whether the rate is raised to the limit to see whether the HSM keeps up.
    pub tries_ceiling: bool,
    /// What an answer takes besides the HSM, milliseconds.
    pub besides_ms: f64,
    /// From its median to its 99th percentile, milliseconds.
    pub besides_spread_ms: f64,
    /// Ends all when it becomes true.
    pub stop: &'a AtomicBool,
}

/// Measures it.
pub fn measure(
    limits: &Limits<'_>,
    findings: &mut Findings,
    say: &mut dyn FnMut(&str),
) -> Result<(), String> {
    let job = limits.job(1, limits.ops_max / 2.0);
    let session = Session::open(&job, None, say).map_err(|error| error.to_string())?;
    let mut points = Vec::new();
    for items in ITEMS {
        // A quarter of the limit: nobody waits for anybody else.
        let rate = limits.ops_max / 4.0 / f64::from(items);
        say(&format!(
            "wraps of {items} items, {:.1} operations/s",
            limits.ops_max / 4.0
        ));
        let result = limits.run(&session, &limits.job(items, rate))?;
        let times = result.headline();
        if items == 1 {
            one_item(&times, limits, findings);
        }
        if let Some(ms) = at_ms(&times, 0.5) {
            points.push((f64::from(items), ms));
        }
    }
    match line(&points) {
        Some((_, item_ms)) => {
            let item_ms = item_ms.max(0.0);
            let how = "wraps of 1 to 16 items, least squares of the medians";
            findings.put(&field::ITEM_MS, item_ms, how);
            if let Some((_, one_ms)) = points.first() {
                let message_ms = (one_ms - item_ms - limits.besides_ms).max(0.0);
                findings.put(
                    &field::MESSAGE_MS,
                    message_ms,
                    "median of wraps of one item, less item_ms",
                );
            }
        }
        None => findings
            .missing
            .push("hsm.message_ms and hsm.item_ms: too few answers".to_owned()),
    }
    if limits.tries_ceiling {
        ceiling(limits, &session, findings, say)?;
    }
    Ok(())
}

fn one_item(times: &Latency, limits: &Limits<'_>, findings: &mut Findings) {
    let (p50, p99) = (at_ms(times, 0.5), at_ms(times, 0.99));
    let (Some(p50), Some(p99), true) = (p50, p99, times.count() >= ANSWERS_MIN) else {
        findings.missing.push(format!(
            "hsm.sigma: {} answers, where {ANSWERS_MIN} tell a p99; allow more operations or more seconds",
            times.count()
        ));
        return;
    };
    let usual_ms = (p50 - limits.besides_ms).max(1e-3);
    // How far each of two independent times spreads adds up in squares.
    let spread_ms = ((p99 - p50).powi(2) - limits.besides_spread_ms.powi(2)).max(0.0);
    let sigma = ((usual_ms + spread_ms.sqrt()) / usual_ms).ln() / 2.326;
    findings.put(
        &field::SIGMA,
        sigma,
        "ln(p99 / p50) / 2.326 of wraps of one item, less what the machine adds",
    );
}

/// Up to the limit, in steps of a quarter more.
fn ceiling(
    limits: &Limits<'_>,
    session: &Session,
    findings: &mut Findings,
    say: &mut dyn FnMut(&str),
) -> Result<(), String> {
    let (mut rate, mut usual_ms, mut kept) = (limits.ops_max / 8.0, None, None);
    while rate <= limits.ops_max * 1.001 {
        say(&format!("{rate:.0} operations/s"));
        let result = limits.run(session, &limits.job(1, rate))?;
        let p50 = at_ms(&result.headline(), 0.5).unwrap_or(f64::INFINITY);
        let usual = *usual_ms.get_or_insert(p50);
        if result.totals.failed() > 0 || p50 > SLOWER * usual {
            let found = kept.unwrap_or(rate);
            let how = format!("at {rate:.0}/s it refused, or took {SLOWER} times as long");
            findings.put(&field::CEILING, found, how);
            return Ok(());
        }
        kept = Some(rate);
        rate *= 1.25;
    }
    findings.missing.push(format!(
        "hsm.ceiling_ops_s: it kept up with all of the {:.0} operations/s that it was allowed to be asked for",
        kept.unwrap_or(0.0)
    ));
    Ok(())
}

impl Limits<'_> {
    fn job(&self, items: u32, rate: f64) -> Job {
        let mix = if items == 1 {
            "encrypt".to_owned()
        } else {
            format!("encrypt/{items}")
        };
        Job {
            reach: self.reach.clone(),
            keys: Some(1),
            connections: 16,
            connections_max: Some(64),
            duration_s: Some(self.seconds),
            loads: vec![Load {
                rate: Some(rate.max(0.1)),
                // Evenly: no second has more than its share.
                schedule: "constant".to_owned(),
                mix,
                ..Load::default()
            }],
            ..Job::default()
        }
    }

    fn run(&self, session: &Session, job: &Job) -> Result<RunResult, String> {
        let result = session.run(job, Conditions::plain(self.stop));
        let result = result.map_err(|error| error.to_string())?;
        if self.stop.load(Ordering::Relaxed) {
            return Err("interrupted".to_owned());
        }
        Ok(result)
    }
}

fn at_ms(times: &Latency, share: f64) -> Option<f64> {
    times.at_ns(share).map(|ns| ns as f64 / 1e6)
}
