//! Paths and methods: which endpoint, or which of OpenBao's refusals, in the order in which its
//! layers make them: Go's server, the mux, the decoding of the body, the router, the mount.
//!
//! Must never be true: an allocation for an encrypt or decrypt that is served; a path of Transit's
//! that is silently something else.

mod left_out;
#[cfg(test)]
mod tests;
mod transit;

use crate::wire::http::{self, Head, Method, Namespace, PathForm};
use crate::wire::transit::wants_list;

use super::{About, Fault};

/// The content type of a PATCH.
const MERGE_PATCH: &str = "application/merge-patch+json";

/// A path that is served, with the key name in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Endpoint<'a> {
    Encrypt(&'a str),
    Decrypt(&'a str),
    Rewrap(&'a str),
    /// The kind is `None` where it is neither `plaintext` nor `wrapped`.
    Datakey(Option<Datakey>, &'a str),
    ListKeys,
    CreateKey(&'a str),
    ReadKey(&'a str),
    DeleteKey(&'a str),
    RotateKey(&'a str),
    ConfigKey(&'a str),
    Health,
    About(About),
}

/// What a data key's answer holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Datakey {
    Plaintext,
    Wrapped,
}

/// A request that no endpoint serves.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Refused {
    pub(super) fault: Fault,
    /// OpenBao has decoded the body by then: a body it cannot read is refused first.
    pub(super) body_first: bool,
}

/// What a method asks of a path inside a mount.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Action {
    Read,
    Write,
    Delete,
    List,
    /// Known to OpenBao and served nowhere here: HEAD, PATCH, SCAN of a list.
    Unserved,
    /// SCAN, which like LIST asks for a folder.
    Scan,
}

/// Finds the endpoint and checks the method.
pub(super) fn route<'a>(head: &Head<'a>) -> Result<Endpoint<'a>, Refused> {
    let before_body = |fault| Refused {
        fault,
        body_first: false,
    };
    let path = front(head).map_err(before_body)?;
    if let Some(name) = path.strip_prefix("sys/")
        && let Some(found) = outside_mounts(head, name)
    {
        return found;
    }
    let action = action(head).map_err(before_body)?;
    let writes = matches!(head.method, Method::Post | Method::Put | Method::Patch);
    let after_body = |fault| Refused {
        fault,
        body_first: writes,
    };
    admit(head, path).map_err(after_body)?;
    if writes && path.ends_with('/') {
        return Err(after_body(Fault::new(
            400,
            "cannot write to a path ending in '/'",
        )));
    }
    mount(action, path).map_err(after_body)
}

/// Go's server and the mux: what they refuse or send elsewhere; else the path behind `/v1/`.
fn front<'a>(head: &Head<'a>) -> Result<&'a str, Fault> {
    match head.path_form {
        PathForm::BadEscape => {
            return Err(Fault::new(
                400,
                "invalid URL escape in the path: a percent sign needs two hexadecimal digits",
            ));
        }
        PathForm::Unprintable => {
            return Err(Fault::new(
                400,
                "the path holds a character that cannot be printed",
            ));
        }
        PathForm::Plain | PathForm::Decoded | PathForm::Unclean => {}
    }
    let Some(path) = head.path.strip_prefix("/v1/") else {
        let begins_so = head.path_form == PathForm::Decoded
            && http::percent_decode(head.path.as_bytes())
                .is_some_and(|path| path.starts_with(b"/v1/"));
        return Err(match head.path {
            "/" | "/ui" => Fault::redirect("/ui/".to_owned()),
            // To Go's mux it is another path, which its other checks do not know.
            _ if begins_so => Fault::redirect("/ui/".to_owned()),
            _ => Fault::absent(),
        });
    };
    if head.method == Method::Get {
        wants_list(head.query.unwrap_or_default())?;
    }
    if head.path_form == PathForm::Unclean || path == "sys" {
        let mut location = http::clean_path(head.path);
        if let Some(query) = head.query.filter(|query| !query.is_empty()) {
            location.push('?');
            location.push_str(query);
        }
        return Err(Fault::redirect(location));
    }
    Ok(path)
}

/// The system endpoints that the mux serves itself, without the rules of the mounts.
fn outside_mounts<'a>(head: &Head<'a>, name: &str) -> Option<Result<Endpoint<'a>, Refused>> {
    let (endpoint, in_namespaces) = match name {
        "health" => (Endpoint::Health, false),
        "init" => (Endpoint::About(About::Init), false),
        "seal-status" => (Endpoint::About(About::SealStatus), true),
        "leader" => (Endpoint::About(About::Leader), true),
        _ => return None,
    };
    let (fault, body_first) = match head.method {
        _ if !in_namespaces && head.namespace != Namespace::Absent => (
            Fault::new(400, "operation unavailable in namespaces"),
            false,
        ),
        Method::Get => return Some(Ok(endpoint)),
        Method::Head if endpoint == Endpoint::Health => return Some(Ok(endpoint)),
        Method::Post | Method::Put if name == "init" => {
            (Fault::new(400, "Vault is already initialized"), true)
        }
        _ => (Fault::new(405, ""), false),
    };
    Some(Err(Refused { fault, body_first }))
}

