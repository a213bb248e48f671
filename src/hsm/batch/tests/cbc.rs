//! AES-CBC with HMAC: two operations an unwrap, two messages a wrap.

use super::*;
use crate::hsm::batch::cbc::Stage;

/// "MAC" of this file's world: over all bytes, 32 long.
fn mac(over: &[u8]) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, over)
        .as_ref()
        .to_vec()
}

fn pair() -> ObjectId {
    ObjectId::pair("enc", "mac").unwrap()
}

/// What would be sealed of a plaintext whose bytes are flipped to encrypt, and padded with 0.
fn sealed(plain: &[u8], associated_data: &[u8]) -> Vec<u8> {
    let mut body = vec![7; 16];
    body.extend(encrypted(plain));
    let bits = (associated_data.len() as u64 * 8).to_be_bytes();
    let mac = mac(&[associated_data, &body, &bits].concat());
    [body, mac].concat()
}

fn encrypted(plain: &[u8]) -> Vec<u8> {
    let mut data: Vec<u8> = plain.iter().map(|byte| byte ^ 0x5a).collect();
    data.resize((plain.len() / 16 + 1) * 16, 0);
    data
}

fn job_of(request: Request) -> (Job, mpsc::Receiver<Result<Answer, HsmError>>) {
    let (tx, rx) = mpsc::channel();
    let done: Done = Box::new(move |result| tx.send(result).unwrap());
    let deadline = Instant::now() + Duration::from_secs(1);
    (Job::new(request, deadline, done), rx)
}

fn unwrap_of(sealed: &[u8]) -> Request {
    Request::Decrypt {
        object: pair(),
        sealed: sealed.to_vec(),
        associated_data: b"aad".to_vec(),
    }
}

fn form(mac_verify: bool, single: bool) -> Form {
    Form {
        envelope: Envelope::AesCbcHmac,
        mac_verify,
        single,
    }
}

