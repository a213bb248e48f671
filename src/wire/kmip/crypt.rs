//! Payloads of Encrypt and Decrypt.

use std::fmt;

use super::enums::{block_cipher_mode, cryptographic_algorithm};
use super::{KmipError, need, once, tags, usual};
use crate::limits::TAG_BYTES;
use crate::wire::ttlv::{
    Counted, FIXED_ITEM_BYTES, HEADER_BYTES, Item, Kind, Reader, Sink, Writer, padded_bytes,
};

/// How to encrypt. Sent on every call: servers do not agree on defaults.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CryptographicParameters {
    /// Block Cipher Mode.
    pub block_cipher_mode: Option<u32>,
    /// Padding Method.
    pub padding_method: Option<u32>,
    /// Cryptographic Algorithm.
    pub cryptographic_algorithm: Option<u32>,
    /// Whether the server makes the IV.
    pub random_iv: Option<bool>,
    /// Bits, as the standard has it.
    pub iv_length: Option<i32>,
    /// Bytes.
    pub tag_length: Option<i32>,
}

/// AES-GCM with our own nonce and a tag of 16 bytes.
pub const GCM_PARAMETERS: CryptographicParameters = CryptographicParameters {
    block_cipher_mode: Some(block_cipher_mode::GCM),
    padding_method: None,
    cryptographic_algorithm: Some(cryptographic_algorithm::AES),
    random_iv: None,
    iv_length: None,
    tag_length: Some(16),
};

impl CryptographicParameters {
    /// Bytes of what is inside the structure.
    #[inline]
    fn bytes(&self) -> usize {
        let fields = [
            self.block_cipher_mode.is_some(),
            self.padding_method.is_some(),
            self.cryptographic_algorithm.is_some(),
            self.random_iv.is_some(),
            self.iv_length.is_some(),
            self.tag_length.is_some(),
        ];
        fields.map(usize::from).iter().sum::<usize>() * FIXED_ITEM_BYTES
    }

    #[inline]
    fn encode<'b>(&self, w: Counted<'b>) -> Option<Counted<'b>> {
        let mut w = w.structure(tags::CRYPTOGRAPHIC_PARAMETERS, self.bytes())?;
        if let Some(value) = self.block_cipher_mode {
            w = w.enumeration(tags::BLOCK_CIPHER_MODE, value)?;
        }
        if let Some(value) = self.padding_method {
            w = w.enumeration(tags::PADDING_METHOD, value)?;
        }
        if let Some(value) = self.cryptographic_algorithm {
            w = w.enumeration(tags::CRYPTOGRAPHIC_ALGORITHM, value)?;
        }
        if let Some(value) = self.random_iv {
            w = w.boolean(tags::RANDOM_IV, value)?;
        }
        if let Some(value) = self.iv_length {
            w = w.integer(tags::IV_LENGTH, value)?;
        }
        if let Some(value) = self.tag_length {
            w = w.integer(tags::TAG_LENGTH, value)?;
        }
        Some(w)
    }

    /// As [`Self::encode`], where bytes need not be counted before.
    pub(super) fn put<S: Sink>(&self, w: &mut Writer<'_, S>) {
        w.counted(HEADER_BYTES + self.bytes(), |w| self.encode(w));
    }

    pub(super) fn decode(item: &Item<'_>) -> Result<Self, KmipError> {
        let mut p = Self::default();
        for field in item.structure()? {
            let f = field?;
            match f.tag {
                tags::BLOCK_CIPHER_MODE => once(&mut p.block_cipher_mode, &f, f.enumeration())?,
                tags::PADDING_METHOD => once(&mut p.padding_method, &f, f.enumeration())?,
                tags::CRYPTOGRAPHIC_ALGORITHM => {
                    once(&mut p.cryptographic_algorithm, &f, f.enumeration())?;
                }
                tags::RANDOM_IV => once(&mut p.random_iv, &f, f.boolean())?,
                tags::IV_LENGTH => once(&mut p.iv_length, &f, f.integer())?,
                tags::TAG_LENGTH => once(&mut p.tag_length, &f, f.integer())?,
                _ => {}
            }
        }
        Ok(p)
    }
}

