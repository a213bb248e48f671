//! The planned site on this machine: a simulated HSM in this process, the server's processes, certificates and data
//! keys for both.
//!
//! Must never be true: a process that outlives its [`Rig`]; data keys wrapped by another HSM than the one that is
//! asked. Called by [`super::stages`] and `calibrate`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::time::SystemTime;

use kms_loadgen::load::job::{Job, Load, Reach};
use kms_loadgen::load::prepared::Prepared;
use kms_loadgen::load::run::Conditions;
use kms_loadgen::load::session::{Door, Session};
use kms_loadgen::results::{RunResult, ServerView};
use kms_loadgen::scenario::node::{Node, free_port};
use kms_loadgen::sim::site::{Ports, Site};
use kms_loadgen::sim::tls::Shown;
use kms_loadgen::sim::{HsmPlan, Model, Preset, Running, Sim, SimPlan};
use kms_loadgen::target::TlsPlan;

/// Ports that were free may be taken when the server binds them.
const ATTEMPTS: usize = 3;
/// Of the HSM's keys: what one simulator wrapped the next one unwraps.
const SEED: u64 = 1;

/// Nodes in front of one simulated HSM.
pub struct Rig {
    // Stopped before the HSM that they use.
    members: Vec<Member>,
    sim: Option<Running>,
    hsm: SocketAddr,
    site: Site,
    program: PathBuf,
    folder: PathBuf,
    /// Whether connections of nodes that are opened from now on resume earlier sessions.
    pub resumes: bool,
    /// None only until they are wrapped.
    prepared: Option<Arc<Prepared>>,
}

/// One node, and how it is asked.
struct Member {
    node: Node,
    service: u16,
    health: u16,
    session: Session,
}

/// What one node is asked for in a stage.
pub struct Asked {
    /// Which.
    pub node: usize,
    /// For what.
    pub job: Job,
}

impl Rig {
    /// Makes certificates in `folder`, a new one, and wraps `keys` data keys at an HSM that takes no time.
    pub fn prepare(
        folder: &Path,
        program: &Path,
        keys: u32,
        say: &mut dyn FnMut(&str),
    ) -> Result<Self, String> {
        let site = Site::open(&folder.join("site"))?;
        let sim = start_hsm(&site, Preset::Null.model(), ([127, 0, 0, 1], 0).into())?;
        let mut rig = Self {
            members: Vec::new(),
            hsm: sim.address,
            sim: Some(sim),
            site,
            program: program.to_owned(),
            folder: folder.to_owned(),
            resumes: false,
            prepared: None,
        };
        let (node, service, _) = rig.start_node(0, "kms.cache.entries.max=1000\n")?;
        let job = Job {
            reach: rig.reach(service),
            keys: Some(keys),
            loads: vec![Load {
                rate: Some(1.0),
                ..Load::default()
            }],
            ..Job::default()
        };
        let session = Session::open(&job, None, say).map_err(|error| error.to_string())?;
        rig.prepared = Some(session.prepared);
        drop(node);
        Ok(rig)
    }

    /// Another HSM with the same keys in the first one's place, and so many nodes with these lines of configuration.
    pub fn open(&mut self, model: Model, nodes: usize, lines: &str) -> Result<(), String> {
        self.members.clear();
        // It stops when it is dropped, and its port is free then.
        self.sim = None;
        self.sim = Some(start_hsm(&self.site, model, self.hsm)?);
        for number in 0..nodes {
            let (node, service, health) = self.start_node(number, lines)?;
            let session = self.session(service)?;
            self.members.push(Member {
                node,
                service,
                health,
                session,
            });
        }
        Ok(())
    }

    /// Ends the last node and starts no other.
    pub fn lose_node(&mut self) -> Result<(), String> {
        match self.members.pop() {
            Some(mut member) => member.node.kill(),
            None => Err("there is no node to lose".to_owned()),
        }
    }

    /// Ends a node in order and starts it again, empty.
    pub fn restart_node(&mut self, number: usize) -> Result<(), String> {
        let member = self
            .members
            .get_mut(number)
            .ok_or("there is no such node")?;
        member.node.terminate()?;
        member.node.start_again()
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.members.len()
    }

    /// The process of a node.
    pub fn pid(&self, number: usize) -> Option<u32> {
        self.members.get(number).map(|member| member.node.pid())
    }

    /// Gives the simulated HSM an order.
    pub fn order_hsm(&self, text: &str) -> Result<(), String> {
        let sim = self.sim.as_ref().ok_or("there is no HSM")?;
        let answer = sim.order(text).map_err(|error| error.to_string())?;
        match answer.strip_prefix("error: ") {
            Some(why) => Err(format!("the simulated HSM refuses `{text}`: {why}")),
            None => Ok(()),
        }
    }

