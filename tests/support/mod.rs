//! What the tests against real peers share: processes that end with the test, certificates made by
//! openssl, keystores made by keytool, a PyKMIP server, our own server, clients.
//!
//! Must never be true: a process that outlives its test; a wait without a deadline; a missing tool
//! that turns a test green. `./test install` brings the tools.
#![allow(dead_code)]

pub mod client;
pub mod kmip;
pub mod node;
pub mod openbao;
pub mod pki;
pub mod process;
pub mod pykmip;
pub mod redis;
pub mod site;

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Generous: the machine may be busy. A test that meets it fails.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A loopback port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// All different: one that was let go could be given again.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// Asks again and again until `ready` gives something; panics with `what` after `limit`.
pub fn wait_until<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < end, "gave up after {limit:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Waits until something accepts connections there.
pub fn wait_for_port(what: &str, port: u16) {
    wait_until(
        &format!("{what} does not listen on {port}"),
        PATIENCE,
        || TcpStream::connect(("127.0.0.1", port)).ok(),
    );
}

/// Runs a program to its end in `folder`, with `input` on stdin; panics with what it said on failure.
pub fn run_with(folder: &Path, program: &str, args: &[&str], input: &str) -> String {
    let said = try_run(folder, program, args, input);
    assert!(said.0, "{program} {args:?}: {}", said.1);
    said.1
}

/// As [`run_with`], with nothing to read.
pub fn run(folder: &Path, program: &str, args: &[&str]) -> String {
    run_with(folder, program, args, "")
}

/// Whether it succeeded, and all that it said.
pub fn try_run(folder: &Path, program: &str, args: &[&str], input: &str) -> (bool, String) {
    use std::io::Write as _;
    let mut child = Command::new(program)
        .args(args)
        .current_dir(folder)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed ({error}): run ./test install"));
    // It may end without reading; that is its business.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    (done.status.success(), said)
}
