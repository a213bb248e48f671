//! A wrap and an unwrap at each configured HSM, for `kms check --key`: the way of a data key, without a server.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::engine::fault_of;
use crate::hsm::{Answer, Hsm, HsmError, Job, KeyState, Request, check};

use super::backend::{self, Probed};
use super::{Credentials, StartError};

/// For each question.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Wraps a random data key under `key` at each address by itself, and unwraps it there. Changes nothing at the HSM.
pub fn try_key(
    config: &Config,
    credentials: &Credentials,
    key: &str,
) -> Result<Vec<Probed>, StartError> {
    let mut found = Vec::new();
    for endpoint in &config.hsm.endpoints {
        let mut alone = config.clone();
        alone.hsm.endpoints = vec![endpoint.clone()];
        let place = format!("{}:{}", endpoint.host, endpoint.port);
        let hsm = backend::start_alone(&alone, credentials)?;
        let began = Instant::now();
        let done = round_trip(hsm.as_ref(), key);
        let took_ms = began.elapsed().as_secs_f64() * 1e3;
        hsm.shutdown();
        found.push(Probed {
            place,
            up: done.is_ok(),
            detail: match done {
                Ok(version) => format!(
                    "wrapped and unwrapped a data key under '{key}' version {version} in {took_ms:.1} ms, connecting included"
                ),
                Err(why) => format!("key '{key}': {why}"),
            },
        });
    }
    Ok(found)
}

/// The version that was used.
fn round_trip(hsm: &dyn Hsm, key: &str) -> Result<u32, String> {
    let Answer::Key(record) = ask(hsm, Request::Find { name: key.into() })? else {
        return Err("another answer than asked for".to_owned());
    };
    let record = record.ok_or("there is no such key")?;
    let usable = record.versions.iter().rev();
    let version = usable
        .into_iter()
        .find(|version| version.state == KeyState::Active);
    let version = version.ok_or("none of its versions is active")?;
    match check::round_trip(&version.object, |request| put(hsm, request)) {
        Ok(()) => Ok(version.number),
        Err(HsmError::Protocol(check::LIES)) => Err(format!(
            "the HSM WRAPPED ONE THING AND UNWRAPPED ANOTHER: do not use it ({})",
            check::LIES
        )),
        Err(error) => Err(text(&error)),
    }
}

fn text(error: &HsmError) -> String {
    fault_of(error).text.into_owned()
}

fn ask(hsm: &dyn Hsm, request: Request) -> Result<Answer, String> {
    put(hsm, request).map_err(|error| text(&error))
}

fn put(hsm: &dyn Hsm, request: Request) -> Result<Answer, HsmError> {
    let (tell, told) = mpsc::channel();
    let done = Box::new(move |outcome: Result<Answer, HsmError>| {
        // Nobody listens any more after the time is over.
        let _ = tell.send(outcome);
    });
    hsm.submit(Job::new(request, Instant::now() + TIMEOUT, done));
    let outcome = told.recv_timeout(TIMEOUT + Duration::from_secs(1));
    outcome.unwrap_or(Err(HsmError::TimedOut))
}
