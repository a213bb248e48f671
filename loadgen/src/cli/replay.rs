//! `kms-loadgen replay`.

use std::path::PathBuf;

use clap::Args;

use super::output::OutputArgs;
use super::reach::ReachArgs;
use super::run::once;
use super::shape::ShapeArgs;
use crate::load::job::Load;

/// Replays a recorded trace: the same operations on as many data keys at the same distances of time.
///
/// A line of the trace is a request: `{"t_us":1200,"op":"decrypt","key":"a7","device":"d1"}`. Equal keys are the same
/// data key; a device, which may be left out, has a connection of its own; "keys" with a list is a batch.
#[derive(Args)]
pub(super) struct Replay {
    /// The trace, JSON lines.
    #[arg(value_name = "TRACE")]
    trace: PathBuf,
    /// Plays it so many times as fast.
    #[arg(long, value_name = "TIMES", default_value_t = 1.0)]
    speed: f64,
    /// Ends after so many seconds [default: with the trace].
    #[arg(long, value_name = "S")]
    duration_s: Option<f64>,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    shape: ShapeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl Replay {
    /// Runs once; the exit code.
    pub fn execute(&self) -> Result<u8, String> {
        let mut job = self.shape.job(&self.reach);
        job.name.clone_from(&self.output.name);
        job.duration_s = self.duration_s;
        job.loads = vec![Load {
            trace: Some(self.trace.clone()),
            speed: self.speed,
            ..Load::default()
        }];
        let mut result = once(&job, self.reach.token(), !self.output.quiet)?;
        self.output.give(&mut result)
    }
}
