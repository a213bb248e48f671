//! Items of AES-CBC with HMAC-SHA256: several operations of the HSM each, and what becomes of them.
//!
//! A wrap is encrypted, then the MAC of what came back is asked for: two messages. An unwrap has its MAC
//! verified and is decrypted in one message, in this order; by an HSM that takes one item a message, the
//! MAC first, and the decryption only when it holds. The MAC is over
//! associated data | IV | ciphertext | length of the associated data in bits (8 bytes), as in
//! `AEAD_AES_256_CBC_HMAC`, under a key of its own.
//!
//! Must never be true: a plaintext read before its MAC holds; a refusal that tells a wrong MAC from wrong
//! padding; an expected MAC compared in a time that depends on its bytes.

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::{Answer, HsmError, Item, ItemIds, ObjectId, Outcome, Reply, Request, fault};
use crate::limits::{CBC_BLOCK_BYTES, IV_BYTES, MAC_BYTES};
use crate::secret::SecretKey;

/// Where an item stands.
#[derive(Clone, Debug, Default)]
pub(super) enum Stage {
    /// AES-GCM: one operation does it all.
    #[default]
    Gcm,
    /// A wrap, not encrypted yet.
    Encrypt,
    /// A wrap whose MAC is to be had. What it is over.
    Seal(Vec<u8>),
    /// An unwrap: MAC and decryption in one message. What the MAC is over.
    Open(Vec<u8>),
    /// An unwrap by an HSM of one item a message: the MAC first. What it is over.
    Check(Vec<u8>),
    /// Its MAC held.
    Decrypt,
}

/// One operation of an item.
#[derive(Clone, Copy, Debug)]
pub enum Ask<'a> {
    /// Encrypts with AES-CBC and PKCS5 padding.
    Encrypt {
        /// The key.
        object: &'a str,
        /// Ours.
        iv: &'a [u8],
        /// What is wrapped.
        plaintext: &'a [u8],
    },
    /// Decrypts it.
    Decrypt {
        /// The key.
        object: &'a str,
        /// As it was sealed.
        iv: &'a [u8],
        /// As it was sealed.
        data: &'a [u8],
    },
    /// Makes a MAC.
    Mac {
        /// The key.
        object: &'a str,
        /// Over this.
        data: &'a [u8],
    },
    /// Verifies one.
    MacVerify {
        /// The key.
        object: &'a str,
        /// Over this.
        data: &'a [u8],
        /// As it was sealed.
        mac: &'a [u8],
    },
}

/// What became of an item.
pub(super) enum Verdict {
    Finished(Result<Answer, HsmError>),
    /// An object's state decides.
    Doubtful(fault::Doubt),
    /// On to the next message.
    Next(Stage),
}

/// What the MAC is over.
fn authenticated(associated_data: &[u8], iv_and_ciphertext: &[u8]) -> Vec<u8> {
    let bits = associated_data.len() as u64 * 8;
    [associated_data, iv_and_ciphertext, &bits.to_be_bytes()].concat()
}

/// IV, ciphertext, MAC. The seam promises the length; without it there is nothing to open.
fn parts(sealed: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (iv, rest) = sealed.split_at_checked(IV_BYTES).unwrap_or_default();
    let cut = rest.len().saturating_sub(MAC_BYTES);
    let (data, mac) = rest.split_at_checked(cut).unwrap_or_default();
    (iv, data, mac)
}

impl Item {
    /// Where it begins. `apart`: one operation a message.
    pub(super) fn begin(&mut self, apart: bool) {
        self.stage = match &self.request {
            Request::Decrypt {
                sealed,
                associated_data,
                ..
            } => {
                let end = sealed.len().saturating_sub(MAC_BYTES);
                let over = authenticated(associated_data, sealed.get(..end).unwrap_or_default());
                if apart {
                    Stage::Check(over)
                } else {
                    Stage::Open(over)
                }
            }
            _ => Stage::Encrypt,
        };
    }

    /// New numbers: one for each operation that it may need in one message.
    pub(super) fn renumber(&mut self, ids: &mut ItemIds) {
        self.id = ids.next_id();
        if !matches!(self.stage, Stage::Gcm) {
            ids.next_id();
        }
    }

