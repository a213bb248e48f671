//! A scenario from its beginning to its result: load on one thread, events on another.
//!
//! Must never be true: an event that failed and is not told. Called by the command `scenario`.

// Seconds of files become microseconds; they were checked.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, SystemTime};

use super::file::{Event, Scenario, What};
use super::stage::Stage;
use crate::load::clock::unix_us;
use crate::load::job::Job;
use crate::load::observer::Progress;
use crate::load::run::Conditions;
use crate::load::session::Session;
use crate::results::{self, RunResult};

/// What is needed beside the scenario.
pub struct Theatre<'a> {
    /// The server's program.
    pub program: &'a Path,
    /// A new folder for certificates and configuration.
    pub folder: &'a Path,
    /// Where the server's log goes.
    pub log: &'a Path,
    /// Ends it when it becomes true.
    pub stop: &'a AtomicBool,
    /// Told each second.
    pub progress: Option<Box<dyn Progress>>,
}

/// Plays it. `say` hears what happens.
pub fn play(
    scenario: &Scenario,
    theatre: Theatre<'_>,
    say: &(dyn Fn(&str) + Sync),
) -> Result<RunResult, String> {
    let events = scenario.events()?;
    say("starting the simulated HSM and the server");
    let mut stage = Stage::set(scenario, theatre.folder, theatre.program, theatre.log)?;
    let job = Job {
        name: Some(scenario.name.clone()),
        reach: stage.reach(),
        metrics: Some(stage.metrics()),
        ..scenario.run.clone()
    };
    let mut tell = |text: &str| say(text);
    let session = Session::open(&job, None, &mut tell).map_err(|error| error.to_string())?;
    if job.fill_cache {
        say("filling the cache");
        session
            .fill_cache(&job, theatre.stop)
            .map_err(|error| error.to_string())?;
    }
    let pid = Arc::new(AtomicU32::new(stage.pid()));
    let (begun, has_begun) = mpsc::channel();
    let conditions = Conditions {
        progress: theatre.progress,
        server_pid: Arc::clone(&pid),
        begun: Some(begun),
        ..Conditions::plain(theatre.stop)
    };
    let (over, is_over) = mpsc::channel();
    std::thread::scope(|scope| {
        let stage = &mut stage;
        let pid = &pid;
        let events = &events;
        let director = scope.spawn(move || direct(stage, events, pid, (&has_begun, &is_over), say));
        let result = session
            .run(&job, conditions)
            .map_err(|error| error.to_string());
        // Events that have not come yet never come.
        drop(over);
        let played = director
            .join()
            .map_err(|_| "the events' thread failed".to_owned())?;
        let mut result = result?;
        result.events = played.events;
        result.plan.scenario = Some(scenario.name.clone());
        result
            .about
            .notes
            .insert(0, scenario.about.trim().to_owned());
        for failure in played.failures {
            result
                .validity
                .doubts
                .push(results::Doubt::Other { text: failure });
        }
        Ok(result)
    })
}

#[derive(Default)]
struct Played {
    events: Vec<results::Event>,
    failures: Vec<String>,
}

fn direct(
    stage: &mut Stage,
    events: &[Event],
    pid: &AtomicU32,
    (has_begun, is_over): (&Receiver<SystemTime>, &Receiver<()>),
    say: &(dyn Fn(&str) + Sync),
) -> Played {
    let mut played = Played::default();
    // A run that could not begin has no events.
    let Ok(first_figure) = has_begun.recv() else {
        return played;
    };
    for event in events {
        let at = first_figure + Duration::from_secs_f64(event.at_s);
        let left = at.duration_since(SystemTime::now()).unwrap_or_default();
        if is_over.recv_timeout(left) != Err(mpsc::RecvTimeoutError::Timeout) {
            break;
        }
        say(&event.label);
        let begun_us = unix_us();
        let done = act(stage, event, pid);
        let ended_us = unix_us();
        played.events.push(results::Event {
            at_unix_us: begun_us,
            until_unix_us: lasts_us(event, begun_us, ended_us),
            label: event.label.clone(),
        });
        if let Err(why) = done {
            say(&format!("{}: {why}", event.label));
            played.failures.push(format!("{}: {why}", event.label));
        }
    }
    played
}

fn act(stage: &mut Stage, event: &Event, pid: &AtomicU32) -> Result<(), String> {
    match &event.what {
        What::Mark => Ok(()),
        What::Hsm(order) => stage.order_hsm(order),
        What::Server(order) => {
            stage.begin(*order)?;
            std::thread::sleep(Duration::from_secs_f64(event.for_s));
            stage.end(*order)?;
            pid.store(stage.pid(), Ordering::Relaxed);
            Ok(())
        }
    }
}

/// Its end, for what lasts: as long as it took, or the milliseconds that an order to the HSM names.
fn lasts_us(event: &Event, begun_us: u64, ended_us: u64) -> Option<u64> {
    match &event.what {
        What::Hsm(order) => {
            let ms: u64 = order.split_whitespace().nth(1)?.parse().ok()?;
            Some(begun_us + ms * 1000)
        }
        What::Server(_) => Some(ended_us),
        What::Mark => (event.for_s > 0.0).then(|| begun_us + (event.for_s * 1e6) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_to_the_hsm_say_how_long_they_last() {
        for (order, want) in [
            ("stall 2000", Some(2_000_005)),
            ("set engines 4", None),
            ("clear", None),
        ] {
            let event = Event {
                at_s: 0.0,
                for_s: 0.0,
                what: What::Hsm(order.to_owned()),
                label: String::new(),
            };
            assert_eq!(lasts_us(&event, 5, 9), want, "{order}");
        }
    }
}
