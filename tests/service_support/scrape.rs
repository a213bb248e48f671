//! `/metrics` of a running node, and its figures.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use super::{Running, client};

/// Every sample by name and labels as they stand.
pub type Figures = BTreeMap<String, f64>;

/// What the health listener answers to a path, without its head.
pub fn get(running: &Running, path: &str) -> String {
    let mut tcp = client::tcp(running.node.health_address());
    tcp.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
        .unwrap();
    let mut text = String::new();
    tcp.read_to_string(&mut text).unwrap();
    let (_, body) = text.split_once("\r\n\r\n").expect("a head");
    body.to_owned()
}

pub fn scrape(running: &Running) -> Figures {
    figures(&get(running, "/metrics"))
}

pub fn figures(text: &str) -> Figures {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    samples.map(sample).collect()
}

/// The Python that `./test install` has put beside the tests' scratch space.
pub fn python() -> std::path::PathBuf {
    let scratch = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let tools = scratch.parent().unwrap().join("test-tools");
    let python = std::env::var_os("KMS_TEST_PYKMIP")
        .map_or_else(|| tools.join("pykmip/bin/python"), Into::into);
    let place = python.display();
    assert!(python.exists(), "no Python at {place}: run ./test install");
    python
}

/// Has Prometheus' own parser judge scrapes, each later than the one before: what it finds wrong.
pub fn judge(folder: &std::path::Path, scrapes: &[&str]) -> Result<(), String> {
    let mut command = std::process::Command::new(python());
    command.arg(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/metrics/check.py"
    ));
    for (at, scrape) in scrapes.iter().enumerate() {
        let file = folder.join(format!("scrape-{at}.txt"));
        std::fs::write(&file, scrape).unwrap();
        command.arg(file);
    }
    let done = command.output().unwrap();
    let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    if done.status.success() {
        Ok(())
    } else {
        Err(said)
    }
}
