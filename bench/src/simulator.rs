//! What the simulated HSM itself can do: unwraps a second of its one thread without any delay, so that it is
//! known from where on it, and not what is measured with it, sets the limit.

use std::fmt::Write as _;
use std::time::Duration;

use kms_loadgen::cpu;
use kms_loadgen::sim::site::Ports;
use kms_loadgen::sim::{Model, Preset};

use crate::hsm::simulate;
use crate::place::{CLIENT_CORE, on_server_core, pin};
use crate::progress::say;
use crate::rounds::{Settings, median};
use crate::server::StartError;

/// Items of a message at most.
const BATCHES: [usize; 2] = [1, 32];
/// Connections.
const CONNECTIONS: usize = 4;
/// Wrapped data keys.
const DATA_KEYS: usize = 1024;
/// Unwraps that wait at any time.
const OUTSTANDING: usize = 512;
/// As `simulate` calls it.
const THREAD: &str = "hsm-sim";

/// A Markdown table: medians over the rounds. The simulator has one core, the product's pool the other.
pub fn measure(settings: &Settings) -> Result<String, StartError> {
    let folder = tempfile::tempdir()?;
    let ports = Ports {
        service: 1,
        health: 2,
    };
    pin(CLIENT_CORE)?;
    let model: Model = Preset::Null.model();
    let hsm = on_server_core(|| simulate(&folder.path().join("site"), model, ports))??;
    let mut table = "| items a message | unwraps/s | simulator busy | its CPU us an item | items/s of one core |\n\
                     |---|---|---|---|---|\n"
        .to_owned();
    for batch_max in BATCHES {
        say(&format!("messages of at most {batch_max}"));
        let pool = hsm.unwrapper(CONNECTIONS, batch_max, DATA_KEYS)?;
        let (mut rates, mut shares, mut costs_us) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            pool.run(OUTSTANDING, settings.warm_up)?;
            let before = cpu::thread_named(THREAD)?;
            let turnover = pool.run(OUTSTANDING, settings.duration)?;
            let used: Duration = cpu::thread_named(THREAD)?.saturating_sub(before);
            let items = turnover.items_per_s * settings.duration.as_secs_f64();
            rates.push(turnover.items_per_s);
            shares.push(used.as_secs_f64() / settings.duration.as_secs_f64());
            costs_us.push(used.as_secs_f64() * 1e6 / items);
        }
        let [rate, share, cost_us] = [rates, shares, costs_us].map(median);
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| {batch_max} | {rate:.0} | {:.0} % | {cost_us:.2} | {:.0} |",
            share * 100.0,
            1e6 / cost_us
        );
    }
    Ok(table)
}
