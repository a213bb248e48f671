//! What an HSM's failure means to the client: one table.

use crate::api::Fault;
use crate::hsm::{HsmError, KeyState};

/// Seconds a client is asked to wait when the HSM is out of reach or the queue is full.
const RETRY_AFTER_S: u32 = 1;

/// The client's view of `error`. Of a refusal it gets the HSM's reason and its cleaned text, which is
/// what an operator searches for; addresses and connection errors stay in the log.
pub fn of(error: &HsmError) -> Fault {
    match error {
        HsmError::AuthenticationFailed => Fault::new(400, "cipher: message authentication failed"),
        HsmError::ObjectNotFound => Fault::key_not_found(),
        HsmError::AmbiguousName { count } => Fault::new(
            500,
            format!("the HSM holds {count} keys of this name; exactly one may bear it"),
        ),
        HsmError::NotActive { state } => Fault::new(400, not_active(*state)),
        HsmError::Refused { reason, text } => Fault::new(
            502,
            format!("the HSM refused the operation (reason {reason:#x}): {text}"),
        ),
        HsmError::Declined(text) => Fault::new(502, text.to_string()),
        HsmError::Unsupported(what) => Fault::new(400, *what),
        HsmError::Rejected(text) => Fault::new(400, text.to_string()),
        HsmError::Busy => Fault::new(503, "the HSM is at its limit").retry_after(RETRY_AFTER_S),
        HsmError::Unavailable(_) => {
            Fault::new(503, "the HSM is not reachable").retry_after(RETRY_AFTER_S)
        }
        HsmError::TimedOut => {
            Fault::new(504, "the HSM did not answer in time").retry_after(RETRY_AFTER_S)
        }
        HsmError::Overloaded | HsmError::GaveWay => {
            Fault::new(503, "too many operations wait for the HSM").retry_after(RETRY_AFTER_S)
        }
        HsmError::Protocol(what) => {
            Fault::new(502, format!("the HSM's answer could not be used: {what}"))
        }
        HsmError::NoLockedMemory => {
            Fault::new(503, "no locked memory is free for the key").retry_after(RETRY_AFTER_S)
        }
        HsmError::Abandoned => Fault::new(503, "the server is stopping").retry_after(RETRY_AFTER_S),
    }
}

fn not_active(state: KeyState) -> &'static str {
    match state {
        KeyState::PreActive => "the key is not active yet in the HSM: activate it",
        KeyState::Active => "the HSM says that the key is not active",
        KeyState::Deactivated => "the key is deactivated in the HSM",
        KeyState::Compromised => "the key is marked compromised in the HSM",
        KeyState::Destroyed => "the key is destroyed in the HSM",
    }
}
