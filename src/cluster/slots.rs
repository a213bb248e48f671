//! Which server of a Redis Cluster keeps which name: CRC16 over the name, or over what stands in its braces.
//!
//! Must never be true: a slot beyond [`SLOTS`]. Sans-IO.

use super::resp::Reply;

/// Slots of every cluster.
pub const SLOTS: usize = 16_384;
/// Servers of a map that are looked at.
const SERVERS_MAX: usize = 256;

/// The slot of `name`.
pub fn slot_of(name: &[u8]) -> usize {
    usize::from(crc16(hashed_part(name))) % SLOTS
}

/// What stands between the first `{` and the next `}`, unless that is nothing.
fn hashed_part(name: &[u8]) -> &[u8] {
    let Some(open) = name.iter().position(|byte| *byte == b'{') else {
        return name;
    };
    let inner = &name[open + 1..];
    match inner.iter().position(|byte| *byte == b'}') {
        None | Some(0) => name,
        Some(close) => &inner[..close],
    }
}

/// XMODEM's: polynomial 0x1021, begun with 0. Computed bit by bit: some names a millisecond.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    })
}

/// A server as the cluster names it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Place {
    /// A place that the engine names; `None` for what is no host, and must come into no log.
    pub fn named(host: &str, port: u16) -> Option<Self> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        let is_host = (1..=255).contains(&host.len()) && host.bytes().all(legal);
        is_host.then(|| Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Masters and their slots, first to last.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SlotMap(pub Vec<(Place, Vec<(u16, u16)>)>);

impl SlotMap {
    /// Reads the answer to `CLUSTER SLOTS`; a server without a host of its own is where the answer came from.
    pub fn read(reply: &Reply, asked: &Place) -> Option<Self> {
        let Reply::Array(ranges) = reply else {
            return None;
        };
        let mut map = Self::default();
        for range in ranges {
            let [first, last, master, ..] = range.items() else {
                return None;
            };
            let slot = |reply: &Reply| {
                let slot = u16::try_from(reply.integer()?).ok()?;
                (usize::from(slot) < SLOTS).then_some(slot)
            };
            let (first, last) = (slot(first)?, slot(last)?);
            let [host, port, ..] = master.items() else {
                return None;
            };
            let host = match host.text() {
                // A question mark: the server does not know its own name.
                None | Some("" | "?") => &asked.host,
                Some(host) => host,
            };
            let place = Place::named(host, u16::try_from(port.integer()?).ok()?)?;
            let is_full = map.0.len() == SERVERS_MAX;
            match map.0.iter_mut().find(|(held, _)| *held == place) {
                Some((_, slots)) => slots.push((first, last)),
                None if is_full => return None,
                None => map.0.push((place, vec![(first, last)])),
            }
        }
        map.0.sort();
        Some(map)
    }

    /// Who keeps `slot`.
    pub fn keeper(&self, slot: usize) -> Option<&Place> {
        let slot = u16::try_from(slot).ok()?;
        let keeps = |slots: &[(u16, u16)]| {
            slots
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&slot))
        };
        let found = self.0.iter().find(|(_, slots)| keeps(slots));
        found.map(|(place, _)| place)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::resp::{Step, decode};
    use super::*;

    /// As `CLUSTER KEYSLOT` of Redis 7 answers.
    #[test]
    fn slots_are_those_of_redis() {
        for (name, slot) in [
            ("foo", 12182),
            ("123456789", 0x31c3),
            ("{user1000}.following", 3443),
            ("user1000", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("", 0),
        ] {
            assert_eq!(slot_of(name.as_bytes()), slot, "{name:?}");
        }
    }

    fn place(host: &str, port: u16) -> Place {
        let host = host.to_owned();
        Place { host, port }
    }

    #[test]
    fn a_map_tells_who_keeps_a_slot() {
        let text = "*2\r\n*3\r\n:0\r\n:100\r\n*4\r\n$9\r\n127.0.0.1\r\n:7000\r\n$2\r\nid\r\n*0\r\n\
                    *3\r\n:101\r\n:16383\r\n*3\r\n$0\r\n\r\n:7001\r\n$2\r\nid\r\n";
        let Ok(Step::Reply(reply, _)) = decode(text.as_bytes()) else {
            panic!("{text}")
        };
        let map = SlotMap::read(&reply, &place("asked", 1)).unwrap();
        assert_eq!(map.keeper(100), Some(&place("127.0.0.1", 7000)));
        assert_eq!(map.keeper(101), Some(&place("asked", 7001)));
        assert_eq!(map.keeper(SLOTS), None);
    }

    #[test]
    fn what_is_no_map_is_refused() {
        for (name, text) in [
            ("no array", "+OK\r\n"),
            (
                "a slot beyond",
                "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n",
            ),
            ("no master", "*1\r\n*2\r\n:0\r\n:1\r\n"),
            (
                "a host that is none",
                "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$3\r\na\nb\r\n:1\r\n",
            ),
            (
                "no port",
                "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:70000\r\n",
            ),
        ] {
            let Ok(Step::Reply(reply, _)) = decode(text.as_bytes()) else {
                panic!("{name}")
            };
            assert_eq!(SlotMap::read(&reply, &place("a", 1)), None, "{name}");
        }
    }

    #[test]
    fn a_map_of_more_servers_than_are_looked_at_is_refused() {
        let range = |port: i64| {
            let server = Reply::Array(vec![Reply::Bulk(b"h".to_vec()), Reply::Integer(port)]);
            Reply::Array(vec![Reply::Integer(0), Reply::Integer(1), server])
        };
        let map = |servers| Reply::Array((1..).take(servers).map(range).collect());
        assert!(SlotMap::read(&map(SERVERS_MAX), &place("a", 1)).is_some());
        assert_eq!(SlotMap::read(&map(SERVERS_MAX + 1), &place("a", 1)), None);
    }
}
