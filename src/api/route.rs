//! Paths and methods: which endpoint, or which of Transit's refusals (openbao-transit 2.9).

use crate::limits::KEY_NAME_BYTES_MAX;
use crate::wire::http::{Head, Method};

use super::Fault;

/// A path that is served, with the key name in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Endpoint<'a> {
    Encrypt(&'a str),
    Decrypt(&'a str),
    Key(&'a str),
    Health,
}

/// Finds the endpoint and checks the method.
pub(super) fn route<'a>(head: &Head<'a>) -> Result<Endpoint<'a>, Fault> {
    let Some(path) = head.path.strip_prefix("/v1/") else {
        return Err(Fault::absent());
    };
    refuse_odd_methods(head.method)?;
    if let Some(rest) = path.strip_prefix("transit/") {
        return transit(head.method, rest);
    }
    match path {
        "sys/health" => match head.method {
            Method::Get | Method::Head => Ok(Endpoint::Health),
            _ => Err(Fault::unsupported_operation()),
        },
        _ => Err(Fault::new(
            404,
            format!("no handler for route \"{path}\". route entry not found."),
        )),
    }
}

/// Methods that no path has.
fn refuse_odd_methods(method: Method) -> Result<(), Fault> {
    match method {
        Method::Options => Err(Fault::new(
            400,
            "cannot handle internal-only request operation",
        )),
        Method::Other => Err(Fault::new(405, "")),
        _ => Ok(()),
    }
}

fn transit<'a>(method: Method, rest: &'a str) -> Result<Endpoint<'a>, Fault> {
    let writes = matches!(method, Method::Post | Method::Put);
    if writes && rest.ends_with('/') {
        return Err(Fault::new(400, "cannot write to a path ending in '/'"));
    }
    let (endpoint, served): (fn(&'a str) -> Endpoint<'a>, bool) = match rest.split_once('/') {
        Some(("encrypt", _)) => (Endpoint::Encrypt, writes),
        Some(("decrypt", _)) => (Endpoint::Decrypt, writes),
        Some(("keys", _)) => (Endpoint::Key, writes || method == Method::Get),
        _ => return Err(Fault::unsupported_path()),
    };
    let name = rest.split_once('/').map_or("", |(_, name)| name);
    if !is_key_name(name) || method == Method::List {
        return Err(Fault::unsupported_path());
    }
    if method == Method::Patch {
        // OpenBao parses the media type before it looks at the path; without the merge type it says so.
        return Err(Fault::new(400, "mime: no media type"));
    }
    if !served {
        return Err(Fault::unsupported_operation());
    }
    Ok(endpoint(name))
}

/// Transit's rule: `\w(([\w-.]+)?\w)?`, ASCII.
fn is_key_name(name: &str) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = name.as_bytes();
    bytes.len() <= KEY_NAME_BYTES_MAX
        && bytes.first().is_some_and(word)
        && bytes.last().is_some_and(word)
        && bytes
            .iter()
            .all(|byte| word(byte) || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: Method, path: &str) -> Head<'_> {
        Head {
            method,
            path,
            query: None,
            keep_alive: true,
            wrap_ttl: false,
            form: false,
        }
    }

    #[test]
    fn paths_and_methods_meet_their_endpoint_or_refusal() {
        use Method::{Delete, Get, Head as HeadMethod, List, Options, Other, Patch, Post, Put};
        let unsupported = Fault::unsupported_operation;
        for (method, path, want) in [
            (Post, "/v1/transit/encrypt/k1", Ok(Endpoint::Encrypt("k1"))),
            (
                Put,
                "/v1/transit/decrypt/a.b-c_d",
                Ok(Endpoint::Decrypt("a.b-c_d")),
            ),
            (Post, "/v1/transit/keys/k", Ok(Endpoint::Key("k"))),
            (Get, "/v1/transit/keys/k", Ok(Endpoint::Key("k"))),
            (Get, "/v1/sys/health", Ok(Endpoint::Health)),
            (HeadMethod, "/v1/sys/health", Ok(Endpoint::Health)),
            (Get, "/v1/transit/decrypt/k1", Err(unsupported())),
            (Delete, "/v1/transit/encrypt/k1", Err(unsupported())),
            (HeadMethod, "/v1/transit/encrypt/k1", Err(unsupported())),
            (
                Patch,
                "/v1/transit/encrypt/k1",
                Err(Fault::new(400, "mime: no media type")),
            ),
            (
                List,
                "/v1/transit/encrypt/k1",
                Err(Fault::unsupported_path()),
            ),
            (Other, "/v1/transit/encrypt/k1", Err(Fault::new(405, ""))),
            (
                Options,
                "/v1/transit/encrypt/k1",
                Err(Fault::new(
                    400,
                    "cannot handle internal-only request operation",
                )),
            ),
            (Post, "/v1/transit/foo/k1", Err(Fault::unsupported_path())),
            (
                Post,
                "/v1/transit/decrypt/a/b",
                Err(Fault::unsupported_path()),
            ),
            (Post, "/v1/transit/decrypt", Err(Fault::unsupported_path())),
            (
                Post,
                "/v1/transit/decrypt/a%20b",
                Err(Fault::unsupported_path()),
            ),
            (
                Post,
                "/v1/transit/decrypt/-a",
                Err(Fault::unsupported_path()),
            ),
            (
                Post,
                "/v1/transit/decrypt/k1/",
                Err(Fault::new(400, "cannot write to a path ending in '/'")),
            ),
            (
                Post,
                "/v1/nomount/decrypt/k1",
                Err(Fault::new(
                    404,
                    "no handler for route \"nomount/decrypt/k1\". route entry not found.",
                )),
            ),
            (Post, "/transit/decrypt/k1", Err(Fault::absent())),
            (Post, "/v2/transit/decrypt/k1", Err(Fault::absent())),
            (Get, "/v1", Err(Fault::absent())),
            (
                Get,
                "/v1/",
                Err(Fault::new(
                    404,
                    "no handler for route \"\". route entry not found.",
                )),
            ),
        ] {
            assert_eq!(route(&head(method, path)), want, "{method:?} {path}");
        }
    }
}