/// The honest HSM's answers to a batch; `change` may spoil the nth.
fn answer(
    batch: Batch,
    ids: &mut ItemIds,
    stored: &mut usize,
    change: impl Fn(usize, &mut Outcome<'_>),
) -> Settled {
    let mut room: Vec<(u64, Vec<u8>, u8, bool)> = Vec::new();
    for (id, ask) in batch.asks() {
        room.push(match ask {
            Ask::Encrypt {
                object, plaintext, ..
            } => {
                assert_eq!(object, "enc");
                (id, encrypted(plaintext), 0, true)
            }
            Ask::Decrypt { object, iv, data } => {
                assert_eq!((object, iv), ("enc", &[7; 16][..]));
                let plain = data.iter().map(|byte| byte ^ 0x5a).take(data.len() - 1);
                (id, plain.collect(), 1, true)
            }
            Ask::Mac { object, data } => {
                assert_eq!(object, "mac");
                (id, mac(data), 2, true)
            }
            Ask::MacVerify {
                object,
                data,
                mac: want,
            } => {
                assert_eq!(object, "mac");
                (id, Vec::new(), 3, mac(data) == want)
            }
        });
    }
    let ids_sent: Vec<_> = room.iter().map(|(id, ..)| id.to_be_bytes()).collect();
    let replies: Vec<Reply<'_>> = room
        .iter()
        .zip(&ids_sent)
        .enumerate()
        .map(|(at, ((_, data, kind, holds), id))| {
            let object = Some(if *kind < 2 { "enc" } else { "mac" });
            let mut outcome = match kind {
                0 => Outcome::Encrypted {
                    object,
                    data,
                    nonce: None,
                    tag: None,
                },
                1 => Outcome::Decrypted { object, data },
                2 => Outcome::Mac { object, mac: data },
                _ => Outcome::MacVerified {
                    object,
                    holds: *holds,
                },
            };
            change(at, &mut outcome);
            Reply {
                id: Some(id),
                outcome,
            }
        })
        .collect();
    batch.settle(&replies, ids, |plain| {
        *stored += 1;
        store(plain)
    })
}

fn finish(mut settled: Settled, ids: &mut ItemIds, stored: &mut usize) {
    loop {
        give(std::mem::take(&mut settled.finished));
        if settled.next.is_empty() {
            return;
        }
        settled = answer(settled.next, ids, stored, |_, _| {});
    }
}

fn outcome_of(
    form: Form,
    request: Request,
    change: impl Fn(usize, &mut Outcome<'_>),
) -> (Option<Result<Answer, HsmError>>, usize) {
    let (job, rx) = job_of(request);
    let (mut ids, mut stored) = (ItemIds::default(), 0);
    let (batch, _) = Batch::gather(form, vec![job], &mut ids, || [7; IV_BYTES]);
    let settled = answer(batch, &mut ids, &mut stored, change);
    finish(settled, &mut ids, &mut stored);
    (rx.try_recv().ok(), stored)
}

#[test]
fn what_is_sealed_is_opened_and_anything_changed_is_not() {
    for (mac_verify, single) in [(false, false), (true, false), (false, true), (true, true)] {
        let form = form(mac_verify, single);
        let wrap = Request::Encrypt {
            object: pair(),
            plaintext: SecretBytes::new(vec![9; 31]),
            associated_data: b"aad".to_vec(),
        };
        let (wrapped, _) = outcome_of(form, wrap, |_, _| {});
        let Some(Ok(Answer::Sealed(wrapped))) = wrapped else {
            panic!("{form:?}: {wrapped:?}")
        };
        assert_eq!(wrapped, sealed(&[9; 31], b"aad"), "{form:?}");
        let (opened, _) = outcome_of(form, unwrap_of(&wrapped), |_, _| {});
        let Some(Ok(Answer::Plaintext(key))) = opened else {
            panic!("{form:?}: {opened:?}")
        };
        key.expose(|key| assert_eq!(key, [9; 31]));
        for at in 16..wrapped.len() {
            let mut bad = wrapped.clone();
            bad[at] ^= 1;
            let (outcome, stored) = outcome_of(form, unwrap_of(&bad), |_, _| {});
            let outcome = outcome.unwrap().map(drop);
            assert_eq!(outcome, Err(HsmError::AuthenticationFailed), "byte {at}");
            assert_eq!(stored, 0, "no plaintext was read");
        }
    }
}

#[test]
fn the_length_of_associated_data_is_authenticated() {
    // The same bytes, cut elsewhere.
    let whole = sealed(b"key", b"");
    let moved = Request::Decrypt {
        object: pair(),
        sealed: whole[1..].to_vec(),
        associated_data: whole[..1].to_vec(),
    };
    let (job, _rx) = job_of(moved);
    let mut ids = ItemIds::default();
    let (batch, _) = Batch::gather(form(false, false), vec![job], &mut ids, || [7; IV_BYTES]);
    let Stage::Open(over) = &batch.items[0].stage else {
        panic!()
    };
    let end = whole.len() - 32;
    assert_eq!(over[..end], whole[..end]);
    assert_eq!(over[end..], 8_u64.to_be_bytes());
}

/// What the HSM says instead: about the MAC, and about the decryption.
struct Row {
    name: &'static str,
    mac_verify: bool,
    says: fn(usize) -> Option<Outcome<'static>>,
    /// `None`: the state of the key is asked for first.
    want: Option<HsmError>,
}

fn fails(reason: u32) -> Outcome<'static> {
    Outcome::Failed { reason, text: "no" }
}

fn says_mac(object: &'static str, mac: &'static [u8]) -> Outcome<'static> {
    let object = Some(object);
    Outcome::Mac { object, mac }
}

fn check(rows: Vec<Row>) {
    for row in rows {
        let request = unwrap_of(&sealed(&[9; 31], b"aad"));
        let form = form(row.mac_verify, false);
        let (outcome, stored) = outcome_of(form, request, |at, outcome| {
            if let Some(said) = (row.says)(at) {
                *outcome = said;
            }
        });
        let outcome = outcome.map(Result::unwrap_err);
        assert_eq!((outcome, stored), (row.want, 0), "{}", row.name);
    }
}

