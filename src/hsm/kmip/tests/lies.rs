//! Every way in which an answer can be wrong: what each waiter is told, and that no plaintext is wrong.

use super::*;
use crate::wire::ttlv::HEADER_BYTES;

/// What a waiter gets: its own plaintext, an error, or another try.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Got {
    Right,
    Protocol,
    TimedOut,
    Unavailable,
    Retry,
}
use Got::{Protocol, Retry, Right, TimedOut, Unavailable};

const PLAIN: [&[u8]; 3] = [b"key one.", b"key two.", b"key three"];

struct Row {
    name: &'static str,
    lie: fn(&mut Vec<Said>, &[u8]) -> Act,
    want: [Got; 3],
}

fn set_id(said: &mut Said, id: u64) {
    said.id = Some(id.to_be_bytes().to_vec());
}

fn data(said: &mut Said) -> &mut Vec<u8> {
    match &mut said.result {
        Ok(Payload::Decrypted { data, .. }) => data,
        other => panic!("{other:?}"),
    }
}

/// The honest bytes with one of them changed.
fn patched(honest: &[u8], at: usize, to: u8) -> Act {
    let mut bytes = honest.to_vec();
    bytes[at] = to;
    Act::Bytes(bytes)
}

const ROWS: [Row; 28] = [
    Row {
        name: "the truth",
        lie: |_, _| Act::Send,
        want: [Right; 3],
    },
    Row {
        name: "the truth in another order",
        lie: |said, _| {
            said.rotate_left(1);
            Act::Send
        },
        want: [Right; 3],
    },
    Row {
        name: "two items bear each other's ids",
        lie: |said, _| {
            if said.len() > 1 {
                let first = said[0].id.take();
                said[0].id = said[1].id.take();
                said[1].id = first;
            }
            Act::Send
        },
        want: [Right; 3],
    },
    Row {
        name: "no KMIP at all",
        lie: |_, _| Act::Bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        want: [Protocol; 3],
    },
    Row {
        name: "a request instead of a response",
        lie: |_, honest| patched(honest, 2, 0x78),
        want: [Protocol; 3],
    },
    Row {
        name: "a nested length that leads outside",
        lie: |_, honest| patched(honest, HEADER_BYTES + 6, 0x7f),
        want: [Protocol; 3],
    },
    Row {
        name: "an unknown type inside",
        lie: |_, honest| patched(honest, HEADER_BYTES + 3, 0x3f),
        want: [Protocol; 3],
    },
    Row {
        name: "a Batch Count of 7",
        lie: |_, honest| {
            let count = [0x42, 0x00, 0x0d, 0x02];
            let at = honest.windows(4).position(|four| four == count).unwrap();
            patched(honest, at + HEADER_BYTES + 3, 7)
        },
        want: [Protocol; 3],
    },
    Row {
        name: "a length over every limit",
        lie: |_, honest| patched(honest, 4, 0x7f),
        want: [Protocol; 3],
    },
    Row {
        name: "a length of a MiB more than asked for",
        lie: |_, honest| patched(honest, 5, 0x10),
        want: [Protocol; 3],
    },
    Row {
        name: "cut in the middle, then the end",
        lie: |_, honest| Act::BytesThenEnd(honest[..honest.len() / 2].to_vec()),
        want: [Unavailable; 3],
    },
    Row {
        name: "cut within the header, then the end",
        lie: |_, honest| Act::BytesThenEnd(honest[..5].to_vec()),
        want: [Unavailable; 3],
    },
    Row {
        name: "cut in the middle, then nothing",
        lie: |_, honest| Act::Bytes(honest[..honest.len() / 2].to_vec()),
        want: [TimedOut; 3],
    },
    Row {
        name: "bytes behind the answer",
        lie: |_, honest| Act::Bytes([honest, &[0; 8]].concat()),
        want: [Protocol; 3],
    },
    Row {
        name: "the answer twice",
        lie: |_, honest| Act::Bytes([honest, honest].concat()),
        want: [Protocol; 3],
    },
    Row {
        name: "never",
        lie: |_, _| Act::Hang,
        want: [TimedOut; 3],
    },
    Row {
        name: "the end instead of an answer",
        lie: |_, _| Act::End,
        want: [Retry; 3],
    },
    Row {
        name: "an item missing",
        lie: |said, _| {
            said.remove(1);
            Act::Send
        },
        // What is missing may be there under another's id.
        want: [Protocol; 3],
    },
    Row {
        name: "an id that was never sent",
        lie: |said, _| {
            set_id(&mut said[1], 1 << 40);
            Act::Send
        },
        want: [Protocol; 3],
    },
    Row {
        name: "a stale id, of the negotiation",
        lie: |said, _| {
            set_id(&mut said[1], 1);
            Act::Send
        },
        want: [Protocol; 3],
    },
    Row {
        name: "one id twice",
        lie: |said, _| {
            said[1].id = said[0].id.clone();
            Act::Send
        },
        want: [Protocol; 3],
    },
    Row {
        name: "no id",
        lie: |said, _| {
            said[1].id = None;
            Act::Send
        },
        want: [Protocol; 3],
    },
    Row {
        name: "an id of 3 bytes",
        lie: |said, _| {
            said[1].id = Some(vec![0, 0, 4]);
            Act::Send
        },
        want: [Protocol; 3],
    },
    Row {
        name: "an item more than asked",
        lie: |said, _| {
            let mut more = said[0].clone();
            set_id(&mut more, 1 << 40);
            said.push(more);
            Act::Send
        },
        want: [Protocol; 3],
    },
    Row {
        name: "a plaintext too short",
        lie: |said, _| {
            data(&mut said[1]).pop();
            Act::Send
        },
        want: [Right, Protocol, Right],
    },
    Row {
        name: "the answer of another key",
        lie: |said, _| {
            if let Ok(Payload::Decrypted { uid, .. }) = &mut said[2].result {
                "uid-7".clone_into(uid);
            }
            Act::Send
        },
        want: [Right, Right, Protocol],
    },
    Row {
        name: "an Encrypt's answer",
        lie: |said, _| {
            said[0].operation = Some(0x1F);
            Act::Send
        },
        want: [Protocol, Right, Right],
    },
    Row {
        name: "success without a payload",
        lie: |said, _| {
            said[0].result = Ok(Payload::None);
            Act::Send
        },
        want: [Protocol, Right, Right],
    },
];

