//! A run as it is asked for: by options, by a plan file of an agent, by a scenario. Plain values that files can
//! hold; what they mean is found out when it is built.
//!
//! Must never be true: a secret in a job (tokens are read from their file when the job runs); an option that is
//! passed over in silence. Called by [`super::run`] and the commands.

mod read;
mod words;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::engine::Life;
use super::mix::Mix;
use super::prepared::KEYS_MAX;
use super::schedule::SchedulePlan;
use super::trace::StormPlan;

pub use read::Checked;

/// Connections of one process.
pub const CONNECTIONS_MAX: u32 = 20_000;
const LOADS_MAX: usize = 16;
const DURATION_S_MAX: f64 = 86_400.0;

/// Where the server is and who asks.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reach {
    /// `HOST:PORT`.
    pub address: String,
    /// Name expected in its certificate; `None`: the host of the address.
    pub server_name: Option<String>,
    /// PEM file of the authorities that vouch for it.
    pub ca: PathBuf,
    /// PEM file of the client certificate and its chain.
    pub cert: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
    /// Folder of many of them instead.
    pub identities: Option<PathBuf>,
    /// Network that the clients' addresses are told to be of.
    pub proxy_v2_from: Option<String>,
    /// File with the token.
    pub token_file: Option<PathBuf>,
    /// Mount of the Transit engine.
    pub mount: String,
    /// Vault's namespace.
    pub namespace: Option<String>,
    /// Name of the master key.
    pub transit_key: String,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            address: "localhost:8443".to_owned(),
            server_name: None,
            ca: PathBuf::new(),
            cert: PathBuf::new(),
            key: PathBuf::new(),
            identities: None,
            proxy_v2_from: None,
            token_file: None,
            mount: "transit".to_owned(),
            namespace: None,
            transit_key: "demo".to_owned(),
        }
    }
}

/// One load; several run side by side.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Load {
    /// Requests a second.
    pub rate: Option<f64>,
    /// As `--schedule` has it.
    pub schedule: String,
    /// Each as `--stream` has it.
    pub streams: Vec<String>,
    /// As `--mix` has it.
    pub mix: String,
    /// Devices that restore their keys, instead of a schedule.
    pub storm: Option<StormPlan>,
    /// A recorded trace, instead of a schedule.
    pub trace: Option<PathBuf>,
    /// The trace is played so much faster.
    pub speed: f64,
    /// Starts so many seconds after the run.
    pub start_s: f64,
    /// Lasts so long; `None`: until the end of the run.
    pub duration_s: Option<f64>,
    /// First of its data keys.
    pub first_key: u32,
    /// How many data keys; `None`: all from the first on.
    pub keys: Option<u32>,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            rate: None,
            schedule: SchedulePlan::default().to_string(),
            streams: vec!["uniform".to_owned()],
            mix: Mix::default().to_string(),
            storm: None,
            trace: None,
            speed: 1.0,
            start_s: 0.0,
            duration_s: None,
            first_key: 0,
            keys: None,
        }
    }
}

/// A whole run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Job {
    /// For headings.
    pub name: Option<String>,
    /// Where the server is and who asks.
    pub reach: Reach,
    /// What is asked.
    #[serde(rename = "load")]
    pub loads: Vec<Load>,
    /// A closed loop, without a schedule.
    pub closed: bool,
    /// Connections opened before the run.
    pub connections: u32,
    /// Connections at most; `None`: no more.
    pub connections_max: Option<u32>,
    /// In a closed loop, requests in flight on each connection.
    pub depth: u16,
    /// Requests that a connection lives, `MIN:MAX`; `None`: for ever.
    pub connection_life: Option<String>,
    /// `1.2`, `1.3`, `any`, or `fixed` (1.3 with one suite).
    pub tls: String,
    /// Later connections resume the sessions of earlier ones.
    pub resume: bool,
    /// How long an answer is waited for.
    pub timeout_ms: u64,
    /// Load before the first figure.
    pub warm_up_s: f64,
    /// Load in figures; `None`: 10, or as long as a trace is.
    pub duration_s: Option<f64>,
    /// Given up after so long without an answer.
    pub give_up_s: u64,
    /// Of all that is random.
    pub seed: u64,
    /// Data keys: the working set. `None`: all of the file, or 1000.
    pub keys: Option<u32>,
    /// File of wrapped data keys; without it they are wrapped before the run.
    pub ciphertexts: Option<PathBuf>,
    /// Unwraps every data key once before the run.
    pub fill_cache: bool,
    /// What must hold.
    pub slo: Option<String>,
    /// The server's `/metrics`.
    pub metrics: Option<String>,
    /// The server's process.
    pub server_pid: Option<u32>,
    /// Lag of the generator that is believed, 99th percentile.
    pub lag_ms_max: f64,
    /// Waits without sleeping.
    pub spin: bool,
    /// Which of how many generators this is, that together make the load.
    pub share: (u32, u32),
}

