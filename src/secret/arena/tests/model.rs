//! Random stores, clones, handles and drops against a plain list of what each owner should read.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Store { len: usize, fill: u8 },
    Clone(usize),
    ThroughHandle(usize),
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![
        0..=33_usize,
        60..=130_usize,
        250..=520_usize,
        4_990..=5_010_usize
    ];
    prop_oneof![
        4 => (len, 1..=255_u8).prop_map(|(len, fill)| Step::Store { len, fill }),
        2 => any::<usize>().prop_map(Step::Clone),
        2 => any::<usize>().prop_map(Step::ThroughHandle),
        3 => any::<usize>().prop_map(Step::Drop),
    ]
}

/// Runs `steps` and checks every owner after each.
fn run(arena: &'static Arena, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut owners: Vec<(SecretKey, Vec<u8>)> = Vec::new();
    for step in steps {
        let count = owners.len();
        match step {
            Step::Store { len, fill } => match arena.store(&vec![fill; len]) {
                Ok(key) => owners.push((key, vec![fill; len])),
                Err(StoreError::TooLong) => prop_assert!(len > 5_000),
                Err(StoreError::Full) => prop_assert!(count > 0, "full while empty"),
            },
            Step::Clone(index) if count > 0 => {
                let (key, bytes) = &owners[index % count];
                owners.push((key.clone(), bytes.clone()));
            }
            Step::ThroughHandle(index) if count > 0 => {
                let (key, bytes) = owners.swap_remove(index % count);
                let handle = key.into_handle();
                owners.push((arena.share(&handle), bytes.clone()));
                owners.push((arena.redeem(handle), bytes));
            }
            Step::Drop(index) if count > 0 => drop(owners.swap_remove(index % count)),
            Step::Clone(_) | Step::ThroughHandle(_) | Step::Drop(_) => {}
        }
        for (key, bytes) in &owners {
            prop_assert!(key.expose(|found| found == bytes));
        }
    }
    drop(owners);
    prop_assert!(arena.is_blank());
    prop_assert_eq!(arena.usage().key_bytes_lent, 0);
    Ok(())
}

#[test]
fn any_sequence_agrees_with_the_model() {
    // One arena for all cases: each leaves it blank, and leaking one a case would eat the lock limit.
    let small = ArenaPlan {
        key_bytes: 8 << 10,
        ..plan(Mode::Mlock)
    };
    let arena = Arena::reserve(&small).unwrap();
    let config = ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in prop::collection::vec(step(), 0..120))| run(arena, steps)?);
}
