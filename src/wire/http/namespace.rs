//! `X-Vault-Namespace`: this server has the root namespace only.

/// The namespace a request names.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Namespace {
    /// No header, or an empty one.
    #[default]
    Absent,
    /// `root` or `/`, with any slashes around.
    Root,
    /// Any other.
    Other,
}

impl Namespace {
    /// What the header's value names.
    pub(super) fn of(value: &[u8]) -> Self {
        let mut name = value;
        while let [b'/', rest @ ..] | [rest @ .., b'/'] = name {
            name = rest;
        }
        match name {
            _ if value.is_empty() => Self::Absent,
            b"" | b"root" => Self::Root,
            _ => Self::Other,
        }
    }
}
