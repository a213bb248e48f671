//! A wrap and an unwrap at each configured HSM, for `kms check --key`: the way of a data key, without a server.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use crate::config::Config;
use crate::engine::fault_of;
use crate::hsm::{Answer, Hsm, HsmError, Job, KeyState, Request};
use crate::secret::SecretBytes;

use super::backend::{self, Probed};
use super::{Credentials, StartError};

/// For each question.
const TIMEOUT: Duration = Duration::from_secs(5);
const DATA_KEY_BYTES: usize = 32;

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
    let mut data_key = vec![0; DATA_KEY_BYTES];
    SystemRandom::new()
        .fill(&mut data_key)
        .map_err(|_| "the kernel gives no random numbers")?;
    let data_key = SecretBytes::new(data_key);
    let wrap = Request::Encrypt {
        object: version.object.clone(),
        plaintext: SecretBytes::from_slice(data_key.expose()),
        associated_data: Vec::new(),
    };
    let Answer::Sealed(sealed) = ask(hsm, wrap)? else {
        return Err("another answer than asked for".to_owned());
    };
    let unwrap = Request::Decrypt {
        object: version.object.clone(),
        sealed,
        associated_data: Vec::new(),
    };
    let Answer::Plaintext(plaintext) = ask(hsm, unwrap)? else {
        return Err("another answer than asked for".to_owned());
    };
    if plaintext.expose(|plaintext| plaintext == data_key.expose()) {
        Ok(version.number)
    } else {
        Err("the HSM UNWRAPPED SOMETHING ELSE than what it had wrapped: do not use it".to_owned())
    }
}

fn ask(hsm: &dyn Hsm, request: Request) -> Result<Answer, String> {
    let (tell, told) = mpsc::channel();
    let done = Box::new(move |outcome: Result<Answer, HsmError>| {
        // Nobody listens any more after the time is over.
        let _ = tell.send(outcome);
    });
    hsm.submit(Job::new(request, Instant::now() + TIMEOUT, done));
    match told.recv_timeout(TIMEOUT + Duration::from_secs(1)) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(fault_of(&error).text.into_owned()),
        Err(_) => Err(format!("no answer in {} s", TIMEOUT.as_secs())),
    }
}
