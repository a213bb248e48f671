//! Records and messages: what comes back, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use super::bulletin::{Bulletin, Disbelief, Token, Word};
use super::keyring::{Csk, Keys};
use super::record::{self, ROOM_BYTES, Refusal, Subject, Unsealed, What};
use crate::secret::{Arena, ArenaPlan, Mode};

fn arena() -> &'static Arena {
    Arena::reserve(&ArenaPlan {
        key_bytes: 64 << 10,
        large_count: 1,
        large_bytes: 4096,
        buffer_bytes: 4096,
        mode: Some(Mode::Mlock),
    })
    .unwrap()
}

fn csk(arena: &'static Arena, fill: u8) -> Csk {
    Csk::derive(arena, &arena.store(&[fill; 32]).unwrap(), 1).unwrap()
}

const WHAT: What<'static> = What {
    object: "object",
    version: 2,
    state: 1,
    sealed: b"wrapped",
    associated_data: b"about",
    context: b"",
};
const GENERATION: [u8; 16] = [5; 16];

fn subject() -> Subject {
    Subject::new("kms", &GENERATION, &WHAT)
}

/// Every way in which a subject may be another one.
fn others() -> Vec<(&'static str, Subject)> {
    let of = |what: What<'_>| Subject::new("kms", &GENERATION, &what);
    vec![
        ("cluster", Subject::new("kmt", &GENERATION, &WHAT)),
        ("generation", Subject::new("kms", &[6; 16], &WHAT)),
        (
            "object",
            of(What {
                object: "objecT",
                ..WHAT
            }),
        ),
        ("version", of(What { version: 3, ..WHAT })),
        ("state", of(What { state: 2, ..WHAT })),
        (
            "wrapped key",
            of(What {
                sealed: b"wrappeD",
                ..WHAT
            }),
        ),
        (
            "associated data",
            of(What {
                associated_data: b"abouT",
                ..WHAT
            }),
        ),
        (
            "context",
            of(What {
                context: b"c",
                ..WHAT
            }),
        ),
        (
            "border of wrapped key and data",
            of(What {
                sealed: b"wrappeda",
                associated_data: b"bout",
                ..WHAT
            }),
        ),
    ]
}

#[test]
fn a_record_opens_for_its_own_subject_and_for_no_other() {
    let arena = arena();
    let (own, other) = (csk(arena, 1), csk(arena, 2));
    let mut room = [0; ROOM_BYTES];
    let key = arena.store(b"a data key of thirty-two bytes..").unwrap();
    let sealed = record::seal(&own, &subject(), &key, 1000, &mut room).unwrap();
    assert_eq!(
        (sealed.len(), room),
        (80, [0; ROOM_BYTES]),
        "the room is wiped"
    );
    let mut open = |csk: &Csk, subject: &Subject, record: &[u8], now_ms| {
        record::open(csk, subject, record, now_ms, &mut room, <[u8]>::to_vec)
    };
    let right = Ok(b"a data key of thirty-two bytes..".to_vec());
    assert_eq!(open(&own, &subject(), &sealed, 1000), right);
    assert_eq!(open(&own, &subject(), &sealed, 1001), Err(Refusal::Expired));
    assert_eq!(open(&other, &subject(), &sealed, 0), Err(Refusal::OtherKey));
    for (name, subject) in others() {
        assert_eq!(
            open(&own, &subject, &sealed, 0),
            Err(Refusal::Forged),
            "{name}"
        );
    }
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&own, &subject(), &changed, 0).is_err(), "bit {bit}");
    }
    for len in 0..sealed.len() {
        assert!(
            open(&own, &subject(), &sealed[..len], 0).is_err(),
            "{len} bytes"
        );
    }
    let long = [&sealed[..], &[0; 1000]].concat();
    assert_eq!(open(&own, &subject(), &long, 0), Err(Refusal::Malformed));
    assert_eq!(room, [0; ROOM_BYTES], "the room is wiped");
}

#[test]
fn every_length_that_is_cached_is_sealed_and_no_other() {
    let arena = arena();
    let csk = csk(arena, 1);
    let mut room = [0; ROOM_BYTES];
    for len in [0, 1, 16, 32, 64, 512] {
        let key = arena.store(&vec![7; len]).unwrap();
        let sealed = record::seal(&csk, &subject(), &key, 9, &mut room).unwrap();
        let opened = record::open(&csk, &subject(), &sealed, 9, &mut room, <[u8]>::to_vec);
        assert_eq!(opened, Ok(vec![7; len]), "{len} bytes");
        let again = record::seal(&csk, &subject(), &key, 9, &mut room).unwrap();
        assert_ne!(sealed, again, "{len} bytes: a nonce was used twice");
    }
    let long = arena.store(&[7; 513]).unwrap();
    let refused = record::seal(&csk, &subject(), &long, 9, &mut room);
    assert_eq!(refused, Err(Unsealed::TooLong));
}

