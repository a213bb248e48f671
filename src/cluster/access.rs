//! What lets this node in at the servers of the engine: TLS, certificate, user and password.
//!
//! Must never be true: a password in a text for people. Used by `lane` and `subscriber`.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::link::Tls;
use super::resp::{self, Reply};
use super::slots::Place;
use crate::secret::SecretString;

/// See the module.
#[derive(Clone)]
pub struct Access {
    /// `None`: plaintext.
    pub tls: Option<Arc<ClientConfig>>,
    /// Whom certificates must name, if not the server's host.
    pub server_name: Option<ServerName<'static>>,
    /// `None`: a password alone is sent.
    pub username: Option<String>,
    /// Empty: no login.
    pub password: SecretString,
}

impl Access {
    /// The login and how many replies it has.
    pub(super) fn greeting(&self) -> (Vec<u8>, usize) {
        let mut commands = Vec::with_capacity(512);
        let mut replies = 1;
        if !self.password.is_empty() {
            let password = self.password.expose().as_bytes();
            match &self.username {
                Some(username) => {
                    resp::encode(&mut commands, &[b"AUTH", username.as_bytes(), password]);
                }
                None => resp::encode(&mut commands, &[b"AUTH", password]),
            }
            replies += 1;
        }
        // Last, and refused by nobody: a server that wants a login says so here.
        resp::encode(&mut commands, &[b"PING"]);
        (commands, replies)
    }

    /// A connection that was begun was not completed in time.
    pub(super) fn unfinished(&self) -> String {
        let hint = match self.tls {
            Some(_) => "is its port a tls-port?",
            None => "does its port expect TLS?",
        };
        format!("it does not complete the connection in time; {hint}")
    }

    /// How the server at `place` is spoken to.
    pub(super) fn tls_for(&self, place: &Place) -> Result<Option<Tls>, String> {
        let Some(config) = &self.tls else {
            return Ok(None);
        };
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(place.host.clone())
                .map_err(|_| format!("{} is neither a host name nor an address", place.host))?,
        };
        Ok(Some(Tls {
            config: Arc::clone(config),
            name,
        }))
    }
}

/// Whether the answer to part of a login says no; what only names the connection may be refused.
pub(super) fn refusal_of_login(reply: &Reply) -> Option<String> {
    let Reply::Error(text) = reply else {
        return None;
    };
    let clean: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    match reply.error_code() {
        Some("WRONGPASS" | "NOAUTH") => Some(format!(
            "it refuses kms.cluster.username or kms.cluster.password ({clean})"
        )),
        Some("NOPERM") => None,
        Some("LOADING") => Some("it is still loading its data".to_owned()),
        _ if clean.contains("max number of clients") => {
            Some("it has as many clients as it may have (maxclients)".to_owned())
        }
        _ if clean.contains("AUTH") => Some(format!(
            "it refuses the login: is kms.cluster.username right, and does it ask for a password? ({clean})"
        )),
        _ => None,
    }
}
