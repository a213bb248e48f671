//! Several servers: one hangs, dies, comes back.

use std::collections::HashMap;

use super::*;

/// What a server does with what it is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mood {
    Answers,
    Refuses,
    /// Takes no connection, and goes on with those it has.
    RefusesNew,
    /// Takes jobs, answers none until it is given up, then says so.
    Hangs,
    /// The connection breaks under each job.
    Breaks,
    /// Takes one item a message.
    TakesOne,
}

#[derive(Default)]
struct World {
    opened: AtomicUsize,
    refused: AtomicUsize,
    moods: Mutex<HashMap<usize, Mood>>,
    /// Jobs that each server answered, and the largest message.
    answered: Mutex<HashMap<usize, (usize, usize)>>,
}

impl World {
    fn set(&self, server: usize, mood: Mood) {
        self.moods.lock().insert(server, mood);
    }

    fn mood(&self, server: usize) -> Mood {
        *self.moods.lock().get(&server).unwrap_or(&Mood::Answers)
    }

    fn answered(&self, server: usize) -> usize {
        self.answered
            .lock()
            .get(&server)
            .map_or(0, |(jobs, _)| *jobs)
    }
}

struct Servers {
    world: Arc<World>,
    /// Known so far.
    count: AtomicUsize,
}

impl Connector for Servers {
    fn servers(&self) -> Vec<Arc<str>> {
        (0..self.count.load(Ordering::Relaxed))
            .map(|at| format!("hsm{at}").into())
            .collect()
    }
    fn connect(&self, server: usize, _: Instant) -> Result<Box<dyn Session>, String> {
        if matches!(self.world.mood(server), Mood::Refuses | Mood::RefusesNew) {
            self.world.refused.fetch_add(1, Ordering::Relaxed);
            return Err("refused".into());
        }
        let world = Arc::clone(&self.world);
        world.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(OfServer { server, world }))
    }
    fn renew(&self, way: Way) -> Vec<usize> {
        let wanted: Vec<usize> = way.addresses.iter().map(|at| at.port.into()).collect();
        let count = wanted.iter().max().map_or(0, |last| last + 1);
        self.count.fetch_max(count, Ordering::Relaxed);
        wanted
    }
}

struct OfServer {
    server: usize,
    world: Arc<World>,
}

impl Session for OfServer {
    fn describe(&self) -> String {
        format!("hsm{}", self.server)
    }
    fn serve(&mut self, jobs: Vec<Job>, until: Option<Instant>) -> Served {
        let mut served = Served::default();
        match self.world.mood(self.server) {
            Mood::Hangs => {
                let longest = jobs.iter().map(|job| job.deadline).max();
                let until = until.or(longest).unwrap_or_else(Instant::now);
                let (_never, gate) = channel::<()>();
                let left = until.saturating_duration_since(Instant::now());
                assert!(gate.recv_timeout(left).is_err());
                served.broken = Some("the HSM did not answer in time".into());
                let now = Instant::now();
                for job in jobs {
                    if job.deadline <= now {
                        (job.done)(Err(HsmError::TimedOut));
                    } else {
                        served.retry.push(job);
                    }
                }
                return served;
            }
            Mood::Breaks | Mood::Refuses => {
                served.broken = Some("reset".into());
                served.retry = jobs;
                return served;
            }
            Mood::TakesOne if jobs.len() > 1 => {
                let why = "one at a time".into();
                served.learnt = Some(ItemsMax { items: 1, why });
            }
            Mood::TakesOne | Mood::Answers | Mood::RefusesNew => {}
        }
        let mut answered = self.world.answered.lock();
        let (count, largest) = answered.entry(self.server).or_default();
        *count += jobs.len();
        *largest = jobs.len().max(*largest);
        drop(answered);
        answer(jobs);
        served
    }
    fn is_quiet(&mut self) -> bool {
        self.world.mood(self.server) != Mood::Refuses
    }
    fn probe(&mut self, _: Instant) -> Result<(), Ailment> {
        Ok(())
    }
}

fn fleet_of(count: usize, connections: usize) -> (Pool, Arc<World>) {
    let world = Arc::new(World::default());
    let plan = PoolPlan {
        name: "fake",
        connections,
        batch_max: 8,
        pipeline_max: 1,
        queue_max: 64,
        connect_timeout: LONG,
    };
    let servers = Servers {
        world: Arc::clone(&world),
        count: AtomicUsize::new(count),
    };
    (Pool::start(plan, Box::new(servers)).unwrap(), world)
}

fn live(pool: &Pool) -> Vec<usize> {
    let report = pool.shared.fleet.lock().report(Instant::now());
    report.iter().map(|server| server.live).collect()
}

/// Waits for a state of the pool's own making; no test waits longer than its patience.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up, "never: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_job_at_a_bad_server_is_done_by_another_within_its_deadline() {
    for bad in [Mood::Hangs, Mood::Breaks] {
        let (pool, world) = fleet_of(2, 2);
        until("both connected", || live(&pool) == [1, 1]);
        world.set(0, bad);
        for n in 0..20 {
            let patience = Duration::from_millis(1500);
            assert_eq!(outcome(&ask(&pool, "a", patience)), Ok(()), "{bad:?} {n}");
        }
        until("nobody stays", || live(&pool) == [0, 2]);
        assert_eq!(world.answered(0) + world.answered(1), 20, "{bad:?}");
    }
}

