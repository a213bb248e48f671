//! What goes wrong on purpose: which faults there are, when each strikes, how they are written.
//!
//! Must never be true: a fault that outlives its count, its duration or `clear`; two runs of one seed that
//! differ. Called by the event loop (faults of connections) and by [`super::hsm`] (faults of answers).

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::preset::{number, probability, whole};
use super::station::ns_of_ms;

macro_rules! faults {
    ($($kind:ident = $name:literal, $doc:literal;)*) => {
        /// The kinds of fault.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum FaultKind {
            $(#[doc = $doc] $kind,)*
        }

        impl FaultKind {
            /// All of them, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// As on the control socket.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// One line for people.
            pub fn about(self) -> &'static str {
                match self { $(Self::$kind => $doc,)* }
            }
        }
    };
}

faults! {
    Stall = "stall", "Nothing is answered until it ends; then all of it is.";
    Failover = "failover", "All connections are dropped and new ones refused until it ends.";
    HalfOpen = "half-open", "Connections are neither read nor answered, but stay; they are dropped when it ends.";
    DropMidFrame = "drop-mid-frame", "The connection ends in the middle of an answer.";
    TlsAlert = "tls-alert", "The connection ends with a fatal TLS alert instead of an answer.";
    ClockSkew = "clock-skew", "Connections are dropped; new ones are shown an expired certificate, or with `future` one that is not valid yet.";
    RefuseBatch = "refuse-batch", "Messages of several items are refused as a whole.";
    Busy = "busy", "Every item of a message is refused as busy.";
    Partial = "partial", "Every nth item fails (every=N, 2 unless given).";
    WrongId = "wrong-id", "An item bears an id that nobody sent.";
    SwapIds = "swap-ids", "Two items bear each other's ids.";
    DuplicateId = "duplicate-id", "An item bears the id of another, and its own is missing.";
    MissingItem = "missing-item", "An item is left out.";
    LateItem = "late-item", "An item is left out and comes with the next message's answer.";
    WrongUid = "wrong-uid", "An item names another key than the one asked for.";
    WrongTag = "wrong-tag", "An Encrypt is answered with a wrong authentication tag, a Decrypt refused as if it had one.";
    Garbage = "garbage", "The answer is no KMIP message.";
}

impl FaultKind {
    fn parse(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|kind| kind.name() == name);
        found.copied().ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|kind| kind.name()).collect();
            format!("there is no fault `{name}`; there are {}", names.join(", "))
        })
    }

    /// Whether it is a state of the whole HSM, which has no count and no probability.
    fn is_state(self) -> bool {
        matches!(self, Self::Stall | Self::Failover | Self::ClockSkew)
    }
}

/// A fault as ordered: `KIND [MS] [count=N] [p=P] [every=N] [reason=N] [for=MS] [future]`.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultOrder {
    /// Which.
    pub kind: FaultKind,
    /// How often it strikes; `None`: as long as it lasts.
    pub count: Option<u32>,
    /// How likely at each opportunity.
    pub probability: f64,
    /// Which items of a message, for [`FaultKind::Partial`].
    pub every: usize,
    /// Result Reason of [`FaultKind::Partial`] and [`FaultKind::Busy`]; `None`: what fits the version.
    pub reason: Option<u32>,
    /// Milliseconds; `None`: until `clear`.
    pub for_ms: Option<f64>,
    /// The certificate of [`FaultKind::ClockSkew`] is not valid yet, instead of no longer.
    pub future: bool,
}

impl FaultOrder {
    /// From its words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let kind = FaultKind::parse(words.next().unwrap_or_default())?;
        let mut order = Self {
            kind,
            count: None,
            probability: 1.0,
            every: 2,
            reason: None,
            for_ms: None,
            future: false,
        };
        for word in words {
            match word.split_once('=') {
                Some((name @ "count", value)) => {
                    order.count = Some(whole(name, value, u32::MAX as usize)?);
                }
                Some((name @ "p", value)) => {
                    order.probability = probability(name, number(name, value)?)?;
                }
                Some((name @ "every", value)) if kind == FaultKind::Partial => {
                    order.every = whole(name, value, 1_000_000)?;
                }
                Some((name @ "reason", value))
                    if matches!(kind, FaultKind::Partial | FaultKind::Busy) =>
                {
                    order.reason = Some(reason(name, value)?);
                }
                Some((name @ "for", value)) => order.for_ms = Some(number(name, value)?),
                None if word == "future" && kind == FaultKind::ClockSkew => order.future = true,
                None if order.for_ms.is_none() => order.for_ms = Some(number("for", word)?),
                _ => return Err(format!("{} does not take `{word}`", kind.name())),
            }
        }
        if kind.is_state() && (order.count.is_some() || order.probability < 1.0) {
            return Err(format!("{} takes a duration only", kind.name()));
        }
        Ok(order)
    }
}

/// A Result Reason, decimal or as 0x...
fn reason(name: &str, value: &str) -> Result<u32, String> {
    let parsed = match value.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => value.parse(),
    };
    parsed.map_err(|_| format!("{name} is `{value}` where a number, or 0x and hex digits, belongs"))
}

