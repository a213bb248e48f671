//! The model of HSM connections against simulated ones, within the errors that it states.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    dead_code,
    missing_docs
)]

mod des;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use des::pool::{Job, Message, Pool};
use des::{NS, Row, allowed, hold};
use kms_loadgen::sim::station::Station;
use kms_loadgen::sim::{Model, Preset};
use kms_tune::model::distribution::Message as MessageTime;
use kms_tune::model::pool::{self, Pool as Connections, erlang_c};
use kms_tune::model::stream::Random;

struct Case {
    message_ms: f64,
    sigma: f64,
    item_ms: f64,
    connections: usize,
    batch_max: usize,
    load: f64,
}

impl Case {
    fn name(&self) -> String {
        let Self {
            message_ms: a,
            sigma,
            item_ms: b,
            connections: c,
            batch_max,
            load,
        } = self;
        format!("a {a} sigma {sigma} b {b}, {c} connections, {batch_max} items, load {load}")
    }

    fn model(&self) -> Model {
        Model {
            message_ms: self.message_ms,
            sigma: self.sigma,
            item_ms: self.item_ms,
            engines: 1000,
            ..Preset::Null.model()
        }
    }

    fn predicted(&self) -> Connections {
        let mut pool = Connections {
            rate: 1.0,
            connections: self.connections as f64,
            batch_max: self.batch_max as f64,
            message: MessageTime {
                sigma: self.sigma,
                ..MessageTime::fixed(self.message_ms / 1000.0)
            },
            item_s: self.item_ms / 1000.0,
        };
        pool.rate = self.load * pool.solve().capacity;
        pool
    }
}

/// What was seen of the connections.
struct Seen {
    /// Items of a message, on average.
    batch: f64,
    /// Share of jobs that found all connections busy.
    busy: f64,
    /// From asking to answer, sorted.
    took: Vec<f64>,
    /// Jobs a second, from the first answer to the last.
    per_s: f64,
}

fn simulate(row: &Case, rate: f64, jobs: u64, seed: u64) -> Seen {
    let mut station = Station::new(row.model(), seed);
    let mut pool = Pool::new(row.connections, row.batch_max);
    let mut random = Random(seed);
    let (mut asked, mut took) = (Vec::new(), Vec::new());
    let mut due: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut flying: Vec<Option<Message>> = (0..row.connections).map(|_| None).collect();
    let (mut messages, mut items, mut next_s, mut busy) = (0.0, 0.0, 0.0, 0.0);
    let mut ended_s = 0.0;
    let warm = jobs / 10;
    while (asked.len() as u64) < jobs || !due.is_empty() {
        let is_open = (asked.len() as u64) < jobs;
        let now_s = match due.peek().copied() {
            Some(Reverse((at_ns, connection))) if !is_open || at_ns as f64 <= next_s * NS => {
                due.pop();
                let message: Message = flying[connection].take().unwrap();
                for job in message.jobs.iter().filter(|job| job.key >= warm) {
                    took.push(at_ns as f64 / NS - asked[job.key as usize]);
                }
                pool.free(connection);
                ended_s = at_ns as f64 / NS;
                ended_s
            }
            _ => {
                let key = asked.len() as u64;
                asked.push(next_s);
                busy += f64::from(u8::from(pool.is_busy()));
                pool.push(Job { key, ahead: false });
                let now_s = next_s;
                next_s += random.exponential() / rate;
                now_s
            }
        };
        while let Some(message) = pool.take() {
            messages += 1.0;
            items += message.jobs.len() as f64;
            let at_ns = station
                .admit((now_s * NS) as u64, message.jobs.len())
                .due_ns();
            due.push(Reverse((at_ns, message.connection)));
            let connection = message.connection;
            flying[connection] = Some(message);
        }
    }
    took.sort_by(f64::total_cmp);
    Seen {
        batch: items / messages,
        busy: busy / jobs as f64,
        took,
        per_s: jobs as f64 / ended_s,
    }
}

/// Above 0.7 of the capacity times are off by more.
const PRESSED: f64 = 0.25;
const PRESSED_RARE: f64 = 0.5;

