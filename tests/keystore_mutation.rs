//! Mutated JKS and JCEKS stores, signed anew so that they reach the parser: no panic, and no
//! allocation larger than the input.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use kms::keystore::open;
use kms::secret::SecretString;

#[allow(clippy::pedantic)]
#[path = "../src/keystore/jks/encoder.rs"]
mod encoder;

use encoder::{Entry, JCEKS, JKS, protect_jceks, protect_jks, sign, store};

/// The system's allocator, noting the largest request of each thread.
struct Noting;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn note(bytes: usize) {
    // Not there while a thread ends, where nothing is measured.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(bytes)));
}

// SAFETY: every call goes to `System` unchanged; noting touches only a thread-local integer.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: the caller keeps `realloc`'s contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

const PASSWORD: &str = "store";
const MUTANTS: u32 = 4000;

/// xorshift64*: seeded, so that a failure repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(value).unwrap() % end
    }
}

fn mutate(file: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(file.len());
        match random.below(6) {
            0 => file[at] ^= 1 << random.below(8),
            1 => file[at] = u8::try_from(random.below(256)).unwrap(),
            2 => file[at] = [0x00, 0x7f, 0x80, 0x84, 0xff][random.below(5)],
            3 => {
                let end = (at + 4).min(file.len());
                file[at..end].fill(0xff);
            }
            4 => file.truncate(at.max(32)),
            _ => {
                let end = (at + 1 + random.below(40)).min(file.len());
                let piece = file[at..end].to_vec();
                let to = random.below(file.len());
                file.splice(to..to, piece);
            }
        }
    }
}

fn fixtures() -> Vec<(&'static str, Vec<u8>)> {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let (key, der) = (key.serialize_der(), certificate.der().to_vec());
    let entries = |protected| {
        [
            Entry::Key {
                alias: b"kmsclient",
                protected,
                chain: vec![&der, &der],
            },
            Entry::Trusted {
                alias: "cmxdevice-鍵".as_bytes(),
                certificate: &der,
            },
        ]
    };
    let jceks = || protect_jceks(&key, PASSWORD, [1, 2, 3, 4, 5, 6, 7, 8], 5, 5);
    vec![
        (
            "jks",
            store(JKS, 2, &entries(protect_jks(&key, PASSWORD)), PASSWORD),
        ),
        (
            "jks version 1",
            store(JKS, 1, &entries(protect_jks(&key, PASSWORD)), PASSWORD),
        ),
        ("jceks", store(JCEKS, 2, &entries(jceks()), PASSWORD)),
    ]
}

#[test]
fn no_mutant_panics_or_allocates_more_than_the_input() {
    let password = SecretString::new(PASSWORD.to_owned());
    let mut random = Random(0x6b6d_7321);
    for (name, file) in fixtures() {
        open(&file, &password, None).expect(name);
        let (mut accepted, mut refused) = (0, 0);
        for mutant in 0..MUTANTS {
            let mut bytes = file.clone();
            mutate(&mut bytes, &mut random);
            sign(&mut bytes, PASSWORD);
            LARGEST.set(0);
            let opened = open(&bytes, &password, None);
            let largest = LARGEST.get();
            // The aliases' table and error texts have sizes of their own, small ones.
            assert!(
                largest <= bytes.len().max(1024),
                "{name} {mutant}: {largest} of {} bytes",
                bytes.len()
            );
            if opened.is_ok() {
                accepted += 1;
            } else {
                refused += 1;
            }
        }
        // Both must happen, or the mutants never reached the parser.
        assert!(
            accepted > 50 && refused > 1000,
            "{name}: {accepted} accepted, {refused} refused"
        );
    }
}
