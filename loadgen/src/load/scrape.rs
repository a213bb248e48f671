//! The server's own figures: Prometheus text over plain HTTP, parsed without knowing its families beforehand.
//!
//! Must never be true: an answer without a bound; a run that fails because nobody tells figures. Called by
//! [`super::observer`] each second, on a thread of its own.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use kms::wire::http::{RequestHead, ResponseDecoder, ResponseProgress, write_request};

use crate::results::{BatchBucket, ServerFigures, Split};

/// To connect, to write, to the next bytes; and for the whole answer.
const TIMEOUT: Duration = Duration::from_secs(2);
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
const SAMPLES_MAX: usize = 20_000;

/// Where `/metrics` is: `http://HOST:PORT/PATH`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MetricsUrl {
    host: String,
    path: String,
}

impl std::str::FromStr for MetricsUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "`{text}` is no URL of metrics; one like http://127.0.0.1:8444/metrics belongs here"
            )
        };
        let rest = text.strip_prefix("http://").ok_or_else(bad)?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, "metrics"));
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if !has_port || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(bad());
        }
        Ok(Self {
            host: host.to_owned(),
            path: format!("/{path}"),
        })
    }
}

impl MetricsUrl {
    /// Asks once.
    pub fn scrape(&self) -> Result<ServerFigures, String> {
        let text = get(&self.host, &self.path)
            .map_err(|error| format!("http://{}{}: {error}", self.host, self.path))?;
        Ok(figures(samples(&text)))
    }
}

/// The body of a 200 from plain HTTP at `host`.
pub fn get(host: &str, path: &str) -> Result<String, Box<dyn std::error::Error>> {
    let address = host
        .to_socket_addrs()?
        .next()
        .ok_or("the name has no address")?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    let until = Instant::now() + TIMEOUT;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let head = RequestHead {
        method: "GET",
        target: path,
        host,
        headers: &[("Accept", "text/plain")],
        keep_alive: false,
    };
    let mut request = Vec::new();
    write_request(&mut request, &head, b"");
    stream.write_all(&request)?;
    let (mut decoder, mut received) = (ResponseDecoder::new(false), Vec::new());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = stream.read(&mut buffer)?;
        received.extend_from_slice(buffer.get(..read).unwrap_or_default());
        let step = decoder.step(&mut received, BODY_BYTES_MAX, read == 0);
        match step.map_err(|error| format!("no HTTP: {error:?}"))? {
            ResponseProgress::Response(answer, _) if answer.status == 200 => {
                return Ok(String::from_utf8_lossy(answer.body).into_owned());
            }
            ResponseProgress::Response(answer, _) => {
                return Err(format!("status {}", answer.status).into());
            }
            _ if read == 0 => return Err("the server hung up".into()),
            _ if Instant::now() > until => return Err("the answer does not end".into()),
            _ => {}
        }
    }
}

/// Every sample by its name and labels, as they stand there.
pub fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let sample = |line: &str| {
        // Labels may hold blanks.
        let end = line
            .rfind('}')
            .map_or_else(|| line.find(char::is_whitespace), |at| Some(at + 1))?;
        let (name, rest) = line.split_at_checked(end)?;
        let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
        Some((name.to_owned(), value))
    };
    lines.filter_map(sample).take(SAMPLES_MAX).collect()
}

/// Its name and its labels.
fn parts(sample: &str) -> (&str, &str) {
    let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
    (name, labels.trim_end_matches('}'))
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = labels;
    loop {
        let (key, more) = rest.split_once("=\"")?;
        let (value, more) = more.split_once('"')?;
        if key.trim_start_matches([',', ' ']) == name {
            return Some(value);
        }
        rest = more;
    }
}

fn figures(samples: BTreeMap<String, f64>) -> ServerFigures {
    let all = || {
        samples
            .iter()
            .map(|(sample, value)| (parts(sample), *value))
    };
    let sum = |wanted: &dyn Fn(&str, &str) -> bool| {
        let found = all().filter(|((name, labels), _)| wanted(name, labels));
        found.map(|(_, value)| value).reduce(|a, b| a + b)
    };
    let unwraps = |source: &'static str| {
        sum(&move |name, labels| {
            name == "kms_unwraps_total" && label(labels, "source") == Some(source)
        })
    };
    let sources = ["cache", "joined", "shared", "hsm"].map(unwraps);
    let is_told = sources.iter().any(Option::is_some);
    let [hits, joined, shared, misses] = sources.map(whole);
    let split = is_told.then_some(Split {
        hits,
        joined,
        shared,
        misses,
    });
    let items = sum(&|name, _| name.strip_suffix("_sum").is_some_and(is_of_batches));
    ServerFigures {
        unwraps: split,
        hsm_operations: items
            .map(|items| whole(Some(items)))
            .or(split.map(|split| split.misses)),
        batches: batches(&samples),
        samples,
    }
}

