#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::secret::{Arena, ArenaPlan, Mode, SecretBytes};

mod cbc;
mod reasons;

type Outcomes = mpsc::Receiver<(usize, Result<Answer, HsmError>)>;

fn arena() -> &'static Arena {
    static ARENA: OnceLock<&'static Arena> = OnceLock::new();
    ARENA.get_or_init(|| {
        Arena::reserve(&ArenaPlan {
            key_bytes: 256 * 1024,
            large_count: 1,
            large_bytes: 4096,
            buffer_bytes: 64 * 1024,
            mode: Some(Mode::Mlock),
        })
        .expect("an arena")
    })
}

fn store(bytes: &[u8]) -> Result<SecretKey, HsmError> {
    arena().store(bytes).map_err(|_| HsmError::NoLockedMemory)
}

fn object() -> ObjectId {
    ObjectId("uid-1".into())
}

/// The honest answer to `sealed` in this file's world.
fn opened(sealed: &[u8]) -> Vec<u8> {
    sealed[12..sealed.len() - 16]
        .iter()
        .map(|byte| byte ^ 0x5a)
        .collect()
}

fn sealed(n: u8, len: usize) -> Vec<u8> {
    vec![n; 28 + len]
}

fn decrypts(all: &[Vec<u8>]) -> (Vec<Job>, Outcomes) {
    let (tx, rx) = mpsc::channel();
    let deadline = Instant::now() + Duration::from_secs(1);
    let jobs = all.iter().enumerate().map(|(at, sealed)| {
        let tx = tx.clone();
        let done: Done = Box::new(move |result| tx.send((at, result)).unwrap());
        let request = Request::Decrypt {
            object: object(),
            sealed: sealed.clone(),
            associated_data: Vec::new(),
        };
        Job {
            request,
            deadline,
            client: crate::hsm::ClientTag::default(),
            sent: None,
            done,
        }
    });
    (jobs.collect(), rx)
}

fn gather(jobs: Vec<Job>) -> Batch {
    Batch::gather(Form::default(), jobs, &mut ItemIds::default(), || {
        [7; IV_BYTES]
    })
    .0
}

fn give(finished: Finished) {
    for (done, result) in finished {
        done(result);
    }
}

/// One reply, owned.
#[derive(Clone, Debug)]
struct Said {
    id: Option<Vec<u8>>,
    by: &'static str,
    data: Vec<u8>,
}

fn honest(batch: &Batch) -> Vec<Said> {
    let say = |item: &Item| {
        let Request::Decrypt { sealed, .. } = &item.request else {
            unreachable!()
        };
        Said {
            id: Some(item.id.to_be_bytes().to_vec()),
            by: "uid-1",
            data: opened(sealed),
        }
    };
    batch.items().iter().map(say).collect()
}

fn settle(batch: Batch, said: &[Said]) -> Settled {
    let replies: Vec<Reply<'_>> = said
        .iter()
        .map(|said| Reply {
            id: said.id.as_deref(),
            outcome: Outcome::Decrypted {
                object: Some(said.by),
                data: &said.data,
            },
        })
        .collect();
    batch.settle(&replies, &mut ItemIds::default(), store)
}

#[derive(Clone, Copy, Debug)]
enum Lie {
    Truth,
    WrongId,
    NoId,
    ShortId,
    StaleId,
    DuplicateId,
    Missing,
    Extra,
    CutPlaintext,
    LongPlaintext,
    OtherKey,
    Shuffled,
    /// An item is left out, and the one before it bears its id.
    Displaced,
}

const LIES: [Lie; 13] = [
    Lie::Truth,
    Lie::WrongId,
    Lie::NoId,
    Lie::ShortId,
    Lie::StaleId,
    Lie::DuplicateId,
    Lie::Missing,
    Lie::Extra,
    Lie::CutPlaintext,
    Lie::LongPlaintext,
    Lie::OtherKey,
    Lie::Shuffled,
    Lie::Displaced,
];

/// Tells the lie about item `at`; true when it is a lie that must cost the connection.
fn tell(lie: Lie, at: usize, said: &mut Vec<Said>) -> bool {
    let at = at % said.len();
    match lie {
        Lie::Truth => return false,
        Lie::Shuffled => {
            said.reverse();
            return false;
        }
        Lie::WrongId => said[at].id = Some(u64::MAX.to_be_bytes().to_vec()),
        Lie::NoId => said[at].id = None,
        Lie::ShortId => said[at].id = Some(vec![1]),
        Lie::StaleId => said[at].id = Some(3_u64.to_be_bytes().to_vec()),
        Lie::DuplicateId => {
            let other = said[(at + 1) % said.len()].id.clone();
            if said.len() == 1 {
                let again = said[0].clone();
                said.push(again);
            } else {
                said[at].id = other;
            }
        }
        Lie::Missing => drop(said.remove(at)),
        Lie::Displaced => {
            let gone = said.remove(at);
            if let Some(before) = at.checked_sub(1).and_then(|at| said.get_mut(at)) {
                before.id = gone.id;
            }
        }
        Lie::Extra => {
            let mut extra = said[at].clone();
            extra.id = Some(1000_u64.to_be_bytes().to_vec());
            said.push(extra);
        }
        Lie::CutPlaintext => drop(said[at].data.pop()),
        Lie::LongPlaintext => said[at].data.push(0),
        Lie::OtherKey => said[at].by = "uid-2",
    }
    true
}

