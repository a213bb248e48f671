//! A folder with all that a Connected KMS needs to use the simulator: certificates, keystore,
//! configuration. `kms serve -c DIR/kms.properties` is then the whole second command.
//!
//! Must never be true: a private key that others may read; a half-made folder taken for a whole one. A
//! folder that is whole is used again, so that clients' certificates stay valid.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kms::cli::pki::{Authority, Issued, Leaf};
use kms::keystore::{NewEntry, write_pkcs12};
use kms::secret::SecretString;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Days of validity.
const DAYS: u32 = 825;
/// Opens the clients' .p12 files; they are for tests, and mode 0600.
const P12_PASSWORD: &str = "kms-demo";
/// How far wrong the wrong clocks are.
const SKEW: Duration = Duration::from_hours(24);
/// Written last: a folder that has it is whole.
const PROPERTIES: &str = "kms.properties";
/// Where the server is told of the simulator.
const URL: &str = "kms.hsm.server.url=";

/// Ports of the server that will use the simulator.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Its service.
    pub service: u16,
    /// Its health listener.
    pub health: u16,
}

/// A site's folder.
pub struct Site(PathBuf);

impl Site {
    /// Uses the certificates in `dir`, or makes them.
    pub fn open(dir: &Path) -> Result<Self, String> {
        let site = Self(dir.to_owned());
        if site.file(PROPERTIES).exists() {
            return Ok(site);
        }
        let used = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
        if used && !site.file("ca.crt").exists() {
            let shown = dir.display();
            return Err(format!(
                "{shown} holds other files: name a folder that is empty or not there yet"
            ));
        }
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir);
        made.map_err(|error| format!("{} cannot be made: {error}", dir.display()))?;
        site.make_certificates()?;
        Ok(site)
    }

    /// A file of it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes the configuration of a server that asks the HSM at `hsm`, or corrects the address in it.
    pub fn write_properties(&self, hsm: SocketAddr, ports: Ports) -> Result<PathBuf, String> {
        let path = self.file(PROPERTIES);
        let text = match fs::read_to_string(&path) {
            Ok(text) => {
                let lines = text.lines().map(|line| match line.strip_prefix(URL) {
                    Some(_) => format!("{URL}{hsm}\n"),
                    None => format!("{line}\n"),
                });
                lines.collect()
            }
            Err(_) => properties(hsm, ports),
        };
        self.write(PROPERTIES, text.as_bytes(), 0o600)?;
        Ok(path)
    }

    fn make_certificates(&self) -> Result<(), String> {
        let authority = Authority::new("Simulated HSM's CA, for tests only").map_err(failed)?;
        self.make_wrong_dates(&authority)?;
        let issue = |name, server| -> Result<Issued, String> {
            let issued = authority.issue(&leaf(name, server)).map_err(failed)?;
            self.write_pair(name, &issued)?;
            Ok(issued)
        };
        issue("hsm", true)?;
        let (server, client) = (issue("kmsServer", true)?, issue("kmsClient", false)?);
        let next = issue("kmsServer-next", true)?;
        let (device, backend) = (issue("cmxDevice", false)?, issue("cmxBackend", false)?);
        let ca = CertificateDer::from(authority.cert_der().to_vec());
        let password = SecretString::new(P12_PASSWORD.to_owned());
        for (name, one) in [("cmxDevice", &device), ("cmxBackend", &backend)] {
            let bytes = keystore(&[(name, one)], &[], &ca, &password)?;
            self.write(&format!("{name}.p12"), &bytes, 0o600)?;
        }
        let keys = |server| [("kmsServer", server), ("kmsClient", &client)];
        let trusted = [
            ("kmipSigningCA", ca.clone()),
            ("cmxDevice", CertificateDer::from(device.cert_der.clone())),
            ("cmxBackend", CertificateDer::from(backend.cert_der.clone())),
        ];
        let password = random_text()?;
        let bytes = keystore(&keys(&server), &trusted, &ca, &password)?;
        self.write("kmsKeystore.p12", &bytes, 0o600)?;
        // To try a change of the server's certificate with: the same keystore but for that.
        let bytes = keystore(&keys(&next), &trusted, &ca, &password)?;
        self.write("kmsKeystore-next.p12", &bytes, 0o600)?;
        self.write("keystore.password", password.expose().as_bytes(), 0o600)?;
        self.write("ca.crt", authority.cert_pem().as_bytes(), 0o644)
    }

    /// The HSM's certificates for wrong clocks.
    fn make_wrong_dates(&self, authority: &Authority) -> Result<(), String> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let year = SKEW * 365;
        let (before, after) = (now.saturating_sub(SKEW), now + SKEW);
        for (name, from, until) in [
            ("hsm-expired", before.saturating_sub(year), before),
            ("hsm-future", after, after + year),
        ] {
            let issued = authority.issue_between(&leaf("hsm", true), from, until);
            self.write_pair(name, &issued.map_err(failed)?)?;
        }
        Ok(())
    }

    fn write_pair(&self, name: &str, issued: &Issued) -> Result<(), String> {
        self.write(&format!("{name}.crt"), issued.cert_pem.as_bytes(), 0o644)?;
        self.write(
            &format!("{name}.key"),
            issued.key_pem.expose().as_bytes(),
            0o600,
        )
    }

    /// Writes to a new file and renames it into place, so that no half file is ever read.
    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), String> {
        let (file, new) = (self.file(name), self.file(&format!("{name}.new")));
        let write = || {
            // A leftover of an interrupted run would keep its old mode.
            let _ = fs::remove_file(&new);
            let mut options = fs::OpenOptions::new();
            let mut out = options.write(true).create_new(true).mode(mode).open(&new)?;
            out.write_all(bytes)?;
            fs::rename(&new, &file)
        };
        write().map_err(|error| format!("{} cannot be written: {error}", file.display()))
    }
}