#[test]
fn a_server_that_returns_gets_its_connections_back() {
    let (pool, world) = fleet_of(2, 4);
    until("spread", || live(&pool) == [2, 2]);
    world.set(0, Mood::Refuses);
    until("moved", || {
        drop(ask(&pool, "a", LONG));
        live(&pool) == [0, 4]
    });
    world.set(0, Mood::Answers);
    until("back", || live(&pool) == [2, 2]);
    assert_eq!(outcome(&ask(&pool, "b", LONG)), Ok(()));
}

#[test]
fn jobs_wait_while_one_server_has_not_been_tried_and_fail_when_all_refuse() {
    let (pool, world) = fleet_of(2, 1);
    until("connected", || live(&pool) == [1, 0]);
    world.set(0, Mood::Refuses);
    assert_eq!(outcome(&ask(&pool, "a", LONG)), Ok(()), "by the other");
    world.set(1, Mood::Refuses);
    let last = outcome(&ask(&pool, "b", LONG));
    assert!(
        matches!(last, Err(HsmError::Unavailable(_))),
        "all are down: {last:?}"
    );
    world.set(1, Mood::Answers);
    until("recovery", || outcome(&ask(&pool, "c", LONG)).is_ok());
}

#[test]
fn a_server_that_takes_one_item_a_message_gets_no_more_again() {
    let (pool, world) = fleet_of(1, 1);
    until("connected", || live(&pool) == [1]);
    world.set(0, Mood::TakesOne);
    let learnt = || pool.shared.fleet.lock().report(Instant::now())[0].batch_max == 1;
    until("several jobs in one message", || {
        let waiting: Vec<Results> = (0..8).map(|_| ask(&pool, "a", LONG)).collect();
        for results in &waiting {
            assert_eq!(outcome(results), Ok(()));
        }
        learnt()
    });
    world.answered.lock().clear();
    let waiting: Vec<Results> = (0..20).map(|_| ask(&pool, "a", LONG)).collect();
    for results in &waiting {
        assert_eq!(outcome(results), Ok(()));
    }
    assert_eq!(world.answered.lock().get(&0), Some(&(20, 1)));
}

/// To the servers at these indices; the fake ones look at nothing else.
fn way(servers: &[usize]) -> Way {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let roots = rustls::RootCertStore::empty();
    let address = |server: &usize| crate::hsm::kmip::Address {
        host: format!("hsm{server}"),
        port: u16::try_from(*server).unwrap(),
        server_name: "localhost".try_into().unwrap(),
    };
    Way {
        addresses: servers.iter().map(address).collect(),
        tls: Arc::new(builder.with_root_certificates(roots).with_no_client_auth()),
    }
}

#[test]
fn connections_are_made_anew_when_the_way_to_connect_changes() {
    let (pool, world) = fleet_of(1, 3);
    let opened = || world.opened.load(Ordering::Relaxed);
    until("all stand", || live(&pool) == [3]);
    Hsm::renew(&pool, way(&[0]));
    until("each is made anew", || opened() == 6 && live(&pool) == [3]);
    assert_eq!(outcome(&ask(&pool, "a", LONG)), Ok(()));
    pool.shutdown();
    assert_eq!(opened(), 6, "each once");
}

#[test]
fn a_way_to_connect_that_does_not_work_costs_nobody_the_old_connection() {
    let (pool, world) = fleet_of(1, 3);
    until("all stand", || live(&pool) == [3]);
    world.set(0, Mood::RefusesNew);
    Hsm::renew(&pool, way(&[0]));
    until("each has tried", || {
        world.refused.load(Ordering::Relaxed) == 3
    });
    assert_eq!(live(&pool), [3]);
    for _ in 0..10 {
        assert_eq!(outcome(&ask(&pool, "a", LONG)), Ok(()));
    }
}

#[test]
fn servers_are_added_and_left_while_jobs_are_done() {
    let (pool, world) = fleet_of(1, 4);
    until("all stand", || live(&pool) == [4]);
    for (name, servers, want) in [
        ("one more", &[0, 1][..], &[2, 2][..]),
        ("another instead of the first", &[2, 1], &[2, 2]),
        ("a single new one", &[3], &[4]),
        ("one that was left before", &[0], &[4]),
    ] {
        Hsm::renew(&pool, way(servers));
        until(name, || {
            assert_eq!(outcome(&ask(&pool, "a", LONG)), Ok(()), "{name}");
            live(&pool) == want
        });
        let labels: Vec<String> = Hsm::servers(&pool)
            .iter()
            .map(|server| server.label.to_string())
            .collect();
        let wanted: Vec<String> = servers.iter().map(|at| format!("hsm{at}")).collect();
        assert_eq!(labels, wanted, "{name}");
    }
    assert!(world.answered(0) > 0 && world.answered(3) > 0);
}

#[test]
fn a_new_server_that_does_not_answer_costs_nobody_the_old_one() {
    let (pool, world) = fleet_of(1, 2);
    until("all stand", || live(&pool) == [2]);
    world.set(1, Mood::Refuses);
    Hsm::renew(&pool, way(&[1]));
    let refused = || world.refused.load(Ordering::Relaxed);
    until("it was tried, for some time", || refused() > 4);
    for _ in 0..10 {
        assert_eq!(outcome(&ask(&pool, "a", LONG)), Ok(()));
    }
    assert_eq!(live(&pool), [0, 2], "the new one first");
    let opened = world.opened.load(Ordering::Relaxed);
    assert_eq!(opened, 2, "none anew to one that is not configured");
    world.set(1, Mood::Answers);
    until("it is taken once it answers", || live(&pool) == [2]);
}
