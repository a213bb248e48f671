#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation
)]
use std::collections::BTreeMap;
use std::sync::mpsc;

use proptest::prelude::*;

use super::*;

type Table = Arc<Flights<u8, u32, i32>>;
const ABANDONED: i32 = -1;

fn table(flights_max: usize, waiters_max: usize) -> (Table, mpsc::Receiver<(u32, i32)>) {
    let (sender, receiver) = mpsc::channel();
    let sender = Mutex::new(sender);
    let deliver = move |waiter, result| sender.lock().send((waiter, result)).unwrap_or(());
    (
        Flights::new(flights_max, waiters_max, ABANDONED, deliver),
        receiver,
    )
}

fn none() -> Option<()> {
    None
}

fn lead(joined: Result<Joined<u8, u32, i32>, ()>) -> Lead<u8, u32, i32> {
    match joined {
        Ok(Joined::Lead(lead)) => lead,
        _ => panic!("not a lead"),
    }
}

#[test]
fn every_exit_of_a_lead_delivers_once() {
    type Exit = fn(Lead<u8, u32, i32>);
    let exits: [(&str, Exit, i32); 3] = [
        ("finish", |lead| lead.finish(7), 7),
        ("drop", drop, ABANDONED),
        (
            "panic",
            |lead| {
                let held = AssertUnwindSafe(move || {
                    let _lead = lead;
                    resume_unwind(Box::new(()));
                });
                assert!(catch_unwind(held).is_err());
            },
            ABANDONED,
        ),
    ];
    for (name, exit, want) in exits {
        let (table, delivered) = table(4, 8);
        let first = lead(table.join(1, 10, none));
        assert!(
            matches!(table.join(1, 11, none), Ok(Joined::Waiting)),
            "{name}"
        );
        assert_eq!((table.len(), table.waiters()), (1, 2), "{name}");
        exit(first);
        assert_eq!(
            delivered.try_iter().collect::<Vec<_>>(),
            [(10, want), (11, want)],
            "{name}"
        );
        assert_eq!((table.len(), table.waiters()), (0, 0), "{name}");
        lead(table.join(1, 12, none)).finish(8);
        assert_eq!(
            delivered.try_iter().collect::<Vec<_>>(),
            [(12, 8)],
            "{name}: a new flight"
        );
    }
}

#[test]
fn recheck_is_asked_only_before_a_new_flight() {
    let (table, delivered) = table(0, 0);
    assert!(
        matches!(table.join(1, 10, || Some("ready")), Err("ready")),
        "even when full"
    );
    assert_eq!(
        (table.len(), table.waiters(), delivered.try_iter().count()),
        (0, 0, 0)
    );
    let (table, _delivered) = self::table(4, 4);
    let _lead = lead(table.join(1, 10, none));
    let joined = table.join(1, 11, || -> Option<()> {
        panic!("asked although a flight is there")
    });
    assert!(matches!(joined, Ok(Joined::Waiting)));
}

#[test]
fn bounds_give_the_waiter_back() {
    for (name, flights_max, waiters_max, key) in [
        ("flights", 1, 9, 2),
        ("waiters, new flight", 9, 1, 2),
        ("waiters, same flight", 9, 1, 1),
    ] {
        let (table, _delivered) = table(flights_max, waiters_max);
        let first = lead(table.join(1, 10, none));
        assert!(
            matches!(table.join(key, 11, none), Ok(Joined::Full(11))),
            "{name}"
        );
        first.finish(1);
        lead(table.join(key, 12, none)).finish(1);
        assert!(table.is_empty() && table.waiters() == 0, "{name}");
    }
}

#[test]
fn a_delivery_may_join_again_and_may_panic() {
    let (sender, receiver) = mpsc::channel();
    let sender = Mutex::new(sender);
    let again: Arc<Mutex<Option<Table>>> = Arc::default();
    let inner = Arc::clone(&again);
    let table: Table = Flights::new(4, 4, ABANDONED, move |waiter, result| {
        sender.lock().send((waiter, result)).unwrap();
        let table = inner.lock().clone();
        if let (1, Some(table)) = (waiter, table) {
            lead(table.join(1, 100, none)).finish(5);
        }
        assert!(waiter != 2, "a bug in the delivery");
    });
    *again.lock() = Some(Arc::clone(&table));
    let first = lead(table.join(1, 1, none));
    for waiter in [2, 3] {
        assert!(matches!(table.join(1, waiter, none), Ok(Joined::Waiting)));
    }
    assert!(catch_unwind(AssertUnwindSafe(|| first.finish(4))).is_err());
    assert_eq!(
        receiver.try_iter().collect::<Vec<_>>(),
        [(1, 4), (100, 5), (2, 4), (3, 4)]
    );
    assert_eq!((table.len(), table.waiters()), (0, 0));
    *again.lock() = None;
}

