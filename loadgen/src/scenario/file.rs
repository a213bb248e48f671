//! Scenario files: TOML, read and checked before anything starts.
//!
//! `loadgen/README.md` tells each key. Must never be true: a key that is passed over in silence.

use std::collections::BTreeMap;
use std::path::Path;

use clap::ValueEnum as _;
use serde::Deserialize;

use crate::load::job::Job;
use crate::sim::{Model, Preset};

const FILE_BYTES_MAX: u64 = 1024 * 1024;
const EVENTS_MAX: usize = 1000;

/// A whole scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// A word for folders and headings.
    pub name: String,
    /// What it shows, for people.
    pub about: String,
    /// The simulated HSM.
    #[serde(default)]
    pub hsm: HsmTold,
    /// Keys of the server's kms.properties.
    #[serde(default)]
    pub server: BTreeMap<String, toml::Value>,
    /// The load; where the server is, is found out.
    pub run: Job,
    /// What happens when.
    #[serde(default, rename = "event")]
    pub events: Vec<EventTold>,
}

/// A preset, and numbers of it that are others.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HsmTold {
    /// As `hsm-sim --preset`.
    pub preset: String,
    /// As `hsm-sim ctl set`.
    pub set: BTreeMap<String, toml::Value>,
}

impl Default for HsmTold {
    fn default() -> Self {
        Self {
            preset: Preset::LanHsm.name().to_owned(),
            set: BTreeMap::new(),
        }
    }
}

/// One event as it is told: `hsm` or `server`, or a mere mark with a label.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventTold {
    /// Seconds after the first figure.
    pub at_s: f64,
    /// An order to the simulator, as `hsm-sim ctl` takes it.
    pub hsm: Option<String>,
    /// What becomes of the server.
    pub server: Option<ServerOrder>,
    /// Seconds between its end and its new start, or of its stop; or that a mark lasts.
    #[serde(default)]
    pub for_s: f64,
    /// For people, in plots.
    pub label: Option<String>,
}

/// What may become of the server.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum ServerOrder {
    /// SIGTERM: it drains and ends; then it is started again.
    Restart,
    /// SIGKILL, then it is started again.
    Kill,
    /// SIGSTOP, and SIGCONT after `for_s`.
    Freeze,
    /// Another certificate in its keystore, and `kms reload`.
    RotateCertificate,
    /// `kms cache purge`.
    PurgeCache,
}

/// An event that was checked.
#[derive(Clone, Debug)]
pub struct Event {
    /// Seconds after the first figure.
    pub at_s: f64,
    /// Seconds that it takes of itself.
    pub for_s: f64,
    /// What happens.
    pub what: What,
    /// For people.
    pub label: String,
}

/// What happens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum What {
    /// An order to the simulator.
    Hsm(String),
    /// To the server.
    Server(ServerOrder),
    /// Nothing: a mark in the plots.
    Mark,
}

