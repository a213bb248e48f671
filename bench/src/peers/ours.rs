//! `kms serve` with the embedded back end, its cache warm: what all rows are about.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use kms::cli::pki::Issued;
use kms::keystore::{NewEntry, write_pkcs12};
use kms::secret::SecretString;
use kms_loadgen::client::{Client, ClientError};
use kms_loadgen::transit::Transit;
use kms_loadgen::{Driver, Exchanges, Plan, Until};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{Contender, KEY, Site, TOKEN};
use crate::credentials::{Credentials, SERVER_NAME, write_private};
use crate::server::{Server, StartError, find_program, free_address};

const REMEDY: &str = "cargo build --release, or set KMS_BENCH_KMS to the program";
/// Of every keystore of a run.
pub(super) const PASSWORD: &str = "bench-keystore";
/// The back end of all rows but those that are about another.
pub const EMBEDDED: &str = "kms.hsm.protocol=EMBEDDED\n\
                        kms.hsm.embedded.file={folder}/master.keys\n\
                        kms.hsm.embedded.passphrase=bench-keystore\n";
/// So that logging costs nothing.
const QUIET: &str = "kms.log.level=warn\n";
/// Connections that fill the cache.
const FILLERS: usize = 32;

/// A server that is ready, its key created, its cache empty.
pub struct Ours {
    /// The process.
    pub server: Server,
    /// As a device.
    pub target: kms_loadgen::Target,
    /// Of `/metrics`.
    pub health: SocketAddr,
    /// Of [`start_audited`].
    pub audit_log: Option<PathBuf>,
}

/// A server's folder, complete: it can be started, and again once it has ended.
pub struct Laid {
    name: &'static str,
    folder: PathBuf,
    health: SocketAddr,
    /// Where it will serve, as a device.
    pub target: kms_loadgen::Target,
}

/// Starts a server with the embedded back end whose cache holds `entries_max` keys; `name` must be new in this site.
pub fn start(site: &Site, name: &'static str, entries_max: usize) -> Result<Ours, StartError> {
    start_with(site, name, entries_max, "")
}

/// As [`start`], with further `lines` in its configuration.
pub fn start_with(
    site: &Site,
    name: &'static str,
    entries_max: usize,
    lines: &str,
) -> Result<Ours, StartError> {
    let lines = format!("kms.audit.mode=off\n{lines}");
    embedded(site, name, entries_max, &lines)
}

/// As [`start`], with an audit log in strict mode.
pub fn start_audited(
    site: &Site,
    name: &'static str,
    entries_max: usize,
) -> Result<Ours, StartError> {
    let audit = "kms.audit.file={folder}/audit.log\n";
    let mut ours = embedded(site, name, entries_max, audit)?;
    ours.audit_log = Some(site.folder.path().join(name).join("audit.log"));
    Ok(ours)
}

fn embedded(
    site: &Site,
    name: &'static str,
    entries_max: usize,
    lines: &str,
) -> Result<Ours, StartError> {
    let laid = lay(
        site,
        name,
        entries_max,
        &format!("{EMBEDDED}{QUIET}{lines}"),
    )?;
    let ours = laid.start()?;
    create_key(site, &ours.target)?;
    Ok(ours)
}

/// Has the server make [`KEY`], as the back end.
pub fn create_key(site: &Site, target: &kms_loadgen::Target) -> Result<(), StartError> {
    let backend = site.target(target.address, true)?;
    let transit = Transit {
        target: &backend,
        key: KEY,
        token: Some(TOKEN),
    };
    let created = transit.create_key();
    created.map_err(|error| StartError::Failed(format!("kms: creating a key: {error}")))
}

