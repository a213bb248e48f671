//! Addresses as far as fairness tells them apart.

use std::net::{IpAddr, SocketAddr};

/// An IPv4 address, or the /64 of an IPv6 one: a host there has all of its /64 to choose from.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Address(u128);

/// What an IPv4 address becomes in IPv6: `::ffff:a.b.c.d`, which is no /64 of its own.
const MAPPED: u128 = 0xffff << 32;

impl Address {
    /// The group of a TCP peer.
    pub fn of(peer: SocketAddr) -> Self {
        Self(match peer.ip().to_canonical() {
            IpAddr::V4(v4) => MAPPED | u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
        })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match std::net::Ipv6Addr::from_bits(self.0).to_ipv4_mapped() {
            Some(v4) => v4.fmt(f),
            None => write!(f, "{}/64", std::net::Ipv6Addr::from_bits(self.0)),
        }
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_stands_alone_and_ipv6_goes_by_64() {
        let of = |text: &str| Address::of(text.parse().unwrap());
        for (name, one, other, same) in [
            ("ports", "10.0.0.1:1", "10.0.0.1:2", true),
            ("neighbours", "10.0.0.1:1", "10.0.0.2:1", false),
            ("mapped", "10.0.0.1:1", "[::ffff:10.0.0.1]:1", true),
            ("one /64", "[2001:db8::1]:1", "[2001:db8::ffff:2]:1", true),
            ("two /64", "[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false),
            ("loopback of both", "127.0.0.1:1", "[::1]:1", false),
        ] {
            assert_eq!(of(one) == of(other), same, "{name}");
        }
        assert_eq!(of("10.0.0.1:9").to_string(), "10.0.0.1");
        assert_eq!(of("[2001:db8::1]:9").to_string(), "2001:db8::/64");
    }
}
