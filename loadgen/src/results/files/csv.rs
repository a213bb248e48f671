//! `series.csv`: a line for each second, numbers only, columns by name.

use std::collections::HashMap;
use std::fmt::Write;
use std::str::FromStr;

use crate::results::{ErrorKind, Quantiles, Second, sum};

const FIXED: [&str; 22] = [
    "unix_s",
    "planned",
    "sent",
    "right",
    "latencies",
    "p50_us",
    "p90_us",
    "p99_us",
    "p99.9_us",
    "p99.99_us",
    "max_us",
    "lag_max_us",
    "handshakes",
    "connections",
    "cache_hits",
    "joined",
    "shared",
    "misses",
    "hsm_operations",
    "client_cpu_us",
    "server_cpu_us",
    "failed",
];
const ERROR_PREFIX: &str = "error_";

/// Writing to a String cannot fail.
pub(super) fn render(series: &[Second]) -> String {
    let mut text = FIXED.join(",");
    for kind in ErrorKind::ALL {
        let _ = write!(text, ",{ERROR_PREFIX}{}", kind.name());
    }
    text.push('\n');
    for second in series {
        line(&mut text, second);
    }
    text
}

fn line(text: &mut String, second: &Second) {
    let Second {
        unix_s,
        planned,
        sent,
        right,
        ..
    } = second;
    let _ = write!(text, "{unix_s},{planned},{sent},{right}");
    match &second.latency {
        Some(latency) => {
            let _ = write!(text, ",{}", latency.count);
            for ns in latency.values_ns() {
                let _ = write!(text, ",{}", micros(ns));
            }
        }
        None => text.push_str(",0,,,,,,"),
    }
    let (lag, handshakes, connections) = (
        micros(second.lag_max_ns),
        second.handshakes,
        second.connections,
    );
    let _ = write!(text, ",{lag},{handshakes},{connections}");
    for value in [
        second.hits,
        second.joined,
        second.shared,
        second.misses,
        second.hsm_operations,
        second.client_cpu_us,
        second.server_cpu_us,
    ] {
        text.push(',');
        if let Some(value) = value {
            let _ = write!(text, "{value}");
        }
    }
    let _ = write!(text, ",{}", sum(second.errors.values().copied()));
    for kind in ErrorKind::ALL {
        let _ = write!(text, ",{}", second.errors.get(&kind).copied().unwrap_or(0));
    }
    text.push('\n');
}

/// All digits: 1234567 ns is 1234.567 us.
fn micros(ns: u64) -> String {
    format!("{}.{:03}", ns / 1000, ns % 1000)
}

/// Reads what [`render`] wrote; columns may have any order, unknown ones are left alone.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Second>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))?;
    let mut lines = text.lines();
    let header = lines.next().ok_or("empty")?;
    let columns: HashMap<&str, usize> = header.split(',').zip(0..).collect();
    for name in FIXED {
        if !columns.contains_key(name) {
            return Err(format!("column `{name}` is missing"));
        }
    }
    let mut series: Vec<Second> = Vec::new();
    for (number, line) in (2..).zip(lines) {
        let row = Row {
            columns: &columns,
            cells: line.split(',').collect(),
        };
        let second = row
            .second()
            .map_err(|what| format!("line {number}: {what}"))?;
        if series
            .last()
            .is_some_and(|last| last.unix_s >= second.unix_s)
        {
            return Err(format!(
                "line {number}: second {} is out of order",
                second.unix_s
            ));
        }
        series.push(second);
    }
    Ok(series)
}

struct Row<'a> {
    columns: &'a HashMap<&'a str, usize>,
    cells: Vec<&'a str>,
}

impl Row<'_> {
    fn second(&self) -> Result<Second, String> {
        let mut second = Second {
            unix_s: self.number("unix_s")?,
            planned: self.number("planned")?,
            sent: self.number("sent")?,
            right: self.number("right")?,
            latency: self.latency()?,
            lag_max_ns: self.nanos("lag_max_us")?,
            handshakes: self.number("handshakes")?,
            connections: self.number("connections")?,
            hits: self.optional("cache_hits")?,
            joined: self.optional("joined")?,
            shared: self.optional("shared")?,
            misses: self.optional("misses")?,
            hsm_operations: self.optional("hsm_operations")?,
            client_cpu_us: self.optional("client_cpu_us")?,
            server_cpu_us: self.optional("server_cpu_us")?,
            ..Second::default()
        };
        for kind in ErrorKind::ALL {
            let count = self
                .optional(&format!("{ERROR_PREFIX}{}", kind.name()))?
                .unwrap_or(0);
            if count > 0 {
                second.errors.insert(kind, count);
            }
        }
        Ok(second)
    }

    fn latency(&self) -> Result<Option<Quantiles>, String> {
        let count = self.number("latencies")?;
        if count == 0 {
            return Ok(None);
        }
        Ok(Some(Quantiles {
            count,
            p50_ns: self.nanos("p50_us")?,
            p90_ns: self.nanos("p90_us")?,
            p99_ns: self.nanos("p99_us")?,
            p999_ns: self.nanos("p99.9_us")?,
            p9999_ns: self.nanos("p99.99_us")?,
            max_ns: self.nanos("max_us")?,
        }))
    }

    fn cell(&self, name: &str) -> &str {
        let at = self.columns.get(name);
        at.and_then(|at| self.cells.get(*at)).copied().unwrap_or("")
    }

    fn number(&self, name: &str) -> Result<u64, String> {
        parsed(self.cell(name), name)
    }

    fn optional(&self, name: &str) -> Result<Option<u64>, String> {
        match self.cell(name) {
            "" => Ok(None),
            cell => parsed(cell, name).map(Some),
        }
    }

    /// Of microseconds with three decimals.
    fn nanos(&self, name: &str) -> Result<u64, String> {
        let cell = self.cell(name);
        let (whole, part) = cell.split_once('.').unwrap_or((cell, "000"));
        let is_short = part.len() == 3;
        let (whole, part): (u64, u64) = (parsed(whole, name)?, parsed(part, name)?);
        let ns = whole.checked_mul(1000).and_then(|ns| ns.checked_add(part));
        ns.filter(|_| is_short)
            .ok_or_else(|| format!("`{cell}` in column {name} is no time"))
    }
}

fn parsed<T: FromStr>(cell: &str, name: &str) -> Result<T, String> {
    cell.parse()
        .map_err(|_| format!("`{cell}` in column {name} is no number"))
}
