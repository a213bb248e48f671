//! What is done to the site: an ordinary minute, a restore storm, a pause of the HSM, a restart, a node lost.
//!
//! Must never be true: a stage that begins before the caches have come to rest; a figure of the generator taken for
//! one of the server.

// Rates and seconds of a site whose fields were checked become counts.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use std::fmt::Display;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use kms_loadgen::load::job::{Job, Load};
use kms_loadgen::load::trace::StormPlan;
use kms_loadgen::results::RunResult;

use super::attempts::{Played, until_believed};
use super::bounds::check;
use super::expected::{Expected, STALL_WINDOW_S, Seen, restart_window_s};
use super::figures::{seen, split};
use super::machine::{self, latency, model_of};
use super::rig::{Asked, Rig};
use super::{Report, Row};
use crate::input::{Site, Source, field};
use crate::output::properties;
use crate::plan::Plan;

/// Lives of a key after which a cache that was empty is at rest.
const REST_LIVES: f64 = 2.0;
/// The same between stages: they are at rest but for what the last one left.
const STORM_LIVES: f64 = 1.0;
/// Of those who come in a storm, beyond what the HSM refuses anyway.
const FAILED_MORE: f64 = 0.01;
/// Seconds of a stage that lasts.
const STAGE_S: f64 = 40.0;
/// Unwraps after restarts, in all.
const RESTART_REQUESTS: f64 = 10_000.0;
/// Before the pause.
const BEFORE_STALL_S: f64 = 3.0;
/// Connections to a node, but for those that a pause holds.
const CONNECTIONS: f64 = 64.0;
/// Lag of the generator that is believed, as a share of the 99th percentile that is predicted for an ordinary minute,
/// its band; a tenth of what is measured in any case; ...
const LAG_SHARE: f64 = 0.2;
/// ... and at most.
const LAG_MS_MAX: f64 = 1.0;

/// What is played.
pub struct Stages<'a> {
    /// The server's program.
    pub program: &'a Path,
    /// A new folder.
    pub folder: &'a Path,
    /// Ends all when it becomes true.
    pub stop: &'a AtomicBool,
    /// How often a stage is played at most, until its measurement is believed.
    pub attempts_max: u32,
}

/// Measures the machine, plans, and plays every stage.
pub fn play(
    source: &Source,
    name: &str,
    stages: &Stages<'_>,
    say: &mut dyn FnMut(&str),
) -> Result<Report, String> {
    let first = Plan::alone(source).map_err(|error| error.to_string())?;
    check(&first)?;
    let keys = KeyRanges::of(&first.site);
    let wanted = keys.all().max(machine::KEYS);
    let mut rig = Rig::prepare(stages.folder, stages.program, wanted, say)?;
    say("timing hits and misses of this machine");
    let rps = first.frame.peak.value();
    let time = || {
        let (figures, doubts) = machine::times(&mut rig, &lines(&first), rps, stages.stop)?;
        Ok(Played {
            figures,
            doubts: prefixed("times of this machine", doubts),
            faults: Vec::new(),
        })
    };
    let (measured, unbelieved) = until_believed(stages.attempts_max, time, say)?;
    // Pauses are ordered: in the other stages there are none.
    let mut source = source.with(&field::STALLS_PER_DAY, 0.0);
    for (field, value) in measured.figures {
        source = source.with(field, value);
    }
    let plan = Plan::alone(&source).map_err(|error| error.to_string())?;
    let expected = Expected::of(&plan)?;
    let mut player = Player {
        rows: Vec::new(),
        doubts: measured.doubts,
        faults: Vec::new(),
        unbelieved,
        rig,
        keys,
        expected,
        stop: stages.stop,
        attempts_max: stages.attempts_max,
        ttl_s: plan.site.get(&field::TTL_S).value(),
        rps: plan.frame.peak.value(),
        seed: 0,
    };
    player.play(&plan, say)?;
    Ok(Report {
        name: name.to_owned(),
        built: built(&plan),
        rows: player.rows,
        doubts: player.doubts,
        faults: player.faults,
        unbelieved: player.unbelieved,
    })
}

/// Which data keys are whose.
#[derive(Clone, Copy)]
pub(super) struct KeyRanges {
    usual: u32,
    storm: u32,
}

impl KeyRanges {
    pub(super) fn of(site: &Site) -> Self {
        let value = |field| site.opt(field).map_or(0.0, |held| held.value());
        let storm = value(&field::STORM_DEVICES) * value(&field::STORM_KEYS_PER_DEVICE);
        Self {
            usual: value(&field::KEYS_TOTAL) as u32,
            storm: storm as u32,
        }
    }

    pub(super) fn all(self) -> u32 {
        self.usual.saturating_add(self.storm)
    }
}

struct Player<'a> {
    rows: Vec<Row>,
    doubts: Vec<String>,
    faults: Vec<String>,
    unbelieved: Vec<String>,
    rig: Rig,
    keys: KeyRanges,
    expected: Expected,
    stop: &'a AtomicBool,
    attempts_max: u32,
    ttl_s: f64,
    rps: f64,
    seed: u64,
}

