//! What a Vault is asked about tokens: lookup, renewal, and what a login is answered with.
//!
//! Called by `keeper` and `azure`. Must never be true: a token that a policy forbids to look at itself taken
//! for a dead one.

use std::time::{Duration, Instant};

use super::super::batch::clean;
use super::super::dial::Address;
use super::http::{Call, Client};
use super::life::Lease;
use super::{Site, json};
use crate::secret::SecretString;
use crate::wire::json::Value;

/// Bytes of an answer about a token.
const BYTES_MAX: usize = 64 * 1024;

/// What a lookup says of a token.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Looked {
    /// It is good for so long.
    Good {
        lease: Lease,
        /// Requests that it is good for, if they are counted.
        uses: Option<u64>,
    },
    /// It is good, and its policies do not let it look at itself.
    Blind,
    /// It is good for nothing.
    Dead(String),
    /// It was not looked at, for there is no such place.
    Misplaced(String),
}

/// What became of a renewal.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Renewed {
    Lease(Lease),
    /// It cannot be renewed any more.
    Refused(String),
}

/// Connects to the first server that takes a connection, and has `ask` ask it. An error of either is a
/// trouble of the moment.
pub(super) fn anywhere<T>(
    site: &Site,
    timeout: Duration,
    mut ask: impl FnMut(&mut Client) -> Result<T, String>,
) -> Result<T, String> {
    let mut last = "no server is configured".to_owned();
    for address in &site.places.configured() {
        match at(site, address, timeout, &mut ask) {
            Ok(answer) => return Ok(answer),
            Err(why) => last = format!("{}:{}: {why}", address.host, address.port),
        }
    }
    Err(last)
}

/// As [`anywhere`], at one server.
pub(super) fn at<T>(
    site: &Site,
    address: &Address,
    timeout: Duration,
    ask: impl FnOnce(&mut Client) -> Result<T, String>,
) -> Result<T, String> {
    let deadline = Instant::now() + timeout;
    let arena = site.store.arena();
    let mut client = Client::open(address, site.tls().as_ref(), arena, deadline)?;
    ask(&mut client)
}

