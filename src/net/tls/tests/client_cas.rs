//! Client CAs in real handshakes: which alert a client sees, what the log says, and that hints are never sent.
#![allow(clippy::unwrap_used)]

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::{AlertDescription, Error, HandshakeKind};

use super::super::*;
use super::{VERSIONS, client, issued, meet, params, plain, swap};
use crate::config::SubjectGlob;
use crate::identity::{CaSpec, CertificateFacts, RoleSpec};
use crate::keystore;

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
}

fn ca(common_name: &str, above: Option<&Ca>) -> Ca {
    let params = params(common_name, |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let key = KeyPair::generate().unwrap();
    let der = match above {
        Some(above) => params.signed_by(&key, &above.issuer),
        None => params.self_signed(&key),
    };
    Ca {
        issuer: Issuer::new(params, key),
        der: der.unwrap().der().clone(),
    }
}

fn list(ca: &Ca, revoked: &Identity, until: i32) -> Arc<keystore::RevocationList> {
    let leaf = webpki::EndEntityCert::try_from(&revoked.chain[0]).unwrap();
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(until, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(leaf.serial().to_vec()),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let der = list.signed_by(&ca.issuer).unwrap();
    let mut read = keystore::revocation_lists(der.der()).unwrap();
    Arc::new(read.remove(0))
}

/// A snapshot in which `ca` vouches for devices.
fn trusting(ca: &Ca, lists: Option<Vec<Arc<keystore::RevocationList>>>) -> Snapshot {
    let facts = keystore::CertificateFacts::from_der(&ca.der).unwrap();
    let trusted = CertificateFacts {
        alias: "deviceCA".to_owned(),
        der: ca.der.to_vec(),
        subject: facts.subject,
        not_before_unix_s: facts.not_before_unix_s,
        not_after_unix_s: facts.not_after_unix_s,
        spki: facts.spki,
    };
    let [mut device, backend] = RoleSpec::defaults();
    device.ca = Some(CaSpec {
        aliases: vec!["deviceCA".to_owned()],
        subjects: vec![SubjectGlob {
            attributes: vec![("CN".to_owned(), "device-*".to_owned())],
        }],
        sans: Vec::new(),
        lists,
    });
    Snapshot::build(&[device, backend], [trusted], &[], 1, 0)
        .unwrap()
        .0
}

fn device(ca: &Ca, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    issued(&ca.issuer, &params("device-1", change))
}

fn with(mut identity: Identity, above: &[&Ca]) -> Identity {
    let above = above.iter().map(|ca| ca.der.clone());
    identity.chain.extend(above);
    identity
}

type Want = Result<(), (AlertDescription, &'static str)>;

fn check(pins: &Arc<ArcSwap<Snapshot>>, rows: &[(&str, &Identity, Want)]) {
    let server = plain("localhost");
    let config = service_config(&server, Arc::clone(pins)).unwrap();
    for (name, shown, want) in rows {
        for version in VERSIONS {
            let name = format!("{name}, {version:?}");
            let client = Arc::new(client(version, &server, Some(shown)));
            let met = meet(&client, "localhost", &config);
            match want {
                Ok(()) => {
                    assert_eq!(
                        (&met.server_error, &met.client_error),
                        (&None, &None),
                        "{name}"
                    );
                    let (leaf, above) = met
                        .server
                        .peer_certificates()
                        .unwrap()
                        .split_first()
                        .unwrap();
                    let now = i64::try_from(rustls::pki_types::UnixTime::now().as_secs()).unwrap();
                    let pin = pins.load().identify(leaf, above, now).unwrap();
                    assert_eq!(pin.alias, "deviceca", "{name}");
                }
                Err((alert, text)) => {
                    assert_eq!(
                        met.client_error,
                        Some(Error::AlertReceived(*alert)),
                        "{name}"
                    );
                    let explained = explain(Peer::Client, met.server_error.as_ref().unwrap());
                    assert!(explained.contains(text), "{name}: {explained}");
                }
            }
        }
    }
}

fn refuse(alert: AlertDescription, text: &'static str) -> Want {
    Err((alert, text))
}

#[test]
fn a_way_that_does_not_hold_has_its_alert() {
    let unknown = |text| refuse(AlertDescription::UnknownCA, text);
    let (ours, foreign) = (ca("Device CA", None), ca("Device CA", None));
    let below = ca("Issuing CA", Some(&ours));
    let (direct, under) = (device(&ours, |_| ()), device(&below, |_| ()));
    let sent = with(device(&below, |_| ()), &[&below]);
    let stranger = with(device(&foreign, |_| ()), &[&foreign]);
    let thief = Identity {
        chain: device(&ours, |_| ()).chain,
        key: plain("thief").key,
    };
    let stolen = refuse(AlertDescription::DecryptError, "cannot prove its key");
    check(
        &swap(trusting(&ours, None)),
        &[
            ("right", &direct, Ok(())),
            ("by an intermediate", &sent, Ok(())),
            (
                "not sent",
                &under,
                unknown("vouch for it with what the client sent"),
            ),
            ("a namesake's", &stranger, unknown("pinned by no role")),
            (
                "self-signed",
                &plain("device-1"),
                unknown("pinned by no role"),
            ),
            ("without its key", &thief, stolen),
        ],
    );
}

#[test]
fn a_certificate_that_does_not_fit_has_its_alert() {
    use AlertDescription::{CertificateExpired, CertificateUnknown, UnsupportedCertificate};
    let ours = ca("Device CA", None);
    let unnamed = issued(&ours.issuer, &params("printer-1", |_| ()));
    let old = device(&ours, |p| p.not_after = date_time_ymd(2020, 1, 1));
    let early = device(&ours, |p| p.not_before = date_time_ymd(4000, 1, 1));
    let servers = device(&ours, |p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let is_ca = device(&ours, |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let no_role =
        "no role takes its names: subject CN=printer-1, names none; if the client is yours";
    check(
        &swap(trusting(&ours, None)),
        &[
            (
                "names of no role",
                &unnamed,
                refuse(CertificateUnknown, no_role),
            ),
            ("expired", &old, refuse(CertificateExpired, "has expired")),
            ("early", &early, refuse(CertificateExpired, "not valid yet")),
            (
                "for servers",
                &servers,
                refuse(UnsupportedCertificate, "not for a client"),
            ),
            ("a CA", &is_ca, refuse(UnsupportedCertificate, "CA:TRUE")),
        ],
    );
}

#[test]
fn each_refusal_by_a_list_has_its_alert() {
    use AlertDescription as A;
    let ours = ca("Device CA", None);
    let below = ca("Issuing CA", Some(&ours));
    let (good, bad) = (device(&ours, |_| ()), device(&ours, |_| ()));
    let under = with(device(&below, |_| ()), &[&below]);
    check(
        &swap(trusting(&ours, Some(vec![list(&ours, &bad, 4000)]))),
        &[
            ("not on it", &good, Ok(())),
            (
                "on it",
                &bad,
                Err((A::CertificateRevoked, "revoked by its CA")),
            ),
            (
                "no list of the CA between",
                &under,
                Err((A::UnknownCA, "there is no list of revoked certificates")),
            ),
        ],
    );
    check(
        &swap(trusting(&ours, Some(vec![list(&ours, &bad, 2021)]))),
        &[("out of date", &good, Err((A::UnknownCA, "is out of date")))],
    );
}

/// Shows what it has, and notes which CAs the server asked for.
#[derive(Debug)]
struct Asked {
    shown: Arc<CertifiedKey>,
    hints: std::sync::Mutex<Option<usize>>,
}

impl rustls::client::ResolvesClientCert for Asked {
    fn resolve(
        &self,
        hints: &[&[u8]],
        _schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        *self.hints.lock().unwrap() = Some(hints.len());
        Some(Arc::clone(&self.shown))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn no_client_is_asked_for_a_certificate_of_certain_cas() {
    let ours = ca("Device CA", None);
    let (server, shown) = (plain("localhost"), device(&ours, |_| ()));
    let config = service_config(&server, swap(trusting(&ours, None))).unwrap();
    for version in VERSIONS {
        let shown = certified_key(&shown, &provider()).unwrap();
        let asked = Arc::new(Asked {
            shown: Arc::new(shown),
            hints: None.into(),
        });
        let mut client = client(version, &server, None);
        client.client_auth_cert_resolver = Arc::clone(&asked) as _;
        let met = meet(&Arc::new(client), "localhost", &config);
        assert_eq!(
            (met.server_error, met.client_error),
            (None, None),
            "{version:?}"
        );
        assert_eq!(*asked.hints.lock().unwrap(), Some(0), "{version:?}");
    }
}

#[test]
fn a_resumed_client_is_asked_again_with_all_that_it_sent() {
    let ours = ca("Device CA", None);
    let below = ca("Issuing CA", Some(&ours));
    let shown = with(device(&below, |_| ()), &[&below]);
    let server = plain("localhost");
    for version in VERSIONS {
        let pins = swap(trusting(&ours, None));
        let config = service_config(&server, Arc::clone(&pins)).unwrap();
        let client = Arc::new(client(version, &server, Some(&shown)));
        assert!(meet(&client, "localhost", &config).server_error.is_none());
        // Nothing is remembered of it here.
        pins.store(Arc::new(trusting(&ours, None)));
        let met = meet(&client, "localhost", &config);
        assert_eq!(
            met.server.handshake_kind(),
            Some(HandshakeKind::Resumed),
            "{version:?}"
        );
        let (leaf, above) = met
            .server
            .peer_certificates()
            .unwrap()
            .split_first()
            .unwrap();
        let now = 1_800_000_000;
        assert_eq!(above.len(), 1, "{version:?}");
        assert!(
            pins.load().identify(leaf, above, now).is_ok(),
            "{version:?}"
        );
        // rustls would let it in: the server asks.
        let lists = vec![list(&ours, &shown, 4000), list(&below, &shown, 4000)];
        pins.store(Arc::new(trusting(&ours, Some(lists))));
        let revoked = pins.load().identify(leaf, above, now).unwrap_err();
        assert_eq!(revoked, crate::identity::Stranger::Revoked, "{version:?}");
    }
}
