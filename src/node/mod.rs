//! A running server assembled from a [`Config`]: started whole or refused with one clear reason.
//!
//! Order: locked memory first (nothing secret before it), then certificates, back end, engine,
//! listeners. Must never be true: a node that serves half of its configuration. Called by `cli`.

mod audit;
mod backend;
mod client_cas;
mod control;
mod credentials;
mod error;
mod expiry;
mod housekeeping;
mod lifecycle;
mod reload;
mod roles;
mod sealing;
mod shared_cache;
mod trial;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mio::net::TcpListener;

pub use audit::is_kept as is_audited;
pub use backend::{Probed, probe};
pub use credentials::{Credentials, Shown};
pub use error::StartError;
pub use lifecycle::until_signalled;
pub use reload::{ReloadError, Reloader, Report};
pub use roles::{ClientCa, RoleHolders, roles};
pub use shared_cache::probe as probe_shared_cache;
pub use trial::{Outcome as TrialOutcome, Trial, try_keys};

use crate::admin;
use crate::cache::{Cache, CacheConfig};
use crate::config::Config;
use crate::config::plan::{Plan, WAITERS_MAX, plan};
use crate::engine::{Engine, EngineLimits};
use crate::hsm::Hsm;
use crate::metrics::Metrics;
use crate::net::time::Time;
use crate::net::tls;
use crate::quota::{Quota, QuotaConfig};
use crate::secret::{Arena, Mode};
use crate::server::{self, Service, Settings, Shared};

/// A serving node.
pub struct Node {
    service: Service,
    health: admin::Handle,
    housekeeper: housekeeping::Handle,
    reloader: Arc<Reloader>,
    control: Option<admin::ControlHandle>,
    address: SocketAddr,
    grace: Duration,
}

/// What the caller decides and the configuration does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Forces how memory is locked; for tests of both ways.
    pub arena_mode: Option<Mode>,
    /// Deadlines of the service side.
    pub deadlines: Deadlines,
}

/// How long peers may take. No configuration keys: tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For a whole TLS handshake.
    pub handshake: Duration,
    /// For the whole of a request to arrive, from its first byte.
    pub receive: Duration,
    /// Without a request.
    pub idle: Duration,
    /// For a peer that does not read its answers.
    pub send: Duration,
    /// How often connections are looked at for these.
    pub sweep_every: Duration,
    /// How long idle connections are kept after the signal to stop.
    pub grace: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            receive: Duration::from_secs(30),
            idle: Duration::from_mins(5),
            send: Duration::from_secs(30),
            sweep_every: Duration::from_secs(1),
            grace: Duration::from_secs(5),
        }
    }
}

/// Sizes for this machine.
pub fn plan_for_this_machine(config: &Config) -> Plan {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    plan(config, cores)
}

impl Node {
    /// Starts everything. The HSM may be down: the node starts and says so on `/readyz`.
    pub fn start(config: &Config, options: Options) -> Result<Self, StartError> {
        Self::start_on(config, options, |site| {
            backend::start(config, site.plan, site.credentials, site.arena, site.cache)
        })
    }

