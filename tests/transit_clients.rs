//! The Transit clients that people already have, from their packages: bao, curl, hvac, node-vault and
//! vaultrs, each with its own small program in `transit_clients/`.
//!
//! Every program runs against a real OpenBao first of all, so that it is the program that is right,
//! and against our server, where the certificate is the identity and no token is needed.
//! Must never be true: a client that is missing and a test that is green.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::pedantic,
    missing_docs
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::node::Node;
use support::openbao::{self, OpenBao};
use support::pki::KeyKind;
use support::process::Process;
use support::pykmip::{Hsm, python, tools};
use support::site::Site;

/// A client: its name, and the command that goes through all its steps.
type Row = (&'static str, fn() -> Command);

const CLIENTS: [Row; 5] = [
    ("bao", bao),
    ("curl", || script("curl.sh")),
    ("hvac", hvac),
    ("node-vault", node_vault),
    ("vaultrs", vaultrs),
];

/// Where a client's programs are.
fn programs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/transit_clients")
        .join(name)
}

fn script(name: &str) -> Command {
    let mut command = Command::new("bash");
    command.arg(programs(name));
    command
}

fn bao() -> Command {
    let mut command = script("bao.sh");
    command.arg(openbao::program());
    command
}

fn hvac() -> Command {
    let mut command = Command::new(python());
    command
        .args(["-W", "ignore"])
        .arg(programs("hvac_client.py"));
    command
}

fn node_vault() -> Command {
    let folder = tools().join("node");
    assert!(
        folder.join("node_modules/node-vault").is_dir(),
        "no node-vault in {}: run ./test install",
        folder.display()
    );
    let mut command = Command::new("node");
    command.arg(programs("node/client.mjs")).arg(folder);
    command
}

fn vaultrs() -> Command {
    let program = tools().join("vaultrs/debug/transit-client-vaultrs");
    assert!(
        program.is_file(),
        "no vaultrs client at {}: run ./test install",
        program.display()
    );
    Command::new(program)
}

/// The server that the clients are put to.
enum Peer {
    OpenBao,
    Ours,
}

/// Runs each client against the server on `port`, with the backend's certificate; panics with what
/// each that failed said.
fn run_all(site: &Site, port: u16, peer: &Peer, clients: &[Row]) {
    let failed: Vec<_> = clients
        .iter()
        .filter_map(|(name, command)| {
            let said = run_one(site, port, peer, name, command())?;
            Some(format!("{name}:\n{said}"))
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What the client said, unless all its answers were right.
fn run_one(
    site: &Site,
    port: u16,
    peer: &Peer,
    name: &str,
    mut command: Command,
) -> Option<String> {
    let home = site.folder().join(format!("home-{name}"));
    fs::create_dir_all(&home).unwrap();
    let pki = &site.pki;
    // Whoever runs the tests may be a user of Vault: nothing of that may reach the clients.
    for (variable, _) in std::env::vars() {
        if ["VAULT_", "BAO_"]
            .iter()
            .any(|ours| variable.starts_with(ours))
            || variable.to_lowercase().ends_with("_proxy")
        {
            command.env_remove(variable);
        }
    }
    command
        .env("HOME", &home)
        .env("LC_ALL", "C.UTF-8")
        .env("VAULT_ADDR", format!("https://127.0.0.1:{port}"))
        .env("VAULT_CACERT", pki.path("siteCA.crt"))
        .env("VAULT_CLIENT_CERT", pki.path("cmxBackend.crt"))
        .env("VAULT_CLIENT_KEY", pki.path("cmxBackend.key"))
        .env("TRANSIT_KEY", format!("key-of-{name}"));
    if matches!(peer, Peer::OpenBao) {
        command
            .env("VAULT_TOKEN", openbao::TOKEN)
            .env("TRANSIT_PEER", "openbao");
    }
    let mut process = Process::start(&mut command, &site.folder().join(format!("{name}.log")));
    let code = process.wait(support::PATIENCE);
    let said = process.log();
    // The last line guards against a program that ends well without having done its work.
    let right = code == Some(0) && said.ends_with("all steps right\n");
    (!right).then(|| format!("{said}exit code {code:?}"))
}

fn site() -> Site {
    let site = Site::new(KeyKind::P256);
    site.keystore(&["cmxBackend", "cmxDevice"]);
    site
}

#[test]
fn the_clients_programs_are_right_about_openbao() {
    let site = Site::new(KeyKind::P256);
    let server = OpenBao::start(&site.pki);
    run_all(&site, server.port, &Peer::OpenBao, &CLIENTS);
}

#[test]
fn clients_are_content_with_our_own_keys() {
    let site = site();
    let node = Node::start(&site.embedded_config(&[]));
    run_all(&site, node.port, &Peer::Ours, &CLIENTS);
}

#[test]
fn bao_is_content_with_an_hsm() {
    let site = site();
    let mut hsm = Hsm::new(&site.pki);
    hsm.start();
    let node = Node::start(&site.kmip_config(hsm.port, &[]));
    node.wait_ready(200, "ready");
    run_all(&site, node.port, &Peer::Ours, &CLIENTS[..1]);
}
