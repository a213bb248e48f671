//! A server certificate that Tomcat has in PEM files: a PKCS12 keystore of it, with a password nobody has seen.
//!
//! Must never be true: a key with the certificate of another. Called by `stores`.

use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::super::files::{self, Folders};
use super::super::server_xml::Connector;
use super::Opened;
use crate::keystore::{self, NewEntry, pem, write_pkcs12};
use crate::secret::SecretString;

const NAME: &str = "server.p12";
const ALIAS: &str = "kmsserver";

/// A PKCS12 keystore of a key and certificates in PEM.
pub(super) fn make(
    folders: &Folders,
    connector: &mut Connector,
    xml: &Path,
) -> Result<Opened, String> {
    let line = connector.element.line;
    let mut read = |name: &str| {
        let Some(attribute) = connector.element.take(name) else {
            return Ok(None);
        };
        let place = format!("{}:{} {}", xml.display(), attribute.line, attribute.shown);
        let value = attribute.value()?;
        let file = folders.locate(value.trim(), &folders.tomcat);
        let bytes = files::keystore(&file, &format!("{place} names it"))?;
        Ok::<_, String>(Some((file, bytes)))
    };
    let Some(certificate) = read("certificateFile")? else {
        return Err(format!(
            "{}:{line}: the TLS <Connector> names no keystore (keystoreFile, or certificateKeystoreFile of its \
             <Certificate>), so Tomcat would take .keystore of its user's home: name it in a copy of server.xml",
            xml.display()
        ));
    };
    let key = read("certificateKeyFile")?;
    let chain = read("certificateChainFile")?;
    let (key_file, key_bytes) = key.as_ref().unwrap_or(&certificate);
    let key =
        pem::private_key(key_bytes).map_err(|error| format!("{}: {error}", key_file.display()))?;
    let mut all = Vec::new();
    for (file, bytes) in [Some(&certificate), chain.as_ref()].into_iter().flatten() {
        let found =
            pem::certificates(bytes).map_err(|error| format!("{}: {error}", file.display()))?;
        all.extend(found);
    }
    let refused = |error: &dyn std::fmt::Display| format!("{}: {error}", certificate.0.display());
    let chain = keystore::arrange(ALIAS, &key, &all).map_err(|error| refused(&error))?;
    let entry = NewEntry::Key {
        alias: ALIAS,
        key: &key,
        chain: &chain,
    };
    let password = random_password()?;
    let bytes = write_pkcs12(&[entry], &password).map_err(|error| refused(&error))?;
    let store = keystore::open(&bytes, &password, None).map_err(|error| refused(&error))?;
    Ok(Opened {
        file: certificate.0,
        name: NAME.to_owned(),
        bytes: Zeroizing::new(bytes),
        store,
        password,
    })
}

fn random_password() -> Result<SecretString, String> {
    let mut bytes = Zeroizing::new([0; 24]);
    let filled = SystemRandom::new().fill(&mut *bytes);
    filled.map_err(|_| "the kernel gives no random numbers".to_owned())?;
    let hex = bytes
        .iter()
        .fold(String::with_capacity(48), |mut text, byte| {
            use std::fmt::Write;
            _ = write!(text, "{byte:02x}");
            text
        });
    Ok(SecretString::new(hex))
}
