//! What a load balancer writes before a connection's TLS.

use std::net::SocketAddr;

use kms::wire::Step;
use kms::wire::proxy::{HEADER_BYTES_MAX, Source, decode, put_header};

/// Interesting pieces of a header.
pub const TOKENS: &[&[u8]] = &[
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\x21\x11\x00\x0c",
    b"\x21\x21\x00\x24",
    b"\x20\x00\x00\x00",
    b"\xff\xff",
];

/// Headers that are in order.
pub fn seeds() -> Vec<Vec<u8>> {
    let addresses = [
        SocketAddr::from(([10, 1, 2, 3], 4000)),
        SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7], 4000)),
    ];
    addresses.map(header).to_vec()
}

fn header(client: SocketAddr) -> Vec<u8> {
    let mut header = Vec::new();
    put_header(&mut header, client, client);
    header
}

/// A header ends where it says, however it is cut, and tells what its writer would write.
pub fn proxy(data: &[u8]) {
    let Ok(Step::Item(source, used)) = decode(data) else {
        if let Ok(Step::Need(more)) = decode(data) {
            assert!(more > 0 && data.len() + more <= HEADER_BYTES_MAX);
        }
        return;
    };
    assert!(used <= data.len().min(HEADER_BYTES_MAX));
    for end in 0..used {
        assert!(
            matches!(decode(&data[..end]), Ok(Step::Need(more)) if end + more <= used),
            "whole, or asking too much, at {end}"
        );
    }
    if let Source::Client(client) = source {
        let written = header(client);
        assert_eq!(
            decode(&written),
            Ok(Step::Item(Source::Client(client), written.len()))
        );
    }
}