#[test]
fn lies_open_nothing() {
    let protocol = |why| Some(HsmError::Protocol(why));
    let row = |name, mac_verify, says, want| Row {
        name,
        mac_verify,
        says,
        want,
    };
    let failed = Some(HsmError::AuthenticationFailed);
    let stray = protocol("an item was answered as another operation");
    check(vec![
        row(
            "a cut MAC",
            false,
            |at| (at == 0).then(|| says_mac("mac", &[0; 16])),
            failed,
        ),
        row(
            "the MAC of another key",
            false,
            |at| (at == 0).then(|| says_mac("enc", &[0; 32])),
            protocol("an item was answered for another key"),
        ),
        row(
            "a MAC where verification was asked",
            true,
            |at| (at == 0).then(|| says_mac("mac", &[0; 32])),
            stray.clone(),
        ),
        row(
            "a plaintext where a MAC was asked",
            false,
            |_| {
                Some(Outcome::Decrypted {
                    object: None,
                    data: &[9; 31],
                })
            },
            stray,
        ),
        row(
            "a plaintext of a wrong length",
            true,
            |at| {
                (at == 1).then_some(Outcome::Decrypted {
                    object: None,
                    data: &[9; 3],
                })
            },
            protocol("a plaintext has not its ciphertext's length"),
        ),
    ]);
}

#[test]
fn refusals_are_read_and_tell_no_padding() {
    let row = |name, mac_verify, says, want| Row {
        name,
        mac_verify,
        says,
        want,
    };
    let failed = Some(HsmError::AuthenticationFailed);
    check(vec![
        row(
            "wrong padding beside a wrong MAC",
            true,
            |at| match at {
                0 => Some(Outcome::MacVerified {
                    object: None,
                    holds: false,
                }),
                _ => Some(fails(0x0A)),
            },
            failed.clone(),
        ),
        row(
            "MAC Verify fails as the standard has it",
            true,
            |at| (at == 0).then(|| fails(0x0A)),
            failed.clone(),
        ),
        row(
            "wrong padding under a right MAC",
            true,
            |at| (at == 1).then(|| fails(0x0A)),
            failed,
        ),
        row(
            "a MAC refused for good",
            false,
            |at| (at == 0).then(|| fails(0x07)),
            Some(HsmError::Refused {
                reason: 0x07,
                text: "no".into(),
            }),
        ),
        row(
            "a MAC refused for its key's state, perhaps",
            false,
            |at| (at == 0).then(|| fails(0x0C)),
            None,
        ),
    ]);
}

#[test]
fn ids_are_never_used_again_and_parts_begin_anew() {
    let wrap = Request::Encrypt {
        object: pair(),
        plaintext: SecretBytes::new(vec![9; 32]),
        associated_data: Vec::new(),
    };
    let requests = [unwrap_of(&sealed(&[1; 15], b"aad")), wrap];
    let (jobs, outcomes): (Vec<_>, Vec<_>) = requests.into_iter().map(job_of).unzip();
    let (mut ids, mut stored) = (ItemIds::default(), 0);
    let (batch, _) = Batch::gather(form(false, false), jobs, &mut ids, || [7; IV_BYTES]);
    assert_eq!(batch.operations(), 3);
    let mut seen: Vec<u64> = batch.asks().map(|(id, _)| id).collect();
    let settled = answer(batch, &mut ids, &mut stored, |_, _| {});
    give(settled.finished);
    assert_eq!(settled.next.operations(), 1, "the wrap's MAC");
    seen.extend(settled.next.asks().map(|(id, _)| id));
    // That message is refused as a whole: encrypted again, alone.
    let [alone] = <[Batch; 1]>::try_from(settled.next.split(&mut ids))
        .ok()
        .unwrap();
    seen.extend(alone.asks().map(|(id, _)| id));
    assert!(matches!(
        alone.asks().next(),
        Some((_, Ask::Encrypt { .. }))
    ));
    let settled = answer(alone, &mut ids, &mut stored, |_, _| {});
    finish(settled, &mut ids, &mut stored);
    let count = seen.len();
    seen.dedup();
    assert_eq!((seen.len(), seen.is_sorted()), (count, true), "{seen:?}");
    assert!(outcomes.iter().all(|rx| rx.try_recv().unwrap().is_ok()));
}
