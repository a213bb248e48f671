//! The Azure login: the machine's own token and description from Azure's metadata service, shown to the Vault.
//!
//! Must never be true: the metadata service asked through a proxy or at a name; its token in memory that is not
//! wiped. Called by `keeper`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;

use super::super::batch::clean;
use super::super::dial::Address;
use super::http::{Call, Client};
use super::life::Lease;
use super::{Site, json, login};
use crate::net::scratch::Scratch;
use crate::secret::SecretString;
use crate::wire::Out;
use crate::wire::json::{Value, put_string};

/// Pauses before the tries to reach the metadata service, as Azure's documentation has them; the last one only
/// for a service that is being updated, which takes up to 70 s.
const PAUSES_S: [u64; 6] = [0, 2, 6, 14, 30, 18];
/// Bytes of an answer of the metadata service.
const BYTES_MAX: usize = 256 * 1024;
/// Bytes of the buffer for a login's body; a longer one spills to wiped memory.
const BODY_BYTES: usize = 8 * 1024;
const VERSION: &str = "api-version=2018-02-01";

/// How to log in.
#[derive(Clone, Debug)]
pub struct Azure {
    /// The Vault's role.
    pub role: String,
    /// Request path of the login, from `/v1/` on.
    pub path: String,
    /// Audience of the machine's token.
    pub resource: String,
    /// Where the metadata service is.
    pub metadata: SocketAddr,
}

/// Why there was no login.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum LoginError {
    /// Somebody said no.
    Refused(String),
    /// Somebody was not reached, or is in trouble.
    Trouble(String),
    /// The server is stopping.
    Stopping,
}

impl std::fmt::Display for LoginError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(why) | Self::Trouble(why) => f.write_str(why),
            Self::Stopping => f.write_str("the server is stopping"),
        }
    }
}

/// What the Vault wants to know of the machine.
#[derive(Debug, Default, Eq, PartialEq)]
struct Machine {
    subscription_id: String,
    resource_group_name: String,
    vm_name: String,
    vmss_name: String,
}

/// Logs in; asks the metadata service for up to 70 s.
pub(super) fn log_in(
    site: &Site,
    azure: &Azure,
    timeout: Duration,
) -> Result<(SecretString, Lease), LoginError> {
    log_in_with(site, azure, timeout, &PAUSES_S)
}

/// As [`log_in`], with one try.
pub(super) fn log_in_once(
    site: &Site,
    azure: &Azure,
    timeout: Duration,
) -> Result<(SecretString, Lease), LoginError> {
    log_in_with(site, azure, timeout, &[0])
}

pub(super) fn log_in_with(
    site: &Site,
    azure: &Azure,
    timeout: Duration,
    pauses_s: &[u64],
) -> Result<(SecretString, Lease), LoginError> {
    let metadata = Metadata {
        site,
        address: azure.metadata,
        timeout,
        pauses_s,
    };
    let machine = metadata.ask(&format!("/metadata/instance?{VERSION}"), read_machine)?;
    let resource = percent_encoded(&azure.resource);
    let path = format!("/metadata/identity/oauth2/token?{VERSION}&resource={resource}");
    let token = metadata.ask(&path, read_token)?;
    let buffer = site.store.arena().buffer(BODY_BYTES);
    let buffer = buffer.ok_or_else(|| trouble("no locked memory is left"))?;
    let mut body = Scratch::new(buffer);
    put_login(&mut body, &azure.role, &token, &machine);
    drop(token);
    let deadline = Instant::now() + timeout;
    let answer = login::anywhere(site, timeout, |client| {
        let at = ("POST", azure.path.as_str());
        let status = login::ask(client, site, at, None, Some(body.bytes()), deadline)?;
        Ok(judge(status, client))
    });
    body.clear();
    answer.map_err(LoginError::Trouble)?
}

fn trouble(why: &str) -> LoginError {
    LoginError::Trouble(why.to_owned())
}

fn judge(status: u16, client: &Client) -> Result<(SecretString, Lease), LoginError> {
    let said = login::said(client);
    match status {
        200 => login::read_auth(client.body()).map_err(LoginError::Trouble),
        403 | 404 => Err(LoginError::Refused(format!(
            "{said} (HTTP {status}): is the Azure method enabled there, and is kms.hsm.vault.auth.azure.path its path?"
        ))),
        400 => Err(LoginError::Refused(format!("{said} (HTTP 400)"))),
        status => Err(LoginError::Trouble(format!("{said} (HTTP {status})"))),
    }
}

/// Asks the metadata service.
struct Metadata<'a> {
    site: &'a Site,
    address: SocketAddr,
    timeout: Duration,
    pauses_s: &'a [u64],
}

/// What one try came to.
enum Tried<T> {
    Done(T),
    /// Not now: 404, 429, 5xx, or nobody there.
    Again(String),
    /// The service is being updated.
    Updating,
}

