//! The program `kms serve` as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{House, file};

/// `kms serve`, ended with the test.
pub struct Program {
    pub child: Child,
    log: BufReader<ChildStderr>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// Started, and where it serves.
    pub fn start(house: &House) -> (Self, SocketAddr) {
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
    pub fn wait_for(&mut self, text: &str) -> String {
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

    /// Reads the log until it has told all of `texts`, in whatever order.
    pub fn wait_for_all(&mut self, texts: &[&str]) {
        let mut left = texts.to_vec();
        let mut all = String::new();
        while !left.is_empty() {
            let mut line = String::new();
            let read = self.log.read_line(&mut line).unwrap();
            assert!(read > 0, "the log ended without {left:?}:\n{all}");
            left.retain(|text| !line.contains(text));
            all.push_str(&line);
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}
