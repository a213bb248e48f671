//! Two messages under way on one connection: each waiter gets its own answer or is asked again, whatever
//! becomes of the answer to the other message.

use super::lies::Got::{self, Protocol, Retry, Right, TimedOut, Unavailable};
use super::lies::got;
use super::*;
use crate::wire::kmip::enums::operation;

/// The first two are one message, the others the other.
const PLAIN: [&[u8]; 4] = [b"key one.", b"key two.", b"key three", b"key four"];

/// What is done with the nth answer, from 0: given those kept so far, its items and its honest bytes.
type Script = fn(usize, &mut Vec<Vec<u8>>, &mut Vec<Said>, &[u8]) -> Act;

/// A row that ends the connection answers nothing before both messages have come, or what the HSM has seen
/// by then would be chance.
struct Row {
    name: &'static str,
    script: Script,
    want: [Got; 4],
    /// Items of the messages that the HSM saw.
    seen: &'static [usize],
}

fn keep(kept: &mut Vec<Vec<u8>>, honest: &[u8]) -> Act {
    kept.push(honest.to_vec());
    Act::Hang
}

const GARBAGE: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";

fn garbage() -> Act {
    Act::Bytes(GARBAGE.to_vec())
}

/// The answer, its first item said to be of another key.
fn of_another_key(honest: &[u8]) -> Vec<u8> {
    let uid = b"uid-1";
    let at = honest.windows(uid.len()).position(|part| part == uid);
    let mut bytes = honest.to_vec();
    bytes[at.unwrap() + uid.len() - 1] = b'7';
    bytes
}

/// The whole message, refused.
fn refuse(said: &mut Vec<Said>, reason: u32) -> Act {
    said.truncate(1);
    said[0] = Said {
        operation: None,
        id: None,
        result: Err((reason, "not so many".into())),
    };
    Act::Send
}

const ROWS: [Row; 16] = [
    Row {
        name: "the truth",
        script: |_, _, _, _| Act::Send,
        want: [Right; 4],
        seen: &[2, 2],
    },
    Row {
        name: "no answer before both have come, then both in one piece",
        script: |nth, kept, _, honest| match nth {
            0 => keep(kept, honest),
            _ => Act::Bytes([&kept[0], honest].concat()),
        },
        want: [Right; 4],
        seen: &[2, 2],
    },
    Row {
        name: "the same, cut in the middle of the second",
        script: |nth, kept, _, honest| match nth {
            0 => keep(kept, honest),
            _ => Act::BytesThenEnd([&kept[0], &honest[..honest.len() / 2]].concat()),
        },
        want: [Right, Right, Unavailable, Unavailable],
        seen: &[2, 2],
    },
    Row {
        name: "the second message's answer first",
        script: |nth, kept, _, honest| match nth {
            0 => keep(kept, honest),
            _ => Act::Bytes([honest, &kept[0]].concat()),
        },
        want: [Protocol, Protocol, Retry, Retry],
        seen: &[2, 2],
    },
    Row {
        name: "the first answer twice",
        script: |nth, kept, _, honest| match nth {
            0 => keep(kept, honest),
            _ => Act::Bytes([&kept[0][..], &kept[0]].concat()),
        },
        want: [Right, Right, Protocol, Protocol],
        seen: &[2, 2],
    },
    Row {
        name: "an answer that nobody asked for behind both",
        script: |nth, kept, _, honest| match nth {
            0 => keep(kept, honest),
            _ => Act::Bytes([&kept[0], honest, honest].concat()),
        },
        want: [Right, Right, Protocol, Protocol],
        seen: &[2, 2],
    },
    Row {
        name: "the first is garbage",
        script: |nth, kept, _, honest| match nth {
            0 => keep(kept, GARBAGE),
            _ => Act::Bytes([&kept[0], honest].concat()),
        },
        want: [Protocol, Protocol, Retry, Retry],
        seen: &[2, 2],
    },
    Row {
        name: "the second is garbage",
        script: |nth, _, _, _| if nth == 1 { garbage() } else { Act::Send },
        want: [Right, Right, Protocol, Protocol],
        seen: &[2, 2],
    },
    Row {
        name: "an item of the first is of another key",
        script: |nth, kept, _, honest| match nth {
            0 => keep(kept, &of_another_key(honest)),
            _ => Act::Bytes([&kept[0], honest].concat()),
        },
        want: [Protocol, Right, Retry, Retry],
        seen: &[2, 2],
    },
    Row {
        name: "the end before the first",
        script: |nth, kept, _, honest| match nth {
            0 => keep(kept, honest),
            _ => Act::End,
        },
        want: [Retry; 4],
        seen: &[2, 2],
    },
    Row {
        name: "the end after the first",
        script: |nth, kept, _, honest| match nth {
            0 => keep(kept, honest),
            _ => Act::BytesThenEnd(kept[0].clone()),
        },
        want: [Right, Right, Retry, Retry],
        seen: &[2, 2],
    },
    Row {
        name: "the end in the middle of the first",
        script: |nth, kept, _, honest| match nth {
            0 => keep(kept, honest),
            _ => Act::BytesThenEnd(kept[0][..40].to_vec()),
        },
        want: [Unavailable, Unavailable, Retry, Retry],
        seen: &[2, 2],
    },
    Row {
        name: "the first is refused as a whole: its items alone, once the second is read",
        script: |nth, _, said, _| match nth {
            0 => refuse(said, 8),
            _ => Act::Send,
        },
        want: [Right; 4],
        seen: &[2, 2, 1, 1],
    },
    Row {
        name: "both are too long: each in halves",
        script: |nth, _, said, _| match nth {
            0 | 1 => refuse(said, 2),
            _ => Act::Send,
        },
        want: [Right; 4],
        seen: &[2, 2, 1, 1, 1, 1],
    },
    Row {
        name: "the first is refused as a whole, the second is garbage",
        script: |nth, _, said, _| match nth {
            0 => refuse(said, 8),
            _ => garbage(),
        },
        want: [Retry, Retry, Protocol, Protocol],
        seen: &[2, 2],
    },
    Row {
        name: "the second is never answered",
        script: |nth, kept, _, honest| match nth {
            0 => keep(kept, honest),
            _ => Act::Bytes(kept[0].clone()),
        },
        want: [Right, Right, TimedOut, TimedOut],
        seen: &[2, 2],
    },
];

