#![allow(clippy::unwrap_used)]
use super::*;

fn keys(plans: &[&str], working_set: u32, seed: u64) -> Keys {
    let plans: Vec<StreamPlan> = plans.iter().map(|text| text.parse().unwrap()).collect();
    Keys::new(&plans, working_set, 0, seed).unwrap()
}

fn counts(mut keys: Keys, working_set: usize, requests: usize) -> Vec<f64> {
    let mut counts = vec![0.0; working_set];
    (0..requests).for_each(|_| counts[keys.next_key() as usize] += 1.0);
    counts
}

/// The largest distance from what is expected, in standard deviations of a count.
fn strangeness(counts: &[f64], expected: impl Fn(usize) -> f64) -> f64 {
    let of =
        |(at, count): (usize, &f64)| (count - expected(at)).abs() / expected(at).sqrt().max(1.0);
    counts.iter().enumerate().map(of).fold(0.0, f64::max)
}

type Expected = Box<dyn Fn(usize) -> f64>;

#[test]
fn frequencies_are_those_of_the_theory() {
    const REQUESTS: usize = 400_000;
    let (n, requests) = (500, REQUESTS as f64);
    let harmonic = |exponent: f64| (1..=n).map(|k| f64::from(k).powf(-exponent)).sum::<f64>();
    let zipf = |exponent: f64| -> Expected {
        let sum = harmonic(exponent);
        Box::new(move |at| requests * (at as f64 + 1.0).powf(-exponent) / sum)
    };
    let rows: [(&str, Expected); 7] = [
        ("uniform", Box::new(move |_| requests / 500.0)),
        ("zipf:0", Box::new(move |_| requests / 500.0)),
        ("zipf:0.8", zipf(0.8)),
        ("zipf", zipf(1.0)),
        ("zipf:1.3", zipf(1.3)),
        (
            "hot:0.5",
            Box::new(move |at| {
                if at == 0 {
                    requests / 2.0
                } else {
                    requests / 2.0 / 499.0
                }
            }),
        ),
        (
            "hot:0.9:10",
            Box::new(move |at| {
                if at < 10 {
                    requests * 0.09
                } else {
                    requests * 0.1 / 490.0
                }
            }),
        ),
    ];
    for (text, expected) in rows {
        for seed in 0..2 {
            let counted = counts(keys(&[text], 500, seed), 500, REQUESTS);
            let strange = strangeness(&counted, &expected);
            // One of 500 beyond 5 standard deviations would come once in three thousand runs.
            assert!(strange < 5.0, "{text}, seed {seed}: {strange}");
        }
    }
}

#[test]
fn a_scan_reads_each_key_once_and_says_when_it_begins_anew() {
    let mut scan = keys(&["scan-once"], 1000, 1);
    let picks: Vec<u32> = (0..999).map(|_| scan.next_key()).collect();
    assert_eq!(picks, (0..999).collect::<Vec<_>>());
    assert_eq!(scan.rounds(), 0);
    assert_eq!((scan.next_key(), scan.next_key()), (999, 0));
    assert_eq!(scan.rounds(), 1);
}

#[test]
fn a_scan_twice_reads_again_after_its_gap() {
    let mut scan = keys(&["uniform,keys=50@3", "scan-twice:100@1"], 100_000, 1);
    let picks: Vec<u32> = (0..20_000).map(|_| scan.next_key()).collect();
    let mut seen = std::collections::HashMap::new();
    for (at, key) in picks.iter().enumerate().filter(|(_, key)| **key >= 50) {
        seen.entry(*key).or_insert_with(Vec::new).push(at);
    }
    let (mut twice, mut gaps) = (0, 0);
    for (key, places) in &seen {
        match places.as_slice() {
            [first, second] => {
                assert!(second - first >= 100, "{key}: {places:?}");
                twice += 1;
                gaps += second - first;
            }
            // What is due after the end.
            [first] => assert!(*first > 19_800, "{key}: {places:?}"),
            more => panic!("{key}: {more:?}"),
        }
    }
    assert!(twice > 2300, "{twice}");
    // It waits for the stream's turn, which comes every fourth request, and for others that are due.
    assert!((100..125).contains(&(gaps / twice)), "{}", gaps / twice);
}

#[test]
fn streams_have_keys_of_their_own_and_their_shares() {
    let counted = counts(
        keys(&["zipf@70", "uniform,keys=300@20", "scan-once@10"], 1000, 5),
        1000,
        100_000,
    );
    // 350 keys, 300, 350.
    let part = |from: usize, to: usize| counted[from..to].iter().sum::<f64>() / 100_000.0;
    for (name, got, want) in [
        ("zipf", part(0, 350), 0.7),
        ("uniform", part(350, 650), 0.2),
        ("scan", part(650, 1000), 0.1),
    ] {
        assert!((got - want).abs() < 0.006, "{name}: {got}");
    }
}

#[test]
fn equal_seeds_give_equal_streams() {
    for text in ["uniform", "zipf", "hot"] {
        let some = |seed| {
            let mut keys = keys(&[text], 1000, seed);
            (0..100).map(|_| keys.next_key()).collect::<Vec<_>>()
        };
        assert!(some(1) == some(1) && some(1) != some(2), "{text}");
    }
}

#[test]
fn streams_are_read_as_they_are_written() {
    for text in [
        "uniform@1",
        "zipf:0.9@70",
        "hot:0.5:3,keys=100@1",
        "scan-once,keys=5@0.5",
        "scan-twice:2000@1",
    ] {
        let plan: StreamPlan = text.parse().unwrap();
        assert_eq!(plan.to_string(), text);
    }
    for (name, text) in [
        ("unknown", "gauss"),
        ("empty", ""),
        ("no keys", "uniform,keys=0"),
        ("no weight", "uniform@0"),
        ("weight is no number", "uniform@x"),
        ("share above 1", "hot:1.5"),
        ("no hot key", "hot:0.5:0"),
        ("a gap of 0", "scan-twice:0"),
        ("exponent below 0", "zipf:-1"),
    ] {
        let error = text.parse::<StreamPlan>().unwrap_err();
        assert!(error.contains("stream of keys"), "{name}: {error}");
    }
    for (name, plans, working_set) in [
        ("none", &[][..], 10),
        ("too many keys", &["uniform,keys=11"], 10),
        ("none left", &["uniform,keys=10", "zipf"], 10),
        ("more hot than all", &["hot:0.5:11"], 10),
        ("an empty set", &["uniform"], 0),
    ] {
        let plans: Vec<StreamPlan> = plans.iter().map(|text| text.parse().unwrap()).collect();
        assert!(Keys::new(&plans, working_set, 0, 1).is_err(), "{name}");
    }
}
