//! This machine: CPU and answer times of hits, misses and handshakes, memory of a key, what more threads gain.
//!
//! Must never be true: CPU time of the generator or of the simulated HSM in a figure of the server.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use kms_loadgen::cpu::resident_bytes;
use kms_loadgen::load::job::{Job, Load};
use kms_loadgen::results::RunResult;
use kms_loadgen::sim::Preset;

use super::Findings;
use crate::input::field;
use crate::model::cpu::Usl;
use crate::validate::machine_times;
use crate::validate::rig::{Asked, Rig};

/// Keys of hits.
const HIT_KEYS: u32 = 1000;
/// Unwraps a second at which answer times are taken.
const QUIET_RPS: f64 = 500.0;
const CONNECTIONS: u32 = 64;
/// Messages with fewer items than this tell nothing apart from those of one.
const ITEMS_MIN: f64 = 1.5;
/// Points that the law needs.
const POINTS_MIN: usize = 3;

/// How it is measured.
pub struct Conditions<'a> {
    /// The server's program.
    pub program: &'a Path,
    /// A new folder.
    pub folder: &'a Path,
    /// Ends all when it becomes true.
    pub stop: &'a AtomicBool,
    /// Of each part.
    pub seconds: f64,
    /// Data keys that misses and memory are measured with.
    pub keys: u32,
}

/// Measures all of it.
pub fn measure(how: &Conditions<'_>, say: &mut dyn FnMut(&str)) -> Result<Findings, String> {
    let mut rig = Rig::prepare(how.folder, how.program, how.keys, say)?;
    let mut findings = Findings::default();
    say("answer times");
    let (times, doubts) = machine_times(&mut rig, &lines(1, 10_000), QUIET_RPS, how.stop)?;
    let mut what = format!("one node, {QUIET_RPS} unwraps/s");
    if !doubts.is_empty() {
        say(&format!(
            "answer times are not to be believed: {}",
            doubts.join("; ")
        ));
        what += "; not to be believed: measure on a quieter machine";
    }
    for (field, value) in times {
        findings.put(field, value, what.clone());
    }
    say("CPU of hits");
    let mut bench = Bench { rig, how };
    let hit_us = bench.hits(&mut findings)?;
    say("CPU of misses");
    bench.misses(&mut findings)?;
    say("CPU of handshakes");
    bench.handshakes(hit_us, &mut findings)?;
    say("memory of keys");
    bench.memory(&mut findings)?;
    bench.threads(&mut findings, say)?;
    Ok(findings)
}

/// Lines of a node's configuration.
fn lines(threads: usize, entries: u32) -> String {
    format!(
        "kms.threads={threads}\nkms.cache.entries.max={entries}\nkms.cache.ttl.s=86400\nkms.connections.max=2048\n"
    )
}

struct Bench<'a> {
    rig: Rig,
    how: &'a Conditions<'a>,
}

