//! What the back end's refusals mean: whose fault each is, in words that an operator can act on.
//!
//! Called by `session` and `keys`. Must never be true: a client blamed for the site's settings; a refusal
//! of one item taken for the fault of another.

use std::sync::Arc;

use super::super::HsmError;
use super::super::batch::clean;
use super::http::CallError;

/// What helps where the token may do too little.
const POLICY_HINT: &str = "kms check --vault-policy prints what must be allowed";

/// Why one request was not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// The exchange failed; the connection is finished.
    Call(CallError),
    /// The server cannot serve now; another may, or it later.
    Down(String),
    /// The answer cannot be used; the connection is finished.
    Protocol(&'static str),
    /// The jobs fail, the connection stands.
    Jobs(HsmError),
    /// As that, for the token or its policy does not allow it: one line, with the remedy.
    Denied(Arc<str>),
}

impl From<CallError> for Fault {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<HsmError> for Fault {
    fn from(error: HsmError) -> Self {
        Self::Jobs(error)
    }
}

impl Fault {
    /// Why the connection must be dropped, if it must.
    pub(super) fn broken(&self) -> Option<String> {
        match self {
            Self::Call(error) => Some(error.to_string()),
            Self::Down(why) => Some(why.clone()),
            Self::Protocol(why) => Some((*why).to_owned()),
            Self::Jobs(_) | Self::Denied(_) => None,
        }
    }

    /// Whether nothing can have been done.
    pub(super) fn is_undone(&self) -> bool {
        matches!(self, Self::Down(_))
    }

    /// Whether the same may be asked again where nothing is changed by it.
    pub(super) fn is_repeatable(&self) -> bool {
        match self {
            Self::Call(CallError::Dead { answering, .. }) => !answering,
            Self::Down(_) => true,
            _ => false,
        }
    }

