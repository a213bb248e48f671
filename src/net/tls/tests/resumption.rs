//! What a ticket is worth after its pin is gone.
#![allow(clippy::unwrap_used)]

use rustls::{AlertDescription, Error, HandshakeKind};

use super::super::*;
use super::{Met, VERSIONS, client, meet, pinning, plain, swap};
use crate::identity::Stranger;

const NOW: i64 = 1_800_000_000;

fn kind(met: &Met) -> Option<HandshakeKind> {
    assert_eq!((&met.server_error, &met.client_error), (&None, &None));
    met.server.handshake_kind()
}

#[test]
fn a_resumed_client_is_identified_again() {
    let (server, device) = (plain("localhost"), plain("cmxDevice"));
    for version in VERSIONS {
        let pins = swap(pinning(&[&device]));
        let config = service_config(&server, Arc::clone(&pins)).unwrap();
        let client = Arc::new(client(version, &server, Some(&device)));
        assert_eq!(
            kind(&meet(&client, "localhost", &config)),
            Some(HandshakeKind::Full),
            "{version:?}"
        );

        let met = meet(&client, "localhost", &config);
        assert_eq!(kind(&met), Some(HandshakeKind::Resumed), "{version:?}");
        let leaf = met.server.peer_certificates().unwrap()[0].clone();
        assert!(pins.load().identify(&leaf, &[], NOW).is_ok(), "{version:?}");

        // rustls lets it in and asks no verifier: this is why the server asks `identify`.
        pins.store(Arc::new(Snapshot::default()));
        let met = meet(&client, "localhost", &config);
        assert_eq!(kind(&met), Some(HandshakeKind::Resumed), "{version:?}");
        let leaf = &met.server.peer_certificates().unwrap()[0];
        assert_eq!(
            pins.load().identify(leaf, &[], NOW).unwrap_err(),
            Stranger::Unknown,
            "{version:?}"
        );
    }
}

#[test]
fn a_new_configuration_resumes_nothing() {
    let (server, device) = (plain("localhost"), plain("cmxDevice"));
    for version in VERSIONS {
        let pins = swap(pinning(&[&device]));
        let client = Arc::new(client(version, &server, Some(&device)));
        let old = service_config(&server, Arc::clone(&pins)).unwrap();
        assert_eq!(
            kind(&meet(&client, "localhost", &old)),
            Some(HandshakeKind::Full),
            "{version:?}"
        );

        let kept = service_config(&server, Arc::clone(&pins)).unwrap();
        assert_eq!(
            kind(&meet(&client, "localhost", &kept)),
            Some(HandshakeKind::Full),
            "{version:?}"
        );

        pins.store(Arc::new(Snapshot::default()));
        let new = service_config(&server, Arc::clone(&pins)).unwrap();
        let met = meet(&client, "localhost", &new);
        assert_eq!(
            met.client_error,
            Some(Error::AlertReceived(AlertDescription::UnknownCA)),
            "{version:?}"
        );
    }
}