impl Bench<'_> {
    fn open(&mut self, threads: usize, entries: u32) -> Result<(), String> {
        self.rig
            .open(Preset::Null.model(), 1, &lines(threads, entries))
    }

    fn fill(&self, keys: u32) -> Result<(), String> {
        self.rig.fill(0, keys, self.how.stop)
    }

    /// A closed loop.
    fn closed(&self, load: Load, connections: u32) -> Job {
        Job {
            closed: true,
            connections,
            duration_s: Some(self.how.seconds),
            keys: Some(self.how.keys),
            loads: vec![load],
            server_pid: self.rig.pid(0),
            ..Job::default()
        }
    }

    fn run(&self, jobs: Vec<Job>) -> Result<Vec<RunResult>, String> {
        let asked = jobs.into_iter().map(|job| Asked { node: 0, job });
        let results = self.rig.run(asked.collect(), self.how.stop, None)?;
        match results
            .iter()
            .map(|result| result.totals.failed())
            .sum::<u64>()
        {
            0 => Ok(results),
            failed => Err(format!(
                "{failed} requests failed while this machine was measured"
            )),
        }
    }

    fn one(&self, job: Job) -> Result<RunResult, String> {
        self.run(vec![job])?
            .pop()
            .ok_or_else(|| "no result".to_owned())
    }

    fn hits(&mut self, findings: &mut Findings) -> Result<f64, String> {
        self.open(1, 10_000)?;
        self.fill(HIT_KEYS)?;
        let result = self.one(self.closed(hot(), CONNECTIONS))?;
        let hit_us = cpu_us(&result)?;
        let how = format!("closed loop, {CONNECTIONS} connections, audit on");
        findings.put(&field::HIT_US, hit_us, how);
        Ok(hit_us)
    }

    /// Two loads with messages of different sizes tell an item's CPU and a message's apart.
    fn misses(&mut self, findings: &mut Findings) -> Result<(), String> {
        let mut seen = Vec::new();
        for connections in [1, CONNECTIONS] {
            // Caches nothing: every unwrap asks the HSM, however often the keys go round.
            self.rig.open(
                Preset::Null.model(),
                1,
                &(lines(1, 1) + "kms.hsm.pool.size=2\n"),
            )?;
            let load = Load {
                streams: vec!["scan-once".to_owned()],
                keys: Some(self.how.keys),
                ..Load::default()
            };
            let result = self.one(self.closed(load, connections))?;
            let messages: u64 = result
                .server
                .batches()
                .iter()
                .map(|size| size.messages)
                .sum();
            let items = result.server.hsm_operations().unwrap_or(0) as f64 / messages.max(1) as f64;
            seen.push((items, cpu_us(&result)?));
        }
        let [(few, cost_few), (many, cost_many)] = seen[..] else {
            return Ok(());
        };
        if many < ITEMS_MIN * few {
            findings.missing.push(format!(
                "machine.miss_us and machine.message_us: messages had {few:.2} and {many:.2} items, too much alike"
            ));
            return Ok(());
        }
        let message_us = (cost_few - cost_many) / (1.0 / few - 1.0 / many);
        let how = format!("messages of {few:.2} and {many:.2} items");
        findings.put(&field::MESSAGE_US, message_us.max(0.0), how.clone());
        findings.put(&field::MISS_US, cost_many - message_us.max(0.0) / many, how);
        Ok(())
    }

    fn handshakes(&mut self, hit_us: f64, findings: &mut Findings) -> Result<(), String> {
        for (field, is_resuming) in [(&field::HANDSHAKE_US, false), (&field::RESUMED_US, true)] {
            self.rig.resumes = is_resuming;
            self.open(1, 10_000)?;
            self.fill(HIT_KEYS)?;
            let job = Job {
                connection_life: Some("1".to_owned()),
                resume: is_resuming,
                ..self.closed(hot(), 16)
            };
            let result = self.one(job)?;
            let totals = &result.totals;
            let resumed = totals.handshakes_resumed as f64;
            let share = resumed / (resumed + totals.handshakes_full as f64);
            if is_resuming && share < 0.9 {
                findings.missing.push(format!(
                    "machine.resumed_us: only {:.0} % of the handshakes were resumed",
                    100.0 * share
                ));
                continue;
            }
            let how = if is_resuming {
                "a connection for each request, P-256 certificates"
            } else {
                "a connection for each request, P-256 certificates: a plan with RSA does not take it"
            };
            findings.put(field, cpu_us(&result)? - hit_us, how);
        }
        self.rig.resumes = false;
        Ok(())
    }

    /// A server with room for all keys, empty of them and full.
    fn memory(&mut self, findings: &mut Findings) -> Result<(), String> {
        let mut resident = Vec::new();
        let (few, many) = (HIT_KEYS, self.how.keys);
        for keys in [few, many] {
            self.open(1, keys)?;
            self.fill(keys)?;
            let pid = self.rig.pid(0).ok_or("there is no node")?;
            resident.push(resident_bytes(pid).map_err(|error| error.to_string())? as f64);
        }
        let bytes = (resident[1] - resident[0]) / f64::from(many - few);
        findings.put(
            &field::BYTES_PER_KEY,
            bytes,
            format!("caches with {few} and {many} keys"),
        );
        Ok(())
    }

    /// Each worker thread has a generator's thread beside it.
    fn threads(
        &mut self,
        findings: &mut Findings,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut points = Vec::new();
        for threads in 1..=cores / 2 {
            say(&format!("throughput of {threads} threads"));
            self.open(threads, 10_000)?;
            self.fill(HIT_KEYS)?;
            let jobs = (0..threads)
                .map(|_| self.closed(hot(), CONNECTIONS))
                .collect();
            let results = self.run(jobs)?;
            let rate: f64 = results.iter().map(RunResult::rate_per_s).sum();
            points.push((threads as f64, rate));
        }
        match Usl::fit(&points).filter(|_| points.len() >= POINTS_MIN) {
            Some(law) => {
                let how = format!("1 to {} threads, hits", points.len());
                findings.put(&field::USL_ALPHA, law.alpha, how.clone());
                findings.put(&field::USL_BETA, law.beta, how);
            }
            None => findings.missing.push(format!(
                "machine.usl_alpha and machine.usl_beta: with {cores} cores, half of which are the generator's, there \
                 are fewer than {POINTS_MIN} numbers of threads to compare"
            )),
        }
        Ok(())
    }
}

/// Keys that are in the cache.
fn hot() -> Load {
    Load {
        keys: Some(HIT_KEYS),
        ..Load::default()
    }
}

/// The server's CPU for each right answer.
fn cpu_us(result: &RunResult) -> Result<f64, String> {
    let used = result
        .cpu
        .server_us
        .ok_or("the server's CPU time cannot be read")?;
    Ok(used as f64 / result.totals.right.max(1) as f64)
}