#[test]
fn threads_complete_every_waiter_exactly_once() {
    const THREADS: u32 = 4;
    const JOINS: u32 = 5_000;
    let (table, delivered) = table(3, 6);
    let refused: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let table = &table;
                scope.spawn(move || {
                    let mut refused = 0;
                    for n in 0..JOINS {
                        match table.join((n % 4) as u8, thread * JOINS + n, none) {
                            Ok(Joined::Lead(lead)) if n % 3 == 0 => drop(lead),
                            Ok(Joined::Lead(lead)) => {
                                std::thread::yield_now();
                                lead.finish(1);
                            }
                            Ok(Joined::Waiting | Joined::WaitingFirst) => {}
                            Ok(Joined::Full(_)) | Err(()) => refused += 1,
                        }
                        assert!(table.len() <= 3 && table.waiters() <= 6);
                    }
                    refused
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    let mut told: Vec<u32> = delivered.try_iter().map(|(waiter, _)| waiter).collect();
    let count = told.len();
    told.sort_unstable();
    told.dedup();
    assert_eq!(
        (told.len(), told.len() as u32 + refused),
        (count, THREADS * JOINS)
    );
    assert_eq!((table.len(), table.waiters()), (0, 0));
}

#[test]
fn a_flight_for_nobody_is_joined_and_tells_who_came_first() {
    let (table, delivered) = table(1, 5);
    let lead = table.begin(1).unwrap();
    assert!(table.begin(1).is_none(), "it flies");
    assert!(table.begin(2).is_none(), "no room");
    assert!(!table.is_awaited(&1));
    assert!(matches!(table.join(1, 10, none), Ok(Joined::WaitingFirst)));
    assert!(matches!(table.join(1, 11, none), Ok(Joined::Waiting)));
    assert!(table.is_awaited(&1));
    lead.finish(9);
    assert_eq!(delivered.try_iter().collect::<Vec<_>>(), [(10, 9), (11, 9)]);
    assert_eq!((table.len(), table.waiters()), (0, 0));
    assert!(!table.is_awaited(&1));
}

proptest! {
    /// Any sequence of joins and ends does what a plain map of lists would do.
    #[test]
    fn sequences_agree_with_a_model(steps in prop::collection::vec((0u8..4, 0u8..4), 0..60)) {
        let (flights_max, waiters_max) = (3, 5);
        let (table, delivered) = table(flights_max, waiters_max);
        let mut leads = BTreeMap::new();
        let mut model: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
        for (waiter, (key, action)) in (0u32..).zip(steps) {
            let waiting: usize = model.values().map(Vec::len).sum();
            if action < 2 {
                let joined = table.join(key, waiter, none).map_err(|()| TestCaseError::fail("hit"))?;
                let has_room = waiting < waiters_max;
                match (model.contains_key(&key), joined) {
                    (true, Joined::Waiting) if has_room => {}
                    (false, Joined::Lead(lead)) if has_room && model.len() < flights_max => {
                        leads.insert(key, lead);
                    }
                    (is_there, Joined::Full(back)) => {
                        prop_assert_eq!(back, waiter);
                        prop_assert!(!has_room || (!is_there && model.len() == flights_max));
                        continue;
                    }
                    _ => prop_assert!(false, "not what the model says"),
                }
                model.entry(key).or_default().push(waiter);
            } else if let Some(lead) = leads.remove(&key) {
                let result = if action == 2 { lead.finish(9); 9 } else { drop(lead); ABANDONED };
                let want: Vec<_> = model.remove(&key).unwrap().into_iter().map(|w| (w, result)).collect();
                prop_assert_eq!(delivered.try_iter().collect::<Vec<_>>(), want);
            }
            prop_assert_eq!(table.len(), model.len());
        }
    }
}
