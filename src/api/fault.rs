//! Every refusal and failure as the HTTP answer it becomes, decided here once.
//!
//! Texts are OpenBao's to the letter where it has one, since clients match on them; where it has
//! none the text says what failed and what to do. Must never be true: a secret in a text.

use std::borrow::Cow;

use crate::metrics::Reason;
use crate::quota::Over;
use crate::wire::http::percent_decode;
use crate::wire::transit::Refusal;

/// An answer other than success.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// HTTP status.
    pub status: u16,
    /// The one text of `errors`; empty means `{"errors":[]}`.
    pub text: Cow<'static, str>,
    /// Seconds for `Retry-After`.
    pub retry_after_s: Option<u32>,
    /// `Location`: then the answer has no body.
    pub location: Option<String>,
    /// What it is counted by, where the request's form is not to blame.
    pub reason: Option<Reason>,
}

impl Fault {
    /// A fault with a fixed or made text.
    pub fn new(status: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            text: text.into(),
            retry_after_s: None,
            location: None,
            reason: None,
        }
    }

    /// What it is counted by.
    #[must_use]
    pub fn because(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// The client may try again after `seconds`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The client is sent elsewhere, with the same method and body.
    pub fn redirect(location: String) -> Self {
        Self {
            location: Some(location),
            ..Self::new(307, "")
        }
    }

    /// Nothing is there: 404 without a text.
    pub fn absent() -> Self {
        Self::new(404, "")
    }

    /// The role does not allow it (or the key is not the role's to see).
    pub fn permission_denied() -> Self {
        Self::new(403, "1 error occurred:\n\t* permission denied\n\n")
    }

    /// A path this mount does not have.
    pub fn unsupported_path() -> Self {
        Self::new(404, "1 error occurred:\n\t* unsupported path\n\n")
    }

    /// A path outside every mount.
    pub fn no_handler(path: &str) -> Self {
        let decoded = percent_decode(path.as_bytes());
        // A path that is no UTF-8 stands as it was sent; Go shows its bytes.
        let shown = match decoded {
            Some(bytes) if path.contains('%') && std::str::from_utf8(&bytes).is_err() => {
                format!("\"{}\"", bytes.escape_ascii())
            }
            _ => format!("{path:?}"),
        };
        Self::new(
            404,
            format!("no handler for route {shown}. route entry not found."),
        )
    }

    /// A method this path does not have.
    pub fn unsupported_operation() -> Self {
        Self::new(405, "1 error occurred:\n\t* unsupported operation\n\n")
    }

    /// Decrypt of a key that does not exist.
    pub fn key_not_found() -> Self {
        Self::new(400, "encryption key not found")
    }

    /// Ciphertext, associated data and key do not belong together.
    pub fn authentication_failed() -> Self {
        Self::new(400, "cipher: message authentication failed")
    }

    /// A case this program holds impossible; better a 500 than a wrong answer.
    pub fn internal(text: &'static str) -> Self {
        Self::new(500, text)
    }

    /// A field that is no base64 where Transit answers 400 with Go's text.
    pub fn base64(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, text)
    }

    /// `associated_data` that is no base64: Transit's 500. `text` is the part that batch items carry.
    pub fn associated_data(go_text: &str) -> Self {
        Self::new(
            500,
            format!("unable to get associated_data/additional_data from factory[0]: {go_text}"),
        )
    }

    /// How a single (not batched) request words this fault: Transit wraps its 500s.
    #[must_use]
    pub fn of_single_request(self) -> Self {
        if self.status == 500 && self.text.starts_with("unable to get associated_data") {
            return Self::new(500, format!("1 error occurred:\n\t* {}\n\n", self.text));
        }
        self
    }
}

impl From<Over> for Fault {
    fn from(over: Over) -> Self {
        match over {
            Over::Rate {
                limit,
                retry_after_s,
            } => Self::new(
                429,
                format!(
                    "more than {limit} operations a second from one certificate and address (kms.limit.rate)"
                ),
            )
            .retry_after(retry_after_s)
            .because(Reason::RateLimit),
            Over::Inflight { limit } => Self::new(
                429,
                format!(
                    "more than {limit} operations of one certificate and address wait for the HSM (kms.limit.inflight)"
                ),
            )
            .retry_after(1)
            .because(Reason::InflightLimit),
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status, refusal.text)
    }
}
