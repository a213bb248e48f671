//! What things are counted by: closed lists, so that no label is made at run time.
//!
//! Must never be true: a label whose values a client or an HSM decides.

/// What a request was, for its duration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// An unwrap that the cache had all of.
    Hit,
    /// An unwrap that waited for what others had asked the HSM for, and asked nothing itself.
    Joined,
    /// An unwrap that asked the HSM.
    Miss,
    /// Everything else: wraps, data keys, rewraps, keys, logins, and whatever was refused or failed.
    Other,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Hit, Self::Joined, Self::Miss, Self::Other];

    /// As metrics have it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Joined => "joined",
            Self::Miss => "miss",
            Self::Other => "other",
        }
    }
}

/// What kept a request, or an item of a batch, from being done, where the client is not to blame for its form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// `kms.limit.rate`.
    RateLimit,
    /// `kms.limit.inflight`.
    InflightLimit,
    /// As many wait for the HSM as may.
    QueueFull,
    /// No connection to the HSM.
    HsmUnreachable,
    /// The HSM says that it is at its limit.
    HsmBusy,
    /// No answer of the HSM in time.
    HsmTimeout,
    /// The HSM, or what lets this server in there, refused.
    HsmRefused,
    /// The HSM's answer could not be used.
    HsmProtocol,
    /// No locked memory is free.
    LockedMemory,
    /// Too many bytes of request bodies wait.
    BodyMemory,
    /// The audit log cannot be written.
    AuditLog,
    /// The server is stopping.
    Stopping,
    /// Anything else that is answered with a 5xx.
    Other,
}

impl Reason {
    /// All of them, in order.
    pub const ALL: [Self; 13] = [
        Self::RateLimit,
        Self::InflightLimit,
        Self::QueueFull,
        Self::HsmUnreachable,
        Self::HsmBusy,
        Self::HsmTimeout,
        Self::HsmRefused,
        Self::HsmProtocol,
        Self::LockedMemory,
        Self::BodyMemory,
        Self::AuditLog,
        Self::Stopping,
        Self::Other,
    ];

    /// As metrics have it, and the status that a request of one operation is answered with.
    pub const fn label(self) -> (&'static str, &'static str) {
        match self {
            Self::RateLimit => ("rate_limit", "429"),
            Self::InflightLimit => ("inflight_limit", "429"),
            Self::QueueFull => ("queue_full", "503"),
            Self::HsmUnreachable => ("hsm_unreachable", "503"),
            Self::HsmBusy => ("hsm_busy", "503"),
            Self::HsmTimeout => ("hsm_timeout", "504"),
            Self::HsmRefused => ("hsm_refused", "502"),
            Self::HsmProtocol => ("hsm_protocol", "502"),
            Self::LockedMemory => ("locked_memory", "503"),
            Self::BodyMemory => ("body_memory", "503"),
            Self::AuditLog => ("audit_log", "503"),
            Self::Stopping => ("stopping", "503"),
            Self::Other => ("other", "5xx"),
        }
    }
}

/// Why a handshake came to nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The client showed no certificate.
    NoCertificate,
    /// It showed one that no role knows.
    Unknown,
    /// It showed one whose time is over.
    Expired,
    /// It showed one whose time has not come.
    NotYetValid,
    /// It showed one that was removed, or revoked.
    Revoked,
    /// A client CA issued it, and not for a client, or not as it must.
    NotForClients,
    /// A client CA issued it, and no role takes it, or more than one.
    NoRole,
    /// A client CA issued it, and there is no list of revoked certificates that is up to date.
    RevocationList,
    /// It could not prove that the certificate is its own.
    BadSignature,
    /// No common version, cipher suite or protocol.
    Incompatible,
    /// What came was no TLS.
    Malformed,
    /// The client did not accept the server's certificate, or ended the handshake with another alert.
    ByClient,
    /// It did not come to its end in time.
    TimedOut,
    /// The client went away.
    Closed,
    /// Anything else.
    Other,
}

impl Refusal {
    /// All of them, in order.
    pub const ALL: [Self; 15] = [
        Self::NoCertificate,
        Self::Unknown,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::NotForClients,
        Self::NoRole,
        Self::RevocationList,
        Self::BadSignature,
        Self::Incompatible,
        Self::Malformed,
        Self::ByClient,
        Self::TimedOut,
        Self::Closed,
        Self::Other,
    ];

    /// As metrics have it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::Unknown => "unknown_certificate",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
            Self::NotForClients => "not_for_clients",
            Self::NoRole => "no_role",
            Self::RevocationList => "revocation_list",
            Self::BadSignature => "bad_signature",
            Self::Incompatible => "incompatible",
            Self::Malformed => "malformed",
            Self::ByClient => "refused_by_client",
            Self::TimedOut => "timeout",
            Self::Closed => "closed",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_list_is_whole_in_order_and_without_doubles() {
        let all = Kind::ALL.iter().map(|kind| (*kind as usize, kind.label()));
        check(all);
        let all = Reason::ALL.iter();
        check(all.map(|reason| (*reason as usize, reason.label().0)));
        let all = Refusal::ALL.iter();
        check(all.map(|refusal| (*refusal as usize, refusal.label())));
    }

    fn check(all: impl Iterator<Item = (usize, &'static str)>) {
        let mut labels = HashSet::new();
        for (at, (number, label)) in all.enumerate() {
            assert_eq!(at, number, "{label}");
            assert!(labels.insert(label), "{label} twice");
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(label.bytes().all(is_plain), "{label}");
        }
    }
}
