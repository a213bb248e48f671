//! What a simulated HSM is like: timing and limits, by named presets whose every number can be changed.
//!
//! The presets' figures are guesses on public numbers, not measurements of products; loadgen/README.md
//! says on which. Must never be true: a model that serves nothing (no engine, a ceiling of zero).

use std::fmt;

use kms::limits::KMIP_BATCH_ITEMS_MAX;

/// What happens to work above the ceiling.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Overload {
    /// It waits.
    Queue,
    /// Its items are answered "busy".
    Reject,
}

/// Now and then a message takes much longer: Pareto with this exponent, from a minimum on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// Share of messages, 0 to 1.
    pub probability: f64,
    /// Milliseconds of the shortest.
    pub min_ms: f64,
    /// The smaller, the longer the tail.
    pub alpha: f64,
}

/// Now and then nothing is answered at all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stalls {
    /// Milliseconds of the shortest.
    pub min_ms: f64,
    /// Milliseconds of the longest.
    pub max_ms: f64,
    /// Seconds from one to the next.
    pub every_s: f64,
}

/// Timing and limits. A message of n items takes `message_ms * jitter + n * item_ms` of one engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Milliseconds a message, the median.
    pub message_ms: f64,
    /// Sigma of the lognormal jitter (median 1) on it: `ln(p99 / p50) / 2.326`.
    pub sigma: f64,
    /// Milliseconds more for each item.
    pub item_ms: f64,
    /// Messages served at the same time; one connection has one at a time.
    pub engines: u32,
    /// Items a second in all; `None`: no ceiling.
    pub ceiling_ops_s: Option<f64>,
    /// What happens above it.
    pub overload: Overload,
    /// Work that would wait longer than this is answered "busy"; `None`: it waits.
    pub queue_ms_max: Option<f64>,
    /// Share of messages that are answered "busy" for no reason, 0 to 1.
    pub reject_probability: f64,
    /// Slow messages.
    pub tail: Option<Tail>,
    /// Pauses.
    pub stalls: Option<Stalls>,
    /// More items in a message are refused as a whole.
    pub batch_max: usize,
    /// A connection silent for so many milliseconds is closed; `None`: never.
    pub idle_ms: Option<f64>,
}

impl Model {
    /// No delay and no limit but the codec's.
    const NULL: Self = Self {
        message_ms: 0.0,
        sigma: 0.0,
        item_ms: 0.0,
        engines: 1024,
        ceiling_ops_s: None,
        overload: Overload::Queue,
        queue_ms_max: None,
        reject_probability: 0.0,
        tail: None,
        stalls: None,
        batch_max: KMIP_BATCH_ITEMS_MAX,
        idle_ms: None,
    };

    /// Whether a message may take time at all.
    pub fn is_instant(&self) -> bool {
        self.message_ms <= 0.0
            && self.item_ms <= 0.0
            && self.ceiling_ops_s.is_none()
            && self.tail.is_none()
    }

    /// Changes one number by its name, as the control socket's `set` does; `none` lifts a limit.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = || number(name, value);
        let limit = || {
            if value == "none" {
                Ok(None)
            } else {
                number().and_then(|number| positive(name, number)).map(Some)
            }
        };
        match name {
            "message-ms" => self.message_ms = number()?,
            "sigma" => self.sigma = number()?,
            "item-ms" => self.item_ms = number()?,
            "engines" => self.engines = whole(name, value, u32::MAX as usize)?,
            "ceiling" => self.ceiling_ops_s = limit()?,
            "overload" => self.overload = overload(value)?,
            "queue-ms-max" => self.queue_ms_max = limit()?,
            "reject" => self.reject_probability = number().and_then(|p| probability(name, p))?,
            "batch-max" => self.batch_max = whole(name, value, KMIP_BATCH_ITEMS_MAX)?,
            "idle-ms" => self.idle_ms = limit()?,
            _ => {
                return Err(format!("there is no `{name}` to set; there are {SETTABLE}"));
            }
        }
        Ok(())
    }
}

/// What [`Model::set`] knows.
pub const SETTABLE: &str = "message-ms, sigma, item-ms, engines, ceiling, overload, queue-ms-max, reject, batch-max, idle-ms";

/// A number that is not negative.
pub(super) fn number(name: &str, value: &str) -> Result<f64, String> {
    let parsed = value.parse::<f64>().ok();
    parsed
        .filter(|number| number.is_finite() && (0.0..=1e9).contains(number))
        .ok_or_else(|| format!("{name} is `{value}` where a number from 0 to 1000000000 belongs"))
}

fn positive(name: &str, number: f64) -> Result<f64, String> {
    if number > 0.0 {
        Ok(number)
    } else {
        Err(format!("{name} must be above 0, or `none`"))
    }
}

