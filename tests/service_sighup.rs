//! SIGHUP to the program while it is under load: new certificates, pins and roles, and no request that fails for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kms::cli::pki::Issued;
use rustix::process::Signal;
use service_support::client::{Answer, Client};
use service_support::on_disk::{PLAINTEXT, UNWRAP, issue, keystore, replace, store};
use service_support::program::Program;
use service_support::transit::ciphertext_of;
use service_support::{House, file, until};

/// Connections that unwrap what is cached, and those that have the back end wrap.
const LOAD: [&str; 6] = [UNWRAP, UNWRAP, UNWRAP, UNWRAP, WRAP, WRAP];
const WRAP: &str = "/v1/transit/encrypt/k";
const WRAP_BODY: &str = r#"{"plaintext":"YQ=="}"#;

fn connect(house: &House, who: &Issued, address: SocketAddr) -> std::io::Result<Client> {
    Client::connect(house, Some(who), address)
}

/// One request on a new connection.
fn ask(house: &House, who: &Issued, address: SocketAddr, body: &str) -> std::io::Result<Answer> {
    let mut client = connect(house, who, address)?;
    client.try_send(service_support::client::request("POST", UNWRAP, body))?;
    client.try_answer()
}

/// Asks without a pause, on one connection all the time; each answer must be right.
fn go_on(mut client: Client, path: &str, body: &str, over: &AtomicBool, count: &AtomicU64) {
    while !over.load(Ordering::Relaxed) {
        let answer = client.try_answer_after(path, body);
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let want = if path == WRAP { "vault:v1:" } else { PLAINTEXT };
        assert!(answer.body.contains(want), "{path}: {}", answer.body);
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a running program is made to do.
struct Act<'a> {
    house: &'a House,
    address: SocketAddr,
    program: Program,
    body: &'a str,
    count: &'a AtomicU64,
}

impl Act<'_> {
    /// Signals, and waits until it is obeyed and the load has got on.
    fn hang_up(&mut self, says: &str) {
        self.program.signal(Signal::HUP);
        // Files that have changed are also looked at without a signal: it may have been a moment faster.
        let told = ["SIGHUP: the log file was reopened", says];
        self.program.wait_for_all(&told);
        let from = self.count.load(Ordering::Relaxed);
        until("the load goes on", || {
            self.count.load(Ordering::Relaxed) > from + 200
        });
    }

    fn keystore(&mut self, server: &Issued, pins: &[(&str, &Issued)], says: &str) {
        replace(&store(self.house), &keystore(server, pins, "secret"));
        self.hang_up(says);
    }

    fn properties(&mut self, more: &str, says: &str) {
        let text = self.house.properties(more);
        replace(&file(self.house, "kms.properties"), text.as_bytes());
        self.hang_up(says);
    }

    fn shown(&self) -> Vec<u8> {
        let client = connect(self.house, &self.house.backend, self.address).unwrap();
        client.tls.conn.peer_certificates().unwrap()[0].to_vec()
    }
}

/// All that a site replaces in a year, one after the other.
fn play(act: &mut Act<'_>) {
    let (house, address, body) = (act.house, act.address, act.body);
    let (device, backend) = (&house.device, &house.backend);
    let [first, second] = [0; 2].map(|_| issue(house, "kmsServer", true));
    let newcomer = issue(house, "cmxDevice2", false);
    let mut open = connect(house, device, address).unwrap();
    assert_eq!(open.post(UNWRAP, body).status, 200);

    let both = [("cmxDevice", device), ("cmxBackend", backend)];
    act.keystore(&first, &both, "the server certificate was replaced");
    assert_eq!(act.shown(), first.cert_der);
    assert_eq!(
        open.post(UNWRAP, body).status,
        200,
        "an old connection lives"
    );

    assert!(
        ask(house, &newcomer, address, body).is_err(),
        "not pinned yet"
    );
    let all = [
        ("cmxDevice", device),
        ("cmxDevice-2", &newcomer),
        ("cmxBackend", backend),
    ];
    act.keystore(&first, &all, "'cmxdevice-2' (CN=cmxDevice2) added");
    assert_eq!(ask(house, &newcomer, address, body).unwrap().status, 200);

    act.properties(
        "kms.role.device.operations=encrypt",
        "kms.role.device.operations",
    );
    assert_eq!(open.post(UNWRAP, body).status, 403, "on an open connection");
    act.properties("", "kms.role.device.operations");
    assert_eq!(open.post(UNWRAP, body).status, 200);

    let without = [("cmxDevice-2", &newcomer), ("cmxBackend", backend)];
    act.keystore(&second, &without, "'cmxdevice' (CN=cmxDevice) removed");
    assert_eq!(act.shown(), second.cert_der);
    assert!(open.end(), "cut, though idle");
    assert!(ask(house, device, address, body).is_err(), "removed");
    assert_eq!(ask(house, &newcomer, address, body).unwrap().status, 200);
}

#[test]
fn a_sighup_under_load_costs_only_those_that_were_removed() {
    let house = House::build();
    let (program, address) = Program::start(&house);
    let mut backend = connect(&house, &house.backend, address).unwrap();
    assert_eq!(backend.post("/v1/transit/keys/k", "").status, 200);
    let wrapped = backend.post(WRAP, &format!(r#"{{"plaintext":"{PLAINTEXT}"}}"#));
    let body = format!(r#"{{"ciphertext":"{}"}}"#, ciphertext_of(&wrapped.body));
    let (over, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut act = Act {
        house: &house,
        address,
        program,
        body: &body,
        count: &count,
    };
    std::thread::scope(|scope| {
        for path in LOAD {
            let client = connect(&house, &house.backend, address).unwrap();
            let body = if path == WRAP { WRAP_BODY } else { &body };
            let (over, count) = (&over, &count);
            scope.spawn(move || go_on(client, path, body, over, count));
        }
        // The load ends whatever happens here.
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&mut act)));
        over.store(true, Ordering::Relaxed);
        if let Err(why) = played {
            std::panic::resume_unwind(why);
        }
    });
    assert!(count.load(Ordering::Relaxed) > 1000);
    act.program.signal(Signal::TERM);
    act.program.wait_for("stopped");
    assert_eq!(act.program.child.wait().unwrap().code(), Some(0));
}
