//! Certificates of a client CA in a node that serves: who is cut by a reload, idle or not, and who goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::fs;
use std::io;
use std::sync::Arc;

use kms::cli::pki::Issued;
use rustls::version::{TLS12, TLS13};
use serde_json::Value;
use service_support::client::{self, Client, request};
use service_support::device_ca::DeviceCa;
use service_support::on_disk::{PLAINTEXT, UNWRAP, issue, keystore, replace, store, wrap};
use service_support::{House, Running, file, unhurried, until};

use kms::node::{Node, Options};

const ROLE: &str = "kms.role.device.ca.alias=deviceCA\nkms.role.device.ca.subjects=CN=device-*\n\
    kms.role.device.ca.crl.file=device.crl\n";

/// A node that takes the devices of a CA, whose list is empty.
fn start(ca: &DeviceCa, more: &str) -> Running {
    let house = House::build();
    let server = issue(&house, "kmsServer", true);
    write_store(&house, &server, &[("deviceCA", &ca.own)]);
    fs::write(file(&house, "device.crl"), ca.list(&[])).unwrap();
    let lines = format!("{ROLE}{more}");
    fs::write(file(&house, "kms.properties"), house.properties(&lines)).unwrap();
    let options = Options {
        deadlines: unhurried(),
        ..Options::default()
    };
    let node = Node::start(&house.config(&lines), options).unwrap();
    let running = Running {
        house,
        node,
        hsm: None,
    };
    assert_eq!(running.backend().post("/v1/transit/keys/k", "").status, 200);
    running
}

/// The usual pins, and these trusted certificates.
fn write_store(house: &House, server: &Issued, more: &[(&str, &Issued)]) {
    let pins = [("cmxDevice", &house.device), ("cmxBackend", &house.backend)];
    let entries = [&pins[..], more].concat();
    replace(&store(house), &keystore(server, &entries, "secret"));
}

fn configure(house: &House, lines: &str) {
    let text = house.properties(lines);
    replace(&file(house, "kms.properties"), text.as_bytes());
}

fn revoke(house: &House, ca: &DeviceCa, revoked: &[&Issued]) {
    replace(&file(house, "device.crl"), ca.list(revoked).as_bytes());
}

/// Connects, resuming where there is something to resume, and unwraps.
fn try_unwrap(
    running: &Running,
    config: &Arc<rustls::ClientConfig>,
    body: &str,
) -> io::Result<Client> {
    let mut client = Client::with(Arc::clone(config), client::tcp(running.address()))?;
    client.try_send(request("POST", UNWRAP, body))?;
    let answer = client.try_answer()?;
    assert_eq!(answer.status, 200, "{}", answer.body);
    Ok(client)
}

fn configs(house: &House, who: &Issued) -> [Arc<rustls::ClientConfig>; 2] {
    [&TLS12, &TLS13].map(|version| client::config(house, Some(who), &[version]))
}

/// What is done to the files of a site, and to whom.
type Change = (&'static str, fn(&House, &DeviceCa, &Issued), &'static str);

const CHANGES: [Change; 5] = [
    (
        "revoked",
        |house, ca, one| revoke(house, ca, &[one]),
        "was replaced: 0 -> 1",
    ),
    (
        "the role has no CA any more",
        |house, _, _| configure(house, ""),
        "client CA 'deviceca' (CN=Device CA) removed",
    ),
    (
        "the CA is not in the keystore",
        |house, _, _| {
            write_store(house, &issue(house, "kmsServer", true), &[]);
            configure(house, "");
        },
        "client CA 'deviceca' (CN=Device CA) removed",
    ),
    (
        "another CA of that alias and name",
        |house, _, _| {
            let other = DeviceCa::new("Device CA");
            write_store(
                house,
                &issue(house, "kmsServer", true),
                &[("deviceCA", &other.own)],
            );
            revoke(house, &other, &[]);
        },
        "client CA 'deviceca' (CN=Device CA) added",
    ),
    (
        "globs narrowed",
        |house, _, _| configure(house, &ROLE.replace("device-*", "device-2*")),
        "kms.role.device.ca.subjects: CN=device-* -> CN=device-2*",
    ),
];

#[test]
fn who_may_no_longer_is_cut_and_cannot_come_back() {
    let ca = DeviceCa::new("Device CA");
    let one = ca.device("device-1");
    for (name, change, told) in CHANGES {
        let running = start(&ca, "");
        let house = &running.house;
        let body = wrap(&running, PLAINTEXT);
        let configs = configs(house, &one);
        // Idle, and each with a session to resume.
        let idle = configs.each_ref().map(|config| {
            try_unwrap(&running, config, &body).unwrap();
            let resumed = try_unwrap(&running, config, &body).unwrap();
            assert_eq!(
                resumed.tls.conn.handshake_kind(),
                Some(rustls::HandshakeKind::Resumed),
                "{name}"
            );
            resumed
        });
        let mut pinned = running.device();
        assert_eq!(pinned.post(UNWRAP, &body).status, 200, "{name}");
        change(house, &ca, &one);
        let report = running.node.reloader().reload().unwrap();
        let is_told = |line: &String| line.contains(told);
        assert!(report.changes.iter().any(is_told), "{name}: {report:?}");
        for (mut idle, config) in idle.into_iter().zip(&configs) {
            assert!(idle.end(), "{name}: cut without another request");
            assert!(try_unwrap(&running, config, &body).is_err(), "{name}: back");
        }
        let new = client::config(house, Some(&one), rustls::ALL_VERSIONS);
        assert!(try_unwrap(&running, &new, &body).is_err(), "{name}: anew");
        assert_eq!(
            pinned.post(UNWRAP, &body).status,
            200,
            "{name}: a pin goes on"
        );
        running.stop();
    }
}

