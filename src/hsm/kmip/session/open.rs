//! Negotiation: which KMIP version, which operations, whether batches are taken.

use std::sync::Arc;
use std::time::Instant;

use ring::rand::SystemRandom;

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

/// Versions we speak, best first. None below 1.4: there, servers drop the tag of AEAD.
const VERSIONS: [ProtocolVersion; 3] = [
    ProtocolVersion::V2_1,
    ProtocolVersion::V2_0,
    ProtocolVersion::V1_4,
];

impl Session {
    /// Negotiates over a fresh link. When this returns, the HSM has answered a request, which under
    /// TLS 1.3 is the first proof that it accepted our certificate. The error is a text for people,
    /// without the place.
    pub fn open(
        link: Box<dyn Link>,
        place: String,
        store: Arc<Store>,
        login: Option<&Login>,
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
            offers_random: false,
            until: None,
            refused_whole: 0,
            out: out.ok_or("no locked memory left for another connection")?,
            store,
            place,
            vendor: "vendor not told".to_owned(),
        };
        session.version = session.negotiate(deadline)?;
        session.learn(deadline)?;
        Ok(session)
    }

    fn negotiate(&mut self, deadline: Instant) -> Result<ProtocolVersion, String> {
        let offered = RequestPayload::DiscoverVersions(&VERSIONS);
        let spoken = self.call(offered, deadline, |payload| {
            DiscoverVersions::decode(payload)
                .take(64)
                .collect::<Result<Vec<_>, _>>()
        });
        match spoken {
            Ok(spoken) => {
                let best = VERSIONS
                    .into_iter()
                    .find(|version| spoken.contains(version));
                best.ok_or_else(|| {
                    let spoken: Vec<_> = spoken.iter().map(ToString::to_string).collect();
                    format!(
                        "the HSM offers none of KMIP 2.1, 2.0 and 1.4 (it names: {}); below 1.4 \
                         authenticated encryption loses its tag: enable KMIP 1.4 on the HSM",
                        if spoken.is_empty() {
                            "none".into()
                        } else {
                            spoken.join(", ")
                        }
                    )
                })
            }
            // Discover Versions may be missing; what follows then proves 1.4.
            Err(Fault::Failed { reason, text }) => {
                log::debug!(
                    "{}: Discover Versions refused: {reason:#x} {text}",
                    self.place
                );
                Ok(ProtocolVersion::V1_4)
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
        let items = decode_response(answer)
            .and_then(|message| message.items.collect::<Result<Vec<_>, _>>())
            .map_err(|error| format!("the HSM's answer is no KMIP response: {error}"))?;
        self.single = items.iter().any(ResponseItem::is_message_level);
        if !self.single {
            let vendor = items.iter().find(|item| item.id() == Some(ids[1]));
            let vendor = vendor.and_then(|item| item.need_payload().ok());
            let vendor = vendor.and_then(|payload| QueryAnswer::decode(payload).ok()?.vendor);
            self.vendor = vendor.map_or("vendor not told".into(), |text| clean(text).to_string());
            let can = items.iter().find(|item| item.id() == Some(ids[0]));
            if let Some(payload) = can.and_then(|item| item.need_payload().ok()) {
                self.offers_random = offers(payload)?;
                return Ok(());
            }
        }
        let query = RequestPayload::Query(&[OPERATIONS]);
        match self.call(query, deadline, |payload| Ok(offers(payload))) {
            Ok(result) => {
                self.offers_random = result?;
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
}

/// Whether the HSM has RNG Retrieve. An error names what is missing among the operations that must be
/// there; an HSM that names none at all is believed to have those.
fn offers(payload: Reader<'_>) -> Result<bool, String> {
    let answer = QueryAnswer::decode(payload)
        .map_err(|error| format!("the HSM's answer to Query cannot be read: {error}"))?;
    if answer.operations().next().is_none() {
        return Ok(false);
    }
    let needed = [
        (operation::ENCRYPT, "Encrypt"),
        (operation::DECRYPT, "Decrypt"),
    ];
    let missing = needed
        .into_iter()
        .filter(|(operation, _)| !answer.supports(*operation));
    let missing: Vec<&str> = missing.map(|(_, name)| name).collect();
    if missing.is_empty() {
        return Ok(answer.supports(operation::RNG_RETRIEVE));
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
