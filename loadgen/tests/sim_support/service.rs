//! A whole node in this process, in front of simulated HSMs.

use std::net::SocketAddr;

use kms::config;
use kms::node::{Deadlines, Node, Options};
use kms::wire::proxy::put_header;
use kms_loadgen::Target;
use kms_loadgen::client::Client;
use kms_loadgen::sim::site::Site;

use super::PATIENCE;

/// How long a miss may take, as configured.
pub const TIMEOUT_MS: u64 = 500;

/// Small enough that a crowd's cold keys do not stay in the cache.
const ENTRIES_MAX: usize = 1000;

/// A running node, stopped with this.
pub struct Service {
    node: Option<Node>,
    pub target: Target,
    /// What a load balancer writes first, where the node expects one.
    preamble: Vec<u8>,
}

impl Service {
    /// In front of the HSMs at these addresses, with the certificates of `site`.
    pub fn start(site: &Site, hsms: &[SocketAddr]) -> Self {
        Self::start_with(site, hsms, &[])
    }

    /// As [`Service::start`], with more properties.
    pub fn start_with(site: &Site, hsms: &[SocketAddr], more: &[&str]) -> Self {
        let file = site.file("kms.properties");
        let urls: Vec<String> = hsms.iter().map(SocketAddr::to_string).collect();
        let ours = [
            ("kms.server.port", "0".to_owned()),
            ("kms.health.address", "127.0.0.1:0".to_owned()),
            ("kms.hsm.server.url", urls.join(",")),
            ("kms.hsm.timeout.ms", TIMEOUT_MS.to_string()),
            ("kms.hsm.pool.size", "4".to_owned()),
            ("kms.threads", "2".to_owned()),
            ("kms.cache.entries.max", ENTRIES_MAX.to_string()),
        ];
        let name = |line: &str| line.split('=').next().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let kept = text
            .lines()
            .filter(|line| ours.iter().all(|(key, _)| *key != name(line)));
        let mut lines: Vec<String> = kept.map(str::to_owned).collect();
        lines.extend(ours.iter().map(|(key, value)| format!("{key}={value}")));
        lines.extend(more.iter().map(|line| (*line).to_owned()));
        let loaded = config::parse(&file, lines.join("\n").as_bytes(), []).unwrap();
        let deadlines = Deadlines {
            grace: std::time::Duration::ZERO,
            ..Deadlines::default()
        };
        let options = Options {
            deadlines,
            ..Options::default()
        };
        let node = Node::start(&loaded.config, options).unwrap();
        let target = Target::from_pem(
            node.address(),
            "localhost",
            &site.file("ca.crt"),
            &site.file("cmxDevice.crt"),
            &site.file("cmxDevice.key"),
        )
        .unwrap();
        let mut preamble = Vec::new();
        if more.contains(&"kms.server.proxy-protocol=v2") {
            put_header(
                &mut preamble,
                "10.0.0.1:1000".parse().unwrap(),
                target.address,
            );
        }
        let service = Self {
            node: Some(node),
            target,
            preamble,
        };
        service.wait_until_ready(site);
        service
    }

    /// The node itself.
    pub fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// A connection with the certificate `name` of the site.
    pub fn client_as(&self, site: &Site, name: &str) -> Client {
        let target = Target::from_pem(
            self.node.as_ref().unwrap().address(),
            "localhost",
            &site.file("ca.crt"),
            &site.file(&format!("{name}.crt")),
            &site.file(&format!("{name}.key")),
        );
        Client::connect_behind(&target.unwrap(), &self.preamble).unwrap()
    }

    /// Where it tells of itself.
    pub fn health(&self) -> SocketAddr {
        self.node.as_ref().unwrap().health_address()
    }

    /// Stops it now.
    pub fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            node.drain_and_stop();
        }
    }

    /// Returns when the HSM has been met once.
    fn wait_until_ready(&self, site: &Site) {
        // Which gives a key what it lacks, such as one for MACs.
        let mut backend = self.client_as(site, "cmxBackend");
        let mut client = Client::connect_behind(&self.target, &self.preamble).unwrap();
        let until = std::time::Instant::now() + PATIENCE;
        let body = br#"{"plaintext":"YQ=="}"#;
        loop {
            let made = backend.request("POST", "/v1/transit/keys/demo", None, b"{}");
            made.unwrap();
            let answer = client.request("POST", "/v1/transit/encrypt/demo", None, body);
            let answer = answer.unwrap();
            if answer.status == 200 {
                return;
            }
            let said = String::from_utf8_lossy(&answer.body);
            assert!(std::time::Instant::now() < until, "never ready: {said}");
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}
