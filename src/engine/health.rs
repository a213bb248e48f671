//! `sys/health`: this node as a Vault would describe itself.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};

use crate::api::reply::Reply;
use crate::wire::Out;
use crate::wire::transit::{self, Health};

use super::Engine;

/// What this server calls itself where a Vault names its cluster.
pub(super) const CLUSTER_NAME: &str = "connected-kms";

impl Engine {
    /// Unsealed once the HSM has answered; losing it afterwards changes nothing, as on `/readyz`.
    pub(super) fn health<O: Out>(&self, reply: &mut Reply<'_, O>) {
        let sealed = !self.hsm.health().was_up;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let body = Health {
            sealed,
            server_time_s: now.as_secs(),
            version: env!("CARGO_PKG_VERSION"),
            cluster: (CLUSTER_NAME, &self.cluster_id),
        };
        reply.plain(if sealed { 503 } else { 200 }, |out| {
            transit::put_health(out, &body);
        });
    }
}

/// A random UUID (RFC 9562, version 4), as text.
pub(super) fn random_uuid() -> Result<String, ring::error::Unspecified> {
    let mut bytes = [0u8; 16];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(uuid_text(bytes, 4))
}

/// The text of a UUID of `version` (RFC 9562) that is otherwise made of `bytes`.
pub(super) fn uuid_text(mut bytes: [u8; 16], version: u8) -> String {
    bytes[6] = bytes[6] & 0x0f | version << 4;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
