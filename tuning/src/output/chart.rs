//! Charts as SVG that stands alone: in a page, or as a file of its own.
//!
//! Nothing is fetched; colours follow the reader's light or dark setting. Must never be true: a text that
//! is not escaped; a point outside the frame.

mod bars;
mod heat;

use std::fmt::Write as _;

use crate::trace::number;

pub use bars::Bars;
pub use heat::Heat;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 392.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 108.0;
/// Colours that colour-blind people tell apart (Okabe and Ito).
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f",
];
const STYLE: &str = "<style>svg{font:12px system-ui,sans-serif}text{fill:#222}.axis{stroke:#888;fill:none}\
.grid{stroke:#ddd}.title{font-weight:600;font-size:14px}\
@media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#444}}</style>";

/// What is measured along one side.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Beside it.
    pub label: String,
    /// Whether equal steps are equal factors.
    pub log: bool,
}

impl Axis {
    /// Equal steps.
    pub fn linear(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            log: false,
        }
    }

    /// Equal factors.
    pub fn log(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            log: true,
        }
    }
}

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    /// In the legend.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// Lines over one axis.
#[derive(Clone, Debug)]
pub struct Lines {
    /// Above it.
    pub title: String,
    /// Along the bottom.
    pub x: Axis,
    /// Along the left side.
    pub y: Axis,
    /// At most seven.
    pub series: Vec<Series>,
    /// Levels that matter, with their names.
    pub levels: Vec<(f64, String)>,
}

/// Text that may stand in markup.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}

/// From values to places along one side.
struct Scale {
    low: f64,
    high: f64,
    log: bool,
    from: f64,
    to: f64,
}

impl Scale {
    fn new(values: impl Iterator<Item = f64>, log: bool, from: f64, to: f64) -> Self {
        let fits = |value: &f64| value.is_finite() && (!log || *value > 0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(fits) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            (low, high) = (if log { 1.0 } else { 0.0 }, 1.0);
        }
        if !log {
            low = low.min(0.0);
        }
        if low >= high {
            high = if log { low * 10.0 } else { low + 1.0 };
        }
        Self {
            low,
            high,
            log,
            from,
            to,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let along = |value: f64| {
            if self.log {
                value.max(f64::MIN_POSITIVE).ln()
            } else {
                value
            }
        };
        let share = (along(value) - along(self.low)) / (along(self.high) - along(self.low));
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Some round values.
    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let first = self.low.log10().ceil();
            let decades = (self.high.log10() - first).max(0.0);
            let mut ticks: Vec<f64> = (0..=20)
                .map(|step| 10_f64.powf(first + f64::from(step)))
                .take_while(|tick| *tick <= self.high * 1.000_001)
                .collect();
            if decades < 1.5 {
                let more = [2.0, 5.0].into_iter().flat_map(|by| {
                    [first - 1.0, first, first + 1.0].map(|at| by * 10_f64.powf(at))
                });
                ticks.extend(more.filter(|tick| (self.low..=self.high).contains(tick)));
                ticks.sort_by(f64::total_cmp);
            }
            return ticks;
        }
        let raw = (self.high - self.low) / 5.0;
        let unit = 10_f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|by| by * unit)
            .find(|step| *step >= raw)
            .unwrap_or(raw);
        let first = (self.low / step).ceil();
        (0..=12)
            .map(|at| (first + f64::from(at)) * step)
            .take_while(|tick| *tick <= self.high * 1.000_001)
            .collect()
    }
}

