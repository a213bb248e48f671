//! The program and its signals: SIGTERM drains and ends with 0, a second one ends it at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use service_support::client::{Client, request};
use service_support::{House, file};

/// `kms serve`, ended with the test.
struct Program {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(house: &House) -> (Self, SocketAddr) {
        let properties = file(house, "kms.properties");
        std::fs::write(&properties, house.properties("")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_kms"))
            .args(["serve", "--config"])
            .arg(&properties)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut program = Self { child, log };
        let line = program.wait_for("serving address=");
        let (_, rest) = line.split_once("serving address=").unwrap();
        let address = rest.split_whitespace().next().unwrap().parse().unwrap();
        (program, address)
    }

    /// The next line of the log that holds `text`.
    fn wait_for(&mut self, text: &str) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            let read = self.log.read_line(&mut line).unwrap();
            assert!(read > 0, "the log ended without {text:?}:\n{all}");
            if line.contains(text) {
                return line;
            }
            all.push_str(&line);
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

#[test]
fn sigterm_drains_and_ends_with_0() {
    let house = House::build();
    let (mut program, address) = Program::start(&house);
    let mut client = Client::connect(&house, Some(&house.backend), address).unwrap();
    assert_eq!(client.post("/v1/transit/keys/k", "").status, 200);
    program.signal(Signal::HUP);
    program.wait_for("SIGHUP");
    program.signal(Signal::TERM);
    program.wait_for("draining connections=1");
    client.send(request("GET", "/v1/transit/keys/k", ""));
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.header("Connection")),
        (200, Some("close"))
    );
    assert!(client.end());
    drop(client);
    program.wait_for("stopped");
    assert_eq!(program.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_sigterm_ends_the_process_at_once() {
    let house = House::build();
    let (mut program, address) = Program::start(&house);
    let _idle = Client::connect(&house, Some(&house.device), address).unwrap();
    program.signal(Signal::TERM);
    program.wait_for("draining connections=1");
    program.signal(Signal::TERM);
    let status = program.child.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()), "{status}");
}
