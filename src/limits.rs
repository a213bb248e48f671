//! Hard maxima of everything that grows with input, and the relations between them.
//!
//! A setting may lower some of these; nothing may raise them. Called by every codec and queue.

/// Bytes of an HTTP request head (request line and headers). More is a 431.
pub const HTTP_HEAD_BYTES_MAX: usize = 32 * 1024;
/// Headers of one request. More is a 431.
pub const HTTP_HEADERS_MAX: usize = 100;
/// Bytes of a request body unless `kms.request.body.max` says otherwise. More is a 413.
pub const HTTP_BODY_BYTES_DEFAULT: usize = 1024 * 1024;
/// The highest `kms.request.body.max`: Transit's own limit.
pub const HTTP_BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Strings (names and values) in one JSON body, as OpenBao's `max_request_json_strings`.
pub const JSON_STRINGS_MAX: usize = 1000;
/// Nesting of one JSON body.
pub const JSON_DEPTH_MAX: usize = 600;
/// Items of one `batch_input`; implied by [`JSON_STRINGS_MAX`], used to size queues.
pub const BATCH_ITEMS_MAX: usize = JSON_STRINGS_MAX / 2;
/// Bytes of a key name.
pub const KEY_NAME_BYTES_MAX: usize = 512;
/// Bytes of a KMIP message, either way.
pub const KMIP_MESSAGE_BYTES_MAX: usize = 48 * 1024 * 1024;
/// Nesting of TTLV structures.
pub const TTLV_DEPTH_MAX: usize = 32;
/// Items of one KMIP message (`kms.hsm.batch.max`).
pub const KMIP_BATCH_ITEMS_MAX: usize = 1024;
/// Bytes of a plaintext that the cache keeps; longer ones only pass through.
pub const CACHED_PLAINTEXT_BYTES_MAX: usize = 512;
/// Bytes of the nonce of a sealed DEK (AES-256-GCM).
pub const NONCE_BYTES: usize = 12;
/// Bytes of the tag of a sealed DEK. Shorter tags are refused before the HSM is asked.
pub const TAG_BYTES: usize = 16;
/// Bytes of the IV of a DEK sealed with AES-CBC, and of the longest nonce of any envelope.
pub const IV_BYTES: usize = 16;
/// Bytes that the ciphertext of AES-CBC is a multiple of.
pub const CBC_BLOCK_BYTES: usize = 16;
/// Bytes of the MAC (HMAC-SHA256) of a DEK sealed with AES-CBC.
pub const MAC_BYTES: usize = 32;
/// Clients (a certificate at an address) that limits tell apart; further ones share what is left.
pub const CLIENTS_MAX: usize = 16 * 1024;
/// Client CAs (`kms.role.NAME.ca.alias`) of all roles together: each is tried for a certificate that is no pin.
pub const CLIENT_CAS_MAX: usize = 32;
/// Certificates that a client may send behind its own, where a client CA is to vouch for it. They can be put together
/// in some sixty ways, each of which costs a look at a signature.
pub const CLIENT_CHAIN_MAX: usize = 4;
/// Bytes of its own and these: what one handshake may cost.
pub const CLIENT_CHAIN_BYTES_MAX: usize = 32 * 1024;
/// Bytes of a file of lists of revoked certificates. In memory a list takes some eight times as much.
pub const CRL_FILE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of a keystore file.
pub const KEYSTORE_BYTES_MAX: usize = 16 * 1024 * 1024;

const _: () = assert!(HTTP_BODY_BYTES_DEFAULT <= HTTP_BODY_BYTES_MAX);
const _: () = assert!(NONCE_BYTES <= IV_BYTES);
const _: () = assert!(KMIP_MESSAGE_BYTES_MAX > HTTP_BODY_BYTES_MAX);
const _: () = assert!(BATCH_ITEMS_MAX * 2 <= JSON_STRINGS_MAX);