impl Lines {
    /// As SVG.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| series.points.iter());
        let x = Scale::new(
            points().map(|point| point.0),
            self.x.log,
            LEFT,
            WIDTH - RIGHT,
        );
        let levels = self.levels.iter().map(|level| level.0);
        let y = Scale::new(
            points().map(|point| point.1).chain(levels),
            self.y.log,
            HEIGHT - BOTTOM,
            TOP,
        );
        let mut svg = open(&self.title, HEIGHT);
        frame(&mut svg, (&x, &self.x), (&y, &self.y));
        for (level, name) in &self.levels {
            let at = y.place(*level);
            let _ = write!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#b00\" stroke-dasharray=\"6 4\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                WIDTH - RIGHT - 4.0,
                at - 4.0,
                escaped(name)
            );
        }
        for (at, series) in self.series.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let shown = series
                .points
                .iter()
                .filter(|point| point.0.is_finite() && point.1.is_finite());
            let path: Vec<String> = shown
                .map(|(value_x, value_y)| {
                    format!("{:.1},{:.1}", x.place(*value_x), y.place(*value_y))
                })
                .collect();
            let _ = write!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            );
            let (column, row) = ((at % 2) as f64, (at / 2) as f64);
            let (legend_x, legend_y) = (LEFT + 320.0 * column, HEIGHT - 54.0 + 16.0 * row);
            let _ = write!(
                svg,
                "<rect x=\"{legend_x}\" y=\"{:.1}\" width=\"12\" height=\"4\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"{legend_y}\">{}</text>",
                legend_y - 6.0,
                legend_x + 18.0,
                escaped(&series.name)
            );
        }
        svg + "</svg>\n"
    }
}

fn open(title: &str, height: f64) -> String {
    let title = escaped(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">{STYLE}\
         <text class=\"title\" x=\"{LEFT}\" y=\"20\">{title}</text>"
    )
}

fn frame(svg: &mut String, (x, x_axis): (&Scale, &Axis), (y, y_axis): (&Scale, &Axis)) {
    let bottom = HEIGHT - BOTTOM;
    for tick in x.ticks() {
        let at = x.place(tick);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            number(tick)
        );
    }
    for tick in y.ticks() {
        let at = y.place(tick);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            number(tick)
        );
    }
    let middle = f64::midpoint(TOP, bottom);
    let _ = write!(
        svg,
        "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{}\"/>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
         <text transform=\"translate(14 {middle}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        WIDTH - RIGHT,
        f64::midpoint(LEFT, WIDTH - RIGHT),
        bottom + 34.0,
        escaped(&x_axis.label),
        escaped(&y_axis.label)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_hold_their_data_and_nothing_of_others() {
        let lines = Lines {
            title: "<b>&</b>".into(),
            x: Axis::log("rate"),
            y: Axis::linear("ms"),
            series: vec![Series {
                name: "\"p99\"".into(),
                points: vec![(10.0, 1.0), (1000.0, f64::INFINITY), (100.0, 3.0)],
            }],
            levels: vec![(2.0, "wanted".into())],
        };
        let svg = lines.svg();
        assert!(
            svg.contains("&lt;b&gt;&amp;")
                && svg.contains("&quot;p99&quot;")
                && !svg.contains("<b>"),
            "{svg}"
        );
        assert!(
            svg.contains("wanted") && !svg.contains("inf") && !svg.contains("NaN"),
            "{svg}"
        );
        let heat = Heat {
            title: "h".into(),
            x: ("x".into(), vec![1.0, 2.0]),
            y: ("y".into(), vec![3.0]),
            cells: vec![vec![5.0, f64::INFINITY]],
        };
        assert!(heat.svg().contains(">5<") && heat.svg().contains("no end"));
        let bars = Bars {
            title: "b".into(),
            rows: vec![("in".into(), -0.1, f64::NAN)],
        };
        assert!(bars.svg().contains("-10.0 %") && !bars.svg().contains("NaN"));
    }

    #[test]
    fn ticks_are_round_and_within() {
        for (low, high, log, want) in [
            (0.0, 9.3, false, &[0.0, 2.0, 4.0, 6.0, 8.0][..]),
            (1.0, 1000.0, true, &[1.0, 10.0, 100.0, 1000.0][..]),
            (3.0, 40.0, true, &[5.0, 10.0, 20.0][..]),
        ] {
            let scale = Scale::new([low, high].into_iter(), log, 0.0, 1.0);
            let ticks = scale.ticks();
            assert!(
                ticks.len() == want.len()
                    && ticks.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-9),
                "{ticks:?}"
            );
        }
    }
}