impl Scenario {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let bad = |why: String| format!("{}: {why}", path.display());
        let size = std::fs::metadata(path)
            .map_err(|error| bad(error.to_string()))?
            .len();
        if size > FILE_BYTES_MAX {
            return Err(bad(format!("{size} bytes are no scenario")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        Self::parse(&text).map_err(bad)
    }

    /// From text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scenario: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if scenario.name.is_empty()
            || scenario.name.len() > 60
            || !scenario.name.chars().all(is_word)
        {
            return Err(format!(
                "name = \"{}\": letters, digits and - belong there",
                scenario.name
            ));
        }
        if scenario.run.reach != crate::load::job::Reach::default() {
            return Err("run.reach: a scenario starts its server itself".to_owned());
        }
        scenario.run.check().map_err(|why| format!("run: {why}"))?;
        if let Some(slo) = &scenario.run.slo {
            slo.parse::<crate::results::slo::Slo>()
                .map_err(|error| format!("run.slo: {error}"))?;
        }
        scenario.model()?;
        scenario.properties()?;
        scenario.events()?;
        Ok(scenario)
    }

    /// The simulated HSM's numbers.
    pub fn model(&self) -> Result<Model, String> {
        let preset = Preset::from_str(&self.hsm.preset, false).map_err(|_| {
            let names = Preset::ALL.map(Preset::name).join(", ");
            format!("hsm.preset = \"{}\": there are {names}", self.hsm.preset)
        })?;
        let mut model = preset.model();
        for (name, value) in &self.hsm.set {
            let text = plain(value)
                .ok_or_else(|| format!("hsm.set.{name}: a number or a text belongs there"))?;
            model
                .set(name, &text)
                .map_err(|why| format!("hsm.set: {why}"))?;
        }
        Ok(model)
    }

    /// Lines of the server's configuration.
    pub fn properties(&self) -> Result<BTreeMap<String, String>, String> {
        let line = |(name, value): (&String, &toml::Value)| {
            let text = plain(value).filter(|text| !text.contains('\n'));
            let text = text.ok_or_else(|| {
                format!("server.\"{name}\": a number or a text of one line belongs there")
            })?;
            Ok((name.clone(), text))
        };
        self.server.iter().map(line).collect()
    }

    /// What happens, in the order of time.
    pub fn events(&self) -> Result<Vec<Event>, String> {
        if self.events.len() > EVENTS_MAX {
            return Err(format!("more than {EVENTS_MAX} events"));
        }
        let lasts_s = self.run.check()?.duration_s;
        let mut events = Vec::new();
        for (number, told) in (1..).zip(&self.events) {
            let bad = |why: &str| format!("event {number}: {why}");
            let ends_s = told.at_s + told.for_s;
            if !(0.0..=lasts_s).contains(&told.at_s) || told.for_s < 0.0 || ends_s > lasts_s {
                return Err(bad("at_s, and for_s after it, lie within the run"));
            }
            let (what, label) = match (&told.hsm, told.server) {
                (Some(order), None) => (What::Hsm(order.clone()), format!("HSM: {order}")),
                (None, Some(order)) => (What::Server(order), order.label().to_owned()),
                (None, None) if told.label.is_some() => (What::Mark, String::new()),
                _ => return Err(bad("either hsm or server belongs there, or a label alone")),
            };
            events.push(Event {
                at_s: told.at_s,
                for_s: told.for_s,
                what,
                label: told.label.clone().unwrap_or(label),
            });
        }
        events.sort_by(|one, other| one.at_s.total_cmp(&other.at_s));
        Ok(events)
    }
}

impl ServerOrder {
    fn label(self) -> &'static str {
        match self {
            Self::Restart => "the server is restarted",
            Self::Kill => "the server is killed",
            Self::Freeze => "the server is frozen",
            Self::RotateCertificate => "the server's certificate is changed",
            Self::PurgeCache => "the cache is purged",
        }
    }
}

/// As it stands in a properties file.
fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(is) => Some(is.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = r#"
name = "hsm-stall"
about = "x"
[hsm]
preset = "lan-hsm"
set = { message-ms = 2.5, ceiling = "none" }
[server]
"kms.cache.entries.max" = 5000
"kms.hsm.timeout.ms" = "500"
[run]
duration_s = 10
[[run.load]]
rate = 100
[[event]]
at_s = 5
hsm = "stall 1000"
[[event]]
at_s = 2
server = "freeze"
for_s = 1
label = "frozen"
"#;

    #[test]
    fn a_scenario_is_read() {
        let scenario = Scenario::parse(GOOD).unwrap();
        let model = scenario.model().unwrap();
        assert_eq!(
            (model.message_ms.to_bits(), model.ceiling_ops_s),
            (2.5_f64.to_bits(), None)
        );
        let properties = scenario.properties().unwrap();
        assert_eq!(properties["kms.cache.entries.max"], "5000");
        let events = scenario.events().unwrap();
        let labels: Vec<_> = events.iter().map(|event| event.label.as_str()).collect();
        assert_eq!(labels, ["frozen", "HSM: stall 1000"]);
        assert_eq!(events[1].what, What::Hsm("stall 1000".to_owned()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, from, to, want) in [
            ("unknown key", "about = \"x\"", "abuot = \"x\"", "abuot"),
            ("name", "\"hsm-stall\"", "\"../x\"", "letters, digits"),
            ("preset", "\"lan-hsm\"", "\"moon-hsm\"", "hsm.preset"),
            (
                "number of the model",
                "message-ms",
                "message-s",
                "there is no `message-s`",
            ),
            ("rate", "rate = 100", "rate = 0", "run: a rate of 0"),
            ("event too late", "at_s = 5", "at_s = 11", "event 1"),
            ("event ends too late", "for_s = 1", "for_s = 9", "event 2"),
            ("neither", "hsm = \"stall 1000\"", "", "event 1: either"),
            (
                "both",
                "server = \"freeze\"",
                "server = \"freeze\"\nhsm = \"x\"",
                "event 2: either",
            ),
            ("order", "\"freeze\"", "\"melt\"", "melt"),
            (
                "list for a property",
                "= 5000",
                "= [1]",
                "kms.cache.entries.max",
            ),
            (
                "slo",
                "duration_s = 10",
                "duration_s = 10\nslo = \"p99\"",
                "run.slo",
            ),
            (
                "reach",
                "[run]",
                "[run.reach]\naddress = \"x:1\"\n[run]",
                "starts its server itself",
            ),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{name}");
            let error = Scenario::parse(&text).unwrap_err();
            assert!(error.contains(want), "{name}: {error}");
        }
    }
}