/// As [`start`], in front of the Vault at `vault`, which has the key already and knows [`TOKEN`].
pub fn in_front_of(
    site: &Site,
    name: &'static str,
    entries_max: usize,
    vault: SocketAddr,
) -> Result<Ours, StartError> {
    let backend = format!(
        "kms.hsm.protocol=VAULT\n\
         kms.hsm.server.url=https://{SERVER_NAME}:{}\n\
         kms.hsm.ca.alias=vaultCA\n\
         kms.hsm.vault.token={TOKEN}\n\
         kms.audit.mode=off\n{QUIET}",
        vault.port()
    );
    let mut ours = lay(site, name, entries_max, &backend)?.start()?;
    let target = ours.target.clone();
    let path = format!("/v1/transit/keys/{KEY}");
    ours.server.wait_until(|| {
        let answer = Client::connect(&target)
            .and_then(|mut client| client.request("GET", &path, Some(TOKEN), b""));
        answer.is_ok_and(|answer| answer.status == 200)
    })?;
    Ok(ours)
}

/// Makes the folder of a server with these `lines` in its configuration; `{folder}` in them is its own.
pub fn lay(
    site: &Site,
    name: &'static str,
    entries_max: usize,
    lines: &str,
) -> Result<Laid, StartError> {
    let folder = site.server_folder(name)?;
    write_private(&folder.join("keystore.p12"), &keystore(&site.credentials)?)?;
    let address = free_address()?;
    let health = free_address()?;
    let properties = properties(&folder, address.port(), &health.to_string(), entries_max);
    let properties = properties + &lines.replace("{folder}", &folder.display().to_string());
    write_private(&folder.join("kms.properties"), properties.as_bytes())?;
    Ok(Laid {
        name,
        health,
        target: site.target(address, false)?,
        folder,
    })
}

impl Laid {
    /// Starts the server and waits until it listens.
    pub fn start(&self) -> Result<Ours, StartError> {
        let (command, address) = (self.command()?, self.target.address);
        Ok(Ours {
            server: Server::start(self.name, command, address, &self.folder)?,
            target: self.target.clone(),
            health: self.health,
            audit_log: None,
        })
    }

    /// Starts the server and waits for nothing.
    pub fn spawn(&self) -> Result<Server, StartError> {
        Server::spawn(
            self.name,
            self.command()?,
            self.target.address,
            &self.folder,
        )
    }

    fn command(&self) -> Result<Command, StartError> {
        let mut command = Command::new(program()?);
        command
            .arg("serve")
            .arg("--config")
            .arg(self.folder.join("kms.properties"));
        Ok(command)
    }
}

/// The server's program.
pub fn program() -> Result<PathBuf, StartError> {
    let set = std::env::var_os("KMS_BENCH_KMS").map(PathBuf::from);
    let beside = std::env::current_exe()?.with_file_name("kms");
    let candidates: Vec<PathBuf> = set
        .into_iter()
        .chain([beside, PathBuf::from("target/release/kms")])
        .collect();
    let missing = StartError::NotInstalled {
        program: "kms",
        remedy: REMEDY,
    };
    find_program(&candidates).ok_or(missing)
}

impl Ours {
    /// Wraps `count` data keys.
    pub fn wrap(&self, count: usize) -> Result<Exchanges, StartError> {
        self.prepare(|transit| transit.unwraps(1, count))
    }

