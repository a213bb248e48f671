//! What an HSM's failure means to the client: one table.

use crate::api::Fault;
use crate::hsm::{HsmError, KeyState};
use crate::metrics::Reason;

/// Seconds a client is asked to wait when the HSM is out of reach or the queue is full.
const RETRY_AFTER_S: u32 = 1;

/// The client's view of `error`. Of a refusal it gets the HSM's reason and its cleaned text, which is
/// what an operator searches for; addresses and connection errors stay in the log.
pub fn of(error: &HsmError) -> Fault {
    let fault = fault(error);
    match reason(error) {
        Some(reason) => fault.because(reason),
        None => fault,
    }
}

fn fault(error: &HsmError) -> Fault {
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

/// What it is counted by; `None` where the client or the site's keys are to blame.
fn reason(error: &HsmError) -> Option<Reason> {
    Some(match error {
        HsmError::Refused { .. } | HsmError::Declined(_) => Reason::HsmRefused,
        HsmError::Busy => Reason::HsmBusy,
        HsmError::Unavailable(_) => Reason::HsmUnreachable,
        HsmError::TimedOut => Reason::HsmTimeout,
        HsmError::Overloaded | HsmError::GaveWay => Reason::QueueFull,
        HsmError::Protocol(_) => Reason::HsmProtocol,
        HsmError::NoLockedMemory => Reason::LockedMemory,
        HsmError::Abandoned => Reason::Stopping,
        HsmError::AuthenticationFailed
        | HsmError::ObjectNotFound
        | HsmError::AmbiguousName { .. }
        | HsmError::NotActive { .. }
        | HsmError::Unsupported(_)
        | HsmError::Rejected(_) => return None,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_bears_the_status_that_it_is_counted_under() {
        for error in [
            HsmError::Refused {
                reason: 1,
                text: "x".into(),
            },
            HsmError::Declined("x".into()),
            HsmError::Busy,
            HsmError::Unavailable("x".into()),
            HsmError::TimedOut,
            HsmError::Overloaded,
            HsmError::GaveWay,
            HsmError::Protocol("x"),
            HsmError::NoLockedMemory,
            HsmError::Abandoned,
        ] {
            let fault = of(&error);
            let told = fault.reason.map(|reason| reason.label().1.to_owned());
            assert_eq!(told, Some(fault.status.to_string()), "{error:?}");
        }
        for error in [HsmError::AuthenticationFailed, HsmError::ObjectNotFound] {
            assert_eq!(of(&error).reason, None, "{error:?}");
        }
    }
}
