//! The back end that the configuration asks for.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use serde::Serialize;

use crate::cache::Cache;
use crate::config::plan::{HSM_BUFFER_BYTES, Plan};
use crate::config::{self, Config, KmipCipher, Protocol, VaultAuth};
use crate::hsm::embedded::{self, Embedded};
use crate::hsm::kmip::{self, Address, KmipPlan, Login};
use crate::hsm::pool::PoolPlan;
use crate::hsm::store::{MakeRoom, Store};
use crate::hsm::vault::{self, Auth, Azure, Reread, VaultPlan};
use crate::hsm::{Envelope, Found, Hsm, Way};
use crate::net::tls::{self, HsmTrust};
use crate::secret::{Arena, ArenaPlan};

use super::{Credentials, StartError, plan_for_this_machine};

/// Entries evicted when locked memory is full, before a store is tried again.
const ROOM_ENTRIES: usize = 64;
/// Bound of one attempt to connect, name resolution and handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Locked memory for keys while probing, which unwraps none.
const PROBE_KEY_BYTES: usize = 32 * 1024;

// What the plan reserves for one connection to the HSM holds what a connection takes.
const _: () = assert!(2 * HSM_BUFFER_BYTES >= kmip::LOCKED_BYTES_PER_CONNECTION);
const _: () = assert!(2 * HSM_BUFFER_BYTES >= vault::LOCKED_BYTES_PER_CONNECTION);

/// Starts it. It need not be reachable yet.
pub(super) fn start(
    config: &Config,
    plan: &Plan,
    credentials: &Credentials,
    arena: &'static Arena,
    cache: &Arc<Cache>,
) -> Result<Arc<dyn Hsm>, StartError> {
    let crowded = Arc::clone(cache);
    let make_room: MakeRoom = Box::new(move || {
        crowded.make_room(ROOM_ENTRIES);
    });
    match config.hsm.protocol {
        Protocol::Kmip1 => {
            let store = Store::new(arena, Some(make_room));
            kmip_pool(config, plan, credentials, store)
        }
        Protocol::Vault => {
            let store = Store::new(arena, Some(make_room));
            let pool = pool_plan("vault", config, plan);
            let vault = vault::start(vault_plan(config, credentials)?, pool, store);
            Ok(Arc::new(vault.map_err(StartError::Threads)?))
        }
        Protocol::Embedded => open_embedded(config, arena, make_room),
    }
}

fn open_embedded(
    config: &Config,
    arena: &'static Arena,
    make_room: MakeRoom,
) -> Result<Arc<dyn Hsm>, StartError> {
    let settings = config.hsm.embedded.as_ref().ok_or_else(|| {
        StartError::Backend("kms.hsm.embedded.file is needed with EMBEDDED".to_owned())
    })?;
    let opened = Embedded::open(&settings.file, &settings.passphrase, arena, make_room);
    Ok(Arc::new(
        opened.map_err(|error| StartError::Backend(error.to_string()))?,
    ))
}

fn kmip_pool(
    config: &Config,
    plan: &Plan,
    credentials: &Credentials,
    store: Store,
) -> Result<Arc<dyn Hsm>, StartError> {
    let pool = pool_plan("kmip1", config, plan);
    let pool = kmip::start(kmip_plan(config, credentials)?, pool, store);
    Ok(Arc::new(pool.map_err(StartError::Threads)?))
}

fn pool_plan(name: &'static str, config: &Config, plan: &Plan) -> PoolPlan {
    PoolPlan {
        name,
        connections: plan.pool_size,
        batch_max: plan.batch_max,
        pipeline_max: config.hsm.pipeline_max,
        queue_max: plan.queue_max,
        connect_timeout: CONNECT_TIMEOUT,
    }
}

fn vault_plan(config: &Config, credentials: &Credentials) -> Result<VaultPlan, StartError> {
    let settings =
        config.hsm.vault.as_ref().ok_or_else(|| {
            StartError::Backend("kms.hsm.vault.auth is needed with VAULT".to_owned())
        })?;
    let (addresses, tls) = servers(config, credentials)?;
    let auth = match &settings.auth {
        VaultAuth::Token { token, file } => Auth::Token {
            token: token.clone(),
            reread: file.clone().map(|file| -> Reread {
                Box::new(move || config::reread_secret("kms.hsm.vault.token", &file))
            }),
        },
        VaultAuth::Azure(azure) => Auth::Azure(Azure {
            role: azure.role.clone(),
            path: azure.path.clone(),
            resource: azure.resource.clone(),
            metadata: azure.metadata,
        }),
    };
    Ok(VaultPlan {
        addresses,
        tls,
        namespace: settings.namespace.clone(),
        mount: settings.mount.clone(),
        auth,
        renew_before: Duration::from_secs(settings.renew_before_s),
    })
}

/// Where the HSM is, and how it is judged.
fn servers(
    config: &Config,
    credentials: &Credentials,
) -> Result<(Vec<Address>, Arc<ClientConfig>), StartError> {
    let failed = |error: tls::TlsError| StartError::Backend(format!("TLS to the HSM: {error}"));
    let trust = HsmTrust {
        authorities: credentials.authorities().to_vec(),
        server_name: None,
        fingerprint: config.hsm.fingerprint,
    };
    let tls = tls::hsm_config(&trust, credentials.client()).map_err(failed)?;
    let mut addresses = Vec::new();
    for endpoint in &config.hsm.endpoints {
        let expected = config.hsm.server_name.as_ref().unwrap_or(&endpoint.host);
        let server_name = tls::hsm_server_name(&trust, expected).map_err(failed)?;
        addresses.push(Address {
            host: endpoint.host.clone(),
            port: endpoint.port,
            server_name,
        });
    }
    Ok((addresses, tls))
}