proptest! {
    #[test]
    fn no_lie_yields_a_wrong_plaintext(
        seeds in prop::collection::vec((any::<u8>(), 1_usize..40), 1..20),
        lie in prop::sample::select(&LIES[..]),
        at in any::<usize>(),
    ) {
        let all: Vec<Vec<u8>> = seeds.iter().map(|&(n, len)| sealed(n, len)).collect();
        let (jobs, outcomes) = decrypts(&all);
        let mut ids = ItemIds { last: 10 };
        let (batch, _) = Batch::gather(Form::default(), jobs, &mut ids, || [0; IV_BYTES]);
        let mut said = honest(&batch);
        let must_drop = tell(lie, at, &mut said);
        let settled = settle(batch, &said);
        prop_assert_eq!(settled.broken.is_some(), must_drop, "{:?}", settled.broken);
        let is_unordered = matches!(lie, Lie::Shuffled) && said.len() > 1;
        prop_assert_eq!(settled.unordered.is_some(), is_unordered);
        give(settled.finished);
        if let Some(batch) = settled.unordered {
            give(batch.fail(&HsmError::Protocol("shuffled")));
        }
        let mut answered = 0;
        for (at, result) in outcomes {
            answered += 1;
            match result {
                Ok(Answer::Plaintext(key)) => {
                    prop_assert!(key.expose(|bytes| bytes == opened(&all[at])));
                }
                Err(HsmError::Protocol(_)) => prop_assert!(must_drop || is_unordered),
                other => prop_assert!(false, "{other:?}"),
            }
        }
        prop_assert_eq!(answered, all.len());
    }
}

#[test]
fn ids_never_repeat_on_a_connection() {
    let mut ids = ItemIds::default();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..10 {
        let all: Vec<_> = (0..5).map(|n| sealed(n, 8)).collect();
        let (batch, _) = Batch::gather(Form::default(), decrypts(&all).0, &mut ids, || {
            [0; IV_BYTES]
        });
        let single = batch.split(&mut ids);
        for item in single.iter().flat_map(Batch::items) {
            assert!(seen.insert(item.id), "{}", item.id);
        }
    }
}

#[test]
fn equal_decrypts_share_an_item_and_both_are_answered() {
    let (jobs, outcomes) = decrypts(&[sealed(1, 8), sealed(2, 8), sealed(1, 8)]);
    let batch = gather(jobs);
    assert_eq!(batch.items().len(), 2);
    let said = honest(&batch);
    give(settle(batch, &said).finished);
    let answered: Vec<_> = outcomes
        .into_iter()
        .filter(|(_, result)| result.is_ok())
        .collect();
    assert_eq!(answered.len(), 3);
}

#[test]
fn a_shared_item_goes_back_as_one_job_a_waiter() {
    let batch = gather(decrypts(&[sealed(1, 8), sealed(1, 8)]).0);
    assert_eq!(batch.into_jobs().len(), 2);
}

fn encrypt() -> (Batch, mpsc::Receiver<Result<Answer, HsmError>>) {
    let (tx, rx) = mpsc::channel();
    let request = Request::Encrypt {
        object: object(),
        plaintext: SecretBytes::new(vec![1; 4]),
        associated_data: Vec::new(),
    };
    let job = Job {
        request,
        deadline: Instant::now(),
        client: crate::hsm::ClientTag::default(),
        sent: None,
        done: Box::new(move |result| tx.send(result).unwrap()),
    };
    (gather(vec![job]), rx)
}

#[test]
fn an_encrypt_is_believed_only_with_our_nonce_and_a_whole_tag() {
    let (data, tag, ours) = (&[9_u8; 4][..], &[8_u8; 16][..], &[7_u8; 12][..]);
    for (name, data, nonce, tag, works) in [
        ("right", data, None, Some(tag), true),
        ("our nonce echoed", data, Some(ours), Some(tag), true),
        (
            "its own nonce",
            data,
            Some(&[1_u8; 16][..]),
            Some(tag),
            false,
        ),
        ("no tag", data, None, None, false),
        ("short tag", data, None, Some(&tag[..12]), false),
        (
            "tag behind the ciphertext",
            &[9_u8; 20][..],
            None,
            None,
            false,
        ),
        ("short ciphertext", &data[..3], None, Some(tag), false),
    ] {
        let (batch, rx) = encrypt();
        let id = batch.items()[0].id.to_be_bytes();
        let outcome = Outcome::Encrypted {
            object: Some("uid-1"),
            data,
            nonce,
            tag,
        };
        let settled = batch.settle(
            &[Reply {
                id: Some(&id),
                outcome,
            }],
            &mut ItemIds::default(),
            store,
        );
        assert_eq!(settled.broken.is_none(), works, "{name}");
        give(settled.finished);
        match rx.recv().unwrap() {
            Ok(Answer::Sealed(bytes)) => {
                assert!(works, "{name}");
                assert_eq!(
                    bytes,
                    [&[7_u8; 12][..], &[9; 4], &[8; 16]].concat(),
                    "{name}"
                );
            }
            other => assert!(
                !works && matches!(other, Err(HsmError::Protocol(_))),
                "{name}"
            ),
        }
    }
}

#[test]
fn the_hsm_s_text_is_fit_for_a_log_line() {
    for (text, want) in [("a\r\nb\u{1b}[0m", "a  b [0m"), ("  x  ", "x"), ("", "")] {
        assert_eq!(&*clean(text), want);
    }
    assert_eq!(clean(&"ü".repeat(5000)).chars().count(), 200);
}

#[test]
fn other_kinds_come_back() {
    let job = Job {
        request: Request::Find {
            name: Arc::from("k"),
        },
        deadline: Instant::now(),
        client: crate::hsm::ClientTag::default(),
        sent: None,
        done: Box::new(|_| ()),
    };
    let (batch, others) =
        Batch::gather(Form::default(), vec![job], &mut ItemIds::default(), || {
            [0; IV_BYTES]
        });
    assert!(batch.is_empty());
    assert_eq!(others.len(), 1);
}
