//! Requests known beforehand: a recorded trace (JSON lines), and the storm of devices that restore their keys.
//!
//! A line of a trace is `{"t_us":1200,"op":"decrypt","key":"a7","device":"d1"}`: microseconds since the
//! trace's start, the operation, which data key (any text or number; equal ones are the same key), and
//! whose connection (may be left out). `keys` with a list is a batch. Other members are passed over.
//!
//! Must never be true: a line without a bound; a data key beyond the working set. Called by
//! [`super::job`].

use std::collections::HashMap;
use std::io::{self, BufRead, Read as _};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::mix::{BATCH_ITEMS_MAX, Kind, Operation};
use super::source::{ANYBODY, Entry, Recorded};

const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Requests of a trace or storm.
const ENTRIES_MAX: usize = 50_000_000;
/// Devices, each of which has a connection.
pub const DEVICES_MAX: u32 = 20_000;
/// A day.
const TIME_US_MAX: f64 = 86_400e6;

#[derive(Deserialize)]
struct Line {
    t_us: f64,
    op: String,
    #[serde(default, alias = "key_id")]
    key: Value,
    #[serde(default)]
    keys: Vec<Value>,
    #[serde(default, alias = "identity")]
    device: Value,
}

/// Numbers names in the order in which they appear.
#[derive(Default)]
struct Numbers(HashMap<String, u32>);

impl Numbers {
    fn of(&mut self, name: &Value) -> u32 {
        let text = match name {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(text).or_insert(next)
    }

    fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }
}

/// A whole trace.
#[derive(Debug)]
pub struct Trace {
    /// Its requests, sorted by time.
    pub recorded: Recorded,
    /// Different data keys in it.
    pub keys: u32,
}

