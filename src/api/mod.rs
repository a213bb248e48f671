//! From an HTTP request to a closed [`Command`], and from an outcome to an HTTP answer.
//!
//! One file an endpoint group. Must never be true: a path that reaches the engine without being a
//! [`Command`]; an error that becomes an HTTP answer anywhere but in [`fault`]. Called by `engine`
//! and `server`.

pub mod auth;
mod crypt;
pub mod fault;
mod keys;
pub mod reply;
mod route;

pub use fault::Fault;

use std::borrow::Cow;

use crate::wire::http::{Method, Request};
use crate::wire::transit::{
    ConfigBody, CryptBody, DatakeyBody, IgnoredBody, KeyBody, ListQuery, ignored_body, token_body,
};

/// Everything a client may ask. Key names obey Transit's rule `\w(([\w-.]+)?\w)?`.
pub enum Command<'a> {
    /// Wrap: `POST|PUT /v1/transit/encrypt/:key`.
    Encrypt {
        /// Key name.
        key: &'a str,
        /// One item or a batch.
        body: CryptBody<'a>,
    },
    /// Unwrap: `POST|PUT /v1/transit/decrypt/:key`.
    Decrypt {
        /// Key name.
        key: &'a str,
        /// One item or a batch.
        body: CryptBody<'a>,
    },
    /// Unwrap and wrap anew: `POST|PUT /v1/transit/rewrap/:key`.
    Rewrap {
        /// Key name.
        key: &'a str,
        /// One item or a batch of ciphertexts.
        body: CryptBody<'a>,
    },
    /// A new data key: `POST|PUT /v1/transit/datakey/{plaintext,wrapped}/:key`.
    Datakey {
        /// Key name.
        key: &'a str,
        /// Whether the plaintext is answered too.
        plaintext: bool,
        /// Size and version.
        body: DatakeyBody<'a>,
    },
    /// `LIST /v1/transit/keys`, `GET /v1/transit/keys?list=true`.
    ListKeys(ListQuery<'a>),
    /// `POST|PUT /v1/transit/keys/:key/rotate`.
    RotateKey {
        /// Key name.
        key: &'a str,
        /// Nothing but warnings.
        body: IgnoredBody,
    },
    /// `POST|PUT /v1/transit/keys/:key/config`.
    ConfigKey {
        /// Key name.
        key: &'a str,
        /// What becomes of it.
        body: ConfigBody,
    },
    /// `DELETE /v1/transit/keys/:key`.
    DeleteKey {
        /// Key name.
        key: &'a str,
    },
    /// `POST|PUT /v1/transit/keys/:key`.
    CreateKey {
        /// Key name.
        key: &'a str,
        /// Type and options.
        body: KeyBody<'a>,
    },
    /// `GET /v1/transit/keys/:key`.
    ReadKey {
        /// Key name.
        key: &'a str,
        /// Ready texts for `warnings`.
        warnings: Vec<String>,
    },
    /// `GET|HEAD /v1/sys/health`.
    Health,
    /// What needs no key and no HSM: who the client is, and what this server is.
    About(About),
    /// A login under a name: `POST|PUT /v1/auth/cert/login` with a `name` that is not empty.
    LoginAs {
        /// Whom the client takes itself for: a role or an alias.
        name: Cow<'a, str>,
    },
}

impl Command<'_> {
    /// The key that it is about, if it is about one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Decrypt { key, .. }
            | Self::Encrypt { key, .. }
            | Self::Rewrap { key, .. }
            | Self::Datakey { key, .. }
            | Self::RotateKey { key, .. }
            | Self::ConfigKey { key, .. }
            | Self::DeleteKey { key }
            | Self::CreateKey { key, .. }
            | Self::ReadKey { key, .. } => Some(key),
            Self::ListKeys(_) | Self::Health | Self::About(_) | Self::LoginAs { .. } => None,
        }
    }
}

/// Endpoints that clients ask before and around the work. Open to every principal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum About {
    /// `POST|PUT /v1/auth/cert/login`, without a name or with an empty one.
    Login,
    /// `GET|POST|PUT /v1/auth/token/lookup-self`.
    LookupSelf,
    /// `POST|PUT /v1/auth/token/renew-self`.
    RenewSelf,
    /// `POST|PUT /v1/auth/token/revoke-self`.
    RevokeSelf,
    /// `GET /v1/sys/seal-status`.
    SealStatus,
    /// `GET /v1/sys/init`.
    Init,
    /// `GET /v1/sys/leader`.
    Leader,
}

impl About {
    /// The fields that the endpoint knows in a body.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Login => &["name"],
            Self::LookupSelf => &["token"],
            Self::RenewSelf => &["increment", "token"],
            Self::RevokeSelf | Self::SealStatus | Self::Init | Self::Leader => &[],
        }
    }
}

/// Decides what `request` asks for, body included.
pub fn parse<'a>(request: &Request<'a>) -> Result<Command<'a>, Fault> {
    use route::Endpoint;
    let endpoint = match route::route(&request.head) {
        Ok(endpoint) => endpoint,
        Err(refused) => return Err(refuse(refused, request)),
    };
    match endpoint {
        Endpoint::Decrypt(key) => crypt::decrypt(key, request),
        Endpoint::Encrypt(key) => crypt::encrypt(key, request),
        Endpoint::Rewrap(key) => crypt::rewrap(key, request),
        Endpoint::Datakey(kind, key) => crypt::datakey(kind, key, request),
        Endpoint::ListKeys => keys::list(request),
        Endpoint::CreateKey(key) => keys::create(key, request),
        Endpoint::ReadKey(key) => keys::read(key, request),
        Endpoint::DeleteKey(key) => Ok(Command::DeleteKey { key }),
        Endpoint::RotateKey(key) => keys::rotate(key, request),
        Endpoint::ConfigKey(key) => keys::config(key, request),
        Endpoint::Health => Ok(Command::Health),
        Endpoint::About(about) => {
            if matches!(request.head.method, Method::Post | Method::Put) {
                let body = token_body(request.body, request.head.form, about.fields())?;
                if let (About::Login, Some(name)) = (about, body.name) {
                    let name = Cow::Owned(name.as_str().to_owned());
                    return Ok(Command::LoginAs { name });
                }
            }
            Ok(Command::About(about))
        }
    }
}

/// The refusal, or that of the body where the body comes first.
#[cold]
fn refuse(refused: route::Refused, request: &Request<'_>) -> Fault {
    if refused.body_first
        && let Err(refusal) = ignored_body(request.body, request.head.form, &[])
    {
        return refusal.into();
    }
    refused.fault
}
