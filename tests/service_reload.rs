//! New certificates, pins, roles and limits in a node that serves: no request fails but those of removed pins.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kms::admin;
use kms::cli::pki::Issued;
use service_support::client::{self, Client, request};
use service_support::on_disk::{PLAINTEXT, UNWRAP, issue, keystore, replace, start, store, wrap};
use service_support::{House, Running, file, until};

/// Unwraps on one connection until it is over; every answer must be right.
fn go_on(mut client: Client, body: &str, over: &AtomicBool, count: &AtomicUsize) {
    while !over.load(Ordering::Relaxed) {
        let answer = client.post(UNWRAP, body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.body.contains(PLAINTEXT), "{}", answer.body);
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// How the server's certificate looks to a client that connects now.
fn shown(running: &Running, who: &Issued) -> Vec<u8> {
    let client = Client::connect(&running.house, Some(who), running.address()).unwrap();
    let chain = client.tls.conn.peer_certificates().unwrap();
    chain[0].to_vec()
}

/// Four connections that never pause, and what they have done.
struct Load<'a> {
    body: &'a str,
    over: AtomicBool,
    count: AtomicUsize,
}

impl Load<'_> {
    /// Waits until it has got on.
    fn gets_on(&self) {
        let from = self.count.load(Ordering::Relaxed);
        until("the load goes on", || {
            self.count.load(Ordering::Relaxed) > from + 20
        });
    }
}

fn under_load(running: &Running, test: impl FnOnce(&Load<'_>)) {
    let body = wrap(running, PLAINTEXT);
    let load = Load {
        body: &body,
        over: AtomicBool::new(false),
        count: AtomicUsize::new(0),
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let client = running.backend();
            scope.spawn(|| go_on(client, load.body, &load.over, &load.count));
        }
        load.gets_on();
        test(&load);
        load.gets_on();
        load.over.store(true, Ordering::Relaxed);
    });
}

/// Connects, resuming where there is something to resume, and unwraps.
fn try_unwrap(
    running: &Running,
    config: &Arc<rustls::ClientConfig>,
    body: &str,
) -> std::io::Result<Client> {
    let mut client = Client::with(Arc::clone(config), client::tcp(running.address()))?;
    client.try_send(request("POST", UNWRAP, body))?;
    let answer = client.try_answer()?;
    assert_eq!(answer.status, 200, "{}", answer.body);
    Ok(client)
}

#[test]
fn what_is_new_serves_at_once_and_what_is_old_goes_on() {
    let running = start("");
    let house = &running.house;
    let (second, server) = (
        issue(house, "cmxDevice2", false),
        issue(house, "kmsServer", true),
    );
    let newcomer = client::config(house, Some(&second), rustls::ALL_VERSIONS);
    under_load(&running, |load| {
        let mut device = running.device();
        assert_eq!(device.post(UNWRAP, load.body).status, 200);
        let before = shown(&running, &house.backend);
        assert!(
            try_unwrap(&running, &newcomer, load.body).is_err(),
            "not pinned yet"
        );
        let pins = [
            ("cmxDevice", &house.device),
            ("cmxDevice-2", &second),
            ("cmxBackend", &house.backend),
        ];
        replace(&store(house), &keystore(&server, &pins, "secret"));
        let report = running.node.reloader().reload().unwrap();
        assert_eq!(report.changes.len(), 2, "{report:?}");
        let after = shown(&running, &house.backend);
        assert!(before != after && after == server.cert_der);
        try_unwrap(&running, &newcomer, load.body).unwrap();
        assert_eq!(
            device.post(UNWRAP, load.body).status,
            200,
            "an old connection lives"
        );
    });
    running.stop();
}

#[test]
fn a_removed_pin_is_cut_and_cannot_resume() {
    let running = start("");
    let house = &running.house;
    let server = issue(house, "kmsServer", true);
    let device = client::config(house, Some(&house.device), rustls::ALL_VERSIONS);
    under_load(&running, |load| {
        // Idle, and with a session to resume.
        let mut idle = try_unwrap(&running, &device, load.body).unwrap();
        replace(
            &store(house),
            &keystore(&server, &[("cmxBackend", &house.backend)], "secret"),
        );
        let report = running.node.reloader().reload().unwrap();
        let removed = |line: &String| line.contains("cmxdevice") && line.contains("removed");
        assert!(report.changes.iter().any(removed), "{report:?}");
        assert!(idle.end(), "cut without another request");
        assert!(try_unwrap(&running, &device, load.body).is_err(), "resumed");
    });
    running.stop();
}

