//! The plan as one page.

use crate::input::Source;
use crate::plan::Plan;

/// The page.
pub fn page(plan: &Plan, _: &Source) -> String {
    format!("<pre>{}</pre>", super::table::text(plan))
}
