//! Where our answers differ from OpenBao's on purpose, each with its reason.

/// How a difference shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rule {
    /// In any answer: `ours` in the body stands for `theirs`.
    Everywhere {
        ours: &'static str,
        theirs: &'static str,
    },
    /// In redirections: only the status and where they lead are compared.
    Redirect,
    /// In any answer: ours lacks this header (lower case).
    NoHeader(&'static str),
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
    Difference {
        id: "redirections",
        reason: "no HTML body around the place; clients read the Location",
        rule: Rule::Redirect,
    },
    Difference {
        id: "namespace echo",
        reason: "OpenBao repeats X-Vault-Namespace; no client reads it, and there is one namespace only",
        rule: Rule::NoHeader("x-vault-namespace"),
    },
    of_row(
        "HTTP refusals",
        "what is refused before the API is told as every other error: JSON, all headers, what is wrong",
    ),
    of_row(
        "early 100",
        "a body that is there already needs no 100 Continue (RFC 9110, 10.1.1)",
    ),
    of_row("long names", "names of HSM objects are bounded: 512 bytes"),
    of_row(
        "other mounts",
        "there is Transit only; dev mode has a key-value store as well",
    ),
    of_row(
        "health codes",
        "load balancers ask /readyz; the status codes of sys/health are fixed",
    ),
    of_row("help", "there is docs/openapi.json instead of help texts"),
    of_row(
        "no user interface",
        "there is none, so none of its files are served",
    ),
];
