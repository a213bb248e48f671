//! Real certificates and lists, made on the spot, asked of a snapshot without a handshake.
#![allow(clippy::unwrap_used)]

mod building;
mod identifying;
mod reloading;
mod revoking;

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::*;
use crate::identity::{
    BuildWarning, CertificateFacts as Trusted, IdentityError, RoleSpec, Snapshot,
};
use crate::keystore::revocation_lists;

/// 2027.
const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;
type Der = CertificateDer<'static>;

/// A CA with its key.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    params: CertificateParams,
    der: Der,
}

fn params(common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    let name = &mut params.distinguished_name;
    name.push(DnType::OrganizationName, "Example");
    name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    change(&mut params);
    params
}

fn ca_params(common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    params(common_name, |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        p.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        change(p);
    })
}

impl Ca {
    fn root(common_name: &str) -> Self {
        Self::root_with(common_name, |_| ())
    }

    fn root_with(common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let params = ca_params(common_name, change);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Self::of(params, key, der)
    }

    fn of(params: CertificateParams, key: KeyPair, der: Der) -> Self {
        Self {
            issuer: Issuer::new(params.clone(), key),
            params,
            der,
        }
    }

    /// A CA below this one.
    fn below(&self, common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let params = ca_params(common_name, change);
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self::of(params, key, der)
    }

    /// Another certificate over the same name and key.
    fn again(&self, change: impl FnOnce(&mut CertificateParams)) -> Der {
        let mut params = self.params.clone();
        change(&mut params);
        params.self_signed(self.issuer.key()).unwrap().der().clone()
    }

    fn leaf(&self, common_name: &str) -> Der {
        self.leaf_with(common_name, |_| ())
    }

    fn leaf_with(&self, common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Der {
        let params = params(common_name, |p| {
            p.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            change(p);
        });
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }

    /// A list of these certificates, from `from` to `until` (years).
    fn list_between(&self, revoked: &[&Der], from: i32, until: i32) -> Arc<RevocationList> {
        let entry = |der: &&Der| RevokedCertParams {
            serial_number: SerialNumber::from(serial(der)),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(from, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let der = list.signed_by(&self.issuer).unwrap().der().to_vec();
        Arc::new(revocation_lists(&der).unwrap().remove(0))
    }

    fn list(&self, revoked: &[&Der]) -> Arc<RevocationList> {
        self.list_between(revoked, 2025, 2030)
    }
}

fn serial(der: &Der) -> Vec<u8> {
    webpki::EndEntityCert::try_from(der)
        .unwrap()
        .serial()
        .to_vec()
}

fn trusted(alias: &str, der: &Der) -> Trusted {
    let facts = CertificateFacts::from_der(der).unwrap();
    Trusted {
        alias: alias.to_owned(),
        der: der.to_vec(),
        subject: facts.subject,
        not_before_unix_s: facts.not_before_unix_s,
        not_after_unix_s: facts.not_after_unix_s,
        spki: facts.spki,
    }
}

fn subject(pairs: &[(&str, &str)]) -> SubjectGlob {
    let pair = |(kind, glob): &(&str, &str)| ((*kind).to_owned(), (*glob).to_owned());
    SubjectGlob {
        attributes: pairs.iter().map(pair).collect(),
    }
}

/// A role that takes what these CAs issue under common names of that glob.
fn role(name: &str, aliases: &[&str], common_name: &str) -> RoleSpec {
    RoleSpec {
        name: name.to_owned(),
        alias_globs: vec![format!("pin-{name}*")],
        operations: "all".parse().unwrap(),
        key_globs: vec!["*".to_owned()],
        ca: Some(CaSpec {
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
            subjects: vec![subject(&[("CN", common_name)])],
            sans: Vec::new(),
            lists: None,
        }),
    }
}

fn listing(mut role: RoleSpec, lists: &[&Arc<RevocationList>]) -> RoleSpec {
    if let Some(ca) = &mut role.ca {
        ca.lists = Some(lists.iter().map(|&list| Arc::clone(list)).collect());
    }
    role
}

type Built = Result<(Snapshot, Vec<BuildWarning>), IdentityError>;

/// `hsmCA` is the HSM's.
fn build(roles: &[RoleSpec], store: &[(&str, &Der)]) -> Built {
    let store = store.iter().map(|(alias, der)| trusted(alias, der));
    Snapshot::build(roles, store, &["hsmCA".to_owned()], 1, NOW)
}

fn snapshot(roles: &[RoleSpec], store: &[(&str, &Der)]) -> Snapshot {
    build(roles, store).unwrap().0
}

/// Alias and role of who is let in.
fn who(snapshot: &Snapshot, chain: &[&Der], now: i64) -> Result<(String, String), Stranger> {
    let above: Vec<Der> = chain[1..].iter().map(|&der| der.clone()).collect();
    let pin = snapshot.identify(chain[0], &above, now)?;
    Ok((pin.alias.clone(), pin.role.name.clone()))
}

#[allow(clippy::unnecessary_wraps)] // Compared with what may be a refusal.
fn let_in(alias: &str, role: &str) -> Result<(String, String), Stranger> {
    Ok((alias.to_owned(), role.to_owned()))
}
