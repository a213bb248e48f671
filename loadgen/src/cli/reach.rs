//! Options that say where the server is and who asks.

use std::path::PathBuf;

use clap::Args;
use kms::secret::SecretString;

use crate::load::job::Reach;

/// Read where no option gives a token.
const TOKEN: &str = "VAULT_TOKEN";

#[derive(Args)]
#[command(next_help_heading = "Server")]
pub(super) struct ReachArgs {
    /// Host and port of the service.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8443")]
    address: String,
    /// Name expected in the server's certificate, if it is not the host of the address.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// PEM file of the authorities that vouch for the server.
    #[arg(long, value_name = "PEM")]
    ca: PathBuf,
    /// PEM file of the client certificate and its chain.
    #[arg(long, value_name = "PEM", required_unless_present = "identities")]
    cert: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long, value_name = "PEM", required_unless_present = "identities")]
    key: Option<PathBuf>,
    /// Folder of many client certificates, NAME.crt and NAME.key each; connections take turns.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["cert", "key"])]
    identities: Option<PathBuf>,
    /// Versions of TLS that are offered: any (1.3 and 1.2), 1.2, 1.3, or fixed (1.3, AES-128-GCM only).
    #[arg(long, value_name = "VERSION", default_value = "any")]
    pub tls: String,
    /// Sends a PROXY v2 header with addresses of this network, one for each connection.
    #[arg(long, value_name = "NETWORK")]
    proxy_v2_from: Option<String>,
    /// Sent as X-Vault-Token, which kms ignores. Others on this machine can see it: prefer --token-file, or the
    /// environment's `VAULT_TOKEN`.
    #[arg(long)]
    token: Option<String>,
    /// File with the token.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// Mount of the Transit engine.
    #[arg(long, value_name = "PATH", default_value = "transit")]
    mount: String,
    /// Vault's namespace, sent as X-Vault-Namespace.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// The master key, which must exist.
    #[arg(long, value_name = "NAME", default_value = "demo")]
    transit_key: String,
}

impl ReachArgs {
    /// As a job has it.
    pub fn reach(&self) -> Reach {
        let host = self
            .address
            .rsplit_once(':')
            .map_or(self.address.as_str(), |(host, _)| host);
        // Certificates made for tests bear the name.
        let is_loopback = matches!(host, "127.0.0.1" | "[::1]");
        let server_name = self
            .server_name
            .clone()
            .or_else(|| is_loopback.then(|| "localhost".to_owned()));
        Reach {
            address: self.address.clone(),
            server_name,
            ca: self.ca.clone(),
            cert: self.cert.clone().unwrap_or_default(),
            key: self.key.clone().unwrap_or_default(),
            identities: self.identities.clone(),
            proxy_v2_from: self.proxy_v2_from.clone(),
            token_file: self.token_file.clone(),
            mount: self.mount.clone(),
            namespace: self.namespace.clone(),
            transit_key: self.transit_key.clone(),
        }
    }

    /// A token that is in no file.
    pub fn token(&self) -> Option<SecretString> {
        match (&self.token, &self.token_file) {
            (Some(token), _) => Some(SecretString::new(token.clone())),
            (None, Some(_)) => None,
            (None, None) => token_of_environment(),
        }
    }
}

pub(super) fn token_of_environment() -> Option<SecretString> {
    std::env::var(TOKEN)
        .ok()
        .filter(|token| !token.is_empty())
        .map(SecretString::new)
}