    /// What a job is told that is not asked again.
    pub(super) fn blame(&self, place: &str) -> HsmError {
        let away = |why: &str| HsmError::Unavailable(format!("{place}: {why}").into());
        match self {
            Self::Call(CallError::Dead { why, .. }) | Self::Down(why) => away(why),
            Self::Call(CallError::TimedOut) => HsmError::TimedOut,
            Self::Call(CallError::Unusable(why)) | Self::Protocol(why) => HsmError::Protocol(why),
            Self::Call(CallError::NoLockedMemory) => HsmError::NoLockedMemory,
            Self::Jobs(error) => error.clone(),
            Self::Denied(why) => HsmError::Declined(Arc::clone(why)),
        }
    }
}

/// What an answer of `status`, with these `errors`, to `method` on `path` means before its content is
/// looked at. The status again: the content decides.
pub(super) fn judge(
    status: u16,
    errors: Option<&[String]>,
    (method, path): (&str, &str),
    location: Option<&str>,
) -> Result<u16, Fault> {
    // What the Vault says is cut, what helps is not.
    let said = clean(&errors.unwrap_or_default().join("; "));
    let declined = |text: String| Err(Fault::Jobs(HsmError::Declined(text.into())));
    match status {
        300..=399 => Err(Fault::Down(format!(
            "it redirects to {}, which is refused: name the active server in kms.hsm.server.url",
            location.unwrap_or("nowhere")
        ))),
        503 if said.contains("sealed") => {
            Err(Fault::Down("the Vault is sealed: unseal it".to_owned()))
        }
        429 => Err(Fault::Jobs(HsmError::Busy)),
        501..=599 => Err(Fault::Down(format!("it answers HTTP {status} {said}"))),
        // Beyond here a Vault answers in JSON.
        204 => Ok(status),
        _ if errors.is_none() => Err(Fault::Protocol(
            "its answer is no JSON: is kms.hsm.server.url a Vault's?",
        )),
        403 => Err(Fault::Denied(denied(method, path, &said).into())),
        404 if said.contains("namespace") => declined(format!(
            "the Vault has no such namespace ({said}): correct kms.hsm.vault.namespace"
        )),
        404 if said.contains("no handler for route") || said.contains("unsupported path") => {
            declined(format!(
                "the Vault has no Transit engine there ({said}): enable it, or correct kms.hsm.vault.mount"
            ))
        }
        200..=299 | 400 | 404 | 413 | 500 => Ok(status),
        _ => declined(format!(
            "the Vault answers HTTP {status} to {method} {path}: {said}"
        )),
    }
}

fn denied(method: &str, path: &str, said: &str) -> String {
    let remedy = match method {
        "DELETE" => "deleting needs a stanza of its own",
        _ => "the token is not good (any more), or its policy does not allow that",
    };
    format!("the Vault refuses {method} {path} ({said}): {remedy}; {POLICY_HINT}")
}

/// What the text of a failed item, or of a refused request, means.
pub(super) fn of_text(text: &str) -> HsmError {
    match text {
        "encryption key not found" => HsmError::ObjectNotFound,
        _ if text.contains("message authentication failed")
            || text.contains("decryption error") =>
        {
            HsmError::AuthenticationFailed
        }
        _ => HsmError::Rejected(clean(text)),
    }
}

/// What a request means to its jobs that was refused as a whole with `status`.
pub(super) fn of_whole(status: u16, said: &str) -> HsmError {
    match status {
        400 => of_text(said),
        200..=299 => HsmError::Protocol("its answer holds no results"),
        _ => HsmError::Declined(clean(&format!("the Vault answers HTTP {status}: {said}"))),
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    /// Name, status, errors of the answer if it is JSON, what comes of it.
    const STATUSES: &[(&str, u16, Option<&[&str]>, &str)] = &[
        ("done", 200, Some(&[]), "Ok(200)"),
        ("done without words", 204, None, "Ok(204)"),
        ("bad input", 400, Some(&["x"]), "Ok(400)"),
        ("nothing there", 404, Some(&[]), "Ok(404)"),
        ("internal", 500, Some(&["x"]), "Ok(500)"),
        ("web page", 200, None, "Protocol(\"its answer is no JSON"),
        (
            "web page of an error",
            404,
            None,
            "Protocol(\"its answer is no JSON",
        ),
        (
            "denied",
            403,
            Some(&["permission denied"]),
            "kms check --vault-policy",
        ),
        (
            "namespace",
            404,
            Some(&["namespace not found"]),
            "correct kms.hsm.vault.namespace",
        ),
        (
            "mount",
            404,
            Some(&["no handler for route \"x\". route entry not found."]),
            "correct kms.hsm.vault.mount",
        ),
        (
            "sealed",
            503,
            Some(&["Vault is sealed"]),
            "Down(\"the Vault is sealed",
        ),
        ("proxy", 502, None, "Down(\"it answers HTTP 502"),
        (
            "rate",
            429,
            Some(&["rate limit quota exceeded"]),
            "Jobs(Busy)",
        ),
        (
            "redirect",
            307,
            None,
            "it redirects to https://b/, which is refused",
        ),
        (
            "teapot",
            418,
            Some(&["x"]),
            "Declined(\"the Vault answers HTTP 418",
        ),
    ];

    #[test]
    fn every_status_is_somebodys() {
        let at = ("POST", "/v1/transit/decrypt/k");
        for (name, status, errors, want) in STATUSES {
            let errors: Option<Vec<String>> =
                errors.map(|texts| texts.iter().map(|text| (*text).to_owned()).collect());
            let got = judge(*status, errors.as_deref(), at, Some("https://b/"));
            let got = format!("{got:?}");
            assert!(got.contains(want), "{name}: {got}");
        }
        let delete = judge(403, Some(&[]), ("DELETE", "/v1/transit/keys/k"), None);
        assert!(format!("{delete:?}").contains("a stanza of its own"));
        let long = "1 error occurred:\n\t* permission denied\n\n".repeat(99);
        let Err(Fault::Denied(why)) = judge(403, Some(&[long]), at, None) else {
            panic!("it is denied");
        };
        assert!(why.ends_with(POLICY_HINT), "the whole remedy: {why}");
        assert!(why.len() < 500 && !why.contains('\n'), "one line: {why}");
    }

    #[test]
    fn texts_are_the_clients_or_not() {
        for (text, want) in [
            ("encryption key not found", HsmError::ObjectNotFound),
            (
                "cipher: message authentication failed",
                HsmError::AuthenticationFailed,
            ),
            (
                "chacha20poly1305: message authentication failed",
                HsmError::AuthenticationFailed,
            ),
            (
                "crypto/rsa: decryption error",
                HsmError::AuthenticationFailed,
            ),
            (
                "refusing to use soft-deleted key",
                HsmError::Rejected("refusing to use soft-deleted key".into()),
            ),
        ] {
            assert_eq!(of_text(text), want, "{text}");
        }
    }
}
