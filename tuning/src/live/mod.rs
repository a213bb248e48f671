//! What running nodes tell of their load: from their `/metrics` to fields of a description.
//!
//! [`figures`] reads the text, [`popularity`] finds keys and exponent that explain the working sets. Must never be
//! true: a field that is taken from figures which say nothing of it. Called by `plan --from-metrics`.

mod figures;
mod popularity;

use std::path::Path;

use crate::input::{Field, Live, Source, field};

pub use figures::Figures;
pub use popularity::fit as fit_popularity;

/// Requests below which rates and shares are chance.
const REQUESTS_MIN: f64 = 1000.0;
/// Messages below which quantiles are chance.
const MESSAGES_MIN: f64 = 200.0;
/// Of rates that are means over minutes or days.
const RATE_ERROR: f64 = 0.03;
/// Of a quantile between two bounds of a histogram.
const BUCKET_ERROR: f64 = 0.15;

/// Fields, and what people should know.
#[derive(Debug)]
pub struct Told {
    /// With values.
    pub fields: Vec<(&'static Field, Live)>,
    /// Warnings first.
    pub notes: Vec<String>,
}

/// Reads one node's figures: from `http://HOST:PORT/metrics`, or a file with such text.
pub fn read(place: &str) -> Result<Figures, String> {
    if place.starts_with("http://") {
        let url: kms_loadgen::load::scrape::MetricsUrl = place.parse()?;
        return Ok(Figures::new(url.scrape()?.samples));
    }
    let path = Path::new(place);
    let bad = |why: String| format!("{place}: cannot be read as metrics: {why}");
    let size = std::fs::metadata(path)
        .map_err(|error| bad(error.to_string()))?
        .len();
    if size > figures::FILE_BYTES_MAX {
        return Err(bad(format!(
            "it has more than {} bytes",
            figures::FILE_BYTES_MAX
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    Ok(Figures::new(kms_loadgen::load::scrape::samples(&text)))
}

/// What all nodes of a site together tell, each given as its figures since its start.
pub fn told(nodes: &[Figures], source: &Source) -> Result<Told, String> {
    let mut told = Told {
        fields: Vec::new(),
        notes: Vec::new(),
    };
    let (mut rate, mut wraps, mut clients, mut handshakes) = (0.0, 0.0, 0.0, 0.0);
    for (number, node) in (1..).zip(nodes) {
        let one = node.load().ok_or_else(|| {
            format!(
                "--from-metrics {number}: these are no figures of a kms that has run for a while"
            )
        })?;
        rate += one.unwraps_s;
        wraps += one.wraps_s;
        clients += one.connections;
        handshakes += one.handshakes_s;
    }
    let requests: f64 = nodes
        .iter()
        .filter_map(Figures::load)
        .map(|one| one.unwraps)
        .sum();
    if requests < REQUESTS_MIN {
        return Err(format!(
            "the nodes have seen {requests} unwraps since their start, where at least {REQUESTS_MIN} tell something"
        ));
    }
    told.put(
        &field::MEAN_RPS,
        rate,
        RATE_ERROR,
        "kms_unwraps_total over kms_uptime_seconds",
    );
    told.put(
        &field::WRAPS_RPS,
        wraps,
        RATE_ERROR,
        "kms_hsm_message_items less misses and refreshes",
    );
    told.put(&field::CLIENTS, clients.max(1.0), 0.0, "kms_connections");
    if handshakes > 0.0 && clients > 0.0 {
        let life_s = (clients / handshakes).clamp(0.05, 1e8);
        told.put(
            &field::CONN_LIFETIME_S,
            life_s,
            0.2,
            "kms_connections over kms_handshakes_total a second",
        );
    }
    told.shares(nodes);
    told.peak(rate, source)?;
    told.cache(nodes, rate);
    told.hsm(nodes);
    Ok(told)
}

impl Told {
    /// `error` is a share of the value.
    fn put(&mut self, field: &'static Field, value: f64, error: f64, from: &str) {
        let live = Live {
            value,
            error: error * value,
            from: format!("{from} of the running nodes"),
        };
        self.fields.push((field, live));
    }

    fn shares(&mut self, nodes: &[Figures]) {
        let sum = |name: &str| nodes.iter().filter_map(|node| node.get(name)).sum::<f64>();
        let resumed = sum("kms_handshake_duration_seconds_count{kind=\"resumed\"}");
        let all = resumed + sum("kms_handshake_duration_seconds_count{kind=\"full\"}");
        if all >= REQUESTS_MIN {
            self.put(
                &field::RESUME_RATIO,
                resumed / all,
                0.02,
                "kms_handshake_duration_seconds",
            );
        }
        let ttl = nodes
            .iter()
            .find_map(|node| node.get("kms_cache_ttl_seconds"));
        if let Some(ttl_s) = ttl.filter(|ttl_s| *ttl_s >= 1.0) {
            self.put(&field::TTL_S, ttl_s, 0.0, "kms_cache_ttl_seconds");
        }
    }

    /// Figures since the start have a mean and no peak: that stays as it is written, or as much above.
    fn peak(&mut self, rate: f64, source: &Source) -> Result<(), String> {
        let site = source.site().map_err(|error| error.to_string())?;
        let (peak, mean) = (site.get(&field::PEAK_RPS), site.get(&field::MEAN_RPS));
        let ratio = peak.value() / mean.value().max(f64::MIN_POSITIVE);
        if rate > peak.value() {
            self.put(
                &field::PEAK_RPS,
                rate * ratio.clamp(1.0, 1000.0),
                RATE_ERROR,
                "kms_unwraps_total over kms_uptime_seconds, times the description's peak over its mean,",
            );
            self.notes.push(format!(
                "WARNING: the nodes serve {rate:.0} unwraps/s on average, more than the description's peak of {:.0}.",
                peak.value()
            ));
        }
        Ok(())
    }

    /// Keys and their popularity, and whether they have room.
    fn cache(&mut self, nodes: &[Figures], rate: f64) {
        for (number, node) in (1..).zip(nodes) {
            let (Some((keys, _)), Some(most)) =
                (node.working_set("ttl"), node.get("kms_cache_entries_max"))
            else {
                continue;
            };
            if keys > most {
                self.notes.push(format!(
                    "WARNING: node {number} fetched about {keys:.0} different keys within a time to live, and its cache \
                     has room for {most:.0} (kms.cache.entries.max): keys in use push each other out."
                ));
            }
        }
        // A balancer that does not look at keys gives each node the same ones.
        let node_rate = rate / nodes.len() as f64;
        let mean_of = |window: &str| {
            let seen: Vec<(f64, f64)> = nodes
                .iter()
                .filter_map(|node| node.working_set(window))
                .collect();
            let count = seen.len() as f64;
            let keys = seen.iter().map(|one| one.0).sum::<f64>() / count;
            (!seen.is_empty()).then(|| (keys, seen.iter().map(|one| one.1).sum::<f64>() / count))
        };
        let (Some(ttl), Some(day)) = (mean_of("ttl"), mean_of("day")) else {
            self.notes.push(
                "The nodes tell no working set: keys_total and zipf_s are as written.".into(),
            );
            return;
        };
        match fit_popularity(node_rate, ttl, day) {
            Some((keys, zipf_s)) => {
                self.put(&field::KEYS_TOTAL, keys, 0.1, "kms_working_set_keys (fitted)");
                self.put(&field::ZIPF_S, zipf_s, 0.1, "kms_working_set_keys (fitted)");
            }
            None => self.notes.push(
                "The working sets of a time to live and of a day are too near to each other to tell how keys are \
                 asked for (has the node just started?): keys_total and zipf_s are as written."
                    .into(),
            ),
        }
    }

    /// Median and spread of the HSM's messages.
    fn hsm(&mut self, nodes: &[Figures]) {
        let times =
            Figures::histogram(nodes, "kms_hsm_message_duration_seconds", "about=\"crypt\"");
        let items = Figures::mean(nodes, "kms_hsm_message_items");
        let (Some(p50), Some(p99)) = (times.quantile(0.5), times.quantile(0.99)) else {
            return;
        };
        if times.count() < MESSAGES_MIN {
            self.notes.push(
                "There were too few messages to the HSM to tell its times: they are as written."
                    .into(),
            );
            return;
        }
        let from = "kms_hsm_message_duration_seconds";
        self.put(&field::MESSAGE_MS, 1000.0 * p50, BUCKET_ERROR, from);
        self.put(
            &field::SIGMA,
            ((p99 / p50).ln() / 2.326).clamp(0.0, 3.0),
            BUCKET_ERROR,
            from,
        );
        if let Some(items) = items.filter(|items| *items > 1.5) {
            self.notes.push(format!(
                "Messages to the HSM have {items:.1} items on average: hsm.message_ms holds their time too. kms-tune \
                 calibrate --hsm-node tells both apart."
            ));
        }
    }
}