/// Reads a trace. `name` is for errors. With `speed` 2 it is played in half the time.
pub fn read(mut input: impl BufRead, name: &str, speed: f64) -> Result<Trace, String> {
    let mut recorded = Recorded::default();
    let (mut keys, mut devices) = (Numbers::default(), Numbers::default());
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        let failed = |error: io::Error| format!("{name}: {error}");
        let read = input
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut text)
            .map_err(failed)?;
        if read == 0 {
            break;
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        let bad = |why: String| format!("{name}, line {number}: {why}");
        if read as u64 == LINE_BYTES_MAX {
            return Err(bad(format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        let line: Line = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        let entry = entry(&line, &mut recorded, &mut keys, &mut devices, speed).map_err(bad)?;
        recorded.entries.push(entry);
        if recorded.entries.len() > ENTRIES_MAX {
            return Err(bad(format!("more than {ENTRIES_MAX} requests")));
        }
    }
    if recorded.entries.is_empty() {
        return Err(format!("{name} holds no request"));
    }
    recorded.entries.sort_by_key(|entry| entry.at_ns);
    recorded.devices = devices.count();
    if recorded.devices > DEVICES_MAX {
        return Err(format!(
            "{name}: {} devices; at most {DEVICES_MAX} have a connection each",
            recorded.devices
        ));
    }
    Ok(Trace {
        recorded,
        keys: keys.count(),
    })
}

fn entry(
    line: &Line,
    recorded: &mut Recorded,
    keys: &mut Numbers,
    devices: &mut Numbers,
    speed: f64,
) -> Result<Entry, String> {
    if !(0.0..=TIME_US_MAX).contains(&line.t_us) {
        return Err(format!("t_us is {}; 0 to a day belongs here", line.t_us));
    }
    let first = u32::try_from(recorded.keys.len()).map_err(|_| "too many keys")?;
    match (&line.key, line.keys.as_slice()) {
        (Value::Null, []) => return Err("neither `key` nor `keys`".to_owned()),
        (Value::Null, many) => recorded.keys.extend(many.iter().map(|key| keys.of(key))),
        (one, []) => recorded.keys.push(keys.of(one)),
        _ => return Err("both `key` and `keys`".to_owned()),
    }
    let items = recorded.keys.len() - first as usize;
    let items = u16::try_from(items)
        .ok()
        .filter(|items| *items <= BATCH_ITEMS_MAX);
    let kind = Kind {
        operation: line.op.parse::<Operation>()?,
        items: items.ok_or_else(|| format!("more than {BATCH_ITEMS_MAX} keys"))?,
    };
    if kind.operation == Operation::DataKey && kind.items > 1 {
        return Err("Transit has no batches of datakey".to_owned());
    }
    let known = recorded.kinds.iter().position(|known| *known == kind);
    let place = known.unwrap_or(recorded.kinds.len());
    if known.is_none() {
        recorded.kinds.push(kind);
    }
    let device = match &line.device {
        Value::Null => ANYBODY,
        some => devices.of(some) + 1,
    };
    Ok(Entry {
        at_ns: (line.t_us * 1e3 / speed) as u64,
        first,
        count: kind.items,
        kind: u8::try_from(place).map_err(|_| "more than 256 kinds of request")?,
        device,
    })
}

/// Devices that come within a window and each read their own keys, one after another.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct StormPlan {
    /// How many devices.
    pub devices: u32,
    /// Data keys of each.
    pub keys_each: u32,
    /// Each begins at a random time in so many seconds.
    pub window_s: f64,
    /// How often a device reads each of its keys: all of them, then all of them again.
    #[serde(default = "once")]
    pub reads: u32,
    /// Milliseconds from one read of a device to its next.
    #[serde(default)]
    pub gap_ms: f64,
}

fn once() -> u32 {
    1
}

impl StormPlan {
    /// Data keys of all devices.
    pub fn keys(&self) -> u64 {
        u64::from(self.devices) * u64::from(self.keys_each)
    }

    /// The whole storm, over the keys from `first_key` on.
    pub fn recorded(&self, first_key: u32, seed: u64) -> Result<Recorded, String> {
        let requests = self.keys().saturating_mul(u64::from(self.reads));
        let gap_ok = (0.0..=1e6).contains(&self.gap_ms);
        let window_ok = (0.0..=86_400.0).contains(&self.window_s);
        if !(1..=DEVICES_MAX).contains(&self.devices) || !gap_ok || !window_ok {
            return Err(format!(
                "a storm has 1 to {DEVICES_MAX} devices, a window of 0 to 86400 s and a gap of 0 to 1000000 ms"
            ));
        }
        if requests == 0 || requests > ENTRIES_MAX as u64 {
            return Err(format!(
                "a storm of {requests} requests; 1 to {ENTRIES_MAX} belong here"
            ));
        }
        let mut random = SmallRng::seed_from_u64(seed);
        let mut recorded = Recorded {
            keys: (0..self.devices * self.keys_each)
                .map(|key| first_key + key)
                .collect(),
            kinds: vec![Kind {
                operation: Operation::Decrypt,
                items: 1,
            }],
            devices: self.devices,
            ..Recorded::default()
        };
        for device in 0..self.devices {
            let begin_ns = random.random::<f64>() * self.window_s * 1e9;
            for read in 0..self.keys_each * self.reads {
                recorded.entries.push(Entry {
                    at_ns: (begin_ns + f64::from(read) * self.gap_ms * 1e6) as u64,
                    first: device * self.keys_each + read % self.keys_each,
                    count: 1,
                    kind: 0,
                    device: device + 1,
                });
            }
        }
        recorded.entries.sort_by_key(|entry| entry.at_ns);
        Ok(recorded)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_become_requests() {
        let text = br#"{"t_us":300,"op":"decrypt","key":"a","device":"d1"}
{"t_us":0,"op":"encrypt","key":7,"identity":2,"more":[1]}

{"t_us":500.5,"op":"decrypt","key_id":"a"}
{"t_us":400,"op":"decrypt","keys":["b","a"],"device":"d1"}
"#;
        let trace = read(&text[..], "t", 2.0).unwrap();
        let list = &trace.recorded;
        assert_eq!((trace.keys, list.devices), (3, 2));
        let got: Vec<_> = list
            .entries
            .iter()
            .map(|entry| {
                let first = entry.first as usize;
                let keys = &list.keys[first..first + usize::from(entry.count)];
                (
                    entry.at_ns,
                    list.kinds[usize::from(entry.kind)].to_string(),
                    keys,
                    entry.device,
                )
            })
            .collect();
        let want = [
            (0, "encrypt".to_owned(), &[1][..], 2),
            (150_000, "decrypt".to_owned(), &[0], 1),
            (200_000, "decrypt/2".to_owned(), &[2, 0], 1),
            (250_250, "decrypt".to_owned(), &[0], ANYBODY),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn bad_lines_are_named() {
        let good = r#"{"t_us":1,"op":"decrypt","key":1}"#;
        for (name, line, want) in [
            ("no JSON", "t,1", "t, line 2: expected"),
            (
                "no time",
                r#"{"op":"decrypt","key":1}"#,
                "line 2: missing field `t_us`",
            ),
            (
                "time below 0",
                r#"{"t_us":-1,"op":"decrypt","key":1}"#,
                "t_us is -1",
            ),
            (
                "no key",
                r#"{"t_us":1,"op":"decrypt"}"#,
                "neither `key` nor `keys`",
            ),
            (
                "both",
                r#"{"t_us":1,"op":"decrypt","key":1,"keys":[1]}"#,
                "both",
            ),
            (
                "unknown",
                r#"{"t_us":1,"op":"sign","key":1}"#,
                "`sign` is no operation",
            ),
            (
                "batch of data keys",
                r#"{"t_us":1,"op":"datakey","keys":[1,2]}"#,
                "no batches",
            ),
        ] {
            let text = format!("{good}\n{line}\n");
            let error = read(text.as_bytes(), "t", 1.0).unwrap_err();
            assert!(error.contains(want), "{name}: {error}");
        }
        let long = format!("{good}\n{}", "x".repeat(100_000));
        assert!(
            read(long.as_bytes(), "t", 1.0)
                .unwrap_err()
                .contains("longer than")
        );
        assert!(
            read(&b"\n"[..], "t", 1.0)
                .unwrap_err()
                .contains("no request")
        );
    }

    #[test]
    fn a_storm_reads_every_key_of_every_device() {
        let plan = StormPlan {
            devices: 200,
            keys_each: 5,
            window_s: 10.0,
            reads: 2,
            gap_ms: 4.0,
        };
        let list = plan.recorded(1000, 1).unwrap();
        assert_eq!((list.entries.len(), list.devices), (2000, 200));
        assert!(list.entries.is_sorted_by_key(|entry| entry.at_ns));
        let mut times = vec![0; 1000];
        let mut begins = vec![u64::MAX; 201];
        for entry in &list.entries {
            let key = list.keys[entry.first as usize] - 1000;
            times[key as usize] += 1;
            assert_eq!(key / 5 + 1, entry.device, "its own keys");
            let begin = &mut begins[entry.device as usize];
            *begin = entry.at_ns.min(*begin);
        }
        assert!(times.iter().all(|times| *times == 2));
        let mean_s = begins[1..].iter().map(|ns| *ns as f64 / 1e9).sum::<f64>() / 200.0;
        assert!((mean_s - 5.0).abs() < 0.8, "{mean_s}");
        let last = list
            .entries
            .iter()
            .filter(|entry| entry.device == 1)
            .map(|entry| entry.at_ns)
            .max();
        assert_eq!(last.unwrap() - begins[1], 36_000_000);
        assert_eq!(list, plan.recorded(1000, 1).unwrap(), "by seed");
    }

    #[test]
    #[rustfmt::skip]
    fn storms_that_cannot_be_are_refused() {
        let plan = StormPlan { devices: 2, keys_each: 2, window_s: 1.0, reads: 1, gap_ms: 0.0 };
        assert!(plan.recorded(0, 1).is_ok());
        for (name, bad) in [
            ("no devices", StormPlan { devices: 0, ..plan }),
            ("no keys", StormPlan { keys_each: 0, ..plan }),
            ("too many", StormPlan { keys_each: u32::MAX, reads: u32::MAX, ..plan }),
            ("window", StormPlan { window_s: f64::NAN, ..plan }),
            ("gap", StormPlan { gap_ms: -1.0, ..plan }),
        ] {
            assert!(bad.recorded(0, 1).is_err(), "{name}");
        }
    }
}
