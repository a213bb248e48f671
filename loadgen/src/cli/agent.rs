//! `kms-loadgen agent`.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;

use super::output::OutputArgs;
use super::reach::token_of_environment;
use super::run::live;
use super::{clock_jump, say, stop_on_signals};
use crate::load::job::Job;
use crate::load::run::Conditions;
use crate::load::session::Session;

/// Bytes of a plan.
const PLAN_BYTES_MAX: u64 = 1024 * 1024;
/// A start further away than this is a mistake.
const AHEAD_MAX: Duration = Duration::from_hours(24);

/// Runs its share of a plan, beginning at a time that is told: on several machines at once.
///
/// `run --write-plan` makes the plan. Start one agent on each machine, with the same plan and start and another share,
/// then merge the folders: kms-loadgen merge a b c --out all.
#[derive(Args)]
pub(super) struct Agent {
    /// The plan, TOML.
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
    /// Which share of how many, from 1: 2/3 is the second of three.
    #[arg(long, value_name = "NUMBER/OF", default_value = "1/1")]
    share: String,
    /// Begins at this time, seconds since 1970, as `date -d 22:15 +%s` tells it; the machines' clocks must agree.
    #[arg(long, value_name = "UNIX_S")]
    start: Option<f64>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Agent {
    /// Runs once; the exit code.
    pub fn execute(&self) -> Result<u8, String> {
        let mut job = read_plan(&self.plan)?;
        job.share = share(&self.share)?;
        let start = self.start.map(start).transpose()?;
        let stop = stop_on_signals()?;
        let mut tell = |text: &str| {
            if !self.output.quiet {
                say(text);
            }
        };
        let session = Session::open(&job, token_of_environment(), &mut tell)
            .map_err(|error| error.to_string())?;
        if start.is_some_and(|start| start < SystemTime::now()) {
            return Err(
                "the start was over before the data keys were ready: name a later one".to_owned(),
            );
        }
        let conditions = Conditions {
            progress: (!self.output.quiet).then(|| live(&job)),
            start,
            jump: clock_jump()?,
            ..Conditions::plain(&stop)
        };
        let mut result = session
            .run(&job, conditions)
            .map_err(|error| error.to_string())?;
        self.output.give(&mut result)
    }
}

fn share(text: &str) -> Result<(u32, u32), String> {
    let parts = text.split_once('/');
    let parts =
        parts.and_then(|(number, of)| Some((number.parse::<u32>().ok()?, of.parse::<u32>().ok()?)));
    match parts {
        Some((number, of)) if number > 0 && number <= of => Ok((number - 1, of)),
        _ => Err(format!(
            "--share {text}: NUMBER/OF belongs there, such as 2/3"
        )),
    }
}

fn start(unix_s: f64) -> Result<SystemTime, String> {
    let bad = || {
        format!(
            "--start {unix_s}: seconds since 1970 belong there, of a time that comes within a day"
        )
    };
    let since = Duration::try_from_secs_f64(unix_s).map_err(|_| bad())?;
    let start = UNIX_EPOCH + since;
    let left = start.duration_since(SystemTime::now()).map_err(|_| bad())?;
    if left > AHEAD_MAX {
        return Err(bad());
    }
    Ok(start)
}

/// Reads a plan that [`write_plan`] wrote.
pub(super) fn read_plan(path: &Path) -> Result<Job, String> {
    let bad = |why: String| format!("{}: {why}", path.display());
    let size = std::fs::metadata(path)
        .map_err(|error| bad(error.to_string()))?
        .len();
    if size > PLAN_BYTES_MAX {
        return Err(bad(format!("{size} bytes are no plan")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    toml::from_str(&text).map_err(|error| bad(error.to_string()))
}

/// Writes a job as a plan.
pub(super) fn write_plan(path: &Path, job: &Job) -> Result<(), String> {
    let text = toml::to_string(job).map_err(|error| error.to_string())?;
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::load::job::Load;

    #[test]
    fn shares_count_from_one() {
        assert_eq!((share("1/1"), share("2/3")), (Ok((0, 1)), Ok((1, 3))));
        for text in ["0/1", "2/1", "1", "a/b", "1/0", "1/2/3"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn starts_come_soon() {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        assert!(start(now + 5.0).is_ok());
        for unix_s in [now - 5.0, now + 1e6, -1.0, f64::NAN] {
            assert!(start(unix_s).is_err(), "{unix_s}");
        }
    }

    #[test]
    fn plans_are_read_as_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.toml");
        let job = Job {
            loads: vec![
                Load {
                    rate: Some(10.5),
                    ..Load::default()
                },
                Load {
                    trace: Some("t".into()),
                    ..Load::default()
                },
            ],
            slo: Some("p99<5ms".into()),
            ..Job::default()
        };
        write_plan(&path, &job).unwrap();
        assert_eq!(read_plan(&path).unwrap(), job);
        std::fs::write(&path, "connections = 5\nconections = 5\n").unwrap();
        let error = read_plan(&path).unwrap_err();
        assert!(
            error.contains("conections") && error.contains("plan.toml"),
            "{error}"
        );
    }
}