    /// Unwraps the first `keys` data keys at a node.
    pub fn fill(&self, number: usize, keys: u32, stop: &AtomicBool) -> Result<(), String> {
        let member = self.members.get(number).ok_or("there is no such node")?;
        let job = Job {
            keys: Some(keys),
            loads: vec![Load {
                rate: Some(1.0),
                ..Load::default()
            }],
            ..Job::default()
        };
        let filled = member.session.fill_cache(&job, stop);
        filled.map_err(|error| error.to_string())
    }

    /// Runs all that is asked at the same time; results in the same order. `begun` hears when the first has begun.
    pub fn run(
        &self,
        asked: Vec<Asked>,
        stop: &AtomicBool,
        begun: Option<Sender<SystemTime>>,
    ) -> Result<Vec<RunResult>, String> {
        let mut begun = begun;
        let results: Vec<Result<RunResult, String>> = std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for one in asked {
                let conditions = Conditions {
                    begun: begun.take(),
                    ..Conditions::plain(stop)
                };
                threads.push(scope.spawn(move || self.run_one(one, conditions)));
            }
            let joined = threads.into_iter().map(|thread| {
                let ended = thread.join();
                ended.unwrap_or_else(|_| Err("a generator's thread failed".to_owned()))
            });
            joined.collect()
        });
        results.into_iter().collect()
    }

    fn run_one(&self, one: Asked, conditions: Conditions<'_>) -> Result<RunResult, String> {
        let member = self.members.get(one.node).ok_or("there is no such node")?;
        let job = Job {
            reach: self.reach(member.service),
            metrics: Some(format!("http://127.0.0.1:{}/metrics", member.health)),
            ..one.job
        };
        let result = member.session.run(&job, conditions);
        result.map_err(|error| error.to_string())
    }

    fn session(&self, service: u16) -> Result<Session, String> {
        let plan = TlsPlan {
            versions: Job::default().tls.parse()?,
            is_resuming: self.resumes,
        };
        let reach = self.reach(service);
        let door = Door::open(&reach, plan, None).map_err(|error| error.to_string())?;
        let prepared = self.prepared.clone().ok_or("no data keys")?;
        Ok(Session {
            door,
            prepared,
            server: ServerView {
                target: reach.address,
                ..ServerView::default()
            },
            notes: Vec::new(),
        })
    }

    fn reach(&self, service: u16) -> Reach {
        Reach {
            address: format!("127.0.0.1:{service}"),
            server_name: Some("localhost".to_owned()),
            ca: self.site.file("ca.crt"),
            cert: self.site.file("cmxDevice.crt"),
            key: self.site.file("cmxDevice.key"),
            ..Reach::default()
        }
    }

    fn start_node(&self, number: usize, lines: &str) -> Result<(Node, u16, u16), String> {
        let log = self.folder.join(format!("kms-{number}.log"));
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            let ports = Ports {
                service: free_port()?,
                health: free_port()?,
            };
            let (service, health) = (ports.service, ports.health);
            let properties = self.configure(number, ports, lines)?;
            match Node::start(
                &self.program,
                &properties,
                &log,
                &format!("127.0.0.1:{health}"),
            ) {
                Ok(node) => return Ok((node, service, health)),
                Err(why) if why.contains("in use") => last = why,
                Err(why) => return Err(why),
            }
        }
        Err(last)
    }

    /// The site's configuration with these lines instead of its own.
    fn configure(&self, number: usize, ports: Ports, lines: &str) -> Result<PathBuf, String> {
        let _ = fs::remove_file(self.site.file("kms.properties"));
        let common = self.site.write_properties(self.hsm, ports)?;
        let path = self.site.file(&format!("node-{number}.properties"));
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let common = fs::read_to_string(common).map_err(failed)?;
        // All clients have one certificate and one address here.
        let ours = format!(
            "kms.control.socket=control-{number}.sock\nkms.audit.file=audit-{number}.log\n\
             kms.limit.inflight=1000000\nkms.limit.connections=20000\n{lines}"
        );
        let key = |line: &str| line.split_once('=').map(|(key, _)| key.trim().to_owned());
        let told: Vec<String> = ours.lines().filter_map(key).collect();
        let kept = common
            .lines()
            .filter(|line| key(line).is_none_or(|key| !told.contains(&key)));
        let text = kept.chain(ours.lines()).collect::<Vec<_>>().join("\n") + "\n";
        fs::write(&path, text).map_err(failed)?;
        Ok(path)
    }
}

fn start_hsm(site: &Site, model: Model, address: SocketAddr) -> Result<Running, String> {
    let sim = Sim::bind(SimPlan {
        address,
        model,
        hsm: HsmPlan {
            seed: SEED,
            ..HsmPlan::default()
        },
        tls: Shown::from_dir(&site.file(""))?,
        control: None,
        faults: Vec::new(),
    })?;
    sim.spawn()
        .map_err(|error| format!("the simulated HSM: {error}"))
}
