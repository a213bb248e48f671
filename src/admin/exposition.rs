//! `/metrics`: everything that is counted, as Prometheus reads it. docs/metrics.md explains each family.

mod hsm;
mod node;
mod process;
mod service;
mod shared_cache;
mod text;
mod working_set;

use crate::server::Shared;

use text::Text;

/// Everything that is counted, as text.
pub(super) fn render(shared: &Shared) -> String {
    let mut text = Text::new();
    service::put(&mut text, shared);
    hsm::put(&mut text, shared);
    shared_cache::put(&mut text, shared);
    node::put(&mut text, shared);
    working_set::put(&mut text, shared);
    process::put(&mut text, shared);
    text.finish()
}
