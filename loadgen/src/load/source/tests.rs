#![allow(clippy::unwrap_used)]
use super::*;
use crate::load::mix::Operation;
use crate::load::schedule::{Arrivals, Profile};

fn supply(mix: &str) -> Supply {
    let keys = Keys::new(&["uniform".parse().unwrap()], 100, 0, 1).unwrap();
    Supply::new(keys, mix.parse().unwrap(), 2)
}

fn even(rate: f64, duration_s: f64) -> Schedule {
    Schedule::new(
        Profile::Constant { rate },
        Arrivals::Even,
        (0.0, duration_s),
        1,
    )
    .unwrap()
}

fn recorded(times_ms: &[u64]) -> Recorded {
    let entry = |(at, ms): (usize, &u64)| Entry {
        at_ns: ms * 1_000_000,
        first: u32::try_from(2 * at).unwrap(),
        count: 2,
        kind: 0,
        device: u32::try_from(at).unwrap() + 1,
    };
    Recorded {
        entries: times_ms.iter().enumerate().map(entry).collect(),
        keys: (0..2 * u32::try_from(times_ms.len()).unwrap()).collect(),
        kinds: vec![Kind {
            operation: Operation::Rewrap,
            items: 2,
        }],
        devices: u32::try_from(times_ms.len()).unwrap(),
    }
}

#[test]
fn sources_side_by_side_keep_their_times() {
    let mut feed = Feed::default();
    feed.add_scheduled(supply("decrypt"), even(100.0, 1.0), 0)
        .unwrap();
    feed.add_scheduled(supply("encrypt/3"), even(10.0, 1.0), 500_000_000)
        .unwrap();
    feed.add_recorded(recorded(&[5, 5, 700]), 1_000_000_000)
        .unwrap();
    feed.add_recorded(recorded(&[0]), 2_000_000_000).unwrap();
    assert_eq!((feed.kinds().len(), feed.devices()), (3, 4));
    let mut shots = Vec::new();
    while let Some(ns) = feed.peek_ns() {
        let shot = feed.next_shot().unwrap();
        assert_eq!(shot.at_ns, ns);
        let keys = feed.items(&shot.items).to_vec();
        let kind = feed.kinds()[usize::from(shot.kind)];
        assert_eq!(keys.len(), usize::from(kind.items));
        feed.release(shot.items);
        shots.push((shot.at_ns, kind.operation, shot.device, keys));
    }
    assert!(feed.next_shot().is_none());
    assert!(shots.is_sorted_by_key(|shot| shot.0));
    let of = |operation| {
        shots
            .iter()
            .filter(|shot| shot.1 == operation)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(Operation::Decrypt).len(), 100);
    let encrypts = of(Operation::Encrypt);
    assert_eq!(
        (encrypts.len(), encrypts[0].0, encrypts[0].2),
        (10, 500_000_000, ANYBODY)
    );
    let rewraps = of(Operation::Rewrap);
    let want = [
        (1_005_000_000, 1, vec![0, 1]),
        (1_005_000_000, 2, vec![2, 3]),
        (1_700_000_000, 3, vec![4, 5]),
        (2_000_000_000, 4, vec![0, 1]),
    ];
    let got: Vec<_> = rewraps
        .iter()
        .map(|shot| (shot.0, shot.2, shot.3.clone()))
        .collect();
    assert_eq!(got, want);
}

#[test]
fn lists_of_batches_are_used_again() {
    let mut feed = Feed::unpaced(supply("decrypt/10"));
    for _ in 0..1000 {
        let shots = [feed.now(1).unwrap(), feed.now(2).unwrap()];
        assert_eq!(feed.items(&shots[1].items).len(), 10);
        for shot in shots {
            feed.release(shot.items);
        }
    }
    assert_eq!(feed.lists.lists.len(), 2);
    assert!(feed.peek_ns().is_none(), "nothing is planned");
}

#[test]
fn equal_seeds_give_equal_requests() {
    let some = || {
        let mut feed = Feed::unpaced(supply("decrypt=3,encrypt=1,rewrap/2=1"));
        let shots: Vec<Shot> = (0..100).map(|at| feed.now(at).unwrap()).collect();
        shots
            .iter()
            .map(|shot| (shot.kind, feed.items(&shot.items).to_vec()))
            .collect::<Vec<_>>()
    };
    assert_eq!(some(), some());
}
