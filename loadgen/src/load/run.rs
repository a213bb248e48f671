//! One run, from a job to its result.
//!
//! Must never be true: a result that claims more than was measured: a run that was cut, a generator that lagged, an
//! answer that was wrong all stand in it. Called by the commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::Sender;
use std::time::SystemTime;

use super::clock::Jump;
use super::engine::{Ended, Engine, EngineError, EnginePlan, Pace};
use super::job::{Checked, Job};
use super::observer::{Observer, Progress, Watch};
use super::outcome::Measured;
use super::request::Requests;
use super::session::{RunError, Session};
use super::tally::Tally;
use crate::cpu;
use crate::results::slo::Slo;
use crate::results::{Completeness, ErrorKind, Machine, RunResult, Validity};

/// Data keys in one request when the cache is filled, ...
const FILL_ITEMS: u32 = 50;
/// ... and connections that do it.
const FILLERS: usize = 8;

/// What a run is under, apart from its job.
pub struct Conditions<'a> {
    /// Ends it when it becomes true.
    pub stop: &'a AtomicBool,
    /// Told each second.
    pub progress: Option<Box<dyn Progress>>,
    /// The server's process; 0: not known.
    pub server_pid: Arc<AtomicU32>,
    /// Begins then; `None`: at once.
    pub start: Option<SystemTime>,
    /// Hears when the first figure is taken.
    pub begun: Option<Sender<SystemTime>>,
    /// For tests.
    pub jump: Option<Jump>,
}

impl<'a> Conditions<'a> {
    /// Nobody watches, it begins at once.
    pub fn plain(stop: &'a AtomicBool) -> Self {
        Self {
            stop,
            progress: None,
            server_pid: Arc::default(),
            start: None,
            begun: None,
            jump: None,
        }
    }
}

impl Session {
    /// Runs `job` once.
    pub fn run(&self, job: &Job, conditions: Conditions<'_>) -> Result<RunResult, RunError> {
        let checked = job.check().map_err(RunError::Job)?;
        let slo: Option<Slo> = match job.slo.as_deref().map(str::parse).transpose() {
            Ok(slo) => slo,
            Err(error) => return Err(RunError::Job(format!("--slo: {error}"))),
        };
        let metrics = job.metrics.as_deref().map(str::parse).transpose();
        let watch = Watch {
            metrics: metrics.map_err(RunError::Job)?,
            server_pid: conditions.server_pid,
            progress: conditions.progress,
        };
        if let Some(pid) = job.server_pid {
            watch.server_pid.store(pid, Ordering::Relaxed);
        }
        let keys = self.working_set(job, &checked);
        let plan = self.engine_plan(job, &checked, conditions.jump);
        let mut run = RunResult {
            plan: checked.words(job, keys, self.door.targets.len()),
            server: self.server.clone(),
            machines: vec![Machine::here()],
            ..RunResult::default()
        };
        run.about.notes.clone_from(&self.notes);
        let feed = checked.feed(job, keys).map_err(RunError::Job)?;
        let (observer, ticks) = Observer::start(watch).map_err(EngineError::Io)?;
        let tally = Tally::new(feed.kinds(), job.closed, Some(ticks));
        let requests = self.requests(job.seed_of(1 << 17));
        let before = cpu::stolen().ok();
        let engine = Engine::connect(plan, feed, requests, tally, conditions.stop)?;
        let mut ended = engine.run(conditions.start, conditions.begun.as_ref())?;
        ended.tally.finish_ticks();
        let measured = Measured {
            seen: observer.finish(),
            stolen: before.zip(cpu::stolen().ok()),
        };
        self.verify(&mut ended, &mut run);
        measured.put(ended, job, &mut run);
        run.slo = slo.map(|slo| slo.judge(&run));
        Ok(run)
    }

    fn engine_plan(&self, job: &Job, checked: &Checked, jump: Option<Jump>) -> EnginePlan {
        let common = |connections: u32| {
            if checked.needs_common {
                connections.div_ceil(job.share.1)
            } else {
                0
            }
        };
        EnginePlan {
            targets: self.door.targets.clone(),
            proxy: self.door.proxy,
            pace: if job.closed {
                Pace::Closed { depth: job.depth }
            } else {
                Pace::Open
            },
            connections: common(job.connections),
            connections_max: common(checked.connections_max),
            life: checked.life,
            timeout_ns: job.timeout_ms * 1_000_000,
            warm_up_ns: (job.warm_up_s * 1e9) as u64,
            duration_ns: (checked.duration_s * 1e9) as u64,
            give_up_ns: job.give_up_s.saturating_mul(1_000_000_000),
            spins: job.spin,
            seed: job.seed_of(1 << 16),
            jump,
        }
    }

    fn requests(&self, seed: u64) -> Requests {
        Requests::new(self.door.address.clone(), Arc::clone(&self.prepared), seed)
    }

    /// Unwraps every data key of the working set once.
    pub fn fill_cache(&self, job: &Job, stop: &AtomicBool) -> Result<(), RunError> {
        let checked = job.check().map_err(RunError::Job)?;
        let keys = self.working_set(job, &checked);
        let next = AtomicU32::new(0);
        let fill = || -> Result<(), RunError> {
            let mut desk = self.door.desk()?;
            let mut requests = self.requests(job.seed);
            loop {
                let first = next.fetch_add(FILL_ITEMS, Ordering::Relaxed);
                if first >= keys || stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let numbers: Vec<u32> = (first..keys.min(first + FILL_ITEMS)).collect();
                desk.unwrap_all(&self.prepared, &numbers, &mut requests)?;
            }
        };
        std::thread::scope(|scope| {
            let fillers: Vec<_> = (0..FILLERS).map(|_| scope.spawn(fill)).collect();
            let ended = fillers.into_iter().map(|filler| {
                let ended = filler.join();
                ended.unwrap_or_else(|_| Err(RunError::Job("filling the cache failed".to_owned())))
            });
            ended.collect()
        })
    }

    /// Unwraps the sample of ciphertexts that came back.
    fn verify(&self, ended: &mut Ended, run: &mut RunResult) {
        let samples = ended.requests.take_samples();
        if samples.is_empty() {
            return;
        }
        let verified = self.door.desk().map_err(|error| error.to_string());
        let verified =
            verified.and_then(|mut desk| desk.verify(&samples).map_err(|error| error.to_string()));
        let notes = &mut run.about.notes;
        match verified {
            Ok(wrong) if wrong.is_empty() => {
                notes.push(format!(
                    "{} ciphertexts that came back were unwrapped: all right",
                    samples.len()
                ));
            }
            Ok(wrong) => {
                for (operation, count) in wrong {
                    notes.push(format!(
                        "{count} ciphertexts of {operation} do not unwrap to their data key"
                    ));
                    ended.tally.found_wrong(count);
                }
            }
            Err(why) => notes.push(format!(
                "ciphertexts that came back could not be verified: {why}"
            )),
        }
    }
}

/// What a run's exit code says: 0 all well; 1 a wrong answer, a missed SLO or, without one, any failure; 3 not to
/// be believed.
pub fn exit_code(run: &RunResult) -> u8 {
    let has_failed = run.totals.failed() > 0 || run.about.completeness != Completeness::Whole;
    let is_met = run
        .slo
        .as_ref()
        .map_or(!has_failed, crate::results::slo::Verdict::is_met);
    if run.totals.errors.contains_key(&ErrorKind::WrongAnswer) {
        1
    } else if !Validity::is_valid(&run.validity) {
        3
    } else {
        u8::from(!is_met || run.about.completeness != Completeness::Whole)
    }
}
