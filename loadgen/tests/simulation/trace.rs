//! What happened, for people and for comparing two runs.

use std::cell::RefCell;

thread_local! {
    static NOTES: RefCell<Vec<Note>> = const { RefCell::new(Vec::new()) };
}

/// One event.
#[derive(Clone, Copy)]
struct Note {
    ns: u64,
    what: &'static str,
    of: u64,
    value: u64,
}

/// Forgets everything.
pub fn clear() {
    NOTES.with_borrow_mut(Vec::clear);
}

/// Notes that `what` of `of` happened, with a number that depends on what.
pub fn note(ns: u64, what: &'static str, of: impl TryInto<u64>, value: impl TryInto<u64>) {
    let number = |value: Option<u64>| value.unwrap_or(u64::MAX);
    NOTES.with_borrow_mut(|notes| {
        notes.push(Note {
            ns,
            what,
            of: number(of.try_into().ok()),
            value: number(value.try_into().ok()),
        });
    });
}

/// One number for the whole.
pub fn hash() -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    NOTES.with_borrow(|notes| {
        for note in notes {
            note.what.bytes().for_each(&mut add);
            for number in [note.ns, note.of, note.value] {
                number.to_le_bytes().into_iter().for_each(&mut add);
            }
        }
    });
    hash
}

/// The last events, one a line.
pub fn tail(count: usize) -> String {
    NOTES.with_borrow(|notes| {
        let skipped = notes.len().saturating_sub(count);
        let lines = notes[skipped..].iter().map(|note| {
            let (ms, us) = (note.ns / 1_000_000, note.ns / 1000 % 1000);
            format!(
                "  {ms:>6}.{us:03} ms  {} {}: {}\n",
                note.what, note.of, note.value
            )
        });
        lines.collect()
    })
}

/// What has happened, each once.
pub fn kinds() -> Vec<&'static str> {
    NOTES.with_borrow(|notes| {
        let mut kinds: Vec<&str> = notes.iter().map(|note| note.what).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    })
}