/// Serves messages of these requests, each with its own patience.
fn serve_messages(
    session: &mut Session,
    messages: Vec<(Vec<Request>, Duration)>,
) -> (Vec<Option<Outcome>>, Served) {
    let now = Instant::now();
    let mut results = Vec::new();
    let mut jobs_of = |(requests, patience): (Vec<Request>, Duration)| -> Vec<Job> {
        let jobs = requests.into_iter().map(|request| {
            let (job, result) = job(request, now + patience);
            results.push(result);
            job
        });
        jobs.collect()
    };
    let messages = messages.into_iter().map(&mut jobs_of).collect();
    let served = session.serve_pipelined(messages, None);
    let outcomes = results.iter().map(|rx| rx.try_recv().ok()).collect();
    (outcomes, served)
}

fn pair(from: usize) -> Vec<Request> {
    let pair = &PLAIN[from..from + 2];
    let decrypts = pair.iter().map(|plain| decrypt("uid-1", sealed(plain)));
    decrypts.collect()
}

fn play(hsm: &FakeHsm, script: Script) {
    let (mut nth, mut kept) = (0, Vec::new());
    let mut world = hsm.world.lock();
    world.seen.clear();
    world.lie = Box::new(move |said, honest| {
        nth += 1;
        script(nth - 1, &mut kept, said, honest)
    });
}

#[test]
fn each_waiter_of_two_messages_gets_its_own_answer_or_is_asked_again() {
    let hsm = FakeHsm::start(World::default());
    for row in ROWS {
        let Row {
            name,
            script,
            want,
            seen,
        } = row;
        let mut session = open(&hsm, None).unwrap();
        play(&hsm, script);
        let patience = if want.contains(&TimedOut) {
            Duration::from_millis(200)
        } else {
            Duration::from_secs(20)
        };
        let messages = vec![(pair(0), patience), (pair(2), patience)];
        let (outcomes, served) = serve_messages(&mut session, messages);
        let got: Vec<Got> = outcomes
            .into_iter()
            .zip(PLAIN)
            .map(|(outcome, plain)| got(outcome, plain, name))
            .collect();
        assert_eq!(got, want, "{name}");
        assert_eq!(served.broken.is_some(), want != [Right; 4], "{name}");
        let back = want.iter().filter(|got| **got == Retry).count();
        assert_eq!(served.retry.len() + served.unsent.len(), back, "{name}");
        let mut world = hsm.world.lock();
        let sizes: Vec<usize> = world.seen.iter().map(Vec::len).collect();
        assert_eq!(sizes, seen, "{name}");
        world.lie = Box::new(|_, _| Act::Send);
        drop(world);
        if want == [Right; 4] {
            assert!(session.is_quiet(), "{name}");
            assert!(session.probe(soon()).is_ok(), "{name}");
        }
    }
}