impl Player<'_> {
    fn play(&mut self, plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<(), String> {
        let nodes = plan.design.nodes.value() as usize;
        self.rig.open(model_of(&plan.site), nodes, &lines(plan))?;
        say("steady");
        self.stage(say, |player| player.lasting("steady"))?;
        if plan.passing.storm.is_some() {
            say("restore storm");
            self.stage(say, |player| player.storm(&plan.site))?;
        }
        if plan.passing.pause.is_some() {
            say("the HSM pauses");
            self.stage(say, |player| player.stall(plan))?;
        }
        say("the nodes restart");
        self.stage(say, Self::restart)?;
        let lost = plan.site.get(&field::NODES_LOST).value() as usize;
        if plan.scenario("node_lost").is_some() {
            say("nodes are lost");
            for _ in 0..lost {
                self.rig.lose_node()?;
            }
            self.stage(say, |player| player.lasting("node loss"))?;
        }
        Ok(())
    }

    fn stage(
        &mut self,
        say: &mut dyn FnMut(&str),
        play: impl Fn(&mut Self) -> Result<Played<Vec<Row>>, String>,
    ) -> Result<(), String> {
        let attempts_max = self.attempts_max;
        let (played, unbelieved) = until_believed(attempts_max, || play(self), say)?;
        self.rows.extend(played.figures);
        self.doubts.extend(played.doubts);
        self.faults.extend(played.faults);
        self.unbelieved.extend(unbelieved);
        Ok(())
    }

    /// Each node's share of the usual load, after so many lives of a key of the same.
    fn usual(&mut self, lives: f64, seconds: f64, connections: f64) -> Vec<Asked> {
        let nodes = self.rig.nodes();
        self.seed += 1;
        let seed = self.seed << 8;
        let site = self.rps / nodes as f64;
        let keys = self.keys;
        let job = |node: usize| Job {
            loads: vec![Load {
                rate: Some(site),
                streams: vec![self.expected.stream.clone()],
                keys: Some(keys.usual),
                ..Load::default()
            }],
            keys: Some(keys.all()),
            connections: connections as u32,
            // Without a break between the two: caches would begin to empty.
            warm_up_s: lives * self.ttl_s,
            duration_s: Some(seconds),
            seed: seed + node as u64,
            lag_ms_max: (self.expected.p99_ms() * LAG_SHARE).min(LAG_MS_MAX),
            ..Job::default()
        };
        let asked = |node| Asked {
            node,
            job: job(node),
        };
        (0..nodes).map(asked).collect()
    }

    /// Runs what is asked; `meanwhile` once the first figure is taken.
    fn run<T: Send>(
        &self,
        asked: Vec<Asked>,
        meanwhile: impl FnOnce(&Rig) -> Result<T, String> + Send,
    ) -> Result<(Vec<RunResult>, Option<T>), String> {
        let (begun, has_begun) = mpsc::channel::<SystemTime>();
        let (rig, stop) = (&self.rig, self.stop);
        let (results, besides) = std::thread::scope(|scope| {
            // A run that could not begin says so itself.
            let besides = scope.spawn(move || match has_begun.recv() {
                // It is told beforehand when the first figure will be.
                Ok(first_figure) => {
                    let left = first_figure.duration_since(SystemTime::now());
                    std::thread::sleep(left.unwrap_or_default());
                    meanwhile(rig).map(Some)
                }
                Err(_) => Ok(None),
            });
            let results = rig.run(asked, stop, Some(begun));
            (results, besides.join())
        });
        let results = results?;
        let besides = besides.map_err(|_| "a thread of this stage failed".to_owned())??;
        if self.stop.load(Ordering::Relaxed) {
            return Err("interrupted".to_owned());
        }
        Ok((results, besides))
    }

    fn played(&self, stage: &'static str, results: &[RunResult], seen: &Seen) -> Played<Vec<Row>> {
        let mut played = Played {
            figures: self.expected.rows(stage, seen),
            ..Played::default()
        };
        for validity in results.iter().map(|result| &result.validity) {
            let told = if validity.is_servers_alone() {
                &mut played.faults
            } else {
                &mut played.doubts
            };
            told.extend(prefixed(stage, &validity.doubts));
        }
        played
    }

    fn lasting(&mut self, stage: &'static str) -> Result<Played<Vec<Row>>, String> {
        let asked = self.usual(REST_LIVES, STAGE_S, CONNECTIONS);
        let (results, _) = self.run(asked, |_| Ok(()))?;
        let seen = seen(&results, STAGE_S);
        Ok(self.played(stage, &results, &seen))
    }

    fn storm(&mut self, site: &Site) -> Result<Played<Vec<Row>>, String> {
        let window_s = site.get(&field::STORM_WINDOW_S).value();
        let asked = self.usual(STORM_LIVES, window_s, CONNECTIONS);
        let who_come = self.who_come(site, window_s);
        let stop = self.stop;
        let (usual, stormy) = self.run(asked, move |rig| rig.run(who_come, stop, None))?;
        let stormy = stormy.unwrap_or_default();
        let failed: u64 = stormy.iter().map(|result| result.totals.failed()).sum();
        let came: u64 = stormy.iter().map(|result| result.totals.ended()).sum();
        let mut seen = seen(&usual, window_s);
        let hits = split(&usual).map_or(f64::NAN, |(hits, _)| hits);
        let asked: u64 = usual.iter().map(|result| result.totals.ended()).sum();
        // Keys that nobody has cached are read once: every hit is a usual client's.
        seen.hit_ratio = hits / asked as f64;
        // What those who come see is the storm's affair; the usual clients' times are compared.
        let mut played = self.played("storm", &usual, &seen);
        let refused = site.get(&field::REJECT_SHARE).value();
        if failed as f64 > (refused + FAILED_MORE) * came as f64 {
            let what = format!("storm: {failed} of {came} unwraps of those who came failed");
            played.faults.push(what);
        }
        Ok(played)
    }

    /// Each node's part of the storm.
    fn who_come(&self, site: &Site, window_s: f64) -> Vec<Asked> {
        let nodes = self.rig.nodes();
        let devices = (site.get(&field::STORM_DEVICES).value() / nodes as f64) as u32;
        let keys_each = site.get(&field::STORM_KEYS_PER_DEVICE).value() as u32;
        let plan = StormPlan {
            devices,
            keys_each,
            window_s,
            reads: 1,
            gap_ms: 0.0,
        };
        let job = |node: usize| Job {
            loads: vec![Load {
                storm: Some(plan),
                first_key: self.keys.usual + node as u32 * devices * keys_each,
                keys: Some(devices * keys_each),
                ..Load::default()
            }],
            keys: Some(self.keys.all()),
            duration_s: Some(window_s),
            seed: self.seed + 77 + node as u64,
            ..Job::default()
        };
        let asked = |node| Asked {
            node,
            job: job(node),
        };
        (0..nodes).map(asked).collect()
    }

    fn stall(&mut self, plan: &Plan) -> Result<Played<Vec<Row>>, String> {
        let stall_s = plan.site.get(&field::STALL_S).value();
        let misses = plan
            .scenario("peak")
            .map_or(1.0, |peak| peak.miss_share.value());
        let held = 2.0 * self.rps / self.rig.nodes() as f64 * misses * stall_s;
        let asked = self.usual(STORM_LIVES, STALL_WINDOW_S, CONNECTIONS + held);
        let (results, _) = self.run(asked, |rig| {
            std::thread::sleep(Duration::from_secs_f64(BEFORE_STALL_S));
            rig.order_hsm(&format!("stall {:.0}", stall_s * 1000.0))
        })?;
        let mut seen = seen(&results, STALL_WINDOW_S);
        let all = latency(&results);
        let half_ns = (stall_s * 0.5e9) as u64;
        seen.waiting = all.histogram().count_between(half_ns, u64::MAX) as f64 / all.count() as f64;
        Ok(self.played("stall", &results, &seen))
    }

    /// Every node empty again, as often as it takes to see more than chance.
    fn restart(&mut self) -> Result<Played<Vec<Row>>, String> {
        let (window_s, nodes) = (restart_window_s(self.ttl_s), self.rig.nodes());
        let rounds = (RESTART_REQUESTS / (self.rps * window_s))
            .ceil()
            .clamp(1.0, 5.0);
        let mut results = Vec::new();
        for _ in 0..rounds as u32 {
            for node in 0..nodes {
                self.rig.restart_node(node)?;
            }
            let asked = self.usual(0.0, window_s, CONNECTIONS);
            results.extend(self.run(asked, |_| Ok(()))?.0);
        }
        // One node's, on average. Counts alone: a late generator does not change them.
        let seen = seen(&results, window_s * rounds * nodes as f64);
        Ok(Played {
            figures: self.expected.rows("restart", &seen),
            ..Played::default()
        })
    }
}

fn prefixed(stage: &str, doubts: impl IntoIterator<Item = impl Display>) -> Vec<String> {
    let doubts = doubts.into_iter();
    doubts.map(|doubt| format!("{stage}: {doubt}")).collect()
}

/// Lines of one node's configuration, as planned.
fn lines(plan: &Plan) -> String {
    let memory = &plan.memory;
    properties::of(&plan.site, &plan.design, &memory.sockets, &memory.queue)
}

fn built(plan: &Plan) -> String {
    let design = &plan.design;
    format!(
        "{} of {}, {} each, {} each, TTL {}; {} of {}",
        design.nodes.shown(),
        design.cores.shown(),
        design.connections.shown(),
        design.entries.shown(),
        plan.site.get(&field::TTL_S).shown(),
        plan.frame.peak.shown(),
        plan.frame.keys.shown(),
    )
}
