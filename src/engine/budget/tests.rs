//! The budget of counters that the test makes up.

use super::*;

const S: fn(u64) -> Duration = Duration::from_secs;

/// Ten seconds of life a part.
fn least_left(part: usize) -> Duration {
    S(part as u64 * 10)
}

fn totals(hits: &[(usize, u64)], others: u64) -> Totals {
    let mut totals = Totals::none();
    for (part, count) in hits {
        totals.hits[*part] += count;
        totals.operations += count;
    }
    totals.operations += others;
    totals
}

fn steps(budget: &Budget) -> Vec<u64> {
    budget.steps.iter().map(|step| step.seconds).collect()
}

#[test]
fn shares_and_their_times_come_from_what_was_hit() {
    let start = Instant::now();
    for (name, counted, percent, times, end) in [
        ("nothing", totals(&[], 0), 0.0, [0, 0, 0, 0], 0),
        ("misses only", totals(&[], 10), 0.0, [0, 0, 0, 0], 0),
        ("all long", totals(&[(30, 10)], 0), 100.0, [300; 4], 300),
        (
            "half of it hits",
            totals(&[(30, 25), (10, 25)], 50),
            50.0,
            [0, 0, 100, 300],
            300,
        ),
        (
            "even lives",
            totals(&[(0, 25), (10, 25), (20, 25), (30, 25)], 0),
            100.0,
            [0, 100, 200, 300],
            300,
        ),
    ] {
        let mut state = State::default();
        state.tick(start, true, 0, &Totals::none());
        let budget = state.budget(start + S(60), &counted, least_left);
        assert_eq!(
            budget.served_percent.to_bits(),
            f64::to_bits(percent),
            "{name}"
        );
        assert_eq!(steps(&budget), times, "{name}");
        assert_eq!((budget.ends_after_s, budget.window_s), (end, 60), "{name}");
    }
}

#[test]
fn what_is_older_than_the_window_is_forgotten() {
    let (mut state, start) = (State::default(), Instant::now());
    for s in (0..=900).step_by(10) {
        let counted = totals(&[(30, s.min(300))], s.saturating_sub(300));
        state.tick(start + S(s), true, 0, &counted);
    }
    let budget = state.budget(start + S(900), &totals(&[(30, 300)], 600), least_left);
    assert!((300..=330).contains(&budget.window_s), "{budget:?}");
    assert_eq!(
        budget.served_percent.to_bits(),
        0_f64.to_bits(),
        "{budget:?}"
    );
    assert!(state.noted.len() <= 12);
}

#[test]
fn an_outage_uses_the_budget_up_and_a_purge_voids_it() {
    let (mut state, start) = (State::default(), Instant::now());
    state.tick(start, true, 0, &Totals::none());
    let before = totals(&[(30, 50), (3, 50)], 0);
    state.tick(start + S(10), false, 0, &before);
    // Later hits, short of life, and the failures change nothing.
    let later = totals(&[(30, 50), (3, 50), (1, 1000)], 9000);
    state.tick(start + S(60), false, 0, &later);
    let budget = state.budget(start + S(60), &later, least_left);
    assert_eq!(budget.served_percent.to_bits(), 50_f64.to_bits());
    assert_eq!(steps(&budget), [0, 0, 250, 250]);
    assert_eq!(budget.down_for_s, Some(50));
    state.tick(start + S(61), false, 1, &later);
    let voided = state.budget(start + S(61), &later, least_left);
    assert_eq!((voided.operations, steps(&voided)), (0, vec![0; 4]));
    state.tick(start + S(70), true, 1, &later);
    let fresh = state.budget(start + S(70), &later, least_left);
    assert_eq!(
        (fresh.operations, fresh.down_for_s),
        (0, None),
        "a new window"
    );
}
