//! From configured roles, the keystore's CAs and their lists of revoked certificates to [`ClientCas`].
//!
//! Must never be true: a CA that is also the HSM's, or shares its key; a list that its CA did not sign; a CA with lists
//! of which none is its own.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;

use super::{Authority, CaSpec, ClientCaError, ClientCaWarning, ClientCas, Recent, Rule};
use crate::identity::{CertificateFacts, Role, RoleSpec, fingerprint};
use crate::keystore::{self, RevocationList};

type Roles<'a> = [(&'a RoleSpec, Arc<Role>)];

impl ClientCas {
    /// `trusted` are the keystore's trusted certificates, those of the HSM's CAs (`hsm`) apart.
    pub(in crate::identity) fn build(
        roles: &Roles<'_>,
        trusted: &[CertificateFacts],
        hsm: &[CertificateFacts],
        now_unix_s: i64,
        warnings: &mut Vec<ClientCaWarning>,
    ) -> Result<Self, ClientCaError> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        let mut cas = Self {
            authorities: Vec::new(),
            rules: Vec::new(),
            hsm_keys: hsm.iter().map(|facts| fingerprint(&facts.spki)).collect(),
            algorithms: algorithms.all,
            recent: Recent::default(),
        };
        let mut specs = Vec::new();
        for (spec, role) in roles {
            let Some(ca) = &spec.ca else {
                continue;
            };
            let mut places = Vec::new();
            for alias in &ca.aliases {
                let alias = alias.to_lowercase();
                places.push(cas.place(&spec.name, &alias, trusted, hsm)?);
            }
            specs.push((spec.name.as_str(), ca));
            cas.rules.push(Rule {
                role: Arc::clone(role),
                authorities: places,
                subjects: ca.subjects.clone(),
                sans: ca.sans.clone(),
            });
        }
        cas.take_lists(&specs, warnings)?;
        warnings.extend(cas.date_warnings(now_unix_s));
        Ok(cas)
    }

    /// The place of the CA of this alias, which is taken in if it is new.
    fn place(
        &mut self,
        role: &str,
        alias: &str,
        trusted: &[CertificateFacts],
        hsm: &[CertificateFacts],
    ) -> Result<usize, ClientCaError> {
        let (role, owned) = (role.to_owned(), alias.to_owned());
        // The same certificate, or another one over the same key: either way what the HSM's CA issues would do.
        let shares = |facts: &&CertificateFacts, spki: &[u8]| facts.spki == spki;
        if let Some(own) = hsm.iter().find(|facts| facts.alias == alias) {
            let authority = own.alias.clone();
            return Err(ClientCaError::OfHsm {
                role,
                alias: owned,
                authority,
            });
        }
        let Some(facts) = trusted.iter().find(|facts| facts.alias == alias) else {
            return Err(ClientCaError::Missing { role, alias: owned });
        };
        if let Some(own) = hsm.iter().find(|own| shares(own, &facts.spki)) {
            let authority = own.alias.clone();
            return Err(ClientCaError::OfHsm {
                role,
                alias: owned,
                authority,
            });
        }
        let print = fingerprint(&facts.der);
        let mut known = self.authorities.iter();
        if let Some(place) = known.position(|authority| authority.fingerprint == print) {
            return Ok(place);
        }
        let authority = authority(facts).map_err(|why| ClientCaError::Unfit {
            role,
            alias: owned,
            why,
        })?;
        self.authorities.push(authority);
        Ok(self.authorities.len() - 1)
    }

    /// Gives each CA the lists that count for it: those of all roles, for a certificate that one role would take as
    /// revoked must not slip into another.
    fn take_lists(
        &mut self,
        specs: &[(&str, &CaSpec)],
        warnings: &mut Vec<ClientCaWarning>,
    ) -> Result<(), ClientCaError> {
        let held = specs.iter().filter_map(|(_, ca)| ca.lists.as_ref());
        let pool: Vec<&Arc<RevocationList>> = held.flatten().collect();
        let mut below = Vec::new();
        for list in &pool {
            let mut named = self.authorities.iter().filter(|ca| is_named(list, ca));
            let issuer = || list.issuer_text.clone();
            match named.next() {
                None => below.push(*list),
                Some(first) if is_signed(list, first) || named.any(|ca| is_signed(list, ca)) => {}
                Some(_) => return Err(ClientCaError::ListSigner { issuer: issuer() }),
            }
        }
        let below = newest(below.into_iter());
        warnings.extend(below.iter().map(|list| ClientCaWarning::ForeignList {
            issuer: list.issuer_text.clone(),
        }));
        for ((role, ca), rule) in specs.iter().zip(&self.rules) {
            for place in rule.authorities.iter().filter(|_| ca.lists.is_some()) {
                let Some(authority) = self.authorities.get_mut(*place) else {
                    continue;
                };
                let own = pool
                    .iter()
                    .filter(|list| is_named(list, authority) && is_signed(list, authority));
                authority.lists = newest(own.copied());
                if authority.lists.is_empty() {
                    return Err(ClientCaError::ListMissing {
                        role: (*role).to_owned(),
                        alias: authority.alias.clone(),
                        subject: authority.subject.clone(),
                    });
                }
                authority.lists.extend(below.iter().cloned());
            }
        }
        Ok(())
    }

    /// Whether a CA has revoked a certificate that is pinned all the same.
    pub(in crate::identity) fn revoked_pin(
        &self,
        pin: &CertificateFacts,
    ) -> Option<ClientCaWarning> {
        let der = CertificateDer::from(pin.der.as_slice());
        let certificate = webpki::EndEntityCert::try_from(&der).ok()?;
        let has_revoked = |authority: &&Authority| {
            let mut lists = authority.lists.iter();
            lists.any(|list| {
                list.issuer() == certificate.issuer() && list.names(certificate.serial())
            })
        };
        let ca = self.authorities.iter().find(has_revoked)?;
        Some(ClientCaWarning::RevokedPin {
            alias: pin.alias.clone(),
            ca: ca.alias.clone(),
        })
    }

    fn date_warnings(&self, now_unix_s: i64) -> Vec<ClientCaWarning> {
        let mut warnings = Vec::new();
        for authority in &self.authorities {
            let alias = || authority.alias.clone();
            if now_unix_s > authority.not_after_unix_s {
                let not_after_unix_s = authority.not_after_unix_s;
                warnings.push(ClientCaWarning::Expired {
                    alias: alias(),
                    not_after_unix_s,
                });
            } else if now_unix_s < authority.not_before_unix_s {
                let not_before_unix_s = authority.not_before_unix_s;
                warnings.push(ClientCaWarning::NotYetValid {
                    alias: alias(),
                    not_before_unix_s,
                });
            }
            let own = authority
                .lists
                .iter()
                .filter(|list| is_named(list, authority));
            let stale = own.filter(|list| now_unix_s >= list.next_update_unix_s);
            warnings.extend(stale.map(|list| ClientCaWarning::StaleList {
                alias: alias(),
                next_update_unix_s: list.next_update_unix_s,
            }));
        }
        warnings
    }
}