/// Whether a family tells how many items messages to the HSM have.
fn is_of_batches(family: &str) -> bool {
    family.contains("hsm") && (family.ends_with("_message_items") || family.contains("batch"))
}

/// The cumulative buckets of that family, each less the one before.
fn batches(samples: &BTreeMap<String, f64>) -> Vec<BatchBucket> {
    let mut bounds: Vec<(f64, f64)> = Vec::new();
    for (sample, count) in samples {
        let (name, labels) = parts(sample);
        let is_bucket = name.strip_suffix("_bucket").is_some_and(is_of_batches);
        let Some(bound) = label(labels, "le").filter(|_| is_bucket) else {
            continue;
        };
        let bound = if bound == "+Inf" {
            f64::INFINITY
        } else {
            bound.parse().unwrap_or(f64::NAN)
        };
        match bounds
            .iter_mut()
            .find(|(known, _)| known.total_cmp(&bound).is_eq())
        {
            Some((_, sum)) => *sum += count,
            None if bound.is_nan() => {}
            None => bounds.push((bound, *count)),
        }
    }
    bounds.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut items_min, mut before) = (1, 0.0);
    let mut buckets = Vec::new();
    for (bound, count) in bounds {
        let items_max = bound.is_finite().then_some(bound as u32);
        buckets.push(BatchBucket {
            items_min,
            items_max,
            messages: whole(Some(count - before)),
        });
        (items_min, before) = (items_max.unwrap_or(items_min).saturating_add(1), count);
    }
    buckets
}

fn whole(value: Option<f64>) -> u64 {
    // A counter that is negative or no number is none.
    value.unwrap_or(0.0).max(0.0) as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = r#"# HELP kms_unwraps_total Unwraps.
# TYPE kms_unwraps_total counter
kms_unwraps_total{source="cache"} 900
kms_unwraps_total{source="joined"} 20
kms_unwraps_total{source="shared"} 7
kms_unwraps_total{source="hsm"} 80

kms_certificate_not_after_seconds{alias="a b",use="x"} 1.8e9
kms_connections 64 1700000000000
kms_hsm_message_items_bucket{le="1"} 10
kms_hsm_message_items_bucket{le="2"} 14
kms_hsm_message_items_bucket{le="8"} 20
kms_hsm_message_items_bucket{le="+Inf"} 21
kms_hsm_message_items_sum 95
kms_hsm_message_items_count 21
nonsense
"#;

    #[test]
    fn figures_are_read_whatever_else_is_told() {
        let figures = figures(samples(TEXT));
        assert_eq!(
            figures.unwraps,
            Some(Split {
                hits: 900,
                joined: 20,
                shared: 7,
                misses: 80
            })
        );
        assert_eq!(figures.hsm_operations, Some(95));
        let buckets: Vec<_> = figures
            .batches
            .iter()
            .map(|b| (b.items_min, b.items_max, b.messages))
            .collect();
        assert_eq!(
            buckets,
            [
                (1, Some(1), 10),
                (2, Some(2), 4),
                (3, Some(8), 6),
                (9, None, 1)
            ]
        );
        assert_eq!(figures.samples.len(), 12);
        assert_eq!(
            figures.samples["kms_connections"].to_bits(),
            64.0_f64.to_bits()
        );
        let label = r#"kms_certificate_not_after_seconds{alias="a b",use="x"}"#;
        assert_eq!(figures.samples[label].to_bits(), 1.8e9_f64.to_bits());
    }

    #[test]
    fn a_server_that_tells_nothing_of_it_has_no_such_figures() {
        let of_other = figures(samples(
            "go_goroutines 7\nvault_core_unsealed{cluster=\"x\"} 1\n",
        ));
        assert_eq!(
            (
                of_other.unwraps,
                of_other.hsm_operations,
                of_other.batches.len()
            ),
            (None, None, 0)
        );
        let without_items = figures(samples("kms_unwraps_total{source=\"hsm\"} 5"));
        assert_eq!(
            without_items.hsm_operations,
            Some(5),
            "misses are what is known"
        );
    }

    #[test]
    fn urls_are_read() {
        for (text, host, path) in [
            (
                "http://127.0.0.1:8444/metrics",
                "127.0.0.1:8444",
                "/metrics",
            ),
            ("http://[::1]:8444", "[::1]:8444", "/metrics"),
            (
                "http://node:1/v1/sys/metrics?format=prometheus",
                "node:1",
                "/v1/sys/metrics?format=prometheus",
            ),
        ] {
            let url: MetricsUrl = text.parse().unwrap();
            assert_eq!((url.host.as_str(), url.path.as_str()), (host, path));
        }
        for text in [
            "https://a:1/x",
            "a:1",
            "http://a/x",
            "http://a:b/",
            "http://a:1/ x",
        ] {
            assert!(text.parse::<MetricsUrl>().is_err(), "{text}");
        }
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let url: MetricsUrl = format!("http://{free}/metrics").parse().unwrap();
        assert!(url.scrape().unwrap_err().contains("refused"));
    }
}