/// Asks with the headers that every request needs; an answer that only a server in trouble gives is an
/// error.
pub(super) fn ask(
    client: &mut Client,
    site: &Site,
    (method, path): (&'static str, &str),
    token: Option<&SecretString>,
    body: Option<&[u8]>,
    deadline: Instant,
) -> Result<u16, String> {
    let mut headers = vec![("X-Vault-Request", "true")];
    headers.extend(token.map(|token| ("X-Vault-Token", token.expose())));
    let namespace = site.namespace.as_deref();
    headers.extend(namespace.map(|name| ("X-Vault-Namespace", name)));
    let status = client.call(&Call {
        method,
        path,
        headers: &headers,
        body,
        bytes_max: BYTES_MAX,
        is_secret: true,
        deadline,
    });
    match status.map_err(|error| error.to_string())? {
        status @ (300..=399 | 429 | 501..=599) => {
            Err(format!("it answers HTTP {status}: {}", said(client)))
        }
        status => Ok(status),
    }
}

/// The errors in the last answer.
pub(super) fn said(client: &Client) -> String {
    let errors = json::errors(client.body());
    clean(&errors.unwrap_or_default().join("; ")).to_string()
}

/// Looks at a token.
pub(super) fn look(
    client: &mut Client,
    site: &Site,
    token: &SecretString,
    deadline: Instant,
) -> Result<Looked, String> {
    let path = "/v1/auth/token/lookup-self";
    let status = ask(client, site, ("GET", path), Some(token), None, deadline)?;
    read_look(status, client.body())
}

fn read_look(status: u16, body: &[u8]) -> Result<Looked, String> {
    match status {
        200 => {
            let data = json::member(body, "data").ok_or("its answer to lookup-self is no JSON")?;
            let (mut ttl_s, mut renewable, mut ends, mut uses) = (None, false, true, 0);
            let read = json::members(data, |name, value| match (name, &value) {
                ("ttl", value) => ttl_s = json::number(value),
                ("renewable", Value::Bool(value)) => renewable = *value,
                ("expire_time", Value::Null) => ends = false,
                ("num_uses", value) => uses = json::number(value).unwrap_or(0),
                _ => {}
            });
            read.map_err(|_| "its answer to lookup-self cannot be read")?;
            let ttl_s = ttl_s.ok_or("its answer to lookup-self has no ttl")?;
            let ttl = (ends || ttl_s > 0).then(|| Duration::from_secs(ttl_s));
            Ok(Looked::Good {
                lease: Lease { ttl, renewable },
                uses: (uses > 0).then_some(uses),
            })
        }
        403 if String::from_utf8_lossy(body).contains("1 error occurred") => Ok(Looked::Blind),
        403 => {
            let errors = json::errors(body).unwrap_or_default().join("; ");
            Ok(Looked::Dead(clean(&errors).to_string()))
        }
        404 => {
            let errors = json::errors(body).unwrap_or_default().join("; ");
            Ok(Looked::Misplaced(clean(&errors).to_string()))
        }
        status => Err(format!("it answers HTTP {status} to lookup-self")),
    }
}

/// Renews a token.
pub(super) fn renew(
    client: &mut Client,
    site: &Site,
    token: &SecretString,
    deadline: Instant,
) -> Result<Renewed, String> {
    let path = "/v1/auth/token/renew-self";
    let status = ask(
        client,
        site,
        ("POST", path),
        Some(token),
        Some(b"{}"),
        deadline,
    )?;
    match status {
        200 => {
            let (_, lease) = read_auth(client.body())?;
            Ok(Renewed::Lease(lease))
        }
        // 500: past the maximum.
        400 | 403 | 500 => Ok(Renewed::Refused(said(client))),
        status => Err(format!("it answers HTTP {status} to renew-self")),
    }
}

/// The token that a login or a renewal was answered with, and its lease.
pub(super) fn read_auth(body: &[u8]) -> Result<(SecretString, Lease), String> {
    let auth = json::member(body, "auth").ok_or("its answer to a login is no JSON")?;
    let (mut token, mut lease_s, mut renewable) = (None, 0, false);
    let read = json::members(auth, |name, value| match (name, &value) {
        ("client_token", Value::Text(text)) => {
            token = Some(SecretString::new(text.as_str().to_owned()));
        }
        ("lease_duration", value) => lease_s = json::number(value).unwrap_or(0),
        ("renewable", Value::Bool(value)) => renewable = *value,
        _ => {}
    });
    read.map_err(|_| "its answer to a login cannot be read")?;
    let is_token = |token: &SecretString| {
        let text = token.expose();
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let token = token
        .filter(is_token)
        .ok_or("its answer to a login has no token")?;
    let ttl = (lease_s > 0).then(|| Duration::from_secs(lease_s));
    Ok((token, Lease { ttl, renewable }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lookups_say_how_long_a_token_lives() {
        for (name, data, ttl_s, renewable, uses) in [
            (
                "usual",
                r#""expire_time":"2026-11-23T18:38:11Z","num_uses":0,"renewable":true,"ttl":5"#,
                Some(5),
                true,
                None,
            ),
            (
                "root",
                r#""expire_time":null,"ttl":0,"renewable":false"#,
                None,
                false,
                None,
            ),
            (
                "ends this second",
                r#""expire_time":"2026-11-23T18:38:11Z","ttl":0,"renewable":true"#,
                Some(0),
                true,
                None,
            ),
            (
                "batch, counted",
                r#""expire_time":"x","ttl":9,"renewable":false,"num_uses":2,"type":"batch""#,
                Some(9),
                false,
                Some(2),
            ),
        ] {
            let body = format!("{{\"data\":{{{data}}}}}");
            let ttl = ttl_s.map(Duration::from_secs);
            let lease = Lease { ttl, renewable };
            let want = Ok(Looked::Good { lease, uses });
            assert_eq!(read_look(200, body.as_bytes()), want, "{name}");
        }
    }

    #[test]
    fn a_refused_lookup_is_not_a_dead_token_yet() {
        let framed = r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
        for (name, status, body, want) in [
            ("without the default policy", 403, framed, "Ok(Blind)"),
            (
                "dead",
                403,
                r#"{"errors":["permission denied"]}"#,
                "Ok(Dead(\"permission denied\"))",
            ),
            (
                "dead at a Vault",
                403,
                r#"{"errors":["invalid token"]}"#,
                "Ok(Dead(\"invalid token\"))",
            ),
            (
                "elsewhere",
                404,
                r#"{"errors":["namespace not found"]}"#,
                "Ok(Misplaced(\"namespace not found\"))",
            ),
            (
                "no ttl",
                200,
                r#"{"data":{}}"#,
                "Err(\"its answer to lookup-self has no ttl\")",
            ),
            (
                "odd",
                400,
                "{}",
                "Err(\"it answers HTTP 400 to lookup-self\")",
            ),
        ] {
            let got = format!("{:?}", read_look(status, body.as_bytes()));
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn a_login_gives_a_token_and_its_lease() {
        let body =
            r#"{"data":null,"auth":{"client_token":"s.x","lease_duration":30,"renewable":true}}"#;
        let (token, lease) = read_auth(body.as_bytes()).unwrap();
        assert_eq!(
            (token.expose(), lease.ttl),
            ("s.x", Some(Duration::from_secs(30)))
        );
        assert!(lease.renewable);
        for body in [
            "x",
            r#"{"auth":null}"#,
            r#"{"auth":{"client_token":""}}"#,
            r#"{"auth":{"client_token":"a b"}}"#,
        ] {
            assert!(read_auth(body.as_bytes()).is_err(), "{body}");
        }
    }
}
