//! What a seed decides: sizes, servers, faults and who asks what when.

use kms_loadgen::sim::Model;
use kms_loadgen::sim::fault::FaultOrder;
use kms_loadgen::sim::preset::Preset;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// Nanoseconds of a millisecond.
pub const MS: u64 = 1_000_000;
/// Answers that may be wrong on purpose, as the simulated HSM's control socket names them.
pub const ANSWER_FAULTS: [&str; 12] = [
    "refuse-batch",
    "busy",
    "partial",
    "wrong-id",
    "swap-ids",
    "duplicate-id",
    "missing-item",
    "late-item",
    "wrong-uid",
    "wrong-tag",
    "garbage",
    "drop-mid-frame",
];

/// What a server's network does for a while.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outage {
    /// Connections are dropped and refused: killed, and started again at the end.
    Down,
    /// Nothing gets through; connections are gone at the end.
    Silent,
    /// Requests are taken and answered only at the end.
    Stall,
}

impl Outage {
    pub fn kind(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Silent => "silent",
            Self::Stall => "stall",
        }
    }
}

/// From then until then, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub outage: Outage,
    pub from_ns: u64,
    pub to_ns: u64,
}

impl Window {
    pub fn covers(&self, ns: u64) -> bool {
        (self.from_ns..self.to_ns).contains(&ns)
    }
}

/// One HSM.
pub struct Server {
    pub model: Model,
    /// To and from it, nanoseconds.
    pub way_ns: u64,
    pub windows: Vec<Window>,
    /// Answers that are wrong, from when on.
    pub orders: Vec<(u64, FaultOrder)>,
}

/// What happens besides requests.
#[derive(Clone, Copy, Debug)]
pub enum Incident {
    /// `kms cache purge`.
    Purge,
    /// Another node rotates the second key.
    Rotate,
    /// An operator deactivates the second key's first version.
    Deactivate,
    /// The process stands still for so long, nanoseconds.
    Freeze(u64),
    /// A client goes away in the middle of whatever it does, and comes back.
    Hangup(usize),
}

impl Incident {
    pub fn kind(self) -> &'static str {
        match self {
            Self::Purge => "purge",
            Self::Rotate => "rotate",
            Self::Deactivate => "deactivate",
            Self::Freeze(_) => "freeze",
            Self::Hangup(_) => "hangup",
        }
    }
}

/// Everything but the requests.
pub struct Plan {
    pub seed: u64,
    pub clients: usize,
    pub connections: usize,
    pub batch_max: usize,
    pub pipeline_max: usize,
    pub queue_max: usize,
    pub inflight_max: usize,
    pub flights_max: usize,
    pub waiters_max: usize,
    pub entries_max: usize,
    pub ttl_s: u32,
    pub stale_max_s: u32,
    pub timeout_ms: u64,
    pub highest: &'static str,
    pub servers: Vec<Server>,
    pub incidents: Vec<(u64, Incident)>,
    /// When the last fault is over.
    pub calm_from_ns: u64,
    pub faults: Vec<String>,
    /// What the slowest server alone would need for whatever the clients ask at once, item by item.
    pub usual_ms: u64,
    freezes: bool,
}

impl Plan {
    pub fn of(seed: u64) -> (Self, SmallRng) {
        let mut random = SmallRng::seed_from_u64(seed);
        let r = &mut random;
        let clients = if r.random_bool(0.2) {
            1
        } else {
            r.random_range(2..=30)
        };
        let tight = r.random_bool(0.25);
        let mut plan = Self {
            seed,
            clients,
            connections: r.random_range(1..=8),
            batch_max: [1, 3, 32, 32][r.random_range(0..4)],
            pipeline_max: [1, 1, 2, 4][usize::try_from(seed % 4).unwrap()],
            queue_max: if tight { 8 } else { 1024 },
            inflight_max: if tight { 3 } else { 256 },
            flights_max: if tight { 12 } else { 1024 },
            waiters_max: if tight { 20 } else { 4096 },
            entries_max: [0, 4, 1000, 1000][r.random_range(0..4)],
            ttl_s: [1, 3, 300][r.random_range(0..3)],
            stale_max_s: [0, 0, 30][r.random_range(0..3)],
            timeout_ms: [400, 1000, 2000][r.random_range(0..3)],
            highest: ["1.4", "2.0", "2.1"][r.random_range(0..3)],
            servers: Vec::new(),
            incidents: Vec::new(),
            calm_from_ns: 0,
            faults: Vec::new(),
            usual_ms: 0,
            freezes: false,
        };
        for _ in 0..r.random_range(1..=3) {
            plan.servers.push(server(r));
        }
        let usual_ms = plan.servers.iter().map(|server| plan.usual_ms_of(server));
        plan.usual_ms = usual_ms.max().unwrap();
        if r.random_bool(0.8) {
            for _ in 0..r.random_range(1..=5) {
                plan.add_fault(r);
            }
            if r.random_bool(0.25) {
                plan.add_blackout(r);
            }
        }
        if r.random_bool(0.6) {
            plan.add_incidents(r);
        }
        (plan, random)
    }

