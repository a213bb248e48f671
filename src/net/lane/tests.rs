//! What a lane promises, whoever pushes.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;

const NO_WAIT: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_mins(1);

#[test]
fn drains_in_order_and_at_most_max() {
    let lane = Lane::new(8);
    let deadline = Instant::now() + LONG;
    for n in 0..5 {
        assert_eq!(lane.push(NOBODY, n, deadline), Ok(()));
    }
    assert_eq!(lane.drain(3, NO_WAIT).ready, [0, 1, 2]);
    assert_eq!(lane.drain(3, NO_WAIT).ready, [3, 4]);
    assert!(lane.drain(3, NO_WAIT).ready.is_empty());
}

#[test]
fn refuses_when_full_and_when_closed() {
    let lane = Lane::new(1);
    let deadline = Instant::now() + LONG;
    assert_eq!(lane.push(NOBODY, 'a', deadline), Ok(()));
    assert_eq!(lane.push(NOBODY, 'b', deadline), Err(Refused::Full('b')));
    assert_eq!(lane.close(), ['a']);
    assert_eq!(lane.push(NOBODY, 'c', deadline), Err(Refused::Closed('c')));
    assert_eq!(lane.put_back(vec![('d', deadline)]), Err(vec!['d']));
    assert!(lane.drain(1, LONG).closed);
}

#[test]
fn the_expired_are_split_off_and_do_not_count() {
    let lane = Lane::new(8);
    let now = Instant::now();
    for (item, deadline) in [('x', now), ('a', now + LONG), ('y', now), ('b', now + LONG)] {
        assert_eq!(lane.push(NOBODY, item, deadline), Ok(()));
    }
    let drained = lane.drain(2, NO_WAIT);
    assert_eq!(
        (drained.ready, drained.expired),
        (vec!['a', 'b'], vec!['x', 'y'])
    );
}

#[test]
fn expire_takes_only_what_is_due() {
    let lane = Lane::new(8);
    let now = Instant::now();
    for (item, ahead) in [('a', 5), ('b', 1), ('c', 2)] {
        assert_eq!(
            lane.push(NOBODY, item, now + Duration::from_secs(ahead)),
            Ok(())
        );
    }
    assert_eq!(lane.expire(now + Duration::from_secs(2)), ['b', 'c']);
    assert_eq!(lane.len(), 1);
}

#[test]
fn a_mark_splits_old_from_new_and_put_back_counts_as_old() {
    let lane = Lane::new(8);
    let deadline = Instant::now() + LONG;
    assert_eq!(lane.push(NOBODY, 'a', deadline), Ok(()));
    let mark = lane.mark();
    assert_eq!(lane.push(NOBODY, 'b', deadline), Ok(()));
    assert_eq!(
        lane.put_back(vec![('r', deadline), ('s', deadline)]),
        Ok(())
    );
    assert_eq!(lane.take_before(mark), ['r', 's', 'a']);
    assert_eq!(lane.drain(8, NO_WAIT).ready, ['b']);
}

#[test]
fn every_item_reaches_exactly_one_of_many_threads() {
    let lane = Arc::new(Lane::new(10_000));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let lane = Arc::clone(&lane);
            std::thread::spawn(move || {
                let mut seen = Vec::new();
                loop {
                    let drained = lane.drain(7, LONG);
                    if drained.closed {
                        return seen;
                    }
                    seen.extend(drained.ready);
                }
            })
        })
        .collect();
    let deadline = Instant::now() + LONG;
    for n in 0..5_000_u32 {
        assert_eq!(lane.push(NOBODY, n, deadline), Ok(()));
    }
    while !lane.is_empty() {
        std::thread::yield_now();
    }
    assert!(lane.close().is_empty());
    let mut all: Vec<u32> = threads
        .into_iter()
        .flat_map(|t| t.join().unwrap_or_default())
        .collect();
    all.sort_unstable();
    assert_eq!(all, (0..5_000).collect::<Vec<_>>());
}

#[test]
fn one_clients_thousand_items_delay_anothers_by_one() {
    let lane = Lane::new(4096);
    let deadline = Instant::now() + LONG;
    for n in 0..1000 {
        assert_eq!(lane.push(1, ('a', n), deadline), Ok(()));
    }
    assert_eq!(lane.push(2, ('b', 0), deadline), Ok(()));
    let next = lane.drain(32, NO_WAIT).ready;
    assert_eq!(next[..3], [('a', 0), ('b', 0), ('a', 1)]);
    let rest = lane.drain(4096, NO_WAIT).ready;
    assert!(rest.iter().map(|(_, n)| *n).eq(31..1000), "in their order");
}

#[test]
fn a_client_may_have_half_of_the_queue() {
    let lane = Lane::new(8);
    let deadline = Instant::now() + LONG;
    for n in 0..4 {
        assert_eq!(lane.push(7, n, deadline), Ok(()));
    }
    assert_eq!(lane.push(7, 4, deadline), Err(Refused::Full(4)));
    for n in 10..14 {
        assert_eq!(lane.push(8, n, deadline), Ok(()), "another's");
    }
    assert_eq!(lane.push(9, 0, deadline), Err(Refused::Full(0)), "in all");
    assert_eq!(lane.drain(3, NO_WAIT).ready, [0, 10, 1]);
    assert_eq!(lane.push(7, 4, deadline), Ok(()));
}