    /// As [`Node::start`], with the back end that `make_hsm` makes.
    pub fn start_on(
        config: &Config,
        options: Options,
        make_hsm: impl FnOnce(&Site<'_>) -> Result<Arc<dyn Hsm>, StartError>,
    ) -> Result<Self, StartError> {
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
                stale_max_s: config.cache.stale_max_s,
            },
            arena,
            start,
        ));
        // Listening comes before anything that would have to be undone if it fails.
        let (listener, address) = listen(config.server.address)?;
        let door = admin::listen(config.health_address).map_err(|error| StartError::Listen {
            key: "kms.health.address",
            address: config.health_address,
            error,
        })?;
        let control = control::bind(config)?;
        let site = Site {
            plan: &plan,
            credentials: &credentials,
            arena,
            cache: &cache,
        };
        let hsm = make_hsm(&site)?;
        let (shared, seats, ports) = site.assemble(config, &options.deadlines, hsm, start)?;
        let health = door
            .start(Arc::clone(&shared))
            .map_err(StartError::Threads)?;
        let service =
            Service::start(shared, seats, ports, listener).map_err(StartError::Threads)?;
        let shared = Arc::clone(service.shared());
        let reloader = Reloader::new(config, &credentials, Arc::clone(&shared), service.bell());
        let node = Self {
            grace: options.deadlines.grace,
            ..Self::attend(service, health, Arc::new(reloader), control, address)
                .map_err(StartError::Threads)?
        };
        log::info!("serving address={address} health={}", node.health.address());
        Ok(node)
    }

    /// What looks after a service that runs.
    fn attend(
        service: Service,
        health: admin::Handle,
        reloader: Arc<Reloader>,
        control: Option<admin::Control>,
        address: SocketAddr,
    ) -> std::io::Result<Self> {
        let shared = service.shared();
        let control = control
            .map(|control| control::start(control, Arc::clone(shared), Arc::clone(&reloader)))
            .transpose()?;
        Ok(Self {
            housekeeper: housekeeping::start(Arc::clone(shared), Arc::clone(&reloader))?,
            service,
            health,
            reloader,
            control,
            address,
            grace: Duration::ZERO,
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

    /// For new state.
    pub fn reloader(&self) -> &Arc<Reloader> {
        &self.reloader
    }

    /// Answers what is in flight, lets clients go, and ends: `/readyz` says 404 meanwhile.
    pub fn drain_and_stop(mut self) {
        log::info!("draining connections={}", self.shared().connections());
        self.service.drain();
        let end = Instant::now() + self.grace;
        while Instant::now() < end && self.shared().connections() > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.service.stop();
        let shared = Arc::clone(self.shared());
        self.service.join();
        // First, so that nothing of the shared cache waits for it.
        shared.engine.hsm().shutdown();
        if let Some(cluster) = shared.engine.shared_cache() {
            cluster.shutdown();
        }
        if let Some(control) = self.control {
            control.stop();
        }
        self.housekeeper.stop();
        self.health.stop();
        log::info!("stopped");
    }
}

/// What a node has before its back end: what back ends and the shared state are made of.
pub struct Site<'a> {
    /// Sizes.
    pub plan: &'a Plan,
    /// Certificates.
    pub credentials: &'a Credentials,
    /// Locked memory.
    pub arena: &'static Arena,
    /// Unwrapped keys.
    pub cache: &'a Arc<Cache>,
}

type Assembled = (Arc<Shared>, Vec<server::Seat>, server::Ports);

impl Site<'_> {
    fn assemble(
        &self,
        config: &Config,
        deadlines: &Deadlines,
        hsm: Arc<dyn Hsm>,
        start: Instant,
    ) -> Result<Assembled, StartError> {
        let plan = self.plan;
        let pins = Arc::new(ArcSwap::from_pointee(self.credentials.snapshot(config)?));
        let tls = tls::service_config(self.credentials.server(), Arc::clone(&pins))
            .map_err(|error| StartError::ServerCertificate(error.to_string()))?;
        let workers = plan.worker_threads;
        let metrics = Arc::new(Metrics::new(workers));
        let mail_max = WAITERS_MAX + config.sizes.connections_max;
        let (seats, ports) = server::ports(workers, mail_max).map_err(StartError::Threads)?;
        let inboxes = Arc::clone(&ports);
        let mut engine = Engine::new(
            Arc::clone(self.cache),
            hsm,
            EngineLimits {
                flights_max: plan.flights_max,
                waiters_max: WAITERS_MAX,
            },
            Arc::clone(&metrics),
            Time::real(),
            move |waiter, outcome| server::deliver(&inboxes, waiter, outcome),
        )
        .map_err(|_| StartError::Random)?;
        if let Some(cluster) = &config.cache.cluster {
            shared_cache::start(cluster, &mut engine, self.arena)?;
        }
        let settings = settings(config, plan, deadlines);
        let quota = Arc::new(Quota::new(&quota(config, plan), start));
        let mut shared = Shared::new(engine, pins, tls, metrics, quota, self.arena, settings);
        shared.audit = audit::open(config)?;
        Ok((Arc::new(shared), seats, ports))
    }
}

fn quota(config: &Config, plan: &Plan) -> QuotaConfig {
    QuotaConfig {
        inflight: plan.client_inflight_max,
        rate: config.limits.rate,
        connections: plan.address_connections_max,
        cache_entries_max: config.cache.entries_max,
        cache_ttl: Duration::from_secs(config.cache.ttl_s.into()),
    }
}

fn settings(config: &Config, plan: &Plan, deadlines: &Deadlines) -> Settings {
    Settings {
        connections_max: config.sizes.connections_max,
        balancers: config.server.proxies.clone(),
        body_bytes_max: config.sizes.request_body_bytes_max,
        request_timeout: Duration::from_millis(config.hsm.timeout_ms),
        handshake_timeout: deadlines.handshake,
        receive_timeout: deadlines.receive,
        idle_timeout: deadlines.idle,
        send_timeout: deadlines.send,
        sweep_every: deadlines.sweep_every,
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
