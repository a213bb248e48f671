//! What each Result Reason becomes.

use super::*;

fn failed(request: Request, reason: u32, state: Option<KeyState>) -> HsmError {
    let (tx, rx) = mpsc::channel();
    let done: Done = Box::new(move |result| tx.send(result).unwrap());
    let batch = gather(vec![Job {
        request,
        deadline: Instant::now(),
        client: crate::hsm::ClientTag::default(),
        sent: None,
        done,
    }]);
    let id = batch.items()[0].id.to_be_bytes();
    let outcome = Outcome::Failed {
        reason,
        text: "no\nway",
    };
    let settled = batch.settle(
        &[Reply {
            id: Some(&id),
            outcome,
        }],
        &mut ItemIds::default(),
        store,
    );
    assert_eq!(settled.broken, None);
    let mut finished = settled.finished;
    for doubtful in settled.doubtful {
        doubtful.resolve(state, &mut finished);
    }
    give(finished);
    rx.recv().unwrap().unwrap_err()
}

fn refused(reason: u32) -> HsmError {
    HsmError::Refused {
        reason,
        text: "no way".into(),
    }
}

type Row = (&'static str, bool, u32, Option<KeyState>, HsmError);

fn hold(rows: impl IntoIterator<Item = Row>) {
    for (name, encrypts, reason, state, want) in rows {
        let associated_data = Vec::new();
        let request = if encrypts {
            Request::Encrypt {
                object: object(),
                plaintext: SecretBytes::new(vec![1; 32]),
                associated_data,
            }
        } else {
            Request::Decrypt {
                object: object(),
                sealed: sealed(1, 32),
                associated_data,
            }
        };
        assert_eq!(failed(request, reason, state), want, "{name}");
    }
}

#[test]
fn reasons_become_errors() {
    let gone = HsmError::ObjectNotFound;
    let auth = HsmError::AuthenticationFailed;
    let state = KeyState::Destroyed;
    hold([
        ("missing key", false, 0x01, None, gone.clone()),
        ("limit", false, 0x3A, None, HsmError::Busy),
        ("limit on a wrap", true, 0x3A, None, HsmError::Busy),
        ("missing key, 2.x", true, 0x37, None, gone),
        (
            "destroyed",
            false,
            0x36,
            None,
            HsmError::NotActive { state },
        ),
        ("wrong tag by the standard", false, 0x0A, None, auth),
        (
            "the same on Encrypt is the HSM's",
            true,
            0x0A,
            None,
            refused(0x0A),
        ),
        ("unknown reason", false, 0x7777, None, refused(0x7777)),
    ]);
}

#[test]
fn a_doubtful_reason_is_read_by_the_key_s_state() {
    use KeyState::{Active, Deactivated, PreActive};
    let auth = HsmError::AuthenticationFailed;
    let asleep = HsmError::NotActive { state: PreActive };
    let ended = HsmError::NotActive { state: Deactivated };
    hold([
        (
            "wrong tag as PyKMIP says it",
            false,
            0x100,
            Some(Active),
            auth,
        ),
        (
            "general failure, state unknown",
            false,
            0x100,
            None,
            refused(0x100),
        ),
        (
            "general failure on Encrypt",
            true,
            0x100,
            Some(Active),
            refused(0x100),
        ),
        ("denied: not active", true, 0x0C, Some(PreActive), asleep),
        ("denied: active", false, 0x0C, Some(Active), refused(0x0C)),
        ("denied: not ours", false, 0x0C, None, refused(0x0C)),
        ("life cycle", false, 0x43, Some(Deactivated), ended),
    ]);
}
