//! A whole page: one file, no script, nothing fetched.

use super::markup::{Element, el};

/// Forbids every fetch; what is on the page is all there is. Styles are inline.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The document around `body`.
pub(super) fn page(title: &str, body: Vec<Element>) -> String {
    let head = el("head")
        .child(el("meta").attr("charset", "utf-8"))
        .child(
            el("meta")
                .attr("http-equiv", "Content-Security-Policy")
                .attr("content", POLICY),
        )
        .child(
            el("meta")
                .attr("name", "viewport")
                .attr("content", "width=device-width, initial-scale=1"),
        )
        .child(
            el("meta")
                .attr("name", "color-scheme")
                .attr("content", "light dark"),
        )
        .child(
            el("meta")
                .attr("name", "referrer")
                .attr("content", "no-referrer"),
        )
        .child(el("title").text(title))
        .child(el("style").literal(include_str!("style.css")));
    let body = el("body").child(el("main").children(body));
    let mut text = "<!DOCTYPE html>\n".to_owned();
    el("html")
        .attr("lang", "en")
        .child(head)
        .child(body)
        .write(&mut text);
    text
}

/// A box with a heading.
pub(super) fn card(title: &str) -> Element {
    el("section").class("card").child(el("h2").text(title))
}

/// A table of figures: the first column is words, the others are numbers.
pub(super) struct Table {
    head: Vec<String>,
    rows: Vec<Element>,
    words: Vec<usize>,
}

impl Table {
    pub(super) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self {
            head: head.map(str::to_owned).to_vec(),
            rows: Vec::new(),
            words: vec![0],
        }
    }

    /// This column holds words too.
    pub(super) fn words(mut self, column: usize) -> Self {
        self.words.push(column);
        self
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<Cell>>) {
        let cell = |(at, cell): (usize, Cell)| {
            let class = match (self.words.contains(&at), cell.class) {
                (true, "") => "word".to_owned(),
                (true, class) => format!("word {class}"),
                (false, class) => class.to_owned(),
            };
            let td = el("td");
            let td = if class.is_empty() {
                td
            } else {
                td.class(class)
            };
            td.text(cell.text)
        };
        self.rows
            .push(el("tr").children(cells.into_iter().map(Into::into).enumerate().map(cell)));
    }

    pub(super) fn element(self) -> Element {
        let words = self.words;
        let cell = |(at, text): (usize, String)| {
            let th = el("th").attr("scope", "col");
            if words.contains(&at) {
                th.class("word").text(text)
            } else {
                th.text(text)
            }
        };
        let head = el("tr").children(self.head.into_iter().enumerate().map(cell));
        let table = el("table")
            .child(el("thead").child(head))
            .child(el("tbody").children(self.rows));
        el("div").class("scroll").child(table)
    }
}

/// A cell's text and, for a verdict, its class.
pub(super) struct Cell {
    text: String,
    class: &'static str,
}

impl Cell {
    pub(super) fn good(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            class: "good-word",
        }
    }

    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            class: "bad-word",
        }
    }

    pub(super) fn odd(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            class: "odd-word",
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            class: "",
        }
    }
}

/// Names and what they are; what is not known is left out.
pub(super) fn facts(rows: Vec<(&'static str, Option<String>)>) -> Element {
    let known = rows
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    let row = |(name, value): (&str, String)| {
        el("tr")
            .child(el("td").text(name))
            .child(el("td").text(value))
    };
    el("table")
        .class("facts")
        .child(el("tbody").children(known.map(row)))
}