#[test]
fn roles_and_limits_change_on_open_connections() {
    let running = start("");
    let body = wrap(&running, PLAINTEXT);
    let mut device = running.device();
    assert_eq!(device.post(UNWRAP, &body).status, 200);
    for (name, more, status) in [
        ("no longer these keys", "kms.role.device.keys=other-*", 403),
        ("again", "", 200),
        (
            "no longer decrypt",
            "kms.role.device.operations=encrypt",
            403,
        ),
        ("a limit", "kms.limit.rate=1\nkms.threads=3", 200),
    ] {
        let text = running.house.properties(more);
        replace(&file(&running.house, "kms.properties"), text.as_bytes());
        let report = running.node.reloader().reload().unwrap();
        assert!(!report.changes.is_empty(), "{name}");
        assert_eq!(device.post(UNWRAP, &body).status, status, "{name}");
        let waits = report
            .needs_restart
            .iter()
            .any(|line| line.contains("kms.threads"));
        assert_eq!(waits, more.contains("kms.threads"), "{name}: {report:?}");
    }
    until("the limit counts", || {
        device.post(UNWRAP, &body).status == 429
    });
    running.stop();
}

/// The addresses of another back end are nothing to the one that runs, however often they are read.
#[test]
fn another_back_end_waits_for_a_start_at_every_reload() {
    let running = start("");
    let house = &running.house;
    let body = wrap(&running, PLAINTEXT);
    let fingerprint = "ab".repeat(32);
    let another = format!(
        "kms.hsm.protocol=KMIP1\nkms.hsm.server.url=127.0.0.1:1\nkms.keystore.alias=kmsServer\n\
        kms.hsm.fingerprint={fingerprint}"
    );
    for (name, more, waits) in [
        ("another", &*another, true),
        ("still another", &*another, true),
        (
            "another with one more limit",
            &format!("{another}\nkms.limit.rate=9999"),
            true,
        ),
        ("the first again", "", false),
    ] {
        let text = house.properties(more);
        replace(&file(house, "kms.properties"), text.as_bytes());
        let report = running.node.reloader().reload().unwrap();
        let told = |lines: &[String], word: &str| lines.iter().any(|line| line.contains(word));
        assert!(!told(&report.changes, "made anew"), "{name}: {report:?}");
        let is_waiting = told(&report.needs_restart, "kms.hsm.protocol");
        assert_eq!(is_waiting, waits, "{name}: {report:?}");
    }
    assert_eq!(running.device().post(UNWRAP, &body).status, 200);
    running.stop();
}

/// A keystore whose private key is not that of its certificate; ours are not written so.
fn mismatched(house: &House) -> Vec<u8> {
    use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
    let (one, other) = (
        issue(house, "kmsServer", true),
        issue(house, "kmsServer", true),
    );
    let certificate = Certificate::from_der(&one.cert_der).unwrap();
    let key = PrivateKey::from_der(other.key_pkcs8_der.expose()).unwrap();
    let chain = PrivateKeyChain::new("1", key, [certificate]);
    let mut store = KeyStore::new();
    store.add_entry("kmsServer", KeyStoreEntry::PrivateKeyChain(chain));
    store.writer("secret").write().unwrap()
}

/// Name, what is done to the files, what the reason must tell.
type Bad = (&'static str, fn(&House), &'static str);

const BAD: &[Bad] = &[
    (
        "a truncated keystore",
        |house| {
            let bytes = fs::read(store(house)).unwrap();
            replace(&store(house), &bytes[..bytes.len() / 2]);
        },
        "store.p12",
    ),
    (
        "a wrong password",
        |house| {
            let device = &house.device;
            let bytes = keystore(
                &issue(house, "kmsServer", true),
                &[("cmxDevice", device)],
                "other",
            );
            replace(&store(house), &bytes);
        },
        "password",
    ),
    (
        "no keystore",
        |house| fs::remove_file(store(house)).unwrap(),
        "store.p12",
    ),
    (
        "an alias that is not there",
        |house| {
            let text = house.properties("kms.server.alias=kmsSever");
            replace(&file(house, "kms.properties"), text.as_bytes());
        },
        "kmsserver",
    ),
    (
        "key and certificate do not belong together",
        |house| {
            replace(&store(house), &mismatched(house));
        },
        "does not belong",
    ),
    (
        "an unknown key",
        |house| {
            let text = house.properties("kms.limit.rates=1");
            replace(&file(house, "kms.properties"), text.as_bytes());
        },
        "kms.limit.rate",
    ),
    (
        "no configuration",
        |house| fs::remove_file(file(house, "kms.properties")).unwrap(),
        "kms.properties",
    ),
];

