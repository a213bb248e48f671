//! A running server assembled from a [`Config`]: started whole or refused with one clear reason.
//!
//! Order: locked memory first (nothing secret before it), then certificates, back end, engine,
//! listeners. Must never be true: a node that serves half of its configuration. Called by `cli`.

mod backend;
mod credentials;
mod error;
mod housekeeping;
mod lifecycle;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mio::net::TcpListener;

pub use credentials::Credentials;
pub use error::StartError;
pub use lifecycle::until_signalled;

use crate::admin;
use crate::cache::{Cache, CacheConfig};
use crate::config::Config;
use crate::config::plan::{Plan, plan};
use crate::engine::{Engine, EngineLimits};
use crate::metrics::Metrics;
use crate::net::tls;
use crate::secret::{Arena, Mode};
use crate::server::{self, Service, Settings, Shared};

/// Requests waiting for the HSM at once, for each worker; a full house answers 503.
const WAITERS_OF_WORKER: usize = 16 * 1024;
/// How long idle connections are kept after the signal to stop.
const GRACE: Duration = Duration::from_secs(5);

/// A serving node.
pub struct Node {
    service: Service,
    health: admin::Handle,
    housekeeper: housekeeping::Handle,
    address: SocketAddr,
}

/// What the caller decides and the configuration does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Forces how memory is locked; for tests of both ways.
    pub arena_mode: Option<Mode>,
}

/// Sizes for this machine.
pub fn plan_for_this_machine(config: &Config) -> Plan {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    plan(config, cores)
}

impl Node {
    /// Starts everything. The HSM may be down: the node starts and says so on `/readyz`.
    pub fn start(config: &Config, options: Options) -> Result<Self, StartError> {
        let mut plan = plan_for_this_machine(config);
        plan.arena.mode = options.arena_mode.or(plan.arena.mode);
        let arena = Arena::reserve(&plan.arena).map_err(StartError::Arena)?;
        log::info!(
            "locked memory reserved bytes={} mode={:?}",
            plan.locked_bytes(),
            arena.mode()
        );
        let credentials = Credentials::load(config)?;
        for warning in credentials.warnings() {
            log::warn!("{warning}");
        }
        let start = Instant::now();
        let cache = Arc::new(Cache::new(
            &CacheConfig {
                entries_max: config.cache.entries_max,
                ttl_s: config.cache.ttl_s,
            },
            arena,
            start,
        ));
        let hsm = backend::start(config, &plan, &credentials, arena, &cache)?;
        let shared_parts = Parts {
            config,
            plan: &plan,
            arena,
            credentials: &credentials,
        };
        let (shared, seats, ports) = shared_parts.assemble(&cache, hsm, start)?;
        let (listener, address) = listen(config.server.address)?;
        let service = Service::start(Arc::clone(&shared), seats, ports, listener)
            .map_err(StartError::Threads)?;
        let health = admin::start(config.health_address, Arc::clone(&shared)).map_err(|error| {
            StartError::Listen {
                key: "kms.health.address",
                address: config.health_address,
                error,
            }
        })?;
        let housekeeper = housekeeping::start(cache).map_err(StartError::Threads)?;
        log::info!("serving address={address} health={}", health.address());
        Ok(Self {
            service,
            health,
            housekeeper,
            address,
        })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where health is told.
    pub fn health_address(&self) -> SocketAddr {
        self.health.address()
    }

    /// What the threads share, for readiness.
    pub fn shared(&self) -> &Arc<Shared> {
        self.service.shared()
    }

    /// Answers what is in flight, lets clients go, and ends: `/readyz` says 404 meanwhile.
    pub fn drain_and_stop(self) {
        log::info!("draining connections={}", self.shared().connections());
        self.service.drain();
        let end = Instant::now() + GRACE;
        while Instant::now() < end && self.shared().connections() > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.service.stop();
        let hsm = Arc::clone(self.shared().engine.hsm());
        self.service.join();
        hsm.shutdown();
        self.housekeeper.stop();
        self.health.stop();
        log::info!("stopped");
    }
}

/// What the shared state is made of.
struct Parts<'a> {
    config: &'a Config,
    plan: &'a Plan,
    arena: &'static Arena,
    credentials: &'a Credentials,
}

type Assembled = (Arc<Shared>, Vec<server::Seat>, Arc<[Arc<server::Port>]>);

impl Parts<'_> {
    fn assemble(
        &self,
        cache: &Arc<Cache>,
        hsm: Arc<dyn crate::hsm::Hsm>,
        start: Instant,
    ) -> Result<Assembled, StartError> {
        let (config, plan) = (self.config, self.plan);
        let pins = Arc::new(ArcSwap::from_pointee(self.credentials.snapshot(config)?));
        let tls = tls::service_config(self.credentials.server(), Arc::clone(&pins))
            .map_err(|error| StartError::ServerCertificate(error.to_string()))?;
        let workers = plan.worker_threads;
        let metrics = Arc::new(Metrics::new(workers));
        let mail_max = WAITERS_OF_WORKER + config.sizes.connections_max;
        let (seats, ports) = server::ports(workers, mail_max).map_err(StartError::Threads)?;
        let inboxes = Arc::clone(&ports);
        let engine = Engine::new(
            Arc::clone(cache),
            hsm,
            EngineLimits {
                flights_max: plan.queue_max * 2,
                waiters_max: WAITERS_OF_WORKER,
            },
            Arc::clone(&metrics),
            start,
            move |waiter, outcome| server::deliver(&inboxes, waiter, outcome),
        )
        .map_err(|_| StartError::Random)?;
        let settings = settings(config, plan);
        let shared = Shared::new(engine, pins, tls, metrics, self.arena, settings);
        Ok((Arc::new(shared), seats, ports))
    }
}

fn settings(config: &Config, plan: &Plan) -> Settings {
    Settings {
        connections_max: config.sizes.connections_max,
        body_bytes_max: config.sizes.request_body_bytes_max,
        request_timeout: Duration::from_millis(config.hsm.timeout_ms),
        handshake_timeout: Duration::from_secs(10),
        receive_timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(300),
        send_timeout: Duration::from_secs(30),
        handshake_threads: plan.handshake_threads,
        buffered_bytes_max: BUFFERED_BODIES * config.sizes.request_body_bytes_max,
    }
}

/// Full-sized bodies that may be arriving at once; small ones do not count.
const BUFFERED_BODIES: usize = 256;

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let refuse = |error| StartError::Listen {
        key: "kms.server.address",
        address,
        error,
    };
    let listener = TcpListener::bind(address).map_err(refuse)?;
    let address = listener.local_addr().map_err(refuse)?;
    Ok((listener, address))
}
