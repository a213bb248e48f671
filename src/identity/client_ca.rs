//! Client CAs beside the pins: who issued a certificate decides whether it is let in, its names decide its role.
//!
//! webpki judges the way from a certificate up to a CA; what it leaves open is asked in `authority`. What was found
//! out is kept for some thousand certificates, so that a handshake asks once, and a resumed one mostly not at all.
//! Must never be true: a certificate that the HSM's CA vouches for; one with two roles; one of a CA with a list of
//! revoked certificates whose standing that list does not tell. Called by `identity` alone.

mod authority;
mod build;
mod error;
mod names;
mod recent;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm};

use super::{Pin, Role, Stranger, fingerprint};
use crate::config::{SanGlob, SubjectGlob};
use crate::keystore::{CertificateFacts, RevocationList};
use crate::limits::{CLIENT_CHAIN_BYTES_MAX, CLIENT_CHAIN_MAX};

use authority::{Authority, Step, Way};
pub use error::{ClientCaError, ClientCaWarning};
use names::Names;
use recent::{Recent, Shown};

/// Bytes of a subject and of all alternative names together: they are kept for each connection, and the subject is in
/// each line of the audit log.
const NAMES_BYTES_MAX: usize = 4096;

/// `kms.role.NAME.ca.*`.
#[derive(Clone, Debug)]
pub struct CaSpec {
    /// Keystore aliases; case does not matter.
    pub aliases: Vec<String>,
    /// One must fit; empty: subjects do not matter.
    pub subjects: Vec<SubjectGlob>,
    /// One must fit; empty: alternative names do not matter.
    pub sans: Vec<SanGlob>,
    /// What `kms.role.NAME.ca.crl.file` holds; `None`: there is no such file.
    pub lists: Option<Vec<Arc<RevocationList>>>,
}

/// How a client CA came to vouch for a certificate: what is asked again after a reload.
#[derive(Debug)]
pub struct Issued {
    /// What tells it, and all that came with it, from others.
    shown: Shown,
    /// SHA-256 of the CA's certificate.
    authority: [u8; 32],
    /// The certificate first, then what stands between it and the CA.
    path: Arc<[Step]>,
    names: Arc<Names>,
    /// Until when the lists that were looked into are new enough, seconds since 1970.
    listed_until_unix_s: i64,
}

/// What there is to tell of a client CA.
#[derive(Clone, Copy, Debug)]
pub struct CaFacts<'a> {
    authority: &'a Authority,
}

impl<'a> CaFacts<'a> {
    /// Lower-cased keystore alias.
    pub fn alias(&self) -> &'a str {
        &self.authority.alias
    }

    /// RFC 4514.
    pub fn subject(&self) -> &'a str {
        &self.authority.subject
    }

    /// SHA-256 of the certificate.
    pub fn fingerprint(&self) -> &'a [u8; 32] {
        &self.authority.fingerprint
    }

    /// End of validity, seconds since 1970.
    pub fn not_after_unix_s(&self) -> i64 {
        self.authority.not_after_unix_s
    }

    /// The lists of revoked certificates that are looked into, its own first.
    pub fn lists(&self) -> &'a [Arc<RevocationList>] {
        &self.authority.lists
    }
}

/// Whom a role takes.
#[derive(Debug)]
struct Rule {
    role: Arc<Role>,
    /// Places in [`ClientCas::authorities`].
    authorities: Vec<usize>,
    subjects: Vec<SubjectGlob>,
    sans: Vec<SanGlob>,
}

/// All client CAs of a snapshot.
#[derive(Debug, Default)]
pub struct ClientCas {
    authorities: Vec<Authority>,
    rules: Vec<Rule>,
    /// SHA-256 of the public keys of the HSM's CAs.
    hsm_keys: Vec<[u8; 32]>,
    /// What signatures may be made with.
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    recent: Recent,
}