/// Asks for an encryption. `Debug` does not print the plaintext.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Encrypt<'a> {
    /// The key; `None` is the ID Placeholder.
    pub unique_identifier: Option<&'a str>,
    /// How; `None` is the key's own.
    pub parameters: Option<CryptographicParameters>,
    /// The plaintext.
    pub data: &'a [u8],
    /// The nonce; `None` lets the server make one.
    pub iv: Option<&'a [u8]>,
    /// Additional authenticated data; empty is left out.
    pub associated_data: &'a [u8],
}

impl fmt::Debug for Encrypt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encrypt")
            .field("unique_identifier", &self.unique_identifier)
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// Asks for a decryption.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Decrypt<'a> {
    /// The key; `None` is the ID Placeholder.
    pub unique_identifier: Option<&'a str>,
    /// How; `None` is the key's own.
    pub parameters: Option<CryptographicParameters>,
    /// The ciphertext, without the tag.
    pub data: &'a [u8],
    /// The nonce.
    pub iv: Option<&'a [u8]>,
    /// Additional authenticated data; empty is left out.
    pub associated_data: &'a [u8],
    /// The tag. Servers accept shortened ones: check its length first.
    pub tag: Option<&'a [u8]>,
}

/// The fields that both requests share. Their bytes are counted before they are written.
#[derive(Clone, Copy, Default)]
pub(super) struct Fields<'a> {
    unique_identifier: Option<&'a str>,
    parameters: Option<CryptographicParameters>,
    data: Option<&'a [u8]>,
    iv: Option<&'a [u8]>,
    associated_data: Option<&'a [u8]>,
    tag: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let mut fields = Self::default();
        let mut parameters = None;
        for field in payload {
            let f = field?;
            match f.tag {
                tags::UNIQUE_IDENTIFIER => once(&mut fields.unique_identifier, &f, f.text())?,
                tags::CRYPTOGRAPHIC_PARAMETERS => once(&mut parameters, &f, Ok(f))?,
                tags::DATA => once(&mut fields.data, &f, f.bytes())?,
                tags::IV_COUNTER_NONCE => once(&mut fields.iv, &f, f.bytes())?,
                tags::AUTHENTICATED_ENCRYPTION_ADDITIONAL_DATA => {
                    once(&mut fields.associated_data, &f, f.bytes())?;
                }
                tags::AUTHENTICATED_ENCRYPTION_TAG => once(&mut fields.tag, &f, f.bytes())?,
                _ => {}
            }
        }
        if let Some(item) = parameters {
            fields.parameters = Some(CryptographicParameters::decode(&item)?);
        }
        Ok(fields)
    }

    /// Bytes of a payload's inside.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        let padded = |value: Option<&[u8]>| value.map_or(0, padded_bytes);
        let parameters = |p: &CryptographicParameters| HEADER_BYTES + p.bytes();
        padded(self.unique_identifier.map(str::as_bytes))
            + self.parameters.as_ref().map_or(0, parameters)
            + padded(self.data)
            + padded(self.iv)
            + padded(self.associated_data)
            + padded(self.tag)
    }

    #[inline]
    pub(super) fn encode<'b>(&self, mut w: Counted<'b>) -> Option<Counted<'b>> {
        if let Some(uid) = self.unique_identifier {
            w = w.text(tags::UNIQUE_IDENTIFIER, uid)?;
        }
        if let Some(parameters) = &self.parameters {
            w = parameters.encode(w)?;
        }
        for (tag, value) in [
            (tags::DATA, self.data),
            (tags::IV_COUNTER_NONCE, self.iv),
            (
                tags::AUTHENTICATED_ENCRYPTION_ADDITIONAL_DATA,
                self.associated_data,
            ),
            (tags::AUTHENTICATED_ENCRYPTION_TAG, self.tag),
        ] {
            if let Some(value) = value {
                w = w.bytes(tag, value)?;
            }
        }
        Some(w)
    }
}

impl<'a> Encrypt<'a> {
    #[inline]
    pub(super) fn fields(&self) -> Fields<'a> {
        Fields {
            unique_identifier: self.unique_identifier,
            parameters: self.parameters,
            data: Some(self.data),
            iv: self.iv,
            associated_data: Some(self.associated_data).filter(|bytes| !bytes.is_empty()),
            tag: None,
        }
    }

    /// From a request's payload.
    pub fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let fields = Fields::decode(payload)?;
        Ok(Self {
            unique_identifier: fields.unique_identifier,
            parameters: fields.parameters,
            data: need(fields.data, tags::DATA)?,
            iv: fields.iv,
            associated_data: fields.associated_data.unwrap_or_default(),
        })
    }
}

