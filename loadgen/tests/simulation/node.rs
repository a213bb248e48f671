//! The node of one simulated site: engine, cache, quotas and pool, without a thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use kms::cache::{Cache, CacheConfig};
use kms::engine::{Engine, EngineLimits, Outcome};
use kms::hsm::pool::{Pool, PoolPlan, Unthreaded};
use kms::hsm::store::Store;
use kms::hsm::{ClientTag, Done, Errand, Health, Hsm, Job};
use kms::metrics::Metrics;
use kms::net::time::{Hand, Time};
use kms::quota::{Quota, QuotaConfig};
use kms::secret::{Arena, ArenaPlan, Mode};
use kms::server::loopback;
use kms::server::{Settings, Shared};

use crate::client::script;
use crate::hsm::{Cluster, SimConnector};
use crate::plan::Plan;
use crate::truth::{KEYS, Mint};
use crate::world::{Parts, World};
use crate::{trace, world};

/// As a node's.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Ciphertexts that clients share.
const POOL: usize = 16;

/// A job's end, at the time of the pool's clock.
pub struct Captured {
    pub at: Instant,
    pub deadline: Instant,
    pub done: Done,
    pub outcome: Result<kms::hsm::Answer, kms::hsm::HsmError>,
}

/// The pool as the engine sees it. Ends of jobs are kept until the node's clock gets there.
pub struct Front {
    pub pool: Pool,
    hand: Hand,
    ended: Arc<Mutex<Vec<Captured>>>,
    open: Arc<AtomicUsize>,
}

/// Counts a job until it is ended.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Front {
    /// The ends that have been kept.
    pub fn take(&self) -> Vec<Captured> {
        std::mem::take(&mut self.ended.lock().unwrap())
    }

    /// The job, with its end kept.
    fn captured(&self, job: Job) -> Job {
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(&self.open));
        let (hand, ended) = (self.hand.clone(), Arc::clone(&self.ended));
        let (deadline, done) = (job.deadline, job.done);
        let captured = move |outcome| {
            drop(open);
            ended.lock().unwrap().push(Captured {
                at: hand.now(),
                deadline,
                done,
                outcome,
            });
        };
        Job {
            done: Box::new(captured),
            ..job
        }
    }

    /// Jobs without an end.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Hsm for Front {
    fn name(&self) -> &'static str {
        self.pool.name()
    }

    fn submit(&self, job: Job) {
        self.pool.submit(self.captured(job));
    }

    fn submit_spare(&self, errand: Errand, job: Job) {
        self.pool.submit_spare(errand, self.captured(job));
    }

    fn raise(&self, errand: Errand, client: ClientTag, deadline: Instant) {
        self.pool.raise(errand, client, deadline);
    }

    fn health(&self) -> Health {
        self.pool.health()
    }

    fn offers_random(&self) -> bool {
        self.pool.offers_random()
    }

    fn shutdown(&self) {
        self.pool.shutdown();
    }
}

