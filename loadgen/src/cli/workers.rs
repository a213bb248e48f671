//! `run --workers N`: several processes of this program on one machine, each with its share of the load.
//!
//! Must never be true: percentiles that are averaged; a worker that outlives this process when all goes well. Called
//! by `run`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kms::secret::SecretString;
use rustix::process::{Pid, Signal, kill_process};

use super::agent::write_plan;
use super::{Scratch, say, stop_on_signals};
use crate::load::job::Job;
use crate::load::session::Session;
use crate::results::{Completeness, RunResult, files, merge};

/// From the start of the workers to the start of the load, for each of them.
const AHEAD: Duration = Duration::from_millis(500);
const AHEAD_MIN: Duration = Duration::from_secs(2);
/// Between two looks at a worker.
const PAUSE: Duration = Duration::from_millis(50);
/// Processes of one machine.
pub(super) const WORKERS_MAX: u32 = 64;

/// Runs `job` in so many processes; their results as one.
pub(super) fn run(
    job: &Job,
    workers: u32,
    token: Option<&SecretString>,
    out: Option<&Path>,
    is_told: bool,
) -> Result<RunResult, String> {
    let stop = stop_on_signals()?;
    let scratch = match out {
        Some(_) => None,
        None => Some(Scratch::new("workers")?),
    };
    let folder = match (out, &scratch) {
        (None, Some(scratch)) => scratch.0.clone(),
        (out, _) => out.unwrap_or(Path::new(".")).join("workers"),
    };
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut tell = |text: &str| {
        if is_told {
            say(text);
        }
    };
    // Wrapped once for all of them.
    let session =
        Session::open(job, token.cloned(), &mut tell).map_err(|error| error.to_string())?;
    let mut plan = job.clone();
    if plan.ciphertexts.is_none() {
        let path = folder.join("ciphertexts");
        session
            .prepared
            .write(&path)
            .map_err(|error| error.to_string())?;
        plan.ciphertexts = Some(path);
    }
    if job.fill_cache {
        tell("filling the cache");
        session
            .fill_cache(job, &stop)
            .map_err(|error| error.to_string())?;
    }
    drop(session);
    let children = start_all(&mut plan, workers, &folder, token)?;
    tell(&format!("{workers} workers"));
    let mut results = Vec::new();
    for (place, mut child) in children {
        let ended = wait(&mut child, &stop).map_err(|error| error.to_string())?;
        match files::load(&place) {
            Ok(result) => results.push(result),
            Err(error) => {
                say(&format!(
                    "kms-loadgen: a worker ended with {ended} and left no result: {error}"
                ));
            }
        }
    }
    let found = results.len();
    let mut merged = merge::merge(&results, false).map_err(|error| error.to_string())?;
    if found < workers as usize {
        let why = format!("{found} of {workers} workers gave a result");
        merged.about.completeness = Completeness::Partial(why);
    }
    merged.about.name.clone_from(&job.name);
    Ok(merged)
}

/// All of them, with one start.
fn start_all(
    plan: &mut Job,
    workers: u32,
    folder: &Path,
    token: Option<&SecretString>,
) -> Result<Vec<(PathBuf, Child)>, String> {
    let start = SystemTime::now() + AHEAD_MIN.max(AHEAD * workers);
    let since = start.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut children = Vec::new();
    for number in 1..=workers {
        if number == 2 {
            // One process watches the server.
            (plan.metrics, plan.server_pid) = (None, None);
        }
        let place = folder.join(number.to_string());
        let plan_file = folder.join(format!("plan-{number}.toml"));
        write_plan(&plan_file, plan)?;
        let share = (number, workers);
        match start_one(&plan_file, share, since.as_secs_f64(), &place, token) {
            Ok(child) => children.push((place, child)),
            Err(error) => {
                end(children);
                return Err(format!("worker {number} cannot be started: {error}"));
            }
        }
    }
    Ok(children)
}

fn start_one(
    plan: &Path,
    (number, of): (u32, u32),
    unix_s: f64,
    out: &Path,
    token: Option<&SecretString>,
) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("agent").arg(plan).arg("--quiet").arg("--json");
    command.arg("--share").arg(format!("{number}/{of}"));
    command.arg("--start").arg(format!("{unix_s:.6}"));
    command.arg("--out").arg(out);
    if let Some(token) = token {
        // Not on the command line, which everybody can see.
        command.env("VAULT_TOKEN", token.expose());
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()
}

/// Waits for its end, which an interruption of this process brings about.
fn wait(child: &mut Child, stop: &AtomicBool) -> std::io::Result<ExitStatus> {
    let mut is_told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if stop.load(Ordering::Relaxed) && !is_told {
            is_told = true;
            // Not waited for yet, so the number is its own. It keeps what it has.
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        std::thread::sleep(PAUSE);
    }
}

fn end(children: Vec<(PathBuf, Child)>) {
    for (_, mut child) in children {
        // Ended already is as good.
        let _ = child.kill();
        let _ = child.wait();
    }
}
