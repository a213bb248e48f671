//! Bars to both sides of nothing.

use std::fmt::Write as _;

use super::{COLOURS, TOP, WIDTH, escaped, open};

/// Bars to both sides of nothing: less and more of an input.
#[derive(Clone, Debug)]
pub struct Bars {
    /// Above it.
    pub title: String,
    /// Name, with less, with more; as shares.
    pub rows: Vec<(String, f64, f64)>,
}

impl Bars {
    /// As SVG.
    pub fn svg(&self) -> String {
        let height = 70.0 + 22.0 * self.rows.len() as f64;
        let (left, right) = (250.0, WIDTH - 60.0);
        let sizes = self.rows.iter().flat_map(|row| [row.1.abs(), row.2.abs()]);
        let largest = sizes.filter(|size| size.is_finite()).fold(0.01, f64::max);
        let (middle, scale) = (f64::midpoint(left, right), (right - left) / 2.0 / largest);
        let mut svg = open(&self.title, height);
        for (at, (name, less, more)) in self.rows.iter().enumerate() {
            let y = TOP + 22.0 * at as f64;
            let _ = write!(
                svg,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                y + 14.0,
                escaped(name)
            );
            for (value, offset, colour) in [(less, 2.0, COLOURS[0]), (more, 11.0, COLOURS[1])] {
                if !value.is_finite() {
                    continue;
                }
                let (from, to) = (
                    middle.min(middle + value * scale),
                    middle.max(middle + value * scale),
                );
                let _ = write!(
                    svg,
                    "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"8\" fill=\"{colour}\"><title>{:+.1} %</title></rect>",
                    y + offset,
                    (to - from).max(0.5),
                    value * 100.0
                );
            }
        }
        let y = TOP + 22.0 * self.rows.len() as f64 + 20.0;
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{middle:.1}\" x2=\"{middle:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>\
             <text x=\"{left}\" y=\"{y:.1}\">-{1:.0} %</text><text x=\"{right}\" y=\"{y:.1}\" text-anchor=\"end\">+{1:.0} %</text>\
             <text x=\"{middle:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">input 20 % less (blue), 20 % more (orange)</text></svg>",
            y - 18.0,
            largest * 100.0
        );
        svg + "\n"
    }
}
