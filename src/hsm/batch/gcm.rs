//! Items of AES-GCM: one operation of the HSM each.
//!
//! Must never be true: a tag that is missing or cut taken for one.

use super::cbc::Verdict;
use super::{Answer, HsmError, Item, ObjectId, Outcome, Reply, Request, fault};
use crate::limits::{NONCE_BYTES, TAG_BYTES};
use crate::secret::SecretKey;

impl Item {
    /// The nonce of AES-GCM.
    pub fn gcm_nonce(&self) -> &[u8] {
        self.nonce.get(..NONCE_BYTES).unwrap_or_default()
    }

    /// What the answer to its one operation comes to.
    pub(super) fn settle_gcm(
        &self,
        reply: Option<&Reply<'_>>,
        store: &mut impl FnMut(&[u8]) -> Result<SecretKey, HsmError>,
    ) -> Verdict {
        let Some(reply) = reply else {
            let why = "an item of the batch was not answered";
            return Verdict::Finished(Err(HsmError::Protocol(why)));
        };
        let (Outcome::Failed { reason, text }, Some(object)) = (&reply.outcome, self.object())
        else {
            return Verdict::Finished(self.answer(&reply.outcome, store));
        };
        let opens = matches!(self.request, Request::Decrypt { .. });
        fault::refused(object, opens, *reason, text)
    }

    fn answer(
        &self,
        outcome: &Outcome<'_>,
        store: &mut impl FnMut(&[u8]) -> Result<SecretKey, HsmError>,
    ) -> Result<Answer, HsmError> {
        match (&self.request, outcome) {
            (Request::Decrypt { object, sealed, .. }, Outcome::Decrypted { object: by, data }) => {
                check_object(object, *by)?;
                if data.len() + NONCE_BYTES + TAG_BYTES != sealed.len() {
                    return Err(HsmError::Protocol(
                        "a plaintext has not its ciphertext's length",
                    ));
                }
                store(data).map(Answer::Plaintext)
            }
            (
                Request::Encrypt {
                    object, plaintext, ..
                },
                Outcome::Encrypted {
                    object: by,
                    data,
                    nonce,
                    tag,
                },
            ) => {
                check_object(object, *by)?;
                if data.len() != plaintext.expose().len() {
                    return Err(HsmError::Protocol(
                        "a ciphertext has not its plaintext's length",
                    ));
                }
                if nonce.is_some_and(|nonce| nonce != self.gcm_nonce()) {
                    return Err(HsmError::Protocol(
                        "the HSM used a nonce other than the one sent",
                    ));
                }
                let Some(tag) = tag.filter(|tag| tag.len() == TAG_BYTES) else {
                    return Err(HsmError::Protocol(
                        "the HSM sealed without an authentication tag of 16 bytes",
                    ));
                };
                Ok(Answer::Sealed([self.gcm_nonce(), data, tag].concat()))
            }
            (_, Outcome::Malformed(why)) => Err(HsmError::Protocol(why)),
            _ => Err(HsmError::Protocol(
                "an item was answered as another operation",
            )),
        }
    }
}

fn check_object(asked: &ObjectId, answered: Option<&str>) -> Result<(), HsmError> {
    match answered {
        Some(answered) if answered != &*asked.0 => {
            Err(HsmError::Protocol("an item was answered for another key"))
        }
        _ => Ok(()),
    }
}
