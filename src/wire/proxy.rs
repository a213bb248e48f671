//! PROXY protocol, version 2: what a load balancer writes before the bytes of the connection it passes on.
//!
//! Source: haproxy.org, proxy-protocol.txt, section 2.2. Must never be true: a byte behind the header
//! counted to it; an address believed of a header that is not whole. Called by the server, and by
//! tests that stand for a load balancer.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Out, Step};

/// Bytes of the longest header taken: the fixed part, two IPv6 addresses and 484 bytes of extensions.
pub const HEADER_BYTES_MAX: usize = 536;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes before the addresses.
const FIXED_BYTES: usize = 16;
const VERSION: u8 = 0x20;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const TCP_IPV4: u8 = 0x11;
const TCP_IPV6: u8 = 0x21;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// That of this client.
    Client(SocketAddr),
    /// The load balancer's own, as for a health check; or it does not say.
    Balancer,
}

/// Why bytes are no such header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyError {
    /// Another protocol speaks, perhaps the client's own.
    Signature,
    /// Not version 2, or a command that nobody knows.
    Version,
    /// Longer than [`HEADER_BYTES_MAX`].
    TooLong,
    /// Too short for the addresses that it announces.
    TooShort,
}

impl std::fmt::Display for ProxyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Signature => {
                "no PROXY v2 header; is the load balancer told to send one (send-proxy-v2)?"
            }
            Self::Version => "a PROXY header of another version than 2, or with an unknown command",
            Self::TooLong => "a PROXY header that is too long",
            Self::TooShort => "a PROXY header too short for its addresses",
        })
    }
}

/// Reads a header from its first byte on.
pub fn decode(bytes: &[u8]) -> Result<Step<Source>, ProxyError> {
    let begins = bytes.len().min(SIGNATURE.len());
    if bytes.get(..begins) != SIGNATURE.get(..begins) {
        return Err(ProxyError::Signature);
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        return Ok(Step::Need(FIXED_BYTES - bytes.len()));
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if command & 0xf0 != VERSION || ![LOCAL, PROXY].contains(&(command & 0x0f)) {
        return Err(ProxyError::Version);
    }
    if FIXED_BYTES + length > HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong);
    }
    let Some(addresses) = rest.get(..length) else {
        return Ok(Step::Need(length - rest.len()));
    };
    let source = match (command & 0x0f, family) {
        (PROXY, TCP_IPV4) => Source::Client(ipv4(addresses).ok_or(ProxyError::TooShort)?),
        (PROXY, TCP_IPV6) => Source::Client(ipv6(addresses).ok_or(ProxyError::TooShort)?),
        // Of other families the receiver is to use the connection's own addresses.
        _ => Source::Balancer,
    };
    Ok(Step::Item(source, FIXED_BYTES + length))
}

/// Source and destination address, source and destination port.
fn ipv4(bytes: &[u8]) -> Option<SocketAddr> {
    let (address, rest) = bytes.split_first_chunk::<4>()?;
    let (port, _) = rest.get(4..8)?.split_first_chunk::<2>()?;
    Some((Ipv4Addr::from(*address), u16::from_be_bytes(*port)).into())
}

fn ipv6(bytes: &[u8]) -> Option<SocketAddr> {
    let (address, rest) = bytes.split_first_chunk::<16>()?;
    let (port, _) = rest.get(16..20)?.split_first_chunk::<2>()?;
    Some((Ipv6Addr::from(*address), u16::from_be_bytes(*port)).into())
}

/// Writes the header of a connection that `source` opened to `destination`. Addresses of different
/// families are both written as IPv6.
pub fn put_header<O: Out>(out: &mut O, source: SocketAddr, destination: SocketAddr) {
    out.put(&SIGNATURE);
    out.put(&[VERSION | PROXY]);
    if let (SocketAddr::V4(from), SocketAddr::V4(to)) = (source, destination) {
        out.put(&[TCP_IPV4, 0, 12]);
        out.put(&from.ip().octets());
        out.put(&to.ip().octets());
    } else {
        out.put(&[TCP_IPV6, 0, 36]);
        for address in [source, destination] {
            out.put(&match address {
                SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped().octets(),
                SocketAddr::V6(v6) => v6.ip().octets(),
            });
        }
    }
    out.put(&source.port().to_be_bytes());
    out.put(&destination.port().to_be_bytes());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn header(source: &str, destination: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let [source, destination] = [source, destination].map(|text| text.parse().unwrap());
        put_header(&mut out, source, destination);
        out
    }

    #[test]
    fn what_is_written_is_read_however_it_comes() {
        for (name, source, destination, told) in [
            ("IPv4", "10.1.2.3:4000", "10.0.0.1:8443", "10.1.2.3:4000"),
            ("IPv6", "[2001:db8::7]:9", "[::1]:8443", "[2001:db8::7]:9"),
            (
                "both",
                "10.1.2.3:4000",
                "[::1]:8443",
                "[::ffff:10.1.2.3]:4000",
            ),
        ] {
            let mut bytes = header(source, destination);
            let whole = bytes.len();
            bytes.extend_from_slice(b"\x16\x03\x01");
            for end in 0..whole {
                let Step::Need(more) = decode(&bytes[..end]).unwrap() else {
                    panic!("{name}: whole at {end}");
                };
                assert!((1..=whole - end).contains(&more), "{name}: {more} at {end}");
            }
            let source = Source::Client(told.parse().unwrap());
            assert_eq!(decode(&bytes), Ok(Step::Item(source, whole)), "{name}");
        }
    }

    #[test]
    fn other_headers_are_told_apart() {
        let good = header("10.1.2.3:4000", "10.0.0.1:8443");
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let balancer = || Ok(Step::Item(Source::Balancer, 28));
        for (name, bytes, want) in [
            ("a local connection", with(12, 0x20), balancer()),
            ("an unspecified family", with(13, 0x00), balancer()),
            ("datagrams", with(13, 0x12), balancer()),
            ("a path", with(13, 0x31), balancer()),
            ("TLS", b"\x16\x03\x01".to_vec(), Err(ProxyError::Signature)),
            (
                "version 1",
                b"PROXY TCP4".to_vec(),
                Err(ProxyError::Signature),
            ),
            (
                "the last of the signature",
                with(11, b'N'),
                Err(ProxyError::Signature),
            ),
            ("version 3", with(12, 0x31), Err(ProxyError::Version)),
            ("a third command", with(12, 0x22), Err(ProxyError::Version)),
            (
                "IPv6 in 12 bytes",
                with(13, 0x21),
                Err(ProxyError::TooShort),
            ),
            ("too long", with(14, 3), Err(ProxyError::TooLong)),
        ] {
            assert_eq!(decode(&bytes), want, "{name}");
        }
        let mut extended = with(15, 15);
        extended.extend_from_slice(&[4, 0, 0]);
        let source = Source::Client("10.1.2.3:4000".parse().unwrap());
        assert_eq!(
            decode(&extended),
            Ok(Step::Item(source, 31)),
            "an extension"
        );
    }
}
