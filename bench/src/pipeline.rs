//! What several messages under way on one connection gain: unwraps a second of the product's pool with
//! `kms.hsm.kmip.pipeline.max` at 1 and above it, against simulated HSMs near and far.
//!
//! Must never be true: a gain read off runs that did not take turns.

use std::time::Duration;

use kms_loadgen::sim::site::Ports;
use kms_loadgen::sim::{Model, Preset};

use crate::hsm::{Reach, Unwrapper, simulate};
use crate::markdown::{head, line};
use crate::progress::say;
use crate::rounds::{Settings, median};
use crate::server::StartError;
use crate::way;

/// Items of a message at most: the default.
const BATCH_MAX: usize = 32;
/// Wrapped data keys; a pool has no cache, so they may come again.
const DATA_KEYS: usize = 256;
/// Messages under way on one connection; the first is what gains are against.
const PIPELINES: [usize; 3] = [1, 4, 16];
/// Connections: a small pool, and the default one of two cores.
const CONNECTIONS: [usize; 2] = [2, 4];
/// Unwraps that wait at any time: four full messages for each connection of the default pool.
const OUTSTANDING: usize = 512;

struct Place {
    name: &'static str,
    model: Model,
    each_way: Duration,
}

/// The presets as they are, where all of a message's time is the HSM's work on its connection; then with
/// part of that time on the way instead. The near one is at its ceiling either way, so that is lifted.
fn places() -> [Place; 4] {
    let (lan, wan) = (Preset::LanHsm.model(), Preset::WanHsm.model());
    let open = Model {
        ceiling_ops_s: None,
        ..lan.clone()
    };
    let place = |name, message_ms, model: &Model, each_way| Place {
        name,
        model: Model {
            message_ms,
            stalls: None,
            ..model.clone()
        },
        each_way,
    };
    [
        place(
            "`lan-hsm`, at its ceiling",
            lan.message_ms,
            &lan,
            Duration::ZERO,
        ),
        place(
            "`lan-hsm` without ceiling, 0.5 of its 1 ms on the way",
            0.5,
            &open,
            Duration::from_micros(250),
        ),
        place("`wan-hsm`", wan.message_ms, &wan, Duration::ZERO),
        place(
            "`wan-hsm`, 39 of its 40 ms on the way",
            1.0,
            &wan,
            Duration::from_micros(19_500),
        ),
    ]
}

/// A Markdown table: medians over the rounds. The gain is that over one message under way, within a round.
pub fn measure(settings: &Settings) -> Result<String, StartError> {
    let folder = tempfile::tempdir()?;
    let mut columns = vec!["HSM".to_owned(), "connections".to_owned()];
    for (at, pipeline_max) in PIPELINES.into_iter().enumerate() {
        columns.push(format!("{pipeline_max}: unwraps/s, p50 ms"));
        if at > 0 {
            columns.push("gain".to_owned());
        }
    }
    let mut table = head(&columns);
    let ports = Ports {
        service: 1,
        health: 2,
    };
    for (at, place) in places().into_iter().enumerate() {
        let site = folder.path().join(at.to_string());
        let hsm = simulate(&site, place.model, ports)?;
        let address = if place.each_way.is_zero() {
            hsm.sim.address
        } else {
            way::open(hsm.sim.address, place.each_way)?
        };
        for connections in CONNECTIONS {
            say(&format!("{}, {connections} connections", place.name));
            let mut pools = Vec::new();
            for pipeline_max in PIPELINES {
                let reach = Reach {
                    address,
                    connections,
                    batch_max: BATCH_MAX,
                    pipeline_max,
                };
                pools.push(hsm.unwrapper_over(&reach, DATA_KEYS)?);
            }
            let mut cells = vec![place.name.to_owned(), connections.to_string()];
            cells.extend(compared(&pools, settings)?);
            table.push_str(&line(&cells));
        }
    }
    Ok(table)
}

/// Each pool has its turn in every round; the cells of a line.
fn compared(pools: &[Unwrapper], settings: &Settings) -> Result<Vec<String>, StartError> {
    let mut figures = vec![[Vec::new(), Vec::new(), Vec::new()]; pools.len()];
    for _ in 0..settings.rounds {
        let mut first = None;
        for (pool, [rates, p50s, gains]) in pools.iter().zip(&mut figures) {
            pool.run(OUTSTANDING, settings.warm_up)?;
            let turnover = pool.run(OUTSTANDING, settings.duration)?;
            let against = *first.get_or_insert(turnover.items_per_s);
            rates.push(turnover.items_per_s);
            p50s.push(turnover.p50_us / 1e3);
            gains.push(turnover.items_per_s / against);
        }
    }
    let mut cells = Vec::new();
    for (at, figures) in figures.into_iter().enumerate() {
        let [rate, p50_ms, gain] = figures.map(median);
        cells.push(format!("{rate:.0}, {p50_ms:.1}"));
        if at > 0 {
            cells.push(format!("{gain:.2}"));
        }
    }
    Ok(cells)
}
