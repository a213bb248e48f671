//! AES-CBC with PKCS#5 padding, MAC and MAC Verify: what sites below KMIP 1.4 have.

use kms::wire::kmip::enums::{
    block_cipher_mode, cryptographic_algorithm, cryptographic_usage_mask, padding_method,
    result_reason,
};
use kms::wire::kmip::{CryptographicParameters, Decrypt, Encrypt, Mac};

use super::super::answer::{Done, Outcome, Refusal};
use super::super::crypt::BLOCK_BYTES;
use super::super::truth::Digests;
use super::Desk;

pub(super) fn is_asked(parameters: Option<CryptographicParameters>) -> bool {
    parameters.is_some_and(|p| p.block_cipher_mode == Some(block_cipher_mode::CBC))
}

impl Desk<'_> {
    pub(super) fn encrypt_cbc(
        &mut self,
        asked: &Encrypt<'_>,
        done: &mut Done<'_>,
    ) -> Result<Outcome, Refusal> {
        let object = self.object(asked.unique_identifier)?;
        done.object = Some(object);
        check(asked.parameters, asked.associated_data)?;
        let iv = iv(asked.iv)?;
        let usage = cryptographic_usage_mask::ENCRYPT;
        let cipher = self.store.cipher(object, usage, true);
        let cipher = cipher.map_err(|error| self.refuse(error))?;
        let data = cipher.seal_cbc(iv, asked.data, &mut self.work.bytes);
        if self.logs {
            let sealed = self.work.bytes.get(data.clone()).unwrap_or_default();
            done.digests = Some(Digests::of([&iv, sealed, &[]], Some(asked.data)));
        }
        Ok(Outcome::Encrypted {
            object,
            data,
            iv: None,
            tag: None,
        })
    }

    pub(super) fn decrypt_cbc(
        &mut self,
        asked: &Decrypt<'_>,
        done: &mut Done<'_>,
    ) -> Result<Outcome, Refusal> {
        let object = self.object(asked.unique_identifier)?;
        done.object = Some(object);
        check(asked.parameters, asked.associated_data)?;
        let iv = iv(asked.iv)?;
        let usage = cryptographic_usage_mask::DECRYPT;
        let cipher = self.store.cipher(object, usage, false);
        let cipher = cipher.map_err(|error| self.refuse(error))?;
        let plain = cipher.open_cbc(iv, asked.data, &mut self.work.bytes);
        if self.logs {
            let plain = plain.clone().and_then(|place| self.work.bytes.get(place));
            done.digests = Some(Digests::of([&iv, asked.data, &[]], plain));
        }
        let wrong = (result_reason::CRYPTOGRAPHIC_FAILURE, "the padding is wrong");
        let data = plain.ok_or(wrong)?;
        Ok(Outcome::Decrypted { object, data })
    }

    pub(super) fn mac(&mut self, asked: &Mac<'_>) -> Result<Outcome, Refusal> {
        let object = self.mac_key(asked)?;
        let usage = cryptographic_usage_mask::MAC_GENERATE;
        let key = self.store.cipher(object, usage, true);
        let mac = key.map_err(|error| self.refuse(error))?.mac(asked.data);
        let start = self.work.bytes.len();
        self.work.bytes.extend_from_slice(mac.as_ref());
        Ok(Outcome::Mac {
            object,
            mac: start..self.work.bytes.len(),
        })
    }

    pub(super) fn mac_verify(&mut self, asked: &Mac<'_>) -> Result<Outcome, Refusal> {
        let object = self.mac_key(asked)?;
        let missing = (result_reason::MISSING_DATA, "there is no MAC Data");
        let mac = asked.mac.ok_or(missing)?;
        let usage = cryptographic_usage_mask::MAC_VERIFY;
        let key = self.store.cipher(object, usage, false);
        let holds = key
            .map_err(|error| self.refuse(error))?
            .has_mac(asked.data, mac);
        Ok(Outcome::MacVerified { object, holds })
    }

    fn mac_key(&self, asked: &Mac<'_>) -> Result<usize, Refusal> {
        let algorithm = asked.parameters.unwrap_or_default().cryptographic_algorithm;
        if algorithm.is_some_and(|a| a != cryptographic_algorithm::HMAC_SHA256) {
            return Err((
                result_reason::INVALID_FIELD,
                "only HMAC-SHA256 is there for MACs",
            ));
        }
        self.object(asked.unique_identifier)
    }
}

fn check(
    parameters: Option<CryptographicParameters>,
    associated_data: &[u8],
) -> Result<(), Refusal> {
    let p = parameters.unwrap_or_default();
    let fits = p.padding_method == Some(padding_method::PKCS5)
        && p.cryptographic_algorithm
            .is_none_or(|a| a == cryptographic_algorithm::AES);
    if !fits || !associated_data.is_empty() {
        return Err((
            result_reason::INVALID_FIELD,
            "AES-CBC is there with PKCS5 padding and without associated data",
        ));
    }
    Ok(())
}

fn iv(iv: Option<&[u8]>) -> Result<[u8; BLOCK_BYTES], Refusal> {
    let wrong = (result_reason::INVALID_FIELD, "the IV must have 16 bytes");
    iv.and_then(|iv| iv.try_into().ok()).ok_or(wrong)
}