fn failed(error: impl std::fmt::Display) -> String {
    format!("certificates cannot be made: {error}")
}

fn leaf(common_name: &str, server: bool) -> Leaf<'_> {
    Leaf {
        common_name,
        sans: if server {
            &["localhost", "127.0.0.1", "::1"]
        } else {
            &[]
        },
        server,
        client: !server,
        days: DAYS,
    }
}

/// A PKCS12 keystore of keys, each vouched for by `ca`, and trusted certificates.
fn keystore(
    keys: &[(&str, &Issued)],
    trusted: &[(&str, CertificateDer<'static>)],
    ca: &CertificateDer<'static>,
    password: &SecretString,
) -> Result<Vec<u8>, String> {
    let private = |issued: &Issued| -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(issued.key_pkcs8_der.expose().to_vec()).into()
    };
    let made: Vec<_> = keys
        .iter()
        .map(|(alias, issued)| {
            let leaf = CertificateDer::from(issued.cert_der.clone());
            (*alias, private(issued), [leaf, ca.clone()])
        })
        .collect();
    let mut entries = Vec::new();
    for (alias, key, chain) in &made {
        entries.push(NewEntry::Key { alias, key, chain });
    }
    for (alias, certificate) in trusted {
        entries.push(NewEntry::Trusted { alias, certificate });
    }
    write_pkcs12(&entries, password).map_err(|error| error.to_string())
}

fn random_text() -> Result<SecretString, String> {
    let mut bytes = [0_u8; 16];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| "the kernel gives no random numbers".to_owned())?;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(SecretString::new(text))
}

/// Small sizes: an ordinary user may lock 8 MiB.
fn properties(hsm: SocketAddr, ports: Ports) -> String {
    let Ports { service, health } = ports;
    format!(
        "# Made by `kms-loadgen hsm-sim --write-site`: a server in front of a simulated HSM, for tests only.
# Every key is explained in conf/kms.properties.
kms.server.address=127.0.0.1
kms.server.port={service}
kms.health.address=127.0.0.1:{health}
kms.keystore.file=kmsKeystore.p12
kms.keystore.password.file=keystore.password
kms.keystore.alias=kmsClient
kms.server.alias=kmsServer
kms.hsm.protocol=kmip1
{URL}{hsm}
kms.threads=1
kms.handshake.threads=1
kms.cache.entries.max=10000
kms.request.body.max=256 KiB
kms.connections.max=512
"
    )
}