pub(super) fn got(outcome: Option<Outcome>, plain: &[u8], name: &str) -> Got {
    match outcome.map(plaintext) {
        None => Retry,
        Some(Ok(bytes)) => {
            assert_eq!(bytes, plain, "{name}: a wrong plaintext");
            Right
        }
        Some(Err(HsmError::Protocol(_))) => Protocol,
        Some(Err(HsmError::TimedOut)) => TimedOut,
        Some(Err(HsmError::Unavailable(why))) => {
            assert!(
                why.contains("127.0.0.1:"),
                "{name}: \"{why}\" lacks the place"
            );
            Unavailable
        }
        Some(Err(other)) => panic!("{name}: {other:?}"),
    }
}

#[test]
fn no_lie_yields_a_wrong_plaintext_and_each_ends_its_connection() {
    let hsm = FakeHsm::start(World::default());
    for Row { name, lie, want } in ROWS {
        let mut session = open(&hsm, None).unwrap();
        hsm.world.lock().lie = Box::new(lie);
        let patience = if want == [TimedOut; 3] {
            Duration::from_millis(200)
        } else {
            Duration::from_secs(20)
        };
        let requests = PLAIN.map(|plain| decrypt("uid-1", sealed(plain)));
        let (outcomes, served) = serve(&mut session, requests.into(), Instant::now() + patience);
        let got: Vec<Got> = outcomes
            .into_iter()
            .zip(PLAIN)
            .map(|(outcome, plain)| got(outcome, plain, name))
            .collect();
        assert_eq!(got, want, "{name}");
        assert_eq!(served.broken.is_some(), want != [Right; 3], "{name}");
        let retry = want.iter().filter(|got| **got == Retry).count();
        assert_eq!(served.retry.len(), retry, "{name}");
        hsm.world.lock().lie = Box::new(|_, _| Act::Send);
    }
}

#[test]
fn an_encrypt_without_a_whole_tag_or_of_another_length_is_refused() {
    type Change = fn(&mut Vec<Said>, &[u8]) -> Act;
    let rows: [(&str, Change); 2] = [
        ("a ciphertext too short", |said, _| {
            if let Ok(Payload::Encrypted { data, .. }) = &mut said[0].result {
                data.pop();
            }
            Act::Send
        }),
        ("no tag", |said, _| {
            let Ok(Payload::Encrypted { uid, data }) = said[0].result.clone() else {
                return Act::Send;
            };
            // A Decrypt's payload has all that an Encrypt's has, but no tag.
            said[0].result = Ok(Payload::Decrypted { uid, data });
            Act::Send
        }),
    ];
    for (name, lie) in rows {
        let hsm = FakeHsm::start(World::default());
        let mut session = open(&hsm, None).unwrap();
        hsm.world.lock().lie = Box::new(lie);
        let wrap = Request::Encrypt {
            object: object("uid-1"),
            plaintext: SecretBytes::new(vec![7; 32]),
            associated_data: Vec::new(),
        };
        let (outcomes, served) = serve(&mut session, vec![wrap], soon());
        let outcome = outcomes.into_iter().next().flatten();
        assert!(
            matches!(outcome, Some(Err(HsmError::Protocol(_)))),
            "{name}: {outcome:?}"
        );
        assert!(served.broken.is_some(), "{name}");
    }
}

#[test]
fn an_idle_connection_that_ended_or_talks_unasked_is_found_out() {
    for (name, lie) in [
        (
            "unasked",
            (|_, honest| Act::Bytes([honest, honest].concat())) as fn(&mut Vec<Said>, &[u8]) -> Act,
        ),
        ("ended", |_, honest| Act::BytesThenEnd(honest.to_vec())),
    ] {
        let hsm = FakeHsm::start(World::default());
        let mut session = open(&hsm, None).unwrap();
        assert!(session.is_quiet(), "{name}");
        hsm.world.lock().lie = Box::new(lie);
        if session.probe(soon()).is_err() {
            continue;
        }
        let limit = soon();
        while session.is_quiet() {
            assert!(Instant::now() < limit, "{name}");
            std::thread::yield_now();
        }
    }
}
