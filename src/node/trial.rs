//! A wrap and an unwrap at each configured HSM, for `kms check`: the way of a data key, without a server.
//!
//! Must never be true: anything changed at an HSM.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config::{Config, Embedded, Protocol};
use crate::engine::fault_of;
use crate::hsm::embedded::Tried;
use crate::hsm::{Answer, Hsm, HsmError, Job, KeyRecord, KeyState, ObjectId, Request, check};

use super::{Credentials, StartError, backend};

/// For each question.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Names that are looked at for a key that can be used.
const NAMES_MAX: usize = 16;

/// What became of a trial.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// What was wrapped was unwrapped.
    Works,
    /// There was no key to try.
    NoKey,
    /// It could not be done.
    Fails,
    /// Something else came back than was wrapped.
    Lies,
}

/// A trial at one place.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// Address of an HSM, or a key file.
    pub place: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The key and the time it took, or what is wrong.
    pub detail: String,
}

/// Wraps a random data key at each of `places` by itself and unwraps it there: under `key`, or under the first key
/// that can be used. Changes nothing.
pub fn try_keys(
    config: &Config,
    credentials: &Credentials,
    places: &[String],
    key: Option<&str>,
) -> Result<Vec<Trial>, StartError> {
    if let (Protocol::Embedded, Some(embedded)) = (config.hsm.protocol, &config.hsm.embedded) {
        return try_file(embedded, places, key);
    }
    let mut all = Vec::new();
    for endpoint in &config.hsm.endpoints {
        let place = format!("{}:{}", endpoint.host, endpoint.port);
        if !places.contains(&place) {
            continue;
        }
        let mut alone = config.clone();
        alone.hsm.endpoints = vec![endpoint.clone()];
        let hsm = backend::start_alone(&alone, credentials)?;
        let (outcome, detail) = match find(hsm.as_ref(), key) {
            Ok(found) => round_trip(hsm.as_ref(), &found),
            Err(stopped) => stopped,
        };
        hsm.shutdown();
        all.push(Trial {
            place,
            outcome,
            detail,
        });
    }
    Ok(all)
}

/// Why there was no round trip.
type Stopped = (Outcome, String);

/// A key that can be used.
struct Usable {
    name: String,
    version: u32,
    object: ObjectId,
}

fn find(hsm: &dyn Hsm, key: Option<&str>) -> Result<Usable, Stopped> {
    if let Some(key) = key {
        let fails = |why: &str| (Outcome::Fails, format!("key '{key}': {why}"));
        let record = look_up(hsm, key).map_err(|error| fails(&text(&error)))?;
        let record = record.ok_or_else(|| fails("there is no such key"))?;
        return usable(&record).ok_or_else(|| fails("none of its versions is active"));
    }
    let names = match ask(hsm, Request::List) {
        Ok(Answer::Names(names)) => names,
        Ok(_) => return Err((Outcome::Fails, "another answer than asked for".to_owned())),
        Err(HsmError::Unavailable(why)) => return Err((Outcome::Fails, why.to_string())),
        Err(error) => {
            let why = format!("the keys cannot be listed ({})", text(&error));
            return Err((Outcome::NoKey, why));
        }
    };
    let mut found = names.iter().take(NAMES_MAX).filter_map(|name| {
        let record = look_up(hsm, name).ok().flatten()?;
        usable(&record)
    });
    found.next().ok_or_else(|| {
        let why = match names.len() {
            0 => "the HSM has none that this client may use",
            _ => "none of the first that the HSM lists can be used",
        };
        (Outcome::NoKey, why.to_owned())
    })
}

fn look_up(hsm: &dyn Hsm, name: &str) -> Result<Option<std::sync::Arc<KeyRecord>>, HsmError> {
    match ask(hsm, Request::Find { name: name.into() })? {
        Answer::Key(record) => Ok(record),
        _ => Err(HsmError::Protocol("another answer than asked for")),
    }
}

/// The newest version that wraps by itself.
fn usable(record: &KeyRecord) -> Option<Usable> {
    let kind = &record.kind;
    if kind.derived || !kind.supports_encryption {
        return None;
    }
    let mut newest_first = record.versions.iter().rev();
    let version = newest_first.find(|version| version.state == KeyState::Active)?;
    Some(Usable {
        name: record.name.to_string(),
        version: version.number,
        object: version.object.clone(),
    })
}

fn round_trip(hsm: &dyn Hsm, key: &Usable) -> (Outcome, String) {
    let Usable {
        name,
        version,
        object,
    } = key;
    let began = Instant::now();
    match check::round_trip(object, |request| ask(hsm, request)) {
        Ok(()) => {
            let took_ms = began.elapsed().as_secs_f64() * 1e3;
            let done = format!(
                "wrapped and unwrapped a data key under '{name}' version {version} in {took_ms:.1} ms"
            );
            (Outcome::Works, done)
        }
        Err(HsmError::AuthenticationFailed | HsmError::Protocol(check::LIES)) => {
            let what = "it DOES NOT UNWRAP WHAT IT HAS WRAPPED: do not use it";
            (Outcome::Lies, format!("key '{name}': {what}"))
        }
        Err(error) => (Outcome::Fails, format!("key '{name}': {}", text(&error))),
    }
}

fn text(error: &HsmError) -> String {
    match error {
        // Clients are not told; an operator is.
        HsmError::Unavailable(why) => why.to_string(),
        error => fault_of(error).text.into_owned(),
    }
}

fn ask(hsm: &dyn Hsm, request: Request) -> Result<Answer, HsmError> {
    let (tell, told) = mpsc::channel();
    let done = Box::new(move |outcome: Result<Answer, HsmError>| {
        // Nobody listens any more after the time is over.
        let _ = tell.send(outcome);
    });
    hsm.submit(Job::new(request, Instant::now() + TIMEOUT, done));
    let outcome = told.recv_timeout(TIMEOUT + Duration::from_secs(1));
    outcome.unwrap_or(Err(HsmError::TimedOut))
}

fn try_file(
    settings: &Embedded,
    places: &[String],
    key: Option<&str>,
) -> Result<Vec<Trial>, StartError> {
    let place = settings.file.display().to_string();
    if !places.contains(&place) {
        return Ok(Vec::new());
    }
    let tried = backend::try_key_file(settings, key)?;
    let (outcome, detail) = match (tried, key) {
        (Ok(Tried::Works { name, version }), _) => (
            Outcome::Works,
            format!("wrapped and unwrapped a data key under '{name}' version {version}"),
        ),
        (Ok(Tried::Fails { name }), _) => (
            Outcome::Lies,
            format!("key '{name}': it DOES NOT UNWRAP WHAT IT HAS WRAPPED"),
        ),
        (Ok(Tried::NoFile | Tried::NoKey { keys: 0 }), None) => {
            (Outcome::NoKey, "the key file has none yet".to_owned())
        }
        (Ok(Tried::NoFile | Tried::NoKey { .. }), Some(key)) => (
            Outcome::Fails,
            format!("key '{key}': there is no such key, or none of its versions is active"),
        ),
        (Ok(Tried::NoKey { .. }), None) => {
            (Outcome::NoKey, "none of its keys is active".to_owned())
        }
        (Err(error), _) => (Outcome::Fails, error.to_string()),
    };
    Ok(vec![Trial {
        place,
        outcome,
        detail,
    }])
}