#[test]
fn each_message_has_its_own_deadline() {
    let hsm = FakeHsm::start(World::default());
    let mut session = open(&hsm, None).unwrap();
    play(&hsm, |_, _, _, _| Act::Hang);
    let short = (pair(0), Duration::from_millis(200));
    let long = (pair(2), Duration::from_secs(20));
    let (outcomes, served) = serve_messages(&mut session, vec![short, long]);
    for (at, outcome) in outcomes.into_iter().enumerate() {
        let want = if at < 2 { TimedOut } else { Retry };
        assert_eq!(got(outcome, PLAIN[at], "late"), want, "{at}");
    }
    assert!(served.broken.is_some());
}

#[test]
fn what_is_no_unwrap_and_what_is_in_doubt_waits_until_no_answer_is_outstanding() {
    let hsm = FakeHsm::start(World {
        wrong_tag: 0x100,
        ..World::default()
    });
    let mut session = open(&hsm, None).unwrap();
    // The first answer is given when the second message is there, so that both are under way.
    play(&hsm, |nth, kept, _, honest| match nth {
        0 => keep(kept, honest),
        1 => Act::Bytes([&kept[0], honest].concat()),
        _ => Act::Send,
    });
    let find = Request::Find {
        name: "demo".into(),
    };
    let mut forged = sealed(b"forged");
    forged[20] ^= 1;
    let long = Duration::from_secs(20);
    let first = vec![decrypt("uid-1", forged), find];
    let (outcomes, served) = serve_messages(&mut session, vec![(first, long), (pair(2), long)]);
    assert_eq!(served.broken, None);
    let mut outcomes = outcomes.into_iter().map(Option::unwrap);
    let doubtful = plaintext(outcomes.next().unwrap());
    assert_eq!(doubtful, Err(HsmError::AuthenticationFailed));
    assert!(outcomes.next().unwrap().is_ok(), "Find");
    assert!(outcomes.all(|outcome| outcome.is_ok()));
    let seen = hsm.world.lock().seen.clone();
    let (decrypt, attributes) = (operation::DECRYPT, operation::GET_ATTRIBUTES);
    let want = [vec![decrypt], vec![decrypt; 2], vec![attributes]];
    assert_eq!(seen[..3], want);
}

#[test]
fn without_pipelining_the_second_waits_for_the_first() {
    let hsm = FakeHsm::start(World::default());
    let mut session = open(&hsm, None).unwrap();
    play(&hsm, |_, _, _, _| Act::Hang);
    // Too long for one message together.
    let plain = vec![7; 20 * 1024];
    let requests = vec![
        decrypt("uid-1", sealed(&plain)),
        decrypt("uid-1", sealed(&plain[1..])),
    ];
    let deadline = Instant::now() + Duration::from_millis(200);
    let (outcomes, served) = serve(&mut session, requests, deadline);
    assert_eq!(
        outcomes[0].as_ref().unwrap().as_ref().err(),
        Some(&HsmError::TimedOut)
    );
    assert_eq!((outcomes[1].is_none(), served.unsent.len()), (true, 1));
    assert_eq!(hsm.world.lock().seen.len(), 1);
}

#[test]
fn long_answers_in_one_piece_are_told_apart() {
    let hsm = FakeHsm::start(World::default());
    let mut session = open(&hsm, None).unwrap();
    play(&hsm, |nth, kept, _, honest| {
        kept.push(honest.to_vec());
        if nth % 3 < 2 {
            return Act::Hang;
        }
        Act::Bytes(std::mem::take(kept).concat())
    });
    // One longer than the usual buffer in front of others, and some that are so together.
    let lens = [
        33 * 1024,
        100,
        13_000,
        13_000,
        13_000,
        8,
        5000,
        30_000,
        4096,
    ];
    let plains: Vec<Vec<u8>> = (0_u8..).zip(lens).map(|(n, len)| vec![n; len]).collect();
    for three in plains.chunks(3) {
        let messages = three.iter().map(|plain| {
            let requests = vec![decrypt("uid-1", sealed(plain))];
            (requests, Duration::from_secs(20))
        });
        let (outcomes, served) = serve_messages(&mut session, messages.collect());
        assert_eq!(served.broken, None);
        for (outcome, plain) in outcomes.into_iter().zip(three) {
            let got = plaintext(outcome.unwrap());
            assert!(got.as_ref() == Ok(plain), "{} bytes", plain.len());
        }
    }
    assert!(session.is_quiet());
}