#[test]
fn what_is_bad_is_refused_and_the_old_state_serves() {
    let running = start("");
    let house = &running.house;
    let body = wrap(&running, PLAINTEXT);
    let (good, text) = (fs::read(store(house)).unwrap(), house.properties(""));
    let mut old = running.device();
    for (name, spoil, reason) in BAD {
        spoil(house);
        let refused = running.node.reloader().reload();
        let why = refused.expect_err(name).to_string().to_lowercase();
        assert!(why.contains(reason), "{name}: {why}");
        let told = admin::status(running.node.shared()).reload_refused;
        assert_eq!(told.map(|why| why.to_lowercase()), Some(why), "{name}");
        assert_eq!(old.post(UNWRAP, &body).status, 200, "{name}: old");
        assert_eq!(
            running.device().post(UNWRAP, &body).status,
            200,
            "{name}: new"
        );
        replace(&store(house), &good);
        replace(&file(house, "kms.properties"), text.as_bytes());
    }
    let metrics = &running.node.shared().metrics;
    assert!(metrics.reloads_refused.get() >= BAD.len() as u64);
    assert!(running.node.reloader().reload().unwrap().changes.is_empty());
    assert_eq!(admin::status(running.node.shared()).reload_refused, None);
    running.stop();
}

#[test]
fn a_file_that_is_being_copied_is_taken_once_it_is_whole() {
    let running = start("");
    let house = &running.house;
    let body = wrap(&running, PLAINTEXT);
    let second = issue(house, "cmxDevice2", false);
    let server = issue(house, "kmsServer", true);
    let pins = [("cmxDevice-2", &second), ("cmxBackend", &house.backend)];
    let bytes = keystore(&server, &pins, "secret");
    let metrics = &running.node.shared().metrics;
    let (done, refused) = (metrics.reloads.get(), metrics.reloads_refused.get());
    fs::write(store(house), &bytes[..100]).unwrap();
    until("half of it is refused", || {
        metrics.reloads_refused.get() > refused
    });
    assert_eq!(running.device().post(UNWRAP, &body).status, 200);
    fs::write(store(house), &bytes).unwrap();
    until("the whole is taken", || metrics.reloads.get() > done);
    let mut client = Client::connect(house, Some(&second), running.address()).unwrap();
    assert_eq!(client.post(UNWRAP, &body).status, 200);
    running.stop();
}

#[test]
fn a_keystore_that_comes_before_its_new_password_is_taken_once_that_is_there() {
    let running = start("");
    let house = &running.house;
    let body = wrap(&running, PLAINTEXT);
    let password = file(house, "keystore.password");
    let write = |text: &str| {
        replace(&password, text.as_bytes());
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("secret");
    let inline = "kms.keystore.password=secret";
    let text = house.properties("");
    assert!(text.contains(inline));
    let text = text.replace(inline, "kms.keystore.password.file=keystore.password");
    replace(&file(house, "kms.properties"), text.as_bytes());
    running.node.reloader().reload().unwrap();
    let metrics = &running.node.shared().metrics;
    let (done, refused) = (metrics.reloads.get(), metrics.reloads_refused.get());
    let server = issue(house, "kmsServer", true);
    let pins = [("cmxDevice", &house.device), ("cmxBackend", &house.backend)];
    replace(&store(house), &keystore(&server, &pins, "another"));
    until("the old password is refused", || {
        metrics.reloads_refused.get() > refused
    });
    let told = || admin::status(running.node.shared()).reload_refused;
    assert!(told().is_some());
    write("another");
    until("taken", || told().is_none() && metrics.reloads.get() > done);
    assert_eq!(running.device().post(UNWRAP, &body).status, 200);
    running.stop();
}