/// What the method asks, or the refusal of one that no mount has.
fn action(head: &Head<'_>) -> Result<Action, Fault> {
    Ok(match head.method {
        Method::Post | Method::Put => Action::Write,
        Method::Get if wants_list(head.query.unwrap_or_default())? => Action::List,
        Method::Get => Action::Read,
        Method::Delete => Action::Delete,
        Method::List => Action::List,
        Method::Scan => Action::Scan,
        Method::Head | Method::Options => Action::Unserved,
        Method::Patch => match head.content_type {
            None => return Err(Fault::new(400, "mime: no media type")),
            Some(kind) if kind.eq_ignore_ascii_case(MERGE_PATCH) => Action::Unserved,
            Some(kind) => {
                let kind = kind.to_ascii_lowercase();
                let text = format!("PATCH requires Content-Type of {MERGE_PATCH}, provided {kind}");
                return Err(Fault::new(415, text));
            }
        },
        Method::Connect | Method::Other => return Err(Fault::new(405, "")),
    })
}

/// What is refused on any path of any mount.
fn admit(head: &Head<'_>, path: &str) -> Result<(), Fault> {
    if head.path_form == PathForm::Decoded && http::has_dot_segment(path) {
        return Err(Fault::new(400, "relative paths not supported"));
    }
    if head.namespace == Namespace::Other {
        return Err(Fault::new(404, "namespace not found"));
    }
    if head.method == Method::Options {
        return Err(Fault::new(
            400,
            "cannot handle internal-only request operation",
        ));
    }
    if head.wrap_ttl {
        return Err(Fault::new(
            400,
            "response wrapping (X-Vault-Wrap-TTL) is not served: the answer would carry plaintext",
        ));
    }
    Ok(())
}

/// The mounts: Transit, and what stands in for those of tokens, certificates and the system.
fn mount(action: Action, path: &str) -> Result<Endpoint<'_>, Fault> {
    let folder = matches!(action, Action::List | Action::Scan);
    if let Some(rest) = path.strip_prefix("transit/") {
        return if folder {
            transit::list(action, rest)
        } else {
            transit::serve(action, rest)
        };
    }
    if let Some(name) = path.strip_prefix("auth/token/") {
        return token(action, folder, name);
    }
    match path {
        "auth/cert/login" if folder => Err(Fault::unsupported_path()),
        "auth/cert/login" if action == Action::Write => Ok(Endpoint::About(About::Login)),
        // A login is refused before there is a token, hence without the frame of the others.
        "auth/cert/login" => Err(Fault::new(405, "unsupported operation")),
        "transit" | "auth/token" | "auth/cert" => Err(Fault::unsupported_path()),
        _ if path.starts_with("sys/") || path.starts_with("auth/cert/") => {
            Err(Fault::unsupported_path())
        }
        _ if folder && !path.ends_with('/') => Err(Fault::no_handler(&format!("{path}/"))),
        _ => Err(Fault::no_handler(path)),
    }
}

fn token<'a>(action: Action, folder: bool, name: &str) -> Result<Endpoint<'a>, Fault> {
    let (about, served) = match name {
        "lookup-self" => (
            About::LookupSelf,
            matches!(action, Action::Read | Action::Write),
        ),
        "renew-self" => (About::RenewSelf, action == Action::Write),
        "revoke-self" => (About::RevokeSelf, action == Action::Write),
        _ => return Err(Fault::unsupported_path()),
    };
    if folder {
        Err(Fault::unsupported_path())
    } else if served {
        Ok(Endpoint::About(about))
    } else {
        Err(Fault::unsupported_operation())
    }
}
