//! What nodes tell each other: the token that changes with every invalidation, and the message about it.
//!
//! The token is what is polled, the message is what is quick. Tokens are compared for inequality, never for
//! order: a failover may bring an old one back. A message is one line, signed under the cluster's key, and says
//! which token it follows, so that whoever missed one notices with the next.
//!
//! Must never be true: a message believed whose signature is wrong; one longer than [`BULLETIN_BYTES_MAX`]
//! read. Sans-IO.

use std::fmt::Write as _;

use ring::rand::{SecureRandom, SystemRandom};

use super::keyring::{Csk, Keys};
use crate::limits::KEY_NAME_BYTES_MAX;
use crate::secret::cipher;

const LABEL: &[u8] = b"kms-word/1\0";
const VERSION: &str = "kms1";
/// A key's name in hexadecimal digits, and what stands before it.
pub const BULLETIN_BYTES_MAX: usize = 2 * KEY_NAME_BYTES_MAX + 1024;
/// Characters of a token.
pub const TOKEN_BYTES: usize = 65;
/// Characters of a node's name.
pub const NODE_NAME_BYTES_MAX: usize = 80;

/// The state of the cluster's cache, as one value.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Token {
    /// Another one: nothing that the engine keeps from before is looked at again.
    pub generation: [u8; 16],
    /// Another one: some key has changed.
    pub change: [u8; 16],
}

impl Token {
    /// A new cluster's, or one that lost its own.
    pub fn first() -> Option<Self> {
        Some(Self {
            generation: random()?,
            change: random()?,
        })
    }

    /// What follows `self`.
    pub fn next(self, new_generation: bool) -> Option<Self> {
        Some(Self {
            generation: if new_generation {
                random()?
            } else {
                self.generation
            },
            change: random()?,
        })
    }

    /// As the engine keeps it.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(TOKEN_BYTES);
        hex(&mut text, &self.generation);
        text.push('.');
        hex(&mut text, &self.change);
        text
    }

    /// Reads that.
    pub fn read(text: &[u8]) -> Option<Self> {
        let (generation, change) = std::str::from_utf8(text).ok()?.split_once('.')?;
        Some(Self {
            generation: unhex(generation)?.try_into().ok()?,
            change: unhex(change)?.try_into().ok()?,
        })
    }
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}

fn hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.len() % 2 == 1 {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    digits
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

/// What happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Word {
    /// Versions of the key may not be unwrapped any more, or the key is gone.
    Withdrawn(String),
    /// The key has a new version; nothing was withdrawn.
    Grown(String),
    /// An operator wants plaintexts dropped: of this key, or all.
    Purge(Option<String>),
    /// The message with this token was obeyed.
    Done,
    /// The node is there.
    Hello,
    /// The node leaves.
    Bye,
}

impl Word {
    fn parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Withdrawn(key) => ("withdrawn", Some(key)),
            Self::Grown(key) => ("grown", Some(key)),
            Self::Purge(key) => ("purge", key.as_deref()),
            Self::Done => ("done", None),
            Self::Hello => ("hello", None),
            Self::Bye => ("bye", None),
        }
    }

    fn read(kind: &str, key: Option<String>) -> Option<Self> {
        Some(match (kind, key) {
            ("withdrawn", Some(key)) => Self::Withdrawn(key),
            ("grown", Some(key)) => Self::Grown(key),
            ("purge", key) => Self::Purge(key),
            ("done", None) => Self::Done,
            ("hello", None) => Self::Hello,
            ("bye", None) => Self::Bye,
            _ => return None,
        })
    }
}

/// One message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bulletin {
    /// Who says it.
    pub node: String,
    /// What.
    pub word: Word,
    /// The token it brought, or that it answers.
    pub token: Option<Token>,
    /// The token before; `None`: there was none.
    pub previous: Option<Token>,
}

/// Why a message is not believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Disbelief {
    /// No message of this version.
    Malformed,
    /// Signed under a key that this node does not hold.
    OtherKey,
    /// The signature is wrong.
    Forged,
}

impl Bulletin {
    /// The line, signed under `csk`.
    pub fn write(&self, cluster: &str, csk: &Csk) -> String {
        let (kind, key) = self.word.parts();
        let token = |token: Option<Token>| token.map_or("-".to_owned(), |token| token.text());
        let mut body = format!(
            "{} {kind} {} {} ",
            self.node,
            token(self.token),
            token(self.previous)
        );
        match key {
            Some(key) => hex(&mut body, key.as_bytes()),
            None => body.push('-'),
        }
        let mut line = format!("{VERSION} ");
        hex(&mut line, &csk.id());
        line.push(' ');
        hex(&mut line, &signature(csk, cluster, &body));
        line.push(' ');
        line + &body
    }

    /// Reads a line.
    pub fn read(line: &[u8], cluster: &str, keys: &Keys) -> Result<Self, Disbelief> {
        if line.len() > BULLETIN_BYTES_MAX {
            return Err(Disbelief::Malformed);
        }
        let line = std::str::from_utf8(line).map_err(|_| Disbelief::Malformed)?;
        let mut parts = line.splitn(4, ' ');
        let (Some(VERSION), Some(id), Some(shown), Some(body)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Disbelief::Malformed);
        };
        let id = unhex(id).and_then(|id| <[u8; 8]>::try_from(id).ok());
        let (Some(id), Some(shown)) = (id, unhex(shown)) else {
            return Err(Disbelief::Malformed);
        };
        let csk = keys.by_id(id).ok_or(Disbelief::OtherKey)?;
        let shown = crate::secret::SecretBytes::new(shown);
        if !shown.ct_eq(&signature(csk, cluster, body)) {
            return Err(Disbelief::Forged);
        }
        read_body(body).ok_or(Disbelief::Malformed)
    }
}

fn signature(csk: &Csk, cluster: &str, body: &str) -> [u8; 32] {
    let length = u32::try_from(cluster.len()).unwrap_or(u32::MAX);
    let parts = [
        LABEL,
        &length.to_be_bytes(),
        cluster.as_bytes(),
        body.as_bytes(),
    ];
    csk.signing().expose(|key| cipher::mac(key, &parts))
}

fn read_body(body: &str) -> Option<Bulletin> {
    let parts: Vec<&str> = body.split(' ').collect();
    let &[node, kind, token, previous, key] = parts.as_slice() else {
        return None;
    };
    if node.is_empty() || node.len() > NODE_NAME_BYTES_MAX {
        return None;
    }
    let optional = |text: &str| match text {
        "-" => Some(None),
        text => Token::read(text.as_bytes()).map(Some),
    };
    let key = match key {
        "-" => None,
        key => Some(String::from_utf8(unhex(key)?).ok()?),
    };
    Some(Bulletin {
        node: node.to_owned(),
        word: Word::read(kind, key)?,
        token: optional(token)?,
        previous: optional(previous)?,
    })
}