    /// Its operations in the next message; the first bears its id, the second the id after it.
    pub(super) fn asks(&self, verifies: bool) -> [Option<Ask<'_>>; 2] {
        let (Request::Decrypt { object, .. } | Request::Encrypt { object, .. }) = &self.request
        else {
            return [None, None];
        };
        let (cipher, mac_key) = object.parts().unwrap_or((&object.0, ""));
        let (iv, data, mac) = match &self.request {
            Request::Decrypt { sealed, .. } => parts(sealed),
            _ => Default::default(),
        };
        let check = |data| {
            let object = mac_key;
            Some(if verifies {
                Ask::MacVerify { object, data, mac }
            } else {
                Ask::Mac { object, data }
            })
        };
        let object = cipher;
        let decrypt = Some(Ask::Decrypt { object, iv, data });
        match (&self.stage, &self.request) {
            (Stage::Encrypt, Request::Encrypt { plaintext, .. }) => {
                let encrypt = Ask::Encrypt {
                    object,
                    iv: &self.nonce,
                    plaintext: plaintext.expose(),
                };
                [Some(encrypt), None]
            }
            (Stage::Seal(over), _) => {
                let (object, data) = (mac_key, over.as_slice());
                [Some(Ask::Mac { object, data }), None]
            }
            (Stage::Open(over), _) => [check(over), decrypt],
            (Stage::Check(over), _) => [check(over), None],
            (Stage::Decrypt, _) => [decrypt, None],
            _ => [None, None],
        }
    }

    /// How many operations that is.
    pub(super) fn ask_count(&self) -> usize {
        if matches!(self.stage, Stage::Open(_)) {
            2
        } else {
            1
        }
    }

