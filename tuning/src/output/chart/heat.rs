//! A heat map: one number for each pair of two inputs' values.

use std::fmt::Write as _;

use super::{LEFT, RIGHT, TOP, WIDTH, escaped, open};
use crate::trace::number;

/// One value for each pair of two inputs.
#[derive(Clone, Debug)]
pub struct Heat {
    /// Above it.
    pub title: String,
    /// Name and values along the bottom.
    pub x: (String, Vec<f64>),
    /// Name and values along the left side, from the bottom up.
    pub y: (String, Vec<f64>),
    /// A row for each value of `y`.
    pub cells: Vec<Vec<f64>>,
}

impl Heat {
    /// As SVG; each cell shows its number too.
    pub fn svg(&self) -> String {
        let (columns, rows) = (self.x.1.len().max(1) as f64, self.y.1.len().max(1) as f64);
        let (left, height) = (LEFT + 20.0, 110.0 + 34.0 * rows);
        let (width, tall) = ((WIDTH - RIGHT - left) / columns, 34.0);
        let bottom = TOP + rows * tall;
        let shown: Vec<f64> = self
            .cells
            .iter()
            .flatten()
            .copied()
            .filter(|value| value.is_finite())
            .collect();
        let low = shown.iter().copied().fold(f64::INFINITY, f64::min);
        let high = shown.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut svg = open(&self.title, height);
        for (row, cells) in self.cells.iter().enumerate() {
            let y = bottom - (row as f64 + 1.0) * tall;
            for (column, value) in cells.iter().enumerate() {
                let x = left + column as f64 * width;
                let share = if high > low {
                    (value - low) / (high - low)
                } else {
                    0.5
                };
                let share = if share.is_finite() { share } else { 1.0 };
                let _ = write!(
                    svg,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{tall}\" fill=\"{}\"/>\
                     <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" style=\"fill:#111\">{}</text>",
                    warmth(share),
                    x + width / 2.0,
                    y + 21.0,
                    number(*value)
                );
            }
            let _ = write!(
                svg,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 6.0,
                y + 21.0,
                number(self.y.1.get(row).copied().unwrap_or(f64::NAN))
            );
        }
        self.label(&mut svg, left, width, bottom);
        svg + "\n"
    }

    /// Values and names below and beside the cells.
    fn label(&self, svg: &mut String, left: f64, width: f64, bottom: f64) {
        for (column, value) in self.x.1.iter().enumerate() {
            let x = left + (column as f64 + 0.5) * width;
            let _ = write!(
                svg,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 16.0,
                number(*value)
            );
        }
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text></svg>",
            f64::midpoint(left, WIDTH - RIGHT),
            bottom + 36.0,
            escaped(&self.x.0),
            f64::midpoint(TOP, bottom),
            escaped(&self.y.0)
        );
    }
}

/// From pale to warm; black text is readable on all of it.
fn warmth(share: f64) -> String {
    let mix = |from: f64, to: f64| from + (to - from) * share.clamp(0.0, 1.0);
    format!(
        "rgb({:.0},{:.0},{:.0})",
        mix(236.0, 240.0),
        mix(244.0, 130.0),
        mix(250.0, 60.0)
    )
}
