//! Looking whether the engine's servers let this node in, for `kms check`.
//!
//! Must never be true: anything changed in the engine. Called by `node`.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Cluster, ClusterPlan, Events, KeyWrap, ServerReport, Tools, WrapError};
use crate::secret::{Arena, SecretBytes, SecretKey};

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Nobody is told, and nothing is wrapped.
struct Nobody;

impl Events for Nobody {
    fn withdrawn(&self, _: &str) {}
    fn grown(&self, _: &str) {}
    fn purge(&self, _: Option<&str>) {}
    fn missed(&self) {}
    fn tick(&self, _: Instant, _: bool) {}
}

impl KeyWrap for Nobody {
    fn wrap(&self, _: SecretBytes, _: &[u8]) -> Result<(u32, Vec<u8>), WrapError> {
        Err(WrapError::Unavailable("only looking".to_owned()))
    }

    fn unwrap(&self, _: u32, _: &[u8], _: &[u8]) -> Result<SecretKey, WrapError> {
        Err(WrapError::Unavailable("only looking".to_owned()))
    }
}

/// Each server as it is once all are connected, or after `within`.
pub fn probe(
    plan: ClusterPlan,
    arena: &'static Arena,
    within: Duration,
) -> io::Result<Vec<ServerReport>> {
    let tools = Tools {
        arena,
        store: Box::new(|_| None),
        wrap: Box::new(Nobody),
        events: Arc::new(Nobody),
    };
    let plan = ClusterPlan {
        looks_only: true,
        ..plan
    };
    let cluster = Cluster::start(plan, tools)?;
    let end = Instant::now() + within;
    let found = loop {
        let report = cluster.report();
        let connected = cluster.is_connected() && report.servers.iter().all(|server| server.up);
        if connected || Instant::now() >= end {
            break report.servers;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    cluster.shutdown();
    Ok(found)
}