    /// Whether nothing at all can go wrong.
    pub fn is_calm(&self) -> bool {
        self.faults.is_empty() && self.incidents.is_empty() && self.has_room()
    }

    /// Whether no client is refused or kept waiting for want of room or speed.
    pub fn has_room(&self) -> bool {
        !self.is_tight() && self.usual_ms < self.timeout_ms
    }

    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    fn usual_ms_of(&self, server: &Server) -> u64 {
        let item_ms = 2.5 * server.model.message_ms + 2.0 * server.way_ns as f64 / MS as f64;
        let at_once = self.connections.min(server.model.engines as usize);
        // An idle connection may have to be made anew.
        (item_ms * ((self.clients * 8) as f64 / at_once as f64 + 6.0)) as u64
    }

    /// Whether bounds are so narrow that clients are refused for them.
    pub fn is_tight(&self) -> bool {
        self.queue_max < 100
    }

    /// Whether an HSM lies in a way that nobody can see without asking again.
    pub fn spoils_wraps(&self) -> bool {
        let spoils = |fault: &String| fault.contains("wrong-tag");
        self.faults.iter().any(spoils)
    }

    fn add_fault(&mut self, r: &mut SmallRng) {
        let from_ns = r.random_range(50..2500) * MS;
        let longest_ms = if r.random_bool(0.2) { 5000 } else { 1500 };
        let lasts_ns = r.random_range(5..longest_ms) * MS;
        let to_ns = from_ns + lasts_ns;
        let at = r.random_range(0..self.servers.len());
        self.calm_from_ns = self.calm_from_ns.max(to_ns);
        let (from_ms, to_ms) = (from_ns / MS, to_ns / MS);
        if r.random_bool(0.5) {
            let outages = [Outage::Down, Outage::Silent, Outage::Stall];
            let outage = outages[r.random_range(0..3)];
            let window = Window {
                outage,
                from_ns,
                to_ns,
            };
            self.servers[at].windows.push(window);
            self.faults
                .push(format!("hsm {at} {outage:?} {from_ms}..{to_ms} ms"));
        } else {
            let kind = ANSWER_FAULTS.choose(r).unwrap();
            let p = [0.1, 0.5, 1.0][r.random_range(0..3)];
            let mut text = format!("{kind} p={p} for={}", lasts_ns / MS);
            if *kind == "partial" {
                text += [" every=1", " every=2", " every=3"][r.random_range(0..3)];
            }
            let order = FaultOrder::parse(&text).unwrap();
            self.servers[at].orders.push((from_ns, order));
            self.faults
                .push(format!("hsm {at} {text} from {from_ms} ms"));
        }
    }

    /// At last all servers are away together, for long.
    fn add_blackout(&mut self, r: &mut SmallRng) {
        let from_ns = self.calm_from_ns;
        let to_ns = from_ns + r.random_range(500..4000) * MS;
        self.calm_from_ns = to_ns;
        let outage = [Outage::Down, Outage::Silent][r.random_range(0..2)];
        for server in &mut self.servers {
            server.windows.push(Window {
                outage,
                from_ns,
                to_ns,
            });
        }
        let (from_ms, to_ms) = (from_ns / MS, to_ns / MS);
        self.faults
            .push(format!("all hsms {outage:?} {from_ms}..{to_ms} ms"));
    }

    fn add_incidents(&mut self, r: &mut SmallRng) {
        for _ in 0..r.random_range(1..=4) {
            let at_ns = r.random_range(20..3000) * MS;
            let incident = match r.random_range(0..7) {
                0 => Incident::Purge,
                1 => Incident::Rotate,
                2 => Incident::Deactivate,
                3 if !self.freezes => {
                    self.freezes = true;
                    let lasts_ns = r.random_range(10..2500) * MS;
                    self.calm_from_ns = self.calm_from_ns.max(at_ns + lasts_ns);
                    Incident::Freeze(lasts_ns)
                }
                _ => Incident::Hangup(r.random_range(0..self.clients)),
            };
            self.incidents.push((at_ns, incident));
        }
    }
}

fn server(r: &mut SmallRng) -> Server {
    let message_ms = [0.0, 0.5, 2.0, 12.0][r.random_range(0..4)];
    Server {
        model: Model {
            message_ms,
            sigma: if message_ms > 0.0 { 0.4 } else { 0.0 },
            item_ms: message_ms / 10.0,
            engines: r.random_range(1..=8),
            batch_max: [1024, 1024, 8, 3, 1][r.random_range(0..5)],
            idle_ms: r.random_bool(0.2).then_some(300.0),
            ..Preset::Null.model()
        },
        way_ns: r.random_range(20_000..400_000),
        windows: Vec::new(),
        orders: Vec::new(),
    }
}
