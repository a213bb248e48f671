#![allow(clippy::unwrap_used)]
use std::sync::mpsc::{channel, sync_channel};

use super::*;
use crate::load::mix::Mix;

fn tally(is_closed: bool, ticks: Option<Ticks>) -> Tally {
    let mix: Mix = "decrypt,encrypt/32".parse().unwrap();
    let kinds: Vec<Kind> = mix.kinds().collect();
    Tally::new(&kinds, is_closed, ticks)
}

#[test]
fn each_end_is_counted_once_and_the_warm_up_not_at_all() {
    let mut tally = tally(false, None);
    for _ in 0..2 {
        tally.handshake(false, 5_000_000);
        tally.planned();
        tally.sent(1000, Begun::OnSchedule);
        tally.status(200);
        tally.right(0, 2_000_000, 1_000_000);
        tally.begin(100, false);
    }
    tally.handshake(true, 2_000_000);
    (0..3).for_each(|_| tally.planned());
    tally.sent(7000, Begun::OnSchedule);
    tally.sent(7000, Begun::Soon);
    tally.sent(9000, Begun::Late);
    tally.status(200);
    tally.right(0, 2_000_000, 1_000_000);
    tally.status(503);
    tally.failed(1, ErrorKind::Unavailable, 3_000_000);
    tally.failed(0, ErrorKind::Timeout, 9_000_000_000);
    let totals = tally.totals();
    assert_eq!(
        (totals.planned, totals.sent, totals.ended(), totals.right),
        (3, 3, 3, 1)
    );
    assert_eq!((totals.handshakes_full, totals.handshakes_resumed), (2, 1));
    assert_eq!((tally.begun_on_schedule(), tally.begun_in_time()), (1, 2));
    assert_eq!(tally.answers(), 2);
    let latencies = tally.into_latencies();
    assert_eq!(
        (latencies.lag.count(), latencies.handshake_full.count()),
        (3, 2)
    );
    let names: Vec<_> = latencies.operations.keys().map(Operation::as_str).collect();
    assert_eq!(names, ["decrypt", "encrypt-batch32"]);
    let decrypt = &latencies.operations[&Operation::new("decrypt").unwrap()];
    assert_eq!(
        (
            decrypt.response.count(),
            decrypt.service.count(),
            decrypt.failed.count()
        ),
        (1, 1, 1)
    );
}

#[test]
fn a_closed_loop_intends_nothing() {
    let mut tally = tally(true, None);
    tally.sent(5000, Begun::OnSchedule);
    tally.right(0, 2_000_000, 1_000_000);
    let latencies = tally.into_latencies();
    let decrypt = &latencies.operations[&Operation::new("decrypt").unwrap()];
    assert_eq!(
        (
            decrypt.response.count(),
            decrypt.service.count(),
            latencies.lag.count()
        ),
        (0, 1, 0)
    );
}

#[test]
fn seconds_are_handed_over_and_their_memory_comes_back() {
    let ((out, seconds), (again, back)) = (sync_channel(2), channel());
    let mut tally = tally(false, Some(Ticks { out, back }));
    tally.begin(7, true);
    assert!(seconds.try_recv().unwrap().is_begin);
    tally.planned();
    tally.sent(3000, Begun::OnSchedule);
    tally.right(0, 2_000_000, 1_000_000);
    tally.turn(4, Duration::from_millis(30), 8);
    let first = seconds.try_recv().unwrap();
    assert_eq!(
        (first.unix_s, first.planned, first.right, first.connections),
        (7, 1, 1, 4)
    );
    assert_eq!((first.lag_max_ns, first.latency.count()), (3000, 1));
    again.send(first).unwrap();
    tally.failed(0, ErrorKind::Timeout, 1);
    tally.turn(4, Duration::ZERO, 9);
    tally.turn(4, Duration::ZERO, 10);
    let second = seconds.try_recv().unwrap();
    assert_eq!(
        (second.unix_s, second.right, second.latency.count()),
        (8, 0, 0)
    );
    assert_eq!(second.errors()[&ErrorKind::Timeout], 1);
    let third = seconds.try_recv().unwrap();
    assert!(
        third.unix_s == 9 && third.latency.is_empty() && third.lag_max_ns == 0,
        "{third:?}"
    );
    (0..3).for_each(|s| tally.turn(0, Duration::ZERO, 11 + s));
    assert_eq!(tally.lost_ticks(), 1, "nobody took the third");
}

#[test]
fn a_schedule_has_an_end_and_a_slack() {
    for (sent_ns, want) in [
        (100, Begun::OnSchedule),
        (101, Begun::Soon),
        (110, Begun::Soon),
        (111, Begun::Late),
    ] {
        assert_eq!(Begun::at(sent_ns, 100, 10), want, "{sent_ns}");
    }
}
