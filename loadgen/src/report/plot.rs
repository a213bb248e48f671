//! A plot: a frame with axes, and what is drawn into it. Colours come from the style sheet by class, so that
//! one drawing serves light, dark and paper.

use super::markup::{Element, el, path};
use super::scale::Scale;

/// How large a plot is drawn. It scales with the page; its texts do too, so phones get a drawing of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// The whole width of a page.
    Wide,
    /// Half of it, or all of a phone's.
    Narrow,
}

/// Room around the drawing for labels; names beside the y axis need more than numbers.
const LEFT: f64 = 64.0;
const LEFT_OF_NAMES: f64 = 164.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 44.0;

impl Size {
    fn extent(self) -> (f64, f64) {
        match self {
            Self::Wide => (880.0, 320.0),
            Self::Narrow => (400.0, 270.0),
        }
    }

    /// Ticks that fit below it.
    pub(super) fn ticks_across(self) -> u32 {
        match self {
            Self::Wide => 9,
            Self::Narrow => 4,
        }
    }
}

/// A frame that is being filled.
pub(super) struct Plot {
    x: Scale,
    y: Scale,
    width: f64,
    height: f64,
    size: Size,
    left: f64,
    layers: Vec<Element>,
}

/// What a line means, beside its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stroke {
    Solid,
    Dashed,
    Dotted,
}

impl Plot {
    pub(super) fn new(size: Size, x: Scale, y: Scale) -> Self {
        let (width, height) = size.extent();
        Self {
            x,
            y,
            width,
            height,
            size,
            left: LEFT,
            layers: Vec::new(),
        }
    }

    /// With names, not numbers, beside the y axis.
    pub(super) fn with_names(mut self) -> Self {
        self.left = LEFT_OF_NAMES;
        self
    }

    pub(super) fn size(&self) -> Size {
        self.size
    }

    pub(super) fn x_scale(&self) -> &Scale {
        &self.x
    }

    pub(super) fn y_scale(&self) -> &Scale {
        &self.y
    }

    fn inner(&self) -> (f64, f64) {
        (self.width - self.left - RIGHT, self.height - TOP - BOTTOM)
    }

    pub(super) fn x(&self, value: f64) -> f64 {
        self.left + self.x.place(value) * self.inner().0
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        TOP + (1.0 - self.y.place(value)) * self.inner().1
    }

    fn bottom(&self) -> f64 {
        self.height - BOTTOM
    }

    pub(super) fn layer(&mut self, element: Element) {
        self.layers.push(element);
    }

    /// A line through values; where there is none, it is broken. A value alone between two gaps is a dot.
    pub(super) fn line(&mut self, class: &str, stroke: Stroke, values: &[(f64, Option<f64>)]) {
        let points: Vec<_> = values
            .iter()
            .map(|(x, y)| y.map(|y| (self.x(*x), self.y(y))))
            .collect();
        let dash = match stroke {
            Stroke::Solid => "",
            Stroke::Dashed => " dashed",
            Stroke::Dotted => " dotted",
        };
        let line = el("path")
            .class(format_args!("line {class}{dash}"))
            .attr("d", path(&points));
        self.layer(line);
        for (at, point) in points.iter().enumerate() {
            let neighbour = |at: Option<usize>| at.and_then(|at| points.get(at)).copied().flatten();
            let is_alone =
                neighbour(at.checked_sub(1)).is_none() && neighbour(at.checked_add(1)).is_none();
            if let (Some((x, y)), true) = (point, is_alone) {
                self.layer(
                    el("circle")
                        .class(format_args!("dot {class}"))
                        .num("cx", *x)
                        .num("cy", *y)
                        .num("r", 2.5),
                );
            }
        }
    }

