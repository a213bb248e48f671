//! Where our answers differ from OpenBao's on purpose, each with its reason.

/// How a difference shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rule {
    /// In any answer: `ours` in the body stands for `theirs`.
    Everywhere {
        ours: &'static str,
        theirs: &'static str,
    },
    /// In the rows marked with it, which state our answer.
    OfRow,
}

/// A documented difference.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    pub id: &'static str,
    pub reason: &'static str,
    pub rule: Rule,
}

const fn of_row(id: &'static str, reason: &'static str) -> Difference {
    Difference {
        id,
        reason,
        rule: Rule::OfRow,
    }
}

const fn everywhere(
    id: &'static str,
    ours: &'static str,
    theirs: &'static str,
    reason: &'static str,
) -> Difference {
    Difference {
        id,
        reason,
        rule: Rule::Everywhere { ours, theirs },
    }
}

/// All of them. A test holds the number; README.md tells users.
pub const DIFFERENCES: &[Difference] = &[
    everywhere(
        "performance_standby",
        "\"performance_standby\":false,",
        "",
        "HashiCorp Vault's health has it, and clients with strict structures fail without it",
    ),
    everywhere(
        "supports_derivation",
        "\"supports_derivation\":false",
        "\"supports_derivation\":true",
        "an HSM cannot derive a key per request, so saying true would be untrue",
    ),
    of_row(
        "body limit",
        "1 MiB by default, not 32 MiB: what a client may make the server hold is bounded",
    ),
    of_row(
        "derived keys",
        "an HSM cannot derive a key per request: refused, not quietly made underived",
    ),
    of_row("key types", "only AES-256-GCM is served"),
    of_row("exportable keys", "a master key never leaves the HSM"),
    of_row(
        "left out",
        "signing, hashing, export and the like are not a key server's work",
    ),
    of_row(
        "response wrapping",
        "the wrapped answer would be a plaintext kept for someone else",
    ),
    of_row("token ignored", "the client certificate is the identity"),
    of_row("no user interface", "there is none to be sent to"),
];
