//! The program and its signals: SIGTERM drains and ends with 0, a second one ends it at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;
use service_support::client::{Client, request};
use service_support::program::Program;
use service_support::{House, until};

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
    until("refused", || std::net::TcpStream::connect(address).is_err());
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
