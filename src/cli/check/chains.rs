//! The chains that the server shows: to its clients, and to the HSM.

use rustls::pki_types::CertificateDer;

use crate::keystore::{CertificateFacts, SubjectAltName, issued_by};
use crate::node::Shown;
use crate::wire::calendar::timestamp_s;

use super::super::keystore::WARN_DAYS;
use super::Report;

const DAY_S: i64 = 86_400;

/// Judges each chain; `others` are the other certificates of the keystores.
pub(super) fn examine(
    shown: &[Shown<'_>],
    others: &[CertificateDer<'static>],
    now_unix_s: i64,
    report: &mut Report,
) {
    for chain in shown {
        let read = |der: &CertificateDer<'_>| CertificateFacts::from_der(der).ok();
        let facts: Vec<CertificateFacts> = chain.certificates.iter().filter_map(read).collect();
        judge_order(chain, &facts, report);
        judge_dates(chain, &facts, now_unix_s, report);
        judge_top(chain, &facts, others, report);
        if chain.usage == "server" {
            judge_names(chain, &facts, report);
        }
    }
}

fn judge_order(chain: &Shown<'_>, facts: &[CertificateFacts], report: &mut Report) {
    let names = facts.windows(2).zip(chain.certificates.windows(2));
    for (facts, pair) in names {
        if let ([one, issuer], [facts, next]) = (pair, facts)
            && !issued_by(one, issuer)
        {
            report.warnings.push(format!(
                "certificate '{}' ({}): in its chain {} is followed by {}, which has not issued it: peers that go by the \
                 order refuse it; import it again with `kms cert import`, which puts it in order",
                chain.alias, chain.usage, facts.subject, next.subject
            ));
        }
    }
}

/// The first is told with all other certificates.
fn judge_dates(
    chain: &Shown<'_>,
    facts: &[CertificateFacts],
    now_unix_s: i64,
    report: &mut Report,
) {
    for issuer in facts.iter().skip(1) {
        let left_s = issuer.not_after_unix_s.saturating_sub(now_unix_s);
        let end = day(issuer.not_after_unix_s);
        let what = match left_s.div_euclid(DAY_S) {
            ..0 => format!("has expired on {end}"),
            days @ 0..WARN_DAYS => format!("expires in {days} days, on {end}"),
            _ => continue,
        };
        report.warnings.push(format!(
            "certificate '{}' ({}): {} in its chain {what}: peers refuse the whole chain then; get a new one from the \
             authority and import it",
            chain.alias, chain.usage, issuer.subject
        ));
    }
}

/// What must vouch for the last of the chain.
fn judge_top(
    chain: &Shown<'_>,
    facts: &[CertificateFacts],
    others: &[CertificateDer<'static>],
    report: &mut Report,
) {
    let (Some(last), Some(top)) = (chain.certificates.last(), facts.last()) else {
        return;
    };
    if top.self_issued {
        if facts.len() > 1 {
            report.notes.push(format!(
                "certificate '{}' ({}): the root {} is in its chain: it does no harm and no good, who trusts it has it; \
                 `kms cert import` leaves it out",
                chain.alias, chain.usage, top.subject
            ));
        }
        return;
    }
    let intermediate = others.iter().filter(|other| issued_by(last, other));
    let intermediate = intermediate.filter_map(|other| CertificateFacts::from_der(other).ok());
    let lacks = intermediate.into_iter().find(|other| !other.self_issued);
    match lacks {
        Some(lacks) => report.warnings.push(format!(
            "certificate '{}' ({}): its chain lacks the intermediate {}, which is in the keystore: peers that know the \
             root only refuse it; import it again with that in its chain (`kms cert import --cert`)",
            chain.alias, chain.usage, lacks.subject
        )),
        None => report.notes.push(format!(
            "certificate '{}' ({}): accepted by who trusts {}",
            chain.alias, chain.usage, top.issuer
        )),
    }
}

/// Clients look for names among the alternative ones only.
fn judge_names(chain: &Shown<'_>, facts: &[CertificateFacts], report: &mut Report) {
    let Some(leaf) = facts.first() else {
        return;
    };
    let is_host =
        |name: &SubjectAltName| matches!(name, SubjectAltName::Dns(_) | SubjectAltName::Ip(_));
    if !leaf.sans.iter().any(is_host) {
        report.notes.push(format!(
            "certificate '{}' (server) names no host among its subject alternative names: clients of today refuse it \
             unless they do not look at names; ask for it anew with `kms cert csr --san`",
            chain.alias
        ));
    }
}

fn day(unix_s: i64) -> String {
    let mut text = timestamp_s(u64::try_from(unix_s).unwrap_or(0));
    text.truncate(10);
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};

    use super::*;

    /// Root, intermediate and leaf, and their dates.
    struct Family {
        root: CertificateDer<'static>,
        middle: CertificateDer<'static>,
        leaf: CertificateDer<'static>,
        nameless: CertificateDer<'static>,
    }

    fn params(name: &str, is_ca: bool, days: u64) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let now = std::time::SystemTime::now();
        params.not_before = (now - Duration::from_hours(1)).into();
        params.not_after = (now + Duration::from_hours(24 * days)).into();
        params
    }

    fn family(middle_days: u64) -> Family {
        let keys = [0; 3].map(|_| KeyPair::generate().unwrap());
        let root_params = params("root", true, 1000);
        let root = root_params.self_signed(&keys[0]).unwrap();
        let root_issuer = Issuer::from_params(&root_params, &keys[0]);
        let middle_params = params("middle", true, middle_days);
        let middle = middle_params.signed_by(&keys[1], &root_issuer).unwrap();
        let middle_issuer = Issuer::from_params(&middle_params, &keys[1]);
        let mut leaf = params("leaf", false, 500);
        let nameless = leaf.signed_by(&keys[2], &middle_issuer).unwrap();
        leaf.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
        let leaf = leaf.signed_by(&keys[2], &middle_issuer).unwrap();
        Family {
            root: root.der().clone(),
            middle: middle.der().clone(),
            leaf: leaf.der().clone(),
            nameless: nameless.der().clone(),
        }
    }

    type Certificates<'a> = Vec<&'a CertificateDer<'static>>;
    /// Name, chain, what else is in the keystore, warnings and notes.
    type Row<'a> = (
        &'static str,
        Certificates<'a>,
        Certificates<'a>,
        &'static [&'static str],
        &'static [&'static str],
    );

    fn rows<'a>(good: &'a Family, soon: &'a Family) -> [Row<'a>; 7] {
        let (root, middle) = (&good.root, &good.middle);
        [
            (
                "whole",
                vec![&good.leaf, middle],
                vec![],
                &[],
                &["accepted by who trusts CN=root"],
            ),
            (
                "with its root",
                vec![&good.leaf, middle, root],
                vec![],
                &[],
                &["the root CN=root is in its chain"],
            ),
            (
                "in another order",
                vec![&good.leaf, root, middle],
                vec![],
                &[
                    "CN=leaf is followed by CN=root",
                    "CN=root is followed by CN=middle",
                ],
                &["accepted by"],
            ),
            (
                "without the intermediate",
                vec![&good.leaf],
                vec![middle],
                &["lacks the intermediate CN=middle"],
                &[],
            ),
            (
                "alone",
                vec![&good.leaf],
                vec![],
                &[],
                &["accepted by who trusts CN=middle"],
            ),
            (
                "an issuer that ends soon",
                vec![&soon.leaf, &soon.middle],
                vec![],
                &["CN=middle in its chain expires in "],
                &["accepted"],
            ),
            (
                "without names",
                vec![&good.nameless, middle],
                vec![],
                &[],
                &["accepted", "names no host"],
            ),
        ]
    }

    #[test]
    fn chains_are_judged_by_order_dates_and_top() {
        let good = family(500);
        let soon = family(5);
        for (name, chain, others, warnings, notes) in rows(&good, &soon) {
            let copy = |all: Certificates<'_>| all.into_iter().cloned().collect::<Vec<_>>();
            let (chain, others) = (copy(chain), copy(others));
            let shown = Shown {
                alias: "kmsserver",
                usage: "server",
                certificates: &chain,
            };
            let mut report = Report::default();
            examine(
                &[shown],
                &others,
                super::super::clock::now_unix_s(),
                &mut report,
            );
            for (told, want) in [(&report.warnings, warnings), (&report.notes, notes)] {
                assert_eq!(told.len(), want.len(), "{name}: {told:?}");
                for (told, want) in told.iter().zip(want) {
                    assert!(told.contains(want), "{name}: {told}");
                }
            }
        }
    }
}
