//! What is asked: operations, batches of them, and mixes by weight.
//!
//! Sans-IO. Must never be true: a batch larger than every Transit takes. Called by [`super::source`].

use std::fmt;
use std::str::FromStr;

use rand::Rng;
use rand::rngs::SmallRng;

/// Items of a batch; OpenBao and this product take at most 499 of one ciphertext each.
pub const BATCH_ITEMS_MAX: u16 = 499;
/// Kinds of request of one run.
pub const KINDS_MAX: usize = 64;

/// An operation of Transit.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Operation {
    /// Wraps a data key.
    Encrypt,
    /// Unwraps one.
    Decrypt,
    /// Has one made: plaintext and ciphertext.
    DataKey,
    /// Wraps one anew, with the newest version of the key.
    Rewrap,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Encrypt, Self::Decrypt, Self::DataKey, Self::Rewrap];

    /// As in mixes and traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::DataKey => "datakey",
            Self::Rewrap => "rewrap",
        }
    }

    /// Behind the mount, before the key.
    pub fn path(self) -> &'static str {
        match self {
            Self::DataKey => "datakey/plaintext",
            other => other.name(),
        }
    }
}

impl FromStr for Operation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|operation| operation.name() == text);
        found.ok_or_else(|| {
            format!("`{text}` is no operation; there are encrypt, decrypt, datakey and rewrap")
        })
    }
}

/// A kind of request: an operation on so many items at once.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Kind {
    /// The operation.
    pub operation: Operation,
    /// 1: no batch.
    pub items: u16,
}

/// What is asked unless told.
const DECRYPT: Kind = Kind {
    operation: Operation::Decrypt,
    items: 1,
};

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation.name())?;
        if self.items > 1 {
            write!(f, "/{}", self.items)?;
        }
        Ok(())
    }
}

/// Kinds with their weights, as `--mix` says it: `decrypt=90,decrypt/32=5,datakey=5`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix(Vec<(Kind, f64)>);

impl Default for Mix {
    fn default() -> Self {
        Self(vec![(DECRYPT, 1.0)])
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kinds = text.split(',').map(part).collect::<Result<Vec<_>, _>>()?;
        if kinds.len() > KINDS_MAX {
            return Err(format!(
                "{} kinds in a mix; at most {KINDS_MAX}",
                kinds.len()
            ));
        }
        Ok(Self(kinds))
    }
}

/// `OPERATION[/ITEMS][=WEIGHT]`.
fn part(text: &str) -> Result<(Kind, f64), String> {
    let (kind, weight) = match text.split_once('=') {
        Some((kind, weight)) => {
            let number = weight.parse::<f64>().ok();
            let number =
                number.filter(|number| number.is_finite() && (1e-6..=1e6).contains(number));
            (
                kind,
                number.ok_or_else(|| format!("`{weight}` is no weight of a mix"))?,
            )
        }
        None => (text, 1.0),
    };
    Ok((kind_of(kind)?, weight))
}

fn kind_of(text: &str) -> Result<Kind, String> {
    let (operation, items) = text.split_once('/').unwrap_or((text, "1"));
    let operation = operation.parse()?;
    let number = items
        .parse()
        .ok()
        .filter(|items| (1..=BATCH_ITEMS_MAX).contains(items));
    let items = number
        .ok_or_else(|| format!("a batch of `{items}`; 1 to {BATCH_ITEMS_MAX} items belong here"))?;
    if operation == Operation::DataKey && items > 1 {
        return Err("Transit has no batches of datakey".to_owned());
    }
    Ok(Kind { operation, items })
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|(kind, weight)| format!("{kind}={weight}"))
            .collect();
        f.write_str(&parts.join(","))
    }
}

impl Mix {
    /// One kind alone.
    pub fn of(kind: Kind) -> Self {
        Self(vec![(kind, 1.0)])
    }

    /// Its kinds.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        self.0.iter().map(|(kind, _)| *kind)
    }

    /// Its kinds with their weights.
    pub fn weights(&self) -> &[(Kind, f64)] {
        &self.0
    }

    /// The next kind.
    pub fn pick(&self, random: &mut SmallRng) -> Kind {
        if let [(only, _)] = self.0.as_slice() {
            return *only;
        }
        let total: f64 = self.0.iter().map(|(_, weight)| weight).sum();
        let mut place = random.random::<f64>() * total;
        for (kind, weight) in &self.0 {
            place -= weight;
            if place < 0.0 {
                return *kind;
            }
        }
        // Rounding at the upper end.
        self.0.last().map_or(DECRYPT, |(kind, _)| *kind)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn mixes_keep_their_weights() {
        let mix: Mix = "decrypt=90,decrypt/32=6,datakey=3,rewrap=1"
            .parse()
            .unwrap();
        let mut random = SmallRng::seed_from_u64(1);
        let mut counts = std::collections::HashMap::new();
        (0..100_000)
            .for_each(|_| *counts.entry(mix.pick(&mut random).to_string()).or_insert(0) += 1);
        for (kind, want) in [
            ("decrypt", 90_000),
            ("decrypt/32", 6000),
            ("datakey", 3000),
            ("rewrap", 1000),
        ] {
            let off: i32 = counts[kind] - want;
            assert!(off.abs() < 400, "{kind}: {}", counts[kind]);
        }
        assert_eq!(counts.len(), 4);
    }

    #[test]
    fn mixes_are_read_as_they_are_written() {
        for text in ["decrypt=1", "encrypt=2,rewrap/499=0.5,datakey=1"] {
            assert_eq!(text.parse::<Mix>().unwrap().to_string(), text);
        }
        assert_eq!("decrypt".parse::<Mix>().unwrap(), Mix::default());
        for (name, text, want) in [
            ("unknown", "sign=1", "no operation"),
            ("empty", "", "no operation"),
            ("batch of 0", "decrypt/0", "a batch of `0`"),
            ("batch of 500", "decrypt/500", "a batch of `500`"),
            ("data keys in a batch", "datakey/2", "no batches"),
            ("weight of 0", "decrypt=0", "no weight"),
            ("weight is no number", "decrypt=NaN", "no weight"),
        ] {
            let error = text.parse::<Mix>().unwrap_err();
            assert!(error.contains(want), "{name}: {error}");
        }
    }
}