    /// The area between two values at each place.
    pub(super) fn band(&mut self, class: &str, values: &[(f64, f64, f64)]) {
        let low = values
            .iter()
            .map(|(x, low, _)| Some((self.x(*x), self.y(*low))));
        let high = values
            .iter()
            .rev()
            .map(|(x, _, high)| Some((self.x(*x), self.y(*high))));
        let outline = path(&low.chain(high).collect::<Vec<_>>());
        if !outline.is_empty() {
            self.layer(
                el("path")
                    .class(format_args!("band {class}"))
                    .attr("d", format!("{outline}Z")),
            );
        }
    }

    /// Bars side by side as one area: separate ones would let the ground through where their edges fall
    /// between pixels.
    pub(super) fn bars(&mut self, class: &str, bars: &[Bar]) {
        let mut outline = String::new();
        for group in bars.chunk_by(|one, two| (one.right - two.left).abs() < 1e-9) {
            let point = |x: f64, y: f64| Some((self.x(x), self.y(y)));
            let top = group
                .iter()
                .flat_map(|bar| [point(bar.left, bar.high), point(bar.right, bar.high)]);
            let bottom = group
                .iter()
                .rev()
                .flat_map(|bar| [point(bar.right, bar.low), point(bar.left, bar.low)]);
            outline += &path(&top.chain(bottom).collect::<Vec<_>>());
            outline.push('Z');
        }
        if !outline.is_empty() {
            self.layer(
                el("path")
                    .class(format_args!("bar {class}"))
                    .attr("d", outline),
            );
        }
    }

    /// A mark with its own shape, so that it needs no colour to be told.
    pub(super) fn mark(&mut self, class: &str, shape: Mark, x: f64, y: f64) {
        let (x, y) = (self.x(x), self.y(y));
        let mark = match shape {
            Mark::Circle => el("circle").num("cx", x).num("cy", y).num("r", REACH),
            Mark::Square => {
                let square = el("rect").num("x", x - REACH).num("y", y - REACH);
                square.num("width", 2.0 * REACH).num("height", 2.0 * REACH)
            }
            Mark::Cross => {
                let stroke = |sign: f64| {
                    path(&[
                        Some((x - REACH, y - sign * REACH)),
                        Some((x + REACH, y + sign * REACH)),
                    ])
                };
                el("path").attr("d", stroke(1.0) + &stroke(-1.0))
            }
        };
        self.layer(mark.class(format_args!("mark {class}")));
    }

    /// A text at a value, moved by some pixels. `anchor` is `start`, `middle` or `end`.
    pub(super) fn note(
        &mut self,
        class: &str,
        (x, y): (f64, f64),
        (dx, dy): (f64, f64),
        anchor: &'static str,
        text: String,
    ) {
        let x = (self.x(x) + dx).clamp(self.left, self.width - 4.0);
        let y = (self.y(y) + dy).clamp(TOP + 8.0, self.bottom() - 4.0);
        let note = el("text")
            .class(format_args!("note {class}"))
            .attr("text-anchor", anchor);
        self.layer(note.num("x", x).num("y", y).text(text));
    }

    /// A stretch of the x axis that something lasted, or a moment, with its number on top.
    pub(super) fn event(&mut self, number: usize, from: f64, until: Option<f64>) {
        let (left, right) = (self.x(from), self.x(until.unwrap_or(from)));
        if until.is_some() {
            let band = el("rect").class("event-band").num("x", left).num("y", TOP);
            self.layer(
                band.num("width", (right - left).max(1.0))
                    .num("height", self.inner().1),
            );
        }
        let line = el("line")
            .class("event-line")
            .num("x1", left)
            .num("x2", left);
        self.layer(line.num("y1", TOP - 4.0).num("y2", self.bottom()));
        let place = (left.midpoint(right), TOP - 12.0);
        self.layer(
            el("circle")
                .class("event-dot")
                .num("cx", place.0)
                .num("cy", place.1)
                .num("r", 8.0),
        );
        let text = el("text")
            .class("event-number")
            .attr("text-anchor", "middle");
        self.layer(
            text.num("x", place.0)
                .num("y", place.1 + 4.0)
                .text(number.to_string()),
        );
    }

