use super::*;
use crate::wire::http::{Progress, Request, RequestDecoder};

mod order;
mod paths;

/// Decodes a request without a body and hands it to `see`.
fn with_request<R>(line: &str, headers: &str, see: impl FnOnce(&Request<'_>) -> R) -> R {
    let mut input = format!("{line} HTTP/1.1\r\nHost: h\r\n{headers}\r\n").into_bytes();
    match RequestDecoder::default().step(&mut input, 1024) {
        Ok(Progress::Request(request, _)) => see(&request),
        other => panic!("{line}: {other:?}"),
    }
}

/// The endpoint in its debug form, or status, text and location of the refusal.
fn routed(line: &str, headers: &str) -> Result<String, (u16, String)> {
    with_request(line, headers, |request| match route(&request.head) {
        Ok(endpoint) => Ok(format!("{endpoint:?}")),
        Err(Refused { fault, .. }) => {
            let text = fault.location.unwrap_or(fault.text.into_owned());
            Err((fault.status, text))
        }
    })
}

const OPERATION: &str = "1 error occurred:\n\t* unsupported operation\n\n";
const PATH: &str = "1 error occurred:\n\t* unsupported path\n\n";
const SLASH: &str = "cannot write to a path ending in '/'";
const INTERNAL: &str = "cannot handle internal-only request operation";

#[test]
fn paths_and_methods_meet_their_endpoint() {
    for (line, want) in [
        ("POST /v1/transit/encrypt/k1", "Encrypt(\"k1\")"),
        ("PUT /v1/transit/decrypt/a.b-c_d", "Decrypt(\"a.b-c_d\")"),
        ("POST /v1/transit/rewrap/K", "Rewrap(\"K\")"),
        (
            "POST /v1/transit/datakey/plaintext/k",
            "Datakey(Some(Plaintext), \"k\")",
        ),
        (
            "PUT /v1/transit/datakey/wrapped/k",
            "Datakey(Some(Wrapped), \"k\")",
        ),
        ("POST /v1/transit/datakey/foo/k", "Datakey(None, \"k\")"),
        (
            "POST /v1/transit/datakey/Plaintext/k",
            "Datakey(None, \"k\")",
        ),
        ("POST /v1/transit/keys/k", "CreateKey(\"k\")"),
        ("PUT /v1/transit/keys/k", "CreateKey(\"k\")"),
        ("GET /v1/transit/keys/k", "ReadKey(\"k\")"),
        ("GET /v1/transit/keys/k?list=false", "ReadKey(\"k\")"),
        ("DELETE /v1/transit/keys/k", "DeleteKey(\"k\")"),
        ("POST /v1/transit/keys/k/rotate", "RotateKey(\"k\")"),
        ("PUT /v1/transit/keys/k/config", "ConfigKey(\"k\")"),
        ("LIST /v1/transit/keys", "ListKeys"),
        ("LIST /v1/transit/keys/", "ListKeys"),
        ("LIST /v1/transit/keys?list=nonsense", "ListKeys"),
        ("GET /v1/transit/keys?list=true", "ListKeys"),
        ("GET /v1/transit/keys/?list=1", "ListKeys"),
        ("GET /v1/transit/keys?list=%74&after=k1&limit=1", "ListKeys"),
        ("GET /v1/sys/health", "Health"),
        ("GET /v1/sys/health?", "Health"),
        ("GET /v1/sys/health?list=1", "Health"),
        ("HEAD /v1/sys/health", "Health"),
        ("GET /v1/sys/%68ealth", "Health"),
        ("GET https://h:8443/v1/sys/health", "Health"),
        ("GET /v1/sys/seal-status", "About(SealStatus)"),
        ("GET /v1/sys/init", "About(Init)"),
        ("GET /v1/sys/leader", "About(Leader)"),
        ("POST /v1/auth/cert/login", "About(Login)"),
        ("PUT /v1/auth/cert/login", "About(Login)"),
        ("GET /v1/auth/token/lookup-self", "About(LookupSelf)"),
        ("POST /v1/auth/token/lookup-self", "About(LookupSelf)"),
        ("PUT /v1/auth/token/renew-self", "About(RenewSelf)"),
        ("POST /v1/auth/token/revoke-self", "About(RevokeSelf)"),
    ] {
        assert_eq!(routed(line, ""), Ok(want.to_owned()), "{line}");
    }
}

/// Method and path, status, text: as OpenBao 2.7.2 answers a root token.
const METHODS: &[(&str, u16, &str)] = &[
    ("GET /v1/transit/decrypt/k1", 405, OPERATION),
    ("DELETE /v1/transit/encrypt/k1", 405, OPERATION),
    ("HEAD /v1/transit/encrypt/k1", 405, OPERATION),
    ("PATCH /v1/transit/encrypt/k1", 400, "mime: no media type"),
    ("LIST /v1/transit/encrypt/k1", 404, PATH),
    ("SCAN /v1/transit/encrypt/k1", 404, PATH),
    ("GET /v1/transit/encrypt/k1?list=true", 404, PATH),
    ("GET /v1/transit/encrypt/k1?list=", 405, OPERATION),
    ("GET /v1/transit/encrypt/k1?list=yes", 400, ""),
    ("FOO /v1/transit/encrypt/k1", 405, ""),
    ("OPTIONS /v1/transit/encrypt/k1", 400, INTERNAL),
    ("GET /v1/transit/rewrap/k1", 405, OPERATION),
    ("GET /v1/transit/datakey/plaintext/k1", 405, OPERATION),
    ("DELETE /v1/transit/datakey/foo/k1", 405, OPERATION),
    ("LIST /v1/transit/datakey/plaintext/k1", 404, PATH),
    ("HEAD /v1/transit/keys/k1", 405, OPERATION),
    ("LIST /v1/transit/keys/k1", 404, PATH),
    ("GET /v1/transit/keys/k1?list=true", 404, PATH),
    ("GET /v1/transit/keys/k1?list=tRuE", 400, ""),
    ("GET /v1/transit/keys", 405, OPERATION),
    ("GET /v1/transit/keys/", 405, OPERATION),
    ("GET /v1/transit/keys?list=false", 405, OPERATION),
    ("GET /v1/transit/keys?list=true;x", 405, OPERATION),
    ("GET /v1/transit/keys?list=false&list=true", 405, OPERATION),
    ("GET /v1/transit/keys?List=true", 405, OPERATION),
    ("GET /v1/transit/keys?list=+true", 400, ""),
    ("POST /v1/transit/keys", 405, OPERATION),
    ("DELETE /v1/transit/keys/", 405, OPERATION),
    ("SCAN /v1/transit/keys", 405, OPERATION),
    ("SCAN /v1/transit/keys/", 405, OPERATION),
    ("GET /v1/transit/keys/r1/rotate", 405, OPERATION),
    ("DELETE /v1/transit/keys/r1/rotate", 405, OPERATION),
    ("LIST /v1/transit/keys/r1/config", 404, PATH),
    ("GET /v1/transit/keys/r1/config", 405, OPERATION),
    ("POST /v1/sys/health", 405, ""),
    ("OPTIONS /v1/sys/health", 405, ""),
    ("LIST /v1/sys/seal-status", 405, ""),
    ("HEAD /v1/sys/leader", 405, ""),
    ("FOO /v1/sys/init", 405, ""),
    ("PUT /v1/sys/init", 400, "Vault is already initialized"),
    ("GET /v1/sys/health?list=x", 400, ""),
    ("GET /v1/auth/cert/login", 405, "unsupported operation"),
    ("DELETE /v1/auth/cert/login", 405, "unsupported operation"),
    ("LIST /v1/auth/cert/login", 404, PATH),
    ("DELETE /v1/auth/token/lookup-self", 405, OPERATION),
    ("GET /v1/auth/token/renew-self", 405, OPERATION),
    ("GET /v1/auth/token/revoke-self", 405, OPERATION),
    ("LIST /v1/auth/token/renew-self", 404, PATH),
];

#[test]
fn wrong_methods_meet_openbaos_refusals() {
    for (line, status, text) in METHODS {
        let want = Err((*status, (*text).to_owned()));
        assert_eq!(routed(line, ""), want, "{line}");
    }
}

#[test]
fn left_out_endpoints_say_so() {
    for (line, endpoint) in [
        ("POST /v1/transit/sign/k1", "sign"),
        ("POST /v1/transit/sign/k1/sha2-256", "sign"),
        ("PUT /v1/transit/verify/k1", "verify"),
        ("POST /v1/transit/hmac/k1/sha2-256", "hmac"),
        ("POST /v1/transit/hash", "hash"),
        ("POST /v1/transit/hash/sha2-256", "hash"),
        ("POST /v1/transit/random", "random"),
        ("POST /v1/transit/random/all/32", "random"),
        ("GET /v1/transit/export/encryption-key/k1", "export"),
        ("GET /v1/transit/export/encryption-key/k1/1", "export"),
        ("GET /v1/transit/byok-export/k1/k2", "byok-export"),
        ("GET /v1/transit/backup/k1", "backup"),
        ("POST /v1/transit/restore", "restore"),
        ("POST /v1/transit/restore/k1", "restore"),
        ("GET /v1/transit/wrapping_key", "wrapping_key"),
        ("GET /v1/transit/cache-config", "cache-config"),
        ("POST /v1/transit/config/keys", "config/keys"),
        ("POST /v1/transit/keys/k1/import", "keys/:name/import"),
        (
            "POST /v1/transit/keys/k1/import_version",
            "keys/:name/import_version",
        ),
        ("POST /v1/transit/keys/k1/trim", "keys/:name/trim"),
        (
            "DELETE /v1/transit/keys/k1/soft-delete",
            "keys/:name/soft-delete",
        ),
        (
            "POST /v1/transit/keys/k1/soft-delete-restore",
            "keys/:name/soft-delete-restore",
        ),
        ("POST /v1/transit/keys/k1/csr", "keys/:name/csr"),
        (
            "POST /v1/transit/keys/k1/set-certificate",
            "keys/:name/set-certificate",
        ),
    ] {
        let Err((400, text)) = routed(line, "") else {
            panic!("{line}: {:?}", routed(line, ""));
        };
        let start = format!("transit/{endpoint} is not served by this server: ");
        let why = text.strip_prefix(&start).unwrap_or_default();
        assert!(!why.is_empty(), "{line}: {text}");
    }
}

#[test]
fn left_out_endpoints_keep_their_methods_and_neighbours() {
    for (line, status, text) in [
        ("GET /v1/transit/sign/k1", 405, OPERATION),
        ("POST /v1/transit/export/encryption-key/k1", 405, OPERATION),
        ("POST /v1/transit/backup/k1", 405, OPERATION),
        ("GET /v1/transit/keys/k1/trim", 405, OPERATION),
        ("POST /v1/transit/keys/k1/soft-delete", 405, OPERATION),
        ("DELETE /v1/transit/cache-config", 405, OPERATION),
        ("LIST /v1/transit/sign/k1", 404, PATH),
        ("POST /v1/transit/verify", 404, PATH),
        ("GET /v1/transit/export", 404, PATH),
        ("GET /v1/transit/export/k1", 404, PATH),
        ("GET /v1/transit/cache-config/", 404, PATH),
        ("POST /v1/transit/cache-config/", 400, SLASH),
        ("GET /v1/transit/config", 404, PATH),
        ("POST /v1/transit/import/k1", 404, PATH),
        ("POST /v1/transit/cmac/k1", 404, PATH),
        ("GET /v1/transit/keys/k1/byok-export", 404, PATH),
        ("GET /v1/transit/keys/k1/certificate", 404, PATH),
        ("POST /v1/transit/keys/k1/import/x", 404, PATH),
        ("POST /v1/transit/keys/-k/import", 404, PATH),
    ] {
        let want = Err((status, text.to_owned()));
        assert_eq!(routed(line, ""), want, "{line}");
    }
}
