//! What a failed item means: KMIP's Result Reasons to our errors.
//!
//! Two reasons cannot be read without the key's state. 0x100 (General Failure) is what some servers
//! say for a wrong tag (the standard asks for 0x0A), but also for troubles of their own; 0x0C
//! (Permission Denied) is what some say for a key that is not active. So these are [`Doubtful`]: the
//! session asks for the key's state once, and then decides. A 0x100 is blamed on the ciphertext only
//! when the HSM still answers for that very key and calls it active; an HSM that is in trouble
//! itself does not, and then the error stays the HSM's.

use std::sync::Arc;
use std::time::Instant;

use super::cbc::Verdict;
use super::{Finished, HsmError, Item, KeyState, ObjectId, Request};
use crate::secret::SecretBytes;

const ITEM_NOT_FOUND: u32 = 0x01;
const CRYPTOGRAPHIC_FAILURE: u32 = 0x0A;
const ILLEGAL_OPERATION: u32 = 0x0B;
const PERMISSION_DENIED: u32 = 0x0C;
const OBJECT_DESTROYED: u32 = 0x36;
const OBJECT_NOT_FOUND: u32 = 0x37;
const SERVER_LIMIT_EXCEEDED: u32 = 0x3A;
const WRONG_KEY_LIFECYCLE_STATE: u32 = 0x43;
const GENERAL_FAILURE: u32 = 0x100;

/// Characters of the HSM's own text that an error may carry.
const TEXT_CHARS_MAX: usize = 200;

/// The HSM's text without line breaks and control characters, cut to a length fit for a log line.
pub fn clean(text: &str) -> Arc<str> {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    printable
        .take(TEXT_CHARS_MAX)
        .collect::<String>()
        .trim()
        .into()
}

/// The verdict on an operation that the HSM refused. `opens`: it may have been the ciphertext's fault.
pub(super) fn refused(object: &ObjectId, opens: bool, reason: u32, text: &str) -> Verdict {
    match judge(opens, reason, text) {
        Some(error) => Verdict::Finished(Err(error)),
        None => Verdict::Doubtful(Doubt {
            object: object.clone(),
            opens,
            reason,
            text: clean(text),
        }),
    }
}

/// What the failure means, or `None` when the key's state must be known first.
fn judge(decrypts: bool, reason: u32, text: &str) -> Option<HsmError> {
    Some(match reason {
        CRYPTOGRAPHIC_FAILURE if decrypts => HsmError::AuthenticationFailed,
        ITEM_NOT_FOUND | OBJECT_NOT_FOUND => HsmError::ObjectNotFound,
        OBJECT_DESTROYED => HsmError::NotActive {
            state: KeyState::Destroyed,
        },
        // Rate limits; before 2.0 there was no reason of its own for them, so those come as 0x100.
        SERVER_LIMIT_EXCEEDED => HsmError::Busy,
        GENERAL_FAILURE if says_busy(text) => HsmError::Busy,
        GENERAL_FAILURE if decrypts => return None,
        PERMISSION_DENIED | ILLEGAL_OPERATION | WRONG_KEY_LIFECYCLE_STATE => return None,
        _ => HsmError::Refused {
            reason,
            text: clean(text),
        },
    })
}

/// Whether a server of KMIP 1.x means that it is at its limit. A wrong tag is never worded so.
fn says_busy(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["busy", "throttl", "too many requests", "rate limit"]
        .iter()
        .any(|word| text.contains(word))
}

/// Why an item failed, as far as it can be read.
pub(super) struct Doubt {
    object: ObjectId,
    /// It is the ciphertext's fault if nothing is wrong with the object.
    opens: bool,
    reason: u32,
    text: Arc<str>,
}

/// A failure whose meaning depends on the key's state.
pub struct Doubtful {
    item: Item,
    doubt: Doubt,
}

impl Doubtful {
    pub(super) fn new(mut item: Item, doubt: Doubt) -> Self {
        // Nobody reads the plaintext again; it need not wait for one more round trip.
        if let Request::Encrypt { plaintext, .. } = &mut item.request {
            *plaintext = SecretBytes::default();
        }
        Self { item, doubt }
    }

    /// The key to ask about.
    pub fn object(&self) -> &ObjectId {
        &self.doubt.object
    }

    /// Until when the most patient waiter waits.
    pub fn deadline(&self) -> Option<Instant> {
        let deadlines = self.item.waiters.iter().map(|waiter| waiter.deadline);
        deadlines.max()
    }

    /// Decides, given the state the HSM tells (`None`: it would not tell).
    pub fn resolve(self, state: Option<KeyState>, finished: &mut Finished) {
        let error = match state {
            Some(KeyState::Active) if self.doubt.opens && self.doubt.reason == GENERAL_FAILURE => {
                HsmError::AuthenticationFailed
            }
            Some(KeyState::Active) | None => HsmError::Refused {
                reason: self.doubt.reason,
                text: self.doubt.text,
            },
            Some(state) => HsmError::NotActive { state },
        };
        self.item.finish(&Err(error), finished);
    }
}