impl Default for Job {
    fn default() -> Self {
        Self {
            name: None,
            reach: Reach::default(),
            loads: Vec::new(),
            closed: false,
            connections: 64,
            connections_max: None,
            depth: 1,
            connection_life: None,
            tls: "any".to_owned(),
            resume: false,
            timeout_ms: 10_000,
            warm_up_s: 0.0,
            duration_s: None,
            give_up_s: 10,
            seed: 1,
            keys: None,
            ciphertexts: None,
            fill_cache: false,
            slo: None,
            metrics: None,
            server_pid: None,
            lag_ms_max: 1.0,
            spin: false,
            share: (0, 1),
        }
    }
}

impl Job {
    fn check_numbers(&self) -> Result<(), String> {
        let (number, of) = self.share;
        let duration_s = self.duration_s.unwrap_or(1.0);
        let has_schedule =
            |load: &Load| load.rate.is_some() || load.schedule != Load::default().schedule;
        for (bad, what) in [
            (self.loads.is_empty(), "no load".to_owned()),
            (self.loads.len() > LOADS_MAX, format!("more than {LOADS_MAX} loads")),
            (
                !(1..=CONNECTIONS_MAX).contains(&self.connections),
                format!("{} connections; 1 to {CONNECTIONS_MAX} belong here", self.connections),
            ),
            (
                !(1..=256).contains(&self.depth),
                format!("a depth of {}; 1 to 256 belongs here", self.depth),
            ),
            (
                self.depth > 1 && !self.closed,
                "a depth above 1 is for the closed loop: a client with a schedule does not pipeline".to_owned(),
            ),
            (
                self.closed && (self.loads.len() > 1 || self.loads.iter().any(Load::is_recorded)),
                "a closed loop has one load, without trace or storm".to_owned(),
            ),
            (
                self.closed && self.loads.iter().any(has_schedule),
                "a closed loop has no rate and no schedule".to_owned(),
            ),
            (
                !(0.001..=DURATION_S_MAX).contains(&duration_s),
                format!("a duration of {duration_s} s; 0.001 to {DURATION_S_MAX} belongs here"),
            ),
            (
                !(0.0..=DURATION_S_MAX).contains(&self.warm_up_s),
                format!("a warm-up of {} s; 0 to {DURATION_S_MAX} belongs here", self.warm_up_s),
            ),
            (
                !(1..=3_600_000).contains(&self.timeout_ms),
                format!("a time-out of {} ms; 1 to 3600000 belongs here", self.timeout_ms),
            ),
            (
                self.keys.is_some_and(|keys| !(1..=KEYS_MAX).contains(&keys)),
                format!("a working set of 1 to {KEYS_MAX} data keys belongs here"),
            ),
            (of == 0 || number >= of, format!("share {number} of {of}")),
            (
                !(0.001..=60_000.0).contains(&self.lag_ms_max),
                format!("a lag of {} ms; 0.001 to 60000 belongs here", self.lag_ms_max),
            ),
        ] {
            if bad {
                return Err(what);
            }
        }
        Ok(())
    }

    fn life(&self) -> Result<Life, String> {
        let Some(text) = &self.connection_life else {
            return Ok(Life::KEEP);
        };
        let bad = || {
            format!(
                "`{text}` is no life of connections; MIN:MAX requests belong here, or 1 for a connection each"
            )
        };
        let (min, max) = text.split_once(':').unwrap_or((text, text));
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
        match (number(min), number(max)) {
            (Some(min), Some(max)) if min <= max => Ok(Life { min, max }),
            _ => Err(bad()),
        }
    }

    /// A seed for each thing that is random, other ones for each share.
    pub fn seed_of(&self, what: u64) -> u64 {
        // Odd, from the golden ratio: neighbours get seeds that are far apart.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let share = u64::from(self.share.0) << 32;
        self.seed.wrapping_add(STEP.wrapping_mul(what + 1 + share))
    }
}

impl Load {
    fn is_recorded(&self) -> bool {
        self.storm.is_some() || self.trace.is_some()
    }
}

#[cfg(test)]
#[path = "job/tests.rs"]
mod tests;