/// A share from 0 to 1.
pub(super) fn probability(name: &str, number: f64) -> Result<f64, String> {
    if number <= 1.0 {
        Ok(number)
    } else {
        Err(format!("{name} is {number} where 0 to 1 belongs"))
    }
}

/// A whole number from 1 to `max`.
pub(super) fn whole<T: TryFrom<usize>>(name: &str, value: &str, max: usize) -> Result<T, String> {
    let parsed = value.parse::<usize>().ok();
    parsed
        .filter(|number| (1..=max).contains(number))
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("{name} is `{value}` where a whole number from 1 to {max} belongs"))
}

fn overload(value: &str) -> Result<Overload, String> {
    match value {
        "queue" => Ok(Overload::Queue),
        "reject" => Ok(Overload::Reject),
        _ => Err(format!(
            "overload is `{value}` where queue or reject belongs"
        )),
    }
}

/// Named models.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Preset {
    /// No delay: what the simulator itself can do.
    Null,
    /// A KMIP server in software on the same machine.
    SoftKmip,
    /// A network HSM in the same rack.
    LanHsm,
    /// A managed HSM in the same cloud region; rejects what is above its ceiling.
    CloudHsm,
    /// An HSM a continent away, with a long tail.
    WanHsm,
    /// An HSM that others load as well: wide latencies, refusals, pauses.
    BusyHsm,
    /// A key manager of a few hundred operations a second.
    SlowKmip,
}

impl Preset {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::Null,
        Self::SoftKmip,
        Self::LanHsm,
        Self::CloudHsm,
        Self::WanHsm,
        Self::BusyHsm,
        Self::SlowKmip,
    ];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::SoftKmip => "soft-kmip",
            Self::LanHsm => "lan-hsm",
            Self::CloudHsm => "cloud-hsm",
            Self::WanHsm => "wan-hsm",
            Self::BusyHsm => "busy-hsm",
            Self::SlowKmip => "slow-kmip",
        }
    }

    /// Its numbers.
    pub fn model(self) -> Model {
        let timed = |message_ms, sigma, item_ms, engines, ceiling_ops_s| Model {
            message_ms,
            sigma,
            item_ms,
            engines,
            ceiling_ops_s: Some(ceiling_ops_s),
            ..Model::NULL
        };
        match self {
            Self::Null => Model::NULL,
            Self::SoftKmip => timed(0.06, 0.5, 0.012, 8, 58_000.0),
            Self::LanHsm => Model {
                stalls: Some(Stalls {
                    min_ms: 2000.0,
                    max_ms: 2000.0,
                    every_s: 3600.0,
                }),
                ..timed(1.0, 0.35, 0.06, 30, 17_000.0)
            },
            Self::CloudHsm => Model {
                overload: Overload::Reject,
                idle_ms: Some(600_000.0),
                ..timed(5.0, 0.47, 0.45, 32, 2200.0)
            },
            Self::WanHsm => Model {
                queue_ms_max: Some(250.0),
                tail: Some(Tail {
                    probability: 0.01,
                    min_ms: 100.0,
                    alpha: 1.5,
                }),
                idle_ms: Some(300_000.0),
                ..timed(40.0, 0.35, 0.1, 64, 5000.0)
            },
            Self::BusyHsm => Model {
                overload: Overload::Reject,
                reject_probability: 0.02,
                stalls: Some(Stalls {
                    min_ms: 500.0,
                    max_ms: 3000.0,
                    every_s: 60.0,
                }),
                ..timed(8.0, 1.26, 0.5, 16, 1000.0)
            },
            Self::SlowKmip => timed(12.0, 0.5, 4.0, 3, 250.0),
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ms a message (sigma {}), {} ms an item, {} engines",
            self.message_ms, self.sigma, self.item_ms, self.engines
        )?;
        match (self.ceiling_ops_s, self.overload) {
            (None, _) => f.write_str(", no ceiling")?,
            (Some(rate), Overload::Queue) => write!(f, ", queues above {rate} items/s")?,
            (Some(rate), Overload::Reject) => write!(f, ", rejects above {rate} items/s")?,
        }
        if let Some(ms) = self.queue_ms_max {
            write!(f, ", rejects what would wait over {ms} ms")?;
        }
        if self.reject_probability > 0.0 {
            write!(f, ", rejects {} % anyway", self.reject_probability * 100.0)?;
        }
        if let Some(tail) = self.tail {
            let share = tail.probability * 100.0;
            write!(f, ", {share} % take over {} ms", tail.min_ms)?;
        }
        if let Some(stalls) = self.stalls {
            let Stalls {
                min_ms,
                max_ms,
                every_s,
            } = stalls;
            write!(f, ", stalls {min_ms} to {max_ms} ms every {every_s} s")?;
        }
        write!(f, ", at most {} items a message", self.batch_max)?;
        match self.idle_ms {
            Some(ms) => write!(f, ", closes connections idle for {ms} ms"),
            None => Ok(()),
        }
    }
}
