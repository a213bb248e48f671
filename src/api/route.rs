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

/// Puts a key name into its endpoint.
type Make<'a> = fn(&'a str) -> Endpoint<'a>;

fn transit<'a>(method: Method, rest: &'a str) -> Result<Endpoint<'a>, Fault> {
    let writes = matches!(method, Method::Post | Method::Put);
    if writes && rest.ends_with('/') {
        return Err(Fault::new(400, "cannot write to a path ending in '/'"));
    }
    let (make, served, name): (Make<'a>, bool, &'a str) =
        if let Some(name) = rest.strip_prefix("decrypt/") {
            (Endpoint::Decrypt, writes, name)
        } else if let Some(name) = rest.strip_prefix("encrypt/") {
            (Endpoint::Encrypt, writes, name)
        } else if let Some(name) = rest.strip_prefix("keys/") {
            (Endpoint::Key, writes || method == Method::Get, name)
        } else {
            return Err(Fault::unsupported_path());
        };
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
    Ok(make(name))
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
            path_form: crate::wire::http::PathForm::Plain,
            namespace: crate::wire::http::Namespace::Absent,
            server_timing: false,
            merge_patch: None,
        }
    }

    #[test]
    fn paths_and_methods_meet_their_endpoint() {
        use Method::{Get, Head as HeadMethod, Post, Put};
        for (method, path, want) in [
            (Post, "/v1/transit/encrypt/k1", Endpoint::Encrypt("k1")),
            (Put, "/v1/transit/decrypt/a.b-c", Endpoint::Decrypt("a.b-c")),
            (Post, "/v1/transit/keys/k", Endpoint::Key("k")),
            (Get, "/v1/transit/keys/k", Endpoint::Key("k")),
            (Get, "/v1/sys/health", Endpoint::Health),
            (HeadMethod, "/v1/sys/health", Endpoint::Health),
        ] {
            let found = route(&head(method, path));
            assert_eq!(found, Ok(want), "{method:?} {path}");
        }
    }

    const OPERATION: &str = "1 error occurred:\n\t* unsupported operation\n\n";
    const PATH: &str = "1 error occurred:\n\t* unsupported path\n\n";

    #[test]
    fn other_paths_and_methods_meet_their_refusal() {
        use Method::{Delete, Get, Head as HeadMethod, List, Options, Other, Patch, Post};
        let nowhere =
            |path: &str| format!("no handler for route \"{path}\". route entry not found.");
        let (mount, root) = (nowhere("nomount/decrypt/k1"), nowhere(""));
        let internal = "cannot handle internal-only request operation";
        for (method, path, status, text) in [
            (Get, "/v1/transit/decrypt/k1", 405, OPERATION),
            (Delete, "/v1/transit/encrypt/k1", 405, OPERATION),
            (HeadMethod, "/v1/transit/encrypt/k1", 405, OPERATION),
            (Patch, "/v1/transit/encrypt/k1", 400, "mime: no media type"),
            (List, "/v1/transit/encrypt/k1", 404, PATH),
            (Other, "/v1/transit/encrypt/k1", 405, ""),
            (Options, "/v1/transit/encrypt/k1", 400, internal),
            (Post, "/v1/transit/foo/k1", 404, PATH),
            (Post, "/v1/transit/decrypt/a/b", 404, PATH),
            (Post, "/v1/transit/decrypt", 404, PATH),
            (Post, "/v1/transit/decrypt/a%20b", 404, PATH),
            (Post, "/v1/transit/decrypt/-a", 404, PATH),
            (Post, "/v1/nomount/decrypt/k1", 404, mount.as_str()),
            (Post, "/transit/decrypt/k1", 404, ""),
            (Post, "/v2/transit/decrypt/k1", 404, ""),
            (Get, "/v1", 404, ""),
            (Get, "/v1/", 404, root.as_str()),
        ] {
            let want = Fault::new(status, text.to_owned());
            assert_eq!(route(&head(method, path)), Err(want), "{method:?} {path}");
        }
        let slash = route(&head(Post, "/v1/transit/decrypt/k1/"));
        let want = Fault::new(400, "cannot write to a path ending in '/'");
        assert_eq!(slash, Err(want));
    }
}
