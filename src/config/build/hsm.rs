//! The back end's part of the configuration, and what each `kms.hsm.protocol` needs or ignores.

use super::Builder;
use crate::config::error::Warning;
use crate::config::model::{Embedded, Hsm, KmipCipher, KmipCredential, Protocol};
use crate::config::table::{self, KEYS};
use crate::config::url::{Endpoint, Url};
use crate::config::value::Value;

const KMIP_PORT: u16 = 5696;
const VAULT_PORT: u16 = 8200;

impl Builder<'_> {
    pub(super) fn hsm(&mut self) -> Option<Hsm> {
        let word = self.word(&table::HSM_PROTOCOL);
        self.warn_ignored(word);
        let (protocol, endpoints, embedded, vault) = match word {
            "kmip1" => (Protocol::Kmip1, self.endpoints(word, KMIP_PORT), None, None),
            "EMBEDDED" => (Protocol::Embedded, Vec::new(), self.embedded(), None),
            "VAULT" => {
                let endpoints = self.endpoints(word, VAULT_PORT);
                (Protocol::Vault, endpoints, None, Some(self.vault()?))
            }
            _ => return None,
        };
        let username = self.text(&table::HSM_KMIP_USERNAME);
        let password = self.secret(&table::HSM_KMIP_PASSWORD);
        if username.is_none() && password.is_some() && protocol == Protocol::Kmip1 {
            self.missing(
                "kms.hsm.kmip.username",
                "kms.hsm.kmip.password is set, and goes with a user name",
            );
        }
        let credential = username.map(|username| KmipCredential {
            username,
            password: password.unwrap_or_default(),
        });
        let cipher = match self.word(&table::HSM_KMIP_CIPHER) {
            "cbc-hmac" => KmipCipher::CbcHmac,
            _ => KmipCipher::Gcm,
        };
        let ca_aliases = if let Some(Value::List(list)) = self.value(&table::HSM_CA_ALIAS) {
            list
        } else {
            Vec::new()
        };
        let fingerprint = if let Some(Value::Fingerprint(pin)) = self.value(&table::HSM_FINGERPRINT)
        {
            Some(pin)
        } else {
            None
        };
        Some(Hsm {
            protocol,
            endpoints,
            ca_aliases,
            server_name: self.text(&table::HSM_SERVER_NAME),
            fingerprint,
            pool_size: self.number(&table::HSM_POOL_SIZE),
            batch_max: self.number(&table::HSM_BATCH_MAX)?,
            pipeline_max: self.number(&table::HSM_KMIP_PIPELINE_MAX)?,
            queue_max: self.number(&table::HSM_QUEUE_MAX),
            timeout_ms: u64::try_from(self.number(&table::HSM_TIMEOUT_MS)?).ok()?,
            credential,
            cipher,
            embedded,
            vault,
        })
    }

    fn endpoints(&mut self, protocol: &str, usual_port: u16) -> Vec<Endpoint> {
        let Some(Value::Urls(urls)) = self.value(&table::HSM_URL) else {
            self.missing(
                "kms.hsm.server.url",
                &format!("kms.hsm.protocol is {protocol}, so name the HSM, such as https://kmshsm.example.com"),
            );
            return Vec::new();
        };
        let common = self
            .number(&table::HSM_PORT)
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(usual_port);
        let endpoint = |Url { host, port }| Endpoint {
            host,
            port: port.unwrap_or(common),
        };
        urls.into_iter().map(endpoint).collect()
    }

    fn embedded(&mut self) -> Option<Embedded> {
        let file = self.path(&table::HSM_EMBEDDED_FILE);
        if file.is_none() {
            self.missing(
                "kms.hsm.embedded.file",
                "kms.hsm.protocol is EMBEDDED, so name the file that holds the master keys",
            );
        }
        let passphrase = self.secret(&table::HSM_EMBEDDED_PASSPHRASE);
        if passphrase.is_none() {
            self.missing(
                "kms.hsm.embedded.passphrase",
                "kms.hsm.protocol is EMBEDDED, so set it, or name a file that holds it with kms.hsm.embedded.passphrase.file",
            );
        }
        Some(Embedded {
            file: file?,
            passphrase: passphrase?,
        })
    }

    fn warn_ignored(&mut self, protocol: &str) {
        for key in KEYS {
            if key.only_with.is_empty() || key.only_with.contains(&protocol) {
                continue;
            }
            if let (Some(held), false) = (self.all.held.get(key.name), protocol.is_empty()) {
                let (origin, only_with) = (held.origin.clone(), key.only_with.join(" or "));
                let (protocol, key) = (protocol.to_owned(), key.name.to_owned());
                self.all.warnings.push(Warning::Ignored {
                    origin,
                    key,
                    protocol,
                    only_with,
                });
            }
        }
    }
}
