//! Orders to a running node: by the control socket, and by the commands that use it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::fs;
use std::process::Command;

use kms::admin::{Order, ask};
use service_support::on_disk::{PLAINTEXT, UNWRAP, replace, start, store, wrap};
use service_support::{file, until};

#[test]
fn orders_come_by_the_control_socket() {
    let running = start("kms.control.socket=control.sock");
    let socket = file(&running.house, "control.sock");
    let body = wrap(&running, PLAINTEXT);
    let mut device = running.device();
    assert_eq!(device.post(UNWRAP, &body).status, 200);
    let status = ask(&socket, &Order::Status).unwrap();
    assert_eq!(status["cache_entries"], 1, "{status}");
    assert_eq!(
        status["certificates"].as_array().unwrap().len(),
        3,
        "{status}"
    );
    let key = |name: &str| Order::Purge {
        key: Some(name.to_owned()),
        cluster: false,
    };
    assert!(ask(&socket, &key("never")).unwrap_err().contains("'never'"));
    ask(&socket, &key("k")).unwrap();
    until("purged", || running.node.shared().engine.cache().is_empty());
    assert_eq!(device.post(UNWRAP, &body).status, 200);
    ask(
        &socket,
        &Order::Purge {
            key: None,
            cluster: false,
        },
    )
    .unwrap();
    until("purged", || running.node.shared().engine.cache().is_empty());

    let drained = ask(&socket, &Order::Drain { cancel: false }).unwrap();
    assert_eq!(drained["draining"], true);
    assert_eq!(kms::admin::readiness(running.node.shared()).status, 404);
    let answer = device.post(UNWRAP, &body);
    assert_eq!(
        (answer.status, answer.header("Connection")),
        (200, Some("close"))
    );
    assert!(device.end());
    ask(&socket, &Order::Drain { cancel: true }).unwrap();
    assert_eq!(kms::admin::readiness(running.node.shared()).status, 200);
    let mut device = running.device();
    assert_eq!(device.post(UNWRAP, &body).header("Connection"), None);

    assert!(
        ask(&socket, &Order::Reload).unwrap()["changes"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    fs::write(store(&running.house), "nonsense").unwrap();
    assert!(
        ask(&socket, &Order::Reload)
            .unwrap_err()
            .contains("store.p12")
    );
    running.stop();
    assert!(!socket.exists());
}

const SOCKET: &str = "kms.control.socket=control.sock\n";
const LIMIT: &str = "kms.limit.rate=100\nkms.threads=3";

/// Name, lines of the configuration, arguments, exit code, what is said.
type Row = (
    &'static str,
    &'static str,
    &'static [&'static str],
    i32,
    &'static str,
);

const ROWS: &[Row] = &[
    (
        "nothing",
        "",
        &["reload"],
        0,
        "nothing that can be reloaded has changed",
    ),
    ("a limit", LIMIT, &["reload"], 0, "kms.limit.rate: 0 -> 100"),
    (
        "and a size",
        LIMIT,
        &["reload"],
        0,
        "at the next start: kms.threads: 2 -> 3",
    ),
    (
        "for machines",
        LIMIT,
        &["reload", "--json"],
        0,
        "\"needs_restart\": [",
    ),
    (
        "a bad file",
        "kms.limit.rates=1",
        &["reload"],
        2,
        "kms.limit.rate",
    ),
    ("purge", "", &["cache", "purge"], 0, "dropped 1 cached keys"),
    (
        "one key",
        "",
        &["cache", "purge", "--key", "k"],
        0,
        "of key 'k'",
    ),
    (
        "no such key",
        "",
        &["cache", "purge", "--key", "l"],
        2,
        "key 'l'",
    ),
    ("drain", "", &["drain"], 0, "/readyz is 404"),
    ("no drain", "", &["drain", "--cancel"], 0, "serving again"),
    ("status", "", &["status"], 0, "(server) EXPIRES in"),
];

#[test]
fn the_commands_tell_what_they_did() {
    let running = start(SOCKET.trim());
    let house = &running.house;
    let body = wrap(&running, PLAINTEXT);
    assert_eq!(running.device().post(UNWRAP, &body).status, 200);
    let properties = file(house, "kms.properties");
    let kms = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kms"));
        let command = command.args(arguments).arg("--config").arg(&properties);
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    for (name, more, arguments, code, want) in ROWS {
        let text = house.properties(&format!("{SOCKET}{more}"));
        // A bad file is for `reload` alone: the others need it to find the socket.
        replace(&properties, text.as_bytes());
        let (got, said) = kms(arguments);
        assert_eq!(got, Some(*code), "{name}: {said}");
        assert!(said.contains(want), "{name}: {said}");
    }
    running.node.drain_and_stop();
    let (code, said) = kms(&["reload"]);
    assert!(code == Some(2) && said.contains("control.sock"), "{said}");
}
