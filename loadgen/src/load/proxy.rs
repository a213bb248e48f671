//! Many client addresses from one machine: the header of PROXY protocol version 2 that a load balancer would
//! write before TLS.
//!
//! Sans-IO. Called when a connection is opened.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use kms::wire::proxy::put_header;

/// First port that is told.
const PORT_MIN: u16 = 1024;

/// A network whose addresses the clients have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProxyFrom {
    network: IpAddr,
    prefix: u8,
    connections: u32,
}

impl FromStr for ProxyFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no network; one like 10.1.0.0/16 belongs here");
        let (network, prefix) = text.split_once('/').ok_or_else(bad)?;
        let network: IpAddr = network.parse().map_err(|_| bad())?;
        let prefix: u8 = prefix.parse().map_err(|_| bad())?;
        let bits = if network.is_ipv4() { 32 } else { 128 };
        if prefix > bits {
            return Err(bad());
        }
        Ok(Self {
            network,
            prefix,
            connections: 0,
        })
    }
}

impl ProxyFrom {
    /// Address number `number`; they begin anew when the network has no more.
    fn address(&self, number: u32) -> IpAddr {
        match self.network {
            IpAddr::V4(network) => {
                let mask = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                Ipv4Addr::from((u32::from(network) & !mask) | (number & mask)).into()
            }
            IpAddr::V6(network) => {
                let mask = u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                Ipv6Addr::from((u128::from(network) & !mask) | (u128::from(number) & mask)).into()
            }
        }
    }

    /// The header of a connection of client number `number`.
    pub fn header(&mut self, number: u32, destination: SocketAddr) -> Vec<u8> {
        self.connections = self.connections.wrapping_add(1);
        let ports = u32::from(u16::MAX - PORT_MIN) + 1;
        let port = PORT_MIN + u16::try_from(self.connections % ports).unwrap_or(0);
        let mut header = Vec::new();
        put_header(
            &mut header,
            (self.address(number), port).into(),
            destination,
        );
        header
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use kms::wire::Step;
    use kms::wire::proxy::{Source, decode};

    use super::*;

    #[test]
    fn clients_keep_their_addresses() {
        for (network, number, want) in [
            ("10.1.0.0/16", 0, "10.1.0.0"),
            ("10.1.0.0/16", 258, "10.1.1.2"),
            ("10.1.2.3/16", 65_536 + 7, "10.1.0.7"),
            ("10.1.2.3/32", 9, "10.1.2.3"),
            ("0.0.0.0/0", 0x0102_0304, "1.2.3.4"),
            ("fd00::/64", 17, "fd00::11"),
        ] {
            let mut from: ProxyFrom = network.parse().unwrap();
            let mut ports = Vec::new();
            for _ in 0..2 {
                let header = from.header(number, "127.0.0.1:8443".parse().unwrap());
                let Ok(Step::Item(Source::Client(client), bytes)) = decode(&header) else {
                    unreachable!("{network}: {header:?}");
                };
                assert_eq!(
                    (client.ip().to_canonical().to_string().as_str(), bytes),
                    (want, header.len())
                );
                ports.push(client.port());
            }
            assert_ne!(ports[0], ports[1], "{network}");
        }
        for text in ["10.1.0.0", "10.1.0.0/33", "x/8", "::/129", "10.1.0.0/-1"] {
            assert!(text.parse::<ProxyFrom>().is_err(), "{text}");
        }
    }
}