impl ClientCas {
    /// Whether there are none: then only pins are let in.
    pub fn is_empty(&self) -> bool {
        self.authorities.is_empty()
    }

    /// The principal that the holder of `leaf` is; `above` is what came with it.
    pub(super) fn identify(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now_unix_s: i64,
    ) -> Result<Arc<Pin>, Stranger> {
        if self.is_empty() {
            return Err(Stranger::Unknown);
        }
        let shown = Shown::of(leaf, above);
        if let Some(known) = self.recent.get(shown)
            && known.standing(now_unix_s).is_ok()
            && is_listed(&known, now_unix_s)
        {
            return Ok(known);
        }
        let facts = CertificateFacts::from_der(leaf).map_err(|_| Stranger::Unknown)?;
        let ways = self.ways(leaf, &facts, above, now_unix_s)?;
        let names = Names::of(&facts);
        if facts.subject.len() + names.bytes() > NAMES_BYTES_MAX {
            return Err(Stranger::Path("its names are longer than 4096 bytes"));
        }
        let places: Vec<usize> = ways.iter().map(|(place, _)| *place).collect();
        let (role, place) = self.role(&places, &facts.subject, &names)?;
        let mut ways = ways.into_iter();
        let way = ways.find(|(index, _)| *index == place);
        let Some((authority, (_, way))) = self.authorities.get(place).zip(way) else {
            return Err(Stranger::Unknown);
        };
        let listed_until_unix_s = self.listed_until(authority, &way.path)?;
        if now_unix_s >= listed_until_unix_s {
            return Err(Stranger::StaleList);
        }
        let pin = Arc::new(Pin {
            alias: authority.alias.clone(),
            subject: facts.subject,
            fingerprint: fingerprint(leaf),
            spki: facts.spki,
            not_before_unix_s: way.not_before_unix_s,
            not_after_unix_s: way.not_after_unix_s,
            role,
            revoked: AtomicBool::new(false),
            issued: Some(Issued {
                shown,
                authority: authority.fingerprint,
                listed_until_unix_s,
                path: way.path.into(),
                names: Arc::new(names),
            }),
        });
        pin.standing(now_unix_s)?;
        self.recent.insert(shown, &pin);
        Ok(pin)
    }

