//! From a site to a plan: scenarios, what passes, limits, a search for the smallest design that keeps the
//! objectives, and what it hangs on.
//!
//! Must never be true: a design called good for which a check fails; a number without its derivation.

pub mod curves;
mod frame;
mod latency;
mod limits;
mod memory;
mod passing;
mod scenario;
mod search;
mod sensitivity;
mod trace_file;

use std::fmt;
use std::path::PathBuf;

use crate::input::{InputError, Site, Source, field};
use crate::trace::{Origin, Quantity};

pub use frame::{Frame, message_of};
pub use latency::{Latencies, Quantiles};
pub use limits::{Check, Limit};
pub use memory::Memory;
pub use passing::{Passing, Storm, Trouble, site_capacity};
pub use scenario::{Detail, Load, Scenario};
pub use sensitivity::{Effect, Sensitivity};

/// Why there is no plan.
#[derive(Debug)]
#[non_exhaustive]
pub enum PlanError {
    /// The description.
    Input(InputError),
    /// The trace, and why.
    Trace(PathBuf, String),
    /// The server's own configuration refuses what was planned; a defect of this program.
    Refused(String),
    /// The server's cache could not be run.
    Cache(String),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) => error.fmt(f),
            Self::Trace(file, why) => {
                write!(f, "{}: cannot be used as a trace: {why}", file.display())
            }
            Self::Refused(why) => write!(
                f,
                "the server would refuse the planned configuration: {why}"
            ),
            Self::Cache(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for PlanError {}

impl From<InputError> for PlanError {
    fn from(error: InputError) -> Self {
        Self::Input(error)
    }
}

/// What the search settled, or the description told.
#[derive(Clone, Debug)]
pub struct Design {
    /// Nodes.
    pub nodes: Quantity,
    /// Cores of one, and its worker threads.
    pub cores: Quantity,
    /// Connections of one to all HSMs.
    pub connections: Quantity,
    /// Entries of one node's cache.
    pub entries: Quantity,
    /// CPU of a full handshake, by the certificate.
    pub handshake_us: Quantity,
}

/// The whole plan.
pub struct Plan {
    /// What it is for.
    pub site: Site,
    /// The same, seen from all scenarios.
    pub frame: Frame,
    /// What to build.
    pub design: Design,
    /// Mean, peak, a node gone, an HSM gone.
    pub scenarios: Vec<Scenario>,
    /// Restart, pause of the HSM, node gone, storm.
    pub passing: Passing,
    /// Memory, threads and queues, by the server's own plan.
    pub memory: Memory,
    /// What binds, the nearest first.
    pub limits: Vec<Limit>,
    /// The objectives.
    pub checks: Vec<Check>,
    /// What it hangs on, the most first.
    pub sensitivity: Vec<Sensitivity>,
    /// For people: what to mind.
    pub notes: Vec<String>,
}

impl Plan {
    /// Plans for what `source` describes.
    pub fn of(source: &Source) -> Result<Self, PlanError> {
        search::plan(source, Detail::Full, true)
    }

    /// Without what it hangs on.
    pub fn alone(source: &Source) -> Result<Self, PlanError> {
        search::plan(source, Detail::Full, false)
    }

    /// Whether every objective is kept.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }

    /// The scenario of that scope.
    pub fn scenario(&self, scope: &str) -> Option<&Scenario> {
        self.scenarios
            .iter()
            .find(|scenario| scenario.load.scope == scope)
    }

    /// Everything with a name, in the order of reading.
    pub fn quantities(&self) -> Vec<Quantity> {
        let design = &self.design;
        let mut all = vec![
            &design.nodes,
            &design.cores,
            &design.connections,
            &design.entries,
        ];
        all.extend(self.memory.quantities());
        for scenario in &self.scenarios {
            all.extend(scenario.quantities());
        }
        all.extend(self.passing.quantities());
        all.extend(self.limits.iter().map(|limit| &limit.headroom));
        all.into_iter().cloned().collect()
    }

    /// Values that nobody wrote or measured, with why.
    pub fn assumptions(&self) -> Vec<(&'static field::Field, Quantity)> {
        let held = self.site.quantities();
        held.filter(|(_, quantity)| matches!(quantity.origin(), Origin::Assumed(_)))
            .map(|(field, quantity)| (field, quantity.clone()))
            .collect()
    }
}
