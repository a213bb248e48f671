//! The policy that this server needs in a Vault: the guide's, and what deleting keys takes beside it.

/// The policy of the guide, for a Transit engine at `mount`. It is enough for everything but deleting keys:
/// data keys are our random bytes, wrapped; a rewrap is an unwrap and a wrap.
pub fn needed(mount: &str) -> String {
    format!(
        "path \"{mount}/encrypt/*\" {{\n  capabilities = [ \"update\" ]\n}}\n\
         path \"{mount}/decrypt/*\" {{\n  capabilities = [ \"update\" ]\n}}\n\
         path \"{mount}/keys/*\" {{\n  capabilities = [ \"create\", \"read\", \"update\", \"list\" ]\n}}\n"
    )
}

/// The last stanza as it must be where clients may delete keys.
pub fn to_delete(mount: &str) -> String {
    format!(
        "path \"{mount}/keys/*\" {{\n  capabilities = [ \"create\", \"read\", \"update\", \"list\", \"delete\" ]\n}}\n"
    )
}
