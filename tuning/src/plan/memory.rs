//! Memory, threads and queues of one node: the server's own plan of the configuration that comes of the design.

use std::path::Path;

use kms::config::{self, plan as server};

use super::frame::Frame;
use super::{Design, PlanError};
use crate::input::field;
use crate::output::properties;
use crate::trace::{Error, Formula, Held, Quantity, Unit};

static LOCKED: Formula = Formula {
    text: "the server's own plan of the planned kms.properties",
    source: "src/config/plan.rs, run as the server runs it",
    error: Error::Exact,
    domain: "guard pages are not counted; they are not locked",
    held: Held::Arithmetic,
};
static RESIDENT: Formula = Formula {
    text: "entries x bytes_per_key + locked bytes that are no keys + 12 MB of program",
    source: "bench/README.md, P8",
    error: Error::Relative(0.15),
    domain: "data keys of 32 bytes",
    held: Held::Validate,
};
static SOCKETS: Formula = Formula::arithmetic("clients x 1.25 / (nodes - nodes_lost)");
static QUEUE: Formula = Formula {
    text: "what the connections can do within policy.timeout_ms, and a quarter; at least 16 full messages for each",
    source: "a longer queue holds nothing that is answered in time",
    error: Error::Exact,
    domain: "always",
    held: Held::Arithmetic,
};

const PROGRAM_BYTES: f64 = 12e6;
const ENTRY_BYTES: f64 = 32.0;
/// The server's default; fewer need not be written.
pub(crate) const CONNECTIONS_DEFAULT: f64 = 20_000.0;

/// What one node needs.
#[derive(Clone, Debug)]
pub struct Memory {
    /// To be locked: `LimitMEMLOCK`.
    pub locked: Quantity,
    /// In all.
    pub resident: Quantity,
    /// `kms.connections.max`.
    pub sockets: Quantity,
    /// `kms.hsm.queue.max`.
    pub queue: Quantity,
    /// Worker threads.
    pub workers: Quantity,
    /// Handshake threads.
    pub handshakers: Quantity,
    /// Open files: `LimitNOFILE`.
    pub files: Quantity,
}

static FILES: Formula = Formula::arithmetic("1.2 x client connections + HSM connections + 64");

impl Memory {
    /// Of a design, whose connections can do `capacity` jobs a second.
    pub fn new(frame: &Frame, design: &Design, capacity: &Quantity) -> Result<Self, PlanError> {
        let site = &frame.site;
        let sockets = sockets(frame, design);
        let queue = queue(frame, design, capacity);
        let planned = server_plan(
            &properties::of(site, design, &sockets, &queue),
            to_cores(&design.cores),
        )?;
        let inputs = [
            design.entries.clone(),
            design.connections.clone(),
            design.cores.clone(),
            queue.clone(),
        ];
        let of_plan = |name: &str, unit, value: usize| {
            let inputs: Vec<&Quantity> = inputs.iter().collect();
            Quantity::outcome(name, unit, &LOCKED, &inputs, value as f64)
        };
        let locked = of_plan("node_locked_bytes", Unit::Bytes, planned.locked_bytes());
        let per_key = site.get(&field::BYTES_PER_KEY);
        let resident = Quantity::derive(
            "node_resident_bytes",
            Unit::Bytes,
            &RESIDENT,
            [&design.entries, &per_key, &locked],
            |[entries, per_key, locked]| {
                entries * per_key + (locked - entries * ENTRY_BYTES) + PROGRAM_BYTES
            },
        );
        let files = Quantity::derive(
            "node_files",
            Unit::Count("files"),
            &FILES,
            [&sockets, &design.connections],
            |[sockets, pool]| (1.2 * sockets + pool + 64.0).ceil(),
        );
        Ok(Self {
            locked,
            resident,
            sockets,
            queue,
            workers: of_plan(
                "worker_threads",
                Unit::Count("threads"),
                planned.worker_threads,
            ),
            handshakers: of_plan(
                "handshake_threads",
                Unit::Count("threads"),
                planned.handshake_threads,
            ),
            files,
        })
    }

    /// In the order of reading.
    pub fn quantities(&self) -> [&Quantity; 7] {
        [
            &self.workers,
            &self.handshakers,
            &self.queue,
            &self.sockets,
            &self.locked,
            &self.resident,
            &self.files,
        ]
    }
}

/// Client connections of one node when others are away.
fn sockets(frame: &Frame, design: &Design) -> Quantity {
    let [clients, lost] = [&field::CLIENTS, &field::NODES_LOST].map(|field| frame.site.get(field));
    Quantity::derive(
        "node_sockets",
        Unit::Count("connections"),
        &SOCKETS,
        [&clients, &design.nodes, &lost],
        |[clients, nodes, lost]| {
            (clients * 1.25 / (nodes - lost).max(1.0))
                .ceil()
                .clamp(CONNECTIONS_DEFAULT, 1e6)
        },
    )
}

fn queue(frame: &Frame, design: &Design, capacity: &Quantity) -> Quantity {
    let [timeout, batch] =
        [&field::TIMEOUT_MS, &field::HSM_BATCH_MAX].map(|field| frame.site.get(field));
    Quantity::derive(
        "node_queue",
        Unit::Count("jobs"),
        &QUEUE,
        [capacity, &timeout, &design.connections, &batch],
        |[capacity, timeout_ms, connections, batch]| {
            let in_time = 1.25 * capacity * timeout_ms / 1000.0;
            in_time
                .max(connections * batch * 16.0)
                .clamp(1024.0, 65_536.0)
                .ceil()
        },
    )
}

/// Entries for which `bytes` of locked memory are enough, on this design.
pub(super) fn entries_within(
    frame: &Frame,
    design: &Design,
    capacity: &Quantity,
    bytes: f64,
) -> Result<f64, PlanError> {
    let one = Design {
        entries: Quantity::given("entries", 1.0, Unit::Count("entries"), "a trial"),
        ..design.clone()
    };
    let least = Memory::new(frame, &one, capacity)?.locked.value();
    Ok(((bytes - least) / ENTRY_BYTES).floor().max(1.0))
}

/// The server's plan of these lines, with stand-ins for what only the site knows.
pub(crate) fn server_plan(lines: &str, cores: usize) -> Result<server::Plan, PlanError> {
    let whole = format!(
        "kms.keystore.file=kmsKeystore.p12\nkms.keystore.password=stand-in\nkms.hsm.server.url=hsm.example.com\n{lines}"
    );
    let loaded = config::parse(Path::new("kms.properties"), whole.as_bytes(), []);
    let loaded = loaded.map_err(|error| PlanError::Refused(error.to_string()))?;
    Ok(server::plan(&loaded.config, cores))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 1 to 256
fn to_cores(cores: &Quantity) -> usize {
    cores.value() as usize
}