fn compare(rows: &mut Vec<Row>, row: &Case, jobs: u64) {
    let connections = row.predicted();
    let served = connections.solve();
    let times = served.times();
    let Seen {
        batch, busy, took, ..
    } = simulate(row, connections.rate, jobs, 7);
    let at = |share: f64| took[(share * (took.len() - 1) as f64) as usize];
    let pressed = row.load > 0.7;
    let name = row.name();
    // A share: what is rarer than one in a hundred is not compared by the percent.
    let busy_off = allowed(&pool::BUSY, busy).max(0.01);
    rows.push((format!("{name}: busy"), served.busy, busy, busy_off));
    let figures = [
        ("items", &pool::BATCH, served.batch, batch),
        ("p50", &pool::P50, times.quantile_s(0.5), at(0.5)),
        ("p99", &pool::P99, times.quantile_s(0.99), at(0.99)),
    ];
    let rare = ("p99.9", &pool::P999, times.quantile_s(0.999), at(0.999));
    // One long message has many jobs: fewer jobs tell nothing of one in a thousand.
    let rare = (jobs >= 100_000).then_some(rare);
    for (what, formula, predicted, simulated) in figures.into_iter().chain(rare) {
        let hard = what != "items" && pressed;
        let off_max = match (hard, what) {
            (false, _) => allowed(formula, simulated),
            (true, "p99.9") => PRESSED_RARE * simulated,
            (true, _) => PRESSED * simulated,
        };
        rows.push((format!("{name}: {what}"), predicted, simulated, off_max));
    }
}

#[test]
fn connections_of_usual_sites() {
    let mut rows = Vec::new();
    for (message_ms, sigma, item_ms, connections, batch_max, load) in [
        (1.0, 0.35, 0.06, 4, 32, 0.05),
        (1.0, 0.35, 0.06, 4, 32, 0.5),
        (1.0, 0.35, 0.06, 8, 32, 0.8),
        (40.0, 0.35, 0.1, 8, 32, 0.3),
        (8.0, 1.26, 0.5, 8, 32, 0.3),
        (5.0, 0.47, 0.45, 4, 1, 0.6),
        (12.0, 0.5, 4.0, 2, 16, 0.6),
        (1.0, 0.0, 0.06, 1, 32, 0.4),
    ] {
        let row = Case {
            message_ms,
            sigma,
            item_ms,
            connections,
            batch_max,
            load,
        };
        compare(&mut rows, &row, 40_000);
    }
    hold(&rows);
}

#[test]
#[ignore = "some minutes"]
fn connections_grid() {
    let mut rows = Vec::new();
    for (message_ms, item_ms) in [(1.0, 0.06), (5.0, 0.45), (30.0, 0.1)] {
        for connections in [1, 2, 4, 8, 32] {
            for batch_max in [1, 8, 32] {
                for load in [0.05, 0.3, 0.6, 0.8, 0.9] {
                    let row = Case {
                        message_ms,
                        sigma: 0.4,
                        item_ms,
                        connections,
                        batch_max,
                        load,
                    };
                    compare(&mut rows, &row, 200_000);
                }
            }
        }
    }
    hold(&rows);
}

/// Three times as many jobs as can be done.
#[test]
fn connections_do_what_they_can() {
    let mut rows = Vec::new();
    for (connections, batch_max, sigma) in [(1, 32, 0.4), (4, 32, 0.35), (8, 1, 0.5), (2, 8, 1.0)] {
        let row = Case {
            message_ms: 4.0,
            sigma,
            item_ms: 0.1,
            connections,
            batch_max,
            load: 3.0,
        };
        let (pool, jobs) = (row.predicted(), 20_000 * connections as u64);
        let per_s = simulate(&row, pool.rate, jobs, 3).per_s;
        let off_max = allowed(&pool::CAPACITY, per_s);
        rows.push((row.name(), pool.solve().capacity, per_s, off_max));
    }
    hold(&rows);
}

#[test]
fn one_item_a_message_is_the_classic_queue() {
    // M/M/2 at 0.75: the share that waits is 0.6429.
    assert!((erlang_c(1.5, 2.0) - 0.642_857).abs() < 1e-5);
}
