//! Jobs as KMIP's items, and KMIP's items as answers to jobs.

use super::super::super::Request;
use super::super::super::batch::{Ask, Item, Outcome, Reply};
use crate::limits::{NONCE_BYTES, TAG_BYTES};
use crate::wire::kmip::enums::{
    block_cipher_mode, cryptographic_algorithm, operation, padding_method, validity_indicator,
};
use crate::wire::kmip::{
    Call, CryptographicParameters, Decrypt, Decrypted, Encrypt, Encrypted, GCM_PARAMETERS, Mac,
    MacMade, MacVerified, RequestPayload, ResponseItem,
};

/// AES-CBC with our own IV.
const CBC_PARAMETERS: CryptographicParameters = CryptographicParameters {
    block_cipher_mode: Some(block_cipher_mode::CBC),
    padding_method: Some(padding_method::PKCS5),
    cryptographic_algorithm: Some(cryptographic_algorithm::AES),
    random_iv: None,
    iv_length: None,
    tag_length: None,
};

/// Sent on every call: `PyKMIP` knows no default.
const HMAC_PARAMETERS: CryptographicParameters = CryptographicParameters {
    block_cipher_mode: None,
    padding_method: None,
    cryptographic_algorithm: Some(cryptographic_algorithm::HMAC_SHA256),
    random_iv: None,
    iv_length: None,
    tag_length: None,
};

/// Bytes of one item beside its data: tags, lengths, parameters, ids.
const ITEM_OVERHEAD_BYTES: usize = 400;

/// Bytes that the item, or its answer, takes in a message.
pub(super) fn weight(request: &Request) -> usize {
    ITEM_OVERHEAD_BYTES
        + match request {
            Request::Decrypt {
                object,
                sealed,
                associated_data,
            } => object.0.len() + sealed.len() + associated_data.len(),
            Request::Encrypt {
                object,
                plaintext,
                associated_data,
            } => object.0.len() + plaintext.expose().len() + associated_data.len(),
            _ => 0,
        }
}

pub(super) fn call_of(item: &Item) -> Call<'_> {
    let parameters = Some(GCM_PARAMETERS);
    let payload = match &item.request {
        Request::Decrypt {
            object,
            sealed,
            associated_data,
        } => {
            // The seam promises the length; without it the HSM is given nothing to open.
            let (iv, rest) = sealed.split_at_checked(NONCE_BYTES).unwrap_or_default();
            let cut = rest.len().saturating_sub(TAG_BYTES);
            let (data, tag) = rest.split_at_checked(cut).unwrap_or_default();
            RequestPayload::Decrypt(Decrypt {
                unique_identifier: Some(&object.0),
                parameters,
                data,
                iv: Some(iv),
                associated_data,
                tag: Some(tag),
            })
        }
        Request::Encrypt {
            object,
            plaintext,
            associated_data,
        } => RequestPayload::Encrypt(Encrypt {
            unique_identifier: Some(&object.0),
            parameters,
            data: plaintext.expose(),
            iv: Some(item.gcm_nonce()),
            associated_data,
        }),
        _ => RequestPayload::Query(&[]),
    };
    Call {
        id: Some(item.id),
        payload,
    }
}

/// The call of one operation of AES-CBC with HMAC.
pub(super) fn call_of_ask((id, ask): (u64, Ask<'_>)) -> Call<'_> {
    let payload = match ask {
        Ask::Encrypt {
            object,
            iv,
            plaintext,
        } => RequestPayload::Encrypt(Encrypt {
            unique_identifier: Some(object),
            parameters: Some(CBC_PARAMETERS),
            data: plaintext,
            iv: Some(iv),
            associated_data: &[],
        }),
        Ask::Decrypt { object, iv, data } => RequestPayload::Decrypt(Decrypt {
            unique_identifier: Some(object),
            parameters: Some(CBC_PARAMETERS),
            data,
            iv: Some(iv),
            associated_data: &[],
            tag: None,
        }),
        Ask::Mac { object, data } => RequestPayload::Mac(mac(object, data, None)),
        Ask::MacVerify {
            object,
            data,
            mac: expected,
        } => RequestPayload::MacVerify(mac(object, data, Some(expected))),
    };
    let id = Some(id);
    Call { id, payload }
}

fn mac<'a>(object: &'a str, data: &'a [u8], expected: Option<&'a [u8]>) -> Mac<'a> {
    Mac {
        unique_identifier: Some(object),
        parameters: Some(HMAC_PARAMETERS),
        data,
        mac: expected,
    }
}

/// What an item of the HSM's answer says, for `Batch::settle`.
pub fn reply_of<'a>(item: &ResponseItem<'a>) -> Reply<'a> {
    let malformed = Outcome::Malformed("an item of the HSM's answer lacks what it must hold");
    let outcome = if item.is_success() {
        match (item.operation, item.need_payload()) {
            (Some(operation::DECRYPT), Ok(payload)) => {
                Decrypted::decode(payload).map_or(malformed, |answer| Outcome::Decrypted {
                    object: answer.unique_identifier,
                    data: answer.data,
                })
            }
            (Some(operation::ENCRYPT), Ok(payload)) => {
                Encrypted::decode(payload).map_or(malformed, |answer| Outcome::Encrypted {
                    object: answer.unique_identifier,
                    data: answer.data,
                    nonce: answer.iv,
                    tag: answer.tag,
                })
            }
            (Some(operation::MAC), Ok(payload)) => {
                MacMade::decode(payload).map_or(malformed, |answer| Outcome::Mac {
                    object: answer.unique_identifier,
                    mac: answer.mac,
                })
            }
            (Some(operation::MAC_VERIFY), Ok(payload)) => {
                MacVerified::decode(payload).map_or(malformed, |answer| Outcome::MacVerified {
                    object: answer.unique_identifier,
                    holds: answer.validity == validity_indicator::VALID,
                })
            }
            _ => malformed,
        }
    } else {
        let (reason, text) = reason_of(item);
        Outcome::Failed { reason, text }
    };
    Reply {
        id: item.unique_batch_item_id,
        outcome,
    }
}

pub(super) fn reason_of<'a>(item: &ResponseItem<'a>) -> (u32, &'a str) {
    let text = item
        .message
        .and_then(|message| std::str::from_utf8(message.0).ok());
    (item.reason.unwrap_or(0), text.unwrap_or_default())
}