/// Runs one seed; the hash of its trace. Panics when an invariant is broken.
pub fn run(seed: u64) -> u64 {
    trace::clear();
    let (mut plan, mut random) = Plan::of(seed);
    let mut mint = Mint::new(seed);
    let pool: Vec<_> = (0..POOL)
        .map(|n| mint.sealed([0, 0, 0, 1, 0, 0, 2, 0][n % 8], n == 9))
        .collect();
    let scripts = (0..plan.clients).map(|_| script(&plan, &mut mint, &pool, &mut random));
    let scripts: Vec<VecDeque<_>> = scripts.collect();
    let start = Instant::now();
    let doors = plan.servers.len();
    let (cluster, pool_time, pool_hand) = Cluster::new(&mut plan, &KEYS, start);
    let (node_time, node_hand) = Time::simulated(start);
    let (cache, store) = cache(&plan, start);
    let connector = SimConnector {
        cluster: Arc::clone(&cluster),
        doors,
        store,
    };
    let pool_plan = PoolPlan {
        name: "kmip1",
        connections: plan.connections,
        batch_max: plan.batch_max,
        pipeline_max: plan.pipeline_max,
        queue_max: plan.queue_max,
        connect_timeout: CONNECT_TIMEOUT,
    };
    let Unthreaded { pool, seats, scout } =
        Pool::unthreaded(pool_plan, Box::new(connector), pool_time, seed);
    let front = Arc::new(Front {
        pool,
        hand: pool_hand.clone(),
        ended: Arc::default(),
        open: Arc::default(),
    });
    let tickets = Arc::new(Mutex::new(VecDeque::new()));
    let shared = shared(&plan, cache, &front, node_time, start, &tickets);
    let parts = Parts {
        plan: &plan,
        shared: &shared,
        cluster,
        front: Arc::clone(&front),
        tickets,
        node: node_hand,
        pool: pool_hand,
        start,
        seats,
        scout,
    };
    let mut world: world::World<'_> = World::new(parts, scripts);
    world.run();
    world.finish();
    drop((shared, front));
    assert_eq!(arena().usage().buffer_bytes_used, 0, "buffers are held");
    trace::hash()
}

fn cache(plan: &Plan, start: Instant) -> (Arc<Cache>, Arc<Store>) {
    let config = CacheConfig {
        entries_max: plan.entries_max,
        ttl_s: plan.ttl_s,
        stale_max_s: plan.stale_max_s,
    };
    let cache = Arc::new(Cache::new(&config, arena(), start));
    let roomy = Arc::clone(&cache);
    let make_room = Box::new(move || {
        roomy.make_room(16);
    });
    (cache, Arc::new(Store::new(arena(), Some(make_room))))
}

type Tickets = Arc<Mutex<VecDeque<(kms::engine::Waiter, Outcome)>>>;

fn shared(
    plan: &Plan,
    cache: Arc<Cache>,
    front: &Arc<Front>,
    time: Time,
    start: Instant,
    tickets: &Tickets,
) -> Shared {
    let metrics = Arc::new(Metrics::new(1));
    let limits = EngineLimits {
        flights_max: plan.flights_max,
        waiters_max: plan.waiters_max,
    };
    let inbox = Arc::clone(tickets);
    let deliver = move |waiter, outcome| inbox.lock().unwrap().push_back((waiter, outcome));
    let hsm = Arc::clone(front) as Arc<dyn Hsm>;
    let engine = Engine::new(cache, hsm, limits, Arc::clone(&metrics), time, deliver);
    let engine = engine.unwrap().named_by(&[7; 64]);
    let settings = Settings {
        connections_max: 1000,
        balancers: Vec::new(),
        body_bytes_max: 64 * 1024,
        request_timeout: Duration::from_millis(plan.timeout_ms),
        handshake_timeout: Duration::from_secs(5),
        receive_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(5),
        send_timeout: Duration::from_secs(5),
        sweep_every: Duration::from_secs(1),
        handshake_threads: 1,
        buffered_bytes_max: 1 << 20,
    };
    let mut shared = loopback::shared(engine, metrics, arena(), settings).unwrap();
    let quota = QuotaConfig {
        inflight: plan.inflight_max,
        ..QuotaConfig::UNLIMITED
    };
    shared.quota = Arc::new(Quota::new(&quota, start));
    shared
}

/// One for the process: a seed must leave it empty.
fn arena() -> &'static Arena {
    static ARENA: OnceLock<&'static Arena> = OnceLock::new();
    ARENA.get_or_init(|| {
        let plan = ArenaPlan {
            key_bytes: 512 * 1024,
            large_count: 16,
            large_bytes: 64 * 1024,
            buffer_bytes: 2 * 1024 * 1024,
            mode: Some(Mode::Mlock),
        };
        Arena::reserve(&plan).expect("locked memory")
    })
}