fn authority(facts: &CertificateFacts) -> Result<Authority, &'static str> {
    const UNREADABLE: &str = "is no certificate of X.509 version 3";
    let der = CertificateDer::from(facts.der.clone());
    let more = keystore::CertificateFacts::from_der(&der).map_err(|_| UNREADABLE)?;
    let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|_| UNREADABLE)?;
    if more.version != 3 {
        return Err(UNREADABLE);
    }
    if !more.ca {
        return Err("is no CA's certificate (basic constraints without CA:TRUE)");
    }
    if !more.uses.cert_sign {
        return Err("may not issue certificates (key usage without keyCertSign)");
    }
    if !more.uses.client_auth {
        return Err(
            "may not issue certificates for clients (extended key usage without clientAuth)",
        );
    }
    Ok(Authority {
        alias: facts.alias.clone(),
        subject: more.subject,
        fingerprint: more.sha256,
        key: fingerprint(&more.spki),
        anchor: anchor.to_owned(),
        der,
        path_len: more.path_len,
        not_before_unix_s: more.not_before_unix_s,
        not_after_unix_s: more.not_after_unix_s,
        lists: Vec::new(),
    })
}

/// Of several lists in the name of one CA, and of one part of its certificates, the newest.
fn newest<'a>(all: impl Iterator<Item = &'a Arc<RevocationList>>) -> Vec<Arc<RevocationList>> {
    let mut pool: Vec<Arc<RevocationList>> = Vec::new();
    for list in all {
        let mut known = pool.iter_mut();
        match known.find(|known| known.issuer() == list.issuer() && known.part() == list.part()) {
            Some(known) if known.this_update_unix_s < list.this_update_unix_s => {
                *known = Arc::clone(list);
            }
            Some(_) => {}
            None => pool.push(Arc::clone(list)),
        }
    }
    pool
}

/// Whether the list is made in the name of the CA.
fn is_named(list: &RevocationList, authority: &Authority) -> bool {
    list.issuer() == authority.anchor.subject.as_ref()
}

/// Whether the CA's key made it.
fn is_signed(list: &RevocationList, authority: &Authority) -> bool {
    let facts = keystore::CertificateFacts::from_der(&authority.der);
    facts.is_ok_and(|facts| facts.uses.crl_sign && list.is_signed_by(&facts.spki))
}
