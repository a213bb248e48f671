//! What is measured with the nodes of [`super`].
//!
//! Must never be true: a figure of a run in which an unwrap failed. Called by the program `cluster`.

use std::fmt::Write as _;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{House, NODES, Node, Pick, Times, failed, start};
use crate::server::StartError;

/// Part of a window's unwraps that a warm node has without the HSM.
const WARM: f64 = 0.9;
const WINDOW: Duration = Duration::from_millis(200);

/// p50, p99, p99.9 and the longest, in milliseconds.
fn quantiles(mut took: Vec<Duration>) -> [f64; 4] {
    took.sort_unstable();
    let at = |part: usize| {
        let index = (took.len().saturating_sub(1)) * part / 1000;
        took.get(index).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    };
    [at(500), at(990), at(999), at(1000)]
}

/// A Markdown table of all three.
pub fn measure(duration: Duration) -> Result<String, StartError> {
    let house = House::build()?;
    let mut table = "| what | with the shared cache | without |\n|---|---|---|\n".to_owned();
    let with = load(&house, true, duration)?;
    let without = load(&house, false, duration)?;
    for (what, with, without) in [
        ("unwraps/s, 3 nodes", with.rate, without.rate),
        ("of them by the HSM, a second", with.by_hsm, without.by_hsm),
        (
            "HSM unwraps of a restarted node in its first second",
            with.first_s,
            without.first_s,
        ),
        (
            "seconds until 90 % of its unwraps need no HSM",
            with.warm_s,
            without.warm_s,
        ),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| {what} | {with:.1} | {without:.1} |");
    }
    table.push_str("\n| a miss, ms | p50 | p99 | p99.9 | longest |\n|---|---|---|---|---|\n");
    for (what, [p50, p99, p999, longest]) in misses(&house, duration)? {
        let _ = writeln!(
            table,
            "| {what} | {p50:.2} | {p99:.2} | {p999:.2} | {longest:.2} |"
        );
    }
    Ok(table)
}

struct Load {
    rate: f64,
    by_hsm: f64,
    first_s: f64,
    warm_s: f64,
}

fn load(house: &House, shared: bool, duration: Duration) -> Result<Load, StartError> {
    const NAMES: [&str; NODES] = ["node1", "node2", "node3"];
    let mut nodes = Vec::new();
    let mut crowds = Vec::new();
    for (seed, name) in (1..).zip(NAMES) {
        nodes.push(house.node(name, shared)?);
        let node = nodes.last().ok_or_else(|| failed("no node"))?;
        crowds.push(house.crowd(node, seed, Pick::Zipf)?);
    }
    std::thread::sleep(duration);
    let sums = |nodes: &[Node]| -> Result<[f64; 2], StartError> {
        let mut sums = [0.0; 2];
        for node in nodes {
            let [cache, shared, hsm] = node.unwraps()?;
            sums[0] += cache + shared + hsm;
            sums[1] += hsm;
        }
        Ok(sums)
    };
    let (before, begun) = (sums(&nodes)?, Instant::now());
    std::thread::sleep(duration);
    let (after, took) = (sums(&nodes)?, begun.elapsed().as_secs_f64());
    crowds.remove(0).end()?;
    let gone = nodes.remove(0);
    let (config, address, health) = (gone.config.clone(), gone.server.address, gone.health);
    drop(gone);
    let again = start(config, address, health)?;
    let crowd = house.crowd(&again, 9, Pick::Zipf)?;
    let (first_s, warm_s) = warming(&again, duration)?;
    crowd.end()?;
    for crowd in crowds {
        crowd.end()?;
    }
    Ok(Load {
        rate: (after[0] - before[0]) / took,
        by_hsm: (after[1] - before[1]) / took,
        first_s,
        warm_s,
    })
}

/// HSM unwraps in the first second, and when the node is warm; the whole duration if it is not.
fn warming(node: &Node, duration: Duration) -> Result<(f64, f64), StartError> {
    let begun = Instant::now();
    let (mut first_s, mut last) = (None, [0.0; 3]);
    let mut warm_s = None;
    while begun.elapsed() < duration && (first_s.is_none() || warm_s.is_none()) {
        std::thread::sleep(WINDOW);
        let now = node.unwraps()?;
        let [cache, shared, hsm] = [0, 1, 2].map(|at: usize| now[at] - last[at]);
        let all = cache + shared + hsm;
        if all > 0.0 && (cache + shared) / all >= WARM && warm_s.is_none() {
            warm_s = Some(begun.elapsed().as_secs_f64());
        }
        if begun.elapsed() >= Duration::from_secs(1) && first_s.is_none() {
            first_s = Some(now[2]);
        }
        last = now;
    }
    let all_s = duration.as_secs_f64();
    Ok((first_s.unwrap_or(last[2]), warm_s.unwrap_or(all_s)))
}

/// Latencies of keys that the node's own cache has not: found in the engine, and while that hangs.
fn misses(house: &House, duration: Duration) -> Result<Vec<(&'static str, [f64; 4])>, StartError> {
    let node = house.node("lone", true)?;
    let run = |seed, during: &dyn Fn() -> Result<(), StartError>| -> Result<Times, StartError> {
        let crowd = house.crowd(&node, seed, Pick::Cold)?;
        std::thread::sleep(duration / 4);
        during()?;
        std::thread::sleep(duration);
        crowd.end()
    };
    let signal = |name: &str| -> Result<(), StartError> {
        let pid = house.engine.pid().to_string();
        Command::new("kill").args([name, &pid]).status()?;
        Ok(())
    };
    let all = |took: Times| quantiles(took.into_iter().map(|(_, took)| took).collect());
    let filled = run(20, &|| Ok(()))?;
    let mut rows = vec![("filling: the engine asked, then the HSM", all(filled))];
    rows.push(("the engine has it", all(run(21, &|| Ok(()))?)));
    let hung = Mutex::new(Instant::now());
    let took = run(22, &|| {
        *hung.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        signal("-STOP")
    })?;
    signal("-CONT")?;
    let hung = hung.into_inner().unwrap_or_else(PoisonError::into_inner);
    let after: Vec<Duration> = took
        .into_iter()
        .filter(|(begun, took)| *begun + *took >= hung)
        .map(|(_, took)| took)
        .collect();
    rows.push((
        "the engine hangs: its budget or less, then the HSM",
        quantiles(after),
    ));
    let alone = house.node("alone", false)?;
    let crowd = house.crowd(&alone, 23, Pick::Cold)?;
    std::thread::sleep(duration);
    rows.push(("without a shared cache: the HSM", all(crowd.end()?)));
    Ok(rows)
}