#[test]
fn the_others_go_on_with_what_their_role_may_now() {
    let ca = DeviceCa::new("Device CA");
    let (one, two) = (ca.device("device-1"), ca.device("device-2"));
    let running = start(&ca, "");
    let house = &running.house;
    let body = wrap(&running, PLAINTEXT);
    let connect = |who| Client::connect(house, Some(who), running.address()).unwrap();
    let (mut first, mut second) = (connect(&one), connect(&two));
    assert_eq!(first.post(UNWRAP, &body).status, 200);
    assert_eq!(second.post(UNWRAP, &body).status, 200);
    revoke(house, &ca, &[&two]);
    // The file is looked at without being asked.
    until("the revoked one is cut", || {
        second.tls.sock.peek(&mut [0]).is_ok_and(|read| read > 0)
    });
    assert!(second.end());
    assert_eq!(
        first.post(UNWRAP, &body).status,
        200,
        "an old connection lives"
    );
    configure(house, &format!("{ROLE}kms.role.device.operations=encrypt"));
    running.node.reloader().reload().unwrap();
    assert_eq!(first.post(UNWRAP, &body).status, 403, "the new role counts");
    running.stop();
}

#[test]
fn what_is_bad_is_refused_and_the_old_list_counts() {
    let ca = DeviceCa::new("Device CA");
    let (one, two) = (ca.device("device-1"), ca.device("device-2"));
    let running = start(&ca, "");
    let house = &running.house;
    let body = wrap(&running, PLAINTEXT);
    revoke(house, &ca, &[&two]);
    running.node.reloader().reload().unwrap();
    let whole = ca.list(&[&two]);
    let foreign = DeviceCa::new("Other CA").list(&[]);
    let namesake = DeviceCa::new("Device CA").list(&[]);
    for (name, bytes, reason) in [
        ("half of it", &whole[..whole.len() / 2], "list 1 is damaged"),
        ("nothing", "", "no list of revoked certificates is in it"),
        (
            "of another CA",
            &foreign,
            "holds no list of client CA `deviceca`",
        ),
        ("by another key", &namesake, "was not signed by the key"),
    ] {
        replace(&file(house, "device.crl"), bytes.as_bytes());
        let refused = running.node.reloader().reload();
        let why = refused.expect_err(name).to_string();
        assert!(why.contains(reason), "{name}: {why}");
        let [old, _] = configs(house, &one);
        assert!(try_unwrap(&running, &old, &body).is_ok(), "{name}");
        let [old, _] = configs(house, &two);
        assert!(try_unwrap(&running, &old, &body).is_err(), "{name}");
    }
    fs::remove_file(file(house, "device.crl")).unwrap();
    let why = running.node.reloader().reload().unwrap_err().to_string();
    assert!(
        why.contains("kms.role.device.ca.crl.file") && why.contains("device.crl"),
        "{why}"
    );
    running.stop();
}

#[test]
fn the_audit_log_names_the_ca_and_the_certificate() {
    let ca = DeviceCa::new("Device CA");
    let one = ca.device("device-1");
    let audit = "kms.audit.file=audit.log\nkms.audit.key.file=audit.key";
    let running = start(&ca, audit);
    let body = wrap(&running, PLAINTEXT);
    let mut client = Client::connect(&running.house, Some(&one), running.address()).unwrap();
    assert_eq!(client.post(UNWRAP, &body).status, 200);
    let house = running.stop_and_keep();
    let text = fs::read_to_string(file(&house, "audit.log")).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let line = lines
        .into_iter()
        .find(|line| line["operation"] == "decrypt")
        .unwrap();
    let print = kms::identity::fingerprint_text(&kms::identity::fingerprint(&one.cert_der));
    let print = print.replace(':', "").to_lowercase();
    for (member, want) in [
        ("alias", "deviceca"),
        ("subject", "CN=device-1"),
        ("fingerprint", &print),
        ("role", "device"),
    ] {
        assert_eq!(line[member], want, "{line}");
    }
}

#[test]
fn each_certificate_is_a_client_of_its_own() {
    let ca = DeviceCa::new("Device CA");
    let (one, two) = (ca.device("device-1"), ca.device("device-2"));
    let running = start(&ca, "kms.limit.rate=1");
    let connect = |who| Client::connect(&running.house, Some(who), running.address()).unwrap();
    let ask = |client: &mut Client| client.post("/v1/transit/datakey/wrapped/k", "").status;
    let mut first = connect(&one);
    until("its rate is used up", || ask(&mut first) == 429);
    assert_eq!(
        ask(&mut connect(&two)),
        200,
        "another certificate, the same address"
    );
    running.stop();
}