    /// What `requests` makes of this server.
    pub fn prepare(
        &self,
        requests: impl FnOnce(&Transit<'_>) -> Result<Exchanges, ClientError>,
    ) -> Result<Exchanges, StartError> {
        let transit = Transit {
            target: &self.target,
            key: KEY,
            token: Some(TOKEN),
        };
        requests(&transit).map_err(|error| StartError::Failed(format!("kms: wrapping: {error}")))
    }

    /// Unwraps each once, so that all are cached, and compares them.
    pub fn fill(&self, exchanges: &Exchanges) -> Result<(), StartError> {
        let failed = |what: String| StartError::Failed(format!("kms: filling the cache: {what}"));
        let mut driver =
            Driver::connect(&self.target, FILLERS).map_err(|error| failed(error.to_string()))?;
        let plan = Plan {
            depth: 1,
            until: Until::Requests(exchanges.len() as u64),
        };
        let outcome = driver.run(exchanges, &mut (0..exchanges.len()), plan);
        let outcome = outcome.map_err(|error| failed(error.to_string()))?;
        if outcome.right == exchanges.len() as u64 {
            Ok(())
        } else {
            Err(failed(format!(
                "{} of {} right, {:?}",
                outcome.right,
                exchanges.len(),
                outcome.statuses()
            )))
        }
    }

    /// The body of one answer.
    pub fn sample(&self, exchanges: &Exchanges) -> Result<Vec<u8>, StartError> {
        let transit = Transit {
            target: &self.target,
            key: KEY,
            token: Some(TOKEN),
        };
        let request = exchanges
            .get(0)
            .map_or(&b""[..], |exchange| exchange.request);
        transit
            .sample(request)
            .map_err(|error| StartError::Failed(format!("kms: {error}")))
    }

    /// For the rounds.
    pub fn contender(self, name: &str, exchanges: Arc<Exchanges>) -> Contender {
        Contender {
            name: name.into(),
            about: format!(
                "kms {}, embedded back end, cache warm, one worker, audit {}",
                env!("CARGO_PKG_VERSION"),
                if self.audit_log.is_some() {
                    "strict, a line an item"
                } else {
                    "off"
                }
            ),
            server: self.server,
            target: self.target,
            exchanges,
            request_log: self.audit_log,
        }
    }
}

/// The certificates of a run, as every server that reads PKCS12 gets them.
pub(super) fn keystore(credentials: &Credentials) -> Result<Vec<u8>, StartError> {
    let certificate = |der: &[u8]| CertificateDer::from(der.to_vec());
    let private = |issued: &Issued| {
        let key = PrivatePkcs8KeyDer::from(issued.key_pkcs8_der.expose().to_vec());
        PrivateKeyDer::from(key)
    };
    let authority = certificate(credentials.authority.cert_der());
    // The leaf alone: what the other servers send. Clients have the authority.
    let chain = |issued: &Issued| [certificate(&issued.cert_der)];
    let (server, client) = (&credentials.server, &credentials.vault_client);
    let (server_key, server_chain) = (private(server), chain(server));
    let (client_key, client_chain) = (private(client), chain(client));
    let (device, backend) = (
        certificate(&credentials.device.cert_der),
        certificate(&credentials.backend.cert_der),
    );
    let entries = [
        NewEntry::Key {
            alias: "kmsServer",
            key: &server_key,
            chain: &server_chain,
        },
        NewEntry::Key {
            alias: "kmsClient",
            key: &client_key,
            chain: &client_chain,
        },
        NewEntry::Trusted {
            alias: "vaultCA",
            certificate: &authority,
        },
        NewEntry::Trusted {
            alias: "cmxDevice",
            certificate: &device,
        },
        NewEntry::Trusted {
            alias: "cmxBackend",
            certificate: &backend,
        },
    ];
    write_pkcs12(&entries, &SecretString::new(PASSWORD.to_owned()))
        .map_err(|error| StartError::Failed(error.to_string()))
}

fn properties(folder: &Path, port: u16, health: &str, entries_max: usize) -> String {
    let folder = folder.display();
    format!(
        "kms.server.address=127.0.0.1\n\
         kms.server.port={port}\n\
         kms.server.alias=kmsServer\n\
         kms.health.address={health}\n\
         kms.keystore.file={folder}/keystore.p12\n\
         kms.keystore.password={PASSWORD}\n\
         kms.cache.entries.max={entries_max}\n\
         kms.cache.ttl.s=86400\n\
         kms.limit.inflight=1000000\n\
         kms.threads=1\n\
         kms.handshake.threads=1\n"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use kms::cli::pki::KeyKind;

    #[test]
    fn the_keystore_opens_again_with_its_aliases() {
        let credentials = Credentials::new(KeyKind::P256).unwrap();
        let bytes = keystore(&credentials).unwrap();
        let opened =
            kms::keystore::open(&bytes, &SecretString::new(PASSWORD.to_owned()), None).unwrap();
        assert_eq!(opened.keys.len(), 2);
        assert_eq!(opened.trusted.len(), 3);
    }
}
