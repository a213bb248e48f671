//! JSON as Go's decoder reads it and OpenBao guards it: one pass, borrowed values, Go's error texts.
//!
//! Must never be true: recursion, an allocation for a string without escapes, a string copy that is
//! not wiped, more strings or nesting than `limits` allows. Called by `transit`.
//!
//! Invalid UTF-8 and lone surrogates inside strings become U+FFFD, as in Go; such a text then fails
//! as base64 where it matters.

mod error;
mod number;
mod reader;
#[cfg(test)]
mod tests;
mod text;
mod write;

pub use error::{Excerpt, JsonError};
pub use number::NumberText;
pub use reader::{Reader, Value};
pub use text::Text;
pub use write::put_string;
