#![allow(clippy::unwrap_used)]
use super::*;

fn schedule(profile: Profile, arrivals: Arrivals, duration_s: f64, seed: u64) -> Schedule {
    Schedule::new(profile, arrivals, (0.0, duration_s), seed).unwrap()
}

const FLAT: Profile = Profile::Constant { rate: 1000.0 };
const RAMP: Profile = Profile::Ramp {
    from: 100.0,
    to: 1900.0,
};
const STAIRS: Profile = Profile::Step {
    from: 500.0,
    to: 1500.0,
    by: 500.0,
    every_s: 4.0,
};

#[test]
fn each_profile_has_its_count_and_its_mean_time() {
    for (name, profile, duration_s, want, mean_s) in [
        ("constant", FLAT, 10.0, 10_000.0, 5.0),
        // The centre of gravity of a trapezium.
        ("ramp up", RAMP, 10.0, 10_000.0, 6.5),
        (
            "ramp down",
            Profile::Ramp {
                from: 1900.0,
                to: 100.0,
            },
            10.0,
            10_000.0,
            3.5,
        ),
        // 4 s of 500, 4 s of 1000, 2 s of 1500: 2000, 4000, 3000 around 2, 6 and 9 s.
        ("step", STAIRS, 10.0, 9000.0, (4.0 + 24.0 + 27.0) / 9.0),
        ("step cut short", STAIRS, 6.0, 4000.0, 3.5),
    ] {
        for (arrivals, seeds, tolerance) in [
            (Arrivals::Even, 0..1, 0.001),
            (Arrivals::Bursts(20), 0..1, 0.01),
            // Four standard deviations of 4000.
            (Arrivals::Random, 0..8, 0.065),
        ] {
            for seed in seeds {
                let whole = schedule(profile, arrivals, duration_s, seed);
                assert!((whole.expected() - want).abs() < 1e-6, "{name}");
                let times: Vec<u64> = whole.collect();
                let count = times.len() as f64;
                assert!(
                    (count / want - 1.0).abs() < tolerance,
                    "{name} {arrivals:?} {seed}: {count}"
                );
                let mean = times.iter().map(|ns| *ns as f64 / 1e9).sum::<f64>() / count;
                assert!(
                    (mean / mean_s - 1.0).abs() < tolerance,
                    "{name} {arrivals:?} {seed}: {mean}"
                );
                assert!(
                    times.is_sorted() && times.iter().all(|ns| (*ns as f64) < duration_s * 1e9),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn even_arrivals_do_not_drift() {
    let times: Vec<u64> = schedule(
        Profile::Constant { rate: 30_000.0 },
        Arrivals::Even,
        20.0,
        1,
    )
    .collect();
    for (number, ns) in times.iter().enumerate() {
        let want = number as f64 / 30_000.0 * 1e9;
        assert!((*ns as f64 - want).abs() < 1.5, "{number}: {ns}");
    }
}

#[test]
fn random_arrivals_are_poisson_and_repeat_by_seed() {
    let times: Vec<u64> = schedule(FLAT, Arrivals::Random, 100.0, 3).collect();
    let again: Vec<u64> = schedule(FLAT, Arrivals::Random, 100.0, 3).collect();
    let other: Vec<u64> = schedule(FLAT, Arrivals::Random, 100.0, 4).collect();
    assert!(times == again && times != other);
    // The share of distances above the mean is 1/e, above twice the mean 1/e squared.
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (ms, want) in [(1.0, 0.3679), (2.0, 0.1353), (4.0, 0.0183)] {
        let above = gaps.iter().filter(|ns| **ns as f64 > ms * 1e6).count();
        let share = above as f64 / gaps.len() as f64;
        assert!((share - want).abs() < 0.006, "above {ms} ms: {share}");
    }
    // Counts of 10 ms vary as their mean does.
    let mut bins = vec![0.0_f64; 10_000];
    for ns in &times {
        bins[usize::try_from(ns / 10_000_000).unwrap()] += 1.0;
    }
    let variance = bins.iter().map(|n| (n - 10.0).powi(2)).sum::<f64>() / 1e4;
    assert!((variance / 10.0 - 1.0).abs() < 0.06, "{variance}");
}

#[test]
fn bursts_come_at_once() {
    let times: Vec<u64> = schedule(FLAT, Arrivals::Bursts(250), 1.0, 1).collect();
    assert_eq!(times.len(), 1000);
    for (burst, part) in times.chunks(250).enumerate() {
        assert!(
            part.iter().all(|ns| *ns == burst as u64 * 250_000_000),
            "{burst}"
        );
    }
}

#[test]
fn a_lead_comes_before_at_the_first_rate() {
    let whole = Schedule::new(RAMP, Arrivals::Even, (2.0, 10.0), 1).unwrap();
    let times: Vec<u64> = whole.collect();
    assert_eq!(times.iter().filter(|ns| **ns < 2_000_000_000).count(), 200);
    assert_eq!(times.len(), 10_200);
}

#[test]
fn shares_make_the_whole() {
    for (name, arrivals, tolerance) in [
        ("even", Arrivals::Even, 0.0),
        ("random", Arrivals::Random, 400.0),
        ("bursts", Arrivals::Bursts(40), 0.0),
    ] {
        let whole = schedule(FLAT, arrivals, 10.0, 1);
        let mut parts: Vec<u64> = (0..4)
            .flat_map(|number| schedule(FLAT, arrivals, 10.0, u64::from(number)).share(number, 4))
            .collect();
        parts.sort_unstable();
        assert!(
            (parts.len() as f64 - 10_000.0).abs() <= tolerance,
            "{name}: {}",
            parts.len()
        );
        if arrivals != Arrivals::Random {
            let near = whole
                .zip(&parts)
                .all(|(one, other)| one.abs_diff(*other) < 3);
            assert!(near, "{name}: they lie between each other");
        }
    }
}

#[test]
fn schedules_are_read_as_they_are_written() {
    for text in [
        "poisson",
        "constant",
        "burst:50",
        "ramp:100:2000",
        "ramp:100:2000:even",
        "step:1000:10000:500:5",
        "step:1000:10000:500:0.5:even",
    ] {
        let plan: SchedulePlan = text.parse().unwrap();
        assert_eq!(plan.to_string(), text);
    }
    for (name, text) in [
        ("unknown", "sine"),
        ("empty", ""),
        ("no size", "burst"),
        ("size of 0", "burst:0"),
        ("a rate of 0", "ramp:0:100"),
        ("a rate below 0", "ramp:100:-1"),
        ("no number", "ramp:100:fast"),
        ("infinite", "ramp:1:inf"),
        ("too much", "ramp:1:2:even:odd"),
        ("oddly", "ramp:1:2:odd"),
        ("steps without time", "step:1:2:1"),
    ] {
        let error = text.parse::<SchedulePlan>().unwrap_err();
        assert!(error.contains("schedule"), "{name}: {error}");
    }
    let stairs = Profile::Step {
        from: 1.0,
        to: 1e6,
        by: 0.001,
        every_s: 1.0,
    };
    assert!(
        Schedule::new(stairs, Arrivals::Even, (0.0, 10.0), 1).is_err(),
        "too many steps"
    );
}
