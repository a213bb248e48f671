//! A folder with certificates and configuration, a simulated HSM in this process, and a server's process in front
//! of it.
//!
//! Must never be true: a stage half set up that stays. Called by [`super::play`].

use std::fs;
use std::path::{Path, PathBuf};

use kms::admin::{Order, ask};

use super::file::{Scenario, ServerOrder};
use super::node::{Node, free_port};
use crate::load::job::Reach;
use crate::sim::site::{Ports, Site};
use crate::sim::tls::Shown;
use crate::sim::{HsmPlan, Running, Sim, SimPlan};

/// Ports that were free may be taken when the server binds them.
const ATTEMPTS: usize = 3;

/// All that a scenario plays on.
pub struct Stage {
    // Stopped before the HSM that it uses.
    node: Node,
    sim: Running,
    site: Site,
    service: u16,
    health: u16,
    rotations: u32,
}

impl Stage {
    /// Sets it up in `folder`, which must be new. The server's log goes to `log`.
    pub fn set(
        scenario: &Scenario,
        folder: &Path,
        program: &Path,
        log: &Path,
    ) -> Result<Self, String> {
        let site = Site::open(folder)?;
        let sim = Sim::bind(SimPlan {
            address: ([127, 0, 0, 1], 0).into(),
            model: scenario.model()?,
            hsm: HsmPlan {
                seed: scenario.run.seed,
                ..HsmPlan::default()
            },
            tls: Shown::from_dir(folder)?,
            control: None,
            faults: Vec::new(),
        })?;
        let sim = sim
            .spawn()
            .map_err(|error| format!("the simulated HSM: {error}"))?;
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            let (service, health) = (free_port()?, free_port()?);
            let properties = configure(scenario, &site, &sim, Ports { service, health })?;
            match Node::start(program, &properties, log, &format!("127.0.0.1:{health}")) {
                Ok(node) => {
                    return Ok(Self {
                        node,
                        sim,
                        site,
                        service,
                        health,
                        rotations: 0,
                    });
                }
                Err(why) if why.contains("in use") => last = why,
                Err(why) => return Err(why),
            }
        }
        Err(last)
    }

    /// How clients reach the server.
    pub fn reach(&self) -> Reach {
        Reach {
            address: format!("127.0.0.1:{}", self.service),
            server_name: Some("localhost".to_owned()),
            ca: self.site.file("ca.crt"),
            cert: self.site.file("cmxDevice.crt"),
            key: self.site.file("cmxDevice.key"),
            ..Reach::default()
        }
    }

    /// The server's figures.
    pub fn metrics(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.health)
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.node.pid()
    }

    /// Gives the simulator an order.
    pub fn order_hsm(&self, text: &str) -> Result<(), String> {
        let answer = self.sim.order(text).map_err(|error| error.to_string())?;
        match answer.strip_prefix("error: ") {
            Some(why) => Err(format!("the simulated HSM refuses `{text}`: {why}")),
            None => Ok(()),
        }
    }

    /// Begins what becomes of the server.
    pub fn begin(&mut self, order: ServerOrder) -> Result<(), String> {
        match order {
            ServerOrder::Restart => {
                self.node.terminate()?;
                Ok(())
            }
            ServerOrder::Kill => self.node.kill(),
            ServerOrder::Freeze => self.node.freeze(true),
            ServerOrder::RotateCertificate => self.rotate(),
            ServerOrder::PurgeCache => self.control(&Order::Purge {
                key: None,
                cluster: false,
            }),
        }
    }

    /// Ends it, after its time.
    pub fn end(&mut self, order: ServerOrder) -> Result<(), String> {
        match order {
            ServerOrder::Restart | ServerOrder::Kill => self.node.start_again(),
            ServerOrder::Freeze => self.node.freeze(false),
            ServerOrder::RotateCertificate | ServerOrder::PurgeCache => Ok(()),
        }
    }

    /// The other keystore takes the place of the one that is used; back and forth.
    fn rotate(&mut self) -> Result<(), String> {
        let (used, other) = (
            self.site.file("kmsKeystore.p12"),
            self.site.file("kmsKeystore-next.p12"),
        );
        let spare = self.site.file("kmsKeystore-last.p12");
        let moved = fs::copy(&used, &spare)
            .and_then(|_| fs::rename(&other, &used))
            .and_then(|()| fs::rename(&spare, &other));
        moved.map_err(|error| format!("{}: {error}", used.display()))?;
        self.rotations += 1;
        self.control(&Order::Reload)
    }

    fn control(&self, order: &Order) -> Result<(), String> {
        let socket = self.site.file("control.sock");
        let asked = ask(&socket, order);
        asked
            .map(|_| ())
            .map_err(|why| format!("the server at {}: {why}", socket.display()))
    }
}

/// Writes the server's configuration: that of the site, with this scenario's properties.
fn configure(
    scenario: &Scenario,
    site: &Site,
    sim: &Running,
    ports: Ports,
) -> Result<PathBuf, String> {
    let _ = fs::remove_file(site.file("kms.properties"));
    let path = site.write_properties(sim.address, ports)?;
    let mut ours = std::collections::BTreeMap::from([
        ("kms.control.socket".to_owned(), "control.sock".to_owned()),
        ("kms.audit.file".to_owned(), "audit.log".to_owned()),
        // All clients have one certificate and one address.
        ("kms.limit.inflight".to_owned(), "1000000".to_owned()),
        ("kms.connections.max".to_owned(), "4096".to_owned()),
        ("kms.limit.connections".to_owned(), "4096".to_owned()),
    ]);
    ours.extend(scenario.properties()?);
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let text = fs::read_to_string(&path).map_err(failed)?;
    let is_ours = |line: &str| {
        line.split_once('=')
            .is_some_and(|(name, _)| ours.contains_key(name.trim()))
    };
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !is_ours(line))
        .map(str::to_owned)
        .collect();
    lines.extend(ours.iter().map(|(name, value)| format!("{name}={value}")));
    fs::write(&path, lines.join("\n") + "\n").map_err(failed)?;
    Ok(path)
}