impl<'a> Decrypt<'a> {
    #[inline]
    pub(super) fn fields(&self) -> Fields<'a> {
        Fields {
            unique_identifier: self.unique_identifier,
            parameters: self.parameters,
            data: Some(self.data),
            iv: self.iv,
            associated_data: Some(self.associated_data).filter(|bytes| !bytes.is_empty()),
            tag: self.tag,
        }
    }

    /// From a request's payload.
    pub fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let fields = Fields::decode(payload)?;
        Ok(Self {
            unique_identifier: fields.unique_identifier,
            parameters: fields.parameters,
            data: need(fields.data, tags::DATA)?,
            iv: fields.iv,
            associated_data: fields.associated_data.unwrap_or_default(),
            tag: fields.tag,
        })
    }
}

/// The answer to [`Encrypt`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Encrypted<'a> {
    /// The key.
    pub unique_identifier: Option<&'a str>,
    /// The ciphertext, without the tag.
    pub data: &'a [u8],
    /// The nonce, only if the server made it.
    pub iv: Option<&'a [u8]>,
    /// The tag; servers below KMIP 1.4 silently drop it, so take it by [`Encrypted::gcm_tag`].
    pub tag: Option<&'a [u8]>,
}

impl<'a> Encrypted<'a> {
    /// The tag of AES-GCM: an error when it is missing or not 16 bytes long.
    pub fn gcm_tag(&self) -> Result<&'a [u8; TAG_BYTES], KmipError> {
        let field = tags::AUTHENTICATED_ENCRYPTION_TAG;
        let tag = need(self.tag, field)?;
        tag.try_into().map_err(|_| KmipError::Length {
            tag: field,
            want: TAG_BYTES,
            got: tag.len(),
        })
    }

    pub(super) fn encode<S: Sink>(&self, w: &mut Writer<'_, S>) {
        if let Some(uid) = self.unique_identifier {
            w.text(tags::UNIQUE_IDENTIFIER, uid);
        }
        w.bytes(tags::DATA, self.data);
        if let Some(iv) = self.iv {
            w.bytes(tags::IV_COUNTER_NONCE, iv);
        }
        if let Some(tag) = self.tag {
            w.bytes(tags::AUTHENTICATED_ENCRYPTION_TAG, tag);
        }
    }

    /// From a response's payload.
    pub fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let fields = Fields::decode(payload)?;
        Ok(Self {
            unique_identifier: fields.unique_identifier,
            data: need(fields.data, tags::DATA)?,
            iv: fields.iv,
            tag: fields.tag,
        })
    }
}

/// The answer to [`Decrypt`]. `Debug` does not print the plaintext.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Decrypted<'a> {
    /// The key.
    pub unique_identifier: Option<&'a str>,
    /// The plaintext, inside the caller's buffer.
    pub data: &'a [u8],
}

impl fmt::Debug for Decrypted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decrypted")
            .field("unique_identifier", &self.unique_identifier)
            .finish_non_exhaustive()
    }
}

impl<'a> Decrypted<'a> {
    pub(super) fn encode<S: Sink>(&self, w: &mut Writer<'_, S>) {
        if let Some(uid) = self.unique_identifier {
            w.text(tags::UNIQUE_IDENTIFIER, uid);
        }
        w.bytes(tags::DATA, self.data);
    }

    /// From a response's payload. A missing Data is an error, never an empty plaintext.
    #[inline]
    pub fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let mut fields = payload;
        let mut unique_identifier = usual(
            &mut fields,
            tags::UNIQUE_IDENTIFIER,
            Kind::TextString,
            Item::text,
        )?;
        let mut data = usual(&mut fields, tags::DATA, Kind::ByteString, Item::bytes)?;
        for field in fields {
            let f = field?;
            match f.tag {
                tags::UNIQUE_IDENTIFIER => once(&mut unique_identifier, &f, f.text())?,
                tags::DATA => once(&mut data, &f, f.bytes())?,
                _ => {}
            }
        }
        Ok(Self {
            unique_identifier,
            data: need(data, tags::DATA)?,
        })
    }
}
