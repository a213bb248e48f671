//! docs/operations.md, run: every command in its order on a site of two nodes with an HSM, an authority that signs, and
//! clients that never pause. No request fails but those of a certificate that was taken away; nothing is restarted
//! but by the upgrade.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::pedantic,
    missing_docs
)]

mod docs;
mod support;

#[path = "operations/load.rs"]
mod load;
#[path = "operations/site.rs"]
mod site;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use docs::{Block, Shell, blocks};
use load::{Client, Holder, Load, Node};
use site::{NODES, Site};
use support::run;

const PLAINTEXT: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Heading, text of the block, what it says.
const SAID: &[(&str, &str, &str)] = &[
    ("Certificates", "kms cert verify", "all well"),
    ("Keystore", "kms keystore list", "PKCS12, entries 5"),
    ("Serve", "kms status", "ready"),
    ("Serve", "--key orders", "all well"),
    ("Distribute a changed keystore", "diff", "the same entries"),
    (
        "Replace the device certificate",
        "keystore import",
        "client certificate 'cmxdevice20270115'",
    ),
    (
        "Replace the device certificate",
        "grep",
        "\"address\":\"127.0.0.1",
    ),
    (
        "Replace the device certificate",
        "keystore remove",
        "client certificate 'cmxdevice' (CN=cmxDevice.example.test",
    ),
    (
        "Replace the device certificate",
        "mv ",
        "client certificate 'cmxdevice' (CN=cmxDevice.example.test",
    ),
    (
        "Replace the back end's certificate",
        "handover",
        "cmxBackend.p12 and README.txt",
    ),
    (
        "Replace the back end's certificate",
        "keystore remove",
        "removed",
    ),
    (
        "Replace the server certificate",
        "s_client",
        "CN = localhost",
    ),
    (
        "Replace the certificate for the HSM",
        "distribute",
        "connections to the HSM are made anew",
    ),
    ("Upgrade", "drain", "ready"),
    ("At three in the morning", "curl", "serving address="),
    ("At three in the morning", "keystore list", "role device"),
    ("At three in the morning", "audit verify", "errors 0"),
    ("At three in the morning", "--cancel", "serving again"),
    ("At three in the morning", "purge", "'orders'"),
];

struct Run<'a> {
    site: &'a Site,
    shell: Shell<'a>,
    met: BTreeSet<usize>,
}

impl Run<'_> {
    /// Runs one block, then has the authority sign what lies there.
    fn block(&mut self, block: &Block) -> String {
        let said = self.shell.run(block);
        for (at, (heading, part, want)) in SAID.iter().enumerate() {
            if block.heading == *heading && block.text.contains(part) {
                assert!(said.contains(want), "{heading}, {part}: {want} in {said}");
                self.met.insert(at);
            }
        }
        self.site.sign_requests();
        said
    }
}

fn holder(site: &Site, p12: &str, password: &str) -> Holder {
    let work = site.path("keystore");
    Holder {
        p12: work.join(p12),
        password: work.join(password),
    }
}

/// A data key wrapped at the first node, as the back end.
fn wrap(site: &Site) -> String {
    let url = format!(
        "https://localhost:{}/v1/transit/encrypt/orders",
        site.ports[0].0
    );
    let body = format!("{{\"plaintext\":\"{PLAINTEXT}\"}}");
    let own = [
        "--cacert",
        "ca.crt",
        "--cert",
        "cmxBackend.crt",
        "--key",
        "cmxBackend.key",
    ];
    let args = [
        &["-sS", "--fail", "--max-time", "60"],
        &own[..],
        &["-d", &body, &url],
    ]
    .concat();
    let said = run(&site.path("keystore"), "curl", &args);
    let answer: serde_json::Value = serde_json::from_str(&said).unwrap();
    answer["data"]["ciphertext"].as_str().unwrap().to_owned()
}

