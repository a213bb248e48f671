//! Predicted beside measured: the planned site is started on this machine, loaded, and made to fail; each figure has a
//! band that it must lie in.
//!
//! [`rig`] is the site, [`stages`] what is done to it, [`expected`] what the plan says of each stage, [`text`] the
//! table. Must never be true: a prediction that was made after its measurement; a row without a band. Called by the
//! command `validate`.

mod attempts;
mod bounds;
mod expected;
mod figures;
mod machine;
pub mod rig;
mod stages;
mod text;

use crate::trace::Quantity;

pub use expected::{Expected, STALL_WINDOW_S, Seen, restart_window_s};
pub use machine::{model_of, times as machine_times};
pub use stages::{Stages, play};
pub use text::{put_into, table};

/// How far a measurement may be off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Band {
    /// In the value's own unit.
    Absolute(f64),
    /// Share of what is predicted.
    Share(f64),
}

/// Of hit ratios, and other shares of all unwraps.
pub const HIT_BAND: Band = Band::Absolute(0.01);
/// Of operations of the HSM.
pub const OPS_BAND: Band = Band::Share(0.05);
/// Of medians.
pub const P50_BAND: Band = Band::Share(0.1);
/// Of the 99th percentile, and of waits.
pub const P99_BAND: Band = Band::Share(0.2);

/// One figure.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which stage.
    pub stage: &'static str,
    /// For people.
    pub what: &'static str,
    /// What the plan says.
    pub predicted: Quantity,
    /// What was.
    pub measured: f64,
    /// How far off it may be.
    pub band: Band,
}

impl Row {
    /// How far off it is: in points of a share, or a share of what was predicted.
    pub fn off(&self) -> f64 {
        let off = self.measured - self.predicted.value();
        match self.band {
            Band::Absolute(_) => off,
            Band::Share(_) => off / self.predicted.value(),
        }
    }

    /// Whether it lies in its band. What is no number does not.
    pub fn holds(&self) -> bool {
        let (Band::Absolute(most) | Band::Share(most)) = self.band;
        self.off().abs() <= most
    }
}

/// All of one site.
#[derive(Clone, Debug)]
pub struct Report {
    /// The preset, or the file.
    pub name: String,
    /// What was built, in a line.
    pub built: String,
    /// In the order of the stages.
    pub rows: Vec<Row>,
    /// Reasons not to believe the measurement.
    pub doubts: Vec<String>,
    /// What the site did wrong, whatever the figures are.
    pub faults: Vec<String>,
    /// Why stages were played again.
    pub unbelieved: Vec<String>,
}

impl Report {
    /// Whether every row lies in its band, the site did nothing wrong, and nobody doubts it.
    pub fn holds(&self) -> bool {
        self.doubts.is_empty() && self.faults.is_empty() && self.rows.iter().all(Row::holds)
    }
}