impl Metadata<'_> {
    fn ask<T>(
        &self,
        path: &str,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, LoginError> {
        let mut last = "it was not asked".to_owned();
        let mut is_updating = true;
        for (at, pause_s) in self.pauses_s.iter().enumerate() {
            let is_extra = at + 1 == PAUSES_S.len();
            if is_extra && !is_updating {
                break;
            }
            if self.site.book.pause(Duration::from_secs(*pause_s)) {
                return Err(LoginError::Stopping);
            }
            match self.try_once(path, &read)? {
                Tried::Done(found) => return Ok(found),
                Tried::Again(why) => (last, is_updating) = (why, false),
                Tried::Updating => (last, is_updating) = ("it is being updated".to_owned(), true),
            }
        }
        let address = self.address;
        Err(LoginError::Trouble(format!(
            "Azure's metadata service {address}: {last}"
        )))
    }

    fn try_once<T>(
        &self,
        path: &str,
        read: &impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<Tried<T>, LoginError> {
        let deadline = Instant::now() + self.timeout;
        let address = Address {
            host: self.address.ip().to_string(),
            port: self.address.port(),
            server_name: ServerName::from(self.address.ip()),
        };
        let arena = self.site.store.arena();
        let mut client = match Client::open(&address, None, arena, deadline) {
            Ok(client) => client,
            Err(why) => return Ok(Tried::Again(why)),
        };
        let status = client.call(&Call {
            method: "GET",
            path,
            headers: &[("Metadata", "true")],
            body: None,
            bytes_max: BYTES_MAX,
            is_secret: true,
            deadline,
        });
        let status = match status {
            Ok(status) => status,
            Err(error) => return Ok(Tried::Again(error.to_string())),
        };
        match status {
            200 => read(client.body())
                .map(Tried::Done)
                .map_err(LoginError::Trouble),
            410 => Ok(Tried::Updating),
            404 | 429 | 500..=599 => Ok(Tried::Again(complaint(status, client.body()))),
            status => Err(LoginError::Refused(format!(
                "Azure's metadata service: {}",
                complaint(status, client.body())
            ))),
        }
    }
}

/// What an error of the metadata service says.
fn complaint(status: u16, body: &[u8]) -> String {
    let mut said = Vec::new();
    if let Some(raw) = json::object(body) {
        // What can be read of it will do.
        let _ = json::members(raw, |name, value| {
            if let ("error" | "error_description", Value::Text(text)) = (name, value) {
                said.push(clean(text.as_str()).to_string());
            }
        });
    }
    format!("HTTP {status} {}", said.join(": "))
        .trim_end()
        .to_owned()
}

fn read_machine(body: &[u8]) -> Result<Machine, String> {
    let compute =
        json::member(body, "compute").ok_or("its description of this machine is no JSON")?;
    let mut machine = Machine::default();
    let read = json::members(compute, |name, value| {
        let place = match name {
            "subscriptionId" => &mut machine.subscription_id,
            "resourceGroupName" => &mut machine.resource_group_name,
            "name" => &mut machine.vm_name,
            "vmScaleSetName" => &mut machine.vmss_name,
            _ => return,
        };
        *place = json::owned(&value).unwrap_or_default();
    });
    read.map_err(|_| "its description of this machine cannot be read")?;
    Ok(machine)
}

fn read_token(body: &[u8]) -> Result<SecretString, String> {
    let mut token = None;
    let mut expires_in_s = None;
    let raw = json::object(body).ok_or("its token is no JSON")?;
    let read = json::members(raw, |name, value| match (name, &value) {
        ("access_token", Value::Text(text)) => {
            token = Some(SecretString::new(text.as_str().to_owned()));
        }
        // Its numbers are texts.
        ("expires_in", value) => expires_in_s = json::number(value),
        _ => {}
    });
    read.map_err(|_| "its token cannot be read")?;
    if expires_in_s == Some(0) {
        return Err("its token has expired".to_owned());
    }
    token
        .filter(|token| !token.is_empty())
        .ok_or_else(|| "its answer has no access_token".to_owned())
}

fn put_login<O: Out>(out: &mut O, role: &str, token: &SecretString, machine: &Machine) {
    let mut before: &[u8] = b"{\"";
    for (name, text) in [
        ("role", role),
        ("jwt", token.expose()),
        ("subscription_id", &machine.subscription_id),
        ("resource_group_name", &machine.resource_group_name),
        ("vm_name", &machine.vm_name),
        ("vmss_name", &machine.vmss_name),
    ] {
        out.put(before);
        out.put(name.as_bytes());
        out.put(b"\":");
        put_string(out, text);
        before = b",\"";
    }
    out.put(b"}");
}

/// All but the unreserved characters of RFC 3986.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_login_has_six_fields() {
        let machine = read_machine(
            br#"{"compute":{"name":"kms-vm1","resourceGroupName":"rg","subscriptionId":"s-1","vmScaleSetName":"","tags":null},"network":{}}"#,
        );
        let token = read_token(
            br#"{"access_token":"eyJ0.a.b","expires_in":"3599","expires_on":"1506484173","token_type":"Bearer"}"#,
        );
        let mut out = Vec::new();
        put_login(&mut out, "kms", &token.unwrap(), &machine.unwrap());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"role":"kms","jwt":"eyJ0.a.b","subscription_id":"s-1","resource_group_name":"rg","vm_name":"kms-vm1","vmss_name":""}"#
        );
    }

    #[test]
    fn what_the_metadata_service_must_not_say() {
        for (body, want) in [
            ("<html>", "its token is no JSON"),
            ("{}", "its answer has no access_token"),
            (r#"{"access_token":""}"#, "its answer has no access_token"),
            (
                r#"{"access_token":"a","expires_in":"0"}"#,
                "its token has expired",
            ),
            (r#"{"access_token":"a""#, "its token cannot be read"),
        ] {
            let error = read_token(body.as_bytes()).unwrap_err();
            assert_eq!(error, want, "{body}");
        }
        let body = br#"{"error":"invalid_request","error_description":"Required"}"#;
        assert_eq!(complaint(400, body), "HTTP 400 invalid_request: Required");
        assert_eq!(complaint(500, b"x"), "HTTP 500");
    }

    #[test]
    fn a_resource_is_one_parameter() {
        assert_eq!(
            percent_encoded("https://a.b/c?d&e"),
            "https%3A%2F%2Fa.b%2Fc%3Fd%26e"
        );
    }
}