#[test]
fn a_spent_key_seals_no_more_and_still_opens() {
    let arena = arena();
    let csk = csk(arena, 1);
    let mut room = [0; ROOM_BYTES];
    let key = arena.store(&[7; 32]).unwrap();
    let sealed = record::seal(&csk, &subject(), &key, 9, &mut room).unwrap();
    csk.wear_out();
    let refused = record::seal(&csk, &subject(), &key, 9, &mut room);
    assert_eq!(refused, Err(Unsealed::Failed));
    let opened = record::open(&csk, &subject(), &sealed, 9, &mut room, <[u8]>::to_vec);
    assert_eq!(opened, Ok(vec![7; 32]));
}

#[test]
fn names_tell_nothing_and_differ_as_subjects_do() {
    let arena = arena();
    let (own, other) = (csk(arena, 1), csk(arena, 2));
    let name = subject().name("kms:x:d:", &own);
    assert_eq!((name.len(), name.starts_with("kms:x:d:")), (48, true));
    assert_eq!(name, subject().name("kms:x:d:", &own));
    assert_ne!(name, subject().name("kms:x:d:", &other));
    for (what, subject) in others() {
        assert_ne!(name, subject.name("kms:x:d:", &own), "{what}");
    }
    assert_ne!(own.id(), other.id());
    assert_eq!(own.id(), csk(arena, 1).id(), "made of the key alone");
}

fn keys(current: Csk, previous: Option<Csk>) -> Keys {
    Keys {
        current: Arc::new(current),
        previous: previous.map(|csk| (Arc::new(csk), 100)),
    }
}

fn bulletin(word: Word) -> Bulletin {
    let token = Token {
        generation: [1; 16],
        change: [2; 16],
    };
    Bulletin {
        node: "node-1#0a".to_owned(),
        word,
        token: Some(token),
        previous: token.next(true),
    }
}

#[test]
fn messages_come_back_as_they_were_said() {
    let arena = arena();
    let held = keys(csk(arena, 1), Some(csk(arena, 2)));
    for (name, word) in [
        ("withdrawn", Word::Withdrawn("orders/Ä b".to_owned())),
        ("grown", Word::Grown("k".repeat(512))),
        ("purge of one", Word::Purge(Some("k".to_owned()))),
        ("purge of all", Word::Purge(None)),
        ("done", Word::Done),
        ("hello", Word::Hello),
        ("bye", Word::Bye),
    ] {
        let said = bulletin(word);
        for (of, signer) in [
            ("the key", csk(arena, 1)),
            ("the one before", csk(arena, 2)),
        ] {
            let line = said.write("kms", &signer);
            let read = Bulletin::read(line.as_bytes(), "kms", &held);
            assert_eq!(read, Ok(said.clone()), "{name}, signed under {of}");
        }
    }
    let without = Bulletin {
        token: None,
        previous: None,
        ..bulletin(Word::Hello)
    };
    let line = without.write("kms", &csk(arena, 1));
    assert_eq!(Bulletin::read(line.as_bytes(), "kms", &held), Ok(without));
}

#[test]
fn messages_that_are_not_signed_are_not_believed() {
    let arena = arena();
    let held = keys(csk(arena, 1), None);
    let line = bulletin(Word::Purge(None)).write("kms", &csk(arena, 1));
    let strange = bulletin(Word::Purge(None)).write("kms", &csk(arena, 3));
    let read = |line: &[u8], cluster: &str| Bulletin::read(line, cluster, &held);
    assert_eq!(read(strange.as_bytes(), "kms"), Err(Disbelief::OtherKey));
    assert_eq!(read(line.as_bytes(), "another"), Err(Disbelief::Forged));
    for at in 0..line.len() {
        let mut changed = line.clone().into_bytes();
        changed[at] ^= 1;
        assert!(read(&changed, "kms").is_err(), "byte {at}");
        assert!(read(&line.as_bytes()[..at], "kms").is_err(), "{at} bytes");
    }
    assert_eq!(read(&[b'x'; 10_000], "kms"), Err(Disbelief::Malformed));
    assert_eq!(read(b"\xff\xfe", "kms"), Err(Disbelief::Malformed));
}

#[test]
fn tokens_are_read_as_they_are_written() {
    let token = Token::first().unwrap();
    assert_eq!(Token::read(token.text().as_bytes()), Some(token));
    let (same, other) = (token.next(false).unwrap(), token.next(true).unwrap());
    assert_eq!(same.generation, token.generation);
    assert!(other.generation != token.generation && same.change != token.change);
    for text in [
        "",
        ".",
        "ab.cd",
        "nonsense",
        &"0".repeat(65),
        &token.text()[1..],
    ] {
        assert_eq!(Token::read(text.as_bytes()), None, "{text:?}");
    }
}
