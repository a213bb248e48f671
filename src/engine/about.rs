//! Who the client is and what this server is, in the words of a Vault: no key, no HSM.
//!
//! The certificate of the connection is the identity. A login is answered because clients insist on
//! one; the token that it yields is the same text for everybody, grants nothing, is read by nobody
//! and therefore is no secret: whoever steals it has nothing.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

use crate::api::reply::Reply;
use crate::api::{About, Fault};
use crate::identity::Pin;
use crate::wire::Out;
use crate::wire::transit::{self, SealStatus, Token};

use super::health::{CLUSTER_NAME, uuid_text};
use super::{Call, Engine};

/// Any text would do; this one tells whoever finds it in a log or a dump what it is.
const TOKEN: &str = "certificate-is-the-identity";
/// OpenBao's default: longer leases are cut to this, so that clients come back now and then.
const LEASE_S_MAX: u64 = 2_764_800;

impl Engine {
    pub(super) fn about<O: Out>(&self, call: &Call<'_>, about: About, reply: &mut Reply<'_, O>) {
        match about {
            About::Login | About::RenewSelf => {
                Description::of(call).tell(|token| reply.auth(token));
            }
            About::LookupSelf => Description::of(call).tell(|token| {
                let open = reply.open(200, None);
                transit::put_lookup_self(reply.out(), token);
                reply.close(open, &[""; 0], true);
            }),
            // There is nothing to revoke: the certificate is taken back in the keystore.
            About::RevokeSelf => reply.no_content(),
            About::SealStatus => {
                let body = SealStatus {
                    sealed: !self.hsm.health().was_up,
                    version: env!("CARGO_PKG_VERSION"),
                    cluster: (CLUSTER_NAME, &self.cluster_id),
                    storage: self.hsm.name(),
                };
                reply.plain(200, |out| transit::put_seal_status(out, &body));
            }
            About::Init => reply.plain(200, transit::put_init),
            About::Leader => reply.plain(200, transit::put_leader),
        }
    }

    /// A login is good under the name of the certificate or of its role, and under no other.
    pub(super) fn login_as<O: Out>(
        &self,
        call: &Call<'_>,
        name: &str,
        reply: &mut Reply<'_, O>,
    ) -> Result<(), Fault> {
        if !may_be_named(call.pin, name) {
            let text = "invalid certificate or no client certificate supplied";
            return Err(Fault::new(400, text));
        }
        self.about(call, About::Login, reply);
        Ok(())
    }
}

/// A login may name its role as a client of Vault would: as the role, or as the certificate.
fn may_be_named(pin: &Pin, name: &str) -> bool {
    name.is_empty() || name == pin.role.name || name.eq_ignore_ascii_case(&pin.alias)
}

/// The texts that describe a principal.
struct Description<'a> {
    pin: &'a Pin,
    now_s: u64,
    accessor: String,
    entity_id: String,
    display_name: String,
    metadata: Vec<(&'static str, String)>,
}

impl<'a> Description<'a> {
    fn of(call: &Call<'a>) -> Self {
        let pin = call.pin;
        let mut fingerprint = String::with_capacity(64);
        for byte in pin.fingerprint {
            // Writing to a String cannot fail.
            let _ = write!(fingerprint, "{byte:02x}");
        }
        let mut metadata = vec![("cert_name", pin.alias.clone())];
        metadata.extend(common_name(&pin.subject).map(|name| ("common_name", name)));
        metadata.push(("fingerprint_sha256", fingerprint));
        metadata.push(("subject", pin.subject.clone()));
        Self {
            pin,
            now_s: u64::try_from(call.unix_s).unwrap_or(0),
            accessor: accessor(pin),
            entity_id: uuid_text(derived(b"entity", pin), 8),
            display_name: format!("cert-{}", pin.alias),
            metadata,
        }
    }

    /// A token that lives as long as the certificate.
    fn tell(&self, writer: impl FnOnce(&Token<'_>)) {
        let time = |unix_s: i64| u64::try_from(unix_s).unwrap_or(0);
        let (created_s, expires_s) = (
            time(self.pin.not_before_unix_s),
            time(self.pin.not_after_unix_s),
        );
        let ttl_s = expires_s.saturating_sub(self.now_s);
        writer(&Token {
            id: TOKEN,
            accessor: &self.accessor,
            entity_id: &self.entity_id,
            display_name: &self.display_name,
            path: "auth/cert/login",
            policies: &["default", &self.pin.role.name],
            metadata: &self.metadata,
            created_s,
            expires_s,
            ttl_s,
            lease_s: ttl_s.min(LEASE_S_MAX),
        });
    }
}

/// Always the same for a certificate, and none of its fingerprint.
fn derived<const N: usize>(what: &[u8], pin: &Pin) -> [u8; N] {
    let whole = digest(&SHA256, &[what, pin.fingerprint.as_slice()].concat());
    let mut cut = [0; N];
    for (to, from) in cut.iter_mut().zip(whole.as_ref()) {
        *to = *from;
    }
    cut
}

/// In the shape of OpenBao's: 24 letters and digits.
fn accessor(pin: &Pin) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    derived::<24>(b"accessor", pin)
        .map(|byte| char::from(DIGITS[usize::from(byte) % DIGITS.len()]))
        .iter()
        .collect()
}

/// The common name in a subject (RFC 4514), its escapes resolved.
fn common_name(subject: &str) -> Option<String> {
    let mut parts = vec![String::new()];
    let mut chars = subject.chars();
    while let Some(c) = chars.next() {
        let part = parts.last_mut()?;
        match c {
            '\\' => {
                let escaped = chars.next()?;
                // A control character stands as two hex digits.
                part.push(match escaped.to_digit(16) {
                    Some(high) => char::from_u32(high * 16 + chars.next()?.to_digit(16)?)?,
                    None => escaped,
                });
            }
            ',' | '+' => parts.push(String::new()),
            other => part.push(other),
        }
    }
    parts
        .iter()
        .find_map(|part| part.strip_prefix("CN="))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_name_is_read_back() {
        for (subject, want) in [
            ("CN=cmxDevice", Some("cmxDevice")),
            ("CN=a\\,b\\\\,O=x", Some("a,b\\")),
            ("O=x,CN=two words+OU=y", Some("two words")),
            ("CN=line\\0Afeed", Some("line\nfeed")),
            ("O=CN\\=,OU=x", None),
            ("O=no name", None),
            ("", None),
            ("CN=cut\\", None),
        ] {
            assert_eq!(common_name(subject).as_deref(), want, "{subject}");
        }
    }
}