#[test]
fn every_command_of_the_document_works_under_load() {
    let text =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let all = blocks(&text).unwrap();
    let (variables, rest) = all.split_first().unwrap();
    let site = Site::new();
    let environment = site.environment();
    let shell = Shell {
        document: "docs/operations.md",
        variables,
        folder: site.root(),
        environment: &environment,
    };
    let mut run = Run {
        site: &site,
        shell,
        met: BTreeSet::new(),
    };
    let installed = rest
        .iter()
        .position(|block| block.text.contains("--key orders"))
        .unwrap();
    let (install, year) = rest.split_at(installed + 1);
    install.iter().for_each(|block| _ = run.block(block));
    under_load(&mut run, year);
    let unmet: Vec<_> = SAID
        .iter()
        .enumerate()
        .filter(|(at, _)| !run.met.contains(at))
        .collect();
    assert!(unmet.is_empty(), "no block is like these: {unmet:?}");
}

/// Who comes while the year passes.
struct Clients {
    device: Client,
    /// It keeps the old file until it is cut off.
    late: Client,
    backend: Client,
}

impl Clients {
    fn new(site: &Site) -> Self {
        let device = holder(site, "cmxDevice.p12", "device.password");
        let backend = holder(site, "provider/cmxBackend.p12", "backend.password");
        Self {
            device: Client::new("a device", device.clone()),
            late: Client::new("a device that is late", device),
            backend: Client::new("the back end", backend),
        }
    }

    fn before(&self, block: &Block) {
        self.device.is_served();
        self.backend.is_served();
        if removes_the_device(block) {
            self.late.is_served();
            self.late.give_up(true);
        }
    }

    /// They get what the block has handed out.
    fn after(&self, block: &Block, site: &Site) {
        if removes_the_device(block) {
            self.late.is_refused();
        }
        if block.text.contains("kmsKeystore.p12.old\"") {
            // Brought back: it is served again, and must be from now on.
            self.late.is_served();
            self.late.give_up(false);
        }
        if block.text.contains("devices-$YEAR/cmxDevice.p12") {
            let new = holder(site, "devices-20270115/cmxDevice.p12", "device.password");
            self.device.hand(new);
        }
        if block.text.contains("provider-$YEAR") {
            let new = holder(site, "provider-20270115/cmxBackend.p12", "backend.password");
            self.backend.hand(new);
        }
    }
}

fn removes_the_device(block: &Block) -> bool {
    block.text.contains("keystore remove") && block.text.contains("cmxDevice")
}

/// The rest of the document, with clients.
fn under_load(run: &mut Run<'_>, year: &[Block]) {
    let site = run.site;
    let clients = Clients::new(site);
    let load = Load {
        nodes: site
            .ports
            .map(|(service, health)| Node::new(service, health))
            .into(),
        authority: site.path("keystore/ca.crt"),
        ciphertext: wrap(site),
        plaintext: PLAINTEXT,
        over: AtomicBool::new(false),
        failures: Mutex::new(Vec::new()),
    };
    let upgrade = year
        .iter()
        .position(|block| block.heading == "Upgrade")
        .unwrap();
    let pids = NODES.map(|node| site.pid(node));
    std::thread::scope(|scope| {
        // However this ends, the clients end.
        let end = Ending(&load.over);
        scope.spawn(|| load.watch());
        for client in [&clients.device, &clients.late, &clients.backend] {
            scope.spawn(|| load.go_on(client));
        }
        for (at, block) in year.iter().enumerate() {
            clients.before(block);
            run.block(block);
            clients.after(block, site);
            let place = format!("{} (line {})", block.heading, block.line);
            let restarted = NODES
                .iter()
                .zip(&pids)
                .map(|(node, pid)| site.pid(node) != *pid);
            let restarted: Vec<bool> = restarted.collect();
            assert_eq!(restarted, [at >= upgrade, false], "{place}: restarts");
            let failures = load.failures.lock().unwrap().clone();
            assert!(failures.is_empty(), "{place}: {failures:#?}");
        }
        clients.late.is_served();
        drop(end);
    });
    let failures = load.failures.lock().unwrap().clone();
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(clients.device.count() > 100 && clients.backend.count() > 100);
}

struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
