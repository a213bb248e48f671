//! The sealing keys as the engine keeps them: each wrapped by the HSM, the one in use first.
//!
//! `KC` 1, how many, then for each: when it was made (8 bytes, milliseconds since 1970), version of the HSM's
//! key (4), length (2), and what the HSM made of it. The associated data of the wrapping names the cluster
//! and the time, so that no other wrapped key can take its place. Both directions; sans-IO.
//!
//! Must never be true: more read than [`VALUE_BYTES_MAX`], or a value half believed.

const MAGIC: [u8; 3] = *b"KC\x01";
const ENTRY_HEADER_BYTES: usize = 14;
/// Sealing keys in one value: the one in use and the one before.
const ENTRIES_MAX: usize = 2;
/// The longest value.
pub const VALUE_BYTES_MAX: usize = 16 * 1024;

/// One sealing key, wrapped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wrapped {
    /// When it was made.
    pub created_ms: u64,
    /// Version of the HSM's key that wrapped it.
    pub version: u32,
    /// As the HSM gave it.
    pub bytes: Vec<u8>,
}

/// What the HSM is told to bind to the wrapping.
pub fn associated_data(cluster: &str, created_ms: u64) -> Vec<u8> {
    format!("csk|{cluster}|{created_ms}").into_bytes()
}

/// The value that holds these; `None` when one is too long for it.
pub fn encode(entries: &[Wrapped]) -> Option<Vec<u8>> {
    let entries = entries.get(..entries.len().min(ENTRIES_MAX))?;
    let mut value = MAGIC.to_vec();
    value.push(u8::try_from(entries.len()).ok()?);
    for entry in entries {
        value.extend_from_slice(&entry.created_ms.to_be_bytes());
        value.extend_from_slice(&entry.version.to_be_bytes());
        value.extend_from_slice(&u16::try_from(entry.bytes.len()).ok()?.to_be_bytes());
        value.extend_from_slice(&entry.bytes);
    }
    (value.len() <= VALUE_BYTES_MAX).then_some(value)
}

/// What a value holds; `None` when it is no such value. Never empty.
pub fn decode(value: &[u8]) -> Option<Vec<Wrapped>> {
    if value.len() > VALUE_BYTES_MAX {
        return None;
    }
    let (&count, mut rest) = value.strip_prefix(&MAGIC)?.split_first()?;
    if count == 0 || usize::from(count) > ENTRIES_MAX {
        return None;
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        let (header, behind) = rest.split_at_checked(ENTRY_HEADER_BYTES)?;
        let (created, header) = header.split_first_chunk::<8>()?;
        let (version, len) = header.split_first_chunk::<4>()?;
        let len = u16::from_be_bytes(len.try_into().ok()?);
        let (bytes, behind) = behind.split_at_checked(usize::from(len))?;
        entries.push(Wrapped {
            created_ms: u64::from_be_bytes(*created),
            version: u32::from_be_bytes(*version),
            bytes: bytes.to_vec(),
        });
        rest = behind;
    }
    rest.is_empty().then_some(entries)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(fill: u8) -> Wrapped {
        Wrapped {
            created_ms: 1_700_000_000_000 + u64::from(fill),
            version: 3,
            bytes: vec![fill; 60],
        }
    }

    #[test]
    fn values_come_back_as_they_were() {
        for (name, entries) in [
            ("one", vec![entry(1)]),
            ("while a new one takes over", vec![entry(2), entry(1)]),
        ] {
            let value = encode(&entries).unwrap();
            assert_eq!(decode(&value), Some(entries), "{name}");
        }
        let three = encode(&[entry(3), entry(2), entry(1)]).unwrap();
        assert_eq!(decode(&three).unwrap().len(), 2, "the oldest goes");
        let long = Wrapped {
            bytes: vec![0; 70_000],
            ..entry(1)
        };
        assert_eq!(encode(&[long]), None);
    }

    #[test]
    fn what_is_no_value_is_refused_whole() {
        let value = encode(&[entry(2), entry(1)]).unwrap();
        for cut in 0..value.len() {
            assert_eq!(decode(&value[..cut]), None, "{cut} bytes");
        }
        let changed = |at: usize, to: u8| {
            let mut value = value.clone();
            value[at] = to;
            decode(&value)
        };
        for (name, got) in [
            ("magic", changed(0, b'X')),
            ("version", changed(2, 2)),
            ("none", changed(3, 0)),
            ("more than may be", changed(3, 3)),
            ("one, and bytes behind", changed(3, 1)),
            ("a length beyond the end", changed(16, 0xff)),
        ] {
            assert_eq!(got, None, "{name}");
        }
    }
}
