#![allow(clippy::unwrap_used, clippy::panic)]

use super::ServerState::{Active, Degraded, Unavailable, Unknown};
use super::*;

const SPREAD: u8 = 255;

fn fleet(count: usize) -> (Fleet, Instant) {
    let labels = (0..count).map(|at| Arc::from(format!("hsm{at}:5696")));
    (Fleet::new(labels, 32), Instant::now())
}

fn connect(fleet: &mut Fleet, now: Instant) -> ServerId {
    match fleet.choose(now) {
        Choice::Connect(id) => id,
        Choice::Rest(time) => panic!("told to rest for {time:?}"),
    }
}

fn connections(fleet: &Fleet, now: Instant) -> Vec<usize> {
    let report = fleet.report(now).into_iter();
    report.map(|server| server.live).collect()
}

#[test]
fn connections_spread_evenly_in_the_configured_order() {
    let (mut fleet, now) = fleet(3);
    let ids: Vec<usize> = (0..4)
        .map(|_| {
            let id = connect(&mut fleet, now);
            fleet.connected(id, now);
            id.0
        })
        .collect();
    assert_eq!(ids, [0, 1, 2, 0]);
    assert_eq!(connections(&fleet, now), [2, 1, 1]);
}

#[test]
fn attempts_under_way_count_as_connections() {
    let (mut fleet, now) = fleet(2);
    assert_eq!(connect(&mut fleet, now), ServerId(0));
    assert_eq!(connect(&mut fleet, now), ServerId(1));
    assert_eq!(connect(&mut fleet, now), ServerId(0));
}

#[test]
fn a_refusing_server_rests_longer_each_time_and_no_longer_than_the_bound() {
    let (mut fleet, mut now) = fleet(1);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let id = connect(&mut fleet, now);
        fleet.refused(id, "refused", SPREAD, now);
        let Choice::Rest(pause) = fleet.choose(now) else {
            panic!("tried again at once");
        };
        pauses.push(pause.as_millis());
        now += pause;
    }
    assert_eq!(pauses, [50, 100, 200, 400, 600, 600, 600]);
    let id = connect(&mut fleet, now);
    fleet.connected(id, now);
    fleet.ended(id, Ending::Quiet, "", SPREAD, now);
    let id = connect(&mut fleet, now);
    fleet.refused(id, "refused", SPREAD, now);
    assert_eq!(fleet.choose(now), Choice::Rest(PAUSE_MIN), "after success");
}

#[test]
fn the_pause_is_spread_between_half_and_all_of_it() {
    for (share, want) in [(0, 25), (255, 50)] {
        let (mut fleet, now) = fleet(1);
        let id = connect(&mut fleet, now);
        fleet.refused(id, "refused", share, now);
        assert_eq!(fleet.choose(now), Choice::Rest(Duration::from_millis(want)));
    }
}

#[test]
fn a_fault_ejects_a_server_only_when_there_is_another() {
    for (servers, ending, want) in [
        (1, Ending::Fault, 0),
        (2, Ending::Quiet, 0),
        (2, Ending::Fault, 1),
    ] {
        let (mut fleet, now) = fleet(servers);
        let id = connect(&mut fleet, now);
        fleet.connected(id, now);
        fleet.ended(id, ending, "hung", SPREAD, now);
        let next = connect(&mut fleet, now);
        assert_eq!(next.0, want, "{servers} servers, {ending:?}");
    }
}

#[test]
fn all_connections_move_to_what_is_left_and_come_back_one_by_one() {
    let (mut fleet, now) = fleet(2);
    let held: Vec<ServerId> = (0..4)
        .map(|_| {
            let id = connect(&mut fleet, now);
            fleet.connected(id, now);
            id
        })
        .collect();
    for id in held.into_iter().filter(|id| id.0 == 0) {
        fleet.ended(id, Ending::Fault, "reset", SPREAD, now);
        let id = connect(&mut fleet, now);
        fleet.connected(id, now);
    }
    assert_eq!(connections(&fleet, now), [0, 4]);
    let from = ServerId(1);
    assert_eq!(fleet.trial(now), None, "it rests");
    assert_eq!(fleet.better(from), None, "it rests");
    assert!(!fleet.has_alternative(from));
    let later = now + PAUSE_MAX;
    assert_eq!(fleet.trial(later), Some(ServerId(0)));
    assert_eq!(fleet.trial(later), None, "one attempt at a time");
    fleet.passed(ServerId(0), later);
    for left in [[1, 3], [2, 2]] {
        assert_eq!(fleet.better(from), Some(ServerId(0)), "before {left:?}");
        assert_eq!(fleet.better(from), None, "one attempt at a time");
        fleet.connected(ServerId(0), now);
        fleet.ended(from, Ending::Quiet, "", SPREAD, later);
        assert_eq!(connections(&fleet, later), left);
    }
    assert!(fleet.has_alternative(from));
    assert_eq!(fleet.better(from), None, "even");
    assert_eq!(fleet.better(ServerId(0)), None, "even");
}

