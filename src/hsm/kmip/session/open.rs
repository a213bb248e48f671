//! Negotiation: which KMIP version, which operations, whether batches are taken.

use std::sync::Arc;
use std::time::Instant;

use ring::rand::SystemRandom;

use super::super::super::Envelope;
use super::super::super::batch::{ItemIds, clean};
use super::super::super::store::Store;
use super::super::Login;
use super::super::link::{Link, LinkError};
use super::{ANSWER_BYTES_MAX, Fault, LOCKED_BYTES_PER_SESSION, Session};
use crate::wire::kmip::enums::operation;
use crate::wire::kmip::{
    Call, DiscoverVersions, ProtocolVersion, QueryAnswer, RequestPayload, ResponseItem,
    decode_response,
};
use crate::wire::ttlv::Reader;

/// Query Function Operations.
pub(super) const OPERATIONS: u32 = 1;
/// Query Function Server Information.
const SERVER_INFORMATION: u32 = 3;

/// Versions we speak, best first. AES-GCM has none below 1.4: there, servers drop the tag.
const VERSIONS: [ProtocolVersion; 5] = [
    ProtocolVersion::V2_1,
    ProtocolVersion::V2_0,
    ProtocolVersion::V1_4,
    ProtocolVersion { major: 1, minor: 3 },
    ProtocolVersion::V1_2,
];

/// The first with Discover Versions.
const V1_1: ProtocolVersion = ProtocolVersion { major: 1, minor: 1 };

/// Those in which an envelope can be had.
fn versions(envelope: Envelope) -> &'static [ProtocolVersion] {
    match envelope {
        Envelope::AesGcm | Envelope::Transit => VERSIONS.get(..3).unwrap_or_default(),
        Envelope::AesCbcHmac => &VERSIONS,
    }
}

impl Session {
    /// Negotiates over a fresh link. When this returns, the HSM has answered a request, which under
    /// TLS 1.3 is the first proof that it accepted our certificate. The error is a text for people,
    /// without the place.
    pub fn open(
        link: Box<dyn Link>,
        place: String,
        store: Arc<Store>,
        login: Option<&Login>,
        envelope: Envelope,
        deadline: Instant,
    ) -> Result<Self, String> {
        let out = store.arena().buffer(LOCKED_BYTES_PER_SESSION);
        let mut session = Self {
            time: link.time(),
            link,
            version: ProtocolVersion::V1_4,
            login: login.map(|login| (login.username.clone(), login.password.clone())),
            ids: ItemIds::default(),
            random: SystemRandom::new(),
            single: false,
            messages: Vec::new(),
            unordered: 0,
            envelope,
            mac_verify: false,
            offers_random: false,
            until: None,
            refused_whole: 0,
            out: out.ok_or("no locked memory left for another connection")?,
            store,
            place,
            vendor: "vendor not told".to_owned(),
            clock_unix_s: None,
        };
        session.version = session.negotiate(deadline)?;
        session.learn(deadline)?;
        Ok(session)
    }

    /// An HSM may refuse the header of a version that it does not know, and is then asked under the
    /// oldest that has Discover Versions, if only to tell the operator what it speaks.
    fn negotiate(&mut self, deadline: Instant) -> Result<ProtocolVersion, String> {
        let wanted = versions(self.envelope);
        let oldest = wanted.last().copied().unwrap_or(ProtocolVersion::V1_4);
        self.version = oldest;
        let mut spoken = self.discover(wanted, deadline)?;
        if spoken.is_none() {
            self.version = V1_1;
            spoken = self.discover(wanted, deadline)?;
        }
        // Discover Versions may be missing; what follows then proves the oldest.
        let Some(mut spoken) = spoken else {
            return Ok(oldest);
        };
        if let Some(best) = wanted.iter().find(|version| spoken.contains(version)) {
            return Ok(*best);
        }
        if spoken.is_empty() {
            spoken = self.discover(&[], deadline)?.unwrap_or_default();
        }
        Err(unspoken(self.envelope, &spoken))
    }

    /// What the HSM speaks of `wanted`, or at all if that is empty. `None`: it does not tell.
    fn discover(
        &mut self,
        wanted: &[ProtocolVersion],
        deadline: Instant,
    ) -> Result<Option<Vec<ProtocolVersion>>, String> {
        let offered = RequestPayload::DiscoverVersions(wanted);
        let spoken = self.call(offered, deadline, |payload| {
            DiscoverVersions::decode(payload)
                .take(64)
                .collect::<Result<Vec<_>, _>>()
        });
        match spoken {
            Ok(spoken) => Ok(Some(spoken)),
            Err(Fault::Failed { reason, text }) => {
                let (place, version) = (&self.place, self.version);
                log::debug!(
                    "{place}: Discover Versions refused under KMIP {version}: {reason:#x} {text}"
                );
                Ok(None)
            }
            Err(Fault::Link(error)) => Err(explain(&error)),
        }
    }

