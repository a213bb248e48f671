use proptest::prelude::*;

use super::codec::*;

fn version() -> impl Strategy<Value = ([u8; 16], u64)> {
    (any::<[u8; 16]>(), any::<u64>())
}

fn key() -> impl Strategy<Value = StoredKey> {
    let flags = (any::<u32>(), any::<u32>(), any::<bool>());
    (".{0,20}", flags, prop::collection::vec(version(), 1..4)).prop_map(
        |(name, flags, versions)| {
            let numbered = (1..)
                .zip(versions)
                .map(|(number, (object, created_unix_s))| StoredVersion {
                    number,
                    object,
                    created_unix_s,
                    sealed: [7; SEALED_BYTES],
                });
            StoredKey {
                name,
                min_decryption_version: flags.0,
                min_encryption_version: flags.1,
                deletion_allowed: flags.2,
                versions: numbered.collect(),
            }
        },
    )
}

proptest! {
    #[test]
    fn a_directory_reads_back(keys in prop::collection::vec(key(), 0..6)) {
        let bytes = directory(&keys);
        prop_assert_eq!(read_directory(&bytes), Some(keys));
        for cut in 0..bytes.len() {
            prop_assert_eq!(read_directory(&bytes[..cut]), None);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_directory(&bytes);
    }
}
