//! What a role may do: names, as in `kms.role.NAME.operations`, and a set of them in one word.

use std::fmt;
use std::str::FromStr;

/// What a role may be allowed to do: one bit each.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Wrap.
    Encrypt,
    /// Unwrap.
    Decrypt,
    /// Make a data key, wrapped or both.
    Datakey,
    /// Wrap anew under the latest version.
    Rewrap,
    /// Read a key's description.
    Read,
    /// List key names.
    List,
    /// Create a key.
    Create,
    /// Make a new version.
    Rotate,
    /// Set minimum versions and the like.
    Configure,
    /// Delete a key.
    Delete,
}

impl Operation {
    /// Every operation, in the order in which sets are printed.
    pub const ALL: [Self; 10] = [
        Self::Encrypt,
        Self::Decrypt,
        Self::Datakey,
        Self::Rewrap,
        Self::Read,
        Self::List,
        Self::Create,
        Self::Rotate,
        Self::Configure,
        Self::Delete,
    ];

    /// The name in configuration, audit and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Datakey => "datakey",
            Self::Rewrap => "rewrap",
            Self::Read => "read",
            Self::List => "list",
            Self::Create => "create",
            Self::Rotate => "rotate",
            Self::Configure => "configure",
            Self::Delete => "delete",
        }
    }

    fn bit(self) -> u16 {
        1 << (self as u16)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of [`Operation`]s.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Operations(u16);

impl Operations {
    /// No operation.
    pub const NONE: Self = Self(0);

    /// Every operation.
    pub fn all() -> Self {
        Operation::ALL.into_iter().collect()
    }

    /// Whether `operation` is in the set.
    pub fn contains(self, operation: Operation) -> bool {
        self.0 & operation.bit() != 0
    }

    /// The operations in the set, in printed order.
    pub fn iter(self) -> impl Iterator<Item = Operation> {
        Operation::ALL
            .into_iter()
            .filter(move |operation| self.contains(*operation))
    }
}

impl FromIterator<Operation> for Operations {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        Self(
            operations
                .into_iter()
                .fold(0, |bits, operation| bits | operation.bit()),
        )
    }
}

impl fmt::Display for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::all() {
            return f.write_str("all");
        }
        let names: Vec<&str> = self.iter().map(Operation::name).collect();
        f.write_str(&names.join(","))
    }
}

/// Why a list of operations was not understood.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OperationsError {
    /// Nothing between the commas.
    Empty,
    /// No operation has this name.
    Unknown(String),
}

impl fmt::Display for OperationsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Operation::ALL.map(Operation::name).join(",");
        match self {
            Self::Empty => write!(f, "names no operation; write all, or some of {names}"),
            Self::Unknown(given) => {
                let near =
                    |name: &&str| strsim::damerau_levenshtein(name, &given.to_lowercase()) <= 2;
                match Operation::ALL.map(Operation::name).into_iter().find(near) {
                    Some(meant) => write!(f, "`{given}` is no operation; did you mean `{meant}`?"),
                    None => write!(
                        f,
                        "`{given}` is no operation; write all, or some of {names}"
                    ),
                }
            }
        }
    }
}

impl std::error::Error for OperationsError {}

impl FromStr for Operations {
    type Err = OperationsError;

    /// `all`, or names separated by commas; spaces and case do not matter.
    fn from_str(list: &str) -> Result<Self, OperationsError> {
        let mut set = Self::NONE;
        for name in list
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            if name.eq_ignore_ascii_case("all") {
                set = Self::all();
                continue;
            }
            let known = |operation: &Operation| operation.name().eq_ignore_ascii_case(name);
            let found = Operation::ALL.into_iter().find(known);
            set.0 |= found
                .ok_or_else(|| OperationsError::Unknown(name.to_owned()))?
                .bit();
        }
        if set == Self::NONE {
            Err(OperationsError::Empty)
        } else {
            Ok(set)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lists_are_read_and_written() {
        for (list, want) in [
            ("encrypt", "encrypt"),
            ("decrypt,encrypt", "encrypt,decrypt"),
            (" Encrypt , DECRYPT,", "encrypt,decrypt"),
            (
                "encrypt,decrypt,datakey,read",
                "encrypt,decrypt,datakey,read",
            ),
            ("read,read", "read"),
            ("all", "all"),
            ("read,ALL", "all"),
            (
                "encrypt,decrypt,datakey,rewrap,read,list,create,rotate,configure,delete",
                "all",
            ),
        ] {
            let set: Operations = list.parse().unwrap();
            assert_eq!(set.to_string(), want, "{list:?}");
            assert_eq!(want.parse(), Ok(set), "{list:?} once more");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (list, want) in [
            ("", "names no operation; write all"),
            (" , ", "names no operation; write all"),
            (
                "decript",
                "`decript` is no operation; did you mean `decrypt`?",
            ),
            (
                "encrypt;decrypt",
                "`encrypt;decrypt` is no operation; write all, or some of encrypt,",
            ),
            ("none", "`none` is no operation"),
        ] {
            let text = list.parse::<Operations>().unwrap_err().to_string();
            assert!(text.starts_with(want), "{list:?}: {text}");
        }
    }

    #[test]
    fn each_operation_has_its_own_bit() {
        for one in Operation::ALL {
            let set = Operations::from_iter([one]);
            for other in Operation::ALL {
                assert_eq!(set.contains(other), one == other, "{one} and {other}");
            }
        }
        assert_eq!(Operations::all().iter().count(), Operation::ALL.len());
    }
}