#[test]
fn a_trial_waits_until_somebody_else_serves() {
    let (mut fleet, now) = fleet(2);
    let id = connect(&mut fleet, now);
    fleet.refused(id, "refused", SPREAD, now);
    let later = now + PAUSE_MAX;
    assert_eq!(fleet.trial(later), None, "the serving threads try it");
    let id = connect(&mut fleet, later);
    fleet.connected(id, now);
    assert_eq!(id, ServerId(1));
    assert_eq!(fleet.trial(later), Some(ServerId(0)));
}

#[test]
fn one_thread_tries_a_rested_server_at_a_time() {
    let (mut fleet, now) = fleet(1);
    let id = connect(&mut fleet, now);
    fleet.refused(id, "refused", SPREAD, now);
    let later = now + PAUSE_MAX;
    connect(&mut fleet, later);
    assert!(matches!(fleet.choose(later), Choice::Rest(_)));
}

#[test]
fn what_a_server_takes_is_learnt_downwards() {
    let (mut fleet, _) = fleet(2);
    let (a, b) = (ServerId(0), ServerId(1));
    for (items, news, want) in [(64, false, 32), (8, true, 8), (16, false, 8), (0, true, 1)] {
        assert_eq!(fleet.learn_batch_max(a, items), news, "{items} items");
        assert_eq!(fleet.batch_max(a), want, "{items} items");
    }
    assert_eq!(fleet.batch_max(b), 32, "the other's");
}

#[test]
fn idle_connections_are_asked_well_before_the_limit() {
    let (mut fleet, _) = fleet(1);
    let id = ServerId(0);
    assert_eq!(fleet.keep_alive_after(id), KEEP_ALIVE);
    for (idle_s, news, want_s) in [
        (60, true, 15),
        (20, true, 10),
        (30, false, 10),
        (1, true, 1),
    ] {
        let learnt = fleet.learn_idle_limit(id, Duration::from_secs(idle_s));
        assert_eq!(learnt, news, "{idle_s} s");
        let after = fleet.keep_alive_after(id);
        assert_eq!(after, Duration::from_secs(want_s), "{idle_s} s");
    }
}

#[test]
fn a_report_tells_why_a_server_is_left_alone() {
    let (mut fleet, now) = fleet(2);
    let id = connect(&mut fleet, now);
    fleet.refused(id, "connection refused", SPREAD, now);
    let id = connect(&mut fleet, now);
    fleet.connected(id, now);
    let report = fleet.report(now);
    assert_eq!(report[0].resting.as_deref(), Some("connection refused"));
    assert_eq!(report[1].resting, None);
    assert_eq!(report[1].live, 1);
}

#[test]
fn servers_to_which_nobody_connects_are_looked_at_one_by_one() {
    let (mut fleet, start) = fleet(3);
    let s = |s| start + Duration::from_secs(s);
    let id = connect(&mut fleet, start);
    fleet.connected(id, start);
    assert_eq!(fleet.unwatched(start), None);
    assert_eq!(fleet.unwatched(s(9)), None, "somebody may yet connect");
    let states = |fleet: &Fleet| {
        let report = fleet.report(s(10)).into_iter();
        report.map(|server| server.state).collect::<Vec<_>>()
    };
    assert_eq!(states(&fleet), [Active, Unknown, Unknown]);
    assert_eq!(fleet.unwatched(s(10)), Some(ServerId(1)));
    fleet.checked(ServerId(1), s(10), Ok(()));
    fleet.passed(ServerId(1), s(10));
    assert_eq!(fleet.unwatched(s(10)), Some(ServerId(2)));
    assert_eq!(fleet.unwatched(s(10)), None, "all are looked at");
    let gone = Ailment::Broken("gone".to_owned());
    fleet.checked(ServerId(2), s(11), Err(gone));
    fleet.refused(ServerId(2), "gone", SPREAD, s(11));
    assert_eq!(states(&fleet), [Active, Active, Unavailable]);
    assert_eq!(fleet.unwatched(s(19)), None);
    assert_eq!(
        fleet.unwatched(s(20)),
        Some(ServerId(1)),
        "ten seconds later"
    );
    let refuses = Ailment::Refuses("no".into());
    fleet.checked(ServerId(1), s(20), Err(refuses));
    fleet.passed(ServerId(1), s(20));
    assert_eq!(states(&fleet), [Active, Degraded, Unavailable]);
    let standing = fleet.standing();
    assert!(standing.up && standing.refused.is_none(), "{standing:?}");
}

/// An HSM that comes back behind a silent network is not made to wait for a pause as well.
#[test]
fn an_attempt_that_took_long_is_pause_enough() {
    for (name, took, want) in [
        ("refused at once", Duration::ZERO, PAUSE_MAX),
        (
            "took a while",
            Duration::from_millis(400),
            Duration::from_millis(200),
        ),
        ("was given up", Duration::from_millis(750), PAUSE_MIN / 2),
    ] {
        let (mut fleet, mut now) = fleet(1);
        for _ in 0..8 {
            let id = connect(&mut fleet, now);
            fleet.refused(id, "gone", u8::MAX, now);
            now += PAUSE_MAX;
        }
        // A second connection's attempt ends with the first's.
        let id = connect(&mut fleet, now);
        now += took;
        fleet.refused(id, "gone", u8::MAX, now);
        fleet.refused(id, "gone", u8::MAX, now);
        assert_eq!(fleet.choose(now), Choice::Rest(want), "{name}");
    }
}
