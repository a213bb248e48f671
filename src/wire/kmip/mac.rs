//! Payloads of MAC and MAC Verify (KMIP 1.2 and later).

use std::fmt;

use super::crypt::CryptographicParameters;
use super::{KmipError, need, once, tags};
use crate::wire::ttlv::{Reader, Sink, Writer};

/// Asks for a MAC, or with one whether it is right. `Debug` does not print what it is over.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Mac<'a> {
    /// The key; `None` is the ID Placeholder.
    pub unique_identifier: Option<&'a str>,
    /// How; `None` is the key's own.
    pub parameters: Option<CryptographicParameters>,
    /// What it is over.
    pub data: &'a [u8],
    /// MAC Verify: the MAC to be verified.
    pub mac: Option<&'a [u8]>,
}

impl fmt::Debug for Mac<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mac")
            .field("unique_identifier", &self.unique_identifier)
            .field("parameters", &self.parameters)
            .field("verifies", &self.mac.is_some())
            .finish_non_exhaustive()
    }
}

impl<'a> Mac<'a> {
    pub(super) fn encode<S: Sink>(&self, w: &mut Writer<'_, S>) {
        if let Some(uid) = self.unique_identifier {
            w.text(tags::UNIQUE_IDENTIFIER, uid);
        }
        if let Some(parameters) = &self.parameters {
            parameters.put(w);
        }
        w.bytes(tags::DATA, self.data);
        if let Some(mac) = self.mac {
            w.bytes(tags::MAC_DATA, mac);
        }
    }

    /// From a request's payload, of either operation.
    pub fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let (mut unique_identifier, mut parameters, mut data, mut mac) = (None, None, None, None);
        for field in payload {
            let f = field?;
            match f.tag {
                tags::UNIQUE_IDENTIFIER => once(&mut unique_identifier, &f, f.text())?,
                tags::CRYPTOGRAPHIC_PARAMETERS => once(&mut parameters, &f, Ok(f))?,
                tags::DATA => once(&mut data, &f, f.bytes())?,
                tags::MAC_DATA => once(&mut mac, &f, f.bytes())?,
                _ => {}
            }
        }
        let parameters = parameters.as_ref().map(CryptographicParameters::decode);
        Ok(Self {
            unique_identifier,
            parameters: parameters.transpose()?,
            data: need(data, tags::DATA)?,
            mac,
        })
    }
}

/// The answer to MAC.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MacMade<'a> {
    /// The key.
    pub unique_identifier: Option<&'a str>,
    /// The MAC.
    pub mac: &'a [u8],
}

impl<'a> MacMade<'a> {
    pub(super) fn encode<S: Sink>(&self, w: &mut Writer<'_, S>) {
        if let Some(uid) = self.unique_identifier {
            w.text(tags::UNIQUE_IDENTIFIER, uid);
        }
        w.bytes(tags::MAC_DATA, self.mac);
    }

    /// From a response's payload. A missing MAC is an error, never an empty one.
    pub fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let (mut unique_identifier, mut mac) = (None, None);
        for field in payload {
            let f = field?;
            match f.tag {
                tags::UNIQUE_IDENTIFIER => once(&mut unique_identifier, &f, f.text())?,
                tags::MAC_DATA => once(&mut mac, &f, f.bytes())?,
                _ => {}
            }
        }
        Ok(Self {
            unique_identifier,
            mac: need(mac, tags::MAC_DATA)?,
        })
    }
}

/// The answer to MAC Verify.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MacVerified<'a> {
    /// The key.
    pub unique_identifier: Option<&'a str>,
    /// Validity Indicator: the MAC is right only if this is
    /// [`VALID`](super::enums::validity_indicator::VALID).
    pub validity: u32,
}

impl<'a> MacVerified<'a> {
    pub(super) fn encode<S: Sink>(&self, w: &mut Writer<'_, S>) {
        if let Some(uid) = self.unique_identifier {
            w.text(tags::UNIQUE_IDENTIFIER, uid);
        }
        w.enumeration(tags::VALIDITY_INDICATOR, self.validity);
    }

    /// From a response's payload. A missing Validity Indicator is an error.
    pub fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let (mut unique_identifier, mut validity) = (None, None);
        for field in payload {
            let f = field?;
            match f.tag {
                tags::UNIQUE_IDENTIFIER => once(&mut unique_identifier, &f, f.text())?,
                tags::VALIDITY_INDICATOR => once(&mut validity, &f, f.enumeration())?,
                _ => {}
            }
        }
        Ok(Self {
            unique_identifier,
            validity: need(validity, tags::VALIDITY_INDICATOR)?,
        })
    }
}
