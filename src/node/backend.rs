//! The back end that the configuration asks for.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;
use crate::config::plan::{HSM_BUFFER_BYTES, Plan};
use crate::config::{Config, Protocol};
use crate::hsm::Hsm;
use crate::hsm::embedded::Embedded;
use crate::hsm::kmip::{self, Address, KmipPlan, Login, Vault};
use crate::hsm::pool::PoolPlan;
use crate::net::tls::{self, HsmTrust};
use crate::secret::Arena;

use super::{Credentials, StartError};

/// Entries evicted when locked memory is full, before a store is tried again.
const ROOM_ENTRIES: usize = 64;
/// Bound of one attempt to connect, name resolution and handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

// What the plan reserves for one connection to the HSM holds what a connection takes.
const _: () = assert!(2 * HSM_BUFFER_BYTES >= kmip::LOCKED_BYTES_PER_CONNECTION);

/// Starts it. It need not be reachable yet.
pub(super) fn start(
    config: &Config,
    plan: &Plan,
    credentials: &Credentials,
    arena: &'static Arena,
    cache: &Arc<Cache>,
) -> Result<Arc<dyn Hsm>, StartError> {
    let crowded = Arc::clone(cache);
    let make_room: Box<dyn Fn() + Send + Sync> = Box::new(move || {
        crowded.make_room(ROOM_ENTRIES);
    });
    match config.hsm.protocol {
        Protocol::Kmip1 => {
            let vault = Vault::new(arena, Some(make_room));
            kmip_pool(config, plan, credentials, vault)
        }
        Protocol::Embedded => embedded(config, arena, make_room),
    }
}

fn embedded(
    config: &Config,
    arena: &'static Arena,
    make_room: Box<dyn Fn() + Send + Sync>,
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
    vault: Vault,
) -> Result<Arc<dyn Hsm>, StartError> {
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
    let login = config.hsm.credential.as_ref().map(|credential| Login {
        username: credential.username.clone(),
        password: credential.password.clone(),
    });
    let pool = PoolPlan {
        name: "kmip1",
        connections: plan.pool_size,
        batch_max: config.hsm.batch_max,
        queue_max: plan.queue_max,
        connect_timeout: CONNECT_TIMEOUT,
    };
    let pool = kmip::start(
        KmipPlan {
            addresses,
            tls,
            login,
        },
        pool,
        vault,
    )
    .map_err(StartError::Threads)?;
    Ok(Arc::new(pool))
}
