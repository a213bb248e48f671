//! The part of the configuration that is about a Vault.

use std::net::SocketAddr;

use super::Builder;
use crate::config::error::Problem;
use crate::config::model::{Origin, Vault, VaultAuth, VaultAzure};
use crate::config::table::{self, Key};
use crate::config::value::{Value, expected};

/// Where Azure's metadata service is, on every machine there.
const AZURE_METADATA: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 254)),
    80,
);

impl Builder<'_> {
    pub(super) fn vault(&mut self) -> Option<Vault> {
        let namespace = self.text(&table::HSM_VAULT_NAMESPACE);
        if namespace
            .as_deref()
            .is_some_and(|name| !is_header_text(name))
        {
            self.refuse(
                &table::HSM_VAULT_NAMESPACE,
                "it goes into a header and may hold only visible ASCII characters",
            );
        }
        let mount = self.text(&table::HSM_VAULT_MOUNT).unwrap_or_default();
        if !is_path(mount.trim_matches('/')) {
            self.refuse(
                &table::HSM_VAULT_MOUNT,
                "not the path of a mount: letters, digits and - _ . between slashes, without /v1",
            );
        }
        let auth = match self.word(&table::HSM_VAULT_AUTH) {
            "azure" => self.azure().map(VaultAuth::Azure),
            _ => self.token(),
        };
        Some(Vault {
            namespace,
            mount: mount.trim_matches('/').to_owned(),
            renew_before_s: u64::try_from(self.number(&table::HSM_VAULT_RENEW)?).ok()?,
            auth: auth?,
        })
    }

    fn token(&mut self) -> Option<VaultAuth> {
        let Some(token) = self.secret(&table::HSM_VAULT_TOKEN) else {
            self.missing(
                table::HSM_VAULT_TOKEN.name,
                "kms.hsm.vault.auth is token, so set it, or name a file that holds it with \
                 kms.hsm.vault.token.file",
            );
            return None;
        };
        if !is_header_text(token.expose()) {
            self.refuse(
                &table::HSM_VAULT_TOKEN,
                "it holds white space or another character that no Vault token has",
            );
        }
        let file = match self.origin(table::HSM_VAULT_TOKEN.name) {
            Origin::SecretFile(path) => Some(path),
            _ => None,
        };
        Some(VaultAuth::Token { token, file })
    }

    fn azure(&mut self) -> Option<VaultAzure> {
        let role = self.text(&table::HSM_VAULT_AZURE_ROLE);
        if role.is_none() {
            self.missing(
                table::HSM_VAULT_AZURE_ROLE.name,
                "kms.hsm.vault.auth is azure, so name the role that the Vault's Azure method has for this server",
            );
        }
        let path = self.text(&table::HSM_VAULT_AZURE_PATH).unwrap_or_default();
        if !path.strip_prefix("/v1/").is_some_and(is_path) {
            self.refuse(
                &table::HSM_VAULT_AZURE_PATH,
                "not a request path of a Vault: it begins with /v1/, such as /v1/auth/azure/login",
            );
        }
        let metadata = match self.value(&table::HSM_VAULT_AZURE_METADATA) {
            Some(Value::Socket(address)) => address,
            _ => AZURE_METADATA,
        };
        if metadata != AZURE_METADATA && !metadata.ip().is_loopback() {
            self.refuse(
                &table::HSM_VAULT_AZURE_METADATA,
                "neither Azure's address nor a loopback address: whoever answers there says who this server is",
            );
        }
        Some(VaultAzure {
            role: role?,
            path,
            resource: self.text(&table::HSM_VAULT_AZURE_RESOURCE)?,
            metadata,
        })
    }

    fn refuse(&mut self, key: &Key, reason: &str) {
        let held = self.all.held.get(key.name);
        let value = held.filter(|_| !key.is_secret());
        let value = value.map(|held| held.shown.clone());
        self.all.problems.push(Problem::BadValue {
            origin: self.origin(key.name),
            key: key.name.to_owned(),
            value,
            reason: reason.to_owned(),
            expected: expected(key.kind),
        });
    }
}

fn is_header_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Parts of letters, digits and `-_.` between single slashes; none of dots alone.
fn is_path(path: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    path.split('/').all(|part| {
        !part.is_empty() && part.bytes().all(legal) && part.bytes().any(|byte| byte != b'.')
    })
}