#[test]
fn turns_keep_the_order_of_age_where_it_is_promised() {
    let lane = Lane::new(16);
    let now = Instant::now();
    for (client, item, ahead) in [
        (1, 'a', 5),
        (2, 'b', 1),
        (1, 'c', 1),
        (2, 'd', 5),
        (3, 'e', 1),
    ] {
        let deadline = now + Duration::from_secs(ahead);
        assert_eq!(lane.push(client, item, deadline), Ok(()));
    }
    assert_eq!(lane.put_back(vec![('r', now + LONG)]), Ok(()));
    assert_eq!(lane.expire(now + Duration::from_secs(1)), ['b', 'c', 'e']);
    let mark = lane.mark();
    assert_eq!(lane.push(2, 'f', now + LONG), Ok(()));
    assert_eq!(lane.take_before(mark), ['r', 'a', 'd']);
    assert_eq!(lane.push(1, 'g', now + LONG), Ok(()));
    assert_eq!(lane.close(), ['f', 'g']);
}

const SPARE: SparePlan = SparePlan {
    waiting_max: 4,
    busy: 2,
    idle_threads: 0,
};

#[test]
fn spare_items_go_behind_all_others_and_alone() {
    let lane = Lane::with_spare(8, SPARE);
    let deadline = Instant::now() + LONG;
    assert_eq!(lane.push_spare(1, 's', deadline), Ok(()));
    assert_eq!(lane.push_spare(2, 't', deadline), Ok(()));
    assert_eq!(lane.push(7, 'a', deadline), Ok(()));
    assert_eq!((lane.len(), lane.spare_len()), (1, 2));
    assert_eq!(lane.drain(8, NO_WAIT).ready, ['a'], "not in one message");
    assert_eq!(lane.drain(8, NO_WAIT).ready, ['s'], "one at a time");
    assert_eq!(lane.drain(8, NO_WAIT).ready, ['t']);
    assert!(lane.drain(8, NO_WAIT).ready.is_empty());
}

#[test]
fn the_last_idle_thread_takes_no_spare_items() {
    let plan = SparePlan {
        idle_threads: 1,
        ..SPARE
    };
    let lane = Arc::new(Lane::with_spare(8, plan));
    let deadline = Instant::now() + LONG;
    for tag in 0..3 {
        assert_eq!(lane.push_spare(tag, tag, deadline), Ok(()));
    }
    assert!(lane.drain(8, NO_WAIT).ready.is_empty(), "it is the last");
    let sleeper = Arc::clone(&lane);
    let thread = std::thread::spawn(move || sleeper.drain(8, LONG).ready);
    // Once one of them sleeps, what waits is the other's: in one message.
    let mut taken = Vec::new();
    while lane.spare_len() > 0 {
        taken = lane.drain(8, Duration::from_millis(1)).ready;
        std::thread::yield_now();
    }
    assert!(lane.close().is_empty());
    let others = thread.join().unwrap();
    assert!(others.is_empty() || taken.is_empty());
    assert_eq!([taken, others].concat(), [0, 1, 2]);
}

#[test]
fn spare_items_give_way_when_others_wait() {
    let lane = Lane::with_spare(8, SPARE);
    let deadline = Instant::now() + LONG;
    assert_eq!(lane.push_spare(1, 's', deadline), Ok(()));
    for n in ['a', 'b', 'c'] {
        assert_eq!(lane.push(7, n, deadline), Ok(()));
    }
    assert_eq!(
        lane.push_spare(2, 't', deadline),
        Err(Refused::Full('t')),
        "too busy"
    );
    let drained = lane.drain(1, NO_WAIT);
    assert_eq!((drained.ready, drained.given_up), (vec!['a'], vec!['s']));
    assert_eq!(lane.drain(8, NO_WAIT).ready, ['b', 'c']);
    for tag in 0..4 {
        assert_eq!(lane.push_spare(tag, 's', deadline), Ok(()));
    }
    assert_eq!(lane.push_spare(9, 't', deadline), Err(Refused::Full('t')));
    assert_eq!(lane.close(), ['s'; 4]);
    assert_eq!(lane.push_spare(9, 't', deadline), Err(Refused::Closed('t')));
    assert_eq!(
        Lane::new(8).push_spare(1, 's', deadline),
        Err(Refused::Full('s'))
    );
}

#[test]
fn a_raised_item_takes_its_clients_turn_and_deadline() {
    let lane = Lane::with_spare(4, SPARE);
    let now = Instant::now();
    assert_eq!(lane.push_spare(1, 's', now), Ok(()));
    assert_eq!(lane.push_spare(2, 't', now), Ok(()));
    assert_eq!(lane.push(7, 'a', now + LONG), Ok(()));
    assert!(lane.raise(2, 8, now + LONG));
    assert!(!lane.raise(2, 8, now + LONG), "it waits no more");
    assert_eq!(lane.drain(8, NO_WAIT).ready, ['a', 't']);
    assert_eq!(lane.expire(now), ['s'], "the other kept its deadline");
    assert_eq!(lane.push_spare(3, 'u', now), Ok(()));
    for n in ['b', 'c'] {
        assert_eq!(lane.push(7, n, now + LONG), Ok(()));
    }
    assert!(!lane.raise(3, 7, now + LONG), "no room for this client");
    assert_eq!(lane.spare_len(), 1, "it stays what it was");
}

#[test]
fn an_expired_item_is_no_turn() {
    let lane = Lane::new(8);
    let now = Instant::now();
    for (client, item, deadline) in [(1, 'x', now), (1, 'a', now + LONG), (2, 'b', now + LONG)] {
        assert_eq!(lane.push(client, item, deadline), Ok(()));
    }
    let drained = lane.drain(1, NO_WAIT);
    assert_eq!((drained.ready, drained.expired), (vec!['a'], vec!['x']));
    assert_eq!(lane.drain(8, NO_WAIT).ready, ['b']);
}