/// How connections to the HSM are made with these settings and certificates; `None` without an HSM.
pub(super) fn way(config: &Config, credentials: &Credentials) -> Result<Option<Way>, StartError> {
    if config.hsm.endpoints.is_empty() {
        return Ok(None);
    }
    let (addresses, tls) = servers(config, credentials)?;
    Ok(Some(Way { addresses, tls }))
}

fn kmip_plan(config: &Config, credentials: &Credentials) -> Result<KmipPlan, StartError> {
    let (addresses, tls) = servers(config, credentials)?;
    let login = config.hsm.credential.as_ref().map(|credential| Login {
        username: credential.username.clone(),
        password: credential.password.clone(),
    });
    Ok(KmipPlan {
        addresses,
        tls,
        login,
        envelope: match config.hsm.cipher {
            KmipCipher::Gcm => Envelope::AesGcm,
            KmipCipher::CbcHmac => Envelope::AesCbcHmac,
        },
    })
}

/// As [`start`], with one connection and next to no locked memory, for a few questions.
pub(super) fn start_alone(
    config: &Config,
    credentials: &Credentials,
) -> Result<Arc<dyn Hsm>, StartError> {
    let mut plan = plan_for_this_machine(config);
    plan.pool_size = 1;
    let store = Store::new(small_arena(1)?, None);
    match config.hsm.protocol {
        Protocol::Vault => {
            let pool = pool_plan("vault", config, &plan);
            let vault = vault::start(vault_plan(config, credentials)?, pool, store);
            Ok(Arc::new(vault.map_err(StartError::Threads)?))
        }
        _ => kmip_pool(config, &plan, credentials, store),
    }
}

/// For `connections` and a token of a Vault.
fn small_arena(connections: usize) -> Result<&'static Arena, StartError> {
    Arena::reserve(&ArenaPlan {
        key_bytes: PROBE_KEY_BYTES,
        large_count: 0,
        large_bytes: 0,
        buffer_bytes: (connections + 2) * 2 * HSM_BUFFER_BYTES,
        mode: None,
    })
    .map_err(StartError::Arena)
}

/// What [`probe`] found at one place.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Probed {
    /// Address of an HSM, or a key file.
    pub place: String,
    /// It answered, or opens.
    pub up: bool,
    /// What it is, or why it is not up.
    pub detail: String,
    /// By how many seconds its clock is ahead of this host's, if it tells; negative: behind.
    pub clock_ahead_s: Option<i64>,
}

/// Opens the key file and tries a key of it; changes nothing.
pub(super) fn try_key_file(
    settings: &config::Embedded,
    key: Option<&str>,
) -> Result<Result<embedded::Tried, embedded::KeyFileError>, StartError> {
    let bytes = std::fs::metadata(&settings.file).map_or(0, |about| about.len());
    let bytes = usize::try_from(bytes).unwrap_or(0);
    let plan = ArenaPlan {
        // A key takes more in the file.
        key_bytes: PROBE_KEY_BYTES + bytes,
        large_count: 0,
        large_bytes: 0,
        buffer_bytes: HSM_BUFFER_BYTES + bytes,
        mode: None,
    };
    let store = Store::new(Arena::reserve(&plan).map_err(StartError::Arena)?, None);
    let (file, passphrase) = (&settings.file, &settings.passphrase);
    Ok(embedded::try_file(file, passphrase, &store, key))
}

/// Asks the back end once, without starting a node: connects to each HSM and negotiates, or opens the
/// key file. Changes nothing there. Takes at most five seconds for each HSM.
pub fn probe(config: &Config, credentials: &Credentials) -> Result<Vec<Probed>, StartError> {
    if let (Protocol::Embedded, Some(embedded)) = (config.hsm.protocol, &config.hsm.embedded) {
        let opens = embedded::opens(&embedded.file, &embedded.passphrase);
        let (up, detail) = match opens {
            Ok(true) => (true, "opens with its passphrase".to_owned()),
            Ok(false) => (
                true,
                "is not there yet; the first start makes it".to_owned(),
            ),
            Err(error) => (false, error.to_string()),
        };
        let place = embedded.file.display().to_string();
        return Ok(vec![Probed {
            place,
            up,
            detail,
            clock_ahead_s: None,
        }]);
    }
    let store = Store::new(small_arena(config.hsm.endpoints.len())?, None);
    let found = match config.hsm.protocol {
        Protocol::Vault => vault::probe(vault_plan(config, credentials)?, store, CONNECT_TIMEOUT),
        _ => kmip::probe(kmip_plan(config, credentials)?, store, CONNECT_TIMEOUT),
    };
    Ok(found
        .into_iter()
        .map(|(place, answer)| probed(place, answer))
        .collect())
}

fn probed(place: String, answer: Result<Found, String>) -> Probed {
    let clock_unix_s = answer.as_ref().ok().and_then(|found| found.clock_unix_s);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now_s = now.map_or(0, |since| since.as_secs().cast_signed());
    Probed {
        place,
        up: answer.is_ok(),
        detail: answer.map_or_else(|why| why, |found| found.what),
        clock_ahead_s: clock_unix_s.map(|told| told.saturating_sub(now_s)),
    }
}
