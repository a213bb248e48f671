//! What the orders of the control socket do.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::admin::{self, Control, ControlHandle, Order};
use crate::cluster::{Cluster, Word};
use crate::config::Config;
use crate::metrics::ORDERS;
use crate::server::Shared;

use super::{Reloader, StartError};

/// Binds the socket of `config`. Where nobody asked for one and the usual place is not to be had, there is none.
pub(super) fn bind(config: &Config) -> Result<Option<Control>, StartError> {
    let path = &config.control.socket;
    match Control::bind(path) {
        Ok(control) => Ok(Some(control)),
        Err(error) if config.control.is_set => Err(StartError::Control {
            path: path.clone(),
            error,
        }),
        Err(error) => {
            log_absence(path, &error);
            Ok(None)
        }
    }
}

fn log_absence(path: &Path, error: &io::Error) {
    log::warn!(
        "no control socket at {}: {error}; `kms reload`, `drain` and `cache purge` need kms.control.socket, SIGHUP \
         reloads without it",
        path.display()
    );
}

/// Answers on it.
pub(super) fn start(
    control: Control,
    shared: Arc<Shared>,
    reloader: Arc<Reloader>,
) -> io::Result<ControlHandle> {
    control.start(Box::new(move |order| {
        let place = place(&order);
        let done = carry(&shared, &reloader, order);
        let metrics = &shared.metrics;
        let counters = match done {
            Ok(_) => &metrics.orders,
            Err(_) => &metrics.orders_refused,
        };
        counters[place].bump();
        done
    }))
}

/// In [`ORDERS`].
fn place(order: &Order) -> usize {
    let place = match order {
        Order::Status => 0,
        Order::Reload => 1,
        Order::Drain { .. } => 2,
        Order::Purge { .. } => 3,
        Order::RenewKey => 4,
    };
    const { assert!(ORDERS.len() == 5) };
    place
}

fn carry(shared: &Shared, reloader: &Reloader, order: Order) -> Result<Value, String> {
    match order {
        Order::Status => {
            serde_json::to_value(admin::status(shared)).map_err(|error| error.to_string())
        }
        Order::Reload => {
            let report = reloader.reload().map_err(|error| error.to_string())?;
            Ok(json!({
                "changes": report.changes,
                "needs_restart": report.needs_restart,
                "warnings": report.warnings,
            }))
        }
        Order::Drain { cancel } => {
            shared.leave(!cancel);
            log::info!(
                "{}",
                if cancel {
                    "back to service"
                } else {
                    "draining"
                }
            );
            Ok(json!({ "draining": !cancel, "connections": shared.connections() }))
        }
        Order::Purge { key, cluster: true } => purge_everywhere(shared, key.as_deref()),
        Order::RenewKey => {
            let cluster = shared_cache(shared)?;
            cluster.renew_key();
            Ok(json!({ "renewing": true }))
        }
        Order::Purge {
            key,
            cluster: false,
        } => {
            let entries = shared.engine.cache().len();
            if !shared.engine.purge(key.as_deref()) {
                return Err(format!(
                    "nothing of key '{}' is cached: it was not asked for here",
                    key.unwrap_or_default()
                ));
            }
            Ok(json!({ "key": key, "entries_before": entries }))
        }
    }
}

fn shared_cache(shared: &Shared) -> Result<&Arc<Cluster>, String> {
    let cluster = shared.engine.shared_cache();
    cluster.ok_or_else(|| {
        "this node shares its cache with no others: kms.cache.type is none".to_owned()
    })
}

/// Here, in the shared cache, and at all other nodes, which say that they have.
fn purge_everywhere(shared: &Shared, key: Option<&str>) -> Result<Value, String> {
    let cluster = shared_cache(shared)?;
    let entries = shared.engine.cache().len();
    // Nothing of it here is no error: others may have some.
    let _ = shared.engine.purge(key);
    let obedience = cluster.order(Word::Purge(key.map(str::to_owned)));
    log::info!(
        "purge at all nodes: published={} acknowledged={:?} silent={:?}",
        obedience.published,
        obedience.acknowledged,
        obedience.silent
    );
    Ok(json!({
        "key": key,
        "entries_before": entries,
        "published": obedience.published,
        "acknowledged": obedience.acknowledged,
        "silent": obedience.silent,
    }))
}
