//! Each plot of a report: from figures to a drawing with its legend and the sentence that says how to read it.

mod compare;
mod cpu;
mod failures;
mod handshakes;
mod hsm;
mod knee;
mod percentiles;
mod time;

pub(super) use compare::{OverTime, changes, overlaid_percentiles, overlaid_series};
pub(super) use cpu::cpu;
pub(super) use failures::failures;
pub(super) use handshakes::handshakes_over_time;
pub(super) use hsm::{batches, sources};
pub(super) use knee::{knee, words as knee_words};
pub(super) use percentiles::{by_operation, handshakes, lag, response};
pub(super) use time::{latency_over_time, rate_over_time};

use super::buckets::{Bucket, Columns};
use super::markup::{Element, el};
use super::plot::{Bar, Plot, Size, Stroke};
use super::units;
use crate::results::RunResult;

/// A plot with all that belongs to it.
pub(super) struct Chart {
    /// Its name in the page, for links and tests.
    pub(super) id: &'static str,
    pub(super) title: String,
    /// How to read it.
    pub(super) about: String,
    pub(super) legend: Vec<Key>,
    pub(super) drawings: Vec<Element>,
    /// Whether it takes the whole width.
    pub(super) is_wide: bool,
    /// Whether it is of half width but has no neighbour.
    pub(super) is_lone: bool,
}

/// An entry of a legend.
pub(super) struct Key {
    /// Of its colour.
    pub(super) class: String,
    pub(super) shape: Shape,
    pub(super) label: String,
    /// Its figure over the whole run, if that says something.
    pub(super) value: String,
}

/// How a legend shows what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Line(Stroke),
    Area,
}

impl Key {
    pub(super) fn line(class: &str, stroke: Stroke, label: &str, value: String) -> Self {
        Self {
            class: class.to_owned(),
            shape: Shape::Line(stroke),
            label: label.to_owned(),
            value,
        }
    }

    pub(super) fn area(class: &str, label: &str, value: String) -> Self {
        Self {
            class: class.to_owned(),
            shape: Shape::Area,
            label: label.to_owned(),
            value,
        }
    }

    fn element(&self) -> Element {
        let swatch = el("svg")
            .class("swatch")
            .attr("viewBox", "0 0 22 12")
            .attr("aria-hidden", "true");
        let swatch = match self.shape {
            Shape::Line(stroke) => {
                let dash = match stroke {
                    Stroke::Solid => "",
                    Stroke::Dashed => " dashed",
                    Stroke::Dotted => " dotted",
                };
                swatch.child(
                    el("path")
                        .class(format_args!("line {}{dash}", self.class))
                        .attr("d", "M0 6L22 6"),
                )
            }
            Shape::Area => {
                let square = el("rect")
                    .class(format_args!("bar {}", self.class))
                    .num("x", 5.0)
                    .num("y", 0.0);
                swatch.child(square.num("width", 12.0).num("height", 12.0))
            }
        };
        let key = el("span")
            .class("key")
            .child(swatch)
            .child(el("span").text(self.label.clone()));
        if self.value.is_empty() {
            key
        } else {
            key.child(el("b").text(self.value.clone()))
        }
    }
}

impl Chart {
    pub(super) fn element(self) -> Element {
        let class = match (self.is_wide, self.is_lone) {
            (true, _) => "chart full",
            (false, true) => "chart half lone",
            (false, false) => "chart half",
        };
        let legend = el("div")
            .class("legend")
            .children(self.legend.iter().map(Key::element));
        el("figure")
            .class(class)
            .attr("id", self.id)
            .child(el("h2").text(self.title))
            .child(el("p").class("about").text(self.about))
            .child(legend)
            .children(self.drawings)
    }
}

/// The same drawing for the whole page and for a phone.
fn both_sizes(draw: impl Fn(Size) -> Element) -> Vec<Element> {
    vec![draw(Size::Wide), draw(Size::Narrow)]
}

