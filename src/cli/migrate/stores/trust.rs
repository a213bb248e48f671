//! Tomcat's trust store, where it is not the keystore: whom it let in that the keystore of the KMS does not name.
//!
//! Nothing is taken over from it: a certificate becomes a client's only by the operator's word. Called by `migrate`.

use std::path::Path;

use super::super::files::{self, Folders};
use super::super::report::Report;
use super::super::server_xml::Connector;
use super::super::setenv::Setenv;
use super::{Stores, TOMCATS_PASSWORD};
use crate::keystore::{self, CertificateFacts, Keystore, TrustedEntry};
use crate::secret::SecretString;

/// So many are named; Java's own store has over a hundred.
const NAMED_MAX: usize = 10;

/// Tells what the operator may have to take over.
pub(in super::super) fn tell(
    folders: &Folders,
    connector: &mut Connector,
    setenv: &Setenv,
    stores: &Stores,
    report: &mut Report,
) {
    let element = &mut connector.element;
    // The type is told by the file itself.
    let [file, password, _] =
        ["truststoreFile", "truststorePassword", "truststoreType"].map(|name| element.take(name));
    let property = |wanted: &str| {
        let mut all = setenv.options.iter().rev();
        all.find_map(|option| option.property().filter(|(name, _)| *name == wanted))
    };
    let (place, named) = match &file {
        Some(attribute) => match attribute.value() {
            Ok(value) => (
                format!("server.xml:{} {}", attribute.line, attribute.shown),
                value.to_owned(),
            ),
            Err(why) => {
                report
                    .decide
                    .push(format!("{why}; the certificates in it may be of clients"));
                return;
            }
        },
        None => match property("javax.net.ssl.trustStore") {
            Some((name, value)) => (format!("setenv.sh -D{name}"), value.to_owned()),
            None => return,
        },
    };
    let path = folders.locate(named.trim(), &folders.tomcat);
    let given = password
        .as_ref()
        .and_then(|attribute| attribute.value().ok());
    let given = given.or(property("javax.net.ssl.trustStorePassword").map(|(_, value)| value));
    match open(&path, given, stores) {
        Ok(store) => judge(&place, &path, &store, stores, report),
        Err(why) => report.decide.push(format!(
            "{place}: {why}: look whether it holds certificates of clients that {} does not hold",
            stores.main.file.display()
        )),
    }
}

/// With the password that is given, or with those that Tomcat would try.
fn open(path: &Path, given: Option<&str>, stores: &Stores) -> Result<Keystore, String> {
    let bytes = files::keystore(path, "it is named as the trust store")?;
    let given = given.map(|text| SecretString::new(text.to_owned()));
    let usual = SecretString::new(TOMCATS_PASSWORD.to_owned());
    let own = [
        stores.servers().password.clone(),
        stores.main.password.clone(),
        usual,
    ];
    let mut last = String::new();
    for password in given.into_iter().chain(own) {
        match keystore::open(&bytes, &password, None) {
            Ok(store) => return Ok(store),
            Err(error) => last = format!("{}: {error}", path.display()),
        }
    }
    Err(last)
}

fn judge(place: &str, path: &Path, store: &Keystore, stores: &Stores, report: &mut Report) {
    let known = &stores.main.store.trusted;
    let is_new =
        |entry: &&TrustedEntry| known.iter().all(|one| one.certificate != entry.certificate);
    let new: Vec<&TrustedEntry> = store.trusted.iter().filter(is_new).collect();
    if new.is_empty() {
        report.lost(
            place,
            "the clients' certificates are in the keystore of the KMS, all of them",
        );
        return;
    }
    let told = new.iter().take(NAMED_MAX).map(|entry| {
        let subject = CertificateFacts::from_der(&entry.certificate).map(|facts| facts.subject);
        format!("'{}' ({})", entry.alias, subject.unwrap_or_default())
    });
    let told: Vec<String> = told.collect();
    let more = match new.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    report.decide.push(format!(
        "{place}: {} trusts certificates that the keystore of the KMS does not hold: {}{more}. Who comes with one of \
         them is refused now. If a client does, import its own certificate: kms keystore import {} --from {0} \
         --from-alias ALIAS --alias ALIAS, in the new folder",
        path.display(),
        told.join(", "),
        stores.main.name
    ));
}
