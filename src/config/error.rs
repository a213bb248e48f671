//! What is wrong with a configuration, in words an operator can act on. No secret value is ever in here.

use std::path::{Path, PathBuf};

use super::model::Origin;

/// Something that must be put right before anything starts.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// A file cannot be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The line is not Java properties syntax.
    Syntax {
        /// Where.
        origin: Origin,
        /// What is wrong.
        reason: String,
    },
    /// No such key.
    UnknownKey {
        /// Where.
        origin: Origin,
        /// As written.
        key: String,
        /// The nearest known key.
        suggestion: Option<String>,
        /// The file that lists them.
        example: &'static str,
    },
    /// The value does not fit the key.
    BadValue {
        /// Where.
        origin: Origin,
        /// Which key.
        key: String,
        /// As written; `None` for a secret.
        value: Option<String>,
        /// What is wrong with it.
        reason: String,
        /// What would be right.
        expected: String,
    },
    /// A key that this configuration needs is not set.
    Missing {
        /// Which key.
        key: String,
        /// Why, and what to write.
        remedy: String,
    },
    /// Two settings contradict each other.
    Conflict {
        /// Where the second one is.
        origin: Origin,
        /// The two keys and the remedy.
        reason: String,
    },
    /// A secret file is not kept secret.
    SecretExposed {
        /// Which key names it.
        key: String,
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable { path, reason } => {
                write!(f, "{}: cannot be read: {reason}", path.display())
            }
            Self::Syntax { origin, reason } | Self::Conflict { origin, reason } => {
                write!(f, "{origin}: {reason}")
            }
            Self::UnknownKey {
                origin,
                key,
                suggestion,
                example,
            } => {
                write!(f, "{origin}: unknown key {key}")?;
                match suggestion {
                    Some(near) => write!(f, "; did you mean {near}?"),
                    None => write!(f, "; the keys are listed in {example}"),
                }
            }
            Self::BadValue {
                origin,
                key,
                value,
                reason,
                expected,
            } => {
                write!(f, "{origin}: {key}")?;
                if let Some(value) = value {
                    write!(f, " = {value:?}")?;
                }
                write!(f, ": {reason}; expected {expected}")
            }
            Self::Missing { key, remedy } => write!(f, "{key} is not set: {remedy}"),
            Self::SecretExposed { key, path, mode } => write!(
                f,
                "{key}: {} can be read by others (mode {mode:04o}); run: chmod 600 {0}",
                path.display()
            ),
        }
    }
}

impl Problem {
    /// Line in the properties file; what has none comes last.
    pub(super) fn line(&self) -> usize {
        match self {
            Self::Syntax { origin, .. }
            | Self::UnknownKey { origin, .. }
            | Self::BadValue { origin, .. }
            | Self::Conflict { origin, .. } => match origin {
                Origin::File { line, .. } => *line,
                _ => usize::MAX,
            },
            Self::Unreadable { .. } | Self::Missing { .. } | Self::SecretExposed { .. } => {
                usize::MAX
            }
        }
    }
}

/// Something an operator should know, that stops nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// A name of the original product.
    OldName {
        /// Where.
        origin: Origin,
        /// As written.
        old: String,
        /// What to write now.
        new: String,
    },
    /// Set, but nothing reads it.
    Ignored {
        /// Where.
        origin: Origin,
        /// Which key.
        key: String,
        /// The protocol in force.
        protocol: String,
        /// The protocol that would read it.
        only_with: String,
    },
    /// Set twice in one file; the later line counts, as in Java.
    Duplicate {
        /// The line that counts.
        origin: Origin,
        /// Which key.
        key: String,
        /// The line that does not.
        earlier_line: usize,
    },
    /// `KMS_*`, but no key.
    UnknownEnvironment {
        /// As found.
        name: String,
        /// The nearest known one.
        suggestion: Option<String>,
    },
    /// The properties file holds a password and others can read it.
    PasswordReadable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A secret ends in white space, which counts.
    SecretEndsInSpace {
        /// Where.
        origin: Origin,
        /// Which key.
        key: String,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OldName { origin, old, new } => {
                write!(f, "{origin}: {old} is an old name; write {new}")
            }
            Self::Ignored {
                origin,
                key,
                protocol,
                only_with,
            } => write!(
                f,
                "{origin}: {key} is ignored with kms.hsm.protocol = {protocol}; only {only_with} reads it"
            ),
            Self::Duplicate {
                origin,
                key,
                earlier_line,
            } => write!(
                f,
                "{origin}: {key} is set a second time; this line counts, line {earlier_line} does not: remove one"
            ),
            Self::UnknownEnvironment { name, suggestion } => {
                write!(f, "environment {name} is no setting and is ignored")?;
                suggestion
                    .as_ref()
                    .map_or(Ok(()), |near| write!(f, "; did you mean {near}?"))
            }
            Self::PasswordReadable { path, mode } => write!(
                f,
                "{0} holds a password and can be read by others (mode {mode:04o}); run: chmod 600 {0}, or move the password to a file of its own and name it with <key>.file",
                path.display()
            ),
            Self::SecretEndsInSpace { origin, key } => {
                write!(
                    f,
                    "{origin}: {key} ends in white space, which is part of the secret"
                )
            }
        }
    }
}

/// Everything that is wrong, at once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// The properties file.
    pub file: PathBuf,
    /// Never empty.
    pub problems: Vec<Problem>,
    /// What was noticed besides.
    pub warnings: Vec<Warning>,
}

impl ConfigError {
    pub(super) fn new(file: &Path, problems: Vec<Problem>, warnings: Vec<Warning>) -> Self {
        Self {
            file: file.to_owned(),
            problems,
            warnings,
        }
    }
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(
            f,
            "{}: {count} {noun} in the configuration",
            self.file.display()
        )?;
        self.problems
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}