    /// Asks what the HSM can do, in a message of two items: so it also tells whether it takes batches
    /// with the option Continue.
    fn learn(&mut self, deadline: Instant) -> Result<(), String> {
        let ids = [self.ids.next_id(), self.ids.next_id()];
        let calls = [
            Call {
                id: Some(ids[0]),
                payload: RequestPayload::Query(&[OPERATIONS]),
            },
            Call {
                id: Some(ids[1]),
                payload: RequestPayload::Query(&[SERVER_INFORMATION]),
            },
        ];
        self.send(calls, 4 * 1024, deadline)
            .map_err(|error| explain(&error))?;
        let answer = self
            .link
            .receive(ANSWER_BYTES_MAX, deadline)
            .map_err(|error| explain(&error))?;
        let clock = &mut self.clock_unix_s;
        let items = decode_response(answer)
            .and_then(|message| {
                *clock = message.time_stamp_unix_s;
                message.items.collect::<Result<Vec<_>, _>>()
            })
            .map_err(|error| format!("the HSM's answer is no KMIP response: {error}"))?;
        self.single = items.iter().any(ResponseItem::is_message_level);
        if !self.single {
            let vendor = items.iter().find(|item| item.id() == Some(ids[1]));
            let vendor = vendor.and_then(|item| item.need_payload().ok());
            let vendor = vendor.and_then(|payload| QueryAnswer::decode(payload).ok()?.vendor);
            self.vendor = vendor.map_or("vendor not told".into(), |text| clean(text).to_string());
            let can = items.iter().find(|item| item.id() == Some(ids[0]));
            if let Some(payload) = can.and_then(|item| item.need_payload().ok()) {
                let offers = offers(payload, self.envelope)?;
                self.take_in(offers);
                return Ok(());
            }
        }
        let query = RequestPayload::Query(&[OPERATIONS]);
        let envelope = self.envelope;
        match self.call(query, deadline, |payload| Ok(offers(payload, envelope))) {
            Ok(offers) => {
                self.take_in(offers?);
                Ok(())
            }
            Err(Fault::Failed { reason, text }) => Err(format!(
                "the HSM refused the first request under KMIP {}: reason {reason:#x}, \"{text}\"; \
                 check that it knows this client's certificate",
                self.version
            )),
            Err(Fault::Link(error)) => Err(explain(&error)),
        }
    }

    fn take_in(&mut self, offers: Offers) {
        self.offers_random = offers.random;
        self.mac_verify = offers.mac_verify;
    }
}

/// No version that will do: what the HSM names, and what to do.
fn unspoken(envelope: Envelope, spoken: &[ProtocolVersion]) -> String {
    let names: Vec<_> = spoken.iter().map(ToString::to_string).collect();
    let names = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    match envelope {
        Envelope::AesCbcHmac => format!(
            "the HSM offers none of KMIP 2.1, 2.0, 1.4, 1.3 and 1.2 (it names: {names}); below 1.2 it has \
             neither Encrypt nor MAC, which kms.hsm.kmip.cipher = cbc-hmac needs: enable KMIP 1.2 or later \
             on the HSM"
        ),
        Envelope::AesGcm | Envelope::Transit => {
            let text = format!(
                "the HSM offers none of KMIP 2.1, 2.0 and 1.4 (it names: {names}); below 1.4 authenticated \
                 encryption loses its tag: enable KMIP 1.4 on the HSM"
            );
            if versions(Envelope::AesCbcHmac)
                .iter()
                .any(|version| spoken.contains(version))
            {
                return format!(
                    "{text}, or set kms.hsm.kmip.cipher = cbc-hmac, which 1.2 and 1.3 will do for"
                );
            }
            text
        }
    }
}

/// What [`offers`] found beside what must be there.
#[derive(Clone, Copy, Default)]
struct Offers {
    random: bool,
    mac_verify: bool,
}

/// Whether the HSM has RNG Retrieve and MAC Verify. An error names what is missing among the operations that must be
/// there; an HSM that names none at all is believed to have those.
fn offers(payload: Reader<'_>, envelope: Envelope) -> Result<Offers, String> {
    let answer = QueryAnswer::decode(payload)
        .map_err(|error| format!("the HSM's answer to Query cannot be read: {error}"))?;
    if answer.operations().next().is_none() {
        return Ok(Offers::default());
    }
    let needed = [
        (operation::ENCRYPT, "Encrypt"),
        (operation::DECRYPT, "Decrypt"),
        (operation::MAC, "MAC"),
    ];
    let count = match envelope {
        Envelope::AesGcm | Envelope::Transit => 2,
        Envelope::AesCbcHmac => 3,
    };
    let missing = needed
        .into_iter()
        .take(count)
        .filter(|(operation, _)| !answer.supports(*operation));
    let missing: Vec<&str> = missing.map(|(_, name)| name).collect();
    if missing.is_empty() {
        return Ok(Offers {
            random: answer.supports(operation::RNG_RETRIEVE),
            mac_verify: answer.supports(operation::MAC_VERIFY),
        });
    }
    Err(format!(
        "the HSM does not offer this client {}: allow it there",
        missing.join(" and ")
    ))
}

fn explain(error: &LinkError) -> String {
    match error {
        LinkError::Dead { why, .. } => format!(
            "{why} (during the first request; an HSM that refuses this client's certificate may do so)"
        ),
        error => error.to_string(),
    }
}
