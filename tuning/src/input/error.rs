//! What is wrong with a site's description: all of it at once, each with its field, value and remedy.

use std::fmt;
use std::path::PathBuf;

use super::field::{Field, Kind};
use crate::trace::number;

/// One thing that is wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem {
    /// A file that cannot be read, and why.
    Unreadable(PathBuf, String),
    /// It is no TOML; where and why.
    NotToml(PathBuf, String),
    /// No such field; the one that may be meant.
    Unknown {
        /// As written.
        path: String,
        /// The nearest that exists.
        meant: Option<&'static str>,
    },
    /// A required field is not there.
    Missing(&'static Field),
    /// Nobody told what the HSM is like.
    NoHsm(&'static Field),
    /// A value of another type.
    WrongType {
        /// The field.
        field: &'static Field,
        /// As written.
        value: String,
    },
    /// Outside the field's range.
    OutOfRange {
        /// The field.
        field: &'static Field,
        /// As written.
        value: f64,
    },
    /// Two fields that cannot both hold.
    Contradiction {
        /// The field to change.
        field: &'static Field,
        /// Its value.
        value: f64,
        /// Which values would do, and why.
        wanted: String,
    },
}

/// Why there is no site: at least one problem.
#[derive(Debug)]
pub struct InputError {
    /// All of them.
    pub problems: Vec<Problem>,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for InputError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, why) => write!(f, "{}: cannot be read: {why}", path.display()),
            Self::NotToml(path, why) => {
                write!(f, "{}: no TOML: {}", path.display(), why.trim_end())
            }
            Self::Unknown { path, meant } => {
                write!(f, "{path}: there is no such field")?;
                match meant {
                    Some(meant) => write!(f, "; did you mean {meant}?"),
                    None => f.write_str("; `kms-tune example` shows all"),
                }
            }
            Self::Missing(field) => {
                write!(f, "{} is not there: {}", field.path, field.help)
            }
            Self::NoHsm(field) => write!(
                f,
                "{} is not there, nor hsm.preset: write the HSM's numbers, or the preset that is most like it",
                field.path
            ),
            Self::WrongType { field, value } => {
                write!(
                    f,
                    "{} is {value} where {} belongs",
                    field.path,
                    wanted(field)
                )
            }
            Self::OutOfRange { field, value } => write!(
                f,
                "{} is {} where {} belongs",
                field.path,
                number(*value),
                wanted(field)
            ),
            Self::Contradiction {
                field,
                value,
                wanted,
            } => write!(f, "{} is {} where {wanted}", field.path, number(*value)),
        }
    }
}

/// The field's type and range in words.
pub(super) fn wanted(field: &Field) -> String {
    match field.kind {
        Kind::Number { min, max, whole } => {
            let what = if whole { "a whole number" } else { "a number" };
            format!("{what} from {} to {}", number(min), number(max))
        }
        Kind::Flag => "true or false".into(),
        Kind::Choice(words) => words.join(" or "),
        Kind::File => "the name of a file, in quotes,".into(),
    }
}
