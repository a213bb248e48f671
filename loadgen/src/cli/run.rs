//! `kms-loadgen run`.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;

use super::agent::write_plan;
use super::output::OutputArgs;
use super::progress::Live;
use super::reach::ReachArgs;
use super::shape::{PaceArgs, ShapeArgs};
use super::workers::{self, WORKERS_MAX};
use super::{clock_jump, say, stop_on_signals};
use crate::load::job::Job;
use crate::load::observer::Progress;
use crate::load::run::Conditions;
use crate::load::session::Session;
use crate::results::RunResult;

/// Loads a server on a schedule (open loop), or as fast as it answers (closed loop).
///
/// Every plaintext that comes back is compared with the data key that was wrapped. Latency counts from when a request
/// was due, so that a stall is seen by all who wait for it.
#[derive(Args)]
pub(super) struct Run {
    #[command(flatten)]
    pace: PaceArgs,
    /// Processes that share the load, when one core is not enough.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(WORKERS_MAX)))]
    workers: u32,
    /// Writes a plan for agents to this file instead of running.
    #[arg(long, value_name = "FILE")]
    write_plan: Option<PathBuf>,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    shape: ShapeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run {
    /// Runs once; the exit code.
    pub fn execute(&self) -> Result<u8, String> {
        let mut job = self.shape.job(&self.reach);
        self.pace.add_to(&mut job)?;
        job.name.clone_from(&self.output.name);
        job.check()?;
        if let Some(path) = &self.write_plan {
            write_plan(path, &job)?;
            return Ok(0);
        }
        let (token, is_told) = (self.reach.token(), !self.output.quiet);
        let mut result = if self.workers > 1 {
            workers::run(
                &job,
                self.workers,
                token.as_ref(),
                self.output.out.as_deref(),
                is_told,
            )?
        } else {
            once(&job, token, is_told)?
        };
        self.output.give(&mut result)
    }
}

/// Runs a job here and now.
pub(super) fn once(
    job: &Job,
    token: Option<kms::secret::SecretString>,
    is_told: bool,
) -> Result<RunResult, String> {
    let stop = stop_on_signals()?;
    let mut tell = |text: &str| {
        if is_told {
            say(text);
        }
    };
    let session = Session::open(job, token, &mut tell).map_err(|error| error.to_string())?;
    if job.fill_cache {
        tell("filling the cache");
        session
            .fill_cache(job, &stop)
            .map_err(|error| error.to_string())?;
    }
    let conditions = Conditions {
        progress: is_told.then(|| live(job)),
        jump: clock_jump()?,
        ..Conditions::plain(&stop)
    };
    let result = session
        .run(job, conditions)
        .map_err(|error| error.to_string())?;
    if stop.load(Ordering::Relaxed) {
        tell("interrupted: what was measured until then is kept");
    }
    Ok(result)
}

pub(super) fn live(job: &Job) -> Box<dyn Progress> {
    let seconds = job.warm_up_s + job.check().map_or(0.0, |checked| checked.duration_s);
    Box::new(Live::new(
        Duration::try_from_secs_f64(seconds).unwrap_or_default(),
    ))
}
