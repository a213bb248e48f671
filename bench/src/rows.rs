//! The rows: which servers each needs, what is compared, and the targets.

pub mod batch;
pub mod handshakes;
pub mod hsm;
pub mod idle;
pub mod memory;
pub mod speed;
pub mod start;
mod storm;
pub mod vault;

use std::time::Duration;

use clap::ValueEnum;

use crate::rounds::{Figure, Sample, Series, Settings};
use crate::table::{Goal, Judged, Report};

/// Numbers of connections at which the speed rows are run.
const CONNECTIONS: [usize; 2] = [1, 64];

const OURS: &str = "kms";
const AUDITED: &str = "kms, audit";
const NGINX: &str = "nginx";
const OPENBAO: &str = "OpenBao";

/// A row of the list of targets, in the order in which they are run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum Row {
    /// Warm unwrap against nginx `return 200`.
    P1,
    /// Against a bare mio and rustls echo.
    P2,
    /// Against OpenBao's Transit decrypt.
    P3,
    /// Against Tomcat with a servlet over a map.
    P4,
    /// Cold unwraps through the pool, batched, against a simulated HSM.
    P5,
    /// One lone client's miss against a direct KMIP client.
    P6,
    /// Full mutual handshakes against nginx, and warm unwraps in a storm of them.
    P7,
    /// Memory a cached key, and CPU as the cache grows.
    P8,
    /// Memory of idle connections that have served.
    P9,
    /// From `exec` to the first answered unwrap.
    P10,
    /// TTLV against `kmip-ttlv`.
    P11,
    /// A warm batch of 100 in one request, against OpenBao.
    P12,
    /// The same decrypt straight at OpenBao and through us in front of it.
    Vault,
}

impl Row {
    /// Every one.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// As in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
            Self::P4 => "P4",
            Self::P5 => "P5",
            Self::P6 => "P6",
            Self::P7 => "P7",
            Self::P8 => "P8",
            Self::P9 => "P9",
            Self::P10 => "P10",
            Self::P11 => "P11",
            Self::P12 => "P12",
            Self::Vault => "VAULT",
        }
    }

    /// Whether it is measured in the rounds of [`speed`].
    pub fn is_of_speed(self) -> bool {
        matches!(self, Self::P1 | Self::P2 | Self::P3 | Self::P4)
    }
}

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which rows.
    pub rows: Vec<Row>,
    /// Rounds and times.
    pub settings: Settings,
    /// How long a JVM is kept busy before the first round.
    pub jit_warm_up: Duration,
    /// Data keys of the speed rows and of row P12.
    pub data_keys: usize,
    /// Entries of the large cache of row P8.
    pub memory_entries: usize,
    /// Connections of row P9.
    pub idle_connections: usize,
}

const CPU: Figure = |sample: &Sample| sample.server_cpu_us;
const RATE: Figure = |sample: &Sample| sample.requests_per_s;
const P50: Figure = |sample: &Sample| sample.p50_us;
const WORK_PER_CPU: Figure = |sample: &Sample| 1.0 / sample.server_cpu_us;

fn compared(
    (id, what): (&'static str, &str),
    all: &[Series],
    (own, peer): (&str, &str),
    figure: Figure,
    goal: Goal,
    connections: usize,
) -> Judged {
    let find = |name: &str| all.iter().find(|series| series.name == name);
    match (find(own), find(peer)) {
        (Some(own), Some(other)) => {
            let clean = own.is_clean() && other.is_clean();
            Judged::new(
                id,
                what,
                Some(connections),
                own.ratio(other, figure),
                goal,
                clean,
            )
        }
        _ => Judged::not_run(id, what, goal),
    }
}

/// Row P11.
pub fn ttlv(report: &mut Report) -> Result<(), String> {
    let row = crate::ttlv::measure().map_err(|error| format!("row P11: {error}"))?;
    let encode = Judged::new(
        "P11",
        "TTLV batch of 32, encode, kmip-ttlv / kms",
        None,
        row.encode_ratio(),
        Goal::AtLeast(20.0),
        true,
    );
    let decode = Judged::new(
        "P11",
        "TTLV batch of 32, decode, kmip-ttlv / kms",
        None,
        row.decode_ratio(),
        Goal::AtLeast(30.0),
        true,
    );
    report.judged.extend([encode, decode]);
    report.note(
        "P11",
        format!(
            "the request of {} bytes encoded in {:.0} ns, by kmip-ttlv in {:.0} ns; the response of {} bytes decoded in \
             {:.0} ns, by kmip-ttlv in {:.0} ns",
            row.request_bytes,
            row.encode_ns,
            row.peer_encode_ns,
            row.response_bytes,
            row.decode_ns,
            row.peer_decode_ns
        ),
    );
    report.ttlv = Some(row);
    Ok(())
}
