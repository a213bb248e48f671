//! Clients take turns, keep to their share of the queue, and are told when their job was sent.

use super::super::super::{ClientTag, SentStamp};
use super::*;

fn of_client(client: u32, name: &str) -> (Job, Results) {
    let (mut job, results) = job(name, LONG);
    job.client = ClientTag(client);
    (job, results)
}

#[test]
fn a_greedy_client_neither_fills_the_queue_nor_the_next_batch() {
    let (gate, at_gate, open) = gate();
    let hsm = pool(1, 3, move |_| {
        let gate = Arc::clone(&gate);
        Ok(session(move |jobs| {
            gate.pass(&jobs);
            answer(jobs)
        }))
    });
    let batch = || at_gate.recv_timeout(PATIENCE).unwrap();
    let first = ask(&hsm, "first", LONG);
    assert_eq!(batch(), ["first"]);
    let mut waiting = Vec::new();
    for name in ["a1", "a2", "a3", "a4", "a5"] {
        let (job, results) = of_client(1, name);
        hsm.submit(job);
        waiting.push(results);
    }
    let full = waiting.pop().unwrap();
    assert_eq!(
        outcome(&full),
        Err(HsmError::Overloaded),
        "half of the queue"
    );
    let (mut other, results) = of_client(2, "b1");
    let sent = Arc::new(SentStamp::new());
    other.sent = Some(Arc::clone(&sent));
    hsm.submit(other);
    waiting.extend([first, results]);
    assert_eq!(sent.get(), None, "it waits");
    let (before, _) = (Instant::now(), open.send(()));
    assert_eq!(batch(), ["a1", "b1", "a2"]);
    assert!(
        sent.get().is_some_and(|sent| *sent >= before),
        "told when it was sent"
    );
    open.send(()).unwrap();
    assert_eq!(batch(), ["a3", "a4"]);
    open.send(()).unwrap();
    for results in &waiting {
        assert_eq!(outcome(results), Ok(()));
    }
}
