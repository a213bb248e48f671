//! Answers about the server and the principal, member by member in OpenBao's order.

use super::super::Out;
use super::super::calendar::timestamp_s;
use super::super::json::put_string;
use super::answer::{envelope_open, put_flag, put_name, put_number, put_strings};

/// What `sys/health` tells of an active node; there is no envelope.
#[derive(Clone, Debug)]
pub struct Health<'a> {
    /// Whether nothing can be served yet.
    pub sealed: bool,
    /// Unix time.
    pub server_time_s: u64,
    /// Our version.
    pub version: &'a str,
    /// Name and id of the cluster.
    pub cluster: (&'a str, &'a str),
}

/// Body of `sys/health`, with `performance_standby`, which vaultrs needs and OpenBao lacks.
pub fn put_health<O: Out + ?Sized>(out: &mut O, health: &Health<'_>) {
    out.put(b"{\"initialized\":true");
    put_flag(out, "sealed", health.sealed);
    out.put(
        b",\"standby\":false,\"performance_standby\":false,\"replication_performance_mode\":\"disabled\",\
\"replication_dr_mode\":\"disabled\"",
    );
    put_number(out, "server_time_utc", health.server_time_s);
    put_version(out, health.version, health.cluster, "");
    out.put(b"}\n");
}

/// What `sys/seal-status` tells; there is no envelope.
#[derive(Clone, Debug)]
pub struct SealStatus<'a> {
    /// Whether nothing can be served yet.
    pub sealed: bool,
    /// Our version.
    pub version: &'a str,
    /// Name and id of the cluster.
    pub cluster: (&'a str, &'a str),
    /// What holds the keys.
    pub storage: &'a str,
}

/// Body of `sys/seal-status`. There are no shares of a key here; one of one is what clients take for
/// "nothing to do".
pub fn put_seal_status<O: Out + ?Sized>(out: &mut O, status: &SealStatus<'_>) {
    out.put(b"{\"type\":\"shamir\",\"initialized\":true");
    put_flag(out, "sealed", status.sealed);
    out.put(b",\"t\":1,\"n\":1,\"progress\":0,\"nonce\":\"\",\"recovery_seal\":false");
    put_version(
        out,
        status.version,
        status.cluster,
        ",\"commit_date\":\"\",\"migration\":false",
    );
    put_text(out, "storage_type", status.storage);
    out.put(b"}\n");
}

fn put_version<O: Out + ?Sized>(out: &mut O, version: &str, cluster: (&str, &str), between: &str) {
    put_text(out, "version", version);
    out.put(between.as_bytes());
    put_text(out, "cluster_name", cluster.0);
    put_text(out, "cluster_id", cluster.1);
}

/// Body of `sys/init`.
pub fn put_init<O: Out + ?Sized>(out: &mut O) {
    out.put(b"{\"initialized\":true}\n");
}

/// Body of `sys/leader`.
pub fn put_leader<O: Out + ?Sized>(out: &mut O) {
    out.put(b"{\"ha_enabled\":false}\n");
}

/// What is told of a token and whom it stands for. Times are seconds since 1970.
#[derive(Clone, Debug)]
pub struct Token<'a> {
    /// The token itself.
    pub id: &'a str,
    /// Its other name.
    pub accessor: &'a str,
    /// Whom it stands for, as a UUID.
    pub entity_id: &'a str,
    /// For people.
    pub display_name: &'a str,
    /// Where it was made.
    pub path: &'a str,
    /// Its policies.
    pub policies: &'a [&'a str],
    /// Names and values, sorted by name.
    pub metadata: &'a [(&'static str, String)],
    /// When it was made.
    pub created_s: u64,
    /// When it ends.
    pub expires_s: u64,
    /// Seconds until then.
    pub ttl_s: u64,
    /// Seconds after which its holder is to come back.
    pub lease_s: u64,
}

/// The whole envelope around a token's `auth`: of a login or a renewal.
pub fn put_auth_envelope<O: Out + ?Sized>(out: &mut O, request_id: &[u8; 16], token: &Token<'_>) {
    envelope_open(out, request_id);
    out.put(b"null,\"wrap_info\":null,\"warnings\":null,\"auth\":{\"client_token\":");
    put_string(out, token.id);
    put_text(out, "accessor", token.accessor);
    put_name(out, "policies");
    put_strings(out, token.policies);
    put_name(out, "token_policies");
    put_strings(out, token.policies);
    put_metadata(out, "metadata", token.metadata);
    put_number(out, "lease_duration", token.lease_s);
    put_flag(out, "renewable", true);
    put_text(out, "entity_id", token.entity_id);
    out.put(
        b",\"token_type\":\"service\",\"orphan\":true,\"mfa_requirement\":null,\"num_uses\":0}}\n",
    );
}

