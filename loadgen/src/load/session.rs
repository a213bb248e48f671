//! A server made ready for runs: reached, its certificates accepted, its data keys wrapped or read from a file and
//! tried.
//!
//! Must never be true: a run against ciphertexts that are not the server's. Called by the commands; one
//! session serves the many probes of a search.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use kms::secret::SecretString;

use super::job::{Checked, Job, Reach};
use super::prepared::{Prepared, PreparedError};
use super::proxy::ProxyFrom;
use super::request::{Address, Requests};
use super::wrap::{Desk, WrapError};
use crate::client::ClientError;
use crate::results::ServerView;
use crate::target::{PemFiles, Target, TargetError, TlsPlan, identities, reach};

use super::engine::EngineError;

/// Bytes of a token's file.
const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a data key.
const PLAINTEXT_BYTES: u16 = 32;
/// Data keys, unless told.
const KEYS: u32 = 1000;

/// Why a run did not begin.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The job cannot be: an option, a trace.
    Job(String),
    /// The certificates cannot be used, or nobody listens.
    Target(TargetError),
    /// No data keys.
    Wrap(WrapError),
    /// No file of them.
    Prepared(PreparedError),
    /// The first connections could not be made.
    Engine(EngineError),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(why) => f.write_str(why),
            Self::Target(error) => write!(f, "{error}"),
            Self::Wrap(error) => write!(f, "{error}"),
            Self::Prepared(error) => write!(f, "{error}"),
            Self::Engine(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for RunError {}

impl From<TargetError> for RunError {
    fn from(error: TargetError) -> Self {
        Self::Target(error)
    }
}

impl From<WrapError> for RunError {
    fn from(error: WrapError) -> Self {
        Self::Wrap(error)
    }
}

impl From<ClientError> for RunError {
    fn from(error: ClientError) -> Self {
        Self::Wrap(WrapError::Client(error))
    }
}

impl From<PreparedError> for RunError {
    fn from(error: PreparedError) -> Self {
        Self::Prepared(error)
    }
}

impl From<EngineError> for RunError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// A server, reached.
pub struct Door {
    /// Once for each client certificate.
    pub targets: Vec<Target>,
    /// Where requests go.
    pub address: Address,
    /// Whom clients are told to be.
    pub proxy: Option<ProxyFrom>,
}

impl Door {
    /// Reads the certificates and finds the address that accepts connections. `token` wins over the file's.
    pub fn open(
        told: &Reach,
        plan: TlsPlan,
        token: Option<SecretString>,
    ) -> Result<Self, RunError> {
        let proxy = told
            .proxy_v2_from
            .as_deref()
            .map(str::parse)
            .transpose()
            .map_err(RunError::Job)?;
        check_path("mount", &told.mount)?;
        check_path("transit-key", &told.transit_key)?;
        check_header("--namespace", told.namespace.as_deref())?;
        check_header("the token", token.as_ref().map(SecretString::expose))?;
        let pairs = match &told.identities {
            Some(folder) => identities(folder)?,
            None => vec![(told.cert.clone(), told.key.clone())],
        };
        let host = told
            .address
            .rsplit_once(':')
            .map_or(told.address.as_str(), |(host, _)| host);
        let name = told
            .server_name
            .as_deref()
            .unwrap_or(host.trim_matches(['[', ']']));
        let mut targets = Vec::new();
        let mut address = None;
        for (chain, key) in &pairs {
            // Certificates are looked at first: what is wrong with them is wrong whoever listens.
            let files = PemFiles {
                authority: &told.ca,
                chain,
                key,
            };
            let nowhere = ([0, 0, 0, 0], 0).into();
            let mut target = files.target(address.unwrap_or(nowhere), name, plan)?;
            if address.is_none() {
                let found = reach(&told.address)?;
                address = Some(found);
                target.set_address(name, found);
            }
            targets.push(target);
        }
        let host = targets
            .first()
            .map(|target| target.host.clone())
            .unwrap_or_default();
        let address = Address {
            host,
            mount: told.mount.trim_matches('/').to_owned(),
            transit_key: told.transit_key.clone(),
            token: match (token, &told.token_file) {
                (Some(token), _) => Some(token),
                (None, Some(path)) => Some(read_token(path)?),
                (None, None) => None,
            },
            namespace: told.namespace.clone(),
        };
        Ok(Self {
            targets,
            address,
            proxy,
        })
    }

    /// A connection to ask one thing at a time.
    pub fn desk(&self) -> Result<Desk<'_>, RunError> {
        let target = self
            .targets
            .first()
            .ok_or_else(|| RunError::Job("no client certificate".to_owned()))?;
        Ok(Desk::open(target, &self.address, self.proxy)?)
    }
}