    /// Strips across the plot that show a text while the pointer is over one; no script is needed for it.
    pub(super) fn hover(&mut self, strips: impl Iterator<Item = (f64, f64, String)>) {
        let mut all = el("g").class("hover");
        for (from, to, text) in strips {
            let (left, right) = (self.x(from), self.x(to));
            let strip = el("rect")
                .num("x", left)
                .num("y", TOP)
                .num("width", right - left)
                .num("height", self.inner().1);
            all = all.child(strip.child(el("title").text(text)));
        }
        self.layer(all);
    }

    /// The finished drawing: grid, what was drawn, axes. `label` says in words what it shows.
    pub(super) fn finish(self, x_name: &str, y_name: &str, label: &str) -> Element {
        let (class, width, height) = match self.size {
            Size::Wide => ("plot wide", self.width, self.height),
            Size::Narrow => ("plot narrow", self.width, self.height),
        };
        let svg = el("svg")
            .class(class)
            .attr("viewBox", format!("0 0 {width} {height}"));
        let svg = svg.attr("role", "img").attr("aria-label", label);
        let grid = self.grid();
        let (axes, inner) = (self.axes(x_name, y_name), self.inner());
        let ground = el("rect").class("ground").num("x", self.left).num("y", TOP);
        let ground = ground.num("width", inner.0).num("height", inner.1);
        svg.child(ground)
            .child(grid)
            .child(el("g").children(self.layers))
            .child(axes)
    }

    fn grid(&self) -> Element {
        let mut grid = el("g").class("grid");
        let weight = |label: &str| if label.is_empty() { "minor" } else { "major" };
        for tick in self.x.ticks() {
            let x = self.x(tick.value);
            let line = el("line")
                .class(weight(&tick.label))
                .num("x1", x)
                .num("x2", x);
            grid = grid.child(line.num("y1", TOP).num("y2", self.bottom()));
        }
        for tick in self.y.ticks() {
            let y = self.y(tick.value);
            let line = el("line")
                .class(weight(&tick.label))
                .num("y1", y)
                .num("y2", y);
            grid = grid.child(line.num("x1", self.left).num("x2", self.width - RIGHT));
        }
        grid
    }

    fn axes(&self, x_name: &str, y_name: &str) -> Element {
        let mut axes = el("g").class("axes");
        let bottom = self.bottom();
        let line = el("line")
            .class("axis")
            .num("x1", self.left)
            .num("x2", self.width - RIGHT);
        axes = axes.child(line.num("y1", bottom).num("y2", bottom));
        let mut free_from = f64::MIN;
        for tick in self.x.ticks().iter().filter(|tick| !tick.label.is_empty()) {
            // A label is about so wide; one that would touch the last is left out.
            let (x, half) = (
                self.x(tick.value),
                3.4 * tick.label.chars().count() as f64 + 3.0,
            );
            if x - half < free_from {
                continue;
            }
            free_from = x + half;
            let x = x.min(self.width - half);
            let text = el("text")
                .attr("text-anchor", "middle")
                .num("x", x)
                .num("y", bottom + 17.0);
            axes = axes.child(text.text(tick.label.clone()));
        }
        for tick in self.y.ticks().iter().filter(|tick| !tick.label.is_empty()) {
            let text = el("text")
                .attr("text-anchor", "end")
                .num("x", self.left - 7.0)
                .num("y", self.y(tick.value) + 4.0);
            axes = axes.child(text.text(tick.label.clone()));
        }
        let name = |anchor: &'static str, x: f64, y: f64, text: &str| {
            el("text")
                .class("axis-name")
                .attr("text-anchor", anchor)
                .num("x", x)
                .num("y", y)
                .text(text)
        };
        let middle = self.left + self.inner().0 / 2.0;
        axes.child(name("middle", middle, self.height - 8.0, x_name))
            .child(name("start", 4.0, 12.0, y_name))
    }
}

/// Half the width of a mark.
const REACH: f64 = 5.0;

/// A rectangle between values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bar {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// The shape of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Circle,
    Square,
    Cross,
}
