//! Principal x command -> allow or deny. Every request passes here before the cache is asked.
//!
//! Must never be true: a command without an operation to be allowed; a refusal that tells whether a
//! key exists.

use crate::identity::{Operation, Role};

use super::{Command, Fault};

/// What a command needs the role to allow, and on which key. `None`: open to every principal.
fn need<'a>(command: &Command<'a>) -> Option<(Operation, &'a str)> {
    match command {
        Command::Encrypt { key, .. } => Some((Operation::Encrypt, key)),
        Command::Decrypt { key, .. } => Some((Operation::Decrypt, key)),
        Command::CreateKey { key, .. } => Some((Operation::Create, key)),
        Command::ReadKey { key } => Some((Operation::Read, key)),
        Command::Health => None,
    }
}

/// Allows `command` or answers Transit's 403.
pub fn authorise(role: &Role, command: &Command<'_>) -> Result<(), Fault> {
    match need(command) {
        Some((operation, key)) if !role.allows(operation, key) => Err(Fault::permission_denied()),
        _ => Ok(()),
    }
}
