//! Principal x command -> allow or deny. Every request passes here before the cache is asked.
//!
//! Must never be true: a command without an operation to be allowed; a refusal that tells whether a
//! key exists.

use crate::identity::{Operation, Role};

use super::{Command, Fault};

/// What a command needs the role to allow.
enum Need<'a> {
    /// Open to every principal.
    Nothing,
    /// An operation on one key.
    OnKey(Operation, &'a str),
    /// An operation, on whichever keys the role names.
    OnAny(Operation),
}

fn need<'a>(command: &Command<'a>) -> Need<'a> {
    match command {
        Command::Encrypt { key, .. } => Need::OnKey(Operation::Encrypt, key),
        Command::Decrypt { key, .. } => Need::OnKey(Operation::Decrypt, key),
        Command::Rewrap { key, .. } => Need::OnKey(Operation::Rewrap, key),
        Command::Datakey { key, .. } => Need::OnKey(Operation::Datakey, key),
        Command::CreateKey { key, .. } => Need::OnKey(Operation::Create, key),
        Command::ReadKey { key, .. } => Need::OnKey(Operation::Read, key),
        Command::RotateKey { key, .. } => Need::OnKey(Operation::Rotate, key),
        Command::ConfigKey { key, .. } => Need::OnKey(Operation::Configure, key),
        Command::DeleteKey { key } => Need::OnKey(Operation::Delete, key),
        Command::ListKeys(_) => Need::OnAny(Operation::List),
        Command::Health | Command::About(_) | Command::LoginAs { .. } => Need::Nothing,
    }
}

/// Allows `command` or answers Transit's 403.
pub fn authorise(role: &Role, command: &Command<'_>) -> Result<(), Fault> {
    let allowed = match need(command) {
        Need::Nothing => true,
        Need::OnKey(operation, key) => role.allows(operation, key),
        // A list then tells only the names that the role's globs cover.
        Need::OnAny(operation) => role.operations.contains(operation),
    };
    if allowed {
        Ok(())
    } else {
        Err(Fault::permission_denied())
    }
}

#[cfg(test)]
mod tests;
