//! Every entry, on the stable toolchain: its seeds as they are, then a fixed number of mutants of them.
//!
//! A failure prints the entry, the seed of its random numbers and the input; the same seed finds it
//! again, and the input alone is replayed by `KMS_FUZZ_INPUT=ENTRY:HEX cargo test -p kms-fuzz replay`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs
)]

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use kms_fuzz::{ENTRIES, Entry};

mod mutator;

use mutator::{Mutator, Random};

/// Of all runs, unless `KMS_FUZZ_SEED` says otherwise.
const SEED: u64 = 0x6b6d_735f_6675_7a7a;

fn seed() -> u64 {
    std::env::var("KMS_FUZZ_SEED").map_or(SEED, |text| {
        text.parse().expect("KMS_FUZZ_SEED is a number")
    })
}

fn check(entry: &Entry, seed: u64, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (entry.run)(input))) {
        eprintln!(
            "entry {}, KMS_FUZZ_SEED={seed}, input:\n{}:{}",
            entry.name,
            entry.name,
            hex(input)
        );
        resume_unwind(panic);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn fuzz(name: &str) {
    let entry = ENTRIES.iter().find(|entry| entry.name == name).expect(name);
    let (seed, seeds) = (seed(), (entry.seeds)());
    for input in &seeds {
        check(entry, seed, input);
    }
    let mut mutator = Mutator {
        random: Random(seed | 1),
        seeds: &seeds,
        tokens: entry.tokens,
    };
    for _ in 0..entry.inputs {
        check(entry, seed, &mutator.next_input());
    }
}

macro_rules! tests {
    ($($name:ident)*) => {
        $(#[test] fn $name() { fuzz(stringify!($name)); })*

        #[test]
        fn every_entry_is_run() {
            let run = [$(stringify!($name)),*];
            assert_eq!(ENTRIES.iter().map(|entry| entry.name).collect::<Vec<_>>(), run);
            for name in run {
                let program = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz_targets/").to_owned() + name + ".rs";
                let text = std::fs::read_to_string(&program).expect(&program);
                assert!(text.contains(&format!("\"{name}\"")), "{program} runs {name}");
            }
        }
    };
}

tests! {
    http_request http_response json transit_body transit_answer ciphertext_text base64
    proxy engine_reply sealing_key ttlv kmip_request kmip_response hsm_batch keystore properties keyfile request_path
}

/// Runs the one input that `KMS_FUZZ_INPUT` gives.
#[test]
fn replay() {
    let Ok(text) = std::env::var("KMS_FUZZ_INPUT") else {
        return;
    };
    let (name, hex) = text.split_once(':').expect("ENTRY:HEX");
    let digits: Vec<u8> = hex
        .chars()
        .map(|c| u8::try_from(c.to_digit(16).expect("hex")).unwrap())
        .collect();
    let input: Vec<u8> = digits.chunks(2).map(|two| two[0] << 4 | two[1]).collect();
    kms_fuzz::run(name, &input);
}
