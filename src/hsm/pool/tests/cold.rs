//! A cold start: everybody misses at once. The HSM gets no more at a time than its connections carry, and
//! clients come to it in turn. And what nobody waits for stands behind all of them.

use super::super::super::{ClientTag, Errand};
use super::*;

const CLIENTS: u32 = 10;
const EACH: usize = 8;
const BATCH_MAX: usize = 4;

/// Every message waits at the gate.
fn gated(connections: usize) -> (Pool, Receiver<Vec<String>>, Sender<()>) {
    let (gate, at_gate, open) = gate();
    let plan = PoolPlan {
        name: "fake",
        connections,
        batch_max: BATCH_MAX,
        pipeline_max: 1,
        queue_max: 256,
        connect_timeout: LONG,
    };
    let connector = FakeConnector {
        attempts: AtomicUsize::new(0),
        connect: Box::new(move |_| {
            let gate = Arc::clone(&gate);
            Ok(session(move |jobs| {
                gate.pass(&jobs);
                answer(jobs)
            }))
        }),
    };
    let pool = Pool::start(plan, Box::new(connector)).unwrap();
    (pool, at_gate, open)
}

/// Each client asks for all it has before the next one comes.
fn stampede(hsm: &Pool) -> Vec<Results> {
    let jobs = (1..=CLIENTS).flat_map(|client| (0..EACH).map(move |_| client));
    jobs.map(|client| {
        let (mut job, results) = job(&client.to_string(), LONG);
        job.client = ClientTag(client);
        hsm.submit(job);
        results
    })
    .collect()
}

#[test]
fn no_more_is_at_the_hsm_than_its_connections_carry() {
    let (hsm, at_gate, open) = gated(3);
    let waiting = stampede(&hsm);
    let mut at_hsm: Vec<_> = (0..3)
        .map(|_| at_gate.recv_timeout(PATIENCE).unwrap())
        .collect();
    let mut answered = 0;
    while answered < waiting.len() {
        assert!(at_gate.try_recv().is_err(), "a fourth message");
        assert!(at_hsm.iter().all(|batch| batch.len() <= BATCH_MAX));
        answered += at_hsm.iter().map(Vec::len).sum::<usize>();
        for _ in 0..at_hsm.len() {
            open.send(()).unwrap();
        }
        at_hsm.clear();
        while at_hsm.len() < 3
            && answered + at_hsm.iter().map(Vec::len).sum::<usize>() < waiting.len()
        {
            at_hsm.push(at_gate.recv_timeout(PATIENCE).unwrap());
        }
    }
    for results in &waiting {
        assert_eq!(outcome(results), Ok(()));
    }
}

#[test]
fn clients_come_in_turn_whoever_asked_first() {
    let (hsm, at_gate, open) = gated(1);
    let first = ask(&hsm, "first", LONG);
    assert_eq!(at_gate.recv_timeout(PATIENCE).unwrap(), ["first"]);
    let waiting = stampede(&hsm);
    open.send(()).unwrap();
    let mut order = Vec::new();
    while order.len() < waiting.len() {
        order.extend(at_gate.recv_timeout(PATIENCE).unwrap());
        open.send(()).unwrap();
    }
    let in_turn: Vec<_> = (1..=CLIENTS).map(|client| client.to_string()).collect();
    for round in order.chunks(in_turn.len()) {
        assert_eq!(round, in_turn);
    }
    for results in waiting.iter().chain([&first]) {
        assert_eq!(outcome(results), Ok(()));
    }
}

#[test]
fn what_nobody_waits_for_goes_last_gives_way_and_can_be_raised() {
    let (hsm, at_gate, open) = gated(1);
    let next = || at_gate.recv_timeout(PATIENCE).unwrap();
    let first = ask(&hsm, "first", LONG);
    assert_eq!(next(), ["first"]);
    let spare = |n: u128| {
        let (job, results) = job(&format!("spare {n}"), LONG);
        hsm.submit_spare(Errand(n), job);
        results
    };
    let (low, raised) = (spare(1), spare(2));
    let miss = ask(&hsm, "miss", LONG);
    hsm.raise(Errand(2), ClientTag(7), Instant::now() + LONG);
    for want in [&["miss", "spare 2"][..], &["spare 1"]] {
        open.send(()).unwrap();
        assert_eq!(next(), want);
    }
    let many: Vec<_> = (0..=BATCH_MAX)
        .map(|n| ask(&hsm, &n.to_string(), LONG))
        .collect();
    assert_eq!(outcome(&spare(3)), Err(HsmError::GaveWay), "too busy");
    for _ in 0..3 {
        open.send(()).unwrap();
    }
    for results in many.iter().chain([&first, &low, &raised, &miss]) {
        assert_eq!(outcome(results), Ok(()));
    }
}
