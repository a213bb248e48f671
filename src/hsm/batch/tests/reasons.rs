//! What each Result Reason becomes.

use super::*;

fn failed(request: Request, reason: u32, state: Option<KeyState>) -> HsmError {
    let (tx, rx) = mpsc::channel();
    let done: Done = Box::new(move |result| tx.send(result).unwrap());
    let batch = gather(vec![Job {
        request,
        deadline: Instant::now(),
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

#[test]
fn reasons_become_errors() {
    use KeyState::{Active, Deactivated, Destroyed, PreActive};
    let refused = |reason| HsmError::Refused {
        reason,
        text: "no way".into(),
    };
    let auth = HsmError::AuthenticationFailed;
    for (name, encrypt, reason, state, want) in [
        ("missing key", false, 0x01, None, HsmError::ObjectNotFound),
        (
            "missing key, 2.x",
            true,
            0x37,
            None,
            HsmError::ObjectNotFound,
        ),
        (
            "destroyed",
            false,
            0x36,
            None,
            HsmError::NotActive { state: Destroyed },
        ),
        ("wrong tag by the standard", false, 0x0A, None, auth.clone()),
        (
            "the same on Encrypt is the HSM's",
            true,
            0x0A,
            None,
            refused(0x0A),
        ),
        (
            "wrong tag as PyKMIP says it",
            false,
            0x100,
            Some(Active),
            auth,
        ),
        (
            "general failure, key state unknown",
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
        (
            "denied: not active",
            true,
            0x0C,
            Some(PreActive),
            HsmError::NotActive { state: PreActive },
        ),
        ("denied: active", false, 0x0C, Some(Active), refused(0x0C)),
        ("denied: not ours", false, 0x0C, None, refused(0x0C)),
        (
            "life cycle",
            false,
            0x43,
            Some(Deactivated),
            HsmError::NotActive { state: Deactivated },
        ),
        ("unknown reason", false, 0x7777, None, refused(0x7777)),
    ] {
        let request = if encrypt {
            let plaintext = SecretBytes::new(vec![1; 32]);
            Request::Encrypt {
                object: object(),
                plaintext,
                associated_data: Vec::new(),
            }
        } else {
            Request::Decrypt {
                object: object(),
                sealed: sealed(1, 32),
                associated_data: Vec::new(),
            }
        };
        assert_eq!(failed(request, reason, state), want, "{name}");
    }
}