/// It stands in paths as it is.
fn check_path(name: &str, text: &str) -> Result<(), RunError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./~".contains(c);
    if text.is_empty() || !text.chars().all(is_plain) {
        return Err(RunError::Job(format!(
            "--{name} `{text}`: letters, digits and -_./~ belong there"
        )));
    }
    Ok(())
}

/// It stands in a header as it is. What it is, is not told: it may be a secret.
fn check_header(name: &str, text: Option<&str>) -> Result<(), RunError> {
    let is_plain = |text: &str| text.len() <= TOKEN_BYTES_MAX && text.chars().all(is_visible);
    if text.is_some_and(|text| !is_plain(text)) {
        return Err(RunError::Job(format!(
            "{name}: visible characters of ASCII belong there, at most {TOKEN_BYTES_MAX}"
        )));
    }
    Ok(())
}

fn is_visible(c: char) -> bool {
    c == ' ' || c.is_ascii_graphic()
}

fn read_token(path: &Path) -> Result<SecretString, RunError> {
    let bad = |why: String| RunError::Job(format!("{}: {why}", path.display()));
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        file.take(TOKEN_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
    });
    read.map_err(|error| bad(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| bad("not UTF-8".to_owned()))?;
    let text = SecretString::new(text);
    let token = text.expose().trim();
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX || !token.chars().all(is_visible) {
        return Err(bad("no token: one line of text belongs there".to_owned()));
    }
    Ok(SecretString::new(token.to_owned()))
}

/// A server ready for runs.
pub struct Session {
    /// How to reach it.
    pub door: Door,
    /// Data keys.
    pub prepared: Arc<Prepared>,
    /// What it calls itself.
    pub server: ServerView,
    /// What runs over it should note.
    pub notes: Vec<String>,
}

impl Session {
    /// Makes the server ready for `job`, and for others that ask no more of it. `say` hears what takes time.
    pub fn open(
        job: &Job,
        token: Option<SecretString>,
        say: &mut dyn FnMut(&str),
    ) -> Result<Self, RunError> {
        let checked = job.check().map_err(RunError::Job)?;
        let plan = TlsPlan {
            versions: job.tls.parse().map_err(RunError::Job)?,
            is_resuming: job.resume,
        };
        let door = Door::open(&job.reach, plan, token)?;
        let mut desk = door.desk()?;
        let (name, version) = desk.about();
        let prepared = if let Some(path) = &job.ciphertexts {
            Prepared::read(path)?
        } else {
            let keys = job.keys.unwrap_or(KEYS.max(checked.keys_min));
            say(&format!("wrapping {keys} data keys"));
            desk.wrap(job.seed, keys, PLAINTEXT_BYTES, |_| {})?
        };
        let wanted = job.keys.unwrap_or(checked.keys_min).max(checked.keys_min);
        if prepared.len() < wanted {
            return Err(RunError::Job(format!(
                "{wanted} data keys are asked for, the file holds {}: make one with `kms-loadgen prepare --keys {wanted}`",
                prepared.len()
            )));
        }
        let prepared = Arc::new(prepared);
        if checked.decrypts || job.fill_cache {
            let mut requests = Requests::new(door.address.clone(), Arc::clone(&prepared), job.seed);
            desk.probe(&prepared, &mut requests)?;
        }
        let server = ServerView {
            target: job.reach.address.clone(),
            name,
            version,
            ..ServerView::default()
        };
        Ok(Self {
            door,
            prepared,
            server,
            notes: Vec::new(),
        })
    }

    /// Data keys that `job` asks for.
    pub fn working_set(&self, job: &Job, checked: &Checked) -> u32 {
        job.keys
            .unwrap_or(self.prepared.len())
            .max(checked.keys_min)
    }
}
