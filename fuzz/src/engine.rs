//! What the engine of a shared cache answers, and what nodes keep there.

use kms::cluster::Place;
use kms::cluster::resp::{self, REPLY_BYTES_MAX, Reply, Step};
use kms::cluster::slots::SlotMap;
use kms::cluster::wrapped;

/// Interesting pieces of a reply.
pub const TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"*3\r\n",
    b"$1048576\r\n",
    b"$1048577\r\n",
    b"*65537\r\n",
    b":16383\r\n",
    b"-MOVED 1 a:1\r\n",
];

/// Replies that are in order: values, a message, a map of slots.
pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "+OK\r\n",
        "$5\r\nhello\r\n:-3\r\n",
        "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\nword\r\n",
        "*2\r\n*3\r\n:0\r\n:100\r\n*4\r\n$9\r\n127.0.0.1\r\n:7000\r\n$2\r\nid\r\n*0\r\n\
         *3\r\n:101\r\n:16383\r\n*3\r\n$0\r\n\r\n:7001\r\n$2\r\nid\r\n",
        "-NOPERM this user has no permissions\r\n",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

/// A reply ends where it says, however it is cut; a map of slots has a keeper for its slots and no others.
pub fn reply(data: &[u8]) {
    let Ok(Step::Reply(reply, used)) = resp::decode(data) else {
        return;
    };
    assert!(used <= data.len() && used <= 2 * REPLY_BYTES_MAX);
    // Every one would take the square of the time.
    for end in (0..used).rev().take(64) {
        assert_eq!(resp::decode(&data[..end]), Ok(Step::Need), "whole at {end}");
    }
    if let Reply::Array(items) = &reply
        && let Some(parts) = items.iter().map(bulk).collect::<Option<Vec<&[u8]>>>()
    {
        let written = resp::command(&parts);
        let read = resp::decode(&written);
        assert_eq!(read, Ok(Step::Reply(reply.clone(), written.len())));
    }
    let asked = Place {
        host: "asked".to_owned(),
        port: 1,
    };
    if let Some(map) = SlotMap::read(&reply, &asked) {
        for slot in [0, 1, 16_383] {
            let keeps = |(_, slots): &(Place, Vec<(u16, u16)>)| {
                let mut slots = slots.iter();
                slots
                    .any(|(first, last)| (usize::from(*first)..=usize::from(*last)).contains(&slot))
            };
            assert_eq!(
                map.keeper(slot).is_some(),
                map.0.iter().any(keeps),
                "{slot}"
            );
        }
        assert!(map.keeper(16_384).is_none());
    }
}

fn bulk(reply: &Reply) -> Option<&[u8]> {
    match reply {
        Reply::Bulk(bytes) => Some(bytes),
        _ => None,
    }
}

/// Sealing keys as the engine keeps them.
pub fn key_seeds() -> Vec<Vec<u8>> {
    let entry = |fill: u8| wrapped::Wrapped {
        created_ms: 1_700_000_000_000,
        version: 1,
        bytes: vec![fill; 60],
    };
    [vec![entry(1)], vec![entry(2), entry(1)]]
        .iter()
        .filter_map(|entries| wrapped::encode(entries))
        .collect()
}

/// Pieces of that.
pub const KEY_TOKENS: &[&[u8]] = &[b"KC\x01", b"\x02", b"\0\x3c", b"\xff\xff"];

/// What is read, written and read again is the same bytes.
pub fn sealing_key(data: &[u8]) {
    if let Some(entries) = wrapped::decode(data) {
        assert!(!entries.is_empty());
        assert_eq!(wrapped::encode(&entries).as_deref(), Some(data));
    }
}