/// `data` of a `lookup-self`.
pub fn put_lookup_self<O: Out + ?Sized>(out: &mut O, token: &Token<'_>) {
    out.put(b"{\"accessor\":");
    put_string(out, token.accessor);
    put_number(out, "creation_time", token.created_s);
    put_number(
        out,
        "creation_ttl",
        token.expires_s.saturating_sub(token.created_s),
    );
    put_text(out, "display_name", token.display_name);
    put_text(out, "entity_id", token.entity_id);
    put_text(out, "expire_time", &timestamp_s(token.expires_s));
    out.put(b",\"explicit_max_ttl\":0");
    put_text(out, "id", token.id);
    put_text(out, "issue_time", &timestamp_s(token.created_s));
    put_metadata(out, "meta", token.metadata);
    out.put(b",\"num_uses\":0,\"orphan\":true");
    put_text(out, "path", token.path);
    put_name(out, "policies");
    put_strings(out, token.policies);
    put_flag(out, "renewable", true);
    put_number(out, "ttl", token.ttl_s);
    put_text(out, "type", "service");
    out.put(b"}");
}

fn put_text<O: Out + ?Sized>(out: &mut O, name: &str, text: &str) {
    put_name(out, name);
    put_string(out, text);
}

fn put_metadata<O: Out + ?Sized>(out: &mut O, name: &str, metadata: &[(&'static str, String)]) {
    put_name(out, name);
    let mut before: &[u8] = b"{";
    for (name, value) in metadata {
        out.put(before);
        put_string(out, name);
        out.put(b":");
        put_string(out, value);
        before = b",";
    }
    out.put(if metadata.is_empty() { b"{}" } else { b"}" });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn token(metadata: &[(&'static str, String)], test: impl FnOnce(&Token<'_>)) {
        test(&Token {
            id: "token",
            accessor: "accessor",
            entity_id: "entity",
            display_name: "cert-alice",
            path: "auth/cert/login",
            policies: &["default", "kms"],
            metadata,
            created_s: 1_795_459_000,
            expires_s: 1_795_459_091,
            ttl_s: 6,
            lease_s: 5,
        });
    }

    #[test]
    fn a_token_is_told_in_both_forms() {
        let mut out = Vec::new();
        token(&[("cert_name", "al\"ice".to_owned())], |token| {
            put_auth_envelope(&mut out, &[0; 16], token);
        });
        let want = "{\"request_id\":\"00000000-0000-0000-0000-000000000000\",\"lease_id\":\"\",\"renewable\":false,\
            \"lease_duration\":0,\"data\":null,\"wrap_info\":null,\"warnings\":null,\"auth\":{\"client_token\":\"token\",\
            \"accessor\":\"accessor\",\"policies\":[\"default\",\"kms\"],\"token_policies\":[\"default\",\"kms\"],\
            \"metadata\":{\"cert_name\":\"al\\\"ice\"},\"lease_duration\":5,\"renewable\":true,\"entity_id\":\"entity\",\
            \"token_type\":\"service\",\"orphan\":true,\"mfa_requirement\":null,\"num_uses\":0}}\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
        let mut out = Vec::new();
        token(&[], |token| put_lookup_self(&mut out, token));
        let want = "{\"accessor\":\"accessor\",\"creation_time\":1795459000,\"creation_ttl\":91,\
            \"display_name\":\"cert-alice\",\"entity_id\":\"entity\",\"expire_time\":\"2026-11-23T18:38:11Z\",\
            \"explicit_max_ttl\":0,\"id\":\"token\",\"issue_time\":\"2026-11-23T18:36:40Z\",\"meta\":{},\"num_uses\":0,\
            \"orphan\":true,\"path\":\"auth/cert/login\",\"policies\":[\"default\",\"kms\"],\"renewable\":true,\
            \"ttl\":6,\"type\":\"service\"}";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn a_seal_status_is_openbaos() {
        let mut out = Vec::new();
        let status = SealStatus {
            sealed: false,
            version: "2.7.2",
            cluster: ("c", "i"),
            storage: "inmem",
        };
        put_seal_status(&mut out, &status);
        let want = "{\"type\":\"shamir\",\"initialized\":true,\"sealed\":false,\"t\":1,\"n\":1,\"progress\":0,\
            \"nonce\":\"\",\"recovery_seal\":false,\"version\":\"2.7.2\",\"commit_date\":\"\",\"migration\":false,\
            \"cluster_name\":\"c\",\"cluster_id\":\"i\",\"storage_type\":\"inmem\"}\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}
