//! Addresses of HSMs and listeners: `[scheme://]host[:port]`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One HSM.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Endpoint {
    /// Name or address, without brackets, lower-cased.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// An HSM as written: its port may come from another key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Url {
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

const SCHEMES: [&str; 5] = ["https", "kmip", "kmips", "tls", "ssl"];
/// HSMs of one list.
const URLS_MAX: usize = 16;

/// Splits a comma list of HSM addresses. The error says what is wrong, without the value.
pub(super) fn parse_list(text: &str) -> Result<Vec<Url>, String> {
    let mut urls = Vec::new();
    for part in text.split(',').map(str::trim) {
        let url = parse_one(part)?;
        if urls.contains(&url) {
            return Err(format!("{part:?} is named twice"));
        }
        urls.push(url);
    }
    if urls.len() > URLS_MAX {
        Err(format!("more than {URLS_MAX} addresses"))
    } else {
        Ok(urls)
    }
}

fn parse_one(text: &str) -> Result<Url, String> {
    if text.is_empty() {
        return Err("an address is empty".to_owned());
    }
    let rest = match text.split_once("://") {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => {
            return Err("the HSM is only reached over TLS, not http".to_owned());
        }
        Some((scheme, rest))
            if SCHEMES
                .iter()
                .any(|known| scheme.eq_ignore_ascii_case(known)) =>
        {
            rest
        }
        Some((scheme, _)) => return Err(format!("scheme {scheme:?} is not known")),
        None => text,
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '@']) {
        return Err(format!("{text:?} has more than a host and a port"));
    }
    let (host, port) = split_port(authority)?;
    let port = port.map(|port| parse_port(port, 1)).transpose()?;
    Ok(Url {
        host: parse_host(host)?,
        port,
    })
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn split_port(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, tail) = rest.split_once(']').ok_or("a [ has no ]")?;
        host.parse::<Ipv6Addr>()
            .map_err(|_| format!("[{host}] is no IPv6 address"))?;
        return match tail.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if tail.is_empty() => Ok((host, None)),
            None => Err(format!("{tail:?} follows the ]")),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => Err("an IPv6 address needs brackets".to_owned()),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn parse_port(text: &str, min: u16) -> Result<u16, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits
        .then(|| text.parse::<u16>().ok())
        .flatten()
        .filter(|port| *port >= min);
    port.ok_or_else(|| format!("port {text:?} is not a number from {min} to 65535"))
}

/// A host name or an IP address, lower-cased.
pub(super) fn parse_host(text: &str) -> Result<String, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_ascii_lowercase());
    }
    let label = |label: &str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(legal)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() <= 253 && name.split('.').all(label) {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(format!("{text:?} is no host name"))
    }
}

/// An IP address, in brackets or not, or `localhost`.
pub(super) fn parse_ip(text: &str) -> Result<IpAddr, String> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    inner.parse().map_err(|_| "not an IP address".to_owned())
}

/// `address:port`; port 0 means any free one.
pub(super) fn parse_socket(text: &str) -> Result<SocketAddr, String> {
    let (host, port) = split_port(text)?;
    let port = port.ok_or("the port is missing")?;
    Ok(SocketAddr::new(parse_ip(host)?, parse_port(port, 0)?))
}