    /// The CAs that vouch for it, by their places; at least one.
    fn ways(
        &self,
        leaf: &CertificateDer<'_>,
        facts: &CertificateFacts,
        above: &[CertificateDer<'_>],
        now_unix_s: i64,
    ) -> Result<Vec<(usize, Way)>, Stranger> {
        let bytes: usize = above.iter().map(|one| one.len()).sum();
        if above.len() > CLIENT_CHAIN_MAX || bytes + leaf.len() > CLIENT_CHAIN_BYTES_MAX {
            return Err(Stranger::Path(
                "it comes with more than 4 other certificates, or 32 KiB of them",
            ));
        }
        let (mut ways, mut faults) = (Vec::new(), Vec::new());
        for (place, authority) in self.authorities.iter().enumerate() {
            match authority.way(leaf, facts, above, now_unix_s, self) {
                Ok(way) => ways.push((place, way)),
                Err(webpki::Error::UnknownIssuer) => {}
                Err(fault) => faults.push((authority, fault)),
            }
        }
        if !ways.is_empty() {
            return Ok(ways);
        }
        // webpki looks at dates and uses before it looks at signatures: of a stranger they are not told.
        let ladder = authority::ladder(leaf, above);
        let ours = faults
            .into_iter()
            .find(|(authority, _)| authority.is_above(&ladder));
        Err(ours.map_or(Stranger::Unknown, |(_, fault)| authority::stranger(&fault)))
    }

    /// What webpki did not ask on the way to `authority`: whether a list of a CA that stands on the way, or shares a key
    /// with one that does, revokes a step of it, and until when such lists are new enough. Or a certificate would get in
    /// by a CA without a list that another role names.
    fn listed_until(&self, authority: &Authority, path: &[Step]) -> Result<i64, Stranger> {
        let others = self.authorities.iter();
        let others = others.filter(|other| other.fingerprint != authority.fingerprint);
        let until = others.map(|other| other.listed_elsewhere_until(path));
        let until = until.collect::<Result<Vec<i64>, _>>()?;
        let own = authority.listed_until(path)?;
        Ok(until.into_iter().fold(own, i64::min))
    }

    /// The one role whose globs fit, and the first of `places` by which it has it.
    fn role(
        &self,
        places: &[usize],
        subject: &str,
        names: &Names,
    ) -> Result<(Arc<Role>, usize), Stranger> {
        let mut found: Option<(&Arc<Role>, usize)> = None;
        for rule in self.rules.iter().filter(|rule| names.fit(rule)) {
            let place = places.iter().find(|place| rule.authorities.contains(place));
            match (place, found) {
                (Some(_), Some((first, _))) if !Arc::ptr_eq(first, &rule.role) => {
                    let (one, two) = (&first.name, &rule.role.name);
                    let text = format!("'{one}' and '{two}' both take {subject}");
                    return Err(Stranger::TwoRoles(text.into()));
                }
                (Some(place), None) => found = Some((&rule.role, *place)),
                _ => {}
            }
        }
        let (role, place) = found.ok_or_else(|| {
            let names = names.to_string();
            Stranger::NoRole(format!("subject {subject}, names {names}").into())
        })?;
        Ok((Arc::clone(role), place))
    }

    /// What the holder of a principal of an older snapshot is now. No signature is looked at again: the CA is the same
    /// to the bit, and so is all below it.
    pub(super) fn successor(&self, old: &Pin) -> Result<Arc<Pin>, Stranger> {
        let issued = old.issued.as_ref().ok_or(Stranger::Revoked)?;
        if let Some(known) = self.recent.get(issued.shown) {
            return Ok(known);
        }
        let mut places = self.authorities.iter().enumerate();
        let (place, authority) = places
            .find(|(_, authority)| authority.fingerprint == issued.authority)
            .ok_or(Stranger::Revoked)?;
        let is_hsms = |step: &Step| self.hsm_keys.contains(&step.key);
        if issued.path.iter().any(is_hsms) {
            return Err(Stranger::Revoked);
        }
        // One that is out of date brings no news: only new connections are refused for it.
        let listed_until_unix_s = self.listed_until(authority, &issued.path)?;
        let (role, _) = self.role(&[place], &old.subject, &issued.names)?;
        let pin = Arc::new(Pin {
            alias: authority.alias.clone(),
            subject: old.subject.clone(),
            fingerprint: old.fingerprint,
            spki: old.spki.clone(),
            not_before_unix_s: old.not_before_unix_s,
            not_after_unix_s: old.not_after_unix_s,
            role,
            revoked: AtomicBool::new(false),
            issued: Some(Issued {
                shown: issued.shown,
                authority: authority.fingerprint,
                path: Arc::clone(&issued.path),
                names: Arc::clone(&issued.names),
                listed_until_unix_s,
            }),
        });
        self.recent.insert(issued.shown, &pin);
        Ok(pin)
    }

    /// What there is to tell of each, in the order of the roles that name them.
    pub fn facts(&self) -> Vec<CaFacts<'_>> {
        let facts = |authority| CaFacts { authority };
        self.authorities.iter().map(facts).collect()
    }

    /// The principals that were let in last.
    pub(super) fn recent(&self) -> Vec<Arc<Pin>> {
        self.recent.all()
    }
}

/// Whether the lists that were looked into are new enough for a new connection.
fn is_listed(pin: &Pin, now_unix_s: i64) -> bool {
    pin.issued
        .as_ref()
        .is_some_and(|issued| now_unix_s < issued.listed_until_unix_s)
}
