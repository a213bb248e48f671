//! Networks: `address` or `address/prefix`.

use std::net::IpAddr;

use super::url;

/// All addresses that begin alike.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Whether `address` is one of them. An IPv4 address that came over IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(other)) => {
                let differ = net.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix_bits)
            }
            (IpAddr::V6(net), IpAddr::V6(other)) => {
                let differ = net.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix_bits)
            }
            _ => false,
        }
    }
}

/// Reads one. The error says what is wrong, without the value.
pub(super) fn parse(text: &str) -> Result<Network, String> {
    let (address, prefix) = text
        .split_once('/')
        .map_or((text, None), |(a, p)| (a, Some(p)));
    let address = url::parse_ip(address)?.to_canonical();
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix_bits = match prefix {
        None => bits,
        Some(prefix) => prefix
            .parse()
            .ok()
            .filter(|prefix| *prefix <= bits)
            .ok_or_else(|| format!("a prefix is 0 to {bits} bits, such as /24"))?,
    };
    Ok(Network {
        address,
        prefix_bits,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_what_begins_alike() {
        for (network, address, held) in [
            ("10.0.0.5", "10.0.0.5", true),
            ("10.0.0.5", "10.0.0.4", false),
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.9.9.9/8", "10.0.0.1", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("10.0.0.5", "::ffff:10.0.0.5", true),
            ("2001:db8::/32", "2001:db8:1::2", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("::/0", "::1", true),
        ] {
            let parsed = parse(network).unwrap();
            assert_eq!(
                parsed.contains(address.parse().unwrap()),
                held,
                "{address} in {network}"
            );
        }
        for wrong in [
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "host",
            "10.0.0/8",
            "",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
