//! A site's description: what is asked of it, what it has, what must hold. TOML in, checked quantities out.
//!
//! One table ([`field`]) says which fields there are, with unit, range, default and meaning; reading,
//! `kms-tune example`, sweeps and sensitivity all come from it. Must never be true: a value used that was
//! not checked against its range; a default that the plan does not list as an assumption.

mod error;
mod example;
pub mod field;
mod layers;
mod preset;
mod relations;

pub use error::{InputError, Problem};
pub use example::render_example;
pub use field::Field;
pub use layers::{Live, Site, Source};
