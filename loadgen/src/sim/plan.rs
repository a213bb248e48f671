//! What goes into the simulated HSM beside messages: its plan, the time, the station's verdict, and what it
//! remembers of a connection.

use std::path::PathBuf;

use kms::wire::kmip::ProtocolVersion;

use super::answer::Done;

/// Every version there is, best first.
pub(super) const VERSIONS: [ProtocolVersion; 7] = [
    ProtocolVersion::V2_1,
    ProtocolVersion::V2_0,
    ProtocolVersion::V1_4,
    ProtocolVersion { major: 1, minor: 3 },
    ProtocolVersion::V1_2,
    ProtocolVersion { major: 1, minor: 1 },
    ProtocolVersion::V1_0,
];

/// The version of this text, as `1.4`.
pub fn version_of(text: &str) -> Result<ProtocolVersion, String> {
    let found = VERSIONS
        .into_iter()
        .find(|version| version.to_string() == text);
    found.ok_or_else(|| format!("there is no KMIP {text}; there are 1.0 to 1.4, 2.0 and 2.1"))
}

/// What an HSM starts with.
#[derive(Clone, Debug)]
pub struct HsmPlan {
    /// Of keys, identifiers and faults.
    pub seed: u64,
    /// Names of keys made at the start, Active, for Encrypt and Decrypt.
    pub keys: Vec<String>,
    /// Lowest version spoken.
    pub version_min: ProtocolVersion,
    /// Highest version spoken.
    pub version_max: ProtocolVersion,
    /// Whether several living objects may have one name, as some servers allow.
    pub duplicate_names: bool,
    /// Where the ground truth is written.
    pub truth: Option<PathBuf>,
}

impl Default for HsmPlan {
    fn default() -> Self {
        Self {
            seed: 1,
            keys: vec!["demo".to_owned()],
            version_min: ProtocolVersion::V1_0,
            version_max: ProtocolVersion::V2_1,
            duplicate_names: false,
            truth: None,
        }
    }
}

/// A moment in both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Monotonic nanoseconds since any start.
    pub ns: u64,
    /// Microseconds since 1970.
    pub unix_us: i64,
}

/// What the station said about a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Serve it.
    Serve,
    /// Refuse its items as busy.
    Busy,
    /// Refuse it: more than this many items.
    TooMany(usize),
}

/// What an HSM remembers of one connection.
pub struct Session {
    pub(super) number: u64,
    pub(super) messages: u64,
    pub(super) late: Option<Done<'static>>,
}

impl Session {
    /// A new connection; `number` is for the log.
    pub fn new(number: u64) -> Self {
        Self {
            number,
            messages: 0,
            late: None,
        }
    }
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Totals {
    /// Requests answered.
    pub messages: u64,
    /// Their items.
    pub items: u64,
    /// Items answered with an error.
    pub failed: u64,
    /// Messages refused as a whole.
    pub refused: u64,
}