/// Marks what happened on a plot over time.
fn mark_events(plot: &mut Plot, run: &RunResult, columns: &Columns) {
    let start_us = columns.first_unix_s.saturating_mul(1_000_000);
    let end_s = plot.x_scale().high();
    let place = |unix_us: u64| (unix_us as f64 - start_us as f64) / 1e6;
    for (number, event) in (1..).zip(&run.events).take(EVENTS_MAX) {
        let (from, until) = (place(event.at_unix_us), event.until_unix_us.map(place));
        // One that is elsewhere would be drawn at the edge, where it was not.
        if from <= end_s + columns.after_s && until.unwrap_or(from) >= -columns.before_s {
            plot.event(number, from, until);
        }
    }
}

/// More would hide the plot.
pub(super) const EVENTS_MAX: usize = 40;

/// Strips for [`Plot::hover`]: a text for each column.
fn hover(plot: &mut Plot, columns: &Columns, text: impl Fn(&Bucket) -> String) {
    if plot.size() == Size::Narrow {
        return;
    }
    let strips: Vec<_> = columns
        .buckets
        .iter()
        .filter(|bucket| bucket.seconds > 0)
        .map(|bucket| {
            let from = bucket.begin_s as f64;
            let text = format!("{} · {}", units::clock(from), text(bucket));
            (from, from + columns.seconds_each as f64, text)
        })
        .collect();
    plot.hover(strips.into_iter());
}

/// Rates on top of each other; each column gives classes and counts, the lowest first, and always as many.
fn stacked(
    plot: &mut Plot,
    columns: &Columns,
    layers: impl Fn(&Bucket) -> Vec<(&'static str, u64)>,
) {
    let width = columns.seconds_each as f64;
    let mut bars: Vec<(&'static str, Vec<Bar>)> = Vec::new();
    for bucket in &columns.buckets {
        let from = bucket.begin_s as f64;
        let mut below = 0.0;
        for (at, (class, count)) in layers(bucket).into_iter().enumerate() {
            let above = below + bucket.per_s(count).unwrap_or(0.0);
            if bars.len() <= at {
                bars.push((class, Vec::new()));
            }
            if let (true, Some((_, layer))) = (count > 0, bars.get_mut(at)) {
                layer.push(Bar {
                    left: from,
                    right: from + width,
                    low: below,
                    high: above,
                });
            }
            below = above;
        }
    }
    for (class, layer) in bars {
        plot.bars(class, &layer);
    }
}

/// Words for the width of a column, where it is more than a second.
fn column_words(columns: &Columns) -> String {
    if columns.seconds_each <= 1 {
        let is_mixed = columns.before_s + columns.after_s > 0.0;
        let ends = if is_mixed {
            ", at the ends a little more"
        } else {
            ""
        };
        return format!("Each point is one second{ends}.");
    }
    let width = units::length(columns.seconds_each.saturating_mul(1_000_000));
    format!("Each point is {width}: its percentiles are those of all latencies within.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::scale::Scale;
    use crate::results::Event;

    /// Two whole seconds, from 10 on, and 0.2 s before and 0.1 s after them.
    #[test]
    fn what_happened_beside_the_columns_is_not_drawn() {
        let columns = Columns {
            first_unix_s: 10,
            before_s: 0.2,
            after_s: 0.1,
            ..Columns::default()
        };
        for (name, at_ms, until_ms, is_drawn) in [
            ("within", 11_000, None, true),
            ("in the part before", 9_850, None, true),
            ("before that", 9_750, None, false),
            ("from before that", 9_000, Some(9_900), true),
            ("over before that", 9_000, Some(9_700), false),
            ("in the part after", 12_050, None, true),
            ("after that", 12_150, Some(13_000), false),
        ] {
            let mut run = RunResult::default();
            run.events.push(Event {
                at_unix_us: at_ms * 1000,
                until_unix_us: until_ms.map(|ms: u64| ms * 1000),
                label: "x".to_owned(),
            });
            let (x, y) = (Scale::elapsed(2.0, 4), Scale::elapsed(1.0, 4));
            let mut plot = Plot::new(Size::Wide, x, y);
            mark_events(&mut plot, &run, &columns);
            let mut drawn = String::new();
            plot.finish("x", "y", "z").write(&mut drawn);
            assert_eq!(drawn.contains("event-line"), is_drawn, "{name}");
        }
    }
}