#[derive(Debug)]
struct Active {
    order: FaultOrder,
    left: Option<u32>,
    until_ns: u64,
    struck: u64,
}

/// The faults that are on.
#[derive(Debug)]
pub struct Faults {
    active: Vec<Active>,
    random: SmallRng,
}

impl Faults {
    /// None on yet.
    pub fn new(seed: u64) -> Self {
        Self {
            active: Vec::new(),
            random: SmallRng::seed_from_u64(seed ^ 0x6661_756c_7473),
        }
    }

    /// Turns one on, in place of one of its kind.
    pub fn add(&mut self, order: FaultOrder, now_ns: u64) {
        self.active.retain(|active| active.order.kind != order.kind);
        let lasts_ns = order.for_ms.map_or(u64::MAX, ns_of_ms);
        self.active.push(Active {
            left: order.count,
            until_ns: now_ns.saturating_add(lasts_ns),
            struck: 0,
            order,
        });
    }

    /// Turns one kind off, or all; how many were on.
    pub fn clear(&mut self, kind: Option<FaultKind>) -> usize {
        let before = self.active.len();
        self.active
            .retain(|active| kind.is_some_and(|kind| active.order.kind != kind));
        before - self.active.len()
    }

    /// Forgets what has run out. True: something did.
    pub fn expire(&mut self, now_ns: u64) -> bool {
        let before = self.active.len();
        self.active.retain(|active| {
            // Connections that were struck stay so, without being struck again.
            let lasts = active.order.kind == FaultKind::HalfOpen;
            active.until_ns > now_ns && (lasts || active.left != Some(0))
        });
        before != self.active.len()
    }

    /// When the next one runs out, nanoseconds.
    pub fn next_end_ns(&self) -> Option<u64> {
        let ends = self.active.iter().map(|active| active.until_ns);
        ends.min().filter(|end| *end != u64::MAX)
    }

    /// The order of a fault that is on.
    pub fn get(&self, kind: FaultKind) -> Option<&FaultOrder> {
        let found = self.active.iter().find(|active| active.order.kind == kind);
        found.map(|active| &active.order)
    }

    /// Whether none is on.
    pub fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// An opportunity: whether the fault strikes now.
    pub fn strikes(&mut self, kind: FaultKind, now_ns: u64) -> bool {
        let Self { active, random } = self;
        let Some(fault) = active.iter_mut().find(|active| active.order.kind == kind) else {
            return false;
        };
        let spent = fault.until_ns <= now_ns || fault.left == Some(0);
        if spent || !random.random_bool(fault.order.probability) {
            return false;
        }
        if let Some(left) = &mut fault.left {
            *left -= 1;
        }
        fault.struck += 1;
        true
    }

    /// Any number below `end`, which is not zero.
    pub fn pick(&mut self, end: usize) -> usize {
        self.random.random_range(0..end.max(1))
    }

    /// Name of each that is on, and how often it struck.
    pub fn struck(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.active
            .iter()
            .map(|active| (active.order.kind.name(), active.struck))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn orders_are_read_and_wrong_ones_refused() {
        let order = FaultOrder::parse("partial count=3 p=0.5 every=4 reason=0x2a for=20").unwrap();
        assert_eq!(
            (order.count, order.every, order.reason, order.for_ms),
            (Some(3), 4, Some(42), Some(20.0))
        );
        assert_eq!(FaultOrder::parse("stall 250").unwrap().for_ms, Some(250.0));
        assert!(FaultOrder::parse("clock-skew future").unwrap().future);
        for bad in [
            "",
            "rain",
            "stall soon",
            "stall 1 2",
            "stall count=1",
            "failover p=0.5",
            "busy count=0",
            "busy p=2",
            "busy every=3",
            "busy future",
            "busy for=-1",
        ] {
            assert!(FaultOrder::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_durations_and_probabilities_are_kept() {
        let mut faults = Faults::new(1);
        faults.add(FaultOrder::parse("busy count=2").unwrap(), 0);
        let struck = (0..5)
            .filter(|_| faults.strikes(FaultKind::Busy, 1))
            .count();
        assert_eq!(struck, 2);
        assert!(faults.expire(1) && faults.is_empty());
        faults.add(FaultOrder::parse("busy 1").unwrap(), 0);
        assert!(faults.strikes(FaultKind::Busy, 999_999));
        assert!(!faults.strikes(FaultKind::Busy, 1_000_000));
        assert_eq!(faults.next_end_ns(), Some(1_000_000));
        faults.add(FaultOrder::parse("garbage p=0.25").unwrap(), 0);
        let struck = (0..4000)
            .filter(|_| faults.strikes(FaultKind::Garbage, 1))
            .count();
        assert!((850..1150).contains(&struck), "{struck}");
        assert_eq!(faults.clear(Some(FaultKind::Garbage)), 1);
        assert_eq!(faults.clear(None), 1);
    }
}