    /// What the answers to its operations come to.
    pub(super) fn settle(
        &self,
        [first, second]: [Option<&Reply<'_>>; 2],
        verifies: bool,
        store: &mut impl FnMut(&[u8]) -> Result<SecretKey, HsmError>,
    ) -> Verdict {
        let missing = HsmError::Protocol("an item of the batch was not answered");
        let (Some(first), true) = (first, second.is_some() || self.ask_count() == 1) else {
            return Verdict::Finished(Err(missing));
        };
        let (Request::Decrypt { object, .. } | Request::Encrypt { object, .. }) = &self.request
        else {
            return Verdict::Finished(Err(missing));
        };
        let (cipher, mac_key) = object.parts().unwrap_or((&object.0, ""));
        let settled = match &self.stage {
            Stage::Encrypt => self.encrypted(cipher, first).map(Verdict::Next),
            Stage::Seal(over) => self.sealed(mac_key, over, first).map(finished),
            Stage::Open(_) => self.check(mac_key, verifies, first).and_then(|()| {
                let second = second.unwrap_or(first);
                self.decrypted(cipher, second, store).map(finished)
            }),
            Stage::Check(_) => {
                let held = self.check(mac_key, verifies, first);
                held.map(|()| Verdict::Next(Stage::Decrypt))
            }
            Stage::Decrypt => self.decrypted(cipher, first, store).map(finished),
            Stage::Gcm => Err(Verdict::Finished(Err(missing))),
        };
        settled.unwrap_or_else(|verdict| verdict)
    }

    fn encrypted(&self, cipher: &str, reply: &Reply<'_>) -> Result<Stage, Verdict> {
        let (by, data, nonce) = match &reply.outcome {
            Outcome::Encrypted {
                object,
                data,
                nonce,
                ..
            } => (*object, *data, *nonce),
            other => return Err(refusal(cipher, false, other)),
        };
        check_part(cipher, by)?;
        let Request::Encrypt {
            plaintext,
            associated_data,
            ..
        } = &self.request
        else {
            return Err(protocol(STRAY));
        };
        if !is_padded(plaintext.expose().len(), data.len()) {
            return Err(protocol("a ciphertext has not its plaintext's length"));
        }
        if nonce.is_some_and(|nonce| nonce != self.nonce) {
            return Err(protocol("the HSM used an IV other than the one sent"));
        }
        let iv_and_ciphertext = [&self.nonce, data].concat();
        Ok(Stage::Seal(authenticated(
            associated_data,
            &iv_and_ciphertext,
        )))
    }

    fn sealed(
        &self,
        mac_key: &str,
        over: &[u8],
        reply: &Reply<'_>,
    ) -> Result<Result<Answer, HsmError>, Verdict> {
        let (by, mac) = match &reply.outcome {
            Outcome::Mac { object, mac } => (*object, *mac),
            other => return Err(refusal(mac_key, false, other)),
        };
        check_part(mac_key, by)?;
        let Request::Encrypt {
            associated_data, ..
        } = &self.request
        else {
            return Err(protocol(STRAY));
        };
        if mac.len() != MAC_BYTES {
            return Err(protocol("the HSM made a MAC that has not 32 bytes"));
        }
        let body = over.get(associated_data.len()..over.len().saturating_sub(8));
        Ok(Ok(Answer::Sealed([body.unwrap_or_default(), mac].concat())))
    }

    /// `Ok`: the MAC holds.
    fn check(&self, mac_key: &str, verifies: bool, reply: &Reply<'_>) -> Result<(), Verdict> {
        let Request::Decrypt { sealed, .. } = &self.request else {
            return Err(protocol(STRAY));
        };
        let (by, holds) = match &reply.outcome {
            Outcome::MacVerified { object, holds } if verifies => (*object, *holds),
            Outcome::Mac { object, mac } if !verifies => (*object, is_same(mac, parts(sealed).2)),
            other => return Err(refusal(mac_key, verifies, other)),
        };
        check_part(mac_key, by)?;
        if holds {
            return Ok(());
        }
        Err(Verdict::Finished(Err(HsmError::AuthenticationFailed)))
    }

    /// Only for an item whose MAC holds.
    fn decrypted(
        &self,
        cipher: &str,
        reply: &Reply<'_>,
        store: &mut impl FnMut(&[u8]) -> Result<SecretKey, HsmError>,
    ) -> Result<Result<Answer, HsmError>, Verdict> {
        let (by, plaintext) = match &reply.outcome {
            Outcome::Decrypted { object, data } => (*object, *data),
            other => return Err(refusal(cipher, true, other)),
        };
        check_part(cipher, by)?;
        let Request::Decrypt { sealed, .. } = &self.request else {
            return Err(protocol(STRAY));
        };
        if !is_padded(plaintext.len(), parts(sealed).1.len()) {
            return Err(protocol("a plaintext has not its ciphertext's length"));
        }
        Ok(store(plaintext).map(Answer::Plaintext))
    }
}

const STRAY: &str = "an item was answered as another operation";

fn finished(result: Result<Answer, HsmError>) -> Verdict {
    Verdict::Finished(result)
}

fn protocol(why: &'static str) -> Verdict {
    Verdict::Finished(Err(HsmError::Protocol(why)))
}

/// The verdict on an operation that did not give what was asked for.
fn refusal(object: &str, opens: bool, outcome: &Outcome<'_>) -> Verdict {
    match outcome {
        Outcome::Failed { reason, text } => {
            fault::refused(&ObjectId(object.into()), opens, *reason, text)
        }
        Outcome::Malformed(why) => protocol(why),
        _ => protocol(STRAY),
    }
}

fn check_part(asked: &str, answered: Option<&str>) -> Result<(), Verdict> {
    match answered {
        Some(answered) if answered != asked => {
            Err(protocol("an item was answered for another key"))
        }
        _ => Ok(()),
    }
}

/// Whether PKCS5 pads so many bytes to so many.
fn is_padded(plaintext: usize, ciphertext: usize) -> bool {
    ciphertext == (plaintext / CBC_BLOCK_BYTES + 1) * CBC_BLOCK_BYTES
}

/// In a time that does not tell where they differ: both go through an HMAC under a key that nobody knows.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut key = [0; MAC_BYTES];
    if a.len() != MAC_BYTES || SystemRandom::new().fill(&mut key).is_err() {
        return false;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    hmac::verify(&key, a, hmac::sign(&key, b).as_ref()).is_ok()
}
